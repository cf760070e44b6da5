//! What replaying a command does: the classes, and the conditions under which a command is blind.

use super::keys::{count_at, position};
use crate::core::resp::Frame;

/// What replaying a command does; the room's head says what the words mean exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// A write that may be replayed.
    Blind,
    /// A write that may not.
    Stateful,
    /// Concerns the whole server, a database, or the connection: it belongs to no slot.
    Global,
    /// Never changes data.
    Admin,
}

/// How to tell the class.
#[derive(Debug, Clone, Copy)]
pub(super) enum Replay {
    As(Class),
    /// Blind unless one of the words stands at or after an argument.
    UnlessAfter(usize, &'static [&'static str]),
    /// Blind unless the first is among the options that begin at an argument; the second list are the harmless
    /// options. Where neither list has the word, the options are over: what follows is data, which may look like one.
    UnlessOption(usize, &'static [&'static str], &'static [&'static str]),
    /// RESTORE: blind with REPLACE and a time that is absolute or none.
    Restore,
    /// MSETEX: its options stand after a counted number of keys and values.
    Msetex,
    /// HSETEX: blind with nothing, or nothing but an absolute time, before FIELDS.
    Hsetex,
    /// EVAL and its like: global where it names no key.
    Script,
}

impl Replay {
    #[inline]
    pub(super) fn class(self, frame: &Frame<'_>) -> Class {
        match self {
            Replay::As(class) => class,
            Replay::UnlessAfter(from, words) => blind_if(!has_word(frame, from, words)),
            Replay::UnlessOption(from, words, harmless) => {
                blind_if(!has_option(frame, from, words, harmless))
            }
            Replay::Restore => blind_if(restore_replaces(frame)),
            Replay::Msetex => blind_if(!has_word(frame, 2 + 2 * count_at(frame, 1), MSETEX_CONDITIONS)),
            Replay::Hsetex => blind_if(hsetex_is_absolute(frame)),
            Replay::Script => script(frame),
        }
    }
}

const MSETEX_CONDITIONS: &[&str] = &["nx", "xx", "ex", "px"];

fn blind_if(blind: bool) -> Class {
    if blind { Class::Blind } else { Class::Stateful }
}

fn script(frame: &Frame<'_>) -> Class {
    if count_at(frame, 2) == 0 {
        Class::Global
    } else {
        Class::Stateful
    }
}

/// Whether MSETEX has no condition, so that it may be split.
pub(super) fn msetex_is_unconditional(frame: &Frame<'_>) -> bool {
    !has_word(frame, 2 + 2 * count_at(frame, 1), &["nx", "xx"])
}

pub(super) fn is_word(arg: &[u8], words: &[&str]) -> bool {
    words.iter().any(|word| arg.eq_ignore_ascii_case(word.as_bytes()))
}

fn has_word(frame: &Frame<'_>, from: usize, words: &[&str]) -> bool {
    frame.arg_count() > from && position(frame, from, words).is_some()
}

fn has_option(frame: &Frame<'_>, from: usize, words: &[&str], harmless: &[&str]) -> bool {
    for arg in frame.args().skip(from) {
        if is_word(arg, words) {
            return true;
        }
        if !is_word(arg, harmless) {
            return false;
        }
    }
    false
}

fn hsetex_is_absolute(frame: &Frame<'_>) -> bool {
    let is = |index, words| frame.arg(index).is_some_and(|arg| is_word(arg, words));
    is(2, &["fields"]) || (is(2, &["exat", "pxat"]) && is(4, &["fields"]))
}

fn restore_replaces(frame: &Frame<'_>) -> bool {
    let absolute = frame.arg(2) == Some(b"0") || has_word(frame, 4, &["absttl"]);
    absolute && has_word(frame, 4, &["replace"])
}

#[cfg(test)]
mod tests {
    use super::super::of;
    use super::super::tests::framed;
    use super::Class::{self, Admin, Blind, Global, Stateful};

    fn class(words: &str) -> Class {
        framed(words, |frame| of(frame).class(frame))
    }

    #[test]
    fn writes_that_set_parts_to_given_values_are_blind() {
        for words in [
            "SET k v",
            "SET k v PXAT 1700000000000",
            "SET k v KEEPTTL",
            "SET nx ex",
            "MSET a 1 b 2",
            "DEL a b",
            "HSET k f v",
            "SADD k nx",
            "ZADD k CH 1 nx",
            "ZADD k 1 incr 2 gt",
            "GEOADD k 1 2 nx",
            "PEXPIREAT k 1700000000000",
            "PERSIST k",
            "RESTORE k 0 payload REPLACE",
            "RESTORE k 1700000000000 payload ABSTTL REPLACE IDLETIME 5",
            "HPEXPIREAT k 1700000000000 FIELDS 1 nx",
            "HSETEX k PXAT 1700000000000 FIELDS 1 f ex",
            "MSETEX 1 nx xx PXAT 1700000000000",
        ] {
            assert_eq!(class(words), Blind, "{words}");
        }
    }

    #[test]
    fn writes_that_depend_on_what_is_there_or_on_the_clock_are_stateful() {
        for words in [
            "SET k v NX",
            "SET k v xx GET",
            "SET k v EX 10",
            "SET k v IFEQ old",
            "SETNX k v",
            "SETEX k 10 v",
            "EXPIRE k 10",
            "PEXPIREAT k 1700000000000 GT",
            "INCR k",
            "APPEND k v",
            "RPUSH k v",
            "ZADD k GT CH 1 m",
            "ZADD k CH INCR 1 m",
            "GEOADD k XX 1 2 m",
            "SREM k m",
            "HDEL k f",
            "XADD k 1-1 f v",
            "RENAME a b",
            "SUNIONSTORE d a",
            "RESTORE k 0 payload",
            "RESTORE k 5000 payload REPLACE",
            "HPEXPIREAT k 1700000000000 GT FIELDS 1 f",
            "HSETEX k FNX FIELDS 1 f v",
            "HSETEX k EX 10 FIELDS 1 f v",
            "PFCOUNT k",
            "GETDEL k",
            "MSETEX 1 k v NX",
            "MSETEX 1 k v EX 10",
            "EVAL script 1 k",
            "JSON.SET k $ 1",
        ] {
            assert_eq!(class(words), Stateful, "{words}");
        }
    }

    #[test]
    fn what_belongs_to_no_slot_is_global_and_what_changes_nothing_is_admin() {
        for words in [
            "SELECT 1",
            "MULTI",
            "EXEC",
            "FLUSHALL",
            "FLUSHDB",
            "SWAPDB 0 1",
            "PUBLISH c m",
            "SPUBLISH c m",
            "FUNCTION LOAD x",
            "SCRIPT LOAD x",
            "EVAL script 0",
            "FCALL f 0 arg",
        ] {
            assert_eq!(class(words), Global, "{words}");
        }
        for words in [
            "PING",
            "REPLCONF GETACK *",
            "GET k",
            "INFO",
            "OBJECT ENCODING k",
            "EXISTS a b",
        ] {
            assert_eq!(class(words), Admin, "{words}");
        }
    }
}
