//! Which arguments of a command are keys.

use super::class::is_word;
use crate::core::resp::{Args, Frame};

/// How to find the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeySpec {
    /// There are none.
    None,
    /// Nobody knows.
    Unknown,
    /// Every `step`-th argument from `first` to `last`; a `last` below zero counts from the end, -1 being the last.
    Range { first: u8, last: i8, step: u8 },
    /// The argument `at` says how many there are; they follow it, each the first of `step` arguments.
    Counted { at: u8, step: u8 },
    /// The first argument, and counted ones after the argument `at`.
    DestinationAndCounted { at: u8 },
    /// XREAD, XREADGROUP: the first half of what follows STREAMS.
    Streams,
    /// SORT: the first argument, and the one after STORE.
    Sort,
    /// GEORADIUS: the first argument, and the one after STORE or STOREDIST.
    Georadius,
    /// MIGRATE: the third argument, or, where it is empty, those after KEYS.
    Migrate,
    /// STRALGO LCS KEYS a b.
    Stralgo,
}

/// A key, and which argument it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    /// Which argument, the command's name being 0.
    pub index: usize,
    /// The key.
    pub bytes: &'a [u8],
}

/// Arguments at equal distances: `first`, `first + step`, ... below `end`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stretch {
    pub(super) first: usize,
    pub(super) end: usize,
    pub(super) step: usize,
}

impl Stretch {
    fn one(index: usize) -> Stretch {
        Stretch {
            first: index,
            end: index + 1,
            step: 1,
        }
    }

    const NONE: Stretch = Stretch {
        first: 0,
        end: 0,
        step: 1,
    };
}

/// The keys of a command, in the order of its arguments.
#[derive(Debug, Clone)]
pub struct Keys<'a> {
    args: Args<'a>,
    /// The argument that `args` gives next.
    at: usize,
    now: Stretch,
    then: Stretch,
}

impl<'a> Iterator for Keys<'a> {
    type Item = Key<'a>;

    #[inline]
    fn next(&mut self) -> Option<Key<'a>> {
        if self.now.first >= self.now.end {
            if self.then.first >= self.then.end {
                return None;
            }
            self.now = std::mem::replace(&mut self.then, Stretch::NONE);
        }
        let index = self.now.first;
        self.now.first += self.now.step;
        let bytes = self.args.nth(index - self.at)?;
        self.at = index + 1;
        Some(Key { index, bytes })
    }
}

impl KeySpec {
    #[inline]
    pub(super) fn find<'a>(self, frame: &Frame<'a>) -> Keys<'a> {
        let (now, then) = self.stretches(frame);
        Keys {
            args: frame.args(),
            at: 0,
            now: within(now, frame),
            then: within(then, frame),
        }
    }

    #[inline]
    fn stretches(self, frame: &Frame<'_>) -> (Stretch, Stretch) {
        match self {
            KeySpec::None | KeySpec::Unknown => (Stretch::NONE, Stretch::NONE),
            KeySpec::Range { first, last, step } => (range(frame, first, last, step), Stretch::NONE),
            KeySpec::Counted { at, step } => (counted(frame, at, step), Stretch::NONE),
            KeySpec::DestinationAndCounted { at } => (Stretch::one(1), counted(frame, at, 1)),
            KeySpec::Streams => (streams(frame), Stretch::NONE),
            KeySpec::Sort => (Stretch::one(1), sort_store(frame)),
            KeySpec::Georadius => (Stretch::one(1), georadius_store(frame)),
            KeySpec::Migrate => (migrate(frame), Stretch::NONE),
            KeySpec::Stralgo => (stralgo(frame), Stretch::NONE),
        }
    }

    /// The one stretch of a command whose keys lie in one.
    pub(super) fn stretch(self, frame: &Frame<'_>) -> Stretch {
        within(self.stretches(frame).0, frame)
    }
}

/// Cuts off what lies beyond the arguments that are there: a declared number is only a declaration.
#[inline]
fn within(stretch: Stretch, frame: &Frame<'_>) -> Stretch {
    Stretch {
        end: stretch.end.min(frame.arg_count()),
        ..stretch
    }
}

#[inline]
fn range(frame: &Frame<'_>, first: u8, last: i8, step: u8) -> Stretch {
    let end = match usize::try_from(last) {
        Ok(last) => last + 1,
        Err(_) => (frame.arg_count() + 1).saturating_sub(usize::from(last.unsigned_abs())),
    };
    Stretch {
        first: usize::from(first),
        end,
        step: usize::from(step),
    }
}

fn counted(frame: &Frame<'_>, at: u8, step: u8) -> Stretch {
    let first = usize::from(at) + 1;
    let step = usize::from(step);
    Stretch {
        first,
        end: first.saturating_add(count_at(frame, usize::from(at)).saturating_mul(step)),
        step,
    }
}

/// The number in an argument; 0 where it is none.
pub(super) fn count_at(frame: &Frame<'_>, index: usize) -> usize {
    frame.arg(index).and_then(decimal).unwrap_or(0)
}

/// A decimal number of at most nine digits.
fn decimal(arg: &[u8]) -> Option<usize> {
    if arg.is_empty() || arg.len() > 9 || !arg.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(arg.iter().fold(0, |n, b| n * 10 + usize::from(b - b'0')))
}

/// The first argument at or after `from` that is one of the words.
pub(super) fn position(frame: &Frame<'_>, from: usize, words: &[&str]) -> Option<usize> {
    let found = frame.args().skip(from).position(|arg| is_word(arg, words));
    found.map(|at| at + from)
}

/// Walks over options from an argument on: `values` says how many values an option has. Stops at an unknown one. Gives
/// the place of the last option for which `wanted` holds.
fn option(
    frame: &Frame<'_>,
    from: usize,
    values: impl Fn(&[u8]) -> Option<usize>,
    wanted: &[&str],
) -> Option<usize> {
    let mut found = None;
    let mut next = from;
    for (index, arg) in frame.args().enumerate().skip(from) {
        if index < next {
            continue;
        }
        if is_word(arg, wanted) {
            found = Some(index);
        }
        match values(arg) {
            Some(count) => next = index + 1 + count,
            None => break,
        }
    }
    found
}

fn streams(frame: &Frame<'_>) -> Stretch {
    let values = |arg: &[u8]| match arg {
        _ if is_word(arg, &["count", "block", "claim"]) => Some(1),
        _ if is_word(arg, &["group"]) => Some(2),
        _ if is_word(arg, &["noack"]) => Some(0),
        _ => None,
    };
    let Some(word) = option(frame, 1, values, &["streams"]) else {
        return Stretch::NONE;
    };
    let keys = (frame.arg_count() - word - 1) / 2;
    Stretch {
        first: word + 1,
        end: word + 1 + keys,
        step: 1,
    }
}

fn sort_store(frame: &Frame<'_>) -> Stretch {
    let values = |arg: &[u8]| match arg {
        _ if is_word(arg, &["limit"]) => Some(2),
        _ if is_word(arg, &["by", "get", "store"]) => Some(1),
        _ => Some(0),
    };
    option(frame, 2, values, &["store"]).map_or(Stretch::NONE, |at| Stretch::one(at + 1))
}

fn georadius_store(frame: &Frame<'_>) -> Stretch {
    let words = &["store", "storedist"];
    let values = |arg: &[u8]| Some(usize::from(is_word(arg, words)));
    option(frame, 5, values, words).map_or(Stretch::NONE, |at| Stretch::one(at + 1))
}

fn migrate(frame: &Frame<'_>) -> Stretch {
    if frame.arg(3) != Some(b"") {
        return Stretch::one(3);
    }
    let values = |arg: &[u8]| match arg {
        _ if is_word(arg, &["copy", "replace"]) => Some(0),
        _ if is_word(arg, &["auth"]) => Some(1),
        _ if is_word(arg, &["auth2"]) => Some(2),
        _ => None,
    };
    option(frame, 6, values, &["keys"]).map_or(Stretch::NONE, |at| Stretch {
        first: at + 1,
        end: usize::MAX,
        step: 1,
    })
}

fn stralgo(frame: &Frame<'_>) -> Stretch {
    position(frame, 2, &["keys"]).map_or(Stretch::NONE, |at| Stretch {
        first: at + 1,
        end: at + 3,
        step: 1,
    })
}

#[cfg(test)]
mod tests {
    use super::super::of;
    use super::super::tests::framed;

    fn keys(words: &str) -> Vec<(usize, String)> {
        framed(words, |frame| {
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            of(frame)
                .keys(frame)
                .map(|key| (key.index, text(key.bytes)))
                .collect()
        })
    }

    #[test]
    fn keys_are_found_however_a_command_names_them() {
        for (words, expected) in [
            ("GET k", &[(1, "k")][..]),
            ("PING", &[]),
            ("MSET a 1 b 2 c 3", &[(1, "a"), (3, "b"), (5, "c")]),
            ("BLPOP a b 0", &[(1, "a"), (2, "b")]),
            ("BITOP AND d a b", &[(2, "d"), (3, "a"), (4, "b")]),
            ("EVAL script 2 a b arg", &[(3, "a"), (4, "b")]),
            ("EVAL script 0 arg", &[]),
            ("FCALL f 1 a arg", &[(3, "a")]),
            ("ZUNIONSTORE d 2 a b WEIGHTS 1 2", &[(1, "d"), (3, "a"), (4, "b")]),
            ("LMPOP 2 a b LEFT", &[(2, "a"), (3, "b")]),
            ("BLMPOP 0 1 a LEFT", &[(3, "a")]),
            ("MSETEX 2 a 1 b 2 NX", &[(2, "a"), (4, "b")]),
            ("XREAD COUNT 1 STREAMS a b 0 0", &[(4, "a"), (5, "b")]),
            ("XREADGROUP GROUP streams c STREAMS a 0", &[(5, "a")]),
            ("XREAD STREAMS streams 0", &[(2, "streams")]),
            ("SORT k BY store GET store STORE d", &[(1, "k"), (7, "d")]),
            ("SORT k LIMIT 0 1 ALPHA", &[(1, "k")]),
            ("GEORADIUS k 1 2 3 m STORE a STOREDIST b", &[(1, "k"), (9, "b")]),
            ("GEORADIUSBYMEMBER k m 3 m STORE d", &[(1, "k"), (6, "d")]),
            ("MIGRATE h 1 k 0 5", &[(3, "k")]),
            ("MIGRATE h 1 '' 0 5 AUTH keys KEYS a b", &[(9, "a"), (10, "b")]),
            ("XGROUP CREATE k g 0", &[(2, "k")]),
            ("XGROUP HELP", &[]),
            ("COPY a b DB 1", &[(1, "a"), (2, "b")]),
            ("JSON.MSET a $ 1 b $ 2", &[(1, "a"), (4, "b")]),
            ("CMS.MERGE d 2 a b", &[(1, "d"), (3, "a"), (4, "b")]),
        ] {
            let found = keys(words);
            let found: Vec<(usize, &str)> = found.iter().map(|(i, k)| (*i, k.as_str())).collect();
            assert_eq!(found, expected, "{words}");
        }
    }

    #[test]
    fn a_declared_number_of_keys_is_not_believed_beyond_the_arguments() {
        assert_eq!(keys("EVAL script 999999999 a").len(), 1);
        assert_eq!(keys("EVAL script -1 a").len(), 0);
        assert_eq!(keys("EVAL script 99999999999999999999 a").len(), 0);
        assert_eq!(keys("ZUNIONSTORE d").len(), 1);
        assert_eq!(keys("GET").len(), 0);
        assert_eq!(keys("BLPOP").len(), 0);
        assert_eq!(keys("XREAD STREAMS").len(), 0);
    }

    #[test]
    fn many_keys_are_found_in_one_walk() {
        let many: Vec<String> = (0..2000).map(|n| format!("k{n} v")).collect();
        let found = keys(&format!("MSET {}", many.join(" ")));
        assert_eq!((found.len(), &found[1999]), (2000, &(3999, "k1999".to_string())));
    }
}
