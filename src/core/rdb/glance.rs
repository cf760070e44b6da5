//! Keys at a glance: what a key is and where it lies, for whoever only looks.
//!
//! Owns the quick way over keys that lie whole within a chunk: nothing is copied, nothing is counted. Promises to see exactly the keys that the
//! careful way ([`super::parse`]) reads, or to stop before one: what does not lie here whole, is no key or is not in order is left to that.

use std::ops::Range;

use bytes::{Buf, Bytes};

use super::Flavor;
use super::item::Key;
use super::layout::{Part, kind_of, opcode};
use super::lzf;
use super::reader::{LZF, Length, Reader};
use super::skip::Skip;

/// A key where it lies. Its fields are those of [`Key`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glance<'a> {
    /// The database.
    pub db: u32,
    /// The name, unpacked.
    pub key: &'a [u8],
    /// The value's type byte.
    pub value_type: u8,
    /// The value as it stands in the file, without the type byte.
    pub value: &'a [u8],
    /// When the key expires, in milliseconds since 1970.
    pub expire_at_ms: Option<i64>,
    /// The byte of the file with which the key begins, expiry and the like included.
    pub start: u64,
    /// The byte of the file after the value.
    pub end: u64,
}

impl Key {
    /// The key at a glance.
    #[must_use]
    pub fn glance(&self) -> Glance<'_> {
        Glance {
            db: self.db,
            key: &self.key,
            value_type: self.value_type,
            value: &self.value,
            expire_at_ms: self.expire_at_ms,
            start: self.start,
            end: self.end,
        }
    }
}

/// What the quick way needs from key to key.
#[derive(Debug, Default)]
pub(super) struct Looker {
    skip: Skip,
    /// The name of the key found last, where it had to be unpacked.
    name: Vec<u8>,
}

/// What keys are of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Of {
    pub(super) flavor: Flavor,
    pub(super) db: u32,
}

/// Where a key lies in a chunk.
#[derive(Debug)]
struct Found {
    head: Head,
    /// None: it had to be unpacked.
    name: Option<Range<usize>>,
    value: usize,
    end: usize,
}

impl Looker {
    /// Shows the keys at the front of a chunk, which begins with byte `start` of the file, and takes them from it.
    #[inline]
    pub(super) fn look(
        &mut self,
        of: Of,
        chunk: &mut Bytes,
        start: &mut u64,
        mut see: impl FnMut(&Glance<'_>),
    ) {
        let data = &chunk[..];
        let mut at = 0;
        while let Some(found) = self.find(data, at, of.flavor) {
            let name = found.name.map_or(&self.name[..], |name| &data[name]);
            see(&Glance {
                db: of.db,
                key: name,
                value_type: found.head.value_type,
                value: &data[found.value..found.end],
                expire_at_ms: found.head.expire_at_ms,
                start: *start + at as u64,
                end: *start + found.end as u64,
            });
            at = found.end;
        }
        chunk.advance(at);
        *start += at as u64;
    }

    /// Takes the key at the front of a chunk, which begins with byte `start` of the file.
    #[inline]
    pub(super) fn take(&mut self, of: Of, chunk: &mut Bytes, start: &mut u64) -> Option<Key> {
        let found = self.find(chunk, 0, of.flavor)?;
        let key = match found.name {
            Some(name) => chunk.slice(name),
            None => Bytes::copy_from_slice(&self.name),
        };
        let mut value = chunk.split_to(found.end);
        value.advance(found.value);
        let begin = *start;
        *start += found.end as u64;
        Some(Key {
            db: of.db,
            key,
            value_type: found.head.value_type,
            value,
            expire_at_ms: found.head.expire_at_ms,
            idle_secs: found.head.idle_secs,
            freq: found.head.freq,
            meta: Bytes::new(),
            start: begin,
            end: *start,
        })
    }

    /// The key that begins at `at`, if it is whole and in order.
    #[inline(always)]
    fn find(&mut self, data: &[u8], at: usize, flavor: Flavor) -> Option<Found> {
        let mut reader = Reader::new(data);
        reader.at = at;
        let head = head(&mut reader)?;
        let parts = kind_of(head.value_type, flavor)?.parts;
        let name = match reader.length_or_packing().ok()? {
            Length::Plain(len) => {
                let begin = reader.at;
                reader.take(len).ok()?;
                Some(begin..reader.at)
            }
            Length::Packed(packing) => {
                unpack(packing, &mut reader, &mut self.name)?;
                None
            }
        };
        let value = reader.at;
        if let [Part::Str] = parts {
            reader.skip_string().ok()?;
        } else {
            self.skip.begin(parts);
            self.skip.run(&mut reader).ok()?;
        }
        let end = reader.at;
        Some(Found {
            head,
            name,
            value,
            end,
        })
    }
}

/// What may stand before a key, and its type byte.
#[derive(Debug, Default)]
struct Head {
    value_type: u8,
    expire_at_ms: Option<i64>,
    idle_secs: Option<u64>,
    freq: Option<u8>,
}

#[inline(always)]
fn head(reader: &mut Reader<'_>) -> Option<Head> {
    let mut head = Head::default();
    loop {
        match reader.byte().ok()? {
            opcode::EXPIRETIME_MS => head.expire_at_ms = Some(i64::from_le_bytes(reader.array().ok()?)),
            opcode::EXPIRETIME => {
                head.expire_at_ms = Some(i64::from(i32::from_le_bytes(reader.array().ok()?)) * 1000);
            }
            opcode::IDLE => head.idle_secs = Some(reader.length().ok()?),
            opcode::FREQ => head.freq = Some(reader.byte().ok()?),
            value_type => return Some(Head { value_type, ..head }),
        }
    }
}

/// Unpacks a name that is not written as it is.
fn unpack(packing: u8, reader: &mut Reader<'_>, name: &mut Vec<u8>) -> Option<()> {
    name.clear();
    let mut digits = itoa::Buffer::new();
    match packing {
        0 => name.extend(digits.format(i8::from_le_bytes(reader.array().ok()?)).bytes()),
        1 => name.extend(digits.format(i16::from_le_bytes(reader.array().ok()?)).bytes()),
        2 => name.extend(digits.format(i32::from_le_bytes(reader.array().ok()?)).bytes()),
        LZF => {
            let packed = reader.length().ok()?;
            let plain_bytes = reader.length().ok()?;
            lzf::unpack_into(reader.take(packed).ok()?, plain_bytes, name).ok()?;
        }
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::rdb::tests::fixture::*;
    use crate::core::rdb::{Error, Item, Scanner, Step};

    /// What a glance tells, to be kept.
    type Seen = (u32, Vec<u8>, u8, Vec<u8>, Option<i64>, u64, u64);

    fn kept(glance: &Glance<'_>) -> Seen {
        let (key, value) = (glance.key.to_vec(), glance.value.to_vec());
        (
            glance.db,
            key,
            glance.value_type,
            value,
            glance.expire_at_ms,
            glance.start,
            glance.end,
        )
    }

    /// The keys, how many of them at a glance, and how it ended.
    fn look(chunks: Vec<Bytes>) -> (Vec<Seen>, usize, Result<(), Error>) {
        let (mut scanner, mut chunks) = (Scanner::new(), chunks.into_iter());
        let (mut seen, mut quick) = (Vec::new(), 0);
        let how = loop {
            let step = scanner.look(|glance| {
                seen.push(kept(glance));
                quick += 1;
            });
            match step {
                Ok(Step::Item(Item::Key(key))) => seen.push(kept(&key.glance())),
                Ok(Step::NeedMore | Step::End(_)) => match chunks.next() {
                    Some(chunk) => scanner.push(chunk),
                    None => break scanner.finish().map(drop),
                },
                Ok(_) => {}
                Err(error) => break Err(error),
            }
        };
        (seen, quick, how)
    }

    fn stepped(chunks: Vec<Bytes>) -> (Vec<Seen>, Result<(), Error>) {
        let (mut scanner, mut seen) = (Scanner::new(), Vec::new());
        for chunk in chunks {
            scanner.push(chunk);
            loop {
                match scanner.step() {
                    Ok(Step::Item(Item::Key(key))) => seen.push(kept(&key.glance())),
                    Ok(Step::NeedMore | Step::End(_)) => break,
                    Ok(_) => {}
                    Err(error) => return (seen, Err(error)),
                }
            }
        }
        (seen, scanner.finish().map(drop))
    }

    fn bytewise(file: &Bytes) -> Vec<Bytes> {
        cut(file, std::iter::repeat(1))
    }

    #[test]
    fn every_key_is_seen_at_a_glance_where_it_lies_whole() {
        for version in [REDIS, VALKEY] {
            let file = everything(version);
            let (seen, quick, how) = look(vec![file.clone()]);
            assert_eq!((&seen, how), (&stepped(bytewise(&file)).0, Ok(())));
            assert_eq!(quick, seen.len());
        }
    }

    #[test]
    fn a_packed_name_is_unpacked() {
        let file = File::new(REDIS)
            .raw(&[opcode::SELECTDB, 0])
            .raw(&[0, 0xc0, 0x85])
            .raw(&string(b"v"))
            .raw(&[0, 0xc2, 0, 0, 0, 0x80])
            .raw(&string(b"v"))
            .raw(&[0])
            .raw(LZF_A40)
            .raw(&string(b"v"))
            .key(b"plain", 0, &string(b"v"))
            .end();
        let (seen, quick, how) = look(vec![file]);
        let names: Vec<String> = seen
            .into_iter()
            .map(|seen| String::from_utf8(seen.1).unwrap())
            .collect();
        assert_eq!((how, quick), (Ok(()), 4));
        assert_eq!(names, ["-123", "-2147483648", &"a".repeat(40), "plain"]);
    }

    proptest! {
        /// Chunks of any size, and broken files: what is seen is what the careful way reads, byte by byte.
        #[test]
        fn the_quick_way_sees_what_the_careful_way_reads(
            version in prop_oneof![Just(REDIS), Just(VALKEY)],
            breaks in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            sizes in prop::collection::vec(1usize..3000, 1..40),
        ) {
            let mut file = everything(version).to_vec();
            for (at, byte) in breaks {
                let at = at.index(file.len());
                file[at] = byte;
            }
            let file = Bytes::from(file);
            let (seen, _, how) = look(cut(&file, sizes.into_iter().cycle()));
            let (expected, expected_how) = stepped(bytewise(&file));
            prop_assert_eq!(seen, expected);
            prop_assert_eq!(how.map_err(|error| error.at), expected_how.map_err(|error| error.at));
        }
    }
}
