//! Whether two servers of different versions hold the same: types, values, times of expiry, streams with all that hangs on them.
//!
//! A digest depends on how a version prints and packs a value, so each value is read element by element, and scores are compared as
//! numbers. What one of the two versions cannot hold at all is left out: see [`Common`].

use std::collections::{BTreeMap, BTreeSet};

use redis::{Connection, Value, from_redis_value_ref};

use super::compare::OWN_PREFIX;
use super::server::{Binary, Server};

/// Two times of expiry differ by less, where one is counted from when it was asked or sent.
const TOLERANCE_MS: i64 = 20_000;

/// What a server holds under a key.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// What it is.
    pub value: Typed,
    /// When it expires.
    pub expires_ms: Option<i64>,
}

/// A value as it is read, whatever its encoding.
#[derive(Debug, Clone, PartialEq)]
pub enum Typed {
    Text(Vec<u8>),
    List(Vec<Vec<u8>>),
    Set(BTreeSet<Vec<u8>>),
    Scores(BTreeMap<Vec<u8>, f64>),
    /// Each with its time of expiry.
    Fields(BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>),
    Stream(Box<Stream>),
    /// A module's, by the name of its type.
    Other(String),
}

/// A stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    entries: Vec<Value>,
    /// What it knows of itself.
    about: BTreeMap<String, String>,
    groups: BTreeMap<Vec<u8>, Group>,
}

/// A group of a stream.
#[derive(Debug, Clone, PartialEq)]
struct Group {
    about: BTreeMap<String, String>,
    /// By entry: whose, when and how often it was delivered.
    pending: BTreeMap<String, (Vec<u8>, i64, i64)>,
    consumers: BTreeSet<Vec<u8>>,
}

/// What two servers have in common.
#[derive(Debug, Clone, Copy)]
struct Common {
    field_expiry: bool,
    functions: bool,
    /// `PEXPIRETIME`: otherwise times of expiry are compared with a tolerance.
    absolute: bool,
    /// `XINFO STREAM … FULL`: otherwise times of delivery are compared with a tolerance.
    full: bool,
    /// What streams count since 7.0.
    counts: bool,
    /// What streams keep of producers since 8.6.
    producers: bool,
}

impl Common {
    fn of(one: &Binary, other: &Binary) -> Common {
        let both = |redis, valkey| since(one, redis, valkey) && since(other, redis, valkey);
        Common {
            field_expiry: both((7, 4), (9, 0)),
            functions: both((7, 0), (0, 0)),
            absolute: both((7, 0), (0, 0)),
            full: both((6, 0), (0, 0)),
            counts: both((7, 0), (0, 0)),
            producers: both((8, 6), (u32::MAX, 0)),
        }
    }
}

/// Whether it is at least this version of Redis, or of Valkey.
pub fn since(binary: &Binary, redis: (u32, u32), valkey: (u32, u32)) -> bool {
    let (major, minor, _) = binary.version;
    (major, minor)
        >= match binary.product.as_str() {
            "valkey" => valkey,
            _ => redis,
        }
}

/// Says what differs, a line each; keys that `leave_out` names do not count.
pub fn differences(source: &Server, target: &Server, leave_out: impl Fn(&[u8]) -> bool) -> Vec<String> {
    let common = Common::of(source.binary(), target.binary());
    let mut found = differing(
        &contents(source, common),
        &contents(target, common),
        common,
        leave_out,
    );
    if common.functions {
        let (one, other) = (functions(source), functions(target));
        (one != other).then(|| found.push(format!("functions: source {one:?}, target {other:?}")));
    }
    found
}

/// The same of the keys of a cluster, whose masters hold a part each.
pub fn differences_on_cluster(source: &Server, masters: &[Server]) -> Vec<String> {
    let common = Common::of(source.binary(), masters[0].binary());
    let parts = masters.iter().flat_map(|master| contents(master, common));
    differing(&contents(source, common), &parts.collect(), common, |_| false)
}

fn differing(
    here: &BTreeMap<(u32, Vec<u8>), Held>,
    there: &BTreeMap<(u32, Vec<u8>), Held>,
    common: Common,
    leave_out: impl Fn(&[u8]) -> bool,
) -> Vec<String> {
    let keys: BTreeSet<_> = here.keys().chain(there.keys()).collect();
    let mut found = Vec::new();
    for key in keys.into_iter().filter(|(_, key)| !leave_out(key)) {
        let (one, other) = (here.get(key), there.get(key));
        if !alike(one, other, common) {
            let (one, other) = (brief(one), brief(other));
            found.push(format!(
                "db {} {}: source {one}\n      target {other}",
                key.0,
                key.1.escape_ascii()
            ));
        }
    }
    found
}

/// What the server holds under a key of database 0.
pub fn held(server: &Server, key: &[u8]) -> Option<Held> {
    let common = Common::of(server.binary(), server.binary());
    Reader {
        conn: &mut server.conn(),
        common,
        now_ms: 0,
    }
    .held(key)
}

fn alike(one: Option<&Held>, other: Option<&Held>, common: Common) -> bool {
    let (Some(one), Some(other)) = (one, other) else {
        return one.is_none() && other.is_none();
    };
    let near = |one: i64, other: i64| one == other || !common.absolute && (one - other).abs() < TOLERANCE_MS;
    let expires = match (one.expires_ms, other.expires_ms) {
        (Some(one), Some(other)) => near(one, other),
        (one, other) => one == other,
    };
    let value = match (&one.value, &other.value) {
        (Typed::Stream(one), Typed::Stream(other)) if !common.full => one.is_near(other),
        (one, other) => one == other,
    };
    expires && value
}

impl Stream {
    /// The same but for times, which were asked one after the other.
    fn is_near(&self, other: &Stream) -> bool {
        let timeless = |stream: &Stream| {
            let mut stream = stream.clone();
            let groups = stream.groups.values_mut();
            groups
                .flat_map(|group| group.pending.values_mut())
                .for_each(|one| one.1 = 0);
            stream
        };
        let times = |stream: &Stream| -> Vec<i64> {
            let groups = stream.groups.values();
            groups
                .flat_map(|group| group.pending.values())
                .map(|one| one.1)
                .collect()
        };
        let (one, two) = (times(self), times(other));
        timeless(self) == timeless(other)
            && one
                .iter()
                .zip(&two)
                .all(|(one, other)| (one - other).abs() < TOLERANCE_MS)
    }
}

fn brief(held: Option<&Held>) -> String {
    let text = format!("{held:?}");
    match text.char_indices().nth(1500) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn contents(server: &Server, common: Common) -> BTreeMap<(u32, Vec<u8>), Held> {
    let (mut conn, mut found) = (server.conn(), BTreeMap::new());
    for db in server.keyspace().into_keys() {
        redis::cmd("SELECT").arg(db).exec(&mut conn).unwrap();
        let keys = scan(&mut conn);
        let (secs, micros): (i64, i64) = redis::cmd("TIME").query(&mut conn).unwrap();
        let mut reader = Reader {
            conn: &mut conn,
            common,
            now_ms: secs * 1000 + micros / 1000,
        };
        for key in keys.into_iter().filter(|key| !key.starts_with(OWN_PREFIX)) {
            if let Some(held) = reader.held(&key) {
                found.insert((db, key), held);
            }
        }
    }
    found
}

/// `KEYS *` does not show the empty name on 2.8.
fn scan(conn: &mut Connection) -> Vec<Vec<u8>> {
    let keys = redis::cmd("SCAN").cursor_arg(0).arg("COUNT").arg(1_000).clone();
    let keys: BTreeSet<Vec<u8>> = keys.iter(conn).unwrap().map(Result::unwrap).collect();
    keys.into_iter().collect()
}

/// Reads values of the selected database.
struct Reader<'a> {
    conn: &'a mut Connection,
    common: Common,
    /// The server's clock when the reading began.
    now_ms: i64,
}

impl Reader<'_> {
    fn ask(&mut self, command: &[&[u8]]) -> Value {
        let mut cmd = redis::cmd(std::str::from_utf8(command[0]).unwrap());
        cmd.arg(&command[1..]);
        let shown = || {
            command
                .iter()
                .map(|word| word.escape_ascii().to_string())
                .collect::<Vec<_>>()
        };
        cmd.query(self.conn)
            .unwrap_or_else(|error| panic!("{:?}: {error}", shown()))
    }

    fn flat(&mut self, command: &[&[u8]]) -> Vec<Vec<u8>> {
        from_redis_value_ref(&self.ask(command)).unwrap()
    }

    fn held(&mut self, key: &[u8]) -> Option<Held> {
        let kind: String = from_redis_value_ref(&self.ask(&[b"TYPE", key])).unwrap();
        let value = match kind.as_str() {
            "none" => return None,
            "string" => self.text(key),
            "list" => Typed::List(self.flat(&[b"LRANGE", key, b"0", b"-1"])),
            "set" => Typed::Set(self.flat(&[b"SMEMBERS", key]).into_iter().collect()),
            "zset" => Typed::Scores(self.scores(key)),
            "hash" => Typed::Fields(self.fields(key)),
            "stream" => Typed::Stream(Box::new(self.stream(key))),
            _ => Typed::Other(kind),
        };
        Some(Held {
            value,
            expires_ms: self.expiry(key),
        })
    }

    fn expiry(&mut self, key: &[u8]) -> Option<i64> {
        let verb: &[u8] = if self.common.absolute {
            b"PEXPIRETIME"
        } else {
            b"PTTL"
        };
        let answer: i64 = from_redis_value_ref(&self.ask(&[verb, key])).unwrap();
        match (answer >= 0, self.common.absolute) {
            (false, _) => None,
            (true, true) => Some(answer),
            (true, false) => Some(self.now_ms + answer),
        }
    }

    /// A HyperLogLog caches its count within itself; the count is what counts.
    fn text(&mut self, key: &[u8]) -> Typed {
        let bytes: Vec<u8> = from_redis_value_ref(&self.ask(&[b"GET", key])).unwrap();
        match bytes.starts_with(b"HYLL") {
            true => Typed::Text(format!("{:?}", self.ask(&[b"PFCOUNT", key])).into_bytes()),
            false => Typed::Text(bytes),
        }
    }

    /// -0 is 0, whatever is printed.
    fn scores(&mut self, key: &[u8]) -> BTreeMap<Vec<u8>, f64> {
        let flat = self.flat(&[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"]);
        let score = |text: &[u8]| String::from_utf8_lossy(text).parse::<f64>().unwrap() + 0.0;
        flat.chunks(2)
            .map(|pair| (pair[0].clone(), score(&pair[1])))
            .collect()
    }

    fn fields(&mut self, key: &[u8]) -> BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)> {
        let flat = self.flat(&[b"HGETALL", key]);
        let mut times = vec![-1; flat.len() / 2];
        if self.common.field_expiry && !flat.is_empty() {
            let count = times.len().to_string();
            let mut command: Vec<&[u8]> = vec![b"HPEXPIRETIME", key, b"FIELDS", count.as_bytes()];
            command.extend(flat.chunks(2).map(|pair| &pair[0][..]));
            times = from_redis_value_ref::<Vec<i64>>(&self.ask(&command)).unwrap();
        }
        let pairs = flat.chunks(2).zip(times);
        pairs
            .map(|(pair, at)| (pair[0].clone(), (pair[1].clone(), (at >= 0).then_some(at))))
            .collect()
    }

    fn stream(&mut self, key: &[u8]) -> Stream {
        let entries = self.ask(&[b"XRANGE", key, b"-", b"+"]);
        let entries = from_redis_value_ref(&entries).unwrap();
        if !self.common.full {
            return self.old_stream(key, entries);
        }
        let full = record(&self.ask(&[b"XINFO", b"STREAM", key, b"FULL", b"COUNT", b"0"]));
        let groups = array(&full["groups"]).iter().map(record);
        Stream {
            entries,
            groups: groups
                .map(|group| (text(&group["name"]), self.group(&group)))
                .collect(),
            about: self.about(&full),
        }
    }

    fn group(&self, group: &BTreeMap<String, Value>) -> Group {
        let pending = group.get("pel").or_else(|| group.get("pending"));
        let pending = array(pending.unwrap()).iter().map(|one| {
            let (id, whose, at, count) = from_redis_value_ref::<(String, Vec<u8>, i64, i64)>(one).unwrap();
            (id, (whose, at, count))
        });
        let consumers = array(&group["consumers"]).iter();
        Group {
            about: self.about(group),
            pending: pending.collect(),
            consumers: consumers.map(|one| text(&record(one)["name"])).collect(),
        }
    }

    /// Where there is no `XINFO STREAM … FULL`.
    fn old_stream(&mut self, key: &[u8], entries: Vec<Value>) -> Stream {
        let about = record(&self.ask(&[b"XINFO", b"STREAM", key]));
        let about = BTreeMap::from([("last".to_owned(), shown(&about["last-generated-id"]))]);
        let groups = self.ask(&[b"XINFO", b"GROUPS", key]);
        let groups: Vec<_> = array(&groups).iter().map(record).collect();
        let groups = groups.iter().map(|group| {
            let name = text(&group["name"]);
            let pending = self.ask(&[b"XPENDING", key, &name, b"-", b"+", b"1000000"]);
            let consumers = self.ask(&[b"XINFO", b"CONSUMERS", key, &name]);
            let now_ms = self.now_ms;
            let pending = array(&pending).iter().map(|one| {
                let (id, whose, idle, count) =
                    from_redis_value_ref::<(String, Vec<u8>, i64, i64)>(one).unwrap();
                (id, (whose, now_ms - idle, count))
            });
            let group = Group {
                about: BTreeMap::from([("last".to_owned(), shown(&group["last-delivered-id"]))]),
                pending: pending.collect(),
                consumers: array(&consumers)
                    .iter()
                    .map(|one| text(&record(one)["name"]))
                    .collect(),
            };
            (name, group)
        });
        Stream {
            groups: groups.collect(),
            entries,
            about,
        }
    }

    /// What is plain and means the same to both.
    fn about(&self, fields: &BTreeMap<String, Value>) -> BTreeMap<String, String> {
        const LOCAL: [&str; 2] = ["radix-tree-keys", "radix-tree-nodes"];
        const SINCE_7: [&str; 5] = [
            "max-deleted-entry-id",
            "entries-added",
            "recorded-first-entry-id",
            "entries-read",
            "lag",
        ];
        let plain = fields
            .iter()
            .filter(|(_, value)| !matches!(value, Value::Array(_)));
        let common = plain.filter(|(name, _)| {
            let name = name.as_str();
            !LOCAL.contains(&name)
                && (self.common.producers || !is_of_producers(name))
                && (self.common.counts || !SINCE_7.contains(&name))
        });
        common.map(|(name, value)| (name.clone(), shown(value))).collect()
    }
}

/// Redis since 8.6 knows producers, which must not add twice.
fn is_of_producers(name: &str) -> bool {
    name.starts_with("idmp-") || name.starts_with("pids-") || name.starts_with("iids-")
}

/// Names and values in turn.
fn record(value: &Value) -> BTreeMap<String, Value> {
    let pairs = array(value).chunks(2);
    pairs
        .map(|pair| (String::from_utf8(text(&pair[0])).unwrap(), pair[1].clone()))
        .collect()
}

fn array(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        other => panic!("no array: {other:?}"),
    }
}

fn text(value: &Value) -> Vec<u8> {
    from_redis_value_ref(value).unwrap()
}

fn shown(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => bytes.escape_ascii().to_string(),
        other => format!("{other:?}"),
    }
}

/// The code of each library.
fn functions(server: &Server) -> BTreeMap<String, String> {
    let libraries: Vec<BTreeMap<String, Value>> = server.run(&["FUNCTION", "LIST", "WITHCODE"]);
    let text = |library: &BTreeMap<String, Value>, field: &str| -> String {
        from_redis_value_ref(&library[field]).unwrap()
    };
    libraries
        .iter()
        .map(|library| (text(library, "library_name"), text(library, "library_code")))
        .collect()
}
