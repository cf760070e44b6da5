//! Full syncs that somebody asks for: which begin, which are joined, and when the caller is told.
//!
//! A full sync is decided by this table; "running" is one that is being received or replayed, for whatever reason:
//!
//! | the input is | running | it began with a flush | a flush is asked for | what happens |
//! | --- | --- | --- | --- | --- |
//! | stopping | – | – | – | refused |
//! | paused | – | – | – | refused |
//! | run | no | – | – | begins |
//! | run | yes | – | no | joins it |
//! | run | yes | yes | yes | joins it |
//! | run | yes | no | yes | begins |
//!
//! Inputs that feed common databases of one target empty it together ([`Gate`]). Promises that a call is answered: what has not begun in time is
//! withdrawn first. Leaves to `pipeline` how a full sync begins.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, timeout, timeout_at};

use super::handle::Refusal;
use super::input::Input;
use crate::core::pipeline::Mode;
use crate::core::pipeline::gate::Gate;
use crate::core::pipeline::orders::{Answer, Begun, FlushCommand, FullSyncWish, NotBegun};
use crate::core::progress::{Phase, State};

/// A full sync that has not begun within this time is withdrawn: nobody wants a database emptied an hour after he asked.
pub(super) const BEGIN_LIMIT: Duration = Duration::from_secs(20);

/// A full sync that was begun is answered within this time: the target's reply to a flush has a limit of its own.
const ANSWER_LIMIT: Duration = Duration::from_secs(75);

/// What is known for the decision on a full sync.
#[derive(Debug, Clone, Copy)]
struct Case {
    mode: Mode,
    running: bool,
    flushed: bool,
    flush: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Begins,
    Joins,
    Paused,
    Stopping,
}

/// The table at the head.
fn verdict(case: Case) -> Verdict {
    match case.mode {
        Mode::Stop => Verdict::Stopping,
        Mode::Pause => Verdict::Paused,
        Mode::Run if case.running && (case.flushed || !case.flush) => Verdict::Joins,
        Mode::Run => Verdict::Begins,
    }
}

/// What becomes of a full sync of this input.
pub(super) fn verdict_on(input: &Input, flush: bool) -> Verdict {
    let running = input.progress.phase() == Phase::FullSync && input.progress.status().state == State::Run;
    verdict(Case {
        mode: input.orders().mode(),
        running,
        flushed: input.progress.was_flushed(),
        flush,
    })
}

/// What became of a call for full syncs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FullSyncs {
    /// Inputs whose full sync has begun.
    pub begun: Vec<String>,
    /// Inputs where one was under way that does what was asked.
    pub joined: Vec<String>,
}

impl FullSyncs {
    /// | has begun for some | the others | answer |
    /// | --- | --- | --- |
    /// | – | none | as asked |
    /// | no | all refused | cannot be: it must be asked for differently |
    /// | – | anything else | not begun |
    fn or_failed(self, failed: Vec<(String, NotBegun)>) -> Result<FullSyncs, Refusal> {
        if failed.is_empty() {
            return Ok(self);
        }
        let refused =
            self.begun.is_empty() && failed.iter().all(|(_, why)| matches!(why, NotBegun::Refused(_)));
        let in_part = failed.iter().any(|(_, why)| matches!(why, NotBegun::Unknown(_)));
        let in_words = |why| match why {
            NotBegun::Refused(why) | NotBegun::Failed(why) | NotBegun::Unknown(why) => why,
        };
        let failed = failed
            .into_iter()
            .map(|(input, why)| (input, in_words(why)))
            .collect();
        if refused {
            return Err(Refusal::CannotBe(failed));
        }
        Err(Refusal::NotBegun {
            begun: self.begun,
            failed,
            in_part,
        })
    }
}

/// Those who wait for the answer to one call for full syncs.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    waiting: Vec<(Input, Answer)>,
    joined: Vec<String>,
    since: Option<SystemTime>,
    until: Option<Instant>,
}

impl Asked {
    /// Places the orders; inputs of one group empty their target together.
    pub(super) fn place(
        inputs: &[Input],
        groups: &[usize],
        flush: Option<&FlushCommand>,
        within: Duration,
    ) -> Asked {
        let until = Instant::now() + within;
        let mut asked = Asked {
            since: Some(SystemTime::now()),
            until: Some(until),
            ..Asked::default()
        };
        let mut places: Vec<usize> = groups.to_vec();
        places.sort_unstable();
        places.dedup();
        for group in places {
            let members = inputs.iter().zip(groups).filter(|(_, of)| **of == group);
            let members: Vec<&Input> = members.map(|(input, _)| input).collect();
            asked.place_group(&members, flush, until);
        }
        asked
    }

    fn place_group(&mut self, members: &[&Input], flush: Option<&FlushCommand>, until: Instant) {
        let joins = |input: &Input| verdict_on(input, flush.is_some()) == Verdict::Joins;
        // Emptied for one of them, it is emptied for all.
        let together = flush.is_some() && members.len() > 1;
        if together && !members.iter().all(|input| joins(input)) {
            let gate = Arc::new(Gate::new(members.len()));
            members
                .iter()
                .for_each(|input| self.order(input, flush, Some(Arc::clone(&gate)), until));
            return;
        }
        for input in members {
            match joins(input) {
                true => self.joined.push(input.source.to_string()),
                false => self.order(input, flush, None, until),
            }
        }
    }

    fn order(
        &mut self,
        input: &Input,
        flush: Option<&FlushCommand>,
        gate: Option<Arc<Gate>>,
        until: Instant,
    ) {
        let answer = input.orders().full_sync(FullSyncWish {
            flush: flush.cloned(),
            gate,
            until,
        });
        self.waiting.push((input.clone(), answer));
    }

    /// Waits until all have begun, or have certainly not.
    ///
    /// # Errors
    /// [`Refusal::CannotBe`], [`Refusal::NotBegun`].
    pub async fn begun(self) -> Result<FullSyncs, Refusal> {
        let since = self.since.unwrap_or(SystemTime::UNIX_EPOCH);
        let until = self.until.unwrap_or_else(Instant::now);
        let all = self.waiting.into_iter().map(|(input, answer)| async move {
            let told = begun(&input, answer, since, until).await;
            (input.source.to_string(), told)
        });
        let mut done = FullSyncs {
            joined: self.joined,
            ..FullSyncs::default()
        };
        let mut failed = Vec::new();
        for (input, told) in futures_util::future::join_all(all).await {
            match told {
                Ok(()) => done.begun.push(input),
                Err(why) => failed.push((input, why)),
            }
        }
        done.or_failed(failed)
    }

    /// Waits until all have begun; the first that does not ends the waiting.
    ///
    /// # Errors
    /// As [`Asked::begun`], of the first.
    pub async fn all_begun(self) -> Result<(), Refusal> {
        let since = self.since.unwrap_or(SystemTime::UNIX_EPOCH);
        let until = self.until.unwrap_or_else(Instant::now);
        let all = self.waiting.into_iter().map(|(input, answer)| async move {
            let told = begun(&input, answer, since, until).await;
            told.map_err(|why| (input.source.to_string(), why))
        });
        match futures_util::future::try_join_all(all).await {
            Ok(_) => Ok(()),
            Err(first) => FullSyncs::default().or_failed(vec![first]).map(|_| ()),
        }
    }
}

/// Waits for the answer; at the deadline what has not begun is withdrawn, and then there is an answer in any case.
async fn begun(input: &Input, mut answer: Answer, since: SystemTime, until: Instant) -> Begun {
    if let Ok(told) = timeout_at(until, told(&mut answer)).await {
        return told;
    }
    let status = input.progress.status();
    // What went wrong before the call is no reason.
    let trouble = status.last_error.filter(|trouble| trouble.at >= since);
    let why = trouble.map_or_else(
        || format!("it is {} and was not ready in time", status.phase.as_str()),
        |trouble| trouble.message,
    );
    input.orders().withdraw_late(&why);
    timeout(ANSWER_LIMIT, told(&mut answer))
        .await
        .unwrap_or_else(|_| Err(NotBegun::Unknown("the target owes an answer".to_owned())))
}

async fn told(answer: &mut Answer) -> Begun {
    match answer.wait_for(Option::is_some).await {
        Ok(told) => told.clone().unwrap_or(Ok(())),
        Err(_) => Err(NotBegun::Failed(
            "the input ended before it could begin".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table() {
        let rows = [
            (Mode::Stop, true, true, false, Verdict::Stopping),
            (Mode::Pause, true, false, false, Verdict::Paused),
            (Mode::Run, false, false, false, Verdict::Begins),
            (Mode::Run, false, false, true, Verdict::Begins),
            (Mode::Run, true, false, false, Verdict::Joins),
            (Mode::Run, true, true, false, Verdict::Joins),
            (Mode::Run, true, true, true, Verdict::Joins),
            (Mode::Run, true, false, true, Verdict::Begins),
        ];
        for (mode, running, flushed, flush, expected) in rows {
            let case = Case {
                mode,
                running,
                flushed,
                flush,
            };
            assert_eq!(verdict(case), expected, "{case:?}");
        }
    }
}
