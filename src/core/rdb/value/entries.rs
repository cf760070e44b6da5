//! The entries in a stream's listpack.
//!
//! | listpack entries | what |
//! | --- | --- |
//! | count, deleted | how many entries there are, and how many more that are deleted |
//! | n, and n names | the fields of the master entry, which others may share |
//! | 0 | end of the master entry |
//! | flags, ms, seq | of an entry: 1 deleted, 2 has the master's fields; its id, less the master's |
//! | n, and n times name, value; or only the values | its fields; only values where it has the master's fields |
//! | count | of the listpack entries since flags, for walking backwards |
//!
//! Source: `t_stream.c`.

use bytes::Bytes;

use super::element::StreamId;
use super::listpack::Listpack;
use super::packed::Entry;
use crate::core::rdb::Cause;

const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;

/// A walk over the entries that are not deleted.
#[derive(Debug)]
pub(super) struct Entries {
    listpack: Listpack,
    master: StreamId,
    names: Vec<Bytes>,
    /// Entries still to come, and deleted ones.
    live: i64,
    deleted: i64,
}

/// An entry: its id, its fields and their values.
pub(super) type Found = (StreamId, Vec<(Bytes, Bytes)>);

impl Entries {
    pub(super) fn open(master: StreamId, data: Bytes) -> Result<Entries, Cause> {
        let mut listpack = Listpack::open(data)?;
        let live = int(&mut listpack)?;
        let deleted = int(&mut listpack)?;
        if live < 0 || deleted < 0 {
            return Err(Cause::Contradiction(
                "a stream's listpack has fewer than no entries",
            ));
        }
        let mut names = Vec::new();
        for _ in 0..int(&mut listpack)? {
            names.push(entry(&mut listpack)?.into_text());
        }
        if int(&mut listpack)? != 0 {
            return Err(Cause::Contradiction("a stream's master entry does not end"));
        }
        Ok(Entries {
            listpack,
            master,
            names,
            live,
            deleted,
        })
    }

    pub(super) fn next(&mut self) -> Result<Option<Found>, Cause> {
        while let Some(flags) = self.listpack.read()? {
            let flags = as_int(&flags)?;
            let (id, fields) = self.entry(flags)?;
            if flags & DELETED == 0 {
                self.live -= 1;
                return Ok(Some((id, fields)));
            }
            self.deleted -= 1;
        }
        match (self.live, self.deleted) {
            (0, 0) => Ok(None),
            _ => Err(Cause::Contradiction(
                "a stream's listpack has not as many entries as it says",
            )),
        }
    }

    fn entry(&mut self, flags: i64) -> Result<Found, Cause> {
        let ms = self.master.ms.wrapping_add_signed(int(&mut self.listpack)?);
        let seq = self.master.seq.wrapping_add_signed(int(&mut self.listpack)?);
        let mut fields = Vec::new();
        // Facts A10: the fields of this entry never take the place of the master's.
        let expected = if flags & SAME_FIELDS != 0 {
            for name in &self.names {
                fields.push((name.clone(), entry(&mut self.listpack)?.into_text()));
            }
            3 + self.names.len() as i64
        } else {
            for _ in 0..int(&mut self.listpack)? {
                let name = entry(&mut self.listpack)?.into_text();
                fields.push((name, entry(&mut self.listpack)?.into_text()));
            }
            4 + 2 * fields.len() as i64
        };
        match int(&mut self.listpack)? == expected {
            true => Ok((StreamId { ms, seq }, fields)),
            false => Err(Cause::Contradiction(
                "a stream's entry has not as many parts as it says",
            )),
        }
    }
}

fn entry(listpack: &mut Listpack) -> Result<Entry, Cause> {
    let missing = Cause::Contradiction("a stream's listpack ends within an entry");
    listpack.read()?.ok_or(missing)
}

fn int(listpack: &mut Listpack) -> Result<i64, Cause> {
    as_int(&entry(listpack)?)
}

fn as_int(entry: &Entry) -> Result<i64, Cause> {
    let wrong = Cause::Contradiction("a stream's listpack has text where a number belongs");
    entry.as_int().ok_or(wrong)
}
