//! Windows: stretches of one shard's stream that carry the import of slots which are not that shard's yet. Without I/O.
//!
//! What a window brings of its slots is never applied. It is what the other shard's stream says as well, of which it is not known how much the target has
//! already; and an import that is given up was never data at all. Where the slots arrive, what follows the window is foreign ([`super::slots`]): it
//! waits until the target is with the other shard's stream up to there.
//!
//! A stream may be read again from before a window, or from within it: what has been seen of one stays, until the target is past its end.

use serde::{Deserialize, Serialize};

use crate::core::command::marker::Ranges;
use crate::core::position::{History, Offset, Position, ReplId};

/// One window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The import's name.
    id: String,
    /// The history of the offsets.
    history: String,
    /// Where the marker ends that opens it.
    from: u64,
    /// Where the one ends that closes it, if that has been seen.
    until: Option<u64>,
    slots: Ranges,
}

impl Window {
    /// What it imports.
    #[must_use]
    pub fn slots(&self) -> &Ranges {
        &self.slots
    }

    /// The import's name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether what ends there lies in it.
    fn holds(&self, end: Offset) -> bool {
        self.from < end.get() && self.until.is_none_or(|until| end.get() < until)
    }

    fn has(&self, slot: u16) -> bool {
        covers(&self.slots, slot)
    }

    fn is_of(&self, history: &History) -> bool {
        let id = ReplId::parse(self.history.as_bytes());
        id.is_ok_and(|id| {
            history.contains(&Position {
                id,
                offset: Offset::new(self.from),
            })
        })
    }
}

/// Whether the slot is in one of the ranges.
#[must_use]
pub fn covers(ranges: &Ranges, slot: u16) -> bool {
    ranges
        .iter()
        .any(|(first, last)| (*first..=*last).contains(&slot))
}

/// The windows of one shard's stream, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Windows(Vec<Window>);

impl Windows {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a command of that slot that ends at `end` is an import's.
    #[must_use]
    pub fn has(&self, slot: u16, end: Offset) -> bool {
        self.0.iter().any(|one| one.holds(end) && one.has(slot))
    }

    /// Whether what ends there lies in a window, of whatever slots.
    #[must_use]
    pub fn holds(&self, end: Offset) -> bool {
        self.0.iter().any(|one| one.holds(end))
    }

    /// Those around what comes behind `at`, of that history.
    #[must_use]
    pub fn open_at(&self, at: Offset, history: &History) -> Vec<Window> {
        let next = Offset::new(at.get() + 1);
        let open = self.0.iter().filter(|one| one.holds(next) && one.is_of(history));
        open.cloned().collect()
    }

    /// A marker that ends at `at` opens one. An earlier import of the same slots is over.
    pub fn open(&mut self, id: String, slots: Ranges, at: Position) {
        let from = at.offset.get();
        if self.0.iter().any(|one| one.id == id && one.holds(at.offset)) {
            return;
        }
        // What was seen of it before, in this history or another, is seen again.
        self.0.retain(|one| one.from < from);
        for one in &mut self.0 {
            if one.until.is_none() && (one.id == id || slots.iter().any(|(first, _)| one.has(*first))) {
                one.until = Some(from);
            }
        }
        self.0.push(Window {
            id,
            history: at.id.to_string(),
            from,
            until: None,
            slots,
        });
    }

    /// A marker that ends there closes the one of that name: which slots it is about.
    pub fn close(&mut self, id: &str, end: Offset) -> Option<Ranges> {
        let is_it = |one: &&mut Window| {
            one.id == id && one.from < end.get() && one.until.is_none_or(|until| until == end.get())
        };
        let one = self.0.iter_mut().rev().find(is_it)?;
        one.until = Some(end.get());
        Some(one.slots.clone())
    }

    /// Without a marker: a slot of those that have been open since `before` is, for sure, this shard's, or its import is over.
    pub fn end_those_with(
        &mut self,
        is_over: impl Fn(u16) -> bool,
        before: Offset,
        end: Offset,
    ) -> Vec<Ranges> {
        let mut ended = Vec::new();
        for one in &mut self.0 {
            let first = one.slots.first().map(|(first, _)| *first);
            if one.until.is_none() && one.from <= before.get() && first.is_some_and(&is_over) {
                one.until = Some(end.get());
                ended.push(one.slots.clone());
            }
        }
        ended
    }

    /// The target is past what ends there: whether some have been forgotten for that.
    pub fn forget_before(&mut self, recorded: Offset) -> bool {
        let before = self.0.len();
        self.0
            .retain(|one| one.until.is_none_or(|until| until > recorded.get()));
        self.0.len() < before
    }

    /// Those of other histories say nothing.
    pub fn keep_of(&mut self, history: &History) {
        self.0.retain(|one| one.is_of(history));
    }
}

#[cfg(test)]
mod tests {
    use super::super::ticks::tests::at;
    use super::*;

    const fn end(n: u64) -> Offset {
        Offset::new(n)
    }

    fn opened() -> Windows {
        let mut windows = Windows::default();
        windows.open("one".to_owned(), vec![(3, 7)], at(100));
        windows
    }

    #[test]
    fn what_lies_between_the_markers_is_an_imports() {
        let mut windows = opened();
        assert_eq!(windows.close("other", end(200)), None);
        assert_eq!(windows.close("one", end(200)), Some(vec![(3, 7)]));
        for (slot, at, expected) in [
            (5, 100, false),
            (5, 101, true),
            (5, 199, true),
            (5, 201, false),
            (8, 150, false),
        ] {
            assert_eq!(windows.has(slot, end(at)), expected, "{slot} {at}");
        }
    }

    #[test]
    fn a_stream_that_is_read_again_meets_the_same_windows() {
        let mut windows = opened();
        windows.close("one", end(200));
        let seen = windows.clone();
        windows.open("one".to_owned(), vec![(3, 7)], at(100));
        assert_eq!(windows.close("one", end(200)), Some(vec![(3, 7)]));
        assert_eq!(windows, seen);
    }

    #[test]
    fn an_import_that_is_tried_again_opens_again() {
        let mut windows = opened();
        windows.close("one", end(150));
        windows.open("one".to_owned(), vec![(3, 7)], at(160));
        let inside: Vec<u64> = [101, 155, 161]
            .into_iter()
            .filter(|at| windows.has(5, end(*at)))
            .collect();
        assert_eq!(inside, [101, 161]);
        assert_eq!(windows.close("one", end(200)), Some(vec![(3, 7)]));
        assert!(!windows.has(5, end(155)));
    }

    #[test]
    fn a_window_is_kept_until_the_target_is_past_it() {
        let mut windows = opened();
        assert!(!windows.forget_before(end(500)), "it is open");
        windows.close("one", end(200));
        assert!(!windows.forget_before(end(199)));
        assert!(windows.forget_before(end(200)));
        assert!(windows.is_empty());
    }

    #[test]
    fn without_a_marker_it_ends_when_that_is_sure() {
        let mut windows = opened();
        assert!(windows.end_those_with(|_| true, end(99), end(300)).is_empty());
        assert!(
            windows
                .end_those_with(|slot| slot == 9, end(250), end(300))
                .is_empty()
        );
        assert_eq!(
            windows.end_those_with(|slot| slot == 3, end(250), end(300)),
            [vec![(3, 7)]]
        );
        assert!(!windows.has(5, end(301)));
    }

    #[test]
    fn a_window_of_another_history_is_none() {
        let mut windows = opened();
        assert_eq!(windows.open_at(end(150), &History::new(at(0).id)).len(), 1);
        let other = History::new(ReplId::parse(&[b'b'; 40]).unwrap());
        assert!(windows.open_at(end(150), &other).is_empty());
        windows.keep_of(&other);
        assert!(windows.is_empty());
    }
}
