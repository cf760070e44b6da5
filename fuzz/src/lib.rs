//! Fuzz targets for what gunyu reads from others, and reads back from disks and targets: RDB files, the values in them, `RESTORE` payloads, replies,
//! streams and their commands, what servers and sentinels tell, checkpoints, the catalog's records, a group's store, certificates, and what a
//! leader sends its followers.
//!
//! Owns what only fuzzing has: the oracle for LZF. The checks themselves are in `checks/`, which the program's own tests include as well, to
//! run them over the corpus (`tests/hostile.rs`). `make fuzz` runs the targets.
//!
//! The rooms under test are compiled into this crate, not linked from gunyu: only their files without I/O, which use hardly another room, build in a
//! fraction of the time that gunyu takes with all its dependencies, and the coverage that guides the fuzzer is of little else.

#![forbid(unsafe_code)]

// The checks name the room as the program's tests do.
extern crate self as gunyu;

pub mod checks;
pub mod core;
pub mod oracle;
