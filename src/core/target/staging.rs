//! Where a value is put together before it takes its key's name.
//!
//! A value that is written in pieces is written under a name of ours, and renamed when it is whole: so nobody sees a part of it, an old value
//! stays until then, and nothing of the old and the new is ever merged. There are [`NAMES`] such names for each deployment and database; a key
//! always has the same one, and keys that share one are written one after the other, on the same connection.
//!
//! `redis-gunyu-staged:{name}:N`, N from 0. They are keys like any other: where the target is itself followed, whoever follows it must see them,
//! or the renaming would find nothing. Whoever has used some lets all of them go at the end of the full sync.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use bytes::Bytes;

use super::rewrite::Commands;
use crate::core::resp;

/// How many names there are; at least as many as connections can be configured.
pub const NAMES: u64 = 1024;

/// All staged keys begin so.
pub const KEY_PREFIX: &str = "redis-gunyu-staged";

/// Which of the names is a key's.
#[must_use]
pub fn number(key: &[u8]) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(key) % NAMES
}

/// The name under which a key's value is put together.
#[must_use]
pub fn name(deployment: &str, key: &[u8]) -> Bytes {
    nth(deployment, number(key))
}

/// The command that lets all of them go, in the database that is selected; `verb` is the target's for that.
pub fn clear(verb: &[u8], deployment: &str, to: &mut Commands) {
    resp::write_array_header(&mut to.bytes, 1 + NAMES as usize);
    resp::write_bulk(&mut to.bytes, verb);
    for number in 0..NAMES {
        resp::write_bulk(&mut to.bytes, &nth(deployment, number));
    }
    to.count += 1;
}

fn nth(deployment: &str, number: u64) -> Bytes {
    Bytes::from(format!("{KEY_PREFIX}:{{{deployment}}}:{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_always_has_the_same_name_and_another_deployment_another() {
        let one = name("d", b"key");
        assert_eq!(one, name("d", b"key"));
        assert!(one.starts_with(b"redis-gunyu-staged:{d}:"));
        assert_ne!(one, name("e", b"key"));
    }
}
