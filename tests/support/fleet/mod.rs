//! Many servers that are one, and what can happen to them: clusters with replicas, a master with sentinels, writers that
//! find their way through all of it, and the comparison of any such [`Shape`] with any other.
//!
//! - [`Fleet`]: a cluster with replicas. Its events: failovers, crashes, resharding, shards that come and go.
//! - [`Watched`]: a master with replicas and sentinels.
//! - [`client`]: finds the server of a key, wherever it has gone. [`load`]: writes without a break.
//! - [`equal`]: whether two shapes hold the same. [`script`]: events in seeded order while writers run.
//!
//! A cluster of masters only, without events, is [`super::Cluster`].

pub mod client;
mod cluster;
pub mod equal;
mod failover;
pub mod load;
mod reshard;
pub mod script;
mod sentinel;
pub mod slot;
mod view;

use std::time::Duration;

use super::server::Server;
use client::{Client, Plain, Routed};

pub use cluster::{Fleet, Layout, Shard, seen_by};
pub use equal::{assert_equal, differences, wait_equal};
pub use load::{Load, Rate};
pub use script::{Change, Changing, Event, Script};
pub use sentinel::{NAME, Sentinel, Watched};
pub use view::Seen;

/// A failover takes the node timeout, an election, and whatever a busy machine adds.
pub const LONG: Duration = Duration::from_secs(90);

/// One or many servers that hold one set of keys, in database 0.
pub trait Shape {
    /// What gunyu is told to follow or to write to.
    fn url(&self) -> String;

    /// Who serves keys just now.
    fn masters(&self) -> Vec<&Server>;

    /// A client that finds the server of each key.
    fn client(&self) -> Box<dyn Client>;
}

impl Shape for Server {
    fn url(&self) -> String {
        Server::url(self)
    }

    fn masters(&self) -> Vec<&Server> {
        vec![self]
    }

    fn client(&self) -> Box<dyn Client> {
        Box::new(Plain::at(&self.addr()))
    }
}

impl Shape for super::Cluster {
    fn url(&self) -> String {
        super::Cluster::url(self)
    }

    fn masters(&self) -> Vec<&Server> {
        self.masters.iter().collect()
    }

    fn client(&self) -> Box<dyn Client> {
        Box::new(Routed::with_seeds(
            self.masters.iter().map(Server::addr).collect(),
        ))
    }
}
