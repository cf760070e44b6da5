//! Where another shard's log names keys: read once, from what it has applied on, as far as is wanted.
//!
//! Promises that reading can be broken off at any moment and goes on where it was. Only keys of the slots that are asked for are kept.

use std::collections::HashMap;

use bytes::Bytes;

use crate::core::command::{self, Kind};
use crate::core::log::{self, Reader};
use crate::core::position::Offset;
use crate::core::resp::{Frame, Framer, Limits};

/// A command that names a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Naming {
    end: Offset,
    /// The key arrives there.
    arrives: bool,
}

/// What a log names, without the log.
#[derive(Debug, Default)]
pub struct Index {
    keys: HashMap<Bytes, Vec<Naming>>,
    /// In a transaction: what it names counts to its end.
    open: Option<Vec<(Bytes, bool)>>,
}

impl Index {
    /// Takes a command in.
    pub fn take(&mut self, frame: &Frame<'_>, wanted: impl Fn(u16) -> bool) {
        let command = command::of(frame);
        match command.kind {
            Kind::Multi => self.open = Some(Vec::new()),
            Kind::Exec | Kind::Discard => {
                for (key, arrives) in self.open.take().unwrap_or_default() {
                    self.note(key, arrives, frame.end());
                }
            }
            kind => {
                let arrives = kind == Kind::RestoreAsking;
                for key in command.keys(frame) {
                    if wanted(command::slot(key.bytes)) {
                        self.name(Bytes::copy_from_slice(key.bytes), arrives, frame.end());
                    }
                }
            }
        }
    }

    fn name(&mut self, key: Bytes, arrives: bool, end: Offset) {
        match &mut self.open {
            Some(open) => open.push((key, arrives)),
            None => self.note(key, arrives, end),
        }
    }

    fn note(&mut self, key: Bytes, arrives: bool, end: Offset) {
        self.keys.entry(key).or_default().push(Naming { end, arrives });
    }

    /// The end of the last command that is a cause of one on these keys that lies surely behind `low` and surely before `high`:
    /// what follows an arrival of the key behind `low` comes after it.
    #[must_use]
    pub fn last_cause(&self, keys: &[Bytes], low: Offset, high: Offset) -> Option<Offset> {
        let of = |key| self.keys.get(key).map(|all| last_cause(all, low, high));
        keys.iter().filter_map(of).flatten().max()
    }
}

fn last_cause(all: &[Naming], low: Offset, high: Offset) -> Option<Offset> {
    let counts = |one: &&Naming| one.end <= low || (one.end <= high && !one.arrives);
    all.iter().take_while(counts).map(|one| one.end).last()
}

/// A log being read for the keys it names.
#[derive(Debug)]
pub struct Named {
    reader: Reader,
    framer: Framer,
    index: Index,
}

impl Named {
    /// Reads with this reader, which begins between two commands.
    #[must_use]
    pub fn new(reader: Reader) -> Named {
        Named {
            reader,
            framer: Framer::new(Limits::default()),
            index: Index::default(),
        }
    }

    /// Reads up to `high`, which must be there. Cancel safe.
    ///
    /// # Errors
    /// The log has begun anew, or cannot be read.
    pub async fn read_to(&mut self, high: Offset, wanted: impl Fn(u16) -> bool) -> Result<(), log::Error> {
        // Of a history that the log has left nothing counts, however much was read of it.
        self.reader.history()?;
        while self.reader.position() < high {
            let chunk = self.reader.next().await?;
            if self.framer.push(chunk.start, chunk.bytes).is_err() {
                return Ok(());
            }
            while let Ok(Some(frame)) = self.framer.next() {
                self.index.take(&frame, &wanted);
            }
        }
        Ok(())
    }

    /// How far it has been read.
    #[must_use]
    pub fn position(&self) -> Offset {
        self.reader.position()
    }

    /// What has been read so far.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;

    fn index(commands: &[&str]) -> (Index, Vec<u64>) {
        let mut framer = Framer::default();
        let mut bytes = BytesMut::new();
        for command in commands {
            let args: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
            crate::core::resp::encode_command(&mut bytes, &args);
        }
        framer.push(Offset::ZERO, bytes.freeze()).unwrap();
        let (mut index, mut ends) = (Index::default(), Vec::new());
        while let Some(frame) = framer.next().unwrap() {
            index.take(&frame, |_| true);
            ends.push(frame.end().get());
        }
        (index, ends)
    }

    /// Which command is the last cause, with `low` and `high` at the ends of commands; all counted from 1.
    fn cause(commands: &[&str], low: usize, high: usize) -> usize {
        let (index, ends) = index(commands);
        let at = |n: usize| Offset::new(n.checked_sub(1).map_or(0, |n| ends[n]));
        let last = index.last_cause(&[Bytes::from_static(b"k")], at(low), at(high));
        last.map_or(0, |last| {
            ends.iter().position(|end| *end == last.get()).unwrap() + 1
        })
    }

    #[test]
    fn the_last_command_that_names_the_key_is_its_cause() {
        let moved = ["SET k 1", "SET other 1", "DEL other k", "SET other 2"];
        let back = ["SET k 1", "DEL k", "RESTORE-ASKING k 0 x", "SET k 2", "DEL k"];
        for (commands, low, high, expected) in [
            (&moved[..], 0, 4, 3),
            (&moved[..], 0, 2, 1),
            (&["SET other 1"][..], 0, 1, 0),
            // It comes back only after it has come here.
            (&back[..], 0, 5, 2),
            // It had come back before it came here.
            (&back[..], 3, 5, 5),
            // In a transaction it counts to the end.
            (&["MULTI", "INCR k", "EXEC"][..], 0, 3, 3),
        ] {
            assert_eq!(cause(commands, low, high), expected, "{commands:?} {low} {high}");
        }
    }
}
