//! Commands of the live stream that are more than a write to a key, each followed by a crash of gunyu.

use redis::Value;

use super::support::compare::equal_key_by_key;
use super::support::wire::{Batch, put};
use super::support::{Gunyu, Server, wait_for};
use super::{PATIENCE, assert_no_dead_letters, end_equal, full_syncs, live};

const LIBRARY: &str = "#!lua name=lib\nredis.register_function('lib_incr', function(keys) \
    return redis.call('INCR', keys[1]) end)";
const OTHER_LIBRARY: &str = "#!lua name=other\nredis.register_function('other_set', function(keys, args) \
    return redis.call('SET', keys[1], args[1]) end)";
const SCRIPT: &str = "redis.call('INCR', KEYS[1]) return redis.call('RPUSH', KEYS[2], ARGV[1])";

/// What is done to the source; every step begins in database 0, with a few keys in databases 0 to 3.
const STEPS: &[(&str, &[&[&str]])] = &[
    ("FLUSHALL", &[&["FLUSHALL"]]),
    (
        "FLUSHALL ASYNC",
        &[&["FLUSHALL", "ASYNC"], &["SET", "after", "1"]],
    ),
    ("FLUSHDB", &[&["FLUSHDB"]]),
    (
        "FLUSHDB of another database",
        &[&["SELECT", "2"], &["FLUSHDB", "SYNC"], &["SET", "after", "1"]],
    ),
    ("SWAPDB of database 0", &[&["SWAPDB", "0", "1"]]),
    (
        "SWAPDB onto database 0",
        &[&["SELECT", "3"], &["SWAPDB", "2", "0"], &["SET", "after", "1"]],
    ),
    ("SWAPDB of others", &[&["SWAPDB", "3", "2"]]),
    (
        "SWAPDB with an empty one",
        &[&["SWAPDB", "0", "11"], &["SET", "after", "1"]],
    ),
    (
        "MOVE",
        &[
            &["SET", "moved", "1"],
            &["MOVE", "moved", "7"],
            &["MOVE", "list", "1"],
        ],
    ),
    (
        "COPY DB",
        &[
            &["COPY", "hash", "copy", "DB", "5"],
            &["COPY", "list", "list", "DB", "6", "REPLACE"],
        ],
    ),
    (
        "FUNCTION LOAD",
        &[
            &["FUNCTION", "LOAD", LIBRARY],
            &["FCALL", "lib_incr", "1", "counter"],
        ],
    ),
    (
        "FUNCTION LOAD REPLACE",
        &[
            &["FUNCTION", "LOAD", "REPLACE", LIBRARY],
            &["FUNCTION", "LOAD", OTHER_LIBRARY],
        ],
    ),
    ("FUNCTION DELETE", &[&["FUNCTION", "DELETE", "lib"]]),
    (
        "FUNCTION FLUSH",
        &[&["FUNCTION", "LOAD", LIBRARY], &["FUNCTION", "FLUSH"]],
    ),
    (
        "SCRIPT LOAD",
        &[&["SCRIPT", "LOAD", SCRIPT], &["SCRIPT", "FLUSH"]],
    ),
    (
        "EVAL",
        &[
            &["EVAL", SCRIPT, "2", "counter", "list", "x"],
            &["EVAL", "return redis.call('SET', 'nokeys', 1)", "0"],
        ],
    ),
    (
        "MULTI with everything",
        &[
            &["MULTI"],
            &["SET", "a", "1"],
            &["SELECT", "4"],
            &["INCR", "counter"],
            &["FLUSHALL"],
            &["INCR", "counter"],
            &["SWAPDB", "4", "0"],
            &["INCR", "counter"],
            &["SELECT", "0"],
            &["INCR", "counter"],
            &["EXEC"],
        ],
    ),
    (
        "an empty transaction",
        &[&["MULTI"], &["EXEC"], &["MULTI"], &["GET", "a"], &["EXEC"]],
    ),
];

/// A few keys in databases 0 to 3.
fn prepare(conn: &mut redis::Connection) {
    let mut batch = Batch::default();
    for db in (0..4).rev() {
        put!(batch, "SELECT", db);
        put!(batch, "HSET", "hash", "db", db);
        put!(batch, "SET", format!("only-in-{db}"), db);
        put!(batch, "RPUSH", "list", db, "x");
    }
    batch.must(conn);
}

fn step(conn: &mut redis::Connection, commands: &[&[&str]]) {
    let mut batch = Batch::default();
    put!(batch, "SELECT", 0);
    for command in commands {
        batch.begin(command.len());
        command.iter().for_each(|arg| batch.arg(arg));
    }
    for reply in batch.must(conn) {
        assert_ne!(reply, Value::Nil, "{commands:?}");
    }
}

#[track_caller]
fn assert_the_same(what: &str, source: &Server, target: &Server) {
    if let Err(found) = equal_key_by_key(source, target) {
        panic!("after {what}:\n{found}");
    }
}

/// Every step, and after each a crash that gunyu learns of at once or only when all is applied.
fn every_step_survives(set: &[&str], crash_at_once: bool) {
    let (source, target) = (Server::start(), Server::start());
    let mut gunyu = live(&source, &target, set);
    let mut conn = source.conn();
    for (what, commands) in STEPS {
        prepare(&mut conn);
        step(&mut conn, commands);
        if !crash_at_once {
            gunyu.wait_applied(&source, PATIENCE);
            assert_the_same(what, &source, &target);
        }
        gunyu.kill9();
        put_while_away(&mut conn);
        gunyu.restart();
        gunyu.wait_applied(&source, PATIENCE);
        assert_eq!(
            full_syncs(&gunyu),
            0,
            "a full sync after {what}:\n{}",
            gunyu.traces()
        );
        assert_no_dead_letters(&gunyu);
        assert_the_same(what, &source, &target);
    }
    end_equal(gunyu, &source, &target);
}

/// Whatever database is selected by now: the checkpoint must know it.
fn put_while_away(conn: &mut redis::Connection) {
    let mut batch = Batch::default();
    put!(batch, "RPUSH", "while-away", "x");
    batch.must(conn);
}

#[test]
fn commands_that_are_more_than_a_write_arrive_and_a_crash_after_them_resumes() {
    every_step_survives(&[], false);
}

#[test]
fn commands_that_are_more_than_a_write_arrive_through_a_crash_at_once() {
    every_step_survives(&[], true);
}

/// The checkpoint may lie a second back there, but what these commands do again changes nothing.
#[test]
fn commands_that_are_more_than_a_write_arrive_with_delivery_at_least_once() {
    let (source, target) = (Server::start(), Server::start());
    let mut gunyu = live(&source, &target, &["output.replay.delivery=at_least_once"]);
    let mut conn = source.conn();
    for (what, commands) in STEPS {
        prepare(&mut conn);
        step(&mut conn, commands);
        gunyu.wait_applied(&source, PATIENCE);
        assert_the_same(what, &source, &target);
    }
    assert_eq!(full_syncs(&gunyu), 1);
    end_equal(gunyu, &source, &target);
}

#[test]
fn a_subscriber_on_the_target_hears_what_is_published_on_the_source() {
    let (source, target) = (Server::start(), Server::start());
    let gunyu = live(&source, &target, &[]);
    let mut subscriber = target.conn();
    let mut heard = subscriber.as_pubsub();
    heard.subscribe(&["news", "binary"]).unwrap();
    let mut conn = source.conn();
    let messages: [&[u8]; 3] = [b"one", b"", b"\r\n\xff\0*1"];
    for (number, message) in messages.iter().enumerate() {
        let mut batch = Batch::default();
        put!(batch, "PUBLISH", ["news", "binary"][number % 2], *message);
        batch.must(&mut conn);
    }
    for message in messages {
        assert_eq!(heard.get_message().unwrap().get_payload_bytes(), message);
    }
    drop(heard);
    end_equal(gunyu, &source, &target);
}

/// The keys of a crash in the middle of many transactions with flushes: only the end counts.
#[test]
fn crashes_among_flushes_and_swaps_lose_nothing() {
    let (source, target) = (Server::start(), Server::start());
    let mut gunyu = live(&source, &target, &[]);
    let mut conn = source.conn();
    for round in 0..8 {
        for (_, commands) in STEPS {
            prepare(&mut conn);
            step(&mut conn, commands);
        }
        if round % 2 == 0 {
            wait_for(PATIENCE, "something is applied", || applied_some(&gunyu));
        }
        gunyu.restart();
    }
    gunyu.wait_applied(&source, PATIENCE);
    assert_eq!(full_syncs(&gunyu), 0, "{}", gunyu.traces());
    end_equal(gunyu, &source, &target);
}

fn applied_some(gunyu: &Gunyu) -> Result<(), String> {
    let status = gunyu
        .request("GET", "/syncer/status")
        .map_err(|e| e.to_string())?;
    let applied = status.json()[0]["Offset"]["Applied"].as_u64();
    applied
        .filter(|at| *at > 0)
        .map(|_| ())
        .ok_or_else(|| status.text())
}
