//! Damage at random places over whole files of each kind, and files that are gone or come back from older copies although the history is the same: the
//! checkpoint on the target is the judge of what is still to be applied.

use std::fs;
use std::path::{Path, PathBuf};

use super::damage::{copy_folder, flip, goes_on, stopped};
use super::rig::{LONG, Rig, collect};
use super::support::group::{Group, Kind, Plan, Tally};
use super::support::wait_until;
use super::support::workload::Seed;

/// A bit anywhere in it.
fn flip_somewhere(path: &Path, rng: &mut fastrand::Rng) {
    let len = fs::metadata(path).unwrap().len() as usize;
    let at = rng.usize(..len);
    println!("{} at {at} of {len}", path.display());
    flip(path, at);
}

#[test]
fn a_flipped_bit_anywhere_in_a_segment_never_reaches_the_target() {
    let rig = stopped();
    let mut rng = rig.seed.rng(0xF21);
    let segments = rig.files(".seg");
    let victim = &segments[rng.usize(..segments.len())];
    flip_somewhere(victim, &mut rng);
    goes_on(rig);
}

/// Killed in the midst of the restoring of a snapshot that has arrived; where that is.
fn restoring() -> (Rig, PathBuf) {
    // Slow enough for that.
    let mut rig = Rig::with_rules(&["output.replay.rateLimit.opsPerSec=200"], &[]);
    let snapshot = kill_restoring(&mut rig);
    (rig, snapshot)
}

fn kill_restoring(rig: &mut Rig) -> PathBuf {
    rig.gunyu.wait_status(LONG, "some keys are there", |status| {
        let keys = status[0]["FullSync"]["Keys"].as_u64();
        status[0]["Phase"] == "full_sync" && keys.is_some_and(|keys| (20..1_500).contains(&keys))
    });
    wait_until(LONG, "the snapshot is whole", || !rig.files(".rdb").is_empty());
    rig.gunyu.kill9();
    rig.files(".rdb").pop().unwrap()
}

/// Started again without a brake: it ends exact, whatever it needs for that.
fn ends_exact(mut rig: Rig) -> String {
    rig.gunyu.restart_with(rig.args(&[]));
    rig.gunyu.wait_ready(LONG);
    rig.finish().traces()
}

#[test]
fn a_flipped_bit_anywhere_in_the_snapshot_never_stays_on_the_target() {
    let (rig, snapshot) = restoring();
    flip_somewhere(&snapshot, &mut rig.seed.rng(0xF22));
    let traces = ends_exact(rig);
    assert!(traces.contains("the snapshot is damaged"), "{traces}");
}

#[test]
fn a_snapshot_that_is_gone_is_asked_for_again() {
    let (rig, snapshot) = restoring();
    fs::remove_file(snapshot).unwrap();
    let source = rig.source.url();
    let traces = ends_exact(rig);
    assert!(traces.contains("WARN"), "{source}: {traces}");
}

/// Of another full sync of the same source: what it says was true once.
#[test]
fn a_snapshot_from_an_older_copy_never_stays_on_the_target() {
    let (mut rig, snapshot) = restoring();
    let copy = tempfile::tempdir().unwrap();
    let older = copy.path().join("older");
    fs::copy(&snapshot, &older).unwrap();
    rig.gunyu.restart_with(rig.args(&[]));
    rig.gunyu.wait_ready(LONG);
    let script = "for i = 1, 2000 do redis.call('SET', 'ballast:' .. i, string.rep('y', 100)) end";
    let () = rig.source.run(&["EVAL", script, "0"]);
    rig.gunyu.wait_applied(&rig.source, LONG);
    rig.gunyu
        .restart_with(rig.args(&["output.replay.rateLimit.opsPerSec=200"]));
    rig.gunyu.wait_ready(LONG);
    rig.gunyu.must("POST", "/syncer/fullsync?inputs=all");
    let newer = kill_restoring(&mut rig);
    assert_ne!(fs::read(&older).unwrap(), fs::read(&newer).unwrap());
    fs::copy(&older, &newer).unwrap();
    ends_exact(rig);
}

/// What has arrived of it is not believed.
#[test]
fn a_flipped_bit_anywhere_in_half_a_snapshot_never_reaches_the_target() {
    let mut rig = Rig::start(&[]);
    let () = rig.source.run(&["CONFIG", "SET", "rdb-key-save-delay", "1000"]);
    rig.gunyu.must("POST", "/syncer/fullsync?inputs=all");
    let parts = |rig: &Rig| {
        let mut parts = rig.files(".part");
        parts.retain(|part| fs::metadata(part).is_ok_and(|part| part.len() > 0));
        parts
    };
    wait_until(LONG, "half a snapshot is here", || !parts(&rig).is_empty());
    rig.gunyu.kill9();
    let () = rig.source.run(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
    let part = parts(&rig).pop().unwrap();
    flip_somewhere(&part, &mut rig.seed.rng(0xF23));
    goes_on(rig);
}

/// Found when it is read, by whoever leads then.
#[test]
fn a_flipped_bit_anywhere_in_a_followers_copy_never_reaches_the_target() {
    let seed = Seed::pick();
    let mut rng = seed.rng(0xF24);
    let mut group = Group::start(&Plan {
        members: 2,
        begin: 2,
        sections: "channel: {storer: {logSize: 64KiB, maxSize: 8MiB}}\n".to_owned(),
        ..Plan::of_one_input(Kind::Redis)
    });
    let tally = Tally::start(group.source.shape(), &seed, 600);
    tally.wait_more(600);
    let leader = group.leader();
    let follower = 1 - leader;
    tally.wait_more(200);
    group.members[follower].kill9();
    let mut files = Vec::new();
    collect(&group.members[follower].state_dir(), &mut files);
    files.retain(|path| {
        let name = path.to_string_lossy();
        name.ends_with(".seg") || name.ends_with(".rdb")
    });
    files.sort();
    flip_somewhere(&files[rng.usize(..files.len())], &mut rng);
    group.members[follower].start();
    group.wait_settled(LONG);
    tally.wait_more(200);
    group.members[leader].kill9();
    group.wait_successor(leader, LONG);
    group.finish(tally);
    let traces = group.members[follower].traces();
    assert!(!traces.contains("panicked"), "{traces}");
}

/// As `stopped`, and what the folder was some thousand writes before.
fn stopped_later(what: &str) {
    let mut rig = stopped();
    let (state, copy) = (rig.gunyu.state_dir(), tempfile::tempdir().unwrap());
    copy_folder(&state.join(what), copy.path());
    rig.gunyu.restart();
    rig.gunyu.wait_ready(LONG);
    rig.counters.wait_more(2_000);
    rig.gunyu.wait_applied(&rig.source, LONG);
    rig.target.sigstop();
    rig.counters.wait_more(1_000);
    rig.gunyu.kill9();
    rig.target.sigcont();
    fs::remove_dir_all(state.join(what)).unwrap();
    fs::create_dir_all(state.join(what)).unwrap();
    copy_folder(copy.path(), &state.join(what));
    let (source, before) = (rig.source.url(), rig.full_syncs());
    rig.gunyu.restart();
    rig.gunyu.wait_ready(LONG);
    assert_eq!(
        rig.full_syncs(),
        before,
        "what is missing is in the backlog of {source}: {}",
        rig.gunyu.traces()
    );
    rig.finish();
}

#[test]
fn an_older_copy_of_the_whole_folder_repeats_nothing_and_loses_nothing() {
    stopped_later("");
}

#[test]
fn an_older_copy_of_the_catalog_alone_repeats_nothing_and_loses_nothing() {
    stopped_later("catalog");
}
