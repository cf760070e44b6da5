//! What a shard said at a tick, as the catalog has it. Without I/O.

use serde::{Deserialize, Serialize};

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
        Some(Sample {
            at: Position {
                id: ReplId::parse(self.id.as_bytes()).ok()?,
                offset: Offset::new(self.offset),
            },
            slots: self.slots,
            moving: self.moving,
            atomic: self.atomic,
            exports: self.exports.map(|exports| {
                let read = |(name, slots, is_over)| Export { name, slots, is_over };
                exports.into_iter().map(read).collect()
            }),
        })
    }
}
