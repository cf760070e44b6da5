//! How fences and marks are written. Without I/O.
//!
//! A transaction of a cluster may only span one slot, so that one checkpoint cannot go with all commands. Each slot has a hash of its own,
//! `redis-gunyu-checkpoint-fence:{tag}`, where the tag is a text that hashes to the slot:
//!
//! | field | value | meaning |
//! | --- | --- | --- |
//! | `{name}` | `{lineage}:{offset}` | the fence: everything of the stream up to this offset that concerns the slot is applied |
//! | `{name}:mark` | `{lineage}:{offset}:{db}` | everything up to this offset is applied on the node that served this slot then |

use std::sync::LazyLock;

use bytes::Bytes;

use crate::core::command::{SLOTS, tag_of};
use crate::core::position::Offset;

/// All such keys begin so.
pub const KEY_PREFIX: &str = "redis-gunyu-checkpoint-fence";

/// The key of a slot.
#[must_use]
pub fn key(slot: u16) -> &'static Bytes {
    static KEYS: LazyLock<Vec<Bytes>> = LazyLock::new(|| {
        (0..SLOTS)
            .map(|slot| Bytes::from(format!("{KEY_PREFIX}:{{{}}}", tag_of(slot))))
            .collect()
    });
    &KEYS[usize::from(slot)]
}

/// The field of a deployment's mark.
#[must_use]
pub fn mark_field(name: &str) -> String {
    format!("{name}:mark")
}

/// What a fence says.
#[must_use]
pub fn fence(lineage: u64, offset: Offset) -> String {
    format!("{lineage:016x}:{offset}")
}

/// What a mark says.
#[must_use]
pub fn mark(lineage: u64, offset: Offset, db: u32) -> String {
    format!("{lineage:016x}:{offset}:{db}")
}

/// `{lineage}:{offset}`, and of a mark the database; nothing where the lineage is another.
#[must_use]
pub fn parse(text: &[u8], lineage: u64) -> Option<(Offset, u32)> {
    let mut parts = std::str::from_utf8(text).ok()?.split(':');
    let is_ours = u64::from_str_radix(parts.next()?, 16).ok()? == lineage;
    let offset = Offset::parse(parts.next()?)?;
    let db = parts.next().map_or(Some(0), |db| db.parse().ok())?;
    is_ours.then_some((offset, db))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::command::slot;

    #[test]
    fn the_key_of_a_slot_is_in_that_slot() {
        for n in 0..SLOTS {
            assert_eq!(slot(key(n)), n);
        }
    }

    #[test]
    fn what_is_written_is_what_is_read_and_another_lineage_counts_for_nothing() {
        let (lineage, offset) = (0x9f, Offset::new(42));
        assert_eq!(
            parse(fence(lineage, offset).as_bytes(), lineage),
            Some((offset, 0))
        );
        assert_eq!(
            parse(mark(lineage, offset, 3).as_bytes(), lineage),
            Some((offset, 3))
        );
        assert_eq!(parse(fence(lineage, offset).as_bytes(), 1), None);
        for bad in [
            "",
            "9f",
            "9f:x",
            "x:1",
            "9f:1:y",
            "9f:9223372036854775808",
            "9f:-1",
        ] {
            assert_eq!(parse(bad.as_bytes(), lineage), None, "{bad}");
        }
    }
}
