//! Whether source and target hold the same, asked from outside while a pipeline may be at work between them.
//!
//! ```text
//! walk the source, ask the target  ─┐
//! walk the target, ask the source  ─┴─▶ candidates (on disk) ─▶ rounds ─▶ suspects ─▶ under watch ─▶ differences
//!                                           ▲                     │ equal: gone         │ equal: gone     │
//!                                           └───── changed ───────┴─────────────────────┘                 ▼
//!                                                                                            repair, and look again
//! ```
//!
//! Owns what is asked of both sides, what counts as a difference ([`seen`]) and when a difference is certain ([`settle`]). Promises that a difference which
//! stands still is found and that none is invented: whatever the two walks find is only a candidate. Promises that its memory does not grow with the
//! data: candidates and differences are on disk, large values are compared in pieces. Changes nothing, but for a repair that was asked for.
//!
//! Leaves to `pipeline` what is replicated and where to: its settings say which servers, which filter, which name the checkpoint has.
//!
//! | file | what |
//! | --- | --- |
//! | `talk.rs`, `side.rs` | a connection; a server or a cluster, and which of its nodes has a key |
//! | `seen.rs`, `look.rs` | what a side says of a key, and whether two such say the same; asking for it |
//! | `values.rs`, `digest.rs`, `sizes.rs`, `pieces.rs` | values of both sides; what one comes to; how large it is; large ones side by side |
//! | `guess.rs` | of which type a key probably is |
//! | `group.rs` | which databases of which sources feed which of the target |
//! | `walk.rs`, `standing.rs`, `pacing.rs` | both walks; whether slots stood still meanwhile; how fast |
//! | `passage.rs`, `ahead.rs` | whether a pipeline has passed a position; whether a source is as far as the target |
//! | `settle.rs`, `watched.rs`, `watchers.rs` | what becomes of candidates |
//! | `repair.rs`, `extra.rs` | copying anew what differs; where what the source does not have is removed |
//!
//! # What is compared
//!
//! | `compare` | existence | type, expiry | length | value |
//! | --- | --- | --- | --- | --- |
//! | existence | yes | – | – | – |
//! | type | yes | yes | – | – |
//! | length | yes | yes | yes | – |
//! | value | yes | yes | yes | yes |
//!
//! Left out: keys of gunyu itself, keys that the filter drops, databases of the target that nothing feeds, libraries of functions. By `length`, a hash's counts fields that
//! have expired and that the server has not removed yet, as `HLEN` does; by `value` it does not.

mod ahead;
mod digest;
mod extra;
mod group;
mod guess;
mod look;
pub mod note;
mod pacing;
mod passage;
mod pieces;
mod repair;
pub mod seen;
mod settle;
mod side;
mod sizes;
mod standing;
mod talk;
mod values;
mod walk;
mod watched;
mod watchers;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use crate::core::catalog::{self, Spill, Table};
use crate::core::net::{self, Address};
use crate::core::pipeline;
use crate::core::target::refusal;
use crate::core::{resp, survey};
pub use note::Told;
use passage::Passage;
pub use repair::Repaired;
pub use seen::{Difference, Kind, Seen};
use settle::{Found, Settling};
use walk::Walk;

/// How much is compared. Each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compare {
    /// Whether the key is there.
    Existence,
    /// Its type and its expiry.
    Type,
    /// How long its value is.
    Length,
    /// The value itself.
    Value,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The pipelines whose sources and targets are compared.
    pub pipelines: Vec<pipeline::Settings>,
    /// How much is compared.
    pub compare: Compare,
    /// Times of expiry that are no farther apart are the same, in milliseconds.
    pub ttl_tolerance_ms: i64,
    /// Only keys whose hash is below this part of all hashes; the same ones on both sides.
    pub sample: Option<f64>,
    /// Only keys like this, as `SCAN … MATCH` has it.
    pub pattern: Option<Vec<u8>>,
    /// At most so many keys a second.
    pub keys_per_sec: Option<u64>,
    /// How often candidates are looked at again.
    pub rounds: u32,
    /// A pipeline that does not move for so long is taken for none.
    pub patience: Duration,
    /// Whether what differs is copied anew from the source.
    pub repair: Repair,
    /// A folder for what does not belong into memory; its owner removes it.
    pub folder: PathBuf,
}

/// Whether what differs is repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// No.
    No,
    /// What would be done is counted.
    Dry,
    /// Yes.
    Do,
}

/// What could not be done. Nothing was changed but what a repair has copied by then; running it again is safe.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A connection failed.
    #[error(transparent)]
    Net(#[from] net::Error),
    /// A server refused a question.
    #[error("{address} refused {command}: {reply}")]
    Refused {
        /// Who.
        address: Address,
        /// What.
        command: String,
        /// Its words.
        reply: String,
    },
    /// A server said what no server says.
    #[error("{address} does not speak the protocol: {cause}")]
    Protocol {
        /// Who.
        address: Address,
        /// What was wrong.
        cause: resp::Error,
    },
    /// An answer is of another kind than the question has.
    #[error("{address} answered {command} with something unexpected")]
    Unexpected {
        /// Who.
        address: Address,
        /// What was asked.
        command: String,
    },
    /// A cluster does not say who serves a slot, or somebody does whom nobody follows.
    #[error("{address} does not say of all slots of its cluster who serves them")]
    Slots {
        /// Who.
        address: Address,
    },
    /// Slots of a cluster move, or have moved again and again.
    #[error("slots of the cluster of {address} move: keys that move with them may be met nowhere")]
    Moving {
        /// One of its nodes.
        address: Address,
    },
    /// A source that is followed does not say where it is.
    #[error("{address} does not say in INFO replication where its stream is")]
    NoOffset {
        /// Who.
        address: Address,
    },
    /// An answer is longer than any value that servers take.
    #[error("an answer of {address} is too long to be looked at")]
    TooLong {
        /// Who.
        address: Address,
    },
    /// Where the pipelines are could not be asked.
    #[error(transparent)]
    Survey(#[from] survey::Error),
    /// What does not belong into memory could not be put away.
    #[error(transparent)]
    Spill(#[from] catalog::Error),
    /// No pipeline is at work, and one that begins later would bring again what a repair has copied.
    #[error(
        "nothing is repaired: no gunyu follows {source_address}, and one that begins later would go on from its checkpoint, and apply again what was repaired"
    )]
    Stalled {
        /// The source.
        source_address: Address,
    },
    /// What is looked at of a source is older than what the target has.
    #[error(
        "{source_address} is behind the target: what it has yet to receive would be taken for differences"
    )]
    Behind {
        /// The source.
        source_address: Address,
    },
    /// A bug of ours.
    #[error("a part of the work ended badly: {0}")]
    Bug(String),
}

impl Error {
    /// What a person may do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Net(error) => error.hint(),
            Error::Refused { reply, .. } => refused_hint(reply).map(str::to_owned),
            Error::Protocol { address, .. } => {
                Some(format!("check that {address} is a Redis or Valkey server"))
            }
            Error::Slots { address } => Some(format!(
                "look at CLUSTER NODES on {address}; while slots move, try again later"
            )),
            Error::Moving { address } => Some(format!(
                "run it again when the migration has ended; CLUSTER NODES on {address} shows what moves, as [slot->-node]"
            )),
            Error::NoOffset { address } => Some(format!(
                "look at INFO replication on {address} as the user that gunyu logs in as: without master_repl_offset nobody knows what is still on its way"
            )),
            Error::TooLong { .. } => Some(
                "leave the largest values out (--match, or the filter), or compare by length".to_owned(),
            ),
            Error::Survey(error) => Some(error.hint()),
            Error::Spill(error) => error.hint().map(str::to_owned),
            Error::Stalled { .. } => Some(
                "start gunyu sync with this configuration, or resume it, and repair while it runs; or copy everything anew: gunyu fullsync".to_owned(),
            ),
            Error::Behind { source_address } => Some(format!(
                "look at INFO replication on {source_address}: it is a replica that lags or has lost its master; wait, or compare with the node that is followed"
            )),
            Error::Unexpected { .. } | Error::Bug(_) => None,
        }
    }

    /// Whether credentials or permissions are missing.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        match self {
            Error::Net(error) => error.needs_a_person(),
            Error::Survey(error) => error.needs_a_person(),
            Error::Refused { reply, .. } => {
                let kind = refusal::Kind::of(reply);
                matches!(kind, refusal::Kind::Credentials | refusal::Kind::Permission)
            }
            _ => false,
        }
    }

    /// Whether the server does not let us have this command: it is not permitted, or has been renamed away, or a replica does not take it.
    fn is_unavailable(&self) -> bool {
        let starts = |reply: &str, code: &str| reply.starts_with(code);
        self.is_denied()
            || matches!(self, Error::Refused { reply, .. }
                if starts(reply, "ERR unknown command") || starts(reply, "MOVED "))
    }
}

/// What a person may do about a refusal.
fn refused_hint(reply: &str) -> Option<&'static str> {
    Some(match refusal::Kind::of(reply) {
        refusal::Kind::Credentials | refusal::Kind::Permission => {
            "check user, password and permissions (README.md lists what gunyu needs)"
        }
        refusal::Kind::Transient => {
            "it lasted too long to wait for it: mend what the server says, and run this again"
        }
        refusal::Kind::Cluster => {
            "slots are on their way, or another node serves them by now: run this again"
        }
        refusal::Kind::NoCluster => "it is in no cluster: use type: standalone, or redis://…",
        refusal::Kind::KeyExists | refusal::Kind::Payload | refusal::Kind::Command => return None,
    })
}

/// What the work is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Walking through the source.
    Source,
    /// Walking through the target.
    Target,
    /// Looking at candidates again.
    Settling,
}

/// How far it is, for whoever shows it.
#[derive(Debug, Default)]
pub struct Shown {
    stage: AtomicU8,
    /// Keys that both walks will meet, as the servers count them; 0 where nobody knows.
    pub total: AtomicU64,
    /// Keys met so far, those left out among them.
    pub met: AtomicU64,
    /// Keys of the source that were compared.
    pub source: AtomicU64,
    /// Keys of the target that were compared.
    pub target: AtomicU64,
    /// Candidates found.
    pub candidates: AtomicU64,
    /// Candidates that have been looked at in this round.
    pub settled: AtomicU64,
}

impl Shown {
    /// What it is at.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Relaxed) {
            0 => Stage::Source,
            1 => Stage::Target,
            _ => Stage::Settling,
        }
    }

    fn enters(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    /// Candidates are looked at again, so many.
    fn begins_round(&self, candidates: u64) {
        self.candidates.store(candidates, Ordering::Relaxed);
        self.settled.store(0, Ordering::Relaxed);
    }

    /// What the walks have counted.
    fn counted(&self) -> [u64; 4] {
        self.counters().map(|counter| counter.load(Ordering::Relaxed))
    }

    /// Everything is walked again: what was counted since then does not count.
    fn counts_again(&self, counted: [u64; 4]) {
        for (counter, before) in self.counters().into_iter().zip(counted) {
            counter.store(before, Ordering::Relaxed);
        }
    }

    fn counters(&self) -> [&AtomicU64; 4] {
        [&self.met, &self.source, &self.target, &self.candidates]
    }

    fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Keys of the source that were compared.
    pub source: u64,
    /// Keys of the target that were compared.
    pub target: u64,
    /// The differences, each with what both sides say ([`Told`]), for each target.
    pub differences: Vec<Table>,
    /// How many there are of each kind.
    pub counts: std::collections::BTreeMap<Difference, u64>,
    /// Keys that changed whenever they were looked at.
    pub changing: u64,
    /// Keys of which a server does not say what it has: their slots are on their way.
    pub unknown: u64,
    /// Keys whose values cannot be compared.
    pub uncompared: u64,
    /// Candidates were looked at so often at most.
    pub rounds: u32,
    /// Whether a pipeline was at work between all of them.
    pub followed: bool,
    /// What was repaired, or would be.
    pub repaired: Option<Repaired>,
    /// What an operator should know.
    pub notes: Vec<String>,
}

impl Outcome {
    /// Differences of all kinds.
    #[must_use]
    pub fn different(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Whether both sides hold the same; nothing where no key is known to differ and some could not be judged.
    #[must_use]
    pub fn equal(&self) -> Option<bool> {
        match self.different() {
            0 if self.changing + self.unknown + self.uncompared > 0 => None,
            count => Some(count == 0),
        }
    }
}

/// Compares.
///
/// # Errors
/// A server cannot be asked, or there is no room for candidates.
pub async fn verify(settings: Settings, shown: Arc<Shown>) -> Result<Outcome, Error> {
    let groups = group::groups(&settings).await?;
    // How many there are of a pattern nobody knows.
    if settings.pattern.is_none() {
        for group in &groups {
            shown.total.fetch_add(group.count_keys(), Ordering::Relaxed);
        }
    }
    let settings = Arc::new(settings);
    let mut outcome = Outcome {
        followed: true,
        ..Outcome::default()
    };
    for (number, group) in groups.into_iter().enumerate() {
        let spill = Spill::open(&settings.folder.join(number.to_string()))?;
        let candidates = spill.table("candidates")?;
        let walk = Walk::new(&settings, group, candidates.clone(), &shown);
        let group = walk.run().await?;
        shown.enters(Stage::Settling);
        let passage = Passage::begin(&settings, &group).await?;
        let found = Found {
            candidates,
            suspects: spill.table("suspects")?,
            differences: spill.table("differences")?,
        };
        let mut settling = Settling::new(&settings, group, passage, found, &shown);
        settling.run(&mut outcome).await?;
        settling.repair(&mut outcome).await?;
        settling.end(&mut outcome)?;
    }
    // Repeated rounds, and groups, repeat theirs.
    let mut told = std::collections::BTreeSet::new();
    outcome.notes.retain(|note| told.insert(note.clone()));
    outcome.source = shown.source.load(Ordering::Relaxed);
    outcome.target = shown.target.load(Ordering::Relaxed);
    Ok(outcome)
}
