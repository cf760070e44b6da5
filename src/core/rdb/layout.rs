//! How every value and every opcode of an RDB is laid out, as tables.
//!
//! Owns which type bytes and opcodes there are, what follows each, and since which RDB version servers know them.
//! Promises nothing about meaning: a layout says where the bytes end. Leaves walking the tables to [`super::skip`].
//!
//! Types up to 21 are common to Redis and Valkey. From 22 on the two have given the same numbers different meanings,
//! so these are looked up by [`Flavor`]; the same goes for opcode 243.

use super::Flavor;

/// One thing that stands in an RDB, as far as finding its end goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Part {
    /// A string: plain, an integer in disguise, or LZF.
    Str,
    /// So many lengths, read as numbers.
    Lens(u8),
    /// So many bytes.
    Fixed(u8),
    /// A score as text: one length byte, of which 253 to 255 stand for NaN and the infinities and bring no text.
    Score,
    /// A length, and so many times these parts.
    Many(&'static [Part]),
    /// What a module wrote: (opcode, its operand) until the opcode for the end.
    Module,
}

use Part::{Fixed, Lens, Many, Module, Score, Str};

/// Opcodes: the bytes that stand where a type byte could.
pub(super) mod opcode {
    /// Redis since RDB 13: what modules attached to the key that follows.
    pub(crate) const KEY_META: u8 = 243;
    /// Valkey since RDB 80: a slot import that is under way.
    pub(crate) const SLOT_IMPORT: u8 = 243;
    /// Sizes of one slot of a cluster.
    pub(crate) const SLOT_INFO: u8 = 244;
    /// A function library's code.
    pub(crate) const FUNCTION2: u8 = 245;
    /// A function library as release candidates of Redis 7.0 wrote it.
    pub(crate) const FUNCTION_PRE_GA: u8 = 246;
    /// What a module keeps beside the keys.
    pub(crate) const MODULE_AUX: u8 = 247;
    /// Seconds since the key that follows was used.
    pub(crate) const IDLE: u8 = 248;
    /// How often the key that follows is used, as the LFU counter.
    pub(crate) const FREQ: u8 = 249;
    /// A field about the file.
    pub(crate) const AUX: u8 = 250;
    /// How many keys, and keys with a TTL, the database has.
    pub(crate) const RESIZEDB: u8 = 251;
    /// When the key that follows expires, in milliseconds.
    pub(crate) const EXPIRETIME_MS: u8 = 252;
    /// The same in seconds.
    pub(crate) const EXPIRETIME: u8 = 253;
    /// The database of the keys that follow.
    pub(crate) const SELECTDB: u8 = 254;
    /// The end; since RDB 5 a checksum follows.
    pub(crate) const EOF: u8 = 255;
}

/// A kind of value: its type byte, and what it is.
#[derive(Debug, PartialEq)]
pub struct Kind {
    /// The type byte.
    pub code: u8,
    /// What `TYPE key` answers (`module` for a module's value, which answers its own name).
    pub object: &'static str,
    /// How the value is packed.
    pub encoding: &'static str,
    /// The first RDB version whose servers know the type byte.
    pub since: u32,
    pub(super) parts: &'static [Part],
}

const fn kind(
    code: u8,
    object: &'static str,
    encoding: &'static str,
    since: u32,
    parts: &'static [Part],
) -> Kind {
    Kind {
        code,
        object,
        encoding,
        since,
        parts,
    }
}

const BLOB: &[Part] = &[Str];
const STRINGS: &[Part] = &[Many(&[Str])];

/// A stream's listpacks, each after the id of its first entry.
const ENTRIES: Part = Many(&[Str, Str]);
/// Length, last id in two halves; and since RDB 10 the first id, the greatest deleted id, entries ever added.
const COUNTS: Part = Lens(3);
const COUNTS_2: Part = Lens(8);
/// A group's pending entries: raw id, time of delivery, count of deliveries.
const PENDING: Part = Many(&[Fixed(16), Fixed(8), Lens(1)]);
/// Raw ids: a consumer's pending entries; since RDB 14 also those of a group that consumers gave back.
const IDS: Part = Many(&[Fixed(16)]);
/// Name, time seen, since RDB 11 time active, pending entries.
const CONSUMERS: Part = Many(&[Str, Fixed(8), IDS]);
const CONSUMERS_3: Part = Many(&[Str, Fixed(16), IDS]);
/// Name, last id in two halves, since RDB 10 entries read, pending entries, consumers, since RDB 14 ids given back.
const GROUPS: Part = Many(&[Str, Lens(2), PENDING, CONSUMERS]);
const GROUPS_2: Part = Many(&[Str, Lens(3), PENDING, CONSUMERS]);
const GROUPS_3: Part = Many(&[Str, Lens(3), PENDING, CONSUMERS_3]);
const GROUPS_5: Part = Many(&[Str, Lens(3), PENDING, CONSUMERS_3, IDS]);
/// Since RDB 13, the ids that producers must not repeat: by producer, the producer's id and the entry's.
const PRODUCERS: Part = Many(&[Str, Many(&[Str, Lens(2)])]);

const STREAM: &[Part] = &[ENTRIES, COUNTS, GROUPS];
const STREAM_2: &[Part] = &[ENTRIES, COUNTS_2, GROUPS_2];
const STREAM_3: &[Part] = &[ENTRIES, COUNTS_2, GROUPS_3];
/// After the groups: for how long and how many ids of producers are kept, the ids, how many came, how many twice.
const STREAM_4: &[Part] = &[ENTRIES, COUNTS_2, GROUPS_3, Lens(2), PRODUCERS, Lens(2)];
const STREAM_5: &[Part] = &[ENTRIES, COUNTS_2, GROUPS_5, Lens(2), PRODUCERS, Lens(2)];

/// Every kind that Redis and Valkey have in common. 6 (modules before Redis 4.0) cannot be walked, 8 never was.
static COMMON: [Kind; 20] = [
    kind(0, "string", "string", 1, BLOB),
    kind(1, "list", "linkedlist", 1, STRINGS),
    kind(2, "set", "hashtable", 1, STRINGS),
    kind(3, "zset", "skiplist", 1, &[Many(&[Str, Score])]),
    kind(4, "hash", "hashtable", 1, &[Many(&[Str, Str])]),
    kind(5, "zset", "skiplist", 8, &[Many(&[Str, Fixed(8)])]),
    kind(7, "module", "module", 8, MODULE_PARTS),
    kind(9, "hash", "zipmap", 2, BLOB),
    kind(10, "list", "ziplist", 2, BLOB),
    kind(11, "set", "intset", 2, BLOB),
    kind(12, "zset", "ziplist", 2, BLOB),
    kind(13, "hash", "ziplist", 4, BLOB),
    kind(14, "list", "quicklist", 7, STRINGS),
    kind(15, "stream", "stream", 9, STREAM),
    kind(16, "hash", "listpack", 10, BLOB),
    kind(17, "zset", "listpack", 10, BLOB),
    kind(18, "list", "quicklist", 10, &[Many(&[Lens(1), Str])]),
    kind(19, "stream", "stream", 10, STREAM_2),
    kind(20, "set", "listpack", 11, BLOB),
    kind(21, "stream", "stream", 11, STREAM_3),
];

/// Where each common type stands in [`COMMON`]; 255 for none.
const COMMON_AT: [u8; 22] = {
    let mut at = [255; 22];
    let mut i = 0;
    while i < COMMON.len() {
        at[COMMON[i].code as usize] = i as u8;
        i += 1;
    }
    at
};

/// The type byte of strings.
pub const STRING: u8 = 0;

/// The type byte of modules' values.
pub(super) const MODULE: u8 = 7;

/// A module's value: its type, and what it wrote.
pub(super) const MODULE_PARTS: &[Part] = &[Lens(1), Module];

/// The greatest type byte that means the same to Redis and to Valkey.
pub(super) const COMMON_MAX: u8 = 21;

/// Redis' own: hashes whose fields expire (22 and 23 as release candidates of 7.4 wrote them, without the leading
/// earliest time), and later streams.
static REDIS: [Kind; 6] = [
    kind(22, "hash", "hashtable_ex", 12, &[Many(&[Lens(1), Str, Str])]),
    kind(23, "hash", "listpack_ex", 12, BLOB),
    kind(
        24,
        "hash",
        "hashtable_ex",
        12,
        &[Fixed(8), Many(&[Lens(1), Str, Str])],
    ),
    kind(25, "hash", "listpack_ex", 12, &[Fixed(8), Str]),
    kind(26, "stream", "stream", 13, STREAM_4),
    kind(27, "stream", "stream", 14, STREAM_5),
];

/// Valkey's own: a hash whose fields expire, each field with its value and its time or -1.
static VALKEY: [Kind; 1] = [kind(
    22,
    "hash",
    "hashtable_ex",
    80,
    &[Many(&[Str, Str, Fixed(8)])],
)];

/// What a type byte stands for, or none where it is unknown to this flavor (or to us).
#[must_use]
pub fn kind_of(code: u8, flavor: Flavor) -> Option<&'static Kind> {
    if let Some(at) = COMMON_AT.get(usize::from(code)) {
        return COMMON.get(usize::from(*at));
    }
    let own: &'static [Kind] = match flavor {
        Flavor::Redis => &REDIS,
        Flavor::Valkey => &VALKEY,
    };
    own.get(usize::from(code - COMMON_MAX - 1))
}

/// What a module attached to a key: by class, its name and version, and what it wrote.
pub(super) const KEY_META: &[Part] = &[Many(&[Fixed(4), Module])];

/// What follows an opcode that stands for itself, rather than before a key.
pub(super) fn body_of(code: u8, flavor: Flavor) -> Option<&'static [Part]> {
    match (code, flavor) {
        (opcode::SLOT_IMPORT, Flavor::Valkey) => Some(&[Str, Many(&[Lens(2)])]),
        (opcode::SLOT_INFO, _) => Some(&[Lens(3)]),
        (opcode::FUNCTION2, _) => Some(&[Str]),
        (opcode::MODULE_AUX, _) => Some(&[Lens(3), Module]),
        (opcode::AUX, _) => Some(&[Str, Str]),
        (opcode::RESIZEDB, _) => Some(&[Lens(2)]),
        (opcode::SELECTDB, _) => Some(&[Lens(1)]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_under_its_own_type_byte() {
        let all = |flavor| (0..=255).filter_map(move |code| Some((code, kind_of(code, flavor)?)));
        for (code, kind) in all(Flavor::Redis).chain(all(Flavor::Valkey)) {
            assert_eq!(kind.code, code);
        }
        assert_eq!(all(Flavor::Redis).count(), COMMON.len() + REDIS.len());
        assert_eq!(all(Flavor::Valkey).count(), COMMON.len() + VALKEY.len());
    }

    #[test]
    fn type_22_means_one_thing_to_redis_and_another_to_valkey() {
        let (redis, valkey) = (kind_of(22, Flavor::Redis), kind_of(22, Flavor::Valkey));
        assert_ne!(redis.unwrap().parts, valkey.unwrap().parts);
    }

    #[test]
    fn opcodes_and_types_do_not_overlap() {
        for flavor in [Flavor::Redis, Flavor::Valkey] {
            assert!((0..=255).all(|code| kind_of(code, flavor).is_none() || body_of(code, flavor).is_none()));
        }
    }
}
