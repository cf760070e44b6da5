//! A batch cut for a cluster: by slot, and at the commands that belong to no single slot.
//!
//! Owns which command goes into which group, and leaves out what the slot's fence covers already. A transaction of the source stays whole where one
//! slot suffices: its commands are in one group, which goes out as a transaction; over several slots it is split, and counted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::act::Act;
use super::fences::Fences;
use super::group::Group;
use super::route::{CrossSlot, Route, route};
use crate::core::command::{self, Class, Kind};
use crate::core::position::Offset;
use crate::core::resp::{Frame, Framer, Limits};
use crate::core::target::batch::{Batch, Piece};

/// How the stream is delivered to a cluster.
#[derive(Debug, Clone, Copy)]
pub struct Delivery {
    /// With fences; otherwise at least once.
    pub exactly_once: bool,
    /// Commands over several slots.
    pub cross_slot: CrossSlot,
    /// Between two checkpoints.
    pub record_every: Duration,
}

/// What cutting goes by.
#[derive(Debug)]
pub(super) struct Routing {
    pub(super) fences: Arc<Fences>,
    pub(super) cross_slot: CrossSlot,
}

/// A part of a batch that goes out together.
#[derive(Debug)]
pub(super) enum Stretch {
    /// Commands of single slots: one group a slot.
    Groups(Vec<Group>),
    /// A command for which everything before it must be confirmed.
    Act(Act),
}

impl Stretch {
    /// How many confirmations it takes.
    pub(super) fn parts(&self) -> usize {
        match self {
            Stretch::Groups(groups) => groups.len(),
            Stretch::Act(_) => 1,
        }
    }
}

/// A batch in parts.
#[derive(Debug, Default)]
pub(super) struct Cut {
    pub(super) stretches: Vec<Stretch>,
    /// Commands that no cluster takes, and why.
    pub(super) refused: Vec<(Bytes, String)>,
    /// Commands that fences cover.
    pub(super) skipped: u64,
    /// Transactions of the source that are whole no more.
    pub(super) split_transactions: u64,
    groups: HashMap<u16, Group>,
}

/// Cuts a batch; `number` is its own.
pub(super) fn cut(batch: &mut Batch, number: u64, routing: &Routing) -> Cut {
    let ends: Vec<Offset> = batch.ends().to_vec();
    let mut cutting = Cutting {
        number,
        end: batch.end(),
        routing,
        transaction: None,
        cut: Cut::default(),
    };
    let mut ends = ends.into_iter();
    for piece in batch.pieces() {
        let Piece::Commands { bytes, .. } = piece else {
            // The checkpoint is not in the stream's way here: it is written beside it.
            continue;
        };
        let mut framer = Framer::new(Limits::default());
        if framer.push(Offset::ZERO, bytes.clone()).is_err() {
            continue;
        }
        while let Ok(Some(frame)) = framer.next() {
            let end = ends.next().unwrap_or(cutting.end);
            cutting.take(&frame, end);
        }
    }
    cutting.close_stretch();
    cutting.cut
}

struct Cutting<'a> {
    number: u64,
    end: Offset,
    routing: &'a Routing,
    /// Within a transaction of the source: the first slot it touched, and whether there was another.
    transaction: Option<(Option<u16>, bool)>,
    cut: Cut,
}

impl Cutting<'_> {
    fn take(&mut self, frame: &Frame<'_>, end: Offset) {
        let command = command::of(frame);
        match command.kind {
            Kind::Multi => self.transaction = Some((None, false)),
            Kind::Exec => {
                if let Some((_, true)) = self.transaction.take() {
                    self.cut.split_transactions += 1;
                }
            }
            Kind::Select => {}
            _ => match route(command, frame, self.routing.cross_slot) {
                Route::Slot(slot) => {
                    let blind = command.class(frame) == Class::Blind;
                    self.keep(slot, frame.bytes(), || frame.to_bytes(), end, blind);
                }
                Route::Split(parts) => {
                    let blind = command.class(frame) == Class::Blind;
                    for (slot, bytes) in parts {
                        self.keep(slot, &bytes, || bytes.clone(), end, blind);
                    }
                }
                Route::Refused(why) => {
                    let reason = format!("{why}: {}", why.hint());
                    self.cut.refused.push((frame.to_bytes(), reason));
                }
                other => {
                    if let Some(act) = Act::of(other, frame, end) {
                        self.close_stretch();
                        self.cut.stretches.push(Stretch::Act(act));
                    }
                }
            },
        }
    }

    fn keep(&mut self, slot: u16, command: &[u8], slice: impl FnOnce() -> Bytes, end: Offset, blind: bool) {
        if self.routing.fences.covers(slot, end) {
            self.cut.skipped += 1;
            return;
        }
        if let Some((first, another)) = &mut self.transaction {
            *another |= first.is_some_and(|first| first != slot);
            first.get_or_insert(slot);
        }
        let number = self.number;
        let group = self.cut.groups.entry(slot);
        let group = group.or_insert_with(|| Group::new(slot, number));
        group.keep(command, slice, end, blind, self.transaction.is_some());
    }

    fn close_stretch(&mut self) {
        let groups: Vec<Group> = self.cut.groups.drain().map(|(_, group)| group).collect();
        if !groups.is_empty() {
            self.cut.stretches.push(Stretch::Groups(groups));
        }
    }
}
