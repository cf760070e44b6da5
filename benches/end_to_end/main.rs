//! End to end, beside native replication in the same run: full syncs, the live stream, latency, catching up, clusters, a follower, and whether cost
//! grows linearly.
//!
//! `make bench` prints a table in Markdown and writes `target/bench/end_to_end.json`; `scripts/bench.sh --bench end_to_end -- latency live` measures those
//! sections alone. Absolute times are those of the machine at that moment: source, native replica, target, gunyu and the load generator share it. What counts
//! are the ratios, and gunyu's processor time. Each figure is the median of `GUNYU_BENCH_ROUNDS` rounds (3), in which both take turns.
//!
//! | column | |
//! | --- | --- |
//! | CPU | processor time of gunyu alone, user and system, per million commands or keys |
//! | memory | the most resident memory of gunyu since its start |
//! | disk | what gunyu has had written to disk, log and catalog |
//! | sent | bytes that the target received per byte of the live stream |

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr
)]
// The files that are shared with the tests have more than is used here.
#![allow(dead_code, unreachable_pub)]

#[path = "../../tests/support/mod.rs"]
mod support;

mod catch_up;
mod follower;
mod full_sync;
mod latency;
mod live;
mod load;
mod meter;
mod scaling;
mod side;
mod table;

use std::time::Duration;

use table::Table;

/// Nothing here takes longer unless something is wrong.
const LONG: Duration = Duration::from_secs(300);

type Section = (&'static str, fn(&mut Table));

const SECTIONS: [Section; 6] = [
    ("full_sync", full_sync::measure),
    ("live", live::measure),
    ("latency", latency::measure),
    ("catch_up", catch_up::measure),
    ("follower", follower::measure),
    ("scaling", scaling::measure),
];

fn main() {
    // cargo adds flags of its own.
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
        .collect();
    let mut table = Table::default();
    for (name, measure) in SECTIONS {
        if wanted.is_empty() || wanted.iter().any(|one| one == name) {
            eprintln!("{name} …");
            measure(&mut table);
        }
    }
    table.publish();
}

/// How often each figure is taken.
fn rounds() -> usize {
    number("GUNYU_BENCH_ROUNDS", 3)
}

/// A number out of the environment.
fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}
