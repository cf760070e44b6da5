//! The target: how commands get there, and how it is known what arrived.
//!
//! Owns batches ([`batch`]), the ordered connection ([`lane`]), the two deliveries of the live stream ([`exact`]: every batch a transaction with its
//! checkpoint; [`loose`]: pipelined, the checkpoint after the replies), the restoring of snapshots ([`restore`]) and the writing of values
//! with ordinary commands ([`rewrite`]), what is known of the target ([`facts`]), whose a connection is ([`guard`]), the checkpoint's format
//! ([`checkpoint`]) and that of redis-GunYu ([`inherited`]), libraries of functions ([`library`]), what error replies mean ([`refusal`]) and the rate limit ([`pace`]). Promises that a checkpoint never passes data that is not
//! applied, and that no connection but that of the newest session can apply anything. Leaves to the pipeline what is sent, and what to do
//! about a refusal.

pub mod batch;
pub mod checkpoint;
pub mod cluster;
pub mod door;
pub mod exact;
pub mod facts;
pub mod guard;
pub mod inherited;
pub mod lane;
pub mod library;
pub mod loose;
pub mod pace;
pub mod refusal;
pub mod restore;
pub mod rewrite;
pub mod session;
pub mod staging;

use std::time::Duration;

use bytes::Bytes;

use super::{net, resp};
use crate::core::position::{Epoch, Offset};
use cluster::known::Known;

/// Whom to write to, and as whom.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The target node; of a cluster, any.
    pub endpoint: net::Endpoint,
    /// What it is.
    pub shape: Shape,
    /// The deployment's name: part of the checkpoint's key and of our connections' names.
    pub name: String,
    /// How long the target may take to answer before the connection is given up.
    pub reply_limit: Duration,
}

/// What a target is.
#[derive(Debug, Clone)]
pub enum Shape {
    /// One node with all keys.
    One,
    /// A cluster.
    Cluster {
        /// More of its nodes, to find it by.
        seeds: Vec<net::Address>,
        /// Its nodes as they were last seen, by whoever works with these settings or a clone of them.
        known: Known,
    },
}

impl Settings {
    /// The same for another node of it.
    #[must_use]
    pub fn at(&self, node: &net::Address) -> Settings {
        let mut settings = self.clone();
        settings.endpoint.address = node.clone();
        settings
    }

    /// The nodes by which it can be found: those of a cluster that were last seen, then those that are configured, of which none may be left.
    #[must_use]
    pub fn nodes(&self) -> Vec<net::Address> {
        let (mut nodes, seeds) = match &self.shape {
            Shape::One => (Vec::new(), &[][..]),
            Shape::Cluster { seeds, known } => (known.nodes(), &seeds[..]),
        };
        nodes.extend([&self.endpoint.address].into_iter().chain(seeds).cloned());
        nodes
    }

    /// Whether it is a cluster.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        matches!(self.shape, Shape::Cluster { .. })
    }
}

/// Whether every node of the target that takes writes can be reached. Asks each once; the caller sets a limit.
///
/// # Errors
/// One cannot be reached, or refuses us.
pub async fn reach(settings: &Settings) -> Result<(), Error> {
    let mut door = door::Door::open(settings, "gunyu-reach", &checkpoint::key(&settings.name)).await?;
    for node in door.masters() {
        match door.call_at(&node, &[b"INFO", b"server"]).await {
            // It answers, and whoever writes there need not be allowed to ask that.
            Ok(_) | Err(Error::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What went wrong. The caller opens a new session and reads the checkpoint again, whatever it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection failed.
    #[error("target: {0}")]
    Net(#[from] net::Error),
    /// The target refused a command of ours.
    #[error("target {address} refused {command}: {reply}")]
    Refused {
        /// The target.
        address: net::Address,
        /// The command's name.
        command: String,
        /// Its words.
        reply: String,
    },
    /// A part of a transaction failed while it was executed: the rest of it is done.
    #[error("target {address} carried out a part only: {reply}")]
    HalfDone {
        /// The target.
        address: net::Address,
        /// Its words.
        reply: String,
    },
    /// The target said what no server says.
    #[error("target {address} does not speak the protocol: {cause}")]
    Protocol {
        /// The target.
        address: net::Address,
        /// What was wrong.
        cause: resp::Error,
    },
    /// A reply was not of the kind that the command has.
    #[error("target {address} answered {command} with something unexpected")]
    Unexpected {
        /// The target.
        address: net::Address,
        /// The command's name.
        command: String,
    },
    /// The checkpoint on the target is not one of ours.
    #[error("target {address}: {cause}")]
    Checkpoint {
        /// The target.
        address: net::Address,
        /// What is wrong with it.
        cause: checkpoint::Malformed,
    },
    /// A node of the target cluster does not know who serves a slot that is needed.
    #[error("{address} knows of {slots} of the target cluster's 16384 slots who serves them")]
    SlotsMissing {
        /// The node.
        address: net::Address,
        /// Of how many it knows.
        slots: usize,
    },
    /// The target is the very server that is the source.
    #[error("source and target are the same server ({address})")]
    SameServer {
        /// The server.
        address: net::Address,
    },
    /// What stands on the target has a newer epoch than we have, or has the same and is not ours: another process leads. Whoever holds the lease all the
    /// same raises its epoch above this one; nobody else may try again.
    #[error("target {address}: a gunyu with lease epoch {epoch} has taken over")]
    Outranked {
        /// The target.
        address: net::Address,
        /// What stands there.
        epoch: Epoch,
    },
    /// Another session has taken over, or somebody removed the session's key (`FLUSHALL` on the target does).
    #[error("target {address}: another session has taken over, or its key was removed")]
    Superseded {
        /// The target.
        address: net::Address,
    },
}

impl Error {
    /// Whether it may be over by itself within seconds, as when another node takes a lost one's place.
    #[must_use]
    pub fn may_pass_soon(&self) -> bool {
        match self {
            Error::Net(_) | Error::SlotsMissing { .. } | Error::Unexpected { .. } => true,
            Error::Refused { reply, .. } => refusal::Kind::of(reply) == refusal::Kind::Transient,
            _ => false,
        }
    }

    /// What to do about it, where a person is needed.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Refused { reply, .. } => refusal::Kind::of(reply).hint(reply),
            Error::Net(error) => error.hint(),
            Error::Protocol { address, .. } => {
                Some(format!("check that {address} is a Redis or Valkey server"))
            }
            Error::Checkpoint { address, .. } => Some(format!(
                "a newer gunyu wrote it, or somebody changed it: use that version, or DEL {}:… on {address} to begin anew with a full sync",
                checkpoint::KEY_PREFIX
            )),
            Error::SlotsMissing { address, .. } => Some(format!(
                "look at CLUSTER NODES on {address}: every slot needs a master that is up"
            )),
            Error::SameServer { .. } => Some("give --source and --target two different servers".to_owned()),
            Error::Superseded { .. } => {
                Some("make sure that only one gunyu runs for this source and target".to_owned())
            }
            Error::Outranked { epoch, .. } => Some(format!(
                "nothing, where another process of the group leads this input now; where none does, check that all of the group use one store of leases: the \
                 leader goes on by itself as soon as its epoch is above {epoch}"
            )),
            Error::Unexpected { .. } | Error::HalfDone { .. } => None,
        }
    }

    /// Whether source and target are one server: nothing but another configuration helps.
    #[must_use]
    pub fn is_same_server(&self) -> bool {
        matches!(self, Error::SameServer { .. })
    }

    /// Whether credentials, permissions or trust are missing, so that a first start had better stop than try again.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        let denied = [
            refusal::Kind::Credentials,
            refusal::Kind::Permission,
            refusal::Kind::Cluster,
            refusal::Kind::NoCluster,
        ];
        match self {
            Error::Refused { reply, .. } => denied.contains(&refusal::Kind::of(reply)),
            Error::Net(error) => error.needs_a_person(),
            _ => false,
        }
    }
}

/// A command of a batch that the target refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Which command of the batch, from 0; `None` for one of ours around it.
    pub index: Option<usize>,
    /// The target's words.
    pub reply: String,
}

/// What became of what was submitted.
#[derive(Debug)]
pub enum Outcome {
    /// The batch is applied, but for the commands that failed in it.
    Applied {
        /// The batch.
        batch: batch::Batch,
        /// Commands that failed while the rest was applied.
        failed: Vec<Failed>,
        /// The checkpoint on the target, where it moved.
        checkpointed: Option<Offset>,
    },
    /// A checkpoint alone was written.
    Checkpointed(Offset),
    /// Nothing of the batch is applied, because of these commands.
    Rejected {
        /// The batch.
        batch: batch::Batch,
        /// The commands that the target does not take.
        failed: Vec<Failed>,
    },
    /// News from a cluster, where batches are no units.
    Advanced(Box<Advance>),
    /// Nothing is wrong with the batch; the target cannot take it now. Send it again after a while, in a new session.
    Unavailable {
        /// The target's words.
        reply: String,
    },
}

/// How a stream onto a cluster has come on.
#[derive(Debug, Default)]
pub struct Advance {
    /// All of the stream up to here is applied.
    pub applied: Option<Offset>,
    /// Batches that are wholly applied now.
    pub batches: u64,
    /// Their commands.
    pub commands: u64,
    /// When the oldest of these was received.
    pub oldest: Option<std::time::Instant>,
    /// The checkpoint on the target, where it moved.
    pub checkpointed: Option<Offset>,
    /// Commands that were refused, and the words.
    pub refused: Vec<(Bytes, String)>,
    /// Refusals that come of replaying what was there already.
    pub replayed: u64,
    /// Commands that were there already.
    pub skipped: u64,
    /// Transactions of the source that touch several slots.
    pub split_transactions: u64,
    /// What stands in the way of a part of it.
    pub trouble: Option<Trouble>,
}

/// What stands in the way, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl From<&Error> for Trouble {
    fn from(error: &Error) -> Trouble {
        Trouble {
            message: error.to_string(),
            hint: error.hint(),
        }
    }
}

impl Trouble {
    /// A node of a cluster, where it is known which, takes nothing of a slot now.
    #[must_use]
    pub fn of_reply(node: Option<&net::Address>, reply: &str) -> Trouble {
        let who = node.map_or_else(
            || "a node of the target".to_owned(),
            |node| format!("target {node}"),
        );
        Trouble {
            message: format!("{who} takes nothing now: {reply}"),
            hint: refusal::Kind::of(reply).hint(reply),
        }
    }
}

impl Advance {
    /// Whether there is anything to tell.
    #[must_use]
    pub fn says_something(&self) -> bool {
        self.applied.is_some()
            || self.checkpointed.is_some()
            || self.trouble.is_some()
            || !self.refused.is_empty()
    }
}
