//! `--adopt-redis-gunyu-checkpoint`: going on where redis-GunYu, the Go program, has stopped.
//!
//! What it leaves on a target is written by `support::redis_gunyu`. That there was no full sync is told by the source's own count.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use support::compare::delete_own_keys;
use support::redis_gunyu::{copy_without_a_trace, leave};
use support::wire::{Batch, put};
use support::workload::{Counters, Fill, Seed};
use support::{Cluster, Gunyu, SOON, Server, assert_equal, fleet, wait_until};

const FLAG: &str = "--adopt-redis-gunyu-checkpoint";

/// A backlog that holds all of a test, and no pings in between.
const SOURCE: &[&str] = &[
    "--repl-backlog-size",
    "64mb",
    "--repl-ping-replica-period",
    "3600",
];

fn started(source: &str, target: &str) -> Gunyu {
    let args = [
        "sync",
        FLAG,
        &format!("--source={source}"),
        &format!("--target={target}"),
    ];
    Gunyu::with_args(args.map(str::to_owned).to_vec(), &[])
}

fn full_syncs(source: &Server) -> u64 {
    source.info("stats")["sync_full"].parse().unwrap()
}

fn number(offset: u64) -> i64 {
    i64::try_from(offset).unwrap()
}

#[test]
fn a_checkpoint_of_redis_gunyu_is_gone_on_from_without_a_full_sync_and_nothing_is_lost_or_repeated() {
    let seed = Seed::pick();
    let (source, target) = (Server::with(SOURCE), Server::start());
    Fill::keys(2_000).run(&source, &seed);
    let at = copy_without_a_trace(&source.url(), &target.url(), &[&source], &[&target]);
    let (id, offset) = &at[0];
    leave(&target, "redis-gunyu-checkpoint", (id, number(*offset)), 0);
    let counters = Counters::start(&source, &seed);
    counters.wait_more(1_000);
    let mut gunyu = started(&source.url(), &target.url());
    gunyu.wait_ready(SOON);
    counters.wait_more(1_000);
    // From here on it is a deployment like any other, and the flag does no harm.
    gunyu.restart();
    gunyu.wait_ready(SOON);
    counters.wait_more(1_000);
    let expected = counters.stop();
    gunyu.wait_applied(&source, SOON);
    expected.assert_on(&target);
    assert_eq!(full_syncs(&source), 1, "{}", gunyu.traces());
    // What the target loses comes back as ever: the snapshot is asked for.
    let () = target.run(&["FLUSHALL"]);
    let () = source.run(&["SET", "after", "1"]);
    wait_until(SOON, "the source has sent a snapshot", || {
        full_syncs(&source) == 2
    });
    gunyu.wait_ready(SOON);
    gunyu.wait_applied(&source, SOON);
    assert_eq!(gunyu.term().code(), Some(0), "{}", gunyu.traces());
    assert_equal(&source, &target);
}

#[test]
fn a_checkpoint_just_behind_a_select_or_a_multi_goes_on_in_the_right_database_and_with_the_whole_transaction()
{
    let (source, target) = (Server::with(SOURCE), Server::start());
    let () = source.run(&["SET", "a", "1"]);
    let at = copy_without_a_trace(&source.url(), &target.url(), &[&source], &[&target]);
    let (id, before) = &at[0];
    let mut conn = source.conn();
    redis::cmd("SELECT").arg(3).exec(&mut conn).unwrap();
    let both = ["count", "other"].map(|key| redis::cmd("INCR").arg(key).clone());
    redis::pipe()
        .atomic()
        .add_command(both[0].clone())
        .add_command(both[1].clone())
        .exec(&mut conn)
        .unwrap();
    let (select, multi) = (23, 15);
    for (where_, offset, db) in [
        // As redis-GunYu does it: the SELECT's end is recorded in the database before it.
        ("behind the SELECT", before + select, 0),
        ("behind the MULTI", before + select + multi, 3),
    ] {
        leave(&target, "redis-gunyu-checkpoint", (id, number(offset)), db);
        let mut gunyu = started(&source.url(), &target.url());
        gunyu.wait_ready(SOON);
        gunyu.wait_applied(&source, SOON);
        assert_eq!(gunyu.term().code(), Some(0), "{}", gunyu.traces());
        delete_own_keys(&target);
        assert_equal(&source, &target);
        assert_eq!(full_syncs(&source), 1, "{where_}: {}", gunyu.traces());
        // The transaction is to come once more.
        let mut conn = target.conn();
        redis::cmd("SELECT").arg(3).exec(&mut conn).unwrap();
        redis::cmd("DEL")
            .arg("count")
            .arg("other")
            .exec(&mut conn)
            .unwrap();
    }
}

#[test]
fn a_checkpoint_that_does_not_fit_is_refused_and_nothing_has_changed() {
    let small = [
        "--repl-backlog-size",
        "16kb",
        "--repl-ping-replica-period",
        "3600",
    ];
    let (source, target) = (Server::with(&small), Server::start());
    let () = source.run(&["SET", "a", "1"]);
    let at = copy_without_a_trace(&source.url(), &target.url(), &[&source], &[&target]);
    let (id, offset) = (&at[0].0, number(at[0].1));
    let () = source.run(&["SET", "big", &"x".repeat(100_000)]);
    let other = "f".repeat(40);
    let name = "redis-gunyu-checkpoint";
    let two_way = "redis-gunyu-checkpoint-bisync:0123456789abcdef01234567";
    // What is said, and what was left: the name, the id, the offset.
    type Row<'a> = (&'a str, Option<(&'a str, &'a str, i64)>);
    let rows: [Row<'_>; 6] = [
        ("no checkpoint of redis-GunYu", None),
        ("no checkpoint of redis-GunYu", Some((name, &other, offset))),
        ("is -1", Some((name, id, -1))),
        ("two-way mode", Some((two_way, id, offset))),
        (
            "not in the source's history",
            Some((name, id, offset + 1_000_000)),
        ),
        ("does not have what comes after", Some((name, id, offset))),
    ];
    for (said, left) in rows {
        delete_own_keys(&target);
        if let Some((name, id, offset)) = left {
            leave(&target, name, (id, offset), 0);
        }
        let mut gunyu = started(&source.url(), &target.url());
        assert_eq!(gunyu.wait_end(SOON).code(), Some(2), "{}", gunyu.traces());
        let traces = gunyu.traces();
        assert!(traces.contains(said), "{said}: {traces}");
        assert!(traces.contains(&format!("leave {FLAG} away")), "{traces}");
        assert_eq!(full_syncs(&source), 1, "{traces}");
        assert_eq!(target.run::<Option<String>>(&["GET", "big"]), None);
    }
    // What the hint says helps.
    let mut gunyu = Gunyu::between(&source, &target);
    gunyu.wait_applied(&source, SOON);
    assert_eq!(gunyu.term().code(), Some(0));
    assert_equal(&source, &target);
}

#[test]
fn an_offset_of_minus_one_in_one_database_is_refused_whatever_another_says() {
    let (source, target) = (Server::with(SOURCE), Server::start());
    let () = source.run(&["SET", "a", "1"]);
    let at = copy_without_a_trace(&source.url(), &target.url(), &[&source], &[&target]);
    let (id, offset) = (&at[0].0, number(at[0].1));
    for (known, unknown) in [(0, 3), (3, 0)] {
        delete_own_keys(&target);
        let name = "redis-gunyu-checkpoint";
        leave(&target, name, (id, offset), known);
        leave(&target, name, (id, -1), unknown);
        let mut gunyu = started(&source.url(), &target.url());
        assert_eq!(gunyu.wait_end(SOON).code(), Some(2), "{}", gunyu.traces());
        let said = format!("its offset in database {unknown} is -1");
        assert!(gunyu.traces().contains(&said), "{}", gunyu.traces());
    }
}

#[test]
fn a_source_that_refuses_psync_ends_it_instead_of_being_asked_for_ever() {
    let (source, target) = (Server::with(SOURCE), Server::start());
    let () = source.run(&["SET", "a", "1"]);
    let at = copy_without_a_trace(&source.url(), &target.url(), &[&source], &[&target]);
    leave(&target, "redis-gunyu-checkpoint", (&at[0].0, number(at[0].1)), 0);
    let user = [
        "ACL",
        "SETUSER",
        "follower",
        "on",
        ">secret",
        "+ping",
        "+info",
        "+replconf",
    ];
    let () = source.run(&user);
    let url = format!("redis://follower:secret@{}", source.addr());
    let mut gunyu = started(&url, &target.url());
    assert_eq!(gunyu.wait_end(SOON).code(), Some(2), "{}", gunyu.traces());
    let traces = gunyu.traces();
    assert!(traces.contains("NOPERM") && traces.contains("+psync"), "{traces}");
}

#[test]
fn a_shard_that_joins_later_makes_a_full_sync_while_it_runs_and_at_a_later_start() {
    let (mut source, target) = (fleet::Fleet::start(2, 0), Server::start());
    let count_up = |source: &fleet::Fleet| {
        let mut client = fleet::Shape::client(source);
        for key in (0..300).map(|n| format!("key{n}")) {
            let mut incr = Batch::default();
            put!(incr, "INCR", &key);
            client.send(key.as_bytes(), &incr).unwrap();
        }
    };
    count_up(&source);
    let url = fleet::Shape::url(&source);
    let masters: Vec<&Server> = source.nodes.iter().collect();
    let left = copy_without_a_trace(&url, &target.url(), &masters, &[&target]);
    assert_eq!(left.len(), 2);
    for (id, offset) in &left {
        leave(&target, "redis-gunyu-checkpoint", (id, number(*offset)), 0);
    }
    let args = [
        "sync",
        FLAG,
        &format!("--source={url}"),
        &format!("--target={}", target.url()),
        "--set=server.checkRedisTypologyTicker=1s",
    ];
    let mut gunyu = Gunyu::with_args(args.map(str::to_owned).to_vec(), &[]);
    gunyu.wait_ready(SOON);
    for is_running in [true, false] {
        if !is_running {
            assert_eq!(gunyu.term().code(), Some(0), "{}", gunyu.traces());
        }
        let new = source.add_shard(1_000);
        if !is_running {
            gunyu.restart();
        }
        wait_until(SOON, "the new shard has sent a snapshot", || {
            assert!(!gunyu.has_ended(), "{}", gunyu.traces());
            full_syncs(&source.nodes[new]) > 0
        });
        gunyu.wait_ready(SOON);
        count_up(&source);
        for master in &source.nodes {
            gunyu.wait_applied(master, SOON);
        }
        if is_running {
            assert_eq!(full_syncs(&source.nodes[0]), 1, "{}", gunyu.traces());
        }
        fleet::assert_equal(&source, &target);
    }
    assert_eq!(gunyu.term().code(), Some(0), "{}", gunyu.traces());
}

#[test]
fn the_flag_and_a_configuration_that_does_not_resume_contradict_each_other() {
    let args = [
        "sync",
        FLAG,
        "--source=redis://127.0.0.1:1",
        "--target=redis://127.0.0.1:2",
    ];
    let set = "--set=output.replay.resumeFromBreakPoint=false";
    let ended = support::gunyu::run(&[&args[..], &[set]].concat());
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(said.contains("contradicts"), "{said}");
}

#[test]
fn each_shard_of_a_cluster_goes_on_from_its_own_onto_another_cluster() {
    let (source, target) = (Cluster::start(3), Cluster::start(2));
    source.set_keys(300);
    let sources: Vec<&Server> = source.masters.iter().collect();
    let targets: Vec<&Server> = target.masters.iter().collect();
    let left = copy_without_a_trace(&source.url(), &target.url(), &sources, &targets);
    assert_eq!(left.len(), 3);
    // Each key on the master that serves it; all shards share one, as where redis-GunYu writes without transactions.
    let serves = |key: &str| {
        let is_there = |one: &&&Server| redis::cmd("HLEN").arg(key).query::<u64>(&mut one.conn()).is_ok();
        *targets.iter().find(is_there).unwrap()
    };
    let (index, name) = ("redis-gunyu-checkpoint-hash", "redis-gunyu-checkpoint");
    for (id, offset) in &left {
        let () = serves(index).run(&["HSET", index, id, name]);
        let field = |suffix: &str| format!("{id}_{suffix}");
        let (run_id, version, at) = (field("runid"), field("version"), field("offset"));
        let offset = offset.to_string();
        let () = serves(name).run(&["HSET", name, &run_id, id, &version, "1", &at, &offset]);
    }
    let mut client = fleet::Shape::client(&source);
    for key in (0..300).map(|n| format!("key{n}")) {
        let mut incr = Batch::default();
        put!(incr, "INCR", &key);
        client.send(key.as_bytes(), &incr).unwrap();
    }
    let mut gunyu = started(&source.url(), &target.url());
    gunyu.wait_ready(SOON);
    for master in &sources {
        gunyu.wait_applied(master, SOON);
        assert_eq!(full_syncs(master), 1, "{}", gunyu.traces());
    }
    assert_eq!(gunyu.term().code(), Some(0), "{}", gunyu.traces());
    fleet::assert_equal(&source, &target);
}
