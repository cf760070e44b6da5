//! The connection to the group's Redis, which is made anew as often as it must.
//!
//! Promises an answer or an error within the limit, whatever the server does; that no connection is used again on which something went wrong; and that where one
//! node of a cluster is silent, the next question begins with another.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::Settings;
use crate::core::lease::Error;
use crate::core::net::{self, Endpoint};
use crate::core::resp::Value;
use crate::core::target::cluster::known::Known;
use crate::core::target::cluster::router::Router;
use crate::core::target::door::Door;
use crate::core::target::lane::Lane;
use crate::core::target::{self, Shape};
use crate::core::topology::Trouble;

/// By what others know our connection. Not as those of a session on a target are called, which the next session ends.
const CLIENT_NAME: &str = "gunyu-lease";

#[derive(Debug)]
pub(super) struct Link {
    settings: Settings,
    limit: Duration,
    /// The key whose node commands without a key go to.
    home: Vec<u8>,
    open: Option<Open>,
    /// Which of a cluster's nodes is asked first, counted on at each failure.
    turn: usize,
}

#[derive(Debug)]
struct Open {
    to: Endpoint,
    door: Door,
}

impl Link {
    pub(super) fn new(settings: Settings, limit: Duration, home: Vec<u8>) -> Link {
        Link {
            settings,
            limit,
            home,
            open: None,
            turn: 0,
        }
    }

    /// Sends one command and waits for its reply. It may reach the server twice.
    pub(super) async fn call(&mut self, args: &[&[u8]]) -> Result<Value, Error> {
        let until = Instant::now() + self.limit;
        let is_kept = self.open.is_some();
        match self.try_call(args, until).await {
            // One that was idle may have been closed long ago.
            Err(Error::Net(error)) if is_kept && is_broken(&error) => self.try_call(args, until).await,
            other => other,
        }
    }

    async fn try_call(&mut self, args: &[&[u8]], until: Instant) -> Result<Value, Error> {
        let called = timeout_at(until, self.called(args)).await;
        let called = called.unwrap_or(Err(Error::Silent(self.limit)));
        if called.is_err() {
            // What it may still have to answer would be taken for the answer to something else.
            self.open = None;
            self.turn += 1;
            self.settings.place.doubt();
        }
        called
    }

    async fn called(&mut self, args: &[&[u8]]) -> Result<Value, Error> {
        let to = self.settings.place.now().ok_or_else(|| self.nowhere())?;
        // Taken out, so that a wait that is dropped leaves no connection behind.
        let mut open = match self.open.take() {
            Some(open) if open.to == to => open,
            _ => Open {
                door: self.opened(&to).await?,
                to,
            },
        };
        let answer = open.door.call(args).await?;
        self.open = Some(open);
        Ok(answer)
    }

    fn nowhere(&self) -> Error {
        let trouble = self.settings.place.trouble();
        Error::Nowhere(trouble.unwrap_or_else(|| Trouble {
            message: "nobody has said yet where it is".to_owned(),
            hint: None,
            needs_a_person: false,
        }))
    }

    async fn opened(&mut self, to: &Endpoint) -> Result<Door, Error> {
        let settings = target::Settings {
            endpoint: to.clone(),
            shape: Shape::One,
            name: CLIENT_NAME.to_owned(),
            reply_limit: self.limit,
        };
        let Shape::Cluster { seeds, known } = &self.settings.shape else {
            return Ok(Door::One(Box::new(Lane::open(&settings, CLIENT_NAME).await?)));
        };
        let mut nodes = known.nodes();
        nodes.extend([&to.address].into_iter().chain(seeds).cloned());
        let first = self.turn % nodes.len();
        nodes.rotate_left(first);
        let seen = Known::default();
        let settings = target::Settings {
            endpoint: to.at(nodes.remove(0)),
            shape: Shape::Cluster {
                seeds: nodes,
                known: seen.clone(),
            },
            ..settings
        };
        let router = Router::open(&settings, CLIENT_NAME, &self.home).await?;
        known.saw(seen.nodes());
        // Where nobody serves the slot, that is the answer rather than silence.
        Ok(Door::Cluster(Box::new(router.with_patience(self.limit / 2))))
    }
}

fn is_broken(error: &net::Error) -> bool {
    matches!(error, net::Error::Lost { .. } | net::Error::Mute { .. })
}
