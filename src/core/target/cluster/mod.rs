//! A target that is a cluster.
//!
//! Owns who serves which slot ([`map`]), by whom it is found again ([`known`]), what nodes say when a slot is not theirs ([`redirect`]), control commands ([`router`]), where a
//! command of the stream goes ([`route`]), and how one whose keys lie in several slots is carried out ([`plan`]).
//!
//! The live stream has [`fenced`], which cuts batches by slot ([`stretch`], [`group`]), has a lane to each node ([`node`]), carries out what
//! belongs to no single slot ([`act`]) and leaves marks and checkpoints to a [`clerk`]; what is recorded in the slots is in [`fences`].

pub mod fenced;
pub mod fences;
pub mod known;
pub mod map;
pub mod plan;
pub mod redirect;
pub mod route;
pub mod router;
pub mod stretch;
pub mod written;

mod act;
mod clerk;
mod group;
mod node;
