//! What is done beside the stream's lanes, on connections of its own: marks and checkpoints, looking who serves which slot, and groups whose slot is on its
//! way.
//!
//! Promises that a checkpoint is written only when its marks are on every node that serves slots, and that groups of a slot that is on its way go out one after the
//! other, each command to where its key is. Leaves it to [`super::fenced`] what is asked, and when.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::act::{Act, Actor};
use super::fences::{self, Fences};
use super::group::{Fate, Group, Refused, Writer};
use super::map::SlotMap;
use super::plan::Expiry;
use super::redirect::is_passing;
use super::router::Router;
use crate::core::crash::{self, Step};
use crate::core::net::{self, Address};
use crate::core::position::{Epoch, Offset};
use crate::core::resp::{Value, said};
use crate::core::target::checkpoint::{self, Checkpoint, Record};
use crate::core::target::guard::Guard;
use crate::core::target::lane::Wire;
use crate::core::target::session::now_ms;
use crate::core::target::{Error, Settings};

/// A slot that is on its way must not hold up the others: its group goes out again later.
const PATIENCE: Duration = Duration::from_secs(1);

/// A node that is frozen must not keep us from hearing who has taken its place; where all are slow, the next try may take twice as long. Marks and
/// checkpoint that come late are older ones, which is harmless: a restart begins there, and fences say what it skips.
const RECORD_LIMIT: Duration = Duration::from_secs(3);

/// After an errand that could not be done, so that trying again does not wear anybody out.
const PAUSE: Duration = Duration::from_millis(100);

/// A checkpoint to be recorded.
#[derive(Debug)]
pub(super) struct Recording {
    /// As it is to stand there; the marks' slots are put in when they are known.
    pub(super) record: Record,
    pub(super) checkpoint: Checkpoint,
    /// The masters on which all before it is confirmed.
    pub(super) masters: Vec<Address>,
    /// The target's command for several fields of a hash.
    pub(super) verb: &'static [u8],
}

/// What a clerk is asked to do.
#[derive(Debug)]
pub(super) enum Errand {
    /// Ask who serves which slot.
    Look,
    /// Write marks, then the checkpoint.
    Record(Box<Recording>),
    /// Deliver a group whose slot is on its way.
    Deliver(Group),
    /// Carry out a command of that batch that belongs to no single slot.
    Act(u64, Box<Act>),
}

/// What has come of it.
#[derive(Debug)]
pub(super) enum Done {
    /// This is who serves which slot.
    Map(SlotMap),
    /// The checkpoint stands on the target, with these marks.
    Recorded(Checkpoint, Vec<u16>),
    /// Another session has taken over.
    Superseded,
    /// What became of the group; it was asked for at this node last.
    Delivered(Group, Fate),
    /// The batch's command without a slot is done, or was refused with these words.
    Acted(u64, Offset, Option<(Bytes, String)>),
    /// It could not be done now, and is given back.
    Failed(Error, Errand),
}

/// For whom a clerk runs errands.
#[derive(Debug, Clone)]
pub(super) struct Employer {
    pub(super) settings: Settings,
    /// The token of the session that may write.
    pub(super) token: String,
    /// That of its lease.
    pub(super) epoch: Epoch,
    pub(super) writer: Option<Writer>,
    pub(super) fences: Arc<Fences>,
    pub(super) expiry: Expiry,
}

/// Runs errands one after the other until nobody listens.
pub(super) async fn run(
    employer: Employer,
    client_name: String,
    mut errands: mpsc::UnboundedReceiver<Errand>,
    done: mpsc::UnboundedSender<Done>,
) {
    let mut clerk = Clerk {
        employer,
        client_name,
        router: None,
        record_limit: RECORD_LIMIT,
    };
    while let Some(mut errand) = errands.recv().await {
        let one = match clerk.carry_out(&mut errand).await {
            Ok(done) => done,
            Err(error) => {
                // What is left of its connections is not trusted.
                clerk.router = None;
                tokio::time::sleep(PAUSE).await;
                Done::Failed(error, errand)
            }
        };
        if done.send(one).is_err() {
            return;
        }
    }
}

struct Clerk {
    employer: Employer,
    client_name: String,
    router: Option<Router>,
    /// A checkpoint may take so long.
    record_limit: Duration,
}

impl Clerk {
    async fn router(&mut self) -> Result<&mut Router, Error> {
        if self.router.is_none() {
            let home = checkpoint::key(&self.employer.settings.name);
            let router = Router::open(&self.employer.settings, &self.client_name, &home).await?;
            let guard = Guard::new(&self.employer.settings.name, &self.employer.token);
            self.router = Some(router.with_patience(PATIENCE).with_guard(Some(guard)));
        }
        Ok(self.router.as_mut().expect("it was there or has been put there"))
    }

    async fn carry_out(&mut self, errand: &mut Errand) -> Result<Done, Error> {
        self.router().await?;
        let Clerk {
            employer,
            router,
            record_limit,
            ..
        } = self;
        let router = router.as_mut().expect("it has just been opened");
        match errand {
            Errand::Look => {
                router.refresh().await?;
                Ok(Done::Map(router.map().clone()))
            }
            Errand::Record(recording) => {
                let recorded = record(router, &employer.settings.name, &employer.token, recording);
                let limit = *record_limit;
                if let Ok(done) = timeout(limit, recorded).await {
                    *record_limit = RECORD_LIMIT;
                    return done;
                }
                *record_limit = (limit * 2).min(employer.settings.reply_limit.max(RECORD_LIMIT));
                Err(Error::Net(net::Error::Silent {
                    address: employer.settings.endpoint.address.clone(),
                    doing: "a checkpoint was being recorded",
                    limit,
                }))
            }
            Errand::Deliver(group) => {
                let fate = deliver(router, employer.writer.as_ref(), group).await?;
                Ok(Done::Delivered(group.take(), fate))
            }
            Errand::Act(number, act) => {
                let actor = Actor {
                    name: &employer.settings.name,
                    token: &employer.token,
                    epoch: employer.epoch,
                    writer: employer.writer.as_ref(),
                    fences: &employer.fences,
                    expiry: employer.expiry,
                };
                Ok(Done::Acted(
                    *number,
                    act.end(),
                    act.carry_out(router, actor).await?,
                ))
            }
        }
    }
}

/// Marks first, one in a slot of every node, then the checkpoint, which names them.
async fn record(
    router: &mut Router,
    name: &str,
    token: &str,
    recording: &mut Recording,
) -> Result<Done, Error> {
    let at = recording.checkpoint;
    let mark = fences::mark(recording.record.lineage, at.position.offset, at.db);
    // Where connections cannot be ended, this is how an older session hears of a newer one: before it leaves anything.
    match router.still_ours().await {
        Err(Error::Superseded { .. }) => return Ok(Done::Superseded),
        asked => asked?,
    }
    let marks = fences::leave(router, name, &mark, Some(&recording.masters)).await?;
    crash::pass(Step::MarksLeft);
    recording.record.checkpoint = Some(at);
    recording.record.marks.clone_from(&marks);
    let (key, session) = (checkpoint::key(name), checkpoint::session_key(name));
    let command = recording.record.command(recording.verb, &key, now_ms());
    loop {
        let seat = router.watch(&session).await?;
        let question = vec![b"HGET".to_vec(), session.to_vec(), token.as_bytes().to_vec()];
        let asked = router.call_seated(&seat, vec![question]).await?;
        none_refused(router, "HGET", &asked)?;
        if asked.first() == Some(&Value::Nil) {
            return Ok(Done::Superseded);
        }
        let unit = vec![vec![b"MULTI".to_vec()], command.clone(), vec![b"EXEC".to_vec()]];
        let replies = router.call_seated(&seat, unit).await?;
        none_refused(router, "EXEC", &replies)?;
        // Nil: the key has changed, which a flush in the stream does too.
        if replies.last() != Some(&Value::Nil) {
            crash::pass(Step::MarksRecorded);
            return Ok(Done::Recorded(at, marks));
        }
    }
}

fn none_refused(router: &Router, command: &str, replies: &[Value]) -> Result<(), Error> {
    let elements = replies.last().and_then(Value::array).unwrap_or_default();
    match replies.iter().chain(elements).find_map(Value::error) {
        Some(text) => Err(Error::Refused {
            address: router.home_address().clone(),
            command: command.to_owned(),
            reply: said(text),
        }),
        None => Ok(()),
    }
}

/// A transaction goes as one, other commands one by one: where the slot is half here and half there, each finds its key.
async fn deliver(router: &mut Router, writer: Option<&Writer>, group: &Group) -> Result<Fate, Error> {
    if !group.is_whole() {
        return one_by_one(router, group).await;
    }
    let mut wire = Wire::default();
    let count = group.encode(writer, &mut wire);
    let bytes = wire.into_slices().concat();
    let (node, replies) = router.deliver(group.slot, &bytes, count).await?;
    let ours = count - 2 - group.commands();
    let error = |reply: &Value| reply.error().map(said);
    let Some(Value::Array(elements)) = replies.last() else {
        let texts: Vec<Option<String>> = replies.iter().map(error).collect();
        return Ok(refused_whole(&texts, ours, &node));
    };
    let failed = elements.iter().enumerate().skip(ours);
    let failed = failed.filter_map(|(at, one)| {
        Some(Refused {
            nth: at - ours,
            reply: error(one)?,
        })
    });
    Ok(Fate::Applied(failed.collect()))
}

/// A transaction that was not executed: put off, or refused for the sake of some of its commands.
fn refused_whole(texts: &[Option<String>], ours: usize, node: &Address) -> Fate {
    let last = texts.last().cloned().flatten().unwrap_or_default();
    for reply in texts.iter().flatten() {
        if is_passing(reply, node) {
            return Fate::Later(reply.clone());
        }
    }
    let commands = texts.iter().enumerate().skip(1 + ours);
    let refused: Vec<Refused> = commands
        .take(texts.len().saturating_sub(2 + ours))
        .filter_map(|(at, reply)| {
            Some(Refused {
                nth: at - 1 - ours,
                reply: reply.clone()?,
            })
        })
        .collect();
    match refused.is_empty() {
        true => Fate::Later(last),
        false => Fate::Rejected(refused),
    }
}

async fn one_by_one(router: &mut Router, group: &Group) -> Result<Fate, Error> {
    let mut refused = Vec::new();
    for (nth, command) in group.each().into_iter().enumerate() {
        let (node, replies) = router.deliver(group.slot, &command, 1).await?;
        let Some(reply) = replies.first().and_then(Value::error).map(said) else {
            continue;
        };
        if is_passing(&reply, &node) {
            return Ok(Fate::Later(reply));
        }
        refused.push(Refused { nth, reply });
    }
    Ok(Fate::Applied(refused))
}
