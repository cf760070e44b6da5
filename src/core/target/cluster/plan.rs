//! How a command that needs something of one slot in another is carried out: what is read first, and then which steps in which order.
//!
//! Owns plans as data, without I/O. A step runs in its slot as one transaction: `MULTI`, the fence of the slot, the commands, `EXEC`. Promises
//! that a crash between two steps does no harm: the plan is made again from what is there then, and the steps whose slots' fences already
//! cover the command are left out ([`Plan::standing`] says what is left). Leaves to the engine to confirm everything that came before, to
//! read, and to run the steps one after the other; a step that is refused ends the plan, for the next one may take away what it
//! should have brought.
//!
//! | plan | for | reads | steps | where that is missing on the target |
//! | --- | --- | --- | --- | --- |
//! | staged | …STORE, PFMERGE, BITOP | DUMP of each foreign key | in the destination's slot: RESTORE of the foreign keys under temporary names, the command with these names, DEL of the names | the command's own rule: it is empty |
//! | copied | COPY | DUMP, PEXPIRETIME | RESTORE of the destination | [`Undone::Missing`] |
//! | moved | RENAME, RENAMENX | DUMP, PEXPIRETIME | RESTORE of the destination, without the fence; the fence there; DEL of the source | [`Undone::Missing`] |
//! | popped | LMOVE, RPOPLPUSH, BLMOVE, BRPOPLPUSH | LINDEX of the end that is popped, TYPE of the destination | push to the destination; pop of the source | [`Undone::Missing`] |
//!
//! Worked: `RENAME a b`, and a crash before its last step. `b` is there, `a` is still whole, and nothing that comes later has touched the slot of
//! `a`. The plan is made again: `b` is restored once more, or left alone where the fence of its slot was set, and the last step deletes `a`.
//!
//! A transaction sets its fence even where a command in it fails. So that a failed step is never taken for one that is done, and the source then
//! taken away, the RESTORE of a move, which may be done any number of times, goes without the fence, and a push is not tried on what is no list.
//!
//! What is read must be as the command found it. Where the fence of a slot that is read covers the command already, and yet a step is left to do
//! (a node has lost its last writes in a failover), it is not: that is [`Standing::Overtaken`].
//!
//! Temporary names are `redis-gunyu-staged:{tag}:cross:N`, the tag being the slot's. They live within one transaction, so nobody ever sees them.

use std::fmt;

use crate::core::command::{slot, tag_of};
use crate::core::resp::{Value, said};
use crate::core::target::staging;

/// A command, word by word.
pub type Words = Vec<Vec<u8>>;

/// How the target tells and takes times of expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// As points in time: PEXPIRETIME and ABSTTL, since 7.0.
    Absolute,
    /// As what is left: PTTL. A copy lives longer than its original by what passes between reading and writing.
    Relative,
}

/// One end of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Index 0.
    Left,
    /// Index -1.
    Right,
}

impl End {
    /// The end of that name.
    pub(super) fn named(word: &[u8]) -> Option<End> {
        match word {
            _ if word.eq_ignore_ascii_case(b"left") => Some(End::Left),
            _ if word.eq_ignore_ascii_case(b"right") => Some(End::Right),
            _ => None,
        }
    }

    fn choose<T>(self, left: T, right: T) -> T {
        match self {
            End::Left => left,
            End::Right => right,
        }
    }
}

/// What is to be done for one command.
#[derive(Clone, PartialEq, Eq)]
pub struct Plan(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Staged {
        home: u16,
        words: Words,
        foreign: Vec<Foreign>,
    },
    Copied(Pair),
    Moved(Pair),
    Popped {
        keys: Pair,
        pop: End,
        push: End,
    },
}

#[derive(Clone, PartialEq, Eq)]
struct Pair {
    from: Vec<u8>,
    to: Vec<u8>,
}

/// A key that is copied to the destination's slot, and as which words the command names it.
#[derive(Clone, PartialEq, Eq)]
struct Foreign {
    key: Vec<u8>,
    places: Vec<usize>,
}

/// What is done in one slot, as one transaction.
#[derive(Clone, PartialEq, Eq)]
pub struct Step {
    /// The slot.
    pub slot: u16,
    /// Whether the slot's fence goes with it.
    pub fenced: bool,
    /// The commands, in order.
    pub commands: Vec<Words>,
}

/// What the fences say of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Everything is done: nothing is read or written.
    Done,
    /// Something is left to do, and what must be read is as the command found it.
    Open,
    /// Something is left to do, and what must be read is no longer as the command found it.
    Overtaken,
}

/// Why a plan has no steps: what it read says that the target has not what the source had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undone {
    /// The key that it reads is not there.
    #[error("the key that it takes from is missing on the target")]
    Missing,
    /// The key that it pushes to is none.
    #[error("the key that it pushes to is no list on the target")]
    NoList,
    /// The target answers with an error.
    #[error("the target refuses to read what it takes: {0}")]
    Refused(String),
    /// The target answers something that no such command has as its answer.
    #[error("the target's answers to what it reads have not the form of such answers")]
    Malformed,
    /// See [`Standing::Overtaken`].
    #[error("the key that it takes from has changed since, and what it took was lost by a node")]
    Overtaken,
}

impl Plan {
    pub(super) fn staged(home: u16, words: Words, foreign: Vec<(Vec<u8>, usize)>) -> Plan {
        let mut gathered: Vec<Foreign> = Vec::new();
        for (key, place) in foreign {
            match gathered.iter_mut().find(|known| known.key == key) {
                Some(known) => known.places.push(place),
                None => gathered.push(Foreign {
                    key,
                    places: vec![place],
                }),
            }
        }
        Plan(Kind::Staged {
            home,
            words,
            foreign: gathered,
        })
    }

    pub(super) fn copied(from: Vec<u8>, to: Vec<u8>) -> Plan {
        Plan(Kind::Copied(Pair { from, to }))
    }

    pub(super) fn moved(from: Vec<u8>, to: Vec<u8>) -> Plan {
        Plan(Kind::Moved(Pair { from, to }))
    }

    pub(super) fn popped(from: Vec<u8>, to: Vec<u8>, pop: End, push: End) -> Plan {
        let keys = Pair { from, to };
        Plan(Kind::Popped { keys, pop, push })
    }

    /// What must be read, each command with one key, at whoever serves it. The replies are for [`Plan::steps`], in this order.
    #[must_use]
    pub fn reads(&self, expiry: Expiry) -> Vec<Words> {
        match &self.0 {
            Kind::Staged { foreign, .. } => foreign.iter().map(|one| words(&[b"DUMP", &one.key])).collect(),
            Kind::Copied(keys) | Kind::Moved(keys) => {
                let verb: &[u8] = match expiry {
                    Expiry::Absolute => b"PEXPIRETIME",
                    Expiry::Relative => b"PTTL",
                };
                vec![words(&[b"DUMP", &keys.from]), words(&[verb, &keys.from])]
            }
            Kind::Popped { keys, pop, .. } => {
                let end = pop.choose(&b"0"[..], b"-1");
                vec![words(&[b"LINDEX", &keys.from, end]), words(&[b"TYPE", &keys.to])]
            }
        }
    }

    /// What is left to do, `covered` telling of a slot whether its fence covers the command.
    #[must_use]
    pub fn standing(&self, covered: impl Fn(u16) -> bool) -> Standing {
        let all_done = self.written_slots().all(&covered);
        match all_done {
            true => Standing::Done,
            false if self.read_slots().any(covered) => Standing::Overtaken,
            false => Standing::Open,
        }
    }

    /// The slots of the steps, in their order, each once.
    pub fn written_slots(&self) -> impl Iterator<Item = u16> + use<> {
        let (first, then) = match &self.0 {
            Kind::Staged { home, .. } => (*home, None),
            Kind::Copied(keys) => (slot(&keys.to), None),
            Kind::Moved(keys) | Kind::Popped { keys, .. } => (slot(&keys.to), Some(slot(&keys.from))),
        };
        std::iter::once(first).chain(then)
    }

    /// The slots of what is read.
    pub fn read_slots(&self) -> impl Iterator<Item = u16> {
        let (foreign, one) = match &self.0 {
            Kind::Staged { foreign, .. } => (&foreign[..], None),
            Kind::Copied(keys) | Kind::Moved(keys) | Kind::Popped { keys, .. } => {
                (&[][..], Some(slot(&keys.from)))
            }
        };
        foreign.iter().map(|one| slot(&one.key)).chain(one)
    }

    /// What is to be done, in order, after the reads were answered so.
    ///
    /// # Errors
    /// The target has diverged: nothing is done, and the command is for the dead-letter file.
    pub fn steps(&self, expiry: Expiry, replies: &[Value]) -> Result<Vec<Step>, Undone> {
        match &self.0 {
            Kind::Staged { home, words, foreign } => Ok(vec![stage(*home, words, foreign, replies)?]),
            Kind::Copied(keys) => Ok(vec![restore(keys, expiry, replies)?]),
            Kind::Moved(keys) => {
                let mut restored = restore(keys, expiry, replies)?;
                restored.fenced = false;
                let confirmed = Step {
                    slot: restored.slot,
                    fenced: true,
                    commands: Vec::new(),
                };
                Ok(vec![restored, confirmed, one(&keys.from, &[b"DEL", &keys.from])])
            }
            Kind::Popped { keys, pop, push } => {
                let [element, kind] = replies else {
                    return Err(Undone::Malformed);
                };
                let element = text(element)?.ok_or(Undone::Missing)?;
                takes_elements(kind)?;
                Ok(vec![
                    one(&keys.to, &[push.choose(b"LPUSH", b"RPUSH"), &keys.to, element]),
                    one(&keys.from, &[pop.choose(b"LPOP", b"RPOP"), &keys.from]),
                ])
            }
        }
    }
}

impl Kind {
    const fn name(&self) -> &'static str {
        match self {
            Kind::Staged { .. } => "staged",
            Kind::Copied(_) => "copied",
            Kind::Moved(_) => "moved",
            Kind::Popped { .. } => "popped",
        }
    }
}

impl fmt::Debug for Plan {
    /// Never its words: they are the user's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} commands in slot {}", self.commands.len(), self.slot)
    }
}

fn words(words: &[&[u8]]) -> Words {
    words.iter().map(|word| word.to_vec()).collect()
}

/// A step of one command, in its key's slot.
fn one(key: &[u8], command: &[&[u8]]) -> Step {
    Step {
        slot: slot(key),
        fenced: true,
        commands: vec![words(command)],
    }
}

/// Whether an element can be pushed on a key, of which TYPE said so.
fn takes_elements(kind: &Value) -> Result<(), Undone> {
    match kind {
        Value::Simple(kind) if matches!(&kind[..], b"list" | b"none") => Ok(()),
        Value::Simple(_) => Err(Undone::NoList),
        Value::Error(error) => Err(Undone::Refused(said(error))),
        _ => Err(Undone::Malformed),
    }
}

/// A string, nothing for nil.
fn text(reply: &Value) -> Result<Option<&[u8]>, Undone> {
    match reply {
        Value::Bulk(text) => Ok(Some(text)),
        Value::Nil => Ok(None),
        Value::Error(error) => Err(Undone::Refused(said(error))),
        _ => Err(Undone::Malformed),
    }
}

/// The step that makes `to` what `from` is.
fn restore(keys: &Pair, expiry: Expiry, replies: &[Value]) -> Result<Step, Undone> {
    let [payload, time] = replies else {
        return Err(Undone::Malformed);
    };
    let payload = text(payload)?.ok_or(Undone::Missing)?;
    let time = match time {
        // It expired between the two readings.
        Value::Int(-2) => return Err(Undone::Missing),
        Value::Int(-1) => 0,
        // 0 would mean for ever: what has less than a millisecond left gets one.
        Value::Int(time) => (*time).max(1),
        Value::Error(error) => return Err(Undone::Refused(said(error))),
        _ => return Err(Undone::Malformed),
    };
    let time = time.to_string();
    let mut command = words(&[b"RESTORE", &keys.to, time.as_bytes(), payload, b"REPLACE"]);
    if expiry == Expiry::Absolute {
        command.push(b"ABSTTL".to_vec());
    }
    Ok(Step {
        slot: slot(&keys.to),
        fenced: true,
        commands: vec![command],
    })
}

/// The step that runs the command on copies of the foreign keys. The name of a key that is missing is one that is missing too.
fn stage(home: u16, command: &Words, foreign: &[Foreign], replies: &[Value]) -> Result<Step, Undone> {
    if replies.len() != foreign.len() {
        return Err(Undone::Malformed);
    }
    let mut command = command.clone();
    let mut commands = Vec::new();
    let mut temporaries = words(&[b"DEL"]);
    for (number, (one, reply)) in foreign.iter().zip(replies).enumerate() {
        let name = temporary(home, number);
        for place in &one.places {
            command[*place].clone_from(&name);
        }
        if let Some(payload) = text(reply)? {
            commands.push(words(&[b"RESTORE", &name, b"0", payload, b"REPLACE"]));
            temporaries.push(name);
        }
    }
    commands.push(command);
    if temporaries.len() > 1 {
        commands.push(temporaries);
    }
    Ok(Step {
        slot: home,
        fenced: true,
        commands,
    })
}

fn temporary(home: u16, number: usize) -> Vec<u8> {
    let (prefix, tag) = (staging::KEY_PREFIX, tag_of(home));
    format!("{prefix}:{{{tag}}}:cross:{number}").into_bytes()
}

#[cfg(test)]
mod tests;
