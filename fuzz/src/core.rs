//! The place of the room under test, as in gunyu.

#[path = "../../src/core/rdb/mod.rs"]
pub mod rdb;
