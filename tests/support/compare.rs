//! Whether two servers hold the same.
//!
//! The oracle is `DEBUG DIGEST`. Where it differs, the first keys that differ are found and named. What the digest leaves
//! out is compared beside it: times of expiry, groups and pending entries of streams, times of expiry of hash fields,
//! functions. gunyu's own keys (`redis-gunyu-checkpoint…`) do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::time::{Duration, Instant};

use redis::{Connection, Value};

use super::server::Server;
use super::wait_for;
use super::wire::{Batch, put};

/// gunyu's own keys begin with this.
pub const OWN_PREFIX: &[u8] = b"redis-gunyu-checkpoint";

/// How many differences are named; more add nothing to the story.
const NAMED: usize = 12;

/// How long keys that are about to expire may blur the comparison.
const SETTLE: Duration = Duration::from_secs(30);

/// What differs, a line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differences(pub Vec<String>);

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .take(NAMED)
            .try_for_each(|line| writeln!(f, "    {line}"))?;
        match self.0.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => writeln!(f, "    and {more} more"),
        }
    }
}

/// Fails the test, naming the first keys that differ, unless both servers hold the same.
///
/// Nothing may write any more, and gunyu must have stopped: its checkpoint is deleted from the target.
#[track_caller]
pub fn assert_equal(source: &Server, target: &Server) {
    if let Err(differences) = equal(source, target) {
        panic!(
            "source {} ({:?}) and target {} ({:?}) differ (database: keys, with TTL):\n{differences}",
            source.addr(),
            source.keyspace(),
            target.addr(),
            target.keyspace()
        );
    }
}

/// Compares by digest and by what the digest leaves out. Deletes gunyu's checkpoints from the target first.
///
/// # Errors
/// They differ.
pub fn equal(source: &Server, target: &Server) -> Result<(), Differences> {
    delete_own_keys(target);
    await_what_is_due(source);
    let (start, mut looks) = (Instant::now(), 0);
    loop {
        let (here, there) = at_once(|| source.digest(), || target.digest());
        looks += 1;
        if here == there {
            return none(beyond_the_digest(source, target));
        }
        // A digest also says of each key whether it expires.
        let mut found = differing_keys(source, target);
        if found.is_empty() {
            found = beyond_the_digest(source, target);
        }
        if !found.is_empty() {
            return Err(Differences(found));
        }
        // Something expired between the two digests, or was due and not collected yet: looking at each key has made it go. With a million of them
        // that look alone takes longer than the limit, so the digests are compared once more after it in any case.
        if looks > 2 && start.elapsed() > SETTLE {
            return Err(Differences(vec![
                "the digests differ, and yet no key does".to_owned(),
            ]));
        }
    }
}

/// Compares key by key, without changing anything: for a target on which gunyu is still at work (but idle).
///
/// # Errors
/// They differ.
pub fn equal_key_by_key(source: &Server, target: &Server) -> Result<(), Differences> {
    let mut found = differing_keys(source, target);
    found.extend(beyond_the_digest(source, target));
    none(found)
}

fn none(found: Vec<String>) -> Result<(), Differences> {
    if found.is_empty() {
        Ok(())
    } else {
        Err(Differences(found))
    }
}

/// Asks both servers at the same time.
fn at_once<T: Send, U>(here: impl FnOnce() -> T + Send, there: impl FnOnce() -> U) -> (T, U) {
    std::thread::scope(|scope| {
        let asked = scope.spawn(here);
        let there = there();
        (asked.join().unwrap(), there)
    })
}

fn beyond_the_digest(source: &Server, target: &Server) -> Vec<String> {
    let mut found = differing_functions(source, target);
    let mut pair = Pair::new(source, target);
    let both = |command: &str| source.commands().contains(command) && target.commands().contains(command);
    let (streams, fields) = (both("XAUTOCLAIM"), both("HPEXPIRETIME"));
    let expiry = if both("PEXPIRETIME") {
        Question::ExpireTime
    } else {
        Question::TimeToLive
    };
    for (db, (_, expiring)) in source.keyspace() {
        pair.select(db);
        if expiring > 0 {
            let keys = scan(&mut pair.source, None);
            found.extend(pair.differing(&keys, db, expiry));
        }
        if streams {
            let keys = scan(&mut pair.source, Some("stream"));
            found.extend(pair.differing(&keys, db, Question::Groups));
        }
        if fields {
            let keys = scan(&mut pair.source, Some("hash"));
            found.extend(pair.differing(&keys, db, Question::FieldExpireTimes));
        }
    }
    found
}

/// Names what differs, database by database: keys on one side only, then keys whose values differ.
fn differing_keys(source: &Server, target: &Server) -> Vec<String> {
    let mut found = Vec::new();
    let mut pair = Pair::new(source, target);
    let databases: BTreeSet<u32> = source
        .keyspace()
        .into_keys()
        .chain(target.keyspace().into_keys())
        .collect();
    for db in databases {
        pair.select(db);
        let (here, there) = at_once(|| scan(&mut pair.source, None), || scan(&mut pair.target, None));
        let (here, there) = (BTreeSet::from_iter(here), BTreeSet::from_iter(there));
        let one_sided: Vec<Vec<u8>> = here.symmetric_difference(&there).cloned().collect();
        let common: Vec<Vec<u8>> = here.intersection(&there).cloned().collect();
        found.extend(pair.differing(&one_sided, db, Question::Exists));
        found.extend(pair.differing(&common, db, Question::Digest));
    }
    found
}

/// What a key is asked on both sides.
#[derive(Debug, Clone, Copy)]
enum Question {
    Exists,
    Digest,
    ExpireTime,
    /// For servers without PEXPIRETIME: what is left, a little later on the one side than on the other.
    TimeToLive,
    Groups,
    FieldExpireTimes,
}

impl Question {
    fn put(self, batch: &mut Batch, key: &[u8]) {
        match self {
            Question::Exists => put!(batch, "EXISTS", key),
            Question::Digest => put!(batch, "DEBUG", "DIGEST-VALUE", key),
            Question::ExpireTime => put!(batch, "PEXPIRETIME", key),
            Question::TimeToLive => put!(batch, "TTL", key),
            Question::Groups => put!(batch, "XINFO", "STREAM", key, "FULL", "COUNT", 0),
            Question::FieldExpireTimes => put!(batch, "EVAL", FIELD_TTLS, 1, key),
        }
    }

    fn same(self, here: &Value, there: &Value) -> bool {
        match (self, here, there) {
            (Question::TimeToLive, Value::Int(here), Value::Int(there)) => {
                here.signum() == there.signum() && here.abs_diff(*there) <= 2
            }
            _ => here == there || self.shown(here) == self.shown(there),
        }
    }

    /// What of an answer counts.
    fn shown(self, answer: &Value) -> Value {
        match self {
            Question::Groups => without_local_clocks(answer),
            _ => answer.clone(),
        }
    }
}

/// A hash's fields in one order, each with its time of expiry.
const FIELD_TTLS: &str = "local f = redis.call('HKEYS', KEYS[1]); table.sort(f)
    if #f == 0 or #f > 4000 then return {} end
    return {f, redis.call('HPEXPIRETIME', KEYS[1], 'FIELDS', #f, unpack(f))}";

/// Takes out what each server counts for itself, and consumers to whom nothing is pending.
///
/// Such a consumer holds no data, and native replication itself does not carry every one of them: a read or a claim that
/// finds nothing makes the consumer and leaves no trace in the stream of newer servers.
fn without_local_clocks(value: &Value) -> Value {
    let Value::Array(items) = value else {
        return value.clone();
    };
    let mut kept = Vec::with_capacity(items.len());
    let mut items = items.iter();
    while let Some(item) = items.next() {
        if LOCAL_TO_A_SERVER.into_iter().any(|name| is(item, name)) {
            items.next();
        } else if !is_idle_consumer(item) {
            kept.push(without_local_clocks(item));
        }
    }
    Value::Array(kept)
}

fn is(value: &Value, name: &[u8]) -> bool {
    matches!(value, Value::BulkString(bytes) if bytes == name)
}

/// Fields and values in turn, of a consumer (a group has such a count too, and consumers of its own).
fn is_idle_consumer(value: &Value) -> bool {
    let Value::Array(fields) = value else { return false };
    let nothing_pending = fields
        .windows(2)
        .any(|pair| is(&pair[0], b"pel-count") && pair[1] == Value::Int(0));
    nothing_pending && !fields.iter().any(|field| is(field, b"consumers"))
}

/// When a consumer was last seen, how the radix trees lie, and how far a group has read: a native replica has
/// its own idea of these too (`XREADGROUP` reaches it as `XCLAIM`, which carries none of them).
const LOCAL_TO_A_SERVER: [&[u8]; 6] = [
    b"seen-time",
    b"active-time",
    b"radix-tree-keys",
    b"radix-tree-nodes",
    b"entries-read",
    b"lag",
];

/// A connection to each side, on the same database.
struct Pair {
    source: Connection,
    target: Connection,
}

impl Pair {
    fn new(source: &Server, target: &Server) -> Pair {
        Pair {
            source: source.conn(),
            target: target.conn(),
        }
    }

    fn select(&mut self, db: u32) {
        for conn in [&mut self.source, &mut self.target] {
            redis::cmd("SELECT").arg(db).exec(conn).unwrap();
        }
    }

    /// The keys for which the two sides answer differently, also when asked once more: a key may expire in between.
    fn differing(&mut self, keys: &[Vec<u8>], db: u32, question: Question) -> Vec<String> {
        let mut found = Vec::new();
        for keys in keys.chunks(1_000) {
            let (here, there) = self.ask(keys, question);
            let answers = keys.iter().zip(here.iter().zip(&there));
            let suspects = answers.filter(|(_, (here, there))| !question.same(here, there));
            for (key, _) in suspects {
                found.extend(self.differs(key, db, question));
            }
        }
        found
    }

    fn differs(&mut self, key: &Vec<u8>, db: u32, question: Question) -> Option<String> {
        let (here, there) = self.ask(std::slice::from_ref(key), question);
        if question.same(&here[0], &there[0]) {
            return None;
        }
        let (here, there) = (question.shown(&here[0]), question.shown(&there[0]));
        let (here, there) = first_difference(&here, &there);
        let (name, here, there) = (key.escape_ascii(), brief(here), brief(there));
        Some(format!(
            "db {db} key \"{name}\" {question:?}: source {here}, target {there}"
        ))
    }

    fn ask(&mut self, keys: &[Vec<u8>], question: Question) -> (Vec<Value>, Vec<Value>) {
        let mut batch = Batch::default();
        keys.iter().for_each(|key| question.put(&mut batch, key));
        let mut same = batch.clone();
        at_once(
            || same.send(&mut self.source).unwrap(),
            || batch.send(&mut self.target).unwrap(),
        )
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
    let text = format!("{value:?}");
    match text.char_indices().nth(400) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// All keys of the selected database but gunyu's own. Reading them makes a master expire what is due.
fn scan(conn: &mut Connection, kind: Option<&str>) -> Vec<Vec<u8>> {
    let (mut keys, mut cursor) = (Vec::new(), "0".to_owned());
    loop {
        let mut cmd = redis::cmd("SCAN");
        cmd.arg(&cursor).arg("COUNT").arg(5_000);
        if let Some(kind) = kind {
            cmd.arg("TYPE").arg(kind);
        }
        let (next, page): (String, Vec<Vec<u8>>) = cmd.query(conn).unwrap();
        keys.extend(page.into_iter().filter(|key| !key.starts_with(OWN_PREFIX)));
        if next == "0" {
            return keys;
        }
        cursor = next;
    }
}

/// Waits for the keys that expire within seconds, so that both sides are still while they are compared.
fn await_what_is_due(source: &Server) {
    let mut conn = source.conn();
    for (db, (_, expiring)) in source.keyspace() {
        if expiring == 0 {
            continue;
        }
        redis::cmd("SELECT").arg(db).exec(&mut conn).unwrap();
        let keys = scan(&mut conn, None);
        let mut due: Vec<Vec<u8>> =
            filter(&mut conn, &keys, |batch, key| put!(batch, "PTTL", key), 0..15_000);
        wait_for(SETTLE, "keys have expired", || {
            due = filter(&mut conn, &due, |batch, key| put!(batch, "EXISTS", key), 1..2);
            if due.is_empty() {
                Ok(())
            } else {
                Err(format!("{} left", due.len()))
            }
        });
    }
}

/// The keys whose answer is a number in `range`.
fn filter(
    conn: &mut Connection,
    keys: &[Vec<u8>],
    question: fn(&mut Batch, &[u8]),
    range: Range<i64>,
) -> Vec<Vec<u8>> {
    let mut kept = Vec::new();
    for keys in keys.chunks(2_000) {
        let mut batch = Batch::default();
        keys.iter().for_each(|key| question(&mut batch, key));
        let answers = batch.must(conn);
        let fits = |answer: &Value| matches!(answer, Value::Int(number) if range.contains(number));
        kept.extend(
            keys.iter()
                .zip(answers)
                .filter(|(_, answer)| fits(answer))
                .map(|(key, _)| key.clone()),
        );
    }
    kept
}

/// Deletes gunyu's checkpoints from every database of `target`.
pub fn delete_own_keys(target: &Server) {
    let mut conn = target.conn();
    let pattern = [OWN_PREFIX, b"*"].concat();
    for db in target.keyspace().into_keys() {
        redis::cmd("SELECT").arg(db).exec(&mut conn).unwrap();
        let mut cmd = redis::cmd("SCAN");
        cmd.cursor_arg(0)
            .arg("MATCH")
            .arg(&pattern)
            .arg("COUNT")
            .arg(5_000);
        let own: Vec<Vec<u8>> = cmd.iter(&mut conn).unwrap().map(Result::unwrap).collect();
        // One by one: on a node of a cluster they are of different slots.
        for key in own {
            redis::cmd("DEL").arg(key).exec(&mut conn).unwrap();
        }
    }
}

fn differing_functions(source: &Server, target: &Server) -> Vec<String> {
    let (here, there) = (functions(source), functions(target));
    let names: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
    let differing = names
        .into_iter()
        .filter(|name| here.get(*name) != there.get(*name));
    differing
        .map(|name| {
            format!(
                "library {name}: source {:?}, target {:?}",
                here.get(name),
                there.get(name)
            )
        })
        .collect()
}

/// The code of each library; none where the server is too old to have any.
fn functions(server: &Server) -> BTreeMap<String, String> {
    if !server.commands().contains("FUNCTION") {
        return BTreeMap::new();
    }
    let libraries: Vec<BTreeMap<String, Value>> = server.run(&["FUNCTION", "LIST", "WITHCODE"]);
    let text = |library: &BTreeMap<String, Value>, field: &str| -> String {
        redis::from_redis_value_ref(&library[field]).unwrap()
    };
    libraries
        .iter()
        .map(|library| (text(library, "library_name"), text(library, "library_code")))
        .collect()
}
