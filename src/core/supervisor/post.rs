//! One input in this process: its pipeline while this process leads it, a warm copy of the leader's log while another does.
//!
//! ```text
//! alone, leads --> pipeline --drained, or the lease is lost--> follower --the lease is ours--> pipeline
//! ```
//!
//! Owns which of the two works on the log, never both. Promises that [`Chair::is_idle`] says so: whoever hands the lease over waits for it, and then nothing of
//! this process is on its way to the target. Leaves to [`super::group`] who leads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use super::group::Membership;
use super::mirror;
use crate::core::catalog::Catalog;
use crate::core::log::Log;
use crate::core::peer::{Board, Follower};
use crate::core::pipeline::orders::Wish;
use crate::core::pipeline::{Delivery, Ended, Fatal, Mode, Orders, Pipeline, Settings};
use crate::core::position::Epoch;
use crate::core::progress::{Progress, State};

/// Who leads an input, and whether this process is out of the way.
#[derive(Debug)]
pub(super) struct Chair {
    leader: watch::Sender<Option<String>>,
    epoch: AtomicU64,
    idle: watch::Sender<bool>,
}

impl Chair {
    pub(super) fn new() -> Arc<Chair> {
        Arc::new(Chair {
            leader: watch::Sender::new(None),
            epoch: AtomicU64::new(0),
            idle: watch::Sender::new(true),
        })
    }

    /// The member that leads; nothing where nobody does, or where that is not known.
    pub(super) fn leader(&self) -> Option<String> {
        self.leader.borrow().clone()
    }

    /// The epoch of its lease.
    pub(super) fn epoch(&self) -> Epoch {
        Epoch::new(self.epoch.load(Ordering::Relaxed))
    }

    pub(super) fn set_leader(&self, leader: Option<(&str, Epoch)>) {
        let (leader, epoch) = leader.unzip();
        self.epoch
            .store(epoch.unwrap_or(Epoch::NONE).get(), Ordering::Relaxed);
        self.leader.send_if_modified(|known| {
            let is_new = known.as_deref() != leader;
            if is_new {
                *known = leader.map(str::to_owned);
            }
            is_new
        });
    }

    /// Whether no pipeline of this process works on the input.
    pub(super) fn is_idle(&self) -> bool {
        *self.idle.borrow()
    }

    /// Waits until none does.
    pub(super) async fn idle(&self) {
        // The sender is this one's own.
        let _ = self.idle.subscribe().wait_for(|idle| *idle).await;
    }
}

/// The place of one input.
pub(super) struct Post {
    pub(super) settings: Settings,
    pub(super) log: Log,
    pub(super) catalog: Catalog,
    pub(super) progress: Arc<Progress>,
    pub(super) orders: Arc<Orders>,
    /// Where several processes stand in for each other.
    pub(super) seat: Option<Seat>,
}

/// The place of one input among several processes.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    pub(super) chair: Arc<Chair>,
    pub(super) board: Arc<Board>,
    pub(super) group: Membership,
}

impl Post {
    pub(super) fn name(&self) -> &str {
        &self.settings.name
    }

    /// Until it is stopped, or everything is done that was wanted.
    ///
    /// # Errors
    /// The first contact met a trouble that needs a person.
    pub(super) async fn keep(mut self) -> Result<(), Fatal> {
        let _joined = self.settings.join_siblings(&self.log, &self.progress);
        let mut wishes = self.orders.wishes();
        loop {
            let wish = *wishes.borrow_and_update();
            if wish.mode == Mode::Stop {
                self.orders.close();
                self.progress.set_state(State::Stop);
                return Ok(());
            }
            if !wish.tenure.is_ours() {
                self.follow(&mut wishes).await;
                continue;
            }
            if self.lead().await? == Ended::Over {
                return Ok(());
            }
        }
    }

    async fn lead(&mut self) -> Result<Ended, Fatal> {
        if let Some(seat) = &self.seat {
            seat.chair.idle.send_replace(false);
            // What a process takes over has worked before: a trouble passes, or is shown.
            self.settings.begins_with_process &= self.log.history().is_none();
        }
        let pipeline = Pipeline::new(
            self.settings.clone(),
            self.log.clone(),
            self.catalog.clone(),
            Arc::clone(&self.progress),
            Arc::clone(&self.orders),
        );
        let running = Box::pin(pipeline.run());
        let Some(seat) = &self.seat else {
            return running.await;
        };
        let telling = async {
            match &self.settings.shard {
                Some(shard) => mirror::tell(&shard.crossings, self.name(), &seat.board).await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            biased;
            ended = running => ended,
            () = telling => Ok(Ended::NotOurs),
        };
        seat.chair.idle.send_replace(true);
        ended
    }

    /// Whoever leads is told what this process has found out, or was told, before it could be done.
    fn recall_entangled(&self) {
        let Some(shard) = &self.settings.shard else { return };
        match self.catalog.entangled(&self.settings.name) {
            Ok(true) => shard.crossings.recall_entangled(&self.settings.name),
            Ok(false) => {}
            Err(error) => {
                tracing::error!(%error, hint = error.hint(), "whether the shard must begin anew cannot be read");
            }
        }
    }

    async fn follow(&mut self, wishes: &mut watch::Receiver<Wish>) {
        self.recall_entangled();
        let Some(Seat { chair, group, .. }) = &self.seat else {
            return;
        };
        let mut leader = chair.leader.subscribe();
        let seen = leader.clone();
        let (tell, told) = watch::channel(None);
        let (stop, stopping) = watch::channel(false);
        let mut follower = Follower::new(&self.settings.name, &self.log, &self.progress);
        let passing_on = async {
            loop {
                let now = leader.borrow_and_update().clone();
                tell.send_replace(now.as_deref().and_then(|id| group.leader(id)));
                if leader.changed().await.is_err() {
                    return;
                }
            }
        };
        let heard = follower.heard();
        let is_exact = self.settings.delivery == Delivery::ExactlyOnce && !self.settings.target.is_cluster();
        let siblings = async {
            let Some(shard) = &self.settings.shard else {
                return std::future::pending().await;
            };
            tokio::select! {
                () = mirror::hear(&shard.crossings, self.name(), (&self.log, is_exact), heard) => {}
                () = mirror::pass_entangled(&shard.crossings, self.name(), group, &seen) => {}
            }
        };
        let until_ours = async {
            let ours = wishes.wait_for(|wish| {
                // A pause holds for the group: it is shown by whoever would go on with it.
                self.progress.set_state(match wish.mode {
                    Mode::Pause => State::Pause,
                    Mode::Run | Mode::Stop => State::Run,
                });
                wish.mode == Mode::Stop || wish.tenure.is_ours()
            });
            tokio::select! {
                biased;
                // An error: nobody can wish any more.
                _ = ours => {}
                () = passing_on => {}
                () = siblings => {}
            }
            stop.send_replace(true);
        };
        // It ends by itself, and never in the middle of a change to the log.
        tokio::join!(follower.run(told, stopping), until_ours);
    }
}
