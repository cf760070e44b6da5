//! The biggest of many, in little memory.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The few that measure most. Of two that measure the same the one that came first stays.
#[derive(Debug)]
pub(super) struct Top<T> {
    count: usize,
    /// Who measures no more has no place: no more than 0 while there is room.
    floor: u64,
    held: BinaryHeap<Reverse<Held<T>>>,
    came: u64,
}

#[derive(Debug)]
struct Held<T> {
    /// What it measures, and how late it came.
    rank: (u64, Reverse<u64>),
    what: T,
}

impl<T> Top<T> {
    pub(super) fn new(count: usize) -> Top<T> {
        Top {
            count,
            floor: if count == 0 { u64::MAX } else { 0 },
            held: BinaryHeap::with_capacity(count.min(1000)),
            came: 0,
        }
    }

    /// Whether one that measures so much has a place.
    #[inline]
    pub(super) fn wants(&self, measure: u64) -> bool {
        measure > self.floor
    }

    /// Takes one, if it has a place.
    pub(super) fn offer(&mut self, measure: u64, what: T) {
        if !self.wants(measure) {
            return;
        }
        self.came += 1;
        let rank = (measure, Reverse(self.came));
        self.held.push(Reverse(Held { rank, what }));
        if self.held.len() > self.count {
            self.held.pop();
        }
        if self.held.len() == self.count {
            self.floor = self.held.peek().map_or(0, |least| least.0.rank.0);
        }
    }

    /// The biggest first, with what each measures.
    pub(super) fn ranked(&self) -> Vec<(u64, &T)> {
        let mut all: Vec<&Held<T>> = self.held.iter().map(|held| &held.0).collect();
        all.sort_by_key(|held| Reverse(held.rank));
        all.into_iter().map(|held| (held.rank.0, &held.what)).collect()
    }
}

impl<T> PartialEq for Held<T> {
    fn eq(&self, other: &Held<T>) -> bool {
        self.rank == other.rank
    }
}

impl<T> Eq for Held<T> {}

impl<T> PartialOrd for Held<T> {
    fn partial_cmp(&self, other: &Held<T>) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Held<T> {
    fn cmp(&self, other: &Held<T>) -> std::cmp::Ordering {
        self.rank.cmp(&other.rank)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_biggest_stay_and_of_equals_those_that_came_first() {
        let mut top = Top::new(3);
        for (name, measure) in [
            ("a", 5),
            ("b", 9),
            ("c", 1),
            ("d", 5),
            ("e", 5),
            ("f", 7),
            ("z", 0),
        ] {
            top.offer(measure, name);
        }
        assert_eq!(top.ranked(), [(9, &"b"), (7, &"f"), (5, &"a")]);
        assert!(!top.wants(5) && top.wants(6));
    }

    #[test]
    fn none_are_wanted_of_none() {
        let mut top = Top::new(0);
        top.offer(u64::MAX, ());
        assert!(top.ranked().is_empty());
    }
}
