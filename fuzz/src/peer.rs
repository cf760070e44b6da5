//! Of the room `peer` only what reads bytes of others: the rest of it needs all of gunyu.

#[path = "../../src/core/peer/wire/mod.rs"]
pub mod wire;
#[path = "../../src/core/peer/words.rs"]
pub mod words;
