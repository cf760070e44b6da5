//! The wait until it is known whose a deletion is ([`super::super::clearing`]).

use std::sync::Arc;
use std::time::Instant;

use super::super::clearing::{Runs, Whose, exported};
use super::super::ticks::Tick;
use super::{Crossing, Ruling, Waiting};
use crate::core::position::Offset;
use crate::core::resp::{Frame, Framer, Limits};

/// A deletion of one key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deletion {
    slot: u16,
    begins: Offset,
    end: Offset,
}

impl Crossing {
    /// Whether the shard deletes one by one what it has given away.
    pub(super) fn learn_whether_it_clears(&mut self) {
        let inner = self.crossings.inner();
        // What cannot be known is not waited for.
        self.clears = !inner.is_blind()
            && inner
                .ticks
                .newest()
                .is_some_and(|tick| tick.exports(&self.name).is_some());
    }

    /// What becomes of a deletion of one key; nothing where it is as any other command.
    pub(super) fn rule_deletion(&mut self, slot: u16, frame: &Frame<'_>) -> Option<Ruling> {
        if !self.clears || self.open.is_some() || self.slots.is_away(slot) {
            return None;
        }
        let end = frame.end();
        let deletion = Deletion {
            slot,
            begins: Offset::new(end.get() - frame.bytes().len() as u64),
            end,
        };
        match self.whose(deletion) {
            Whose::Clients => None,
            Whose::Shards => Some(Ruling::Drop),
            Whose::Unknown => {
                self.waiting = Some(Waiting {
                    end,
                    keys: Vec::new(),
                    since: Instant::now(),
                    in_batch: false,
                    told: false,
                    deletion: Some(deletion),
                });
                Some(Ruling::Hold)
            }
        }
    }

    fn whose(&self, deletion: Deletion) -> Whose {
        let Some(now) = self.second_tick(deletion.end) else {
            return Whose::Unknown;
        };
        let Deletion { slot, end, .. } = deletion;
        let mut exported = exported(&self.name, slot, &self.gone, now).peekable();
        if exported.peek().is_none() {
            return Whose::Clients;
        }
        let runs = self.runs.as_ref();
        let Some((_, runs)) = runs.filter(|(tick, runs)| *tick == now.number && runs.holds(end)) else {
            return Whose::Unknown;
        };
        let has_gone = now.owner(slot) != Some(self.name.as_str()) || runs.comes_back(slot, end);
        match has_gone && exported.any(|slots| runs.is_last(slot, end, slots)) {
            true => Whose::Shards,
            false => Whose::Clients,
        }
    }

    /// What it says of slots was asked after the stream was behind `end`.
    fn second_tick(&self, end: Offset) -> Option<&Arc<Tick>> {
        let first = self.ahead.iter().position(|(at, _)| *at >= end)?;
        self.ahead.get(first + 1).map(|(_, tick)| tick)
    }

    /// Whether it is known whose the deletion is; learns more for that.
    pub(super) async fn has_learned_whose(&mut self, deletion: Deletion) -> bool {
        self.learn_whether_it_clears();
        if !self.clears || self.whose(deletion) != Whose::Unknown {
            return true;
        }
        let Some(now) = self.second_tick(deletion.end).map(Arc::clone) else {
            self.crossings.0.hurry.notify_one();
            return false;
        };
        self.read_ahead(deletion.begins, &now).await.is_some() && self.whose(deletion) != Whose::Unknown
    }

    /// Reads the stream on to where it was at that tick; nothing where it has not been received yet.
    async fn read_ahead(&mut self, from: Offset, tick: &Tick) -> Option<()> {
        let until = tick.at(&self.name)?.offset;
        let log = self.crossings.inner().members.get(&self.name)?.log.clone();
        if log.appended() < until {
            return None;
        }
        let mut reader = log.reader(from).ok()?;
        let (mut framer, mut runs) = (Framer::new(Limits::default()), Runs::new(from));
        while runs.position() < until {
            let chunk = reader.next().await.ok()?;
            framer.push(chunk.start, chunk.bytes).ok()?;
            while let Some(frame) = framer.next().ok()? {
                if frame.end() > until {
                    break;
                }
                runs.take(&frame);
            }
            if reader.position() >= until {
                break;
            }
        }
        self.runs = Some((tick.number, runs.finish()));
        Some(())
    }
}
