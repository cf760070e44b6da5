//! Of the room `source` what reads bytes of others.

#[path = "../../src/core/source/handshake.rs"]
pub mod handshake;
#[path = "../../src/core/source/info.rs"]
pub mod info;
#[path = "../../src/core/source/transfer.rs"]
pub mod transfer;
