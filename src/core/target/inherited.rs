//! The checkpoint that redis-GunYu leaves on a target: the Go program whose configuration we read. Read here, never written.
//!
//! | where | field | value |
//! | --- | --- | --- |
//! | the hash `redis-gunyu-checkpoint-hash` in database 0 | a replication id | the name of the checkpoint's key |
//! | a hash of that name; on one server, in each database that it has written to | `{id}_runid` | the id again |
//! | | `{id}_offset` | everything up to here is applied; `-1` where it did not know |
//! | | `{id}_version` | `1` |
//! | | `{id}_mtime` | when the id or the name last changed, Unix time in nanoseconds |
//!
//! The name is `redis-gunyu-checkpoint`, with a suffix where the target is a cluster. Of several databases the one with the greatest offset counts, among equal ones
//! that with the latest time: that is the database it had selected. A `-1` in any of them counts before all: what the others say is older than it. In its two-way mode (`redis-gunyu-checkpoint-bisync:…`) the position is not in that hash.
//!
//! Owns the format. Leaves to the pipeline whether the position fits.

use super::Error;
use super::door::Door;
use crate::core::position::{Offset, Position, ReplId};
use crate::core::resp::Value;

/// Which id has its checkpoint under which name.
const INDEX: &str = "redis-gunyu-checkpoint-hash";

/// Names of its two-way mode begin so.
const TWO_WAY: &[u8] = b"redis-gunyu-checkpoint-bisync:";

/// The version that we know.
const VERSION: &[u8] = b"1";

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

/// What is in one database under one id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    offset: Offset,
    mtime: i64,
    db: u32,
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
    let text = String::from_utf8_lossy(keyspace.text().unwrap_or_default()).into_owned();
    let number = |line: &str| line.strip_prefix("db")?.split(':').next()?.parse().ok();
    Ok(text.lines().filter_map(number).collect())
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

fn parse(reply: &Value, id: ReplId, db: u32) -> Result<Option<Found>, String> {
    let pairs = reply.array().unwrap_or_default().chunks_exact(2);
    let fields: Vec<(&[u8], &[u8])> = pairs
        .filter_map(|pair| Some((pair[0].text()?, pair[1].text()?)))
        .collect();
    let field = |suffix: &str| {
        let name = format!("{id}_{suffix}");
        let found = fields.iter().find(|(field, _)| *field == name.as_bytes());
        found.map(|(_, value)| *value)
    };
    let text = |suffix: &str| std::str::from_utf8(field(suffix)?).ok();
    if field("runid") != Some(id.as_str().as_bytes()) {
        return Ok(None);
    }
    let version = field("version").unwrap_or(VERSION);
    if version != VERSION {
        let version = version.escape_ascii();
        return Err(format!("its version is {version}, and this gunyu knows 1"));
    }
    let Some(told) = field("offset") else {
        return Ok(None);
    };
    if told == b"-1" {
        return Err(format!(
            "its offset in database {db} is -1: it did not know how far the copy was"
        ));
    }
    let Some(offset) = text("offset").and_then(Offset::parse) else {
        let told = told.escape_ascii();
        return Err(format!("its offset in database {db} is {told}"));
    };
    let mtime = text("mtime").and_then(|text| text.parse().ok()).unwrap_or(0);
    Ok(Some(Found { offset, mtime, db }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(id: &str, fields: [Option<&str>; 4]) -> Value {
        let bulk = |text: &str| Value::Bulk(text.as_bytes().to_vec());
        let names = ["runid", "version", "offset", "mtime"].map(|suffix| format!("{id}_{suffix}"));
        let there = names
            .iter()
            .zip(fields)
            .filter_map(|(name, value)| Some([bulk(name), bulk(value?)]));
        Value::Array(there.flatten().collect())
    }

    #[test]
    fn only_a_whole_checkpoint_of_that_id_counts() {
        let id = "a".repeat(40);
        let parsed = |fields| parse(&reply(&id, fields), ReplId::parse(id.as_bytes()).unwrap(), 3);
        let found = |offset, mtime| {
            Ok(Some(Found {
                offset: Offset::new(offset),
                mtime,
                db: 3,
            }))
        };
        let other = "b".repeat(40);
        let rows = [
            (
                [Some(id.as_str()), Some("1"), Some("42"), Some("7")],
                found(42, 7),
            ),
            ([Some(id.as_str()), None, Some("42"), None], found(42, 0)),
            ([Some(id.as_str()), Some("1"), None, Some("7")], Ok(None)),
            ([None, Some("1"), Some("42"), Some("7")], Ok(None)),
            ([Some(other.as_str()), Some("1"), Some("42"), Some("7")], Ok(None)),
            ([None; 4], Ok(None)),
        ];
        for (fields, expected) in rows {
            assert_eq!(parsed(fields), expected, "{fields:?}");
        }
        for (version, offset) in [("2", "42"), ("1", "-1"), ("1", "many")] {
            assert!(parsed([Some(id.as_str()), Some(version), Some(offset), None]).is_err());
        }
    }

    #[test]
    fn the_greatest_offset_counts_and_among_equal_ones_the_latest_time() {
        let found = |offset, mtime, db| {
            Some(Found {
                offset: Offset::new(offset),
                mtime,
                db,
            })
        };
        assert_eq!(found(5, 9, 0).max(found(6, 1, 1)), found(6, 1, 1));
        assert_eq!(found(6, 2, 0).max(found(6, 1, 1)), found(6, 2, 0));
        assert_eq!(None.max(found(0, 0, 0)), found(0, 0, 0));
    }
}
