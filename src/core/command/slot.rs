//! The slot of a key: CRC16 (XMODEM: polynomial 0x1021, from 0, no reflection) of the key, or of its tag, modulo 16384;
//! and for each slot a tag that leads to it.

use std::sync::LazyLock;

/// How many slots a cluster has.
pub const SLOTS: u16 = 16384;

/// First and last slot of a range that somebody has told; nothing where there is no such range.
#[must_use]
pub fn range(first: i64, last: i64) -> Option<(u16, u16)> {
    let slot = |number: i64| u16::try_from(number).ok().filter(|slot| *slot < SLOTS);
    slot(first).zip(slot(last)).filter(|(first, last)| first <= last)
}

/// Reads `7` or `7-9`.
#[must_use]
pub fn read_range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    range(first.parse().ok()?, last.parse().ok()?)
}

/// All of the ranges; nothing where one of them is none, or where they are more slots than there are: no list of a server's is longer.
#[must_use]
pub fn ranges(told: impl IntoIterator<Item = Option<(u16, u16)>>) -> Option<Vec<(u16, u16)>> {
    let (mut ranges, mut slots) = (Vec::new(), 0);
    for range in told {
        let (first, last) = range?;
        slots += u32::from(last - first) + 1;
        if slots > u32::from(SLOTS) {
            return None;
        }
        ranges.push((first, last));
    }
    Some(ranges)
}

/// The slot of a key.
///
/// Only what stands between the first `{` and the first `}` after it counts, where that is not empty: keys with
/// the same tag share a slot.
#[must_use]
#[inline]
pub fn slot(key: &[u8]) -> u16 {
    crc16(tag(key)) & (SLOTS - 1)
}

#[inline]
fn tag(key: &[u8]) -> &[u8] {
    let Some(open) = memchr::memchr(b'{', key) else {
        return key;
    };
    match memchr::memchr(b'}', &key[open + 1..]) {
        None | Some(0) => key,
        Some(len) => &key[open + 1..open + 1 + len],
    }
}

/// So many digits of a tag are needed for all slots: of five, the checksum's parity leaves some slots without.
const DIGITS: usize = 6;

/// A text that hashes to the slot, to stand between `{` and `}` in the name of a key that must lie there: six digits.
///
/// The same in every release: keys on targets are named with it.
///
/// # Panics
/// Where there is no such slot.
#[must_use]
pub fn tag_of(slot: u16) -> &'static str {
    static TAGS: LazyLock<Vec<[u8; DIGITS]>> = LazyLock::new(tags);
    std::str::from_utf8(&TAGS[usize::from(slot)]).expect("a tag is digits")
}

/// For each slot the first number that hashes to it, written with six octal digits: the
/// checksum of the first five serves for eight of them.
fn tags() -> Vec<[u8; DIGITS]> {
    let mut tags = vec![[0; DIGITS]; usize::from(SLOTS)];
    let mut missing = tags.len();
    for head in 0u32..1 << (3 * (DIGITS - 1)) {
        let mut tag = [b'0'; DIGITS];
        for (at, digit) in tag[..DIGITS - 1].iter_mut().rev().enumerate() {
            *digit += (head >> (3 * at) & 7) as u8;
        }
        let crc = crc16(&tag[..DIGITS - 1]);
        for last in b'0'..b'8' {
            let slot = step(crc, last) & (SLOTS - 1);
            let known = &mut tags[usize::from(slot)];
            if known[0] == 0 {
                tag[DIGITS - 1] = last;
                *known = tag;
                missing -= 1;
            }
        }
        if missing == 0 {
            break;
        }
    }
    assert_eq!(missing, 0, "six octal digits reach every slot");
    tags
}

/// `TABLES[n][b]`: the checksum of byte `b` followed by n zero bytes. Eight bytes are taken in at a time; byte by byte,
/// each would wait for the one before it.
static TABLES: [[u16; 256]; 8] = tables();

const fn tables() -> [[u16; 256]; 8] {
    let mut tables = [[0u16; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 {
                crc << 1 ^ 0x1021
            } else {
                crc << 1
            };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut n = 1;
    while n < 8 {
        let mut byte = 0;
        while byte < 256 {
            let crc = tables[n - 1][byte];
            tables[n][byte] = crc << 8 ^ tables[0][(crc >> 8) as usize];
            byte += 1;
        }
        n += 1;
    }
    tables
}

#[inline]
fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0u16;
    let (eights, rest) = bytes.as_chunks::<8>();
    for chunk in eights {
        let [high, low] = crc.to_be_bytes();
        let mut next = TABLES[7][usize::from(chunk[0] ^ high)] ^ TABLES[6][usize::from(chunk[1] ^ low)];
        for n in 2..8 {
            next ^= TABLES[7 - n][usize::from(chunk[n])];
        }
        crc = next;
    }
    for byte in rest {
        crc = step(crc, *byte);
    }
    crc
}

/// The checksum with one byte more.
#[inline]
fn step(crc: u16, byte: u8) -> u16 {
    crc << 8 ^ TABLES[0][usize::from((crc >> 8) as u8 ^ byte)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn crc16_bit_by_bit(bytes: &[u8]) -> u16 {
        let mut crc = 0u16;
        for &byte in bytes {
            crc ^= u16::from(byte) << 8;
            for _ in 0..8 {
                crc = if crc & 0x8000 != 0 {
                    crc << 1 ^ 0x1021
                } else {
                    crc << 1
                };
            }
        }
        crc
    }

    #[test]
    fn a_range_is_in_order_and_of_slots_that_there_are() {
        for (text, expected) in [
            ("0", Some((0, 0))),
            ("5-7", Some((5, 7))),
            ("0-16383", Some((0, 16_383))),
            ("5-3", None),
            ("16384", None),
            ("0-16384", None),
            ("65535", None),
            ("65536-70000", None),
            ("-1", None),
            ("1-", None),
            ("", None),
            ("x", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(read_range(text), expected, "{text}");
        }
        assert_eq!(range(i64::MIN, i64::MAX), None);
    }

    #[test]
    fn ranges_are_no_more_slots_than_there_are() {
        let each = (0..SLOTS).map(|slot| Some((slot, slot)));
        assert_eq!(ranges(each.clone()).map(|all| all.len()), Some(16_384));
        assert_eq!(ranges(each.chain([Some((0, 0))])), None);
        assert_eq!(ranges([Some((0, 16_383)), Some((5, 5))]), None);
        assert_eq!(ranges([Some((0, 1)), None]), None);
    }

    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        for (key, expected) in [
            (&b""[..], 0),
            (b"foo", 12182),
            (b"somekey", 11058),
            (b"foo{hash_tag}", 2515),
            (b"bar{hash_tag}", 2515),
            (b"{a}{b}", 15495),
        ] {
            assert_eq!(slot(key), expected, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn only_the_first_tag_counts_and_only_where_it_is_not_empty() {
        for (key, same) in [
            ("{user1000}.following", "user1000"),
            ("foo{bar}{zap}", "bar"),
            ("foo{{bar}}zap", "{bar"),
            ("a}b{c}", "c"),
        ] {
            assert_eq!(slot(key.as_bytes()), slot(same.as_bytes()), "{key}");
        }
        for whole in ["foo{}{bar}", "foo{bar", "foo}bar", "{}"] {
            assert_eq!(
                slot(whole.as_bytes()),
                crc16_bit_by_bit(whole.as_bytes()) % SLOTS,
                "{whole}"
            );
        }
    }

    #[test]
    fn every_slot_has_a_tag_of_its_own() {
        for number in 0..SLOTS {
            let tag = tag_of(number);
            assert_eq!(slot(format!("any{{{tag}}}thing").as_bytes()), number);
            assert!(tag.len() == DIGITS && tag.bytes().all(|b| b.is_ascii_digit()));
        }
    }

    #[test]
    fn tags_are_those_of_every_release() {
        for (slot, tag) in [
            (0, "242353"),
            (1, "002554"),
            (5460, "022470"),
            (8191, "021111"),
            (16383, "261460"),
        ] {
            assert_eq!(tag_of(slot), tag, "{slot}");
        }
    }

    #[test]
    fn all_tags_are_found_in_a_blink() {
        // The best of several: the machine has other things to do.
        let times = (0..20).map(|_| {
            let began = std::time::Instant::now();
            assert_eq!(tags().len(), usize::from(SLOTS));
            began.elapsed()
        });
        let best = times.min().unwrap();
        assert!(best < std::time::Duration::from_millis(5), "{best:?}");
    }

    proptest! {
        #[test]
        fn eight_bytes_at_a_time_give_the_same_checksum(bytes in prop::collection::vec(any::<u8>(), 0..70)) {
            prop_assert_eq!(crc16(&bytes), crc16_bit_by_bit(&bytes));
        }
    }
}
