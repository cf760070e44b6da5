//! Keys that the target has and the source has not, after a full sync.
//!
//! The first full sync meets what was there before us. A later one meets keys that we once wrote and that the source has deleted since, in
//! the part of the stream that we missed: they must go, or the target is no copy. While the snapshot is restored its keys are
//! written down in the catalog; at the end the target is walked, and what was not in the snapshot is counted, and deleted as the table says. Databases that
//! were empty at the first sync are not walked after it.
//!
//! | `staleKeys` | database was empty at our first sync | other deployments on the target | what happens |
//! | --- | --- | --- | --- |
//! | auto | yes | no | deleted |
//! | auto | no | – | kept and told |
//! | auto | – | yes | kept and told |
//! | delete | – | – | deleted |
//! | keep | – | – | kept, and not looked for |
//!
//! Told is how many they are, in the traces and in what is shown of the full sync. Each key counts once, though the walk may meet it twice, and though a sweep that
//! was interrupted, by a crash too, begins again: what becomes of a key is written down in the catalog beside the snapshot's keys, before it is done. A key that vanishes
//! by itself just then counts as found. Where another process has begun the full sync anew, from its own copy of the snapshot, it counts anew.
//!
//! Where the source is a cluster, the pipelines of its shards are one deployment in this table, and each sweeps the slots of its own shard alone.
//!
//! Only keys that the filter would let through are ever deleted. Libraries of functions go where there was none at our first sync and no other pipeline
//! uses the target, a sibling neither: each shard has libraries of its own, and what the snapshot of one says of them says nothing of the others'.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::apply::Context;
use super::header::Libraries;
use super::parked::must_not_be_refused;
use super::shard::{Shard, Slots};
use super::walk::Walk;
use super::{End, FunctionExists, Settings, StaleKeys};
use crate::core::catalog::{Fate, KeySet};
use crate::core::command;
use crate::core::crash;
use crate::core::net::Address;
use crate::core::position::Position;
use crate::core::resp::Value;
use crate::core::target::Error;
use crate::core::target::checkpoint::{self, KEY_PREFIX, Record};
use crate::core::target::library;
use crate::core::target::session::Session;

/// All keys that gunyu itself makes on a target begin so.
pub const OWN_PREFIX: &[u8] = b"redis-gunyu-";

/// What is known for the decision.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// The setting.
    pub policy: StaleKeys,
    /// Whether the database held keys of others when we first synced.
    pub foreign: bool,
    /// Whether other deployments keep checkpoints on the target.
    pub shared: bool,
}

/// Whether stale keys of a database are deleted: the table above.
#[must_use]
pub fn deletes(case: Case) -> bool {
    match case.policy {
        StaleKeys::Delete => true,
        StaleKeys::Keep => false,
        StaleKeys::Auto => !case.foreign && !case.shared,
    }
}

/// Whether keys may be on the target that the source has not, and somebody wants to know.
#[must_use]
pub fn is_looked_for(settings: &Settings, record: &Record, databases: u32) -> bool {
    let is_owned = |(_, target_db): (u32, u32)| record.owned.contains(&target_db);
    let mut fed = settings.filter.fed_databases(databases).into_iter();
    settings.stale_keys != StaleKeys::Keep && (record.resync || !fed.all(is_owned))
}

/// The keys of all deployments that keep a checkpoint on this target, their sessions' keys among them; a key may be there twice. Database 0 must be
/// selected.
///
/// # Errors
/// The target fails.
pub async fn checkpoint_keys(session: &mut Session) -> Result<Vec<Vec<u8>>, End> {
    let pattern = format!("{KEY_PREFIX}:*").into_bytes();
    let mut walk = Walk::begin(session, Some(pattern)).await?;
    let mut found = Vec::new();
    while let Some(keys) = walk.step(session).await? {
        found.extend(keys);
    }
    Ok(found)
}

/// Whether another deployment keeps a checkpoint on this target.
///
/// # Errors
/// The target fails.
async fn is_shared(session: &mut Session, name: &str, siblings: Option<&Shard>) -> Result<bool, End> {
    Ok(has_others(&checkpoint_keys(session).await?, name, siblings))
}

/// Whether any of these keys of checkpoints is neither that deployment's nor a sibling's.
#[must_use]
pub fn has_others(keys: &[Vec<u8>], name: &str, siblings: Option<&Shard>) -> bool {
    let (ours, session_key) = (checkpoint::key(name), checkpoint::session_key(name));
    let is_sibling = |key: &Vec<u8>| siblings.is_some_and(|shard| shard.is_sibling(key));
    keys.iter()
        .any(|key| *key != ours && *key != session_key && !is_sibling(key))
}

/// The databases that the siblings of this shard's pipeline have for their own: what is in them is the cluster's.
///
/// # Errors
/// The target fails.
async fn owned_by_siblings(session: &mut Session, shard: &Shard) -> Result<Vec<u32>, End> {
    let keys = checkpoint_keys(session).await?.into_iter();
    let ask = |key: Vec<u8>| vec![b"HGETALL".to_vec(), key];
    let asks: Vec<Vec<Vec<u8>>> = keys
        .filter(|key| shard.is_sibling(key) && !key.ends_with(b":session"))
        .map(ask)
        .collect();
    let answers = session.lane.call_many(asks).await.map_err(End::Target)?;
    let mut owned = Vec::new();
    for answer in &answers {
        let fields: Vec<&[u8]> = answer
            .array()
            .unwrap_or_default()
            .iter()
            .filter_map(Value::text)
            .collect();
        // One that this gunyu cannot read owns nothing.
        if let Ok(record) = Record::parse(fields.chunks_exact(2).map(|pair| (pair[0], pair[1]))) {
            owned.extend(record.owned);
        }
    }
    Ok(owned)
}

/// Deletes what the source has not, in all databases, by the table above; `libraries` are the names of its functions' libraries.
///
/// # Errors
/// The target or the catalog fails.
pub async fn sweep_all(context: &Context, session: &mut Session, libraries: &Libraries) -> Result<(), End> {
    let settings = &context.settings;
    if settings.stale_keys == StaleKeys::Keep {
        return Ok(());
    }
    // Where the snapshot's keys were not written down from its first (the settings were others then), nobody knows what is stale.
    match session.record.noted {
        true => sweep_databases(context, session).await?,
        false if is_looked_for(settings, &session.record, session.facts.databases) => {
            tracing::warn!(
                hint = format!("gunyu fullsync --inputs {}", settings.source.endpoint.address),
                "the full sync began under other settings: keys that the source does not have are not looked for"
            );
        }
        false => {}
    }
    let keeps =
        settings.replay.function_exists == FunctionExists::Append || settings.filter.denies(b"function");
    // Where a name cannot be read, nobody knows which library is stale.
    let known: Option<Vec<&Bytes>> = libraries.iter().map(Option::as_ref).collect();
    match known.filter(|_| session.record.owns_libraries && !keeps) {
        Some(known) => sweep_libraries(session, &settings.name, &known).await,
        None => Ok(()),
    }
}

/// The slots whose keys the snapshot, taken at `position`, has all of. Of those that have come since it knows nothing, and a slot that moves is nobody's.
async fn slots_to_sweep(
    shard: &Shard,
    settings: &Settings,
    position: Option<Position>,
) -> Result<Slots, End> {
    let Some(settled) = shard.settled().await else {
        // A shard that has left has no slots, and so no keys any more.
        return match shard.has_left() {
            true => Ok(Slots::default()),
            false => Err(End::Unsettled),
        };
    };
    let held = position.and_then(|position| shard.crossings.held_since(&settings.name, position));
    let is_known = held.is_some();
    let swept = settled.intersection(&held.unwrap_or_default());
    let left_out = settled.count() - swept.count() + shard.known.borrow().moving;
    if left_out > 0 {
        let hint = format!(
            "gunyu fullsync --inputs {}, while no slot moves, looks through all",
            settings.source.endpoint.address
        );
        tracing::warn!(
            slots = left_out,
            is_known,
            hint,
            "slots move, have come to the shard since its snapshot was taken, or were not asked about before: in them keys that the source does not have are not looked for"
        );
    }
    Ok(swept)
}

async fn sweep_databases(context: &Context, session: &mut Session) -> Result<(), End> {
    let settings = &context.settings;
    let shared = is_shared(session, &settings.name, settings.shard.as_ref()).await?;
    let slots = match &settings.shard {
        Some(shard) => Some(slots_to_sweep(shard, settings, session.record.full_sync).await?),
        None => None,
    };
    let seen = context.catalog.seen(&settings.name).map_err(End::Catalog)?;
    let mut feeders: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (source_db, target_db) in settings.filter.fed_databases(session.facts.databases) {
        feeders.entry(target_db).or_default().push(source_db);
    }
    // One that was interrupted walks from the beginning, and has counted already what it meets again.
    context.progress.update_full_sync(|one| one.swept = 0);
    show_stale(context, &seen, 0)?;
    for (target_db, source_dbs) in feeders {
        let foreign = !session.record.owned.contains(&target_db);
        if !foreign && !session.record.resync {
            continue;
        }
        let delete = deletes(Case {
            policy: settings.stale_keys,
            foreign,
            shared,
        });
        let fate = match delete {
            true => Fate::Deleted,
            false => Fate::Kept,
        };
        let place = (&source_dbs[..], target_db);
        sweep(context, session, (&seen, slots.as_ref()), place, fate).await?;
    }
    let count = seen.stale().map_err(End::Catalog)?;
    if count.deleted > 0 {
        tracing::info!(
            count = count.deleted,
            "keys on the target that the source does not have were deleted"
        );
    }
    if count.kept > 0 {
        tracing::info!(
            count = count.kept,
            hint = "output.replay.staleKeys=delete has them deleted at the next full sync",
            "keys on the target that the source does not have are kept"
        );
    }
    Ok(())
}

/// Shows how many keys have been found so far, and that so many more were looked at.
fn show_stale(context: &Context, seen: &KeySet, looked_at: u64) -> Result<(), End> {
    let count = seen.stale().map_err(End::Catalog)?;
    context.progress.update_full_sync(|one| {
        one.swept += looked_at;
        (one.stale_kept, one.stale_deleted) = (count.kept, count.deleted);
    });
    Ok(())
}

/// The target's databases without any key but ours, and whether it has no library of functions: at a first sync, what is ours alone from now on.
///
/// # Errors
/// The target fails.
pub async fn unowned_so_far(session: &mut Session, shard: Option<&Shard>) -> Result<(Vec<u32>, bool), End> {
    let is_cluster = session.lane.router().is_some();
    let mut empty = match is_cluster {
        true => empty_cluster(session).await?,
        false => empty_databases(session).await?,
    };
    if let Some(shard) = shard {
        if !is_cluster && !empty.contains(&0) && holds_siblings_alone(session, shard).await? {
            empty.push(0);
        }
        empty.extend(owned_by_siblings(session, shard).await?);
        empty.sort_unstable();
        empty.dedup();
    }
    let mut has_none = true;
    for node in session.lane.masters() {
        let libraries = libraries(session, &node).await?;
        has_none &= libraries.is_some_and(|names| names.is_empty());
    }
    Ok((empty, has_none))
}

async fn empty_databases(session: &mut Session) -> Result<Vec<u32>, End> {
    let mut empty = Vec::new();
    for db in 0..session.facts.databases.min(1024) {
        let commands = [
            vec![b"SELECT".to_vec(), db.to_string().into_bytes()],
            vec![b"DBSIZE".to_vec()],
            session.count_own_keys(),
        ];
        let replies = session.lane.call_many(commands).await.map_err(End::Target)?;
        // Database 0 holds keys of ours by now.
        if let [_, Value::Int(keys), Value::Int(ours)] = &replies[..]
            && keys == ours
        {
            empty.push(db);
        }
    }
    select(session, 0).await?;
    Ok(empty)
}

/// A cluster has one database, and in it fences of ours: what is there is looked at, up to the first key of others.
async fn empty_cluster(session: &mut Session) -> Result<Vec<u32>, End> {
    let mut walk = Walk::begin(session, None).await?;
    while let Some(keys) = walk.step(session).await? {
        if keys.iter().any(|key| !key.starts_with(OWN_PREFIX)) {
            return Ok(Vec::new());
        }
    }
    Ok(vec![0])
}

/// So often it is counted anew where keys come meanwhile: siblings begin at the same time.
const COUNTS_MAX: u32 = 10;

/// Whether database 0 holds nothing but checkpoints and sessions of this cluster's pipelines.
async fn holds_siblings_alone(session: &mut Session, shard: &Shard) -> Result<bool, End> {
    for _ in 0..COUNTS_MAX {
        let before = count_keys(session).await?;
        let keys = checkpoint_keys(session).await?;
        if count_keys(session).await? == before {
            let own = session.count_own_keys();
            let ours = |key: &&Vec<u8>| shard.is_sibling(key) || own.contains(key);
            let ours: BTreeSet<&Vec<u8>> = keys.iter().filter(ours).collect();
            return Ok(ours.len() as u64 == before);
        }
    }
    Ok(false)
}

async fn count_keys(session: &mut Session) -> Result<u64, End> {
    match session.lane.call(&[b"DBSIZE"]).await.map_err(End::Target)? {
        Value::Int(keys) => Ok(u64::try_from(keys).unwrap_or(0)),
        _ => Ok(0),
    }
}

/// The names of a node's libraries of functions; nothing where it does not know any, or does not say.
async fn libraries(session: &mut Session, node: &Address) -> Result<Option<Vec<Vec<u8>>>, End> {
    let known = match session.lane.call_at(node, &[b"FUNCTION", b"LIST"]).await {
        Err(Error::Refused { .. }) => return Ok(None),
        other => other.map_err(End::Target)?,
    };
    let names = library::names(&known);
    Ok(names.map(|names| names.into_iter().map(<[u8]>::to_vec).collect()))
}

/// Deletes the libraries of functions that are not in `libraries`, unless another pipeline may have loaded them.
async fn sweep_libraries(session: &mut Session, name: &str, libraries: &[&Bytes]) -> Result<(), End> {
    let mut stale: Vec<(Address, Vec<u8>)> = Vec::new();
    for node in session.lane.masters() {
        let mut known = self::libraries(session, &node).await?.unwrap_or_default();
        known.retain(|name| !libraries.iter().any(|known| *known == name));
        stale.extend(known.into_iter().map(|name| (node.clone(), name)));
    }
    if stale.is_empty() {
        return Ok(());
    }
    if is_shared(session, name, None).await? {
        tracing::info!(
            count = stale.len(),
            "libraries of functions that this source does not have are kept: another input may have loaded them"
        );
        return Ok(());
    }
    tracing::info!(
        count = stale.len(),
        "libraries of functions that the source does not have are deleted"
    );
    for (node, name) in stale {
        let answer = session
            .lane
            .call_at(&node, &[b"FUNCTION", b"DELETE", &name])
            .await;
        match answer {
            Err(Error::Refused { reply, .. }) => must_not_be_refused(&[Value::Error(reply.into_bytes())])?,
            other => drop(other.map_err(End::Target)?),
        }
    }
    Ok(())
}

/// Deletes, or only counts, the keys of a target database that are not in `seen`. `source_dbs` are the source's databases that map to it.
///
/// # Errors
/// The target or the catalog fails.
async fn sweep(
    context: &Context,
    session: &mut Session,
    (seen, slots): (&KeySet, Option<&Slots>),
    (source_dbs, target_db): (&[u32], u32),
    fate: Fate,
) -> Result<(), End> {
    let verb = session.facts.removal_verb();
    select(session, target_db).await?;
    let mut walk = Walk::begin(session, None).await?;
    while let Some(mut keys) = walk.step(session).await? {
        let looked_at = keys.len() as u64;
        // What another pipeline writes in pieces is none of ours; our own is let go before.
        keys.retain(|key| {
            let filter = &context.settings.filter;
            !key.starts_with(OWN_PREFIX)
                && source_dbs.iter().any(|db| filter.key(*db, key).is_none())
                && slots.is_none_or(|slots| slots.has(command::slot(key)))
        });
        let stale = seen.note_stale(target_db, keys, fate).map_err(End::Catalog)?;
        if !stale.is_empty() {
            crash::pass(crash::Step::SyncStaleNoted);
        }
        if fate == Fate::Deleted && !stale.is_empty() {
            let commands = stale.into_iter().map(|key| vec![verb.to_vec(), key]);
            let answers = session.lane.call_many(commands).await.map_err(End::Target)?;
            must_not_be_refused(&answers)?;
            crash::pass(crash::Step::SyncSweeping);
        }
        show_stale(context, seen, looked_at)?;
        // A large database takes its time; nobody who wants a pause or a stop must wait for it.
        if *context.wish.borrow() != context.wished {
            return Err(End::Wished);
        }
    }
    select(session, 0).await
}

async fn select(session: &mut Session, db: u32) -> Result<(), End> {
    session
        .lane
        .call(&[b"SELECT", db.to_string().as_bytes()])
        .await
        .map_err(End::Target)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table() {
        let rows = [
            (StaleKeys::Auto, false, false, true),
            (StaleKeys::Auto, true, false, false),
            (StaleKeys::Auto, false, true, false),
            (StaleKeys::Delete, true, true, true),
            (StaleKeys::Keep, false, false, false),
        ];
        for (policy, foreign, shared, expected) in rows {
            let case = Case {
                policy,
                foreign,
                shared,
            };
            assert_eq!(deletes(case), expected, "{case:?}");
        }
    }
}
