//! Two sets of keys, one pair for each pipeline: those a re-sync has seen, with those that it has found on the target alone; and those parked with the
//! expiry that they are to get.
//!
//! Made for many millions of keys, inserted in batches. A key's database is part of it. How they are written stands
//! in the table of [`super`].

use std::collections::BTreeMap;

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

/// What is done with a key that is on the target and not in the snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It stays.
    Kept,
    /// It goes.
    Deleted,
}

impl Fate {
    const fn byte(self) -> u8 {
        match self {
            Fate::Kept => b'k',
            Fate::Deleted => b'd',
        }
    }
}

/// How many keys have which fate, each counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stale {
    /// [`Fate::Kept`].
    pub kept: u64,
    /// [`Fate::Deleted`].
    pub deleted: u64,
}

impl Stale {
    fn of(&mut self, fate: Fate) -> &mut u64 {
        match fate {
            Fate::Kept => &mut self.kept,
            Fate::Deleted => &mut self.deleted,
        }
    }

    fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.deleted) << 64 | u128::from(self.kept)).to_le_bytes()
    }

    fn of_bytes(bytes: [u8; 16]) -> Stale {
        let both = u128::from_le_bytes(bytes);
        Stale {
            kept: both as u64,
            deleted: (both >> 64) as u64,
        }
    }
}

/// What the set says of a key.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Unknown,
    Seen,
    Stale(Fate),
}

impl Standing {
    /// Where two long keys have one row nobody knows which was seen: both pass for it, for what is seen is let alone.
    fn of(value: Option<&[u8]>, key: &[u8]) -> Standing {
        let Some(value) = value else {
            return Standing::Unknown;
        };
        match value.strip_prefix(rest(key)) {
            Some([byte]) if *byte == Fate::Kept.byte() => Standing::Stale(Fate::Kept),
            Some([byte]) if *byte == Fate::Deleted.byte() => Standing::Stale(Fate::Deleted),
            _ => Standing::Seen,
        }
    }
}

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
                    news.insert(row, [rest(&key), &[fate.byte()]].concat());
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
                let value = [&expires_ms.to_le_bytes(), rest(key)].concat();
                batch.insert(rows, row(db, key), value);
            }
        });
        written.map_err(failed("write to", "parked keys"))
    }

    /// The expiry that a key is to get, where it was put in.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Damaged`].
    pub fn expiry(&self, db: u32, key: &[u8]) -> Result<Option<i64>, Error> {
        let row = row(db, key);
        let value = self.rows.keyspace().get(&row);
        let value = value.map_err(failed("look up", "a parked key"))?;
        let of_key = value.filter(|value| value.get(8..) == Some(rest(key)));
        let Some(value) = of_key else { return Ok(None) };
        parked(&row, &value)
            .map(|one| Some(one.expires_ms))
            .ok_or_else(misshapen)
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

fn parked(row: &[u8], value: &[u8]) -> Option<ParkedKey> {
    let (expires, rest) = value.split_first_chunk::<8>()?;
    Some(ParkedKey {
        key: key_of(row, rest)?,
        expires_ms: i64::from_le_bytes(*expires),
    })
}
