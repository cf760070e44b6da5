//! How applying ends when the operator wishes something else, or all that was wanted is there, and what is seen to before that.

use std::time::Duration;

use tokio::time::timeout;

use super::{Context, Stream};
use crate::core::crash::{self, Step};
use crate::core::pipeline::parked::Parked;
use crate::core::pipeline::{End, Mode, Tenure, Wish};
use crate::core::position::Offset;
use crate::core::target::session::Session;

/// A cluster's nodes are waited for so long.
const DRAIN_LIMIT: Duration = Duration::from_secs(3);

impl Context {
    /// The snapshot alone was wanted, and the target says that it is there: only the end of it was interrupted. Where it is not ours, somebody else's
    /// checkpoint must not go.
    pub async fn snapshot_is_there(self, mut session: Session, is_ours: bool) -> End {
        if !is_ours {
            return End::Stuck {
                message: "the full sync that was asked for has not begun".to_owned(),
                hint: "run the command again".to_owned(),
            };
        }
        match self.leave_copy(&mut session).await {
            Ok(()) => End::Done,
            Err(end) => end,
        }
    }

    /// The snapshot alone was wanted: no stream will follow it, so that every key gets its own expiry now, and nothing of ours stays.
    pub(super) async fn leave_copy(&self, session: &mut Session) -> Result<(), End> {
        let mut parked =
            Parked::open(&self.catalog, &self.settings.name, Offset::ZERO).map_err(End::Catalog)?;
        while parked.is_due(Offset::ZERO) {
            parked.settle(&self.settings.filter, session).await?;
        }
        session.remove_keys().await.map_err(End::Target)?;
        while parked.is_kept() {
            parked.forget_settled()?;
        }
        Ok(())
    }
}

impl Stream<'_> {
    /// Keys whose expiry was put off during the full sync get it once all is caught up.
    pub(super) async fn settle_parked(&mut self) -> Result<(), End> {
        if !self.parked.is_due(self.context.progress.ladder().applied) {
            return Ok(());
        }
        let Some(session) = self.lane.session() else {
            return Ok(());
        };
        let settled = self.parked.settle(&self.context.settings.filter, session).await;
        if self.parked.is_settled() {
            // Written with the next checkpoint.
            session.record.guarded = session.record.guarded.map(|_| false);
        }
        self.context.show_parked(&self.parked);
        settled
    }

    /// A stop leaves nothing behind that could be done: keys whose own expiry is due get it.
    async fn settle_before_stop(&mut self) -> Result<(), End> {
        let applied = self.context.progress.ladder().applied;
        let ends = |wish: &Wish| wish.mode == Mode::Stop || matches!(wish.tenure, Tenure::Yields(_));
        while ends(&self.context.wish.borrow()) && self.lane.is_idle() && self.parked.is_due(applied) {
            self.settle_parked().await?;
        }
        if self.parked.is_settled() && self.parked.is_kept() {
            self.record_end().await?;
        }
        Ok(())
    }

    /// Stops after the batch under way; what is not sent is in the log.
    pub(super) async fn end_if_wished(&mut self) -> Result<(), End> {
        let wish = *self.context.wish.borrow_and_update();
        if wish == self.context.wished {
            return Ok(());
        }
        if wish.tenure == Tenure::Follows {
            // The lease is lost: nothing more may be written.
            return Err(End::Wished);
        }
        crash::pass(Step::DrainBegun);
        match self.lane.may_wait_long() {
            // A node that is lost may stay away; what is not applied is in the log.
            true => match timeout(DRAIN_LIMIT, self.drain()).await {
                Ok(drained) => drained?,
                Err(_) => tracing::warn!(
                    "a part of the target does not answer: what it has not confirmed is sent again later"
                ),
            },
            false => self.drain().await?,
        }
        self.settle_before_stop().await?;
        crash::pass(Step::DrainDone);
        Err(End::Wished)
    }

    /// Waits for what is under way, and records where that ends.
    async fn drain(&mut self) -> Result<(), End> {
        while !self.lane.is_idle() {
            self.hear_lane().await?;
        }
        self.record().await?;
        let recorded = self.checkpointed;
        let applied = self.context.progress.ladder().applied;
        if recorded < applied {
            self.record_end().await?;
        }
        Ok(())
    }

    /// Where nothing is under way: what the target's record is to say.
    async fn record_end(&mut self) -> Result<(), End> {
        if !self.batch.in_transaction() && self.batch.is_empty() {
            let batch = self.batch.successor();
            self.submit(batch).await?;
            self.hear_lane().await?;
            self.record().await?;
        }
        Ok(())
    }

    async fn record(&mut self) -> Result<(), End> {
        while self.lane.record_confirmed().await.map_err(End::Target)? {
            self.hear_lane().await?;
        }
        Ok(())
    }

    async fn hear_lane(&mut self) -> Result<(), End> {
        let outcome = self.lane.outcome().await.map_err(End::Target)?;
        self.conclude(outcome).await
    }
}
