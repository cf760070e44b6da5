//! Which of the 16,384 slots of a cluster a key belongs to: counted here once more, so that the tests do not believe gunyu.

use std::sync::LazyLock;

/// How many there are.
pub const SLOTS: usize = 16_384;

/// CRC16 (XMODEM) of what is between the first `{` and the next `}`, or of the whole key.
pub fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    let mut crc = 0u16;
    for byte in tag.unwrap_or(key) {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            };
        }
    }
    crc % SLOTS as u16
}

/// A hash tag of this slot, the same in every run.
pub fn tag(wanted: u16) -> &'static str {
    static TAGS: LazyLock<Vec<String>> = LazyLock::new(|| {
        let mut tags = vec![String::new(); SLOTS];
        let mut missing = SLOTS;
        for name in (0u32..).map(|number| format!("t{number}")) {
            let place = &mut tags[usize::from(slot(name.as_bytes()))];
            if place.is_empty() {
                *place = name;
                missing -= 1;
            }
            if missing == 0 {
                break;
            }
        }
        tags
    });
    &TAGS[usize::from(wanted)]
}

/// Slots as `0-5460 5462`, as the servers write them.
pub fn ranges(slots: &[u16]) -> Vec<(u16, u16)> {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for slot in slots {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *slot => *last = *slot,
            _ => ranges.push((*slot, *slot)),
        }
    }
    ranges
}
