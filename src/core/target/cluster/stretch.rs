//! A batch cut for a cluster: by slot, and at the commands that belong to no single slot.
//!
//! Owns which command goes into which group, and leaves out what the slot's fence covers already. A transaction of the source stays whole where one
//! slot suffices: its commands are in one group, which goes out as a transaction; over several slots it is split, and counted.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::act::Act;
use super::fences::Fences;
use super::group::Group;
use super::route::{CrossSlot, Route, route};
use crate::core::command::{self, Class, Kind, SLOTS};
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
}

/// Where the group of each slot lies among those of the stretch that is being cut: a table that is used again and again.
pub(super) struct Places(Box<[u32]>);

impl Places {
    const NONE: u32 = u32::MAX;

    pub(super) fn new() -> Places {
        Places(vec![Places::NONE; usize::from(SLOTS)].into_boxed_slice())
    }
}

impl std::fmt::Debug for Places {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Places")
    }
}

/// Cuts a batch; `number` is its own.
pub(super) fn cut(batch: &mut Batch, number: u64, routing: &Routing, places: &mut Places) -> Cut {
    let ends: Vec<Offset> = batch.ends().to_vec();
    let mut first = 0;
    let mut cutting = Cutting {
        number,
        end: batch.end(),
        routing,
        transaction: None,
        cut: Cut::default(),
        groups: Vec::new(),
        places,
    };
    for piece in batch.pieces() {
        let Piece::Commands { bytes, count } = piece else {
            // The checkpoint is not in the stream's way here: it is written beside it.
            continue;
        };
        cutting.take_all(bytes, ends.get(first..).unwrap_or_default());
        first += count;
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
    /// Those of the stretch at hand, and where each slot's is.
    groups: Vec<Group>,
    places: &'a mut Places,
}

impl Cutting<'_> {
    /// Takes whole commands, which end there. They were found in the stream before, or made by us; what is none all the same is not passed over in
    /// silence.
    fn take_all(&mut self, commands: &Bytes, ends: &[Offset]) {
        let mut ends = ends.iter();
        let mut framer = Framer::new(Limits::default());
        let begun = framer.push(Offset::ZERO, commands.clone());
        while let Ok(Some(frame)) = framer.next() {
            let end = ends.next().copied().unwrap_or(self.end);
            self.take(&frame, end);
        }
        let fault = begun.err().or_else(|| framer.next().err());
        let framed = framer.framed().unwrap_or(Offset::ZERO).get();
        let rest = commands.slice(usize::try_from(framed).unwrap_or(0)..);
        if !rest.is_empty() {
            let why = fault.map_or_else(|| "its end is missing".to_owned(), |fault| fault.to_string());
            self.cut.refused.push((rest, format!("no whole command: {why}")));
        }
    }

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
                    self.keep(slot, frame.to_bytes(), end, blind);
                }
                Route::Split(parts) => {
                    let blind = command.class(frame) == Class::Blind;
                    for (slot, bytes) in parts {
                        self.keep(slot, bytes, end, blind);
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

    fn keep(&mut self, slot: u16, command: Bytes, end: Offset, blind: bool) {
        if self.routing.fences.covers(slot, end) {
            self.cut.skipped += 1;
            return;
        }
        if let Some((first, another)) = &mut self.transaction {
            *another |= first.is_some_and(|first| first != slot);
            first.get_or_insert(slot);
        }
        let place = &mut self.places.0[usize::from(slot)];
        if *place == Places::NONE {
            *place = u32::try_from(self.groups.len()).expect("no more groups than slots");
            self.groups.push(Group::new(slot, self.number));
        }
        let group = &mut self.groups[*place as usize];
        group.keep(command, end, blind, self.transaction.is_some());
    }

    fn close_stretch(&mut self) {
        if self.groups.is_empty() {
            return;
        }
        for group in &self.groups {
            self.places.0[usize::from(group.slot)] = Places::NONE;
        }
        let groups = std::mem::take(&mut self.groups);
        self.cut.stretches.push(Stretch::Groups(groups));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_whole_command_is_refused_and_what_comes_behind_it_is_not_lost() {
        const SET: &str = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";
        for (broken, why) in [
            ("*1\r\n$4\r\nPI", "its end is missing"),
            ("*x\r\n", "not a number"),
        ] {
            let mut batch = Batch::new(Offset::ZERO, 0, 0);
            batch.push(Bytes::from(format!("{SET}{broken}")), 2);
            batch.note_end(Offset::new(10));
            batch.push(Bytes::from_static(SET.as_bytes()), 1);
            batch.note_end(Offset::new(20));
            batch.advance(Offset::new(30));
            let routing = Routing {
                fences: Arc::default(),
                cross_slot: CrossSlot::Split,
            };
            let cut = cut(&mut batch, 0, &routing, &mut Places::new());
            let [(letter, reason)] = &cut.refused[..] else {
                panic!("{:?}", cut.refused);
            };
            assert_eq!(letter, broken.as_bytes());
            assert!(reason.contains(why), "{reason}");
            let [Stretch::Groups(groups)] = &cut.stretches[..] else {
                panic!("{:?}", cut.stretches);
            };
            assert_eq!(groups[0].commands(), 2);
            let later = Offset::new(20);
            assert!(groups[0].may_be_replayed(1, later) && !groups[0].may_be_replayed(1, Offset::new(19)));
        }
    }
}
