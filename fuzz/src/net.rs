//! Of the room `net` only names: the rest of it needs an operating system.

#[path = "../../src/core/net/address.rs"]
mod address;

pub use address::{Address, Credentials};
