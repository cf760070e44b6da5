//! What can be wrong with an RDB.

use super::layout::{kind_of, opcode};
use super::{Flavor, Version};

/// The RDB cannot be read on. Where, reading what, and why.
///
/// The caller may fetch the snapshot again; scanning the same bytes again ends in the same error. A scanner that has
/// failed answers every further call with the same error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {at} of the RDB, reading {reading}: {cause}")]
pub struct Error {
    /// The byte of the file at which the part that is wrong begins.
    pub at: u64,
    /// What was being read.
    pub reading: Reading,
    /// What is wrong with it.
    pub cause: Cause,
}

impl Error {
    /// Whether it never was an RDB, or is cut off before it says that it is one.
    #[must_use]
    pub const fn is_no_rdb(&self) -> bool {
        matches!(
            (self.reading, &self.cause),
            (Reading::Header, Cause::Magic(_) | Cause::Truncated)
        )
    }
}

/// What was being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// The magic and the version.
    Header,
    /// The byte that says what follows, or what stands before a key.
    Record,
    /// The body of an opcode.
    Opcode(u8),
    /// What modules attached to a key.
    KeyMeta,
    /// The name of a key whose value has this type.
    KeyName(u8, Flavor),
    /// A value of this type.
    Value(u8, Flavor),
    /// The checksum at the end.
    Trailer,
    /// What comes after the end.
    End,
}

impl std::fmt::Display for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let object = |code, flavor| kind_of(code, flavor).map_or("unknown", |kind| kind.object);
        match *self {
            Reading::Header => f.write_str("the header"),
            Reading::Record => f.write_str("a type byte or opcode"),
            Reading::Opcode(code) => write!(f, "opcode {code} ({})", opcode_name(code)),
            Reading::KeyMeta => f.write_str("opcode 243 (module metadata of a key)"),
            Reading::KeyName(code, flavor) => {
                write!(f, "the name of a key of type {code} ({})", object(code, flavor))
            }
            Reading::Value(code, flavor) => write!(f, "a value of type {code} ({})", object(code, flavor)),
            Reading::Trailer => f.write_str("the checksum"),
            Reading::End => f.write_str("beyond the end"),
        }
    }
}

fn opcode_name(code: u8) -> &'static str {
    match code {
        opcode::SLOT_IMPORT => "slot import",
        opcode::SLOT_INFO => "slot sizes",
        opcode::FUNCTION2 => "function library",
        opcode::MODULE_AUX => "module data",
        opcode::AUX => "field about the file",
        opcode::RESIZEDB => "database size",
        opcode::SELECTDB => "select database",
        _ => "unknown",
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// Neither Redis nor Valkey wrote this.
    #[error("{} is not the magic of an RDB", .0.escape_ascii())]
    Magic([u8; 9]),
    /// No length begins with this byte.
    #[error("a length cannot begin with byte {0:#04x}")]
    Length(u8),
    /// No string is packed like this.
    #[error("unknown string packing {0}")]
    Packing(u8),
    /// The packed bytes are not LZF, or not of the length they claim.
    #[error("the LZF data does not unpack to the {unpacked} bytes it claims")]
    Lzf {
        /// The length claimed.
        unpacked: u64,
    },
    /// Neither a type nor an opcode of this flavor.
    #[error("{code} is no type or opcode known to us in a {version} file")]
    Unknown {
        /// The byte.
        code: u8,
        /// What the file says it is.
        version: Version,
    },
    /// Not a type of this flavor.
    #[error("{0} is no type of value known to us")]
    Type(u8),
    /// A module's value from before Redis 4.0: nothing says where it ends.
    #[error("module values of Redis 4.0 release candidates (type 6) cannot be read without the module")]
    ModulePreGa,
    /// A function library as Redis 7.0 release candidates wrote it.
    #[error(
        "function libraries of Redis 7.0 release candidates (opcode 246) are no longer readable by any server"
    )]
    FunctionPreGa,
    /// A string that holds the entries of a small collection is broken.
    #[error("the {what} is broken at its byte {at}: {why}")]
    Packed {
        /// What it is.
        what: Packed,
        /// The byte, counted from the beginning of the unpacked string.
        at: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// A score that is not a number.
    #[error("the score is not a number")]
    Score,
    /// The parts of a value do not fit together.
    #[error("{0}")]
    Contradiction(&'static str),
    /// Not an opcode that a module can write.
    #[error("unknown module opcode {0}")]
    ModuleOpcode(u64),
    /// Expiry, idle time, frequency or metadata stood before something that is not a key.
    #[error("byte {0} follows an expiry, idle time, frequency or metadata, where only a key may")]
    PrefixWithoutKey(u8),
    /// No server has so many databases.
    #[error("{0} is not the number of a database")]
    Database(u64),
    /// The bytes are not those that were written.
    #[error("the checksum is {stored:#018x}, the bytes give {computed:#018x}")]
    Checksum {
        /// What the file says.
        stored: u64,
        /// What its bytes give.
        computed: u64,
    },
    /// The file stops in the middle.
    #[error("the file ends here")]
    Truncated,
    /// There are bytes after the end.
    #[error("{0} bytes follow the end")]
    Trailing(usize),
}

/// A string that holds the entries of a small collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packed {
    /// Since 7.0; in streams since 5.0.
    Listpack,
    /// Before 7.0.
    Ziplist,
    /// Before 2.6.
    Zipmap,
    /// Of integers.
    Intset,
}

impl std::fmt::Display for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Packed::Listpack => "listpack",
            Packed::Ziplist => "ziplist",
            Packed::Zipmap => "zipmap",
            Packed::Intset => "intset",
        })
    }
}
