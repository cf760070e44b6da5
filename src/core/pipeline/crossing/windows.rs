//! Windows: stretches of one shard's stream that carry the import of slots which are not that shard's yet. Without I/O.
//!
//! What a window brings of its slots is never applied. It is what the other shard's stream says as well, of which it is not known how much the target has
//! already; and an import that is given up was never data at all. Where the slots arrive, what follows the window is foreign ([`super::slots`]): it
//! waits until the target is with the other shard's stream up to there.
//!
//! Where the other shard clears what it has given away ([`super::clearing`]), the import's last deletions are given back at the end of the window: which of them
//! the other stream still has cannot be told. Nothing of these keys comes behind them there, so that deleting them once more does no harm. More than a few of them,
//! with nothing else of these slots between, are not kept: then all shards begin anew.
//!
//! A stream may be read again from before a window, or from within it: what has been seen of one stays, until the target is past its end.

use serde::{Deserialize, Serialize};

use bytes::Bytes;

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
    /// The shard that has the slots deletes its keys one by one afterwards.
    clears: bool,
    /// The last deletions, as far as nothing else has come behind them: where each ends, and its key.
    tail: Vec<(u64, Vec<u8>)>,
    /// There were too many.
    overflows: bool,
}

/// So many are kept.
const TAIL_MAX: usize = 256;

impl Window {
    /// What it imports.
    #[must_use]
    pub fn slots(&self) -> &Ranges {
        &self.slots
    }

    /// The keys that its last commands delete; nothing where they are too many.
    #[must_use]
    pub fn last_deleted(&self) -> Option<Vec<Bytes>> {
        let keys = self.tail.iter().map(|(_, key)| Bytes::copy_from_slice(key));
        (!self.overflows).then(|| keys.collect())
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
    /// Forgets the last deletions, as if there were too many.
    pub fn drop_tails(&mut self) {
        for one in &mut self.0 {
            one.overflows |= !one.tail.is_empty();
            one.tail.clear();
        }
    }

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
    pub fn open(&mut self, id: String, slots: Ranges, clears: bool, at: Position) {
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
            clears,
            tail: Vec::new(),
            overflows: false,
        });
    }

    /// Whether a command of that slot changes what is known of the last deletions.
    #[must_use]
    pub fn minds(&self, slot: u16, end: Offset, deletes: bool) -> bool {
        let minds = |one: &Window| one.clears && (deletes || !one.tail.is_empty() || one.overflows);
        self.0
            .iter()
            .any(|one| one.holds(end) && one.has(slot) && minds(one))
    }

    /// A command of that slot that ends there deletes this key, or is another.
    pub fn note(&mut self, slot: u16, end: Offset, deleted: Option<&[u8]>) {
        let is_it = |one: &&mut Window| one.clears && one.holds(end) && one.has(slot);
        for one in self.0.iter_mut().filter(is_it) {
            one.tail.retain(|(at, _)| *at < end.get());
            match deleted {
                Some(_) if one.tail.len() == TAIL_MAX => one.overflows = true,
                Some(key) => one.tail.push((end.get(), key.to_vec())),
                None => {
                    one.tail.clear();
                    one.overflows = false;
                }
            }
        }
    }

    /// A marker that ends there closes the one of that name.
    pub fn close(&mut self, id: &str, end: Offset) -> Option<Window> {
        let is_it = |one: &&mut Window| {
            one.id == id && one.from < end.get() && one.until.is_none_or(|until| until == end.get())
        };
        let one = self.0.iter_mut().rev().find(is_it)?;
        one.until = Some(end.get());
        Some(one.clone())
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
        windows.open("one".to_owned(), vec![(3, 7)], true, at(100));
        windows
    }

    fn closed(windows: &mut Windows, id: &str, at: u64) -> Option<Ranges> {
        windows.close(id, end(at)).map(|one| one.slots)
    }

    #[test]
    fn the_last_deletions_are_known_until_something_else_comes() {
        let keys = |windows: &mut Windows| windows.clone().close("one", end(999)).unwrap().last_deleted();
        let mut windows = opened();
        windows.note(5, end(110), Some(b"a"));
        windows.note(5, end(120), None);
        assert!(!windows.minds(5, end(125), false));
        windows.note(5, end(130), Some(b"b"));
        windows.note(8, end(140), Some(b"not of these slots"));
        windows.note(6, end(150), Some(b"c"));
        let expected = Some(vec![Bytes::from_static(b"b"), Bytes::from_static(b"c")]);
        assert_eq!(keys(&mut windows), expected);
        // The stream is read again.
        windows.note(5, end(130), Some(b"b"));
        windows.note(6, end(150), Some(b"c"));
        assert_eq!(keys(&mut windows), expected);
        for n in 0..TAIL_MAX as u64 {
            windows.note(5, end(200 + n), Some(b"x"));
        }
        assert_eq!(keys(&mut windows), None, "too many");
        windows.note(5, end(600), None);
        assert_eq!(keys(&mut windows), Some(vec![]));
    }

    #[test]
    fn what_lies_between_the_markers_is_an_imports() {
        let mut windows = opened();
        assert_eq!(closed(&mut windows, "other", 200), None);
        assert_eq!(closed(&mut windows, "one", 200), Some(vec![(3, 7)]));
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
        windows.open("one".to_owned(), vec![(3, 7)], true, at(100));
        assert_eq!(closed(&mut windows, "one", 200), Some(vec![(3, 7)]));
        assert_eq!(windows, seen);
    }

    #[test]
    fn an_import_that_is_tried_again_opens_again() {
        let mut windows = opened();
        windows.close("one", end(150));
        windows.open("one".to_owned(), vec![(3, 7)], true, at(160));
        let inside: Vec<u64> = [101, 155, 161]
            .into_iter()
            .filter(|at| windows.has(5, end(*at)))
            .collect();
        assert_eq!(inside, [101, 161]);
        assert_eq!(closed(&mut windows, "one", 200), Some(vec![(3, 7)]));
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
