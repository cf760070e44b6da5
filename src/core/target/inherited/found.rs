//! A checkpoint of redis-GunYu, as it is written. Without I/O.
//!
//! | where | field | value |
//! | --- | --- | --- |
//! | the hash `redis-gunyu-checkpoint-hash` in database 0 | a replication id | the name of the checkpoint's key |
//! | a hash of that name; on one server, in each database that it has written to | `{id}_runid` | the id again |
//! | | `{id}_offset` | everything up to here is applied; `-1` where it did not know |
//! | | `{id}_version` | `1` |
//! | | `{id}_mtime` | when the id or the name last changed, Unix time in nanoseconds |

use crate::core::position::{Offset, ReplId};
use crate::core::resp::Value;

/// The version that we know.
const VERSION: &[u8] = b"1";

/// What is in one database under one id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Everything up to here is applied.
    pub offset: Offset,
    /// When the id or the name last changed, Unix time in nanoseconds; 0 where that is not said.
    pub mtime: i64,
    /// The database.
    pub db: u32,
}

/// The databases that hold keys, by the text of `INFO keyspace`.
#[must_use]
pub fn databases(keyspace: &str) -> Vec<u32> {
    let number = |line: &str| line.strip_prefix("db")?.split(':').next()?.parse().ok();
    keyspace.lines().filter_map(number).collect()
}

/// What the hash holds under that id; nothing where that is no checkpoint.
///
/// # Errors
/// It is one that we cannot go on from; why, in words.
pub fn parse(reply: &Value, id: ReplId, db: u32) -> Result<Option<Found>, String> {
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
