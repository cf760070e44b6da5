//! Shards that join a cluster and leave it while it is followed, and one that is emptied.

use crate::rig::{Rig, full_syncs, wait_followed};
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
