//! The command table: what a command is, which of its arguments are keys, and what replaying it does.
//!
//! Owns the facts about every command of Redis 2.8 to 8.6, Valkey 9 and the modules in common use, and the mapping from
//! keys to cluster slots. Promises lookups without allocation. Leaves to [`super::filter`] what is replicated,
//! and to the target how a command is delivered.
//!
//! # Classes
//!
//! A crash makes the target see a suffix of the stream again. A command is [`Class::Blind`] where that does no harm by
//! itself: *whatever suffix of a stream of blind commands is replayed onto the state that the whole stream
//! left, the state is the same afterwards.* Errors on the way (a list command on what has become a hash) are allowed; what
//! follows in the stream mends them.
//!
//! Blind are the commands that set parts of a key to given values (`SET`, `HSET`, `SADD`, `ZADD`, `PEXPIREAT`, ...) or
//! reset it wholly (`DEL`, `RESTORE ... REPLACE`). Not blind, and why:
//!
//! | command | because |
//! | --- | --- |
//! | INCR, APPEND, RPUSH, ... | adds to what is there |
//! | NX, XX, GT, LT, IFEQ | depends on what is there |
//! | SUNIONSTORE, RENAME, COPY, ... | depends on what is in another key |
//! | EX, PX, EXPIRE | a relative time moves with each replay |
//! | HDEL, SREM, ZREM, SPOP | the last element takes the key and its time to live along |
//! | GETDEL | deletes only where there is a string |
//! | PFCOUNT | refreshes a cache within the value, which a later PFADD may have made stale |
//! | XADD | a second time it is refused, which would be reported |
//! | everything of a module, everything unknown | nothing is known of it |
//!
//! On HDEL, worked: `HSET k f 1`, `PEXPIREAT k t`, `HDEL k f` (the key is gone), `HSET k g 2` leaves a `k` that lives for
//! ever. Replayed onto that, `HDEL` finds `g` beside `f`, the key stays, and `k` would end at `t`.

mod class;
mod keys;
pub mod marker;
mod modules;
mod slot;
mod split;
mod table;

pub use class::Class;
pub use keys::{Key, Keys};
pub use slot::{SLOTS, range, ranges, read_range, slot, tag_of};

use super::resp::Frame;
use class::Replay;
use keys::KeySpec;

/// A command, as far as replication is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Command {
    /// Its name in lower case.
    pub name: &'static str,
    /// Which of the commands it is that need care of their own.
    pub kind: Kind,
    /// Whether servers flag it as a write.
    pub writes: bool,
    /// Which of its keys it writes.
    pub written: Written,
    id: u16,
    keys: KeySpec,
    replay: Replay,
    separable: bool,
}

/// The commands that a pipeline, a filter or a target treats in a way of their own.
#[allow(missing_docs)] // each is the command of its name
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Select,
    Multi,
    Exec,
    Discard,
    Ping,
    Replconf,
    Flushall,
    Flushdb,
    Swapdb,
    Publish,
    Spublish,
    Function,
    Script,
    /// EVAL, EVALSHA, FCALL and their `_RO` forms.
    Eval,
    Move,
    Copy,
    Rename,
    Renamenx,
    Del,
    Unlink,
    /// EXPIREAT, PEXPIREAT.
    Expireat,
    Restore,
    RestoreAsking,
    /// A source cluster's shard forgets slots that another shard has taken over.
    Trimslots,
    /// It may mark where slots go from shard to shard: [`marker`].
    Cluster,
    /// Any other.
    Other,
}

/// Which of its keys a command writes. The others it only reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// All, or which ones is not worth knowing.
    All,
    /// The first: SUNIONSTORE, BITOP, ...
    First,
    /// The last, where there are two: COPY, SORT ... STORE, GEORADIUS ... STORE.
    Last,
}

/// What stands for a command that the table does not know: stateful, its keys unknown.
pub static UNKNOWN: Command = Command::new(KeySpec::Unknown, Replay::As(Class::Stateful), true);

impl Command {
    const fn new(keys: KeySpec, replay: Replay, writes: bool) -> Command {
        Command {
            name: "",
            kind: Kind::Other,
            writes,
            written: Written::All,
            id: u16::MAX,
            keys,
            replay,
            separable: false,
        }
    }

    /// Its number in the table, below [`count`]. It changes from release to release.
    #[must_use]
    pub fn id(&self) -> usize {
        usize::from(self.id)
    }

    /// Whether the table knows the command.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.id != u16::MAX
    }

    /// What replaying this invocation of it does.
    #[must_use]
    #[inline]
    pub fn class(&self, frame: &Frame<'_>) -> Class {
        self.replay.class(frame)
    }

    /// Whether no invocation of it ever changes data.
    #[must_use]
    #[inline]
    pub fn is_admin(&self) -> bool {
        matches!(self.replay, Replay::As(Class::Admin))
    }

    /// Whether every invocation of it is [`Class::Global`].
    #[must_use]
    #[inline]
    pub fn is_global(&self) -> bool {
        matches!(self.replay, Replay::As(Class::Global))
    }

    /// Whether [`Command::keys`] finds all keys. Where it does not, the command may touch any.
    #[must_use]
    pub fn knows_keys(&self) -> bool {
        !matches!(self.keys, KeySpec::Unknown)
    }

    /// The keys of this invocation of it, in the order of its arguments.
    #[must_use]
    #[inline]
    pub fn keys<'a>(&self, frame: &Frame<'a>) -> Keys<'a> {
        self.keys.find(frame)
    }
}

/// How many commands the table knows.
#[must_use]
pub fn count() -> usize {
    TABLE.len()
}

/// All commands of the table.
pub fn all() -> impl Iterator<Item = &'static Command> {
    TABLE.iter()
}

/// The command of that name, in whatever case it is written.
#[must_use]
#[inline]
pub fn lookup(name: &[u8]) -> Option<&'static Command> {
    let mut place = hash(name);
    loop {
        let index = INDEX[place];
        if index == EMPTY {
            return None;
        }
        let command = &TABLE[usize::from(index)];
        if command.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(command);
        }
        place = (place + 1) % PLACES;
    }
}

/// The command of the frame; [`UNKNOWN`] where the table does not have it.
#[must_use]
#[inline]
pub fn of(frame: &Frame<'_>) -> &'static Command {
    lookup(frame.name()).unwrap_or(&UNKNOWN)
}

/// Several commands that differ in their names only.
type Group = (&'static [&'static str], Command);

const COUNT: usize = size(table::GROUPS) + size(modules::GROUPS);
const PLACES: usize = 2048;
const EMPTY: u16 = u16::MAX;

static TABLE: [Command; COUNT] = spread();
static INDEX: [u16; PLACES] = index();

const fn size(groups: &[Group]) -> usize {
    let mut sum = 0;
    let mut at = 0;
    while at < groups.len() {
        sum += groups[at].0.len();
        at += 1;
    }
    sum
}

const fn spread() -> [Command; COUNT] {
    let all = [UNKNOWN; COUNT];
    let (all, next) = spread_groups(all, 0, table::GROUPS);
    let (all, next) = spread_groups(all, next, modules::GROUPS);
    assert!(next == COUNT);
    all
}

const fn spread_groups(
    mut all: [Command; COUNT],
    mut next: usize,
    groups: &[Group],
) -> ([Command; COUNT], usize) {
    let mut at = 0;
    while at < groups.len() {
        let (names, command) = groups[at];
        let mut nth = 0;
        while nth < names.len() {
            all[next] = command;
            all[next].name = names[nth];
            all[next].id = next as u16;
            next += 1;
            nth += 1;
        }
        at += 1;
    }
    (all, next)
}

const fn index() -> [u16; PLACES] {
    let table = spread();
    let mut places = [EMPTY; PLACES];
    let mut at = 0;
    while at < COUNT {
        let mut place = hash(table[at].name.as_bytes());
        while places[place] != EMPTY {
            place = (place + 1) % PLACES;
        }
        places[place] = at as u16;
        at += 1;
    }
    places
}

/// A place for a name, the same for upper and lower case: setting bit 5 makes letters lower case, and what else it does
/// to other bytes, it does both here and in the table.
const fn hash(name: &[u8]) -> usize {
    let (head, tail) = ends(name);
    let folded = (head | FOLD) ^ (tail | FOLD).rotate_left(29) ^ name.len() as u64;
    (folded.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - PLACES.trailing_zeros())) as usize
}

const FOLD: u64 = 0x2020_2020_2020_2020;

/// The first and the last eight bytes; they overlap in shorter names.
const fn ends(name: &[u8]) -> (u64, u64) {
    if let (Some(head), Some(tail)) = (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        return (u64::from_le_bytes(*head), u64::from_le_bytes(*tail));
    }
    if let (Some(head), Some(tail)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        return (u32::from_le_bytes(*head) as u64, u32::from_le_bytes(*tail) as u64);
    }
    let mut word = 0;
    let mut at = 0;
    while at < name.len() {
        word = word << 8 | name[at] as u64;
        at += 1;
    }
    (word, word)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::core::position::Offset;
    use crate::core::resp::{Framer, encode_command};
    use bytes::BytesMut;

    /// Calls `check` with the frame of a command written as words.
    pub(crate) fn framed<R>(words: &str, check: impl FnOnce(&Frame<'_>) -> R) -> R {
        let args: Vec<&[u8]> = words
            .split(' ')
            .map(|word| if word == "''" { &b""[..] } else { word.as_bytes() })
            .collect();
        let mut bytes = BytesMut::new();
        encode_command(&mut bytes, &args);
        let mut framer = Framer::default();
        framer.push(Offset::ZERO, bytes.freeze()).unwrap();
        check(&framer.next().unwrap().unwrap())
    }

    #[test]
    fn every_command_is_found_in_whatever_case() {
        for command in all() {
            for name in [command.name.to_string(), command.name.to_uppercase()] {
                assert_eq!(lookup(name.as_bytes()).map(|c| c.name), Some(command.name));
            }
        }
        assert_eq!(lookup(b"SeT").map(|c| c.name), Some("set"));
    }

    #[test]
    fn what_is_not_in_the_table_is_not_found() {
        for name in [
            &b""[..],
            b"s",
            b"sett",
            b"nosuchcommand",
            b"GE\x14",
            b"get ",
            &[0xff; 300],
        ] {
            assert!(lookup(name).is_none(), "{name:?}");
        }
        framed("nosuch k", |frame| {
            let command = of(frame);
            assert_eq!(command.class(frame), Class::Stateful);
            assert!(!command.knows_keys() && !command.is_known());
        });
    }

    #[test]
    fn no_name_is_listed_twice() {
        let mut names: Vec<&str> = all().map(|c| c.name).collect();
        names.sort_unstable();
        let before = names.len();
        names.dedup();
        assert_eq!(names.len(), before);
    }
}
