//! Turns for full syncs: at most so many at once, over all pipelines of a process.
//!
//! A snapshot costs its source a fork, and its target much of its time. A pipeline takes a turn before it asks for one, and gives it back when its stream
//! is live, when it is paused, and when it ends. One that waits goes on with nothing: there is nothing to go on with.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The turns of a process. Clones share them.
#[derive(Debug, Clone)]
pub struct Turns(Arc<Semaphore>);

impl Turns {
    /// So many full syncs may run at once; one at least.
    #[must_use]
    pub fn new(at_once: usize) -> Turns {
        Turns(Arc::new(Semaphore::new(at_once.clamp(1, Semaphore::MAX_PERMITS))))
    }
}

/// The turn of one pipeline: held, or not.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Turns,
    held: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Turn {
    pub(super) fn new(turns: &Turns) -> Arc<Turn> {
        Arc::new(Turn {
            turns: turns.clone(),
            held: Mutex::default(),
        })
    }

    /// Waits for the turn. Cancel safe; those who wait are served in the order in which they came.
    pub(super) async fn take(&self) {
        if self.try_take() {
            return;
        }
        tracing::info!("as many full syncs run as input.rdbParallel allows; waiting for one to end");
        // An error: nobody closes it.
        if let Ok(permit) = Arc::clone(&self.turns.0).acquire_owned().await {
            self.hold(Some(permit));
        }
    }

    /// Takes the turn if that is possible at once; true where it is held then.
    pub(super) fn try_take(&self) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_none() {
            *held = Arc::clone(&self.turns.0).try_acquire_owned().ok();
        }
        held.is_some()
    }

    /// Gives it back, if it is held.
    pub(super) fn give_back(&self) {
        self.hold(None);
    }

    fn hold(&self, permit: Option<OwnedSemaphorePermit>) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = permit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_waits_until_another_gives_its_turn_back() {
        let turns = Turns::new(1);
        let (one, other) = (Turn::new(&turns), Turn::new(&turns));
        one.take().await;
        one.take().await;
        assert!(!other.try_take());
        let waiting = {
            let other = Arc::clone(&other);
            tokio::spawn(async move { other.take().await })
        };
        one.give_back();
        waiting.await.unwrap();
        assert!(!one.try_take());
        drop(other);
        assert!(one.try_take(), "the end of a pipeline gives it back");
    }
}
