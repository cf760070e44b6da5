//! Whether two shapes hold the same keys in database 0: each master is read at the same time, in pipelines.
//!
//! The payload of DUMP is compared where both sides run the same version. It depends on how a value came to be, so a
//! payload that differs only makes a key a suspect; then, and between versions, the values themselves are read.
//! Keys that begin with `redis-gunyu-` do not count.

use std::collections::HashMap;
use std::time::Duration;

use redis::{Connection, Value};

use super::Shape;
use super::slot::slot;
use crate::support::compare::Differences;
use crate::support::server::Server;
use crate::support::wire::{Batch, put};
use crate::support::{SOON, now_ms, wait_for};

/// gunyu's own keys, of every kind.
const OWN_PREFIX: &[u8] = b"redis-gunyu-";

/// By so many milliseconds two times of expiry may differ.
const TOLERANCE_MS: i64 = 1_500;

/// Keys that are asked for at once.
const AT_ONCE: usize = 500;

/// What is known of a key without reading it.
struct Fact {
    /// By its place among the masters.
    master: usize,
    payload: Vec<u8>,
    /// Unix time; `None`: never.
    due_ms: Option<i64>,
}

type Facts = HashMap<Vec<u8>, Fact>;

/// Waits until both hold the same; the failure names the first keys that differ.
#[track_caller]
pub fn wait_equal(source: &dyn Shape, target: &dyn Shape, limit: Duration) {
    wait_for(limit, "source and target are equal", || {
        let found = differences(source, target);
        match found.0.is_empty() {
            true => Ok(()),
            false => Err(format!("{} keys differ\n{found}", found.0.len())),
        }
    });
}

/// Fails the test, naming the first keys that differ, unless both hold the same.
#[track_caller]
pub fn assert_equal(source: &dyn Shape, target: &dyn Shape) {
    let found = differences(source, target);
    assert!(found.0.is_empty(), "{} keys differ\n{found}", found.0.len());
}

/// What differs, a line for each key, in the order of the keys.
pub fn differences(source: &dyn Shape, target: &dyn Shape) -> Differences {
    let (here, there) = (Reader::of(source), Reader::of(target));
    let (mine, theirs) = std::thread::scope(|scope| {
        let mine = scope.spawn(|| here.facts());
        let theirs = there.facts();
        (mine.join().unwrap(), theirs)
    });
    let mut found = Vec::new();
    let mut suspects = Vec::new();
    let same_version = here.version() == there.version();
    for (key, fact) in &mine {
        match theirs.get(key) {
            None => found.push((key, format!("on the source only, {}", here.shown(key, fact)))),
            Some(other) => {
                if !same_time(fact.due_ms, other.due_ms) {
                    let times = format!("expires at {:?}, on the target {:?}", fact.due_ms, other.due_ms);
                    found.push((key, times));
                }
                if !same_version || fact.payload != other.payload {
                    suspects.push(key);
                }
            }
        }
    }
    for (key, fact) in theirs.iter().filter(|(key, _)| !mine.contains_key(*key)) {
        found.push((key, format!("on the target only, {}", there.shown(key, fact))));
    }
    let (values, others) = (here.values(&suspects, &mine), there.values(&suspects, &theirs));
    for (key, (value, other)) in suspects.into_iter().zip(values.iter().zip(&others)) {
        if value != other {
            let (value, other) = first_difference(value, other);
            found.push((key, format!("source {}, target {}", brief(value), brief(other))));
        }
    }
    found.sort();
    let line = |(key, what): (&Vec<u8>, String)| {
        format!("slot {} key \"{}\": {what}", slot(key), key.escape_ascii())
    };
    Differences(found.into_iter().map(line).collect())
}

fn same_time(here: Option<i64>, there: Option<i64>) -> bool {
    match (here, there) {
        (Some(here), Some(there)) => (here - there).abs() <= TOLERANCE_MS,
        (here, there) => here == there,
    }
}

/// The masters of one side.
struct Reader<'a> {
    masters: Vec<&'a Server>,
}

impl<'a> Reader<'a> {
    fn of(shape: &'a dyn Shape) -> Reader<'a> {
        Reader {
            masters: shape.masters(),
        }
    }

    fn version(&self) -> (String, (u32, u32, u32)) {
        let binary = self.masters[0].binary();
        (binary.product.clone(), binary.version)
    }

    fn facts(&self) -> Facts {
        std::thread::scope(|scope| {
            let reading: Vec<_> = (0..self.masters.len())
                .map(|master| scope.spawn(move || facts_of(self.masters[master], master)))
                .collect();
            reading
                .into_iter()
                .flat_map(|facts| facts.join().unwrap())
                .collect()
        })
    }

    /// The values of these keys, in their order.
    fn values(&self, keys: &[&Vec<u8>], facts: &Facts) -> Vec<Value> {
        let mut values = vec![Value::Nil; keys.len()];
        for (master, server) in self.masters.iter().enumerate() {
            let here: Vec<usize> = (0..keys.len())
                .filter(|number| facts[keys[*number]].master == master)
                .collect();
            let mut conn = server.conn();
            for numbers in here.chunks(AT_ONCE) {
                let asked: Vec<&Vec<u8>> = numbers.iter().map(|number| keys[*number]).collect();
                for (number, value) in numbers.iter().zip(read(&mut conn, &asked)) {
                    values[*number] = value;
                }
            }
        }
        values
    }

    fn shown(&self, key: &Vec<u8>, fact: &Fact) -> String {
        let mut conn = self.masters[fact.master].conn();
        brief(&read(&mut conn, &[key])[0])
    }
}

fn facts_of(server: &Server, master: usize) -> Facts {
    let mut conn = server.conn();
    let names_time = server.binary().version >= (7, 0, 0);
    let mut facts = Facts::new();
    for keys in scan(&mut conn).chunks(AT_ONCE) {
        let mut batch = Batch::default();
        for key in keys {
            put!(batch, "DUMP", key);
            match names_time {
                true => put!(batch, "PEXPIRETIME", key),
                false => put!(batch, "PTTL", key),
            }
        }
        let answers = answered(&mut batch, &mut conn);
        let now = if names_time { 0 } else { now_ms().cast_signed() };
        for (key, answer) in keys.iter().zip(answers.chunks(2)) {
            // It may have expired meanwhile.
            let [Value::BulkString(payload), Value::Int(time)] = answer else {
                continue;
            };
            let fact = Fact {
                master,
                payload: payload.clone(),
                due_ms: (*time >= 0).then(|| now + time),
            };
            facts.insert(key.clone(), fact);
        }
    }
    facts
}

/// The answers, as soon as none is that the cluster is down: a node that a busy machine left waiting for long believes so for a moment.
fn answered(batch: &mut Batch, conn: &mut Connection) -> Vec<Value> {
    let asked = std::mem::take(batch);
    wait_for(SOON, "the node tells its keys", || {
        let answers = asked.clone().send(conn).map_err(|error| error.to_string())?;
        let refused = answers
            .iter()
            .find(|answer| matches!(answer, Value::ServerError(_)));
        match refused.map(|refused| format!("{refused:?}")) {
            Some(refused) => Err(refused),
            None => Ok(answers),
        }
    })
}

fn scan(conn: &mut Connection) -> Vec<Vec<u8>> {
    let (mut keys, mut cursor) = (Vec::new(), "0".to_owned());
    loop {
        let mut page = redis::cmd("SCAN");
        page.arg(&cursor).arg("COUNT").arg(5_000);
        let (next, page): (String, Vec<Vec<u8>>) = page.query(conn).unwrap();
        keys.extend(page.into_iter().filter(|key| !key.starts_with(OWN_PREFIX)));
        if next == "0" {
            // A table that grows meanwhile shows keys twice.
            keys.sort_unstable();
            keys.dedup();
            return keys;
        }
        cursor = next;
    }
}

/// The values, in a form in which equal values are equal. A pair of type and content each.
fn read(conn: &mut Connection, keys: &[&Vec<u8>]) -> Vec<Value> {
    let mut batch = Batch::default();
    keys.iter().for_each(|key| put!(batch, "TYPE", *key));
    let kinds: Vec<String> = answered(&mut batch, conn)
        .into_iter()
        .map(|kind| text(&kind))
        .collect();
    for (key, kind) in keys.iter().zip(&kinds) {
        match kind.as_str() {
            "string" => put!(batch, "GET", *key),
            "list" => put!(batch, "LRANGE", *key, 0, -1),
            "set" => put!(batch, "SMEMBERS", *key),
            "zset" => put!(batch, "ZRANGE", *key, 0, -1, "WITHSCORES"),
            "hash" => put!(batch, "HGETALL", *key),
            "stream" => put!(batch, "XRANGE", *key, "-", "+"),
            // A type of a module, or none: it went meanwhile.
            _ => put!(batch, "DUMP", *key),
        }
    }
    let contents = batch.send(conn).unwrap();
    let pair = |(kind, content): (String, Value)| {
        let content = in_order(&kind, content);
        Value::Array(vec![Value::SimpleString(kind), content])
    };
    kinds.into_iter().zip(contents).map(pair).collect()
}

/// Sets and hashes have no order of their own.
fn in_order(kind: &str, content: Value) -> Value {
    let Value::Array(mut items) = content else {
        return content;
    };
    if kind == "set" {
        items.sort_by_key(text);
    }
    if kind != "hash" {
        return Value::Array(items);
    }
    let mut fields: Vec<Vec<Value>> = items.chunks(2).map(<[Value]>::to_vec).collect();
    fields.sort_by_key(|field| text(&field[0]));
    Value::Array(fields.into_iter().map(Value::Array).collect())
}

fn text(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => bytes.escape_ascii().to_string(),
        Value::SimpleString(text) => text.clone(),
        other => format!("{other:?}"),
    }
}

/// The innermost pair of parts that differ, for a message that can be read.
fn first_difference<'a>(here: &'a Value, there: &'a Value) -> (&'a Value, &'a Value) {
    if let (Value::Array(these), Value::Array(those)) = (here, there)
        && these.len() == those.len()
        && let Some((here, there)) = these.iter().zip(those).find(|(here, there)| here != there)
    {
        return first_difference(here, there);
    }
    (here, there)
}

fn brief(value: &Value) -> String {
    let text = match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(brief).collect();
            format!("{} [{}]", items.len(), items.join(" "))
        }
        value => text(value),
    };
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
