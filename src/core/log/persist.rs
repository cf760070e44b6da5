//! Making appended bytes durable: when (the flush policy), and by whom (a blocking thread, one at a time for a log).
//!
//! A persist goes through the segments that are not sealed yet, oldest first: fdatasync, and a seal at the end of
//! those that are finished. Afterwards everything up to the end as it was at the beginning is durable. One that
//! fails breaks the log: the kernel forgets which pages it could not write, so trying again would prove nothing.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use super::block;
use super::inner::Inner;
use super::state::{PersistPlan, Want};
use super::{Error, Store};
use crate::core::crash::{self, Step};
use crate::core::position::Offset;

/// When appended bytes are made durable. What is not yet durable survives the death of the process, but not a power
/// cut; the source is then asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushPolicy {
    /// At most this long after they were appended.
    Every(Duration),
    /// Before the append returns.
    EveryWrite,
    /// When so many bytes are waiting.
    DirtyBytes(u64),
    /// When the operating system sees fit, or a segment is finished.
    Os,
}

impl Inner {
    fn flush_policy(&self) -> FlushPolicy {
        self.store.as_ref().map_or(FlushPolicy::Os, |store| store.flush)
    }

    /// After an append: starts what the policy asks for.
    pub(super) fn persist_by_policy(self: &Arc<Self>) {
        match self.flush_policy() {
            FlushPolicy::Os => {}
            FlushPolicy::EveryWrite => self.start_persist(Want::All),
            FlushPolicy::Every(interval) => self.start_timer(interval),
            FlushPolicy::DirtyBytes(most) => {
                let waiting = {
                    let state = self.state();
                    state.end.since(state.persisted)
                };
                if waiting >= most {
                    self.start_persist(Want::All);
                }
            }
        }
    }

    /// A segment has been finished.
    pub(super) fn seal_finished(self: &Arc<Self>) {
        self.start_persist(Want::Finished);
    }

    /// One timer at most, and none while nothing waits: an idle log costs nothing.
    fn start_timer(self: &Arc<Self>, interval: Duration) {
        let running = std::mem::replace(&mut self.state().timer, true);
        if running {
            return;
        }
        let log = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(interval).await;
            if let Some(log) = log.upgrade() {
                log.state().timer = false;
                log.start_persist(Want::All);
            }
        });
    }

    /// Has a blocking thread persist; where one is at it already, it goes on with this afterwards.
    pub(super) fn start_persist(self: &Arc<Self>, want: Want) {
        {
            let mut state = self.state();
            state.wanted = state.wanted.max(Some(want));
            if std::mem::replace(&mut state.persisting, true) {
                return;
            }
        }
        let log = self.clone();
        tokio::task::spawn_blocking(move || log.persist_while_wanted());
    }

    fn persist_while_wanted(&self) {
        loop {
            let plan = {
                let mut state = self.state();
                let Some(want) = state.wanted.take().filter(|_| state.broken.is_none()) else {
                    state.persisting = false;
                    drop(state);
                    self.tell();
                    return;
                };
                state.persist_plan(want)
            };
            let outcome = match &self.store {
                Some(store) => carry_out(store, &plan),
                None => Ok(Vec::new()),
            };
            self.note_persist(&plan, outcome);
            self.tell();
        }
    }

    fn note_persist(&self, plan: &PersistPlan, outcome: Result<Vec<Offset>, Error>) {
        let mut state = self.state();
        match outcome {
            Ok(sealed) => state.persisted(plan, &sealed),
            Err(error) if plan.generation == state.generation => {
                tracing::error!(log = self.name, %error, "cannot make the log durable");
                state.broken = Some(Arc::new(error));
            }
            // The files are gone anyway.
            Err(_) => {}
        }
    }

    /// Waits until everything up to `end` is durable. Ends when the persist does, one way or the other.
    pub(super) async fn persisted_to(self: &Arc<Self>, generation: u64, end: Offset) -> Result<(), Error> {
        let mut news = self.news.subscribe();
        loop {
            news.borrow_and_update();
            {
                let state = self.state();
                state.check_append(generation)?;
                if state.persisted >= end {
                    return Ok(());
                }
            }
            if news.changed().await.is_err() {
                return Err(Error::ShutDown);
            }
        }
    }
}

/// Does what the plan says; the segments that got their seal, by their starts.
fn carry_out(store: &Store, plan: &PersistPlan) -> Result<Vec<Offset>, Error> {
    let mut sealed = Vec::new();
    // Before anything is called durable: a file whose name is lost is lost.
    if plan.folder {
        store.disk.persist_folder(&store.dir)?;
    }
    for (start, file, seal) in &plan.files {
        crash::pass(Step::PersistBegun);
        file.persist()?;
        let Some(end) = seal else {
            continue;
        };
        crash::pass(Step::SegmentPersisted);
        let seal = block::block_header(*end, &[]);
        match file.append_at(Step::SealTorn, &mut [IoSlice::new(&seal)]) {
            Ok(()) => {
                crash::pass(Step::SegmentSealed);
                sealed.push(*start);
            }
            // Its bytes are durable all the same; without a seal opening reads the file once more.
            Err(Error::NoSpace { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sealed)
}
