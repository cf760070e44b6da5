//! Commands that concern databases: SELECT, FLUSHALL, FLUSHDB, SWAPDB, MOVE, COPY. The table at the room's head says
//! what becomes of them.

use std::collections::BTreeSet;

use super::{DropReason, Filter, State, Straddle, Verdict, with_number};
use crate::core::resp::{Frame, encode_command, write_array_header, write_bulk, write_number};

use DropReason::{Database, NoEffect};
use Verdict::{Drop, Keep, Straddles};

impl Filter {
    pub(super) fn select(&self, state: &mut State, frame: &Frame<'_>) -> Verdict {
        let Some(db) = number(frame, 1) else {
            return Straddles(Straddle::Malformed);
        };
        state.db = db;
        state.target = self.databases.target(db);
        state.saw(db);
        let Some(target) = state.target else {
            return Drop(Database);
        };
        state.selected = Some(target);
        if target == db {
            return Keep;
        }
        rewritten(state, |state| with_number(&mut state.scratch, frame, 1, target))
    }

    pub(super) fn flushall(&self, state: &mut State, frame: &Frame<'_>) -> Verdict {
        if !self.keys.is_plain() {
            return Straddles(Straddle::AllKeys);
        }
        if self.databases.is_plain() {
            return Keep;
        }
        match self.databases.fed(state) {
            None => Straddles(Straddle::DatabasesUnknown),
            Some(fed) if fed.is_empty() => Drop(Database),
            Some(fed) => rewritten(state, |state| flush_each(state, frame, &fed)),
        }
    }

    pub(super) fn flushdb(&self, state: &State) -> Verdict {
        if state.target.is_none() {
            return Drop(Database);
        }
        if !self.keys.is_plain() {
            return Straddles(Straddle::AllKeys);
        }
        if self.databases.is_shared(state, state.db, state.db) {
            return Straddles(Straddle::SharedDatabase);
        }
        Keep
    }

    /// Both databases follow the same rules for keys, so these do not matter.
    pub(super) fn swapdb(&self, state: &mut State, frame: &Frame<'_>) -> Verdict {
        let (Some(a), Some(b)) = (number(frame, 1), number(frame, 2)) else {
            return Straddles(Straddle::Malformed);
        };
        state.saw(a);
        state.saw(b);
        let (to_a, to_b) = match (self.databases.target(a), self.databases.target(b)) {
            (None, None) => return Drop(Database),
            (Some(to_a), Some(to_b)) => (to_a, to_b),
            _ => return Straddles(Straddle::DeniedDatabase),
        };
        if to_a == to_b {
            return Drop(NoEffect);
        }
        if self.databases.is_shared(state, a, b) || self.databases.is_shared(state, b, a) {
            return Straddles(Straddle::SharedDatabase);
        }
        if (to_a, to_b) == (a, b) {
            return Keep;
        }
        rewritten(state, |state| {
            write_array_header(&mut state.scratch, 3);
            write_bulk(&mut state.scratch, b"SWAPDB");
            write_number(&mut state.scratch, u64::from(to_a));
            write_number(&mut state.scratch, u64::from(to_b));
        })
    }

    pub(super) fn move_key(&self, state: &mut State, frame: &Frame<'_>) -> Verdict {
        let (Some(key), Some(db)) = (frame.arg(1), number(frame, 2)) else {
            return Straddles(Straddle::Malformed);
        };
        state.saw(db);
        if let Some(reason) = self.keys.refusal(key) {
            return Drop(reason);
        }
        match (state.target, self.databases.target(db)) {
            (None, None) => Drop(Database),
            (None, Some(_)) => Straddles(Straddle::DeniedDatabase),
            (Some(_), None) => rewritten(state, |state| encode_command(&mut state.scratch, &[b"DEL", key])),
            (Some(from), Some(to)) if from == to => Drop(NoEffect),
            (Some(_), Some(to)) if to == db => Keep,
            (Some(_), Some(to)) => rewritten(state, |state| with_number(&mut state.scratch, frame, 2, to)),
        }
    }

    pub(super) fn copy_key(&self, state: &mut State, frame: &Frame<'_>) -> Verdict {
        let (Some(source), Some(copy)) = (frame.arg(1), frame.arg(2)) else {
            return Straddles(Straddle::Malformed);
        };
        let option = frame
            .args()
            .skip(3)
            .position(|arg| arg.eq_ignore_ascii_case(b"DB"));
        let option = option.map(|at| at + 4);
        let Some(db) = option.map_or(Some(state.db), |at| number(frame, at)) else {
            return Straddles(Straddle::Malformed);
        };
        state.saw(db);
        // Only the copy is written, so what happens to it decides.
        if let Some(reason) = self.key(db, copy) {
            return Drop(reason);
        }
        let (Some(from), Some(to)) = (state.target, self.databases.target(db)) else {
            return Straddles(Straddle::DeniedDatabase);
        };
        if self.keys.refusal(source).is_some() {
            return Straddles(Straddle::Keys);
        }
        match option {
            Some(_) if from == to && source == copy => Drop(NoEffect),
            Some(at) if to != db => rewritten(state, |state| with_number(&mut state.scratch, frame, at, to)),
            _ => Keep,
        }
    }
}

/// Flushes each database in turn, in the way that the command asked for, and goes back to where the connection was.
fn flush_each(state: &mut State, frame: &Frame<'_>, fed: &BTreeSet<u32>) {
    let mut at = state.selected;
    for &db in fed {
        if at != Some(db) {
            select(state, db);
            at = Some(db);
        }
        write_array_header(&mut state.scratch, frame.arg_count());
        write_bulk(&mut state.scratch, b"FLUSHDB");
        frame
            .args()
            .skip(1)
            .for_each(|arg| write_bulk(&mut state.scratch, arg));
    }
    match state.selected {
        Some(before) if at != Some(before) => select(state, before),
        Some(_) => {}
        None => state.selected = at,
    }
}

fn select(state: &mut State, db: u32) {
    write_array_header(&mut state.scratch, 2);
    write_bulk(&mut state.scratch, b"SELECT");
    write_number(&mut state.scratch, u64::from(db));
}

fn rewritten(state: &mut State, write: impl FnOnce(&mut State)) -> Verdict {
    write(state);
    Verdict::Rewrite(state.scratch.split().freeze())
}

/// The number in an argument.
fn number(frame: &Frame<'_>, index: usize) -> Option<u32> {
    std::str::from_utf8(frame.arg(index)?).ok()?.parse().ok()
}
