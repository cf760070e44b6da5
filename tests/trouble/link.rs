//! The link to the source: who waits on it, and who cuts it.

use std::time::{Duration, Instant};

use super::support::proxy::Way;
use super::support::workload::Seed;
use super::support::{Gunyu, Proxy, SOON, Server, wait_until};
use super::{BACKLOG, LONG, full_syncs, is_full_size, paced};

#[test]
fn wait_on_the_source_returns_when_the_target_has_it_and_not_before() {
    let (source, mut target) = (Server::start(), Server::start());
    let _gunyu = Gunyu::between(&source, &target);
    let (mut here, mut there) = (source.conn(), target.conn());
    let mut write_and_wait = |number: u32, limit_ms: u32| -> i64 {
        redis::cmd("SET").arg("k").arg(number).exec(&mut here).unwrap();
        redis::cmd("WAIT").arg(1).arg(limit_ms).query(&mut here).unwrap()
    };
    for number in 0..200 {
        assert_eq!(write_and_wait(number, 20_000), 1);
        let got: u32 = redis::cmd("GET").arg("k").query(&mut there).unwrap();
        assert_eq!(got, number);
    }
    target.sigstop();
    assert_eq!(write_and_wait(1_000, 1_500), 0);
    target.sigcont();
    assert_eq!(write_and_wait(1_001, 20_000), 1);
    assert_eq!(target.run::<u32>(&["GET", "k"]), 1_001);
}

#[test]
fn wait_returns_at_once_and_not_at_the_next_tick() {
    let (source, target) = (Server::start(), Server::start());
    let _gunyu = Gunyu::between(&source, &target);
    let mut here = source.conn();
    let mut fastest = Duration::MAX;
    for number in 0..50 {
        redis::cmd("SET").arg("k").arg(number).exec(&mut here).unwrap();
        let start = Instant::now();
        let got: i64 = redis::cmd("WAIT").arg(1).arg(20_000).query(&mut here).unwrap();
        assert_eq!(got, 1);
        fastest = fastest.min(start.elapsed());
    }
    // Acknowledgements go out every second anyway; one of fifty that is much faster was not waiting for that.
    assert!(fastest < Duration::from_millis(100), "{fastest:?}");
}

#[test]
fn a_stream_that_is_cut_at_every_other_byte_is_exact() {
    let seed = Seed::pick();
    let mut rng = seed.rng(0xB17E);
    let (source, target) = (Server::with(BACKLOG), Server::start());
    let to_source = Proxy::to(source.port());
    let mut gunyu = Gunyu::start(&to_source.url(), &target.url(), &[]);
    gunyu.wait_ready(SOON);
    let counters = paced(&source, &seed, 500);
    for _ in 0..if is_full_size() { 200 } else { 40 } {
        let (cuts, at) = (to_source.cuts(), source.offset());
        to_source.cut_after(Way::Down, rng.u64(1..400));
        wait_until(LONG, "the link is cut", || to_source.cuts() > cuts);
        gunyu.wait_status(LONG, "the stream has moved on", |status| {
            status[0]["Offset"]["Received"].as_u64().is_some_and(|n| n > at)
        });
    }
    let expected = counters.stop();
    gunyu.wait_applied(&source, LONG);
    expected.assert_on(&target);
    assert_eq!(full_syncs(&source), 1, "{}", gunyu.traces());
}
