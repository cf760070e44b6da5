//! Commands that look at a cluster, or at what sentinels name, once: the one-shot migration, the survey, the dump.

use serde_json::Value;

use crate::rig::{Rig, Watched, wait_followed};
use crate::support::{Gunyu, SOON, Server, equal_key_by_key, gunyu, wait_for};

fn json(args: &[&str]) -> Value {
    let output = gunyu::run(args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_cluster_is_migrated_in_one_go() {
    let (rig, target) = (Rig::start(3, 1), Server::start());
    rig.write("a");
    let (source, to) = (
        format!("--source={}", rig.url()),
        format!("--target={}", target.url()),
    );
    let done = json(&["fullsync", &source, &to, "--json", "--flushdb"]);
    assert_eq!(done["inputs"].as_array().unwrap().len(), 3);
    rig.wait_copied(&target);

    // What it left on the target is what a daemon goes on from, and what the survey finds.
    let found = json(&["status", "--local", &source, &to, "--json"]);
    let found = found.as_array().unwrap();
    assert_eq!(found.len(), 3);
    assert!(found.iter().all(|one| one["Next"] == "go_on"), "{found:?}");
    let mut gunyu = Gunyu::start(&rig.url(), &target.url(), &[]);
    gunyu.wait_ready(SOON);
    assert_eq!(crate::rig::full_syncs(&gunyu), 0.0);
}

#[test]
fn a_master_that_sentinels_name_is_dumped_loaded_and_surveyed() {
    let (source, target) = (Watched::start(1, 1), Watched::start(1, 1));
    for number in 0..100 {
        let () = source.servers[0].run(&["SET", &format!("k{number}"), "v"]);
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dump.rdb");
    let file = file.to_str().unwrap();
    let (from, to) = (
        format!("--source={}", source.url()),
        format!("--target={}", target.url()),
    );
    let dumped = json(&["rdb-dump", &from, "--output", file, "--json"]);
    assert_eq!(dumped["ok"], true, "{dumped}");
    json(&["rdb-load", file, &to, "--json"]);
    wait_for(SOON, "the file is loaded", || {
        equal_key_by_key(&source.servers[0], &target.servers[0]).map_err(|found| found.to_string())
    });
    let found = json(&["status", "--local", &from, &to, "--json"]);
    assert_eq!(found[0]["Input"], source.servers[0].addr());
    assert_eq!(found[0]["Target"], target.servers[0].addr());
}

#[test]
fn a_cluster_that_cannot_be_reached_is_waited_for() {
    let target = Server::start();
    let mut rig = Rig::start(1, 0);
    rig.write("a");
    rig.nodes[0].sigstop();
    let mut gunyu = Gunyu::start(&rig.url(), &target.url(), &[]);
    let why = wait_for(SOON, "the API says what it waits for", || {
        let ready = gunyu
            .request("GET", "/debug/ready")
            .map_err(|error| error.to_string())?;
        match ready.status {
            503 => Ok(ready.text()),
            code => Err(code.to_string()),
        }
    });
    assert!(why.contains("shards are not known yet"), "{why}");
    let (error, _) = gunyu.refused(500, "POST", "/storage/gc");
    assert!(error.contains("not known"), "{error}");
    rig.nodes[0].sigcont();
    wait_followed(&mut gunyu, &[&rig.nodes[0]]);
    rig.wait_copied(&target);
}

#[test]
fn no_more_full_syncs_run_at_once_than_may() {
    let (rig, target) = (Rig::start(3, 0), Server::start());
    for node in &rig.nodes {
        // Each snapshot takes a while.
        let () = node.run(&["CONFIG", "SET", "rdb-key-save-delay", "2000"]);
    }
    rig.write("a");
    let mut gunyu = Gunyu::start(&rig.url(), &target.url(), &["input.rdbParallel=1"]);
    let mut most = 0;
    gunyu.wait_status(SOON, "all are live", |status| {
        let all = status.as_array().unwrap();
        let syncing = all.iter().filter(|one| one["Phase"] == "full_sync").count();
        most = most.max(syncing);
        all.len() == 3 && all.iter().all(|one| one["Phase"] == "incremental")
    });
    assert_eq!(most, 1);
    assert!(gunyu.traces().contains("rdbParallel"));
    rig.wait_copied(&target);
}
