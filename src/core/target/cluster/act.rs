//! A command that belongs to no single slot, carried out when all before it is confirmed.
//!
//! | command | where | when gunyu dies in the midst of it |
//! | --- | --- | --- |
//! | `FUNCTION`, `SCRIPT` | every master | once more on every master |
//! | `FLUSHALL`, `FLUSHDB` | every master, and the session's key is put back | once more; where the checkpoint went with it, a full sync |
//! | `PUBLISH`, scripts without keys | the node with the deployment's own keys | once more |
//!
//! Owns the steps. Leaves to [`super::clerk`] the connections they run on.

use bytes::Bytes;

use super::route::Route;
use super::router::Router;
use crate::core::command::{self, Kind};
use crate::core::net::Address;
use crate::core::resp::{Frame, said};
use crate::core::target::Error;
use crate::core::target::checkpoint;
use crate::core::target::refusal;

/// What is to be done.
#[derive(Debug)]
pub(super) struct Act {
    place: Place,
    command: Bytes,
    /// It takes the session's key along.
    flushes: bool,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Every,
    Any,
}

/// Who acts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Actor<'a> {
    pub(super) name: &'a str,
    pub(super) token: &'a str,
}

impl Act {
    /// What follows from a command's route, where it is none of single slots.
    pub(super) fn of(route: &Route, frame: &Frame<'_>) -> Option<Act> {
        let place = match route {
            Route::EveryMaster => Place::Every,
            Route::AnyMaster => Place::Any,
            _ => return None,
        };
        let kind = command::of(frame).kind;
        Some(Act {
            place,
            command: frame.to_bytes(),
            flushes: matches!(kind, Kind::Flushall | Kind::Flushdb),
        })
    }

    /// Does it; the words with which it was refused, if it was.
    ///
    /// # Errors
    /// It cannot be done now: it may be done in part.
    pub(super) async fn carry_out(
        &self,
        router: &mut Router,
        actor: Actor<'_>,
    ) -> Result<Option<(Bytes, String)>, Error> {
        let nodes: Vec<Address> = match self.place {
            Place::Every => {
                router.refresh().await?;
                router.map().masters().cloned().collect()
            }
            Place::Any => vec![router.home()?],
        };
        let mut refused = None;
        for node in nodes {
            let reply = router.call_encoded(&node, &self.command).await?;
            let Some(text) = reply.error().map(said) else {
                continue;
            };
            if refusal::Kind::of(&text).may_be_repeated() {
                return Err(Error::Refused {
                    address: node,
                    command: "a command for every node".to_owned(),
                    reply: text,
                });
            }
            refused = Some((self.command.clone(), text));
        }
        if self.flushes {
            let key = checkpoint::session_key(actor.name);
            router
                .call(&[b"HSET", &key, actor.token.as_bytes(), b"1"])
                .await?;
        }
        Ok(refused)
    }
}
