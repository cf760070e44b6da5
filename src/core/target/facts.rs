//! What a target is: its version, what its `RESTORE` takes, how much of everything.
//!
//! Owns asking for it. Where the target does not permit to ask, the usual is assumed.

use super::Error;
use super::door::Door;
use super::refusal::Kind;
use crate::core::net::Address;
use crate::core::rdb;
use crate::core::resp::Value;

/// Whose server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    /// Redis, or what calls itself so.
    Redis,
    /// Valkey, which counts its versions on from 7.2.
    Valkey,
}

/// What is known of a target.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The id of the server's process, where `INFO` is permitted.
    pub run_id: Option<String>,
    /// Whose it is.
    pub fork: Fork,
    /// The server's version as its fork counts, 7.0.0 being assumed where `INFO` is not permitted.
    pub version: (u32, u32, u32),
    /// How many databases it has.
    pub databases: u32,
    /// The RDB version that its `RESTORE` takes, where `DUMP` is permitted.
    pub rdb_version: Option<rdb::Version>,
    /// The longest argument that it takes (`proto-max-bulk-len`): it closes the connection on a longer one.
    pub bulk_bytes_max: usize,
}

impl Facts {
    /// What `INFO` says; the rest is assumed until [`Facts::complete`].
    ///
    /// # Errors
    /// The target fails.
    pub async fn of_server(lane: &mut Door) -> Result<Facts, Error> {
        Facts::of_reply(lane.call(&[b"INFO", b"server"]).await)
    }

    /// The same of one node of it.
    ///
    /// # Errors
    /// The target fails.
    pub async fn of_node(lane: &mut Door, node: &Address) -> Result<Facts, Error> {
        Facts::of_reply(lane.call_at(node, &[b"INFO", b"server"]).await)
    }

    fn of_reply(reply: Result<Value, Error>) -> Result<Facts, Error> {
        let reply = permitted(reply)?;
        let text = reply.as_ref().and_then(Value::text).map(String::from_utf8_lossy);
        Ok(Facts::of_info(&text.unwrap_or_default()))
    }

    fn of_info(text: &str) -> Facts {
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .map(|value| value.trim().to_owned())
        };
        let valkey = field("valkey_version:");
        let fork = if valkey.is_some() {
            Fork::Valkey
        } else {
            Fork::Redis
        };
        Facts {
            run_id: field("run_id:"),
            fork,
            version: valkey
                .or_else(|| field("redis_version:"))
                .map_or((7, 0, 0), |text| version(&text)),
            databases: 1,
            rdb_version: None,
            bulk_bytes_max: BULK_BYTES_MAX,
        }
    }

    /// Asks for the rest, with the help of a key that is there. Database 0 must be selected, and is afterwards.
    ///
    /// # Errors
    /// The target fails.
    pub async fn complete(&mut self, lane: &mut Door, key: &[u8]) -> Result<(), Error> {
        // Valkey 9 has several in a cluster too, but no other server has.
        self.databases = match lane.router() {
            Some(_) => 1,
            None => count_databases(lane).await?,
        };
        self.rdb_version = rdb_version(lane, key).await?;
        self.bulk_bytes_max = bulk_bytes_max(lane).await?;
        Ok(())
    }

    /// Whether the target is at least this version of Redis, or of Valkey.
    #[must_use]
    pub fn since(&self, redis: (u32, u32, u32), valkey: (u32, u32, u32)) -> bool {
        match self.fork {
            Fork::Redis => self.version >= redis,
            Fork::Valkey => self.version >= valkey,
        }
    }

    /// The command that lets keys go, without waiting for large ones where it can: since 4.0.
    #[must_use]
    pub fn removal_verb(&self) -> &'static [u8] {
        match self.since((4, 0, 0), (0, 0, 0)) {
            true => b"UNLINK",
            false => b"DEL",
        }
    }

    /// The command that sets several fields of a hash: `HSET` takes more than one since 4.0.
    #[must_use]
    pub fn hash_verb(&self) -> &'static [u8] {
        match self.since((4, 0, 0), (0, 0, 0)) {
            true => b"HSET",
            false => b"HMSET",
        }
    }
}

/// What every server has unless configured otherwise.
const BULK_BYTES_MAX: usize = 512 << 20;

fn version(text: &str) -> (u32, u32, u32) {
    let mut numbers = text.split('.').map(|n| n.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next())
}

/// The RDB version in the footer of a `DUMP`.
async fn rdb_version(lane: &mut Door, key: &[u8]) -> Result<Option<rdb::Version>, Error> {
    let reply = permitted(lane.call(&[b"DUMP", key]).await)?;
    Ok(reply.and_then(|reply| rdb::payload::version_of(reply.text()?)))
}

/// `proto-max-bulk-len`; the usual where we may not ask.
async fn bulk_bytes_max(lane: &mut Door) -> Result<usize, Error> {
    let reply = permitted(lane.call(&[b"CONFIG", b"GET", b"proto-max-bulk-len"]).await)?;
    let value = reply.as_ref().and_then(Value::array).and_then(|pair| pair.get(1));
    let number = value.and_then(Value::text).map(String::from_utf8_lossy);
    Ok(number
        .and_then(|text| text.parse().ok())
        .unwrap_or(BULK_BYTES_MAX))
}

/// A reply, or nothing where we may not ask.
fn permitted(reply: Result<Value, Error>) -> Result<Option<Value>, Error> {
    match reply {
        Ok(value) => Ok(Some(value)),
        Err(Error::Refused { reply, .. }) if !Kind::of(&reply).may_be_repeated() => Ok(None),
        Err(error) => Err(error),
    }
}

/// How many databases the target has, found by selecting: `CONFIG GET` is often not permitted. Ends with database 0 selected.
///
/// It must be known beforehand: a `SELECT` that fails inside a transaction lets the commands after it run in the wrong database.
async fn count_databases(lane: &mut Door) -> Result<u32, Error> {
    let mut exists = async |db: u32| match lane.call(&[b"SELECT", db.to_string().as_bytes()]).await {
        Ok(_) => Ok(true),
        Err(Error::Refused { reply, .. }) if Kind::of(&reply) == Kind::Command => Ok(false),
        Err(error) => Err(error),
    };
    // Databases 0 to `known - 1` exist, `absent` does not.
    let (mut known, mut absent) = (1, 16);
    while exists(absent).await? {
        known = absent + 1;
        absent = absent.saturating_mul(2).min(i32::MAX.unsigned_abs());
        if known >= 1 << 24 {
            break;
        }
    }
    while known < absent {
        let middle = known + (absent - known) / 2;
        if exists(middle).await? {
            known = middle + 1;
        } else {
            absent = middle;
        }
    }
    exists(0).await?;
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valkey_is_known_by_its_own_version_and_not_by_the_one_it_is_compatible_with() {
        let valkey = Facts::of_info("redis_version:7.2.4\r\nvalkey_version:9.1.2\r\nrun_id:abc\r\n");
        assert_eq!((valkey.fork, valkey.version), (Fork::Valkey, (9, 1, 2)));
        assert_eq!(valkey.run_id.as_deref(), Some("abc"));
        assert!(valkey.since((99, 0, 0), (9, 0, 0)) && !valkey.since((7, 4, 0), (9, 2, 0)));
        let redis = Facts::of_info("redis_version:7.4.1\r\n");
        assert!(redis.since((7, 4, 0), (9, 0, 0)) && !redis.since((7, 4, 2), (1, 0, 0)));
        assert_eq!(Facts::of_info("").version, (7, 0, 0));
    }
}
