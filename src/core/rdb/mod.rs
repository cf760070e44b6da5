//! RDB: what is in a snapshot and where it ends, without decoding it; and the payloads of `RESTORE`.
//!
//! Owns the format: the header, every opcode and every type of value that Redis writes up to RDB 13 (Redis 8.6) and
//! Valkey up to RDB 80 (Valkey 9), with the checksum. Does no I/O: a [`Scanner`] is given chunks and gives items.
//! Promises that values come out as the bytes that came in, unpacked nowhere; that the work is linear in the bytes,
//! however they are cut; that lengths in the data allocate nothing before their bytes have arrived; and that
//! anything it does not know is an [`Error`] that names the byte, never a guess.
//!
//! Leaves reading the file, resuming and what to do with an item to the rooms below; leaves values' insides to
//! whoever must decode them.
//!
//! | file | what |
//! | --- | --- |
//! | `scan.rs` | the scanner: items one after another |
//! | `glance.rs` | the quick way over whole keys, for whoever only looks |
//! | `window.rs` | chunks, and what spans them |
//! | `layout.rs` | tables of how types and opcodes are laid out |
//! | `skip.rs` | walks a layout to its end |
//! | `reader.rs`, `string.rs` | lengths; strings and LZF |
//! | `parse.rs` | what follows what |
//! | `checksum.rs`, `payload.rs` | CRC-64; what `RESTORE` takes |
//! | `version.rs`, `item.rs`, `error.rs` | whose format, what is in it, what can be wrong |
//!
//! Versions newer than those are read as far as their types are known: the format only grows by new types and opcodes,
//! and these are errors.

mod checksum;
mod error;
mod glance;
mod item;
mod layout;
pub mod lzf;
mod parse;
pub mod payload;
mod reader;
mod scan;
mod skip;
mod string;
#[cfg(test)]
mod tests;
pub mod value;
mod version;
mod window;

pub use checksum::Checksum;
pub use error::{Cause, Error, Packed, Reading};
pub use glance::Glance;
pub use item::{Item, Key, ModuleId};
pub use layout::{Kind, STRING, kind_of};
pub use scan::{Cursor, End, Prefix, Scanner, Step};
pub use string::{Plain, plain, unpack};
pub use version::{Flavor, Version};
