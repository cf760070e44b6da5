//! The checkpoint that redis-GunYu leaves on a target: the Go program whose configuration we read. Read here, never written.
//!
//! How it is written stands in the table of [`found`]; `redis-gunyu-checkpoint-hash` says for a replication id under which name.
//!
//! The name is `redis-gunyu-checkpoint`, with a suffix where the target is a cluster. Of several databases the one with the greatest offset counts, among equal ones
//! that with the latest time: that is the database it had selected. A `-1` in any of them counts before all: what the others say is older than it. In its two-way mode (`redis-gunyu-checkpoint-bisync:…`) the position is not in that hash.
//!
//! Owns the way to it. Leaves to the pipeline whether the position fits.

pub mod found;

use super::Error;
use super::door::Door;
use crate::core::position::{Position, ReplId};
use found::{Found, parse};

/// Which id has its checkpoint under which name.
const INDEX: &str = "redis-gunyu-checkpoint-hash";

/// Names of its two-way mode begin so.
const TWO_WAY: &[u8] = b"redis-gunyu-checkpoint-bisync:";

/// What it has left of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inherited {
    /// Nothing that could be used.
    Nothing,
    /// A position, and the database of the target that was selected there.
    At(Position, u32),
    /// What we cannot go on from, in words.
    Foreign(String),
}

/// Looks for a checkpoint under these replication ids, the current one first.
///
/// # Errors
/// The target fails, or refuses us.
pub async fn read(door: &mut Door, ids: impl IntoIterator<Item = ReplId>) -> Result<Inherited, Error> {
    for id in ids {
        let name = door
            .call(&[b"HGET", INDEX.as_bytes(), id.as_str().as_bytes()])
            .await?;
        let Some(name) = name.text().filter(|name| !name.is_empty()).map(<[u8]>::to_vec) else {
            continue;
        };
        if name.starts_with(TWO_WAY) {
            let what =
                "it was written by its two-way mode (bisyncEnabled), which keeps its position elsewhere";
            return Ok(Inherited::Foreign(what.to_owned()));
        }
        let mut best: Option<Found> = None;
        for db in databases(door).await? {
            match read_one(door, &name, id, db).await? {
                Ok(found) => best = best.max(found),
                Err(foreign) => return Ok(Inherited::Foreign(foreign)),
            }
        }
        if let Some(Found { offset, db, .. }) = best {
            return Ok(Inherited::At(Position { id, offset }, db));
        }
    }
    Ok(Inherited::Nothing)
}

/// The databases that hold keys; of a cluster the one that there is.
async fn databases(door: &mut Door) -> Result<Vec<u32>, Error> {
    if door.map().is_some() {
        return Ok(vec![0]);
    }
    let keyspace = door.call(&[b"INFO", b"keyspace"]).await?;
    Ok(found::databases(&String::from_utf8_lossy(
        keyspace.text().unwrap_or_default(),
    )))
}

async fn read_one(
    door: &mut Door,
    name: &[u8],
    id: ReplId,
    db: u32,
) -> Result<Result<Option<Found>, String>, Error> {
    // All of it: the permission to ask for some fields is not among those that are needed.
    let ask = [b"HGETALL", name];
    if door.map().is_some() {
        return Ok(parse(&door.call(&ask).await?, id, db));
    }
    let number = db.to_string();
    door.call(&[b"SELECT", number.as_bytes()]).await?;
    let reply = door.call(&ask).await;
    // Whatever came of it: the session is at home in database 0.
    door.call(&[b"SELECT", b"0"]).await?;
    Ok(parse(&reply?, id, db))
}
