//! Leases that go from this process to another.
//!
//! | step | the pipeline here | the lease |
//! | --- | --- | --- |
//! | asked | drains ([`Tenure::Yields`]), or ends at once where what it would wait for is what is lost | ours |
//! | it is idle | has ended | is rewritten to the heir, in one step, with the next epoch |
//! | the heir is told | follows | the heir's |
//!
//! What cannot be handed over in time stays ours. Where nobody can take it and the process ends, the lease is given back.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::asks::{Answer, Membership, NotHanded};
use super::{Epoch, Group, Input, Tenure, decide};
use crate::core::crash::{self, Step};
use crate::core::lease;
use crate::core::progress::Phase;

/// A pipeline may drain for so long before it is ended.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// A handover that has not come about by then has failed.
const HANDOVER_LIMIT: Duration = Duration::from_secs(10);

/// Between two inputs that are given away for evenness lies a lease, or this.
const REST_MAX: Duration = Duration::from_secs(5);

/// A member is to have been there for so many leases before it gets its share.
const SETTLED_LEASES: u32 = 2;

/// Who is to get a lease.
#[derive(Debug, Clone)]
pub(in crate::core::supervisor) struct Heir {
    pub(super) id: String,
    /// Whoever asked named it: nobody else will do.
    pub(super) is_named: bool,
}

impl Heir {
    /// One that we have chosen.
    pub(super) fn chosen(id: impl Into<String>) -> Heir {
        Heir {
            id: id.into(),
            is_named: false,
        }
    }

    /// One that was asked for.
    pub(super) fn named(id: impl Into<String>) -> Heir {
        Heir {
            id: id.into(),
            is_named: true,
        }
    }
}

/// A lease on its way.
pub(super) struct Handing {
    /// Nobody where the process ends and nobody can take it.
    heir: Option<Heir>,
    /// Those who have turned out to be gone: each is tried once.
    gone: Vec<String>,
    since: Instant,
    /// It was tried to rewrite the lease, in vain: it is tried again at the next tick.
    is_tried: bool,
    tell: Vec<oneshot::Sender<Answer>>,
}

impl Handing {
    /// Whom it is for.
    pub(super) fn to(&self) -> Option<&str> {
        self.heir.as_ref().map(|heir| heir.id.as_str())
    }

    pub(super) fn failed(self, why: &str) {
        for tell in self.tell {
            // Whoever asked may have gone.
            let _ = tell.send(Err(NotHanded::Failed(why.to_owned())));
        }
    }

    /// The heir has the lease, and is told to look.
    pub(super) fn arrived(self, membership: &Membership) {
        if let Some(Heir { id, .. }) = self.heir.clone() {
            membership.tell_to_look(&id.clone(), move || self.done(&id));
        }
    }

    fn done(self, heir: &str) {
        for tell in self.tell {
            let _ = tell.send(Ok(heir.to_owned()));
        }
    }
}

/// Waits until one of these is out of the way; for ever where there is none.
pub(super) async fn one_is_idle(inputs: Vec<Input>) {
    let waits: Vec<_> = inputs.iter().map(|input| Box::pin(input.is_idle())).collect();
    match waits.is_empty() {
        true => std::future::pending().await,
        false => drop(futures_util::future::select_all(waits).await),
    }
}

impl Group {
    /// The inputs that are being handed over.
    pub(super) fn handed_inputs(&self) -> Vec<Input> {
        let inputs = self.handle.inputs().into_iter();
        inputs
            .filter(|input| self.handing.get(input.name()).is_some_and(|one| !one.is_tried))
            .collect()
    }

    /// Begins to hand an input over. `at_once`: nothing is drained.
    pub(super) fn begin_handing(
        &mut self,
        name: &str,
        heir: Option<Heir>,
        at_once: bool,
        tell: Option<oneshot::Sender<Answer>>,
    ) {
        let Some(epoch) = self.held.get(name).copied() else {
            if let Some(tell) = tell {
                let _ = tell.send(Err(NotHanded::NotOurs));
            }
            return;
        };
        match self.handing.get_mut(name) {
            Some(under_way) => {
                // Nothing is rewritten yet: whoever asks last names the heir.
                under_way.heir = heir.or(under_way.heir.take());
                under_way.tell.extend(tell);
            }
            None => {
                tracing::info!(name, to = heir.as_ref().map(|heir| &heir.id), "handing over");
                let handing = Handing {
                    heir,
                    gone: Vec::new(),
                    since: Instant::now(),
                    is_tried: false,
                    tell: tell.into_iter().collect(),
                };
                self.handing.insert(name.to_owned(), handing);
            }
        }
        self.set_tenure(
            name,
            if at_once {
                Tenure::Follows
            } else {
                Tenure::Yields(epoch)
            },
        );
    }

    /// Rewrites the leases of those that are out of the way.
    pub(super) async fn carry_handings_out(&mut self) {
        let names: Vec<String> = self.handing.keys().cloned().collect();
        for name in names {
            if self.is_due() {
                // However many there are, the session is renewed in time.
                return;
            }
            let Some(epoch) = self.held.get(&name).copied() else {
                if let Some(handing) = self.handing.remove(&name) {
                    handing.failed("the lease was lost meanwhile");
                }
                continue;
            };
            let (is_out, since) = match (self.input(&name), self.handing.get(&name)) {
                (Some(input), Some(handing)) => (input.is_out_of_the_way(), handing.since),
                (None, Some(handing)) => (true, handing.since),
                (_, None) => continue,
            };
            if is_out {
                self.pass_on(&name, epoch).await;
            } else if since.elapsed() > DRAIN_LIMIT {
                self.set_tenure(&name, Tenure::Follows);
            }
            if since.elapsed() > HANDOVER_LIMIT
                && let Some(handing) = self.handing.remove(&name)
            {
                handing.failed("it did not come about in time");
                self.lead_on(&name, epoch);
            }
        }
    }

    /// What was not handed over is led on, for as long as the lease holds.
    fn lead_on(&self, name: &str, epoch: Epoch) {
        if self.is_valid() && !self.handle.is_stopping() {
            self.set_tenure(name, Tenure::Leads(epoch));
        }
    }

    /// Nobody is there to take it.
    async fn resign(&mut self, name: &str, epoch: Epoch) -> Result<(), lease::Error> {
        self.store.resign(name, epoch).await?;
        crash::pass(Step::LeaseResigned);
        Ok(())
    }

    async fn pass_on(&mut self, name: &str, epoch: Epoch) {
        let to = self.handing.get(name).and_then(Handing::to).map(str::to_owned);
        crash::pass(Step::HandoverDrained);
        let passed = match &to {
            Some(to) => self.store.transfer(name, epoch, to).await,
            None => self.resign(name, epoch).await.map(|()| Some(epoch)),
        };
        match passed {
            Ok(Some(epoch)) => {
                crash::pass(Step::HandoverPassed);
                self.held.remove(name);
                self.set_tenure(name, Tenure::Follows);
                self.moved_at = Instant::now();
                if let Some(input) = self.input(name) {
                    input.set_leader(to.as_deref().map(|to| (to, epoch)));
                }
                tracing::info!(name, to, "handed over");
                if let Some(handing) = self.handing.remove(name) {
                    handing.arrived(&self.membership);
                }
            }
            Ok(None) => {
                // The heir has gone, or the lease; the next look says which.
                self.find_another(name, to);
            }
            Err(error) => {
                tracing::debug!(%error, name, "the lease could not be handed over yet");
                if let Some(handing) = self.handing.get_mut(name) {
                    handing.is_tried = true;
                }
            }
        }
    }

    /// Somebody has just left the group. Whoever did not ask for him gets another one, if there is one.
    fn find_another(&mut self, name: &str, gone: Option<String>) {
        let Some(mut handing) = self.handing.remove(name) else {
            return;
        };
        let is_named = handing.heir.as_ref().is_some_and(|heir| heir.is_named);
        tracing::info!(name, gone, "the member has just left");
        handing.gone.extend(gone);
        match self.next_heir(name, &handing.gone).filter(|_| !is_named) {
            Some(next) => {
                tracing::info!(name, next, "the next one gets the lease");
                handing.heir = Some(Heir::chosen(next));
                self.handing.insert(name.to_owned(), handing);
            }
            None => handing.failed("the other member has gone"),
        }
    }

    /// The process ends: everything that is ours goes to others, or back.
    pub(super) fn part(&mut self) {
        let mut members = self.candidates();
        for name in self.held.keys().cloned().collect::<Vec<_>>() {
            if self.handing.contains_key(&name) {
                continue;
            }
            let heir = decide::successor(&name, &members, self.me()).map(str::to_owned);
            if let Some(heir) = members.iter_mut().find(|one| Some(&one.id) == heir.as_ref()) {
                heir.leads += 1;
            }
            self.begin_handing(&name, heir.map(Heir::chosen), false, None);
        }
    }

    /// Whether a full sync of ours is under way: several that began together are to end here, all of them.
    fn is_copying(&self) -> bool {
        let inputs = self.handle.inputs();
        inputs
            .iter()
            .any(|input| input.is_led() && input.progress.phase() == Phase::FullSync)
    }

    /// Hands one input over where another member has two fewer than we, and has been there for a while.
    pub(super) fn even_out(&mut self) {
        let lease = self.settings.store.lease_timeout;
        let is_settled = |id: &str| {
            let since = self.members_since.get(id);
            since.is_some_and(|since| since.elapsed() > lease * SETTLED_LEASES)
        };
        if self.handle.is_stopping()
            || !self.handing.is_empty()
            || self.moved_at.elapsed() < lease.min(REST_MAX)
            || self.trouble.is_some()
            || self.membership.is_gathering()
            || self.is_copying()
        {
            return;
        }
        let members = self.candidates();
        let others = members
            .iter()
            .filter(|one| one.id != self.me() && is_settled(&one.id) && !self.membership.is_unfit(&one.id));
        if !decide::gives(self.me(), &members) {
            return;
        }
        let Some(to) = decide::lightest(self.held.len(), others) else {
            return;
        };
        let heir = members.iter().find(|one| one.id == to);
        let is_ready = |name: &&String| {
            let (Some(input), Some(heir)) = (self.input(name), heir) else {
                return false;
            };
            // It was there when it was last told of, which is a moment ago; what it lacks it still gets from here.
            let end = heir.ends.get(*name).copied().flatten();
            let status = input.progress.status();
            let is_settled = status.full_sync.is_none_or(|one| !one.expiries_pending);
            status.phase == Phase::Incremental && is_settled && end.is_some_and(|end| input.holds(&end))
        };
        let name = self.held.keys().find(is_ready).cloned();
        if let Some(name) = name {
            self.moved_at = Instant::now();
            tokio::spawn(give_share(self.membership.clone(), name, to.to_owned()));
        }
    }
}

/// Gives an input to a member that leads fewer, if it reaches source and target: one that does not would give it away again.
async fn give_share(membership: Membership, name: String, to: String) {
    if !membership.is_fit(&to, &name).await {
        membership.note_unfit(&to);
        tracing::info!(
            name,
            to,
            "the member leads fewer inputs, and does not reach source or target: it gets none for now"
        );
        return;
    }
    tracing::info!(name, to, "the member leads fewer inputs: it gets this one");
    if let Err(error) = membership.hand_over(&name, Some(&to), false).await {
        tracing::debug!(%error, name, to, "the input stays");
    }
}
