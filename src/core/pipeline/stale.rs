//! Keys that the target has and the source has not, after a repeated full sync.
//!
//! The first full sync meets what was there before us, and leaves it alone. A later one meets keys that we once wrote and that the source has deleted since, in
//! the part of the stream that we missed: they must go, or the target is no copy. While the snapshot is restored its keys are
//! written down in the catalog; at the end the target is walked, and what was not in the snapshot is deleted.
//!
//! | `staleKeys` | database was empty at our first sync | other deployments on the target | what happens |
//! | --- | --- | --- | --- |
//! | auto | yes | no | deleted |
//! | auto | no | – | kept, and counted in the traces |
//! | auto | – | yes | kept, and counted in the traces |
//! | delete | – | – | deleted |
//! | keep | – | – | kept |
//!
//! Only keys that the filter would let through are ever deleted.

use super::apply::Context;
use super::parked::must_not_be_refused;
use super::{End, StaleKeys};
use crate::core::catalog::KeySet;
use crate::core::filter::Filter;
use crate::core::resp::Value;
use crate::core::target::checkpoint::{self, KEY_PREFIX};
use crate::core::target::session::Session;

/// So many keys a step of `SCAN`.
const SCAN_COUNT: &[u8] = b"1000";

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

/// Whether another deployment keeps a checkpoint on this target.
///
/// # Errors
/// The target fails.
pub async fn is_shared(session: &mut Session, name: &str) -> Result<bool, End> {
    let (ours, session_key) = (checkpoint::key(name), checkpoint::session_key(name));
    let pattern = format!("{KEY_PREFIX}*").into_bytes();
    let mut cursor = b"0".to_vec();
    loop {
        let (next, keys) = scan(session, &cursor, Some(&pattern)).await?;
        if keys.iter().any(|key| *key != ours && *key != session_key) {
            return Ok(true);
        }
        if next == b"0" {
            return Ok(false);
        }
        cursor = next;
    }
}

/// Deletes what the source has not, in all databases, by the table above.
///
/// # Errors
/// The target or the catalog fails.
pub async fn sweep_all(context: &Context, session: &mut Session) -> Result<(), End> {
    let settings = &context.settings;
    if settings.stale_keys == StaleKeys::Keep || !session.record.resync {
        return Ok(());
    }
    let shared = is_shared(session, &settings.name).await?;
    let seen = context.catalog.seen(&settings.name).map_err(End::Catalog)?;
    let mut swept = Vec::new();
    for source_db in 0..session.databases.min(1024) {
        let Some(target_db) = settings.filter.target_db(source_db) else {
            continue;
        };
        if target_db >= session.databases || swept.contains(&target_db) {
            continue;
        }
        swept.push(target_db);
        let foreign = !session.record.owned.contains(&target_db);
        let delete = deletes(Case {
            policy: settings.stale_keys,
            foreign,
            shared,
        });
        let count = sweep(session, &settings.filter, &seen, (source_db, target_db), delete).await?;
        if count > 0 {
            tracing::info!(
                db = target_db,
                count,
                deleted = delete,
                "keys on the target that the source does not have"
            );
        }
    }
    Ok(())
}

/// Deletes, or only counts, the keys of a target database that are not in `seen`. `source_db` is a source's database that maps to it.
///
/// # Errors
/// The target or the catalog fails.
pub async fn sweep(
    session: &mut Session,
    filter: &Filter,
    seen: &KeySet,
    (source_db, target_db): (u32, u32),
    delete: bool,
) -> Result<u64, End> {
    let mut stale = 0;
    let mut cursor = b"0".to_vec();
    let verb: &[u8] = if session.version.0 >= 4 { b"UNLINK" } else { b"DEL" };
    select(session, target_db).await?;
    loop {
        let (next, keys) = scan(session, &cursor, None).await?;
        let mut commands = Vec::new();
        for key in keys {
            let ours = filter.key(source_db, &key).is_none();
            if ours && !seen.contains(target_db, &key).map_err(End::Catalog)? {
                commands.push(vec![verb.to_vec(), key]);
            }
        }
        stale += commands.len() as u64;
        if delete {
            let answers = session.lane.call_many(commands).await.map_err(End::Target)?;
            must_not_be_refused(&answers)?;
        }
        if next == b"0" {
            select(session, 0).await?;
            return Ok(stale);
        }
        cursor = next;
    }
}

async fn select(session: &mut Session, db: u32) -> Result<(), End> {
    session
        .lane
        .call(&[b"SELECT", db.to_string().as_bytes()])
        .await
        .map_err(End::Target)?;
    Ok(())
}

/// One step of `SCAN`: the next cursor and some keys.
async fn scan(
    session: &mut Session,
    cursor: &[u8],
    pattern: Option<&[u8]>,
) -> Result<(Vec<u8>, Vec<Vec<u8>>), End> {
    let mut args: Vec<&[u8]> = vec![b"SCAN", cursor, b"COUNT", SCAN_COUNT];
    if let Some(pattern) = pattern {
        args.extend([&b"MATCH"[..], pattern]);
    }
    let reply = session.lane.call(&args).await.map_err(End::Target)?;
    let parts = reply.array().unwrap_or_default();
    let next = parts.first().and_then(Value::text).unwrap_or(b"0").to_vec();
    let keys = parts.get(1).and_then(Value::array).unwrap_or_default();
    Ok((
        next,
        keys.iter()
            .filter_map(|key| key.text().map(<[u8]>::to_vec))
            .collect(),
    ))
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
