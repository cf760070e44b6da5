//! Of the room `target` what reads replies.

#[path = "../../src/core/target/checkpoint.rs"]
pub mod checkpoint;
#[path = "cluster.rs"]
pub mod cluster;
#[path = "../../src/core/target/refusal.rs"]
pub mod refusal;
#[path = "../../src/core/target/inherited/found.rs"]
pub mod found;
#[path = "../../src/core/target/library.rs"]
pub mod library;

pub mod inherited {
    pub use super::found;
}
