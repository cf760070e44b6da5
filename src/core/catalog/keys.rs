//! Two sets of the source's keys, one pair for each pipeline: those a re-sync has seen, and those parked with the
//! expiry that they are to get.
//!
//! Made for many millions of keys, inserted in batches. A key's database is part of it. How they are written stands
//! in the table of [`super`].

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, checksum};
use fjall::PersistMode;

use super::rows::Rows;
use super::{Error, failed};

/// Longer keys are named by length and checksums: the database takes keys of 64 KiB at most, Redis of 512 MiB.
const SHORT_BYTES_MAX: usize = 1024;
const SHORT: u8 = 0;
const LONG: u8 = 1;

/// A key of the source in one of its databases.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceKey {
    /// The database.
    pub db: u32,
    /// The key.
    pub key: Bytes,
}

/// A key and the expiry that it is to get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedKey {
    /// The key.
    pub key: SourceKey,
    /// When it truly expires, Unix ms.
    pub expires_ms: i64,
}

fn is_long(key: &[u8]) -> bool {
    key.len() > SHORT_BYTES_MAX
}

pub(super) fn row(db: u32, key: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(5 + key.len().min(24 + SHORT_BYTES_MAX));
    row.extend_from_slice(&db.to_be_bytes());
    if !is_long(key) {
        row.push(SHORT);
        row.extend_from_slice(key);
        return row;
    }
    row.push(LONG);
    row.extend_from_slice(&(key.len() as u64).to_be_bytes());
    row.extend_from_slice(&checksum(CrcAlgorithm::Crc64Nvme, key).to_be_bytes());
    row.extend_from_slice(&checksum(CrcAlgorithm::Crc64Redis, key).to_be_bytes());
    row
}

/// What the value must carry of a key that its row does not.
pub(super) fn rest(key: &[u8]) -> &[u8] {
    if is_long(key) { key } else { &[] }
}

/// The key of a row and of the rest in its value.
pub(super) fn key_of(row: &[u8], rest: &[u8]) -> Option<SourceKey> {
    let (db, tagged) = row.split_first_chunk::<4>()?;
    let key = match tagged.split_first()? {
        (&SHORT, key) => Bytes::copy_from_slice(key),
        (&LONG, _) => Bytes::copy_from_slice(rest),
        _ => return None,
    };
    Some(SourceKey {
        db: u32::from_be_bytes(*db),
        key,
    })
}

/// A set of keys. Survives the process; a power cut may lose the newest.
pub struct KeySet {
    rows: Rows,
}

impl KeySet {
    pub(super) fn new(rows: Rows) -> KeySet {
        KeySet { rows }
    }

    /// Puts keys in, all or none.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn insert<'a>(&self, keys: impl IntoIterator<Item = (u32, &'a [u8])>) -> Result<(), Error> {
        let written = self.rows.write(PersistMode::Buffer, |batch, rows| {
            for (db, key) in keys {
                batch.insert(rows, row(db, key), rest(key));
            }
        });
        written.map_err(failed("write to", "seen keys"))
    }

    /// Whether a key is in.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn contains(&self, db: u32, key: &[u8]) -> Result<bool, Error> {
        let found = self.rows.keyspace().get(row(db, key));
        let found = found.map_err(failed("look up", "a seen key"))?;
        Ok(found.is_some_and(|value| *value == *rest(key)))
    }

    /// Takes all keys out.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn clear(&self) -> Result<(), Error> {
        self.rows.clear().map_err(failed("clear", "seen keys"))
    }
}

/// Keys with the expiry that they are to get. [`ParkedKeys::persist`] makes them survive a power cut.
pub struct ParkedKeys {
    rows: Rows,
}

impl ParkedKeys {
    pub(super) fn new(rows: Rows) -> ParkedKeys {
        ParkedKeys { rows }
    }

    /// Puts keys in, all or none; one that is in already gets the new expiry.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn insert<'a>(&self, keys: impl IntoIterator<Item = (u32, &'a [u8], i64)>) -> Result<(), Error> {
        let written = self.rows.write(PersistMode::Buffer, |batch, rows| {
            for (db, key, expires_ms) in keys {
                let value = [&expires_ms.to_le_bytes(), rest(key)].concat();
                batch.insert(rows, row(db, key), value);
            }
        });
        written.map_err(failed("write to", "parked keys"))
    }

    /// Makes what was put in so far durable.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn persist(&self) -> Result<(), Error> {
        self.rows.persist().map_err(failed("persist", "parked keys"))
    }

    /// The next keys after `after` (from the beginning for `None`), at most `limit`, in an order that stays the same.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Damaged`].
    pub fn chunk(&self, after: Option<&SourceKey>, limit: usize) -> Result<Vec<ParkedKey>, Error> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, |last| Excluded(row(last.db, &last.key)));
        let mut found = Vec::new();
        for entry in self.rows.keyspace().range((from, Unbounded)).take(limit) {
            let (row, value) = entry.into_inner().map_err(failed("read", "parked keys"))?;
            let parked = parked(&row, &value).ok_or_else(|| Error::Damaged {
                record: "parked key".to_string(),
                why: "the row has another shape".to_string(),
            })?;
            found.push(parked);
        }
        Ok(found)
    }

    /// Takes keys out, all or none; one that is not in is fine.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn remove<'a>(&self, keys: impl IntoIterator<Item = (u32, &'a [u8])>) -> Result<(), Error> {
        let written = self.rows.write(PersistMode::Buffer, |batch, rows| {
            for (db, key) in keys {
                batch.remove(rows, row(db, key));
            }
        });
        written.map_err(failed("remove from", "parked keys"))
    }

    /// Takes all keys out.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn clear(&self) -> Result<(), Error> {
        self.rows.clear().map_err(failed("clear", "parked keys"))
    }
}

fn parked(row: &[u8], value: &[u8]) -> Option<ParkedKey> {
    let (expires, rest) = value.split_first_chunk::<8>()?;
    Some(ParkedKey {
        key: key_of(row, rest)?,
        expires_ms: i64::from_le_bytes(*expires),
    })
}
