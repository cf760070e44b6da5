//! A target that is a cluster.
//!
//! Owns who serves which slot ([`map`]), what nodes say when a slot is not theirs ([`redirect`]), and control commands ([`router`]).

pub mod map;
pub mod redirect;
pub mod router;
