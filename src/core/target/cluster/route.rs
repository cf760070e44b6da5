//! Where on a cluster a command of the stream goes, and how, where its keys lie in several slots.
//!
//! Owns one pure function, [`route`], and its table. Promises that no command is lost in silence: what cannot be done on a cluster is
//! refused with a reason. Leaves to others who serves a slot ([`super::map`]), and how a plan is carried out ([`super::plan`]).
//!
//! # The table
//!
//! `a`, `b`, `c` lie in different slots, `{a}x` in the slot of `a`. *split* and *error* are the choices of `crossSlot`. A key in
//! brackets is copied to the destination's slot first. The test reads this table.
//!
//! | command | split | error |
//! | --- | --- | --- |
//! | SET a 1 | a | a |
//! | RESTORE b 0 x REPLACE | b | b |
//! | DEL a {a}x | a | a |
//! | DEL a b {a}x | a: DEL a {a}x, b: DEL b | refused: several slots |
//! | UNLINK a b | a: UNLINK a, b: UNLINK b | refused: several slots |
//! | MSET a 1 b 2 a 3 | a: MSET a 1 a 3, b: MSET b 2 | refused: several slots |
//! | MSETNX a 1 b nx | a: MSET a 1, b: MSET b nx | refused: several slots |
//! | MSETNX a 1 {a}x 2 | a | a |
//! | MSETEX 2 a 1 b nx NX PXAT 5 | a: MSETEX 1 a 1 PXAT 5, b: MSETEX 1 b nx PXAT 5 | refused: several slots |
//! | JSON.MSET a $ 1 b $ 2 | a: JSON.MSET a $ 1, b: JSON.MSET b $ 2 | refused: several slots |
//! | SMOVE a b m | b: SADD b m, a: SREM a m | refused: several slots |
//! | SMOVE a {a}x m | a | a |
//! | RENAME a b | moved | refused: several slots |
//! | RENAMENX a b | moved | refused: several slots |
//! | RENAME a {a}x | a | a |
//! | COPY a b | copied | refused: several slots |
//! | COPY a b REPLACE DB 0 | copied | refused: several slots |
//! | COPY a b DB 1 | refused: databases | refused: databases |
//! | COPY a db db 0 | copied | refused: several slots |
//! | LMOVE a b LEFT RIGHT | popped LEFT, pushed RIGHT | refused: several slots |
//! | BLMOVE a b right left 0 | popped RIGHT, pushed LEFT | refused: several slots |
//! | LMOVE a b UP DOWN | refused: malformed | refused: several slots |
//! | RPOPLPUSH a b | popped RIGHT, pushed LEFT | refused: several slots |
//! | BRPOPLPUSH a b 0 | popped RIGHT, pushed LEFT | refused: several slots |
//! | RPOPLPUSH a a | a | a |
//! | SUNIONSTORE a b c {a}x | staged in a: SUNIONSTORE a [b] [c] {a}x | refused: several slots |
//! | SDIFFSTORE a a b b | staged in a: SDIFFSTORE a a [b] [b] | refused: several slots |
//! | SINTERSTORE a {a}x | a | a |
//! | ZUNIONSTORE a 2 b c WEIGHTS 1 2 AGGREGATE MAX | staged in a: ZUNIONSTORE a 2 [b] [c] WEIGHTS 1 2 AGGREGATE MAX | refused: several slots |
//! | ZDIFFSTORE b 2 a b | staged in b: ZDIFFSTORE b 2 [a] b | refused: several slots |
//! | ZRANGESTORE a b 0 -1 REV | staged in a: ZRANGESTORE a [b] 0 -1 REV | refused: several slots |
//! | GEOSEARCHSTORE a b FROMLONLAT 1 2 BYRADIUS 3 m | staged in a: GEOSEARCHSTORE a [b] FROMLONLAT 1 2 BYRADIUS 3 m | refused: several slots |
//! | GEORADIUS a 1 2 3 m STORE b | staged in b: GEORADIUS [a] 1 2 3 m STORE b | refused: several slots |
//! | PFMERGE a b c | staged in a: PFMERGE a [b] [c] | refused: several slots |
//! | BITOP XOR a a b | staged in a: BITOP XOR a a [b] | refused: several slots |
//! | SORT a LIMIT 0 1 ALPHA STORE b | staged in b: SORT [a] LIMIT 0 1 ALPHA STORE b | refused: several slots |
//! | SORT a BY nosort GET # STORE b | staged in b: SORT [a] BY nosort STORE b | refused: several slots |
//! | SORT a STORE c ALPHA | staged in c: SORT [a] STORE c ALPHA | refused: several slots |
//! | SORT a GET # GET # STORE b | refused: patterns | refused: several slots |
//! | SORT a get # BY x STORE {a}x | a: SORT a BY x STORE {a}x | a: SORT a BY x STORE {a}x |
//! | SORT a GET # GET # STORE {a}x | a | a |
//! | SORT a BY w* STORE b | refused: patterns | refused: patterns |
//! | SORT a GET w* STORE {a}x | refused: patterns | refused: patterns |
//! | SORT a BY {a}w* GET {a}v* STORE {a}x | a | a |
//! | SORT a BY w*{a} STORE {a}x | refused: patterns | refused: patterns |
//! | EVAL s 0 x | any master | any master |
//! | EVAL s 2 a {a}x | a | a |
//! | EVAL s 2 a b | refused: script | refused: script |
//! | FCALL f 2 a b | refused: script | refused: script |
//! | PUBLISH a m | any master | any master |
//! | SPUBLISH b m | b | b |
//! | FUNCTION FLUSH | every master | every master |
//! | SCRIPT LOAD x | every master | every master |
//! | FLUSHALL | every master | every master |
//! | FLUSHDB ASYNC | every master | every master |
//! | PING | any master | any master |
//! | SWAPDB 0 1 | refused: databases | refused: databases |
//! | MOVE a 1 | refused: databases | refused: databases |
//! | JSON.SET a $ 1 | a | a |
//! | TS.CREATERULE a b AGGREGATION avg 1 | refused: module | refused: several slots |
//! | CMS.MERGE a 2 b c | refused: module | refused: several slots |
//! | FT.CREATE i SCHEMA t TEXT | refused: module | refused: module |
//! | NOSUCH a | refused: keys unknown | refused: keys unknown |
//! | BLPOP a b 0 | refused: inseparable | refused: several slots |
//! | MIGRATE h 1 '' 0 5 KEYS a b | refused: inseparable | refused: several slots |
//! | SELECT 1 | refused: envelope | refused: envelope |
//! | MULTI | refused: envelope | refused: envelope |
//! | TRIMSLOTS RANGES 1 0 5 | refused: envelope | refused: envelope |
//! | GET | any master | any master |
//! | DEL | refused: malformed | refused: malformed |
//!
//! Why these are right:
//!
//! - A stream holds only what succeeded. MSETNX, MSETEX … NX, RENAMENX and COPY met no key that hindered them, and SMOVE had its member:
//!   the condition has been answered, and is not asked again where half of the keys would answer it.
//! - SMOVE adds before it removes: whoever looks in between sees the member twice, never not at all.
//! - Which keys the patterns of SORT name depends on the data; they are safe only where a tag before the `*` says that all are in one slot,
//!   and even then servers before 8.0 refuse them on a cluster. They refuse `GET #` too, which on its own says nothing and is left out.
//! - BLPOP, XREADGROUP, MIGRATE and their like over several keys are never in a stream: servers send on what they did to one key.

use std::fmt;

use bytes::{Bytes, BytesMut};

use super::plan::{End, Plan};
use crate::core::command::{Command, Kind, Written, slot};
use crate::core::resp::{Frame, encode_command};
use crate::core::target::library;

/// What to do with a command whose keys lie in several slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrossSlot {
    /// To split or rewrite it where that is possible.
    Split,
    /// To refuse it.
    Refuse,
}

/// Where a command goes, and how.
#[derive(Clone, PartialEq, Eq)]
pub enum Route {
    /// As it is to whoever serves the slot.
    Slot(u16),
    /// These commands go in its stead, each to its slot, in this order where somebody might look in between.
    Split(Vec<(u16, Bytes)>),
    /// It needs something of one slot in another.
    Planned(Plan),
    /// This command goes to every master.
    EveryMaster(Bytes),
    /// As it is to one master, whichever.
    AnyMaster,
    /// It cannot be done on a cluster.
    Refused(Refusal),
}

/// Why a command cannot be done on a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Its keys lie in several slots, and such commands are not wanted.
    SeveralSlots,
    /// Its keys lie in several slots, and what it does to one depends on the others.
    Inseparable,
    /// A script's or a function's keys lie in several slots.
    Script,
    /// A module's command concerns several slots, or none.
    Module,
    /// Which other keys SORT reads depends on the data.
    Patterns,
    /// Nobody knows which keys it touches.
    KeysUnknown,
    /// It concerns two databases, and a cluster has one.
    Databases,
    /// It says how the stream goes on, not what is to be done: whoever reads the stream deals with it.
    Envelope,
    /// Its arguments are not those of such a command.
    Malformed,
}

impl Refusal {
    /// The sentence that tells a person what to do.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        match self {
            Refusal::SeveralSlots => {
                "set output.replay.crossSlot: split, or let the application give these keys a common {tag}"
            }
            Refusal::Inseparable | Refusal::Script | Refusal::Module => {
                "let the application give the keys of this command a common {tag}, or go on without it: output.replay.onError: dead_letter"
            }
            Refusal::Patterns => {
                "let the application give the key, the patterns and the destination of SORT a common {tag}, the patterns' before the *"
            }
            Refusal::KeysUnknown => {
                "gunyu does not know this command and so cannot find its node: apply it by hand from the dead-letter file, or leave it out: \
                 output.filter.commandBlacklist"
            }
            Refusal::Databases => {
                "a cluster has one database: choose what to replicate with output.filter.dbBlacklist, or a target that is no cluster"
            }
            Refusal::Envelope | Refusal::Malformed => {
                "this should not stand in a stream: please report it with the line of the dead-letter file"
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::SeveralSlots => "several slots",
            Refusal::Inseparable => "inseparable",
            Refusal::Script => "script",
            Refusal::Module => "module",
            Refusal::Patterns => "patterns",
            Refusal::KeysUnknown => "keys unknown",
            Refusal::Databases => "databases",
            Refusal::Envelope => "envelope",
            Refusal::Malformed => "malformed",
        })
    }
}

impl fmt::Debug for Route {
    /// Never the commands themselves: they hold the user's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Route::Slot(slot) => write!(f, "Slot({slot})"),
            Route::Split(parts) => {
                let slots: Vec<u16> = parts.iter().map(|(slot, _)| *slot).collect();
                write!(f, "Split({slots:?})")
            }
            Route::Planned(plan) => write!(f, "Planned({plan:?})"),
            Route::EveryMaster(_) => f.write_str("EveryMaster"),
            Route::AnyMaster => f.write_str("AnyMaster"),
            Route::Refused(why) => write!(f, "Refused({why})"),
        }
    }
}

/// Where the command goes. `command` is what [`crate::core::command::of`] says of the frame: the caller needs it too.
///
/// Nothing is allocated for a command with one slot.
#[must_use]
#[inline]
pub fn route(command: &'static Command, frame: &Frame<'_>, how: CrossSlot) -> Route {
    match command.kind {
        Kind::Other
        | Kind::Del
        | Kind::Unlink
        | Kind::Expireat
        | Kind::Restore
        | Kind::RestoreAsking
        | Kind::Rename
        | Kind::Renamenx => by_keys(command, frame, how),
        _ => special(command, frame, how),
    }
}

#[inline]
fn by_keys(command: &Command, frame: &Frame<'_>, how: CrossSlot) -> Route {
    let mut keys = command.keys(frame);
    let Some(first) = keys.next() else {
        return keyless(command);
    };
    let home = slot(first.bytes);
    let together = keys.all(|key| slot(key.bytes) == home);
    if command.written == Written::Last && command.name == "sort" {
        return sort(command, frame, together.then_some(home), how);
    }
    match together {
        true => Route::Slot(home),
        false => across(command, frame, how),
    }
}

/// Judges a command in which no key was found. What changes nothing can do no harm anywhere.
#[cold]
fn keyless(command: &Command) -> Route {
    match command {
        _ if command.is_admin() => Route::AnyMaster,
        _ if !command.knows_keys() => Route::Refused(Refusal::KeysUnknown),
        _ if is_of_module(command) => Route::Refused(Refusal::Module),
        _ => Route::Refused(Refusal::Malformed),
    }
}

fn is_of_module(command: &Command) -> bool {
    command.name.contains('.')
}

/// Judges a command that needs care of its own.
#[cold]
fn special(command: &Command, frame: &Frame<'_>, how: CrossSlot) -> Route {
    match command.kind {
        Kind::Eval => script(command, frame),
        Kind::Copy if names_other_database(frame) => Route::Refused(Refusal::Databases),
        Kind::Move | Kind::Swapdb => Route::Refused(Refusal::Databases),
        Kind::Publish | Kind::Ping => Route::AnyMaster,
        Kind::Spublish => {
            let channel = frame.arg(1).map(slot);
            channel.map_or(Route::Refused(Refusal::Malformed), Route::Slot)
        }
        Kind::Function => Route::EveryMaster(library::repeatable(frame)),
        Kind::Script | Kind::Flushall | Kind::Flushdb => Route::EveryMaster(frame.to_bytes()),
        Kind::Select | Kind::Multi | Kind::Exec | Kind::Discard | Kind::Replconf | Kind::Trimslots => {
            Route::Refused(Refusal::Envelope)
        }
        Kind::Copy
        | Kind::Cluster
        | Kind::Other
        | Kind::Del
        | Kind::Unlink
        | Kind::Expireat
        | Kind::Restore
        | Kind::RestoreAsking
        | Kind::Rename
        | Kind::Renamenx => by_keys(command, frame, how),
    }
}

fn script(command: &Command, frame: &Frame<'_>) -> Route {
    let mut slots = command.keys(frame).map(|key| slot(key.bytes));
    let Some(home) = slots.next() else {
        return Route::AnyMaster;
    };
    match slots.all(|slot| slot == home) {
        true => Route::Slot(home),
        false => Route::Refused(Refusal::Script),
    }
}

/// Whether COPY has a DB that is not 0, the only one of a cluster.
fn names_other_database(frame: &Frame<'_>) -> bool {
    let options = frame.args().skip(3).collect::<Vec<_>>();
    let of_db = options
        .windows(2)
        .filter(|pair| pair[0].eq_ignore_ascii_case(b"db"));
    of_db.into_iter().any(|pair| pair[1] != b"0")
}

/// Judges a command whose keys lie in several slots.
#[cold]
fn across(command: &Command, frame: &Frame<'_>, how: CrossSlot) -> Route {
    if how == CrossSlot::Refuse {
        return Route::Refused(Refusal::SeveralSlots);
    }
    if let Some(parts) = command.split(frame, slot) {
        return Route::Split(parts);
    }
    let first_two = || Some((frame.arg(1)?.to_vec(), frame.arg(2)?.to_vec()));
    let pair = |plan: fn(Vec<u8>, Vec<u8>) -> Plan| first_two().map(|(from, to)| plan(from, to));
    let popped = |pop, push| first_two().map(|(from, to)| Plan::popped(from, to, pop, push));
    let end = |index| frame.arg(index).and_then(End::named);
    let plan = match command.name {
        "smove" => return smove(frame),
        "rename" | "renamenx" => pair(Plan::moved),
        "copy" => pair(Plan::copied),
        "rpoplpush" | "brpoplpush" => popped(End::Right, End::Left),
        "lmove" | "blmove" => end(3).zip(end(4)).and_then(|(pop, push)| popped(pop, push)),
        _ if is_of_module(command) => return Route::Refused(Refusal::Module),
        _ if command.written == Written::All => return Route::Refused(Refusal::Inseparable),
        _ => staged(command, frame),
    };
    plan.map_or(Route::Refused(Refusal::Malformed), Route::Planned)
}

fn smove(frame: &Frame<'_>) -> Route {
    let (Some(from), Some(to), Some(member)) = (frame.arg(1), frame.arg(2), frame.arg(3)) else {
        return Route::Refused(Refusal::Malformed);
    };
    let piece = |verb: &[u8], key: &[u8]| {
        let mut out = BytesMut::new();
        encode_command(&mut out, &[verb, key, member]);
        (slot(key), out.freeze())
    };
    Route::Split(vec![piece(b"SADD", to), piece(b"SREM", from)])
}

/// The command runs in the slot of the key that it writes; the other keys are foreign there.
fn staged(command: &Command, frame: &Frame<'_>) -> Option<Plan> {
    let keys: Vec<_> = command.keys(frame).collect();
    let written = match command.written {
        Written::First => keys.first(),
        Written::All | Written::Last => keys.last(),
    };
    let home = slot(written?.bytes);
    let foreign = keys.iter().filter(|key| slot(key.bytes) != home);
    let foreign = foreign.map(|key| (key.bytes.to_vec(), key.index)).collect();
    let words = frame.args().map(<[u8]>::to_vec).collect();
    Some(Plan::staged(home, words, foreign))
}

/// Judges SORT … STORE; `home` is the slot of its two keys, where they have one.
#[cold]
fn sort(command: &Command, frame: &Frame<'_>, home: Option<u16>, how: CrossSlot) -> Route {
    let patterns = patterns_of_sort(frame);
    let leaves = |pattern: &[u8]| pattern.contains(&b'*') && (home.is_none() || slot_of_all(pattern) != home);
    if patterns.iter().any(|(_, _, pattern)| leaves(pattern)) {
        return Route::Refused(Refusal::Patterns);
    }
    let gets = patterns.iter().filter(|(_, option, _)| *option == Pattern::Get);
    let gets: Vec<(usize, &[u8])> = gets.map(|(at, _, pattern)| (*at, *pattern)).collect();
    let itself = match gets[..] {
        [(at, b"#")] => Some(at),
        _ => None,
    };
    let is_itself = |at: usize| itself.is_some_and(|itself| at == itself || at == itself + 1);
    let words = frame.args().enumerate().filter(|(at, _)| !is_itself(*at));
    let words: Vec<&[u8]> = words.map(|(_, word)| word).collect();
    match home {
        Some(home) if itself.is_some() => {
            let mut out = BytesMut::new();
            encode_command(&mut out, &words);
            Route::Split(vec![(home, out.freeze())])
        }
        Some(home) => Route::Slot(home),
        None if how == CrossSlot::Refuse => Route::Refused(Refusal::SeveralSlots),
        None if itself.is_none() && !gets.is_empty() => Route::Refused(Refusal::Patterns),
        None => {
            let words = words.into_iter().map(<[u8]>::to_vec).collect();
            let (key, destination) = (frame.arg(1), command.keys(frame).last());
            let (Some(key), Some(destination)) = (key, destination) else {
                return Route::Refused(Refusal::Malformed);
            };
            Route::Planned(Plan::staged(
                slot(destination.bytes),
                words,
                vec![(key.to_vec(), 1)],
            ))
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pattern {
    By,
    Get,
}

/// The patterns of SORT, each with the place of its option.
fn patterns_of_sort<'a>(frame: &Frame<'a>) -> Vec<(usize, Pattern, &'a [u8])> {
    let mut patterns = Vec::new();
    let mut args = frame.args().enumerate().skip(2);
    while let Some((at, arg)) = args.next() {
        let is = |word: &[u8]| arg.eq_ignore_ascii_case(word);
        let mut value = || args.next().map_or(&b""[..], |(_, value)| value);
        if is(b"by") {
            patterns.push((at, Pattern::By, value()));
        } else if is(b"get") {
            patterns.push((at, Pattern::Get, value()));
        } else if is(b"limit") {
            args.nth(1);
        } else if is(b"store") {
            args.next();
        }
    }
    patterns
}

/// The slot of all keys that a pattern can name, where they have one: a tag stands before its `*`.
fn slot_of_all(pattern: &[u8]) -> Option<u16> {
    let fixed = pattern.split(|byte| *byte == b'*').next()?;
    let open = memchr::memchr(b'{', fixed)?;
    let close = memchr::memchr(b'}', &fixed[open..])? + open;
    (close > open + 1).then(|| slot(fixed))
}

#[cfg(test)]
mod tests;
