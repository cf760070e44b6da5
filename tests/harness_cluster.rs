//! The test support for clusters and sentinels itself, on real servers and without gunyu.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout
)] // a helper that fails fails its test

mod support;

use std::time::{Duration, Instant};

use support::fleet::client::Client;
use support::fleet::slot::slot;
use support::fleet::{Fleet, Layout, Load, Rate, Shape, Watched, differences, wait_equal};
use support::wire::{Batch, put};
use support::workload::Seed;
use support::{SOON, Server, at_this_load, matrix};

/// Three masters and their replicas start in about 2 s; the rest is for a busy machine.
const START_MAX: Duration = Duration::from_secs(5);

/// One command through a client; its reply.
fn send(client: &mut dyn Client, command: &[&str]) -> redis::Value {
    let mut batch = Batch::default();
    batch.begin(command.len());
    command.iter().for_each(|arg| batch.arg(arg));
    client.send(command[1].as_bytes(), &batch).unwrap().remove(0)
}

fn fill(shape: &dyn Shape, keys: usize) {
    let mut client = shape.client();
    for number in 0..keys {
        let done = send(&mut *client, &["SET", &format!("key:{number}"), "value"]);
        assert_eq!(done, redis::Value::Okay);
    }
}

fn keys(shape: &dyn Shape) -> u64 {
    shape.masters().iter().map(|master| master.keys()).sum()
}

/// Writers at work before, while and after `event`; nothing is refused or given up, and no counter is lost.
fn under_load(fleet: &mut Fleet, event: impl FnOnce(&mut Fleet)) {
    let seed = Seed::pick();
    let load = Load::start(fleet, &seed, Rate::default());
    load.wait_more(500);
    event(fleet);
    load.wait_more(500);
    let done = load.stop();
    assert!(done.refused.is_empty() && done.given_up.is_empty(), "{done:?}");
    fleet.wait_whole();
}

#[test]
fn three_masters_with_a_replica_each_start_fast() {
    let start = Instant::now();
    let fleet = Fleet::start(3, 1);
    let took = start.elapsed();
    println!("3 + 3 nodes took {took:?}");
    assert_eq!(fleet.masters_at(), [0, 1, 2]);
    assert!(fleet.shards().iter().all(|shard| shard.replicas.len() == 1));
    assert!(took < at_this_load(START_MAX), "{took:?}");
}

#[test]
fn slots_are_counted_as_the_server_counts_them() {
    let fleet = Fleet::start(1, 0);
    for key in ["", "key", "{tag}key", "{}key", "a{b}c{d}", "{{x}}", "ü{ö}"] {
        let said: u16 = fleet.nodes[0].run(&["CLUSTER", "KEYSLOT", key]);
        assert_eq!(slot(key.as_bytes()), said, "{key:?}");
    }
}

#[test]
fn a_failover_and_a_crash_pass_under_load() {
    let mut fleet = Fleet::start(3, 1);
    under_load(&mut fleet, |fleet| {
        let heir = fleet.fail_over(0);
        assert_ne!(heir, 0);
        assert_eq!(fleet.shard(heir).replicas, [0]);
        let back = fleet.crash_and_revive(heir);
        assert_eq!((back, fleet.shard(0).replicas), (0, vec![heir]));
    });
}

#[test]
fn slots_move_away_and_back_under_load_and_no_key_is_lost() {
    let mut fleet = Fleet::start(3, 0);
    fill(&fleet, 3_000);
    under_load(&mut fleet, |fleet| {
        fleet.reshard(0, 1, 300);
        assert_eq!(fleet.shard(0).slots.len(), 5_461 - 300);
        fleet.reshard_back();
        assert_eq!(fleet.shard(0).slots.len(), 5_461);
    });
    let mut client = fleet.client();
    for number in 0..3_000 {
        let value = send(&mut *client, &["GET", &format!("key:{number}")]);
        assert_eq!(value, redis::Value::BulkString(b"value".to_vec()), "{number}");
    }
}

#[test]
fn a_shard_joins_and_leaves_under_load() {
    let mut fleet = Fleet::start(3, 1);
    fill(&fleet, 1_000);
    under_load(&mut fleet, |fleet| {
        let new = fleet.add_shard(300);
        assert_eq!(fleet.shard(new).slots.len(), 300);
        assert_eq!(fleet.shard(new).replicas.len(), 1);
        let mut leaving = Vec::new();
        fleet.remove_shard(new, &mut |addresses| leaving.extend_from_slice(addresses));
        assert_eq!((fleet.masters_at().len(), leaving.len()), (3, 2));
    });
    assert!(keys(&fleet) >= 1_000);
}

#[test]
fn a_killed_node_is_replaced_by_a_fresh_one() {
    let mut fleet = Fleet::start(3, 1);
    let heir = fleet.crash(1);
    let new = fleet.replace(1, heir);
    assert_eq!(fleet.shard(heir).replicas, [new]);
}

#[test]
fn sentinels_put_another_in_the_masters_place_under_load() {
    let mut watched = Watched::start(1, 3);
    let seed = Seed::pick();
    let load = Load::start(&watched, &seed, Rate::default());
    load.wait_more(300);
    assert_eq!(watched.fail_over(), 1);
    load.wait_more(300);
    assert_eq!(watched.crash_and_revive(), 0);
    load.wait_more(300);
    let done = load.stop();
    assert!(done.refused.is_empty() && done.given_up.is_empty(), "{done:?}");
}

#[test]
fn what_was_written_twice_alike_is_equal_in_any_shape() {
    let (fleet, server) = (Fleet::start(2, 0), Server::start());
    for shape in [&fleet as &dyn Shape, &server] {
        write_all_types(shape, 300);
    }
    wait_equal(&fleet, &server, SOON);
    wait_equal(&server, &fleet, SOON);
}

fn write_all_types(shape: &dyn Shape, count: usize) {
    let mut client = shape.client();
    for number in 0..count {
        let key = |kind: &str| format!("{kind}:{number}");
        let _ = send(&mut *client, &["SET", &key("s"), "v", "PXAT", "4000000000000"]);
        // In an order of its own on each side.
        for field in fastrand::choose_multiple(0..200, 200) {
            let field = field.to_string();
            let _ = send(&mut *client, &["SADD", &key("set"), &field]);
            if number > 3 {
                break;
            }
            let _ = send(&mut *client, &["HSET", &key("h"), &field, "v"]);
            let _ = send(&mut *client, &["ZADD", &key("z"), &field, &field]);
        }
        let _ = send(&mut *client, &["DEL", &key("set")]);
        let _ = send(&mut *client, &["RPUSH", &key("l"), "a", "b"]);
        let _ = send(&mut *client, &["SADD", &key("set"), "a", "b", "1"]);
    }
}

#[test]
fn each_kind_of_difference_is_found_and_named() {
    let (fleet, server) = (Fleet::start(2, 0), Server::start());
    for shape in [&fleet as &dyn Shape, &server] {
        write_all_types(shape, 5);
        let _ = send(&mut *shape.client(), &["SET", "lasting", "v"]);
    }
    let cases: [(&[&str], &[&str], &str); 7] = [
        (
            &["DEL", "s:1"],
            &["SET", "s:1", "v", "PXAT", "4000000000000"],
            "target only",
        ),
        (&["SET", "new", "v"], &["DEL", "new"], "source only, 2 [string v]"),
        (
            &["RPUSH", "l:2", "c"],
            &["RPOP", "l:2"],
            "source 3 [a b c], target 2 [a b]",
        ),
        (
            &["HSET", "h:0", "7", "w"],
            &["HSET", "h:0", "7", "v"],
            "source w, target v",
        ),
        (
            &["ZADD", "z:3", "7.5", "7"],
            &["ZADD", "z:3", "7", "7"],
            "source 7.5, target 7",
        ),
        (
            &["SREM", "set:4", "1"],
            &["SADD", "set:4", "1"],
            "source 2 [a b], target 3 [1 a b]",
        ),
        (
            &["EXPIRE", "lasting", "5000"],
            &["PERSIST", "lasting"],
            "expires at Some(",
        ),
    ];
    let mut client = fleet.client();
    for (change, back, said) in cases {
        let _ = send(&mut *client, change);
        let found = differences(&fleet, &server).0;
        assert_eq!(found.len(), 1, "{change:?}: {found:?}");
        let start = format!("slot {} key \"{}\": ", slot(change[1].as_bytes()), change[1]);
        assert!(
            found[0].starts_with(&start) && found[0].contains(said),
            "{change:?}: {found:?}"
        );
        let _ = send(&mut *client, back);
        assert_eq!(differences(&fleet, &server).0, Vec::<String>::new(), "{back:?}");
    }
}

#[test]
fn gunyus_own_keys_do_not_count() {
    let (one, other) = (Server::start(), Server::start());
    let () = other.run(&["SET", "redis-gunyu-checkpoint:x", "1"]);
    assert!(differences(&one, &other).0.is_empty());
}

#[test]
fn fifty_thousand_keys_are_compared_in_seconds() {
    let (fleet, server) = (Fleet::start(3, 0), Server::start());
    for shape in [&fleet as &dyn Shape, &server] {
        for master in shape.masters() {
            let mut batch = Batch::default();
            for number in 0..50_000 {
                put!(batch, "SET", format!("key:{number}"), "value");
            }
            // Of a cluster's masters each refuses what is not its own.
            let _ = batch.send(&mut master.conn()).unwrap();
        }
    }
    assert_eq!((keys(&fleet), keys(&server)), (50_000, 50_000));
    let start = Instant::now();
    assert!(differences(&fleet, &server).0.is_empty());
    let took = start.elapsed();
    println!("{took:?}");
    assert!(took < at_this_load(Duration::from_secs(10)), "{took:?}");
}

#[test]
fn servers_with_atomic_migration_move_slots_at_once() {
    let able = |label: &str| ["redis-8.6", "valkey-9.1"].contains(&label);
    let able: Vec<_> = matrix().into_iter().filter(|(label, _)| able(label)).collect();
    if able.is_empty() {
        crate::support::skipped("GUNYU_TEST_SERVERS names no folder with redis-8.6 or valkey-9.1");
    }
    for (label, binary) in able {
        let fleet = Fleet::with(Layout {
            binary,
            ..Layout::of(2, 0)
        });
        fill(&fleet, 1_000);
        let slots: Vec<u16> = (0..200).chain([500]).collect();
        assert!(fleet.move_slots_atomically(0, 1, &slots), "{label}");
        assert_eq!(fleet.shard(1).slots.len(), 8_192 + 201, "{label}");
        assert_eq!(keys(&fleet), 1_000, "{label}");
    }
}
