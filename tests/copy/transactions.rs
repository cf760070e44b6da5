//! Transactions of the source are transactions on the target: nobody there ever sees a half of one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::support::wire::{Batch, put};
use super::support::{Cluster, Gunyu, Server, wait_until};
use super::{PATIENCE, checkpoint_key, end_equal, full_syncs, live, wait_applied};

/// Transactions in each test.
const ROUNDS: u32 = 400;

/// Asks a server the same question again and again, until told to stop.
struct Reader {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(u64, Vec<String>)>,
}

impl Reader {
    /// `right` judges an answer; the wrong ones are kept.
    fn start(server: &Server, script: &'static str, arg: String, right: fn(&[i64]) -> bool) -> Reader {
        let (mut conn, stop) = (server.conn(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut asked, mut wrong) = (0, Vec::new());
            while !stopped.load(Ordering::SeqCst) {
                let mut ask = redis::cmd("EVAL");
                let answer: Vec<i64> = ask.arg(script).arg(0).arg(&arg).query(&mut conn).unwrap();
                asked += 1;
                if !right(&answer) {
                    wrong.push(format!("{answer:?}"));
                }
            }
            (asked, wrong)
        });
        Reader { stop, thread }
    }

    /// How often it asked; fails where it was answered wrongly.
    #[track_caller]
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        let (asked, wrong) = self.thread.join().unwrap();
        assert!(
            wrong.is_empty(),
            "{} of {asked}: {:?}",
            wrong.len(),
            &wrong[..wrong.len().min(5)]
        );
        asked
    }
}

/// Three counters, in two databases.
const THREE: &str = "local n = function(db) redis.call('SELECT', db) return tonumber(redis.call('GET', 'n') or 0) end \
    redis.call('SELECT', 0) local m = tonumber(redis.call('GET', 'm') or 0) return {n(0), n(1), m}";

fn all_equal(answer: &[i64]) -> bool {
    answer.windows(2).all(|two| two[0] == two[1])
}

/// Each transaction raises the three counters, with `filling` other commands between them.
fn transactions_stay_whole(set: &[&str], filling: usize) {
    let (source, target) = (Server::start(), Server::start());
    let gunyu = live(&source, &target, set);
    let reader = Reader::start(&target, THREE, String::new(), all_equal);
    let mut conn = source.conn();
    let rounds = if filling > 100 { ROUNDS / 20 } else { ROUNDS };
    for round in 0..rounds {
        let mut batch = Batch::default();
        put!(batch, "SELECT", 0);
        put!(batch, "MULTI");
        put!(batch, "INCR", "n");
        for number in 0..filling {
            put!(
                batch,
                "SET",
                format!("filling:{number}"),
                format!("{round:0>200}")
            );
        }
        put!(batch, "SELECT", 1);
        put!(batch, "INCR", "n");
        put!(batch, "SELECT", 0);
        put!(batch, "INCR", "m");
        put!(batch, "EXEC");
        batch.must(&mut conn);
    }
    wait_until(PATIENCE, "the last transaction is there", || {
        target.run::<Option<u32>>(&["GET", "m"]) == Some(rounds)
    });
    assert!(reader.stop() > 20);
    end_equal(gunyu, &source, &target);
}

#[test]
fn nobody_on_the_target_sees_a_half_transaction() {
    transactions_stay_whole(&[], 3);
}

#[test]
fn a_transaction_larger_than_any_batch_stays_whole() {
    transactions_stay_whole(
        &[
            "output.replay.batchCmdCount=10",
            "output.replay.batchBufferSize=4096",
        ],
        3_000,
    );
}

#[test]
fn a_transaction_stays_whole_with_delivery_at_least_once() {
    transactions_stay_whole(&["output.replay.delivery=at_least_once"], 3);
}

/// Of one slot, which is all that a transaction of a cluster can be. Blind writes alone, which would else go out plain; and more of them than a server reads
/// at once, between which it would answer others.
#[test]
fn a_transaction_of_one_slot_stays_whole_on_a_cluster() {
    const TWO: &str = "local n = function(key) return tonumber(redis.call('GET', key) or 0) end return {n('{t}n'), n('{t}m')}";
    let (source, cluster) = (Server::start(), Cluster::start(3));
    let mut gunyu = Gunyu::start(&source.url(), &cluster.url(), &[]);
    gunyu.wait_ready(PATIENCE);
    let serves = |one: &&Server| redis::cmd("GET").arg("{t}n").exec(&mut one.conn()).is_ok();
    let owner = cluster.masters.iter().find(serves).unwrap();
    let reader = Reader::start(owner, TWO, String::new(), all_equal);
    let mut conn = source.conn();
    for round in 1..=ROUNDS / 8 {
        let mut batch = Batch::default();
        put!(batch, "MULTI");
        put!(batch, "SET", "{t}n", round);
        for number in 0..500 {
            put!(
                batch,
                "SET",
                format!("{{t}}filling:{number}"),
                format!("{round:0>400}")
            );
        }
        put!(batch, "SET", "{t}m", round);
        put!(batch, "EXEC");
        batch.must(&mut conn);
    }
    wait_applied(&mut gunyu, &source);
    assert!(reader.stop() > 20);
    assert_eq!(owner.run::<u32>(&["GET", "{t}m"]), ROUNDS / 8);
}

/// A flush on the connection of gunyu touches the session's key: a transaction after it must be applied all the same.
#[test]
fn a_transaction_after_a_flush_is_applied_with_delivery_at_least_once() {
    for flush in [&["FLUSHALL"][..], &["FLUSHDB"], &["SWAPDB", "0", "1"]] {
        let (source, target) = (Server::start(), Server::start());
        let mut gunyu = live(&source, &target, &["output.replay.delivery=at_least_once"]);
        for round in 0..3 {
            let mut batch = Batch::default();
            put!(batch, "SET", "before", round);
            batch.begin(flush.len());
            flush.iter().for_each(|arg| batch.arg(arg));
            put!(batch, "MULTI");
            put!(batch, "SET", format!("one:{round}"), round);
            put!(batch, "INCR", "two");
            put!(batch, "EXEC");
            batch.must(&mut source.conn());
            gunyu.wait_applied(&source, PATIENCE);
            assert_eq!(
                target.run::<Option<u32>>(&["GET", &format!("one:{round}")]),
                Some(round),
                "{flush:?}"
            );
            let at = source.offset();
            // The next round meets the connection as a checkpoint has left it.
            gunyu.wait_status(PATIENCE, "a checkpoint", |status| {
                status[0]["Offset"]["Checkpoint"].as_u64() >= Some(at)
            });
        }
        end_equal(gunyu, &source, &target);
    }
}

#[test]
fn one_transaction_over_every_database_becomes_equal() {
    let (source, target) = (Server::start(), Server::start());
    let gunyu = live(&source, &target, &[]);
    let mut conn = source.conn();
    for round in 0..50 {
        let mut batch = Batch::default();
        put!(batch, "MULTI");
        for db in (0..16).rev().chain([9, 0, 15]) {
            put!(batch, "SELECT", db);
            put!(batch, "RPUSH", "list", round);
            put!(batch, "MOVE", "list", (db + 1) % 16);
        }
        put!(batch, "SWAPDB", 0, round % 16);
        put!(batch, "EXEC");
        put!(batch, "RPUSH", "list", round); // wherever the transaction ended
        batch.must(&mut conn);
    }
    end_equal(gunyu, &source, &target);
}

/// FLUSHALL takes the checkpoint along, SWAPDB of database 0 moves it: both must put it back in the same transaction.
#[test]
fn the_checkpoint_is_there_at_every_moment() {
    let (source, target) = (Server::start(), Server::start());
    let mut gunyu = live(&source, &target, &[]);
    let key = checkpoint_key(&target);
    let is_there = "redis.call('SELECT', 0) return {redis.call('HEXISTS', ARGV[1], 'offset'), 1}";
    let reader = Reader::start(&target, is_there, key, all_equal);
    let mut conn = source.conn();
    for round in 0..100 {
        let mut batch = Batch::default();
        put!(batch, "SELECT", round % 3);
        put!(batch, "SET", "key", round);
        match round % 5 {
            0 => put!(batch, "FLUSHALL"),
            1 => put!(batch, "SWAPDB", 0, 1),
            2 => put!(batch, "SWAPDB", 2, 0),
            3 => put!(batch, "FLUSHDB"),
            _ => {
                put!(batch, "MULTI");
                put!(batch, "FLUSHALL", "ASYNC");
                put!(batch, "SET", "key", round);
                put!(batch, "SWAPDB", 1, 0);
                put!(batch, "EXEC");
            }
        }
        batch.must(&mut conn);
        if round % 10 == 9 {
            gunyu.wait_applied(&source, PATIENCE);
        }
    }
    gunyu.wait_applied(&source, PATIENCE);
    assert!(reader.stop() > 100);
    assert_eq!(full_syncs(&gunyu), 1);
    end_equal(gunyu, &source, &target);
}
