//! What `GET /syncer/status` prints: the names that users of redis-GunYu know, and ours beside them.

use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use crate::core::progress::{self, Status};
use crate::core::supervisor::{Collected, Input};

/// The role of the process that copies an input.
pub const LEADER: &str = "leader";

/// The role of one that stands by.
pub const FOLLOWER: &str = "follower";

/// One input. Fields are only ever added.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "PascalCase")]
pub struct InputStatus {
    /// The source node, `host:port`.
    pub input: String,
    /// `master` or `replica`: what the source is in its own shard; empty while that is not known.
    #[serde(default)]
    pub source_role: String,
    /// `leader` or `follower`.
    pub role: String,
    /// Whether batches are transactions (exactly once).
    pub transaction: bool,
    /// `ready_run`, `run`, `pause` or `stop`.
    pub state: String,
    /// `connecting`, `full_sync`, `incremental`, `following` or `backoff`.
    pub phase: String,
    /// The target, `host:port`.
    pub target: String,
    /// The positions.
    pub offset: Offsets,
    /// Bytes of stream that the target is behind.
    pub lag_bytes: u64,
    /// How long the oldest command not yet applied has been waiting, in milliseconds.
    pub lag_ms: u64,
    /// The last full sync, or none since the process started.
    pub full_sync: Option<FullSync>,
    /// The last trouble, or none since the process started.
    pub last_error: Option<LastError>,
    /// Commands written to the dead-letter file since the process started.
    pub dead_letters: u64,
    /// Who leads this input; empty where nobody does.
    pub leader: String,
    /// The number of the lease under which it is led; 0 where nobody does, or where there is no group.
    #[serde(default)]
    pub epoch: u64,
    /// Who leads or follows this input, in the order of their names; this process where there is no group.
    #[serde(default)]
    pub members: Vec<String>,
}

/// Positions in bytes of the source's history.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
pub struct Offsets {
    /// The source's own.
    pub source: u64,
    /// Received from its socket.
    pub received: u64,
    /// Confirmed by the target.
    pub applied: u64,
    /// Recorded on the target.
    pub checkpoint: u64,
}

/// A full sync.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "PascalCase")]
pub struct FullSync {
    /// 0 to 100.
    pub percent: f64,
    /// Keys replayed.
    pub keys: u64,
    /// Bytes of the snapshot replayed.
    pub bytes: u64,
    /// Bytes of the snapshot received.
    #[serde(default)]
    pub received_bytes: u64,
    /// Length of the snapshot; 0 while unknown.
    pub total_bytes: u64,
    /// Why it was needed.
    pub reason: String,
    /// Keys have an expiry far ahead until everything is caught up.
    #[serde(default)]
    pub expiries_pending: bool,
    /// Keys of the target that were looked at, whether the snapshot has them.
    #[serde(default)]
    pub swept: u64,
    /// Keys of the target that the snapshot has not, and that were left.
    #[serde(default)]
    pub stale_kept: u64,
    /// Those that were deleted.
    #[serde(default)]
    pub stale_deleted: u64,
}

/// What `POST /syncer/fullsync` answers.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct FullSyncsBegun {
    /// Always.
    pub ok: bool,
    /// Inputs whose full sync has begun.
    pub started: Vec<String>,
    /// Inputs where one was under way that does what was asked.
    pub joined: Vec<String>,
}

/// What `/storage/gc` answers.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Freed {
    /// Always.
    pub ok: bool,
    /// Logs that have gone.
    pub logs: Vec<FreedLog>,
    /// Checkpoints that have gone.
    pub checkpoints: Vec<NamedCheckpoint>,
    /// Checkpoints of inputs that are not configured any more, and that stay for now.
    pub kept: Vec<NamedCheckpoint>,
    /// Bytes of all logs that have gone.
    pub freed_bytes: u64,
}

/// A log that has gone.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct FreedLog {
    /// The deployment's name.
    pub name: String,
    /// What it took.
    pub bytes: u64,
}

/// A checkpoint on a target.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct NamedCheckpoint {
    /// The target; where it could not be asked, what came instead.
    pub target: String,
    /// The key.
    pub key: String,
}

impl Freed {
    /// Shows what was collected.
    #[must_use]
    pub fn of(collected: Collected) -> Freed {
        let named = |all: Vec<(String, String)>| {
            let named = all
                .into_iter()
                .map(|(target, key)| NamedCheckpoint { target, key });
            named.collect()
        };
        Freed {
            ok: true,
            freed_bytes: collected.logs.iter().map(|(_, bytes)| bytes).sum(),
            logs: collected
                .logs
                .into_iter()
                .map(|(name, bytes)| FreedLog { name, bytes })
                .collect(),
            checkpoints: named(collected.checkpoints),
            kept: named(collected.kept),
        }
    }
}

/// A trouble.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
pub struct LastError {
    /// Unix time in milliseconds.
    pub at: u64,
    /// What went wrong.
    pub message: String,
    /// What to do; empty where nothing needs to be done.
    pub hint: String,
}

impl InputStatus {
    /// Shows an input as it is now.
    #[must_use]
    pub fn of(input: &Input) -> InputStatus {
        let Status {
            phase,
            state,
            ladder,
            source_offset,
            lag_bytes,
            lag,
            full_sync,
            last_error,
            dead_letters,
        } = input.progress.status();
        InputStatus {
            input: input.source.to_string(),
            source_role: match input.progress.source_is_replica() {
                Some(true) => "replica".to_owned(),
                Some(false) => "master".to_owned(),
                None => String::new(),
            },
            role: if input.is_led() { LEADER } else { FOLLOWER }.to_owned(),
            transaction: input.transaction,
            state: state.as_str().to_owned(),
            phase: phase.as_str().to_owned(),
            target: input.target.to_string(),
            offset: Offsets {
                source: source_offset.max(ladder.received).get(),
                received: ladder.received.get(),
                applied: ladder.applied.get(),
                checkpoint: ladder.checkpointed.get(),
            },
            lag_bytes,
            lag_ms: u64::try_from(lag.as_millis()).unwrap_or(u64::MAX),
            full_sync: full_sync.map(FullSync::of),
            last_error: last_error.map(LastError::of),
            dead_letters,
            leader: input.leader(),
            epoch: input.epoch().get(),
            members: input.members(),
        }
    }
}

impl FullSync {
    fn of(full_sync: progress::FullSync) -> FullSync {
        FullSync {
            percent: (full_sync.percent() * 10.0).round() / 10.0,
            keys: full_sync.keys,
            bytes: full_sync.replayed_bytes,
            received_bytes: full_sync.received_bytes,
            total_bytes: full_sync.total_bytes.unwrap_or(0),
            reason: full_sync.reason,
            expiries_pending: full_sync.expiries_pending,
            swept: full_sync.swept,
            stale_kept: full_sync.stale_kept,
            stale_deleted: full_sync.stale_deleted,
        }
    }
}

impl LastError {
    fn of(trouble: progress::Trouble) -> LastError {
        let since = trouble.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        LastError {
            at: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            message: trouble.message,
            hint: trouble.hint.unwrap_or_default(),
        }
    }
}
