//! How a follower of a group keeps a warm copy of what the leader's log holds.
//!
//! ```text
//! leader:   log -Chunk-> serve -Frame-> GET /peer/log ===> follower -> copy -append-> its own log
//!                          ^ Standing: progress                          | mirrored into its progress
//! ```
//!
//! Owns what is said between the two ([`wire`]), the leader's side ([`serve`](mod@serve)) and the follower's ([`follower`]). Promises that the copy is byte
//! for byte what the leader's log holds, or ends: never a gap, never bytes of another history; and that the leader's own tasks wait for no
//! follower. Leaves HTTP's server to the HTTP room, and who leads to the supervisor.

mod copy;
pub mod follower;
pub mod serve;
pub mod wire;
pub mod words;

pub use follower::{Follower, Heard, Leader};
pub use serve::{Ask, Board, Refused, serve};
pub use wire::{Standing, Waiting};

use super::log;
use super::net::http;
use super::position::{Offset, Position, ReplId};

/// The leader's log is not copied any more. Nothing wrong was taken: the caller asks again from its log's end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was said is not what a leader says.
    #[error(transparent)]
    Wire(#[from] wire::Error),
    /// The log here could not take it.
    #[error("log: {0}")]
    Log(#[from] log::Error),
    /// The link failed.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// The stream does not go on where the log ends.
    #[error("the leader goes on at offset {found}, the log here ends at {expected}")]
    Gap {
        /// Where the log here ends.
        expected: Offset,
        /// What the leader said.
        found: Offset,
    },
    /// The leader goes on under a name that does not contain what is here.
    #[error("what is here, {end}, is not of the leader's history {id}")]
    OtherHistory {
        /// The end of what is here.
        end: Position,
        /// The leader's.
        id: ReplId,
    },
    /// Something came that does not follow from what came before.
    #[error("the leader sends {0} where nothing of the kind can come")]
    Unasked(&'static str),
}

impl Error {
    /// What a person may do, where a person is needed.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Wire(error) => error.hint().map(str::to_owned),
            Error::Log(error) => error.hint().map(str::to_owned),
            Error::Http(error) => error.hint(),
            Error::Gap { .. } | Error::OtherHistory { .. } | Error::Unasked(_) => None,
        }
    }
}
