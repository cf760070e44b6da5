//! What each slot is to one shard's stream, as far as that has been read. Without I/O.
//!
//! | slot | means | a command of it | becomes |
//! | --- | --- | --- | --- |
//! | settled | its keys are this shard's alone | is free | away, where a tick that the stream has passed shows it at another shard |
//! | away | it is another shard's | DEL, UNLINK: dropped, the shard clears what it has given away; any other: foreign | foreign, by any other, and where a tick that the stream has passed shows it here |
//! | foreign | it is on its way here | waits for its causes in the streams of the other shards | settled, where a tick shows it here alone and everything up to that tick is applied |
//!
//! At the beginning all are settled, and the ticks that the stream has passed before say what is away. Between the last of these and the first that is to come nobody
//! has looked, which may have been long: what is away by the one and may be here by the other is foreign ([`Slots::doubt`]); and until that first tick is
//! there, nothing of what is away is left out.

use super::ticks::{Claim, Tick};
use crate::core::command::SLOTS;
use crate::core::command::marker::Ranges;
use crate::core::position::Offset;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    /// By the tick of that number; what older ones show the stream has yet to pass, and it is over.
    Settled(u64),
    /// Since the stream was there.
    Away(Offset),
    /// Since what ends there.
    Foreign(Offset),
}

/// What may become of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It goes on.
    Free,
    /// It waits for its causes.
    Foreign,
    /// It is left out.
    Void,
}

/// A command as the table sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// `RESTORE-ASKING`: a key comes from another shard.
    Arrives,
    /// `DEL`, `UNLINK`.
    Deletes,
    /// Any other.
    Other,
}

/// The slots of one shard's stream.
#[derive(Debug)]
pub struct Slots {
    slots: Vec<Slot>,
    foreign: usize,
    /// Goes up with each slot that becomes foreign.
    turns: u64,
    /// The first tick that is to come is not known.
    is_blind: bool,
}

impl Default for Slots {
    /// All are settled.
    fn default() -> Slots {
        Slots {
            slots: vec![Slot::Settled(0); usize::from(SLOTS)],
            foreign: 0,
            turns: 0,
            is_blind: false,
        }
    }
}

impl Slots {
    /// Whether some slot is on its way here.
    #[must_use]
    pub fn has_foreign(&self) -> bool {
        self.foreign > 0
    }

    /// Goes up with each slot that becomes foreign.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.turns
    }

    /// Whether this slot is another shard's.
    #[must_use]
    pub fn is_away(&self, slot: u16) -> bool {
        matches!(self.slots[usize::from(slot)], Slot::Away(_)) && !self.is_blind
    }

    /// Whether this slot is on its way here.
    #[must_use]
    pub fn is_foreign(&self, slot: u16) -> bool {
        matches!(self.slots[usize::from(slot)], Slot::Foreign(_))
    }

    /// The ticks before have been passed; the first that is to come is not known until [`Slots::doubt`] brings it.
    pub fn close_eyes(&mut self) {
        self.is_blind = true;
    }

    /// Whether the first tick that is to come is still missing.
    #[must_use]
    pub fn is_blind(&self) -> bool {
        self.is_blind
    }

    /// The stream is at `from`, between these two ticks, and what lies between them is not all known.
    pub fn doubt(&mut self, last: &Tick, first: &Tick, name: &str, from: Offset) {
        self.is_blind = false;
        for (slot, claim) in first.claims(name) {
            let stays_away = claim == Claim::Anothers { moves: false } && !last.moves_slot(slot);
            if let (Slot::Away(_), false) = (self.slots[usize::from(slot)], stays_away) {
                self.make_foreign(slot, from);
            }
        }
    }

    fn make_foreign(&mut self, slot: u16, since: Offset) {
        self.slots[usize::from(slot)] = Slot::Foreign(since);
        self.foreign += 1;
        self.turns += 1;
    }

    /// Whether something of this slot, which is foreign, has come behind that.
    #[must_use]
    pub fn has_come_since(&self, slot: u16, before: Offset) -> bool {
        match self.slots[usize::from(slot)] {
            Slot::Foreign(since) => since > before,
            Slot::Settled(_) | Slot::Away(_) => false,
        }
    }

    /// What becomes of a command of that slot that ends at `end`.
    pub fn judge(&mut self, slot: u16, act: Act, end: Offset) -> Standing {
        let now = &mut self.slots[usize::from(slot)];
        match (*now, act) {
            (Slot::Settled(_), Act::Deletes | Act::Other) => Standing::Free,
            (Slot::Away(_), Act::Deletes) if self.is_blind => Standing::Foreign,
            (Slot::Away(_), Act::Deletes) => Standing::Void,
            (Slot::Foreign(_), Act::Deletes | Act::Other) => Standing::Foreign,
            (Slot::Foreign(since), Act::Arrives) => {
                *now = Slot::Foreign(since.max(end));
                Standing::Foreign
            }
            (Slot::Settled(_), Act::Arrives) | (Slot::Away(_), Act::Arrives | Act::Other) => {
                self.make_foreign(slot, end);
                Standing::Foreign
            }
        }
    }

    /// Slots have come as a whole with what ends there.
    pub fn arrive(&mut self, ranges: &Ranges, end: Offset) {
        for slot in slots_of(ranges) {
            match &mut self.slots[usize::from(slot)] {
                Slot::Foreign(since) => *since = (*since).max(end),
                Slot::Settled(_) | Slot::Away(_) => self.make_foreign(slot, end),
            }
        }
    }

    /// Slots have gone as a whole with what ends there.
    pub fn leave(&mut self, ranges: &Ranges, end: Offset) {
        for slot in slots_of(ranges) {
            let now = &mut self.slots[usize::from(slot)];
            if matches!(now, Slot::Foreign(_)) {
                self.foreign -= 1;
            }
            *now = Slot::Away(end);
        }
    }

    /// The stream has passed `end`, where it was when the tick was taken: what is another shard's is not this one's any more. At `before` it was
    /// when the tick before was taken: what has come since may be newer than what the tick shows.
    pub fn pass(&mut self, tick: &Tick, name: &str, before: Offset, end: Offset) {
        for (slot, claim) in tick.claims(name) {
            let now = &mut self.slots[usize::from(slot)];
            match (*now, claim) {
                (Slot::Settled(by), Claim::Anothers { .. }) if by < tick.number => *now = Slot::Away(end),
                (Slot::Away(_), Claim::Anothers { .. }) => *now = Slot::Away(end),
                (Slot::Away(_), Claim::Mine) => self.make_foreign(slot, end),
                (Slot::Foreign(since), Claim::Anothers { moves: false }) if since <= before => {
                    *now = Slot::Away(end);
                    self.foreign -= 1;
                }
                _ => {}
            }
        }
    }

    /// Everything up to that tick is applied by the other shards; this one was at `end` then.
    pub fn settle(&mut self, tick: &Tick, name: &str, end: Offset) {
        for (slot, claim) in tick.claims(name) {
            let now = &mut self.slots[usize::from(slot)];
            match (*now, claim) {
                (Slot::Foreign(since), Claim::Mine) if since <= end => {
                    *now = Slot::Settled(tick.number);
                    self.foreign -= 1;
                }
                (Slot::Away(since), Claim::Mine) if since < end => *now = Slot::Settled(tick.number),
                _ => {}
            }
        }
    }
}

fn slots_of(ranges: &Ranges) -> impl Iterator<Item = u16> {
    let all = ranges.iter().flat_map(|(first, last)| *first..=*last);
    all.filter(|slot| *slot < SLOTS)
}

#[cfg(test)]
mod tests {
    use super::super::ticks::Ticks;
    use super::super::ticks::tests::samples;
    use super::*;

    const fn end(n: u64) -> Offset {
        Offset::new(n)
    }

    /// Slot 7 at one of two shards, on its way or not, while b is at `offset`.
    fn tick(of: &str, moves: bool, offset: u64) -> std::sync::Arc<Tick> {
        type Ranges = &'static [(u16, u16)];
        let (at_a, at_b): (Ranges, Ranges) = match of {
            "a" => (&[(7, 7)], &[]),
            _ => (&[], &[(7, 7)]),
        };
        let moving: &[u16] = if moves { &[7] } else { &[] };
        Ticks::default().take(samples(&[("a", 1, at_a, &[]), ("b", offset, at_b, moving)]))
    }

    #[test]
    fn each_row_of_the_table() {
        let fresh = Slots::default;
        let away = || {
            let mut slots = fresh();
            slots.pass(&tick("a", false, 10), "b", end(5), end(10));
            slots
        };
        let foreign = || {
            let mut slots = away();
            assert_eq!(slots.judge(7, Act::Arrives, end(20)), Standing::Foreign);
            slots
        };
        for (slots, act, expected) in [
            (fresh(), Act::Other, Standing::Free),
            (fresh(), Act::Deletes, Standing::Free),
            (fresh(), Act::Arrives, Standing::Foreign),
            (away(), Act::Deletes, Standing::Void),
            (away(), Act::Other, Standing::Foreign),
            (away(), Act::Arrives, Standing::Foreign),
            (foreign(), Act::Deletes, Standing::Foreign),
            (foreign(), Act::Other, Standing::Foreign),
        ] {
            let mut slots = slots;
            assert_eq!(slots.judge(7, act, end(30)), expected, "{act:?}");
        }
    }

    #[test]
    fn a_foreign_slot_settles_only_by_a_tick_behind_what_made_it_so() {
        for (of, moves, offset, settles) in [
            ("b", false, 20, true),
            ("b", false, 19, false),
            ("b", true, 30, false),
            ("a", false, 30, false),
        ] {
            let mut slots = Slots::default();
            slots.judge(7, Act::Arrives, end(20));
            slots.settle(&tick(of, moves, offset), "b", end(offset));
            assert_eq!(!slots.has_foreign(), settles, "{of} {moves} {offset}");
        }
    }

    #[test]
    fn a_slot_whose_import_was_given_up_is_away_again() {
        let mut slots = Slots::default();
        slots.judge(7, Act::Arrives, end(20));
        slots.pass(&tick("a", true, 30), "b", end(10), end(30));
        assert!(slots.is_foreign(7), "it may still come");
        slots.pass(&tick("a", false, 30), "b", end(15), end(30));
        assert!(slots.is_foreign(7), "it may have begun after the tick");
        slots.pass(&tick("a", false, 40), "b", end(30), end(40));
        assert!(!slots.has_foreign());
        assert_eq!(slots.judge(7, Act::Deletes, end(50)), Standing::Void);
    }

    #[test]
    fn what_an_older_tick_shows_does_not_undo_what_a_newer_one_has_settled() {
        let mut ticks = Ticks::default();
        let here: &[(u16, u16)] = &[(7, 7)];
        let older = ticks.take(samples(&[("a", 1, here, &[7]), ("b", 30, &[], &[7])]));
        let newer = ticks.take(samples(&[("a", 1, &[], &[]), ("b", 40, here, &[])]));
        let mut slots = Slots::default();
        slots.judge(7, Act::Arrives, end(20));
        // The stream lags: the others have come up to the newer tick before it has passed the older one.
        slots.settle(&newer, "b", end(40));
        slots.pass(&older, "b", end(10), end(30));
        assert_eq!(slots.judge(7, Act::Deletes, end(35)), Standing::Free);
    }

    #[test]
    fn what_may_have_come_while_nobody_looked_is_foreign() {
        for (last, first, expected) in [
            (("a", false), ("a", false), Standing::Void),
            (("a", false), ("b", false), Standing::Foreign),
            (("a", false), ("a", true), Standing::Foreign),
            (("a", true), ("a", false), Standing::Foreign),
            (("b", false), ("a", false), Standing::Free),
        ] {
            let (before, after) = (tick(last.0, last.1, 10), tick(first.0, first.1, 90));
            let mut slots = Slots::default();
            slots.pass(&before, "b", end(0), end(10));
            slots.close_eyes();
            if expected != Standing::Free {
                assert_eq!(
                    slots.judge(7, Act::Deletes, end(15)),
                    Standing::Foreign,
                    "not yet known"
                );
            }
            slots.doubt(&before, &after, "b", end(12));
            assert_eq!(
                slots.judge(7, Act::Deletes, end(20)),
                expected,
                "{last:?} {first:?}"
            );
        }
    }

    #[test]
    fn slots_that_come_as_a_whole_are_foreign_and_those_that_go_are_away() {
        let mut slots = Slots::default();
        slots.arrive(&vec![(5, 9)], end(20));
        assert_eq!(slots.judge(7, Act::Deletes, end(30)), Standing::Foreign);
        assert_eq!(slots.judge(4, Act::Deletes, end(30)), Standing::Free);
        slots.leave(&vec![(5, 9)], end(40));
        assert!(!slots.has_foreign());
        assert_eq!(slots.judge(7, Act::Deletes, end(50)), Standing::Void);
        assert_eq!(slots.judge(7, Act::Other, end(60)), Standing::Foreign);
    }

    #[test]
    fn a_slot_that_is_back_is_not_away_though_nothing_of_it_was_heard() {
        let mut slots = Slots::default();
        slots.pass(&tick("a", false, 10), "b", end(5), end(10));
        slots.pass(&tick("b", false, 20), "b", end(10), end(20));
        assert_eq!(slots.judge(7, Act::Deletes, end(30)), Standing::Foreign);
    }
}
