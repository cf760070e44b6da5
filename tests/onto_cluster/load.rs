//! `rdb-load` onto a cluster comes to what it comes to on one server.

use super::support::encodings::{self, noise};
use super::support::{Cluster, Server};
use super::{
    COMMANDS_ALONE, DROP, FROM_64_KIB, assert_same, dumped, dumps, load, numbered, of_cluster, talk,
};

/// The keys of one server, and of a cluster, that were loaded from the same file.
fn loaded_twice(source: &Server, set: &[&str]) -> (super::Dumps, super::Dumps) {
    let folder = tempfile::tempdir().unwrap();
    let file = dumped(source, folder.path());
    let (one, cluster) = (Server::start(), Cluster::start(3));
    load(&file, &one.url(), set).says(0, &[]);
    // A file is loaded again to the same end.
    for _ in 0..2 {
        load(&file, &cluster.url(), &[set, &[DROP]].concat()).says(0, &[]);
    }
    (dumps(&[&one]), of_cluster(&cluster))
}

#[test]
fn every_type_is_restored_as_on_one_server() {
    let source = Server::start();
    encodings::fill(&mut talk(&source));
    let (one, cluster) = loaded_twice(&source, &[]);
    assert!(one.len() > 40);
    assert_same(&one, &cluster);
}

#[test]
fn every_type_is_written_with_commands_as_on_one_server() {
    let source = Server::start();
    encodings::fill(&mut talk(&source));
    let (mut one, mut cluster) = loaded_twice(&source, &[COMMANDS_ALONE]);
    assert_eq!(one.len(), cluster.len());
    // A consumer's last visit is the time of the writing.
    for dumps in [&mut one, &mut cluster] {
        dumps.retain(|key, _| !key.starts_with(b"stream"));
    }
    assert_same(&one, &cluster);
}

#[test]
fn large_values_are_written_in_pieces_as_on_one_server() {
    let source = Server::start();
    let mut conn = source.conn();
    for number in 0..40_000 {
        let mut pipe = redis::pipe();
        pipe.rpush("list", format!("item {number}")).ignore();
        pipe.hset("hash", number, format!("field {number}")).ignore();
        pipe.zadd("scores", format!("m{number}"), number).ignore();
        let () = pipe.query(&mut conn).unwrap();
    }
    let () = redis::cmd("SET")
        .arg("text")
        .arg(noise(3 << 20))
        .query(&mut conn)
        .unwrap();
    let () = source.run(&["PEXPIREAT", "list", "1999999999999"]);
    for set in [&[FROM_64_KIB][..], &[FROM_64_KIB, COMMANDS_ALONE]] {
        let (one, cluster) = loaded_twice(&source, set);
        assert_eq!(one.len(), 4);
        assert_same(&one, &cluster);
    }
}

#[test]
fn a_key_that_is_there_is_replaced_kept_or_told() {
    let folder = tempfile::tempdir().unwrap();
    let source = numbered("key", 300);
    let file = dumped(&source, folder.path());
    for restore in [true, false] {
        let cluster = Cluster::start(3);
        let how = format!("output.replay.replayRdbEnableRestore={restore}");
        let exists = |policy: &str| format!("output.replay.keyExists={policy}");
        cluster.set_keys(100);
        let changed = || {
            let mut value = redis::cmd("GET");
            value.arg("key7");
            let values = cluster.masters.iter();
            let values = values.filter_map(|one| value.query::<Option<String>>(&mut one.conn()).ok());
            values.flatten().collect::<Vec<_>>()
        };
        for master in &cluster.masters {
            let _ = redis::cmd("SET")
                .arg("key7")
                .arg("theirs")
                .query::<()>(&mut master.conn());
        }
        load(&file, &cluster.url(), &[&how, &exists("ignore")]).says(0, &[]);
        assert_eq!((changed(), cluster.keys()), (vec!["theirs".to_owned()], 300));
        load(&file, &cluster.url(), &[&how, &exists("error")]).says(1, &["BUSYKEY"]);
        assert_eq!(changed(), ["theirs"]);
        load(&file, &cluster.url(), &[&how, &exists("replace")]).says(0, &["300 keys loaded"]);
        assert_same(&dumps(&[&source]), &of_cluster(&cluster));
    }
}

#[test]
fn functions_and_scripts_are_on_every_master() {
    let folder = tempfile::tempdir().unwrap();
    let source = Server::start();
    let code = "#!lua name=lib\nredis.register_function('f', function() return 7 end)";
    let _: String = source.run(&["FUNCTION", "LOAD", code]);
    let () = source.run(&["SET", "key", "v"]);
    let file = dumped(&source, folder.path());
    let cluster = Cluster::start(3);
    for exists in ["replace", "flush"] {
        let set = format!("output.replay.functionExists={exists}");
        load(&file, &cluster.url(), &[&set]).says(0, &["1 keys loaded"]);
        for master in &cluster.masters {
            assert_eq!(master.run::<i64>(&["FCALL", "f", "0"]), 7);
        }
    }
    let told = load(&file, &cluster.url(), &["output.replay.functionExists=append"]);
    told.says(1, &["already exists"]);
}
