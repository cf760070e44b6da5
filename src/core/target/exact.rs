//! Exactly once: every batch is a transaction that carries its checkpoint.
//!
//! ```text
//! MULTI
//! HSET checkpoint replid .. offset .. db ..     first, so that a reader of the target's stream knows our transactions
//! [SELECT db]                                   where the first command is not for database 0
//! the commands as they came, any number of databases; where they flush or swap databases, the checkpoint anew
//! EXEC
//! [SELECT 0]                                    back to where the session's keys are
//! WATCH session
//! HGET session token                            nil: the session is not ours any more
//! ```
//!
//! One batch is under way at a time: were a second one sent behind a batch that is then refused (`OOM`, say), it might be
//! taken when the reason has passed in between, and its checkpoint would pass data that is not there. While a batch is under way the next one fills,
//! so that a busy link sends large batches and an idle one waits for nothing.
//!
//! Owns what is put on the wire and what the replies mean. Leaves filling batches to the caller.

use std::mem;

use bytes::{Bytes, BytesMut};

use super::batch::{Batch, Piece};
use super::checkpoint::{Checkpoint, Record};
use super::refusal::Kind;
use super::session::{Session, encode_select};
use super::{Error, Failed, Outcome};
use crate::core::crash::{self, Step};
use crate::core::position::{Position, ReplId};
use crate::core::resp::{self, Event, said};

/// The lane of a pipeline that delivers exactly once.
#[derive(Debug)]
pub struct Exact {
    session: Session,
    history: ReplId,
    in_flight: Option<InFlight>,
    /// The session was found to be another's behind the last batch, which was applied all the same: nothing may follow it.
    is_over: bool,
}

/// A batch under way, and what its replies have said so far.
#[derive(Debug)]
struct InFlight {
    batch: Batch,
    record: Record,
    /// For each queued command, in order, which command of the batch it is; `None` for ours. Runs: (first index or none, count).
    layout: Vec<(Option<usize>, usize)>,
    queued: usize,
    /// Replies still owed after `EXEC`'s.
    after_exec: usize,
    seen: usize,
    refused: Vec<Failed>,
    failed: Vec<Failed>,
    verdict: Option<Verdict>,
    superseded: bool,
}

#[derive(Debug)]
enum Verdict {
    Executed,
    Aborted(String),
    Unwatched,
}

impl Exact {
    /// Delivers over `session`, recording positions of `history`.
    #[must_use]
    pub fn new(session: Session, history: ReplId) -> Exact {
        Exact {
            session,
            history,
            in_flight: None,
            is_over: false,
        }
    }

    /// Whether a batch may be submitted.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_none()
    }

    /// From the next batch on, positions are recorded under this id: the history was renamed.
    pub fn set_history(&mut self, history: ReplId) {
        self.history = history;
    }

    /// The source's databases seen so far, for the next checkpoint; ascending.
    pub fn seen(&mut self) -> &mut Vec<u32> {
        &mut self.session.record.seen
    }

    /// The session, while nothing is under way.
    pub fn session(&mut self) -> Option<&mut Session> {
        (self.in_flight.is_none() && !self.is_over).then_some(&mut self.session)
    }

    /// Sends a batch; an empty one records its end. Not cancel safe.
    ///
    /// # Errors
    /// The connection fails, or another session has taken over.
    ///
    /// # Panics
    /// When a batch is under way, or a transaction of the source is open in this one.
    pub async fn submit(&mut self, mut batch: Batch) -> Result<(), Error> {
        assert!(
            self.is_idle() && !batch.in_transaction(),
            "one whole batch at a time"
        );
        if self.is_over {
            return Err(self.session.superseded());
        }
        let position = Position {
            id: self.history,
            offset: batch.end(),
        };
        let mut record = self.session.record.clone();
        record.checkpoint = Some(Checkpoint {
            position,
            db: batch.source_db(),
        });
        record.full_sync = None;
        record.cursor = None;
        record.share_swapped(batch.swapped());
        let (wire, in_flight) = self.encode(&mut batch, &record);
        self.in_flight = Some(InFlight {
            batch,
            record,
            ..in_flight
        });
        self.session.lane.send(wire).await?;
        crash::pass(Step::BatchSent);
        Ok(())
    }

    /// Waits for what becomes of the batch under way; without one, for the connection's end. Cancel safe.
    ///
    /// # Errors
    /// The connection fails, or another session has taken over.
    pub async fn outcome(&mut self) -> Result<Outcome, Error> {
        if self.is_over {
            return Err(self.session.superseded());
        }
        loop {
            let waiting = self.in_flight.is_some();
            let in_flight = &mut self.in_flight;
            let mut stray = false;
            self.session
                .lane
                .replies(waiting, |event| match in_flight {
                    Some(in_flight) => in_flight.hear(&event),
                    None => stray = true,
                })
                .await?;
            if stray {
                let address = self.session.lane.address().clone();
                return Err(Error::Unexpected {
                    address,
                    command: "nothing".into(),
                });
            }
            if self.in_flight.as_ref().is_some_and(InFlight::is_complete)
                && let Some(done) = self.in_flight.take()
            {
                crash::pass(Step::BatchAnswered);
                return self.conclude(done);
            }
        }
    }

    fn conclude(&mut self, done: InFlight) -> Result<Outcome, Error> {
        // What was executed is told whatever has become of the session since: nobody would hear of its failures otherwise.
        self.is_over = done.superseded;
        match done.verdict {
            None | Some(Verdict::Unwatched) => Err(self.session.superseded()),
            Some(Verdict::Aborted(_)) if done.superseded => Err(self.session.superseded()),
            Some(Verdict::Executed) if done.failed.iter().any(|failed| failed.index.is_none()) => {
                // Not even the checkpoint is certain: it is read again.
                let reply = done
                    .failed
                    .into_iter()
                    .find(|failed| failed.index.is_none())
                    .map(|failed| failed.reply);
                let address = self.session.lane.address().clone();
                let command = "the checkpoint".to_owned();
                Err(Error::Refused {
                    address,
                    command,
                    reply: reply.unwrap_or_default(),
                })
            }
            Some(Verdict::Executed) => {
                // What the next checkpoint is to say of databases may have changed meanwhile.
                let seen = mem::take(&mut self.session.record.seen);
                self.session.record = Record { seen, ..done.record };
                let checkpointed = Some(done.batch.end());
                Ok(Outcome::Applied {
                    batch: done.batch,
                    failed: done.failed,
                    checkpointed,
                })
            }
            Some(Verdict::Aborted(reply)) => Ok(judge_abort(done.batch, done.refused, reply)),
        }
    }

    /// The whole batch as it goes out, and what its replies will be.
    fn encode(&self, batch: &mut Batch, record: &Record) -> (Vec<Bytes>, InFlight) {
        let mut wire = Vec::new();
        let mut layout = Vec::new();
        let mut out = BytesMut::with_capacity(512);
        resp::encode_command(&mut out, &[b"MULTI"]);
        self.session.encode_checkpoint(&mut out, record);
        layout.push((None, 1));
        if batch.first_target_db() != 0 {
            encode_select(&mut out, batch.first_target_db());
            layout.push((None, 1));
        }
        let target_db = batch.target_db();
        let mut next = 0;
        for piece in batch.pieces() {
            match piece {
                Piece::Commands { bytes, count } => {
                    wire.push(mem::take(&mut out).freeze());
                    wire.push(bytes.clone());
                    layout.push((Some(next), *count));
                    next += count;
                }
                // The whole batch is one.
                Piece::Open | Piece::Close => {}
                Piece::RemoveCheckpoint { back_to } => {
                    encode_select(&mut out, 0);
                    self.session.encode_removal(&mut out);
                    encode_select(&mut out, *back_to);
                    layout.push((None, 3));
                }
                Piece::RestoreCheckpoint { back_to } => {
                    encode_select(&mut out, 0);
                    self.session.encode_checkpoint(&mut out, record);
                    self.session.encode_session(&mut out);
                    encode_select(&mut out, *back_to);
                    layout.push((None, 4));
                }
            }
        }
        resp::encode_command(&mut out, &[b"EXEC"]);
        let back = usize::from(target_db != 0);
        if back == 1 {
            encode_select(&mut out, 0);
        }
        self.session.encode_watch(&mut out);
        wire.push(out.freeze());
        let queued = layout.iter().map(|(_, count)| count).sum();
        (wire, InFlight::new(layout, queued, back + 2))
    }
}

/// `EXEC` was refused: for the batch's sake, or for the target's?
fn judge_abort(batch: Batch, refused: Vec<Failed>, reply: String) -> Outcome {
    let passing = refused
        .iter()
        .find(|failed| Kind::of(&failed.reply).may_be_repeated());
    if let Some(failed) = passing {
        return Outcome::Unavailable {
            reply: failed.reply.clone(),
        };
    }
    let of_batch: Vec<Failed> = refused
        .iter()
        .filter(|failed| failed.index.is_some())
        .cloned()
        .collect();
    if of_batch.is_empty() || Kind::of(&reply).may_be_repeated() {
        // Our own commands were refused, or EXEC itself: nothing in the batch is to blame.
        let reply = refused.into_iter().next().map_or(reply, |failed| failed.reply);
        return Outcome::Unavailable { reply };
    }
    Outcome::Rejected {
        batch,
        failed: of_batch,
    }
}

impl InFlight {
    fn new(layout: Vec<(Option<usize>, usize)>, queued: usize, after_exec: usize) -> InFlight {
        InFlight {
            batch: Batch::new(crate::core::position::Offset::ZERO, 0, 0),
            record: Record::default(),
            layout,
            queued,
            after_exec,
            seen: 0,
            refused: Vec::new(),
            failed: Vec::new(),
            verdict: None,
            superseded: false,
        }
    }

    /// MULTI, the queued commands, EXEC, and what follows.
    fn is_complete(&self) -> bool {
        self.seen == 1 + self.queued + 1 + self.after_exec
    }

    fn hear(&mut self, event: &Event<'_>) {
        match event {
            Event::Ok(count) => self.seen += count,
            Event::ElementError { index, text } => {
                let failed = Failed {
                    index: self.index_of(*index),
                    reply: said(text),
                };
                self.failed.push(failed);
            }
            Event::Array { .. } => {
                self.verdict = Some(Verdict::Executed);
                self.seen += 1;
            }
            Event::Nil => {
                if self.seen == 1 + self.queued {
                    self.verdict = Some(Verdict::Unwatched);
                } else {
                    self.superseded = true;
                }
                self.seen += 1;
            }
            Event::Error(text) => {
                self.hear_error(said(text));
                self.seen += 1;
            }
        }
    }

    fn hear_error(&mut self, reply: String) {
        match self.seen {
            0 => self.refused.push(Failed { index: None, reply }),
            n if n <= self.queued => {
                let failed = Failed {
                    index: self.index_of(n - 1),
                    reply,
                };
                self.refused.push(failed);
            }
            n if n == 1 + self.queued => self.verdict = Some(Verdict::Aborted(reply)),
            _ => self.superseded = true,
        }
    }

    /// Which command of the batch is the `nth` that was queued.
    fn index_of(&self, nth: usize) -> Option<usize> {
        let mut before = 0;
        for (first, count) in &self.layout {
            if nth < before + count {
                return first.map(|first| first + nth - before);
            }
            before += count;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// HSET, SELECT, three commands, two of ours, two commands.
    fn in_flight() -> InFlight {
        let layout = vec![(None, 1), (None, 1), (Some(0), 3), (None, 2), (Some(3), 2)];
        InFlight::new(layout, 9, 2)
    }

    #[test]
    fn an_index_in_the_transaction_is_that_of_the_command_in_the_batch() {
        let flight = in_flight();
        let indexes: Vec<_> = (0..10).map(|n| flight.index_of(n)).collect();
        let expected = [
            None,
            None,
            Some(0),
            Some(1),
            Some(2),
            None,
            None,
            Some(3),
            Some(4),
            None,
        ];
        assert_eq!(indexes, expected);
    }

    #[test]
    fn a_command_that_failed_inside_exec_is_found() {
        let mut flight = in_flight();
        flight.hear(&Event::Ok(10));
        flight.hear(&Event::ElementError {
            index: 3,
            text: b"WRONGTYPE x",
        });
        flight.hear(&Event::Array {
            elements: 9,
            errors: 1,
        });
        flight.hear(&Event::Ok(2));
        assert!(flight.is_complete() && matches!(flight.verdict, Some(Verdict::Executed)));
        assert_eq!(
            flight.failed,
            [Failed {
                index: Some(1),
                reply: "WRONGTYPE x".into()
            }]
        );
    }

    #[test]
    fn a_refused_exec_is_told_apart_by_what_was_refused() {
        let batch = || Batch::new(crate::core::position::Offset::ZERO, 0, 0);
        let failed = |index, reply: &str| Failed {
            index,
            reply: reply.into(),
        };
        let abort = || "EXECABORT Transaction discarded because of previous errors.".to_owned();
        let rows = [
            (
                vec![failed(Some(1), "ERR unknown command 'X'")],
                abort(),
                "rejected",
            ),
            (
                vec![failed(Some(1), "OOM command not allowed")],
                abort(),
                "unavailable",
            ),
            (
                vec![failed(None, "READONLY You can't write")],
                abort(),
                "unavailable",
            ),
            (
                vec![],
                "EXECABORT Transaction discarded because of: MISCONF x".to_owned(),
                "unavailable",
            ),
            (
                vec![failed(None, "LOADING x")],
                "ERR EXEC without MULTI".to_owned(),
                "unavailable",
            ),
        ];
        for (refused, reply, expected) in rows {
            let shown = format!("{refused:?} {reply}");
            let outcome = match judge_abort(batch(), refused, reply) {
                Outcome::Rejected { .. } => "rejected",
                Outcome::Unavailable { .. } => "unavailable",
                _ => "other",
            };
            assert_eq!(outcome, expected, "{shown}");
        }
    }

    #[test]
    fn a_nil_exec_and_a_nil_session_both_mean_that_the_session_is_over() {
        let mut flight = in_flight();
        flight.hear(&Event::Ok(10));
        flight.hear(&Event::Nil);
        flight.hear(&Event::Ok(2));
        assert!(matches!(flight.verdict, Some(Verdict::Unwatched)));
        let mut flight = in_flight();
        flight.hear(&Event::Ok(10));
        flight.hear(&Event::Array {
            elements: 9,
            errors: 0,
        });
        flight.hear(&Event::Ok(1));
        flight.hear(&Event::Nil);
        assert!(flight.is_complete() && flight.superseded);
    }
}
