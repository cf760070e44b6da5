//! Zipmaps: how servers before 2.6 pack small hashes into one string.
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | how many pairs; 254 and up: too many to say |
//! | any | pairs: length, field, length, a byte, value, padding |
//! | 1 | 255 |
//!
//! A length is one byte below 254, or 254 and four bytes little endian. The byte after the value's length says how much padding follows
//! the value. Source: `zipmap.c`.

use bytes::Bytes;

use super::packed::Field;
use crate::core::rdb::error::{Cause, Packed};

const END: u8 = 255;
const LONG: u8 = 254;

/// A walk over a zipmap.
#[derive(Debug)]
pub struct Zipmap {
    field: Field,
    /// Pairs still to come, where the header says how many there are.
    left: Option<u8>,
}

impl Zipmap {
    /// Begins the walk.
    ///
    /// # Errors
    /// There is no header.
    pub fn open(data: Bytes) -> Result<Zipmap, Cause> {
        let mut field = Field::new(data, Packed::Zipmap);
        let count = field.byte()?;
        Ok(Zipmap {
            field,
            left: (count < LONG).then_some(count),
        })
    }

    /// The next field and its value.
    ///
    /// # Errors
    /// The pair does not fit, or the end is not where it should be.
    pub fn read(&mut self) -> Result<Option<(Bytes, Bytes)>, Cause> {
        let first = self.field.byte()?;
        if first == END {
            return self.end().map(|()| None);
        }
        self.left = match self.left {
            Some(0) => return Err(self.field.bad("it has more pairs than its header says")),
            left => left.map(|left| left - 1),
        };
        let len = self.length(first)?;
        let name = self.field.take(len)?;
        let first = self.field.byte()?;
        let len = self.length(first)?;
        let padding = self.field.byte()?;
        let value = self.field.take(len)?;
        self.field.take(usize::from(padding))?;
        Ok(Some((name, value)))
    }

    fn length(&mut self, first: u8) -> Result<usize, Cause> {
        match first {
            END => Err(self.field.bad("it ends within a pair")),
            LONG => Ok(u32::from_le_bytes(self.field.array()?) as usize),
            short => Ok(usize::from(short)),
        }
    }

    fn end(&self) -> Result<(), Cause> {
        if self.field.at() != self.field.len() {
            return Err(self.field.bad("bytes follow its end"));
        }
        match self.left {
            None | Some(0) => Ok(()),
            Some(_) => Err(self.field.bad("it has fewer pairs than its header says")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(data: &[u8]) -> Result<Vec<(Bytes, Bytes)>, Cause> {
        let mut zipmap = Zipmap::open(Bytes::copy_from_slice(data))?;
        let mut found = Vec::new();
        while let Some(pair) = zipmap.read()? {
            found.push(pair);
        }
        Ok(found)
    }

    #[test]
    fn pairs_are_read_whatever_their_padding() {
        let plain = b"\x02\x03foo\x03\x00bar\x05hello\x05\x03world\0\0\0\xff";
        let found = walk(plain).unwrap();
        assert_eq!(found[0], (Bytes::from("foo"), Bytes::from("bar")));
        assert_eq!(found[1], (Bytes::from("hello"), Bytes::from("world")));
        let long = [b"\xfe\x01k\xfe\x2c\x01\0\0\0".as_slice(), &[b'v'; 300], b"\xff"].concat();
        assert_eq!(walk(&long).unwrap()[0].1.len(), 300);
    }

    #[test]
    fn sizes_that_lie_are_errors() {
        let good = b"\x01\x03foo\x03\x00bar\xff";
        for cut in 0..good.len() {
            assert!(walk(&good[..cut]).is_err(), "cut at {cut}");
        }
        let lies: [&[u8]; 5] = [
            b"\x02\x03foo\x03\x00bar\xff",
            b"\x00\x03foo\x03\x00bar\xff",
            b"\x01\x03foo\xff",
            b"\x01\x03foo\x03\x09bar\xff",
            b"\x01\x03foo\x03\x00bar\xff\xff",
        ];
        for lie in lies {
            assert!(walk(lie).is_err(), "{lie:?}");
        }
    }
}
