//! What becomes of candidates: writes in flight are no difference, and a difference that stands still is one.
//!
//! One round looks at the source (S1), notes where the source is, waits until the target has all that, looks at the target (T), and at the source again (S2):
//!
//! | S1 is as S2 | T is as S2 | the source has said nothing since S1 | |
//! | --- | --- | --- | --- |
//! | yes | yes | – | equal: gone |
//! | yes | no | yes | a difference |
//! | yes | no | no | a suspect: it may have changed to and fro, and T may be of between |
//! | no | – | – | a suspect: that T is as the one or the other may be chance, as with counters that are apart |
//!
//! Suspects are looked at under watch ([`super::watched`]), which knows for sure of all that stand still for as long as that takes. What does not is looked at in the next
//! round.
//!
//! What still changes after the last round is told apart. Each step is done for all candidates, a chunk at a time, so that one wait serves all of them.

use std::sync::Arc;

use super::ahead::Ahead;
use super::extra::Removal;
use super::group::Group;
use super::note::{Told, read, written};
use super::passage::Passage;
use super::repair::{self, Repair, Repaired};
use super::seen::{Difference, Kind, Seen, Verdict, is_same, judge_all};
use super::side::Lines;
use super::watched::Watched;
use super::{Error, Outcome, Settings, Shown};
use crate::core::catalog::{Mark, Noted, Table};

/// So many keys are looked at together.
const CHUNK: usize = 500;

/// Notes a candidate of which a server did not say what it has.
const UNKNOWN: &[u8] = b"?";

/// So often what still differs is repaired again.
const REPAIRS_MAX: u32 = 3;

/// The tables of a group, by the target's databases.
#[derive(Debug)]
pub(super) struct Found {
    /// To be looked at, with what was last seen at the source.
    pub(super) candidates: Table,
    /// To be looked at under watch, with [`Told`].
    pub(super) suspects: Table,
    /// For sure, with [`Told`].
    pub(super) differences: Table,
}

/// Settles the candidates of a group.
pub(super) struct Settling {
    settings: Arc<Settings>,
    pub(super) group: Group,
    pub(super) passage: Passage,
    /// For this round.
    pub(super) ahead: Option<Ahead>,
    pub(super) found: Found,
    shown: Arc<Shown>,
}

impl Settling {
    pub(super) fn new(
        settings: &Arc<Settings>,
        group: Group,
        passage: Passage,
        found: Found,
        shown: &Arc<Shown>,
    ) -> Settling {
        Settling {
            settings: Arc::clone(settings),
            group,
            passage,
            ahead: None,
            found,
            shown: Arc::clone(shown),
        }
    }

    /// Until no candidate is left, or the rounds are over.
    pub(super) async fn run(&mut self, outcome: &mut Outcome) -> Result<(), Error> {
        let mut can_watch = true;
        for round in 1..=self.settings.rounds {
            if self.found.candidates.is_empty()? {
                break;
            }
            outcome.rounds = outcome.rounds.max(round);
            self.group.refresh().await?;
            let mut ahead = Ahead::of(&self.group).await?;
            ahead.check().await?;
            self.ahead = Some(ahead);
            let is_quiet = self.round(outcome).await?;
            if is_quiet {
                self.believe()?;
            }
            if can_watch {
                can_watch = Watched::new(self).settle(outcome).await?;
            }
            if !can_watch && round == self.settings.rounds {
                self.believe()?;
                Watched::new(self).settle_large(outcome).await?;
            }
            // What changed under watch, too, is looked at again.
            each(&self.found.suspects, CHUNK, |rows| {
                let notes: Vec<&[u8]> = rows.iter().map(looked_at).collect();
                let rows = rows.iter().zip(notes);
                let rows = rows.map(|(row, note)| (row.db, &row.key[..], note));
                Ok(self.found.candidates.insert(rows)?)
            })?;
            self.found.suspects.clear()?;
        }
        if !can_watch {
            note(
                outcome,
                "the source does not permit WATCH and MULTI: a key that changes to and fro may be taken for a difference",
            );
        }
        Ok(())
    }

    /// Repairs what differs, where that is asked for, and looks at it again.
    pub(super) async fn repair(&mut self, outcome: &mut Outcome) -> Result<(), Error> {
        if self.settings.repair == super::Repair::No || self.found.differences.is_empty()? {
            return Ok(());
        }
        let removal = Removal::find(&self.group).await?;
        let mut ahead = Ahead::of(&self.group).await?;
        if self.settings.repair == super::Repair::Dry {
            let planned = repair::plan(&self.group, &self.found.differences, &removal)?;
            note_kept(planned, outcome);
            outcome.repaired = Some(sum(outcome.repaired, planned));
            return Ok(());
        }
        let before = outcome.repaired;
        let mut all = Repaired::default();
        for _ in 0..REPAIRS_MAX {
            self.group.refresh().await?;
            let repairing = Repair::new(&self.group, (&mut self.passage, &mut ahead), &removal);
            let repaired = repairing.run(&self.found.differences).await?;
            all = Repaired {
                copied: all.copied + repaired.copied,
                removed: all.removed + repaired.removed,
                ..repaired
            };
            each(&self.found.differences, CHUNK, |rows| {
                let rows = rows.iter().map(|row| (row.db, &row.key[..], &b"[]"[..]));
                Ok(self.found.candidates.insert(rows)?)
            })?;
            self.found.differences.clear()?;
            self.run(outcome).await?;
            // What changes often may need another time; what cannot be repaired never will be.
            let left = self.found.differences.count()?;
            if left <= repaired.kept + repaired.refused {
                break;
            }
        }
        note_kept(all, outcome);
        outcome.repaired = Some(sum(before, all));
        Ok(())
    }

    /// Counts what there is.
    pub(super) fn end(mut self, outcome: &mut Outcome) -> Result<(), Error> {
        outcome.followed &= self.passage.follows();
        outcome.notes.extend(self.passage.notes());
        let all = self.found.candidates.count()?;
        let mut unknown = 0;
        each(&self.found.candidates, CHUNK, |rows| {
            unknown += rows.iter().filter(|row| row.note == UNKNOWN).count() as u64;
            Ok(())
        })?;
        outcome.unknown += unknown;
        outcome.changing += all - unknown;
        each(&self.found.differences, CHUNK, |rows| {
            for told in rows.iter().filter_map(|row| Told::of(&row.note)) {
                if let Some(difference) = told.difference {
                    *outcome.counts.entry(difference).or_insert(0) += 1;
                }
            }
            Ok(())
        })?;
        outcome.differences.push(self.found.differences);
        Ok(())
    }

    /// One round. True where the source has said nothing between its two looks.
    async fn round(&mut self, outcome: &mut Outcome) -> Result<bool, Error> {
        let mut sources = self.group.source_lines();
        let candidates = self.found.candidates.clone();
        self.shown.begins_round(candidates.count()?);
        let mut mark = Mark::default();
        while let Some((db, rows)) = next_of_one_database(&candidates, &mut mark, CHUNK)? {
            self.group.pacing.spend(rows.len()).await;
            let seen = self.group.look_at_source(&mut sources, db, &rows).await?;
            let notes: Vec<Vec<u8>> = seen.iter().map(written).collect();
            let rows = rows.iter().zip(&notes);
            candidates.insert(rows.map(|(row, note)| (db, &row.key[..], &note[..])))?;
        }
        let marks = self.passage.marks().await?;
        self.passage.wait(&marks).await?;
        self.passage.rest().await;
        let mut target = Lines::new(&self.group.target);
        let mut mark = Mark::default();
        while let Some((db, rows)) = next_of_one_database(&candidates, &mut mark, CHUNK)? {
            self.group.pacing.spend(rows.len()).await;
            let seen = self.group.look.at(&mut target, db, &rows).await?;
            let again = self.group.look_at_source(&mut sources, db, &rows).await?;
            Shown::add(&self.shown.settled, rows.len());
            self.apply(db, &rows, seen, again, outcome)?;
        }
        // A replica that lags is quiet, too, and not so when it has caught up.
        if let Some(ahead) = &mut self.ahead {
            ahead.check().await?;
        }
        Ok(self.passage.follows() && self.passage.marks().await? == marks)
    }

    /// The table above, for some keys.
    fn apply(
        &self,
        db: u32,
        rows: &[Noted],
        target: Vec<Seen>,
        again: Vec<Vec<Seen>>,
        outcome: &mut Outcome,
    ) -> Result<(), Error> {
        let tolerance_ms = self.group.tolerance_ms;
        let (mut gone, mut suspects) = (Vec::new(), Vec::new());
        for (row, (target, after)) in rows.iter().zip(target.into_iter().zip(again)) {
            let before: Option<Vec<Seen>> = read(&row.note);
            let before = before.ok_or_else(|| Error::Bug("a candidate's note cannot be read".to_owned()))?;
            let is_still = is_same(&before, &after, tolerance_ms);
            let verdict = match is_still {
                true => judge_all(&after, &target, tolerance_ms),
                false => Verdict::Unknown,
            };
            match verdict {
                Verdict::Equal => {}
                Verdict::Uncompared => outcome.uncompared += 1,
                Verdict::Unknown | Verdict::Differs(_) => {
                    let told = Told {
                        difference: difference(verdict),
                        source: after,
                        target,
                    };
                    suspects.push((&row.key, told.note()));
                }
            }
            gone.push(&row.key);
        }
        let suspects = suspects.iter().map(|(key, note)| (db, &key[..], &note[..]));
        self.found.suspects.insert(suspects)?;
        self.found
            .candidates
            .remove(gone.iter().map(|key| (db, &key[..])))?;
        Ok(())
    }

    /// Takes suspects for differences, of which it is known how they differ.
    fn believe(&self) -> Result<(), Error> {
        each(&self.found.suspects, CHUNK, |rows| {
            let is_known = |row: &&Noted| Told::of(&row.note).is_some_and(|told| told.difference.is_some());
            let known: Vec<&Noted> = rows.iter().filter(is_known).collect();
            let noted = known.iter().map(|row| (row.db, &row.key[..], &row.note[..]));
            self.found.differences.insert(noted)?;
            let keys = known.iter().map(|row| (row.db, &row.key[..]));
            Ok(self.found.suspects.remove(keys)?)
        })
    }
}

/// What an operator should know, once.
fn note(outcome: &mut Outcome, note: &str) {
    if !outcome.notes.iter().any(|told| told == note) {
        outcome.notes.push(note.to_owned());
    }
}

/// The note of a candidate that was a suspect: whether a server says of it what it has.
fn looked_at(row: &Noted) -> &'static [u8] {
    let is_torn = |told: Told| {
        let mut seen = told.source.iter().chain([&told.target]);
        seen.any(|seen| seen.kind == Kind::Torn)
    };
    match Told::of(&row.note).is_some_and(is_torn) {
        true => UNKNOWN,
        false => b"[]",
    }
}

fn note_kept(repaired: Repaired, outcome: &mut Outcome) {
    if repaired.kept > 0 {
        note(
            outcome,
            "keys that the source does not have stay where a full sync would keep them (output.replay.staleKeys): they may be others'",
        );
    }
}

fn sum(before: Option<Repaired>, more: Repaired) -> Repaired {
    let before = before.unwrap_or_default();
    Repaired {
        dry: more.dry,
        copied: before.copied + more.copied,
        removed: before.removed + more.removed,
        kept: before.kept + more.kept,
        refused: before.refused + more.refused,
    }
}

pub(super) fn difference(verdict: Verdict) -> Option<Difference> {
    match verdict {
        Verdict::Differs(difference) => Some(difference),
        Verdict::Equal | Verdict::Uncompared | Verdict::Unknown => None,
    }
}

/// Does something with all keys of a table, some at a time.
pub(super) fn each(
    table: &Table,
    limit: usize,
    mut act: impl FnMut(&[Noted]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut mark = Mark::default();
    loop {
        let rows = table.next(&mut mark, limit)?;
        if rows.is_empty() {
            return Ok(());
        }
        act(&rows)?;
    }
}

/// The next keys of a table, all of one database; nothing at the end.
pub(super) fn next_of_one_database(
    table: &Table,
    mark: &mut Mark,
    limit: usize,
) -> Result<Option<(u32, Vec<Noted>)>, Error> {
    let before = mark.clone();
    let mut rows = table.next(mark, limit)?;
    let Some(db) = rows.first().map(|row| row.db) else {
        return Ok(None);
    };
    let same = rows.iter().take_while(|row| row.db == db).count();
    if same < rows.len() {
        // The others come with the next call.
        *mark = before;
        rows = table.next(mark, same)?;
    }
    Ok(Some((db, rows)))
}
