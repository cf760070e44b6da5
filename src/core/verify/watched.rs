//! Suspects under watch: what the source has not touched, by its own word, since before it was looked at.
//!
//! `WATCH` at the source, look there, note where the source is, wait until the target has all that, look at the target; then an empty transaction says
//! whether any of the watched keys has been touched meanwhile, to and fro included. Where none has, what the target says is of the very state that was seen at the source:
//! the verdict is for sure. One key that changes spoils it for all that are watched with it, so what is left is watched in smaller and smaller companies.

use std::time::{Duration, Instant};

use super::Error;
use super::ahead::Ahead;
use super::group::{Group, Place, without_places};
use super::note::Told;
use super::pieces::{self, Compared, Large};
use super::seen::{self, Seen, Verdict, judge, judge_all};
use super::settle::{Settling, difference, next_of_one_database};
use super::side::Lines;
use super::watchers::{self, Watchers};
use super::{Outcome, passage::Passage, settle::Found};
use crate::core::catalog::{Mark, Noted};

/// So many keys at a time, in so many companies, and at most so many in all. A server looks through all that a connection watches with each further key.
const COMPANIES: [(usize, usize, usize); 3] = [(8_000, 16, usize::MAX), (640, 32, 64_000), (32, 32, 1_000)];

/// So many keys at a time where nobody may watch.
const UNWATCHED: usize = 500;

/// As many as there are companies at most.
const WATCHERS: usize = 32;

/// So long for all small companies of one size.
const SMALL_COMPANIES_LIMIT: Duration = Duration::from_secs(5);

/// Watches and looks.
pub(super) struct Watched<'a> {
    group: &'a Group,
    passage: &'a mut Passage,
    ahead: Option<&'a mut Ahead>,
    found: &'a Found,
    watchers: Watchers,
    sources: Vec<Lines>,
    target: Lines,
}

impl<'a> Watched<'a> {
    pub(super) fn new(settling: &'a mut Settling) -> Watched<'a> {
        Watched {
            watchers: Watchers::new(&settling.group, WATCHERS),
            sources: settling.group.source_lines(),
            target: Lines::new(&settling.group.target),
            group: &settling.group,
            passage: &mut settling.passage,
            ahead: settling.ahead.as_mut(),
            found: &settling.found,
        }
    }

    /// Settles what suspects stand still; the others stay. False where the source does not permit to watch.
    pub(super) async fn settle(mut self, outcome: &mut Outcome) -> Result<bool, Error> {
        for (number, (count, companies, most)) in COMPANIES.into_iter().enumerate() {
            let (mut mark, mut watched) = (Mark::default(), 0);
            // Small companies are for what changes often: they may take their time, but not all of it.
            let began = Instant::now();
            while watched < most && (number == 0 || began.elapsed() < SMALL_COMPANIES_LIMIT) {
                let next = next_of_one_database(&self.found.suspects, &mut mark, count)?;
                let Some((db, rows)) = next else { break };
                let companies = watchers::companies(rows.len(), companies);
                match self.look(db, &rows, &companies, outcome).await {
                    Ok(()) => {}
                    Err(error @ Error::Refused { .. }) if error.is_unavailable() => return Ok(false),
                    Err(error) => return Err(error),
                }
                watched += rows.len();
            }
        }
        Ok(true)
    }

    /// Where nobody may watch: large values, of which the rounds only look at the length, between two looks at the source.
    pub(super) async fn settle_large(mut self, outcome: &mut Outcome) -> Result<(), Error> {
        let is_large = |told: Told| {
            let mut seen = told.source.iter().chain([&told.target]);
            told.difference.is_none() && seen.any(|seen| seen.value == seen::Value::Large)
        };
        let mut mark = Mark::default();
        while let Some((db, mut rows)) = next_of_one_database(&self.found.suspects, &mut mark, UNWATCHED)? {
            rows.retain(|row| Told::of(&row.note).is_some_and(is_large));
            let mut placed = self.group.look_at_places(&mut self.sources, db, &rows).await?;
            let before = without_places(placed.clone());
            let marks = self.passage.marks().await?;
            self.passage.wait(&marks).await?;
            let target = self.group.look.at(&mut self.target, db, &rows).await?;
            for ((row, sources), target) in rows.iter().zip(&mut placed).zip(&target) {
                self.large(db, row, sources, target).await?;
            }
            let again = self.group.look_at_source(&mut self.sources, db, &rows).await?;
            let source = without_places(placed);
            let still = before.iter().zip(&again);
            let still = still.map(|(before, after)| seen::is_same(before, after, self.group.tolerance_ms));
            let is_sure: Vec<bool> = still.collect();
            self.apply(db, &rows, (source, target), &is_sure, outcome)?;
        }
        Ok(())
    }

    async fn look(
        &mut self,
        db: u32,
        rows: &[Noted],
        companies: &[Vec<usize>],
        outcome: &mut Outcome,
    ) -> Result<(), Error> {
        // Before the watch: what is touched meanwhile would spoil it.
        self.group.pacing.spend(rows.len()).await;
        let places = watchers::places(self.group, db);
        let mut is_sure = self.watchers.watch(&places, rows, companies).await?;
        let mut placed = self.group.look_at_places(&mut self.sources, db, rows).await?;
        let marks = self.passage.marks().await?;
        self.passage.wait(&marks).await?;
        let target = self.group.look.at(&mut self.target, db, rows).await?;
        for ((row, sources), target) in rows.iter().zip(&mut placed).zip(&target) {
            self.large(db, row, sources, target).await?;
        }
        let source = without_places(placed);
        // The watch must reach as far as what the target has: a replica that lags hears of it later.
        if let Some(ahead) = &mut self.ahead {
            ahead.check().await?;
        }
        let untouched = self.watchers.unwatch(&places, rows, companies, &mut is_sure);
        untouched.await?;
        self.apply(db, rows, (source, target), &is_sure, outcome)
    }

    /// Compares a value that is too large to be looked at as a whole, with each place of the source that has it.
    async fn large(
        &mut self,
        db: u32,
        row: &Noted,
        sources: &mut [(Place, Seen)],
        target: &Seen,
    ) -> Result<(), Error> {
        let is_large = |seen: &Seen| seen.value == seen::Value::Large;
        for (place, seen) in sources {
            let is_open = judge(seen, target, self.group.tolerance_ms) == Verdict::Unknown;
            if !is_open || !is_large(seen) && !is_large(target) {
                continue;
            }
            let large = Large {
                key: &row.key,
                kind: &seen.kind,
                length: seen.length.unwrap_or(0),
            };
            let lines = &mut self.sources[place.origin];
            let compared = pieces::compare((lines, place.db), (&mut self.target, db), &large).await?;
            match compared {
                Compared::Same => seen.value = seen::Value::Pieces(None),
                Compared::Differ(how) => seen.value = seen::Value::Pieces(Some(how)),
                Compared::Torn => {}
            }
        }
        Ok(())
    }

    fn apply(
        &self,
        db: u32,
        rows: &[Noted],
        (source, target): (Vec<Vec<Seen>>, Vec<Seen>),
        is_sure: &[bool],
        outcome: &mut Outcome,
    ) -> Result<(), Error> {
        let (mut gone, mut differences) = (Vec::new(), Vec::new());
        let seen = source.into_iter().zip(target).zip(is_sure);
        for (row, ((source, target), is_sure)) in rows.iter().zip(seen) {
            let verdict = judge_all(&source, &target, self.group.tolerance_ms);
            if !is_sure || verdict == Verdict::Unknown {
                continue;
            }
            outcome.uncompared += u64::from(verdict == Verdict::Uncompared);
            if let Some(difference) = difference(verdict) {
                let told = Told {
                    difference: Some(difference),
                    source,
                    target,
                };
                differences.push((&row.key, told.note()));
            }
            gone.push(&row.key);
        }
        let differences = differences.iter().map(|(key, note)| (db, &key[..], &note[..]));
        self.found.differences.insert(differences)?;
        self.found
            .suspects
            .remove(gone.iter().map(|key| (db, &key[..])))?;
        Ok(())
    }
}
