//! The leader's side: its log, as a stream of bytes that does not end.
//!
//! Owns which part of the log a follower gets, and the order in which it is said. Promises that nothing here ever holds up the leader's own
//! tasks (the log's readers take what is there and lose what is released), that one piece at a time is held in memory however slow the follower is, and
//! that nothing is polled: readers, the ladder and the [`Board`] wake it.
//!
//! | the follower's end | the leader | what it gets |
//! | --- | --- | --- |
//! | anything | follows itself | 503 |
//! | anything | its log is empty | 503 |
//! | within the history, beyond the log's end | – | 409: it asks again until the leader has as much |
//! | within the history and the extent | is in a full sync whose snapshot can be read, and the follower has not got that whole one | the snapshot, then the stream |
//! | within the history and the extent | else | the stream from there |
//! | none, or elsewhere | is live | the stream from the checkpoint on; 503 where the log does not reach back to it |
//! | none, or elsewhere | is not, and its snapshot can be read | the snapshot from its first byte, also while it is still received, then the stream |
//! | none, or elsewhere | is in a full sync whose snapshot is in memory | the stream behind that, and what it waits for |
//! | none, or elsewhere | is not live, nor can its snapshot be read, but there is a checkpoint in the log | the stream from there on |
//! | none, or elsewhere | else | 503 |
//!
//! *Live* is a leader whose phase is incremental: then what is checkpointed needs no snapshot. A snapshot *can be read* where it is on disk and has not
//! broken off, and the follower can keep one: that of a log in memory is a queue out of which only the leader's own task may take.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::wire::{self, Frame, PIECE_MAX, Standing, Waiting};
use crate::core::log::{self, Chunk, Log, Reader, SnapshotInfo, SnapshotReader, Stage};
use crate::core::position::{Extent, History, Offset, Position};
use crate::core::progress::{Counters, Phase, Progress};

/// A standing is told at most so often.
const STANDING_SPACING: Duration = Duration::from_millis(20);
/// One is told at least so often, as a sign of life.
pub const SIGN_OF_LIFE_EVERY: Duration = Duration::from_secs(1);
/// Chunks below this size are put together as far as they are there, up to four times as much.
const SMALL: usize = 16 << 10;

/// What a leader tells its followers beside the log and the ladder.
#[derive(Debug)]
pub struct Board {
    windows: watch::Sender<Arc<str>>,
    waits_for: watch::Sender<Option<(String, Instant)>>,
}

impl Default for Board {
    fn default() -> Board {
        Board {
            windows: watch::Sender::new(Arc::from("")),
            waits_for: watch::Sender::new(None),
        }
    }
}

impl Board {
    /// Tells this text, as JSON, to all followers, now and to those to come.
    pub fn set_windows(&self, json: &str) {
        self.windows.send_if_modified(|known| {
            let is_new = **known != *json;
            if is_new {
                *known = Arc::from(json);
            }
            is_new
        });
    }

    /// Tells for which input this one waits from now on, or that it waits no more.
    pub fn set_waits_for(&self, input: Option<&str>) {
        self.waits_for.send_if_modified(|known| {
            let is_new = known.as_ref().map(|(name, _)| name.as_str()) != input;
            if is_new {
                *known = input.map(|name| (name.to_owned(), Instant::now()));
            }
            is_new
        });
    }
}

/// Whom a follower asks for what.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ask {
    /// Where its log ends; nothing where it has none that can go on.
    pub end: Option<Position>,
    /// The offset of the whole snapshot that its log holds.
    pub snapshot: Option<Offset>,
    /// It cannot keep a snapshot: its log is in memory, or too small.
    pub is_without_snapshots: bool,
}

/// The log is not served. Nothing has been sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The follower has more than the leader.
    #[error("the follower is ahead: it is at {end}, the leader's log ends at {leader}")]
    Ahead {
        /// The follower's end.
        end: Offset,
        /// The leader's.
        leader: Offset,
    },
    /// There is nothing to follow yet: it may be tried again.
    #[error("nothing can be followed here yet: {why}")]
    NotYet {
        /// What is missing.
        why: &'static str,
    },
}

/// What is sent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    StreamFrom(Offset),
    Snapshot,
}

/// What of the leader decides.
#[derive(Debug, Clone, Copy)]
struct Leader {
    phase: Phase,
    checkpointed: Offset,
    log: Option<(History, Extent, Option<SnapshotInfo>)>,
}

/// The table at the head of this room.
fn plan(ask: &Ask, leader: &Leader) -> Result<Plan, Refused> {
    let not_yet = |why| Err(Refused::NotYet { why });
    if leader.phase == Phase::Following {
        return not_yet("this process follows itself");
    }
    let Some((history, extent, snapshot)) = leader.log else {
        return not_yet("the log is empty");
    };
    // A source to which nothing was ever written is live there.
    if extent.end == Offset::ZERO && snapshot.is_none() && leader.phase != Phase::Incremental {
        return not_yet("the log waits for a snapshot");
    }
    let usable = snapshot
        .filter(|one| one.resumable && one.stage != Stage::Abandoned && !ask.is_without_snapshots)
        .map(|one| one.position.offset);
    let in_memory = snapshot
        .filter(|one| !one.resumable && one.stage != Stage::Abandoned)
        .map(|one| one.position.offset)
        .filter(|at| extent.can_read_from(*at));
    if let Some(end) = ask.end.filter(|end| history.contains(end)) {
        if end.offset > extent.end {
            return Err(Refused::Ahead {
                end: end.offset,
                leader: extent.end,
            });
        }
        let lacks_snapshot = leader.phase == Phase::FullSync && usable.is_some() && usable != ask.snapshot;
        if extent.can_read_from(end.offset) && !lacks_snapshot {
            return Ok(Plan::StreamFrom(end.offset));
        }
    }
    let from_checkpoint = extent
        .can_read_from(leader.checkpointed)
        .then_some(Plan::StreamFrom(leader.checkpointed));
    match (leader.phase, usable) {
        (Phase::Incremental, _) => from_checkpoint.ok_or(Refused::NotYet {
            why: "the log does not reach back to the checkpoint",
        }),
        (_, Some(_)) => Ok(Plan::Snapshot),
        (Phase::FullSync, None) => in_memory.map(Plan::StreamFrom).ok_or(Refused::NotYet {
            why: "a full sync is under way, and its snapshot cannot be had from here",
        }),
        (Phase::Connecting | Phase::Backoff | Phase::Following, None) => match from_checkpoint {
            Some(plan) if leader.checkpointed > Offset::ZERO => Ok(plan),
            _ => not_yet("nothing is checkpointed yet"),
        },
    }
}

/// The body for a follower that asks so, until `stop` is true, the log begins anew, the board is dropped, or this process leads no more. An error of it is one of the
/// leader's disk.
///
/// # Errors
/// [`Refused`]: nothing is to be sent.
pub fn serve(
    log: &Log,
    progress: &Arc<Progress>,
    board: &Board,
    ask: &Ask,
    stop: watch::Receiver<bool>,
) -> Result<impl Stream<Item = Result<Bytes, log::Error>> + Send + use<>, Refused> {
    let serving = Serving::begin(log, progress, board, ask, stop)?;
    Ok(stream::try_unfold(serving, |mut serving| async move {
        Ok(serving.next().await?.map(|piece| (piece, serving)))
    }))
}

/// Where the next bytes come from.
#[derive(Debug)]
enum From {
    Snapshot(Box<SnapshotReader>),
    Stream,
}

#[derive(Debug)]
enum Event {
    Stop,
    /// A standing is due.
    Standing,
    /// There is something new to tell in the next one.
    Moved,
    Windows,
    Snapshot(Option<Bytes>),
    Stream(Chunk),
}

struct Serving {
    from: From,
    reader: Reader,
    progress: Arc<Progress>,
    history: History,
    /// What goes out before anything is read again.
    out: VecDeque<Bytes>,
    windows: watch::Receiver<Arc<str>>,
    waits_for: watch::Receiver<Option<(String, Instant)>>,
    checkpointed: watch::Receiver<Offset>,
    stop: watch::Receiver<bool>,
    told: Standing,
    told_at: Instant,
    /// The next standing may differ from the last.
    has_moved: bool,
}

impl Serving {
    fn begin(
        log: &Log,
        progress: &Arc<Progress>,
        board: &Board,
        ask: &Ask,
        stop: watch::Receiver<bool>,
    ) -> Result<Serving, Refused> {
        // Whoever has moved on between the look and the readers is looked at again: the log begins anew far less often than this takes.
        let gone = Refused::NotYet {
            why: "the log begins anew just now",
        };
        let generation = log.generation();
        let leader = Leader {
            phase: progress.phase(),
            checkpointed: progress.ladder().checkpointed,
            log: log.look(),
        };
        let plan = plan(ask, &leader)?;
        let Some((history, _, snapshot)) = leader.log else {
            return Err(Refused::NotYet {
                why: "the log is empty",
            });
        };
        let (from, begins, at) = match (plan, snapshot) {
            (Plan::Snapshot, Some(snapshot)) => {
                let offset = snapshot.position.offset;
                let declared = match snapshot.stage {
                    Stage::Received | Stage::Whole | Stage::Unkept => Some(snapshot.received_bytes),
                    Stage::Receiving | Stage::Abandoned => snapshot.declared_bytes,
                };
                let reader = log.snapshot_reader(0).map_err(|_| gone.clone())?;
                let begins = Frame::SnapshotBegins { offset, declared };
                (From::Snapshot(Box::new(reader)), begins, offset)
            }
            (Plan::Snapshot, None) => return Err(gone),
            (Plan::StreamFrom(at), _) => (From::Stream, Frame::Begins(at), at),
        };
        let reader = log.reader(at).map_err(|_| gone.clone())?;
        if log.generation() != generation {
            return Err(gone);
        }
        let mut serving = Serving {
            from,
            reader,
            history,
            out: VecDeque::from([wire::head()]),
            windows: board.windows.subscribe(),
            waits_for: board.waits_for.subscribe(),
            checkpointed: progress.watch_checkpointed(),
            progress: Arc::clone(progress),
            stop,
            told: Standing::default(),
            told_at: Instant::now(),
            has_moved: false,
        };
        serving.say(&Frame::History(history));
        serving.say(&begins);
        serving.told = serving.standing();
        serving.say(&Frame::Standing(serving.told.clone()));
        if !serving.windows.borrow().is_empty() {
            serving.say_windows();
        }
        Ok(serving)
    }

    fn say(&mut self, frame: &Frame) {
        self.out.extend(wire::encode(frame));
    }

    fn count(&self, bytes: usize) {
        Counters::add(&self.progress.counters.log_bytes_served, bytes as u64);
    }

    /// The next piece of the body; nothing at its end.
    async fn next(&mut self) -> Result<Option<Bytes>, log::Error> {
        loop {
            if let Some(piece) = self.out.pop_front() {
                return Ok(Some(piece));
            }
            let applied = match self.wait().await {
                Ok(event) => self.apply(event),
                Err(error) => Err(error),
            };
            match applied {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                // The follower asks again, and gets what there is then.
                Err(log::Error::Superseded | log::Error::Released { .. }) => return Ok(None),
                Err(log::Error::NoSnapshot { .. } | log::Error::Abandoned { .. }) => return Ok(None),
                Err(error) => {
                    tracing::warn!(%error, "the log cannot be read for a follower");
                    return Err(error);
                }
            }
        }
    }

    /// The stop first, then what is due by the clock, which no amount of data may put off; then what is rare.
    async fn wait(&mut self) -> Result<Event, log::Error> {
        let due = match self.has_moved {
            true => STANDING_SPACING,
            false => SIGN_OF_LIFE_EVERY,
        };
        let due = sleep_until(self.told_at + due);
        let (from, reader) = (&mut self.from, &mut self.reader);
        let read = async {
            match from {
                From::Snapshot(snapshot) => snapshot.next().await.map(Event::Snapshot),
                From::Stream => reader.next().await.map(Event::Stream),
            }
        };
        tokio::select! {
            biased;
            // An error means that nobody is left who could stop it: then it ends.
            _ = self.stop.wait_for(|stop| *stop) => Ok(Event::Stop),
            () = due => Ok(Event::Standing),
            changed = self.windows.changed() => Ok(match changed {
                Ok(()) => Event::Windows,
                // The board has gone, and the input with it.
                Err(_) => Event::Stop,
            }),
            Ok(()) = self.waits_for.changed(), if !self.has_moved => Ok(Event::Moved),
            Ok(()) = self.checkpointed.changed(), if !self.has_moved => Ok(Event::Moved),
            read = read => read,
        }
    }

    /// Whether there is more to come.
    fn apply(&mut self, event: Event) -> Result<bool, log::Error> {
        match event {
            Event::Stop => return Ok(false),
            Event::Standing => {
                // The history too: it may have been renamed long before its next byte.
                self.say_history()?;
                self.say_standing();
                return Ok(self.progress.phase() != Phase::Following);
            }
            Event::Moved => self.has_moved = true,
            Event::Windows => self.say_windows(),
            Event::Snapshot(Some(bytes)) => {
                self.count(bytes.len());
                self.say(&Frame::Snapshot(bytes));
            }
            Event::Snapshot(None) => {
                self.say(&Frame::SnapshotEnds);
                self.from = From::Stream;
            }
            Event::Stream(chunk) => {
                self.say_stream(chunk)?;
                self.has_moved = true;
            }
        }
        Ok(true)
    }

    /// To be called after reading and before saying what was read: the history is renamed before the first byte of its new id is appended, so that one is
    /// known by now.
    fn say_history(&mut self) -> Result<(), log::Error> {
        let history = self.reader.history()?;
        if history != self.history {
            self.history = history;
            self.say(&Frame::History(history));
        }
        Ok(())
    }

    /// A quiet source sends commands one by one: those that are here already go together.
    fn say_stream(&mut self, chunk: Chunk) -> Result<(), log::Error> {
        let mut ahead = Some(chunk);
        while let Some(chunk) = ahead.take() {
            if chunk.bytes.len() >= SMALL {
                return self.say_pieces(chunk.start, chunk.bytes);
            }
            let mut together = BytesMut::from(&chunk.bytes[..]);
            while together.len() < 4 * SMALL {
                match self.reader.try_next()? {
                    Some(next) if next.bytes.len() < SMALL => together.extend_from_slice(&next.bytes),
                    other => {
                        ahead = other;
                        break;
                    }
                }
            }
            self.say_pieces(chunk.start, together.freeze())?;
        }
        Ok(())
    }

    fn say_pieces(&mut self, mut start: Offset, mut bytes: Bytes) -> Result<(), log::Error> {
        self.say_history()?;
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE_MAX));
            let after = start.after(piece.len());
            self.count(piece.len());
            self.say(&Frame::Stream { start, bytes: piece });
            start = after;
        }
        Ok(())
    }

    fn say_windows(&mut self) {
        let json = self.windows.borrow_and_update().to_string();
        self.say(&Frame::Windows(json));
    }

    /// Says how far everything is, unless that was said already a moment ago.
    fn say_standing(&mut self) {
        let standing = self.standing();
        self.has_moved = false;
        if standing == self.told && self.told_at.elapsed() < SIGN_OF_LIFE_EVERY {
            return;
        }
        self.told = standing;
        self.told_at = Instant::now();
        self.say(&Frame::Standing(self.told.clone()));
    }

    fn standing(&mut self) -> Standing {
        // Marked as seen before looking.
        self.checkpointed.borrow_and_update();
        let waits_for = self
            .waits_for
            .borrow_and_update()
            .as_ref()
            .map(|(input, since)| Waiting {
                input: input.clone(),
                since: since.elapsed(),
            });
        let (status, phase) = (self.progress.status(), self.progress.phase());
        Standing {
            received: status.ladder.received,
            source: status.source_offset,
            applied: status.ladder.applied,
            checkpointed: status.ladder.checkpointed,
            is_exact: phase == Phase::Incremental,
            is_copying: phase == Phase::FullSync,
            waits_for,
        }
    }
}

#[cfg(test)]
mod tests;
