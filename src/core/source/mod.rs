//! The link to the source: gunyu poses as a replica.
//!
//! Owns the replication handshake ([`handshake`], without I/O), how a snapshot is told from the stream that follows it
//! ([`transfer`], without I/O), and the socket ([`Follower`]). Promises that the socket is read as fast as the caller takes chunks,
//! that every wait has a limit, and that a refused handshake says which of its steps was refused and what helps.
//! Leaves to others where the bytes go and what is asked of the source.

pub mod handshake;
pub mod info;
pub mod transfer;

mod follower;

pub use follower::{Event, Follower};

use std::time::Duration;

use super::net;

/// Whom to follow, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The source node.
    pub endpoint: net::Endpoint,
    /// The command's name where `PSYNC` has been renamed.
    pub psync_command: String,
    /// Announced as `REPLCONF version`. A Valkey source (9 and later) writes the snapshot in a format
    /// that a replica of that version reads; other sources refuse the option, which does no harm.
    pub announce_version: Option<String>,
    /// Announced as `REPLCONF rdb-only`: the link ends with the snapshot, and the source (Redis 6.2 and later) keeps no stream for us meanwhile.
    pub snapshot_only: bool,
    /// A source that sends nothing for so long is taken for dead. Sources ping every `repl-ping-replica-period` (10 s).
    pub silence_limit: Duration,
}

/// What went wrong on the link. The caller opens a new one; [`Error::needs_a_person`] says whether that can help.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection failed.
    #[error("source: {0}")]
    Net(#[from] net::Error),
    /// The source refused a step of the handshake.
    #[error("source {address} refused {step}: {reply}")]
    Refused {
        /// The source.
        address: net::Address,
        /// The step it refused.
        step: &'static str,
        /// Its words.
        reply: String,
        /// What kind of refusal it is.
        kind: handshake::Refusal,
    },
    /// The source said what no source says.
    #[error("source {address} does not speak the replication protocol: {what}")]
    Protocol {
        /// The source.
        address: net::Address,
        /// What was wrong.
        what: String,
    },
}

impl Error {
    /// Whether only a person can mend it (credentials, permissions, a wrong address); trying again may still be right when it worked before.
    #[must_use]
    pub fn needs_a_person(&self) -> bool {
        match self {
            Error::Refused { kind, .. } => kind.needs_a_person(),
            Error::Net(error) => error.needs_a_person(),
            Error::Protocol { .. } => false,
        }
    }

    /// What to do about it, where a person is needed.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Refused { step: "AUTH", kind, .. } if *kind == handshake::Refusal::UnknownCommand => Some(
                "AUTH was renamed or taken away there, so that nobody can log in: give AUTH back, or take the password out of the configuration where the source wants none"
                    .to_owned(),
            ),
            Error::Refused { kind, .. } => kind.hint(),
            Error::Net(error) => error.hint(),
            Error::Protocol { address, .. } => Some(format!(
                "check that {address} is a Redis or Valkey server and not a proxy"
            )),
        }
    }
}
