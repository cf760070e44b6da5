//! gunyu keeps one Redis a live copy of another.
//!
//! The library holds everything but the parsing of arguments: [`core`] is the way of the data from the source
//! to the target, [`http`] is the daemon's API, [`cmd`] are the subcommands. `core` knows neither of the others.

#![forbid(unsafe_code)]

pub mod core;
pub mod http;
pub mod cmd;
