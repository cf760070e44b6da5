//! The lane of the live stream, for either delivery, so that the loop that applies need not care which it is.

use super::{Delivery, Settings};
use crate::core::filter;
use crate::core::position::ReplId;
use crate::core::target::batch::Batch;
use crate::core::target::checkpoint::Checkpoint;
use crate::core::target::cluster::fenced::Fenced;
use crate::core::target::cluster::stretch;
use crate::core::target::exact::Exact;
use crate::core::target::loose::Loose;
use crate::core::target::session::Session;
use crate::core::target::{self, Outcome};

/// The lane of either delivery.
pub(super) enum LiveLane {
    Exact(Box<Exact>),
    Loose(Box<Loose>),
    Fenced(Box<Fenced>),
}

impl LiveLane {
    /// Goes on from `from`, which is in the history that its id names.
    pub(super) fn new(session: Session, from: Checkpoint, settings: &Settings) -> LiveLane {
        let history = from.position.id;
        if let Some(map) = session.lane.map().cloned() {
            let how = stretch::Delivery {
                exactly_once: settings.delivery == Delivery::ExactlyOnce,
                cross_slot: settings.cross_slot,
                record_every: settings.idle_checkpoint_every,
            };
            let lane = Fenced::new(session, map, &settings.target, from, how);
            return LiveLane::Fenced(Box::new(lane));
        }
        match settings.delivery {
            Delivery::ExactlyOnce => LiveLane::Exact(Box::new(Exact::new(session, history))),
            Delivery::AtLeastOnce { checkpoint_every } => {
                LiveLane::Loose(Box::new(Loose::new(session, history, checkpoint_every)))
            }
        }
    }

    pub(super) fn takes_batch(&self) -> bool {
        match self {
            LiveLane::Exact(lane) => lane.is_idle(),
            LiveLane::Loose(lane) => lane.has_room(),
            LiveLane::Fenced(lane) => lane.has_room(),
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        match self {
            LiveLane::Exact(lane) => lane.is_idle(),
            LiveLane::Loose(lane) => lane.is_idle(),
            LiveLane::Fenced(lane) => lane.is_idle(),
        }
    }

    /// `history` is that of the batch: its id goes into the checkpoint.
    pub(super) async fn submit(&mut self, batch: Batch, history: ReplId) -> Result<(), target::Error> {
        match self {
            LiveLane::Exact(lane) => {
                lane.set_history(history);
                lane.submit(batch).await
            }
            LiveLane::Loose(lane) => {
                lane.set_history(history);
                lane.submit(batch).await
            }
            LiveLane::Fenced(lane) => {
                lane.set_history(history);
                lane.submit(batch);
                Ok(())
            }
        }
    }

    /// Puts the checkpoint of what is confirmed on the wire, where it does not go with the batches. Says whether it did.
    pub(super) async fn record_confirmed(&mut self) -> Result<bool, target::Error> {
        match self {
            LiveLane::Exact(_) => Ok(false),
            LiveLane::Loose(lane) => lane.record_confirmed().await,
            LiveLane::Fenced(lane) => Ok(lane.record_confirmed()),
        }
    }

    pub(super) async fn outcome(&mut self) -> Result<Outcome, target::Error> {
        match self {
            LiveLane::Exact(lane) => lane.outcome().await,
            LiveLane::Loose(lane) => lane.outcome().await,
            LiveLane::Fenced(lane) => lane.outcome().await,
        }
    }

    /// The checkpoint says which of the source's databases have been seen: a FLUSHALL under rules needs to know.
    pub(super) fn note_seen(&mut self, state: &filter::State) {
        let Some(seen) = state.seen() else { return };
        let recorded = match self {
            LiveLane::Exact(lane) => lane.seen(),
            LiveLane::Loose(lane) => lane.seen(),
            LiveLane::Fenced(lane) => lane.seen(),
        };
        if !seen.eq(recorded.iter().copied()) {
            recorded.clear();
            recorded.extend(state.seen().into_iter().flatten());
        }
    }

    pub(super) fn session(&mut self) -> Option<&mut Session> {
        match self {
            LiveLane::Exact(lane) => lane.session(),
            LiveLane::Loose(lane) => lane.session(),
            LiveLane::Fenced(lane) => lane.session(),
        }
    }

    /// Whether batches are transactions of ours, so that the source's own are left out.
    pub(super) fn is_exact(&self) -> bool {
        matches!(self, LiveLane::Exact(_))
    }

    /// Whether a part of the target may stay away while the rest is served.
    pub(super) fn may_wait_long(&self) -> bool {
        matches!(self, LiveLane::Fenced(_))
    }

    /// Whether it must know where each command of a batch ends.
    pub(super) fn wants_ends(&self) -> bool {
        matches!(self, LiveLane::Fenced(_))
    }
}
