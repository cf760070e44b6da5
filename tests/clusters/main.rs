//! The judged runs: clusters, single servers and masters with sentinels that change without a break while they are written and copied, and in the end
//! are equal.
//!
//! Short by default, for every day; whole with `GUNYU_FULL=1`: as many events as gunyu is judged by. A failure prints its seed, which
//! `GUNYU_TEST_SEED` sets.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a helper that fails fails its test, and measurements are shown"
)]

#[path = "../support/mod.rs"]
mod support;

mod lost_node;
mod shapes;

/// Whether the whole run is wanted.
fn is_whole() -> bool {
    std::env::var_os("GUNYU_FULL").is_some_and(|value| value == "1")
}
