//! What becomes of gunyu where a node of a cluster is lost, slow or cut off, and what it must look at before it goes on.
//!
//! Here is only what the claims share; they are in the files beside this one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a helper that fails fails its test, and measurements are shown"
)]

#[path = "../support/mod.rs"]
mod support;

mod fences;
mod lane;
mod seeds;
