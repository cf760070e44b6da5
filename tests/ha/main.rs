//! Several gunyu that stand in for each other: leaders are spread, followers are warm, whoever is lost is replaced, and nothing is lost or
//! written twice.
//!
//! [`support::group`] is the rig. That no second full sync happened is asked of the source itself; who wrote what, of the
//! target.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a helper that fails fails its test, and measurements are shown"
)]

#[path = "../support/mod.rs"]
mod support;

/// Each claim holds over an etcd and over a Redis: those in which the store has a part that others do not show over both.
macro_rules! over_both {
    ($($claim:ident),+ $(,)?) => {
        mod over_etcd {
            $(#[test] fn $claim() { super::$claim(super::Kind::Etcd); })+
        }
        mod over_redis {
            $(#[test] fn $claim() { super::$claim(super::Kind::Redis); })+
        }
    };
}

#[path = "../tls/certs.rs"]
mod certs;
mod chaos;
mod clock;
mod half;
mod expiries;
mod handover;
mod identity;
mod latest;
mod memory;
mod pause;
mod replicas;
mod resync;
mod rig;
mod secure;
mod spread;
mod store_down;
mod stores;
mod takeover;
mod upgrade;
