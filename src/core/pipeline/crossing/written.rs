//! What a shard said at a tick, as the catalog has it. Without I/O.

use serde::{Deserialize, Serialize};

use crate::core::command::{self, SLOTS, range};
use crate::core::position::{Offset, Position, ReplId};
use crate::core::topology::jobs::Export;
use crate::core::topology::sample::Sample;

/// What one shard said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    id: String,
    offset: u64,
    slots: Vec<(u16, u16)>,
    moving: Vec<u16>,
    #[serde(default)]
    atomic: Option<bool>,
    /// Name, slots, whether it is over.
    #[serde(default)]
    exports: Option<Vec<WrittenExport>>,
}

type WrittenExport = (String, Vec<(u16, u16)>, bool);

impl Written {
    /// As it is written.
    #[must_use]
    pub fn of(sample: &Sample) -> Written {
        Written {
            id: sample.at.id.to_string(),
            offset: sample.at.offset.get(),
            slots: sample.slots.clone(),
            moving: sample.moving.clone(),
            atomic: sample.atomic,
            exports: sample.exports.as_ref().map(|exports| {
                let written = |one: &Export| (one.name.clone(), one.slots.clone(), one.is_over);
                exports.iter().map(written).collect()
            }),
        }
    }

    /// Whether they differ in nothing but how far the stream was.
    #[must_use]
    pub fn says_the_same(&self, other: &Written) -> bool {
        let said = |one: &Written| Written {
            offset: 0,
            ..one.clone()
        };
        said(self) == said(other)
    }

    /// As it was written; nothing where it is not what we write.
    #[must_use]
    pub fn read(self) -> Option<Sample> {
        let read = |(name, slots, is_over): WrittenExport| {
            Some(Export {
                name,
                slots: checked(slots)?,
                is_over,
            })
        };
        let exports = self
            .exports
            .map(|exports| exports.into_iter().map(read).collect::<Option<_>>());
        Some(Sample {
            at: Position {
                id: ReplId::parse(self.id.as_bytes()).ok()?,
                offset: Offset::told(self.offset)?,
            },
            slots: checked(self.slots)?,
            moving: self
                .moving
                .iter()
                .all(|slot| *slot < SLOTS)
                .then_some(self.moving)?,
            atomic: self.atomic,
            exports: match exports {
                None => None,
                Some(exports) => Some(exports?),
            },
        })
    }
}

/// The ranges, where there are such slots.
fn checked(slots: Vec<(u16, u16)>) -> Option<Vec<(u16, u16)>> {
    command::ranges(
        slots
            .into_iter()
            .map(|(first, last)| range(first.into(), last.into())),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_with_slots_or_an_offset_that_cannot_be_is_not_read() {
        let written = |offset: u64, slots: (u16, u16), moving: u16, exports: (u16, u16)| Written {
            id: "a".repeat(40),
            offset,
            slots: vec![slots],
            moving: vec![moving],
            atomic: None,
            exports: Some(vec![("one".to_owned(), vec![exports], false)]),
        };
        let good = (0, SLOTS - 1);
        let read = written(7, good, 3, good).read().unwrap();
        assert_eq!(Written::of(&read), written(7, good, 3, good));
        for bad in [
            written(i64::MAX.unsigned_abs() + 1, good, 3, good),
            written(7, (0, SLOTS), 3, good),
            written(7, (2, 1), 3, good),
            written(7, good, SLOTS, good),
            written(7, good, 3, (9, u16::MAX)),
        ] {
            assert_eq!(bad.clone().read(), None, "{bad:?}");
        }
    }
}
