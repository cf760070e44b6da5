//! Stopping, whatever the target does meanwhile.

use std::time::{Duration, Instant};

use super::support::{Gunyu, SOON, Server, wait_until};
use super::{BACKLOG, LONG, Pair, full_syncs, put_keys};

#[test]
fn a_term_with_a_stopped_target_ends_in_time_with_0() {
    let mut pair = Pair::start(&[], &["server.gracefullStopTimeout=2s"]);
    pair.target.sigstop();
    pair.counters.wait_more(1_000);
    let start = Instant::now();
    let status = pair.gunyu.term();
    assert_eq!(status.code(), Some(0), "{}", pair.gunyu.traces());
    let took = start.elapsed();
    assert!(took < Duration::from_secs(10), "took {took:?}");
    pair.target.sigcont();
    pair.gunyu.restart();
    pair.finish();
}

#[test]
fn a_term_under_load_drains_and_records_the_checkpoint() {
    let mut pair = Pair::start(&[], &[]);
    for _ in 0..5 {
        pair.counters.wait_more(500);
        assert_eq!(pair.gunyu.term().code(), Some(0), "{}", pair.gunyu.traces());
        pair.gunyu.restart();
        pair.gunyu.wait_ready(SOON);
    }
    pair.finish();
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut pair = Pair::start(&[], &["server.gracefullStopTimeout=60s"]);
    pair.target.sigstop();
    pair.counters.wait_more(1_000);
    pair.gunyu.signal(libc::SIGTERM);
    let gunyu = &pair.gunyu;
    wait_until(SOON, "the first signal is heard", || {
        gunyu.traces().contains("stopping at a signal")
    });
    pair.gunyu.signal(libc::SIGTERM);
    let status = pair.gunyu.wait_end(Duration::from_secs(10));
    assert_eq!(status.code(), Some(130), "{}", pair.gunyu.traces());
    pair.target.sigcont();
    pair.gunyu.restart();
    pair.finish();
}

#[test]
fn a_term_during_a_slow_full_sync_is_heard_and_it_goes_on_where_it_was() {
    let (source, target) = (Server::with(BACKLOG), Server::start());
    put_keys(&source, 3_000);
    let set = [
        "output.replay.rateLimit.opsPerSec=600",
        "server.gracefullStopTimeout=60s",
    ];
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &set);
    gunyu.wait_status(LONG, "some keys are there", |status| {
        status[0]["FullSync"]["Keys"]
            .as_u64()
            .is_some_and(|keys| keys > 1_000)
    });
    let start = Instant::now();
    assert_eq!(gunyu.term().code(), Some(0), "{}", gunyu.traces());
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "took {took:?}");
    gunyu.restart();
    gunyu.wait_ready(LONG);
    gunyu.wait_applied(&source, LONG);
    let sent = gunyu.metric("redisGunYu_output_rdb_key_send").unwrap();
    assert!(sent < 2_000.0, "sent {sent} of 3,000 keys again");
    assert_eq!(
        target.run::<u64>(&["DBSIZE"]),
        3_000 + 2,
        "the keys, checkpoint and session"
    );
    assert_eq!(full_syncs(&source), 1, "{}", gunyu.traces());
}
