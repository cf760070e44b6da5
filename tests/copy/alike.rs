//! Whether two servers of different versions hold the same values.
//!
//! A digest depends on how a version prints and packs a value; here each value is read element by element. Old sources send relative times of
//! expiry, so these may differ a little.

use std::collections::BTreeMap;

use redis::{Connection, Value, from_redis_value_ref};

use crate::support::Server;
use crate::support::compare::{OWN_PREFIX, delete_own_keys};

/// Two times of expiry, one of them counted from when the command arrived, differ by less.
const TOLERANCE_SECONDS: i64 = 60;

/// A value as it is read, whatever its encoding, and its time to live in seconds.
type Seen = (String, i64);

/// Says which keys differ.
pub(crate) fn differences(source: &Server, target: &Server) -> Vec<String> {
    delete_own_keys(target);
    let (here, there) = (contents(source), contents(target));
    let mut found = Vec::new();
    for key in here
        .keys()
        .chain(there.keys().filter(|key| !here.contains_key(*key)))
    {
        let same = match (here.get(key), there.get(key)) {
            (Some(one), Some(other)) => one.0 == other.0 && (one.1 - other.1).abs() < TOLERANCE_SECONDS,
            // It expires just now.
            (Some((_, left)), None) | (None, Some((_, left))) => (0..5).contains(left),
            (None, None) => true,
        };
        if !same {
            let brief = |seen: Option<&Seen>| seen.map(|(value, ttl)| format!("{value:.300} ttl {ttl}"));
            let (one, other) = (brief(here.get(key)), brief(there.get(key)));
            found.push(format!(
                "db {} {}: source {one:?}, target {other:?}",
                key.0,
                key.1.escape_ascii()
            ));
        }
    }
    found
}

fn contents(server: &Server) -> BTreeMap<(u32, Vec<u8>), Seen> {
    let (mut conn, mut found) = (server.conn(), BTreeMap::new());
    for db in server.keyspace().into_keys() {
        redis::cmd("SELECT").arg(db).exec(&mut conn).unwrap();
        let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query(&mut conn).unwrap();
        for key in keys.into_iter().filter(|key| !key.starts_with(OWN_PREFIX)) {
            let ttl: i64 = redis::cmd("TTL").arg(&key).query(&mut conn).unwrap();
            let value = read(&mut conn, &key);
            if ttl != -2 && !value.is_empty() {
                found.insert((db, key), (value, ttl));
            }
        }
    }
    found
}

/// The type and the elements in one order; empty where the key has gone meanwhile.
fn read(conn: &mut Connection, key: &[u8]) -> String {
    let mut ask = |command: &str, more: &[&str]| -> Value {
        redis::cmd(command)
            .arg(key)
            .arg(more)
            .query(conn)
            .unwrap_or(Value::Nil)
    };
    let kind: String = from_redis_value_ref(&ask("TYPE", &[])).unwrap();
    let text = match kind.as_str() {
        "string" => string(&ask("GET", &[]), || ask("PFCOUNT", &[])),
        "list" => format!("{:?}", ask("LRANGE", &["0", "-1"])),
        "set" => sorted(&ask("SMEMBERS", &[]), 1),
        "hash" => sorted(&ask("HGETALL", &[]), 2),
        "zset" => scores(&ask("ZRANGE", &["0", "-1", "WITHSCORES"])),
        "stream" => format!("{:?} {:?}", ask("XRANGE", &["-", "+"]), ask("XLEN", &[])),
        _ => return String::new(),
    };
    format!("{kind} {text}")
}

/// A HyperLogLog caches its count within itself; the count is what counts.
fn string(value: &Value, count: impl FnOnce() -> Value) -> String {
    let bytes: Vec<u8> = from_redis_value_ref(value).unwrap_or_default();
    match bytes.starts_with(b"HYLL") {
        true => format!("{:?}", count()),
        false => bytes.escape_ascii().to_string(),
    }
}

fn flat(value: &Value) -> Vec<Vec<u8>> {
    from_redis_value_ref(value).unwrap_or_default()
}

/// Elements in groups of `each`, in the order of their bytes.
fn sorted(value: &Value, each: usize) -> String {
    let flat = flat(value);
    let mut groups: Vec<&[Vec<u8>]> = flat.chunks(each).collect();
    groups.sort();
    format!("{groups:?}")
}

/// Scores as numbers: -0 is 0, whatever is printed.
fn scores(value: &Value) -> String {
    let flat = flat(value);
    let pairs = flat.chunks(2).map(|pair| {
        let score: f64 = String::from_utf8_lossy(&pair[1]).parse().unwrap();
        (pair[0].clone(), score + 0.0)
    });
    let mut pairs: Vec<(Vec<u8>, f64)> = pairs.collect();
    pairs.sort_by(|one, other| one.0.cmp(&other.0));
    format!("{pairs:?}")
}
