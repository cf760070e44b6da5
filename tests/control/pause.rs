//! Pausing: the target stands still, the source does not notice, and going on is exact. A pause is a wish that outlives the process.

use super::support::workload::{Fill, Seed};
use super::support::{Gunyu, SOON, Server, wait_until};
use super::{
    BACKLOG, MIB, PATIENCE, counting, end_equal, end_exact, fill_strings, full_syncs, held, input, is_linked,
    live, wait_full_sync_at, wait_state,
};

/// The output buffer that the source keeps for gunyu, in bytes; 0 without a link.
pub(super) fn output_buffer(source: &Server) -> u64 {
    let list: String = source.run(&["CLIENT", "LIST", "TYPE", "replica"]);
    let sizes = list
        .split([' ', '\n'])
        .filter_map(|field| field.strip_prefix("omem=")?.parse::<u64>().ok());
    sizes.max().unwrap_or(0)
}

pub(super) fn pause(gunyu: &mut Gunyu, source: &Server) {
    gunyu.must("POST", "/syncer/pause?inputs=all");
    wait_state(gunyu, &source.addr(), "pause");
}

/// Waits until the log has received what the source has written so far.
#[track_caller]
fn wait_received(gunyu: &mut Gunyu, source: &Server) {
    let (at, addr) = (source.offset(), source.addr());
    gunyu.wait_status(PATIENCE, &format!("offset {at} is received"), |status| {
        input(status, &addr)["Offset"]["Received"].as_u64() >= Some(at)
    });
}

fn log_bytes(gunyu: &Gunyu) -> u64 {
    gunyu.metric("gunyu_log_bytes{").unwrap() as u64
}

/// While counters write, a paused input receives and applies nothing.
#[track_caller]
fn assert_stands_still(settings: &[&str]) {
    let seed = Seed::pick();
    let (source, target, mut gunyu) = live(settings);
    let counters = counting(&source, &seed, 4_000);
    counters.wait_more(1_000);
    pause(&mut gunyu, &source);
    let (before, digest, logged) = (gunyu.status()[0].clone(), target.digest(), log_bytes(&gunyu));
    for _ in 0..4 {
        counters.wait_more(1_500);
        let omem = output_buffer(&source);
        assert!(omem < MIB, "the source holds {omem} bytes back");
        assert!(is_linked(&source));
    }
    wait_received(&mut gunyu, &source);
    let after = gunyu.status()[0].clone();
    assert_eq!(
        target.digest(),
        digest,
        "the target stands still, checkpoint included"
    );
    assert_eq!(after["State"], "pause");
    assert_eq!(after["Offset"]["Applied"], before["Offset"]["Applied"]);
    assert_eq!(after["Offset"]["Checkpoint"], before["Offset"]["Checkpoint"]);
    assert!(after["LagBytes"].as_u64().unwrap() > 100_000, "{after}");
    assert!(log_bytes(&gunyu) > logged + 100_000);
    gunyu.must("POST", "/syncer/resume?inputs=all");
    wait_state(&mut gunyu, &source.addr(), "run");
    end_exact(counters, &mut gunyu, &source, &target);
    assert_eq!(full_syncs(&source), 1, "{}", gunyu.traces());
    end_equal(&mut gunyu, &source, &target);
}

#[test]
fn a_paused_target_stands_still_while_the_log_grows_and_resume_catches_up_exactly() {
    assert_stands_still(&[]);
}

#[test]
fn with_a_log_in_memory_a_paused_target_stands_still_too() {
    assert_stands_still(&["channel.type=memory"]);
}

/// What else is away when gunyu starts again.
#[derive(Clone, Copy, PartialEq)]
enum Away {
    Nothing,
    Target,
    Source,
}

#[track_caller]
fn assert_survives_a_crash(away: Away) {
    let seed = Seed::pick();
    let (mut source, mut target, mut gunyu) = live(&[]);
    let counters = counting(&source, &seed, 2_000);
    counters.wait_more(500);
    pause(&mut gunyu, &source);
    counters.wait_more(500);
    wait_received(&mut gunyu, &source);
    let before = held(&target);
    let snapshot = (away == Away::Target).then(|| target.snapshot());
    match away {
        Away::Nothing => {}
        Away::Target => target.kill9(),
        Away::Source => source.sigstop(),
    }
    gunyu.restart();
    wait_state(&mut gunyu, &source.addr(), "pause");
    if let Some(snapshot) = snapshot {
        counters.wait_more(500);
        wait_received(&mut gunyu, &source);
        target.restart_from(&snapshot);
    }
    if away == Away::Source {
        source.sigcont();
    }
    counters.wait_more(1_000);
    wait_received(&mut gunyu, &source);
    wait_state(&mut gunyu, &source.addr(), "pause");
    assert_eq!(held(&target), before, "nothing was applied");
    gunyu.must("POST", "/syncer/resume?inputs=all");
    end_exact(counters, &mut gunyu, &source, &target);
    assert_eq!(full_syncs(&source), 1, "{}", gunyu.traces());
    end_equal(&mut gunyu, &source, &target);
}

#[test]
fn a_pause_survives_kill_9_and_goes_on_receiving() {
    assert_survives_a_crash(Away::Nothing);
}

#[test]
fn a_pause_survives_kill_9_where_the_target_is_away() {
    assert_survives_a_crash(Away::Target);
}

#[test]
fn a_pause_survives_kill_9_where_the_source_is_away() {
    assert_survives_a_crash(Away::Source);
}

#[test]
fn a_dead_target_can_be_paused_and_resumed() {
    let seed = Seed::pick();
    let (source, mut target, mut gunyu) = live(&[]);
    let counters = counting(&source, &seed, 2_000);
    counters.wait_more(500);
    let snapshot = target.snapshot();
    target.kill9();
    gunyu.wait_status(SOON, "the target is missed", |status| {
        status[0]["Phase"] == "backoff"
    });
    pause(&mut gunyu, &source);
    counters.wait_more(500);
    wait_received(&mut gunyu, &source);
    target.restart_from(&snapshot);
    counters.wait_more(500);
    wait_received(&mut gunyu, &source);
    wait_state(&mut gunyu, &source.addr(), "pause");
    gunyu.must("POST", "/syncer/resume?inputs=all");
    end_exact(counters, &mut gunyu, &source, &target);
    assert_eq!(full_syncs(&source), 1, "{}", gunyu.traces());
}

const KEYS: usize = 3_000;

/// Long enough to be paused in its middle: 3,000 keys at 300 a second.
const SLOW: &str = "output.replay.rateLimit.opsPerSec=300";

#[track_caller]
fn assert_paused_full_sync_goes_on(settings: &[&str], goes_on_from_the_cursor: bool) {
    let seed = Seed::pick();
    let (source, target) = (Server::with(BACKLOG), Server::start());
    Fill::lasting(KEYS).run(&source, &seed);
    let settings: Vec<&str> = settings.iter().copied().chain([SLOW]).collect();
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &settings);
    wait_full_sync_at(&mut gunyu, &source.addr(), 200);
    let counters = counting(&source, &seed, 200);
    pause(&mut gunyu, &source);
    let keys = target.keys();
    assert!(keys < KEYS as u64, "it was paused in its middle: {keys}");
    counters.wait_more(200);
    assert_eq!(target.keys(), keys, "nothing is restored while paused");
    gunyu.must("POST", "/syncer/resume?inputs=all");
    gunyu.wait_ready(PATIENCE);
    let sent = gunyu.metric("redisGunYu_output_rdb_key_send{").unwrap() as u64;
    if goes_on_from_the_cursor {
        assert!(
            sent < KEYS as u64 + 400,
            "it began anew: {sent} keys were sent\n{}",
            gunyu.traces()
        );
        assert_eq!(full_syncs(&source), 1, "{}", gunyu.traces());
    }
    drop(counters.stop());
    end_equal(&mut gunyu, &source, &target);
}

#[test]
fn a_full_sync_that_was_paused_goes_on_from_its_cursor() {
    assert_paused_full_sync_goes_on(&[], true);
}

#[test]
fn with_a_log_in_memory_a_paused_full_sync_ends_in_an_equal_copy_too() {
    assert_paused_full_sync_goes_on(&["channel.type=memory"], false);
}

#[test]
fn a_full_sync_that_was_paused_goes_on_after_kill_9() {
    let seed = Seed::pick();
    let (source, target) = (Server::with(BACKLOG), Server::start());
    Fill::lasting(KEYS).run(&source, &seed);
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[SLOW]);
    wait_full_sync_at(&mut gunyu, &source.addr(), 200);
    pause(&mut gunyu, &source);
    gunyu.restart();
    let counters = counting(&source, &seed, 200);
    wait_state(&mut gunyu, &source.addr(), "pause");
    counters.wait_more(200);
    let keys = target.keys();
    assert!(keys < KEYS as u64, "{keys}");
    gunyu.must("POST", "/syncer/resume?inputs=all");
    drop(counters.stop());
    end_equal(&mut gunyu, &source, &target);
    assert_eq!(full_syncs(&source), 1, "{}", gunyu.traces());
}

/// A pause in which the source writes more than the log may take; its backlog still has it, or not.
#[track_caller]
fn assert_equal_after_a_full_log(backlog: &str) -> (Server, Gunyu) {
    let seed = Seed::pick();
    let (source, target) = (Server::with(&["--repl-backlog-size", backlog]), Server::start());
    let small = ["channel.storer.maxSize=2MiB", "channel.storer.logSize=256KiB"];
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &small);
    gunyu.wait_ready(PATIENCE);
    let counters = counting(&source, &seed, 1_000);
    pause(&mut gunyu, &source);
    let filler = "x".repeat(100 << 10);
    for number in 0..60 {
        // The same few keys: the snapshot that a full sync brings has to fit into the log as well.
        let () = source.run(&["SET", &format!("filler:{}", number % 4), &filler]);
    }
    gunyu.wait_status(SOON, "status tells that the log is full", |status| {
        let error = &status[0]["LastError"];
        error["Hint"]
            .as_str()
            .is_some_and(|hint| hint.contains("gunyu resume"))
    });
    wait_until(SOON, "the source keeps nothing for gunyu", || {
        output_buffer(&source) < MIB
    });
    assert!(log_bytes(&gunyu) <= 2 * MIB);
    wait_state(&mut gunyu, &source.addr(), "pause");
    gunyu.must("POST", "/syncer/resume?inputs=all");
    end_exact(counters, &mut gunyu, &source, &target);
    end_equal(&mut gunyu, &source, &target);
    (source, gunyu)
}

#[test]
fn a_pause_that_fills_the_log_ends_in_an_equal_copy() {
    let (source, gunyu) = assert_equal_after_a_full_log("64mb");
    assert_eq!(full_syncs(&source), 1, "{}", gunyu.traces());
}

#[test]
fn a_pause_that_fills_the_log_and_outlasts_the_backlog_ends_in_an_equal_copy() {
    let (source, gunyu) = assert_equal_after_a_full_log("16kb");
    assert_eq!(full_syncs(&source), 2, "{}", gunyu.traces());
}

/// While paused, the source begins a new history: its snapshot comes when nobody applies.
#[track_caller]
fn assert_takes_a_new_history_while_paused(settings: &[&str]) {
    let seed = Seed::pick();
    let source = Server::with(&["--repl-backlog-size", "64mb", "--rdbcompression", "no"]);
    let target = Server::start();
    fill_strings(&source, 40, 100 << 10);
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), settings);
    gunyu.wait_ready(PATIENCE);
    pause(&mut gunyu, &source);
    let () = source.run(&["DEBUG", "CHANGE-REPL-ID"]);
    let _: u64 = source.run(&["CLIENT", "KILL", "TYPE", "replica"]);
    wait_until(SOON, "the source is asked for a snapshot", || {
        full_syncs(&source) == 2
    });
    let before = held(&target);
    let counters = counting(&source, &seed, 500);
    counters.wait_more(1_000);
    wait_until(SOON, "the source keeps nothing for gunyu", || {
        output_buffer(&source) < MIB
    });
    wait_state(&mut gunyu, &source.addr(), "pause");
    assert!(held(&target) == before, "nothing was applied");
    gunyu.must("POST", "/syncer/resume?inputs=all");
    end_exact(counters, &mut gunyu, &source, &target);
    end_equal(&mut gunyu, &source, &target);
}

#[test]
fn a_new_history_of_the_source_waits_for_the_end_of_a_pause() {
    assert_takes_a_new_history_while_paused(&[]);
}

#[test]
fn with_a_log_in_memory_a_new_history_of_the_source_waits_for_the_end_of_a_pause_too() {
    assert_takes_a_new_history_while_paused(&["channel.type=memory", "channel.memory.maxSize=1MiB"]);
}

#[test]
fn pausing_and_resuming_twice_is_a_success_that_changes_nothing() {
    let seed = Seed::pick();
    let (source, target, mut gunyu) = live(&[]);
    let counters = counting(&source, &seed, 1_000);
    counters.wait_more(100);
    // What runs already is resumed.
    let answer = gunyu.must("POST", "/syncer/resume?inputs=all");
    assert_eq!(answer["ok"], true, "{answer}");
    for _ in 0..2 {
        let answer = gunyu.must("POST", "/syncer/pause?inputs=all");
        assert_eq!(answer["inputs"][0], source.addr(), "{answer}");
        wait_state(&mut gunyu, &source.addr(), "pause");
    }
    for _ in 0..2 {
        gunyu.must("POST", "/syncer/resume?inputs=all");
        wait_state(&mut gunyu, &source.addr(), "run");
    }
    end_exact(counters, &mut gunyu, &source, &target);
    assert_eq!(full_syncs(&source), 1, "{}", gunyu.traces());
}

#[test]
fn inputs_are_named_by_every_address_of_their_shard_and_an_unknown_one_is_told() {
    let (source, target) = (Server::start(), Server::start());
    let replica = Server::start();
    replica.follow(&source);
    replica.wait_caught_up(&source, PATIENCE);
    let mut gunyu = Gunyu::between(&source, &target);
    for call in ["pause", "resume", "fullsync", "handover"] {
        let path = format!("/syncer/{call}");
        let (error, hint) = gunyu.refused(400, "POST", &path);
        assert!(
            error.contains("no input") && hint.contains(&source.addr()),
            "{error} {hint}"
        );
        gunyu.refused(400, "POST", &format!("{path}?inputs="));
        gunyu.refused(400, "POST", &format!("{path}?inputs=%20,"));
        let (error, hint) = gunyu.refused(400, "POST", &format!("{path}?inputs=10.1.2.3:4"));
        assert!(
            error.contains("10.1.2.3:4") && hint.contains(&source.addr()),
            "{error} {hint}"
        );
        let known_and_unknown = format!("{path}?inputs={},10.1.2.3", source.addr());
        let (error, _) = gunyu.refused(400, "POST", &known_and_unknown);
        assert!(error.contains("10.1.2.3"), "{error}");
    }
    assert_eq!(
        gunyu.status()[0]["State"],
        "run",
        "what was refused changed nothing"
    );
    let own = format!("localhost:{}", source.port());
    let encoded = source.addr().replace(':', "%3A");
    for name in ["127.0.0.1", "localhost", &own, &source.addr(), &encoded, "all"] {
        gunyu.must("POST", &format!("/syncer/pause?inputs={name}"));
        wait_state(&mut gunyu, &source.addr(), "pause");
        gunyu.must("POST", &format!("/syncer/resume?inputs={name}"));
        wait_state(&mut gunyu, &source.addr(), "run");
    }
    // The replica is known as soon as the source has been asked for its shard, once a second.
    let by_replica = format!("/syncer/pause?inputs={}", replica.addr());
    wait_until(SOON, "the replica's address is known", || {
        gunyu.call("POST", &by_replica).status == 200
    });
    wait_state(&mut gunyu, &source.addr(), "pause");
    gunyu.must("POST", &format!("/syncer/resume?inputs={}", replica.addr()));
    wait_state(&mut gunyu, &source.addr(), "run");
}

/// One input of two.
#[test]
fn a_pause_of_one_input_leaves_the_other_alone() {
    let seed = Seed::pick();
    let (one, other) = (Server::with(BACKLOG), Server::with(BACKLOG));
    let (here, there) = (Server::start(), Server::start());
    let args = super::sync_args(&[one.addr(), other.addr()], &[here.addr(), there.addr()], &[]);
    let mut gunyu = Gunyu::with_args(args, &[]);
    gunyu.wait_ready(PATIENCE);
    let answer = gunyu.must("POST", &format!("/syncer/pause?inputs={}", one.addr()));
    assert_eq!(answer["inputs"], serde_json::json!([one.addr()]));
    wait_state(&mut gunyu, &one.addr(), "pause");
    let counters = (counting(&one, &seed, 500), counting(&other, &seed, 500));
    counters.0.wait_more(100);
    end_exact(counters.1, &mut gunyu, &other, &there);
    let status = gunyu.status();
    assert_eq!(input(&status, &other.addr())["State"], "run");
    assert_eq!(input(&status, &one.addr())["State"], "pause");
    assert!(held(&here).is_empty(), "the paused one has none of it");
    gunyu.must("POST", "/syncer/resume?inputs=all");
    end_exact(counters.0, &mut gunyu, &one, &here);
    let status = gunyu.status();
    assert!(
        status
            .as_array()
            .unwrap()
            .iter()
            .all(|input| input["State"] == "run"),
        "{status}"
    );
}
