//! What is planted on clusters, and behind sentinels.

// As in tests/support: what fails here fails the test.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::rig::Doctor;
use super::support::cluster::Cluster;
use super::support::fleet::{Fleet, Shape as _, Watched};
use super::support::port::Port;
use super::support::{SOON, Server, wait_until};

fn start(masters: usize) -> Cluster {
    Cluster::start(masters)
}

#[test]
fn what_is_given_as_what_it_is_not_is_told_with_the_right_url() {
    let (cluster, source, target) = (start(1), Server::start(), Server::start());
    let node = cluster.masters[0].url();
    let found = Doctor::between(&source.url(), &node).finds(&["problem target kind"]);
    assert!(
        found.words("kind").contains("redis+cluster://"),
        "{}",
        found.words("kind")
    );
    Doctor::between(&node, &target.url()).finds(&["warning source kind"]);
    let as_cluster = format!("redis+cluster://{}", target.addr());
    Doctor::between(&source.url(), &as_cluster).finds(&["problem target kind"]);
    Doctor::between(&cluster.url(), &target.url()).finds(&[]);
}

#[test]
fn databases_that_a_cluster_has_not_are_a_problem_with_the_key_to_set() {
    let (cluster, source) = (start(1), Server::start());
    let mut conn = source.conn();
    redis::cmd("SELECT").arg(3).exec(&mut conn).unwrap();
    redis::cmd("SET").arg("key").arg(1).exec(&mut conn).unwrap();
    let doctor = Doctor::between(&source.url(), &cluster.url());
    let found = doctor.finds(&["problem target databases"]);
    assert!(
        found.words("databases").contains("dbOnCluster=merge"),
        "{}",
        found.words("databases")
    );
    doctor.with(&["--set=output.replay.dbOnCluster=merge"]).finds(&[]);
}

#[test]
fn a_cluster_that_is_not_whole_is_a_problem() {
    let (source, mut cluster) = (Server::start(), start(3));
    let url = cluster.url();
    // The same on every node is told once.
    for master in &cluster.masters {
        let () = master.run(&["CONFIG", "SET", "maxmemory", "100mb"]);
        let () = master.run(&["CONFIG", "SET", "maxmemory-policy", "volatile-ttl"]);
    }
    let doctor = Doctor::between(&source.url(), &url);
    let found = doctor.finds(&["warning target eviction"]);
    assert_eq!(found.of("eviction")["nodes"].as_array().unwrap().len(), 3);
    assert_eq!(found.of("eviction")["fix"].as_array().unwrap().len(), 3);
    found.type_fixes();
    doctor.finds(&[]);
    // A slot that nobody serves.
    cluster.lose_slot(16_383);
    let found = doctor.finds(&["problem target cluster-slots"]);
    assert!(
        found.words("cluster-slots").contains("redis-cli"),
        "{}",
        found.words("cluster-slots")
    );
    // A node that is gone.
    cluster.masters[2].kill9();
    let found = doctor.finds(&["problem target cluster-slots", "problem target reach"]);
    assert!(
        !found.words("cluster-slots").contains("--cluster fix"),
        "{}",
        found.words("cluster-slots")
    );
}

#[test]
fn an_address_that_the_cluster_gives_and_nobody_reaches_is_a_problem() {
    let (source, cluster, nobody) = (Server::start(), start(2), Port::free());
    let url = format!("redis+cluster://{}", cluster.masters[0].addr());
    let () = cluster.masters[1].run(&[
        "CONFIG",
        "SET",
        "cluster-announce-port",
        &nobody.number().to_string(),
    ]);
    wait_until(SOON, "the cluster has heard of the address", || {
        let nodes: String = cluster.masters[0].run(&["CLUSTER", "NODES"]);
        nodes.contains(&format!(":{}@", nobody.number()))
    });
    let found = Doctor::between(&source.url(), &url).finds(&["problem target announced-address"]);
    assert!(
        found.words("announced-address").contains("cluster-announce-ip"),
        "{}",
        found.words("announced-address")
    );
}

#[test]
fn behind_sentinels_the_master_is_examined_and_a_name_that_they_do_not_know_is_a_problem() {
    let (source, watched) = (Server::start(), Watched::start(0, 1));
    let known = watched.url();
    Doctor::between(&source.url(), &known).finds(&[]);
    let (sentinels, _) = known.rsplit_once('/').unwrap();
    let unknown = format!("{sentinels}/nobody");
    let found = Doctor::between(&source.url(), &unknown).finds(&["problem target sentinels"]);
    assert!(
        found.words("sentinels").contains("SENTINEL MASTERS"),
        "{}",
        found.words("sentinels")
    );
}

#[test]
fn a_sentinel_that_is_given_as_a_server_is_told_and_nothing_else_is() {
    let (source, watched) = (Server::start(), Watched::start(0, 1));
    let url = watched.url();
    let (_, rest) = url.rsplit_once('@').or_else(|| url.split_once("://")).unwrap();
    let sentinel = rest.split([',', '/']).next().unwrap();
    let found =
        Doctor::between(&source.url(), &format!("redis://{sentinel}")).finds(&["problem target kind"]);
    let named = format!("--target redis+sentinel://{sentinel}/NAME-OF-THE-MASTER");
    assert!(found.words("kind").contains(&named), "{}", found.words("kind"));
}

/// They are what is followed, and have settings and users of their own.
#[test]
fn replicas_of_a_source_cluster_are_examined_where_they_may_be_followed() {
    let (fleet, target) = (Fleet::start(1, 1), Server::start());
    let () = fleet.nodes[1].run(&["CONFIG", "SET", "repl-timeout", "5"]);
    let doctor = || Doctor::between(&fleet.url(), &target.url());
    let found = doctor().finds(&["warning source repl-timeout"]);
    assert_eq!(
        found.of("repl-timeout")["nodes"][0],
        fleet.nodes[1].addr().as_str()
    );
    doctor().with(&["--set=input.syncFrom=master"]).finds(&[]);
    found.type_fixes();
    doctor().finds(&[]);
}
