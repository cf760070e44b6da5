//! Tours beside the usual way: what is delivered at least once, and what the target does not take.

use std::os::unix::process::ExitStatusExt;

use serde_json::Value;

use super::crash_many::Toured;
use super::pair::{LONG, Pair, is_live, last, wait_death};
use super::support::workload::Seed;

/// Commands that the target does not know; one at a time.
const UNKNOWN: u64 = 5;

/// How it came to its end, by an order or by a signal; then it goes on without an order.
fn end(pair: &mut Pair) -> Toured {
    if pair.gunyu.ended().is_none() {
        pair.gunyu.signal(libc::SIGTERM);
    }
    wait_death(&mut pair.gunyu);
    let status = pair.gunyu.ended().expect("it has ended");
    let toured = Toured {
        has_died: status.signal() == Some(libc::SIGABRT),
        traces: pair.gunyu.traces(),
    };
    pair.gunyu.restart_with_env(&[]);
    toured
}

/// Nothing is lost; what came twice a full sync mends.
pub(super) fn at_least_once(seed: &Seed, part: u64, order: &str) -> Toured {
    let prepared = Pair::prepare(seed, part);
    let delivery = "output.replay.delivery=at_least_once";
    let mut pair = prepared.begin_with(&[("GUNYU_CRASH_AT", order)], &[delivery]);
    pair.count();
    if pair.lives_to_be_live() {
        pair.wait_more(1_000);
        pair.to_target.cut();
        // Checkpoints are due every half second.
        pair.wait_more(6_000);
    }
    let toured = end(&mut pair);
    pair.arrive_at_least();
    let answer = pair.gunyu.must("POST", "/syncer/fullsync?inputs=all");
    assert_eq!(answer["started"].as_array().map(Vec::len), Some(1), "{answer}");
    let is_mended = |status: &Value| is_live(status) && status["FullSync"]["Reason"] == "requested";
    assert!(
        pair.lives_until("the full sync is done", is_mended),
        "{}",
        last(&pair.gunyu.traces())
    );
    pair.finish_equal(2);
    toured
}

/// Each command that the target does not know is in the file of dead letters, once or more often, and all else is applied once.
pub(super) fn with_letters(seed: &Seed, part: u64, order: &str) -> Toured {
    let prepared = Pair::prepare_onto(seed, part, &["--rename-command", "SETRANGE", "unknown-here"]);
    let goes_on = "output.replay.onError=dead_letter";
    let mut pair = prepared.begin_with(&[("GUNYU_CRASH_AT", order)], &[goes_on]);
    pair.count();
    assert!(pair.lives_to_be_live(), "{}", last(&pair.gunyu.traces()));
    let name = |number: u64| format!("unknown:{number}");
    for number in 0..UNKNOWN {
        let _: u64 = pair.source.run(&["SETRANGE", &name(number), "0", "value"]);
        let is_told = |status: &Value| status["DeadLetters"].as_u64() > Some(number);
        // What comes after the death is found by the next life.
        if pair.gunyu.ended().is_none() {
            pair.lives_until("the letter is told", is_told);
        }
    }
    let toured = end(&mut pair);
    pair.gunyu.wait_ready(LONG);
    pair.gunyu.wait_applied(&pair.source, LONG);
    let (letters, torn) = letters(&pair);
    for number in 0..UNKNOWN {
        let wanted = serde_json::json!(["SETRANGE", name(number), "0", "value"]);
        let is_there = letters.iter().any(|letter| letter["command"] == wanted);
        assert!(
            is_there,
            "no letter of {wanted}: {letters:#?}\n{}",
            last(&pair.gunyu.traces())
        );
    }
    assert!(
        torn <= usize::from(order.starts_with("letter.torn")),
        "{torn} torn lines"
    );
    for number in 0..UNKNOWN {
        let _: u64 = pair.source.run(&["DEL", &name(number)]);
    }
    pair.finish(1);
    toured
}

/// The letters, and how many lines are none.
fn letters(pair: &Pair) -> (Vec<Value>, usize) {
    let folder = std::fs::read_dir(pair.gunyu.state_dir().join("dead-letter")).unwrap();
    let texts = folder.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let lines: Vec<String> = texts
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let letters: Vec<Value> = lines
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let torn = lines.len() - letters.len();
    (letters, torn)
}
