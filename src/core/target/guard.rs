//! Whose a connection is: the question that it asks before it carries data.
//!
//! A session's connections are ended by whoever takes over; one that comes about afterwards is ended by nobody. So each that carries data without watching
//! the session's key asks that key, after it was named and before its first command. Why that is enough stands at the head of [`super::session`].

use bytes::Bytes;

use super::lane::Lane;
use super::{Error, Settings, checkpoint};
use crate::core::net::Address;
use crate::core::resp::Value;
use crate::core::target::cluster::router::Router;

/// The session of which a connection must be.
#[derive(Debug, Clone)]
pub struct Guard {
    session_key: Bytes,
    token: String,
}

impl Guard {
    /// For connections of the session `token` of this deployment.
    #[must_use]
    pub fn new(name: &str, token: &str) -> Guard {
        Guard {
            session_key: checkpoint::session_key(name),
            token: token.to_owned(),
        }
    }

    /// The key that is asked.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.session_key
    }

    /// The question.
    #[must_use]
    pub fn question(&self) -> [&[u8]; 3] {
        [b"HGET", &self.session_key, self.token.as_bytes()]
    }

    /// What the answer of `node` says: an error where another session has taken over.
    ///
    /// # Errors
    /// [`Error::Superseded`].
    pub fn judge(&self, node: &Address, answer: &Value) -> Result<(), Error> {
        match answer {
            Value::Nil => Err(Error::Superseded {
                address: node.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Asks on the lane itself: its node is the whole target.
    ///
    /// # Errors
    /// The connection fails, or another session has taken over.
    pub async fn ask_on(&self, lane: &mut Lane) -> Result<(), Error> {
        let answer = lane.call(&self.question()).await?;
        self.judge(lane.address(), &answer)
    }

    /// Asks the node of a cluster that serves the key, on a connection of its own, for a lane that is open and named already.
    ///
    /// # Errors
    /// The node cannot be asked, or another session has taken over.
    pub async fn ask_home(&self, settings: &Settings, client_name: &str) -> Result<(), Error> {
        let mut router = Router::open(settings, client_name, self.key()).await?;
        let answer = router.call(&self.question()).await?;
        self.judge(router.home_address(), &answer)
    }
}
