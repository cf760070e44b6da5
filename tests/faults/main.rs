//! The hunt for ways to lose data: whatever breaks, wherever it is, counters and lists end as they were sent.
//!
//! Matrices, whose cells are generated: a new fault, phase or step is attacked in all its places without anybody remembering it.
//!
//! | matrix | cells | where |
//! | --- | --- | --- |
//! | links | each link × each fault × each phase | [`links`] |
//! | links of groups | each link of a member that is used in a phase × each fault × that phase × each store of leases × leader or follower | [`groups`] |
//! | crashes | each step that the program lists (`core::crash`), at its first passing and at a later one | [`crash`] |
//! | crashes of the sweep | each step of the sweep × what becomes of stale keys | [`crash_stale`] |
//!
//! A test run takes as many of them as fit into its time, in an order drawn from a seed; `GUNYU_FULL=1` takes all. `GUNYU_CELL=name` takes those
//! whose names contain that; a failure names its cell and its seed (`GUNYU_TEST_SEED`). A cell of a link says how its fault has struck: by its fuse or by hand, in
//! which phase. One that has struck outside of its phase proves nothing: it is tried in another life, and fails its cell after three.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a helper that fails fails its test, and what was left out is shown"
)]
// The program only dies as ordered, and only hears of a silence in time, in a debug build.
#![cfg(debug_assertions)]

#[path = "../support/mod.rs"]
mod support;

mod cells;
mod company;
mod crash;
mod crash_beside;
mod crash_leaver;
mod crash_left;
mod crash_many;
mod crash_moving;
mod crash_stale;
mod groups;
mod links;
mod pair;
