//! A command that belongs to no single slot, carried out when all before it is confirmed.
//!
//! | command | where | when gunyu dies in the midst of it |
//! | --- | --- | --- |
//! | `FUNCTION`, `SCRIPT` | every master | once more on every master, which comes to the same ([`library`]) |
//! | `FLUSHALL`, `FLUSHDB` | every master, that with the session's key last, where it is put back at once | once more; where the checkpoint went with it, a full sync |
//! | `PUBLISH`, scripts without keys | the node with the deployment's own keys | once more |
//! | one that needs something of one slot in another | step by step, each a transaction with its slot's fence ([`super::plan`]) | the steps that are not done |
//!
//! Owns the steps. Leaves to [`super::clerk`] the connections they run on.

use bytes::{Bytes, BytesMut};

use super::fences::Fences;
use super::group::Writer;
use super::plan::{Expiry, Plan, Standing, Step, Undone};
use super::redirect::is_passing;
use super::route::Route;
use super::router::Router;
use crate::core::command::{self, Kind};
use crate::core::net::Address;
use crate::core::position::{Epoch, Offset};
use crate::core::resp::{self, Frame, Framer, Value, said};
use crate::core::target::{Error, checkpoint, library};

/// What is to be done.
#[derive(Debug)]
pub(super) struct Act {
    what: What,
    command: Bytes,
    /// Where the command ends in the stream.
    end: Offset,
}

#[derive(Debug)]
enum What {
    /// On every master; whether it takes the session's key along.
    Everywhere { flushes: bool },
    /// On one master.
    Anywhere,
    /// Step by step; those that are known, and how many are done.
    Plan {
        plan: Plan,
        steps: Option<Vec<Step>>,
        done: usize,
    },
}

/// Who acts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Actor<'a> {
    pub(super) name: &'a str,
    pub(super) token: &'a str,
    pub(super) epoch: Epoch,
    pub(super) writer: Option<&'a Writer>,
    pub(super) fences: &'a Fences,
    pub(super) expiry: Expiry,
}

/// A command, and why it was not carried out.
type Letter = (Bytes, String);

impl Act {
    /// What follows from a command's route, where it is none of single slots.
    pub(super) fn of(route: Route, frame: &Frame<'_>, end: Offset) -> Option<Act> {
        let kind = command::of(frame).kind;
        let flushes = matches!(kind, Kind::Flushall | Kind::Flushdb);
        let (what, command) = match route {
            Route::EveryMaster(command) => (What::Everywhere { flushes }, command),
            Route::AnyMaster => (What::Anywhere, frame.to_bytes()),
            Route::Planned(plan) => {
                let (steps, done) = (None, 0);
                (What::Plan { plan, steps, done }, frame.to_bytes())
            }
            Route::Slot(_) | Route::Split(_) | Route::Refused(_) => return None,
        };
        Some(Act { what, command, end })
    }

    /// Where its command ends in the stream.
    pub(super) fn end(&self) -> Offset {
        self.end
    }

    /// Does it; the words with which it was refused, if it was.
    ///
    /// # Errors
    /// [`Error::Refused`]: it cannot be done now, and may be tried again. Any other: what is done of it is not known.
    pub(super) async fn carry_out(
        &mut self,
        router: &mut Router,
        actor: Actor<'_>,
    ) -> Result<Option<Letter>, Error> {
        match &mut self.what {
            What::Everywhere { flushes } => {
                let flushes = *flushes;
                router.refresh().await?;
                let masters: Vec<Address> = router.map().masters().cloned().collect();
                match flushes {
                    true => flush(router, &masters, &self.command, actor).await,
                    false => on(router, &masters, &self.command).await,
                }
            }
            What::Anywhere => {
                let home = router.home()?;
                on(router, &[home], &self.command).await
            }
            What::Plan { plan, steps, done } => {
                let covered = |slot| actor.fences.covers(slot, self.end);
                let letter = |why: Undone| Ok(Some((self.command.clone(), why.to_string())));
                if steps.is_none() {
                    match plan.standing(covered) {
                        Standing::Done => return Ok(None),
                        Standing::Overtaken => return letter(Undone::Overtaken),
                        Standing::Open => {}
                    }
                    let replies = read(router, plan, actor.expiry).await?;
                    match plan.steps(actor.expiry, &replies) {
                        Ok(planned) => *steps = Some(planned),
                        Err(why) => return letter(why),
                    }
                }
                for step in steps.iter().flatten().skip(*done) {
                    if !covered(step.slot)
                        && let Some(reply) = take(router, step, actor.writer, self.end).await?
                    {
                        // The next step may take away what this one should have brought.
                        return Ok(Some((self.command.clone(), reply)));
                    }
                    *done += 1;
                }
                Ok(None)
            }
        }
    }
}

/// Flushes every master, the one with the session's key last, and there the key is put back in the same transaction: at no moment may anybody find it
/// missing, and with it the epoch.
async fn flush(
    router: &mut Router,
    masters: &[Address],
    flushing: &Bytes,
    actor: Actor<'_>,
) -> Result<Option<Letter>, Error> {
    let key = checkpoint::session_key(actor.name);
    let (token, epoch) = (actor.token.as_bytes().to_vec(), actor.epoch.to_string());
    let seat = router.watch(&key).await?;
    let question = vec![b"HGET".to_vec(), key.to_vec(), token.clone()];
    let asked = router.call_seated(&seat, vec![question]).await?;
    let superseded = || Error::Superseded {
        address: seat.node().clone(),
    };
    match asked.first() {
        None | Some(Value::Nil) => return Err(superseded()),
        Some(Value::Error(text)) => return Err(put_off(seat.node(), said(text))),
        Some(_) => {}
    }
    let mut others = masters.to_vec();
    others.retain(|node| node != seat.node());
    let refused = on(router, &others, flushing).await?;
    let transaction = vec![
        vec![b"MULTI".to_vec()],
        words(flushing),
        vec![b"HSET".to_vec(), key.to_vec(), token, epoch.into_bytes()],
        vec![b"EXEC".to_vec()],
    ];
    let replies = router.call_seated(&seat, transaction).await?;
    let executed = replies.last().and_then(Value::array);
    let error = replies
        .iter()
        .chain(executed.unwrap_or_default())
        .find_map(Value::error);
    match (error.map(said), executed) {
        (Some(text), _) if is_passing(&text, seat.node()) => Err(put_off(seat.node(), text)),
        (Some(text), _) => Ok(Some((flushing.clone(), text))),
        (None, Some(_)) => Ok(refused),
        (None, None) => Err(superseded()),
    }
}

/// The words of a command.
fn words(command: &Bytes) -> Vec<Vec<u8>> {
    let mut framer = Framer::default();
    let pushed = framer.push(Offset::ZERO, command.clone());
    let frame = pushed.ok().and_then(|()| framer.next().ok().flatten());
    frame.map_or(Vec::new(), |frame| {
        (0..frame.arg_count())
            .filter_map(|nth| frame.arg(nth).map(<[u8]>::to_vec))
            .collect()
    })
}

/// Runs a command on these nodes; the last refusal.
async fn on(router: &mut Router, nodes: &[Address], command: &Bytes) -> Result<Option<Letter>, Error> {
    let mut refused = None;
    for node in nodes {
        let reply = router.call_encoded(node, command).await?;
        let Some(text) = reply.error().map(said) else {
            continue;
        };
        if is_passing(&text, node) {
            return Err(put_off(node, text));
        }
        if !is_done(router, node, command).await? {
            refused = Some((command.clone(), text));
        }
    }
    Ok(refused)
}

/// Whether a command that was refused had nothing to do: a library that it should have deleted is not there. The words of the refusal would not tell for sure.
async fn is_done(router: &mut Router, node: &Address, command: &Bytes) -> Result<bool, Error> {
    let Some(name) = deleted_library(command) else {
        return Ok(false);
    };
    match router.call_at(node, &[b"FUNCTION", b"LIST"]).await {
        Ok(list) => Ok(library::names(&list).is_some_and(|known| !known.contains(&&name[..]))),
        Err(Error::Refused { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

fn deleted_library(command: &Bytes) -> Option<Vec<u8>> {
    let mut framer = Framer::default();
    framer.push(Offset::ZERO, command.clone()).ok()?;
    let frame = framer.next().ok()??;
    library::deleted(&frame).map(<[u8]>::to_vec)
}

fn put_off(node: &Address, reply: String) -> Error {
    Error::Refused {
        address: node.clone(),
        command: "a command of several slots".to_owned(),
        reply,
    }
}

/// What the plan must know.
async fn read(router: &mut Router, plan: &Plan, expiry: Expiry) -> Result<Vec<Value>, Error> {
    let replies = router.call_many(plan.reads(expiry)).await?;
    let passing = replies.iter().filter_map(Value::error).map(said);
    match passing
        .into_iter()
        .find(|text| is_passing(text, router.home_address()))
    {
        Some(text) => Err(put_off(router.home_address(), text)),
        None => Ok(replies),
    }
}

/// Takes one step, with the fence of its slot where it has one; the words with which a command of it was refused.
async fn take(
    router: &mut Router,
    step: &Step,
    writer: Option<&Writer>,
    end: Offset,
) -> Result<Option<String>, Error> {
    let mut unit = BytesMut::new();
    resp::encode_command(&mut unit, &[b"MULTI"]);
    let writer = writer.filter(|_| step.fenced);
    if let Some(writer) = writer {
        writer.encode_fence(&mut unit, step.slot, end);
    }
    for command in &step.commands {
        let words: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
        resp::encode_command(&mut unit, &words);
    }
    resp::encode_command(&mut unit, &[b"EXEC"]);
    let count = step.commands.len() + 2 + usize::from(writer.is_some());
    let (node, replies) = router.deliver(step.slot, &unit, count).await?;
    let error = |value: &Value| value.error().map(said);
    if let Some(Value::Array(elements)) = replies.last() {
        return Ok(elements.iter().find_map(error));
    }
    let texts: Vec<String> = replies.iter().filter_map(error).collect();
    match texts.iter().find(|text| is_passing(text, &node)) {
        Some(text) => Err(put_off(&node, text.clone())),
        None => Ok(texts
            .into_iter()
            .next()
            .or_else(|| Some("EXEC answered nil".to_owned()))),
    }
}
