//! The ladder of positions of one pipeline, and everything that status and metrics show of it.
//!
//! ```text
//! released <= checkpointed <= applied <= appended <= received      (the source's own offset: a gauge beside it)
//! ```
//!
//! Owns the five rungs: each has one setter, which only moves it forward and asserts its neighbours. Nothing else stores a
//! position for others to read. A new history, or a target whose checkpoint went back, starts a new ladder:
//! [`Progress::begin_history`] and [`Progress::begin_applying`] hand out a [`Receiving`] and an [`Applying`]; what an older
//! one still says is ignored. Leaves to others what the positions are used for.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use super::net::Address;
use super::position::Offset;

mod counters;
mod shown;

pub use counters::Counters;
pub use shown::{FullSync, Phase, State, Trouble};

/// The rungs. All in bytes of the history being followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ladder {
    /// Read from the source's socket. In memory only.
    pub received: Offset,
    /// Written to the log, not necessarily persisted.
    pub appended: Offset,
    /// Confirmed by the target.
    pub applied: Offset,
    /// Recorded on the target.
    pub checkpointed: Offset,
    /// Not needed in the log any more: the log may drop it when it needs room.
    pub released: Offset,
}

/// Everything there is to know of a pipeline at one moment.
#[derive(Debug, Clone)]
pub struct Status {
    /// What it is doing.
    pub phase: Phase,
    /// What the operator made of it.
    pub state: State,
    /// The ladder.
    pub ladder: Ladder,
    /// The source's own offset when last asked.
    pub source_offset: Offset,
    /// How far the target is behind the source, in bytes of stream; for a follower, how far its log is behind what the leader has received.
    pub lag_bytes: u64,
    /// How long the oldest command not yet applied has been waiting here; zero when all are applied. For a follower: since when
    /// its log has been behind the leader's.
    pub lag: Duration,
    /// The full sync, while there is one and until the next.
    pub full_sync: Option<FullSync>,
    /// The last trouble.
    pub last_error: Option<Trouble>,
    /// Commands in the dead-letter file.
    pub dead_letters: u64,
}

/// At most so many receive marks are kept for the lag in time; when full, every other one is dropped.
const MARKS_MAX: usize = 4096;

/// Two marks are at least this far apart in time.
const MARK_SPACING: Duration = Duration::from_millis(5);

#[derive(Debug, Default)]
struct Inner {
    ladder: Ladder,
    history: u64,
    receiving: u64,
    applying: u64,
    /// (end of a chunk, when it was received), oldest first: the lag in time without a clock per command.
    marks: VecDeque<(Offset, Instant)>,
    source_offset: Offset,
    /// What the leader has received, as a follower has heard it last, and since when there is less here.
    leader_received: Offset,
    behind_since: Option<Instant>,
    phase: Phase,
    /// The source, or for a follower the leader, is not being followed just now.
    link_down: bool,
    state: State,
    full_sync: Option<FullSync>,
    /// The full sync under way began by emptying the target's databases.
    flushed: bool,
    last_error: Option<Trouble>,
    /// Other nodes of the source's shard.
    shard: Vec<Address>,
    source_is_replica: Option<bool>,
    /// What the target calls itself.
    target_run_id: Option<String>,
}

/// The progress of one pipeline; shared by its tasks, the API and the metrics.
#[derive(Debug)]
pub struct Progress {
    inner: Mutex<Inner>,
    checkpointed: watch::Sender<Offset>,
    /// Counters since the process started.
    pub counters: Counters,
    /// Received to applied, in seconds, one observation a batch.
    pub apply_latency: prometheus::Histogram,
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while the lock was held cannot leave a rung half written: each is one assignment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Progress {
    /// A pipeline that has not begun.
    #[must_use]
    pub fn new() -> Arc<Progress> {
        let buckets = vec![
            0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
            30.0,
        ];
        let options = prometheus::HistogramOpts::new(
            "gunyu_apply_latency_seconds",
            "From a command's arrival at gunyu to its confirmation by the target.",
        );
        let apply_latency = prometheus::Histogram::with_opts(options.buckets(buckets))
            .expect("the name is valid and the buckets ascend");
        Arc::new(Progress {
            inner: Mutex::default(),
            checkpointed: watch::Sender::new(Offset::ZERO),
            counters: Counters::default(),
            apply_latency,
        })
    }

    /// Starts a new ladder for a history of which we hold everything up to `held` (received and appended), or nothing
    /// when it is a snapshot's offset. Older handles are deaf from here on.
    pub fn begin_history(self: &Arc<Self>, held: Offset) -> Receiving {
        let mut inner = unpoisoned(&self.inner);
        inner.history += 1;
        inner.receiving += 1;
        inner.applying += 1;
        inner.ladder = Ladder {
            received: held,
            appended: held,
            ..Ladder::default()
        };
        inner.marks.clear();
        self.checkpointed.send_replace(Offset::ZERO);
        Receiving {
            progress: Arc::clone(self),
            generation: inner.receiving,
        }
    }

    /// A handle for a task that goes on receiving the current history after `held`, where the log ends.
    pub fn receiving(self: &Arc<Self>, held: Offset) -> Receiving {
        let mut inner = unpoisoned(&self.inner);
        inner.receiving += 1;
        inner.ladder.received = held;
        inner.ladder.appended = held;
        Receiving {
            progress: Arc::clone(self),
            generation: inner.receiving,
        }
    }

    /// Names the history of the current ladder: it changes with [`Progress::begin_history`].
    #[must_use]
    pub fn generation(&self) -> u64 {
        unpoisoned(&self.inner).history
    }

    /// Starts applying from `checkpoint`, as read from the target (or zero, for a snapshot). It may lie behind what was applied
    /// before: the target may have lost its tail. Nothing where the history is not that of `generation` any more.
    ///
    /// # Panics
    /// When the checkpoint lies beyond what the log holds: `resume` must have ruled that out.
    pub fn begin_applying(self: &Arc<Self>, generation: u64, checkpoint: Offset) -> Option<Applying> {
        let mut inner = unpoisoned(&self.inner);
        if inner.history != generation {
            return None;
        }
        assert!(
            checkpoint <= inner.ladder.received,
            "a checkpoint beyond the log is a case of its own"
        );
        inner.know_appended(checkpoint);
        inner.applying += 1;
        inner.ladder.applied = checkpoint;
        inner.ladder.checkpointed = checkpoint;
        inner.ladder.released = inner.ladder.released.min(checkpoint);
        self.checkpointed.send_replace(checkpoint);
        Some(Applying {
            progress: Arc::clone(self),
            generation: inner.applying,
        })
    }

    /// Starts to mirror what another process applies of the current history; whoever applied here is deaf from here on.
    pub fn begin_mirroring(self: &Arc<Self>) -> Mirroring {
        let mut inner = unpoisoned(&self.inner);
        inner.applying += 1;
        inner.leader_received = inner.ladder.received;
        inner.behind_since = None;
        Mirroring {
            progress: Arc::clone(self),
            generation: inner.applying,
        }
    }

    /// Wakes whenever the checkpoint moves.
    #[must_use]
    pub fn watch_checkpointed(&self) -> watch::Receiver<Offset> {
        self.checkpointed.subscribe()
    }

    /// The ladder now.
    #[must_use]
    pub fn ladder(&self) -> Ladder {
        unpoisoned(&self.inner).ladder
    }

    /// Notes the source's own offset. A gauge: it may go back when the source does.
    pub fn set_source_offset(&self, offset: Offset) {
        unpoisoned(&self.inner).source_offset = offset;
    }

    /// Notes what the pipeline is doing.
    pub fn set_phase(&self, phase: Phase) {
        let mut inner = unpoisoned(&self.inner);
        inner.phase = phase;
        inner.flushed &= phase != Phase::Incremental;
    }

    /// What the pipeline is doing, whether or not the source is followed just now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        unpoisoned(&self.inner).phase
    }

    /// Notes whether the full sync that begins has emptied the target's databases. Forgotten once the stream is live.
    pub fn set_flushed(&self, flushed: bool) {
        unpoisoned(&self.inner).flushed = flushed;
    }

    /// Whether the full sync under way began by emptying the target's databases.
    #[must_use]
    pub fn was_flushed(&self) -> bool {
        unpoisoned(&self.inner).flushed
    }

    /// Notes the other nodes of the source's shard, as the source tells them.
    pub fn set_shard(&self, nodes: Vec<Address>) {
        unpoisoned(&self.inner).shard = nodes;
    }

    /// Notes whether the source is a replica itself.
    pub fn set_source_is_replica(&self, is_replica: Option<bool>) {
        unpoisoned(&self.inner).source_is_replica = is_replica;
    }

    /// Whether the source is a replica itself, as last heard.
    #[must_use]
    pub fn source_is_replica(&self) -> Option<bool> {
        unpoisoned(&self.inner).source_is_replica
    }

    /// The other nodes of the source's shard, as last heard.
    #[must_use]
    pub fn shard(&self) -> Vec<Address> {
        unpoisoned(&self.inner).shard.clone()
    }

    /// Notes what the target calls itself: two addresses may be one server.
    pub fn set_target_run_id(&self, run_id: Option<String>) {
        unpoisoned(&self.inner).target_run_id = run_id;
    }

    /// What the target calls itself, where it has told.
    #[must_use]
    pub fn target_run_id(&self) -> Option<String> {
        unpoisoned(&self.inner).target_run_id.clone()
    }

    /// Notes whether the source is being followed.
    pub fn set_link(&self, up: bool) {
        unpoisoned(&self.inner).link_down = !up;
    }

    /// Whether the source is being followed.
    #[must_use]
    pub fn is_linked(&self) -> bool {
        !unpoisoned(&self.inner).link_down
    }

    /// Notes what the operator made of it.
    pub fn set_state(&self, state: State) {
        unpoisoned(&self.inner).state = state;
    }

    /// Notes a trouble for status. Traces are written by whoever handles it.
    pub fn report(&self, message: String, hint: Option<String>) {
        unpoisoned(&self.inner).last_error = Some(Trouble {
            at: SystemTime::now(),
            message,
            hint,
        });
    }

    /// Begins to show a full sync.
    pub fn begin_full_sync(&self, reason: &str, total_bytes: Option<u64>) {
        let mut inner = unpoisoned(&self.inner);
        inner.full_sync = Some(FullSync {
            reason: reason.to_owned(),
            total_bytes,
            ..FullSync::default()
        });
    }

    /// Changes what is shown of the full sync, if there is one.
    pub fn update_full_sync(&self, change: impl FnOnce(&mut FullSync)) {
        if let Some(full_sync) = unpoisoned(&self.inner).full_sync.as_mut() {
            change(full_sync);
        }
    }

    /// Everything, at one moment.
    #[must_use]
    pub fn status(&self) -> Status {
        let inner = unpoisoned(&self.inner);
        let ladder = inner.ladder;
        let newest = inner.source_offset.max(ladder.received);
        let waiting = inner.marks.front().filter(|(end, _)| *end > ladder.applied);
        // A stream that is applied to its end and does not go on is not live, nor is a full sync whose snapshot does not come.
        let received = inner.full_sync.as_ref().map_or(0, |one| one.received_bytes);
        let waits_for_source = match inner.phase {
            Phase::Incremental | Phase::Following => true,
            Phase::FullSync => received == 0,
            Phase::Connecting | Phase::Backoff => false,
        };
        let lost = inner.link_down && waits_for_source;
        let (lag_bytes, lag_since) = match inner.phase {
            Phase::Following => (inner.leader_received.since(ladder.received), inner.behind_since),
            Phase::Connecting | Phase::FullSync | Phase::Incremental | Phase::Backoff => {
                (newest.since(ladder.applied), waiting.map(|(_, at)| *at))
            }
        };
        Status {
            phase: match (lost, &inner.last_error) {
                (false, _) => inner.phase,
                (true, None) => Phase::Connecting,
                (true, Some(_)) => Phase::Backoff,
            },
            state: inner.state,
            ladder,
            source_offset: inner.source_offset,
            lag_bytes,
            lag: lag_since.map_or(Duration::ZERO, |at| at.elapsed()),
            full_sync: inner.full_sync.clone(),
            last_error: inner.last_error.clone(),
            dead_letters: Counters::read(&self.counters.dead_letters),
        }
    }
}

impl Inner {
    /// A reader of the log may have read, and the target confirmed, what has just been appended, before the task that appended it
    /// comes to say so. What was read is in the log.
    fn know_appended(&mut self, end: Offset) {
        self.ladder.appended = self.ladder.appended.max(end);
    }

    fn applied_to(&mut self, end: Offset) {
        self.ladder.applied = end;
        while self.marks.front().is_some_and(|(mark, _)| *mark <= end) {
            self.marks.pop_front();
        }
    }

    fn know_behind(&mut self) {
        let is_behind = self.ladder.received < self.leader_received;
        self.behind_since = is_behind.then(|| self.behind_since.unwrap_or_else(Instant::now));
    }

    fn mark(&mut self, end: Offset) {
        let now = Instant::now();
        if let Some((last_end, last)) = self.marks.back_mut()
            && now.duration_since(*last) < MARK_SPACING
        {
            *last_end = end;
            return;
        }
        if self.marks.len() == MARKS_MAX {
            let mut keep = false;
            self.marks.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.marks.push_back((end, now));
    }
}

/// The right to move `received` and `appended`.
#[derive(Debug)]
pub struct Receiving {
    progress: Arc<Progress>,
    generation: u64,
}

impl Receiving {
    /// Bytes up to `end` have been read from the socket.
    ///
    /// # Panics
    /// When it would move back.
    pub fn received(&self, end: Offset) {
        let mut inner = unpoisoned(&self.progress.inner);
        if inner.receiving == self.generation {
            assert!(inner.ladder.received <= end, "received moves forward");
            inner.ladder.received = end;
            inner.know_behind();
            inner.mark(end);
        }
    }

    /// Bytes up to `end` are in the log.
    ///
    /// # Panics
    /// When it would move back, or beyond what was received.
    pub fn appended(&self, end: Offset) {
        let mut inner = unpoisoned(&self.progress.inner);
        if inner.receiving == self.generation {
            assert!(
                inner.ladder.appended <= end && end <= inner.ladder.received,
                "appended is at most received"
            );
            inner.ladder.appended = end;
        }
    }
}

/// The right to move `applied`, `checkpointed` and `released`.
#[derive(Debug)]
pub struct Applying {
    progress: Arc<Progress>,
    generation: u64,
}

impl Applying {
    /// The target has confirmed everything up to `end`; the checkpoint on it is at `checkpoint`.
    ///
    /// # Panics
    /// When a rung would move back or pass its neighbour.
    pub fn applied(&self, end: Offset, checkpoint: Offset) {
        let mut inner = unpoisoned(&self.progress.inner);
        if inner.applying != self.generation {
            return;
        }
        let ladder = inner.ladder;
        assert!(
            ladder.applied <= end && end <= ladder.received,
            "applied is at most appended"
        );
        inner.know_appended(end);
        assert!(
            ladder.checkpointed <= checkpoint && checkpoint <= end,
            "a checkpoint never passes the data"
        );
        inner.applied_to(end);
        inner.ladder.checkpointed = checkpoint;
        drop(inner);
        if ladder.checkpointed != checkpoint {
            self.progress.checkpointed.send_replace(checkpoint);
        }
    }

    /// The log may drop everything up to `end`.
    ///
    /// # Panics
    /// When it lies beyond the checkpoint.
    pub fn released(&self, end: Offset) {
        let mut inner = unpoisoned(&self.progress.inner);
        if inner.applying == self.generation {
            assert!(
                end <= inner.ladder.checkpointed,
                "only what is checkpointed is released"
            );
            inner.ladder.released = inner.ladder.released.max(end);
        }
    }
}

/// How far the leader of a history is, as it told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Received from the source.
    pub received: Offset,
    /// The source's own offset.
    pub source: Offset,
    /// Confirmed by the target.
    pub applied: Offset,
    /// Recorded on the target.
    pub checkpointed: Offset,
}

/// The right to move `applied`, `checkpointed` and `released` as the leader does.
#[derive(Debug)]
pub struct Mirroring {
    progress: Arc<Progress>,
    generation: u64,
}

impl Mirroring {
    /// The leader is there. Of what is applied only what the log here has counts, so the rungs keep their order; they may go back, as the leader's
    /// do when the target has lost its tail.
    ///
    /// # Panics
    /// When the checkpoint passes the data.
    pub fn told(&self, told: Told) {
        assert!(
            told.checkpointed <= told.applied,
            "a checkpoint never passes the data"
        );
        let mut inner = unpoisoned(&self.progress.inner);
        if inner.applying != self.generation {
            return;
        }
        let before = inner.ladder.checkpointed;
        let held = inner.ladder.appended;
        let checkpointed = told.checkpointed.min(held);
        inner.applied_to(told.applied.min(held));
        inner.ladder.checkpointed = checkpointed;
        inner.ladder.released = inner.ladder.released.min(checkpointed);
        inner.source_offset = told.source;
        inner.leader_received = told.received;
        inner.know_behind();
        drop(inner);
        if before != checkpointed {
            self.progress.checkpointed.send_replace(checkpointed);
        }
    }
}

#[cfg(test)]
mod tests;
