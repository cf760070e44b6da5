//! Shards that join a cluster and leave it while it is followed, and one that is emptied.

use serde_json::Value;

use crate::rig::{LONG, Rig, full_syncs, wait_followed};
use crate::support::proxy::{Fault, Proxy};
use crate::support::wire::{Batch, put};
use crate::support::{Gunyu, Server};

#[test]
fn a_new_shard_gets_a_pipeline_and_one_that_leaves_is_drained() {
    let (mut rig, target) = (Rig::start(3, 0), Server::start());
    rig.write("before");
    let set = ["server.checkRedisTypologyTicker=1s"];
    let mut gunyu = Gunyu::start(&rig.url(), &target.url(), &set);
    wait_followed(&mut gunyu, &[&rig.nodes[0], &rig.nodes[1], &rig.nodes[2]]);
    rig.wait_copied(&target);

    // A master that serves nothing is no shard yet.
    let new = rig.add();
    rig.move_slots(0, new, &rig.empty_slots(0, 0..1000));
    wait_followed(
        &mut gunyu,
        &[&rig.nodes[0], &rig.nodes[1], &rig.nodes[2], &rig.nodes[new]],
    );
    rig.write("moved");
    assert!(rig.nodes[new].keys() > 0);
    rig.wait_copied(&target);

    rig.delete_all(new);
    rig.wait_copied(&target);
    let slots = rig.empty_slots(new, 0..1000);
    let served: Vec<usize> = slots.into_iter().filter(|slot| rig.serves(new, *slot)).collect();
    rig.move_slots(new, 1, &served);
    rig.write("moved away");
    rig.wait_copied(&target);
    // A shard without slots is still one.
    wait_followed(
        &mut gunyu,
        &[&rig.nodes[0], &rig.nodes[1], &rig.nodes[2], &rig.nodes[new]],
    );

    let gone = rig.nodes[new].addr();
    rig.forget(&[new]);
    wait_followed(&mut gunyu, &[&rig.nodes[0], &rig.nodes[1], &rig.nodes[2]]);
    assert!(!gunyu.metrics().contains(&gone), "its metrics are gone too");
    gunyu.refused(400, "POST", &format!("/syncer/pause?inputs={gone}"));
    let freed = gunyu.must("POST", "/storage/gc");
    assert_eq!(
        freed["kept"].as_array().unwrap().len(),
        1,
        "its checkpoint, until it is old: {freed}"
    );
    // What becomes of the node then is nobody's business.
    let () = rig.nodes[new].run(&["FLUSHALL"]);
    rig.write("after");
    rig.wait_copied(&target);
    assert_eq!(full_syncs(&gunyu), 3.0, "of those that are left");
}

/// What it deleted while nobody heard it is in no stream any more.
#[test]
fn a_shard_that_leaves_while_no_gunyu_runs_leaves_nothing_behind_on_the_target() {
    let (mut rig, target) = (Rig::start(3, 0), Server::start());
    rig.write("before");
    let new = rig.add();
    rig.move_slots(0, new, &(0..2000).collect::<Vec<_>>());
    let mut gunyu = Gunyu::start(&rig.url(), &target.url(), &[]);
    wait_followed(
        &mut gunyu,
        &[&rig.nodes[0], &rig.nodes[1], &rig.nodes[2], &rig.nodes[new]],
    );
    rig.wait_copied(&target);
    let keys = target.keys();
    gunyu.kill9();
    assert!(rig.nodes[new].keys() > 0);
    rig.delete_all(new);
    rig.move_slots(new, 1, &(0..2000).collect::<Vec<_>>());
    rig.forget(&[new]);
    gunyu.restart();
    wait_followed(&mut gunyu, &[&rig.nodes[0], &rig.nodes[1], &rig.nodes[2]]);
    rig.wait_copied(&target);
    assert!(target.keys() < keys);
    // Once is enough.
    gunyu.restart();
    wait_followed(&mut gunyu, &[&rig.nodes[0], &rig.nodes[1], &rig.nodes[2]]);
    rig.write("after");
    rig.wait_copied(&target);
    assert_eq!(full_syncs(&gunyu), 0.0);
}

#[test]
fn a_shard_that_is_emptied_takes_no_key_of_another_along() {
    let (rig, target) = (Rig::start(3, 0), Server::start());
    rig.write("before");
    let mut gunyu = Gunyu::start(&rig.url(), &target.url(), &[]);
    wait_followed(&mut gunyu, &[&rig.nodes[0], &rig.nodes[1], &rig.nodes[2]]);
    rig.wait_copied(&target);
    let () = rig.nodes[1].run(&["FLUSHALL"]);
    rig.wait_copied(&target);
    rig.write("after");
    rig.wait_copied(&target);
    assert!(
        gunyu.metrics().contains("reason=\"emptied\""),
        "{}",
        gunyu.metrics()
    );
}

/// A tag whose slot holds nothing and is a node's, but none of these.
fn tag_of(rig: &Rig, node: usize, but: &[usize]) -> (String, usize) {
    let free = rig.empty_slots(node, 0..16_384);
    let mut tags = (0..).map(|number| {
        let tag = format!("{{tag{number}}}");
        let slot: usize = rig.nodes[node].run(&["CLUSTER", "KEYSLOT", &tag]);
        (tag, slot)
    });
    tags.find(|(_, slot)| rig.serves(node, *slot) && free.contains(slot) && !but.contains(slot))
        .unwrap()
}

/// A slot that is a shard's when its sweep begins may be another's before it ends: what that one's pipeline has for it waits.
#[test]
fn a_sweep_deletes_nothing_in_slots_that_leave_the_shard_meanwhile() {
    const STALE: u64 = 60_000;
    let (rig, target) = (Rig::start(2, 0), Server::start());
    let line = Proxy::to(target.port());
    rig.write("before");
    let mut gunyu = Gunyu::start(&rig.url(), &line.url(), &["output.replay.staleKeys=delete"]);
    wait_followed(&mut gunyu, &[&rig.nodes[0], &rig.nodes[1]]);
    rig.wait_copied(&target);
    let (stays, slot) = tag_of(&rig, 0, &[]);
    let (goes, moved) = tag_of(&rig, 0, &[slot]);
    let mut batch = Batch::default();
    for number in 0..STALE {
        put!(batch, "SET", format!("{stays}{number:060}"), number);
    }
    batch.must(&mut target.conn());
    line.strike(Fault::Narrow);
    let input = rig.nodes[0].addr();
    gunyu.must("POST", &format!("/syncer/fullsync?inputs={input}"));
    let is_sweeping = |status: &Value| {
        let mut all = status.as_array().unwrap().iter();
        all.any(|one| one["Phase"] == "full_sync" && one["FullSync"]["Swept"].as_u64() > Some(0))
    };
    gunyu.wait_status(LONG, "the sweep is under way", is_sweeping);
    rig.move_slots(0, 1, &[moved]);
    for number in 0..2_000 {
        put!(batch, "SET", format!("{goes}{number}"), number);
    }
    batch.must(&mut rig.nodes[1].conn());
    let status = gunyu.status();
    assert!(is_sweeping(&status), "it is over already: {status}");
    rig.wait_copied(&target);
}
