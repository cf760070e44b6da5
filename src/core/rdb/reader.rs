//! The smallest things of an RDB: bytes, lengths, the extent of a string.
//!
//! Owns the encoding of lengths. Promises not to look beyond the slice: where it is too short, [`Stop::Short`] says
//! how long it must be at least. Leaves what strings hold to [`super::string`].
//!
//! | first byte | then | length |
//! | --- | --- | --- |
//! | `00nnnnnn` | | n |
//! | `01nnnnnn` | 1 byte | 14 bits, big endian |
//! | `10000000` | 4 bytes | big endian |
//! | `10000001` | 8 bytes | big endian, since RDB 8 |
//! | `11nnnnnn` | see the string encodings below | none: a string packed another way |
//!
//! | packed | then |
//! | --- | --- |
//! | 0, 1, 2 | an integer of 1, 2, 4 bytes, little endian |
//! | 3 | two lengths, packed and unpacked, then the packed bytes (LZF) |

use super::error::Cause;

/// Why reading stopped.
#[derive(Debug, PartialEq)]
pub(super) enum Stop {
    /// The slice must hold at least so many bytes.
    Short(usize),
    /// No further bytes can make this right.
    Bad(Cause),
}

/// A length, or the number of a packing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Length {
    Plain(u64),
    Packed(u8),
}

/// The number of the LZF packing.
pub(super) const LZF: u8 = 3;

/// A place in a slice.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    data: &'a [u8],
    /// How many bytes have been read.
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(data: &'a [u8]) -> Reader<'a> {
        Reader { data, at: 0 }
    }

    /// The next `len` bytes.
    #[inline]
    pub(super) fn take(&mut self, len: u64) -> Result<&'a [u8], Stop> {
        // An impossible length saturates: no slice is ever that long, so it stays short for good.
        let end = usize::try_from(len).map_or(usize::MAX, |len| self.at.saturating_add(len));
        let bytes = self.data.get(self.at..end).ok_or(Stop::Short(end))?;
        self.at = end;
        Ok(bytes)
    }

    /// The next `N` bytes.
    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let end = self.at.saturating_add(N);
        match self.data.get(self.at..).and_then(<[u8]>::first_chunk) {
            Some(bytes) => {
                self.at = end;
                Ok(*bytes)
            }
            None => Err(Stop::Short(end)),
        }
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, Stop> {
        Ok(self.array::<1>()?[0])
    }

    #[inline]
    pub(super) fn length_or_packing(&mut self) -> Result<Length, Stop> {
        let first = self.byte()?;
        let low = first & 0x3f;
        match first >> 6 {
            0 => Ok(Length::Plain(u64::from(low))),
            1 => Ok(Length::Plain(u64::from(low) << 8 | u64::from(self.byte()?))),
            3 => Ok(Length::Packed(low)),
            _ => match low {
                0 => Ok(Length::Plain(u64::from(u32::from_be_bytes(self.array()?)))),
                1 => Ok(Length::Plain(u64::from_be_bytes(self.array()?))),
                _ => Err(Stop::Bad(Cause::Length(first))),
            },
        }
    }

    #[inline]
    pub(super) fn length(&mut self) -> Result<u64, Stop> {
        match self.length_or_packing()? {
            Length::Plain(length) => Ok(length),
            Length::Packed(packing) => Err(Stop::Bad(Cause::Length(packing | 0xc0))),
        }
    }

    /// Reads over a string.
    #[inline]
    pub(super) fn skip_string(&mut self) -> Result<(), Stop> {
        let len = self.string_bytes()?;
        self.take(len).map(|_| ())
    }

    /// Reads what stands before a string's bytes; gives how many these are as they stand here.
    #[inline]
    pub(super) fn string_bytes(&mut self) -> Result<u64, Stop> {
        match self.length_or_packing()? {
            Length::Plain(len) => Ok(len),
            Length::Packed(packing @ 0..LZF) => Ok(1 << packing),
            Length::Packed(LZF) => {
                let packed = self.length()?;
                self.length()?;
                Ok(packed)
            }
            Length::Packed(packing) => Err(Stop::Bad(Cause::Packing(packing))),
        }
    }

    /// Reads over at most `bytes` bytes: as many as there are. Says how many.
    #[inline]
    pub(super) fn pass(&mut self, bytes: u64) -> u64 {
        let there = (self.data.len() - self.at.min(self.data.len())) as u64;
        let passed = there.min(bytes);
        self.at += passed as usize;
        passed
    }

    /// Reads over a score written as text.
    pub(super) fn skip_score(&mut self) -> Result<(), Stop> {
        match self.byte()? {
            253..=255 => Ok(()),
            len => self.take(u64::from(len)).map(|_| ()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(bytes: &[u8]) -> Result<Length, Stop> {
        Reader::new(bytes).length_or_packing()
    }

    #[test]
    fn a_length_takes_as_many_bytes_as_its_first_two_bits_say() {
        assert_eq!(length(&[63]), Ok(Length::Plain(63)));
        assert_eq!(length(&[0x40, 64]), Ok(Length::Plain(64)));
        assert_eq!(length(&[0x7f, 0xff]), Ok(Length::Plain(16_383)));
        assert_eq!(length(&[0x80, 0, 1, 0, 0]), Ok(Length::Plain(65_536)));
        assert_eq!(
            length(&[0x81, 0, 0, 0, 1, 0, 0, 0, 0]),
            Ok(Length::Plain(1 << 32))
        );
        assert_eq!(length(&[0xc2]), Ok(Length::Packed(2)));
    }

    #[test]
    fn an_unknown_length_or_packing_is_an_error_and_not_a_wait() {
        assert_eq!(length(&[0x82]), Err(Stop::Bad(Cause::Length(0x82))));
        assert_eq!(Reader::new(&[0xc0]).length(), Err(Stop::Bad(Cause::Length(0xc0))));
        assert_eq!(
            Reader::new(&[0xc4]).skip_string(),
            Err(Stop::Bad(Cause::Packing(4)))
        );
    }

    #[test]
    fn a_short_slice_says_how_long_it_must_be() {
        assert_eq!(length(&[]), Err(Stop::Short(1)));
        assert_eq!(length(&[0x40]), Err(Stop::Short(2)));
        assert_eq!(length(&[0x80, 0]), Err(Stop::Short(5)));
        assert_eq!(Reader::new(&[5, b'a']).skip_string(), Err(Stop::Short(6)));
        assert_eq!(Reader::new(&[0xc2]).skip_string(), Err(Stop::Short(5)));
        assert_eq!(Reader::new(&[0xc3, 9, 40, 1]).skip_string(), Err(Stop::Short(12)));
    }

    #[test]
    fn a_length_beyond_all_memory_is_short_and_does_not_overflow() {
        let mut bytes = vec![0x81];
        bytes.extend([0xff; 8]);
        assert_eq!(Reader::new(&bytes).skip_string(), Err(Stop::Short(usize::MAX)));
    }

    #[test]
    fn a_score_of_nan_or_infinity_has_no_text() {
        for special in [253, 254, 255] {
            let bytes = [special, 7];
            let mut reader = Reader::new(&bytes);
            assert_eq!((reader.skip_score(), reader.at), (Ok(()), 1));
        }
        assert_eq!(Reader::new(&[3, b'1']).skip_score(), Err(Stop::Short(4)));
    }
}
