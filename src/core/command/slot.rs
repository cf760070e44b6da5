//! The slot of a key: CRC16 (XMODEM: polynomial 0x1021, from 0, no reflection) of the key, or of its tag, modulo 16384.

/// How many slots a cluster has.
pub const SLOTS: u16 = 16384;

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
        crc = crc << 8 ^ TABLES[0][usize::from((crc >> 8) as u8 ^ byte)];
    }
    crc
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

    proptest! {
        #[test]
        fn eight_bytes_at_a_time_give_the_same_checksum(bytes in prop::collection::vec(any::<u8>(), 0..70)) {
            prop_assert_eq!(crc16(&bytes), crc16_bit_by_bit(&bytes));
        }
    }
}
