//! The disk below gunyu, with the real program and real servers: it refuses, it is slow, its bytes change, its files vanish or come
//! back from older copies. Never a wrong byte on the target, always a message that says what happened, and recovery
//! by itself where that is safe.
//!
//! The faults of calls come from a library before the C library (`shim.c`), so that the program is the one that users run. A disk
//! that is full is in `tests/trouble` (`disk`), a torn tail and a damaged segment in `tests/resume.rs`, cuts of power in
//! `tests/log_model`.

#![allow(clippy::unwrap_used, clippy::print_stdout, unreachable_pub)] // a helper that fails fails its test, and what was struck is shown

#[path = "../support/mod.rs"]
mod support;

mod anywhere;
mod damage;
mod refusals;
mod rig;
mod starved;
