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
use serde_json::json;
use tokio::sync::watch;

use super::Api;
use super::calls::PeerCall;
use super::error::Failure;
use super::handlers::{Answer, Query};
use super::model::{FullSyncsBegun, InputStatus};
use crate::core::log;
use crate::core::peer::{Ask, Refused};
use crate::core::position::{Offset, Position, ReplId};
use crate::core::supervisor::Input;
use crate::core::supervisor::group::{Membership, NotHanded};

/// Carries out a call that has an answer of its own.
///
/// # Errors
/// It is refused, or fails.
pub async fn answer(call: PeerCall, query: &Query, api: &Api) -> Result<Answer, Failure> {
    let group = group(api)?;
    if call == PeerCall::Look {
        group.has_looked().await;
        return Ok(Answer::done());
    }
    let input = input(query, api)?;
    match call {
        PeerCall::Look | PeerCall::Log => Ok(Answer::done()),
        PeerCall::Fit => {
            let reaches = input.reaches_both().await;
            let why = reaches.as_ref().err();
            Ok(Answer::json(&json!({ "fit": reaches.is_ok(), "why": why })))
        }
        PeerCall::Status => Ok(Answer::json(&InputStatus::of(&input))),
        PeerCall::Handover => {
            let is_hard = query.get("hard").is_some_and(|hard| hard == "yes");
            let to = query.get("to").map(String::as_str);
            let handed = group.hand_over(input.name(), to, is_hard).await;
            let leader = handed.map_err(|why| not_handed(&why))?;
            Ok(Answer::json(&json!({ "ok": true, "leader": leader })))
        }
        PeerCall::FullSync => {
            leads(&input)?;
            let begun = api.handle.full_sync_here(&[input], None).await?;
            Ok(Answer::json(&FullSyncsBegun {
                ok: true,
                started: begun.begun,
                joined: begun.joined,
            }))
        }
        PeerCall::Resume => {
            leads(&input)?;
            api.handle.resume_here(input).await?;
            Ok(Answer::done())
        }
        PeerCall::Entangle => {
            leads(&input)?;
            api.handle.begin_entangled(input.name());
            Ok(Answer::done())
        }
    }
}

fn group(api: &Api) -> Result<&Membership, Failure> {
    let hint = "set cluster.groupName on all members";
    let alone = || Failure::new(404, "this gunyu is a member of no group", hint);
    api.handle.group().ok_or_else(alone)
}

fn input(query: &Query, api: &Api) -> Result<Input, Failure> {
    let name = query.get("input").map_or("", String::as_str);
    api.handle.input_named(name).ok_or_else(|| {
        Failure::new(
            404,
            format!("there is no input {name:?} here"),
            "all members of a group need the same configuration",
        )
    })
}

fn leads(input: &Input) -> Result<(), Failure> {
    match input.is_led() {
        true => Ok(()),
        false => Err(not_handed(&NotHanded::NotOurs)),
    }
}

fn not_handed(why: &NotHanded) -> Failure {
    let hint = "gunyu status shows who leads and who follows";
    Failure::new(409, why.to_string(), hint)
}

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
    group(api)?;
    input(query, api)?.serve(&ask, stop).map_err(|refused| {
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
    let number = |text: &String| Offset::parse(text);
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
