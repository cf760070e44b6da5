//! Where several inputs that feed one target empty it together.
//!
//! One that emptied it by itself would delete what another has already copied anew. So all of them stop applying and come to the gate, each with a
//! session in hand; the last to come empties the target, once for all, with all their checkpoints in one transaction; then each goes its way.
//!
//! Owns who leads and what is told to the others. Promises that nobody leads where one did not come in time: then nothing has changed.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::orders::{Begun, NotBegun, Wish};
use crate::core::target::session::Member;

/// The gate of some inputs.
#[derive(Debug)]
pub struct Gate {
    /// How many inputs there are.
    expected: usize,
    /// Those who have come; nothing once somebody has given up.
    arrived: Mutex<Option<Vec<Member>>>,
    outcome: watch::Sender<Option<Begun>>,
}

/// What one that has come is to do.
#[derive(Debug)]
pub enum Part<'a> {
    /// To empty the target for all, and tell.
    Lead(Lead<'a>),
    /// The leader has told this.
    Told(Begun),
}

/// The right, and the duty, to tell the others.
#[derive(Debug)]
pub struct Lead<'a> {
    gate: &'a Gate,
    /// All that have come.
    pub members: Vec<Member>,
}

impl Lead<'_> {
    /// Tells the others what came of it.
    pub fn tell(self, begun: Begun) {
        self.gate.outcome.send_replace(Some(begun));
    }
}

impl Drop for Lead<'_> {
    /// A leader that ends without a word, by a bug of ours, must not leave the others waiting.
    fn drop(&mut self) {
        let unknown = NotBegun::Unknown("the input that emptied the target for all has ended".to_owned());
        self.gate.outcome.send_if_modified(|outcome| {
            let is_silent = outcome.is_none();
            if is_silent {
                *outcome = Some(Err(unknown));
            }
            is_silent
        });
    }
}

impl Gate {
    /// A gate for so many inputs.
    #[must_use]
    pub fn new(expected: usize) -> Gate {
        Gate {
            expected,
            arrived: Mutex::new(Some(Vec::new())),
            outcome: watch::Sender::new(None),
        }
    }

    /// Comes to the gate, and waits for the others until then, or until the wish changes.
    pub async fn arrive(&self, member: Member, until: Instant, wish: &mut watch::Receiver<Wish>) -> Part<'_> {
        let mut outcome = self.outcome.subscribe();
        if let Some(members) = self.count_in(member) {
            return Part::Lead(Lead { gate: self, members });
        }
        tokio::select! {
            biased;
            _ = outcome.wait_for(Option::is_some) => {}
            _ = wish.changed() => self.give_up(),
            _ = timeout_at(until, std::future::pending::<()>()) => self.give_up(),
        }
        // Told by now, or by a leader within the limits of his own connection.
        match outcome.wait_for(Option::is_some).await {
            Ok(told) => Part::Told(told.clone().unwrap_or(Ok(()))),
            Err(_) => Part::Told(Err(missing())),
        }
    }

    /// Closes the gate, unless all have come: one does not come, or does not wait any longer.
    pub fn give_up(&self) {
        let mut arrived = self.arrived();
        let all_have_come = arrived
            .as_ref()
            .is_some_and(|arrived| arrived.len() == self.expected);
        if !all_have_come && arrived.take().is_some() {
            self.outcome.send_replace(Some(Err(missing())));
        }
    }

    /// All members, where this is the last.
    fn count_in(&self, member: Member) -> Option<Vec<Member>> {
        let mut arrived = self.arrived();
        let members = arrived.as_mut()?;
        members.push(member);
        (members.len() == self.expected).then(|| members.clone())
    }

    fn arrived(&self) -> MutexGuard<'_, Option<Vec<Member>>> {
        // Nothing can panic while it is held.
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn missing() -> NotBegun {
    NotBegun::Failed("another input that feeds the same target was not ready in time".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::core::target::checkpoint::Record;

    fn member(name: &str) -> Member {
        Member {
            name: name.into(),
            token: String::new(),
            otherwise: Record::default(),
            emptied: Record::default(),
        }
    }

    /// Comes to the gate in a task of its own, and says what it was told; with a sender of wishes.
    fn comes(
        gate: &Arc<Gate>,
        name: &'static str,
        within: Duration,
    ) -> (watch::Sender<Wish>, tokio::task::JoinHandle<Begun>) {
        let (wish, mut wishes) = watch::channel(Wish::default());
        let gate = Arc::clone(gate);
        let task = tokio::spawn(async move {
            match gate
                .arrive(member(name), Instant::now() + within, &mut wishes)
                .await
            {
                Part::Told(told) => told,
                Part::Lead(lead) => {
                    lead.tell(Ok(()));
                    Ok(())
                }
            }
        });
        (wish, task)
    }

    const LONG: Duration = Duration::from_secs(60);

    async fn until_somebody_has_come(gate: &Gate) {
        while gate.arrived().as_ref().is_some_and(Vec::is_empty) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn the_last_to_come_leads_and_the_others_hear_of_it() {
        let gate = Arc::new(Gate::new(2));
        let (_wish, first) = comes(&gate, "a", LONG);
        until_somebody_has_come(&gate).await;
        let (_keep, mut wishes) = watch::channel(Wish::default());
        match gate.arrive(member("b"), Instant::now() + LONG, &mut wishes).await {
            Part::Lead(lead) => {
                assert_eq!(lead.members.len(), 2);
                lead.tell(Ok(()));
            }
            told => unreachable!("{told:?}"),
        }
        assert_eq!(first.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn nobody_leads_where_one_did_not_come_in_time() {
        let gate = Arc::new(Gate::new(2));
        let (_first, early) = comes(&gate, "a", Duration::ZERO);
        assert_eq!(early.await.unwrap(), Err(missing()));
        let (_second, late) = comes(&gate, "b", LONG);
        assert_eq!(late.await.unwrap(), Err(missing()));
    }

    #[tokio::test]
    async fn a_wish_or_one_that_will_not_come_ends_the_waiting() {
        let gate = Arc::new(Gate::new(2));
        let (wish, paused) = comes(&gate, "a", LONG);
        until_somebody_has_come(&gate).await;
        wish.send_modify(|wish| wish.turn += 1);
        assert_eq!(paused.await.unwrap(), Err(missing()));
        let gate = Arc::new(Gate::new(2));
        let (_wish, waiting) = comes(&gate, "a", LONG);
        until_somebody_has_come(&gate).await;
        gate.give_up();
        assert_eq!(waiting.await.unwrap(), Err(missing()));
    }

    #[tokio::test]
    async fn a_leader_that_ends_without_a_word_leaves_nobody_waiting() {
        let gate = Arc::new(Gate::new(2));
        let (_wish, waiting) = comes(&gate, "a", LONG);
        until_somebody_has_come(&gate).await;
        let (_keep, mut wishes) = watch::channel(Wish::default());
        drop(gate.arrive(member("b"), Instant::now() + LONG, &mut wishes).await);
        assert!(matches!(waiting.await.unwrap(), Err(NotBegun::Unknown(_))));
    }
}
