//! What all handles of one log share, and the I/O that changes it: appending, rolling, releasing, beginning anew.
//!
//! Two locks. The *pen* is the right to change files and is held while they are written; the *state* is what readers
//! look at and is held for bookkeeping only, so a reader never waits for the disk. Order: pen, then the space's
//! sweeping lock, then noting (the catalog's record), then state. Another log's pen is only ever tried for, never
//! waited for.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::watch;

use super::block::{self, BLOCK_HEADER_LEN, OVERHEAD};
use super::disk::{Disk, File};
use super::segment::Segment;
use super::snapshot;
use super::state::{Front, State};
use super::tail::Chunk;
use super::{Error, FlushPolicy, Space};
use crate::core::catalog::{Catalog, Durability};
use crate::core::crash::{self, Step};
use crate::core::position::{History, Offset, ReplId};

/// Takes a lock. A holder that panicked leaves plain data whose every step is complete, so its poison is no reason to
/// stop the other pipelines.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `work` on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::ShutDown),
    }
}

/// Where a log on disk has its files.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) disk: Disk,
    pub(super) dir: PathBuf,
    pub(super) catalog: Catalog,
    pub(super) segment_bytes: u64,
    pub(super) flush: FlushPolicy,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) name: String,
    pub(super) tail_bytes: u64,
    /// `None` for a log in memory.
    pub(super) store: Option<Store>,
    pub(super) space: Arc<Space>,
    pub(super) state: Mutex<State>,
    pub(super) pen: Mutex<()>,
    /// Held from looking at the state until the catalog says the same, so that no older record overwrites a newer one.
    pub(super) noting: Mutex<()>,
    /// Goes up with every change of the state that somebody may wait for.
    pub(super) news: watch::Sender<u64>,
}

impl Inner {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Wakes whoever waits for a change of the state.
    pub(super) fn tell(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    /// Appends to the stream; all of `bytes` or nothing.
    pub(super) fn append(self: &Arc<Self>, generation: u64, bytes: &Bytes) -> Result<Offset, Error> {
        let _pen = lock(&self.pen);
        let at = self.state().check_append(generation)?;
        if bytes.is_empty() {
            return Ok(at);
        }
        let chunks = chunks(at, bytes);
        match &self.store {
            Some(store) => self.write(store, &chunks)?,
            None => {
                let cost = chunks.iter().map(Chunk::cost).sum();
                self.space.take(cost, Some(self))?;
                self.state().bytes += cost;
            }
        }
        let end = {
            let mut state = self.state();
            state.appended(chunks);
            if self.store.is_some() {
                state.tail.shrink(self.space.tail_share());
            }
            state.end
        };
        self.tell();
        crash::pass(Step::BlockAppended);
        self.persist_by_policy();
        Ok(end)
    }

    /// Writes blocks to the page cache, in a segment that has room.
    fn write(self: &Arc<Self>, store: &Store, chunks: &[Chunk]) -> Result<(), Error> {
        let blocks: u64 = chunks
            .iter()
            .map(|chunk| (BLOCK_HEADER_LEN + chunk.bytes.len()) as u64)
            .sum();
        // With room for a new segment's header and seal: making room may release the one that is open now.
        let mut spare = blocks + OVERHEAD;
        self.space.take(spare, Some(self))?;
        let outcome = self.segment_with_room(store, &mut spare).and_then(|file| {
            write_blocks(&file, chunks)?;
            crash::pass(Step::BlockWritten);
            self.state().bytes += blocks;
            spare -= blocks;
            Ok(())
        });
        self.space.give_back(spare);
        outcome.map_err(|error| self.note_write_failure(error))
    }

    /// A segment whose end is unknown takes no more blocks.
    pub(super) fn note_write_failure(&self, error: Error) -> Error {
        if let Error::Broken(cause) = &error {
            self.state().broken = Some(cause.clone());
        }
        error
    }

    /// The segment to append to. One that has to be created is paid from `spare`.
    fn segment_with_room(self: &Arc<Self>, store: &Store, spare: &mut u64) -> Result<Arc<File>, Error> {
        let (at, id, open) = {
            let mut state = self.state();
            let id = state.history.ok_or(Error::NoHistory)?.id;
            let open = state
                .open_segment()
                .filter(|segment| segment.len < store.segment_bytes)
                .and_then(|segment| segment.file.clone());
            (state.end, id, open)
        };
        if let Some(file) = open {
            return Ok(file);
        }
        let file = Arc::new(create_segment(store, id, at)?);
        let mut segment = Segment::new(file.path(), id, at, SystemTime::now());
        segment.open = true;
        segment.file = Some(file.clone());
        *spare -= OVERHEAD;
        let rolled = {
            let mut state = self.state();
            let rolled = state.open_segment().map(|full| full.open = false).is_some();
            state.segments.push_back(segment);
            state.folder_changed = true;
            state.bytes += OVERHEAD;
            rolled
        };
        if rolled {
            crash::pass(Step::SegmentRolled);
            self.seal_finished();
        }
        Ok(file)
    }

    /// What could be released first here, and how old it is.
    pub(super) fn front(&self) -> Option<(Front, SystemTime)> {
        self.state().front()
    }

    /// Releases the oldest thing, or nothing; returns how many bytes that frees, for the caller to give back.
    /// `holds_pen` where the caller holds this log's pen. Removes files inline: some milliseconds for a segment.
    pub(super) fn release_front(&self, missing: u64, holds_pen: bool) -> Result<u64, Error> {
        let Some((front, _)) = self.front() else {
            return Ok(0);
        };
        match front {
            Front::Snapshot => self.release_snapshot(),
            Front::Finished => self.release_segment(front),
            Front::Open if holds_pen => self.release_segment(front),
            Front::Open => match self.pen.try_lock() {
                Ok(_pen) => self.release_segment(front),
                // Its writer is at work, so there will be more in it than may be released.
                Err(_) => Ok(0),
            },
            // More than is missing, so that not every append has to come here.
            Front::Chunks => Ok(self.state().pop_chunks(missing.saturating_add(1 << 20))),
        }
    }

    /// Removes the oldest segment if it is still what is to go. Where it is open, the caller holds the pen.
    fn release_segment(&self, expected: Front) -> Result<u64, Error> {
        let Some(store) = &self.store else {
            return Ok(0);
        };
        let (generation, segment) = {
            let mut state = self.state();
            if state.front().is_none_or(|(front, _)| front != expected) {
                return Ok(0);
            }
            match state.pop_segment() {
                Some(segment) => (state.generation, segment),
                None => return Ok(0),
            }
        };
        let freed = segment.bytes();
        if let Err(error) = store.disk.remove(&segment.path) {
            let mut state = self.state();
            if state.generation == generation {
                state.unpop_segment(segment);
                return Err(error);
            }
            // The log has begun anew meanwhile, and that sweeps the file away.
            return Ok(freed);
        }
        crash::pass(Step::SegmentRemoved);
        // Without a segment only the catalog can tell where the log begins. Where this note is lost the log
        // begins earlier, empty, and the checkpoint decides.
        if expected == Front::Open {
            self.note(Durability::Process)?;
        }
        Ok(freed)
    }

    /// Removes the snapshot if it is still what is to go.
    fn release_snapshot(&self) -> Result<u64, Error> {
        let Some(store) = &self.store else {
            return Ok(0);
        };
        let (generation, snapshot) = {
            let mut state = self.state();
            if state.front().is_none_or(|(front, _)| front != Front::Snapshot) {
                return Ok(0);
            }
            match state.snapshot.take() {
                Some(snapshot) => {
                    state.bytes -= snapshot.bytes_on_disk();
                    (state.generation, snapshot)
                }
                None => return Ok(0),
            }
        };
        let freed = snapshot.bytes_on_disk();
        let removed = snapshot::paths(&store.dir, snapshot.position.offset)
            .iter()
            .try_for_each(|path| store.disk.remove(path));
        if let Err(error) = removed {
            let mut state = self.state();
            if state.generation == generation {
                state.bytes += freed;
                state.snapshot = Some(snapshot);
                return Err(error);
            }
            return Ok(freed);
        }
        crash::pass(Step::SnapshotRemoved);
        self.tell();
        self.note(Durability::Process)?;
        Ok(freed)
    }

    /// Tells the catalog what the log holds now, if it follows a history.
    pub(super) fn note(&self, durability: Durability) -> Result<(), Error> {
        let Some(store) = &self.store else {
            return Ok(());
        };
        let _noting = lock(&self.noting);
        let record = self.state().record();
        if let Some(record) = record {
            store.catalog.put_log(&self.name, &record, durability)?;
        }
        Ok(())
    }

    /// Drops everything. The catalog forgets the log before its files go and knows the new one last of all: after a
    /// crash in between there is an empty log, and what is left of its files is swept away at opening.
    /// The caller holds the pen.
    pub(super) fn drop_everything(&self) -> Result<(), Error> {
        {
            let _noting = lock(&self.noting);
            {
                let mut state = self.state();
                if state.retired {
                    return Err(Error::Superseded);
                }
                state.reset();
            }
            if let Some(store) = &self.store {
                store.catalog.forget_log(&self.name)?;
            }
        }
        crash::pass(Step::LogForgotten);
        self.tell();
        if let Some(store) = &self.store {
            sweep_folder(&store.disk, &store.dir)?;
        }
        crash::pass(Step::LogSwept);
        let freed = std::mem::take(&mut self.state().bytes);
        self.space.give_back(freed);
        Ok(())
    }

    /// Makes a beginning durable that the state has already. The caller holds the pen, so nothing is appended before.
    pub(super) fn note_beginning(&self) -> Result<(), Error> {
        let noted = self.note(Durability::Durable);
        if noted.is_err() {
            self.state().reset();
        }
        self.tell();
        noted
    }

    /// Drops everything and begins an empty stream.
    pub(super) fn start_at(&self, history: History, offset: Offset) -> Result<(), Error> {
        let _pen = lock(&self.pen);
        self.drop_everything()?;
        self.state().begin(history, offset);
        self.note_beginning()?;
        crash::pass(Step::LogBegun);
        Ok(())
    }

    /// The same log is being opened again: this opening of it touches its files no more. Returns when it is at rest.
    /// Ends when a persist that is under way does.
    pub(super) async fn retire(self: Arc<Self>) -> Result<(), Error> {
        let mut news = self.news.subscribe();
        let log = self.clone();
        blocking(move || {
            let _pen = lock(&log.pen);
            let bytes = {
                let mut state = log.state();
                state.reset();
                state.retired = true;
                state.broken = Some(Arc::new(Error::Superseded));
                std::mem::take(&mut state.bytes)
            };
            log.space.give_back(bytes);
            log.tell();
            Ok(())
        })
        .await?;
        loop {
            news.borrow_and_update();
            let is_busy = {
                let state = self.state();
                state.persisting || state.finishing > 0
            };
            if !is_busy {
                return Ok(());
            }
            if news.changed().await.is_err() {
                return Err(Error::ShutDown);
            }
        }
    }

    /// Notes a history under its new name, durably, before any byte of it is appended. What follows goes into a new
    /// segment, so that each holds bytes of the id in its header alone.
    pub(super) fn rename_history(self: &Arc<Self>, history: History) -> Result<(), Error> {
        let _pen = lock(&self.pen);
        let _noting = lock(&self.noting);
        let mut record = self.state().record().ok_or(Error::NoHistory)?;
        let end = self.state().end;
        let is_new = record.history.id != history.id;
        if is_new {
            self.drop_empty_segment()?;
            record.former.retain(|(_, end)| *end > record.start);
            record.former.push((record.history.id, end));
        }
        record.history = history;
        if let Some(store) = &self.store {
            store.catalog.put_log(&self.name, &record, Durability::Durable)?;
        }
        crash::pass(Step::HistoryRenamed);
        let finished = {
            let mut state = self.state();
            state.history = Some(history);
            state.former = record.former;
            let open = state.open_segment().filter(|_| is_new);
            open.map(|segment| segment.open = false).is_some()
        };
        if finished {
            self.seal_finished();
        }
        Ok(())
    }

    /// Removes the newest segment where no block has come into it yet: its header names the id of before, and its
    /// successor would have its name. The caller holds the pen.
    fn drop_empty_segment(&self) -> Result<(), Error> {
        let Some(store) = &self.store else { return Ok(()) };
        let path = {
            let mut state = self.state();
            let empty = state.open_segment().filter(|one| one.start == one.end);
            empty.map(|segment| segment.path.clone())
        };
        let Some(path) = path else { return Ok(()) };
        store.disk.remove(&path)?;
        let freed = self.state().drop_last_segment();
        self.space.give_back(freed);
        Ok(())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let bytes = self.state().bytes;
        self.space.give_back(bytes);
        self.space.leave();
    }
}

fn chunks(at: Offset, bytes: &Bytes) -> Vec<Chunk> {
    let received_at = Some(Instant::now());
    let mut start = at;
    block::split(bytes)
        .map(|bytes| {
            let chunk = Chunk {
                start,
                bytes,
                received_at,
            };
            start = chunk.end();
            chunk
        })
        .collect()
}

fn write_blocks(file: &File, chunks: &[Chunk]) -> Result<(), Error> {
    let headers: Vec<[u8; BLOCK_HEADER_LEN]> = chunks
        .iter()
        .map(|chunk| block::block_header(chunk.start, &chunk.bytes))
        .collect();
    let mut parts: Vec<IoSlice<'_>> = headers
        .iter()
        .zip(chunks)
        .flat_map(|(header, chunk)| [IoSlice::new(header), IoSlice::new(&chunk.bytes)])
        .collect();
    file.append_at(Step::BlockTorn, &mut parts)
}

fn create_segment(store: &Store, id: ReplId, start: Offset) -> Result<File, Error> {
    let path = store.dir.join(block::file_name(start));
    let file = store.disk.create(&path)?;
    crash::pass(Step::SegmentCreated);
    let header = block::header(id, start);
    if let Err(error) = file.append_at(Step::SegmentTorn, &mut [IoSlice::new(&header)]) {
        // Without its header the file is nothing; should it stay, opening cuts it off.
        let _ = store.disk.remove(&path);
        return Err(match error {
            Error::Broken(cause) => Arc::into_inner(cause).unwrap_or(Error::ShutDown),
            other => other,
        });
    }
    crash::pass(Step::SegmentHeaded);
    Ok(file)
}

/// Whether a name in a pipeline's folder is one that a log gives.
pub(super) fn is_ours(name: &str) -> bool {
    [".seg", ".rdb", ".rdb.part"]
        .iter()
        .any(|suffix| block::offset_in_name(name, suffix).is_some())
}

/// Removes every file of a log from a folder, and says how many bytes went; what is not a log's stays.
pub(super) fn sweep_folder(disk: &Disk, folder: &Path) -> Result<u64, Error> {
    let mut freed = 0;
    for entry in disk.list(folder)? {
        if !entry.is_folder && is_ours(&entry.name) {
            disk.remove(&entry.path)?;
            freed += entry.len;
        }
    }
    disk.persist_folder(folder)?;
    Ok(freed)
}
