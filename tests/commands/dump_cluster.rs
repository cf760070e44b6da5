//! `gunyu rdb-dump` of a cluster: a file for each master, or none at all.

use std::path::Path;

use super::dump::{assert_same, dump, dump_command, names_in, started_on};
use super::support::port::Port;
use super::support::{Cluster, SOON, Server, matrix, wait_until};

/// `dump-127.0.0.1-PORT.rdb`
fn name_of(server: &Server) -> String {
    format!("dump-127.0.0.1-{}.rdb", server.port())
}

fn in_order(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

#[test]
fn a_cluster_gives_a_file_for_each_master_with_what_that_master_holds() {
    let (cluster, dir, away) = (Cluster::start(3), tempfile::tempdir().unwrap(), Port::free());
    cluster.set_keys(600);
    let replica = Server::with(&["--cluster-enabled", "yes"]);
    cluster.meet(&replica);
    let master: String = cluster.masters[0].run(&["CLUSTER", "MYID"]);
    wait_until(SOON, "the replica knows its master", || {
        replica.run::<String>(&["CLUSTER", "NODES"]).contains(&master)
    });
    let () = replica.run(&["CLUSTER", "REPLICATE", &master]);
    wait_until(SOON, "the replica is known", || {
        cluster.masters[1]
            .run::<String>(&["CLUSTER", "NODES"])
            .contains("slave")
    });
    // The first seed does not answer, the second is no master.
    let url = format!("redis+cluster://{},{}", away.addr(), replica.addr());
    let told = dump(&url, &dir.path().join("dump.rdb"), &["--json"]).json();
    let files = told["files"].as_array().unwrap();
    let names = cluster.masters.iter().map(name_of).collect();
    assert_eq!(names_in(dir.path()), in_order(names));
    assert_eq!(cluster.keys(), 600);
    for (told, master) in files.iter().zip(&cluster.masters) {
        let file = dir.path().join(name_of(master));
        assert_eq!(told["source"], master.addr(), "{told}");
        assert_eq!(told["file"], file.display().to_string(), "{told}");
        assert_eq!(told["keys"], master.keys(), "{told}");
        assert_eq!(started_on(master.binary(), &file).digest(), master.digest());
    }
    let ran = dump(&cluster.url(), &dir.path().join("dump.rdb"), &[]);
    assert_eq!((ran.code, ran.stdout.lines().count()), (Some(0), 3), "{ran:?}");
}

#[test]
fn stdout_takes_one_shard_and_no_more() {
    let (cluster, one) = (Cluster::start(3), Cluster::start(1));
    let ran = dump(&cluster.url(), Path::new("-"), &[]);
    let instead = format!("--source redis://{} --output -", cluster.address(0));
    ran.says(2, &["3 servers", "--output dump.rdb", &instead]);
    assert_eq!(ran.stdout, "");
    assert!(
        cluster
            .masters
            .iter()
            .all(|master| master.info("stats")["sync_full"] == "0")
    );
    one.set_keys(10);
    let whole = dump_command(&one.url(), Path::new("-"), &[]).output().unwrap();
    assert_eq!(whole.status.code(), Some(0));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("one.rdb");
    std::fs::write(&file, whole.stdout).unwrap();
    assert_eq!(
        started_on(one.masters[0].binary(), &file).digest(),
        one.masters[0].digest()
    );
}

#[test]
fn a_cluster_of_which_one_master_is_away_leaves_no_file() {
    let (mut cluster, dir) = (Cluster::start(3), tempfile::tempdir().unwrap());
    cluster.set_keys(60);
    let (url, gone) = (cluster.url(), cluster.masters[2].addr());
    cluster.masters[2].kill9();
    let ran = dump(&url, &dir.path().join("dump.rdb"), &["--patience=2"]);
    ran.says(1, &[&gone, "tried for 2 s", "hint: "]);
    assert_eq!(names_in(dir.path()), [""; 0]);
}

/// A node that has just joined tells of the masters it has heard of. A dump of these would lack the others, and would not say so.
#[test]
fn a_cluster_whose_slots_are_not_all_served_is_not_dumped_in_part() {
    let (cluster, dir) = (Cluster::start(2), tempfile::tempdir().unwrap());
    cluster.set_keys(60);
    cluster.lose_slot(16_000);
    let ran = dump(&cluster.url(), &dir.path().join("dump.rdb"), &["--patience=1"]);
    ran.says(1, &["16383 of the cluster's 16384 slots", "hint: "]);
    assert_eq!(names_in(dir.path()), [""; 0]);
    assert!(
        cluster
            .masters
            .iter()
            .all(|master| master.info("stats")["sync_full"] == "0")
    );
}

#[test]
fn what_is_no_cluster_is_told_so_and_how_to_dump_it() {
    let (server, dir) = (
        Server::with(&["--requirepass", "right"]),
        tempfile::tempdir().unwrap(),
    );
    let file = dir.path().join("dump.rdb");
    let url = |password: &str| format!("redis+cluster://:{password}@{}", server.addr());
    let instead = format!("use redis://{}", server.addr());
    dump(&url("right"), &file, &[]).says(2, &["cluster support disabled", &instead]);
    dump(&url("wrong"), &file, &[]).says(2, &["authentication failed", "hint: "]);
    let away = format!("redis+cluster://{}", Port::free().addr());
    dump(&away, &file, &["--patience=1"]).says(1, &["tried for 1 s", "hint: "]);
    let folder = dump(&url("right").replace("+cluster", ""), dir.path(), &[]);
    folder.says(1, &["hint: "]);
    assert_eq!(names_in(dir.path()), [""; 0]);
}

#[test]
fn the_matrix_of_clusters_is_dumped() {
    let servers = matrix();
    if servers.is_empty() {
        return crate::support::skipped("GUNYU_TEST_SERVERS names no folder with servers");
    }
    for (label, binary) in servers
        .into_iter()
        .filter(|(_, binary)| binary.version >= (3, 0, 0))
    {
        let (cluster, dir) = (Cluster::of(&binary, 3), tempfile::tempdir().unwrap());
        cluster.set_keys(100);
        let ran = dump(&cluster.url(), &dir.path().join("dump.rdb"), &["--json"]);
        assert_eq!(ran.code, Some(0), "{label}: {ran:?}");
        for master in &cluster.masters {
            let copy = started_on(&binary, &dir.path().join(name_of(master)));
            assert_same(&label, master, &copy);
        }
        eprintln!("{label}: {}", ran.stdout.trim());
    }
}
