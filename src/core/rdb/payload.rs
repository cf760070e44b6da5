//! What `RESTORE` and `FUNCTION RESTORE` take, and which servers take it.
//!
//! Owns the footer. Promises bytes equal to what the server that wrote the RDB would give for `DUMP`, footer version
//! aside. Leaves sending them, and values that a target cannot take as they are, to others.
//!
//! | bytes | what |
//! | --- | --- |
//! | any | metadata of modules, opcode included (Redis since RDB 13, if the key has some) |
//! | 1 | type |
//! | any | the value, as in the RDB |
//! | 2 | RDB version, little endian |
//! | 8 | CRC-64 of everything before, little endian |
//!
//! The version only says who can be expected to know the type: a server compares it with its own and then never looks
//! at it again (`verifyDumpPayload`). So a value of a type that the target has always known may carry the target's own
//! version, and is taken by servers much older than the one that wrote it. [`footer`] decides:
//!
//! | target | takes versions | refuses |
//! | --- | --- | --- |
//! | Redis, RDB version t (Valkey 7 and 8 count as Redis with t = 11) | 1 to t | greater ones, Valkey's (80 and up) |
//! | Valkey 9 and later, t ≥ 80 | 1 to 11, 80 to t | 12 to 79: Redis since 7.4, "foreign" |
//!
//! | value | footer |
//! | --- | --- |
//! | of a type both flavors share (0 to 21), without metadata | the source's version where the target takes it; else the greatest that it takes, if the target knows the type |
//! | of a type of one flavor (22 and up), or with metadata | the lesser of the two versions, if the flavors are the same and the target knows the type |
//!
//! A module's value is of a shared type, but only a target with the module takes it. One without refuses it, except that
//! Redis before 6.2 exits: so targets of RDB 9 and before get such values only if they are known to have the module.
//!
//! A source with Valkey's magic gives version 80 and up and this is the footer for targets of its kind; its values of
//! shared types go to Redis, or Valkey 8, under the target's version.

use bytes::{BufMut, BytesMut};

use super::checksum::Checksum;
use super::layout::{COMMON_MAX, MODULE, kind_of, opcode};
use super::{Flavor, Version};

/// Version and checksum.
pub const FOOTER_BYTES: usize = 10;

/// The first RDB version with functions, and with metadata of modules.
const FUNCTIONS_SINCE: u32 = 10;
const META_SINCE: u32 = 13;

/// What is known of the modules that a target has loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Modules {
    /// Those whose values it will be sent.
    Loaded,
    /// Nothing.
    Unknown,
}

/// Servers from this RDB version on refuse a value of a module they lack, instead of exiting.
const REFUSES_UNKNOWN_MODULES_SINCE: u32 = 10;

/// A value that can be written as a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload<'a> {
    /// Metadata of modules, opcode included; empty for nearly every key.
    pub meta: &'a [u8],
    /// The type byte.
    pub value_type: u8,
    /// The value as it stands in the RDB, without the type byte.
    pub value: &'a [u8],
}

impl Payload<'_> {
    /// How many bytes [`Payload::write`] appends.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.meta.len() + 1 + self.value.len() + FOOTER_BYTES
    }

    /// Appends the payload to `out`, with this RDB version in its footer.
    pub fn write(&self, out: &mut BytesMut, footer: u16) {
        out.reserve(self.len_bytes());
        let start = out.len();
        out.put_slice(self.meta);
        out.put_u8(self.value_type);
        out.put_slice(self.value);
        finish(out, start, footer);
    }

    /// The version to put into the footer, so that a target with RDB version `target` takes the value as the source
    /// with version `source` wrote it. None: it cannot; the value has to be decoded.
    #[must_use]
    pub fn footer(&self, source: Version, target: Version, modules: Modules) -> Option<u16> {
        let since = min_restore_version(self.value_type, source.flavor)?;
        let fatal = self.value_type == MODULE && modules == Modules::Unknown;
        if fatal && target.number < REFUSES_UNKNOWN_MODULES_SINCE {
            return None;
        }
        if self.meta.is_empty() && self.value_type <= COMMON_MAX {
            return shared_footer(since, source, target);
        }
        let since = if self.meta.is_empty() {
            since
        } else {
            since.max(META_SINCE)
        };
        let version = source.number.min(target.number);
        let known = source.flavor == target.flavor && since <= version;
        known
            .then_some(version)
            .and_then(|version| u16::try_from(version).ok())
    }
}

/// The least RDB version of a server that takes a value of this type in `RESTORE`. None: the type is unknown to us.
#[must_use]
pub fn min_restore_version(value_type: u8, flavor: Flavor) -> Option<u32> {
    kind_of(value_type, flavor).map(|kind| kind.since)
}

/// Appends what `FUNCTION RESTORE` takes: each library as [`super::Item::Function`] gave it.
pub fn write_functions<'a>(out: &mut BytesMut, libraries: impl IntoIterator<Item = &'a [u8]>, footer: u16) {
    let start = out.len();
    for library in libraries {
        out.put_u8(opcode::FUNCTION2);
        out.put_slice(library);
    }
    finish(out, start, footer);
}

/// As [`Payload::footer`], for libraries of functions.
#[must_use]
pub fn functions_footer(source: Version, target: Version) -> Option<u16> {
    shared_footer(FUNCTIONS_SINCE, source, target)
}

/// The RDB version of the server that answered `DUMP` with these bytes: the surest way to learn a target's.
#[must_use]
pub fn version_of(dump: &[u8]) -> Option<Version> {
    let footer = dump.len().checked_sub(FOOTER_BYTES)?;
    let version = dump.get(footer..)?.first_chunk()?;
    Some(Version::of_footer(u16::from_le_bytes(*version)))
}

/// For what means the same to both flavors, and is known since RDB `since`.
fn shared_footer(since: u32, source: Version, target: Version) -> Option<u16> {
    if since > target.number {
        return None;
    }
    let greatest = match target.flavor {
        Flavor::Valkey if source.flavor == Flavor::Redis => Version::SHARED_MAX,
        Flavor::Valkey | Flavor::Redis => target.number,
    };
    u16::try_from(source.number.min(greatest)).ok()
}

fn finish(out: &mut BytesMut, start: usize, footer: u16) {
    out.put_u16_le(footer);
    let checksum = Checksum::of(out.get(start..).unwrap_or_default());
    out.put_u64_le(checksum);
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn redis(number: u32) -> Version {
        Version {
            flavor: Flavor::Redis,
            number,
        }
    }

    const fn valkey(number: u32) -> Version {
        Version {
            flavor: Flavor::Valkey,
            number,
        }
    }

    #[test]
    fn a_payload_is_what_dump_gives() {
        // SET k 10; DUMP k, as Redis 7.0.15 answers.
        let value = Payload {
            meta: b"",
            value_type: 0,
            value: b"\xc0\n",
        };
        let mut out = BytesMut::from(&b"before"[..]);
        value.write(&mut out, 10);
        assert_eq!(&out[6..], b"\x00\xc0\n\n\x00n\x9fWE\x0e\xaec\xbb");
        assert_eq!(out.len() - 6, value.len_bytes());
        assert_eq!(version_of(&out[6..]), Some(redis(10)));
    }

    #[test]
    fn the_footer_says_what_the_target_takes() {
        let plain = |value_type| Payload {
            meta: b"",
            value_type,
            value: b"",
        };
        let meta = Payload {
            meta: b"m",
            value_type: 0,
            value: b"",
        };
        #[rustfmt::skip]
        let table = [
            // value       source      target      footer
            (plain(0),  redis(10),  redis(13),  Some(10)),  // older to newer: as the source says
            (plain(0),  redis(13),  redis(6),   Some(6)),   // newer to older, type as old as RESTORE
            (plain(16), redis(13),  redis(9),   None),      // newer to older, type unknown there
            (plain(16), redis(13),  redis(10),  Some(10)),
            (plain(0),  redis(13),  valkey(80), Some(11)),  // foreign versions are refused, 11 is not
            (plain(21), redis(11),  valkey(80), Some(11)),
            (plain(21), valkey(80), valkey(80), Some(80)),
            (plain(21), valkey(80), redis(13),  Some(13)),
            (plain(21), valkey(80), redis(11),  Some(11)),
            (plain(21), valkey(80), redis(10),  None),
            (plain(25), redis(12),  redis(13),  Some(12)),
            (plain(25), redis(13),  redis(12),  Some(12)),
            (plain(25), redis(13),  valkey(80), None),
            (plain(26), redis(13),  redis(12),  None),
            (plain(22), valkey(80), valkey(81), Some(80)),
            (plain(22), valkey(81), valkey(80), Some(80)),
            (plain(22), valkey(80), redis(13),  None),
            (plain(7),  redis(9),   redis(9),   None),      // it would exit if it lacks the module
            (plain(7),  redis(9),   redis(10),  Some(9)),
            (plain(8),  redis(13),  redis(13),  None),
            (meta,      redis(13),  redis(13),  Some(13)),
            (meta,      redis(13),  redis(12),  None),
        ];
        for (value, source, target, footer) in table {
            let found = value.footer(source, target, Modules::Unknown);
            assert_eq!(found, footer, "{value:?} from {source} to {target}");
        }
        assert_eq!(plain(7).footer(redis(9), redis(9), Modules::Loaded), Some(9));
        assert_eq!(functions_footer(redis(13), redis(10)), Some(10));
        assert_eq!(functions_footer(valkey(80), redis(9)), None);
    }
}
