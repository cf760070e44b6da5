//! The database while it is open, and opening it again.
//!
//! A database that could not write something takes nothing more: nobody knows what of it the disk has. Opened again it
//! reads back what there is and goes on, as after a restart. That is done with the next write, and fails for as long as
//! the disk refuses, or somebody still holds one of its sets of keys.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use fjall::config::{PartitioningPolicy, PinningPolicy};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};

use super::rows::Rows;
use super::{Error, failed};

/// The newest format that this code reads, and the one it writes.
pub(super) const FORMAT: u32 = 1;

const CACHE_BYTES: u64 = 8 << 20;
const JOURNAL_BYTES: u64 = 64 << 20;
const MEMTABLE_BYTES: u64 = 8 << 20;

/// Little memory, whatever it holds. What tells where rows are is itself read in small blocks: as one block it is megabytes for each file of millions of rows, more
/// than the cache holds, and was read anew for each row that was looked up.
pub(super) fn small_keyspace() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .max_memtable_size(MEMTABLE_BYTES)
        .index_block_partitioning_policy(PartitioningPolicy::all(true))
        .filter_block_partitioning_policy(PartitioningPolicy::all(true))
        .index_block_pinning_policy(PinningPolicy::disabled())
        .filter_block_pinning_policy(PinningPolicy::disabled())
}

/// What a failure to open it is.
fn opening(path: &Path) -> impl Fn(fjall::Error) -> Error {
    move |source| Error::Open {
        path: path.to_path_buf(),
        source,
    }
}

/// A database in this folder, made where there is none. It takes little memory and one thread.
pub(super) fn database(path: &Path) -> Result<Database, Error> {
    let opened = opening(path);
    // Files of the database are readable by all: their folder is not.
    let folder = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    folder.map_err(|error| opened(fjall::Error::Io(error)))?;
    let builder = Database::builder(path)
        .cache_size(CACHE_BYTES)
        .max_journaling_size(JOURNAL_BYTES)
        .worker_threads(1)
        .max_cached_files(Some(64));
    // What it finds and did not expect, some of it, is a panic. Nothing of the database is left then.
    panic::catch_unwind(AssertUnwindSafe(|| builder.open()))
        .map_err(|_| Error::Unreadable {
            path: path.to_path_buf(),
        })?
        .map_err(opened)
}

/// The database and the keyspace of the pipelines.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) db: Database,
    pub(super) pipelines: Rows,
    /// Goes up with each opening.
    number: u64,
}

impl Opened {
    fn open(path: &Path, number: u64) -> Result<Opened, Error> {
        let (db, opened) = (database(path)?, opening(path));
        let meta = db.keyspace("meta", small_keyspace).map_err(&opened)?;
        check_format(&db, &meta, path)?;
        let pipelines = Rows::open(db.clone(), "pipelines").map_err(opened)?;
        Ok(Opened {
            db,
            pipelines,
            number,
        })
    }
}

/// Where the database is, and it itself.
pub(super) struct Base {
    pub(super) path: PathBuf,
    /// `None` after it was closed to be opened again, and that failed.
    now: RwLock<Option<Opened>>,
}

impl Base {
    pub(super) fn open(path: PathBuf) -> Result<Base, Error> {
        let now = RwLock::new(Some(Opened::open(&path, 0)?));
        Ok(Base { path, now })
    }

    /// The database, opened again where it is closed.
    pub(super) fn now(&self) -> Result<Opened, Error> {
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner).clone();
        now.map_or_else(|| self.open_again(None), Ok)
    }

    /// The same for somebody who is about to write, after a while in which others may have failed to.
    pub(super) fn for_writing(&self) -> Result<Opened, Error> {
        let opened = self.now()?;
        let number = opened.number;
        match opened.db.persist(PersistMode::Buffer) {
            Err(fjall::Error::Poisoned) => {
                drop(opened);
                self.open_again(Some(number))
            }
            // Anything else is told by the write.
            _ => Ok(opened),
        }
    }

    /// Opens it again, unless another thread has done that since it was that of this number.
    fn open_again(&self, number: Option<u64>) -> Result<Opened, Error> {
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = &*now
            && Some(opened.number) != number
        {
            return Ok(opened.clone());
        }
        // Its lock is given back with the last handle.
        *now = None;
        let opened = match Opened::open(&self.path, number.unwrap_or(0) + 1) {
            // By ourselves: whoever has a set of keys still holds it.
            Err(Error::Open {
                source: fjall::Error::Locked,
                ..
            }) => return Err(failed("open", "everything")(fjall::Error::Poisoned)),
            opened => opened?,
        };
        tracing::info!(path = %self.path.display(), "the catalog was opened again");
        Ok(now.insert(opened).clone())
    }

    /// Writes what `fill` puts into a batch: all of it, or nothing.
    pub(super) fn commit(
        &self,
        mode: PersistMode,
        attempted: &'static str,
        what: &str,
        fill: impl Fn(&mut OwnedWriteBatch, &Keyspace),
    ) -> Result<(), Error> {
        let write = |opened: &Opened| opened.pipelines.write(mode, |batch, rows| fill(batch, rows));
        let opened = self.now()?;
        let number = opened.number;
        let outcome = write(&opened);
        drop(opened);
        match outcome {
            Err(fjall::Error::Poisoned) => write(&self.open_again(Some(number))?),
            outcome => outcome,
        }
        .map_err(failed(attempted, what))
    }
}

fn check_format(db: &Database, meta: &Keyspace, path: &Path) -> Result<(), Error> {
    let stored = meta.get("format").map_err(failed("read", "format"))?;
    let Some(stored) = stored else {
        let mut batch = db.batch();
        batch.insert(meta, "format", FORMAT.to_string());
        return batch
            .durability(Some(PersistMode::SyncData))
            .commit()
            .map_err(failed("write", "format"));
    };
    match serde_json::from_slice(&stored) {
        Ok(FORMAT) => Ok(()),
        Ok(found) => Err(Error::NewerFormat {
            path: path.to_path_buf(),
            found,
        }),
        Err(error) => Err(Error::Damaged {
            record: "format".to_string(),
            why: error.to_string(),
        }),
    }
}
