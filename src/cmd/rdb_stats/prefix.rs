//! Which prefixes keys have, and how much each takes.
//!
//! Owns what a prefix is: a key up to and with its first separator, and again up to its second; within the first [`LOOK_BYTES`] of it. Promises that
//! memory is bounded, that the figures are exact as long as there are no more than [`PREFIXES_MAX`] different prefixes, and that beyond that each
//! figure says by how much it may be too low.
//!
//! Where more than [`recent::BELOW_MAX`] different ones come below a first prefix they are ids (`user:1:`, `user:2:`, …), which nobody wants to see: they
//! are not told apart, and do not count as different prefixes.
//!
//! Beyond the limit the smaller half is given up, and what has no place is only summed up, by hash, in [`PASSED_CELLS`] cells. A prefix gets a
//! place again when its cell holds more than any that was given up: so every prefix that is big is found, and what the cell held before is the
//! most that is missing (filtered space saving, Homem and Carvalho 2010).

mod recent;

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::tally::Tally;
use recent::{Below, Ends, HEAD_BYTES, Head, Recent, Separators};

/// So many prefixes are told apart.
const PREFIXES_MAX: usize = 4096;

/// So many sums are kept of those that have no place.
const PASSED_CELLS: usize = 16_384;

/// So many prefixes can be found to have ids below them.
const OF_IDS_MAX: usize = 1000;

/// A separator is looked for in so many bytes of a key.
const LOOK_BYTES: usize = 128;

/// Prefixes under way.
#[derive(Debug)]
pub(super) struct Prefixes {
    separators: Separators,
    recent: Recent,
    below: Below,
    /// Prefixes below which there are ids.
    of_ids: Vec<Box<[u8]>>,
    hasher: DefaultHashBuilder,
    places: HashTable<Place>,
    places_max: usize,
    /// By hash, at least what each prefix without a place has had; empty while all have one.
    passed: Vec<u64>,
    /// The most that a prefix had that was given up.
    given_up_bytes: u64,
    without: Tally,
}

/// A prefix, and what was counted of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    hash: u64,
    prefix: Box<[u8]>,
    tally: Tally,
    /// So many bytes may be missing.
    missing_bytes_max: u64,
}

/// What is known of a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prefix {
    pub(super) prefix: Box<[u8]>,
    pub(super) tally: Tally,
    /// So many bytes may be missing: 0, it is exact.
    pub(super) missing_bytes_max: u64,
    /// There are ids below it, which are not told apart.
    pub(super) has_ids: bool,
}

impl Prefixes {
    /// Keys are split at any of these.
    pub(super) fn new(separators: &[u8]) -> Prefixes {
        Prefixes::with_places(separators, PREFIXES_MAX)
    }

    fn with_places(separators: &[u8], places_max: usize) -> Prefixes {
        Prefixes {
            separators: Separators::new(separators),
            recent: Recent::new(),
            below: Below::new(),
            of_ids: Vec::new(),
            hasher: DefaultHashBuilder::default(),
            places: HashTable::with_capacity(places_max.min(64)),
            places_max,
            passed: Vec::new(),
            given_up_bytes: 0,
            without: Tally::default(),
        }
    }

    /// Counts a key of so many bytes.
    #[inline]
    pub(super) fn add(&mut self, key: &[u8], bytes: u64) {
        let head = Head::of(key);
        let ends = Ends::of(head, &self.separators);
        let Some(first) = ends.first else {
            return self.add_beyond(key, bytes);
        };
        let first = head.cut(first);
        self.add_lately(first, bytes);
        if self.below.are_ids(first) {
            return;
        }
        let is_new = match ends.second {
            Some(second) => self.add_lately(head.cut(second), bytes),
            None if key.len() > HEAD_BYTES => self.add_second_beyond(key, bytes),
            None => false,
        };
        if is_new && self.of_ids.len() < OF_IDS_MAX && self.below.came(first) {
            self.are_ids_below(first);
        }
    }

    /// Counts a prefix that lies in a key's head; says whether it is a new one.
    #[inline]
    fn add_lately(&mut self, prefix: Head, bytes: u64) -> bool {
        match self.recent.add(prefix, bytes) {
            recent::Counted::Held => false,
            recent::Counted::Entered(displaced) => {
                if let Some((displaced, tally)) = displaced {
                    self.settle(displaced, tally);
                }
                self.settle(prefix, Tally { keys: 1, bytes })
            }
        }
    }

    /// Counts a key that has no separator in its head.
    fn add_beyond(&mut self, key: &[u8], bytes: u64) {
        let looked = &key[..key.len().min(LOOK_BYTES)];
        let Some(first) = self.separators.find(looked, HEAD_BYTES) else {
            return self.without.add(bytes);
        };
        self.count(&looked[..first], Tally { keys: 1, bytes });
        if let Some(second) = self.separators.find(looked, first) {
            self.count(&looked[..second], Tally { keys: 1, bytes });
        }
    }

    /// Counts the second prefix, which ends beyond the key's head, if there is one; says whether it is a new one.
    fn add_second_beyond(&mut self, key: &[u8], bytes: u64) -> bool {
        let looked = &key[..key.len().min(LOOK_BYTES)];
        match self.separators.find(looked, HEAD_BYTES) {
            Some(second) => self.count(&looked[..second], Tally { keys: 1, bytes }),
            None => false,
        }
    }

    /// What comes below a prefix are ids: they are not told apart any more, and those that were are forgotten.
    #[cold]
    fn are_ids_below(&mut self, prefix: Head) {
        let (bytes, len) = prefix.bytes();
        let prefix = &bytes[..len];
        if !self.of_ids.iter().any(|known| **known == *prefix) {
            self.of_ids.push(prefix.into());
        }
        self.forget_below(prefix);
    }

    fn forget_below(&mut self, prefix: &[u8]) {
        self.places
            .retain(|place| place.prefix.len() <= prefix.len() || !place.prefix.starts_with(prefix));
    }

    /// Everything has been counted: to be called before anything is asked.
    pub(super) fn finish(&mut self) {
        for (head, tally) in self.recent.take() {
            self.settle(head, tally);
        }
        for prefix in std::mem::take(&mut self.of_ids) {
            self.forget_below(&prefix);
            self.of_ids.push(prefix);
        }
    }

    /// Keys without a separator.
    pub(super) fn without(&self) -> Tally {
        self.without
    }

    /// Whether all figures are exact.
    pub(super) fn is_exact(&self) -> bool {
        self.passed.is_empty()
    }

    /// Those with most bytes, the first with the most.
    pub(super) fn biggest(&self, count: usize) -> Vec<Prefix> {
        let mut all: Vec<&Place> = self.places.iter().collect();
        all.sort_by(|a, b| (b.tally.bytes, &a.prefix).cmp(&(a.tally.bytes, &b.prefix)));
        let told = |place: &&Place| Prefix {
            prefix: place.prefix.clone(),
            tally: place.tally,
            missing_bytes_max: place.missing_bytes_max,
            has_ids: self.of_ids.contains(&place.prefix),
        };
        all.iter().take(count).map(told).collect()
    }

    /// Whether it is a new one.
    fn settle(&mut self, prefix: Head, tally: Tally) -> bool {
        let (bytes, len) = prefix.bytes();
        self.count(&bytes[..len], tally)
    }

    /// Whether it is a new one.
    fn count(&mut self, prefix: &[u8], tally: Tally) -> bool {
        let hash = self.hasher.hash_one(prefix);
        match self.places.find_mut(hash, |place| *place.prefix == *prefix) {
            Some(place) => place.tally = place.tally.plus(tally),
            None => {
                self.count_new(hash, prefix, tally);
                return true;
            }
        }
        false
    }

    fn count_new(&mut self, hash: u64, prefix: &[u8], tally: Tally) {
        let mut missing_bytes_max = 0;
        if self.passed.is_empty() && self.places.len() >= self.places_max {
            self.passed = vec![0; PASSED_CELLS];
            self.give_up_half();
        }
        if !self.passed.is_empty() {
            let passed = &mut self.passed[hash as usize % PASSED_CELLS];
            missing_bytes_max = *passed;
            *passed += tally.bytes;
            if *passed <= self.given_up_bytes {
                return;
            }
            if self.places.len() >= self.places_max {
                self.give_up_half();
            }
        }
        let place = Place {
            hash,
            prefix: prefix.into(),
            tally,
            missing_bytes_max,
        };
        self.places.insert_unique(hash, place, |place| place.hash);
    }

    /// The half that has had least has no place any more.
    fn give_up_half(&mut self) {
        // Those that came lately have had more than their places know.
        for (head, tally) in self.recent.take() {
            let (bytes, len) = head.bytes();
            let hash = self.hasher.hash_one(&bytes[..len]);
            match self.places.find_mut(hash, |place| *place.prefix == bytes[..len]) {
                Some(place) => place.tally = place.tally.plus(tally),
                None => self.passed[hash as usize % PASSED_CELLS] += tally.bytes,
            }
        }
        let most = |place: &Place| place.tally.bytes + place.missing_bytes_max;
        let mut all: Vec<Place> = self.places.drain().collect();
        let kept = all.len() / 2;
        all.select_nth_unstable_by_key(kept, |place| std::cmp::Reverse(most(place)));
        for place in all.drain(kept..) {
            let passed = &mut self.passed[place.hash as usize % PASSED_CELLS];
            *passed = (*passed).max(most(&place));
            self.given_up_bytes = self.given_up_bytes.max(most(&place));
        }
        for place in all {
            self.places.insert_unique(place.hash, place, |place| place.hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn tally(keys: u64, bytes: u64) -> Tally {
        Tally { keys, bytes }
    }

    #[test]
    fn a_key_counts_for_its_first_and_its_second_prefix() {
        let mut prefixes = Prefixes::new(b":/|.");
        prefixes.add(b"user:1:name", 10);
        prefixes.add(b"user:1:mail", 20);
        prefixes.add(b"user:2", 5);
        prefixes.add(b"a/b|c", 1);
        prefixes.add(b"plain", 7);
        prefixes.add(b"", 1);
        prefixes.finish();
        let found: Vec<(String, Tally)> = prefixes
            .biggest(10)
            .into_iter()
            .map(|one| (String::from_utf8(one.prefix.into()).unwrap(), one.tally))
            .collect();
        let expected = [
            ("user:", tally(3, 35)),
            ("user:1:", tally(2, 30)),
            ("a/", tally(1, 1)),
            ("a/b|", tally(1, 1)),
        ];
        assert_eq!(found, expected.map(|(prefix, tally)| (prefix.to_owned(), tally)));
        assert_eq!((prefixes.without(), prefixes.is_exact()), (tally(2, 8), true));
        assert_eq!(prefixes.biggest(1).len(), 1);
    }

    #[test]
    fn ids_below_a_prefix_are_not_told_apart_and_leave_room_for_others() {
        let mut prefixes = Prefixes::new(b":");
        for n in 0..100_000 {
            prefixes.add(format!("user:{n}:x").as_bytes(), 10);
            prefixes.add(format!("session:{n:020}:x").as_bytes(), 10);
            prefixes.add(format!("shop:{}:x", n % 900).as_bytes(), 1);
        }
        prefixes.finish();
        let found = prefixes.biggest(3000);
        assert!(prefixes.is_exact());
        let of = |nth: usize| (&*found[nth].prefix, found[nth].tally.keys, found[nth].has_ids);
        assert_eq!(of(0), (&b"session:"[..], 100_000, true));
        assert_eq!(of(1), (&b"user:"[..], 100_000, true));
        assert_eq!(of(2), (&b"shop:"[..], 100_000, false));
        assert_eq!(found.len(), 3 + 900);
        assert_eq!(found[3].tally.keys, 112);
    }

    #[test]
    fn no_separator_is_looked_for_deep_in_a_key() {
        let mut prefixes = Prefixes::new(b":");
        let long = [&vec![b'x'; LOOK_BYTES][..], b":y"].concat();
        prefixes.add(&long, 1);
        assert_eq!(prefixes.without(), tally(1, 1));
    }

    #[test]
    fn up_to_the_limit_every_figure_is_exact() {
        let mut prefixes = Prefixes::with_places(b":", 100);
        for round in 0..5 {
            for n in 0..100 {
                prefixes.add(format!("{n}:x").as_bytes(), n + round);
            }
        }
        prefixes.finish();
        let found = prefixes.biggest(1000);
        assert!(prefixes.is_exact() && found.len() == 100);
        assert!(
            found
                .iter()
                .all(|one| one.missing_bytes_max == 0 && one.tally.keys == 5)
        );
    }

    /// Many small prefixes, some big ones among them, in random order.
    #[test]
    fn beyond_it_big_ones_are_found_and_no_figure_lies() {
        let mut rng = fastrand::Rng::with_seed(11);
        let mut prefixes = Prefixes::with_places(b":", 200);
        let mut truth: HashMap<String, u64> = HashMap::new();
        for _ in 0..200_000 {
            let prefix = match rng.u32(..10) {
                0..3 => format!("big{}:", rng.u32(..10)),
                _ => format!("{}:", rng.u32(..100_000)),
            };
            let bytes = rng.u64(50..150);
            prefixes.add(prefix.as_bytes(), bytes);
            *truth.entry(prefix).or_default() += bytes;
        }
        prefixes.finish();
        assert!(!prefixes.is_exact() && prefixes.places.len() <= 200);
        let found = prefixes.biggest(200);
        for one in &found {
            let truth = truth[std::str::from_utf8(&one.prefix).unwrap()];
            let range = one.tally.bytes..=one.tally.bytes + one.missing_bytes_max;
            assert!(range.contains(&truth), "{one:?}: {truth}");
        }
        assert!(
            found[..10].iter().all(|one| one.prefix.starts_with(b"big")),
            "{found:?}"
        );
    }
}
