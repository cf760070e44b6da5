//! Commands from a source.
//!
//! | input | meaning |
//! | --- | --- |
//! | byte 0 | which rules, and, where its highest bit is set, that the rest is the stream as it stands |
//! | the rest | commands put together: a byte for each argument that says which word it is, or how many bytes follow that are it |
//!
//! The first argument of each is a command of the table, or the bytes that follow; a byte of 255 ends it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};

use gunyu::core::command::{self, Command, SLOTS, slot};
use gunyu::core::filter::{DbMap, Filter, Rules, Verdict};
use gunyu::core::position::Offset;
use gunyu::core::resp::{Frame, Framer, encode_command};
use gunyu::core::target::library;

use super::assembled::Source;

/// What arguments are made of: what some command takes for more than data.
const WORDS: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "10",
    "999999999",
    "-1",
    "a",
    "b",
    "a1",
    "{t}a",
    "{t}b",
    "",
    "KEYS",
    "STORE",
    "STOREDIST",
    "STREAMS",
    "NX",
    "XX",
    "GT",
    "LT",
    "EX",
    "PX",
    "EXAT",
    "PXAT",
    "FIELDS",
    "REPLACE",
    "ABSTTL",
    "DB",
    "COUNT",
    "BY",
    "GET",
    "LIMIT",
    "AGGREGATE",
    "WEIGHTS",
    "LOAD",
    "RESTORE",
    "DELETE",
    "APPEND",
    "FLUSH",
    "LCS",
    "ASC",
    "ALPHA",
    "LEFT",
    "RIGHT",
    "*",
    "$",
    "redis-gunyu-checkpoint:x",
    "__sentinel__:hello",
    "SYNCSLOTS",
    "RANGES",
];

/// A byte for an argument from here on says how many bytes follow.
const OWN: u8 = 128;
const END: u8 = 255;

/// Keys of these rules are told by their names, slots or databases; the last by all of it.
static FILTERS: LazyLock<Vec<Filter>> = LazyLock::new(|| {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let maps = BTreeMap::from([(0, 5), (1, 6), (2, 5)]);
    let rules = [
        Rules::default(),
        Rules {
            db_deny: vec![1],
            ..Rules::default()
        },
        Rules {
            db_map: DbMap::Each(maps.clone()),
            ..Rules::default()
        },
        Rules {
            db_map: DbMap::All(7),
            ..Rules::default()
        },
        Rules {
            key_prefix_allow: words(&["a", "{t}a"]),
            ..Rules::default()
        },
        Rules {
            slot_deny: vec![(0, SLOTS / 2)],
            ..Rules::default()
        },
        Rules {
            db_allow: Some(vec![0, 1, 2]),
            db_map: DbMap::Each(maps),
            command_deny: words(&["flushdb", "nosuch"]),
            key_suffix_deny: words(&["b"]),
            key_regex_deny: words(&["^x.*y$"]),
            ..Rules::default()
        },
    ];
    rules
        .iter()
        .map(|rules| Filter::compile(rules).expect("the rules are right"))
        .collect()
});

/// See [the table](super).
pub fn check(input: &[u8]) {
    let Some((how, rest)) = input.split_first() else {
        return;
    };
    let filter = &FILTERS[usize::from(how & 0x7f) % FILTERS.len()];
    let mut state = filter.state(0, Some(&[0, 1]));
    if how & 0x80 != 0 {
        frames(Bytes::copy_from_slice(rest), |frame| {
            one(filter, &mut state, frame);
        });
        return;
    }
    let mut source = Source(rest);
    while !source.0.is_empty() {
        let args = args(&mut source);
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let mut out = BytesMut::new();
        encode_command(&mut out, &args);
        let count = frames(out.freeze(), |frame| {
            assert_eq!(frame.args().collect::<Vec<_>>(), args);
            one(filter, &mut state, frame);
        });
        assert_eq!(count, Some(1));
    }
}

fn args(source: &mut Source) -> Vec<Vec<u8>> {
    let [low, high] = source.array();
    let name = match u16::from_le_bytes([low, high]) {
        u16::MAX => source.take(9).to_vec(),
        number => command::all()
            .nth(usize::from(number) % command::count())
            .expect("there are so many")
            .name
            .into(),
    };
    let mut args = vec![name];
    while !source.0.is_empty() {
        match source.byte() {
            END => break,
            len @ OWN.. => args.push(source.take(usize::from(len - OWN)).to_vec()),
            word => args.push(WORDS[usize::from(word) % WORDS.len()].into()),
        }
    }
    args
}

/// How many there are, each shown; nothing where the bytes are no commands, or not whole ones.
fn frames(bytes: Bytes, mut show: impl FnMut(&Frame<'_>)) -> Option<usize> {
    let (mut framer, mut count) = (Framer::default(), 0);
    let end = Offset::ZERO.after(bytes.len());
    framer.push(Offset::ZERO, bytes).ok()?;
    let mut last = Offset::ZERO;
    while let Some(frame) = framer.next().ok()? {
        count += 1;
        last = frame.end();
        show(&frame);
    }
    (last == end).then_some(count)
}

fn one(filter: &Filter, state: &mut gunyu::core::filter::State, frame: &Frame<'_>) {
    let command = command::of(frame);
    let keys: Vec<&[u8]> = keys(command, frame);
    let _ = command.class(frame);
    parts_hold_every_key_once(command, frame, &keys);
    a_projection_holds_the_keys_that_are_kept(command, frame, &keys);
    let repeatable = library::repeatable(frame);
    frames(repeatable.clone(), |again| {
        assert_eq!(library::repeatable(again), repeatable);
    })
    .expect("it is a command");
    assert!(library::deleted(frame).is_none_or(|name| frame.arg(2) == Some(name)));
    let verdict = filter.command(state, command, frame);
    match &verdict {
        Verdict::Keep => all_are_let_through(filter, &keys),
        Verdict::Rewrite(bytes) => {
            let count = frames(bytes.clone(), |frame| {
                all_are_let_through(filter, &self::keys(command::of(frame), frame));
            });
            assert!(
                count.is_some_and(|count| count > 0),
                "{:?}: {bytes:?}",
                frame.bytes()
            );
        }
        Verdict::Drop(_) | Verdict::Straddles(_) => {}
    }
}

/// Each is the argument that it says it is, and behind the one before it.
fn keys<'a>(command: &Command, frame: &Frame<'a>) -> Vec<&'a [u8]> {
    let mut before = 0;
    let each = command.keys(frame).map(|key| {
        assert!(key.index > before, "{} {:?}", key.index, frame.bytes());
        before = key.index;
        assert_eq!(frame.arg(key.index), Some(key.bytes));
        key.bytes
    });
    each.collect()
}

fn all_are_let_through(filter: &Filter, keys: &[&[u8]]) {
    let db = (0..8)
        .find(|db| filter.target_db(*db).is_some())
        .expect("a database is let through");
    assert!(keys.iter().all(|key| filter.key(db, key).is_none()), "{keys:?}");
}

fn parts_hold_every_key_once(command: &Command, frame: &Frame<'_>, keys: &[&[u8]]) {
    let part_of = |key: &[u8]| slot(key) % 3;
    let Some(parts) = command.split(frame, part_of) else {
        return;
    };
    let mut found = 0;
    for (part, bytes) in parts {
        let count = frames(bytes, |piece| {
            let of_piece = command::of(piece);
            assert!(of_piece.name == command.name || command.name == "msetnx" && of_piece.name == "mset");
            let expected: Vec<&[u8]> = keys.iter().copied().filter(|key| part_of(key) == part).collect();
            assert_eq!(self::keys(of_piece, piece), expected, "{:?}", frame.bytes());
            found += expected.len();
        });
        assert_eq!(count, Some(1), "{:?}", frame.bytes());
    }
    assert_eq!(found, keys.len(), "{:?}", frame.bytes());
}

fn a_projection_holds_the_keys_that_are_kept(command: &Command, frame: &Frame<'_>, keys: &[&[u8]]) {
    if !command.is_separable(frame) {
        return;
    }
    let keep = |key: &[u8]| slot(key).is_multiple_of(2);
    let kept: Vec<&[u8]> = keys.iter().copied().filter(|key| keep(key)).collect();
    let mut out = BytesMut::new();
    assert_eq!(command.project(frame, &mut out, keep), kept.len());
    let count = frames(out.freeze(), |piece| {
        assert_eq!(self::keys(command, piece), kept, "{:?}", frame.bytes());
    });
    assert_eq!(count, Some(usize::from(!kept.is_empty())), "{:?}", frame.bytes());
}
