//! Calls that are about inputs which other members lead: they go to whoever leads.
//!
//! | call | inputs led here | inputs led elsewhere |
//! | --- | --- | --- |
//! | handover | go to the member that is named, or the best that reaches source and target | the leader is asked to do the same |
//! | full sync without a flush | begins | the leader is asked to begin it |
//! | full sync with a flush | all of them begin together, here | are handed over to this member first: they empty the target together |

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::{Membership, NotDone};
use crate::core::pipeline::Tenure;
use crate::core::pipeline::orders::FlushCommand;
use crate::core::supervisor::full_syncs::FullSyncs;
use crate::core::supervisor::handle::{Handle, Refusal};
use crate::core::supervisor::input::Input;

/// A leader answers within this time; it drains first.
const HAND_LIMIT: Duration = Duration::from_secs(20);

/// A full sync begins within a time of its own; the answer comes after that.
const FULL_SYNC_LIMIT: Duration = Duration::from_secs(100);

/// What is handed to us is led here within this time.
const GATHER_LIMIT: Duration = Duration::from_secs(15);

/// So often it is looked whether it is.
const GATHER_LOOK: Duration = Duration::from_millis(50);

/// What became of one input: the member that leads it, or why it stays.
type Handed = (String, Result<String, String>);

impl Handle {
    /// Hands these inputs over, each to that member or to the best. Gives the source of each and the member that leads it then.
    ///
    /// # Errors
    /// [`Refusal::NotHanded`]: those that are not named there have gone. [`Refusal::Alone`]: there is no group. [`Refusal::UnknownMember`].
    pub async fn hand_over(
        &self,
        inputs: &[Input],
        to: Option<&str>,
    ) -> Result<Vec<(String, String)>, Refusal> {
        let Some(group) = self.group() else {
            return Err(Refusal::Alone);
        };
        if let Some(wanted) = to {
            let mut known = group.others();
            known.push(group.me().to_owned());
            if !known.iter().any(|one| one == wanted) {
                let wanted = wanted.to_owned();
                return Err(Refusal::UnknownMember { wanted, known });
            }
        }
        let handed = inputs.iter().map(|input| hand_one(group, input, to, false));
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for (source, handed) in join_all(handed).await {
            match handed {
                Ok(leader) => done.push((source, leader)),
                Err(why) => failed.push((source, why)),
            }
        }
        match failed.is_empty() {
            true => Ok(done),
            false => Err(Refusal::NotHanded { done, failed }),
        }
    }

    /// Begins a full sync of these inputs, whoever leads them; see [`Handle::full_sync_here`].
    ///
    /// # Errors
    /// As that; [`Refusal::NotHanded`] where inputs to be flushed could not be gathered here.
    pub async fn full_sync(
        &self,
        inputs: &[Input],
        flush: Option<&FlushCommand>,
    ) -> Result<FullSyncs, Refusal> {
        let Some(group) = self.group().cloned() else {
            return self.full_sync_here(inputs, flush).await;
        };
        if flush.is_some() {
            self.check_full_sync(inputs).await?;
            self.gather(&group, inputs).await?;
            return self.full_sync_here(inputs, flush).await;
        }
        let (here, elsewhere): (Vec<Input>, Vec<Input>) = inputs.iter().cloned().partition(Input::is_led);
        let asked = join_all(elsewhere.iter().map(|input| ask_for_full_sync(&group, input)));
        let ours = async {
            match here.is_empty() {
                true => Ok(FullSyncs::default()),
                false => self.full_sync_here(&here, None).await,
            }
        };
        let (ours, theirs) = tokio::join!(ours, asked);
        let mut all = ours?;
        let mut failed = Vec::new();
        for (source, told) in theirs {
            match told {
                Ok(true) => all.begun.push(source),
                Ok(false) => all.joined.push(source),
                Err(why) => failed.push((source, why)),
            }
        }
        if let (
            true,
            true,
            Some((
                source,
                NotDone::Refused {
                    status: 409,
                    error,
                    hint,
                    ..
                },
            )),
        ) = (all.begun.is_empty(), all.joined.is_empty(), failed.first())
        {
            return Err(Refusal::ByLeader {
                message: format!("{source}: {error}"),
                hint: hint.clone(),
            });
        }
        let failed: Vec<(String, String)> = failed
            .into_iter()
            .map(|(source, why)| (source, why.to_string()))
            .collect();
        match failed.is_empty() {
            true => Ok(all),
            false => Err(Refusal::NotBegun {
                begun: all.begun,
                failed,
                in_part: false,
            }),
        }
    }

    /// Tells those who lead these inputs elsewhere what was noted for them. Whoever cannot be told sees the note in a moment.
    pub(in crate::core::supervisor) async fn tell_leaders(&self, inputs: &[Input], path: &str) {
        let Some(group) = self.group() else { return };
        let elsewhere = inputs.iter().filter(|input| !input.is_led());
        let told = elsewhere.map(|input| async move {
            let query = [("input", input.name())];
            group
                .ask(&input.leader(), ("POST", path), &query, HAND_LIMIT)
                .await
        });
        for error in join_all(told).await.into_iter().filter_map(Result::err) {
            tracing::debug!(%error, "a leader could not be told at once");
        }
    }

    /// Brings the lead of these inputs here.
    async fn gather(&self, group: &Membership, inputs: &[Input]) -> Result<(), Refusal> {
        group.gather();
        let elsewhere = inputs.iter().filter(|input| !input.is_led());
        let asked = elsewhere.map(|input| hand_one(group, input, Some(group.me()), true));
        let asked = join_all(asked).await;
        let mut failed: Vec<(String, String)> = asked
            .into_iter()
            .filter_map(|(source, handed)| Some((source, handed.err()?)))
            .collect();
        let until = Instant::now() + GATHER_LIMIT;
        let leads = |input: &Input| matches!(input.orders().tenure(), Tenure::Leads(_));
        while failed.is_empty() && !inputs.iter().all(leads) {
            if Instant::now() > until {
                let late = inputs.iter().filter(|input| !leads(input));
                failed.extend(late.map(|input| {
                    (
                        input.source.to_string(),
                        "it did not come here in time".to_owned(),
                    )
                }));
            }
            group.look();
            sleep(GATHER_LOOK).await;
        }
        match failed.is_empty() {
            true => Ok(()),
            false => Err(Refusal::NotHanded {
                done: Vec::new(),
                failed,
            }),
        }
    }

    /// The pipeline of that name is to begin anew, another member has found out: slots went to and fro too fast to be told apart.
    pub fn begin_entangled(&self, name: &str) {
        if let Some(input) = self.input_named(name) {
            input.entangle();
        }
    }
}

async fn hand_one(group: &Membership, input: &Input, to: Option<&str>, at_once: bool) -> Handed {
    let source = input.source.to_string();
    if input.is_led() && to == Some(group.me()) {
        return (source, Ok(group.me().to_owned()));
    }
    if input.is_led() {
        let handed = group.hand_over(input.name(), to, at_once).await;
        return (source, handed.map_err(|error| error.to_string()));
    }
    let leader = input.leader();
    if leader.is_empty() {
        return (
            source,
            Err("nobody leads it just now; try again in some seconds".to_owned()),
        );
    }
    if to == Some(leader.as_str()) {
        return (source, Ok(leader));
    }
    let hard = if at_once { "yes" } else { "no" };
    let mut query = vec![("input", input.name()), ("hard", hard)];
    query.extend(to.map(|to| ("to", to)));
    let asked = group.ask(&leader, ("POST", "/peer/handover"), &query, HAND_LIMIT);
    let handed = match asked.await {
        Ok(answer) => Ok(answer["leader"].as_str().unwrap_or_default().to_owned()),
        Err(error) => Err(error.to_string()),
    };
    group.look();
    (source, handed)
}

/// Whether it has begun, or joined one that was under way.
async fn ask_for_full_sync(group: &Membership, input: &Input) -> (String, Result<bool, NotDone>) {
    let source = input.source.to_string();
    let leader = input.leader();
    if leader.is_empty() {
        let nobody = NotDone::Refused {
            member: source.clone(),
            status: 409,
            error: "nobody leads it just now".to_owned(),
            hint: "try again in some seconds".to_owned(),
        };
        return (source, Err(nobody));
    }
    let (call, query) = (("POST", "/peer/fullsync"), [("input", input.name())]);
    let told = match group.ask(&leader, call, &query, FULL_SYNC_LIMIT).await {
        Ok(answer) => Ok(answer["joined"].as_array().is_none_or(Vec::is_empty)),
        Err(error) => Err(error),
    };
    (source, told)
}
