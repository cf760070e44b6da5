//! What each room costs by itself, on one core, in memory: GB/s, and nanoseconds for each command, key or element.
//!
//! A part of `make bench`. The time is the processor's for this thread, so that neighbours on the
//! machine disturb little; where a room uses other threads (the log) it is that of the clock on the wall. Each figure is the median of
//! [`timing::SAMPLES`] samples; the spread is that of their middle half.
//!
//! An own loop, since `divan` 0.1.21 prints for people only (nvzqz/divan issue 10): what it finds cannot be had as a table to quote or as JSON.
//!
//! `scripts/bench.sh --bench micro`, or with a part of a figure's name: `scripts/bench.sh --bench micro -- framing`

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stderr)]
// The file that is shared with the tests has more than is used here.
#![allow(dead_code, unreachable_pub)]

mod journal;
mod replay;
mod snapshot;
mod stream;
mod timing;
mod values;

#[path = "../results/mod.rs"]
mod results;
#[path = "../../tests/support/rdb.rs"]
mod rdb;

use timing::Sheet;

// As in the program.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    // Cargo adds `--bench`.
    let only = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let mut sheet = Sheet::new(only);
    stream::framing(&mut sheet);
    stream::commands(&mut sheet);
    stream::slots(&mut sheet);
    stream::filters(&mut sheet);
    replay::batches(&mut sheet);
    replay::replies(&mut sheet);
    replay::restores(&mut sheet);
    snapshot::scans(&mut sheet);
    snapshot::checksums(&mut sheet);
    snapshot::lzf(&mut sheet);
    snapshot::decoders(&mut sheet);
    journal::segments(&mut sheet);
}
