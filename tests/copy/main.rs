//! The target becomes equal: what `gunyu sync` promises, on real servers.
//!
//! Here is only what the claims share; they are in the files beside this one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test fails by panicking and tells what it skips"
)]

#[path = "../support/mod.rs"]
mod support;

mod alike;
mod expiry;
mod live;
mod matrix;
mod resync;
mod sweep;
mod transactions;
mod values;
mod whole;

use std::time::Duration;

use support::{Gunyu, Server, assert_equal};

/// The longest that a test waits for a large amount of data; generous, because other work may share the machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// gunyu from one to the other, live, with these settings.
fn live(source: &Server, target: &Server, set: &[&str]) -> Gunyu {
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), set);
    gunyu.wait_ready(PATIENCE);
    gunyu
}

/// Waits until everything that `source` has written is applied; fails at once where gunyu stops instead.
#[track_caller]
fn wait_applied(gunyu: &mut Gunyu, source: &Server) {
    let at = source.offset();
    let status = gunyu.wait_status(
        PATIENCE * 2,
        &format!("offset {at} is applied, or it stops"),
        |status| {
            let applied =
                status[0]["Phase"] == "incremental" && status[0]["Offset"]["Applied"].as_u64() >= Some(at);
            applied || status[0]["State"] == "stop"
        },
    );
    assert_no_dead_letters(gunyu);
    assert_ne!(status[0]["State"], "stop", "{status}");
}

/// Once everything is applied gunyu ends in order, and both sides hold the same.
#[track_caller]
fn end_equal(mut gunyu: Gunyu, source: &Server, target: &Server) {
    wait_applied(&mut gunyu, source);
    let ended = gunyu.term();
    assert!(ended.success(), "{ended}\n{}", gunyu.traces());
    assert_equal(source, target);
}

/// How many full syncs this process of gunyu has begun, whatever the reason.
fn full_syncs(gunyu: &Gunyu) -> u64 {
    let text = gunyu.metrics();
    let lines = text
        .lines()
        .filter(|line| line.starts_with("gunyu_full_sync_total{"));
    lines
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64)
        .sum()
}

/// What status says of the only input.
fn only_input(gunyu: &Gunyu) -> serde_json::Value {
    gunyu.status()[0].clone()
}

/// Nothing was refused by the target.
#[track_caller]
fn assert_no_dead_letters(gunyu: &Gunyu) {
    if only_input(gunyu)["DeadLetters"] != 0 {
        let folder = std::fs::read_dir(gunyu.state_dir().join("dead-letter")).unwrap();
        let letters: String = folder
            .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
            .collect();
        panic!("dead letters:\n{letters}\n{}", gunyu.traces());
    }
}

/// The key of the checkpoint on the target.
fn checkpoint_key(target: &Server) -> String {
    let keys: Vec<String> = target.run(&["KEYS", "redis-gunyu-checkpoint*"]);
    let mut keys = keys.into_iter().filter(|key| !key.ends_with(":session"));
    let key = keys.next().expect("a checkpoint is on the target");
    assert_eq!(keys.next(), None, "one deployment has one checkpoint");
    key
}
