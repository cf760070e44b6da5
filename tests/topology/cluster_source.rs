//! Shards of a cluster that fail over, and which of their nodes is followed.

use crate::rig::{LONG, Rig, folders, full_syncs, sum, wait_followed};
use crate::support::{Cluster, Gunyu, SOON, Server, matrix, wait_until};

fn gunyu(rig: &Rig, target: &Server, set: &[&str]) -> Gunyu {
    Gunyu::start(&rig.url(), &target.url(), set)
}

#[test]
fn each_shard_has_a_pipeline_and_together_they_are_the_cluster() {
    let (rig, target) = (Rig::start(3, 0), Server::start());
    rig.write("before");
    let mut gunyu = gunyu(&rig, &target, &[]);
    wait_followed(&mut gunyu, &rig.nodes.iter().collect::<Vec<_>>());
    rig.write("after");
    rig.wait_copied(&target);
    assert_eq!(folders(&gunyu).len(), 3);
    assert_eq!(full_syncs(&gunyu), 3.0);
}

#[test]
fn a_failover_goes_on_at_the_new_master_without_a_full_sync() {
    let (mut rig, target) = (Rig::start(3, 1), Server::start());
    rig.write("before");
    let mut gunyu = gunyu(&rig, &target, &["input.syncFrom=master"]);
    wait_followed(&mut gunyu, &[&rig.nodes[0], &rig.nodes[1], &rig.nodes[2]]);
    let names = folders(&gunyu);

    // In agreement with the master.
    rig.fail_over_to(3);
    wait_followed(&mut gunyu, &[&rig.nodes[3], &rig.nodes[1], &rig.nodes[2]]);
    rig.write("failover");
    rig.wait_copied(&target);

    // The master dies, and its replica has all that we have.
    rig.wait_replica(4, 1);
    rig.nodes[1].kill9();
    rig.wait_master(4);
    wait_followed(&mut gunyu, &[&rig.nodes[3], &rig.nodes[4], &rig.nodes[2]]);
    rig.write("death");
    rig.wait_copied(&target);

    assert_eq!(full_syncs(&gunyu), 3.0, "{}", gunyu.traces());
    assert_eq!(folders(&gunyu), names);
    let untouched = format!(
        "gunyu_reconnects_total{{input=\"{}\",side=\"source\"}}",
        rig.nodes[2].addr()
    );
    assert_eq!(sum(&gunyu, &untouched), 0.0);

    // Another process finds log and checkpoint under the same names, though every master is another one.
    gunyu.restart();
    wait_followed(&mut gunyu, &[&rig.nodes[3], &rig.nodes[4], &rig.nodes[2]]);
    rig.write("restart");
    rig.wait_copied(&target);
    assert_eq!(full_syncs(&gunyu), 0.0);
    assert_eq!(folders(&gunyu), names);

    // And one without the folder finds them on the target.
    gunyu.forget();
    gunyu.restart();
    wait_followed(&mut gunyu, &[&rig.nodes[3], &rig.nodes[4], &rig.nodes[2]]);
    rig.write("forgotten");
    rig.wait_copied(&target);
    assert_eq!(full_syncs(&gunyu), 0.0);
    assert_eq!(folders(&gunyu), names);
}

#[test]
fn what_the_new_master_has_not_is_taken_from_the_target() {
    let (mut rig, target) = (Rig::start(3, 1), Server::start());
    rig.write("before");
    let mut gunyu = gunyu(&rig, &target, &["input.syncFrom=master"]);
    wait_followed(&mut gunyu, &[&rig.nodes[0], &rig.nodes[1], &rig.nodes[2]]);
    rig.wait_copied(&target);
    rig.wait_replica(3, 0);
    // The replica hears nothing of what comes now, and we do: both links are cut, and it is frozen.
    rig.nodes[3].sigstop();
    let () = rig.nodes[0].run(&["CLIENT", "KILL", "TYPE", "replica"]);
    let lost = key_of(&rig.nodes[0]);
    let () = rig.nodes[0].run(&["SET", &lost, "lost"]);
    wait_until(SOON, "the target has what will be lost", || {
        target.run::<Option<String>>(&["GET", &lost]).is_some()
    });
    rig.nodes[0].kill9();
    rig.nodes[3].sigcont();
    rig.wait_master(3);
    wait_followed(&mut gunyu, &[&rig.nodes[3], &rig.nodes[1], &rig.nodes[2]]);
    rig.write("after");
    rig.wait_copied(&target);
    assert_eq!(full_syncs(&gunyu), 4.0, "one shard's history had diverged");
}

/// A key whose slot that node serves.
fn key_of(node: &Server) -> String {
    let mut keys = (0..).map(|number| format!("own:{number}"));
    let mut conn = node.conn();
    keys.find(|key| {
        redis::cmd("GET")
            .arg(key)
            .query::<Option<String>>(&mut conn)
            .is_ok()
    })
    .unwrap()
}

#[test]
fn a_replica_that_dies_is_followed_by_another_and_then_by_the_master() {
    let (mut rig, target) = (Rig::start(1, 2), Server::start());
    rig.write("before");
    let mut gunyu = gunyu(&rig, &target, &["input.syncFrom=slave"]);
    gunyu.wait_ready(LONG);
    let followed = |gunyu: &Gunyu| gunyu.status()[0]["Input"].as_str().unwrap().to_owned();
    let first = followed(&gunyu);
    let number = rig.nodes.iter().position(|node| node.addr() == first).unwrap();
    let other = 3 - number;
    assert_ne!(number, 0, "a replica is followed");
    assert_eq!(gunyu.status()[0]["SourceRole"], "replica");
    // Any node of the shard names it.
    for node in &rig.nodes {
        gunyu.must("POST", &format!("/syncer/resume?inputs={}", node.addr()));
    }

    rig.nodes[number].kill9();
    wait_followed(&mut gunyu, &[&rig.nodes[other]]);
    rig.write("one");
    rig.wait_copied(&target);

    rig.nodes[other].kill9();
    wait_followed(&mut gunyu, &[&rig.nodes[0]]);
    rig.write("two");
    rig.wait_copied(&target);
    assert!(gunyu.traces().contains("the shard has no healthy replica"));
    gunyu.wait_status(SOON, "the role is shown", |status| {
        status[0]["SourceRole"] == "master"
    });

    // One that comes back is taken again.
    rig.nodes[other].restart();
    wait_followed(&mut gunyu, &[&rig.nodes[other]]);
    rig.write("three");
    rig.wait_copied(&target);
    assert_eq!(full_syncs(&gunyu), 1.0, "{}", gunyu.traces());
}

#[test]
fn a_shard_without_a_replica_is_followed_at_its_master_and_said_so() {
    let (rig, target) = (Rig::start(2, 0), Server::start());
    rig.write("a");
    let mut gunyu = gunyu(&rig, &target, &["input.syncFrom=slave"]);
    wait_followed(&mut gunyu, &[&rig.nodes[0], &rig.nodes[1]]);
    rig.wait_copied(&target);
    let warned = gunyu.traces().matches("the shard has no healthy replica").count();
    assert_eq!(warned, 2, "{}", gunyu.traces());
}

/// Of every version that is at hand and knows clusters.
#[test]
fn a_cluster_of_every_version_is_followed() {
    let mut versions = matrix();
    versions.retain(|(_, binary)| binary.version >= (3, 0, 0));
    if versions.is_empty() {
        crate::support::skipped("GUNYU_TEST_SERVERS names no folder with servers of other versions");
    }
    for (name, binary) in versions {
        let (cluster, target) = (Cluster::of(&binary, 2), Server::start());
        cluster.set_keys(100);
        let set = ["output.replay.onError=dead_letter"];
        let mut gunyu = Gunyu::start(&cluster.url(), &target.url(), &set);
        wait_followed(&mut gunyu, &[&cluster.masters[0], &cluster.masters[1]]);
        for number in 0..100 {
            let value: Option<String> = target.run(&["GET", &format!("key{number}")]);
            assert_eq!(value, Some(number.to_string()), "{name}");
        }
    }
}

#[test]
fn static_follows_the_shards_of_the_addresses_alone() {
    let (rig, target) = (Rig::start(3, 1), Server::start());
    rig.write("a");
    // The address of a replica will do.
    let url = format!("redis+cluster://{},{}", rig.nodes[0].addr(), rig.nodes[4].addr());
    let mut gunyu = Gunyu::start(
        &url,
        &target.url(),
        &["input.mode=static", "input.syncFrom=master"],
    );
    wait_followed(&mut gunyu, &[&rig.nodes[0], &rig.nodes[1]]);
    assert_eq!(
        target.keys(),
        rig.nodes[0].keys() + rig.nodes[1].keys() + 4,
        "and two hashes of ours each"
    );
}
