//! TLS with real servers, and users with permissions and passwords of every kind: data links and control connections.

#![allow(clippy::unwrap_used, clippy::panic)] // a helper that fails fails its test

mod acl;
mod certs;
mod cluster;
mod copy;
mod fleet;
mod sentinel;
mod server;
#[path = "../support/mod.rs"]
mod support;
mod trust;

use std::process::Output;

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `--set` arguments.
fn set(pairs: &[(&str, &str)]) -> Vec<String> {
    pairs
        .iter()
        .map(|(key, value)| format!("--set={key}={value}"))
        .collect()
}
