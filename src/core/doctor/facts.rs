//! What was learned of a server, as plain values.
//!
//! A fact that could not be learned is none: whoever reads it decides what that means.

use super::info::{Closed, Config, Info, Version};
use super::rights::Rights;
use crate::core::net::{Address, Endpoint};
use crate::core::topology::nodes;

/// Why something could not be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

/// What the servers of a side are, and how they were found.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Each server that is part of it, in order.
    pub(super) nodes: Vec<Node>,
    /// The sentinels.
    pub(super) sentinels: Vec<Node>,
    /// Why it is not known which servers there are.
    pub(super) lost: Option<Trouble>,
    /// The cluster, as one of them sees it.
    pub(super) cluster: Option<View>,
}

impl Seen {
    /// The servers that have answered.
    pub(super) fn heard(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.trouble.is_none())
    }
}

/// A cluster, as one node sees it.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    /// Whom we asked.
    pub(super) asked: String,
    /// `cluster_state`, where that may be asked.
    pub(super) state: Option<String>,
    /// Of how many slots it knows who serves them.
    pub(super) served: u64,
    /// Its nodes; none where `CLUSTER NODES` may not be asked.
    pub(super) nodes: Vec<nodes::Node>,
    /// The masters that serve slots, at the addresses that it gives them.
    pub(super) serving: Vec<Address>,
}

/// A server.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) endpoint: Endpoint,
    /// How we know of it.
    pub(super) origin: Origin,
    /// Why it could not be asked at all.
    pub(super) trouble: Option<Trouble>,
    /// What it says of itself; none where `INFO` may not be asked.
    pub(super) info: Option<Info>,
    /// Why `INFO` may not be asked.
    pub(super) info_closed: Option<Closed>,
    /// The values of its configuration that may be asked.
    pub(super) config: Config,
    /// How fast it is written to.
    pub(super) rate: Option<Rate>,
    /// Its clock, less this machine's, in milliseconds.
    pub(super) clock_ms: Option<f64>,
    /// What the user may do there.
    pub(super) rights: Option<Rights>,
    /// When its certificate ends, as Unix time.
    pub(super) certificate_ends: Option<i64>,
}

/// How fast a server is written to, in bytes a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rate {
    /// So fast its replication stream grows.
    Stream(f64),
    /// So much its clients send: where no replica has ever come there is no stream, and a part of it are reads.
    Clients(f64),
}

impl Rate {
    pub(super) const fn bytes(self) -> f64 {
        match self {
            Rate::Stream(bytes) | Rate::Clients(bytes) => bytes,
        }
    }
}

/// How we know of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The configuration names it.
    Configured,
    /// The cluster, or the sentinels, name it.
    Announced,
    /// The cluster names it, and it serves no slots.
    Replica,
}

impl Node {
    pub(super) fn new(endpoint: Endpoint, origin: Origin) -> Node {
        Node {
            endpoint,
            origin,
            trouble: None,
            info: None,
            info_closed: None,
            config: Config::default(),
            rate: None,
            clock_ms: None,
            rights: None,
            certificate_ends: None,
        }
    }

    /// Whether its data is that of another node that is looked at, too.
    pub(super) fn is_copy(&self) -> bool {
        self.origin == Origin::Replica
    }

    pub(super) fn address(&self) -> &Address {
        &self.endpoint.address
    }

    /// A field of its `INFO`.
    pub(super) fn info(&self, name: &str) -> Option<&str> {
        self.info.as_ref()?.text(name)
    }

    /// The same, as a number.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.info(name)?.parse().ok()
    }

    pub(super) fn version(&self) -> Option<Version> {
        self.info.as_ref()?.version()
    }

    /// So much may be in memory, 0 for no limit: old servers tell it in their configuration alone.
    pub(super) fn maxmemory(&self) -> Option<u64> {
        self.number("maxmemory")
            .or_else(|| self.config.number("maxmemory"))
    }

    /// What becomes of more than that.
    pub(super) fn maxmemory_policy(&self) -> Option<&str> {
        self.info("maxmemory_policy")
            .or_else(|| self.config.text("maxmemory-policy"))
    }

    /// Whether it is a sentinel: it says neither what a server holds nor whether it is in a cluster.
    pub(super) fn is_sentinel(&self) -> bool {
        self.info("redis_mode") == Some("sentinel")
    }

    /// As whom we come.
    pub(super) fn user(&self) -> &str {
        match self.endpoint.credentials.user.as_str() {
            "" => "default",
            user => user,
        }
    }
}
