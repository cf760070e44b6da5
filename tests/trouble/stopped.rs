//! A target that is stopped: the source does not notice, the log keeps its cap, and all is caught up with.

use super::support::workload::Seed;
use super::support::{Gunyu, SOON, Server, wait_until};
use super::{BACKLOG, LONG, MIB, Pair, full_syncs, is_full_size, log_bytes, output_buffer, paced};

#[test]
fn a_stopped_target_does_not_reach_the_source_and_is_caught_up_with() {
    let seconds = if is_full_size() { 60 } else { 10 };
    let seed = Seed::pick();
    let (source, mut target) = (Server::with(BACKLOG), Server::start());
    let mut gunyu = Gunyu::between(&source, &target);
    let counters = paced(&source, &seed, 20_000);
    counters.wait_more(10_000);
    target.sigstop();
    let before = source.offset();
    for _ in 0..seconds {
        counters.wait_more(20_000);
        let omem = output_buffer(&source);
        assert!(omem < 4 * MIB, "the source holds {omem} bytes back for gunyu");
        let rss = gunyu.stats().rss_bytes();
        assert!(rss < 256 * MIB, "gunyu takes {rss} bytes of memory");
        // Segments hold the stream and little more.
        let (log, stream) = (log_bytes(&gunyu.state_dir()), source.offset());
        assert!(
            log < stream + stream / 10 + MIB,
            "{log} bytes of log for {stream}"
        );
    }
    let at = source.offset();
    assert!(at > before + MIB);
    gunyu.wait_status(SOON, "the link is drained", |status| {
        status[0]["Offset"]["Received"].as_u64().is_some_and(|n| n >= at)
    });
    target.sigcont();
    let expected = counters.stop();
    gunyu.wait_applied(&source, LONG);
    expected.assert_on(&target);
    assert_eq!(full_syncs(&source), 1, "{}", gunyu.traces());
}

const CAP: u64 = 16 * MIB;

/// A log of 16 MiB, a stopped target, and writes of twice that size: the cap holds, and status says why nothing moves.
fn full_log(on_full: &str) -> Pair {
    let on_full = format!("channel.onFull={on_full}");
    let cap = format!("channel.storer.maxSize={CAP}");
    let mut pair = Pair::start(&[], &[&on_full, &cap, "channel.storer.logSize=2MiB"]);
    pair.target.sigstop();
    let filler = "x".repeat(512 << 10);
    for _ in 0..(2 * CAP / (512 << 10)) {
        let () = pair.source.run(&["SET", "filler", &filler]);
        let held = log_bytes(&pair.gunyu.state_dir());
        assert!(held <= CAP, "the log takes {held} bytes, its cap is {CAP}");
    }
    pair.wait_trouble("nothing can be released", "channel.storer.maxSize");
    pair
}

#[test]
fn a_full_log_closes_the_link_and_goes_on_by_itself() {
    let mut pair = full_log("disconnect");
    let source = &pair.source;
    wait_until(SOON, "the link is closed", || {
        source.info("replication")["connected_slaves"] == "0"
    });
    assert_eq!(output_buffer(&pair.source), 0);
    assert!(log_bytes(&pair.gunyu.state_dir()) <= CAP);
    pair.target.sigcont();
    pair.gunyu.wait_applied(&pair.source, LONG);
    assert!(log_bytes(&pair.gunyu.state_dir()) <= CAP);
    pair.finish();
}

#[test]
fn a_full_log_that_blocks_stops_reading_keeps_the_link_and_goes_on_by_itself() {
    let mut pair = full_log("block");
    let replication = pair.source.info("replication");
    assert_eq!(replication["connected_slaves"], "1");
    assert!(log_bytes(&pair.gunyu.state_dir()) <= CAP);
    pair.target.sigcont();
    pair.gunyu.wait_applied(&pair.source, LONG);
    pair.finish();
}
