//! A full sync that is asked for: of the inputs named and no others, with a flush of what they feed and nothing else, or not at all.

use std::time::{Duration, Instant};

use super::support::workload::{Fill, Seed};
use super::support::{Gunyu, SOON, Server, wait_until};
use super::{
    BACKLOG, PATIENCE, counted, counting, end_equal, end_exact, fill_strings, full_syncs, has, held, input,
    live, plant, sync_args, wait_caught_up, wait_full_sync_at, wait_state,
};

/// What is restored is shown once a second: 2,000 keys take three.
const SLOW: &str = "output.replay.rateLimit.opsPerSec=700";

/// Slow enough that several things can be asked for while a full sync of 1,500 keys runs.
const SLOWER: &str = "output.replay.rateLimit.opsPerSec=200";

#[test]
fn a_full_sync_of_one_input_shows_its_progress_and_leaves_the_other_alone() {
    let (one, other) = (Server::with(BACKLOG), Server::with(BACKLOG));
    let (here, there) = (Server::start(), Server::start());
    let seed = Seed::pick();
    Fill::lasting(2_500).run(&one, &seed);
    fill_strings(&other, 200, 10);
    let args = sync_args(&[one.addr(), other.addr()], &[here.addr(), there.addr()], &[SLOW]);
    let mut gunyu = Gunyu::with_args(args, &[]);
    gunyu.wait_ready(PATIENCE);
    plant(&here, 0, "stale");
    plant(&there, 0, "untouched");
    let of_other = (
        counted(&gunyu, &other.addr()),
        links(&other),
        input(&gunyu.status(), &other.addr())["FullSync"].clone(),
    );
    let counters = counting(&one, &seed, 200);
    let answer = gunyu.must("POST", &format!("/syncer/fullsync?inputs={}", one.addr()));
    assert_eq!(answer["started"], serde_json::json!([one.addr()]), "{answer}");
    let mut seen: Vec<(f64, u64, u64)> = Vec::new();
    gunyu.wait_status(PATIENCE, "the full sync is done", |status| {
        let (one, other) = (input(status, &one.addr()), input(status, &other.addr()));
        assert_eq!(
            (&other["State"], &other["Phase"]),
            (&"run".into(), &"incremental".into())
        );
        let full_sync = &one["FullSync"];
        assert_eq!(full_sync["Reason"], "requested", "{status}");
        let number = |field: &str| full_sync[field].as_u64().unwrap();
        let now = (
            full_sync["Percent"].as_f64().unwrap(),
            number("Keys"),
            number("Bytes"),
        );
        if let Some(last) = seen.last() {
            assert!(
                now.0 >= last.0 && now.1 >= last.1 && now.2 >= last.2,
                "{last:?} {now:?}"
            );
        }
        if seen.last() != Some(&now) {
            seen.push(now);
        }
        let done = one["Phase"] == "incremental";
        if done {
            assert_eq!(now.0, 100.0, "{status}");
            assert_eq!(number("Bytes"), number("TotalBytes"), "{status}");
        }
        done
    });
    assert!(seen.len() > 3, "progress is seen: {seen:?}");
    assert!(
        !has(&here, 0, "stale"),
        "what the source has not goes from the target"
    );
    assert!(has(&there, 0, "untouched"));
    assert_eq!(full_syncs(&other), 1);
    assert_eq!(
        (
            counted(&gunyu, &other.addr()),
            links(&other),
            input(&gunyu.status(), &other.addr())["FullSync"].clone(),
        ),
        of_other
    );
    let requested = ("requested".to_owned(), 1);
    assert!(
        counted(&gunyu, &one.addr()).contains(&requested),
        "{}",
        gunyu.metrics()
    );
    drop(counters.stop());
    end_equal(&mut gunyu, &one, &here);
}

/// The connections by which gunyu follows a source.
fn links(source: &Server) -> Vec<String> {
    let list: String = source.run(&["CLIENT", "LIST", "TYPE", "replica"]);
    let ids = list.lines().filter_map(|line| line.split(' ').next());
    ids.map(str::to_owned).collect()
}

/// Waits until a full sync that has begun is done and everything is applied.
#[track_caller]
fn wait_done(gunyu: &mut Gunyu, source: &Server) {
    gunyu.wait_ready(PATIENCE);
    wait_caught_up(gunyu, source);
}

#[test]
fn flushdb_empties_every_database_that_is_fed_and_no_other() {
    let rows: [(&[&str], &[u32], &[u32]); 4] = [
        (&[], &[0, 1, 15], &[]),
        (&["output.filter.dbWhitelist=[0, 1]"], &[0, 1], &[2, 15]),
        (&["output.filter.dbBlacklist=[1]"], &[0, 2, 15], &[1]),
        (
            &[
                "output.filter.dbWhitelist=[0, 1]",
                "output.replay.targetDbMap={0: 2, 1: 3}",
            ],
            &[2, 3],
            &[0, 1, 4],
        ),
    ];
    for (settings, fed, not_fed) in rows {
        let (source, target) = (Server::with(BACKLOG), Server::start());
        fill_strings(&source, 50, 10);
        // There before the first sync: not gunyu's to delete unless it is told to.
        for db in fed.iter().chain(not_fed) {
            plant(&target, *db, "foreign");
        }
        let mut gunyu = Gunyu::start(&source.url(), &target.url(), settings);
        gunyu.wait_ready(PATIENCE);
        gunyu.must("POST", "/syncer/fullsync?inputs=all");
        wait_done(&mut gunyu, &source);
        assert!(fed.iter().all(|db| has(&target, *db, "foreign")), "{settings:?}");
        gunyu.must("POST", "/syncer/fullsync?inputs=all&flushdb=yes");
        wait_done(&mut gunyu, &source);
        for db in fed {
            assert!(!has(&target, *db, "foreign"), "{settings:?}: db {db} is fed");
        }
        for db in not_fed {
            assert!(has(&target, *db, "foreign"), "{settings:?}: db {db} is not fed");
        }
        assert!(has(&target, fed[0], "plain:50"));
        let () = source.run(&["SET", "live", "1"]);
        wait_caught_up(&mut gunyu, &source);
        assert!(has(&target, fed[0], "live"));
    }
}

#[track_caller]
fn assert_equal_after_a_flush_under_writes(settings: &[&str]) {
    let seed = Seed::pick();
    let (source, target, mut gunyu) = live(settings);
    Fill::lasting(500).run(&source, &seed);
    let counters = counting(&source, &seed, 2_000);
    counters.wait_more(500);
    for flush in ["", "&flushdb=yes", "&flushdb=yes"] {
        plant(&target, 1, "stale");
        gunyu.must("POST", &format!("/syncer/fullsync?inputs=all{flush}"));
        counters.wait_more(300);
        wait_done(&mut gunyu, &source);
    }
    end_exact(counters, &mut gunyu, &source, &target);
    end_equal(&mut gunyu, &source, &target);
    assert_eq!(full_syncs(&source), 4, "{}", gunyu.traces());
}

#[test]
fn full_syncs_under_writes_end_in_an_equal_copy() {
    assert_equal_after_a_flush_under_writes(&[]);
}

#[test]
fn full_syncs_under_writes_end_in_an_equal_copy_with_a_log_in_memory() {
    assert_equal_after_a_flush_under_writes(&["channel.type=memory"]);
}

#[test]
fn a_renamed_flushdb_is_refused_with_its_reason_and_works_under_its_name() {
    let seed = Seed::pick();
    let (source, target) = (
        Server::with(BACKLOG),
        Server::with(&["--rename-command", "FLUSHDB", "xflush"]),
    );
    let mut gunyu = Gunyu::between(&source, &target);
    let counters = counting(&source, &seed, 1_000);
    counters.wait_more(200);
    plant(&target, 0, "planted");
    let (error, hint) = gunyu.refused(400, "POST", "/syncer/fullsync?inputs=all&flushdb=yes");
    assert!(
        error.to_lowercase().contains("unknown command") && error.contains(&source.addr()),
        "{error}"
    );
    assert!(!hint.is_empty());
    counters.wait_more(500);
    wait_caught_up(&mut gunyu, &source);
    assert_eq!(full_syncs(&source), 1, "it went on from its checkpoint");
    assert!(has(&target, 0, "planted"));
    let expected = counters.stop();
    wait_caught_up(&mut gunyu, &source);
    expected.assert_on(&target);
    gunyu.must(
        "POST",
        "/syncer/fullsync?inputs=all&flushdb=yes&flushCommand=xflush",
    );
    wait_done(&mut gunyu, &source);
    assert!(!has(&target, 0, "planted"));
    assert_eq!(full_syncs(&source), 2);
    expected.assert_on(&target);
}

#[test]
fn a_flush_that_the_user_may_not_run_changes_nothing() {
    let (source, target) = (Server::with(BACKLOG), Server::start());
    let () = target.run(&[
        "ACL", "SETUSER", "gunyu", "on", ">pw", "~*", "&*", "+@all", "-flushdb",
    ]);
    fill_strings(&source, 50, 10);
    let url = format!("redis://gunyu:pw@{}", target.addr());
    let mut gunyu = Gunyu::start(&source.url(), &url, &[]);
    gunyu.wait_ready(PATIENCE);
    let before = held(&target);
    let (error, _) = gunyu.refused(400, "POST", "/syncer/fullsync?inputs=all&flushdb=yes");
    assert!(error.contains("NOPERM"), "{error}");
    wait_done(&mut gunyu, &source);
    assert_eq!(held(&target), before);
    assert_eq!(full_syncs(&source), 1, "{}", gunyu.traces());
}

#[test]
fn a_wrong_flush_is_400_and_changes_nothing() {
    let (source, target, mut gunyu) = live(&[]);
    plant(&target, 0, "planted");
    for query in [
        "flushdb=yes&flushCommand=flushall",
        "flushdb=yes&flushCommand=FlushAll",
        "flushdb=maybe",
        "flushdb=yes&flushCommand=flushdb%20async",
        "flushdb=yes&flushCommand=x%0d%0aFLUSHALL",
    ] {
        let (error, hint) = gunyu.refused(400, "POST", &format!("/syncer/fullsync?inputs=all&{query}"));
        assert!(!error.is_empty() && !hint.is_empty(), "{query}");
    }
    let () = source.run(&["SET", "live", "1"]);
    wait_caught_up(&mut gunyu, &source);
    assert!(has(&target, 0, "planted"));
    assert_eq!(full_syncs(&source), 1);
}

#[test]
fn a_paused_input_is_409_and_begins_once_resumed_and_asked_again() {
    let (source, target, mut gunyu) = live(&[]);
    plant(&target, 0, "planted");
    gunyu.must("POST", "/syncer/pause?inputs=all");
    for query in ["", "&flushdb=yes"] {
        let (error, hint) = gunyu.refused(409, "POST", &format!("/syncer/fullsync?inputs=all{query}"));
        assert!(
            error.contains(&source.addr()) && hint.contains("gunyu resume"),
            "{error} {hint}"
        );
    }
    gunyu.must("POST", "/syncer/resume?inputs=all");
    wait_state(&mut gunyu, &source.addr(), "run");
    wait_done(&mut gunyu, &source);
    assert!(has(&target, 0, "planted"), "what was refused is not done later");
    assert_eq!(full_syncs(&source), 1);
    gunyu.must("POST", "/syncer/fullsync?inputs=all&flushdb=yes");
    wait_done(&mut gunyu, &source);
    assert!(!has(&target, 0, "planted"));
}

/// What is not there when it is asked for.
#[derive(Clone, Copy, PartialEq)]
enum Away {
    DeadTarget,
    FrozenTarget,
    FrozenSource,
}

/// Asked while one side is away, it is given up in time and not done when that side is back.
#[track_caller]
fn assert_withdrawn(away: Away) {
    let seed = Seed::pick();
    let (mut source, mut target, mut gunyu) = live(&[]);
    let counters = counting(&source, &seed, 500);
    counters.wait_more(100);
    plant(&target, 0, "planted");
    let snapshot = target.snapshot();
    match away {
        Away::DeadTarget => target.kill9(),
        Away::FrozenTarget => target.sigstop(),
        Away::FrozenSource => source.sigstop(),
    }
    let began = Instant::now();
    let (error, hint) = gunyu.refused(500, "POST", "/syncer/fullsync?inputs=all&flushdb=yes");
    let took = began.elapsed();
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert!(!error.is_empty() && !hint.is_empty());
    match away {
        Away::DeadTarget => target.restart_from(&snapshot),
        Away::FrozenTarget => target.sigcont(),
        Away::FrozenSource => source.sigcont(),
    }
    counters.wait_more(500);
    wait_done(&mut gunyu, &source);
    assert!(
        has(&target, 0, "planted"),
        "it is flushed later:\n{}",
        gunyu.traces()
    );
    end_exact(counters, &mut gunyu, &source, &target);
    assert_eq!(full_syncs(&source), 1, "{}", gunyu.traces());
}

#[test]
fn a_dead_target_is_500_in_time_and_not_flushed_when_it_is_back() {
    assert_withdrawn(Away::DeadTarget);
}

#[test]
fn a_frozen_target_is_500_in_time_and_not_flushed_when_it_is_back() {
    assert_withdrawn(Away::FrozenTarget);
}

#[test]
fn a_frozen_source_is_500_in_time_and_the_target_keeps_what_it_has() {
    assert_withdrawn(Away::FrozenSource);
}

#[test]
fn two_full_syncs_at_once_are_one_and_a_flush_begins_anew_what_did_not_flush() {
    let seed = Seed::pick();
    let (source, target) = (Server::with(BACKLOG), Server::start());
    Fill::lasting(1_500).run(&source, &seed);
    let args = |set: &[&str]| sync_args(&[source.addr()], &[target.addr()], set);
    let mut gunyu = Gunyu::with_args(args(&[]), &[]);
    gunyu.wait_ready(PATIENCE);
    assert_eq!(gunyu.term().code(), Some(0), "{}", gunyu.traces());
    gunyu.restart_with(args(&[SLOWER]));
    gunyu.wait_ready(PATIENCE);
    let ask = |query: &str| gunyu.must("POST", &format!("/syncer/fullsync?inputs=all{query}"));
    let lists = |answer: &serde_json::Value| {
        let of = |field: &str| answer[field].as_array().unwrap().len();
        (of("started"), of("joined"))
    };
    let answers = std::thread::scope(|scope| {
        let asking = [0; 4].map(|_| scope.spawn(|| ask("")));
        asking.map(|one| one.join().unwrap())
    });
    for answer in &answers {
        let (started, joined) = lists(answer);
        assert_eq!(started + joined, 1, "{answer}");
    }
    // The source counts a full sync when it has agreed to it.
    wait_until(SOON, "the source was asked", || full_syncs(&source) == 2);
    assert_eq!(lists(&ask("")), (0, 1), "it joins what runs");
    assert_eq!(lists(&ask("&flushdb=yes")), (1, 0), "what runs did not flush");
    wait_until(SOON, "the source was asked again", || full_syncs(&source) == 3);
    assert_eq!(lists(&ask("&flushdb=yes")), (0, 1));
    assert_eq!(lists(&ask("")), (0, 1));
    gunyu.wait_ready(PATIENCE);
    assert_eq!(full_syncs(&source), 3, "{}", gunyu.traces());
    end_equal(&mut gunyu, &source, &target);
}

#[test]
fn a_full_sync_asked_for_while_the_first_one_runs_joins_it() {
    let (source, target) = (Server::with(BACKLOG), Server::start());
    fill_strings(&source, 2_000, 20);
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[SLOWER]);
    wait_full_sync_at(&mut gunyu, &source.addr(), 1);
    let answer = gunyu.must("POST", "/syncer/fullsync?inputs=all");
    assert_eq!(answer["joined"], serde_json::json!([source.addr()]), "{answer}");
    end_equal(&mut gunyu, &source, &target);
    assert_eq!(full_syncs(&source), 1);
}

#[track_caller]
fn assert_survives_a_crash(settings: &[&str]) {
    let seed = Seed::pick();
    let (source, target) = (Server::with(BACKLOG), Server::start());
    Fill::lasting(600).run(&source, &seed);
    plant(&target, 0, "foreign");
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), settings);
    gunyu.wait_ready(PATIENCE);
    let counters = counting(&source, &seed, 300);
    for flush in ["", "&flushdb=yes"] {
        gunyu.must("POST", &format!("/syncer/fullsync?inputs=all{flush}"));
        gunyu.restart();
        gunyu.wait_ready(PATIENCE);
        wait_caught_up(&mut gunyu, &source);
        assert_eq!(has(&target, 0, "foreign"), flush.is_empty(), "{}", gunyu.traces());
    }
    drop(counters.stop());
    end_equal(&mut gunyu, &source, &target);
}

#[test]
fn kill_9_right_after_the_answer_ends_in_an_equal_copy() {
    assert_survives_a_crash(&[SLOW]);
}

#[test]
fn kill_9_right_after_the_answer_ends_in_an_equal_copy_with_a_log_in_memory() {
    assert_survives_a_crash(&["channel.type=memory", SLOW]);
}
