//! Sources and targets that change: clusters whose shards fail over, come and go, and masters that sentinels elect.
//!
//! Real servers of the installed version. Shards of a cluster cannot be compared by digest with one target, so their keys are brought together
//! on one server first.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

#[path = "topology/atomic_slots.rs"]
mod atomic_slots;
#[path = "topology/cluster_source.rs"]
mod cluster_source;
#[path = "topology/once.rs"]
mod once;
#[path = "topology/reshard.rs"]
mod reshard;
#[path = "topology/rig.rs"]
mod rig;
#[path = "topology/sentinels.rs"]
mod sentinels;
#[path = "topology/shards_come_and_go.rs"]
mod shards_come_and_go;
#[path = "topology/under_load.rs"]
mod under_load;
