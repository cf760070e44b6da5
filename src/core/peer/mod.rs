//! How a follower of a group keeps a warm copy of what the leader's log holds.
//!
//! ```text
//! leader:   log -Chunk-> serve -Frame-> GET /peer/log ===> follower -append-> its own log
//!                          ^ Standing: progress                  | mirrored into its progress
//! ```
//!
//! Owns what is said between the two ([`wire`]), the leader's side ([`serve`]) and the follower's ([`follower`]). Promises that the copy is byte for byte what
//! the leader's log holds, or ends: never a gap, never bytes of another history; and that the leader's own tasks wait for no follower. Leaves
//! HTTP's server to the HTTP room, and who leads to the supervisor.

pub mod serve;
pub mod wire;

pub use serve::{Ask, Board, Refused, serve};
