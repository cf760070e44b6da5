//! A disk that refuses: it is told, nothing is lost, and what can heal heals by itself.

use super::rig::{LONG, Rig};

/// Segments of 64 KiB, persisted often: there is always a call to hit.
const BUSY: &[&str] = &[
    "channel.storer.logSize=64KiB",
    "channel.storer.flush.duration=50ms",
];

#[test]
fn a_segment_that_cannot_be_written_is_told_and_goes_on_without_a_full_sync() {
    let mut rig = Rig::start(BUSY);
    rig.rule(&[("write", ".seg", libc::EIO, 0)]);
    rig.wait_trouble("Input/output error", "");
    rig.counters.wait_more(1_000);
    rig.rule(&[]);
    assert_eq!(rig.full_syncs(), 1);
    rig.finish();
}

#[test]
fn a_segment_that_cannot_be_persisted_is_told_and_asked_for_again() {
    let mut rig = Rig::start(BUSY);
    rig.rule(&[("persist", ".seg", libc::EIO, 0)]);
    rig.wait_trouble("Input/output error", "");
    rig.counters.wait_more(1_000);
    rig.rule(&[]);
    assert_eq!(rig.full_syncs(), 1);
    rig.finish();
}

#[test]
fn a_disk_that_has_become_read_only_is_told_and_goes_on_when_it_can_be_written() {
    let mut rig = Rig::start(BUSY);
    let any = ["open", "write", "persist", "cut", "remove", "rename"];
    rig.rule(&any.map(|call| (call, "/state/", libc::EROFS, 0)));
    // The log cannot be begun anew without the catalog.
    rig.wait_trouble("catalog", "make the folder writable");
    rig.counters.wait_more(1_000);
    rig.rule(&[]);
    assert_eq!(rig.full_syncs(), 1);
    let traces = rig.finish().traces();
    assert!(traces.contains("Read-only file system"), "{traces}");
}

#[test]
fn a_catalog_that_cannot_be_written_is_told_and_opened_again_by_itself() {
    let mut rig = Rig::start(BUSY);
    rig.rule(&[
        ("write", "/catalog/", libc::EIO, 0),
        ("persist", "/catalog/", libc::EIO, 0),
    ]);
    // A full sync that is asked for must note that it begins.
    let _ = rig.gunyu.call("POST", "/syncer/fullsync?inputs=all");
    rig.wait_trouble("catalog", "make the folder writable");
    rig.counters.wait_more(1_000);
    rig.rule(&[]);
    rig.gunyu.wait_ready(LONG);
    let traces = rig.finish().traces();
    assert!(traces.contains("the catalog was opened again"), "{traces}");
}

#[test]
fn a_slow_disk_holds_up_nothing_for_good() {
    let rig = Rig::start(BUSY);
    rig.rule(&[("write", ".seg", 0, 20), ("persist", "/state/", 0, 300)]);
    for _ in 0..3 {
        rig.wait_hit();
        rig.counters.wait_more(1_000);
    }
    assert_eq!(rig.full_syncs(), 1);
    rig.finish();
}

#[test]
fn a_snapshot_that_cannot_be_written_or_persisted_is_told_and_asked_for_again() {
    for (call, error, message) in [
        ("write", libc::EIO, "Input/output error"),
        ("write", libc::ENOSPC, "No space left"),
        ("persist", libc::EIO, "Input/output error"),
        ("rename", libc::EROFS, "Read-only file system"),
    ] {
        println!("{call} {error}");
        let mut rig = Rig::with_rules(BUSY, &[(call, ".rdb.part", error, 0)]);
        rig.wait_trouble(message, "");
        rig.rule(&[]);
        rig.gunyu.wait_ready(LONG);
        rig.finish();
    }
}

#[test]
fn a_segment_that_cannot_be_read_is_dropped_and_asked_for_again() {
    let mut rig = Rig::start(BUSY);
    rig.target.sigstop();
    rig.counters.wait_more(5_000);
    rig.gunyu.kill9();
    rig.target.sigcont();
    rig.rule(&[("read", ".seg", libc::EIO, 0)]);
    rig.gunyu.restart();
    rig.wait_hit();
    rig.rule(&[]);
    rig.gunyu.wait_ready(LONG);
    assert_eq!(rig.full_syncs(), 1);
    let traces = rig.finish().traces();
    assert!(traces.contains("Input/output error"), "{traces}");
}

/// What goes to the disk beside the writer fails; the writer waited for it without an end.
#[test]
fn a_catalog_that_cannot_send_its_keys_to_the_disk_holds_nobody_up() {
    let mut rig = Rig::start(&[]);
    let script = "for i = 1, 400000 do redis.call('SET', 'a key with a name of some length:' .. i, i) end";
    let () = rig.source.run(&["EVAL", script, "0"]);
    rig.gunyu.wait_applied(&rig.source, LONG);
    rig.rule(&[("write", "/tables/", libc::EIO, 0)]);
    rig.gunyu.must("POST", "/syncer/fullsync?inputs=all");
    rig.wait_trouble("catalog", "make the folder writable");
    rig.rule(&[]);
    rig.gunyu.wait_ready(LONG);
    let traces = rig.finish().traces();
    assert!(traces.contains("the catalog was opened again"), "{traces}");
}

/// The target lacks nothing but one command, which it refused; who looks for it must find it.
#[test]
fn a_letter_that_cannot_be_written_is_told_and_written_when_it_can_be() {
    let mut rig = Rig::start(&["output.replay.onError=dead_letter"]);
    let () = rig.target.run(&["SET", "clash", "a string"]);
    rig.rule(&[("any", "/dead-letter/", libc::EIO, 0)]);
    let () = rig.source.run(&["RPUSH", "clash", "an element"]);
    rig.wait_trouble("dead-letter", "it goes on by itself then");
    rig.counters.wait_more(500);
    rig.rule(&[]);
    rig.gunyu.wait_ready(LONG);
    rig.gunyu.wait_applied(&rig.source, LONG);
    let letters = rig.files(".jsonl");
    let text = letters.first().map(|file| std::fs::read_to_string(file).unwrap());
    let text = text.unwrap_or_default();
    assert!(text.contains("an element"), "the command is nowhere: {text:?}");
    // What the target has instead of it goes, or the sides differ.
    let () = rig.source.run(&["DEL", "clash"]);
    rig.finish();
}
