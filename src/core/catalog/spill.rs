//! Keys with a note each that do not belong into memory, in a folder of their own that nobody reads again.
//!
//! Not part of the catalog: nothing in it survives for a purpose. Rows are those of [`super::keys`]; a value is the note's length (4 bytes, little endian), the note,
//! and what of a long key its row does not hold.

use std::ops::Bound::{Excluded, Unbounded};
use std::path::Path;

use bytes::Bytes;
use fjall::{Database, PersistMode};

use super::opened::database;
use super::row::{key_of, rest, row};
use super::rows::Rows;
use super::{Error, failed};

/// No more is read at a time, whatever was asked for, but for one key that is longer.
const CHUNK_BYTES: usize = 2 << 20;

/// A place for tables. Whoever names the folder removes it.
#[derive(Clone)]
pub struct Spill {
    db: Database,
}

impl std::fmt::Debug for Spill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Spill")
    }
}

impl Spill {
    /// Opens one in this folder.
    ///
    /// # Errors
    /// [`Error::Open`].
    pub fn open(path: &Path) -> Result<Spill, Error> {
        Ok(Spill { db: database(path)? })
    }

    /// A table.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn table(&self, name: &str) -> Result<Table, Error> {
        let rows = Rows::open(self.db.clone(), name);
        Ok(Table {
            rows: rows.map_err(failed("open", name))?,
        })
    }
}

/// Keys with a note each.
#[derive(Clone)]
pub struct Table {
    rows: Rows,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Table")
    }
}

/// Where a walk through a table is: behind the row last read.
#[derive(Debug, Clone, Default)]
pub struct Mark(Option<Vec<u8>>);

/// A key with its note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// Its database.
    pub db: u32,
    /// The key.
    pub key: Bytes,
    /// The note.
    pub note: Vec<u8>,
}

impl AsRef<[u8]> for Noted {
    fn as_ref(&self) -> &[u8] {
        &self.key
    }
}

impl Table {
    /// Puts keys in, all or none; one that is in already gets the new note.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn insert<'a>(&self, keys: impl IntoIterator<Item = (u32, &'a [u8], &'a [u8])>) -> Result<(), Error> {
        let written = self.rows.write(PersistMode::Buffer, |batch, rows| {
            for (db, key, note) in keys {
                let len = u32::try_from(note.len()).unwrap_or(u32::MAX).to_le_bytes();
                batch.insert(rows, row(db, key), [&len[..], note, rest(key)].concat());
            }
        });
        written.map_err(failed("write to", "spilled keys"))
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
        written.map_err(failed("remove from", "spilled keys"))
    }

    /// The next keys, at most `limit` and about [`CHUNK_BYTES`], by their databases; none at the end. Moves `mark` on. Keys may be put in and taken out meanwhile.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Damaged`].
    pub fn next(&self, mark: &mut Mark, limit: usize) -> Result<Vec<Noted>, Error> {
        let from = mark.0.clone().map_or(Unbounded, Excluded);
        let (mut found, mut bytes) = (Vec::new(), 0);
        for entry in self.rows.range(from).take(limit) {
            let (row, value) = entry.map_err(failed("read", "spilled keys"))?;
            let noted = noted(&row, &value).ok_or_else(|| Error::Damaged {
                record: "spilled key".to_string(),
                why: "the row has another shape".to_string(),
            })?;
            bytes += noted.key.len() + noted.note.len();
            found.push(noted);
            mark.0 = Some(row.to_vec());
            if bytes > CHUNK_BYTES {
                break;
            }
        }
        Ok(found)
    }

    /// Whether there is none.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.next(&mut Mark::default(), 1)?.is_empty())
    }

    /// How many there are: counts them all.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn count(&self) -> Result<u64, Error> {
        let mut count = 0;
        for entry in self.rows.range(Unbounded) {
            entry.map_err(failed("count", "spilled keys"))?;
            count += 1;
        }
        Ok(count)
    }

    /// Takes all keys out.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn clear(&self) -> Result<(), Error> {
        self.rows.clear().map_err(failed("clear", "spilled keys"))
    }
}

fn noted(row: &[u8], value: &[u8]) -> Option<Noted> {
    let (len, value) = value.split_first_chunk::<4>()?;
    let (note, rest) = value.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    let key = key_of(row, rest)?;
    Some(Noted {
        db: key.db,
        key: key.key,
        note: note.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_by_database_with_their_notes_however_long_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let table = Spill::open(folder.path()).unwrap().table("t").unwrap();
        let long = vec![b'k'; 70_000];
        let rows: [(u32, &[u8], &[u8]); 4] = [
            (2, b"a", b""),
            (0, b"b", b"old"),
            (0, &long, b"note"),
            (1, b"", b"n"),
        ];
        table.insert(rows).unwrap();
        table.insert([(0, &b"b"[..], &b"new"[..])]).unwrap();
        table.remove([(2, &b"x"[..])]).unwrap();
        assert_eq!(table.count().unwrap(), 4);
        let mut mark = Mark::default();
        let mut found = Vec::new();
        loop {
            let chunk = table.next(&mut mark, 2).unwrap();
            if chunk.is_empty() {
                break;
            }
            table
                .remove(chunk.iter().map(|one| (one.db, &one.key[..])))
                .unwrap();
            found.extend(chunk);
        }
        let expected: [(u32, &[u8], &[u8]); 4] = [
            (0, b"b", b"new"),
            (0, &long, b"note"),
            (1, b"", b"n"),
            (2, b"a", b""),
        ];
        let found: Vec<(u32, &[u8], &[u8])> = found
            .iter()
            .map(|one| (one.db, &one.key[..], &one.note[..]))
            .collect();
        assert_eq!(found, expected);
        assert!(table.is_empty().unwrap());
    }
}
