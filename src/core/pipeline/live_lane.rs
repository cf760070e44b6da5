//! The lane of the live stream, for either delivery, so that the loop that applies need not care which it is.

use super::Delivery;
use crate::core::filter;
use crate::core::position::ReplId;
use crate::core::target::batch::Batch;
use crate::core::target::exact::Exact;
use crate::core::target::loose::Loose;
use crate::core::target::session::Session;
use crate::core::target::{self, Outcome};

/// The lane of either delivery.
pub(super) enum LiveLane {
    Exact(Box<Exact>),
    Loose(Box<Loose>),
}

impl LiveLane {
    pub(super) fn new(session: Session, history: ReplId, delivery: Delivery) -> LiveLane {
        match delivery {
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
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        match self {
            LiveLane::Exact(lane) => lane.is_idle(),
            LiveLane::Loose(lane) => lane.is_idle(),
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
        }
    }

    /// Puts the checkpoint of what is confirmed on the wire, where it does not go with the batches. Says whether it did.
    pub(super) async fn record_confirmed(&mut self) -> Result<bool, target::Error> {
        match self {
            LiveLane::Exact(_) => Ok(false),
            LiveLane::Loose(lane) => lane.record_confirmed().await,
        }
    }

    pub(super) async fn outcome(&mut self) -> Result<Outcome, target::Error> {
        match self {
            LiveLane::Exact(lane) => lane.outcome().await,
            LiveLane::Loose(lane) => lane.outcome().await,
        }
    }

    /// The checkpoint says which of the source's databases have been seen: a FLUSHALL under rules needs to know.
    pub(super) fn note_seen(&mut self, state: &filter::State) {
        let Some(seen) = state.seen() else { return };
        let recorded = match self {
            LiveLane::Exact(lane) => lane.seen(),
            LiveLane::Loose(lane) => lane.seen(),
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
        }
    }
}
