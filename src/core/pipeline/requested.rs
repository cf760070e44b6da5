//! A full sync that somebody asked for: what is done on the target before the source is asked.
//!
//! | step | what | after a crash just behind it |
//! | --- | --- | --- |
//! | 1 | one transaction on the target: the checkpoint goes, and with it, where that was asked for, every key of the databases that the input feeds | no checkpoint: a full sync; of a snapshot from before that the log still holds, [`is_of_before`] says that it is not the one |
//! | 2 | whoever asked is told that it has begun | the same |
//! | 3 | the log is emptied, the source is asked for a snapshot | the same |
//!
//! Where several inputs feed one target, step 1 is one for all of them, at their [`Gate`]. Owns step 1 and 2; step 3 is the way of every full sync.
//! Promises that a refusal (no such command, not permitted, another deployment's checkpoint would go) leaves target and checkpoint as they were, and
//! that the pipeline then goes on from there.

use super::gate::{Gate, Part};
use super::orders::{Begun, FlushCommand, FullSyncWish, NotBegun};
use super::{End, Pipeline, stale};
use crate::core::crash::{self, Step};
use crate::core::log::SnapshotInfo;
use crate::core::progress::Phase;
use crate::core::resume::Reason;
use crate::core::target;
use crate::core::target::checkpoint::{self, Record};
use crate::core::target::refusal::Kind;
use crate::core::target::session::{Flush, Member, Session, now_ms};

/// How the pipeline goes on after step 1.
pub(super) enum Next {
    /// With step 3.
    FullSync,
    /// With step 3, but in a session of its own: the target was emptied by another input, this one's session with it.
    FullSyncInNewSession,
    /// As if nothing had been asked.
    AsBefore(End),
}

impl Pipeline {
    /// Carries out steps 1 and 2.
    pub(super) async fn begin_requested(&mut self, wish: FullSyncWish, session: &mut Session) -> Next {
        crash::pass(Step::RequestDue);
        let (begun, next) = match (&wish.flush, &wish.gate) {
            (None, _) => {
                let forgotten = forgotten(&session.record);
                judged(session.write_record(forgotten).await)
            }
            (Some(command), None) => {
                let member = self.member(session);
                self.flush(command, &[member], session).await
            }
            (Some(command), Some(gate)) => self.flush_together(command, gate, &wish, session).await,
        };
        let flushed = wish.flush.is_some();
        match &begun {
            Ok(()) => {
                crash::pass(Step::RequestBegun);
                tracing::info!(flushed, "a full sync was asked for and begins");
                self.progress.begin_full_sync(Reason::Requested.as_str(), None);
                self.progress.set_flushed(flushed);
                self.progress.set_phase(Phase::FullSync);
            }
            Err(why) => tracing::warn!(?why, "a full sync that was asked for cannot begin"),
        }
        self.orders.answer(begun);
        crash::pass(Step::RequestAnswered);
        next
    }

    async fn flush_together(
        &mut self,
        command: &FlushCommand,
        gate: &Gate,
        wish: &FullSyncWish,
        session: &mut Session,
    ) -> (Begun, Next) {
        let member = self.member(session);
        match gate.arrive(member, wish.until, &mut self.wish).await {
            Part::Lead(lead) => {
                let (begun, next) = self.flush(command, &lead.members, session).await;
                lead.tell(begun.clone());
                (begun, next)
            }
            Part::Told(Ok(())) => (Ok(()), Next::FullSyncInNewSession),
            Part::Told(Err(why)) => (Err(why), Next::AsBefore(End::LogChanged)),
        }
    }

    /// The databases of the target that this input feeds.
    fn fed(&self, session: &Session) -> Vec<u32> {
        let fed = self.settings.filter.fed_databases(session.facts.databases);
        fed.into_iter().map(|(_, target)| target).collect()
    }

    fn member(&self, session: &Session) -> Member {
        let record = &session.record;
        Member {
            name: self.settings.name.clone(),
            token: session.token.clone(),
            otherwise: forgotten(record),
            // Nothing of ours can be stale in databases that are empty, and from now on they are ours alone. Functions are not emptied.
            emptied: Record {
                epoch: record.epoch,
                owned: self.fed(session),
                owns_libraries: record.owns_libraries,
                ..Record::default()
            },
        }
    }

    /// Empties what this input feeds; the checkpoints of all members go with it.
    async fn flush(
        &self,
        command: &FlushCommand,
        members: &[Member],
        session: &mut Session,
    ) -> (Begun, Next) {
        match self.other_deployment(members, session).await {
            Ok(None) => {}
            Ok(Some(other)) => {
                let why = format!(
                    "the checkpoint of another deployment ({other}) would go with it; DEL that key on the target first if nobody uses it"
                );
                return (Err(NotBegun::Refused(why)), Next::AsBefore(End::LogChanged));
            }
            Err(end) => {
                let why = "the target could not be looked through".to_owned();
                return (Err(NotBegun::Failed(why)), Next::AsBefore(end));
            }
        }
        let databases = self.fed(session);
        tracing::info!(?databases, "emptying the target's databases, as was asked");
        let flush = Flush {
            command: command.as_str(),
            databases: &databases,
            members,
        };
        judged(session.flush(flush).await)
    }

    /// The key of a checkpoint on the target that belongs to none of the members.
    async fn other_deployment(
        &self,
        members: &[Member],
        session: &mut Session,
    ) -> Result<Option<String>, End> {
        let ours = |key: &[u8]| {
            let mut names = members.iter().map(|member| &member.name);
            let is_sibling = self
                .settings
                .shard
                .as_ref()
                .is_some_and(|shard| shard.is_sibling(key));
            is_sibling
                || names.any(|name| checkpoint::key(name) == key || checkpoint::session_key(name) == key)
        };
        let mut found = stale::checkpoint_keys(session).await?.into_iter();
        let other = found.find(|key| !ours(key));
        Ok(other.map(|key| String::from_utf8_lossy(&key).into_owned()))
    }
}

/// The record without its checkpoint. What earlier syncs wrote, if there were any, is still on the target.
fn forgotten(record: &Record) -> Record {
    Record {
        checkpoint: None,
        full_sync: None,
        cursor: None,
        resync: record.resync || record.checkpoint.is_some() || record.full_sync.is_some(),
        wanted_ms: now_ms(),
        had: record
            .checkpoint
            .map(|at| at.position)
            .or(record.full_sync)
            .or(record.had),
        ..record.clone()
    }
}

/// Whether the log's snapshot is not the one to restore, for the target has more than it: what the stream behind it adds would be added twice to keys that stay.
///
/// | the target's record has | in a group | the snapshot is of before |
/// | --- | --- | --- |
/// | a checkpoint that does not count since `untrusted_ms` (it never does where a start is not to go on from one) | – | where it began earlier |
/// | another snapshot, begun | yes | yes: the log is a copy of another process's |
/// | nothing, and a full sync is due | yes | yes |
/// | a full sync that was asked for | no | where it began earlier |
/// | anything else | – | no |
pub(super) fn is_of_before(
    snapshot: &SnapshotInfo,
    record: &Record,
    in_group: bool,
    untrusted_ms: Option<u64>,
) -> bool {
    let is_older = |ms: u64| snapshot.begun_ms < ms;
    match (record.checkpoint, record.full_sync) {
        (Some(_), _) => untrusted_ms.is_some_and(is_older),
        (None, Some(begun)) => in_group && begun.offset != snapshot.position.offset,
        (None, None) if in_group => record.resync,
        (None, None) => is_older(record.wanted_ms),
    }
}

/// | what the target said | nothing of it is done | told | goes on |
/// | --- | --- | --- | --- |
/// | done | – | begun | full sync |
/// | refused, of a kind that stays | yes | refused | as before |
/// | refused, of a kind that passes | yes | failed | as before |
/// | refused in part, or failed while it was carried out | no | unknown | as before: without a checkpoint, so with a full sync |
fn judged(done: Result<(), target::Error>) -> (Begun, Next) {
    let error = match done {
        Ok(()) => return (Ok(()), Next::FullSync),
        Err(error) => error,
    };
    match error {
        target::Error::Refused { reply, .. } => {
            let why = match Kind::of(&reply).may_be_repeated() {
                true => NotBegun::Failed(format!("the target refused: {reply}")),
                false => NotBegun::Refused(reply),
            };
            (Err(why), Next::AsBefore(End::LogChanged))
        }
        error => (
            Err(NotBegun::Unknown(error.to_string())),
            Next::AsBefore(End::Target(error)),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::log::Stage;
    use crate::core::position::{Offset, Position, ReplId};
    use crate::core::target::checkpoint::Checkpoint;

    #[test]
    fn a_record_without_its_checkpoint_says_how_far_the_target_was() {
        let at = |offset| Position {
            id: ReplId::parse(&[b'a'; 40]).unwrap(),
            offset: Offset::new(offset),
        };
        let checkpoint = Some(Checkpoint {
            position: at(9),
            db: 0,
        });
        for (checkpoint, full_sync, had, expected) in [
            (checkpoint, None, None, Some(9)),
            (None, Some(7), Some(3), Some(7)),
            (None, None, Some(3), Some(3)),
            (None, None, None, None),
        ] {
            let record = Record {
                checkpoint,
                full_sync: full_sync.map(at),
                had: had.map(at),
                ..Record::default()
            };
            let without = forgotten(&record);
            assert_eq!(without.had, expected.map(at));
            assert_eq!((without.checkpoint, without.full_sync), (None, None));
            assert!(without.wanted_ms > 0);
        }
    }

    #[test]
    fn a_snapshot_of_before_is_told_by_every_row_of_the_table() {
        let at = |offset| Position {
            id: ReplId::parse(&[b'a'; 40]).unwrap(),
            offset: Offset::new(offset),
        };
        let snapshot = SnapshotInfo {
            position: at(100),
            received_bytes: 1,
            declared_bytes: None,
            stage: Stage::Whole,
            resumable: true,
            begun_ms: 50,
            whole_ms: None,
        };
        let checkpoint = Some(Checkpoint {
            position: at(1_000),
            db: 0,
        });
        let begun = |offset| Record {
            full_sync: Some(at(offset)),
            ..Record::default()
        };
        let recorded = || Record {
            checkpoint,
            ..Record::default()
        };
        let wanted = |wanted_ms, resync| Record {
            wanted_ms,
            resync,
            ..Record::default()
        };
        for (record, in_group, untrusted_ms, expected) in [
            (recorded(), false, Some(60), true),
            (recorded(), false, Some(40), false),
            (recorded(), false, None, false),
            (begun(200), true, None, true),
            (begun(100), true, None, false),
            (begun(200), false, None, false),
            (wanted(0, true), true, None, true),
            (wanted(0, false), true, None, false),
            (wanted(60, true), false, None, true),
            (wanted(40, true), false, None, false),
            (wanted(0, true), false, None, false),
        ] {
            let said = is_of_before(&snapshot, &record, in_group, untrusted_ms);
            assert_eq!(said, expected, "{record:?} {in_group} {untrusted_ms:?}");
        }
    }
}
