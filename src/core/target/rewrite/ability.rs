//! What a target understands of what a value may need.

use crate::core::target::facts::Facts;

/// What can be said to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ability {
    /// `HSET` with several fields: since 4.0.
    pub hset_takes_many: bool,
    /// Streams: since 5.0.
    pub streams: bool,
    /// `XGROUP CREATECONSUMER`: since 6.2.
    pub consumers_are_created: bool,
    /// `XSETID … ENTRIESADDED … MAXDELETEDID`, `XGROUP CREATE … ENTRIESREAD`: since 7.0.
    pub streams_are_counted: bool,
    /// `HPEXPIREAT`: Redis since 7.4, Valkey since 9.0.
    pub fields_expire: bool,
    /// `XCFGSET`, `XIDMPRECORD`: Redis since 8.6.2.
    pub producers_are_known: bool,
    /// Functions: since 7.0.
    pub functions: bool,
}

impl Ability {
    /// Of this target.
    #[must_use]
    pub fn of(facts: &Facts) -> Ability {
        /// No Valkey has it.
        const NEVER: (u32, u32, u32) = (u32::MAX, 0, 0);
        /// Every Valkey has it.
        const ALWAYS: (u32, u32, u32) = (0, 0, 0);
        Ability {
            hset_takes_many: facts.since((4, 0, 0), ALWAYS),
            streams: facts.since((5, 0, 0), ALWAYS),
            consumers_are_created: facts.since((6, 2, 0), ALWAYS),
            streams_are_counted: facts.since((7, 0, 0), ALWAYS),
            fields_expire: facts.since((7, 4, 0), (9, 0, 0)),
            producers_are_known: facts.since((8, 6, 2), NEVER),
            functions: facts.since((7, 0, 0), ALWAYS),
        }
    }
}
