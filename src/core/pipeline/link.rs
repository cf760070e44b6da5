//! One link to the source, from its answer to `PSYNC` to its end: what arrives goes into the log, and acknowledgements go back.
//!
//! Owns the loop over the socket. Promises that the source hears from us every second from the first byte on, and at once when it asks and
//! the target has got there. Leaves reconnecting to [`super::receive`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use memchr::memmem;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::OnFull;
use super::receive::{LinkEnd, News};
use crate::core::crash::{self, Step};
use crate::core::log::{self, Log, SnapshotWriter, Writer};
use crate::core::position::{History, Offset, Position};
use crate::core::progress::{Counters, Progress, Receiving};
use crate::core::source::{Event, Follower};

/// The source hears from us this often, from the first byte on.
pub(super) const ACK_EVERY: Duration = Duration::from_secs(1);

/// What an append takes beside its bytes, and some more: room without it would let us try again and again in vain.
const APPEND_OVERHEAD_BYTES: u64 = 4 << 10;

/// Where what arrives goes.
pub(super) enum Into {
    /// A snapshot for this position is announced.
    Coming(Position),
    Snapshot(Box<SnapshotWriter>),
    Stream(Writer),
    /// Between two of the above.
    Nowhere,
}

const GETACK: &[u8] = b"GETACK";

/// From the beginning of a request for an acknowledgement to the end of the word.
const REQUEST_BYTES: u64 = b"*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK".len() as u64;

/// Positions for which the source waits.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    first: Offset,
    last: Offset,
}

pub(super) struct Link {
    follower: Follower,
    pub(super) into: Into,
    /// Who moves the ladder; nobody before the log has begun anew.
    receiving: Option<Receiving>,
    acks: Interval,
    /// The source asked for an acknowledgement of what it had sent up to here.
    wanted: Option<Wanted>,
    /// The last bytes of the chunk before: the request may be cut in two.
    carry: [u8; GETACK.len() - 1],
    checkpointed: watch::Receiver<Offset>,
    log: Log,
    progress: Arc<Progress>,
    on_full: OnFull,
    tell: watch::Sender<News>,
    /// Some of the stream has been appended.
    pub(super) moved: bool,
}

/// What a link works with, beside the socket.
pub(super) struct Ends {
    /// Where the bytes go.
    pub(super) log: Log,
    /// Where positions go.
    pub(super) progress: Arc<Progress>,
    /// What to do when the log is full.
    pub(super) on_full: OnFull,
    /// Where news go.
    pub(super) tell: watch::Sender<News>,
}

impl Link {
    /// A link whose first bytes go `into`.
    pub(super) fn new(follower: Follower, into: Into, receiving: Option<Receiving>, ends: Ends) -> Link {
        let mut acks = interval(ACK_EVERY);
        acks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Link {
            follower,
            into,
            receiving,
            acks,
            wanted: None,
            carry: [0; GETACK.len() - 1],
            checkpointed: ends.progress.watch_checkpointed(),
            log: ends.log,
            progress: ends.progress,
            on_full: ends.on_full,
            tell: ends.tell,
            moved: false,
        }
    }

    pub(super) async fn run(&mut self) -> LinkEnd {
        loop {
            match self.step().await {
                Ok(()) => {}
                Err(end) => return end,
            }
        }
    }

    async fn step(&mut self) -> Result<(), LinkEnd> {
        tokio::select! {
            // The tick first: acknowledgements are due however busy the link is, and cost one small write a second.
            biased;
            _ = self.acks.tick() => self.acknowledge().await,
            Ok(()) = self.checkpointed.changed(), if self.wanted.is_some() => self.answer_getack().await,
            event = self.follower.next() => {
                let event = event.map_err(LinkEnd::Source)?;
                self.take(event).await
            }
        }
    }

    async fn acknowledge(&mut self) -> Result<(), LinkEnd> {
        let offset = *self.checkpointed.borrow();
        self.follower.acknowledge(offset).await.map_err(LinkEnd::Source)?;
        crash::pass(Step::SourceAcknowledged);
        Ok(())
    }

    /// `WAIT` on the source returns as soon as the target has what was written before it.
    async fn answer_getack(&mut self) -> Result<(), LinkEnd> {
        let reached = *self.checkpointed.borrow_and_update();
        let Some(wanted) = self.wanted.filter(|wanted| wanted.first <= reached) else {
            return Ok(());
        };
        self.wanted = (reached < wanted.last).then_some(Wanted {
            first: wanted.last,
            ..wanted
        });
        self.acknowledge().await
    }

    async fn take(&mut self, event: Event) -> Result<(), LinkEnd> {
        match event {
            Event::SnapshotBegins(declared) => self.begin_snapshot(declared).await.map_err(LinkEnd::Log),
            Event::Snapshot(bytes) => self.snapshot(bytes).await.map_err(LinkEnd::Log),
            Event::SnapshotEnds => {
                self.end_snapshot().map_err(LinkEnd::Log)?;
                // After a diskless snapshot the source begins the stream when it hears from us, not before.
                self.acknowledge().await
            }
            Event::Stream(bytes) => self.stream(bytes).await,
        }
    }

    async fn begin_snapshot(&mut self, declared: Option<u64>) -> Result<(), log::Error> {
        let Into::Coming(position) = std::mem::replace(&mut self.into, Into::Nowhere) else {
            return Ok(());
        };
        let history = History::new(position.id);
        // Before the log begins anew: that wakes whoever reads it, who then plans with the history told here.
        self.tell.send_modify(|news| news.history = Some(history));
        let writer = self
            .log
            .begin_snapshot(history, position.offset, declared)
            .await?;
        // The log first, then the ladder: whoever plans reads the ladder's generation before the log.
        self.receiving = Some(self.progress.begin_history(position.offset));
        self.progress.update_full_sync(|one| one.total_bytes = declared);
        self.into = Into::Snapshot(Box::new(writer));
        self.tell.send_modify(|news| news.asks_for_snapshot = false);
        Ok(())
    }

    async fn snapshot(&mut self, bytes: Bytes) -> Result<(), log::Error> {
        let Into::Snapshot(writer) = &mut self.into else {
            return Ok(());
        };
        Counters::add(&self.progress.counters.snapshot_bytes_written, bytes.len() as u64);
        writer.append(bytes).await?;
        let received = writer.received_bytes();
        self.progress
            .update_full_sync(|one| one.received_bytes = received);
        Ok(())
    }

    /// Persisting a large snapshot may take long; the stream must not wait for it.
    fn end_snapshot(&mut self) -> Result<(), log::Error> {
        let Into::Snapshot(writer) = std::mem::replace(&mut self.into, Into::Nowhere) else {
            return Ok(());
        };
        let received = writer.received_bytes();
        tracing::info!(bytes = received, "the snapshot is here");
        self.progress.update_full_sync(|one| {
            one.received_bytes = received;
            one.total_bytes = Some(received);
        });
        let progress = Arc::clone(&self.progress);
        let finishing = writer.finish();
        self.into = Into::Stream(self.log.writer()?);
        tokio::spawn(async move {
            match finishing.await {
                // Another snapshot has begun.
                Ok(()) | Err(log::Error::Superseded) => {}
                Err(error) => {
                    tracing::warn!(%error, "the snapshot could not be kept");
                    progress.report(error.to_string(), error.hint().map(str::to_owned));
                }
            }
        });
        Ok(())
    }

    async fn stream(&mut self, bytes: Bytes) -> Result<(), LinkEnd> {
        let Into::Stream(writer) = &mut self.into else {
            return Ok(());
        };
        crash::pass(Step::StreamReceived);
        let end = writer.position().after(bytes.len());
        if let Some(receiving) = &self.receiving {
            receiving.received(end);
        }
        if let Some(behind) = asks_for_ack(&mut self.carry, &bytes) {
            // Everything before the request: to wait for the request itself would be to wait until a checkpoint moves for nothing else.
            let request = writer.position().get() + behind as u64;
            let last = Offset::new(request.saturating_sub(REQUEST_BYTES));
            let first = self.wanted.map_or(last, |wanted| wanted.first);
            self.wanted = Some(Wanted { first, last });
            self.checkpointed.mark_changed();
        }
        Counters::add(&self.progress.counters.log_bytes_written, bytes.len() as u64);
        loop {
            let Into::Stream(writer) = &mut self.into else {
                return Ok(());
            };
            match writer.append(bytes.clone()).await {
                Ok(end) => {
                    self.moved = true;
                    if let Some(receiving) = &self.receiving {
                        receiving.appended(end);
                    }
                    return Ok(());
                }
                Err(error @ log::Error::Full { .. }) if self.on_full == OnFull::Block => {
                    self.wait_for_room(bytes.len() as u64, &error).await?;
                }
                Err(error) => return Err(LinkEnd::Log(error)),
            }
        }
    }

    /// Leaves the link open and unread until an append has room. The source goes on hearing from us, or it would take us for dead.
    async fn wait_for_room(&mut self, bytes: u64, full: &log::Error) -> Result<(), LinkEnd> {
        let hint = "the target is behind: bring it back, or raise channel.storer.maxSize; the source is read again once there is room";
        tracing::warn!(hint, "link to the source not read: {full}");
        self.progress.report(full.to_string(), Some(hint.to_owned()));
        let space = Arc::clone(self.log.space());
        let room = space.wait_for_room(bytes + APPEND_OVERHEAD_BYTES);
        tokio::pin!(room);
        loop {
            tokio::select! {
                biased;
                _ = self.acks.tick() => self.acknowledge().await?,
                room = &mut room => return room.map_err(LinkEnd::Log),
            }
        }
    }
}

/// Where the source asks for an acknowledgement: bytes from the beginning of `chunk` to the end of the last such word in the stream up to its end. A value that
/// happens to hold the word causes one acknowledgement too many, which does no harm.
fn asks_for_ack(carry: &mut [u8; GETACK.len() - 1], chunk: &[u8]) -> Option<usize> {
    const KEPT: usize = GETACK.len() - 1;
    let head = &chunk[..chunk.len().min(KEPT)];
    let seam = [&carry[..], head].concat();
    let within = memmem::rfind(chunk, GETACK).map(|at| at + GETACK.len());
    let across = || memmem::find(&seam, GETACK).map(|at| at + GETACK.len() - KEPT);
    let tail = if chunk.len() >= KEPT { chunk } else { &seam };
    carry.copy_from_slice(&tail[tail.len() - KEPT..]);
    within.or_else(across)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_for_an_acknowledgement_is_seen_wherever_it_is_cut() {
        let stream = b"*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n";
        for size in 1..stream.len() {
            let mut carry = [0; GETACK.len() - 1];
            let seen: Vec<usize> = stream
                .chunks(size)
                .enumerate()
                .filter_map(|(n, chunk)| Some(n * size + asks_for_ack(&mut carry, chunk)?))
                .collect();
            assert_eq!(seen, [REQUEST_BYTES as usize], "cut in pieces of {size}");
        }
    }

    #[test]
    fn an_ordinary_stream_asks_for_none() {
        let mut carry = [0; GETACK.len() - 1];
        assert_eq!(asks_for_ack(&mut carry, b"*1\r\n$4\r\nPING\r\n"), None);
    }
}
