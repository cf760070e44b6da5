//! A source that ends the link, sends no snapshot, sleeps, goes read-only, or begins another history.

use std::sync::atomic::{AtomicBool, Ordering};

use super::support::port::Port;
use super::support::{Gunyu, SOON, Server, assert_equal, wait_until};
use super::{BACKLOG, Goes, LONG, MIB, Pair, full_syncs, put_keys, wait_told};

/// A source that takes about two seconds for a snapshot.
fn slow_to_send(more: &[&str]) -> Server {
    let slow = ["--rdb-key-save-delay", "1000", "--rdbcompression", "no"];
    let source = Server::with(&[&slow[..], more].concat());
    put_keys(&source, 2_000);
    source
}

/// Tells a thread to end, also where the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_snapshot_that_the_source_cuts_off_for_its_output_buffer_is_told_and_asked_for_again() {
    // The limit is never less than the backlog.
    let limits = [
        "--repl-backlog-size",
        "1mb",
        "--client-output-buffer-limit",
        "replica",
        "1mb",
        "0",
        "0",
    ];
    let source = slow_to_send(&limits);
    let mut pair = Pair::beginning(source, Server::start(), &[], &[]);
    let (told, filler) = (AtomicBool::new(false), "x".repeat(MIB as usize));
    let (source, gunyu) = (&pair.source, &mut pair.gunyu);
    gunyu.wait_status(LONG, "a part of the snapshot is here", |status| {
        status[0]["FullSync"]["ReceivedBytes"].as_u64() > Some(0)
    });
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !told.load(Ordering::SeqCst) {
                let () = source.run(&["SET", "filler", &filler]);
            }
        });
        let _ends = Ends(&told);
        // Later ones may not even begin.
        wait_told(gunyu, Goes::Waits, "", "client-output-buffer-limit of replicas");
    });
    let traces = pair.gunyu.traces();
    assert!(traces.contains("the snapshot broke off after"), "{traces}");
    let log = pair.source.log();
    assert!(log.contains("overcoming of output buffer limits"), "{log}");
    let () = pair
        .source
        .run(&["CONFIG", "SET", "client-output-buffer-limit", "replica 0 0 0"]);
    let () = pair.source.run(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
    pair.gunyu.wait_ready(LONG);
    let (source, traces) = pair.finish_however();
    assert!(full_syncs(&source) >= 2, "{traces}");
}

#[test]
fn a_snapshot_that_the_source_cannot_make_is_told_and_asked_for_again() {
    let source = Server::with(&["--repl-diskless-sync", "no", "--repl-backlog-size", "256mb"]);
    put_keys(&source, 100);
    // Its snapshot cannot have its name.
    let in_the_way = source.dir().join("dump.rdb");
    std::fs::create_dir_all(in_the_way.join("full")).unwrap();
    let mut pair = Pair::beginning(source, Server::start(), &[], &[]);
    pair.wait_told(Goes::Waits, "source", "see in the source's log why: BGSAVE fails");
    std::fs::remove_dir_all(in_the_way).unwrap();
    pair.gunyu.wait_ready(LONG);
    pair.finish_however();
}

/// Such a source refuses PING as it does a write; a replica that greets it with one cannot come back.
#[test]
fn a_source_that_cannot_save_and_takes_no_writes_is_followed_all_the_same() {
    let options = [BACKLOG, &["--enable-protected-configs", "yes"]].concat();
    let mut pair = Pair::between(Server::with(&options), Server::start(), &[]);
    std::fs::create_dir(pair.source.dir().join("in-the-way")).unwrap();
    let () = pair.source.run(&["CONFIG", "SET", "dbfilename", "in-the-way"]);
    let () = pair.source.run(&["CONFIG", "SET", "save", "86400 1000000000"]);
    wait_no_dump(&pair.source);
    let () = pair.source.run(&["BGSAVE"]);
    let mut conn = pair.source.conn();
    wait_until(SOON, "it takes no writes", || {
        let ping = redis::cmd("PING").exec(&mut conn);
        ping.is_err_and(|error| format!("{error:?}").contains("MISCONF"))
    });
    kill_link(&pair.source);
    wait_linked(&mut pair);
    pair.gunyu.wait_applied(&pair.source, LONG);
    let () = pair
        .source
        .run(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
    pair.finish();
}

/// The child that sent gunyu its snapshot may still be there.
fn wait_no_dump(source: &Server) {
    wait_until(SOON, "no dump is under way", || {
        source.info("persistence")["rdb_bgsave_in_progress"] == "0"
    });
}

/// Ends our link as an operator does.
fn kill_link(source: &Server) {
    let killed: u64 = source.run(&["CLIENT", "KILL", "TYPE", "replica"]);
    assert_eq!(killed, 1);
}

/// How often the link has been opened again.
fn reconnects(gunyu: &Gunyu) -> String {
    let metrics = gunyu.metrics();
    let is_it = |line: &&str| line.starts_with("gunyu_reconnects_total{") && line.contains("side=\"source\"");
    metrics.lines().find(is_it).unwrap().to_owned()
}

#[track_caller]
fn wait_linked(pair: &mut Pair) {
    let source = &pair.source;
    wait_until(LONG, "the source has its replica again", || {
        source.info("replication")["connected_slaves"] == "1"
    });
    pair.gunyu.wait_ready(LONG);
}

#[test]
fn a_link_that_is_killed_again_and_again_goes_on_where_it_was() {
    let mut pair = Pair::start(&[], &[]);
    for _ in 0..5 {
        kill_link(&pair.source);
        pair.counters.wait_more(200);
        wait_linked(&mut pair);
    }
    pair.finish();
}

#[test]
fn a_source_that_becomes_a_replica_of_nobody_who_answers_is_told_and_waited_for() {
    let mut pair = Pair::start(&[], &[]);
    let nobody = Port::free();
    let () = pair
        .source
        .run(&["REPLICAOF", "127.0.0.1", &nobody.number().to_string()]);
    pair.source
        .run::<redis::Value>(&["CLIENT", "KILL", "TYPE", "replica"]);
    pair.wait_told(Goes::Waits, "NOMASTERLINK", "bring the source's own master back");
    let () = pair.source.run(&["REPLICAOF", "NO", "ONE"]);
    wait_linked(&mut pair);
    pair.finish();
}

#[test]
fn a_source_without_a_connection_left_is_told_and_waited_for() {
    let mut pair = Pair::start(&[], &[]);
    let mut held = pair.source.conn();
    let mut say = |words: &[&str]| redis::cmd(words[0]).arg(&words[1..]).exec(&mut held).unwrap();
    say(&["CONFIG", "SET", "maxclients", "1"]);
    say(&["CLIENT", "KILL", "TYPE", "replica"]);
    pair.wait_told(
        Goes::Waits,
        "max number of clients",
        "CONFIG SET maxclients <more>",
    );
    pair.counters.wait_more(1_000);
    say(&["CONFIG", "SET", "maxclients", "1000"]);
    wait_linked(&mut pair);
    pair.finish();
}

#[test]
fn a_source_that_sleeps_a_little_keeps_its_link() {
    let pair = Pair::start(&[], &[]);
    let before = reconnects(&pair.gunyu);
    let () = pair.source.run(&["DEBUG", "SLEEP", "1"]);
    pair.counters.wait_more(1_000);
    assert_eq!(reconnects(&pair.gunyu), before);
    pair.finish();
}

#[test]
fn a_source_that_sleeps_too_long_is_told_and_gone_on_with() {
    let mut pair = Pair::beginning(
        Server::with(&[BACKLOG, &["--repl-ping-replica-period", "1"]].concat()),
        Server::start(),
        &[],
        &[("GUNYU_SILENCE_MS", "2000")],
    );
    pair.gunyu.wait_ready(LONG);
    pair.source.sigstop();
    pair.wait_told(Goes::Waits, "did not answer within 2 s", "frozen or overloaded");
    pair.source.sigcont();
    wait_linked(&mut pair);
    pair.finish();
}

#[test]
fn a_source_that_reloads_its_own_data_keeps_its_link() {
    let pair = Pair::start(&[], &[]);
    let before = reconnects(&pair.gunyu);
    let () = pair.source.run(&["DEBUG", "RELOAD"]);
    assert_eq!(reconnects(&pair.gunyu), before);
    pair.finish();
}

/// The stream says nothing of it, to any replica.
#[test]
fn an_old_dump_that_is_loaded_into_a_running_source_is_seen_by_a_full_sync_alone() {
    let (source, target) = (Server::with(BACKLOG), Server::start());
    let mut gunyu = Gunyu::between(&source, &target);
    let () = source.run(&["SET", "k", "old"]);
    wait_no_dump(&source);
    let () = source.run(&["SAVE"]);
    let () = source.run(&["SET", "k", "new"]);
    let () = source.run(&["SET", "gone", "1"]);
    let () = source.run(&["DEBUG", "RELOAD", "NOSAVE"]);
    gunyu.wait_applied(&source, LONG);
    assert_eq!(source.run::<String>(&["GET", "k"]), "old");
    assert_eq!(target.run::<String>(&["GET", "k"]), "new");
    gunyu.must("POST", "/syncer/fullsync?inputs=all");
    gunyu.wait_status(LONG, "the full sync is over", |status| {
        full_syncs(&source) == 2 && status[0]["Phase"] == "incremental"
    });
    assert_eq!(gunyu.term().code(), Some(0), "{}", gunyu.traces());
    assert_equal(&source, &target);
}

// The source's history begins anew, under another id.

/// What gunyu is doing then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Arriving,
    Restoring,
    Live,
    Behind,
}

/// What was heard so far is of another history, whatever gunyu is doing: a full sync, and nothing of the two is mixed.
#[track_caller]
fn assert_begins_anew(when: When) {
    let braked: &[&str] = match when {
        When::Restoring => &["output.replay.rateLimit.opsPerSec=6000"],
        _ => &[],
    };
    let source = match when {
        // In some ten seconds.
        When::Arriving => slow_to_send(&[BACKLOG, &["--rdb-key-save-delay", "5000"]].concat()),
        _ => Server::with(BACKLOG),
    };
    if when == When::Restoring {
        put_keys(&source, 30_000);
    }
    let mut pair = Pair::beginning(source, Server::start(), braked, &[]);
    match when {
        When::Arriving => drop(
            pair.gunyu
                .wait_status(LONG, "a part of the snapshot is here", |status| {
                    let sync = &status[0]["FullSync"];
                    sync["ReceivedBytes"].as_u64() > Some(0) && sync["TotalBytes"] == 0
                }),
        ),
        When::Restoring => drop(
            pair.gunyu
                .wait_status(LONG, "it is here and being restored", |status| {
                    let sync = &status[0]["FullSync"];
                    sync["TotalBytes"].as_u64() > Some(0)
                        && sync["ReceivedBytes"] == sync["TotalBytes"]
                        && status[0]["Phase"] == "full_sync"
                }),
        ),
        When::Live => pair.gunyu.wait_ready(LONG),
        When::Behind => {
            pair.gunyu.wait_ready(LONG);
            pair.target.sigstop();
            pair.counters.wait_more(1_000);
        }
    }
    // The next snapshot comes fast.
    let () = pair.source.run(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
    let () = pair.source.run(&["DEBUG", "CHANGE-REPL-ID"]);
    kill_link(&pair.source);
    let source = &pair.source;
    wait_until(LONG, "the source is asked for a snapshot", || {
        full_syncs(source) >= 2
    });
    if when == When::Behind {
        pair.target.sigcont();
    }
    // What had not arrived is asked for again for the reason for which it was asked at first.
    let reason = if when == When::Arriving {
        "first sync"
    } else {
        "history diverged"
    };
    pair.gunyu.wait_status(LONG, "it is live again", |status| {
        status[0]["FullSync"]["Reason"] == reason && status[0]["Phase"] == "incremental"
    });
    pair.finish_however();
}

#[test]
fn a_new_history_while_the_snapshot_arrives_begins_anew() {
    assert_begins_anew(When::Arriving);
}

#[test]
fn a_new_history_while_the_snapshot_is_restored_begins_anew() {
    assert_begins_anew(When::Restoring);
}

#[test]
fn a_new_history_while_the_stream_is_live_begins_anew() {
    assert_begins_anew(When::Live);
}

#[test]
fn a_new_history_while_the_target_is_frozen_begins_anew() {
    assert_begins_anew(When::Behind);
}
