//! Keys and bytes, by database, type and encoding, and by time to live.

use std::collections::BTreeMap;

use crate::core::rdb::{Flavor, kind_of};

/// How many keys, and how many bytes of the file they take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) keys: u64,
    pub(super) bytes: u64,
}

impl Tally {
    /// One key of so many bytes.
    #[inline]
    pub(super) fn add(&mut self, bytes: u64) {
        self.keys += 1;
        self.bytes += bytes;
    }

    pub(super) fn plus(self, other: Tally) -> Tally {
        Tally {
            keys: self.keys + other.keys,
            bytes: self.bytes + other.bytes,
        }
    }

    pub(super) fn minus(self, other: Tally) -> Tally {
        Tally {
            keys: self.keys - other.keys,
            bytes: self.bytes - other.bytes,
        }
    }
}

impl std::iter::Sum for Tally {
    fn sum<I: Iterator<Item = Tally>>(all: I) -> Tally {
        all.fold(Tally::default(), Tally::plus)
    }
}

/// A type and an encoding: the type byte, but that strings are three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Packing(u8);

impl Packing {
    const RAW: u8 = 0;
    const INT: u8 = 254;
    const LZF: u8 = 255;

    /// Of a value, of which the first byte is enough.
    #[inline]
    pub(super) fn of(value_type: u8, value: &[u8]) -> Packing {
        Packing(match (value_type, value) {
            (0, [0xc0..=0xc2, ..]) => Packing::INT,
            (0, [0xc3, ..]) => Packing::LZF,
            _ => value_type,
        })
    }

    #[inline]
    pub(super) fn is_string(self) -> bool {
        matches!(self.0, Packing::RAW | Packing::INT | Packing::LZF)
    }

    /// Type and encoding. A string is `raw`, `int` or `lzf`.
    pub(super) fn words(self, flavor: Flavor) -> (&'static str, &'static str) {
        match self.0 {
            Packing::RAW => ("string", "raw"),
            Packing::INT => ("string", "int"),
            Packing::LZF => ("string", "lzf"),
            code => kind_of(code, flavor).map_or(("unknown", "unknown"), |kind| (kind.object, kind.encoding)),
        }
    }
}

/// Tells databases apart up to so many; all further ones are one.
const DATABASES_MAX: usize = 65_536;

/// What one database holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Database {
    pub(super) packings: BTreeMap<Packing, Tally>,
    pub(super) expiring: Tally,
}

impl Database {
    pub(super) fn all(&self) -> Tally {
        self.packings.values().copied().sum()
    }
}

/// All databases.
#[derive(Debug)]
pub(super) struct Databases {
    /// That of the key counted last, and what has been counted of it since it was selected.
    db: u32,
    here: [Tally; 256],
    expiring_here: Tally,
    /// Those before; none is all beyond [`DATABASES_MAX`].
    before: BTreeMap<Option<u32>, Database>,
}

impl Databases {
    pub(super) fn new() -> Databases {
        Databases {
            db: 0,
            here: [Tally::default(); 256],
            expiring_here: Tally::default(),
            before: BTreeMap::new(),
        }
    }

    #[inline]
    pub(super) fn add(&mut self, db: u32, packing: Packing, bytes: u64, expires: bool) {
        if db != self.db {
            self.settle();
            self.db = db;
        }
        self.here[usize::from(packing.0)].add(bytes);
        if expires {
            self.expiring_here.add(bytes);
        }
    }

    /// Everything has been counted: to be called before anything is asked.
    pub(super) fn finish(&mut self) {
        self.settle();
    }

    /// What has been counted, by database.
    pub(super) fn all(&self) -> &BTreeMap<Option<u32>, Database> {
        &self.before
    }

    /// All databases as if they were one.
    pub(super) fn sum(&self) -> Database {
        let mut sum = Database::default();
        for database in self.all().values() {
            for (packing, tally) in &database.packings {
                let all = sum.packings.entry(*packing).or_default();
                *all = all.plus(*tally);
            }
            sum.expiring = sum.expiring.plus(database.expiring);
        }
        sum
    }

    #[cold]
    fn settle(&mut self) {
        let counted = self.here.iter().enumerate().filter(|(_, tally)| tally.keys > 0);
        let counted: Vec<(Packing, Tally)> = counted
            .map(|(code, tally)| (Packing(code as u8), *tally))
            .collect();
        if counted.is_empty() {
            return;
        }
        let has_place = self.before.len() < DATABASES_MAX || self.before.contains_key(&Some(self.db));
        let before = self.before.entry(has_place.then_some(self.db)).or_default();
        for (packing, tally) in counted {
            let all = before.packings.entry(packing).or_default();
            *all = all.plus(tally);
        }
        before.expiring = before.expiring.plus(self.expiring_here);
        self.here = [Tally::default(); 256];
        self.expiring_here = Tally::default();
    }
}

/// How long keys have left, counted from when the counting began.
#[derive(Debug)]
pub(super) struct Lifetimes {
    now_ms: i64,
    counted: [Tally; LIFETIMES.len()],
}

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// What is told apart: a key that has less left than this, and no less than the one before.
pub(super) const LIFETIMES: [(&str, i64); 6] = [
    ("expired", 1),
    ("under 1 hour", HOUR_MS),
    ("under 1 day", DAY_MS),
    ("under 7 days", 7 * DAY_MS),
    ("under 30 days", 30 * DAY_MS),
    ("30 days and more", i64::MAX),
];

impl Lifetimes {
    pub(super) fn from(now_ms: i64) -> Lifetimes {
        Lifetimes {
            now_ms,
            counted: Default::default(),
        }
    }

    #[inline]
    pub(super) fn add(&mut self, expire_at_ms: i64, bytes: u64) {
        let left_ms = expire_at_ms.saturating_sub(self.now_ms);
        let last = LIFETIMES.len() - 1;
        let class = LIFETIMES.iter().position(|(_, below)| left_ms < *below);
        self.counted[class.unwrap_or(last)].add(bytes);
    }

    /// What each of [`LIFETIMES`] has.
    pub(super) fn counted(&self) -> impl Iterator<Item = (&'static str, Tally)> {
        LIFETIMES
            .iter()
            .zip(self.counted)
            .map(|((name, _), tally)| (*name, tally))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_there_whatever_the_order_of_databases() {
        let mut databases = Databases::new();
        let (raw, int) = (Packing::of(0, b"\x01a"), Packing::of(0, b"\xc0\x01"));
        databases.add(3, raw, 10, true);
        databases.add(0, int, 5, false);
        databases.add(3, raw, 10, false);
        databases.add(3, Packing::of(16, b""), 7, true);
        databases.finish();
        let all = databases.all();
        assert_eq!(all.keys().copied().collect::<Vec<_>>(), [Some(0), Some(3)]);
        let third = &all[&Some(3)];
        assert_eq!(third.packings[&raw], Tally { keys: 2, bytes: 20 });
        assert_eq!(
            (third.all(), third.expiring),
            (Tally { keys: 3, bytes: 27 }, Tally { keys: 2, bytes: 17 })
        );
        assert_eq!(all[&Some(0)].packings[&int], Tally { keys: 1, bytes: 5 });
    }

    #[test]
    fn more_databases_than_any_server_has_are_counted_as_one() {
        let mut databases = Databases::new();
        let raw = Packing::of(0, b"");
        for db in 0..DATABASES_MAX as u32 + 10 {
            databases.add(db, raw, 1, false);
        }
        databases.add(7, raw, 1, false);
        databases.finish();
        let all = databases.all();
        assert_eq!(all.len(), DATABASES_MAX + 1);
        assert_eq!((all[&None].all().keys, all[&Some(7)].all().keys), (10, 2));
    }

    #[test]
    fn a_lifetime_is_told_by_what_is_left() {
        let mut lifetimes = Lifetimes::from(1_000_000);
        for left in [
            i64::MIN,
            -1,
            0,
            1,
            HOUR_MS,
            DAY_MS - 1,
            7 * DAY_MS,
            30 * DAY_MS,
            i64::MAX,
        ] {
            lifetimes.add(left.saturating_add(1_000_000), 1);
        }
        let keys: Vec<u64> = lifetimes.counted().map(|(_, tally)| tally.keys).collect();
        assert_eq!(keys, [3, 1, 2, 0, 1, 2]);
    }
}
