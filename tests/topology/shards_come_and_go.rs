//! Shards that join a cluster and leave it while it is followed.

use crate::rig::{Rig, full_syncs, wait_followed};
use crate::support::{Gunyu, Server};

#[test]
fn a_new_shard_gets_a_pipeline_and_one_that_leaves_is_drained() {
    let (mut rig, target) = (Rig::start(3, 0), Server::start());
    rig.write("before");
    let set = ["server.checkRedisTypologyTicker=1s"];
    let mut gunyu = Gunyu::start(&rig.url(), &target.url(), &set);
    wait_followed(&mut gunyu, &[&rig.nodes[0], &rig.nodes[1], &rig.nodes[2]]);

    let new = rig.add();
    wait_followed(
        &mut gunyu,
        &[&rig.nodes[0], &rig.nodes[1], &rig.nodes[2], &rig.nodes[new]],
    );
    rig.move_slots(0, new, 0..300);
    rig.write("moved");
    rig.wait_copied(&target);

    rig.move_slots(new, 1, 0..300);
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
    rig.write("after");
    rig.wait_copied(&target);
    assert_eq!(full_syncs(&gunyu), 3.0, "of those that are left");
}
