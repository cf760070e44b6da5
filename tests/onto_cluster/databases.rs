//! What becomes of databases that a cluster has not.

use super::support::{Cluster, Gunyu, SOON, Server};
use super::{dumped, load, of_cluster};

#[test]
fn other_databases_are_an_error_or_left_out_or_merged() {
    let folder = tempfile::tempdir().unwrap();
    let source = Server::start();
    let mut conn = source.conn();
    let mut pipe = redis::pipe();
    for (db, key) in [(0, "zero"), (3, "three"), (9, "nine")] {
        pipe.cmd("SELECT").arg(db).ignore();
        pipe.set(key, db).ignore();
    }
    let () = pipe.query(&mut conn).unwrap();
    let file = dumped(&source, folder.path());
    let loaded = |set: &[&str]| {
        let cluster = Cluster::start(3);
        let ran = load(&file, &cluster.url(), set);
        let keys: Vec<String> = of_cluster(&cluster)
            .into_keys()
            .map(|key| String::from_utf8(key).unwrap())
            .collect();
        (ran, keys)
    };
    let (ran, _) = loaded(&[]);
    ran.says(1, &["the source uses database 3", "output.replay.dbOnCluster"]);
    let (ran, keys) = loaded(&["output.replay.dbOnCluster=drop"]);
    ran.says(0, &["1 keys loaded", "2 left out by the filter"]);
    assert_eq!(keys, ["zero"]);
    let (ran, keys) = loaded(&["output.replay.dbOnCluster=merge"]);
    ran.says(0, &["3 keys loaded"]);
    assert_eq!(keys, ["nine", "three", "zero"]);
    let (ran, keys) = loaded(&[
        "output.replay.dbOnCluster=drop",
        "output.replay.targetDbMap={9: 0}",
    ]);
    ran.says(0, &["2 keys loaded"]);
    assert_eq!(keys, ["nine", "zero"]);
}

#[test]
fn the_stream_obeys_the_same_choice() {
    for (choice, expected) in [
        ("drop", &["live", "zero"][..]),
        ("merge", &["live", "live3", "three", "zero"]),
    ] {
        let source = Server::start();
        let cluster = Cluster::start(3);
        let write = |db: u32, key: &str| {
            let mut pipe = redis::pipe();
            pipe.cmd("SELECT").arg(db).ignore().set(key, db).ignore();
            let () = pipe.query(&mut source.conn()).unwrap();
        };
        write(0, "zero");
        write(3, "three");
        let set = format!("output.replay.dbOnCluster={choice}");
        let mut gunyu = Gunyu::start(&source.url(), &cluster.url(), &[&set]);
        gunyu.wait_ready(SOON);
        write(3, "live3");
        write(0, "live");
        gunyu.wait_applied(&source, SOON);
        let keys: Vec<String> = of_cluster(&cluster)
            .into_keys()
            .map(|key| String::from_utf8(key).unwrap())
            .collect();
        assert_eq!(keys, expected, "{choice}: {}", gunyu.traces());
    }
}
