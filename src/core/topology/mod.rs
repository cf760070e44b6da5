//! Where the servers are, while they change: the shards of a cluster, the master that sentinels have elected.
//!
//! Owns how that is asked ([`cluster`], [`sentinel`], [`sampler`]) and understood ([`nodes`], [`shards`], without I/O), and [`Place`], by which whoever
//! connects learns where to. Promises that what moved is noticed at once where somebody doubts it, and by the ticker otherwise, and that a server
//! that is asked and does not answer holds nobody up. Leaves to the pipeline what a move means for it, and to the supervisor which pipelines there are.

pub mod alert;
pub mod cluster;
pub mod jobs;
pub mod migrations;
pub mod nodes;
pub mod place;
pub mod sample;
pub mod sampler;
pub mod sentinel;
pub mod shards;

mod ask;

pub use place::{Place, Seen, Trouble, Watcher};

use super::net::{self, Address};

/// It could not be found out where a server is. Asking again is always safe.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection failed.
    #[error(transparent)]
    Net(#[from] net::Error),
    /// Whoever was asked said nothing in time.
    #[error("{address} did not answer in time")]
    Silent {
        /// Whom.
        address: Address,
    },
    /// He refused.
    #[error("{address} refused {command}: {reply}")]
    Refused {
        /// Whom.
        address: Address,
        /// The command's name.
        command: String,
        /// His words.
        reply: String,
    },
    /// He said what cannot be understood.
    #[error("{address} makes no sense: {what}")]
    Nonsense {
        /// Whom.
        address: Address,
        /// What is wrong.
        what: String,
    },
    /// The sentinels do not know the master by that name.
    #[error("the sentinel {address} knows no master {name:?}")]
    UnknownMaster {
        /// The sentinel.
        address: Address,
        /// The name.
        name: String,
    },
    /// The sentinels name a server that is no master (yet, or any more).
    #[error("the sentinels say that {address} is the master {name:?}, and it says that it is not")]
    NotAMaster {
        /// The server.
        address: Address,
        /// The name.
        name: String,
    },
}

impl Error {
    /// Whether only a person can mend it.
    #[must_use]
    pub fn needs_a_person(&self) -> bool {
        match self {
            Error::Refused { reply, .. } => {
                let first = reply.split_ascii_whitespace().next().unwrap_or_default();
                matches!(first, "NOAUTH" | "WRONGPASS" | "NOPERM")
                    || is_wrong_password(reply)
                    || is_no_cluster(reply)
                    || is_no_sentinel(reply)
            }
            Error::UnknownMaster { .. } => true,
            Error::Net(error) => error.needs_a_person(),
            Error::Silent { .. } | Error::Nonsense { .. } | Error::NotAMaster { .. } => false,
        }
    }

    /// What to do about it, where a person is needed.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Net(error) => return error.hint(),
            Error::Refused { address, reply, .. } if is_no_cluster(reply) => {
                format!("{address} is in no cluster: use type: standalone, or redis://{address}")
            }
            Error::Refused { address, reply, .. } if is_no_sentinel(reply) => {
                format!("{address} is no sentinel: give the sentinels' addresses (their port is 26379, unless it was changed)")
            }
            Error::Refused { .. } if self.needs_a_person() => {
                "check user, password and permissions (README.md lists what gunyu needs); sentinels have their own: sentinel.userName, sentinel.password"
                    .to_owned()
            }
            Error::UnknownMaster { address, .. } => {
                format!("look at SENTINEL MASTERS on {address}, and set sentinel.masterName to one of the names there")
            }
            Error::Silent { .. }
            | Error::Refused { .. }
            | Error::Nonsense { .. }
            | Error::NotAMaster { .. } => return None,
        })
    }
}

fn is_wrong_password(reply: &str) -> bool {
    ["ERR invalid password", "ERR AUTH", "ERR Client sent AUTH"]
        .iter()
        .any(|start| reply.starts_with(start))
}

fn is_no_cluster(reply: &str) -> bool {
    reply.contains("cluster support disabled")
}

fn is_no_sentinel(reply: &str) -> bool {
    // A server that is no sentinel does not know the command; it may tell the name in either case.
    reply.starts_with("ERR unknown command") && reply.to_ascii_lowercase().contains("sentinel")
}

impl From<&Error> for Trouble {
    fn from(error: &Error) -> Trouble {
        Trouble {
            message: error.to_string(),
            hint: error.hint(),
            needs_a_person: error.needs_a_person(),
        }
    }
}

/// Out of several errors the one that says most: what a person must mend, then what a server said, then what did not answer at all.
fn most_telling(errors: Vec<Error>) -> Option<Error> {
    let rank = |error: &Error| match error {
        error if error.needs_a_person() => 3,
        Error::Refused { .. } | Error::Nonsense { .. } | Error::NotAMaster { .. } => 2,
        Error::UnknownMaster { .. } => 2,
        Error::Silent { .. } => 1,
        Error::Net(_) => 0,
    };
    errors.into_iter().max_by_key(rank)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(reply: &str) -> Error {
        Error::Refused {
            address: Address {
                host: "h".into(),
                port: 1,
            },
            command: "X".into(),
            reply: reply.into(),
        }
    }

    #[test]
    fn a_person_is_needed_where_trying_again_cannot_help() {
        for (reply, expected) in [
            ("NOAUTH Authentication required.", true),
            ("WRONGPASS invalid username-password pair", true),
            ("NOPERM this user has no permissions", true),
            ("ERR invalid password", true),
            ("ERR This instance has cluster support disabled", true),
            (
                "ERR unknown command `SENTINEL`, with args beginning with: `x`",
                true,
            ),
            ("LOADING Redis is loading the dataset in memory", false),
            ("CLUSTERDOWN The cluster is down", false),
        ] {
            assert_eq!(refused(reply).needs_a_person(), expected, "{reply}");
            assert_eq!(refused(reply).hint().is_some(), expected, "{reply}");
        }
    }

    #[test]
    fn what_a_person_must_mend_is_told_before_anything_else() {
        let silent = Error::Silent {
            address: Address {
                host: "h".into(),
                port: 1,
            },
        };
        let told = most_telling(vec![silent, refused("NOAUTH x"), refused("LOADING x")]).unwrap();
        assert!(told.needs_a_person());
        assert!(most_telling(vec![]).is_none());
    }
}
