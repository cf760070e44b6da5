//! Ticks: how far every shard's stream was, and whose each slot was, at about one moment. Without I/O.
//!
//! ```text
//! tick     1        2                  3         4
//! A     ---x--------x------------------x---------x------->
//! B     ----x--------x-----e------------x---------x------>      e: an event in B's stream
//! C     -----x--------x------------------x---------x----->
//! ```
//!
//! The masters are asked one after the other, in the order of their names. The first tick that has `e` is 3: what C said then, after B, is surely
//! behind `e`, but of A only 4 is. Before `e` is surely what A said in 2, and of C what it said in 1. Owns that rule. Promises a
//! bounded number of ticks: when there are too many, every other one goes, which makes waits longer and nothing wrong.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use crate::core::command::SLOTS;
use crate::core::position::{History, Offset, Position};
use crate::core::topology::jobs::Export;
use crate::core::topology::sample::Sample;

/// So many are kept.
const TICKS_MAX: usize = 4096;

const NOBODY: u16 = u16::MAX;
const SEVERAL: u16 = u16::MAX - 1;

/// Who claims a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// This shard, and no other.
    Mine,
    /// Another one, and no other; `moves` where some node says that it is on its way.
    Anothers {
        /// It is on its way.
        moves: bool,
    },
    /// Nobody, or several, or this one while it is on its way.
    Unclear,
}

/// Whose each slot is, as the masters say.
#[derive(Debug, PartialEq, Eq)]
struct Claims {
    names: Vec<String>,
    of: Vec<u16>,
    moving: BTreeSet<u16>,
    /// Whether some come or go as a whole; nothing where no server can do that.
    atomic: Option<bool>,
    /// Of each shard that deletes one by one what it has given away.
    exports: BTreeMap<String, Vec<Export>>,
}

impl Claims {
    fn new(samples: &BTreeMap<String, Sample>) -> Claims {
        let mut of = vec![NOBODY; usize::from(SLOTS)];
        for (index, sample) in samples.values().enumerate() {
            let index = u16::try_from(index).unwrap_or(SEVERAL);
            let ranges = sample.slots.iter().flat_map(|(first, last)| *first..=*last);
            for slot in ranges.filter(|slot| *slot < SLOTS) {
                let claim = &mut of[usize::from(slot)];
                *claim = if *claim == NOBODY { index } else { SEVERAL };
            }
        }
        Claims {
            names: samples.keys().cloned().collect(),
            of,
            moving: samples
                .values()
                .flat_map(|sample| sample.moving.clone())
                .collect(),
            atomic: samples.values().filter_map(|sample| sample.atomic).max(),
            exports: samples
                .iter()
                .filter_map(|(name, sample)| Some((name.clone(), sample.exports.clone()?)))
                .collect(),
        }
    }
}

/// One sample of all masters.
#[derive(Debug)]
pub struct Tick {
    /// Counts up.
    pub number: u64,
    /// When it was taken, or read back.
    pub taken_at: Instant,
    at: BTreeMap<String, Position>,
    /// Ticks between which nothing has changed share it.
    claims: Arc<Claims>,
}

impl Tick {
    fn new(number: u64, samples: BTreeMap<String, Sample>, before: Option<&Arc<Tick>>) -> Tick {
        let claims = Claims::new(&samples);
        let same = before.filter(|tick| *tick.claims == claims);
        Tick {
            number,
            taken_at: Instant::now(),
            at: samples
                .into_iter()
                .map(|(name, sample)| (name, sample.at))
                .collect(),
            claims: same.map_or_else(|| Arc::new(claims), |tick| Arc::clone(&tick.claims)),
        }
    }

    /// Whether each slot is whose it was.
    #[must_use]
    pub fn agrees_with(&self, other: &Tick) -> bool {
        self.claims == other.claims
    }

    /// How far a shard's stream was.
    #[must_use]
    pub fn at(&self, name: &str) -> Option<Position> {
        self.at.get(name).copied()
    }

    /// Whether a slot is on its way.
    #[must_use]
    pub fn moves(&self) -> bool {
        !self.claims.moving.is_empty() || self.migrates()
    }

    /// Whether slots come or go as a whole.
    #[must_use]
    pub fn migrates(&self) -> bool {
        self.claims.atomic == Some(true)
    }

    /// What a shard has given away as a whole, or is about to, where it deletes the keys one by one afterwards; nothing where it does not.
    #[must_use]
    pub fn exports(&self, name: &str) -> Option<&[Export]> {
        self.claims.exports.get(name).map(Vec::as_slice)
    }

    /// Whether some server can give slots away as a whole.
    #[must_use]
    pub fn knows_migrations(&self) -> bool {
        self.claims.atomic.is_some()
    }

    /// Whether this slot is on its way.
    #[must_use]
    pub fn moves_slot(&self, slot: u16) -> bool {
        self.claims.moving.contains(&slot)
    }

    /// The one shard that claims this slot, whether it is on its way or not.
    #[must_use]
    pub fn owner(&self, slot: u16) -> Option<&str> {
        let index = *self.claims.of.get(usize::from(slot))?;
        self.claims.names.get(usize::from(index)).map(String::as_str)
    }

    /// Who claims each slot, in their order, as the shard of that name sees it.
    pub fn claims<'a>(&'a self, name: &str) -> impl Iterator<Item = (u16, Claim)> + 'a {
        let own = self.claims.names.iter().position(|one| one == name);
        let own = own.and_then(|index| u16::try_from(index).ok());
        (0..SLOTS).map(move |slot| {
            let moves = self.moves_slot(slot);
            let claim = match self.claims.of[usize::from(slot)] {
                NOBODY | SEVERAL => Claim::Unclear,
                index if Some(index) != own => Claim::Anothers { moves },
                _ if moves => Claim::Unclear,
                _ => Claim::Mine,
            };
            (slot, claim)
        })
    }
}

/// The newest ticks.
#[derive(Debug, Default)]
pub struct Ticks {
    ticks: VecDeque<Arc<Tick>>,
    taken: u64,
}

/// The ticks around an event.
#[derive(Debug, Clone)]
pub struct Around {
    /// It holds for what ends behind this ...
    pub after: Offset,
    /// ... and here or before.
    pub until: Offset,
    low: [Option<Arc<Tick>>; 2],
    high: [Arc<Tick>; 2],
}

impl Around {
    /// The tick by which the other shard was surely before what is in the stream of `name`; nothing where that is too long ago.
    #[must_use]
    pub fn low(&self, name: &str, other: &str) -> Option<&Tick> {
        let [earlier, later] = &self.low;
        let low = if other < name { later } else { earlier };
        low.as_deref()
    }

    /// The tick by which the other shard was surely behind it.
    #[must_use]
    pub fn high(&self, name: &str, other: &str) -> &Tick {
        let [earlier, later] = &self.high;
        if other > name { earlier } else { later }
    }
}

impl Ticks {
    /// Takes one in.
    pub fn take(&mut self, samples: BTreeMap<String, Sample>) -> Arc<Tick> {
        self.take_back(self.next_number(), samples)
    }

    /// The number of the next.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.taken + 1
    }

    /// Takes one in that had this number, higher than all before.
    pub fn take_back(&mut self, number: u64, samples: BTreeMap<String, Sample>) -> Arc<Tick> {
        if self.ticks.len() == TICKS_MAX {
            let mut keep = false;
            self.ticks.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.taken = number;
        let tick = Arc::new(Tick::new(number, samples, self.ticks.back()));
        self.ticks.push_back(Arc::clone(&tick));
        tick
    }

    /// Those after the one of that number.
    pub fn after(&self, number: u64) -> impl DoubleEndedIterator<Item = &Arc<Tick>> {
        let from = self.ticks.partition_point(|tick| tick.number <= number);
        self.ticks.range(from..)
    }

    /// All that are kept.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = &Arc<Tick>> {
        self.ticks.iter()
    }

    /// The newest.
    #[must_use]
    pub fn newest(&self) -> Option<&Arc<Tick>> {
        self.ticks.back()
    }

    /// The one before the one of that number.
    #[must_use]
    pub fn before(&self, number: u64) -> Option<&Arc<Tick>> {
        let at = self.ticks.partition_point(|tick| tick.number < number);
        self.ticks.get(at.checked_sub(1)?)
    }

    /// The ticks around what ends at `end` in the stream of a shard whose history is `history`; nothing where they are still to come.
    ///
    /// A shard that has left the cluster is in no tick any more. The first one without it was taken when its stream had ended, and is so behind all of it.
    #[must_use]
    pub fn around(&self, name: &str, history: &History, end: Offset) -> Option<Around> {
        let at = |tick: &Arc<Tick>| tick.at(name).filter(|at| history.contains(at));
        let reaches = |tick: &Arc<Tick>| at(tick).is_some_and(|at| at.offset >= end);
        let behind_all = || {
            let last = self.ticks.iter().rposition(|tick| tick.at(name).is_some())?;
            at(&self.ticks[last]).map(|_| last + 1)
        };
        let first = self.ticks.iter().position(reaches).or_else(behind_all)?;
        let before = first.checked_sub(1).and_then(|before| at(&self.ticks[before]));
        Some(Around {
            after: before.map_or(end, |before| before.offset),
            until: at(self.ticks.get(first)?).map_or(Offset::new(u64::MAX), |at| at.offset),
            low: [2, 1].map(|back| first.checked_sub(back).map(|at| Arc::clone(&self.ticks[at]))),
            high: [
                Arc::clone(&self.ticks[first]),
                Arc::clone(self.ticks.get(first + 1)?),
            ],
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::core::position::ReplId;

    pub(in crate::core::pipeline::crossing) fn at(offset: u64) -> Position {
        Position {
            id: ReplId::parse(&[b'a'; 40]).unwrap(),
            offset: Offset::new(offset),
        }
    }

    /// Of a shard: name, offset, slots, and those that move.
    pub(in crate::core::pipeline::crossing) type Seen<'a> = (&'a str, u64, &'a [(u16, u16)], &'a [u16]);

    pub(in crate::core::pipeline::crossing) fn samples(shards: &[Seen<'_>]) -> BTreeMap<String, Sample> {
        let samples = shards.iter().map(|(name, offset, slots, moving)| {
            let sample = Sample {
                at: at(*offset),
                slots: slots.to_vec(),
                moving: moving.to_vec(),
                atomic: None,
                exports: None,
            };
            ((*name).to_owned(), sample)
        });
        samples.collect()
    }

    #[test]
    fn what_surely_lies_around_an_event_depends_on_who_was_asked_first() {
        let mut ticks = Ticks::default();
        for n in 1..=5 {
            let offsets = [("a", n * 100), ("b", n * 10), ("c", n * 100)];
            let shards = offsets.map(|(name, offset)| (name, offset, &[][..], &[][..]));
            ticks.take(samples(&shards));
        }
        let history = History::new(at(0).id);
        let around = |end| {
            let around = ticks.around("b", &history, Offset::new(end))?;
            let of = |other| {
                let low = around.low("b", other).map_or(0, |low| low.number);
                (low, around.high("b", other).number)
            };
            Some((of("a"), of("c")))
        };
        for (end, expected) in [
            (5, Some(((0, 2), (0, 1)))),
            (20, Some(((1, 3), (0, 2)))),
            (21, Some(((2, 4), (1, 3)))),
            (40, Some(((3, 5), (2, 4)))),
            // The tick behind it is still to come.
            (41, None),
            (51, None),
        ] {
            assert_eq!(around(end), expected, "{end}");
        }
    }

    #[test]
    fn the_first_ticks_without_a_shard_that_has_left_are_behind_all_of_it() {
        let mut ticks = Ticks::default();
        ticks.take(samples(&[("a", 10, &[], &[]), ("b", 10, &[], &[])]));
        ticks.take(samples(&[("a", 20, &[], &[]), ("b", 20, &[], &[])]));
        let history = History::new(at(0).id);
        let around = |ticks: &Ticks| {
            let around = ticks.around("b", &history, Offset::new(25))?;
            let of = |other| {
                (
                    around.low("b", other).map(|low| low.number),
                    around.high("b", other).number,
                )
            };
            Some((of("a"), of("c"), around.after, around.until))
        };
        assert_eq!(around(&ticks), None);
        ticks.take(samples(&[("a", 30, &[], &[])]));
        assert_eq!(around(&ticks), None);
        ticks.take(samples(&[("a", 40, &[], &[])]));
        let all = Offset::new(u64::MAX);
        assert_eq!(
            around(&ticks),
            Some(((Some(2), 4), (Some(1), 3), Offset::new(20), all))
        );
    }

    #[test]
    fn a_tick_of_another_history_says_nothing() {
        let mut ticks = Ticks::default();
        for n in 1..=2 {
            ticks.take(samples(&[("b", n * 10, &[], &[])]));
        }
        let other = History::new(ReplId::parse(&[b'b'; 40]).unwrap());
        assert!(ticks.around("b", &other, Offset::new(5)).is_none());
        let later = other.renamed(at(0).id, Offset::new(0));
        assert!(ticks.around("b", &later, Offset::new(5)).is_some());
    }

    #[test]
    fn a_slot_is_mine_where_nobody_else_claims_it_and_it_does_not_move() {
        let mut ticks = Ticks::default();
        let tick = ticks.take(samples(&[
            ("a", 0, &[(0, 2)], &[2]),
            ("b", 0, &[(1, 1), (4, 5)], &[5]),
        ]));
        let claims: Vec<Claim> = tick.claims("b").take(6).map(|(_, claim)| claim).collect();
        assert_eq!(
            claims,
            [
                Claim::Anothers { moves: false },
                Claim::Unclear,
                Claim::Anothers { moves: true },
                Claim::Unclear,
                Claim::Mine,
                Claim::Unclear,
            ]
        );
    }

    #[test]
    fn the_ticks_are_bounded() {
        let mut ticks = Ticks::default();
        for n in 0..=TICKS_MAX as u64 {
            ticks.take(samples(&[("b", n, &[], &[])]));
        }
        assert_eq!(ticks.ticks.len(), TICKS_MAX / 2 + 1);
        assert_eq!(ticks.newest().map(|tick| tick.number), Some(TICKS_MAX as u64 + 1));
    }
}
