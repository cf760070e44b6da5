//! At least once: commands are pipelined as they came, and the checkpoint follows when all replies before it have been read.
//!
//! Faster than [`super::exact`], by the transactions and by the waiting; after a loss of the connection everything since the last checkpoint is sent
//! again. The source's own transactions go through as they are.
//!
//! Owns what is put on the wire and what the replies mean. Leaves filling batches to the caller.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::batch::{Batch, Piece};
use super::checkpoint::Checkpoint;
use super::refusal::Kind;
use super::session::{Session, encode_select};
use super::{Error, Failed, Outcome};
use crate::core::crash::{self, Step};
use crate::core::position::{Offset, Position, ReplId};
use crate::core::resp::{self, Event, said};

/// So many bytes of commands may be under way.
const WINDOW_BYTES: usize = 4 << 20;

/// The lane of a pipeline that delivers at least once.
#[derive(Debug)]
pub struct Loose {
    session: Session,
    history: ReplId,
    in_flight: VecDeque<Flight>,
    in_flight_bytes: usize,
    /// The database that the connection will have selected when all that was sent is done.
    target_db: Option<u32>,
    confirmed: Option<Checkpoint>,
    checkpoint_every: Duration,
    checkpoint_sent: Instant,
    /// The session's key is still watched, as the session left it. Nothing may be: a flush in the stream touches it, and the source's next `EXEC`
    /// would answer nil and be lost.
    watching: bool,
}

/// Something under way whose replies come together.
#[derive(Debug)]
struct Flight {
    what: What,
    expected: usize,
    seen: usize,
    /// Ours among the replies before the batch's own: they are no commands of the batch.
    layout: Vec<(Option<usize>, usize)>,
    failed: Vec<Failed>,
    elements: Vec<(usize, String)>,
}

#[derive(Debug)]
enum What {
    Batch(Batch),
    /// A checkpoint; the last of its replies is nil where the session is not ours any more.
    Checkpoint(Checkpoint),
}

impl Loose {
    /// Delivers over `session`, recording positions of `history` about every `checkpoint_every`.
    #[must_use]
    pub fn new(session: Session, history: ReplId, checkpoint_every: Duration) -> Loose {
        Loose {
            session,
            history,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            target_db: Some(0),
            confirmed: None,
            checkpoint_every,
            checkpoint_sent: Instant::now(),
            watching: true,
        }
    }

    /// Whether a batch may be submitted.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.in_flight_bytes < WINDOW_BYTES
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// From the next checkpoint on, positions are recorded under this id: the history was renamed.
    pub fn set_history(&mut self, history: ReplId) {
        self.history = history;
    }

    /// The source's databases seen so far, for the next checkpoint; ascending.
    pub fn seen(&mut self) -> &mut Vec<u32> {
        &mut self.session.record.seen
    }

    /// The session, while nothing is under way. Whoever gets it may select what he likes.
    pub fn session(&mut self) -> Option<&mut Session> {
        if !self.in_flight.is_empty() {
            return None;
        }
        self.target_db = None;
        Some(&mut self.session)
    }

    /// Sends a batch; an empty one counts as confirmed and brings its checkpoint. Not cancel safe.
    ///
    /// # Errors
    /// The connection fails.
    pub async fn submit(&mut self, mut batch: Batch) -> Result<(), Error> {
        let mut wire = Vec::new();
        let due = self.checkpoint_sent.elapsed() >= self.checkpoint_every;
        if batch.is_empty() {
            let position = Position {
                id: self.history,
                offset: batch.end(),
            };
            let behind = Checkpoint {
                position,
                db: batch.source_db(),
            };
            // Everything before an empty batch must have been confirmed for its end to be.
            if self.in_flight.is_empty() {
                self.confirmed = Some(behind);
                self.push_checkpoint(&mut wire);
                return self.session.lane.send(wire).await;
            }
        }
        if due {
            self.push_checkpoint(&mut wire);
        }
        if !batch.is_empty() {
            self.push_batch(&mut wire, &mut batch);
            self.in_flight_bytes += batch.bytes();
            if let Some(flight) = self.in_flight.back_mut() {
                flight.what = What::Batch(batch);
            }
        }
        self.session.lane.send(wire).await?;
        crash::pass(Step::LooseSent);
        Ok(())
    }

    /// Sends the checkpoint of what is confirmed, if there is any. Says whether an outcome will come. Not cancel safe.
    ///
    /// # Errors
    /// The connection fails.
    pub async fn record_confirmed(&mut self) -> Result<bool, Error> {
        let mut wire = Vec::new();
        self.push_checkpoint(&mut wire);
        let sends = !wire.is_empty();
        self.session.lane.send(wire).await?;
        Ok(sends)
    }

    /// Waits for what becomes of the oldest thing under way; without one, for the connection's end. Cancel safe.
    ///
    /// # Errors
    /// The connection fails, or another session has taken over.
    pub async fn outcome(&mut self) -> Result<Outcome, Error> {
        loop {
            if self
                .in_flight
                .front()
                .is_some_and(|flight| flight.seen >= flight.expected)
                && let Some(flight) = self.in_flight.pop_front()
            {
                return self.conclude(flight);
            }
            let waiting = !self.in_flight.is_empty();
            let mut stray = false;
            let in_flight = &mut self.in_flight;
            self.session
                .lane
                .replies(waiting, |event| stray |= !hear(in_flight, &event))
                .await?;
            if stray {
                let address = self.session.lane.address().clone();
                return Err(Error::Unexpected {
                    address,
                    command: "nothing".into(),
                });
            }
        }
    }

    fn conclude(&mut self, flight: Flight) -> Result<Outcome, Error> {
        let passing = flight
            .failed
            .iter()
            .find(|failed| Kind::of(&failed.reply).may_be_repeated());
        if let Some(failed) = passing {
            return Ok(Outcome::Unavailable {
                reply: failed.reply.clone(),
            });
        }
        match flight.what {
            What::Batch(mut batch) => {
                crash::pass(Step::LooseAnswered);
                self.in_flight_bytes -= batch.bytes();
                let position = Position {
                    id: self.history,
                    offset: batch.end(),
                };
                self.confirmed = Some(Checkpoint {
                    position,
                    db: batch.source_db(),
                });
                let failed = whole_transactions(&mut batch, flight.failed);
                Ok(Outcome::Applied {
                    batch,
                    failed,
                    checkpointed: None,
                })
            }
            What::Checkpoint(checkpoint) => {
                // Its first reply that is an error, or a nil in place of the session's field.
                if let Some(failed) = flight.failed.into_iter().next() {
                    if failed.reply.is_empty() {
                        return Err(self.session.superseded());
                    }
                    return Ok(Outcome::Unavailable { reply: failed.reply });
                }
                crash::pass(Step::LooseRecorded);
                self.session.record.checkpoint = Some(checkpoint);
                Ok(Outcome::Checkpointed(checkpoint.position.offset))
            }
        }
    }

    /// Puts the checkpoint of what is confirmed on the wire: database 0, the hash, whether the session is ours, and back.
    fn push_checkpoint(&mut self, wire: &mut Vec<Bytes>) {
        let Some(checkpoint) = self.confirmed.take() else {
            return;
        };
        self.checkpoint_sent = Instant::now();
        let mut record = self.session.record.clone();
        record.checkpoint = Some(checkpoint);
        record.full_sync = None;
        record.cursor = None;
        let mut out = BytesMut::new();
        let mut expected = 2;
        let before = self.target_db;
        if before != Some(0) {
            encode_select(&mut out, 0);
            expected += 1;
        }
        self.session.encode_checkpoint(&mut out, &record);
        self.session.encode_question(&mut out);
        match before {
            Some(0) => {}
            Some(db) => {
                encode_select(&mut out, db);
                expected += 1;
            }
            None => self.target_db = Some(0),
        }
        wire.push(out.freeze());
        self.in_flight
            .push_back(Flight::new(What::Checkpoint(checkpoint), expected));
    }

    fn push_batch(&mut self, wire: &mut Vec<Bytes>, batch: &mut Batch) {
        let mut flight = Flight::new(What::Batch(batch.successor()), 0);
        let mut out = BytesMut::new();
        if std::mem::take(&mut self.watching) {
            resp::encode_command(&mut out, &[b"UNWATCH"]);
            flight.expect(None, 1);
        }
        if self.target_db != Some(batch.first_target_db()) {
            encode_select(&mut out, batch.first_target_db());
            flight.expect(None, 1);
        }
        self.target_db = Some(batch.target_db());
        self.session.record.share_swapped(batch.swapped());
        let mut next = 0;
        for piece in batch.pieces() {
            match piece {
                Piece::Commands { bytes, count } => {
                    wire.push(out.split().freeze());
                    wire.push(bytes.clone());
                    flight.expect(Some(next), *count);
                    next += count;
                }
                Piece::Open => {
                    resp::encode_command(&mut out, &[b"MULTI"]);
                    flight.expect(None, 1);
                }
                Piece::Close => {
                    resp::encode_command(&mut out, &[b"EXEC"]);
                    flight.expect(None, 1);
                }
                Piece::RemoveCheckpoint { back_to } => {
                    encode_select(&mut out, 0);
                    self.session.encode_removal(&mut out);
                    encode_select(&mut out, *back_to);
                    flight.expect(None, 3);
                }
                Piece::RestoreCheckpoint { back_to } => {
                    encode_select(&mut out, 0);
                    self.session.encode_session(&mut out);
                    encode_select(&mut out, *back_to);
                    flight.expect(None, 3);
                }
            }
        }
        wire.push(out.freeze());
        self.in_flight.push_back(flight);
    }
}

/// Where a transaction of the source was refused as a whole, every command of it has failed, not only the one that the target did not take.
fn whole_transactions(batch: &mut Batch, failed: Vec<Failed>) -> Vec<Failed> {
    let mut all: Vec<Failed> = failed.into_iter().filter(|one| one.index.is_some()).collect();
    let aborted: Vec<(usize, String)> = all
        .iter()
        .filter(|one| one.reply.starts_with("EXECABORT"))
        .filter_map(|one| Some((one.index?, one.reply.clone())))
        .collect();
    for (exec, reply) in aborted {
        for index in (0..exec).rev() {
            let is_multi = batch
                .command(index)
                .is_some_and(|(command, _)| is_multi(&command));
            if is_multi {
                break;
            }
            if all.iter().all(|one| one.index != Some(index)) {
                all.push(Failed {
                    index: Some(index),
                    reply: reply.clone(),
                });
            }
        }
    }
    all.retain(|one| {
        !one.reply.starts_with("EXECABORT")
            || batch
                .command(one.index.unwrap_or(0))
                .is_some_and(|(c, _)| !is_exec(&c))
    });
    all.sort_by_key(|one| one.index);
    all
}

fn is_multi(command: &[u8]) -> bool {
    command.eq_ignore_ascii_case(b"*1\r\n$5\r\nMULTI\r\n")
}

fn is_exec(command: &[u8]) -> bool {
    command.eq_ignore_ascii_case(b"*1\r\n$4\r\nEXEC\r\n")
}

/// Gives an event to the flight that it belongs to; false where none is owed.
fn hear(in_flight: &mut VecDeque<Flight>, event: &Event<'_>) -> bool {
    let Some(at) = in_flight.iter().position(|flight| flight.seen < flight.expected) else {
        return false;
    };
    let flight = &mut in_flight[at];
    match event {
        Event::Ok(count) => {
            // A run of good replies may reach over several flights.
            let mut count = *count;
            for flight in in_flight.iter_mut().skip(at) {
                let take = count.min(flight.expected - flight.seen);
                flight.seen += take;
                count -= take;
            }
            return count == 0;
        }
        Event::Error(text) => flight.fail(flight.seen, said(text)),
        Event::Nil if matches!(flight.what, What::Checkpoint(_)) => flight.fail(flight.seen, String::new()),
        Event::Nil => {}
        Event::ElementError { index, text } => {
            flight.elements.push((*index, said(text)));
            return true;
        }
        Event::Array { elements, .. } => {
            // An EXEC of the source's: its elements are the commands right before it.
            for (index, reply) in std::mem::take(&mut flight.elements) {
                let nth = (flight.seen + index).saturating_sub(*elements);
                flight.fail(nth, reply);
            }
        }
    }
    flight.seen += 1;
    true
}

impl Flight {
    fn new(what: What, expected: usize) -> Flight {
        Flight {
            what,
            expected,
            seen: 0,
            layout: Vec::new(),
            failed: Vec::new(),
            elements: Vec::new(),
        }
    }

    fn expect(&mut self, first: Option<usize>, count: usize) {
        self.expected += count;
        self.layout.push((first, count));
    }

    /// The `nth` reply of this flight is an error.
    fn fail(&mut self, nth: usize, reply: String) {
        let mut before = 0;
        let mut index = None;
        for (first, count) in &self.layout {
            if nth < before + count {
                index = first.map(|first| first + nth - before);
                break;
            }
            before += count;
        }
        self.failed.push(Failed { index, reply });
    }
}

/// Where the stream is confirmed up to, for the ladder.
impl Loose {
    /// The offset up to which replies have been read and no checkpoint has been sent yet.
    #[must_use]
    pub fn unrecorded(&self) -> Option<Offset> {
        self.confirmed.map(|checkpoint| checkpoint.position.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(layout: &[(Option<usize>, usize)]) -> Flight {
        let mut flight = Flight::new(What::Batch(Batch::new(Offset::ZERO, 0, 0)), 0);
        layout
            .iter()
            .for_each(|(first, count)| flight.expect(*first, *count));
        flight
    }

    #[test]
    fn a_run_of_good_replies_reaches_over_several_flights() {
        let mut all = VecDeque::from([flight(&[(Some(0), 2)]), flight(&[(None, 1), (Some(0), 4)])]);
        assert!(hear(&mut all, &Event::Ok(5)));
        assert_eq!((all[0].seen, all[1].seen), (2, 3));
        assert!(!hear(&mut all, &Event::Ok(3)), "more replies than were owed");
    }

    #[test]
    fn a_refused_command_is_found_behind_ours() {
        let mut all = VecDeque::from([flight(&[(None, 1), (Some(0), 4)])]);
        hear(&mut all, &Event::Ok(3));
        hear(&mut all, &Event::Error(b"WRONGTYPE x"));
        assert_eq!(
            all[0].failed,
            [Failed {
                index: Some(2),
                reply: "WRONGTYPE x".into()
            }]
        );
    }

    #[test]
    fn a_transaction_that_was_refused_failed_with_all_its_commands() {
        let commands = ["PING", "MULTI", "A", "B", "C", "EXEC", "PING"];
        let mut batch = Batch::new(Offset::ZERO, 0, 0);
        for name in commands {
            batch.push(Bytes::from(format!("*1\r\n${}\r\n{name}\r\n", name.len())), 1);
        }
        let failed = |index, reply: &str| Failed {
            index: Some(index),
            reply: reply.into(),
        };
        let heard = vec![failed(3, "ERR unknown command"), failed(5, "EXECABORT x")];
        let all = whole_transactions(&mut batch, heard);
        assert_eq!(
            all,
            [
                failed(2, "EXECABORT x"),
                failed(3, "ERR unknown command"),
                failed(4, "EXECABORT x")
            ]
        );
    }

    #[test]
    fn a_failure_inside_a_transaction_of_the_source_is_found() {
        // MULTI, two commands, EXEC: the second command fails when it runs.
        let mut all = VecDeque::from([flight(&[(Some(0), 4)])]);
        hear(&mut all, &Event::Ok(3));
        hear(
            &mut all,
            &Event::ElementError {
                index: 1,
                text: b"WRONGTYPE x",
            },
        );
        hear(
            &mut all,
            &Event::Array {
                elements: 2,
                errors: 1,
            },
        );
        assert_eq!(
            all[0].failed,
            [Failed {
                index: Some(2),
                reply: "WRONGTYPE x".into()
            }]
        );
        assert_eq!(all[0].seen, 4);
    }
}
