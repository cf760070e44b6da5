//! What an RDB string holds.
//!
//! Owns unpacking: integers back to text, LZF back to bytes. Promises that a claimed length allocates nothing beyond
//! what the packed bytes could yield. The scanner unpacks keys and fields about the file, nothing else.

use bytes::Bytes;

use super::error::Cause;
use super::reader::{LZF, Length, Reader, Stop};

/// No string that a server holds is longer (`proto-max-bulk-len`).
const UNPACKED_MAX_BYTES: u64 = 512 << 20;

/// The bytes of a string, given as it stands in an RDB. A plain string is a slice of `raw`.
///
/// # Errors
/// `raw` does not begin with a whole string.
pub fn unpack(raw: &Bytes) -> Result<Bytes, Cause> {
    unpack_at(raw, 0)
}

/// The same for a string that begins at `at` of `raw`. Every slice of `raw` on the way would cost a count.
pub(super) fn unpack_at(raw: &Bytes, at: usize) -> Result<Bytes, Cause> {
    let mut reader = Reader::new(raw.get(at..).unwrap_or_default());
    read(raw, &mut reader).map_err(|stop| match stop {
        Stop::Short(_) => Cause::Truncated,
        Stop::Bad(cause) => cause,
    })
}

fn read(raw: &Bytes, reader: &mut Reader<'_>) -> Result<Bytes, Stop> {
    match reader.length_or_packing()? {
        Length::Plain(len) => Ok(raw.slice_ref(reader.take(len)?)),
        Length::Packed(0) => Ok(text(i8::from_le_bytes(reader.array()?))),
        Length::Packed(1) => Ok(text(i16::from_le_bytes(reader.array()?))),
        Length::Packed(2) => Ok(text(i32::from_le_bytes(reader.array()?))),
        Length::Packed(LZF) => {
            let packed = reader.length()?;
            let unpacked = reader.length()?;
            let plain = lzf(reader.take(packed)?, unpacked).ok_or(Stop::Bad(Cause::Lzf { unpacked }))?;
            Ok(Bytes::from(plain))
        }
        Length::Packed(packing) => Err(Stop::Bad(Cause::Packing(packing))),
    }
}

fn text(number: impl itoa::Integer) -> Bytes {
    Bytes::copy_from_slice(itoa::Buffer::new().format(number).as_bytes())
}

/// Unpacks LZF into exactly `unpacked` bytes.
///
/// A run of LZF is one of three: a control byte below 32, and one more literal bytes than it says; a control byte
/// whose upper three bits are a length of 1 to 6, and a byte; or 7 in these bits, a byte with the length beyond 7,
/// and a byte. The last byte and the control byte's lower five bits say how far back to copy from, less one; the
/// copy is two bytes longer than the length.
fn lzf(packed: &[u8], unpacked: u64) -> Option<Vec<u8>> {
    // Three bytes can stand for 264 at most, so a greater claim is a lie.
    let plausible = (packed.len() as u64).checked_mul(264 / 3)?;
    if unpacked > UNPACKED_MAX_BYTES || unpacked > plausible {
        return None;
    }
    let unpacked = usize::try_from(unpacked).ok()?;
    let mut plain = Vec::with_capacity(unpacked);
    let mut rest = packed.iter();
    while let Some(&control) = rest.next() {
        if control < 32 {
            let (literal, after) = rest.as_slice().split_at_checked(usize::from(control) + 1)?;
            plain.extend_from_slice(literal);
            rest = after.iter();
        } else {
            let mut len = usize::from(control >> 5) + 2;
            if len == 9 {
                len += usize::from(*rest.next()?);
            }
            let back = usize::from(control & 31) << 8 | usize::from(*rest.next()?);
            copy_back(&mut plain, back + 1, len)?;
        }
        if plain.len() > unpacked {
            return None;
        }
    }
    (plain.len() == unpacked).then_some(plain)
}

/// Appends `len` bytes from `back` bytes before the end. Where they overlap with what is appended, they repeat.
fn copy_back(plain: &mut Vec<u8>, back: usize, len: usize) -> Option<()> {
    let from = plain.len().checked_sub(back)?;
    if back >= len {
        plain.extend_from_within(from..from + len);
        return Some(());
    }
    for at in from..from + len {
        plain.push(plain[at]);
    }
    Some(())
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
    fn lzf_repeats_what_it_overlaps() {
        // "a", then 40 more of it from one byte back: 40 = 7 + 2 + 31.
        assert_eq!(
            unpacked(&[0xc3, 5, 41, 0, b'a', 0xe0, 31, 0]).unwrap(),
            "a".repeat(41)
        );
        // "abc", then 5 from three back.
        assert_eq!(
            unpacked(&[0xc3, 6, 8, 2, b'a', b'b', b'c', 0x60, 2]).unwrap(),
            "abcabcab"
        );
    }

    #[test]
    fn lzf_that_lies_is_an_error() {
        let lies: [&[u8]; 6] = [
            &[0xc3, 2, 2, 0, b'a'],                   // shorter than claimed
            &[0xc3, 4, 2, 2, b'a', b'b', b'c'],       // longer
            &[0xc3, 2, 2, 5, b'a'],                   // literal bytes missing
            &[0xc3, 4, 4, 0, b'a', 0x20, 1],          // from before the beginning
            &[0xc3, 3, 9, 0, b'a', 0xe0],             // ends in a run
            &[0xc3, 2, 0x80, 0x20, 0, 0, 0, 0, b'a'], // claims 512 MiB from two bytes
        ];
        for raw in lies {
            assert!(unpacked(raw).is_err(), "{raw:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn random_bytes_never_panic(raw: Vec<u8>) {
            let _ = unpacked(&raw);
            let _ = lzf(&raw, 100);
        }
    }
}
