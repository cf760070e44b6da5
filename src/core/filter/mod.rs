//! What is replicated: databases, commands, keys and slots, compiled once and judged on borrowed bytes.
//!
//! Owns the rules and the verdict on every key of a snapshot and every command of a stream. Promises that nothing which
//! changes data is passed over in silence: a command is kept, dropped by a rule that was asked for, rewritten to what it
//! means under the rules, or reported as straddling them. Leaves to the pipeline to carry verdicts out.
//!
//! # Rules
//!
//! A blacklist wins over a whitelist. A key is replicated where no deny rule matches it, and one of the allowed prefixes,
//! suffixes or expressions does (or none is given), and its slot is allowed. Keys of gunyu itself never are.
//!
//! # Commands that concern more than their keys
//!
//! Judged in database 0, after databases 0 and 1 have been seen. *Deny* denies database 1; *injective* maps 0 to 5 and
//! 1 to 6; *many to one* maps all to 7; *keys* allows keys that begin with `a`; *in denied* is judged in database 1 under
//! *deny*. The test reads this table.
//!
//! | command | no rules | deny | injective | many to one | keys | in denied | command deny |
//! | --- | --- | --- | --- | --- | --- | --- | --- |
//! | FLUSHALL | keep | FLUSHDB | FLUSHDB, SELECT 6, FLUSHDB, SELECT 5 | FLUSHDB | straddles: all keys | FLUSHDB | drop: command |
//! | FLUSHDB | keep | keep | keep | straddles: shared database | straddles: all keys | drop: database | drop: command |
//! | SWAPDB 0 1 | keep | straddles: denied database | SWAPDB 5 6 | drop: no effect | keep | straddles: denied database | drop: command |
//! | SELECT 1 | keep | drop: database | SELECT 6 | SELECT 7 | keep | drop: database | refused |
//! | MOVE a 1 | keep | DEL a | MOVE a 6 | drop: no effect | keep | drop: database | drop: command |
//! | MOVE a 0 | drop: no effect | drop: no effect | drop: no effect | drop: no effect | drop: no effect | straddles: denied database | drop: command |
//! | MOVE b 1 | keep | DEL b | MOVE b 6 | drop: no effect | drop: key | drop: database | drop: command |
//! | COPY a a2 DB 1 | keep | drop: database | COPY a a2 DB 6 | COPY a a2 DB 7 | keep | drop: database | drop: command |
//! | COPY a a DB 1 | keep | drop: database | COPY a a DB 6 | drop: no effect | keep | drop: database | drop: command |
//! | COPY a a2 DB 0 | keep | keep | COPY a a2 DB 5 | COPY a a2 DB 7 | keep | straddles: denied database | drop: command |
//! | COPY a b | keep | keep | keep | keep | drop: key | drop: database | drop: command |
//! | COPY b a | keep | keep | keep | keep | straddles: keys | drop: database | drop: command |
//! | PUBLISH c m | keep | keep | keep | keep | keep | keep | drop: command |
//! | FUNCTION LOAD x | keep | keep | keep | keep | keep | keep | drop: command |
//! | SCRIPT LOAD x | keep | keep | keep | keep | keep | keep | drop: command |
//! | EVAL x 0 | keep | keep | keep | keep | straddles: keys unknown | drop: database | drop: command |
//! | EVAL x 1 b | keep | keep | keep | keep | drop: key | drop: database | drop: command |
//! | NOSUCH b | keep | keep | keep | keep | straddles: keys unknown | drop: database | drop: command |
//! | DEL a b | keep | keep | keep | keep | DEL a | drop: database | drop: command |
//! | MSET b 1 a 2 | keep | keep | keep | keep | MSET a 2 | drop: database | drop: command |
//! | MSETNX a 1 b 2 | keep | keep | keep | keep | straddles: keys | drop: database | drop: command |
//! | RENAME a b | keep | keep | keep | keep | DEL a | drop: database | drop: command |
//! | RENAME b a | keep | keep | keep | keep | straddles: keys | drop: database | drop: command |
//! | SUNIONSTORE b a | keep | keep | keep | keep | drop: key | drop: database | drop: command |
//! | SUNIONSTORE a b | keep | keep | keep | keep | straddles: keys | drop: database | drop: command |
//! | LMOVE a b LEFT LEFT | keep | keep | keep | keep | straddles: keys | drop: database | drop: command |
//! | RESTORE-ASKING a 0 x | RESTORE a 0 x REPLACE | RESTORE a 0 x REPLACE | RESTORE a 0 x REPLACE | RESTORE a 0 x REPLACE | RESTORE a 0 x REPLACE | drop: database | drop: command |
//! | MULTI | keep | keep | keep | keep | keep | keep | refused |
//! | EXEC | keep | keep | keep | keep | keep | keep | refused |
//! | PING | drop: control | drop: control | drop: control | drop: control | drop: control | drop: control | drop: control |
//! | TRIMSLOTS RANGES 1 0 5 | drop: slots trimmed | drop: slots trimmed | drop: slots trimmed | drop: slots trimmed | drop: slots trimmed | drop: slots trimmed | drop: command |
//!
//! FLUSHALL empties the databases that ours came from; those never seen hold nothing of ours. FLUSHDB of a
//! database that shares its place on the target with another would take the other's keys along. SWAPDB within one database
//! of the target, and MOVE within it, leave its keys where they are. MOVE into a denied database is the end of the key;
//! MOVE out of one brings a key that the stream does not carry.
//!
//! `TRIMSLOTS` is a shard of the source's cluster forgetting slots that another shard has taken over: no key has
//! gone from the cluster. `PUBLISH __sentinel__:hello` would introduce the source's sentinels to the target's.

mod databases;
mod global;
mod keys;
mod rules;

pub use databases::State;
pub use rules::{DbMap, Error, Rules};

use std::fmt;

use bytes::{Bytes, BytesMut};

use super::command::{self, Command, Kind, Written};
use super::position::Offset;
use super::resp::{Frame, Framer, encode_command, write_array_header, write_bulk};
use databases::Databases;
use keys::KeyRules;
use rules::DeniedCommands;

/// So many databases of a source are considered where no list says which it has.
const SOURCE_DATABASES: u32 = 1024;

/// What becomes of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes to the target as it came.
    Keep,
    /// It does not go to the target, and need not.
    Drop(DropReason),
    /// These commands go to the target in its stead; one after the other, encoded.
    Rewrite(Bytes),
    /// It lies on both sides of the rules: what it would do on the target cannot be said. It is for the dead-letter file.
    Straddles(Straddle),
}

/// Why a command or a key is not replicated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// It changes no data: PING, REPLCONF, a newline. Not worth counting as filtered.
    Control,
    /// Its command is denied.
    Command,
    /// Its database is denied, or not among those allowed.
    Database,
    /// Its key is denied, or not among those allowed.
    Key,
    /// Its key's slot is denied, or not among those allowed.
    Slot,
    /// Its key is gunyu's own.
    OwnKey,
    /// It changes nothing on the target, where two databases are one.
    NoEffect,
    /// A sentinel of the source introduces itself.
    SentinelHello,
    /// A shard of the source forgets slots that another has taken over.
    SlotsTrimmed,
}

/// Why a command cannot be judged as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Straddle {
    /// Some of its keys are replicated and some are not, and what it does to one depends on the others.
    Keys,
    /// Nobody knows which keys it touches, and not all are replicated.
    KeysUnknown,
    /// It touches all keys, and not all are replicated.
    AllKeys,
    /// It brings data from a database that is not replicated into one that is, or swaps the two.
    DeniedDatabase,
    /// Its database shares a database of the target with another, whose keys it would touch.
    SharedDatabase,
    /// Which databases have been replicated so far is not known.
    DatabasesUnknown,
    /// An argument that should be a database's number is none.
    Malformed,
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DropReason::Control => "control",
            DropReason::Command => "command",
            DropReason::Database => "database",
            DropReason::Key => "key",
            DropReason::Slot => "slot",
            DropReason::OwnKey => "own key",
            DropReason::NoEffect => "no effect",
            DropReason::SentinelHello => "sentinel hello",
            DropReason::SlotsTrimmed => "slots trimmed",
        })
    }
}

impl fmt::Display for Straddle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Straddle::Keys => "keys",
            Straddle::KeysUnknown => "keys unknown",
            Straddle::AllKeys => "all keys",
            Straddle::DeniedDatabase => "denied database",
            Straddle::SharedDatabase => "shared database",
            Straddle::DatabasesUnknown => "databases unknown",
            Straddle::Malformed => "malformed",
        })
    }
}

/// The rules, compiled.
#[derive(Debug)]
pub struct Filter {
    databases: Databases,
    commands: DeniedCommands,
    keys: KeyRules,
    text: String,
}

impl Filter {
    /// Compiles the rules.
    ///
    /// # Errors
    /// A rule says nothing or contradicts itself; the operator must mend it.
    pub fn compile(rules: &Rules) -> Result<Filter, Error> {
        Ok(Filter {
            databases: Databases::compile(rules)?,
            commands: DeniedCommands::compile(&rules.command_deny)?,
            keys: KeyRules::compile(rules)?,
            text: rules::canonical(rules),
        })
    }

    /// The rules as text: equal rules give equal text, in whatever order they were written, and in every release.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A number that stands for [`Filter::text`]: part of what tells one deployment from another.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        rules::fnv1a(self.text.as_bytes())
    }

    /// Where reading begins: the source's database at that position, and which of its databases have been replicated
    /// so far; `None` where that is not known, as after a restart whose checkpoint does not say.
    #[must_use]
    pub fn state(&self, db: u32, seen: Option<&[u32]>) -> State {
        State::new(&self.databases, db, seen)
    }

    /// Why a key of a snapshot is not replicated; `None`: it is.
    #[must_use]
    #[inline]
    pub fn key(&self, db: u32, key: &[u8]) -> Option<DropReason> {
        if self.databases.target(db).is_none() {
            return Some(DropReason::Database);
        }
        self.keys.refusal(key)
    }

    /// Where a database of the source goes on the target; `None`: it is not replicated.
    #[must_use]
    #[inline]
    pub fn target_db(&self, db: u32) -> Option<u32> {
        self.databases.target(db)
    }

    /// Whether keys are chosen by their names or slots.
    #[must_use]
    pub fn has_key_rules(&self) -> bool {
        !self.keys.is_plain()
    }

    /// The target's databases below `count` that are fed, each with the first of the source's that feeds it: (source, target).
    #[must_use]
    pub fn fed_databases(&self, count: u32) -> Vec<(u32, u32)> {
        let mut fed: Vec<(u32, u32)> = Vec::new();
        for source in 0..SOURCE_DATABASES {
            let Some(target) = self.target_db(source).filter(|target| *target < count) else {
                continue;
            };
            if !fed.iter().any(|(_, known)| *known == target) {
                fed.push((source, target));
            }
        }
        fed
    }

    /// The first of the source's databases that goes to this one of the target, itself before all others.
    #[must_use]
    pub fn source_of(&self, target: u32) -> Option<u32> {
        let mut sources = [target].into_iter().chain(0..SOURCE_DATABASES);
        sources.find(|source| self.target_db(*source) == Some(target))
    }

    /// Whether the command of that name is denied; a snapshot's functions, for one, are `FUNCTION`.
    #[must_use]
    pub fn denies(&self, name: &[u8]) -> bool {
        let command = command::lookup(name).unwrap_or(&command::UNKNOWN);
        self.commands.has(command, name)
    }

    /// Judges deletions of these keys, as commands of their own.
    #[must_use]
    pub fn deletions(&self, state: &mut State, keys: &[Bytes]) -> Verdict {
        let (mut all, mut out) = (BytesMut::new(), BytesMut::new());
        for key in keys {
            encode_command(&mut all, &[b"DEL", key]);
        }
        let mut framer = Framer::default();
        if framer.push(Offset::ZERO, all.freeze()).is_err() {
            return Verdict::Drop(DropReason::Control);
        }
        while let Ok(Some(frame)) = framer.next() {
            match self.command(state, command::of(&frame), &frame) {
                Verdict::Keep => out.extend_from_slice(frame.bytes()),
                Verdict::Rewrite(bytes) => out.extend_from_slice(&bytes),
                Verdict::Drop(_) | Verdict::Straddles(_) => {}
            }
        }
        match out.is_empty() {
            true => Verdict::Drop(DropReason::Control),
            false => Verdict::Rewrite(out.freeze()),
        }
    }

    /// Judges one command of the stream, and keeps `state` up with it. `command` is what
    /// [`command::of`] says of the frame: the caller needs it too.
    #[must_use]
    #[inline]
    pub fn command(&self, state: &mut State, command: &Command, frame: &Frame<'_>) -> Verdict {
        if command.is_admin() || frame.arg_count() == 0 {
            return Verdict::Drop(DropReason::Control);
        }
        if self.commands.has(command, frame.name()) {
            return Verdict::Drop(DropReason::Command);
        }
        match command.kind {
            Kind::Other | Kind::Del | Kind::Unlink | Kind::Restore => {}
            _ => {
                if let Some(verdict) = self.special(state, command, frame) {
                    return verdict;
                }
            }
        }
        if state.target.is_none() && !command.is_global() {
            return Verdict::Drop(DropReason::Database);
        }
        self.by_keys(state, command, frame)
    }

    /// Judges by the keys alone.
    #[inline]
    fn by_keys(&self, state: &mut State, command: &Command, frame: &Frame<'_>) -> Verdict {
        let mut kept = false;
        let mut refused = None;
        for key in command.keys(frame) {
            match self.keys.refusal(key.bytes) {
                None => kept = true,
                reason => refused = reason,
            }
        }
        match refused {
            None if command.knows_keys() || self.keys.is_plain() => Verdict::Keep,
            None => Verdict::Straddles(Straddle::KeysUnknown),
            Some(reason) if !kept => Verdict::Drop(reason),
            Some(reason) => self.by_some_keys(state, command, frame, reason),
        }
    }

    /// Judges a command some of whose keys are replicated and some are not.
    #[cold]
    fn by_some_keys(
        &self,
        state: &mut State,
        command: &Command,
        frame: &Frame<'_>,
        reason: DropReason,
    ) -> Verdict {
        let out = &mut state.scratch;
        if command.is_separable(frame) {
            command.project(frame, out, |key| self.keys.refusal(key).is_none());
            return Verdict::Rewrite(out.split().freeze());
        }
        let mut keys = command.keys(frame).map(|key| key.bytes);
        let (first, last) = (keys.next(), keys.last());
        let refused = |key: Option<&[u8]>| key.is_some_and(|key| self.keys.refusal(key).is_some());
        match (command.kind, command.written) {
            // The key goes to where we do not follow it: here it is gone.
            (Kind::Rename | Kind::Renamenx, _) if !refused(first) => {
                encode_command(out, &[b"DEL", first.unwrap_or_default()]);
                Verdict::Rewrite(out.split().freeze())
            }
            (_, Written::First) if refused(first) => Verdict::Drop(reason),
            (_, Written::Last) if refused(last) => Verdict::Drop(reason),
            _ => Verdict::Straddles(Straddle::Keys),
        }
    }

    /// Judges a command that needs care of its own; `None`: its keys decide.
    fn special(&self, state: &mut State, command: &Command, frame: &Frame<'_>) -> Option<Verdict> {
        match command.kind {
            Kind::Select => Some(self.select(state, frame)),
            Kind::Flushall => Some(self.flushall(state, frame)),
            Kind::Flushdb => Some(self.flushdb(state)),
            Kind::Swapdb => Some(self.swapdb(state, frame)),
            Kind::Move => Some(self.move_key(state, frame)),
            Kind::Copy => Some(self.copy_key(state, frame)),
            Kind::Publish if frame.arg(1) == Some(b"__sentinel__:hello") => {
                Some(Verdict::Drop(DropReason::SentinelHello))
            }
            Kind::Trimslots => Some(Verdict::Drop(DropReason::SlotsTrimmed)),
            Kind::Eval => self.script(state, command, frame),
            Kind::RestoreAsking => self.restore_asking(state, command, frame),
            Kind::Expireat => self.expire_at(state, command, frame),
            Kind::Multi | Kind::Exec | Kind::Discard => Some(Verdict::Keep),
            Kind::Publish | Kind::Spublish | Kind::Function | Kind::Script => Some(Verdict::Keep),
            Kind::Rename | Kind::Renamenx | Kind::Del | Kind::Unlink | Kind::Restore | Kind::Other => None,
            // They change no data and have been dropped for that.
            Kind::Ping | Kind::Replconf | Kind::Cluster => Some(Verdict::Drop(DropReason::Control)),
        }
    }

    /// A script that names no key may touch any.
    fn script(&self, state: &State, command: &Command, frame: &Frame<'_>) -> Option<Verdict> {
        let names_keys = command.keys(frame).next().is_some();
        if names_keys || self.keys.is_plain() || state.target.is_none() {
            return None;
        }
        Some(Verdict::Straddles(Straddle::KeysUnknown))
    }

    /// A stream has only what was done. Its condition held on the source; on the target the key may have another time for now, for a full sync
    /// puts off what is soon.
    fn expire_at(&self, state: &mut State, command: &Command, frame: &Frame<'_>) -> Option<Verdict> {
        let is_unconditional = frame.arg_count() <= 3;
        if is_unconditional || state.target.is_none() || self.by_keys(state, command, frame) != Verdict::Keep
        {
            return None;
        }
        let out = &mut state.scratch;
        write_array_header(out, 3);
        frame.args().take(3).for_each(|arg| write_bulk(out, arg));
        Some(Verdict::Rewrite(out.split().freeze()))
    }

    /// What a shard receives from another that gives it a slot. On the target the key may still be there, as the other
    /// shard's stream left it; hence REPLACE. Nobody needs to be asked about slots; hence RESTORE.
    fn restore_asking(&self, state: &mut State, command: &Command, frame: &Frame<'_>) -> Option<Verdict> {
        if state.target.is_none() || self.by_keys(state, command, frame) != Verdict::Keep {
            return None;
        }
        // Without a payload REPLACE would take its place, or the key's: such a command is refused as it stands.
        frame.arg(3)?;
        let replaces = frame
            .args()
            .skip(4)
            .any(|arg| arg.eq_ignore_ascii_case(b"REPLACE"));
        let out = &mut state.scratch;
        write_array_header(out, frame.arg_count() + usize::from(!replaces));
        write_bulk(out, b"RESTORE");
        frame.args().skip(1).for_each(|arg| write_bulk(out, arg));
        if !replaces {
            write_bulk(out, b"REPLACE");
        }
        Some(Verdict::Rewrite(out.split().freeze()))
    }
}

/// Writes the command with one argument replaced by a number.
fn with_number(out: &mut BytesMut, frame: &Frame<'_>, index: usize, number: u32) {
    write_array_header(out, frame.arg_count());
    for (at, arg) in frame.args().enumerate() {
        if at == index {
            super::resp::write_number(out, u64::from(number));
        } else {
            write_bulk(out, arg);
        }
    }
}

#[cfg(test)]
mod tests;
