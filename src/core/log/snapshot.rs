//! The snapshot before the stream: received by one, read by others while it still grows.
//!
//! On disk it is a plain RDB file in the pipeline's folder: `{offset, 20 digits}.rdb.part` while it is received; then
//! persisted, its length noted in the catalog, renamed to `.rdb`, and the folder persisted, while the stream is appended already and readers
//! come to the end. So an `.rdb` of that length is whole, and a `.part` that is found at opening without it is the remains of a crash and removed:
//! no source continues a snapshot.
//!
//! In memory it is a queue of bounded size, whose writer waits for the reader: what has been read is gone, and nobody
//! can begin again.
//!
//! Leaves to others what the bytes mean, and whether their checksum is right.

mod file;
mod reader;
mod writer;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

pub use file::SnapshotFile;
pub use reader::SnapshotReader;
pub use writer::SnapshotWriter;

use super::Error;
use super::disk::File;
use crate::core::catalog::SnapshotRecord;
use crate::core::position::{Offset, Position};

/// Bytes kept in memory for a reader that keeps up; also the bound of the queue of a snapshot in memory.
pub(super) const TAIL_BYTES_MAX: u64 = 4 << 20;

/// How far receiving a snapshot has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It is being received.
    Receiving,
    /// All its bytes are here, and can be read to the end; on disk, not durably yet. What is lost by a crash now is asked for again.
    Received,
    /// It is all there; on disk, durably.
    Whole,
    /// It is all there, and the disk did not make it durable: it is good until the log begins anew, and does not survive a restart.
    Unkept,
    /// Its writer gave up before all bytes had come. It stays so until the log begins anew, and does not survive a restart.
    Abandoned,
}

impl Stage {
    /// Whether all bytes are here.
    #[must_use]
    pub fn is_here(self) -> bool {
        matches!(self, Stage::Received | Stage::Whole | Stage::Unkept)
    }
}

/// What there is to know about the log's snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// The position it brings an empty target to; the stream follows from its offset on.
    pub position: Position,
    /// Bytes received.
    pub received_bytes: u64,
    /// The length that the source announced, if it did.
    pub declared_bytes: Option<u64>,
    /// How far it has come.
    pub stage: Stage,
    /// Whether it can be read again after a restart.
    pub resumable: bool,
    /// When receiving began, Unix ms.
    pub begun_ms: u64,
    /// When it was whole, Unix ms.
    pub whole_ms: Option<u64>,
}

/// Where the next bytes of a snapshot are.
#[derive(Debug)]
pub(super) enum Piece {
    Here(Bytes),
    /// In the file, whole up to this byte.
    OnDisk(Arc<File>, u64),
    NotYet,
    End,
}

#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) position: Position,
    pub(super) stage: Stage,
    pub(super) received: u64,
    pub(super) declared: Option<u64>,
    pub(super) born: SystemTime,
    pub(super) begun_ms: u64,
    pub(super) whole_ms: Option<u64>,
    /// Its bytes are durable, and the catalog says how many.
    pub(super) noted: bool,
    /// `None` for a snapshot in memory.
    pub(super) file: Option<Arc<File>>,
    /// The newest pieces, each with the byte it begins at; in memory, all that are not read yet.
    pieces: VecDeque<(u64, Bytes)>,
    pieces_bytes: u64,
}

/// The names a snapshot's file can have: while it is received, and when it is whole.
pub(super) fn paths(dir: &Path, offset: Offset) -> [PathBuf; 2] {
    ["rdb.part", "rdb"].map(|suffix| dir.join(format!("{:020}.{suffix}", offset.get())))
}

pub(super) fn now_ms() -> u64 {
    // A clock before 1970 only spoils what people are shown.
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

impl Snapshot {
    /// A snapshot of which nothing has been received; `file` for one on disk.
    pub(super) fn begin(position: Position, declared: Option<u64>, file: Option<Arc<File>>) -> Snapshot {
        Snapshot {
            position,
            stage: Stage::Receiving,
            received: 0,
            declared,
            born: SystemTime::now(),
            begun_ms: now_ms(),
            whole_ms: None,
            noted: false,
            file,
            pieces: VecDeque::new(),
            pieces_bytes: 0,
        }
    }

    /// A whole snapshot that was found at opening.
    pub(super) fn found(record: &SnapshotRecord, file: Arc<File>, born: SystemTime) -> Snapshot {
        Snapshot {
            stage: Stage::Whole,
            received: file.len(),
            declared: record.len,
            born,
            begun_ms: record.begun_ms,
            whole_ms: record.whole_ms,
            ..Snapshot::begin(record.position, None, Some(file))
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.stage == Stage::Whole
    }

    /// Whether nothing more happens to it, so that it may be released.
    pub(super) fn is_at_rest(&self) -> bool {
        matches!(self.stage, Stage::Whole | Stage::Unkept)
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.stage == Stage::Abandoned
    }

    /// What it counts for in the space: a queue in memory has a bound of its own.
    pub(super) fn bytes_on_disk(&self) -> u64 {
        self.file.as_ref().map_or(0, |_| self.received)
    }

    pub(super) fn record(&self) -> SnapshotRecord {
        SnapshotRecord {
            position: self.position,
            len: (self.noted || self.is_whole()).then_some(self.received),
            begun_ms: self.begun_ms,
            whole_ms: self.whole_ms,
        }
    }

    pub(super) fn info(&self) -> SnapshotInfo {
        SnapshotInfo {
            position: self.position,
            received_bytes: self.received,
            declared_bytes: self.declared,
            stage: self.stage,
            resumable: self.file.is_some(),
            begun_ms: self.begun_ms,
            whole_ms: self.whole_ms,
        }
    }

    /// Whether the queue of a snapshot in memory takes so many bytes more. One piece always fits into an empty one.
    fn has_room(&self, bytes: usize, bound: u64) -> bool {
        self.pieces.is_empty() || self.pieces_bytes + bytes as u64 <= bound
    }

    /// Notes a received piece.
    fn push(&mut self, piece: Bytes) {
        self.pieces_bytes += piece.len() as u64;
        let at = self.received;
        self.received += piece.len() as u64;
        self.pieces.push_back((at, piece));
    }

    /// Lets the oldest pieces go that exceed `bound`: the file has them.
    fn trim(&mut self, bound: u64) {
        while self.pieces_bytes > bound {
            self.pop();
        }
    }

    fn pop(&mut self) -> Option<(u64, Bytes)> {
        let (at, piece) = self.pieces.pop_front()?;
        self.pieces_bytes -= piece.len() as u64;
        Some((at, piece))
    }

    /// Where the bytes from `at` on are. In memory they are taken out of the queue.
    pub(super) fn piece(&mut self, at: u64) -> Result<Piece, Error> {
        if self.is_abandoned() {
            return Err(Error::Abandoned {
                received: self.received,
            });
        }
        if at == self.received {
            return Ok(if self.stage.is_here() {
                Piece::End
            } else {
                Piece::NotYet
            });
        }
        match &self.file {
            _ if at > self.received => Err(Error::NoSnapshot { wanted: at }),
            Some(file) => Ok(match self.kept(at) {
                Some(bytes) => Piece::Here(bytes),
                None => Piece::OnDisk(file.clone(), self.received),
            }),
            None => match self.pieces.front() {
                Some((start, _)) if *start == at => {
                    Ok(self.pop().map_or(Piece::NotYet, |(_, bytes)| Piece::Here(bytes)))
                }
                _ => Err(Error::NoSnapshot { wanted: at }),
            },
        }
    }

    fn kept(&self, at: u64) -> Option<Bytes> {
        let after = self.pieces.partition_point(|(start, _)| *start <= at);
        let (start, bytes) = &self.pieces[after.checked_sub(1)?];
        let skipped = usize::try_from(at - start).ok()?;
        (skipped < bytes.len()).then(|| bytes.slice(skipped..))
    }
}
