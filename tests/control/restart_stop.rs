//! Restart goes on exactly where it was; stop answers, drains and ends with 0, whatever is going on.

use std::time::{Duration, Instant};

use super::support::workload::{Fill, Seed};
use super::support::{Gunyu, SOON, Server, at_this_load, wait_until};
use super::{
    BACKLOG, PATIENCE, counted, counting, end_equal, end_exact, fill_strings, full_syncs, has, input, live,
    wait_caught_up, wait_full_sync_at, wait_state,
};

/// The connections by which gunyu follows a source.
fn links(source: &Server) -> Vec<String> {
    let list: String = source.run(&["CLIENT", "LIST", "TYPE", "replica"]);
    let ids = list.lines().filter_map(|line| line.split(' ').next());
    ids.map(str::to_owned).collect()
}

fn restart(gunyu: &mut Gunyu, source: &Server) {
    let before = links(source);
    gunyu.must("POST", "/syncer/restart");
    wait_until(SOON, "the link is a new one", || {
        let now = links(source);
        now.len() == 1 && now != before
    });
}

#[test]
fn a_restart_goes_on_exactly_and_without_a_full_sync() {
    for settings in [
        &[][..],
        &["channel.type=memory"],
        &["output.replay.delivery=at_least_once"],
    ] {
        let seed = Seed::pick();
        let (source, target, mut gunyu) = live(settings);
        let pid = gunyu.stats().pid();
        let counters = counting(&source, &seed, 2_000);
        let before = counted(&gunyu, &source.addr());
        for _ in 0..3 {
            counters.wait_more(300);
            restart(&mut gunyu, &source);
            gunyu.wait_ready(PATIENCE);
        }
        // Many at once are safe too.
        for _ in 0..5 {
            gunyu.must("POST", "/syncer/restart");
        }
        if settings.iter().any(|one| one.contains("at_least_once")) {
            // Counters may be counted twice there: only that it goes on is promised.
            drop(counters.stop());
            wait_caught_up(&mut gunyu, &source);
        } else {
            end_exact(counters, &mut gunyu, &source, &target);
        }
        assert_eq!(counted(&gunyu, &source.addr()), before, "{}", gunyu.traces());
        assert_eq!(full_syncs(&source), 1, "{}", gunyu.traces());
        assert_eq!(gunyu.stats().pid(), pid);
    }
}

#[test]
fn a_restart_while_paused_stays_paused_and_receives() {
    let seed = Seed::pick();
    let (source, target, mut gunyu) = live(&[]);
    let counters = counting(&source, &seed, 1_000);
    counters.wait_more(200);
    gunyu.must("POST", "/syncer/pause?inputs=all");
    wait_state(&mut gunyu, &source.addr(), "pause");
    let applied = gunyu.status()[0]["Offset"]["Applied"].clone();
    restart(&mut gunyu, &source);
    counters.wait_more(500);
    let at = source.offset();
    let status = gunyu.wait_status(SOON, "it receives", |status| {
        status[0]["Offset"]["Received"].as_u64() >= Some(at)
    });
    assert_eq!(status[0]["State"], "pause");
    assert_eq!(status[0]["Offset"]["Applied"], applied);
    gunyu.must("POST", "/syncer/resume?inputs=all");
    end_exact(counters, &mut gunyu, &source, &target);
    assert_eq!(full_syncs(&source), 1);
}

/// An input that has stopped because its target may not run SADD for it.
fn stopped() -> (Server, Server, Gunyu) {
    let (source, target) = (Server::with(BACKLOG), Server::start());
    let () = target.run(&[
        "ACL", "SETUSER", "gunyu", "on", ">pw", "~*", "&*", "+@all", "-sadd",
    ]);
    let url = format!("redis://gunyu:pw@{}", target.addr());
    let mut gunyu = Gunyu::start(&source.url(), &url, &[]);
    gunyu.wait_ready(PATIENCE);
    let () = source.run(&["INCR", "before"]);
    let () = source.run(&["SADD", "set", "member"]);
    let () = source.run(&["INCR", "behind"]);
    wait_state(&mut gunyu, &source.addr(), "stop");
    assert!(!has(&target, 0, "set") && !has(&target, 0, "behind"));
    (source, target, gunyu)
}

#[test]
fn a_restart_of_an_input_that_has_stopped_tries_again() {
    let (source, target, mut gunyu) = stopped();
    // In vain at first: it stops again, and tells the same.
    gunyu.must("POST", "/syncer/restart");
    wait_state(&mut gunyu, &source.addr(), "stop");
    let () = target.run(&["ACL", "SETUSER", "gunyu", "+sadd"]);
    gunyu.must("POST", "/syncer/restart");
    wait_caught_up(&mut gunyu, &source);
    assert_eq!(
        target.run::<u64>(&["GET", "before"]),
        1,
        "nothing is applied twice"
    );
    end_equal(&mut gunyu, &source, &target);
    assert_eq!(full_syncs(&source), 1, "{}", gunyu.traces());
}

#[test]
fn a_full_sync_of_an_input_that_has_stopped_begins() {
    let (source, target, mut gunyu) = stopped();
    gunyu.must("POST", "/syncer/fullsync?inputs=all");
    wait_caught_up(&mut gunyu, &source);
    end_equal(&mut gunyu, &source, &target);
}

#[test]
fn an_input_that_has_stopped_can_be_paused_and_resumed_and_then_tries_again() {
    let (source, target, mut gunyu) = stopped();
    gunyu.must("POST", "/syncer/pause?inputs=all");
    wait_state(&mut gunyu, &source.addr(), "pause");
    let () = target.run(&["ACL", "SETUSER", "gunyu", "+sadd"]);
    gunyu.must("POST", "/syncer/resume?inputs=all");
    wait_caught_up(&mut gunyu, &source);
    end_equal(&mut gunyu, &source, &target);
    assert_eq!(full_syncs(&source), 1, "{}", gunyu.traces());
}

/// `server.gracefullStopTimeout`, and two seconds for the way, on a machine that has nothing else to do.
pub(super) const STOP_LIMIT: Duration = Duration::from_secs(5 + 2);

#[track_caller]
fn delete(gunyu: &mut Gunyu) {
    let began = Instant::now();
    let answer = gunyu.must("DELETE", "/");
    assert_eq!(answer["ok"], true, "{answer}");
    let end = gunyu.wait_end(SOON);
    assert_eq!(end.code(), Some(0), "{}", gunyu.traces());
    assert!(
        began.elapsed() < at_this_load(STOP_LIMIT),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn stopping_while_writes_go_on_ends_with_0_and_the_next_life_is_exact() {
    let seed = Seed::pick();
    let (source, target, mut gunyu) = live(&[]);
    let counters = counting(&source, &seed, 3_000);
    for _ in 0..3 {
        counters.wait_more(500);
        delete(&mut gunyu);
        gunyu.restart();
        gunyu.wait_ready(PATIENCE);
    }
    end_exact(counters, &mut gunyu, &source, &target);
    assert_eq!(full_syncs(&source), 1, "{}", gunyu.traces());
}

#[test]
fn stopping_during_a_full_sync_ends_with_0_and_the_next_life_goes_on_from_the_cursor() {
    let seed = Seed::pick();
    let (source, target) = (Server::with(BACKLOG), Server::start());
    Fill::lasting(3_000).run(&source, &seed);
    let slow = "output.replay.rateLimit.opsPerSec=300";
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[slow]);
    wait_full_sync_at(&mut gunyu, &source.addr(), 150);
    let counters = counting(&source, &seed, 200);
    counters.wait_more(50);
    delete(&mut gunyu);
    assert!(target.keys() < 3_000, "it was stopped in its middle");
    gunyu.restart();
    gunyu.wait_ready(PATIENCE);
    drop(counters.stop());
    end_equal(&mut gunyu, &source, &target);
    assert_eq!(full_syncs(&source), 1, "{}", gunyu.traces());
}

#[test]
fn stopping_while_paused_ends_with_0_and_the_next_life_is_paused() {
    let (source, target, mut gunyu) = live(&[]);
    gunyu.must("POST", "/syncer/pause?inputs=all");
    fill_strings(&source, 10, 10);
    delete(&mut gunyu);
    gunyu.restart();
    wait_state(&mut gunyu, &source.addr(), "pause");
    assert!(!has(&target, 0, "plain:1"));
    gunyu.must("POST", "/syncer/resume?inputs=all");
    end_equal(&mut gunyu, &source, &target);
}

#[test]
fn stopping_while_a_full_sync_waits_for_a_frozen_target_tells_whoever_waits() {
    let (source, mut target, mut gunyu) = live(&[]);
    fill_strings(&source, 10, 10);
    wait_caught_up(&mut gunyu, &source);
    target.sigstop();
    let (code, text) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| gunyu.call("POST", "/syncer/fullsync?inputs=all&flushdb=yes"));
        // It has been asked for once the pipeline has let go of what it was doing.
        wait_until(SOON, "it waits for the target", || {
            input(&gunyu.status(), &source.addr())["Phase"] != "incremental"
        });
        let answer = gunyu.must("DELETE", "/");
        assert_eq!(answer["ok"], true);
        let asked = asking.join().unwrap();
        (asked.status, asked.text())
    });
    assert!(code == 500 || code == 409, "{code} {text}");
    assert!(text.contains("stopping"), "{text}");
    let end = gunyu.wait_end(at_this_load(STOP_LIMIT));
    assert_eq!(end.code(), Some(0), "{}", gunyu.traces());
    target.sigcont();
    assert!(has(&target, 0, "plain:1"), "nothing was flushed");
    gunyu.restart();
    end_equal(&mut gunyu, &source, &target);
    assert_eq!(full_syncs(&source), 1);
}

#[test]
fn handover_is_409_with_what_to_do_instead() {
    let (source, _target, gunyu) = live(&[]);
    for inputs in ["all", &source.addr()] {
        let (error, hint) = gunyu.refused(409, "POST", &format!("/syncer/handover?inputs={inputs}"));
        assert!(error.contains("no other node"), "{error}");
        assert!(hint.contains("DELETE /"), "{hint}");
    }
    assert_eq!(gunyu.status()[0]["State"], "run");
}
