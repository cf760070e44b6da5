//! Of the room `net` names, and PEM files: the rest of it needs an operating system.

#[path = "../../src/core/net/address.rs"]
mod address;
#[path = "../../src/core/net/pem.rs"]
pub mod pem;

pub use address::{Address, Credentials};
