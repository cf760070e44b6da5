//! Of the room `log` the bytes of its files.

#[path = "../../src/core/log/block.rs"]
pub mod block;
