//! What a target understands of what a value may need.

use crate::core::target::facts::Facts;

/// What can be said to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ability {
    /// `RESTORE … REPLACE`: since 3.0.
    pub restore_replaces: bool,
    /// The command that sets several fields of a hash.
    pub hash_verb: &'static [u8],
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
            restore_replaces: facts.since((3, 0, 0), ALWAYS),
            hash_verb: facts.hash_verb(),
            streams: facts.since((5, 0, 0), ALWAYS),
            consumers_are_created: facts.since((6, 2, 0), ALWAYS),
            streams_are_counted: facts.since((7, 0, 0), ALWAYS),
            fields_expire: facts.since((7, 4, 0), (9, 0, 0)),
            producers_are_known: facts.since((8, 6, 2), NEVER),
            functions: facts.since((7, 0, 0), ALWAYS),
        }
    }
}
