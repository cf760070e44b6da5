//! The protocol's bytes, without any I/O: where commands end in a replication stream, what a target's replies say,
//! and how commands are written.
//!
//! Owns framing ([`Framer`]), reply scanning ([`ReplyScanner`], [`Values`]) and encoding ([`encode_command`]).
//! Promises: no byte is copied that need not be, nothing is allocated per command or per good reply, input is cut
//! wherever the network likes to cut it, and no input makes it panic. Leaves to others what a command means
//! ([`super::command`]) and which ones are replicated ([`super::filter`]).

mod encode;
mod frame;
mod framer;
mod reply;
mod said;
mod scan;
mod value;

pub use encode::{encode_command, write_array_header, write_bulk, write_number};
pub use frame::{Args, Frame, Run};
pub use framer::Framer;
pub use reply::{Event, ReplyScanner};
pub use said::{harmless, said};
pub use value::{Value, Values, parse_value};

use super::position::Offset;

/// How much a declared length is believed. What goes beyond is an error, and nothing is ever reserved on the
/// strength of a declaration alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest argument, `proto-max-bulk-len` of the source.
    pub bulk_bytes_max: u32,
    /// The most arguments of one command.
    pub args_max: u32,
    /// The longest command, all arguments together.
    pub command_bytes_max: u32,
    /// The longest inline command.
    pub inline_bytes_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            bulk_bytes_max: 512 << 20,
            args_max: 1 << 20,
            command_bytes_max: 2 << 30,
            inline_bytes_max: 64 << 10,
        }
    }
}

/// What was wrong with the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A header holds something else than a number between its type byte and CRLF.
    #[error("a length is not a number")]
    NotANumber,
    /// An argument does not begin with `$`.
    #[error("an argument begins with byte {0:#04x} where '$' must stand")]
    NotABulk(u8),
    /// An argument or a bulk reply is not followed by CRLF.
    #[error("no CRLF follows the declared length")]
    NoCrlf,
    /// A declared argument length is beyond [`Limits::bulk_bytes_max`], or negative.
    #[error("an argument declares a length of {0} bytes")]
    BulkLength(i64),
    /// A declared count is beyond [`Limits::args_max`].
    #[error("a command declares {0} arguments")]
    ArgCount(i64),
    /// The arguments add up to more than [`Limits::command_bytes_max`].
    #[error("a command is longer than {0} bytes")]
    CommandLength(u32),
    /// A line has no end within its limit.
    #[error("a line is longer than {0} bytes")]
    LineLength(u32),
    /// A reply begins with a byte that no type has.
    #[error("a reply begins with byte {0:#04x}, which names no type")]
    ReplyType(u8),
    /// A reply declares a length or count that cannot be.
    #[error("a reply declares a length of {0}")]
    ReplyLength(i64),
    /// A reply is longer than any that is asked for.
    #[error("a reply takes more than {0} bytes")]
    ReplyCost(usize),
    /// Replies are nested deeper than any server nests them.
    #[error("a reply is nested more than {0} deep")]
    Depth(usize),
}

/// The bytes cannot be understood, so what follows cannot be either. The link that carried them must be closed; a
/// replication stream read again from the log gives the same error, so it needs a new full sync.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The replication stream breaks the protocol.
    #[error(
        "cannot frame the replication stream: {fault}, in the command that begins after offset {command}, at offset {at}"
    )]
    Stream {
        /// The offset before the command's first byte.
        command: Offset,
        /// The offset before the line or the argument that is wrong.
        at: Offset,
        /// What was wrong.
        fault: Fault,
    },
    /// A chunk does not begin where the one before it ended.
    #[error(
        "cannot frame the replication stream: a chunk begins after offset {found}, the one before it ended at {expected}"
    )]
    Gap {
        /// Where the stream had got to.
        expected: Offset,
        /// Where the chunk begins.
        found: Offset,
    },
    /// A target's replies break the protocol.
    #[error("cannot read the target's replies: {0}")]
    Reply(Fault),
}

/// Reads a header's number: an optional minus sign and digits, nothing else.
fn number(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut n = 0i64;
    for &b in digits {
        if !b.is_ascii_digit() {
            return None;
        }
        n = n * 10 + i64::from(b - b'0');
    }
    Some(if negative { -n } else { n })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_sign_and_digits_only() {
        assert_eq!(number(b"0"), Some(0));
        assert_eq!(number(b"536870912"), Some(536_870_912));
        assert_eq!(number(b"-1"), Some(-1));
        for wrong in [&b""[..], b"-", b"+1", b"1x", b" 1", b"9999999999999999999"] {
            assert_eq!(number(wrong), None, "{wrong:?}");
        }
    }
}
