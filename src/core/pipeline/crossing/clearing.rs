//! Deletions with which a shard of Valkey clears what it has given away as a whole: they are of no client, and the keys live on at another shard. Without I/O.
//!
//! Nothing marks them. At some moment after the slots have gone the shard deletes all their keys, each by a `DEL` or `UNLINK` of its own, in one run which nothing
//! interrupts; a client's own look the same. So a deletion is held until it is known whose the slot is after it:
//!
//! ```text
//! stream  --- SET --- UNLINK --x--------x------      x: ticks. What the second says of slots was asked after the first had said
//!                      ^                             how far the stream was: after the deletion.
//! ```
//!
//! | by the second tick behind it the slot is | and an export of it is under way, or its slots have not been seen gone before | and in the stream up to there the deletion is | it is |
//! | --- | --- | --- | --- |
//! | this shard's, and in the stream up to there it does not begin to come back | - | - | a client's |
//! | another's, or it had gone and begins to come back | no: it went key by key | - | a client's |
//! | the same | yes | not in the last run that touches the slot, or behind the run comes something else of the slot, or another run that touches a slot of the same export | a client's |
//! | the same | yes | in the last run that touches the slot, and the last that touches any of the export | left out |
//!
//! A client's deletions right before are in one run with the shard's. They are not lost: they are also the last that the import of the other shard brings of these slots,
//! and that shard's stream gives them back where its window ends ([`super::windows`]).

use std::collections::{BTreeSet, HashMap};

use super::ticks::Tick;
use super::windows::covers;
use crate::core::command::marker::{Marker, Ranges, marker};
use crate::core::command::{self, Command, Kind};
use crate::core::position::Offset;
use crate::core::resp::Frame;
use crate::core::topology::jobs::Export;

/// Whose a deletion is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// A client's, or it deletes what is to be deleted.
    Clients,
    /// The shard clears what it has given away.
    Shards,
    /// It is not known yet.
    Unknown,
}

/// Whether this is what a shard clears a key with.
#[must_use]
pub fn is_single(frame: &Frame<'_>, command: &Command) -> bool {
    matches!(command.kind, Kind::Del | Kind::Unlink) && frame.arg_count() == 2
}

/// Notes which exports are over by a tick that the stream has passed, with their slots known to be `away` since: what is deleted behind it is left out for that. An
/// export may be over, and the slots claimed by both, some moments before the shard deletes their keys. What was over by the first tick, with the slots at this shard, was
/// long before.
pub fn note_gone(
    gone: &mut BTreeSet<String>,
    tick: &Tick,
    name: &str,
    is_first: bool,
    away: impl Fn(u16) -> bool,
) {
    let exports = tick.exports(name).unwrap_or_default();
    gone.retain(|one| exports.iter().any(|export| export.name == *one));
    for export in exports.iter().filter(|export| export.is_over) {
        let slot = export.slots.first().map(|(first, _)| *first);
        if slot.is_some_and(|slot| away(slot) || is_first && tick.owner(slot) == Some(name)) {
            gone.insert(export.name.clone());
        }
    }
}

/// Slots have come back: what had given them away is over.
pub fn note_back(gone: &mut BTreeSet<String>, tick: &Tick, name: &str, slots: &Ranges) {
    let exports = tick.exports(name).unwrap_or_default();
    let is_it = |one: &&Export| one.is_over && one.slots.iter().any(|(first, _)| covers(slots, *first));
    gone.extend(exports.iter().filter(is_it).map(|one| one.name.clone()));
}

/// The slots of each export with this slot by that shard which is under way, or is over without its slots having been seen to be `gone` before.
pub fn exported<'a>(
    name: &str,
    slot: u16,
    gone: &'a BTreeSet<String>,
    now: &'a Tick,
) -> impl Iterator<Item = &'a Ranges> {
    let exports = now.exports(name).unwrap_or_default();
    let is_it = move |one: &&Export| covers(&one.slots, slot) && !gone.contains(&one.name);
    exports.iter().filter(is_it).map(|one| &one.slots)
}

/// The runs of single deletions in a stretch of a stream.
#[derive(Debug)]
pub struct Runs {
    from: Offset,
    at: Offset,
    /// Where the run begins that has not ended.
    run: Option<Offset>,
    /// Where the last run that touches a slot begins; nothing where something else of the slot has come behind it.
    last: HashMap<u16, Option<Offset>>,
    /// Where a slot begins to come back, and what its last run was then.
    back: HashMap<u16, Vec<(Offset, Option<Offset>)>>,
    in_transaction: bool,
    /// Where the last run of each slot begins before it comes back, in order; when all is taken in.
    ordered: Vec<(Offset, u16)>,
}

impl Runs {
    /// Of a stretch that begins there.
    #[must_use]
    pub fn new(from: Offset) -> Runs {
        Runs {
            from,
            at: from,
            run: None,
            last: HashMap::new(),
            back: HashMap::new(),
            in_transaction: false,
            ordered: Vec::new(),
        }
    }

    /// All is taken in.
    #[must_use]
    pub fn finish(mut self) -> Runs {
        let gone = self
            .back
            .iter()
            .filter_map(|(slot, all)| Some((all.first()?.1?, *slot)));
        let here = self.last.iter().filter(|(slot, _)| !self.back.contains_key(slot));
        let here = here.filter_map(|(slot, begins)| Some(((*begins)?, *slot)));
        let mut ordered: Vec<(Offset, u16)> = gone.chain(here).collect();
        ordered.sort_unstable();
        self.ordered = ordered;
        self
    }

    /// Takes a command in.
    pub fn take(&mut self, frame: &Frame<'_>) {
        let command = command::of(frame);
        let begins = std::mem::replace(&mut self.at, frame.end());
        match command.kind {
            Kind::Select | Kind::Ping | Kind::Replconf => return,
            Kind::Cluster => return self.mark(frame),
            Kind::Multi | Kind::Exec => self.in_transaction = command.kind == Kind::Multi,
            _ => {}
        }
        let is_single = is_single(frame, command) && !self.in_transaction;
        self.run = is_single.then(|| self.run.unwrap_or(begins));
        for key in command.keys(frame) {
            self.last.insert(command::slot(key.bytes), self.run);
        }
    }

    /// Slots that begin to come had gone before.
    fn mark(&mut self, frame: &Frame<'_>) {
        if let Some(Marker::Opens { slots, .. }) = marker(frame) {
            for slot in slots.iter().flat_map(|(first, last)| *first..=*last) {
                let last = self.last.remove(&slot).flatten();
                self.back.entry(slot).or_default().push((frame.end(), last));
            }
        }
    }

    /// Whether the slot begins to come back behind that.
    #[must_use]
    pub fn comes_back(&self, slot: u16, end: Offset) -> bool {
        self.back_behind(slot, end).is_some()
    }

    fn back_behind(&self, slot: u16, end: Offset) -> Option<&(Offset, Option<Offset>)> {
        self.back.get(&slot)?.iter().find(|(opens, _)| *opens > end)
    }

    /// How far the stretch has been read.
    #[must_use]
    pub fn position(&self) -> Offset {
        self.at
    }

    /// Whether the stretch holds what ends there.
    #[must_use]
    pub fn holds(&self, end: Offset) -> bool {
        self.from < end && end <= self.at
    }

    /// Whether the deletion that ends there is in the last run that touches the slot before it comes back, with nothing of the slot behind it, and no
    /// other run behind it that touches one of `exported`: all of them are cleared in one.
    #[must_use]
    pub fn is_last(&self, slot: u16, end: Offset, exported: &Ranges) -> bool {
        let begins = match self.back_behind(slot, end) {
            Some((_, last)) => *last,
            None => self.last.get(&slot).copied().flatten(),
        };
        begins.is_some_and(|begins| {
            let behind = self.ordered.partition_point(|(one, _)| *one <= begins);
            let mut behind = self.ordered[behind..].iter();
            begins < end && !behind.any(|(_, other)| covers(exported, *other))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::ticks::Ticks;
    use super::super::ticks::tests::samples;
    use super::*;
    use crate::core::resp::{Framer, encode_command};

    /// Which of the commands (by place) are in the last run of their slot.
    fn last(commands: &[&str]) -> Vec<usize> {
        let mut bytes = bytes::BytesMut::new();
        for command in commands {
            let args: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
            encode_command(&mut bytes, &args);
        }
        let mut framer = Framer::default();
        framer.push(Offset::ZERO, bytes.freeze()).unwrap();
        let (mut runs, mut deletions) = (Runs::new(Offset::ZERO), Vec::new());
        let mut place = 0;
        while let Some(frame) = framer.next().unwrap() {
            let command = command::of(&frame);
            if is_single(&frame, command) {
                let slot = command.keys(&frame).next().map(|key| command::slot(key.bytes));
                deletions.push((place, slot.unwrap(), frame.end()));
            }
            runs.take(&frame);
            place += 1;
        }
        let runs = runs.finish();
        let all = vec![(0, 16_383)];
        let is_last = |(_, slot, end): &&(usize, u16, Offset)| runs.is_last(*slot, *end, &all);
        deletions
            .iter()
            .filter(is_last)
            .map(|(place, ..)| *place)
            .collect()
    }

    const BACK: &str = "CLUSTER SYNCSLOTS ESTABLISH SOURCE b NAME id SLOTSRANGE 0 16383";

    #[test]
    fn the_last_run_of_a_slot_is_that_behind_which_nothing_of_it_comes() {
        for (commands, expected) in [
            (&["UNLINK {a}1", "UNLINK {a}2"][..], &[0, 1][..]),
            // A client writes on: it was a client's.
            (&["UNLINK {a}1", "SET {a}1 x"], &[]),
            // Something else lies between: only what comes behind it is the run.
            (&["DEL {a}1", "SET {b}1 x", "UNLINK {a}2", "UNLINK {c}2"], &[2, 3]),
            // Nothing was left to clear.
            (&["DEL {a}1", "SET {b}1 x"], &[0]),
            (&["DEL {a}1", "SELECT 0", "UNLINK {a}2"], &[0, 2]),
            (&["MULTI", "DEL {a}1", "EXEC", "UNLINK {a}2"], &[3]),
            (&["DEL {a}1 {a}2", "UNLINK {a}2"], &[1]),
            // A client deleted the only key of a slot; the clearing, which finds nothing of it, comes later.
            (&["DEL {a}1", "SET {b}1 x", "UNLINK {c}2"], &[2]),
            // It comes back, and what is imported and deleted then is another matter.
            (
                &["UNLINK {a}1", BACK, "SET {a}1 x", "UNLINK {a}3", "SET {a}3 x"],
                &[0],
            ),
        ] {
            assert_eq!(last(commands), expected, "{commands:?}");
        }
    }

    #[test]
    fn only_an_export_whose_slots_were_not_known_away_counts() {
        let tick = |owner: &str, is_over: bool| {
            let all: &[(u16, u16)] = &[(0, 9)];
            let of = |name| if name == owner { all } else { &[] };
            let mut tick = samples(&[("a", 10, of("a"), &[]), ("b", 10, of("b"), &[])]);
            let export = Export {
                name: "one".to_owned(),
                slots: vec![(3, 7)],
                is_over,
            };
            tick.get_mut("a").unwrap().exports = Some(vec![export]);
            Ticks::default().take(tick)
        };
        for (passed, slot, expected) in [
            (&[("a", false, false)][..], 5, true),
            // It is over, and its keys are still to be deleted.
            (&[("a", false, false), ("a", true, false)], 5, true),
            (&[("a", false, false), ("b", true, false)], 5, true),
            (&[("a", false, false), ("b", false, true)], 5, true),
            (&[("a", false, false), ("b", true, true)], 5, false),
            (&[("a", false, false)], 8, false),
            // It was long ago, and the slots have come back.
            (&[("a", true, false)], 5, false),
        ] {
            let mut gone = BTreeSet::new();
            for (number, (owner, is_over, is_away)) in passed.iter().enumerate() {
                let tick = tick(owner, *is_over);
                note_gone(&mut gone, &tick, "a", number == 0, |_| *is_away);
            }
            let counts = exported("a", slot, &gone, &tick("b", true)).next().is_some();
            assert_eq!(counts, expected, "{passed:?} {slot}");
        }
    }
}
