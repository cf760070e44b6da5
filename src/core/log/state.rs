//! What is known about a log at this moment: pure bookkeeping, no I/O, always under one short lock.
//!
//! Owns the extent, the segments, the tail, the snapshot and the generation. [`super::inner`] does the I/O and then
//! notes its outcome here; [`super::reader`] asks here where the next bytes are.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::Error;
use super::disk::File;
use super::segment::{self, Segment};
use super::snapshot::Snapshot;
use super::tail::{Chunk, Tail};
use crate::core::catalog::LogRecord;
use crate::core::position::{Extent, History, Offset, ReplId};

/// Where the bytes after some position are.
#[derive(Debug)]
pub(super) enum Look {
    /// In memory.
    Here(Chunk),
    /// In a segment.
    OnDisk(Place),
    /// They are not received yet.
    AtEnd,
}

/// A stretch of a segment that holds the bytes after some position.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    /// A block that follows this offset ...
    pub(super) offset: Offset,
    /// ... begins at this byte.
    pub(super) at: u64,
    /// Bytes up to here have been written whole.
    pub(super) until: u64,
}

/// What would be released first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Front {
    /// The snapshot.
    Snapshot,
    /// The oldest segment, which takes no more blocks.
    Finished,
    /// The only segment, which is still appended to: its writer's pen is needed.
    Open,
    /// The oldest chunks of a log in memory.
    Chunks,
}

/// Which bytes a persist is to make durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Want {
    /// Those of finished segments, so that they can be sealed.
    Finished,
    /// All of them.
    All,
}

/// What one persist does.
#[derive(Debug)]
pub(super) struct PersistPlan {
    pub(super) generation: u64,
    /// Oldest first: where it begins, its file, and the end to seal it with, if it is finished.
    pub(super) files: Vec<(Offset, Arc<File>, Option<Offset>)>,
    /// The folder has new files.
    pub(super) folder: bool,
    /// What is durable when all of it succeeded.
    pub(super) end: Offset,
}

#[derive(Debug)]
pub(super) struct State {
    /// Goes up whenever the log begins anew. In memory only: nobody who holds an older number survives a restart.
    pub(super) generation: u64,
    /// Durable in the catalog before any byte of it is appended.
    pub(super) history: Option<History>,
    /// The ids it had before, and where each of them ended. Durable with it.
    pub(super) former: Vec<(ReplId, Offset)>,
    pub(super) start: Offset,
    pub(super) end: Offset,
    /// Everything up to here survives a power cut. Set by [`super::persist`] and at opening.
    pub(super) persisted: Offset,
    /// The caller's word that nothing at or below this offset is needed any more. Not kept over a restart.
    pub(super) releasable: Option<Offset>,
    pub(super) segments: VecDeque<Segment>,
    pub(super) tail: Tail,
    pub(super) snapshot: Option<Snapshot>,
    /// What the log counts for in its space.
    pub(super) bytes: u64,
    /// Set once a persist has failed; from then on nothing is appended.
    pub(super) broken: Option<Arc<Error>>,
    /// The same log has been opened again: this one is out of use for good.
    pub(super) retired: bool,
    /// A segment has been created since the folder was last persisted.
    pub(super) folder_changed: bool,
    pub(super) writer_held: bool,
    /// A persist is under way; what it is to do next.
    pub(super) persisting: bool,
    /// So many snapshots are being made durable: one that another has superseded may still be.
    pub(super) finishing: usize,
    pub(super) wanted: Option<Want>,
    /// A timer for the next persist is running.
    pub(super) timer: bool,
}

impl State {
    /// A log that follows no history.
    pub(super) fn empty(tail_bytes_max: u64) -> State {
        State {
            generation: 1,
            history: None,
            former: Vec::new(),
            start: Offset::ZERO,
            end: Offset::ZERO,
            persisted: Offset::ZERO,
            releasable: None,
            segments: VecDeque::new(),
            tail: Tail::new(tail_bytes_max),
            snapshot: None,
            bytes: 0,
            broken: None,
            retired: false,
            folder_changed: false,
            writer_held: false,
            persisting: false,
            finishing: 0,
            wanted: None,
            timer: false,
        }
    }

    /// Forgets everything: readers and writers of before are superseded. The size stays until the files are gone.
    pub(super) fn reset(&mut self) {
        self.generation += 1;
        self.history = None;
        self.former.clear();
        self.start = Offset::ZERO;
        self.end = Offset::ZERO;
        self.persisted = Offset::ZERO;
        self.releasable = None;
        self.segments.clear();
        self.tail.clear();
        self.snapshot = None;
        self.broken = None;
        self.writer_held = false;
    }

    /// Follows `history` from `start` on.
    pub(super) fn begin(&mut self, history: History, start: Offset) {
        self.history = Some(history);
        self.start = start;
        self.end = start;
        self.persisted = start;
    }

    pub(super) fn extent(&self) -> Option<Extent> {
        self.history.map(|_| Extent {
            start: self.start,
            end: self.end,
        })
    }

    /// What the catalog is to say about this log.
    pub(super) fn record(&self) -> Option<LogRecord> {
        self.history.map(|history| LogRecord {
            history,
            former: self.former.clone(),
            start: self.start,
            snapshot: self.snapshot.as_ref().map(Snapshot::record),
        })
    }

    pub(super) fn check_generation(&self, generation: u64) -> Result<(), Error> {
        if generation == self.generation {
            return Ok(());
        }
        Err(Error::Superseded)
    }

    /// Whether something may be appended now, and after which offset it comes.
    pub(super) fn check_append(&self, generation: u64) -> Result<Offset, Error> {
        self.check_generation(generation)?;
        match &self.broken {
            None => Ok(self.end),
            Some(cause) => Err(Error::Broken(cause.clone())),
        }
    }

    /// Whether reading may begin or go on at `position`.
    pub(super) fn check_read(&self, position: Offset) -> Result<(), Error> {
        if position < self.start {
            return Err(Error::Released {
                wanted: position,
                start: self.start,
            });
        }
        if position > self.end {
            return Err(Error::Beyond {
                wanted: position,
                end: self.end,
            });
        }
        Ok(())
    }

    /// Where the bytes after `position` are.
    pub(super) fn look(&self, generation: u64, position: Offset) -> Result<Look, Error> {
        self.check_generation(generation)?;
        self.check_read(position)?;
        if position == self.end {
            return Ok(Look::AtEnd);
        }
        if let Some(chunk) = self.tail.at(position) {
            return Ok(Look::Here(chunk));
        }
        let Some(found) = segment::holding(&self.segments, position) else {
            // The segments reach from the start to the end without a gap, and in memory the tail does.
            debug_assert!(false, "offset {position} is in no segment");
            return Err(Error::Released {
                wanted: position,
                start: self.start,
            });
        };
        let (offset, at) = found.seek(position);
        Ok(Look::OnDisk(Place {
            path: found.path.clone(),
            offset,
            at,
            until: found.len,
        }))
    }

    /// The segment that is appended to.
    pub(super) fn open_segment(&mut self) -> Option<&mut Segment> {
        self.segments.back_mut().filter(|segment| segment.open)
    }

    /// Notes chunks that were appended, contiguous with what is there.
    pub(super) fn appended(&mut self, chunks: Vec<Chunk>) {
        for chunk in chunks {
            assert_eq!(chunk.start, self.end, "chunks are appended where the log ends");
            self.end = chunk.end();
            if let Some(segment) = self.open_segment() {
                segment.wrote(chunk.bytes.len());
            }
            self.tail.push(chunk);
        }
    }

    fn is_releasable(&self, offset: Offset) -> bool {
        self.releasable.is_some_and(|mark| offset <= mark)
    }

    /// What could be released first, and how old it is.
    pub(super) fn front(&self) -> Option<(Front, SystemTime)> {
        if let Some(snapshot) = &self.snapshot {
            let free = snapshot.is_abandoned()
                || (snapshot.is_at_rest() && self.is_releasable(snapshot.position.offset));
            let counts = free && snapshot.bytes_on_disk() > 0;
            if counts || !free {
                return counts.then_some((Front::Snapshot, snapshot.born));
            }
        }
        if let Some(oldest) = self.segments.front() {
            let free = self.is_releasable(oldest.end) && (oldest.end > oldest.start || !oldest.open);
            let front = if oldest.open { Front::Open } else { Front::Finished };
            return free.then_some((front, oldest.born));
        }
        let oldest = self.tail.oldest()?;
        let age = Instant::now().saturating_duration_since(oldest.received_at?);
        let born = SystemTime::now()
            .checked_sub(age)
            .unwrap_or(SystemTime::UNIX_EPOCH);
        self.is_releasable(oldest.end()).then_some((Front::Chunks, born))
    }

    /// Takes the oldest segment out; the log begins after it.
    pub(super) fn pop_segment(&mut self) -> Option<Segment> {
        let segment = self.segments.pop_front()?;
        self.start = segment.end;
        self.bytes -= segment.bytes();
        // Bytes below the start are gone, also where the tail still has them: one rule for all.
        while self.tail.oldest().is_some_and(|chunk| chunk.end() <= self.start) {
            self.tail.pop();
        }
        Some(segment)
    }

    /// Takes the newest segment out, in which nothing is; says how many bytes that frees.
    pub(super) fn drop_last_segment(&mut self) -> u64 {
        let freed = self.segments.pop_back().map_or(0, |segment| segment.bytes());
        self.bytes -= freed;
        freed
    }

    /// Puts a segment back that could not be released after all.
    pub(super) fn unpop_segment(&mut self, segment: Segment) {
        self.start = segment.start;
        self.bytes += segment.bytes();
        self.segments.push_front(segment);
    }

    /// Takes releasable chunks out of a log in memory until `enough` bytes are free; says how many are.
    pub(super) fn pop_chunks(&mut self, enough: u64) -> u64 {
        let mut freed = 0;
        while freed < enough {
            let Some(end) = self.tail.oldest().map(Chunk::end) else {
                break;
            };
            if !self.is_releasable(end) {
                break;
            }
            freed += self.tail.pop().map_or(0, |chunk| chunk.cost());
            self.start = end;
        }
        self.bytes -= freed;
        freed
    }

    /// What a persist has to do now.
    pub(super) fn persist_plan(&mut self, want: Want) -> PersistPlan {
        let mut plan = PersistPlan {
            generation: self.generation,
            files: Vec::new(),
            folder: std::mem::take(&mut self.folder_changed),
            end: self.persisted,
        };
        for segment in &self.segments {
            let Some(file) = &segment.file else {
                continue;
            };
            if segment.open && want == Want::Finished {
                return plan;
            }
            let seal = (!segment.open).then_some(segment.end);
            plan.files.push((segment.start, file.clone(), seal));
            plan.end = segment.end;
        }
        // Also what has been released in between needs no persist any more.
        plan.end = self.end;
        plan
    }

    /// Notes that a persist has succeeded; `sealed` are the starts of the segments that now have their seal.
    pub(super) fn persisted(&mut self, plan: &PersistPlan, sealed: &[Offset]) {
        if plan.generation != self.generation {
            return;
        }
        for segment in &mut self.segments {
            if sealed.contains(&segment.start) {
                segment.file = None;
            }
        }
        self.persisted = self.persisted.max(plan.end);
    }
}
