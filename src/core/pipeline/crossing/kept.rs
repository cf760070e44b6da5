//! What must survive the process: the ticks that a stream may still have to pass, and who must begin anew.
//!
//! A tick is written where whose the slots are has changed since the last that was, or a history; so a cluster at rest writes nothing, and what lies between two
//! written ticks is one stretch, of which is known what both say. How it is written stands in [`super::written`]. Promises a bounded number of them.

use std::collections::{BTreeMap, VecDeque};

use super::windows::Windows;
use super::written::Written;
use crate::core::catalog::{self, Catalog, Durability, Series};
use crate::core::crash::{self, Step};
use crate::core::topology::sample::Sample;

/// So many are kept.
const KEPT_MAX: usize = 2048;

/// A tick as it was taken: its number, and what each shard said.
pub(super) type Read = (u64, BTreeMap<String, Sample>);

/// The ticks in the catalog.
#[derive(Debug)]
pub(super) struct Kept {
    catalog: Catalog,
    cluster: String,
    /// The numbers of those that are there, in order.
    numbers: VecDeque<u64>,
    last: BTreeMap<String, Written>,
}

impl Kept {
    /// Gives also those that were kept.
    pub(super) fn open(catalog: &Catalog, cluster: &str) -> Result<(Kept, Vec<Read>), catalog::Error> {
        let all: Vec<(u64, BTreeMap<String, Written>)> = catalog.ticks(cluster)?.all()?;
        let kept = Kept {
            catalog: catalog.clone(),
            cluster: cluster.to_owned(),
            numbers: all.iter().map(|(number, _)| *number).collect(),
            last: all.last().map(|(_, last)| last.clone()).unwrap_or_default(),
        };
        let read = |(number, written): (u64, BTreeMap<String, Written>)| {
            let samples = written.into_iter().map(|(name, one)| Some((name, one.read()?)));
            Some((number, samples.collect::<Option<_>>()?))
        };
        Ok((kept, all.into_iter().filter_map(read).collect()))
    }

    /// Not held: a catalog that has failed to write is opened again when nobody holds it.
    fn series(&self) -> Result<Series, catalog::Error> {
        self.catalog.ticks(&self.cluster)
    }

    /// Writes a tick down where it says something new.
    pub(super) fn put(
        &mut self,
        number: u64,
        samples: &BTreeMap<String, Sample>,
    ) -> Result<(), catalog::Error> {
        let written = |(name, sample): (&String, &Sample)| (name.clone(), Written::of(sample));
        let now: BTreeMap<String, Written> = samples.iter().map(written).collect();
        let is_same = now.len() == self.last.len()
            && now.iter().all(|(name, one)| {
                let before = self.last.get(name);
                before.is_some_and(|before| one.says_the_same(before))
            });
        if is_same {
            return Ok(());
        }
        self.thin_out()?;
        self.series()?.put(number, &now)?;
        crash::pass(Step::TickWritten);
        self.numbers.push_back(number);
        self.last = now;
        Ok(())
    }

    fn thin_out(&mut self) -> Result<(), catalog::Error> {
        if self.numbers.len() < KEPT_MAX {
            return Ok(());
        }
        let odd = self.numbers.iter().skip(1).step_by(2);
        let odd: Vec<u64> = odd.copied().collect();
        self.series()?.remove(&odd)?;
        self.numbers.retain(|number| odd.binary_search(number).is_err());
        Ok(())
    }

    /// The number of the oldest.
    pub(super) fn oldest(&self) -> u64 {
        self.numbers.front().copied().unwrap_or_default()
    }

    /// Forgets what lies before the newest of those up to that number, which all have passed.
    pub(super) fn forget_before(&mut self, number: u64) -> Result<(), catalog::Error> {
        let passed = self.numbers.partition_point(|one| *one <= number);
        let gone: Vec<u64> = self.numbers.drain(..passed.saturating_sub(1)).collect();
        if gone.is_empty() {
            return Ok(());
        }
        self.series()?.remove(&gone)?;
        crash::pass(Step::TicksForgotten);
        Ok(())
    }

    /// The windows that were noted of that pipeline.
    pub(super) fn windows(&self, name: &str) -> Result<Windows, catalog::Error> {
        Ok(self.catalog.windows(name)?.unwrap_or_default())
    }

    pub(super) fn set_windows(
        &self,
        name: &str,
        windows: &Windows,
        durability: Durability,
    ) -> Result<(), catalog::Error> {
        self.catalog.set_windows(name, windows, durability)?;
        crash::pass(Step::WindowsWritten);
        Ok(())
    }

    /// Notes who must begin anew.
    pub(super) fn set_entangled(&self, names: &[String]) -> Result<(), catalog::Error> {
        self.catalog.set_entangled(names, true)
    }

    /// They have, or whoever leads them knows it.
    pub(super) fn forget_entangled(&self, names: &[String]) -> Result<(), catalog::Error> {
        self.catalog.set_entangled(names, false)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ticks::tests::samples;
    use super::*;

    type Ranges = &'static [(u16, u16)];

    fn numbers(catalog: &Catalog) -> Vec<u64> {
        let (_, all) = Kept::open(catalog, "one").unwrap();
        all.into_iter().map(|(number, _)| number).collect()
    }

    #[test]
    fn a_tick_is_written_where_it_says_something_new() {
        let root = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(root.path()).unwrap();
        let (mut kept, _) = Kept::open(&catalog, "one").unwrap();
        let (low, all): (Ranges, Ranges) = (&[(0, 5)], &[(0, 9)]);
        for (number, shards) in [
            (1, &[("a", 10, low, &[][..])][..]),
            (2, &[("a", 20, low, &[])]),
            (3, &[("a", 30, low, &[3])]),
            (4, &[("a", 40, all, &[])]),
            (5, &[("a", 50, all, &[]), ("b", 7, &[], &[])]),
            (6, &[("a", 60, all, &[]), ("b", 8, &[], &[])]),
        ] {
            kept.put(number, &samples(shards)).unwrap();
        }
        assert_eq!(numbers(&catalog), [1, 3, 4, 5]);
        let (_, all_back) = Kept::open(&catalog, "one").unwrap();
        assert_eq!(all_back[1].1, samples(&[("a", 30, low, &[3])]));
    }

    #[test]
    fn what_all_have_passed_is_forgotten_but_for_the_newest() {
        let root = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(root.path()).unwrap();
        let (mut kept, _) = Kept::open(&catalog, "one").unwrap();
        for number in 1..=5 {
            let slot = u16::try_from(number).unwrap();
            kept.put(number, &samples(&[("a", 10, &[(0, slot)], &[])]))
                .unwrap();
        }
        for (passed, left) in [(0, &[1, 2, 3, 4, 5][..]), (3, &[3, 4, 5]), (9, &[5])] {
            kept.forget_before(passed).unwrap();
            assert_eq!(numbers(&catalog), left, "{passed}");
        }
    }

    #[test]
    fn the_written_ones_are_bounded() {
        let root = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(root.path()).unwrap();
        let (mut kept, _) = Kept::open(&catalog, "one").unwrap();
        for number in 0..=KEPT_MAX as u64 {
            let slot = u16::try_from(number).unwrap();
            kept.put(number, &samples(&[("a", 10, &[(0, slot)], &[])]))
                .unwrap();
        }
        assert_eq!(numbers(&catalog).len(), KEPT_MAX / 2 + 1);
    }
}
