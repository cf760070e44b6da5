//! What nobody needs any more: logs and checkpoints of inputs that this deployment once had.
//!
//! An input has gone when the folder or the catalog knows it and the configuration does not. Its log serves nobody else: the folder is ours alone. Its
//! checkpoint might have been taken over by another process, with another folder; so it goes only by this table:
//!
//! | a connection of that deployment is open on the target | written within the last `staleCheckpointDuration` | checkpoint |
//! | --- | --- | --- |
//! | yes, or connections may not be listed | – | stays |
//! | no | yes | stays |
//! | no | no | goes, unless somebody writes it at that very moment |
//!
//! Where it stays, or a target cannot be asked, the catalog keeps the name, so that a later call finds it. A checkpoint on a target that is not
//! configured any more is not looked for. Checkpoints of which this folder knows
//! nothing are somebody else's, and never touched.
//!
//! In a group the note that such an input is paused goes too, unless a member has the input.

use std::time::SystemTime;

use super::group::{Membership, PAUSED};
use super::handle::Refusal;
use super::input::Input;
use super::{Shared, log};
use crate::core::catalog::Catalog;
use crate::core::crash::{self, Step};
use crate::core::net::Endpoint;
use crate::core::survey::{self, Recorded, Target};
use crate::core::target::checkpoint;

/// What has been removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Inputs whose logs have gone, and how many bytes each took.
    pub logs: Vec<(String, u64)>,
    /// Targets and keys of the checkpoints that have gone.
    pub checkpoints: Vec<(String, String)>,
    /// Checkpoints that stay for now: the target (or what it said), and the key.
    pub kept: Vec<(String, String)>,
}

/// Removes what is stale.
///
/// # Errors
/// [`Refusal::Failed`]: some of it may be done.
pub(super) async fn collect(
    shared: &Shared,
    catalog: &Catalog,
    group: Option<&Membership>,
    inputs: &[Input],
) -> Result<Collected, Refusal> {
    let mut collected = Collected::default();
    let gone = gone(shared, catalog, inputs).await?;
    for endpoint in targets(inputs) {
        collect_on(shared, endpoint, &gone, &mut collected).await;
    }
    for name in gone {
        let key = key_of(&name);
        let stays = collected.kept.iter().any(|(_, kept)| *kept == key);
        if let Some(group) = group {
            forget_pause(group, &name).await;
        }
        let bytes = remove(shared, catalog, &name, stays).await?;
        tracing::info!(
            name,
            bytes,
            "removed what an input has left that is not configured any more"
        );
        if bytes > 0 {
            collected.logs.push((name, bytes));
        }
    }
    Ok(collected)
}

/// Removes the stale checkpoints of these inputs from a target. Where it cannot be asked, all of them stay.
async fn collect_on(shared: &Shared, endpoint: &Endpoint, gone: &[String], collected: &mut Collected) {
    if gone.is_empty() {
        return;
    }
    let mut target = match Target::connect(endpoint).await {
        Ok(target) => target,
        Err(error) => {
            let kept = gone.iter().map(|name| (error.to_string(), key_of(name)));
            collected.kept.extend(kept);
            return;
        }
    };
    for name in gone {
        let address = endpoint.address.to_string();
        match fate(shared, &mut target, name).await {
            Ok(Fate::None) => {}
            Ok(Fate::Goes) => {
                crash::pass(Step::GarbageUncheckpointed);
                collected.checkpoints.push((address, key_of(name)));
            }
            Ok(Fate::Stays) => collected.kept.push((address, key_of(name))),
            Err(error) => collected.kept.push((error.to_string(), key_of(name))),
        }
    }
}

async fn forget_pause(group: &Membership, name: &str) {
    let note = format!("{PAUSED}{name}");
    let seen = group.seen().filter(|view| view.notes.contains_key(&note));
    let Some(view) = seen else { return };
    if view.members.values().any(|one| one.positions.contains_key(name)) {
        return;
    }
    if let Err(error) = group.remove_note(&note).await {
        tracing::warn!(%error, name, "the note of its pause stays in the store of leases");
    }
}

fn key_of(name: &str) -> String {
    String::from_utf8_lossy(&checkpoint::key(name)).into_owned()
}

/// Each target once.
fn targets(inputs: &[Input]) -> Vec<&Endpoint> {
    let mut targets: Vec<&Endpoint> = Vec::new();
    for endpoint in inputs.iter().map(Input::target_endpoint) {
        if targets.iter().all(|known| known.address != endpoint.address) {
            targets.push(endpoint);
        }
    }
    targets
}

/// Inputs that this folder knows and the configuration does not.
async fn gone(shared: &Shared, catalog: &Catalog, inputs: &[Input]) -> Result<Vec<String>, Refusal> {
    let (root, catalog) = (shared.root.clone(), catalog.clone());
    let mut known = blocking(move || {
        let mut known = catalog.pipelines().map_err(log::Error::from)?;
        known.extend(
            log::list_pipelines(&log::Disk::new(), &root)?
                .into_iter()
                .map(|one| one.name),
        );
        Ok(known)
    })
    .await?;
    known.retain(|name| inputs.iter().all(|input| input.name() != name));
    known.sort_unstable();
    known.dedup();
    Ok(known)
}

enum Fate {
    None,
    Goes,
    Stays,
}

async fn fate(shared: &Shared, target: &mut Target, name: &str) -> Result<Fate, survey::Error> {
    let Some(Recorded { at, .. }) = target.recorded(name).await? else {
        return Ok(Fate::None);
    };
    let age = SystemTime::now().duration_since(at).unwrap_or_default();
    // Where connections may not be listed, nobody can say that it is not in use.
    let unused = age >= shared.stale_checkpoint_after && target.is_in_use(name).await? == Some(false);
    Ok(match unused && target.remove_checkpoint(name, at).await? {
        true => Fate::Goes,
        false => Fate::Stays,
    })
}

async fn remove(shared: &Shared, catalog: &Catalog, name: &str, retire: bool) -> Result<u64, Refusal> {
    let (root, catalog, name) = (shared.root.clone(), catalog.clone(), name.to_owned());
    blocking(move || {
        // Its name first where it stays, and last where it goes: whatever ends this in between, a later call finds what is left.
        if retire {
            catalog.retire(&name).map_err(log::Error::from)?;
            crash::pass(Step::GarbageRetired);
        }
        let bytes = log::remove_pipeline(&log::Disk::new(), &root, &name, &catalog)?;
        if !retire {
            catalog.forget_retired(&name).map_err(log::Error::from)?;
        }
        Ok(bytes)
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, log::Error> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    let failed = |message: String, hint: Option<String>| Refusal::Failed { message, hint };
    match done {
        Ok(done) => done.map_err(|error| failed(error.to_string(), error.hint().map(str::to_owned))),
        Err(error) => Err(failed(error.to_string(), None)),
    }
}
