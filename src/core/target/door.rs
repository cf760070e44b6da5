//! Control commands to a target, whatever its shape: to the one node, or to the node of a cluster that serves the key.
//!
//! Owns nothing but the choice. Whoever asks something of a target asks here, and need not know whether it is a cluster.

use bytes::Bytes;

use super::cluster::map::SlotMap;
use super::cluster::router::{self, Router};
use super::guard::Guard;
use super::lane::Lane;
use super::{Error, Settings, Shape};
use crate::core::net::Address;
use crate::core::resp::{Event, Value};

/// Where a key is watched.
#[derive(Debug, Clone)]
pub struct Seat(Option<router::Seat>);

/// The way to a target.
#[derive(Debug)]
pub enum Door {
    /// One node.
    One(Box<Lane>),
    /// A cluster's nodes.
    Cluster(Box<Router>),
}

impl Door {
    /// Connects; on a cluster, first to the node that serves the key `home`, where commands without a key go.
    ///
    /// # Errors
    /// The target cannot be reached, or refuses us.
    pub async fn open(settings: &Settings, client_name: &str, home: &[u8]) -> Result<Door, Error> {
        match settings.shape {
            Shape::One => Ok(Door::One(Box::new(Lane::open(settings, client_name).await?))),
            Shape::Cluster { .. } => {
                let router = Router::open(settings, client_name, home).await?;
                Ok(Door::Cluster(Box::new(router)))
            }
        }
    }

    /// Sends one command and waits for its reply.
    ///
    /// # Errors
    /// The connection fails, or the reply is an error.
    pub async fn call(&mut self, args: &[&[u8]]) -> Result<Value, Error> {
        match self {
            Door::One(lane) => lane.call(args).await,
            Door::Cluster(router) => router.call(args).await,
        }
    }

    /// Sends commands together and waits for all their replies; an error reply is a value among them.
    ///
    /// # Errors
    /// The connection fails.
    pub async fn call_many(
        &mut self,
        commands: impl IntoIterator<Item = Vec<Vec<u8>>>,
    ) -> Result<Vec<Value>, Error> {
        match self {
            Door::One(lane) => lane.call_many(commands).await,
            Door::Cluster(router) => router.call_many(commands).await,
        }
    }

    /// Watches a key.
    ///
    /// # Errors
    /// As [`Door::call`].
    pub async fn watch(&mut self, key: &[u8]) -> Result<Seat, Error> {
        match self {
            Door::One(lane) => {
                lane.call(&[b"WATCH", key]).await?;
                Ok(Seat(None))
            }
            Door::Cluster(router) => Ok(Seat(Some(router.watch(key).await?))),
        }
    }

    /// Sends commands, or one transaction, on the connection on which the key is watched. All replies; nothing is sent on.
    ///
    /// # Errors
    /// The connection fails, or has failed since.
    pub async fn call_seated(
        &mut self,
        seat: &Seat,
        commands: Vec<Vec<Vec<u8>>>,
    ) -> Result<Vec<Value>, Error> {
        match (self, &seat.0) {
            (Door::Cluster(router), Some(seat)) => router.call_seated(seat, commands).await,
            (door, _) => door.call_many(commands).await,
        }
    }

    /// From now on, connections that carry data must be of that session. Of one node there is but one, which is watching.
    pub fn set_guard(&mut self, guard: Guard) {
        if let Door::Cluster(router) = self {
            router.set_guard(guard);
        }
    }

    /// Every node that takes writes.
    #[must_use]
    pub fn masters(&self) -> Vec<Address> {
        match self {
            Door::One(lane) => vec![lane.address().clone()],
            Door::Cluster(router) => router.map().masters().cloned().collect(),
        }
    }

    /// Sends one command to one of [`Door::masters`] and waits for its reply.
    ///
    /// # Errors
    /// As [`Door::call`].
    pub async fn call_at(&mut self, node: &Address, args: &[&[u8]]) -> Result<Value, Error> {
        match self {
            Door::One(lane) => lane.call(args).await,
            Door::Cluster(router) => router.call_at(node, args).await,
        }
    }

    /// The router, where the target is a cluster.
    pub fn router(&mut self) -> Option<&mut Router> {
        match self {
            Door::One(_) => None,
            Door::Cluster(router) => Some(router),
        }
    }

    /// Who serves which slot, where the target is a cluster.
    #[must_use]
    pub fn map(&self) -> Option<&SlotMap> {
        match self {
            Door::One(_) => None,
            Door::Cluster(router) => Some(router.map()),
        }
    }

    /// The one node, or the one where the deployment's own keys are.
    #[must_use]
    pub fn address(&self) -> &Address {
        match self {
            Door::One(lane) => lane.address(),
            Door::Cluster(router) => router.home_address(),
        }
    }

    /// Puts pieces on the wire to the one node, or to where the deployment's own keys are. Not cancel safe.
    ///
    /// # Errors
    /// The connection fails.
    pub async fn send(&mut self, pieces: impl IntoIterator<Item = Bytes>) -> Result<(), Error> {
        match self {
            Door::One(lane) => lane.send(pieces).await,
            Door::Cluster(router) => router.home_lane().await?.send(pieces).await,
        }
    }

    /// Waits for replies from there, as [`Lane::replies`]. Cancel safe.
    ///
    /// # Errors
    /// The connection fails.
    pub async fn replies(&mut self, waiting: bool, on: impl FnMut(Event<'_>)) -> Result<(), Error> {
        match self {
            Door::One(lane) => lane.replies(waiting, on).await,
            Door::Cluster(router) => router.home_lane().await?.replies(waiting, on).await,
        }
    }
}
