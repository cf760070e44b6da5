//! Where source, or target, or both are clusters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::support::cluster::Cluster;
use super::support::gunyu::Gunyu;
use super::support::server::Server;
use super::support::workload::Pace;
use super::{Toggling, run, tell, verify};
use crate::support::SOON;

/// Runs a command on whichever master takes it.
#[track_caller]
fn told(cluster: &Cluster, command: &[&str]) {
    let (verb, args) = command.split_first().unwrap();
    let takes = |master: &&Server| {
        let answer: redis::RedisResult<redis::Value> = redis::cmd(verb).arg(args).query(&mut master.conn());
        answer.is_ok()
    };
    let takers = cluster.masters.iter().filter(takes).count();
    assert_eq!(takers, 1, "{command:?}");
}

/// Writes to a master of a cluster, to keys of its own slots alone, until it is told to stop.
fn write_on(master: &Server, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    let (mut conn, stop) = (master.conn(), Arc::clone(stop));
    std::thread::spawn(move || {
        let mut pace = Pace::new(Some(1_000.0));
        for round in 0_u64.. {
            if stop.load(Ordering::SeqCst) {
                return;
            }
            let mut pipe = redis::pipe();
            for number in 0..50 {
                let key = format!("live:{}", (round * 50 + number) % 1_000);
                match round % 3 {
                    0 => pipe.cmd("DEL").arg(&key),
                    _ => pipe.cmd("RPUSH").arg(&key).arg(round),
                };
            }
            // Keys of other masters' slots are refused.
            pipe.ignore_errors();
            let _: Vec<redis::RedisResult<redis::Value>> = pipe.query(&mut conn).unwrap();
            pace.spend(50);
        }
    })
}

const EXPECTED: &[(u64, &str, &str)] = &[
    (0, "key1", "missing"),
    (0, "key2", "type"),
    (0, "key3", "length"),
    (0, "key4", "ttl"),
    (0, "extra", "extra"),
];

const PLANTED: &[&[&str]] = &[
    &["DEL", "key1"],
    &["DEL", "key2"],
    &["LPUSH", "key2", "x"],
    &["SET", "key3", "longer than it was"],
    &["EXPIRE", "key4", "1000"],
    &["SET", "extra", "x"],
];

#[test]
fn between_clusters_planted_differences_are_found_and_none_is_invented_while_writers_write() {
    let (source, target) = (Cluster::start(3), Cluster::start(2));
    source.set_keys(2_000);
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    gunyu.wait_ready(SOON * 2);
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = source.masters.iter().map(|one| write_on(one, &stop)).collect();
    let before = verify(&source.url(), &target.url(), &[]);
    before.found_only(&[]);
    assert_eq!(before.json["followed"], true, "{}", before.said);
    PLANTED.iter().for_each(|command| told(&target, command));
    verify(&source.url(), &target.url(), &[]).found_only(EXPECTED);
    stop.store(true, Ordering::SeqCst);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
}

#[test]
fn from_a_server_onto_a_cluster_planted_differences_are_found_and_none_is_invented() {
    let (source, target) = (Server::start(), Cluster::start(2));
    let keys: Vec<String> = (0..2_000).map(|number| format!("key{number}")).collect();
    let sets: Vec<Vec<&str>> = keys.iter().map(|key| vec!["SET", key, "value"]).collect();
    let sets: Vec<&[&str]> = sets.iter().map(Vec::as_slice).collect();
    tell(&source, 0, &sets);
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    gunyu.wait_ready(SOON * 2);
    let _toggling = Toggling::start(&source);
    PLANTED.iter().for_each(|command| told(&target, command));
    verify(&source.url(), &target.url(), &[]).found_only(EXPECTED);
}

#[test]
fn while_a_slot_is_marked_as_moving_nothing_is_said_of_what_differs() {
    let (source, target) = (Cluster::start(2), Server::start());
    let [giver, taker] = &source.masters[..] else {
        panic!("there are two masters");
    };
    let [from, to]: [String; 2] = [giver, taker].map(|master| master.run(&["CLUSTER", "MYID"]));
    let () = giver.run(&["CLUSTER", "SETSLOT", "0", "MIGRATING", &to]);
    let () = taker.run(&["CLUSTER", "SETSLOT", "0", "IMPORTING", &from]);
    let ends = [
        "--source",
        &source.url(),
        "--target",
        &target.url(),
        "--patience",
        "1",
    ];
    let output = run(&[&["verify"], &ends[..]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("slots of the cluster"), "{said}");
    for master in [giver, taker] {
        let () = master.run(&["CLUSTER", "SETSLOT", "0", "STABLE"]);
    }
    verify(&source.url(), &target.url(), &[]).found_only(&[]);
}
