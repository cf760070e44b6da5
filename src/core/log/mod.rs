//! The replication log of one source: at most one snapshot, and the contiguous stream after it.
//!
//! Owns the bytes between the source and the target: what has been received and may still be needed. Promises:
//!
//! - What is read at an offset is what was appended at it, or an error: never a gap, never padding. A tail torn by a
//!   crash is cut and reported; anything else wrong is an error naming file and offset.
//! - Only what the owner has called releasable is released, and only when its room is needed ([`Space`]).
//! - The cap on the size holds at every moment; where nothing can be released an append says [`Error::Full`].
//! - A reader that keeps up never touches the disk; appending never waits for a reader.
//! - The history is durable before the first byte that belongs to it.
//!
//! Leaves to others: what the bytes mean; when something is releasable; what to do when the log is full. Where a log
//! is opened, its folder must be held ([`disk::FolderLock`]).
//!
//! One source has one [`Log`]; its handles are cheap to clone. The task that receives has the [`SnapshotWriter`] and
//! then the [`Writer`], tasks that apply have a [`SnapshotReader`] and a [`Reader`]. When the log begins anew
//! ([`Log::begin_snapshot`], [`Log::start_at`]) all of these learn it by [`Error::Superseded`].

pub mod disk;
mod error;
mod folder;
mod inner;
mod persist;
mod reader;
mod recovery;
pub mod block;
mod segment;
mod snapshot;
mod space;
mod state;
mod tail;
mod writer;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

pub use disk::Disk;
pub use error::Error;
pub use folder::{StoredPipeline, list_pipelines, remove_pipeline};
pub use persist::FlushPolicy;
pub use reader::Reader;
pub use recovery::{Recovery, Torn};
pub use snapshot::{SnapshotFile, SnapshotInfo, SnapshotReader, SnapshotWriter, Stage};
pub use space::Space;
pub use tail::Chunk;
pub use writer::Writer;

use inner::{Inner, Store, blocking};
use state::{State, Want};

use super::catalog::Catalog;
use super::position::{Extent, History, Offset};

/// How much of the newest stream is kept in memory, unless the settings say otherwise.
pub const TAIL_BYTES: u64 = 16 << 20;
/// How long a segment gets, unless the settings say otherwise.
pub const SEGMENT_BYTES: u64 = 64 << 20;

/// Where a log keeps its bytes.
#[derive(Debug, Clone)]
pub enum Storage {
    /// In files below a folder.
    Disk(OnDisk),
    /// In memory only, as far as the [`Space`] goes: nothing survives a restart.
    Memory,
}

/// How a log keeps its bytes on disk.
#[derive(Debug, Clone)]
pub struct OnDisk {
    /// The folder of all pipelines; this one's files are in `{root}/{name}/`.
    pub root: PathBuf,
    /// The filesystem.
    pub disk: Disk,
    /// Where the facts beside the files are kept.
    pub catalog: Catalog,
    /// A segment that has reached this length takes no more chunks. Releasing goes segment by segment, so this
    /// should be a small part of the cap.
    pub segment_bytes: u64,
    /// When appended bytes are made durable.
    pub flush: FlushPolicy,
}

/// What a log is made of.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The pipeline's name, which is also its folder's.
    pub name: String,
    /// Where the bytes go.
    pub storage: Storage,
    /// How much of the newest stream a log on disk keeps in memory beside.
    pub tail_bytes: u64,
}

/// The log of one source. Clones share it.
#[derive(Debug, Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

impl Log {
    /// Opens a log: reads back what is on disk, or begins with nothing. Where the log of that name is open in the
    /// same space already, that opening of it is superseded.
    ///
    /// # Errors
    /// [`Error::Rot`] and [`Error::Gap`] where what is there cannot be trusted ([`Log::open_empty`] is the way out),
    /// [`Error::NewerFormat`], [`Error::BadName`], [`Error::Io`], [`Error::Catalog`].
    pub async fn open(settings: Settings, space: &Arc<Space>) -> Result<(Log, Recovery), Error> {
        retire(&settings.name, space).await?;
        let space = space.clone();
        blocking(move || open(settings, space)).await
    }

    /// Opens a log and drops whatever there is of it.
    ///
    /// # Errors
    /// [`Error::BadName`], [`Error::Io`], [`Error::Catalog`].
    pub async fn open_empty(settings: Settings, space: &Arc<Space>) -> Result<Log, Error> {
        retire(&settings.name, space).await?;
        let space = space.clone();
        blocking(move || {
            if let Storage::Disk(storage) = &settings.storage {
                let dir = folder::path(&storage.root, &settings.name)?;
                storage.catalog.forget_log(&settings.name)?;
                storage.disk.create_folder(&dir)?;
                inner::sweep_folder(&storage.disk, &dir)?;
            }
            open(settings, space).map(|(log, _)| log)
        })
        .await
    }

    /// Drops everything and begins a snapshot of `history` at `offset`, which the stream follows.
    /// `declared` is its length, where the source says it beforehand.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NoSpace`], [`Error::Catalog`]; the log is empty then.
    pub async fn begin_snapshot(
        &self,
        history: History,
        offset: Offset,
        declared: Option<u64>,
    ) -> Result<SnapshotWriter, Error> {
        let inner = self.inner.clone();
        blocking(move || inner.begin_snapshot(history, offset, declared)).await
    }

    /// Drops everything and begins an empty stream of `history` at `offset`.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Catalog`]; the log is empty then.
    pub async fn start_at(&self, history: History, offset: Offset) -> Result<(), Error> {
        let inner = self.inner.clone();
        blocking(move || inner.start_at(history, offset)).await
    }

    /// Notes, durably, that the history goes on under another id. To be called before bytes received under that id
    /// are appended.
    ///
    /// # Errors
    /// [`Error::NoHistory`], [`Error::Catalog`], [`Error::Io`]; it has the name of before then.
    pub async fn rename_history(&self, history: History) -> Result<(), Error> {
        let inner = self.inner.clone();
        blocking(move || inner.rename_history(history)).await
    }

    /// The writer of the stream.
    ///
    /// # Errors
    /// [`Error::NoHistory`], [`Error::SnapshotUnfinished`], [`Error::WriterHeld`], [`Error::Broken`].
    pub fn writer(&self) -> Result<Writer, Error> {
        let mut state = self.inner.state();
        if state.history.is_none() {
            return Err(Error::NoHistory);
        }
        if state
            .snapshot
            .as_ref()
            .is_some_and(snapshot::Snapshot::is_abandoned)
        {
            return Err(Error::SnapshotUnfinished);
        }
        state.check_append(state.generation)?;
        if std::mem::replace(&mut state.writer_held, true) {
            return Err(Error::WriterHeld);
        }
        let generation = state.generation;
        drop(state);
        Ok(Writer::new(self.inner.clone(), generation))
    }

    /// Reads the stream from just after `from`.
    ///
    /// # Errors
    /// [`Error::NoHistory`], [`Error::Released`], [`Error::Beyond`].
    pub fn reader(&self, from: Offset) -> Result<Reader, Error> {
        let state = self.inner.state();
        state.history.ok_or(Error::NoHistory)?;
        state.check_read(from)?;
        let generation = state.generation;
        drop(state);
        Ok(Reader::new(self.inner.clone(), generation, from))
    }

    /// Reads the snapshot from byte `from` on.
    ///
    /// # Errors
    /// [`Error::NoSnapshot`], [`Error::Abandoned`].
    pub fn snapshot_reader(&self, from: u64) -> Result<SnapshotReader, Error> {
        let state = self.inner.state();
        match &state.snapshot {
            Some(one) if one.is_abandoned() => {
                return Err(Error::Abandoned {
                    received: one.received,
                });
            }
            Some(one) if from <= one.received => {}
            _ => return Err(Error::NoSnapshot { wanted: from }),
        }
        let generation = state.generation;
        drop(state);
        Ok(SnapshotReader::new(self.inner.clone(), generation, from))
    }

    /// History, extent and snapshot, at one moment; `None` for an empty log.
    #[must_use]
    pub fn look(&self) -> Option<(History, Extent, Option<SnapshotInfo>)> {
        let state = self.inner.state();
        let snapshot = state.snapshot.as_ref().map(snapshot::Snapshot::info);
        Some((state.history?, state.extent()?, snapshot))
    }

    /// What there is of a snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Option<SnapshotInfo> {
        let state = self.inner.state();
        state.snapshot.as_ref().map(snapshot::Snapshot::info)
    }

    /// The snapshot as a file; `None` where there is no whole one on disk.
    #[must_use]
    pub fn snapshot_file(&self) -> Option<SnapshotFile> {
        let state = self.inner.state();
        let whole = state.snapshot.as_ref().filter(|one| one.is_whole())?;
        Some(SnapshotFile::new(whole.position, whole.file.clone()?))
    }

    /// The history that is followed; `None` for an empty log.
    #[must_use]
    pub fn history(&self) -> Option<History> {
        self.inner.state().history
    }

    /// What can be read of the stream; `None` for an empty log.
    #[must_use]
    pub fn extent(&self) -> Option<Extent> {
        self.inner.state().extent()
    }

    /// The offset of the last byte appended.
    #[must_use]
    pub fn appended(&self) -> Offset {
        self.inner.state().end
    }

    /// The offset up to which the stream survives a power cut; `None` for a log in memory.
    #[must_use]
    pub fn persisted(&self) -> Option<Offset> {
        self.inner.store.as_ref()?;
        Some(self.inner.state().persisted)
    }

    /// The offset below which everything has been released, or never was there.
    #[must_use]
    pub fn released(&self) -> Offset {
        self.inner.state().start
    }

    /// Bytes that this log takes of its space.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        self.inner.state().bytes
    }

    /// Goes up whenever the log begins anew.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.inner.state().generation
    }

    /// Whether what is in the log outlives the process.
    #[must_use]
    pub fn resumable(&self) -> bool {
        self.inner.store.is_some()
    }

    /// The room it shares with the others.
    #[must_use]
    pub fn space(&self) -> &Arc<Space> {
        &self.inner.space
    }

    /// Says that nothing at or below `offset` is needed any more: it is checkpointed on the target. The snapshot goes
    /// with that once `offset` has reached it. A lower offset than before takes back what has not been released yet,
    /// as after a failover of the target. Where this is never called, nothing is released.
    pub fn set_releasable(&self, offset: Offset) {
        self.inner.state().releasable = Some(offset);
        self.inner.space.tell();
    }

    /// Makes everything durable that has been appended. Does nothing for a log in memory.
    ///
    /// # Errors
    /// [`Error::Broken`] where the disk refuses.
    pub async fn persist(&self) -> Result<(), Error> {
        if self.inner.store.is_none() {
            return Ok(());
        }
        let (generation, end) = {
            let state = self.inner.state();
            (state.generation, state.end)
        };
        self.inner.start_persist(Want::All);
        self.inner.persisted_to(generation, end).await
    }
}

/// Two openings of one log would write the same files.
async fn retire(name: &str, space: &Space) -> Result<(), Error> {
    while let Some(log) = space.open_log(name) {
        log.retire().await?;
    }
    Ok(())
}

fn open(settings: Settings, space: Arc<Space>) -> Result<(Log, Recovery), Error> {
    let Settings {
        name,
        storage,
        tail_bytes,
    } = settings;
    let (store, state, recovery) = match storage {
        Storage::Memory => (None, State::empty(u64::MAX), Recovery::default()),
        Storage::Disk(storage) => {
            let store = Store {
                dir: folder::path(&storage.root, &name)?,
                disk: storage.disk,
                catalog: storage.catalog,
                segment_bytes: storage.segment_bytes,
                flush: storage.flush,
            };
            let (state, recovery) = recovery::recover(&name, &store, tail_bytes)?;
            (Some(store), state, recovery)
        }
    };
    let bytes = state.bytes;
    let inner = Arc::new(Inner {
        name,
        tail_bytes,
        store,
        space,
        state: Mutex::new(state),
        pen: Mutex::new(()),
        noting: Mutex::new(()),
        news: watch::Sender::new(0),
    });
    inner.space.join(&inner, bytes);
    Ok((Log { inner }, recovery))
}

#[cfg(test)]
mod tests;
