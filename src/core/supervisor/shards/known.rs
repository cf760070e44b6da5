//! What is known of shards beyond the moment: which names their nodes lead to, and which of them left unheard.
//!
//! It stands in the catalog of this process' folder; on the target, by the names of checkpoints; and, where several processes stand in for each other, in the
//! notes of their group:
//!
//! | note | holds |
//! | --- | --- |
//! | `nodes/{name}` | the ids of the shard's nodes, comma between them |
//! | `drained/{name}` | the shard has left, and whoever led it, or the member that is named, has seen to what it said, or does when it runs |

use std::collections::BTreeSet;

use super::super::group::Membership;
use super::super::leaving::unheard;
use super::super::naming::Known;
use super::Watch;
use crate::core::catalog;
use crate::core::crash::{self, Step};
use crate::core::position::Position;
use crate::core::survey::{Source, Target};
use crate::core::topology::shards::Shard;

/// How the notes of nodes begin.
const NODES: &str = "nodes/";

/// How those of shards that have left begin.
pub(in crate::core::supervisor) const DRAINED: &str = "drained/";

impl Watch {
    /// A shard may have left while no gunyu ran, or before the target had all of it. Its last words are lost then, deletions among them: those that have its
    /// keys now begin anew, and what none of them has goes from the target.
    ///
    /// In a group one member sees to it for all; whose shard another member has drained has not left unheard.
    pub(super) async fn complete(&mut self, named: &[(Shard, String)]) {
        if std::mem::replace(&mut self.is_complete, true) || self.shards.cluster.only_seeds {
            return;
        }
        let Some(catalog) = self.catalog.clone() else {
            return;
        };
        let names: Vec<String> = named.iter().map(|(_, name)| name.clone()).collect();
        let found = unheard(&catalog, |name| {
            // What no tick names any more had left before.
            let is_seen = self.crossings.last_of(name).is_some();
            self.is_ours(name) && is_seen && !names.iter().any(|one| one == name)
        });
        let settled = match found {
            Ok(found) if found.is_empty() => Ok(()),
            Ok(found) => {
                let mut all_begin_anew = self.group.is_none();
                for name in &found {
                    all_begin_anew |= self.is_ours_to_settle(name).await;
                }
                if all_begin_anew {
                    tracing::warn!(
                        unheard = ?found,
                        "shards have left the cluster before the target had all of them: all begin anew"
                    );
                }
                let noted = match all_begin_anew {
                    true => catalog.set_entangled(&names, true),
                    false => Ok(()),
                };
                crash::pass(Step::EntangledNoted);
                let settled = noted.and_then(|()| catalog.set_drained(&found, true));
                crash::pass(Step::UnheardSettled);
                settled
            }
            Err(error) => Err(error),
        };
        if let Err(error) = settled {
            tracing::error!(%error, hint = error.hint(), "whether shards have left unheard could not be found out");
        }
    }

    /// Whose checkpoint redis-GunYu may have left: that of the shards that were there when its work was first taken over. One that has joined since never had one.
    pub(super) fn find_heirs(&mut self, named: &[(Shard, String)]) {
        if self.heirs.is_some() {
            return;
        }
        let known = self.known().unwrap_or_default();
        let now = named.iter().map(|(_, name)| name.as_str());
        let heirs = heirs(&known.names(), now);
        let mut new = named.iter().filter(|(_, name)| !heirs.contains(name.as_str()));
        if self.shards.template.inherits && new.any(|_| true) {
            tracing::info!(
                "shards have joined since gunyu first ran here: they make a full sync, whatever redis-GunYu has left"
            );
        }
        self.heirs = Some(heirs);
    }

    /// Whether it falls to this member to let all begin anew because of that shard.
    async fn is_ours_to_settle(&self, name: &str) -> bool {
        let Some(group) = &self.group else { return true };
        let note = format!("{DRAINED}{name}");
        let made = group.create_note(&note, group.me()).await;
        crash::pass(Step::UnheardClaimed);
        match made {
            Ok(true) => true,
            // An earlier process of this name has said that it would, and died before it had.
            Ok(false) => {
                let by = group.has_seen().await.notes.get(&note).cloned();
                by.is_some_and(|by| by == group.me())
            }
            Err(error) => {
                tracing::warn!(%error, name, "the other members could not be asked whether the shard was drained: all begin anew");
                true
            }
        }
    }

    /// What this folder, and the group, know of names.
    pub(super) fn known(&self) -> Result<Known, catalog::Error> {
        let mut known = Known::default();
        if let Some(catalog) = &self.catalog {
            let names = catalog.pipelines()?.into_iter();
            for name in names.filter(|name| self.is_ours(name)) {
                for id in catalog.nodes(&name)? {
                    known.insert(id, name.clone());
                }
            }
        }
        // What all members agree upon counts before what this one has written down.
        let notes = self.group.as_ref().and_then(Membership::seen);
        for (key, ids) in notes.iter().flat_map(|view| &view.notes) {
            let name = key.strip_prefix(NODES).filter(|name| self.is_ours(name));
            for id in name.into_iter().flat_map(|_| ids.split(',')) {
                known.insert(id.to_owned(), name.unwrap_or_default().to_owned());
            }
        }
        // What is seen now is newer than what was written down.
        for (name, one) in &self.followed {
            for node in one.shard.nodes() {
                known.insert(node.id.clone(), name.clone());
            }
        }
        Ok(known)
    }

    /// A shard of which the folder knows nothing may have a checkpoint on the target under the id of one of its nodes.
    pub(super) async fn ask_target(&self, shards: &[Shard], known: &mut Known) {
        let is_new = |shard: &&Shard| !shard.nodes().any(|node| known.contains(&node.id));
        let new: Vec<&Shard> = shards.iter().filter(is_new).collect();
        let Some(endpoint) = self
            .shards
            .template
            .target_place
            .now()
            .filter(|_| !new.is_empty())
        else {
            return;
        };
        let mut target = match Target::connect(&endpoint).await {
            Ok(target) => target,
            Err(error) => {
                tracing::debug!(%error, "the target could not be asked for the names of shards");
                return;
            }
        };
        let ids = new.into_iter().flat_map(Shard::nodes).map(|node| node.id.clone());
        for id in ids.collect::<Vec<String>>() {
            let name = self.name(&id);
            if let Ok(Some(_)) = target.recorded(&name).await {
                known.insert(id, name);
            }
        }
        self.ask_for_strays(shards, known, &mut target).await;
    }

    /// A shard may have been named after a master that has died since, and is in no shard any more: then its replacement's history tells.
    async fn ask_for_strays(&self, shards: &[Shard], known: &mut Known, target: &mut Target) {
        let mut positions = Vec::new();
        for id in self.cluster.strays() {
            let name = self.name(id);
            let Ok(Some(recorded)) = target.recorded(&name).await else {
                continue;
            };
            let recorded = recorded.record;
            positions.extend(
                recorded
                    .checkpoint
                    .map(|at| at.position)
                    .or(recorded.full_sync)
                    .map(|at| (at, name)),
            );
        }
        for shard in shards {
            let is_new = !shard.nodes().any(|node| known.contains(&node.id));
            let Some(address) = shard
                .master
                .address
                .clone()
                .filter(|_| is_new && !positions.is_empty())
            else {
                continue;
            };
            let master = self.cluster.endpoint(address);
            let info = async { Source::connect(&master).await?.info().await };
            let history = info.await.ok().and_then(|info| info.history);
            let is_its = |(at, _): &&(Position, String)| history.is_some_and(|history| history.contains(at));
            if let Some((_, name)) = positions.iter().find(is_its) {
                known.insert(shard.master.id.clone(), name.clone());
            }
        }
    }

    /// Writes down which nodes the shard has, where that has changed.
    pub(super) async fn note(&self, name: &str, shard: &Shard) {
        self.tell_group(name, shard).await;
        let Some(catalog) = &self.catalog else { return };
        let noted = catalog.nodes(name).and_then(|before| {
            let mut ids: Vec<String> = shard.nodes().map(|node| node.id.clone()).collect();
            // A node that is another shard's now is not this one's any more; one that is nowhere may come back.
            let others = self.followed.iter().filter(|(other, _)| *other != name);
            let is_elsewhere = |id: &String| others.clone().any(|(_, one)| one.shard.has(id));
            let earlier = before.iter().filter(|id| !ids.contains(id) && !is_elsewhere(id));
            let earlier: Vec<String> = earlier.cloned().collect();
            ids.extend(earlier);
            ids.sort_unstable();
            if ids != before {
                catalog.set_nodes(name, &ids)?;
            }
            if catalog.drained(name)? {
                // It has come back.
                catalog.set_drained(&[name.to_owned()], false)?;
            }
            Ok(())
        });
        if let Err(error) = noted {
            tracing::error!(%error, hint = error.hint(), "the nodes of a shard could not be written down");
        }
    }

    /// The other members are to call the shard by the same name, whichever of its nodes they see first.
    async fn tell_group(&self, name: &str, shard: &Shard) {
        let Some(group) = &self.group else { return };
        let Some(view) = group.seen() else { return };
        let mut ids: Vec<&str> = shard.nodes().map(|node| node.id.as_str()).collect();
        ids.sort_unstable();
        let (key, drained) = (format!("{NODES}{name}"), format!("{DRAINED}{name}"));
        let before = view.notes.get(&key);
        // One that has gone may come back; one that is another shard's by now is told there.
        let earlier = before.iter().flat_map(|before| before.split(','));
        let lacks = ids.iter().any(|id| !earlier.clone().any(|known| known == *id));
        let told = match (lacks, view.notes.contains_key(&drained)) {
            (true, _) => group.put_note(&key, &ids.join(",")).await,
            (false, true) => group.remove_note(&drained).await,
            (false, false) => Ok(()),
        };
        if let Err(error) = told {
            tracing::debug!(%error, name, "the other members could not be told of a shard's nodes yet");
        }
    }
}

/// Of the shards that there are now: those that an earlier process has known, or all where there was none.
fn heirs<'a>(known: &BTreeSet<&str>, now: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    now.filter(|name| known.is_empty() || known.contains(name))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_shard_that_has_joined_since_the_first_start_is_no_heir() {
        let heirs = |known: &[&str], now: &[&str]| -> Vec<String> {
            let known = known.iter().copied().collect();
            super::heirs(&known, now.iter().copied()).into_iter().collect()
        };
        assert_eq!(heirs(&[], &["a", "b"]), ["a", "b"]);
        assert_eq!(heirs(&["a", "left"], &["a", "joined"]), ["a"]);
    }
}
