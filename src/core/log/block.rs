//! The bytes of a `.seg` file, which holds a part of the stream. Leaves it to others when files are made, rolled and released.
//!
//! # Format, version 1
//!
//! All numbers little endian. The file's name is the offset before its first byte, `{20 digits}.seg`.
//!
//! | bytes | header |
//! | --- | --- |
//! | 0..8 | magic `GNYSEG01` |
//! | 8..12 | version, u32: 1 |
//! | 12..52 | replication id under which its bytes were received |
//! | 52..60 | start: the history offset before the first payload byte, u64 |
//! | 60..64 | CRC-32C of bytes 0..60, u32 |
//!
//! Then blocks without anything between them:
//!
//! | bytes | block |
//! | --- | --- |
//! | 0..4 | CRC-32C of everything after it in the block, payload included, u32 |
//! | 4..8 | length of the payload, u32: 1 to 1 MiB |
//! | 8..16 | the history offset before the first payload byte, u64 |
//! | 16.. | payload: the stream as it was received |
//!
//! The last block of a finished file is the *seal*: length 0, and the offset at which the file ends. It is written
//! only after everything before it has been persisted. So a sealed file was once whole on the disk, and whatever is
//! wrong in it is rot; the tail of a file without a seal may be torn by a crash, and is cut.

use std::ops::RangeInclusive;

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};

use crate::core::position::{Offset, ReplId};

/// The newest format that this code reads, and the one it writes.
pub const VERSION: u32 = 1;
/// Length of a file's header.
pub const HEADER_LEN: usize = 64;
/// Length of a block's header; a seal has this length as well.
pub const BLOCK_HEADER_LEN: usize = 16;
/// The longest payload of a block.
pub const BLOCK_MAX: usize = 1 << 20;
/// What a file takes beside its blocks: header and seal.
pub const OVERHEAD: u64 = (HEADER_LEN + BLOCK_HEADER_LEN) as u64;
/// The byte of a file's header at which the id stands.
pub const ID_AT: u64 = 12;

const MAGIC: &[u8; 8] = b"GNYSEG01";

fn crc32c(parts: &[&[u8]]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    for part in parts {
        digest.update(part);
    }
    // A CRC-32 in the lower half of a u64.
    digest.finalize() as u32
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}

/// The header of a file that begins at `start`.
pub fn header(id: ReplId, start: Offset) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    bytes[0..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..52].copy_from_slice(id.as_str().as_bytes());
    bytes[52..60].copy_from_slice(&start.get().to_le_bytes());
    let crc = crc32c(&[&bytes[..60]]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Why a header cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderFault {
    /// Not what was written.
    Rot(&'static str),
    /// Written by a newer gunyu.
    Newer(u32),
}

/// Checks a header against the offset in the file's name; the id in it.
pub fn check_header(bytes: &[u8; HEADER_LEN], start: Offset) -> Result<ReplId, HeaderFault> {
    if &bytes[0..8] != MAGIC {
        return Err(HeaderFault::Rot("it does not begin with GNYSEG01"));
    }
    if u32_at(bytes, 60) != crc32c(&[&bytes[..60]]) {
        return Err(HeaderFault::Rot("the header's checksum does not match"));
    }
    match u32_at(bytes, 8) {
        VERSION => {}
        newer => return Err(HeaderFault::Newer(newer)),
    }
    if u64_at(bytes, 52) != start.get() {
        return Err(HeaderFault::Rot(
            "the header's offset is not the one of the file's name",
        ));
    }
    ReplId::parse(&bytes[ID_AT as usize..][..40]).map_err(|_| HeaderFault::Rot("the header's id is none"))
}

/// The header of a block with `payload` that follows offset `before`. An empty payload makes a seal.
pub fn block_header(before: Offset, payload: &[u8]) -> [u8; BLOCK_HEADER_LEN] {
    debug_assert!(payload.len() <= BLOCK_MAX);
    let mut bytes = [0; BLOCK_HEADER_LEN];
    bytes[4..8].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes[8..16].copy_from_slice(&before.get().to_le_bytes());
    let crc = crc32c(&[&bytes[4..], payload]);
    bytes[0..4].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// What stands at some place of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// A whole block with a payload of this length.
    Block(usize),
    /// The end of a finished file.
    Seal,
    /// The beginning of a block; its end is not in `bytes`.
    Short,
    /// Not a block, for this reason.
    Bad(&'static str),
}

/// Reads the block at the beginning of `bytes`, which must follow offset `before`.
pub fn parse(bytes: &[u8], before: Offset) -> Parsed {
    if bytes.len() < BLOCK_HEADER_LEN {
        return Parsed::Short;
    }
    let len = u32_at(bytes, 4) as usize;
    if len > BLOCK_MAX {
        return Parsed::Bad("the block's length is more than 1 MiB");
    }
    if u64_at(bytes, 8) != before.get() {
        return Parsed::Bad("the block's offset does not follow the one before");
    }
    let Some(checked) = bytes.get(4..BLOCK_HEADER_LEN + len) else {
        return Parsed::Short;
    };
    if crc32c(&[checked]) != u32_at(bytes, 0) {
        return Parsed::Bad("the block's checksum does not match");
    }
    match len {
        0 => Parsed::Seal,
        len => Parsed::Block(len),
    }
}

/// The offset in a valid seal, whatever it is; `None` where `bytes` are no seal.
pub fn parse_seal(bytes: &[u8; BLOCK_HEADER_LEN]) -> Option<Offset> {
    let end = Offset::new(u64_at(bytes, 8));
    (parse(bytes, end) == Parsed::Seal).then_some(end)
}

/// The distance to the first valid block in `bytes` that follows an offset among `offsets`.
///
/// Looks at every byte, since a block begins anywhere. The window on the offset rules nearly all of them out before a
/// checksum is computed. Blocks that do not end within `bytes` are not found.
pub fn find_block(bytes: &[u8], offsets: &RangeInclusive<Offset>) -> Option<usize> {
    (0..bytes.len().saturating_sub(BLOCK_HEADER_LEN - 1)).find(|&at| {
        let offset = Offset::new(u64_at(bytes, at + 8));
        offsets.contains(&offset) && matches!(parse(&bytes[at..], offset), Parsed::Block(_) | Parsed::Seal)
    })
}

/// The name of the file that begins at `start`.
pub fn file_name(start: Offset) -> String {
    format!("{:020}.seg", start.get())
}

/// The offset in a name of the form `{20 digits}{suffix}`.
pub fn offset_in_name(name: &str, suffix: &str) -> Option<Offset> {
    let digits = name.strip_suffix(suffix)?;
    let all_digits = digits.len() == 20 && digits.bytes().all(|c| c.is_ascii_digit());
    all_digits.then(|| Offset::parse(digits)).flatten()
}

/// Cuts received bytes into payloads.
pub fn split(bytes: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    (0..bytes.len())
        .step_by(BLOCK_MAX)
        .map(|at| bytes.slice(at..bytes.len().min(at + BLOCK_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> ReplId {
        ReplId::parse(&[b'a'; 40]).unwrap()
    }

    fn block(before: u64, payload: &[u8]) -> Vec<u8> {
        let mut bytes = block_header(Offset::new(before), payload).to_vec();
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn a_header_is_checked_against_damage_version_and_name() {
        let start = Offset::new(77);
        let good = header(id(), start);
        assert_eq!(check_header(&good, start), Ok(id()));
        assert!(matches!(
            check_header(&good, Offset::new(78)),
            Err(HeaderFault::Rot(_))
        ));
        for at in 0..HEADER_LEN {
            let mut bad = good;
            bad[at] ^= 1;
            assert!(
                matches!(check_header(&bad, start), Err(HeaderFault::Rot(_))),
                "byte {at}"
            );
        }
        let mut newer = good;
        newer[8] = 2;
        let crc = crc32c(&[&newer[..60]]);
        newer[60..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(check_header(&newer, start), Err(HeaderFault::Newer(2)));
    }

    #[test]
    fn a_block_is_whole_short_or_bad() {
        let bytes = block(5, b"payload");
        let at = Offset::new(5);
        assert_eq!(parse(&bytes, at), Parsed::Block(7));
        for len in 0..bytes.len() {
            assert_eq!(parse(&bytes[..len], at), Parsed::Short, "{len} bytes");
        }
        assert!(matches!(parse(&bytes, Offset::new(6)), Parsed::Bad(_)));
        for flipped in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[flipped] ^= 1;
            assert!(!matches!(parse(&bad, at), Parsed::Block(_)), "byte {flipped}");
        }
    }

    #[test]
    fn the_checksum_is_crc_32c() {
        assert_eq!(crc32c(&[b"123456789"]), 0xe306_9283);
    }

    #[test]
    fn a_seal_tells_the_end() {
        let seal = block_header(Offset::new(900), b"");
        assert_eq!(parse_seal(&seal), Some(Offset::new(900)));
        assert_eq!(parse(&seal, Offset::new(900)), Parsed::Seal);
        assert_eq!(parse_seal(&block_header(Offset::new(900), b"x")), None);
    }

    #[test]
    fn a_block_is_found_wherever_it_begins() {
        let mut bytes = vec![0; 33];
        bytes.extend(block(12, b"found me"));
        let among = |from, to| find_block(&bytes, &(Offset::new(from)..=Offset::new(to)));
        assert_eq!(among(0, 100), Some(33));
        assert_eq!(among(12, 12), Some(33));
        assert_eq!(among(13, 100), None, "it lies before");
        assert_eq!(among(0, 11), None, "it lies after");
    }

    #[test]
    fn names_are_twenty_digits() {
        assert_eq!(file_name(Offset::new(5)), "00000000000000000005.seg");
        assert_eq!(
            offset_in_name("00000000000000000005.seg", ".seg"),
            Some(Offset::new(5))
        );
        for other in [
            "5.seg",
            "00000000000000000005.rdb",
            "+0000000000000000005.seg",
            "99999999999999999999.seg",
        ] {
            assert_eq!(offset_in_name(other, ".seg"), None, "{other}");
        }
    }

    #[test]
    fn received_bytes_are_cut_into_payloads() {
        let bytes = Bytes::from(vec![7; 2 * BLOCK_MAX + 1]);
        let lens: Vec<usize> = split(&bytes).map(|part| part.len()).collect();
        assert_eq!(lens, [BLOCK_MAX, BLOCK_MAX, 1]);
        assert_eq!(split(&Bytes::new()).count(), 0);
    }
}
