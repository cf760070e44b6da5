//! `gunyu doctor` on real servers: what is planted is found, by its name and as bad as it is, and nothing else; and what is printed as a fix, typed, mends it.

mod at_start;
#[path = "../tls/certs.rs"]
mod certs;
mod cluster;
mod planted;
mod rig;
mod rights;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod well;
