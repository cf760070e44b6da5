//! Where another shard's log names keys: read once, from what it has applied on, as far as is wanted.
//!
//! Promises that reading can be broken off at any moment and goes on where it was. Only keys of the slots that are asked for are kept.

use std::collections::HashMap;

use bytes::Bytes;

use super::windows::{Window, covers};
use crate::core::command::marker::{Marker, Ranges, marker};
use crate::core::command::{self, Kind};
use crate::core::log::{self, Reader};
use crate::core::position::Offset;
use crate::core::resp::{Frame, Framer, Limits};

/// Which commands of a log are causes of one in another stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// All up to here.
    UpTo(Offset),
    /// All up to `high`, but not those behind the first arrival in the slot behind `low`: the slot has come back.
    UntilReturn {
        /// Surely before it.
        low: Offset,
        /// Surely behind it.
        high: Offset,
    },
}

/// What a log names, without the log.
#[derive(Debug, Default)]
pub struct Index {
    /// The ends of the commands that name each key.
    keys: HashMap<Bytes, Vec<Offset>>,
    /// The ends of those with which a key of each slot arrives.
    arrivals: HashMap<u16, Vec<Offset>>,
    /// In a transaction: what it names counts to its end.
    open: Option<Vec<(Bytes, bool)>>,
    /// The windows around what comes next: what an import brings is no cause, for it is not applied.
    windows: Vec<(String, Ranges)>,
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
            Kind::Cluster => self.mark(frame, wanted),
            kind => {
                let arrives = kind == Kind::RestoreAsking;
                for key in command.keys(frame) {
                    let slot = command::slot(key.bytes);
                    if wanted(slot) && !self.imports(slot) {
                        self.name(Bytes::copy_from_slice(key.bytes), arrives, frame.end());
                    }
                }
            }
        }
    }

    fn imports(&self, slot: u16) -> bool {
        self.windows.iter().any(|(_, slots)| covers(slots, slot))
    }

    fn mark(&mut self, frame: &Frame<'_>, wanted: impl Fn(u16) -> bool) {
        match marker(frame) {
            Some(Marker::Opens { id, slots, .. }) => {
                // One that is tried again, or whose end a failover has swallowed.
                let overlaps = |(first, last): &(u16, u16)| {
                    let mut all = slots.iter();
                    all.any(|(from, to)| first <= to && from <= last)
                };
                self.windows
                    .retain(|(open, old)| *open != id && !old.iter().any(overlaps));
                self.windows.push((id, slots));
            }
            Some(Marker::Closes { id, arrived }) => {
                let Some(at) = self.windows.iter().position(|(open, _)| *open == id) else {
                    return;
                };
                let (_, slots) = self.windows.remove(at);
                let all = slots.iter().flat_map(|(first, last)| *first..=*last);
                for slot in all.filter(|slot| arrived && wanted(*slot)) {
                    self.arrivals.entry(slot).or_default().push(frame.end());
                }
            }
            Some(Marker::Leave(_)) | None => {}
        }
    }

    fn name(&mut self, key: Bytes, arrives: bool, end: Offset) {
        match &mut self.open {
            Some(open) => open.push((key, arrives)),
            None => self.note(key, arrives, end),
        }
    }

    fn note(&mut self, key: Bytes, arrives: bool, end: Offset) {
        if arrives {
            let slot = command::slot(&key);
            self.arrivals.entry(slot).or_default().push(end);
        }
        self.keys.entry(key).or_default().push(end);
    }

    /// The end of the last command that names the key and counts.
    #[must_use]
    pub fn last_cause(&self, key: &Bytes, counts: Counts) -> Option<Offset> {
        let ends = self.keys.get(key)?;
        let limit = match counts {
            Counts::UpTo(limit) => limit,
            Counts::UntilReturn { low, high } => {
                self.returned(command::slot(key), low).unwrap_or(high).min(high)
            }
        };
        last_up_to(ends, limit)
    }

    /// Just before the first arrival in the slot behind `low`.
    fn returned(&self, slot: u16, low: Offset) -> Option<Offset> {
        let arrivals = self.arrivals.get(&slot)?;
        let first = arrivals.get(arrivals.partition_point(|end| *end <= low))?;
        Some(Offset::new(first.get() - 1))
    }
}

fn last_up_to(ends: &[Offset], limit: Offset) -> Option<Offset> {
    let counts = ends.partition_point(|end| *end <= limit);
    counts.checked_sub(1).map(|last| ends[last])
}

/// A log being read for the keys it names.
#[derive(Debug)]
pub struct Named {
    reader: Reader,
    framer: Framer,
    index: Index,
}

impl Named {
    /// Reads with this reader, which begins between two commands, in these windows.
    #[must_use]
    pub fn new(reader: Reader, windows: &[Window]) -> Named {
        let open = windows
            .iter()
            .map(|one| (one.id().to_owned(), one.slots().clone()));
        Named {
            reader,
            framer: Framer::new(Limits::default()),
            index: Index {
                windows: open.collect(),
                ..Index::default()
            },
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

    /// Which command is the last cause; all counted from 1.
    fn cause(commands: &[&str], counts: impl FnOnce(&dyn Fn(usize) -> Offset) -> Counts) -> usize {
        let (index, ends) = index(commands);
        let counts = counts(&|n| Offset::new(n.checked_sub(1).map_or(0, |n| ends[n])));
        let last = index.last_cause(&Bytes::from_static(b"k"), counts);
        last.map_or(0, |last| {
            ends.iter().position(|end| *end == last.get()).unwrap() + 1
        })
    }

    #[test]
    fn the_last_command_that_names_the_key_is_its_cause() {
        let moved = ["SET k 1", "SET other 1", "DEL other k", "SET other 2"];
        for (commands, limit, expected) in [
            (&moved[..], 4, 3),
            (&moved[..], 2, 1),
            (&["SET other 1"][..], 1, 0),
            // In a transaction it counts to the end.
            (&["MULTI", "INCR k", "EXEC"][..], 3, 3),
        ] {
            let last = cause(commands, |at| Counts::UpTo(at(limit)));
            assert_eq!(last, expected, "{commands:?} {limit}");
        }
    }

    #[test]
    fn what_an_import_brings_is_no_cause_and_its_end_is_the_slots_return() {
        let task = |state: &str| format!("CLUSTER SYNCSLOTS CONF ASM-TASK id:a:b:import:{state}:0-16383");
        let (opens, arrives, fails) = (task("connecting"), task("completed"), task("failed"));
        let back = ["SET k 1", &opens, "SET k 2", &arrives, "SET k 3"];
        let kept = ["SET k 1", &opens, "SET k 2", &fails, "SET k 3"];
        for (commands, low, high, expected) in [
            (&back[..], 0, 3, 1),
            (&back[..], 0, 5, 1),
            (&back[..], 4, 5, 5),
            (&kept[..], 0, 5, 5),
        ] {
            let last = cause(commands, |at| Counts::UntilReturn {
                low: at(low),
                high: at(high),
            });
            assert_eq!(last, expected, "{commands:?} {low} {high}");
        }
    }

    #[test]
    fn what_follows_the_slots_return_is_no_cause() {
        let back = ["SET k 1", "DEL k", "RESTORE-ASKING {k}o 0 x", "SET k 2", "DEL k"];
        for (low, high, expected) in [
            (0, 5, 2),
            (0, 1, 1),
            // It had come back before.
            (3, 5, 5),
        ] {
            let last = cause(&back, |at| Counts::UntilReturn {
                low: at(low),
                high: at(high),
            });
            assert_eq!(last, expected, "{low} {high}");
        }
    }
}
