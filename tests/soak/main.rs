//! The soak: writers of all types at a steady rate, a fault every ten seconds, and the program measured every second.
//!
//! Two beds at once, each with a gunyu of its own: one server onto another with a proxy on either link, and a cluster of three masters onto another.
//! In the end both sides are equal, counters are exact, memory, open files, tasks and threads are as they were, and the log never took more than it may.
//! A page tells it all (`target/soak/report/soak.md`), with a plot.
//!
//! Some 45 seconds of it in every test run, too short to judge what grows: that takes ten minutes. `make soak MINUTES=n` runs it for so long. `GUNYU_SOAK_SEED` sets the seed that a run
//! prints: what strikes where and for how long, and what each writer draws, follow from it; how they meet does not.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    reason = "a helper that fails fails its test, and where the report is is shown"
)]

#[path = "../support/mod.rs"]
mod support;

mod bed;
mod end;
mod exact;
mod faults;
mod flat;
mod plot;
mod report;
mod run;
mod sample;

use std::time::Duration;

use bed::Bed;
use run::{Outcome, Plan};

/// Of a usual test run.
const SLICE: Duration = Duration::from_secs(45);

fn seed() -> u64 {
    match std::env::var("GUNYU_SOAK_SEED") {
        Ok(text) => text.parse().expect("GUNYU_SOAK_SEED is a number"),
        Err(_) => fastrand::u64(..),
    }
}

#[test]
fn soak_ends_equal_exact_and_no_larger_than_it_was() {
    let asked = support::soak();
    let plan = Plan {
        seed: seed(),
        length: asked.unwrap_or(SLICE),
        is_slice: asked.is_none(),
    };
    println!("GUNYU_SOAK_SEED={}, for {:?}", plan.seed, plan.length);
    let outcomes = std::thread::scope(|scope| {
        let servers = scope.spawn(|| run::run("servers", Bed::of_servers, plan));
        let clusters = scope.spawn(|| run::run("clusters", Bed::of_clusters, plan));
        [servers.join().unwrap(), clusters.join().unwrap()]
    });
    let page = report::write(&plan, &outcomes);
    println!("the report: {}", page.display());
    let wrong: Vec<String> = outcomes.iter().flat_map(Outcome::wrong).collect();
    assert!(wrong.is_empty(), "see {}:\n{}", page.display(), wrong.join("\n"));
}
