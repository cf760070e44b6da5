//! The sweep after a full sync: how long it takes, what it counts, and what it must let alone.

use std::time::{Duration, Instant};

use super::resync::{count, fill};
use super::support::gunyu::run;
use super::support::proxy::{Fault, Proxy};
use super::support::wire::{Batch, put};
use super::support::{Cluster, Gunyu, SOON, Server, wait_for};
use super::{PATIENCE, checkpoint_key, end_equal, live, only_input};

/// Names are all that the sweep moves; the line to the target lets a few thousand through in a second.
#[test]
fn a_sweep_that_takes_longer_than_the_patience_is_not_given_up() {
    let (source, target) = (Server::start(), Server::start());
    fill(&source, "both", 2);
    let mut batch = Batch::default();
    for number in 0..30_000 {
        put!(batch, "SET", format!("only:{number:060}"), number);
    }
    batch.must(&mut target.conn());
    let line = Proxy::to(target.port());
    line.strike(Fault::Narrow);
    let patience = Duration::from_secs(3);
    let began = Instant::now();
    let copied = run(&[
        "fullsync",
        "--source",
        &source.url(),
        "--target",
        &line.url(),
        "--patience",
        &patience.as_secs().to_string(),
        "--json",
    ]);
    let (told, traces) = (&copied.stdout, String::from_utf8_lossy(&copied.stderr));
    assert!(
        copied.status.success(),
        "{}\n{traces}",
        String::from_utf8_lossy(told)
    );
    assert!(began.elapsed() > patience, "the line is too wide for this test");
    let told: serde_json::Value = serde_json::from_slice(told).unwrap();
    let full_sync = &told["inputs"][0]["FullSync"];
    assert!(full_sync["Swept"].as_u64() >= Some(30_000), "{told}");
    assert_eq!(full_sync["StaleKept"], 30_000, "{told}");
}

/// A tag whose slot a master of a cluster has.
fn tag_of(master: &Server) -> String {
    let takes = |tag: &String| {
        let mut conn = master.conn();
        let mut probe = redis::cmd("EXISTS");
        probe.arg(format!("{{{tag}}}")).query::<u64>(&mut conn).is_ok()
    };
    let mut tags = (0..100).map(|number| format!("tag{number}"));
    tags.find(takes).expect("it has a share of the slots")
}

/// Where slots have changed hands meanwhile, a cluster is walked again.
#[test]
fn a_stale_key_counts_once_though_it_is_met_twice() {
    const EACH: usize = 40_000;
    let (source, cluster) = (Server::start(), Cluster::start(2));
    let () = source.run(&["SET", "both", "x"]);
    for master in &cluster.masters {
        let (tag, mut batch) = (tag_of(master), Batch::default());
        for number in 0..EACH {
            put!(batch, "SET", format!("{{{tag}}}:{number}"), number);
        }
        batch.must(&mut master.conn());
    }
    let ids: Vec<String> = cluster
        .masters
        .iter()
        .map(|master| master.run(&["CLUSTER", "MYID"]))
        .collect();
    let mut gunyu = Gunyu::start(&source.url(), &cluster.url(), &[]);
    let swept = |status: &serde_json::Value| status[0]["FullSync"]["Swept"].as_u64().unwrap_or(0);
    let seen = gunyu.wait_status(PATIENCE, "the sweep is under way", |status| swept(status) > 0);
    // It waits for what happens.
    gunyu.signal(libc::SIGSTOP);
    assert!(swept(&seen) < 2 * EACH as u64, "it is over already: {seen}");
    let (to, from) = (&cluster.masters[0], &cluster.masters[1]);
    // Of gunyu's own keys one may be there.
    let is_empty = |slot: &String| from.run::<u64>(&["CLUSTER", "COUNTKEYSINSLOT", slot]) == 0;
    let mut slots = (0..16_384).rev().map(|slot| slot.to_string());
    let slot = slots.find(is_empty).unwrap();
    let () = to.run(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &ids[1]]);
    let () = from.run(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &ids[0]]);
    for master in [to, from] {
        let () = master.run(&["CLUSTER", "SETSLOT", &slot, "NODE", &ids[0]]);
    }
    gunyu.signal(libc::SIGCONT);
    gunyu.wait_ready(PATIENCE);
    let told = only_input(&gunyu)["FullSync"].clone();
    assert!(
        told["Swept"].as_u64() >= Some(3 * EACH as u64),
        "it was walked once: {told}\n{}",
        gunyu.traces()
    );
    assert_eq!(told["StaleKept"], 2 * EACH, "{told}");
}

/// Both deployments are told to delete what they do not know, and neither knows of the other.
#[test]
fn what_another_pipeline_has_staged_is_let_alone() {
    let (source, target) = (Server::start(), Server::start());
    let others = Server::with(&["--rdbcompression", "no"]);
    fill(&source, "both", 60);
    fill(&target, "only", 60);
    let mut batch = Batch::default();
    for number in 0..4_000 {
        put!(batch, "RPUSH", "large", format!("{number:01000}"));
    }
    batch.must(&mut others.conn());
    let args = |rate: &str| {
        vec![
            "sync".to_owned(),
            format!("--source={}", others.url()),
            format!("--target={}", target.url()),
            "--set=output.replay.bigValueBytes=64KiB".to_owned(),
            "--set=output.replay.staleKeys=keep".to_owned(),
            format!("--set=output.replay.rateLimit.bytesPerSec={rate}"),
        ]
    };
    let mut other = Gunyu::with_args(args("200KiB"), &[]);
    let staged = wait_for(SOON, "a value is staged", || {
        let keys: Vec<String> = target.run(&["KEYS", "redis-gunyu-staged*"]);
        keys.into_iter().next().ok_or_else(|| other.traces())
    });
    let elements = || target.run::<u64>(&["LLEN", &staged]);
    let before = wait_for(SOON, "a third of it is there", || match elements() {
        now if now > 1_300 => Ok(now),
        now => Err(now.to_string()),
    });
    let gunyu = live(&source, &target, &["output.replay.staleKeys=delete"]);
    assert!(elements() >= before, "it has been begun anew");
    assert_eq!(only_input(&gunyu)["FullSync"]["StaleDeleted"], 60);
    assert_eq!((count(&target, "only"), count(&target, "both")), (0, 60));
    other.restart_with(args("0"));
    other.wait_ready(PATIENCE);
    assert_eq!(target.run::<u64>(&["LLEN", "large"]), 4_000);
    assert_eq!(
        target.run::<Vec<String>>(&["LRANGE", "large", "0", "-1"]),
        others.run::<Vec<String>>(&["LRANGE", "large", "0", "-1"])
    );
}

/// The catalog forgets the snapshot's keys at the end of the full sync. A target that comes back as it was in the middle of it asks for the rest alone, and what was restored
/// before its mark is not to be taken for stale.
#[test]
fn what_the_source_has_stays_where_the_target_falls_back_into_the_full_sync() {
    let (source, mut target) = (Server::start(), Server::start());
    fill(&source, "snapshot", 3_000);
    let () = target.run(&["SET", "foreign:1", "x"]);
    let set = [
        "output.replay.staleKeys=delete",
        "output.replay.rateLimit.opsPerSec=800",
    ];
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &set);
    wait_for(SOON, "a mark within the snapshot is recorded", || {
        let keys: Vec<String> = target.run(&["KEYS", "redis-gunyu-checkpoint*"]);
        if keys.len() < 2 {
            return Err(format!("{keys:?}"));
        }
        let key = checkpoint_key(&target);
        // The third number is how many keys lie before it.
        let cursor: Option<String> = target.run(&["HGET", &key, "cursor"]);
        let keys = cursor.as_ref().and_then(|cursor| cursor.split(':').nth(2));
        match keys.and_then(|keys| keys.parse().ok()) {
            Some(1_000..) => Ok(()),
            _ => Err(format!("{cursor:?}\n{}", gunyu.traces())),
        }
    });
    let halfway = target.snapshot();
    gunyu.wait_ready(PATIENCE);
    let () = source.run(&["SET", "live", "x"]);
    gunyu.wait_applied(&source, PATIENCE);
    target.restart_from(&halfway);
    let () = source.run(&["SET", "later", "x"]);
    wait_for(PATIENCE, "the target has caught up again", || {
        match target.run::<Option<String>>(&["GET", "later"]) {
            Some(_) => Ok(()),
            None => Err(gunyu.traces()),
        }
    });
    assert_eq!(source.info("stats")["sync_full"], "1", "{}", gunyu.traces());
    assert_eq!(count(&target, "snapshot"), 3_000, "{}", gunyu.traces());
    end_equal(gunyu, &source, &target);
}
