//! What a follower does with each frame: from the leader's mouth into its own log and ladder.
//!
//! Owns one link's place in the log. Promises that a byte is appended only where it belongs: after the bytes before it, and under a history that has been
//! noted. Nothing here is ever cancelled half-way: whoever waits for frames does so elsewhere.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::follower::Heard;
use super::wire::{Decoder, Frame, Standing};
use super::{Ask, Error};
use crate::core::crash::{self, Step};
use crate::core::log::{self, Log, SnapshotWriter, Stage, Writer};
use crate::core::position::{History, Offset, Position};
use crate::core::progress::{Counters, FullSync, Mirroring, Progress, Receiving, Told};

/// Why a snapshot is shown as being received.
const REASON: &str = "copied from the leader";

/// The stream is appended in pieces of at most so much.
const PIECE_BYTES: usize = 128 << 10;

/// What one link works with.
pub(super) struct Copy {
    log: Log,
    progress: Arc<Progress>,
    heard: watch::Sender<Heard>,
    decoder: Decoder,
    history: Option<History>,
    into: Into,
    ladder: Option<(Receiving, Mirroring)>,
    /// What the log holds is not to be continued, whatever the leader says.
    begins_anew: bool,
    /// Making the snapshot durable; the stream does not wait for it.
    pub(super) finishing: Option<Finishing>,
    /// Something has been appended.
    pub(super) has_moved: bool,
}

pub(super) type Finishing = JoinHandle<Result<(), log::Error>>;

enum Into {
    Nowhere,
    Snapshot(Box<SnapshotWriter>),
    Stream(Writer),
}

/// What of the log can go on, where something can.
fn usable(log: &Log) -> Option<(History, Offset)> {
    let (history, extent, snapshot) = log.look()?;
    let is_broken_off = snapshot.is_some_and(|one| one.stage == Stage::Abandoned);
    (!is_broken_off).then_some((history, extent.end))
}

/// What to ask the leader for.
pub(super) fn ask(log: &Log, begins_anew: bool, is_too_small: bool) -> Ask {
    let end = usable(log)
        .filter(|_| !begins_anew)
        .map(|(history, offset)| Position {
            id: history.id,
            offset,
        });
    let whole = log.snapshot().filter(|one| one.stage.is_here());
    Ask {
        end,
        snapshot: whole.map(|one| one.position.offset),
        is_without_snapshots: is_too_small || !log.resumable(),
    }
}

impl Copy {
    pub(super) fn new(
        log: &Log,
        progress: &Arc<Progress>,
        heard: &watch::Sender<Heard>,
        begins_anew: bool,
    ) -> Copy {
        Copy {
            log: log.clone(),
            progress: Arc::clone(progress),
            heard: heard.clone(),
            decoder: Decoder::new(),
            history: None,
            into: Into::Nowhere,
            ladder: None,
            begins_anew,
            finishing: None,
            has_moved: false,
        }
    }

    /// Whether the leader has said where it begins, so that this link is up.
    pub(super) fn has_begun(&self) -> bool {
        !matches!(self.into, Into::Nowhere)
    }

    /// Bytes of a snapshot that is still being received.
    pub(super) fn half_a_snapshot(&self) -> Option<u64> {
        match &self.into {
            Into::Snapshot(writer) => Some(writer.received_bytes()),
            Into::Nowhere | Into::Stream(_) => None,
        }
    }

    /// Takes the next bytes of the body.
    pub(super) async fn take(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.decoder.push(bytes);
        while let Some(frame) = self.decoder.next_frame()? {
            self.apply(frame).await?;
        }
        Ok(())
    }

    async fn apply(&mut self, frame: Frame) -> Result<(), Error> {
        match frame {
            Frame::History(history) => self.name(history).await,
            Frame::Begins(offset) => self.begin(offset).await,
            Frame::SnapshotBegins { offset, declared } => self.begin_snapshot(offset, declared).await,
            Frame::Snapshot(bytes) => self.snapshot(bytes).await,
            Frame::SnapshotEnds => self.end_snapshot(),
            Frame::Stream { start, bytes } => self.pieces(start, &bytes).await,
            Frame::Standing(standing) => {
                self.stand(standing);
                Ok(())
            }
            Frame::Windows(json) => {
                self.heard.send_modify(|heard| heard.windows = Arc::from(json));
                Ok(())
            }
        }
    }

    /// Before the log has been brought to where the leader begins, the name is only remembered.
    async fn name(&mut self, history: History) -> Result<(), Error> {
        self.history = Some(history);
        match &self.into {
            Into::Nowhere => Ok(()),
            Into::Snapshot(_) | Into::Stream(_) => self.rename(history).await,
        }
    }

    async fn rename(&self, history: History) -> Result<(), Error> {
        let known = self.log.history().ok_or(log::Error::NoHistory)?;
        if known == history {
            return Ok(());
        }
        let end = Position {
            id: known.id,
            offset: self.log.appended(),
        };
        if !history.contains(&end) {
            return Err(Error::OtherHistory { end, id: history.id });
        }
        tracing::info!(old = %known.id, new = %history.id, at = %end.offset, "the leader's history goes on under a new id");
        Ok(self.log.rename_history(history).await?)
    }

    async fn begin(&mut self, offset: Offset) -> Result<(), Error> {
        let history = self.is_beginning("Begins")?;
        let goes_on = usable(&self.log).filter(|(known, end)| {
            let end_position = Position {
                id: known.id,
                offset: *end,
            };
            !self.begins_anew && *end == offset && history.contains(&end_position)
        });
        let receiving = match goes_on {
            Some(_) => {
                self.rename(history).await?;
                self.progress.receiving(offset)
            }
            None => {
                tracing::info!(%offset, "the copy of the leader's log begins anew");
                self.log.start_at(history, offset).await?;
                self.progress.begin_history(offset)
            }
        };
        self.into = Into::Stream(self.log.writer()?);
        self.link_is_up(receiving);
        crash::pass(Step::CopyBegun);
        Ok(())
    }

    async fn begin_snapshot(&mut self, offset: Offset, declared: Option<u64>) -> Result<(), Error> {
        let history = self.is_beginning("SnapshotBegins")?;
        if !self.log.resumable() {
            return Err(Error::Unasked("a snapshot, which a log in memory cannot keep"));
        }
        tracing::info!(%offset, bytes = declared, "the leader sends its snapshot");
        let writer = self.log.begin_snapshot(history, offset, declared).await?;
        // The log first, then the ladder: whoever plans reads the ladder's generation before the log.
        let receiving = self.progress.begin_history(offset);
        self.progress.begin_full_sync(REASON, declared);
        self.into = Into::Snapshot(Box::new(writer));
        self.link_is_up(receiving);
        Ok(())
    }

    /// A link begins once, and under a history.
    fn is_beginning(&self, what: &'static str) -> Result<History, Error> {
        match (&self.into, self.history) {
            (Into::Nowhere, Some(history)) => Ok(history),
            (Into::Nowhere | Into::Snapshot(_) | Into::Stream(_), _) => Err(Error::Unasked(what)),
        }
    }

    fn link_is_up(&mut self, receiving: Receiving) {
        self.begins_anew = false;
        self.ladder = Some((receiving, self.progress.begin_mirroring()));
        self.progress.set_link(true);
        self.heard.send_modify(|heard| heard.is_linked = true);
    }

    async fn snapshot(&mut self, bytes: Bytes) -> Result<(), Error> {
        let Into::Snapshot(writer) = &mut self.into else {
            return Err(Error::Unasked("bytes of a snapshot"));
        };
        let len = bytes.len() as u64;
        writer.append(bytes).await?;
        self.has_moved = true;
        Counters::add(&self.progress.counters.snapshot_bytes_written, len);
        Counters::add(&self.progress.counters.log_bytes_copied, len);
        let received = writer.received_bytes();
        self.progress
            .update_full_sync(|one| one.received_bytes = received);
        Ok(())
    }

    fn end_snapshot(&mut self) -> Result<(), Error> {
        let Into::Snapshot(writer) = std::mem::replace(&mut self.into, Into::Nowhere) else {
            return Err(Error::Unasked("the end of a snapshot"));
        };
        let received = writer.received_bytes();
        tracing::info!(bytes = received, "the leader's snapshot is here");
        self.progress
            .update_full_sync(|one| one.total_bytes = Some(received));
        let stream = self.log.writer()?;
        self.finishing = Some(tokio::spawn(writer.finish()));
        self.into = Into::Stream(stream);
        Ok(())
    }

    /// What the log keeps in memory is copied in pieces such as the source's socket gives: it keeps no buffer of the link alive beside it, and takes no more than
    /// the leader's.
    async fn pieces(&mut self, start: Offset, bytes: &[u8]) -> Result<(), Error> {
        let mut at = start;
        for piece in bytes.chunks(PIECE_BYTES) {
            self.stream(at, Bytes::copy_from_slice(piece)).await?;
            at = at.after(piece.len());
        }
        Ok(())
    }

    async fn stream(&mut self, start: Offset, bytes: Bytes) -> Result<(), Error> {
        let Into::Stream(writer) = &mut self.into else {
            return Err(Error::Unasked("bytes of the stream"));
        };
        let expected = writer.position();
        if start != expected {
            return Err(Error::Gap {
                expected,
                found: start,
            });
        }
        let (len, end) = (bytes.len() as u64, start.after(bytes.len()));
        if let Some((receiving, _)) = &self.ladder {
            receiving.received(end);
        }
        match writer.append(bytes).await {
            Ok(end) => {
                if let Some((receiving, _)) = &self.ladder {
                    receiving.appended(end);
                }
            }
            Err(error) => {
                // What was refused will be asked for again: received is what the log has.
                self.ladder = None;
                drop(self.progress.receiving(expected));
                return Err(error.into());
            }
        }
        crash::pass(Step::CopyAppended);
        self.has_moved = true;
        Counters::add(&self.progress.counters.log_bytes_written, len);
        Counters::add(&self.progress.counters.log_bytes_copied, len);
        Ok(())
    }

    /// What the leader has recorded on the target is not needed here any more either. A leader that is live has all of its snapshot on the target.
    fn stand(&mut self, standing: Standing) {
        let Some((_, mirroring)) = &self.ladder else {
            return;
        };
        mirroring.told(Told {
            received: standing.received,
            source: standing.source,
            applied: standing.applied,
            checkpointed: standing.checkpointed,
        });
        self.log.set_releasable(standing.checkpointed);
        if standing.is_exact && matches!(self.into, Into::Stream(_)) {
            self.progress.update_full_sync(FullSync::complete);
        }
        self.heard.send_modify(|heard| {
            heard.standing = Some(standing);
            heard.at = Some(Instant::now());
        });
    }
}
