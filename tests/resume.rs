//! Where a pipeline goes on: each row of the table of DESIGN § 4 (`core::resume`) with real servers, then failovers of the
//! source, crashes in the middle of a full sync, and damage to the log.
//!
//! Which row was taken is read from gunyu's traces (`planned case=…`), whether there was a full sync from the source's own count,
//! its reason from status and metric, and that nothing was lost or repeated from counters or digests.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use support::proxy::Fault;
use support::wire::{Batch, put};
use support::workload::{Counters, Fill, Options, Seed};
use support::{Gunyu, Proxy, SOON, Server, assert_equal, gunyu, wait_for, wait_until};

/// How long a busy machine may take to catch up.
const LONG: Duration = Duration::from_secs(180);

/// The source's backlog is large enough for whatever happens here.
const BACKLOG: &[&str] = &["--repl-backlog-size", "64mb"];

/// Keys of a full sync that is to be watched.
const KEYS: usize = 12_000;

/// Random points at which something is killed or cut: more where `GUNYU_FULL=1` asks for the full size.
fn points(by_default: usize) -> usize {
    if std::env::var_os("GUNYU_FULL").is_some_and(|value| value == "1") {
        by_default * 5
    } else {
        by_default
    }
}

/// Two servers and a gunyu that is live.
fn live(source_options: &[&str], set: &[&str]) -> (Server, Server, Gunyu) {
    let (source, target) = (Server::with(source_options), Server::start());
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), set);
    gunyu.wait_ready(SOON);
    (source, target, gunyu)
}

fn full_syncs(source: &Server) -> u64 {
    source.info("stats")["sync_full"].parse().unwrap()
}

/// The row of the table that the newest plan named.
fn last_case(gunyu: &Gunyu) -> char {
    let traces = gunyu.traces();
    let plan = traces.rsplit("case=").next().unwrap();
    plan.chars().next().unwrap()
}

/// The full syncs that this life of gunyu has counted, by reason.
fn counted(gunyu: &Gunyu) -> Vec<(String, u64)> {
    let text = gunyu.metrics();
    let samples = text
        .lines()
        .filter(|line| line.starts_with("gunyu_full_sync_total{"));
    let parsed = samples.map(|line| {
        let reason = line.split("reason=\"").nth(1).unwrap().split('"').next().unwrap();
        (
            reason.to_owned(),
            line.rsplit(' ').next().unwrap().parse().unwrap(),
        )
    });
    parsed.collect()
}

/// Status names the reason of the last full sync, and the metric counts it.
#[track_caller]
fn assert_reason(gunyu: &Gunyu, reason: &str) {
    let status = gunyu.status();
    assert_eq!(status[0]["FullSync"]["Reason"], reason, "{}", gunyu.traces());
    assert_eq!(counted(gunyu), [(reason.to_owned(), 1)]);
}

/// This life of gunyu has asked for no snapshot.
#[track_caller]
fn assert_no_full_sync(gunyu: &Gunyu) {
    assert_eq!(counted(gunyu), [], "{}", gunyu.traces());
}

/// Everything is on the target, exactly.
#[track_caller]
fn finish(counters: Counters, gunyu: &mut Gunyu, source: &Server, target: &Server) {
    let expected = counters.stop();
    gunyu.wait_applied(source, LONG);
    expected.assert_on(source);
    expected.assert_on(target);
}

/// Stops gunyu (its checkpoint goes) and compares everything.
#[track_caller]
fn finish_equal(gunyu: &mut Gunyu, source: &Server, target: &Server) {
    gunyu.wait_applied(source, LONG);
    assert_eq!(gunyu.term().code(), Some(0), "{}", gunyu.traces());
    assert_equal(source, target);
}

// The rows of the table.

#[test]
fn case_a_a_restart_within_the_log_reads_on_from_the_checkpoint() {
    let seed = Seed::pick();
    let (source, mut target, mut gunyu) = live(BACKLOG, &[]);
    let counters = Counters::start(&source, &seed);
    // A frozen target: the log runs ahead of the checkpoint, so that there is something to read in it.
    counters.wait_more(2_000);
    target.sigstop();
    counters.wait_more(10_000);
    gunyu.kill9();
    target.sigcont();
    gunyu.restart();
    gunyu.wait_ready(LONG);
    assert_eq!(last_case(&gunyu), 'A');
    finish(counters, &mut gunyu, &source, &target);
    assert_no_full_sync(&gunyu);
    assert_eq!(full_syncs(&source), 1);
}

#[test]
fn case_b_a_log_that_has_moved_past_the_checkpoint_is_dropped_and_the_source_asked_from_there() {
    let seed = Seed::pick();
    // A small cap, at which the log is full again and again.
    let small = ["channel.storer.maxSize=4MiB", "channel.storer.logSize=1MiB"];
    let (source, mut target, mut gunyu) = live(BACKLOG, &small);
    let counters = Counters::start(&source, &seed);
    counters.wait_more(2_000);
    let dump = target.snapshot();
    let start = source.offset();
    // So much is on the target that a log of 4 MiB cannot hold what was there at the time of the dump.
    gunyu.wait_status(LONG, "the log has let go of the time of the dump", |status| {
        status[0]["Offset"]["Applied"]
            .as_u64()
            .is_some_and(|at| at > start + (8 << 20))
    });
    target.restart_from(&dump);
    wait_for(LONG, "the log is dropped", || {
        let traces = gunyu.traces();
        if traces.contains("case=B") {
            Ok(())
        } else {
            Err(traces)
        }
    });
    finish(counters, &mut gunyu, &source, &target);
    assert_eq!(full_syncs(&source), 1, "{}", gunyu.traces());
}

#[test]
fn case_c_without_a_folder_the_checkpoint_and_the_backlog_suffice() {
    let seed = Seed::pick();
    let (source, mut target, mut gunyu) = live(BACKLOG, &[]);
    let counters = Counters::start(&source, &seed);
    counters.wait_more(2_000);
    // The log knows more than the target when it is deleted: all of that comes from the source again.
    target.sigstop();
    counters.wait_more(10_000);
    gunyu.forget();
    target.sigcont();
    gunyu.restart();
    gunyu.wait_ready(LONG);
    assert_eq!(last_case(&gunyu), 'C');
    finish(counters, &mut gunyu, &source, &target);
    assert_no_full_sync(&gunyu);
    assert_eq!(full_syncs(&source), 1);
}

#[test]
fn case_d_a_crash_in_the_middle_of_a_full_sync_goes_on_at_the_cursor() {
    let seed = Seed::pick();
    let (source, target) = (Server::with(BACKLOG), Server::start());
    Fill::lasting(KEYS).run(&source, &seed);
    let slow = format!("output.replay.rateLimit.opsPerSec={}", KEYS / 6);
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[&slow]);
    wait_keys(&mut gunyu, KEYS as u64 / 2);
    gunyu.kill9();
    gunyu.restart();
    gunyu.wait_ready(LONG);
    assert_eq!(last_case(&gunyu), 'D');
    let sent = gunyu.metric("redisGunYu_output_rdb_key_send").unwrap();
    // Half was confirmed when it was killed; of the rest at most what a second confirms may be sent again.
    assert!(
        sent > 0.0 && sent <= KEYS as f64 * 0.75,
        "sent {sent} of {KEYS} keys after the restart"
    );
    assert_eq!(gunyu.status()[0]["FullSync"]["Reason"], "resumed");
    gunyu.wait_applied(&source, LONG);
    assert_no_full_sync(&gunyu);
    assert_eq!(full_syncs(&source), 1);
    finish_equal(&mut gunyu, &source, &target);
}

/// Waits until a full sync has replayed so many keys, and is not over.
#[track_caller]
fn wait_keys(gunyu: &mut Gunyu, keys: u64) {
    gunyu.wait_status(LONG, &format!("{keys} keys are replayed"), |status| {
        assert_ne!(
            status[0]["Phase"], "incremental",
            "the full sync was over too soon"
        );
        status[0]["FullSync"]["Keys"].as_u64().is_some_and(|n| n >= keys)
    });
}

/// The newest cursor on the target, and how many keys of others are there at the same moment.
fn cursor_and_keys(target: &Server) -> (Option<String>, u64) {
    const ASK: &str = "local own = redis.call('KEYS', 'redis-gunyu-checkpoint:*') local cursor = false \
        for _, key in ipairs(own) do cursor = cursor or redis.call('HGET', key, 'cursor') end \
        return {cursor, redis.call('DBSIZE') - #own}";
    let mut ask = redis::cmd("EVAL");
    ask.arg(ASK).arg(0).query(&mut target.conn()).unwrap()
}

/// On narrow lines much is under way, and the mark, which has a line of its own, overtakes it.
#[test]
fn the_cursor_of_a_full_sync_never_counts_a_key_that_is_not_on_the_target() {
    let mut rng = Seed::pick().rng(0xC0);
    let (source, target) = (Server::start(), Server::start());
    let mut batch = Batch::default();
    for number in 0..8_000 {
        let value: String = std::iter::repeat_with(|| rng.alphanumeric())
            .take(2_000)
            .collect();
        put!(batch, "SET", format!("key:{number}"), value);
    }
    batch.must(&mut source.conn());
    let narrow = Proxy::to(target.port());
    narrow.strike(Fault::Narrow);
    let mut gunyu = Gunyu::start(&source.url(), &narrow.url(), &[]);
    let mut cursors = BTreeSet::new();
    wait_until(LONG, "some cursors have been recorded", || {
        let (cursor, keys) = cursor_and_keys(&target);
        let counted = cursor.map_or(0, |cursor| cursor.split(':').nth(2).unwrap().parse().unwrap());
        assert!(
            counted <= keys,
            "the cursor counts {counted} keys, and {keys} are there"
        );
        cursors.insert(counted);
        cursors.len() > 4
    });
    narrow.heal();
    gunyu.wait_ready(LONG);
    finish_equal(&mut gunyu, &source, &target);
}

/// The source says SELECT once.
#[test]
fn what_follows_a_select_stays_in_its_database_whatever_is_cut_or_killed() {
    let (source, target) = (Server::with(BACKLOG), Server::start());
    let (to_source, to_target) = (Proxy::to(source.port()), Proxy::to(target.port()));
    let mut gunyu = Gunyu::start(&to_source.url(), &to_target.url(), &[]);
    gunyu.wait_ready(SOON);
    let mut conn = source.conn();
    redis::cmd("SELECT").arg(3).exec(&mut conn).unwrap();
    type Break<'a> = (&'static str, &'a dyn Fn(&mut Gunyu));
    let breaks: [Break; 4] = [
        ("nothing", &|_| {}),
        ("target", &|_| assert!(to_target.cut() > 0)),
        ("source", &|_| assert!(to_source.cut() > 0)),
        ("gunyu", &|gunyu| {
            gunyu.kill9();
            gunyu.restart();
            gunyu.wait_ready(LONG);
        }),
    ];
    for (what, breaks) in breaks {
        breaks(&mut gunyu);
        redis::cmd("RPUSH")
            .arg("broken")
            .arg(what)
            .exec(&mut conn)
            .unwrap();
        gunyu.wait_applied(&source, LONG);
        let databases: Vec<u32> = source.keyspace().into_keys().collect();
        assert_eq!(databases, [3]);
    }
    finish_equal(&mut gunyu, &source, &target);
    assert_eq!(full_syncs(&source), 1, "{}", gunyu.traces());
}

#[test]
fn case_e_the_first_sync_says_so() {
    let seed = Seed::pick();
    let (source, target) = (Server::start(), Server::start());
    Fill::lasting(2_000).run(&source, &seed);
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    gunyu.wait_ready(SOON);
    assert_eq!(last_case(&gunyu), 'E');
    assert_reason(&gunyu, "first sync");
    finish_equal(&mut gunyu, &source, &target);
}

#[test]
fn case_f_a_source_with_another_dataset_is_synced_anew_while_gunyu_runs() {
    let seed = Seed::pick();
    let (mut source, target) = (Server::start(), Server::start());
    Fill::lasting(2_000).run(&source, &seed);
    let mut gunyu = Gunyu::between(&source, &target);
    source.restart();
    Fill::lasting(1_000).run(&source, &Seed::of(1));
    wait_reason(&mut gunyu, "history diverged");
    finish_equal(&mut gunyu, &source, &target);
}

#[track_caller]
fn wait_reason(gunyu: &mut Gunyu, reason: &str) {
    gunyu.wait_status(LONG, &format!("a full sync because of: {reason}"), |status| {
        status[0]["FullSync"]["Reason"] == reason
    });
}

#[test]
fn case_f_a_source_with_another_dataset_is_synced_anew_after_a_restart() {
    let seed = Seed::pick();
    let (mut source, target) = (Server::start(), Server::start());
    Fill::lasting(2_000).run(&source, &seed);
    let mut gunyu = Gunyu::between(&source, &target);
    gunyu.kill9();
    source.restart();
    Fill::lasting(1_000).run(&source, &Seed::of(1));
    gunyu.restart();
    gunyu.wait_ready(LONG);
    assert_eq!(last_case(&gunyu), 'F');
    assert_reason(&gunyu, "history diverged");
    finish_equal(&mut gunyu, &source, &target);
}

#[test]
fn case_g_a_backlog_that_is_too_small_makes_the_source_refuse() {
    let seed = Seed::pick();
    let (source, target, mut gunyu) = live(&["--repl-backlog-size", "16kb"], &[]);
    let counters = Counters::start(&source, &seed);
    counters.wait_more(2_000);
    gunyu.wait_ready(LONG);
    gunyu.kill9();
    let start = source.offset();
    wait_until(LONG, "the backlog has moved on", || {
        source.offset() > start + (1 << 20)
    });
    gunyu.restart();
    wait_reason(&mut gunyu, "source refused");
    assert_reason(&gunyu, "source refused");
    finish(counters, &mut gunyu, &source, &target);
    finish_equal(&mut gunyu, &source, &target);
}

// What is no row of its own.

#[test]
fn an_idle_pair_needs_no_full_sync_after_the_sources_pings() {
    let (source, target, mut gunyu) = live(&[], &[]);
    let () = source.run(&["SET", "k", "v"]);
    gunyu.wait_applied(&source, SOON);
    // By default the source pings every 10 s: two of them, and gunyu records what it has heard.
    let start = source.offset();
    wait_until(LONG, "the source has pinged twice", || {
        source.offset() >= start + 28
    });
    gunyu.wait_applied(&source, SOON);
    gunyu.kill9();
    gunyu.restart();
    gunyu.wait_ready(SOON);
    assert_eq!(last_case(&gunyu), 'A');
    let () = source.run(&["SET", "k", "w"]);
    gunyu.wait_applied(&source, SOON);
    assert_no_full_sync(&gunyu);
    assert_eq!(target.run::<String>(&["GET", "k"]), "w");
    assert_eq!(full_syncs(&source), 1);
}

#[test]
fn a_source_that_restarts_from_its_own_dump_goes_on_without_a_full_sync() {
    let seed = Seed::pick();
    let (mut source, target, mut gunyu) = live(BACKLOG, &[]);
    let counters = Counters::start(&source, &seed);
    counters.wait_more(5_000);
    let expected = counters.stop();
    gunyu.wait_applied(&source, LONG);
    // The reply is the end of the connection.
    let end: redis::RedisResult<()> = redis::cmd("SHUTDOWN").arg("SAVE").query(&mut source.conn());
    drop(end);
    source.restart();
    let () = source.run(&["SET", "after", "restart"]);
    gunyu.wait_applied(&source, LONG);
    assert_eq!(full_syncs(&source), 0, "{}\n{}", gunyu.traces(), source.log());
    assert_eq!(target.run::<String>(&["GET", "after"]), "restart");
    expected.assert_on(&target);
    finish_equal(&mut gunyu, &source, &target);
}

#[test]
fn a_source_that_restarts_from_an_older_dump_is_synced_anew() {
    let seed = Seed::pick();
    let (mut source, target, mut gunyu) = live(BACKLOG, &[]);
    let counters = Counters::start(&source, &seed);
    counters.wait_more(2_000);
    // The child that sent gunyu its snapshot may still be there.
    wait_until(SOON, "no dump is under way", || {
        source.info("persistence")["rdb_bgsave_in_progress"] == "0"
    });
    let dump = source.snapshot();
    counters.wait_more(5_000);
    drop(counters.stop());
    gunyu.wait_applied(&source, LONG);
    source.restart_from(&dump);
    wait_reason(&mut gunyu, "history diverged");
    finish_equal(&mut gunyu, &source, &target);
}

/// A source that may not be asked for its history, and a target that was restored from a backup: offsets are all that fits.
#[test]
fn a_log_is_not_read_from_a_checkpoint_of_another_history_whose_offset_it_has() {
    let nosy = ["--user", "shy", "on", "nopass", "~*", "&*", "+@all", "-info"];
    let (mut source, mut target) = (Server::with(&nosy), Server::start());
    let url = format!("redis://shy:any@{}", source.addr());
    let pour = |source: &Server, name: &str, keys: u32| {
        let script = "for i = 1, ARGV[2] do redis.call('SET', ARGV[1] .. i, string.rep('x', 100)) end";
        let () = source.run(&["EVAL", script, "0", name, &keys.to_string()]);
    };
    let mut gunyu = Gunyu::start(&url, &target.url(), &[]);
    gunyu.wait_ready(SOON);
    pour(&source, "earlier:", 500);
    gunyu.wait_applied(&source, SOON);
    assert_eq!(gunyu.term().code(), Some(0), "{}", gunyu.traces());
    let (backup, at) = (target.snapshot(), source.offset());

    source.restart();
    gunyu.restart();
    gunyu.wait_ready(SOON);
    let began = source.offset();
    pour(&source, "later:", 1_500);
    gunyu.wait_applied(&source, SOON);
    assert_eq!(gunyu.term().code(), Some(0), "{}", gunyu.traces());
    assert!(began < at && at < source.offset(), "{began} {at}");

    target.restart_from(&backup);
    gunyu.restart();
    gunyu.wait_ready(SOON);
    finish_equal(&mut gunyu, &source, &target);
}

// Failover of the source.

/// A source, its native replica, a target.
fn with_replica() -> (Server, Server, Server) {
    let (a, b) = (Server::with(BACKLOG), Server::with(BACKLOG));
    b.follow(&a);
    b.wait_caught_up(&a, SOON);
    (a, b, Server::start())
}

/// `FAILOVER`: the roles are exchanged without a lost write. Clients of the old master are sent away.
fn fail_over(a: &Server, b: &Server, counters: &Counters) {
    let () = a.run(&["FAILOVER", "TO", "127.0.0.1", &b.port().to_string()]);
    wait_until(SOON, "the roles are exchanged", || {
        a.info("replication")["role"] == "slave" && b.info("replication")["role"] == "master"
    });
    counters.move_to(&b.url());
    let _: i64 = a.run(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
}

#[test]
fn gunyu_keeps_following_a_source_that_becomes_a_replica() {
    let seed = Seed::pick();
    let (a, b, target) = with_replica();
    let mut gunyu = Gunyu::between(&a, &target);
    let counters = Counters::start(&a, &seed);
    counters.wait_more(5_000);
    fail_over(&a, &b, &counters);
    counters.wait_more(5_000);
    // And back, under load as well.
    fail_over(&b, &a, &counters);
    counters.wait_more(5_000);
    let expected = counters.stop();
    b.wait_caught_up(&a, LONG);
    gunyu.wait_applied(&a, LONG);
    expected.assert_on(&b);
    expected.assert_on(&target);
    assert_reason(&gunyu, "first sync");
    finish_equal(&mut gunyu, &a, &target);
}

/// `gunyu sync --config`, so that the source can be another one after a restart.
fn write_config(file: &Path, source: &Server, target: &Server) {
    let text = format!(
        "input:\n  name: moving\n  redis:\n    addresses: [{}]\noutput:\n  redis:\n    addresses: [{}]\n",
        source.addr(),
        target.addr()
    );
    fs::write(file, text).unwrap();
}

#[test]
fn a_restart_with_the_promoted_replica_as_the_source_continues_by_the_old_id() {
    let seed = Seed::pick();
    let (mut a, b, target) = with_replica();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gunyu.yaml");
    write_config(&file, &a, &target);
    let args = vec!["sync".to_owned(), format!("--config={}", file.display())];
    let mut gunyu = Gunyu::with_args(args, &[]);
    gunyu.wait_ready(SOON);
    let counters = Counters::start(&a, &seed);
    counters.wait_more(10_000);
    gunyu.kill9();
    counters.wait_more(3_000);
    // No more writes, so that the replica can have all of them when the master dies.
    let () = a.run(&["CLIENT", "PAUSE", "600000", "WRITE"]);
    b.wait_caught_up(&a, LONG);
    a.kill9();
    let () = b.run(&["REPLICAOF", "NO", "ONE"]);
    counters.move_to(&b.url());
    counters.wait_more(3_000);
    write_config(&file, &b, &target);
    gunyu.restart();
    gunyu.wait_ready(LONG);
    assert_eq!(last_case(&gunyu), 'A');
    counters.wait_more(3_000);
    finish(counters, &mut gunyu, &b, &target);
    assert_no_full_sync(&gunyu);
    assert_eq!(full_syncs(&b), 0);
    finish_equal(&mut gunyu, &b, &target);
}

#[test]
fn a_failover_during_a_full_sync_needs_no_second_one() {
    let seed = Seed::pick();
    let (a, b, target) = with_replica();
    Fill::lasting(KEYS).run(&a, &seed);
    b.wait_caught_up(&a, LONG);
    let slow = format!("output.replay.rateLimit.opsPerSec={}", KEYS / 5);
    let mut gunyu = Gunyu::start(&a.url(), &target.url(), &[&slow]);
    let options = Options {
        per_second: Some(500),
        ..Options::default()
    };
    let counters = Counters::with(&a.url(), &seed, &options);
    wait_keys(&mut gunyu, KEYS as u64 / 4);
    fail_over(&a, &b, &counters);
    counters.wait_more(200);
    let expected = counters.stop();
    a.wait_caught_up(&b, LONG);
    gunyu.wait_applied(&a, LONG);
    expected.assert_on(&target);
    assert_reason(&gunyu, "first sync");
    finish_equal(&mut gunyu, &a, &target);
}

// kill -9 around a full sync.

#[test]
fn a_kill_while_the_snapshot_arrives_ends_in_an_exact_copy() {
    let seed = Seed::pick();
    let mut rng = seed.rng(0xD1);
    // The child that writes the snapshot waits after each key: it takes about three seconds.
    let slow = ["--rdb-key-save-delay", "250", "--repl-backlog-size", "64mb"];
    let (source, target) = (Server::with(&slow), Server::start());
    Fill::lasting(KEYS).run(&source, &seed);
    let counters = Counters::with(
        &source.url(),
        &seed,
        &Options {
            per_second: Some(2_000),
            ..Options::default()
        },
    );
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    for _ in 0..points(3) {
        let bytes = rng.u64(1..400_000) as f64;
        wait_for(LONG, "some of the snapshot is here", || {
            let got = gunyu
                .request("GET", "/prometheus")
                .map(|r| r.text())
                .unwrap_or_default();
            let line = got.lines().find(|line| line.starts_with("redisGunYu_rdb_write"));
            let n: f64 = line
                .and_then(|line| line.rsplit(' ').next()?.parse().ok())
                .unwrap_or(0.0);
            if n >= bytes {
                Ok(())
            } else {
                Err(format!("{n} of {bytes}"))
            }
        });
        gunyu.kill9();
        gunyu.restart();
    }
    let () = source.run(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
    gunyu.wait_ready(LONG);
    finish(counters, &mut gunyu, &source, &target);
    finish_equal(&mut gunyu, &source, &target);
}

#[test]
fn a_kill_during_and_right_after_the_replay_of_the_snapshot_ends_in_an_exact_copy() {
    let seed = Seed::pick();
    let mut rng = seed.rng(0xD2);
    let (source, target) = (Server::with(BACKLOG), Server::start());
    Fill::lasting(KEYS).run(&source, &seed);
    let counters = Counters::with(
        &source.url(),
        &seed,
        &Options {
            per_second: Some(100), // well below the rate limit, which holds for the stream as well
            ..Options::default()
        },
    );
    let points = points(3);
    // Each start may send what the limit allows in a second at once, so more of them need a lower limit.
    let slow = format!("output.replay.rateLimit.opsPerSec={}", KEYS / (3 * points + 1));
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[&slow]);
    for point in 1..=points {
        let keys = KEYS * point / (points + 1);
        wait_keys(&mut gunyu, keys as u64 - rng.u64(..100));
        gunyu.kill9();
        gunyu.restart();
    }
    gunyu.wait_ready(LONG);
    gunyu.restart();
    gunyu.wait_ready(LONG);
    assert_eq!(last_case(&gunyu), 'A');
    finish(counters, &mut gunyu, &source, &target);
    assert_eq!(full_syncs(&source), 1, "{}", gunyu.traces());
    finish_equal(&mut gunyu, &source, &target);
}

// Damage to the log.

/// Files below `dir` with this extension, oldest first: a segment's name begins with its offset.
fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|have| have == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The log runs ahead of a frozen target by several segments of 1 MiB; then gunyu is killed.
struct Ahead {
    seed: Seed,
    source: Server,
    target: Server,
    gunyu: Gunyu,
    counters: Counters,
}

impl Ahead {
    fn by(bytes: u64) -> Ahead {
        let seed = Seed::pick();
        let (source, mut target, mut gunyu) = live(BACKLOG, &["channel.storer.logSize=1MiB"]);
        let counters = Counters::start(&source, &seed);
        counters.wait_more(2_000);
        target.sigstop();
        let start = gunyu.status()[0]["Offset"]["Received"].as_u64().unwrap();
        gunyu.wait_status(LONG, "the log is ahead", |status| {
            status[0]["Offset"]["Received"]
                .as_u64()
                .is_some_and(|at| at > start + bytes)
        });
        gunyu.kill9();
        Ahead {
            seed,
            source,
            target,
            gunyu,
            counters,
        }
    }

    /// Goes on: everything ends exact, and without a full sync, since the backlog still has what was damaged.
    fn finish(mut self) -> Gunyu {
        self.target.sigcont();
        self.gunyu.restart();
        self.gunyu.wait_ready(LONG);
        finish(self.counters, &mut self.gunyu, &self.source, &self.target);
        assert_eq!(full_syncs(&self.source), 1, "{}", self.gunyu.traces());
        drop(self.seed);
        self.gunyu
    }
}

#[test]
fn a_flipped_byte_in_the_log_never_reaches_the_target() {
    let ahead = Ahead::by(5 << 20);
    let mut rng = ahead.seed.rng(0xDA);
    let segments = files(&ahead.gunyu.state_dir(), "seg");
    assert!(segments.len() >= 4, "{segments:?}");
    let victim = &segments[segments.len() / 2];
    // Behind the segment's header, so that it is a block that is hit.
    let at = rng.u64(200..fs::metadata(victim).unwrap().len() - 200);
    let mut file = File::options().read(true).write(true).open(victim).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[byte[0] ^ 0x20]).unwrap();
    drop(file);
    let name = victim.file_name().unwrap().to_string_lossy().into_owned();
    let gunyu = ahead.finish();
    let traces = gunyu.traces();
    let told = traces
        .lines()
        .find(|line| line.contains(&name) && (line.contains("WARN") || line.contains("ERROR")));
    let told = told.unwrap_or_else(|| panic!("no trace names {name}:\n{traces}"));
    assert!(told.contains("byte") || told.contains("offset"), "{told}");
}

#[test]
fn a_torn_tail_is_cut_and_reported_and_asked_for_again() {
    for _ in 0..points(2) {
        let ahead = Ahead::by(2 << 20);
        let mut rng = ahead.seed.rng(0xDB);
        let last = files(&ahead.gunyu.state_dir(), "seg").pop().unwrap();
        let len = fs::metadata(&last).unwrap().len();
        // A segment that has just been created may be empty: then it is torn already.
        let left = rng.u64(..len.max(1));
        println!("{} is cut from {len} to {left} bytes", last.display());
        let mut file = File::options().append(true).open(&last).unwrap();
        file.set_len(left).unwrap();
        // Too little for anything whole: it is torn where it was cut between two records, too.
        let garbage: Vec<u8> = (0..rng.usize(1..16)).map(|_| rng.u8(..)).collect();
        file.write_all(&garbage).unwrap();
        let gunyu = ahead.finish();
        let traces = gunyu.traces();
        assert!(traces.contains("torn tail was cut"), "{traces}");
    }
}

#[test]
fn a_second_process_on_the_same_folder_is_refused_and_told_of_the_first() {
    let (source, target, gunyu) = live(&[], &[]);
    let other = support::port::Port::free();
    let output = gunyu::run(&[
        "sync",
        &format!("--source={}", source.url()),
        &format!("--target={}", target.url()),
        &format!("--set=channel.storer.dirPath={}", gunyu.state_dir().display()),
        &format!("--set=server.listen={}", other.addr()),
    ]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&gunyu.http().to_string()), "{said}");
    assert!(said.contains(&gunyu.stats().pid().to_string()), "{said}");
    // The first does not mind.
    assert_eq!(gunyu.status()[0]["Phase"], "incremental");
}
