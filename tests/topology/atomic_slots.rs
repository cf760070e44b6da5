//! Slots that go to another shard as a whole (`CLUSTER MIGRATION` of Redis 8.4 and later, `CLUSTER MIGRATESLOTS` of Valkey 9): in the end every key is as on the source.
//!
//! The shard that takes slots over has their keys in its stream before they are its own. A copy that takes that for data sets keys back to what they were when the import
//! began, and keeps what an import brought that was given up. Servers that can do that are found where `GUNYU_TEST_SERVERS` names them.

#![allow(clippy::print_stderr)] // which server a failure is of

use crate::reshard::{Storm, slots_of};
use crate::rig::{LONG, Rig, full_syncs};
use crate::support::{Binary, Server, matrix, wait_for, wait_until};

/// Runs the test with each server that can do that, and a cluster of so many replicas per master.
fn each(replicas: usize, set: &[&str], test: impl Fn(Storm)) {
    let mut servers = matrix();
    servers.retain(|(_, binary)| can(binary));
    if servers.is_empty() {
        crate::support::skipped("GUNYU_TEST_SERVERS names no folder with Redis 8.4 or Valkey 9");
    }
    for (name, binary) in servers {
        eprintln!("{name}");
        let rig = Rig::of(&binary, 2, replicas);
        for node in &rig.nodes {
            // Much is written while gunyu is not there.
            let () = node.run(&["CONFIG", "SET", "repl-backlog-size", "512mb"]);
        }
        test(Storm::of(rig, Server::of(&binary, &[]), carry, set));
    }
}

fn can(binary: &Binary) -> bool {
    match binary.product.as_str() {
        "redis" => binary.version >= (8, 4, 0),
        "valkey" => binary.version >= (9, 0, 0),
        _ => false,
    }
}

fn is_redis(rig: &Rig) -> bool {
    rig.nodes[0].binary().product == "redis"
}

/// Moves slots as a whole, and waits until everybody knows.
fn carry(rig: &Rig, from: usize, to: usize, slots: &[usize]) {
    begin(rig, from, to, slots);
    wait_carried(rig, to, slots);
}

/// Has slots moved as a whole. The importing node is told, or with Valkey the exporting one.
fn begin(rig: &Rig, from: usize, to: usize, slots: &[usize]) {
    let ranges: Vec<String> = slots
        .iter()
        .flat_map(|slot| [*slot, *slot])
        .map(|slot| slot.to_string())
        .collect();
    let ranges = ranges.iter().map(String::as_str);
    let id = rig.id(to);
    wait_for(LONG, "the migration begins", || {
        let (node, command): (usize, Vec<&str>) = match is_redis(rig) {
            true => (
                to,
                ["CLUSTER", "MIGRATION", "IMPORT"]
                    .into_iter()
                    .chain(ranges.clone())
                    .collect(),
            ),
            false => {
                let first = ["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE"].into_iter();
                (from, first.chain(ranges.clone()).chain(["NODE", &id]).collect())
            }
        };
        // One at a time: the one before may still be on its way out.
        let mut asked = redis::cmd(command[0]);
        let answer = asked
            .arg(&command[1..])
            .query::<redis::Value>(&mut rig.nodes[node].conn());
        answer.map_err(|error| error.to_string())
    });
}

fn wait_carried(rig: &Rig, to: usize, slots: &[usize]) {
    wait_until(LONG, "the slots have arrived", || {
        slots.iter().all(|slot| rig.serves(to, *slot))
    });
    rig.wait_settled();
}

fn cancel(rig: &Rig, from: usize, to: usize) {
    match is_redis(rig) {
        true => {
            let cancelled: i64 = rig.nodes[to].run(&["CLUSTER", "MIGRATION", "CANCEL", "ALL"]);
            assert_eq!(cancelled, 1, "it was under way");
        }
        false => rig.nodes[from].run(&["CLUSTER", "CANCELSLOTMIGRATIONS"]),
    }
}

/// From here on an export takes seconds.
fn slow_down(rig: &Rig, from: usize) {
    let () = rig.nodes[from].run(&["CONFIG", "SET", "rdb-key-save-delay", "10000"]);
}

fn at_full_speed(rig: &Rig, from: usize) {
    let () = rig.nodes[from].run(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
}

/// What a node says of the migrations that it knows.
fn tasks(rig: &Rig, node: usize) -> redis::Value {
    match is_redis(rig) {
        true => rig.nodes[node].run(&["CLUSTER", "MIGRATION", "STATUS", "ALL"]),
        false => rig.nodes[node].run(&["CLUSTER", "GETSLOTMIGRATIONS"]),
    }
}

/// Keys that a node has of a slot, whether it serves it or not.
fn keys_in(rig: &Rig, node: usize, slots: &[usize]) -> usize {
    let mut conn = rig.nodes[node].conn();
    let mut count = |slot: &usize| -> usize {
        redis::cmd("CLUSTER")
            .arg("COUNTKEYSINSLOT")
            .arg(*slot)
            .query(&mut conn)
            .unwrap_or(0)
    };
    slots.iter().map(&mut count).sum()
}

/// Begins a slow import and waits until some of it has come, and gunyu has read that far.
fn begin_slowly(storm: &mut Storm, from: usize, to: usize) -> Vec<usize> {
    let slots = slots_of(&storm.rig, from);
    slow_down(&storm.rig, from);
    begin(&storm.rig, from, to, &slots);
    wait_for(LONG, "the import is under way", || {
        let tasks = format!("{:?}", tasks(&storm.rig, to));
        let comes = ["accumulate-buffer", "receiving-snapshot"]
            .iter()
            .any(|state| tasks.contains(state));
        comes.then_some(()).ok_or(tasks)
    });
    storm.writers.wait_for_more(500);
    assert!(
        !storm.rig.serves(to, slots[0]),
        "it is under way: {:?}",
        tasks(&storm.rig, to)
    );
    slots
}

#[test]
fn slots_that_go_as_a_whole_lose_and_resurrect_nothing() {
    each(0, &[], |storm| {
        for _ in 0..3 {
            storm.there_and_back();
        }
        assert!(full_syncs(&storm.gunyu) <= 2.0);
        storm.end();
    });
}

#[test]
fn a_shard_that_gives_slots_away_as_a_whole_may_lag() {
    each(0, &[], |mut storm| {
        for _ in 0..2 {
            storm.set_paused(0, true);
            storm.moves(0, 1);
            storm.set_paused(0, false);
            storm.moves(1, 0);
        }
        storm.end();
    });
}

#[test]
fn a_shard_that_takes_slots_over_as_a_whole_may_lag() {
    each(0, &[], |mut storm| {
        for _ in 0..2 {
            storm.set_paused(1, true);
            storm.moves(0, 1);
            // And back, before it has begun to apply what has come.
            storm.moves(1, 0);
            storm.set_paused(1, false);
        }
        storm.end();
    });
}

/// Waits until gunyu is not far behind: what is far behind at both shards may end in a full sync, which is right and not what is looked at.
fn wait_near(storm: &mut Storm) {
    storm
        .gunyu
        .wait_status(LONG, "gunyu is not far behind", |status| {
            let all = status.as_array().unwrap();
            all.iter().all(|one| one["LagBytes"].as_u64() < Some(100_000))
        });
}

#[test]
fn gunyu_may_die_within_an_import() {
    each(0, &[], |mut storm| {
        for round in 0..2 {
            let (from, to) = (round % 2, 1 - round % 2);
            wait_near(&mut storm);
            let slots = begin_slowly(&mut storm, from, to);
            let importing = storm.rig.nodes[to].offset();
            storm
                .gunyu
                .wait_status(LONG, "gunyu is within the import", |status| {
                    let all = status.as_array().unwrap();
                    let addr = storm.rig.nodes[to].addr();
                    let it = all.iter().find(|one| one["Input"] == addr.as_str());
                    it.is_some_and(|one| one["Offset"]["Applied"].as_u64() >= Some(importing))
                });
            storm.gunyu.kill9();
            if round == 0 {
                // The other half of the import comes while it is there, ...
                storm.gunyu.restart();
                wait_carried(&storm.rig, to, &slots);
            } else {
                // ... or while it is not.
                wait_carried(&storm.rig, to, &slots);
                storm.gunyu.restart();
            }
            at_full_speed(&storm.rig, from);
            storm.gunyu.wait_ready(LONG);
            storm.writers.wait_for_more(3_000);
            wait_near(&mut storm);
            assert!(full_syncs(&storm.gunyu) < 1.0, "{}", storm.gunyu.traces());
        }
        storm.end();
    });
}

#[test]
fn an_import_that_is_given_up_leaves_nothing() {
    each(0, &[], |mut storm| {
        for _ in 0..2 {
            let slots = begin_slowly(&mut storm, 0, 1);
            cancel(&storm.rig, 0, 1);
            wait_until(LONG, "the import's keys are gone", || {
                keys_in(&storm.rig, 1, &slots) == 0
            });
            storm.writers.wait_for_more(3_000);
            at_full_speed(&storm.rig, 0);
        }
        storm.there_and_back();
        storm.end();
    });
}

#[test]
fn a_full_sync_waits_until_an_import_is_over() {
    each(0, &[], |mut storm| {
        let before = full_syncs(&storm.gunyu);
        let slots = begin_slowly(&mut storm, 0, 1);
        for node in [0, 1] {
            let addr = storm.rig.nodes[node].addr();
            storm
                .gunyu
                .must("POST", &format!("/syncer/fullsync?inputs={addr}"));
        }
        wait_until(LONG, "gunyu says that they wait", || {
            let waits = "the full sync waits until no slot of the cluster moves";
            storm.gunyu.traces().matches(waits).count() == 2
        });
        assert!(!storm.rig.serves(1, slots[0]), "the import is under way");
        assert!((full_syncs(&storm.gunyu) - before).abs() < 0.5, "none has begun");
        wait_carried(&storm.rig, 1, &slots);
        at_full_speed(&storm.rig, 0);
        wait_until(LONG, "both have begun", || {
            full_syncs(&storm.gunyu) >= before + 2.0
        });
        storm.gunyu.wait_ready(LONG);
        storm.writers.wait_for_more(3_000);
        storm.moves(1, 0);
        storm.end_anyhow();
    });
}

/// What a shard's backlog holds no more, it must send a snapshot of.
fn forget_backlog(rig: &Rig, node: usize) {
    let () = rig.nodes[node].run(&["CONFIG", "SET", "repl-backlog-size", "16kb"]);
}

#[test]
fn a_snapshot_of_within_an_import_is_refused() {
    each(0, &[], |mut storm| {
        forget_backlog(&storm.rig, 1);
        storm.gunyu.kill9();
        storm.writers.wait_for_more(20_000);
        let slots = begin_slowly(&mut storm, 0, 1);
        storm.gunyu.restart();
        wait_until(LONG, "it is refused", || {
            storm
                .gunyu
                .traces()
                .contains("the snapshot was taken while the shard imported slots")
        });
        wait_carried(&storm.rig, 1, &slots);
        at_full_speed(&storm.rig, 0);
        storm.gunyu.wait_ready(LONG);
        storm.writers.wait_for_more(3_000);
        storm.end_anyhow();
    });
}

/// The last writes to slots that have gone are in no snapshot of the shard that had them, and in the other's stream only as an import.
#[test]
fn a_shard_whose_last_writes_to_gone_slots_are_lost_makes_all_begin_anew() {
    each(0, &[], |mut storm| {
        storm.gunyu.kill9();
        storm.writers.wait_for_more(5_000);
        storm.moves_unseen(0, 1);
        forget_backlog(&storm.rig, 0);
        let () = storm.rig.nodes[0].run(&["SET", &own_key(&storm.rig), &"x".repeat(1 << 20)]);
        storm.gunyu.restart();
        storm.gunyu.wait_ready(LONG);
        let gunyu = storm.end_anyhow();
        assert!(
            gunyu.metrics().contains("reason=\"entangled\""),
            "{}",
            gunyu.traces()
        );
    });
}

/// What has come since the snapshot is in the other shard's stream, and on the target long ago.
#[test]
fn slots_that_come_as_a_whole_while_a_snapshot_is_restored_keep_their_keys() {
    each(0, &["output.replay.rateLimit.opsPerSec=4000"], |mut storm| {
        storm.writers.wait_for_more(3_000);
        wait_near(&mut storm);
        let to = storm.rig.nodes[1].addr();
        storm.gunyu.must("POST", &format!("/syncer/fullsync?inputs={to}"));
        storm
            .gunyu
            .wait_status(LONG, "the snapshot is being restored", |status| {
                let all = status.as_array().unwrap();
                let it = all.iter().find(|one| one["Input"] == to.as_str());
                it.is_some_and(|one| {
                    one["Phase"] == "full_sync" && one["FullSync"]["Keys"].as_u64() > Some(0)
                })
            });
        storm.moves_unseen(0, 1);
        storm.gunyu.wait_ready(LONG);
        storm.writers.wait_for_more(1_000);
        let gunyu = storm.end_anyhow();
        let told = "have come to the shard since its snapshot";
        assert!(gunyu.traces().contains(told), "{}", gunyu.traces());
    });
}

/// A key in a slot that the first node keeps.
fn own_key(rig: &Rig) -> String {
    let slot = |key: &String| -> usize { rig.nodes[0].run(&["CLUSTER", "KEYSLOT", key]) };
    let mut keys = (0..).map(|number| format!("own:{number}"));
    keys.find(|key| rig.serves(0, slot(key))).unwrap()
}
