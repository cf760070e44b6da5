//! What gunyu knows beside the logs' own bytes, in one fjall database for all pipelines: histories, snapshots, cursors,
//! pauses, epochs, and two sets of keys.
//!
//! Promises that a record is read back as it was written or is an error naming it; that [`Durability::Durable`] writes
//! survive a power cut and all others the death of the process; that memory stays small (one worker thread, small
//! buffers). Leaves to others what the records mean: the log owns [`LogRecord`], the pipeline the rest.
//!
//! Everything here is synchronous. A put or a look-up is a few microseconds and may be made inline; a durable put
//! costs one fdatasync, and big batches may be held up by the database's own flushing, so both belong on a thread
//! that may block.
//!
//! # Format, version 1
//!
//! The database is `{dirPath}/catalog/`. Values are JSON unless said otherwise; numbers in keys are big endian, so
//! that they sort.
//!
//! | keyspace | key | value |
//! | --- | --- | --- |
//! | `meta` | `format` | the version: `1` |
//! | `pipelines` | `{name}` 0x00 `log` | [`LogRecord`] |
//! | `pipelines` | `{name}` 0x00 `cursor` | [`Cursor`] |
//! | `pipelines` | `{name}` 0x00 `paused` | `true`; no row where it is not |
//! | `pipelines` | `{name}` 0x00 `epoch` | the lease's epoch, a number |
//! | `pipelines` | `{name}` 0x00 `nodes` | the ids of the nodes of its shard, where the source is a cluster: a list |
//! | `pipelines` | `{name}` 0x00 `retired` | `true`: not configured any more, but its checkpoint is still on a target |
//! | `pipelines` | `{name}` 0x00 `entangled` | `true`: it must begin anew, because shards wait for each other; no row otherwise |
//! | `pipelines` | `{name}` 0x00 `drained` | `true`: its shard has left, and the target has all that it ever said |
//! | `pipelines` | `{name}` 0x00 `windows` | stretches of its stream that import slots of another shard, as `pipeline::crossing` writes them: a list |
//! | `pipelines` | `{name}` 0x00 `swapped` | databases of the source that have changed places while keys are parked: a list of pairs |
//! | `ticks:{cluster}` | a number, u64 | how far the shards' streams were and which slots they had, as `pipeline::crossing` writes it |
//! | `seen:{name}` | a key as below | nothing, or the key (long keys); then, of a key that only the target has, `k` where it is kept and `d` where it is deleted |
//! | `seen:{name}` | `n` | how many are kept and how many deleted, two u64 little endian; no row before the first |
//! | `seen:{name}` | `of` | the lineage, as the target's record has it, of the full sync whose keys they are, u64 little endian |
//! | `parked:{name}` | a key as below | expiry in Unix ms, i64 little endian, or several of which it is to get one; then the key (long keys) |
//!
//! Keys of the source in the two sets: database u32, then byte 0 and the key itself; or, for keys over 1 KiB,
//! byte 1, the key's length u64, its CRC-64/NVME and its CRC-64/Redis (the key then stands in the value).

mod keys;
mod opened;
pub mod record;
pub mod row;
mod rows;
mod series;
mod spill;
pub mod written;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fjall::PersistMode;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use keys::{KeySet, ParkedKeys};
use opened::{Base, FORMAT};
pub use record::{Cursor, LogRecord, SnapshotRecord};
pub use row::{Fate, ParkedKey, SourceKey, Stale};
use rows::Rows;
pub use series::Series;
pub use spill::{Mark, Noted, Spill, Table};
use written::WrittenLog;

use crate::core::crash::{self, Step};
use crate::core::position::Epoch;

/// The longest pipeline name: it becomes part of a keyspace's name.
pub const NAME_BYTES_MAX: usize = 200;

/// The catalog could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database could not be opened. Nothing can run without it.
    #[error("cannot open the catalog {}: {source}", path.display())]
    Open {
        /// Its folder.
        path: PathBuf,
        /// What the database said.
        source: fjall::Error,
    },
    /// Its files are there, and do not fit together.
    #[error("the catalog {} cannot be read back: its files do not fit together", path.display())]
    Unreadable {
        /// Its folder.
        path: PathBuf,
    },
    /// It was written by a newer gunyu.
    #[error("the catalog {} has format {found}, this gunyu reads format {FORMAT} only", path.display())]
    NewerFormat {
        /// Its folder.
        path: PathBuf,
        /// The format found.
        found: u32,
    },
    /// The database refused. After a failed write it is opened again with the next.
    #[error("cannot {attempted} {what} in the catalog: {source}")]
    Database {
        /// The verb.
        attempted: &'static str,
        /// Which record.
        what: String,
        /// What the database said.
        source: fjall::Error,
    },
    /// A record is not what was written.
    #[error("the catalog's record {record} is damaged: {why}")]
    Damaged {
        /// Which record.
        record: String,
        /// What does not fit.
        why: String,
    },
    /// A pipeline's name cannot be used in the catalog.
    #[error("{name:?} cannot name a pipeline: it is empty, longer than 200 bytes, or has a zero byte")]
    BadName {
        /// The name.
        name: String,
    },
}

impl Error {
    /// What a person may do, where a person is needed.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Error::Open {
                source: fjall::Error::Locked,
                ..
            } => Some("another process has it open: stop the other gunyu"),
            Error::Open { .. } => Some(
                "make the folder writable, or remove its catalog folder; then: gunyu fullsync --inputs all",
            ),
            Error::NewerFormat { .. } => {
                Some("run the newer gunyu, or remove the catalog folder; then: gunyu fullsync --inputs all")
            }
            Error::Damaged { .. } | Error::Unreadable { .. } => Some(
                "remove the catalog folder (pauses are forgotten with it); then: gunyu fullsync --inputs all",
            ),
            Error::Database {
                source: fjall::Error::Io(_) | fjall::Error::Poisoned,
                ..
            } => Some(
                "make the folder writable, or room on its disk: it goes on by itself then, or after a restart",
            ),
            Error::Database { .. } | Error::BadName { .. } => None,
        }
    }
}

/// When a put is finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It survives the death of the process.
    Process,
    /// It survives a power cut as well.
    Durable,
}

/// The catalog. Clones share it.
#[derive(Clone)]
pub struct Catalog {
    base: Arc<Base>,
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog")
            .field("path", &self.base.path)
            .finish_non_exhaustive()
    }
}

fn failed(attempted: &'static str, what: impl Into<String>) -> impl FnOnce(fjall::Error) -> Error {
    let what = what.into();
    move |source| Error::Database {
        attempted,
        what,
        source,
    }
}

impl Catalog {
    /// Opens `{root}/catalog`, creating it where it is missing.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::NewerFormat`], [`Error::Damaged`].
    pub fn open(root: &Path) -> Result<Catalog, Error> {
        let base = Arc::new(Base::open(root.join("catalog"))?);
        Ok(Catalog { base })
    }

    /// What the log of `name` holds; `None` where it follows no history.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Damaged`].
    pub fn log(&self, name: &str) -> Result<Option<LogRecord>, Error> {
        let written: Option<WrittenLog> = self.read(name, "log")?;
        written
            .map(|log| {
                LogRecord::try_from(log).map_err(|why| Error::Damaged {
                    record: format!("{name}/log"),
                    why,
                })
            })
            .transpose()
    }

    /// Notes what the log of `name` holds.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::BadName`].
    pub fn put_log(&self, name: &str, log: &LogRecord, durability: Durability) -> Result<(), Error> {
        self.write(name, "log", &WrittenLog::from(log), durability)
    }

    /// Forgets, durably, what the log of `name` holds, and with it the cursor into its snapshot.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::BadName`].
    pub fn forget_log(&self, name: &str) -> Result<(), Error> {
        self.remove(name, &["log", "cursor"])
    }

    /// How far the replay of the snapshot has come.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Damaged`].
    pub fn cursor(&self, name: &str) -> Result<Option<Cursor>, Error> {
        self.read(name, "cursor")
    }

    /// Notes how far the replay of the snapshot has come; `None` when it is done with. Survives the process; after a
    /// power cut an older cursor may stand, from which replaying only repeats what is confirmed.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::BadName`].
    pub fn set_cursor(&self, name: &str, cursor: Option<&Cursor>) -> Result<(), Error> {
        match cursor {
            Some(cursor) => self.write(name, "cursor", cursor, Durability::Process),
            None => self.remove(name, &["cursor"]),
        }
    }

    /// Whether an operator has paused `name`.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Damaged`].
    pub fn paused(&self, name: &str) -> Result<bool, Error> {
        Ok(self.read(name, "paused")?.unwrap_or(false))
    }

    /// Notes, durably, whether an operator has paused `names`: for all of them, or for none.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::BadName`].
    pub fn set_paused(&self, names: &[String], paused: bool) -> Result<(), Error> {
        self.set_flag(names, "paused", paused)
    }

    /// The newest epoch of the lease on `name` that was held here.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Damaged`].
    pub fn epoch(&self, name: &str) -> Result<Option<u64>, Error> {
        let epoch: Option<u64> = self.read(name, "epoch")?;
        match epoch.filter(|epoch| Epoch::told(*epoch).is_none()) {
            None => Ok(epoch),
            Some(epoch) => Err(Error::Damaged {
                record: format!("{name}/epoch"),
                why: format!("epoch {epoch} cannot be"),
            }),
        }
    }

    /// Notes, durably, the epoch of the lease on `name`.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::BadName`].
    pub fn set_epoch(&self, name: &str, epoch: u64) -> Result<(), Error> {
        self.write(name, "epoch", &epoch, Durability::Durable)
    }

    /// The keys seen by the running re-sync of `name`.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::BadName`].
    pub fn seen(&self, name: &str) -> Result<KeySet, Error> {
        Ok(KeySet::new(self.rows("seen", name)?))
    }

    /// The keys of `name` that are parked until their expiry is set.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::BadName`].
    pub fn parked(&self, name: &str) -> Result<ParkedKeys, Error> {
        Ok(ParkedKeys::new(self.rows("parked", name)?))
    }

    /// The ids of the nodes that have been in the shard of `name`; none where it follows none.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Damaged`].
    pub fn nodes(&self, name: &str) -> Result<Vec<String>, Error> {
        Ok(self.read(name, "nodes")?.unwrap_or_default())
    }

    /// Notes, durably, the ids of the nodes of the shard of `name`.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::BadName`].
    pub fn set_nodes(&self, name: &str, ids: &[String]) -> Result<(), Error> {
        self.write(name, "nodes", &ids, Durability::Durable)
    }

    /// Where the streams of a source's shards have been. `cluster` is what the names of its pipelines have in common.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::BadName`].
    pub fn ticks(&self, cluster: &str) -> Result<Series, Error> {
        let name = set_name("ticks", cluster);
        Ok(Series::new(self.rows("ticks", cluster)?, name))
    }

    /// Whether `name` must begin anew because shards wait for each other.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Damaged`].
    pub fn entangled(&self, name: &str) -> Result<bool, Error> {
        Ok(self.read(name, "entangled")?.unwrap_or(false))
    }

    /// Notes, durably, whether these must begin anew: for all of them, or for none.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::BadName`].
    pub fn set_entangled(&self, names: &[String], entangled: bool) -> Result<(), Error> {
        self.set_flag(names, "entangled", entangled)
    }

    /// Whether the target has all that a shard which has left ever said.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Damaged`].
    pub fn drained(&self, name: &str) -> Result<bool, Error> {
        Ok(self.read(name, "drained")?.unwrap_or(false))
    }

    /// Notes, durably, whether it has: for all of these, or for none.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::BadName`].
    pub fn set_drained(&self, names: &[String], drained: bool) -> Result<(), Error> {
        self.set_flag(names, "drained", drained)
    }

    /// The stretches of the stream of `name` that import slots; nothing where none was noted.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Damaged`].
    pub fn windows<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        self.read(name, "windows")
    }

    /// Notes them: the target's checkpoint may be past what told of them.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::BadName`].
    pub fn set_windows<T: Serialize>(
        &self,
        name: &str,
        windows: &T,
        durability: Durability,
    ) -> Result<(), Error> {
        self.write(name, "windows", windows, durability)
    }

    /// The databases of the source that have changed places since keys of `name` were parked, in their order.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Damaged`].
    pub fn swapped(&self, name: &str) -> Result<Vec<(u32, u32)>, Error> {
        Ok(self.read(name, "swapped")?.unwrap_or_default())
    }

    /// Notes them, durably.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::BadName`].
    pub fn set_swapped(&self, name: &str, pairs: &[(u32, u32)]) -> Result<(), Error> {
        match pairs.is_empty() {
            true => self.remove(name, &["swapped"]),
            false => self.write(name, "swapped", &pairs, Durability::Durable),
        }
    }

    /// The pipelines of which anything is known, in order.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn pipelines(&self) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        for row in self.base.now()?.pipelines.keyspace().iter() {
            let key = row.key().map_err(failed("list", "pipelines"))?;
            let name = key.split(|byte| *byte == 0).next().unwrap_or_default();
            names.push(String::from_utf8_lossy(name).into_owned());
        }
        names.dedup();
        Ok(names)
    }

    /// Forgets everything about `name`, durably, but that it is retired.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::BadName`].
    pub fn remove_pipeline(&self, name: &str) -> Result<(), Error> {
        let db = self.base.for_writing()?.db;
        for set in ["seen", "parked"] {
            let full = set_name(set, name);
            if db.keyspace_exists(&full) {
                let rows = Rows::open(db.clone(), &full).map_err(failed("open", &full))?;
                db.delete_keyspace(rows.keyspace().clone())
                    .map_err(failed("remove", full))?;
            }
        }
        self.remove(
            name,
            &[
                "log",
                "cursor",
                "paused",
                "epoch",
                "nodes",
                "entangled",
                "drained",
                "windows",
                "swapped",
            ],
        )
    }

    /// Notes that `name`, which has been removed, still has a checkpoint on a target: it goes on being listed.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::BadName`].
    pub fn retire(&self, name: &str) -> Result<(), Error> {
        self.write(name, "retired", &true, Durability::Durable)
    }

    /// It has none any more: it is not listed, unless more is known of it.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::BadName`].
    pub fn forget_retired(&self, name: &str) -> Result<(), Error> {
        self.remove(name, &["retired"])
    }

    fn set_flag(&self, names: &[String], flag: &str, is_set: bool) -> Result<(), Error> {
        names.iter().try_for_each(|name| check_name(name))?;
        self.base
            .commit(PersistMode::SyncData, "write", flag, |batch, pipelines| {
                for name in names {
                    match is_set {
                        true => batch.insert(pipelines, row(name, flag), "true"),
                        false => batch.remove(pipelines, row(name, flag)),
                    }
                }
            })
    }

    fn rows(&self, set: &str, name: &str) -> Result<Rows, Error> {
        check_name(name)?;
        let full = set_name(set, name);
        Rows::open(self.base.for_writing()?.db, &full).map_err(failed("open", full))
    }

    fn read<T: DeserializeOwned>(&self, name: &str, field: &str) -> Result<Option<T>, Error> {
        let found = self
            .base
            .now()?
            .pipelines
            .keyspace()
            .get(row(name, field))
            .map_err(failed("read", format!("{name}/{field}")))?;
        found
            .map(|bytes| {
                serde_json::from_slice(&bytes).map_err(|error| Error::Damaged {
                    record: format!("{name}/{field}"),
                    why: error.to_string(),
                })
            })
            .transpose()
    }

    fn write<T: Serialize>(
        &self,
        name: &str,
        field: &str,
        value: &T,
        durability: Durability,
    ) -> Result<(), Error> {
        check_name(name)?;
        let bytes = serde_json::to_vec(value).map_err(|error| Error::Damaged {
            record: format!("{name}/{field}"),
            why: error.to_string(),
        })?;
        let mode = match durability {
            Durability::Process => PersistMode::Buffer,
            Durability::Durable => PersistMode::SyncData,
        };
        let what = format!("{name}/{field}");
        crash::pass(Step::CatalogWriting);
        self.base.commit(mode, "write", &what, |batch, pipelines| {
            batch.insert(pipelines, row(name, field), bytes.as_slice());
        })?;
        crash::pass(Step::CatalogWritten);
        Ok(())
    }

    fn remove(&self, name: &str, fields: &[&str]) -> Result<(), Error> {
        check_name(name)?;
        let what = format!("{name}/{}", fields.join("+"));
        crash::pass(Step::CatalogRemoving);
        self.base
            .commit(PersistMode::SyncData, "forget", &what, |batch, pipelines| {
                for field in fields {
                    batch.remove(pipelines, row(name, field));
                }
            })?;
        crash::pass(Step::CatalogRemoved);
        Ok(())
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.as_bytes().contains(&0) {
        return Err(Error::BadName {
            name: name.to_string(),
        });
    }
    Ok(())
}

fn set_name(set: &str, name: &str) -> String {
    format!("{set}:{name}")
}

fn row(name: &str, field: &str) -> Vec<u8> {
    [name.as_bytes(), b"\0", field.as_bytes()].concat()
}

#[cfg(test)]
mod tests;
