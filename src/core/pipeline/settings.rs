//! How a pipeline works: the choices that the operator makes, as checked data.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::replay::Policy;
use super::shard::Shard;
use super::turn::Turns;
use crate::core::filter::Filter;
use crate::core::target::cluster::route::CrossSlot;
use crate::core::target::pace::RateLimit;
use crate::core::topology::Place;
use crate::core::{source, target};

/// How the live stream is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Every batch is a transaction with its checkpoint.
    ExactlyOnce,
    /// Pipelined; the checkpoint about this often.
    AtLeastOnce {
        /// Between two checkpoints.
        checkpoint_every: Duration,
    },
}

/// What becomes of the pipeline when the target refuses a command. The command goes to the dead-letter file in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// It stops, with a hint.
    Stop,
    /// It goes on, up to so many dead letters.
    DeadLetter {
        /// How many in the life of the process.
        budget: u64,
    },
}

/// What to do when the log is full and nothing can be released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFull {
    /// Close the source's link and ask it to continue once there is room.
    Disconnect,
    /// Stop reading; the source's output buffer grows.
    Block,
}

/// What a pipeline is to bring about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Goal {
    /// A live copy, until it is told to stop.
    #[default]
    Follow,
    /// The snapshot on the target, and nothing after it.
    Snapshot,
}

/// What to do, in a full sync, with a key that the target has and that none of our syncs wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyExists {
    /// Replace it.
    Replace,
    /// Keep the target's.
    Ignore,
    /// Refuse: dead letter.
    Error,
}

/// What a repeated full sync does with keys on the target that the source does not have (any more).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaleKeys {
    /// Delete them in databases that were empty when this deployment first synced and that no other deployment uses.
    Auto,
    /// Delete them.
    Delete,
    /// Keep them.
    Keep,
}

/// What happens to functions that the target already has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionExists {
    /// Libraries of the same name are replaced.
    Replace,
    /// All libraries of the target are removed first.
    Flush,
    /// A library of the same name is an error.
    Append,
}

/// What to do with module data beside the keys, which no command can restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModuleAux {
    /// Stop.
    Fail,
    /// Leave it out.
    Skip,
}

/// How a pipeline works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The deployment's name: of its folder and its checkpoint.
    pub name: String,
    /// What for.
    pub goal: Goal,
    /// It begins with the process, and a trouble at its first contact that only a person can mend ends both. One that comes later waits.
    pub begins_with_process: bool,
    /// Whether it begins with a full sync that somebody asks for, and ends where that cannot begin.
    pub awaits_full_sync: bool,
    /// Whether it goes on from redis-GunYu's checkpoint where it has none of its own.
    pub inherits: bool,
    /// Whom to follow. Its address is that of `source_place`, which is asked before each connect.
    pub source: source::Settings,
    /// Where the source is.
    pub source_place: Place,
    /// The shard, where the source is a cluster.
    pub shard: Option<Shard>,
    /// Whom to write to. Its address is that of `target_place`, which is asked before each session.
    pub target: target::Settings,
    /// Where the target is.
    pub target_place: Place,
    /// What is replicated.
    pub filter: Arc<Filter>,
    /// Exactly or at least once.
    pub delivery: Delivery,
    /// Commands over several slots of a cluster.
    pub cross_slot: CrossSlot,
    /// Refused commands.
    pub on_error: OnError,
    /// A full log.
    pub on_full: OnFull,
    /// Keys that the source does not have any more.
    pub stale_keys: StaleKeys,
    /// How many full syncs may run at once, and which do.
    pub turns: Turns,
    /// Lanes of a full sync.
    pub connections: usize,
    /// How items of a snapshot are replayed.
    pub replay: Policy,
    /// A batch has at most so many commands, unless a transaction of the source has more.
    pub batch_commands_max: usize,
    /// A batch has at most so many bytes, unless a command or a transaction has more.
    pub batch_bytes_max: usize,
    /// How fast to write.
    pub rate_limit: RateLimit,
    /// How long the target may lack a checkpoint for what changed nothing (pings, filtered commands).
    pub idle_checkpoint_every: Duration,
    /// Whether the checkpoint of an earlier process counts.
    pub resume: bool,
    /// Where dead letters go.
    pub dead_letter_dir: PathBuf,
}

impl Settings {
    /// The same for a deployment of another name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Settings {
        name.clone_into(&mut self.name);
        name.clone_into(&mut self.target.name);
        name.clone_into(&mut self.replay.deployment);
        self
    }
}
