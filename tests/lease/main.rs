//! The leases of a group on real servers: what holds over every store, and what is peculiar to one.
//!
//! [`claims`] and [`faults`] run over the installed Redis and every etcd that is there ([`support::etcd::Program::all`]), each with a server of its own.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // a helper that fails fails its test

#[path = "../tls/certs.rs"]
mod certs;
mod claims;
mod cluster;
mod etcd;
mod faults;
mod redis;
mod rig;
#[path = "../support/mod.rs"]
mod support;
