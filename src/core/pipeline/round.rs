//! What a pipeline carries over from one round to the next.
//!
//! Owns nothing but the place for it; [`super::Pipeline`] and [`super::decide`] change it.

use std::collections::VecDeque;

use super::backoff::Backoff;
use super::dead_letter::DeadLetters;
use super::orders::Wish;
use super::receive;
use crate::core::position::History;
use crate::core::resume::Reason;

/// What carries over from one round to the next.
pub(super) struct Round {
    /// The wish under which it runs.
    pub(super) wish: Wish,
    pub(super) dead_letters: DeadLetters,
    pub(super) backoff: Backoff,
    pub(super) receiver: Option<receive::Task>,
    /// The source's lineage as last heard.
    pub(super) history: Option<History>,
    pub(super) source_run_id: Option<String>,
    pub(super) first_contact: bool,
    /// Nobody has wished anything since the start. Only then a trouble may end the process: not on somebody who steers a running one.
    pub(super) untouched: bool,
    /// The tokens of our last tries to take a session on the target.
    pub(super) tokens: VecDeque<String>,
    /// That of the last that was taken: it stands there, however often it has been tried since.
    pub(super) standing: Option<String>,
    /// Whether the target's checkpoint counts: not before this process has written one, where resuming is off.
    pub(super) trust_checkpoint: bool,
    /// When the pipeline began, Unix time in ms.
    pub(super) began_ms: u64,
    /// redis-GunYu's checkpoint is to be taken over, and it has not been looked for with success yet.
    pub(super) inherits: bool,
    /// A full sync that must come about whatever the plan says.
    pub(super) force: Option<Reason>,
    /// The receiver asks for that full sync; until its snapshot has begun.
    pub(super) force_is_asked: bool,
    /// Why the source is being asked for a snapshot, until it begins: not to be called another reason when everything begins anew meanwhile.
    pub(super) asked_for: Option<Reason>,
    /// The ladder shows how far the target is: its checkpoint has been read since the process began.
    pub(super) placed: bool,
    /// A full sync that was asked for has begun in this process.
    pub(super) requested: bool,
    /// Snapshots in a row that could not be read.
    pub(super) damaged: u32,
}

impl Round {
    pub(super) async fn stop_receiving(&mut self) {
        if let Some(receiver) = self.receiver.take() {
            receiver.stop().await;
        }
    }
}
