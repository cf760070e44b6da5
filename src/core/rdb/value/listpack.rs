//! Listpacks: how servers since 7.0 (streams: since 5.0) pack small collections into one string.
//!
//! | bytes | what |
//! | --- | --- |
//! | 4 | length of the whole, little endian |
//! | 2 | how many entries, little endian; 65535: too many to say |
//! | any | entries: encoding, value, backlen |
//! | 1 | 255 |
//!
//! | encoding | value |
//! | --- | --- |
//! | `0nnnnnnn` | n |
//! | `10nnnnnn` | a string of n bytes |
//! | `110nnnnn` and 1 byte | an integer of 13 bits, big endian |
//! | `1110nnnn` and 1 byte | a string, its length of 12 bits big endian |
//! | `11110000` and 4 bytes | a string, its length little endian |
//! | `11110001`, `…0010`, `…0011`, `…0100` | an integer of 2, 3, 4, 8 bytes, little endian |
//!
//! Integers of 13 bits and more are signed. The backlen is the length of encoding and value, in base 128, its lowest seven bits last, the
//! highest bit set on all bytes but the first. Source: `listpack.c`.

use bytes::Bytes;

use super::packed::{Entry, Field, sign_extended};
use crate::core::rdb::error::{Cause, Packed};

const HEADER_BYTES: usize = 6;
const END: u8 = 255;

/// A count that says nothing.
const UNKNOWN_COUNT: u16 = u16::MAX;

/// A walk over a listpack.
#[derive(Debug)]
pub struct Listpack {
    field: Field,
    /// Entries still to come, where the header says how many there are.
    left: Option<u16>,
}

impl Listpack {
    /// Begins the walk.
    ///
    /// # Errors
    /// The header lies.
    pub fn open(data: Bytes) -> Result<Listpack, Cause> {
        let mut field = Field::new(data, Packed::Listpack);
        let total = u32::from_le_bytes(field.array()?);
        let count = u16::from_le_bytes(field.array()?);
        debug_assert_eq!(field.at(), HEADER_BYTES);
        if total as usize != field.len() {
            return Err(field.bad("its length is not what its header says"));
        }
        Ok(Listpack {
            field,
            left: (count != UNKNOWN_COUNT).then_some(count),
        })
    }

    /// How many entries there are, where the header says so.
    #[must_use]
    pub fn count_of(data: &[u8]) -> Option<u16> {
        let count = u16::from_le_bytes(*data.get(4..)?.first_chunk()?);
        (count != UNKNOWN_COUNT).then_some(count)
    }

    /// The next entry.
    ///
    /// # Errors
    /// The entry does not fit, or the end is not where it should be.
    pub fn read(&mut self) -> Result<Option<Entry>, Cause> {
        let start = self.field.at();
        let first = self.field.byte()?;
        if first == END {
            return self.end().map(|()| None);
        }
        self.left = match self.left {
            Some(0) => return Err(self.field.bad("it has more entries than its header says")),
            left => left.map(|left| left - 1),
        };
        let entry = self.entry(first)?;
        self.backlen(self.field.at() - start)?;
        Ok(Some(entry))
    }

    fn end(&self) -> Result<(), Cause> {
        if self.field.at() != self.field.len() {
            return Err(self.field.bad("it ends before its length"));
        }
        match self.left {
            None | Some(0) => Ok(()),
            Some(_) => Err(self.field.bad("it has fewer entries than its header says")),
        }
    }

    fn entry(&mut self, first: u8) -> Result<Entry, Cause> {
        let field = &mut self.field;
        let len = match first {
            0..=0x7f => return Ok(Entry::Int(i64::from(first))),
            0x80..=0xbf => usize::from(first & 0x3f),
            0xc0..=0xdf => {
                let bits = u64::from(first & 0x1f) << 8 | u64::from(field.byte()?);
                return Ok(Entry::Int(sign_extended(bits, 13)));
            }
            0xe0..=0xef => usize::from(first & 0x0f) << 8 | usize::from(field.byte()?),
            0xf0 => u32::from_le_bytes(field.array()?) as usize,
            0xf1 => return Ok(Entry::Int(field.int(2)?)),
            0xf2 => return Ok(Entry::Int(field.int(3)?)),
            0xf3 => return Ok(Entry::Int(field.int(4)?)),
            0xf4 => return Ok(Entry::Int(field.int(8)?)),
            _ => return Err(field.bad("no entry begins with this byte")),
        };
        field.take(len).map(Entry::Text)
    }

    /// Reads over the backlen, which must be that of an entry of `len` bytes.
    ///
    /// Redis takes one byte more than it needs where the length is the greatest that a width can hold; Valkey since 9 does not.
    fn backlen(&mut self, len: usize) -> Result<(), Cause> {
        let bytes = backlen_bytes(len);
        let widest = len == (1 << (7 * bytes)) - 1 && bytes > 1;
        if self.backlen_is(len, bytes) {
            return self.field.take(bytes).map(|_| ());
        }
        if widest && self.backlen_is(len, bytes + 1) {
            return self.field.take(bytes + 1).map(|_| ());
        }
        Err(self
            .field
            .bad("an entry's length behind it is another than before it"))
    }

    fn backlen_is(&self, len: usize, bytes: usize) -> bool {
        let digits = (0..bytes).rev().map(|nth| (len >> (7 * nth)) as u8 & 0x7f);
        let expected = digits
            .enumerate()
            .map(|(at, digit)| if at == 0 { digit } else { digit | 0x80 });
        let found = self.field.rest().iter().copied().take(bytes);
        expected.eq(found)
    }
}

/// The least width that holds a length.
fn backlen_bytes(len: usize) -> usize {
    match len {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        2_097_152..=268_435_455 => 4,
        _ => 5,
    }
}

#[cfg(test)]
pub(in crate::core::rdb) mod tests {
    use super::*;

    /// A listpack of these entries, each given with its encoding.
    pub(in crate::core::rdb) fn listpack(entries: &[&[u8]]) -> Vec<u8> {
        let mut body = Vec::new();
        for entry in entries {
            body.extend_from_slice(entry);
            let bytes = backlen_bytes(entry.len());
            for nth in (0..bytes).rev() {
                let digit = (entry.len() >> (7 * nth)) as u8 & 0x7f;
                body.push(if nth == bytes - 1 { digit } else { digit | 0x80 });
            }
        }
        body.push(END);
        let total = (body.len() + HEADER_BYTES) as u32;
        let count = entries.len() as u16;
        [&total.to_le_bytes()[..], &count.to_le_bytes(), &body].concat()
    }

    pub(in crate::core::rdb) fn walk(data: Vec<u8>) -> Result<Vec<String>, Cause> {
        let mut listpack = Listpack::open(Bytes::from(data))?;
        let mut found = Vec::new();
        while let Some(entry) = listpack.read()? {
            found.push(String::from_utf8_lossy(&entry.into_text()).into_owned());
        }
        Ok(found)
    }

    #[test]
    fn every_encoding_is_read() {
        let long = [&[0xe1, 0x00][..], &[b'x'; 256]].concat();
        let longer = [&[0xf0, 0x00, 0x10, 0x00, 0x00][..], &[b'y'; 4096]].concat();
        let entries: [&[u8]; 13] = [
            &[0x7f],
            &[0x83, b'a', b'b', b'c'],
            &[0xc0, 0x80],
            &[0xdf, 0xff],
            &[0xd0, 0x00],
            &long,
            &longer,
            &[0xf1, 0x00, 0x80],
            &[0xf2, 0x00, 0x00, 0x80],
            &[0xf2, 0xff, 0xff, 0x7f],
            &[0xf3, 0x00, 0x00, 0x00, 0x80],
            &[0xf4, 0, 0, 0, 0, 0, 0, 0, 0x80],
            &[0x80],
        ];
        let found = walk(listpack(&entries)).unwrap();
        let expected = [
            "127".to_owned(),
            "abc".into(),
            "128".into(),
            "-1".into(),
            "-4096".into(),
            "x".repeat(256),
            "y".repeat(4096),
            "-32768".into(),
            "-8388608".into(),
            "8388607".into(),
            "-2147483648".into(),
            "-9223372036854775808".into(),
            String::new(),
        ];
        assert_eq!(found, expected);
    }

    /// Facts A12: 65535 is no count.
    #[test]
    fn a_count_of_65535_says_nothing() {
        let mut data = listpack(&[&[1], &[2], &[3]]);
        data[4..6].copy_from_slice(&[0xff, 0xff]);
        assert_eq!(walk(data.clone()).unwrap(), ["1", "2", "3"]);
        assert_eq!(Listpack::count_of(&data), None);
    }

    /// Redis 7.0 and 8.6 write the backlen of 16383 in three bytes, Valkey 9.1 in two.
    #[test]
    fn the_greatest_length_of_a_width_may_take_a_byte_more() {
        let entry = [&[0xf0, 0xfa, 0x3f, 0x00, 0x00][..], &[b'z'; 16_378]].concat();
        assert_eq!(entry.len(), 16_383);
        let narrow = listpack(&[&entry, &[5]]);
        assert_eq!(walk(narrow.clone()).unwrap()[1], "5");
        let at = HEADER_BYTES + entry.len();
        assert_eq!(narrow[at..at + 2], [0x7f, 0xff]);
        let mut wide = narrow;
        wide.splice(at..at + 2, [0x00, 0xff, 0xff]);
        let total = wide.len() as u32;
        wide[..4].copy_from_slice(&total.to_le_bytes());
        assert_eq!(walk(wide).unwrap()[1], "5");
    }

    #[test]
    fn sizes_that_lie_are_errors() {
        let good = listpack(&[&[0x83, b'a', b'b', b'c'], &[5]]);
        let lie = |at: usize, byte: u8| {
            let mut data = good.clone();
            data[at] = byte;
            walk(data)
        };
        assert_eq!(walk(good.clone()).unwrap(), ["abc", "5"]);
        for (at, byte) in [
            (0, 99),
            (4, 1),
            (4, 3),
            (6, 0xbf),
            (10, 9),
            (10, 0x84),
            (12, 7),
            (13, 3),
        ] {
            assert!(lie(at, byte).is_err(), "byte {at} set to {byte}");
        }
        for cut in 0..good.len() {
            assert!(walk(good[..cut].to_vec()).is_err(), "cut at {cut}");
        }
    }
}
