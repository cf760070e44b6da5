//! A full sync onto a target that holds something already: of ours, of others; and the brakes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::support::wire::{Batch, put};
use super::support::{Gunyu, SOON, Server, at_this_load, wait_for, wait_until};
use super::{PATIENCE, end_equal, full_syncs, live, only_input};

pub(super) fn fill(server: &Server, names: &str, count: usize) {
    let mut batch = Batch::default();
    for number in 0..count {
        put!(batch, "SELECT", number % 2);
        put!(batch, "SET", format!("{names}:{number}"), number);
    }
    batch.must(&mut server.conn());
}

/// How many keys of that name both databases of the target hold.
pub(super) fn count(server: &Server, names: &str) -> usize {
    let mut conn = server.conn();
    let mut keys = |db: u32| -> Vec<String> {
        redis::cmd("SELECT").arg(db).exec(&mut conn).unwrap();
        redis::cmd("KEYS")
            .arg(format!("{names}:*"))
            .query(&mut conn)
            .unwrap()
    };
    keys(0).len() + keys(1).len()
}

/// Both sets of keys that the catalog has for a pipeline are filled and emptied by each.
#[test]
fn full_syncs_that_follow_each_other_take_no_more_memory_than_the_first_ones() {
    let (source, target) = (Server::start(), Server::start());
    let mut batch = Batch::default();
    for number in 0..20_000 {
        put!(batch, "SET", format!("stays:{number}"), number);
        if number % 4 == 0 {
            put!(batch, "SET", format!("expires:{number}"), number, "EX", 1_800);
        }
    }
    batch.must(&mut source.conn());
    let gunyu = live(&source, &target, &[]);
    let own_bytes = |number: usize| {
        gunyu.must("POST", "/syncer/fullsync?inputs=all");
        wait_for(PATIENCE, "another full sync is done", || {
            match gunyu.traces().matches("full sync done").count() {
                done if done > number => Ok(()),
                done => Err(format!("{done}")),
            }
        });
        // What tells that the stream has gone on.
        let () = source.run(&["SET", "said", &number.to_string()]);
        wait_for(PATIENCE, "every expiry is its own", || {
            let traces = gunyu.traces();
            match traces.rfind("have it now") > traces.rfind("full sync done") {
                true => Ok(()),
                false => Err(traces),
            }
        });
        gunyu.stats().own_bytes()
    };
    // Buffers are as large as they get after some.
    let first = (1..=6).map(&own_bytes).max().unwrap();
    for number in 7..20 {
        let _ = own_bytes(number);
    }
    let last = own_bytes(20);
    assert!(last < first + (10 << 20), "{first} bytes, then {last}");
    end_equal(gunyu, &source, &target);
}

/// Keys that stay would get what the stream behind an old snapshot adds a second time.
#[test]
fn a_snapshot_of_before_is_not_restored_under_what_the_target_has_had_since() {
    let (source, target) = (Server::start(), Server::start());
    fill(&source, "old", 60);
    fill(&target, "foreign", 2);
    let args = vec![
        "sync".to_owned(),
        format!("--source={}", source.url()),
        format!("--target={}", target.url()),
    ];
    // It dies when the target's checkpoint has gone and the source has not been asked.
    let mut gunyu = Gunyu::with_args(args, &[("GUNYU_CRASH_AT", "request.begun:1")]);
    gunyu.wait_ready(PATIENCE);
    let () = source.run(&["RPUSH", "list", "once"]);
    let () = source.run(&["INCR", "counter"]);
    gunyu.wait_applied(&source, PATIENCE);
    let _ = gunyu.request("POST", "/syncer/fullsync?inputs=all");
    wait_until(PATIENCE, "it has died", || gunyu.ended().is_some());
    gunyu.restart_with_env(&[]);
    gunyu.wait_ready(PATIENCE);
    gunyu.wait_applied(&source, PATIENCE);
    assert_eq!(target.run::<u64>(&["LLEN", "list"]), 1, "{}", gunyu.traces());
    assert_eq!(target.run::<u64>(&["GET", "counter"]), 1);
    assert_eq!(count(&target, "foreign"), 2);
}

/// What others had in a database goes with it.
#[test]
fn what_was_there_before_the_first_full_sync_is_kept_though_its_database_changes_places() {
    let (mut source, target) = (Server::start(), Server::start());
    fill(&source, "old", 60);
    let () = target.run(&["SET", "foreign:1", "x"]);
    let mut gunyu = live(&source, &target, &[]);
    let () = source.run(&["SWAPDB", "0", "1"]);
    gunyu.wait_applied(&source, PATIENCE);
    restart_anew(&mut source, &mut gunyu);
    assert_eq!(count(&target, "foreign"), 1, "{}", gunyu.traces());
}

/// The source comes back empty, under a new replication id, and is filled anew.
fn restart_anew(source: &mut Server, gunyu: &mut Gunyu) {
    source.restart();
    fill(source, "new", 40);
    gunyu.wait_status(PATIENCE, "a second full sync is done", |status| {
        status[0]["Phase"] == "incremental" && status[0]["FullSync"]["Reason"] != "first sync"
    });
    gunyu.wait_applied(source, PATIENCE);
    assert_eq!(full_syncs(gunyu), 2, "{}", gunyu.traces());
    assert_eq!(count_of(gunyu, "FullSync", "Percent"), 100.0);
}

fn count_of(gunyu: &Gunyu, part: &str, field: &str) -> f64 {
    only_input(gunyu)[part][field].as_f64().unwrap()
}

#[test]
fn a_second_full_sync_deletes_what_the_source_has_not_any_more() {
    let (mut source, target) = (Server::start(), Server::start());
    fill(&source, "old", 60);
    let mut gunyu = live(&source, &target, &[]);
    restart_anew(&mut source, &mut gunyu);
    assert_eq!((count(&target, "old"), count(&target, "new")), (0, 40));
    end_equal(gunyu, &source, &target);
}

#[test]
fn a_second_full_sync_keeps_what_was_there_before_the_first() {
    let (mut source, target) = (Server::start(), Server::start());
    fill(&source, "old", 60);
    let mut conn = target.conn();
    let mut batch = Batch::default();
    put!(batch, "SET", "foreign:1", "x"); // in database 0 only
    batch.must(&mut conn);
    let mut gunyu = live(&source, &target, &[]);
    restart_anew(&mut source, &mut gunyu);
    // Database 0 was not empty, so nothing there is deleted; database 1 was.
    assert_eq!(
        (
            count(&target, "foreign"),
            count(&target, "old"),
            count(&target, "new")
        ),
        (1, 30, 40)
    );
}

#[test]
fn a_second_full_sync_keeps_what_may_belong_to_another_deployment() {
    let (mut source, target) = (Server::start(), Server::start());
    fill(&source, "old", 60);
    let mut gunyu = live(&source, &target, &[]);
    target.run::<u64>(&["HSET", "redis-gunyu-checkpoint:{other}", "version", "1"]);
    restart_anew(&mut source, &mut gunyu);
    assert_eq!((count(&target, "old"), count(&target, "new")), (60, 40));
}

#[test]
fn stale_keys_are_deleted_or_kept_where_the_operator_says_so() {
    for (policy, left) in [("delete", (0, 0)), ("keep", (1, 60))] {
        let (mut source, target) = (Server::start(), Server::start());
        fill(&source, "old", 60);
        let () = target.run(&["SET", "foreign:1", "x"]);
        let set = format!("output.replay.staleKeys={policy}");
        let mut gunyu = live(&source, &target, &[&set]);
        restart_anew(&mut source, &mut gunyu);
        assert_eq!(
            (count(&target, "foreign"), count(&target, "old")),
            left,
            "{policy}"
        );
        assert_eq!(count(&target, "new"), 40);
    }
}

#[test]
fn a_first_full_sync_tells_and_deletes_what_only_the_target_has_without_a_moment_without_data() {
    for (policy, kept, deleted, left) in [("auto", 30, 0, 30), ("delete", 0, 30, 0), ("keep", 0, 0, 30)] {
        let (source, target) = (Server::start(), Server::start());
        fill(&source, "both", 60);
        fill(&target, "both", 60);
        // One database of the target is empty, keys of another are filtered: neither is touched.
        let mut batch = Batch::default();
        for number in 0..30 {
            put!(batch, "SET", format!("only:{number}"), number);
            put!(batch, "SET", format!("aside:{number}"), number);
        }
        batch.must(&mut target.conn());
        let done = AtomicBool::new(false);
        let least = std::thread::scope(|scope| {
            let watching = scope.spawn(|| {
                let mut least = usize::MAX;
                while !done.load(Ordering::Relaxed) {
                    least = least.min(count(&target, "both"));
                }
                least
            });
            let set = format!("output.replay.staleKeys={policy}");
            let aside = "output.filter.keyFilter.prefixKeyBlacklist=[\"aside:\"]";
            let gunyu = live(&source, &target, &[&set, aside]);
            done.store(true, Ordering::Relaxed);
            let told = ["StaleKept", "StaleDeleted"].map(|field| count_of(&gunyu, "FullSync", field));
            assert_eq!(told, [kept, deleted].map(f64::from), "{policy}");
            watching.join().unwrap()
        });
        assert_eq!(least, 60, "{policy}: some keys were gone for a moment");
        assert_eq!(
            (count(&target, "only"), count(&target, "aside")),
            (left, 30),
            "{policy}"
        );
    }
}

/// Source and target with keys of the same name and different values.
fn clash() -> (Server, Server) {
    let (source, target) = (Server::start(), Server::start());
    for (server, value) in [(&source, "source"), (&target, "target")] {
        let mut batch = Batch::default();
        for number in 0..20 {
            put!(batch, "SET", format!("clash:{number}"), value);
        }
        batch.must(&mut server.conn());
    }
    let () = source.run(&["SET", "only:1", "source"]);
    (source, target)
}

#[test]
fn a_key_that_is_there_already_is_replaced() {
    let (source, target) = clash();
    let gunyu = live(&source, &target, &["output.replay.keyExists=replace"]);
    end_equal(gunyu, &source, &target);
}

#[test]
fn a_key_that_is_there_already_is_left_alone_with_ignore() {
    let (source, target) = clash();
    let mut gunyu = live(&source, &target, &["output.replay.keyExists=ignore"]);
    let () = source.run(&["SET", "clash:3", "live"]);
    gunyu.wait_applied(&source, PATIENCE);
    let values: Vec<String> = target.run(&["MGET", "clash:2", "clash:3", "only:1"]);
    assert_eq!(values, ["target", "live", "source"]);
    assert_eq!(only_input(&gunyu)["DeadLetters"], 0);
}

#[test]
fn a_key_that_is_there_already_stops_it_with_error() {
    let (source, target) = clash();
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &["output.replay.keyExists=error"]);
    let status = gunyu.wait_status(SOON, "it stops", |status| status[0]["State"] == "stop");
    let told = &status[0]["LastError"];
    assert!(told["Message"].as_str().unwrap().contains("BUSYKEY"), "{told}");
    assert!(
        told["Hint"].as_str().unwrap().contains("keyExists"),
        "the way out is named: {told}"
    );
    assert_eq!(status[0]["DeadLetters"], 20);
    assert_eq!(target.run::<String>(&["GET", "clash:1"]), "target");
}

/// A few keys in a batch, so that they do not come in large steps.
const SMALL_BATCHES: &str = "output.replay.batchCmdCount=20";
const BATCH: f64 = 20.0;

/// Keys that come to a target at a pace, counted from a moment before the first of them was sent.
struct Pace<'a> {
    target: &'a Server,
    per_second: f64,
    begun: Instant,
    already: u64,
}

impl Pace<'_> {
    fn from_now(target: &Server, per_second: f64) -> Pace<'_> {
        Pace {
            target,
            per_second,
            begun: Instant::now(),
            already: target.keys(),
        }
    }

    fn reached(&self, keys: u64) -> (f64, Instant) {
        wait_for(PATIENCE, "keys arrive", || {
            match self.target.keys() - self.already {
                now if now >= keys => Ok((now as f64, Instant::now())),
                now => Err(now.to_string()),
            }
        })
    }

    /// It is never above what is allowed, and from one number of keys to another not much below it, unless the machine is busy.
    #[track_caller]
    fn assert_holds(&self, from: u64, to: u64) {
        let ((first, began), (last, ended)) = (self.reached(from), self.reached(to));
        // A tenth of a second's worth may be ahead, a batch goes as one, and gunyu has a few keys of its own.
        let most = self.per_second * ((ended - self.begun).as_secs_f64() + 0.1) + 2.0 * BATCH;
        assert!(last <= most, "{last} keys are more than {most}");
        let (came, took) = (last - first, (ended - began).as_secs_f64());
        let least = self.per_second * took * 0.8 / at_this_load(Duration::from_secs(1)).as_secs_f64();
        assert!(
            came >= least,
            "{came} keys in {took} s instead of {} a second",
            self.per_second
        );
    }
}

#[test]
fn the_rate_of_commands_holds_for_full_sync_and_stream() {
    let (source, target) = (Server::start(), Server::start());
    fill(&source, "snapshot", 3_000);
    let set = [
        "output.replay.rateLimit.opsPerSec=800",
        SMALL_BATCHES,
        "output.replay.connections=1",
    ];
    let pace = Pace::from_now(&target, 800.0);
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &set);
    pace.assert_holds(500, 2_800);
    gunyu.wait_ready(PATIENCE);
    let pace = Pace::from_now(&target, 400.0);
    fill(&source, "live", 2_000); // with a SELECT before each SET
    pace.assert_holds(200, 1_800);
    end_equal(gunyu, &source, &target);
}

#[test]
fn the_rate_of_bytes_holds_for_full_sync_and_stream() {
    const LEN: usize = 2_500;
    let (source, target) = (Server::start(), Server::start());
    let write = |names: &str| {
        let mut batch = Batch::default();
        for number in 0..800 {
            let value: Vec<u8> = (0..LEN).map(|_| fastrand::u8(..)).collect();
            put!(batch, "SET", format!("{names}:{number}"), value);
        }
        batch.must(&mut source.conn());
    };
    write("snapshot");
    let set = [
        "output.replay.rateLimit.bytesPerSec=500000",
        SMALL_BATCHES,
        "output.replay.connections=1",
    ];
    let pace = Pace::from_now(&target, 200.0);
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &set);
    pace.assert_holds(100, 750);
    gunyu.wait_ready(PATIENCE);
    let pace = Pace::from_now(&target, 200.0);
    write("live");
    pace.assert_holds(100, 750);
    end_equal(gunyu, &source, &target);
}

/// A brake must not delay a stop.
#[test]
fn a_braked_full_sync_can_be_stopped_and_goes_on() {
    let (source, target) = (Server::start(), Server::start());
    fill(&source, "snapshot", 3_000);
    let set = ["output.replay.rateLimit.opsPerSec=300"];
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &set);
    gunyu.wait_status(SOON, "keys arrive", |_| target.keys() > 100);
    let ended = gunyu.term();
    assert!(ended.success(), "{ended}");
    let there = target.keys();
    assert!(there < 3_000, "it has gone to its end first: {there} keys");
    gunyu.restart();
    gunyu.wait_ready(PATIENCE);
    end_equal(gunyu, &source, &target);
}

#[test]
fn keys_that_a_full_sync_has_restored_stay_when_stale_keys_are_to_be_deleted_from_its_middle_on() {
    let (source, target) = (Server::start(), Server::start());
    fill(&source, "snapshot", 3_000);
    let () = target.run(&["SET", "foreign:1", "x"]);
    let args = |policy: &str, rate: &str| {
        let urls = [
            "sync".to_owned(),
            format!("--source={}", source.url()),
            format!("--target={}", target.url()),
        ];
        let set = [
            format!("--set=output.replay.staleKeys={policy}"),
            format!("--set=output.replay.rateLimit.opsPerSec={rate}"),
        ];
        urls.into_iter().chain(set).collect::<Vec<String>>()
    };
    let mut gunyu = Gunyu::with_args(args("keep", "500"), &[]);
    gunyu.wait_status(SOON, "keys arrive", |_| target.keys() > 1_000);
    let ended = gunyu.term();
    assert!(ended.success(), "{ended}");
    gunyu.restart_with(args("delete", "0"));
    gunyu.wait_ready(PATIENCE);
    assert_eq!(
        (count(&target, "snapshot"), count(&target, "foreign")),
        (3_000, 1)
    );
    // Another one knows all keys.
    gunyu.must("POST", "/syncer/fullsync?inputs=all");
    gunyu.wait_status(PATIENCE, "what the source has not is gone", |status| {
        status[0]["Phase"] == "incremental" && status[0]["FullSync"]["StaleDeleted"] == 1
    });
    assert_eq!(
        (count(&target, "snapshot"), count(&target, "foreign")),
        (3_000, 0)
    );
}

/// What it has seen of the source is a snapshot's that is no more.
#[test]
fn keys_that_an_unfinished_full_sync_has_seen_are_stale_for_the_next() {
    let (mut source, target) = (Server::start(), Server::start());
    fill(&source, "old", 3_000);
    let mut gunyu = live(&source, &target, &["output.replay.rateLimit.opsPerSec=1000"]);
    gunyu.must("POST", "/syncer/fullsync?inputs=all");
    gunyu.wait_status(PATIENCE, "the second one has seen some keys", |status| {
        status[0]["FullSync"]["Reason"] == "requested" && status[0]["FullSync"]["Keys"].as_u64() > Some(1_500)
    });
    gunyu.kill9();
    source.restart();
    fill(&source, "new", 40);
    gunyu.restart();
    gunyu.wait_ready(PATIENCE);
    assert_eq!((count(&target, "old"), count(&target, "new")), (0, 40));
    end_equal(gunyu, &source, &target);
}
