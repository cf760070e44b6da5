//! What can go wrong with the store, whether waiting helps, and what to type where it does not.

use std::time::Duration;

use super::{Damaged, Record};
use crate::core::net::http;
use crate::core::net::{self, Address};
use crate::core::position::Epoch;
use crate::core::target::refusal::Kind;
use crate::core::{target, topology};

/// What went wrong. The caller may ask again, whatever it was; [`Error::needs_a_person`] says where that helps nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another session goes by our name. [`super::Store::begin`] alone.
    #[error("another gunyu goes by the name {id} in the group (on {}, started as version {})", by.machine, by.version)]
    NameTaken {
        /// The name.
        id: String,
        /// What he tells of himself.
        by: Box<Record>,
    },
    /// Our session has ended: it was not renewed in time, or the store has lost it.
    #[error("the session in the group's store has ended")]
    SessionLost,
    /// The etcd cannot be asked.
    #[error("etcd: {0}")]
    Http(#[from] http::Error),
    /// The etcd refuses, or cannot do it now.
    #[error("etcd {address} answers: {message}")]
    Etcd {
        /// Who.
        address: Address,
        /// As of gRPC.
        code: i64,
        /// Its words.
        message: String,
    },
    /// Something answers that is no etcd, or has no gateway.
    #[error("etcd {address} answers with status {status}: {said}")]
    NoGateway {
        /// Who.
        address: Address,
        /// As of HTTP.
        status: u16,
        /// The beginning of what it says.
        said: String,
    },
    /// The others were always quicker.
    #[error("the lease of {input} changes while it is looked at")]
    Contended {
        /// The input.
        input: String,
    },
    /// The connection to the Redis failed.
    #[error("the group's Redis: {0}")]
    Net(net::Error),
    /// The Redis refuses, or cannot do it now.
    #[error("the group's Redis {address} answers: {reply}")]
    Redis {
        /// Who.
        address: Address,
        /// Its words.
        reply: String,
    },
    /// It said what cannot be understood, or does not know who serves the group's slot.
    #[error("the group's Redis: {0}")]
    Odd(String),
    /// It did not answer.
    #[error("the group's Redis did not answer within {0:?}")]
    Silent(Duration),
    /// Nobody knows where it is.
    #[error("the group's Redis cannot be found: {}", .0.message)]
    Nowhere(topology::Trouble),
    /// The store holds something else than we wrote.
    #[error("the group's store holds at {key} what gunyu did not write: {reason}")]
    Damaged {
        /// Where.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No epoch can be above that one.
    #[error("epoch {epoch} of {input} is higher than any that gunyu gives")]
    EpochTooHigh {
        /// The input.
        input: String,
        /// The epoch.
        epoch: Epoch,
    },
}

/// What becomes of an answer of the Redis'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    Passing,
    Credentials,
    Permission,
    IsCluster,
    IsNoCluster,
    NoScripts,
    OtherKey,
}

impl Refused {
    /// By the words, wherever they stand: before 7.0 a script's error is wrapped into one of its own.
    fn of(reply: &str) -> Refused {
        let has = |words: &[&str]| words.iter().any(|word| reply.contains(word));
        match Kind::of(reply) {
            Kind::Credentials => return Refused::Credentials,
            Kind::Permission => return Refused::Permission,
            Kind::Cluster => return Refused::IsCluster,
            Kind::NoCluster => return Refused::IsNoCluster,
            _ => {}
        }
        if has(&[
            "can't run this command",
            "can't access at least one of the keys",
            "NOPERM",
        ]) {
            return Refused::Permission;
        }
        if has(&["cluster support disabled"]) {
            return Refused::IsNoCluster;
        }
        if has(&["WRONGTYPE"]) {
            return Refused::OtherKey;
        }
        if has(&["unknown command"]) {
            return Refused::NoScripts;
        }
        Refused::Passing
    }
}

impl From<Damaged> for Error {
    fn from(Damaged { key, reason }: Damaged) -> Error {
        Error::Damaged { key, reason }
    }
}

impl Error {
    /// Whether only a person can mend it.
    #[must_use]
    pub fn needs_a_person(&self) -> bool {
        match self {
            Error::Http(error) => error.needs_a_person(),
            Error::Etcd { code, message, .. } => is_denied(*code, message),
            // A proxy before it may have lost it for a while.
            Error::NoGateway { status, .. } => *status < 500,
            Error::Net(error) => error.needs_a_person(),
            Error::Redis { reply, .. } => Refused::of(reply) != Refused::Passing,
            Error::Nowhere(trouble) => trouble.needs_a_person,
            Error::Damaged { .. } | Error::EpochTooHigh { .. } => true,
            Error::NameTaken { .. }
            | Error::SessionLost
            | Error::Contended { .. }
            | Error::Odd(_)
            | Error::Silent(_) => false,
        }
    }

    /// What to do about it, where there is something to do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Error::Http(error) => return error.hint(),
            Error::Net(error) => return error.hint(),
            Error::Nowhere(trouble) => return trouble.hint.clone(),
            Error::NameTaken { .. } => {
                "give each gunyu of the group a server.listenPeer of its own; where the other one is a former life of this, it is forgotten after cluster.leaseTimeout"
            }
            Error::Etcd { code, message, .. } => return hint_of_etcd(*code, message).map(str::to_owned),
            Error::NoGateway { said, .. } if said.contains("HTTPS") => {
                "it serves TLS: set cluster.metaEtcd.tls.enable: true"
            }
            // etcd, embed/serve.go: with --client-cert-auth and users, for every path of the gateway.
            Error::NoGateway { said, .. } if said.contains("CommonName") => {
                "where an etcd has users and asks for certificates, its gateway takes none with a CN: set tls.cert and tls.key to one without, or run that etcd without --client-cert-auth"
            }
            Error::NoGateway { address, .. } => {
                return Some(format!(
                    "check that {address} is the client port of an etcd of version 3.4 or newer, and that it runs with --enable-grpc-gateway"
                ));
            }
            Error::Redis { reply, .. } => return hint_of_redis(reply),
            Error::Damaged { key, .. } => {
                return Some(format!(
                    "see who else writes there, and remove {key}; or give the group another name: cluster.groupName"
                ));
            }
            Error::EpochTooHigh { .. } => {
                "see what stands in the target under gunyu's session key: nothing of gunyu's writes such a number"
            }
            Error::SessionLost | Error::Contended { .. } | Error::Odd(_) | Error::Silent(_) => return None,
        };
        Some(text.to_owned())
    }
}

/// What only another configuration, or another user, helps against. 3: invalid argument, 7: permission, 12: not implemented, 16: not authenticated.
fn is_denied(code: i64, message: &str) -> bool {
    let words = ["invalid user ID or password", "user name is empty"];
    matches!(code, 7 | 12 | 16) || words.iter().any(|word| message.contains(word))
}

fn hint_of_etcd(code: i64, message: &str) -> Option<&'static str> {
    match code {
        7 => Some(
            "etcdctl role grant-permission ROLE --prefix=true readwrite /redis-gunyu/, for a role of the user cluster.metaEtcd.username",
        ),
        12 => Some("gunyu needs an etcd of version 3.4 or newer"),
        _ if is_denied(code, message) => Some(
            "set cluster.metaEtcd.username and cluster.metaEtcd.password to those of a user of the etcd's",
        ),
        _ if message.contains("database space exceeded") => {
            Some("the etcd is full: etcdctl compact and defrag it, then etcdctl alarm disarm")
        }
        _ => None,
    }
}

fn hint_of_redis(reply: &str) -> Option<String> {
    let text = match Refused::of(reply) {
        Refused::Passing => {
            return Kind::of(reply)
                .hint(reply)
                .map(|hint| hint.replace("the target", "it"));
        }
        Refused::Credentials => {
            "set userName and password of cluster.metaRedis (of input.redis, where there is none)"
        }
        Refused::Permission => {
            "there: ACL SETUSER <user> ~/redis-gunyu/* +eval +time +hget +hset +hsetnx +hdel +hkeys +hgetall; of a cluster also +cluster|slots"
        }
        Refused::IsCluster => "it is a cluster: set cluster.metaRedis.type: cluster",
        Refused::IsNoCluster => "it is no cluster: set cluster.metaRedis.type: standalone",
        Refused::OtherKey => {
            "its key /redis-gunyu/GROUP is not gunyu's: remove it, or give the group another name: cluster.groupName"
        }
        Refused::NoScripts => {
            "gunyu needs EVAL there: do not rename or disable it, or use an etcd: cluster.metaEtcd"
        }
    };
    Some(text.to_owned())
}

impl From<target::Error> for Error {
    fn from(error: target::Error) -> Error {
        match error {
            target::Error::Net(error) => Error::Net(error),
            target::Error::Refused { address, reply, .. } => Error::Redis { address, reply },
            target::Error::SlotsMissing { address, .. } => {
                Error::Odd(format!("{address} does not know who serves the group's slot"))
            }
            other => Error::Odd(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_judged_by_its_words_also_within_a_scripts_error() {
        let wrapped = "ERR Error running script (call to f_00): @user_script:9: -READONLY You can't write against a read only replica.";
        let denied = "ERR Error running script (call to f_00): @user_script:9: The user executing the script can't run this command or subcommand";
        for (reply, refused) in [
            (
                "READONLY You can't write against a read only replica. script: 00, on @user_script:1.",
                Refused::Passing,
            ),
            (wrapped, Refused::Passing),
            ("LOADING Redis is loading the dataset in memory", Refused::Passing),
            ("CLUSTERDOWN The cluster is down", Refused::Passing),
            ("NOAUTH Authentication required.", Refused::Credentials),
            (
                "WRONGPASS invalid username-password pair or user is disabled.",
                Refused::Credentials,
            ),
            (
                "NOPERM User x has no permissions to run the 'eval' command",
                Refused::Permission,
            ),
            (denied, Refused::Permission),
            ("MOVED 1 127.0.0.1:7000", Refused::IsCluster),
            (
                "ERR This instance has cluster support disabled",
                Refused::IsNoCluster,
            ),
            ("ERR unknown command 'EVAL'", Refused::NoScripts),
            (
                "WRONGTYPE Operation against a key holding the wrong kind of value",
                Refused::OtherKey,
            ),
        ] {
            assert_eq!(Refused::of(reply), refused, "{reply}");
            let error = Error::Redis {
                address: Address {
                    host: "h".into(),
                    port: 1,
                },
                reply: reply.to_owned(),
            };
            assert_eq!(error.needs_a_person(), refused != Refused::Passing, "{reply}");
            assert!(error.hint().is_some() || !error.needs_a_person(), "{reply}");
        }
    }

    #[test]
    fn of_etcds_answers_those_pass_that_are_about_the_moment() {
        for (code, message, denied) in [
            (14, "etcdserver: no leader", false),
            (14, "etcdserver: request timed out", false),
            (8, "etcdserver: mvcc: database space exceeded", false),
            (
                3,
                "etcdserver: authentication failed, invalid user ID or password",
                true,
            ),
            (3, "etcdserver: user name is empty", true),
            (7, "etcdserver: permission denied", true),
            (16, "etcdserver: invalid auth token", true),
        ] {
            assert_eq!(is_denied(code, message), denied, "{message}");
            assert!(!denied || hint_of_etcd(code, message).is_some(), "{message}");
        }
    }
}
