//! What a look at the store means for each input.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::decide::Candidate;
use super::{Group, Input, Mode, Record, Tenure, Unfit, View, end_of};

/// The note of a paused input says this; that of one that was resumed anything else.
pub(in crate::core::supervisor) const NOTED: &str = "yes";

const STRANGER_HINT: &str = "give all members the same cluster.token (or cluster.tokenFile), and the same version of gunyu; see who may write to the store of leases";

/// How the notes of pauses begin.
pub(in crate::core::supervisor) const PAUSED: &str = "paused/";

impl Group {
    /// Takes in who leads what now.
    pub(super) fn take(&mut self, view: &View) -> Result<(), Unfit> {
        self.meet(view)?;
        for input in self.handle.inputs() {
            let name = input.name();
            let holder = view.leases.get(name);
            // Nobody asks a stranger anything, nor is what it leads free.
            let known = holder.filter(|lease| !view.strangers.contains(&lease.holder));
            input.set_leader(known.map(|lease| (lease.holder.as_str(), lease.epoch)));
            match holder {
                Some(lease) if lease.holder == self.me() => {
                    self.vacant.remove(name);
                    if self.held.insert(name.to_owned(), lease.epoch).is_none() {
                        self.moved_at = Instant::now();
                    }
                    if self.is_valid() && !self.handing.contains_key(name) && !self.handle.is_stopping() {
                        self.set_tenure(name, Tenure::Leads(lease.epoch));
                    }
                }
                other => {
                    self.no_longer_ours(name, other.map(|lease| lease.holder.as_str()));
                    match other {
                        Some(_) => drop(self.vacant.remove(name)),
                        None => drop(self.vacant.entry(name.to_owned()).or_insert_with(Instant::now)),
                    }
                }
            }
            self.pause_as_noted(&input, view);
        }
        self.tell_of_strangers(view);
        let inputs = self.handle.inputs();
        let is_there = |name: &String| {
            inputs
                .iter()
                .any(|input| input.name() == name && !input.has_ended())
        };
        self.vacant.retain(|name, _| is_there(name));
        // Of what is gone here nobody is to wait for us. Where everything ends, it is handed over instead.
        let ours = view.leases.iter().filter(|(_, lease)| lease.holder == self.me());
        let gone = ours.filter(|(name, _)| !is_there(name) && !self.handing.contains_key(*name));
        let gone = gone.filter(|_| !self.handle.is_stopping());
        self.given_up = gone.map(|(name, lease)| (name.clone(), lease.epoch)).collect();
        Ok(())
    }

    /// Says once of each holder of a lease that it is not believed, wherever that is looked for.
    fn tell_of_strangers(&mut self, view: &View) {
        let holds = |id: &&String| view.leases.values().any(|lease| lease.holder == **id);
        let now: BTreeSet<String> = view.strangers.iter().filter(holds).cloned().collect();
        for id in now.difference(&self.strangers) {
            let message = format!("{id} holds a lease and has not shown that it knows the group's token");
            tracing::warn!(hint = STRANGER_HINT, "{message}: nothing is asked of it");
            for input in self.handle.inputs() {
                let is_its = view
                    .leases
                    .get(input.name())
                    .is_some_and(|lease| lease.holder == *id);
                if is_its {
                    input
                        .progress
                        .report(message.clone(), Some(STRANGER_HINT.to_owned()));
                }
            }
        }
        self.strangers = now;
    }

    /// | the note | the input here | |
    /// | --- | --- | --- |
    /// | `yes`, `no` | otherwise | becomes as noted, and so does the catalog |
    /// | none: nobody has paused it since the store was made, or the store has lost it | runs | stays |
    /// | none | is paused, by the catalog | stays so, and is noted again |
    fn pause_as_noted(&self, input: &Input, view: &View) {
        let key = format!("{PAUSED}{}", input.name());
        let is_paused = input.orders().mode() == Mode::Pause;
        match view.notes.get(&key).map(|note| note == NOTED) {
            Some(wanted) if wanted != is_paused => self.handle.set_mode_as_noted(input, wanted),
            None if is_paused => {
                let membership = self.membership.clone();
                tokio::spawn(async move {
                    if let Err(error) = membership.create_note(&key, NOTED).await {
                        tracing::debug!(%error, "that an input is paused could not be noted yet");
                    }
                });
            }
            Some(_) | None => {}
        }
    }

    fn no_longer_ours(&mut self, name: &str, holder: Option<&str>) {
        let was_held = self.held.remove(name).is_some();
        match self.handing.remove(name) {
            // The answer to the transfer was lost.
            Some(handing) if handing.to() == holder => handing.arrived(&self.membership),
            Some(handing) => handing.failed("the lease was lost meanwhile"),
            None if was_held => tracing::warn!(name, "the lease is not ours any more"),
            None => {}
        }
        self.set_tenure(name, Tenure::Follows);
    }

    /// Members that copy something else would write to the same keys by other names, and both would be right. Names that mean another machine on each machine
    /// do no harm as long as there is one machine. Whoever comes gives way, at his first look, and never one that is at work: whose clock is right does not matter.
    fn meet(&mut self, view: &View) -> Result<(), Unfit> {
        let now = Instant::now();
        self.members_since.retain(|id, _| view.members.contains_key(id));
        for id in view.members.keys() {
            self.members_since.entry(id.clone()).or_insert(now);
        }
        let ours = &self.settings.record;
        for other in view.members.values().filter(|other| other.id != ours.id) {
            let is_elsewhere = other.machine != ours.machine;
            if self.has_met {
                continue;
            }
            if !other.config.is_empty() && other.config != ours.config {
                return Err(Unfit {
                    message: format!(
                        "the members of a group copy the same from where to where: here {}; at {}, which was there before, {}",
                        ours.config, other.id, other.config
                    ),
                    hint: Some(
                        "the number at a name's end stands for what output.filter selects and where it goes: give it the configuration of the others; or stop all of them, and start them with the new one; or give it another cluster.groupName".to_owned(),
                    ),
                });
            }
            if is_elsewhere && (self.settings.is_loopback || is_loopback(&other.id)) {
                let at_fault = if self.settings.is_loopback {
                    &ours.id
                } else {
                    &other.id
                };
                return Err(Unfit {
                    message: format!(
                        "the group has members on other machines, which cannot reach {at_fault}"
                    ),
                    hint: Some(format!(
                        "set server.listenPeer of {at_fault} to the address by which the other members reach its machine"
                    )),
                });
            }
        }
        self.has_met = true;
        Ok(())
    }

    /// The members as candidates; ourselves as we are now, not as we were last told of.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        let Some(view) = self.membership.seen() else {
            return Vec::new();
        };
        let stays = |record: &&Record| !record.is_leaving || record.id == self.me();
        let members = view.members.values().filter(stays).map(|record| {
            let ours = (record.id == self.me()).then(|| self.record());
            let positions = ours.map_or_else(|| record.positions.clone(), |ours| ours.positions);
            let ends: BTreeMap<String, _> = positions
                .iter()
                .map(|(name, end)| (name.clone(), end_of(end)))
                .collect();
            let leads = view.leases.values().filter(|lease| lease.holder == record.id);
            Candidate {
                id: record.id.clone(),
                leads: leads.count(),
                shuns: match record.id == self.me() {
                    true => self.membership.shunned(),
                    false => Vec::new(),
                },
                ends,
            }
        });
        members.collect()
    }
}

fn is_loopback(id: &str) -> bool {
    let host = id.rsplit_once(':').map_or(id, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let ip = host.parse::<std::net::IpAddr>();
    ip.map_or(host.eq_ignore_ascii_case("localhost"), |ip| {
        ip.to_canonical().is_loopback()
    })
}
