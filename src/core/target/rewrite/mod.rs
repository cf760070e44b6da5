//! Writing a value with ordinary commands, where `RESTORE` cannot: elements in, commands out.
//!
//! Owns which commands make a value of each type, in the dialect of the target. Promises that nothing is left of the value's meaning that the
//! target could hold: what it cannot hold is given as [`Lost`], never dropped; that a command carries no more than about [`PIECE_BYTES`] of
//! elements, however large the value is; and that writing the same elements again after some of them, as a resumed full sync does, comes to
//! the same value. Leaves to [`super::restore`] how the commands get there, to the pipeline under which name the value is written, and the
//! key's own expiry.
//!
//! | type | commands | written twice it is the same because |
//! | --- | --- | --- |
//! | string | `SET`, then `SETRANGE` | a range has its place |
//! | list | `RPUSH` | whoever resumes trims it first |
//! | set, sorted set, hash | `SADD`, `ZADD`, `HSET` (`HMSET` before 4.0), `HPEXPIREAT` | elements have names |
//! | stream | see [`stream`] | entries have ids, and whoever resumes skips those that are there |

mod ability;
pub mod stream;
#[cfg(test)]
mod tests;

pub use ability::Ability;

use bytes::{Bytes, BytesMut};

use crate::core::rdb::value::Element;
use crate::core::resp;
use stream::Stream;

/// About so many bytes of elements are in a command. An element that is larger is a command of its own.
pub const PIECE_BYTES: usize = 64 << 10;

/// Encoded commands.
#[derive(Debug, Default)]
pub struct Commands {
    /// One after the other.
    pub bytes: BytesMut,
    /// How many.
    pub count: usize,
}

impl Commands {
    /// Appends one.
    pub fn push(&mut self, args: &[&[u8]]) {
        resp::encode_command(&mut self.bytes, args);
        self.count += 1;
    }

    /// Takes them all.
    pub fn take(&mut self) -> Commands {
        Commands {
            bytes: std::mem::take(&mut self.bytes),
            count: std::mem::take(&mut self.count),
        }
    }
}

/// Something that the target cannot hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Why.
    pub reason: String,
    /// The command that a target which can hold it would have got.
    pub command: Bytes,
}

impl Lost {
    /// Of this key; `command` is what it would have got.
    fn of(key: &[u8], reason: &str, command: Bytes) -> Lost {
        Lost {
            reason: format!("key {}: {reason}", String::from_utf8_lossy(key)),
            command,
        }
    }
}

/// Writes one value.
#[derive(Debug)]
pub struct Rewriter {
    /// The name that the commands carry.
    name: Bytes,
    /// The key that the value is of: what is lost is told by it.
    key: Bytes,
    ability: Ability,
    out: Commands,
    open: Open,
    /// Fields of the open command that expire, in its order.
    expiring: Vec<(i64, Bytes)>,
    stream: Stream,
    /// How many elements have been taken; of a string, bytes; of a stream, entries.
    taken: u64,
    /// How many of them are in commands that have been given.
    closed: u64,
    lost: Vec<Lost>,
}

/// The command that is being filled.
#[derive(Debug, Default)]
struct Open {
    verb: &'static [u8],
    args: BytesMut,
    count: usize,
}

impl Rewriter {
    /// Writes the value of `key` under `name`; `resumed` says that some of it was written before: see [`Rewriter::skip`].
    #[must_use]
    pub fn new(name: Bytes, key: Bytes, ability: Ability, resumed: bool) -> Rewriter {
        Rewriter {
            name,
            key,
            ability,
            out: Commands::default(),
            open: Open::default(),
            expiring: Vec::new(),
            stream: Stream::new(resumed),
            taken: 0,
            closed: 0,
            lost: Vec::new(),
        }
    }

    /// Takes the next element. Pieces of a module's value are nothing that a command could write: they are not to be given.
    pub fn element(&mut self, element: Element) {
        match element {
            Element::Text(text) => self.text(&text),
            Element::Item(item) => self.add(b"RPUSH", &[&item]),
            Element::Member(member) => self.add(b"SADD", &[&member]),
            Element::Scored { member, score } => {
                let score = format!("{score:?}");
                self.add(b"ZADD", &[score.as_bytes(), &member]);
            }
            Element::Field {
                name,
                value,
                expire_at_ms,
            } => self.field(&name, &value, expire_at_ms),
            Element::Module(_) => debug_assert!(false, "modules' values are never rewritten"),
            element => self.stream_element(element),
        }
    }

    /// Counts elements that are written already.
    pub fn skip(&mut self, elements: u64) {
        self.taken += elements;
        self.closed = self.taken;
    }

    /// Says beforehand which pending entries of a stream are of entries that are gone. See [`stream::Dangling`].
    pub fn prepare(&mut self, dangling: stream::Dangling) {
        let (stream, mut to) = self.stream();
        stream.prepare(&mut to, dangling);
    }

    /// There are no more elements.
    pub fn finish(&mut self, is_text: bool) {
        self.close();
        let (stream, mut to) = self.stream();
        stream.finish(&mut to);
        if is_text && self.taken == 0 {
            self.out.push(&[b"SET", &self.name, b""]);
        }
        self.closed = self.taken;
    }

    /// Gives the command that is being filled as it is.
    pub fn close(&mut self) {
        if self.open.count > 0 {
            resp::write_array_header(&mut self.out.bytes, self.open.count + 2);
            resp::write_bulk(&mut self.out.bytes, self.open.verb);
            resp::write_bulk(&mut self.out.bytes, &self.name);
            self.out.bytes.extend_from_slice(&self.open.args);
            self.out.count += 1;
            self.open.args.clear();
            self.open.count = 0;
            self.expire_fields();
        }
        self.closed = self.taken;
    }

    /// The commands so far, without the one that is being filled.
    pub fn commands(&mut self) -> &mut Commands {
        &mut self.out
    }

    /// How many elements are in commands that have been given; of a string, bytes.
    #[must_use]
    pub fn closed(&self) -> u64 {
        self.closed
    }

    /// How many elements there have been.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// The groups of the stream, and how many pending entries each has.
    #[must_use]
    pub fn groups(&self) -> &[(Bytes, u64)] {
        self.stream.groups()
    }

    /// What the target cannot hold, of what was taken since the last call.
    pub fn take_lost(&mut self) -> Vec<Lost> {
        std::mem::take(&mut self.lost)
    }

    fn text(&mut self, text: &[u8]) {
        for piece in text.chunks(PIECE_BYTES) {
            match self.taken {
                0 => self.out.push(&[b"SET", &self.name, piece]),
                at => {
                    let mut digits = itoa::Buffer::new();
                    let at = digits.format(at).as_bytes();
                    self.out.push(&[b"SETRANGE", &self.name, at, piece]);
                }
            }
            self.taken += piece.len() as u64;
        }
        self.closed = self.taken;
    }

    /// Adds one element to the open command.
    fn add(&mut self, verb: &'static [u8], args: &[&[u8]]) {
        let bytes: usize = args.iter().map(|arg| arg.len()).sum();
        if self.open.count > 0 && self.open.args.len() + bytes > PIECE_BYTES {
            self.close();
        }
        self.open.verb = verb;
        for arg in args {
            resp::write_bulk(&mut self.open.args, arg);
        }
        self.open.count += args.len();
        self.taken += 1;
    }

    fn field(&mut self, name: &Bytes, value: &Bytes, expire_at_ms: Option<i64>) {
        self.add(self.ability.hash_verb, &[name, value]);
        if let Some(at) = expire_at_ms {
            self.expiring.push((at, name.clone()));
        }
    }

    /// Sets the expiry of fields that have just been written; those of one moment that follow each other together.
    fn expire_fields(&mut self) {
        let expiring = std::mem::take(&mut self.expiring);
        for run in expiring.chunk_by(|(a, _), (b, _)| a == b) {
            let Some((at, _)) = run.first() else { continue };
            let (at, count) = ((*at).max(0).to_string(), run.len().to_string());
            let command = |key: &Bytes| {
                let mut args: Vec<&[u8]> =
                    vec![b"HPEXPIREAT", key, at.as_bytes(), b"FIELDS", count.as_bytes()];
                args.extend(run.iter().map(|(_, name)| &name[..]));
                let mut bytes = BytesMut::new();
                resp::encode_command(&mut bytes, &args);
                bytes
            };
            if self.ability.fields_expire {
                self.out.bytes.extend_from_slice(&command(&self.name));
                self.out.count += 1;
                continue;
            }
            let reason = "the target's hash fields cannot expire (Redis before 7.4, Valkey before 9.0)";
            self.lost
                .push(Lost::of(&self.key, reason, command(&self.key).freeze()));
        }
    }

    fn stream(&mut self) -> (&mut Stream, stream::Writing<'_>) {
        let to = stream::Writing {
            name: &self.name,
            key: &self.key,
            ability: self.ability,
            out: &mut self.out,
            lost: &mut self.lost,
        };
        (&mut self.stream, to)
    }

    fn stream_element(&mut self, element: Element) {
        let is_entry = matches!(element, Element::Entry { .. });
        let (stream, mut to) = self.stream();
        stream.element(&mut to, element);
        if is_entry {
            self.taken += 1;
            self.closed = self.taken;
        }
    }
}
