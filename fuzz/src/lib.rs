//! Fuzz targets for what gunyu reads from others: RDB files, the values in them, `RESTORE` payloads, replies and streams, what servers
//! tell of clusters, checkpoints, and what a leader sends its followers.
//!
//! Owns what only fuzzing has: the oracle for LZF. The checks themselves are in `checks/`, which the program's own tests include as well, to
//! run them over the corpus (`tests/hostile.rs`). `make fuzz` runs the targets.
//!
//! The rooms under test are compiled into this crate, not linked from gunyu: they use hardly another room, build in seconds rather than with all of
//! gunyu's dependencies, and the coverage that guides the fuzzer is of nothing else.

// The checks name the room as the program's tests do.
extern crate self as gunyu;

pub mod checks;
pub mod core;
pub mod oracle;
