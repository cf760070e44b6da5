//! Intsets: sets of integers packed into one string.
//!
//! | bytes | what |
//! | --- | --- |
//! | 4 | bytes of an integer: 2, 4 or 8; little endian |
//! | 4 | how many integers, little endian |
//! | any | the integers, little endian, ascending |
//!
//! Source: `intset.c`.

use bytes::Bytes;

use super::packed::Field;
use crate::core::rdb::error::{Cause, Packed};

/// A walk over an intset.
#[derive(Debug)]
pub struct Intset {
    field: Field,
    width: u32,
    left: u32,
    last: Option<i64>,
}

impl Intset {
    /// Begins the walk.
    ///
    /// # Errors
    /// The header lies.
    pub fn open(data: Bytes) -> Result<Intset, Cause> {
        let mut field = Field::new(data, Packed::Intset);
        let width = u32::from_le_bytes(field.array()?);
        let left = u32::from_le_bytes(field.array()?);
        if !matches!(width, 2 | 4 | 8) {
            return Err(field.bad("its integers have neither 2, 4 nor 8 bytes"));
        }
        let expected = u64::from(width) * u64::from(left) + field.at() as u64;
        if expected != field.len() as u64 {
            return Err(field.bad("its length is not what its header says"));
        }
        Ok(Intset {
            field,
            width,
            left,
            last: None,
        })
    }

    /// How many integers there are.
    #[must_use]
    pub fn count_of(data: &[u8]) -> Option<u32> {
        Some(u32::from_le_bytes(*data.get(4..)?.first_chunk()?))
    }

    /// The next integer.
    ///
    /// # Errors
    /// It is not greater than the one before.
    pub fn read(&mut self) -> Result<Option<i64>, Cause> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        let number = self.field.int(self.width)?;
        if self.last.is_some_and(|last| last >= number) {
            return Err(self.field.bad("its integers do not ascend"));
        }
        self.last = Some(number);
        Ok(Some(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(data: &[u8]) -> Result<Vec<i64>, Cause> {
        let mut intset = Intset::open(Bytes::copy_from_slice(data))?;
        let mut found = Vec::new();
        while let Some(number) = intset.read()? {
            found.push(number);
        }
        Ok(found)
    }

    #[test]
    fn integers_of_every_width_keep_their_sign() {
        assert_eq!(
            walk(b"\x02\0\0\0\x02\0\0\0\x00\x80\x05\x00").unwrap(),
            [-32768, 5]
        );
        assert_eq!(
            walk(b"\x04\0\0\0\x01\0\0\0\x00\x00\x00\x80").unwrap(),
            [-2_147_483_648]
        );
        assert_eq!(
            walk(b"\x08\0\0\0\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff").unwrap(),
            [-1]
        );
    }

    #[test]
    fn sizes_that_lie_are_errors() {
        let lies: [&[u8]; 5] = [
            b"\x03\0\0\0\x00\0\0\0",
            b"\x02\0\0\0\x02\0\0\0\x01\x00",
            b"\x02\0\0\0\x01\0\0\0\x01\x00\x02\x00",
            b"\x02\0\0\0\x02\0\0\0\x05\x00\x05\x00",
            b"\x02\0\0",
        ];
        for lie in lies {
            assert!(walk(lie).is_err(), "{lie:?}");
        }
        assert!(walk(b"\x08\0\0\0\xff\xff\xff\xff").is_err());
    }
}
