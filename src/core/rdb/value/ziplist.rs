//! Ziplists: how servers before 7.0 pack small collections into one string.
//!
//! | bytes | what |
//! | --- | --- |
//! | 4 | length of the whole, little endian |
//! | 4 | where the last entry begins, little endian |
//! | 2 | how many entries, little endian; 65535: too many to say |
//! | any | entries: prevlen, encoding, value |
//! | 1 | 255 |
//!
//! The prevlen is the length of the entry before, one byte below 254, else 254 and four bytes little endian; short lengths may be
//! written long.
//!
//! | encoding | value |
//! | --- | --- |
//! | `00nnnnnn` | a string of n bytes |
//! | `01nnnnnn` and 1 byte | a string, its length of 14 bits big endian |
//! | `10______` and 4 bytes | a string, its length big endian |
//! | `11000000`, `1101…`, `1110…`, `11110000`, `11111110` | an integer of 2, 4, 8, 3, 1 bytes, little endian, signed |
//! | `1111nnnn`, n from 1 to 13 | n - 1 |
//!
//! Source: `ziplist.c`.

use bytes::Bytes;

use super::packed::{Entry, Field};
use crate::core::rdb::error::{Cause, Packed};

const HEADER_BYTES: usize = 10;
const END: u8 = 255;
const LONG_PREVLEN: u8 = 254;

/// A count that says nothing.
const UNKNOWN_COUNT: u16 = u16::MAX;

/// A walk over a ziplist.
#[derive(Debug)]
pub struct Ziplist {
    field: Field,
    /// Entries still to come, where the header says how many there are.
    left: Option<u16>,
    /// Where the last entry begins, as the header says.
    tail: u32,
    /// Where the entry before begins, and its length; the header's for the first.
    previous: (usize, usize),
}

impl Ziplist {
    /// Begins the walk.
    ///
    /// # Errors
    /// The header lies.
    pub fn open(data: Bytes) -> Result<Ziplist, Cause> {
        let mut field = Field::new(data, Packed::Ziplist);
        let total = u32::from_le_bytes(field.array()?);
        let tail = u32::from_le_bytes(field.array()?);
        let count = u16::from_le_bytes(field.array()?);
        if total as usize != field.len() {
            return Err(field.bad("its length is not what its header says"));
        }
        Ok(Ziplist {
            field,
            left: (count != UNKNOWN_COUNT).then_some(count),
            tail,
            previous: (HEADER_BYTES, 0),
        })
    }

    /// How many entries there are, where the header says so.
    #[must_use]
    pub fn count_of(data: &[u8]) -> Option<u16> {
        let count = u16::from_le_bytes(*data.get(8..)?.first_chunk()?);
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
        let prevlen = match first {
            LONG_PREVLEN => u32::from_le_bytes(self.field.array()?) as usize,
            short => usize::from(short),
        };
        if prevlen != self.previous.1 {
            return Err(self
                .field
                .bad("an entry says another length of the one before it"));
        }
        let entry = self.entry()?;
        self.previous = (start, self.field.at() - start);
        Ok(Some(entry))
    }

    fn end(&self) -> Result<(), Cause> {
        if self.field.at() != self.field.len() {
            return Err(self.field.bad("it ends before its length"));
        }
        if self.tail as usize != self.previous.0 {
            return Err(self.field.bad("its last entry is not where its header says"));
        }
        match self.left {
            None | Some(0) => Ok(()),
            Some(_) => Err(self.field.bad("it has fewer entries than its header says")),
        }
    }

    fn entry(&mut self) -> Result<Entry, Cause> {
        let field = &mut self.field;
        let encoding = field.byte()?;
        let len = match encoding {
            0x00..=0x3f => usize::from(encoding),
            0x40..=0x7f => usize::from(encoding & 0x3f) << 8 | usize::from(field.byte()?),
            0x80..=0xbf => u32::from_be_bytes(field.array()?) as usize,
            0xc0 => return Ok(Entry::Int(field.int(2)?)),
            0xd0 => return Ok(Entry::Int(field.int(4)?)),
            0xe0 => return Ok(Entry::Int(field.int(8)?)),
            0xf0 => return Ok(Entry::Int(field.int(3)?)),
            0xfe => return Ok(Entry::Int(field.int(1)?)),
            0xf1..=0xfd => return Ok(Entry::Int(i64::from(encoding & 0x0f) - 1)),
            _ => return Err(field.bad("no value is encoded by this byte")),
        };
        field.take(len).map(Entry::Text)
    }
}

#[cfg(test)]
pub(in crate::core::rdb) mod tests {
    use super::*;

    /// A ziplist of these entries, each given with its encoding.
    pub(in crate::core::rdb) fn ziplist(entries: &[&[u8]]) -> Vec<u8> {
        let (mut body, mut previous, mut tail) = (Vec::new(), 0_usize, HEADER_BYTES);
        for entry in entries {
            tail = HEADER_BYTES + body.len();
            match previous {
                0..=253 => body.push(previous as u8),
                long => {
                    body.push(LONG_PREVLEN);
                    body.extend_from_slice(&(long as u32).to_le_bytes());
                }
            }
            body.extend_from_slice(entry);
            previous = HEADER_BYTES + body.len() - tail;
        }
        body.push(END);
        let total = (HEADER_BYTES + body.len()) as u32;
        let header = [&total.to_le_bytes()[..], &(tail as u32).to_le_bytes()].concat();
        [header, (entries.len() as u16).to_le_bytes().to_vec(), body].concat()
    }

    fn walk(data: Vec<u8>) -> Result<Vec<String>, Cause> {
        let mut ziplist = Ziplist::open(Bytes::from(data))?;
        let mut found = Vec::new();
        while let Some(entry) = ziplist.read()? {
            found.push(String::from_utf8_lossy(&entry.into_text()).into_owned());
        }
        Ok(found)
    }

    /// Facts A11: integers of 24 bits are signed, too.
    #[test]
    fn every_encoding_is_read_and_integers_keep_their_sign() {
        let long = [&[0x41, 0x2c][..], &[b'x'; 300]].concat();
        let longer = [&[0x80, 0x00, 0x00, 0x01, 0x2d][..], &[b'y'; 301]].concat();
        let entries: [&[u8]; 12] = [
            &[0x03, b'a', b'b', b'c'],
            &long,
            &longer,
            &[0xc0, 0x00, 0x80],
            &[0xd0, 0x00, 0x00, 0x00, 0x80],
            &[0xe0, 0, 0, 0, 0, 0, 0, 0, 0x80],
            &[0xf0, 0x00, 0x00, 0x80],
            &[0xf0, 0xff, 0x7f, 0xff],
            &[0xfe, 0x80],
            &[0xf1],
            &[0xfd],
            &[0x00],
        ];
        let expected = [
            "abc".to_owned(),
            "x".repeat(300),
            "y".repeat(301),
            "-32768".into(),
            "-2147483648".into(),
            "-9223372036854775808".into(),
            "-8388608".into(),
            "-32769".into(),
            "-128".into(),
            "0".into(),
            "12".into(),
            String::new(),
        ];
        assert_eq!(walk(ziplist(&entries)).unwrap(), expected);
    }

    /// Facts A12: 65535 is no count, and the end is 255 all the same.
    #[test]
    fn a_count_of_65535_says_nothing() {
        let mut data = ziplist(&[&[0xf2], &[0xf3]]);
        data[8..10].copy_from_slice(&[0xff, 0xff]);
        assert_eq!(walk(data.clone()).unwrap(), ["1", "2"]);
        let end = data.len() - 1;
        data[end] = 254;
        assert!(walk(data).is_err());
    }

    #[test]
    fn sizes_that_lie_are_errors() {
        let good = ziplist(&[&[0x03, b'a', b'b', b'c'], &[0xf6]]);
        let lie = |at: usize, byte: u8| {
            let mut data = good.clone();
            data[at] = byte;
            walk(data)
        };
        assert_eq!(walk(good.clone()).unwrap(), ["abc", "5"]);
        for (at, byte) in [
            (0, 99),
            (4, 11),
            (8, 1),
            (8, 3),
            (10, 7),
            (11, 0x3f),
            (15, 4),
            (16, 0xff),
        ] {
            assert!(lie(at, byte).is_err(), "byte {at} set to {byte}");
        }
        for cut in 0..good.len() {
            assert!(walk(good[..cut].to_vec()).is_err(), "cut at {cut}");
        }
    }
}
