//! The pipelines of a cluster: one a shard, and what becomes of them when the cluster changes.
//!
//! ```text
//! look --> shards --> names --> a shard without a pipeline: begins | a node is to be followed instead of another: its place moves
//!   ^                           a pipeline without a shard, twice in a row: drains, and leaves
//!   +-- at intervals, and when a pipeline doubts where its source is
//! ```
//!
//! Owns which pipelines there are and which node each follows. Promises that a shard keeps its name, and with it log and checkpoint, through failovers and
//! restarts, and that what happens to one shard does not touch the pipeline of another. Leaves the asking to [`crate::core::topology`], and
//! starting and ending to the supervisor.

mod known;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::group::Membership;
use super::handle::{Handle, Unknown};
use super::input::Input;
use super::leaving::{Departure, drain};
use super::naming::{self, Known};
use crate::core::catalog::Catalog;
use crate::core::net::Address;
use crate::core::pipeline::crossing::{Crossings, sampler};
use crate::core::pipeline::{Settings, shard};
use crate::core::progress::Phase;
use crate::core::topology::alert::Alert;
use crate::core::topology::cluster::{self, Cluster};
use crate::core::topology::shards::{Choice, Shard, Wanted};
use crate::core::topology::{self, Trouble, Watcher};
pub(super) use known::DRAINED;

/// A cluster as a source.
#[derive(Debug, Clone)]
pub struct Shards {
    /// How it is asked.
    pub cluster: cluster::Settings,
    /// How the names of its pipelines begin.
    pub base: String,
    /// What the pipelines have in common. Place and name are each one's own.
    pub template: Settings,
}

/// What the supervisor is to do.
pub(super) enum Change {
    /// Starts a pipeline, and tells whether that worked.
    Begins(Box<Settings>, oneshot::Sender<bool>),
    /// Ends that input: everything is applied that there will be.
    Ends(String),
}

/// The shard of a pipeline that runs.
struct Followed {
    watcher: Watcher,
    slots: watch::Sender<shard::Known>,
    /// The shard as it was last seen.
    shard: Shard,
    /// It was not seen the last time.
    is_missing: bool,
    lacks_replica: bool,
}

/// A cluster that has not answered yet is looked at so often.
const FIRST_LOOK_EVERY: Duration = Duration::from_millis(500);

/// Watches the cluster.
pub(super) struct Watch {
    shards: Shards,
    cluster: Cluster,
    /// Where it is written down which node is of which shard; nothing where that is another process's.
    catalog: Option<Catalog>,
    followed: BTreeMap<String, Followed>,
    /// Pipelines that drain.
    leaving: BTreeSet<String>,
    doubt: Arc<Notify>,
    crossings: Crossings,
    /// It is known whether shards have left unheard.
    is_complete: bool,
    /// The shards for which redis-GunYu may have left a checkpoint; nothing before the first look.
    heirs: Option<BTreeSet<String>>,
    group: Option<Membership>,
}

impl Watch {
    pub(super) fn new(shards: Shards, catalog: Option<Catalog>, group: Option<Membership>) -> Watch {
        Watch {
            cluster: Cluster::new(shards.cluster.clone()),
            shards,
            catalog,
            followed: BTreeMap::new(),
            leaving: BTreeSet::new(),
            doubt: Arc::default(),
            crossings: Crossings::default(),
            is_complete: false,
            heirs: None,
            group,
        }
        .remembering()
    }

    /// What slots did in the time of an earlier process must be known. Where it is not, that of this one is.
    fn remembering(mut self) -> Watch {
        let name = format!("{}{}", self.shards.base, self.ending());
        let opened = self
            .catalog
            .as_ref()
            .map(|catalog| Crossings::open(catalog, &name));
        match opened {
            Some(Ok(crossings)) => self.crossings = crossings,
            Some(Err(error)) => {
                tracing::error!(%error, hint = error.hint(), "where the shards' streams were cannot be read");
            }
            None => {}
        }
        self
    }

    /// The shards that there are at the beginning, each with its pipeline's settings.
    pub(super) async fn first(&mut self) -> Result<Vec<Settings>, topology::Error> {
        let shards = self.cluster.look().await?;
        let mut all = Vec::new();
        let named = self.named(shards).await;
        self.complete(&named).await;
        self.find_heirs(&named);
        for (shard, name) in named {
            all.push(self.begin(shard, &name).await);
        }
        Ok(all)
    }

    /// Looks for ever.
    pub(super) async fn run(self, handle: Handle, tell: mpsc::Sender<Change>) {
        let crossings = self.crossings.clone();
        tokio::select! {
            () = self.look(handle, tell) => {}
            () = sampler::run(crossings) => {}
        }
    }

    async fn look(mut self, handle: Handle, tell: mpsc::Sender<Change>) {
        let mut alert = Alert::new(self.shards.cluster.every);
        let doubt = Arc::clone(&self.doubt);
        loop {
            // Nothing else can be done before the first look.
            match handle.knows_its_inputs() {
                true => alert.next(doubt.notified()).await,
                false => tokio::time::sleep(FIRST_LOOK_EVERY).await,
            }
            if let Some(group) = &self.group {
                // Without the notes a shard might be called by another name than elsewhere.
                group.has_seen().await;
            }
            match self.cluster.look().await {
                Ok(shards) => {
                    if self.take(shards, &handle, &tell).await.is_err() {
                        // The supervisor has ended.
                        return;
                    }
                    handle.set_unknown(None);
                }
                Err(error) => self.is_blind(&error, &handle),
            }
        }
    }

    fn is_blind(&self, error: &topology::Error, handle: &Handle) {
        let trouble = Trouble::from(error);
        let mut is_news = false;
        for one in self.followed.values() {
            is_news |= one.watcher.is_blind(trouble.clone());
        }
        if let Some(before) = handle.unknown() {
            let now = Unknown {
                trouble: Some(trouble),
            };
            is_news |= before != now;
            handle.set_unknown(Some(now));
        }
        // Once: it is looked often while something is wrong.
        if is_news {
            tracing::warn!(hint = error.hint(), "the cluster cannot be looked at: {error}");
        }
    }

    /// Does what the shards that there are now ask for.
    async fn take(
        &mut self,
        shards: Vec<Shard>,
        handle: &Handle,
        tell: &mpsc::Sender<Change>,
    ) -> Result<(), Gone> {
        let inputs = handle.inputs();
        self.leaving
            .retain(|name| inputs.iter().any(|input| input.name() == name));
        let named = self.named(shards).await;
        self.complete(&named).await;
        self.find_heirs(&named);
        let there: BTreeSet<String> = named.iter().map(|(_, name)| name.clone()).collect();
        for (shard, name) in named {
            let input = inputs.iter().find(|input| input.name() == name);
            if self.followed.contains_key(&name) {
                self.follow(&name, shard, input).await;
            } else if input.is_none() {
                self.start(shard, &name, tell).await?;
            }
        }
        self.part(&there, handle, tell).await
    }

    /// A shard that has no pipeline yet.
    async fn start(&mut self, shard: Shard, name: &str, tell: &mpsc::Sender<Change>) -> Result<(), Gone> {
        tracing::info!(name, nodes = shown(&shard), "a new shard: its pipeline begins");
        let settings = Settings {
            begins_with_process: false,
            awaits_full_sync: false,
            ..self.begin(shard, name).await
        };
        let (told, began) = oneshot::channel();
        let change = Change::Begins(Box::new(settings), told);
        tell.send(change).await.map_err(|_| Gone)?;
        if !began.await.map_err(|_| Gone)? {
            // Tried again at the next look.
            self.followed.remove(name);
            self.crossings.remove_master(name);
        }
        Ok(())
    }

    /// The settings of a shard's pipeline; from now on its place is kept up to date.
    async fn begin(&mut self, shard: Shard, name: &str) -> Settings {
        let (watcher, place) = Watcher::with(Arc::clone(&self.doubt));
        let mut settings = self.shards.template.clone().named(name);
        settings.inherits &= self.heirs.as_ref().is_none_or(|heirs| heirs.contains(name));
        let (slots, known) = watch::channel(shard::Known::default());
        settings.source_place = place;
        settings.shard = Some(shard::Shard {
            family: (format!("{}-", self.shards.base), self.ending()),
            known,
            doubt: Arc::clone(&self.doubt),
            crossings: self.crossings.clone(),
        });
        if let Some(address) = shard.nodes().find_map(|node| node.address.clone()) {
            settings.source.endpoint = self.cluster.endpoint(address);
        }
        let followed = Followed {
            watcher,
            slots,
            shard: shard.clone(),
            is_missing: false,
            lacks_replica: false,
        };
        self.followed.insert(name.to_owned(), followed);
        self.follow(name, shard, None).await;
        settings
    }

    /// Decides which node of its shard a pipeline follows.
    async fn follow(&mut self, name: &str, shard: Shard, input: Option<&Input>) {
        self.note(name, &shard).await;
        let Some(one) = self.followed.get_mut(name) else {
            return;
        };
        if let Some(master) = shard.master.address.clone() {
            self.crossings.set_master(name, self.cluster.endpoint(master));
        }
        (one.shard, one.is_missing) = (shard, false);
        one.tell_slots();
        let last = one.watcher.last().map(|last| last.address);
        let choice = self.cluster.choose(&one.shard, last.as_ref()).await;
        // Nobody to follow yet, and nobody who can be judged: the master is as good as any.
        let first = || one.shard.master.address.clone().filter(|_| last.is_none());
        let choice = choice.or_else(|| {
            first().map(|address| Choice {
                address,
                lacks_replica: false,
            })
        });
        let Some(choice) = choice else { return };
        one.tell_of_lack(name, &choice, self.shards.cluster.wanted);
        if last.as_ref() != Some(&choice.address) && one.may_leave(last.as_ref(), input) {
            tracing::info!(name, node = %choice.address, "the node that is followed for this shard");
            one.watcher.saw(self.cluster.endpoint(choice.address));
        }
    }

    /// Pipelines whose shard is gone. One look may err; two that say the same do not.
    async fn part(
        &mut self,
        there: &BTreeSet<String>,
        handle: &Handle,
        tell: &mpsc::Sender<Change>,
    ) -> Result<(), Gone> {
        let mut gone = Vec::new();
        for (name, one) in &mut self.followed {
            if there.contains(name) {
                continue;
            }
            if one.is_missing {
                gone.push(name.clone());
            }
            one.is_missing = true;
            self.doubt.notify_one();
        }
        for name in gone {
            let Some(one) = self.followed.remove(&name) else {
                continue;
            };
            self.crossings.remove_master(&name);
            tracing::info!(
                name,
                nodes = shown(&one.shard),
                "the shard has left the cluster: its pipeline drains"
            );
            let input = handle.inputs().into_iter().find(|input| input.name() == name);
            let Some(input) = input else { continue };
            self.leaving.insert(name);
            // The pipeline takes it for the word that its shard has left.
            drop(one.slots);
            let departure = Departure {
                last: self.crossings.last_of(input.name()),
                crossings: self.crossings.clone(),
                catalog: self.catalog.clone(),
                group: self.group.clone(),
            };
            tokio::spawn(drain(one.watcher, input, departure, tell.clone()));
        }
        Ok(())
    }

    /// The shards with their pipelines' names; one that is none of its own is left out, and so is one that serves nothing and never had a pipeline: a node that has
    /// just joined calls itself a master until it is told whose replica it is, and its stream would be another shard's a second time.
    async fn named(&self, mut shards: Vec<Shard>) -> Vec<(Shard, String)> {
        let mut known = match self.known() {
            Ok(known) => known,
            Err(error) => {
                tracing::error!(%error, hint = error.hint(), "the shards' names cannot be read");
                Known::default()
            }
        };
        self.ask_target(&shards, &mut known).await;
        shards.retain(|shard| naming::is_one(shard, &known));
        naming::names(&shards, &known, |id| self.name(id))
            .into_iter()
            .zip(shards)
            .filter_map(|(name, shard)| Some((shard, name?)))
            .collect()
    }

    fn name(&self, id: &str) -> String {
        let id: String = id.chars().take(naming::ID_CHARS).collect();
        format!("{}-{id}{}", self.shards.base, self.ending())
    }

    /// How the names of all pipelines of the cluster end.
    fn ending(&self) -> String {
        format!("-{:016x}", self.shards.template.filter.fingerprint())
    }

    fn is_ours(&self, name: &str) -> bool {
        let id = name
            .strip_prefix(&format!("{}-", self.shards.base))
            .and_then(|rest| rest.strip_suffix(self.ending().as_str()));
        id.is_some_and(|id| id.len() == naming::ID_CHARS && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
    }
}

/// The supervisor has ended.
struct Gone;

impl Followed {
    /// Whether the node that is followed may be left for a better one: not while it sends a snapshot, unless it is not there any more.
    fn may_leave(&self, last: Option<&Address>, input: Option<&Input>) -> bool {
        let (Some(last), Some(input)) = (last, input) else {
            return true;
        };
        let is_there = self.shard.at(last).is_some_and(|node| !node.has_failed);
        let is_sending = input.progress.phase() == Phase::FullSync && input.progress.is_linked();
        !(is_there && is_sending)
    }

    /// A slot that is on its way, and those of a master that does not answer for itself, are nobody's.
    fn tell_slots(&self) {
        let master = &self.shard.master;
        let slots = |moving: &Vec<u16>| shard::Slots::of(&master.slots, moving);
        let slots = master.moving.as_ref().map(slots);
        let own = shard::Slots::of(&master.slots, &[]);
        let at_rest = slots.as_ref().map_or(0, shard::Slots::count);
        self.slots.send_modify(|known| {
            known.looks += 1;
            known.slots = slots;
            known.moving = own.count() - at_rest;
            known.nodes = self
                .shard
                .nodes()
                .filter_map(|node| node.address.clone())
                .collect();
        });
    }

    fn tell_of_lack(&mut self, name: &str, choice: &Choice, wanted: Wanted) {
        if choice.lacks_replica == self.lacks_replica {
            return;
        }
        self.lacks_replica = choice.lacks_replica;
        let node = &choice.address;
        match (choice.lacks_replica, wanted) {
            (true, Wanted::Replica) => {
                let hint = "give the shard a replica, or set input.syncFrom: prefer_slave";
                tracing::warn!(name, %node, hint, "the shard has no healthy replica: its master is followed");
            }
            (true, _) => {
                tracing::info!(name, %node, "the shard has no healthy replica: its master is followed");
            }
            (false, _) => tracing::info!(name, %node, "the shard has a healthy replica again"),
        }
    }
}

fn shown(shard: &Shard) -> String {
    let nodes: Vec<String> = shard
        .nodes()
        .filter_map(|node| Some(node.address.as_ref()?.to_string()))
        .collect();
    nodes.join(", ")
}
