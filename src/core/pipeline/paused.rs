//! What a pipeline does while nothing is applied: it is paused, or its target is away.
//!
//! Promises that the source goes on being received into the log as far as there is room, and that it is never kept waiting for a reader that does
//! not come.

use super::{Pipeline, Round, receive};
use crate::core::log;
use crate::core::position::Position;
use crate::core::progress::Phase;
use crate::core::resume::{self, Ask, Read};

impl Pipeline {
    /// Applies nothing until the operator wishes something else; false where something must be done for that first.
    ///
    /// | the log | a snapshot is asked for, or not yet restored | the source is followed | what |
    /// | --- | --- | --- | --- |
    /// | in memory | yes | – | the link is closed: nobody reads the snapshot, and the source must not be kept waiting with it |
    /// | in memory | no | yes | rests, until the source wants to send a snapshot |
    /// | on disk | – | yes, and the target's checkpoint is known | rests |
    /// | – | – | no, or the checkpoint is not known | plan first |
    pub(super) async fn rest(&mut self, round: &mut Round) -> bool {
        if !self.log.resumable() && self.has_snapshot_in_hand(round) {
            round.stop_receiving().await;
            // Ends with the operator's next wish.
            let _ = self.wish.changed().await;
            return true;
        }
        // Known from before the pause, or from a session that was opened for it.
        let Some(receiver) = round.receiver.as_mut().filter(|_| round.placed) else {
            return false;
        };
        tokio::select! {
            _ = self.wish.changed() => {}
            () = receiver.has_news() => {}
        }
        true
    }

    /// Whether a snapshot is on its way, or received and not restored.
    fn has_snapshot_in_hand(&self, round: &Round) -> bool {
        let asks = round
            .receiver
            .as_ref()
            .is_some_and(receive::Task::asks_for_snapshot);
        let applied = self.progress.ladder().applied;
        let is_full_sync = self.progress.phase() == Phase::FullSync;
        let unrestored = |one: log::SnapshotInfo| applied < one.position.offset || is_full_sync;
        asks || self.log.snapshot().is_some_and(unrestored)
    }

    /// Where the target is away and the log can go on, receives into it.
    pub(super) fn receive_while_waiting(&self, round: &mut Round) {
        if round.receiver.is_some() {
            return;
        }
        // An empty log says nothing that the checkpoint does not say better.
        let Some(log) =
            resume::Log::of(&self.log).filter(|log| log.extent.len_bytes() > 0 || log.snapshot.is_some())
        else {
            return;
        };
        let end = Position {
            id: log.history.id,
            offset: log.extent.end,
        };
        if round.history.is_none_or(|history| history.contains(&end)) {
            tracing::info!(%end, "receiving from the log's end while nothing is applied");
            self.progress.begin_history(end.offset);
            round.receiver = Some(self.receiver(Ask::Continue(end)));
            round.force_is_asked = false;
        }
    }

    /// Where a pause began before anything was applied, the ladder shows all the same how far the target is.
    pub(super) fn show_paused(&self, read: Read, generation: u64) {
        match read {
            Read::Log(from) => {
                let _ = self.progress.begin_applying(generation, from);
                self.progress.set_phase(Phase::Incremental);
            }
            Read::Snapshot(_) | Read::Coming => self.progress.set_phase(Phase::FullSync),
        }
    }
}
