//! The commands that are written to sources, and of which a floor is made.

#![allow(unreachable_pub)] // each bench has its own copy

use std::io::Write;

/// What commands are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 64 bytes each.
    Sets,
    /// SET, INCR, LPUSH, HSET and ZADD, in turn; all but SET to 10,000 keys each.
    Mixed,
}

pub const KEYS: u32 = 1_000_000;

/// Writes the `nth` command, on a key drawn below [`KEYS`]; `name` writes a key's name, given its letter and its number.
pub fn command(out: &mut Vec<u8>, kind: Kind, nth: u64, key: u32, name: impl Fn(&mut Vec<u8>, char, u32)) {
    match (kind, nth % 5) {
        (Kind::Sets, _) | (Kind::Mixed, 0) => {
            out.extend_from_slice(b"*3\r\n$3\r\nSET\r\n");
            name(out, 'k', key);
            write!(out, "$64\r\n{key:064}\r\n").unwrap();
        }
        (Kind::Mixed, 1) => {
            out.extend_from_slice(b"*2\r\n$4\r\nINCR\r\n");
            name(out, 'i', key % 10_000);
        }
        (Kind::Mixed, 2) => {
            out.extend_from_slice(b"*3\r\n$5\r\nLPUSH\r\n");
            name(out, 'l', key % 10_000);
            write!(out, "$16\r\n{key:016}\r\n").unwrap();
        }
        (Kind::Mixed, 3) => {
            out.extend_from_slice(b"*4\r\n$4\r\nHSET\r\n");
            name(out, 'h', key % 10_000);
            write!(out, "$8\r\nf{key:07}\r\n$16\r\n{key:016}\r\n").unwrap();
        }
        (Kind::Mixed, _) => {
            out.extend_from_slice(b"*4\r\n$4\r\nZADD\r\n");
            name(out, 'z', key % 10_000);
            write!(out, "$7\r\n{key:07}\r\n$8\r\nm{key:07}\r\n").unwrap();
        }
    }
}

/// The name of a key that any server serves.
pub fn plain_name(out: &mut Vec<u8>, letter: char, key: u32) {
    write!(out, "$8\r\n{letter}{key:07}\r\n").unwrap();
}
