//! Retry, resync or stop: what follows when applying has ended.
//!
//! Owns the one `match` over [`End`], and how a trouble is reported and waited out. Promises that what passes by itself is tried again, with growing
//! pauses, and that what needs a person is tried again when a person wishes something.

use std::time::Duration;

use super::{End, Fatal, Pipeline, Round};
use crate::core::log;
use crate::core::position::Offset;
use crate::core::progress::{Counters, Phase, State};
use crate::core::resume::Reason;
use crate::core::target;

/// The longest pause before a cluster is tried again.
const CLUSTER_PAUSE_MAX: Duration = Duration::from_millis(500);

/// What was told so long ago is about what has just happened.
const JUST_NOW: Duration = Duration::from_secs(1);

impl Pipeline {
    /// Retry, resync or stop: the one place where it is decided.
    pub(super) async fn decide(&mut self, round: &mut Round, end: End) {
        match end {
            End::Wished | End::LogChanged | End::Done => {}
            End::SourceRefuses { message, hint } => self.wait_after(round, &message, hint).await,
            End::TargetMoved => {
                tracing::info!("the target is another server now");
                Counters::add(&self.progress.counters.target_reconnects, 1);
            }
            End::Target(error) => {
                self.target_place.doubt();
                Counters::add(&self.progress.counters.target_reconnects, 1);
                self.wait_for_target(round, &error).await;
            }
            End::Unavailable(reply) => {
                self.target_place.doubt();
                let hint = target::refusal::Kind::of(&reply).hint(&reply);
                self.wait_after(round, &format!("the target takes nothing now: {reply}"), hint)
                    .await;
            }
            End::Log(log::Error::Superseded) => {}
            End::Log(log::Error::Abandoned { received }) => {
                let broke_off = format!("the snapshot broke off after {received} bytes");
                // Whoever received it has just told why, and would not be heard.
                let cause = self.progress.status().last_error;
                let cause = cause.filter(|one| one.at.elapsed().is_ok_and(|age| age < JUST_NOW));
                let (message, hint) = match cause {
                    Some(one) if one.message.starts_with(&broke_off) => (one.message, one.hint),
                    Some(one) => (format!("{broke_off}: {}", one.message), one.hint),
                    None => (broke_off, None),
                };
                let hint = hint.or_else(|| Some(super::receive::NO_SNAPSHOT_HINT.to_owned()));
                self.wait_after(round, &message, hint).await;
            }
            End::Log(log::Error::Released { .. }) => {
                tracing::info!("the log was released past our position; planning anew");
            }
            End::Log(error) => self.drop_damaged_log(round, &error).await,
            End::Snapshot(error) if round.damaged > 0 => {
                let hint = "the source's format may be newer than this gunyu, or something changes bytes on the way: \
                            check the source with redis-check-rdb, then restart";
                self.stand_still(
                    &format!("two snapshots in a row cannot be read: {error}"),
                    hint.to_owned(),
                )
                .await;
            }
            End::Snapshot(error) => {
                round.damaged += 1;
                round.force = Some(Reason::Damaged);
                self.wait_after(round, &format!("the snapshot is damaged: {error}"), None)
                    .await;
            }
            End::Stream(error) => {
                round.force = Some(Reason::Damaged);
                self.wait_after(round, &format!("the stream cannot be read: {error}"), None)
                    .await;
            }
            End::Emptied => {
                tracing::info!(
                    "the source's shard was emptied: a full sync takes away its keys, and no others"
                );
                round.force = Some(Reason::Emptied);
            }
            End::Entangled => {
                let message = "slots have moved in a way that the streams do not tell any more: a full sync of each shard settles it";
                tracing::warn!("{message}");
                self.progress.report(message.to_owned(), None);
                round.force = Some(Reason::Entangled);
            }
            End::Importing => {
                let message =
                    "the snapshot was taken while the shard imported slots: another one is asked for";
                round.force = Some(Reason::Importing);
                self.wait_after(round, message, None).await;
            }
            End::Unsettled => {
                let hint =
                    "see the traces about the cluster; the full sync ends as soon as it can be looked at";
                let message = "which slots are this shard's cannot be found out: the cluster does not answer";
                self.wait_after(round, message, Some(hint.to_owned())).await;
            }
            End::Catalog(error) => {
                let hint = error.hint().map(str::to_owned);
                self.wait_after(round, &error.to_string(), hint).await;
            }
            End::Letters { message, hint } => self.wait_after(round, &message, Some(hint)).await,
            End::Unfit(Fatal { message, hint }) => self.stand_still(&message, hint.unwrap_or_default()).await,
            End::Stuck { message, hint } => self.stand_still(&message, hint).await,
        }
    }

    /// The log cannot be trusted any more: what is on the target decides where to go on.
    async fn drop_damaged_log(&mut self, round: &mut Round, error: &log::Error) {
        if let Some(receiver) = round.receiver.take() {
            receiver.stop().await;
        }
        let history = self.log.history();
        if let Some(history) = history
            && let Err(error) = self.log.start_at(history, Offset::ZERO).await
        {
            tracing::error!(%error, "the damaged log could not be dropped");
        }
        self.wait_after(round, &error.to_string(), error.hint().map(str::to_owned))
            .await;
    }

    /// The same where no session comes about, or one has ended. A cluster that lacks a node has another in its place, or the same one again, within seconds,
    /// and until then nothing goes to any of the others.
    pub(super) async fn wait_for_target(&mut self, round: &mut Round, error: &target::Error) {
        let longest = match self.settings.target.is_cluster() && error.may_pass_soon() {
            true => CLUSTER_PAUSE_MAX,
            false => Duration::MAX,
        };
        let pause = round.backoff.pause().min(longest);
        self.wait(pause, &error.to_string(), error.hint()).await;
    }

    /// Reports a trouble and waits before the next try, unless the wish changes.
    pub(super) async fn wait_after(&mut self, round: &mut Round, message: &str, hint: Option<String>) {
        let pause = round.backoff.pause();
        self.wait(pause, message, hint).await;
    }

    async fn wait(&mut self, pause: Duration, message: &str, hint: Option<String>) {
        tracing::warn!(pause_ms = pause.as_millis(), hint = hint.as_deref(), "{message}");
        self.progress.report(message.to_owned(), hint);
        self.progress.set_phase(Phase::Backoff);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // Taken, so that the next wait is one.
            () = self.source_place.changed() => drop(self.source_place.take()),
            () = self.target_place.changed() => drop(self.target_place.take()),
            _ = self.wish.changed() => {}
        }
    }

    /// Stops applying until the operator wishes something; receiving goes on.
    async fn stand_still(&mut self, message: &str, hint: String) {
        tracing::error!(hint = hint.as_str(), "{message}");
        self.progress.report(message.to_owned(), Some(hint));
        self.progress.set_phase(Phase::Backoff);
        self.progress.set_state(State::Stop);
        // Ends with the operator's next wish; only a person can help here.
        let _ = self.wish.changed().await;
    }
}
