//! A follower of a leader with a big log uses no more memory than the leader.

use std::time::Duration;

use super::support::fleet::{LONG, wait_equal};
use super::support::group::{Group, Kind, Plan};

/// How big the log gets, in MiB: `GUNYU_HA_LOG_MIB` sets it.
fn log_mib() -> u64 {
    let given = std::env::var("GUNYU_HA_LOG_MIB").ok();
    given.map_or(256, |text| text.parse().expect("GUNYU_HA_LOG_MIB is a number"))
}

/// A bigger log is not replayed: the ledger reads all that the target executes, and that takes longer than all else.
const REPLAYED_MIB_MAX: u64 = 1_024;

/// By which the two may differ: allocators keep what they were given for a while.
const SLACK_BYTES: u64 = 24 << 20;

/// A busy machine writes ten MiB a second, three times over.
fn limit() -> Duration {
    LONG * 2 + Duration::from_secs(log_mib() / 10)
}

#[test]
fn a_follower_of_a_big_log_uses_no_more_memory_than_the_leader() {
    let mut plan = Plan {
        begin: 2,
        // An etcd that shares the disk with gigabytes of logs loses its leases.
        ..Plan::of_one_input(Kind::Redis)
    };
    // A busy machine reads slower than it writes: the source is to wait, not to give the link up.
    let patient = ["--client-output-buffer-limit", "replica", "0", "0", "0"];
    let long = ["--repl-backlog-size", "512mb"];
    plan.source_options
        .extend(patient.iter().chain(&long).map(ToString::to_string));
    let mut group = Group::start(&plan);
    let leader = group.leader();
    let (early, late) = (1 - leader, 2);
    group.members[leader].must(200, "POST", "/syncer/pause?inputs=all");
    let mut conn = group.source.servers()[0].conn();
    let mut value = vec![0u8; 1 << 20];
    for number in 0..log_mib() {
        fastrand::fill(&mut value);
        // Few keys, so that the servers stay small.
        let mut set = redis::cmd("SET");
        set.arg(format!("big:{}", number % 8))
            .arg(&value)
            .exec(&mut conn)
            .unwrap();
    }
    let end = group.source.servers()[0].offset();
    let has_all = |status: &serde_json::Value| status[0]["Offset"]["Received"].as_u64() >= Some(end);
    group.members[leader].wait_status(limit(), "the leader has all", has_all);
    // One was there when it grew, another pulls it all at once.
    group.members[late].start();
    for number in [early, late] {
        group.members[number].wait_status(limit(), "the follower has all", has_all);
    }
    let logs: Vec<u64> = group
        .members
        .iter()
        .map(|member| size_of(&member.state_dir()))
        .collect();
    for number in [early, late] {
        assert!(
            logs[number] >= log_mib() << 20,
            "member {number} has a copy: {logs:?}\n{}",
            group.last_words()
        );
    }
    // The leader has received it, and sent it twice by now.
    compare(&group, leader, &logs);
    if log_mib() <= REPLAYED_MIB_MAX {
        group.members[leader].must(200, "POST", "/syncer/resume?inputs=all");
        wait_equal(group.source.shape(), group.target.shape(), limit());
        compare(&group, leader, &logs);
    }
    group.assert_sound();
}

fn compare(group: &Group, leader: usize, logs: &[u64]) {
    let most: Vec<u64> = group
        .members
        .iter()
        .map(|member| member.stats().rss_bytes_max())
        .collect();
    println!(
        "log {} MiB, led by {leader}; most memory of each, in bytes: {most:?}; on disk: {logs:?}",
        log_mib()
    );
    let most_of_followers = most
        .iter()
        .enumerate()
        .filter(|(number, _)| *number != leader)
        .map(|(_, bytes)| *bytes);
    for bytes in most_of_followers {
        assert!(bytes <= most[leader] + SLACK_BYTES, "{most:?}");
    }
}

fn size_of(folder: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => size_of(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.filter_map(Result::ok).map(size).sum()
}
