//! Of the room `target` what reads replies.

#[path = "../../src/core/target/checkpoint.rs"]
pub mod checkpoint;
#[path = "cluster.rs"]
pub mod cluster;
#[path = "../../src/core/target/refusal.rs"]
pub mod refusal;
