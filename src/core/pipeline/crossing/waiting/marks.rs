//! The marks in a stream of slots that come or go as a whole, and what follows from them.

use bytes::Bytes;

use super::{Crossing, Ruling};
use crate::core::catalog::Durability;
use crate::core::command::Command;
use crate::core::command::marker::{Marker, marker};
use crate::core::position::{Offset, Position};
use crate::core::resp::Frame;

use super::super::Member;
use super::super::clearing::is_single;
use super::super::ticks::Tick;
use super::super::windows::{Window, Windows};

impl Crossing {
    /// Takes what is known of the stream's windows.
    pub(super) fn take_windows(&mut self) {
        let history = self.history;
        self.change_windows(|windows| windows.keep_of(&history));
    }

    fn change_windows<R>(&mut self, change: impl FnOnce(&mut Windows) -> R) -> R {
        self.change_windows_with(Durability::Durable, change)
    }

    fn change_windows_with<R>(
        &mut self,
        durability: Durability,
        change: impl FnOnce(&mut Windows) -> R,
    ) -> R {
        let (result, windows) = self.crossings.change_windows(&self.name, durability, change);
        self.windows = windows;
        result
    }

    /// Takes a `CLUSTER` command in.
    pub(super) fn mark(&mut self, frame: &Frame<'_>) -> Ruling {
        let Some(marker) = marker(frame) else {
            return Ruling::Free;
        };
        let end = frame.end();
        self.crossings.stir();
        tracing::info!(name = self.name, offset = %end, ?marker, "slots move as a whole");
        match marker {
            Marker::Opens { id, slots, clears } => {
                let at = Position {
                    id: self.history.id,
                    offset: end,
                };
                self.change_windows(|windows| windows.open(id, slots, clears, at));
            }
            Marker::Closes { id, arrived } => {
                let window = self.change_windows(|windows| windows.close(&id, end));
                if let (Some(window), true) = (window, arrived) {
                    self.slots.arrive(window.slots(), end);
                    self.back.push(window.slots().clone());
                    return self.give_back(&window, end);
                }
            }
            Marker::Leave(slots) => self.slots.leave(&slots, end),
        }
        Ruling::Free
    }

    /// What the import has deleted last is deleted once more, behind what the other shard's stream says.
    fn give_back(&mut self, window: &Window, end: Offset) -> Ruling {
        let Some(keys) = window.last_deleted() else {
            tracing::warn!(
                name = self.name,
                "more keys than are remembered were deleted right before their slots moved: all shards begin anew"
            );
            self.crossings.inner().entangle();
            return Ruling::Free;
        };
        if keys.is_empty() {
            return Ruling::Free;
        }
        if self.has_causes(end, &keys) {
            self.given_back = keys;
            return Ruling::GiveBack;
        }
        self.wait(end, keys, false);
        Ruling::Hold
    }

    /// Whether a command with these keys has its causes on the target, as far as that is known without waiting.
    fn has_causes(&mut self, end: Offset, keys: &[Bytes]) -> bool {
        let is_covered = end <= self.covered || end == self.passed;
        is_covered || self.looks_closely && self.has_known_causes(end, keys)
    }

    /// The keys that [`Ruling::GiveBack`] is about.
    pub fn take_given_back(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.given_back)
    }

    /// A command of an import is left out; the last deletions are remembered.
    pub(super) fn leave_out(&mut self, slot: u16, frame: &Frame<'_>, command: &Command) {
        let end = frame.end();
        let is_single = is_single(frame, command) && self.open.is_none();
        let deleted = frame.arg(1).filter(|_| is_single);
        if self.windows.minds(slot, end, is_single) {
            // Not durably: each may be one of thousands, with which a shard gives an import up.
            self.change_windows_with(Durability::Process, |windows| windows.note(slot, end, deleted));
        }
    }

    /// Whether a command of that slot is what an import brings.
    pub(super) fn imports(&self, slot: u16, end: Offset) -> bool {
        !self.windows.is_empty() && self.windows.has(slot, end)
    }

    /// The functions of the other shard come along with its slots; its own stream says them too. The target may be too old for their format.
    pub(super) fn imports_functions(&self, frame: &Frame<'_>) -> bool {
        !self.windows.is_empty()
            && self.windows.holds(frame.end())
            && frame
                .arg(1)
                .is_some_and(|arg| arg.eq_ignore_ascii_case(b"RESTORE"))
    }

    /// The stream passes `end`, where it was when the tick was taken: a window whose closing mark is missing, because its master failed over, may be seen to be over.
    pub(super) fn end_windows(&mut self, tick: &Tick, end: Offset) {
        if self.windows.is_empty() {
            return;
        }
        let (name, before) = (self.name.clone(), self.last_tick);
        let is_mine = |slot: u16| tick.owner(slot) == Some(name.as_str());
        let rests = tick.knows_migrations() && !tick.migrates();
        let is_over = |slot: u16| is_mine(slot) || rests;
        for slots in self.change_windows(|windows| windows.end_those_with(is_over, before, end)) {
            if slots.first().is_some_and(|(first, _)| is_mine(*first)) {
                self.slots.arrive(&slots, end);
            }
        }
    }

    /// What the target is past needs not be known any more.
    pub(super) fn forget_windows(&mut self) {
        if self.windows.is_empty() {
            return;
        }
        let inner = self.crossings.inner();
        let recorded = inner.members.get(&self.name).and_then(Member::checkpointed);
        drop(inner);
        if let Some(recorded) = recorded {
            self.change_windows(|windows| windows.forget_before(recorded));
        }
    }
}
