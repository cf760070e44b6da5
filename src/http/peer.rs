//! What members of a group ask each other for, on plain values: no warp here.
//!
//! | parameter of `GET /peer/log` | meaning |
//! | --- | --- |
//! | `input` | the pipeline's name, the same on all members |
//! | `replid`, `offset` | where the follower's log ends; both or neither |
//! | `snapshot` | `no`: it can keep none; or the offset of the whole one that it has |
//!
//! | answer | when |
//! | --- | --- |
//! | 200 | the log, in the frames of `core::peer::wire`, without end |
//! | 400, 404 | the question makes no sense; there is no such input |
//! | 409 | the follower is ahead |
//! | 503 | there is nothing to follow yet: to be asked again |

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::watch;

use super::Api;
use super::error::Failure;
use super::handlers::Query;
use crate::core::log;
use crate::core::peer::{Ask, Refused};
use crate::core::position::{Offset, Position, ReplId};

/// The log of an input, until `stop`.
///
/// # Errors
/// It is refused, by the table of this room.
pub fn log(
    query: &Query,
    api: &Api,
    stop: watch::Receiver<bool>,
) -> Result<impl Stream<Item = Result<Bytes, log::Error>> + Send + use<>, Failure> {
    let ask = ask(query).ok_or_else(|| {
        let hint = "input=NAME, replid=ID and offset=N or neither, snapshot=no or N";
        Failure::new(400, "the query cannot be read", hint)
    })?;
    let name = query.get("input").map_or("", String::as_str);
    let input = api.handle.input_named(name).ok_or_else(|| {
        Failure::new(
            404,
            format!("there is no input {name:?} here"),
            "all members of a group need the same configuration",
        )
    })?;
    input.serve(&ask, stop).map_err(|refused| {
        let (code, hint) = match &refused {
            Refused::Ahead { .. } => (409, "the one with more data should lead"),
            Refused::NotYet { .. } => (503, "try again in a moment"),
        };
        Failure::new(code, refused.to_string(), hint)
    })
}

/// What the query asks for; nothing where it makes no sense.
#[must_use]
pub fn ask(query: &Query) -> Option<Ask> {
    let number = |text: &String| text.parse().ok().map(Offset::new);
    let end = match (query.get("replid"), query.get("offset")) {
        (None, None) => None,
        (Some(id), Some(offset)) => Some(Position {
            id: ReplId::parse(id.as_bytes()).ok()?,
            offset: number(offset)?,
        }),
        (Some(_), None) | (None, Some(_)) => return None,
    };
    let (snapshot, is_without_snapshots) = match query.get("snapshot") {
        None => (None, false),
        Some(no) if no == "no" => (None, true),
        Some(offset) => (Some(number(offset)?), false),
    };
    Some(Ask {
        end,
        snapshot,
        is_without_snapshots,
    })
}
