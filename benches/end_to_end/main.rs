//! End to end, beside native replication in the same run: full syncs, the live stream, latency, catching up, clusters, a follower, and whether cost
//! grows linearly.
//!
//! A part of `make bench` ([`results`] says where the rows go and what their columns mean); `scripts/bench.sh --bench end_to_end -- latency live` measures those
//! sections alone, with `one-to-one` behind them only from one server to one server. Absolute times are those of the machine at that moment: source, native replica, target, gunyu and the load generator share it. What counts
//! are the ratios, and gunyu's processor time. Each figure is the median of `GUNYU_BENCH_ROUNDS` rounds (3), in which both take turns.
//!
//! | variable | |
//! | --- | --- |
//! | `GUNYU_BENCH_ROUNDS` | how often each figure is taken: 3 |
//! | `GUNYU_BENCH_KEYS` | strings of a full sync: 2,000,000 |
//! | `GUNYU_BENCH_COMMANDS` | commands of a live row: 2,000,000; where cost is to grow linearly, half as many are the whole |
//! | `GUNYU_BENCH_PROBES` | probes of a latency, in all rounds together: 21,000 |
//! | `GUNYU_BENCH_STILL_SECS` | for how long a target stands still: 30 |

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr
)]
// The files that are shared with the tests have more than is used here.
#![allow(dead_code, unreachable_pub)]

#[path = "../mix/mod.rs"]
mod mix;
#[path = "../results/mod.rs"]
mod results;
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

use results::{Results, number};

/// Nothing here takes longer unless something is wrong.
const LONG: Duration = Duration::from_secs(300);

type Section = (&'static str, fn(&Results));

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
        .filter(|arg| !arg.starts_with("--") && arg != "one-to-one")
        .collect();
    let results = Results::open();
    for (name, measure) in SECTIONS {
        if wanted.is_empty() || wanted.iter().any(|one| one == name) {
            eprintln!("{name} …");
            measure(&results);
        }
    }
}

/// How often each figure is taken.
fn rounds() -> usize {
    results::rounds(3)
}
