//! What is shown of a pipeline beside its positions: phase, state, full sync, trouble.

use std::time::SystemTime;

/// What a pipeline is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Neither side is up yet.
    #[default]
    Connecting,
    /// A snapshot is being received or replayed.
    FullSync,
    /// The live stream is being applied.
    Incremental,
    /// Another process leads this input; its log is being copied here.
    Following,
    /// Something failed; waiting before the next try.
    Backoff,
}

impl Phase {
    /// The name in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Phase::Connecting => "connecting",
            Phase::FullSync => "full_sync",
            Phase::Incremental => "incremental",
            Phase::Following => "following",
            Phase::Backoff => "backoff",
        }
    }
}

/// What the operator has made of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// Not started yet.
    #[default]
    ReadyRun,
    /// Running.
    Run,
    /// Replay is paused.
    Pause,
    /// Stopped: by the operator, or because something needs a person.
    Stop,
}

impl State {
    /// The name in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            State::ReadyRun => "ready_run",
            State::Run => "run",
            State::Pause => "pause",
            State::Stop => "stop",
        }
    }
}

/// The last thing that went wrong, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// When.
    pub at: SystemTime,
    /// What.
    pub message: String,
    /// What to do about it, where a person is needed.
    pub hint: Option<String>,
}

/// How far a full sync is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FullSync {
    /// Why it was needed.
    pub reason: String,
    /// Keys replayed and confirmed by the target.
    pub keys: u64,
    /// Bytes of the snapshot replayed.
    pub replayed_bytes: u64,
    /// Bytes of the snapshot received.
    pub received_bytes: u64,
    /// Length of the snapshot; unknown while a diskless one still arrives.
    pub total_bytes: Option<u64>,
    /// Keys have an expiry far ahead and get their own once everything is caught up.
    pub expiries_pending: bool,
    /// Keys of the target that were looked at, whether the snapshot has them; from 0 on again where a sweep begins again.
    pub swept: u64,
    /// Keys of the target that the snapshot has not, and that were left.
    pub stale_kept: u64,
    /// Those that were deleted.
    pub stale_deleted: u64,
}

impl FullSync {
    /// Whether all of the snapshot is here.
    #[must_use]
    pub fn is_received(&self) -> bool {
        self.total_bytes.is_some_and(|total| self.received_bytes >= total)
    }

    /// Nothing of it is left to do, here or elsewhere.
    pub fn complete(&mut self) {
        let total = self
            .total_bytes
            .unwrap_or(0)
            .max(self.received_bytes)
            .max(self.replayed_bytes);
        self.total_bytes = Some(total);
        (self.received_bytes, self.replayed_bytes) = (total, total);
    }

    /// Replayed bytes as a share of the snapshot, 0 to 100; 0 while the length is unknown.
    #[must_use]
    pub fn percent(&self) -> f64 {
        match self.total_bytes {
            Some(total) if total > 0 => (self.replayed_bytes as f64 / total as f64 * 100.0).min(100.0),
            _ => 0.0,
        }
    }
}
