//! A target that is a cluster.
//!
//! Owns who serves which slot ([`map`]), what nodes say when a slot is not theirs ([`redirect`]), control commands ([`router`]), where a
//! command of the stream goes ([`route`]), and how one whose keys lie in several slots is carried out ([`plan`]).

pub mod map;
pub mod plan;
pub mod redirect;
pub mod route;
pub mod router;
