//! What once went wrong with full syncs, pauses and targets that stand still, each with its story.

use super::pause::{output_buffer, pause};
use super::support::workload::Seed;
use super::support::{Gunyu, SOON, Server, assert_equal, gunyu, wait_until};
use super::{
    BACKLOG, MIB, PATIENCE, counting, end_equal, fill_strings, full_syncs, has, live, plant, sync_args,
    wait_caught_up,
};

/// Both flush the databases that both feed, and with them what the other has just recorded.
#[test]
fn a_flush_for_all_inputs_works_where_two_of_them_feed_one_target() {
    let (one, other, target) = (Server::with(BACKLOG), Server::with(BACKLOG), Server::start());
    plant(&one, 0, "one");
    plant(&other, 0, "other");
    let args = sync_args(&[one.addr(), other.addr()], &[target.addr(), target.addr()], &[]);
    let mut gunyu = Gunyu::with_args(args, &[]);
    gunyu.wait_ready(PATIENCE);
    plant(&target, 0, "planted");
    gunyu.must("POST", "/syncer/fullsync?inputs=all&flushdb=yes");
    gunyu.wait_ready(PATIENCE);
    for (key, there) in [("planted", false), ("one", true), ("other", true)] {
        assert_eq!(has(&target, 0, key), there, "{key}\n{}", gunyu.traces());
    }
}

/// After a flush database 0 holds two keys of gunyu's, the session and the checkpoint, and is not taken for empty: nothing that is stale there goes
/// any more.
#[test]
fn after_a_flush_what_is_stale_in_database_0_still_goes_with_the_next_full_sync() {
    let (source, target, mut gunyu) = live(&[]);
    fill_strings(&source, 10, 10);
    for query in ["&flushdb=yes", ""] {
        plant(&target, 0, "stale");
        plant(&target, 1, "stale");
        gunyu.must("POST", &format!("/syncer/fullsync?inputs=all{query}"));
        gunyu.wait_ready(PATIENCE);
        wait_caught_up(&mut gunyu, &source);
        assert_eq!(
            (has(&target, 0, "stale"), has(&target, 1, "stale")),
            (false, false),
            "{query:?}\n{}",
            gunyu.traces()
        );
    }
}

/// It is taken for a session only after a minute, and until then nothing is received.
#[test]
fn a_frozen_target_does_not_keep_a_new_process_from_receiving() {
    let seed = Seed::pick();
    let (source, mut target, mut gunyu) = live(&[]);
    let counters = counting(&source, &seed, 1_000);
    counters.wait_more(200);
    target.sigstop();
    gunyu.restart();
    counters.wait_more(200);
    let at = source.offset();
    gunyu.wait_status(SOON / 2, "the source is received", |status| {
        status[0]["Offset"]["Received"].as_u64() >= Some(at)
    });
    target.sigcont();
}

/// Stale keys go at the end of a full sync that is not the first; libraries of functions do not.
#[test]
fn a_library_that_the_source_has_deleted_goes_from_the_target_with_a_full_sync() {
    let (source, target) = (Server::with(&["--repl-backlog-size", "16kb"]), Server::start());
    let library = "#!lua name=gone\nredis.register_function('f', function() return 1 end)";
    let () = source.run(&["FUNCTION", "LOAD", library]);
    let mut gunyu = Gunyu::between(&source, &target);
    gunyu.kill9();
    let () = source.run(&["FUNCTION", "DELETE", "gone"]);
    fill_strings(&source, 2_000, 100);
    gunyu.restart();
    gunyu.wait_ready(PATIENCE);
    assert_eq!(full_syncs(&source), 2, "the backlog has moved on");
    end_equal(&mut gunyu, &source, &target);
}

/// Its own keys in database 0 were somebody else's to a full sync after a flush, and with `keyExists: error` it stopped.
#[test]
fn after_a_flush_a_full_sync_still_replaces_what_gunyu_has_written_itself() {
    let (source, target) = (Server::with(BACKLOG), Server::start());
    fill_strings(&source, 10, 10);
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &["output.replay.keyExists=error"]);
    gunyu.wait_ready(PATIENCE);
    for (nth, query) in ["", "&flushdb=yes", ""].into_iter().enumerate() {
        gunyu.must("POST", &format!("/syncer/fullsync?inputs=all{query}"));
        gunyu.wait_status(SOON, "it is live, or has stopped", |status| {
            status[0]["Phase"] == "incremental" || status[0]["State"] == "stop"
        });
        let status = gunyu.status();
        assert_eq!(status[0]["State"], "run", "{nth} {query:?}: {status}");
    }
    end_equal(&mut gunyu, &source, &target);
}

/// A snapshot that begins during a pause finds nobody who reads it: the link stands still with 4 MiB of it, acknowledges nothing, and the source keeps what is
/// written meanwhile, until its repl-timeout.
#[test]
fn with_a_log_in_memory_a_snapshot_that_comes_during_a_pause_does_not_keep_the_source_waiting() {
    let source = Server::with(&["--repl-backlog-size", "1mb", "--rdbcompression", "no"]);
    let target = Server::start();
    fill_strings(&source, 40, 1 << 20);
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &["channel.type=memory"]);
    gunyu.wait_ready(PATIENCE);
    pause(&mut gunyu, &source);
    let () = source.run(&["DEBUG", "CHANGE-REPL-ID"]);
    let _: u64 = source.run(&["CLIENT", "KILL", "TYPE", "replica"]);
    wait_until(SOON, "the source is asked for a snapshot", || {
        full_syncs(&source) == 2
    });
    let filler = "x".repeat(1 << 20);
    (0..4).for_each(|_| source.run(&["SET", "filler", &filler]));
    wait_until(SOON / 2, "the source keeps nothing for gunyu", || {
        output_buffer(&source) < MIB
    });
    gunyu.must("POST", "/syncer/resume?inputs=all");
    end_equal(&mut gunyu, &source, &target);
}

/// A flush leaves a record that owns no database; the full sync after it notes those that are empty. Where another one is asked for in between, that record
/// is taken for one of an earlier sync (`resync`), and no database is ever owned again: what is stale stays for good.
#[test]
fn a_full_sync_asked_for_before_that_of_a_flush_has_begun_still_deletes_what_is_stale() {
    // The source takes its time before it begins a snapshot.
    let (source, target) = (
        Server::with(&["--repl-diskless-sync-delay", "0"]),
        Server::start(),
    );
    fill_strings(&source, 10, 10);
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    gunyu.wait_ready(PATIENCE);
    let () = source.run(&["CONFIG", "SET", "repl-diskless-sync-delay", "60"]);
    gunyu.must("POST", "/syncer/fullsync?inputs=all&flushdb=yes");
    gunyu.must("POST", "/syncer/restart");
    gunyu.wait_status(SOON, "it begins anew", |status| {
        status[0]["Phase"] == "connecting"
    });
    let answer = gunyu.must("POST", "/syncer/fullsync?inputs=all");
    assert_eq!(answer["started"][0], source.addr(), "{answer}");
    let () = source.run(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
    gunyu.wait_ready(PATIENCE);
    plant(&target, 1, "stale");
    gunyu.must("POST", "/syncer/fullsync?inputs=all");
    gunyu.wait_ready(PATIENCE);
    assert!(!has(&target, 1, "stale"), "{}", gunyu.traces());
}

/// A one-shot full sync withdrew a checkpoint that there never was, and what it then wrote was nobody's.
#[test]
fn a_migration_that_is_run_again_deletes_what_the_source_has_deleted_meanwhile() {
    let (source, target) = (Server::start(), Server::start());
    fill_strings(&source, 10, 10);
    let urls = [
        format!("--source={}", source.url()),
        format!("--target={}", target.url()),
    ];
    for _ in 0..2 {
        let ran = gunyu::run(&["fullsync", "--quiet", &urls[0], &urls[1]]);
        assert_eq!(
            ran.status.code(),
            Some(0),
            "{}",
            String::from_utf8_lossy(&ran.stderr)
        );
        let () = source.run(&["DEL", "plain:1"]);
    }
    assert_equal(&source, &target);
}

/// After the resume it was asked for once more.
#[test]
fn a_full_sync_that_is_paused_before_its_snapshot_comes_goes_on_with_that_snapshot() {
    // The source takes its time before it begins a snapshot.
    let (source, target) = (
        Server::with(&["--repl-diskless-sync-delay", "0"]),
        Server::start(),
    );
    fill_strings(&source, 10, 10);
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    gunyu.wait_ready(PATIENCE);
    let () = source.run(&["CONFIG", "SET", "repl-diskless-sync-delay", "60"]);
    gunyu.must("POST", "/syncer/fullsync?inputs=all&flushdb=yes");
    pause(&mut gunyu, &source);
    let () = source.run(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
    gunyu.wait_status(SOON, "the snapshot has come during the pause", |status| {
        status[0]["FullSync"]["ReceivedBytes"].as_u64() > Some(0)
    });
    assert!(!has(&target, 0, "plain:1"), "nothing is applied");
    gunyu.must("POST", "/syncer/resume?inputs=all");
    gunyu.wait_ready(PATIENCE);
    assert_eq!(full_syncs(&source), 2, "{}", gunyu.traces());
    end_equal(&mut gunyu, &source, &target);
}

/// Giving keys their expiry left database 0 selected, and the lane believed that the stream's was: what came next went into the wrong database.
#[test]
fn what_is_written_while_expiries_are_settled_stays_in_its_database_with_delivery_at_least_once() {
    let (source, target) = (Server::with(BACKLOG), Server::start());
    let mut conn = source.conn();
    for number in 0..600 {
        let (key, mut set) = (format!("soon:{number}"), redis::cmd("SET"));
        set.arg(key).arg("v").arg("EX").arg(600).exec(&mut conn).unwrap();
    }
    redis::cmd("SELECT").arg(1).exec(&mut conn).unwrap();
    let mut gunyu = Gunyu::start(
        &source.url(),
        &target.url(),
        &["output.replay.delivery=at_least_once"],
    );
    let write = |conn: &mut redis::Connection| {
        redis::cmd("INCR").arg("n").query::<u64>(conn).unwrap();
    };
    gunyu.wait_status(PATIENCE, "every key has its own expiry", |status| {
        write(&mut conn);
        let full_sync = &status[0]["FullSync"];
        status[0]["Phase"] == "incremental" && full_sync["ExpiriesPending"] == false
    });
    (0..20).for_each(|_| write(&mut conn));
    wait_caught_up(&mut gunyu, &source);
    assert!(!has(&target, 0, "n"), "{}", gunyu.traces());
    end_equal(&mut gunyu, &source, &target);
}
