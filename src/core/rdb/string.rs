//! What an RDB string holds.
//!
//! Owns unpacking: integers back to text, packed strings back to bytes ([`super::lzf`]). Promises that a claimed length allocates nothing beyond
//! what the packed bytes could yield. The scanner unpacks keys and fields about the file, nothing else.

use bytes::Bytes;

use super::error::Cause;
use super::lzf;
use super::reader::{LZF, Length, Reader, Stop};

/// The bytes of a string, given as it stands in an RDB. A plain string is a slice of `raw`.
///
/// # Errors
/// `raw` does not begin with a whole string.
pub fn unpack(raw: &Bytes) -> Result<Bytes, Cause> {
    unpack_at(raw, 0)
}

/// A string that stands in an RDB unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plain<'a> {
    /// As it is.
    Bytes(&'a [u8]),
    /// As a number.
    Number(i32),
}

/// What a value says that is one unpacked string; nothing where it is packed, or something else. Copies nothing.
#[must_use]
pub fn plain(raw: &[u8]) -> Option<Plain<'_>> {
    let mut reader = Reader::new(raw);
    let plain = match reader.length_or_packing().ok()? {
        Length::Plain(len) => Plain::Bytes(reader.take(len).ok()?),
        Length::Packed(0) => Plain::Number(i8::from_le_bytes(reader.array().ok()?).into()),
        Length::Packed(1) => Plain::Number(i16::from_le_bytes(reader.array().ok()?).into()),
        Length::Packed(2) => Plain::Number(i32::from_le_bytes(reader.array().ok()?)),
        Length::Packed(_) => return None,
    };
    (reader.at == raw.len()).then_some(plain)
}

/// The same for a string that begins at `at` of `raw`. Every slice of `raw` on the way would cost a count.
pub(super) fn unpack_at(raw: &Bytes, at: usize) -> Result<Bytes, Cause> {
    let mut reader = Reader::new(raw.get(at..).unwrap_or_default());
    read(raw, &mut reader).map_err(|stop| match stop {
        Stop::Short(_) => Cause::Truncated,
        Stop::Bad(cause) => cause,
    })
}

pub(super) fn read(raw: &Bytes, reader: &mut Reader<'_>) -> Result<Bytes, Stop> {
    match reader.length_or_packing()? {
        Length::Plain(len) => Ok(raw.slice_ref(reader.take(len)?)),
        Length::Packed(0) => Ok(text(i8::from_le_bytes(reader.array()?))),
        Length::Packed(1) => Ok(text(i16::from_le_bytes(reader.array()?))),
        Length::Packed(2) => Ok(text(i32::from_le_bytes(reader.array()?))),
        Length::Packed(LZF) => read_lzf(reader),
        Length::Packed(packing) => Err(Stop::Bad(Cause::Packing(packing))),
    }
}

/// Reads over a string, and unpacks it on the way if that could fail.
#[inline]
pub(super) fn skip_or_unpack(reader: &mut Reader<'_>) -> Result<Option<Bytes>, Stop> {
    match reader.length_or_packing()? {
        Length::Plain(len) => reader.take(len).map(|_| None),
        Length::Packed(packing @ 0..LZF) => reader.take(1 << packing).map(|_| None),
        Length::Packed(LZF) => read_lzf(reader).map(Some),
        Length::Packed(packing) => Err(Stop::Bad(Cause::Packing(packing))),
    }
}

/// What is packed with LZF, after the byte that says so.
fn read_lzf(reader: &mut Reader<'_>) -> Result<Bytes, Stop> {
    let packed = reader.length()?;
    let unpacked = reader.length()?;
    let plain = lzf::unpack(reader.take(packed)?, unpacked);
    let plain = plain.map_err(|lzf::Bad| Stop::Bad(Cause::Lzf { unpacked }))?;
    Ok(Bytes::from(plain))
}

fn text(number: impl itoa::Integer) -> Bytes {
    Bytes::copy_from_slice(itoa::Buffer::new().format(number).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(raw: &[u8]) -> Result<Bytes, Cause> {
        unpack(&Bytes::copy_from_slice(raw))
    }

    #[test]
    fn a_plain_string_is_not_copied() {
        let raw = Bytes::from_static(b"\x03abc");
        assert_eq!(unpack(&raw).unwrap().as_ptr(), raw[1..].as_ptr());
    }

    #[test]
    fn integers_become_text_again() {
        assert_eq!(unpacked(&[0xc0, 0xff]).unwrap(), "-1");
        assert_eq!(unpacked(&[0xc1, 0x00, 0x80]).unwrap(), "-32768");
        assert_eq!(unpacked(&[0xc2, 0xff, 0xff, 0xff, 0x7f]).unwrap(), "2147483647");
    }

    #[test]
    fn packed_bytes_are_unpacked() {
        assert_eq!(
            unpacked(&[0xc3, 5, 41, 0, b'a', 0xe0, 31, 0]).unwrap(),
            "a".repeat(41)
        );
        assert_eq!(
            unpacked(&[0xc3, 2, 0x80, 0x20, 0, 0, 0, 0, b'a']),
            Err(Cause::Lzf { unpacked: 512 << 20 })
        );
    }

    #[test]
    fn what_is_not_packed_says_the_same_without_a_copy() {
        let rows: [(&[u8], Option<Plain<'_>>); 6] = [
            (b"\x03abc", Some(Plain::Bytes(b"abc"))),
            (&[0xc0, 0xff], Some(Plain::Number(-1))),
            (&[0xc1, 0x00, 0x80], Some(Plain::Number(-32_768))),
            (&[0xc2, 0, 0, 0, 0x80], Some(Plain::Number(i32::MIN))),
            (&[0xc3, 5, 41, 0, b'a', 0xe0, 31, 0], None),
            (b"\x03abcd", None),
        ];
        for (raw, expected) in rows {
            assert_eq!(plain(raw), expected, "{raw:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_plain_string_is_what_unpacking_gives(raw: Vec<u8>) {
            let text = match plain(&raw) {
                Some(Plain::Bytes(bytes)) => bytes.to_vec(),
                Some(Plain::Number(number)) => number.to_string().into_bytes(),
                None => return Ok(()),
            };
            proptest::prop_assert_eq!(unpacked(&raw).unwrap(), text);
        }

        #[test]
        fn random_bytes_never_panic(raw: Vec<u8>) {
            let _ = unpacked(&raw);
        }
    }
}
