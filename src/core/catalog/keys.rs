//! Two sets of keys, one pair for each pipeline: those a re-sync has seen, with those that it has found on the target alone; and those parked with the
//! expiry that they are to get.
//!
//! Made for many millions of keys, inserted in batches. A key's database is part of it. How they are written stands
//! in the table of [`super`].

use std::collections::BTreeMap;

use fjall::PersistMode;

use super::row::{Fate, ParkedKey, SourceKey, Stale, Standing, parked, parked_value, rest, row};
use super::rows::Rows;
use super::{Error, failed};

/// So many expiries a parked key may have: names that many others take one after the other.
const EXPIRIES_MAX: usize = 64;

/// The row of the numbers of stale keys. No key's row is so short.
const STALE_ROW: &[u8] = b"n";

/// The row of the snapshot whose keys they are.
const SNAPSHOT_ROW: &[u8] = b"of";

/// The keys of a snapshot, and what became of those that are on the target beside them. Survives the process; a power cut may lose the newest.
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

    /// Whether a key was put in.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn contains(&self, db: u32, key: &[u8]) -> Result<bool, Error> {
        Ok(self.standing(&row(db, key), key)? == Standing::Seen)
    }

    fn standing(&self, row: &[u8], key: &[u8]) -> Result<Standing, Error> {
        Ok(Standing::of(self.value(row)?.as_deref(), key))
    }

    fn value(&self, row: &[u8]) -> Result<Option<fjall::Slice>, Error> {
        let found = self.rows.keyspace().get(row);
        found.map_err(failed("look up", "a seen key"))
    }

    /// Of these keys of a database those that were not put in, and notes that this is their fate, before anything is done to them. Whoever comes again with the same
    /// ones, in this process or another, gets them again, and they count once.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn note_stale(&self, db: u32, keys: Vec<Vec<u8>>, fate: Fate) -> Result<Vec<Vec<u8>>, Error> {
        let (mut count, mut news, mut stale) = (self.stale()?, BTreeMap::new(), Vec::new());
        for key in keys {
            let row = row(db, &key);
            let standing = match news.contains_key(&row) {
                true => Standing::Stale(fate),
                false => self.standing(&row, &key)?,
            };
            match standing {
                Standing::Seen => continue,
                Standing::Stale(before) if before == fate => {}
                before => {
                    if let Standing::Stale(before) = before {
                        let counted = count.of(before);
                        *counted = counted.saturating_sub(1);
                    }
                    *count.of(fate) += 1;
                    news.insert(row, fate.value(&key));
                }
            }
            stale.push(key);
        }
        if !news.is_empty() {
            let written = self.rows.write(PersistMode::Buffer, |batch, rows| {
                for (row, value) in news {
                    batch.insert(rows, row, value);
                }
                batch.insert(rows, STALE_ROW, count.to_bytes());
            });
            written.map_err(failed("write to", "stale keys"))?;
        }
        Ok(stale)
    }

    /// How many keys were noted with which fate.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn stale(&self) -> Result<Stale, Error> {
        let bytes = self.value(STALE_ROW)?;
        let bytes = bytes.and_then(|bytes| <[u8; 16]>::try_from(&bytes[..]).ok());
        Ok(bytes.map_or_else(Stale::default, Stale::of_bytes))
    }

    /// Takes all keys out; those that come are of the snapshot of this number.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn begin(&self, snapshot: u64) -> Result<(), Error> {
        self.clear()?;
        let written = self.rows.write(PersistMode::Buffer, |batch, rows| {
            batch.insert(rows, SNAPSHOT_ROW, snapshot.to_le_bytes());
        });
        written.map_err(failed("write to", "seen keys"))
    }

    /// Whether the keys are of the snapshot of this number.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn is_of(&self, snapshot: u64) -> Result<bool, Error> {
        let value = self.value(SNAPSHOT_ROW)?;
        Ok(value.is_some_and(|value| value[..] == snapshot.to_le_bytes()))
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
                batch.insert(rows, row(db, key), parked_value(key, &[expires_ms]));
            }
        });
        written.map_err(failed("write to", "parked keys"))
    }

    /// The expiries of which a key is to get one; none where it was not put in.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Damaged`].
    pub fn expiries(&self, db: u32, key: &[u8]) -> Result<Vec<i64>, Error> {
        let row = row(db, key);
        let value = self.rows.keyspace().get(&row);
        let Some(value) = value.map_err(failed("look up", "a parked key"))? else {
            return Ok(Vec::new());
        };
        let found = parked(&row, &value).ok_or_else(misshapen)?;
        Ok(match found.key.key == key {
            true => found.expires_ms,
            false => Vec::new(),
        })
    }

    /// Adds to the expiries of which a key is to get one. Of very many the oldest are forgotten.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Damaged`].
    pub fn add(&self, db: u32, key: &[u8], more: &[i64]) -> Result<(), Error> {
        let mut all = self.expiries(db, key)?;
        all.retain(|at| !more.contains(at));
        all.extend_from_slice(more);
        all.drain(..all.len().saturating_sub(EXPIRIES_MAX));
        let written = self.rows.write(PersistMode::Buffer, |batch, rows| {
            batch.insert(rows, row(db, key), parked_value(key, &all));
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
        for entry in self.rows.range(from).take(limit) {
            let (row, value) = entry.map_err(failed("read", "parked keys"))?;
            found.push(parked(&row, &value).ok_or_else(misshapen)?);
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

fn misshapen() -> Error {
    Error::Damaged {
        record: "parked key".to_string(),
        why: "the row has another shape".to_string(),
    }
}
