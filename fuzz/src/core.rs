//! The places of the rooms under test, as in gunyu.

#[path = "../../src/core/rdb/mod.rs"]
pub mod rdb;
#[path = "../../src/core/position.rs"]
pub mod position;
#[path = "peer.rs"]
pub mod peer;
