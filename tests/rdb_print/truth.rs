//! What is printed of a server's snapshot is what the server itself answers, key by key, whatever the encoding.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use redis::{Value, from_redis_value_ref};
use serde_json::Value as Json;

use super::contents::{Talker, encodings_of, fill_more, set_thresholds};
use super::support::encodings::{self, Talk};
use super::support::{self, Binary, Server};
use super::{bytes_of, lines};

#[test]
fn everything_is_printed_as_the_installed_server_answers() {
    check(&Binary::installed());
}

#[test]
fn everything_is_printed_as_every_other_server_answers() {
    let servers = support::matrix();
    if servers.is_empty() {
        return crate::support::skipped("GUNYU_TEST_SERVERS names no folder with servers");
    }
    let left = Mutex::new(servers.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((label, binary)) = { left.lock().unwrap().next() } {
                    println!("{label}");
                    check(&binary);
                }
            });
        }
    });
}

/// Both extremes of the thresholds, each with everything in it.
fn check(binary: &Binary) {
    let mut seen = BTreeSet::new();
    for is_low in [true, false] {
        let server = Server::of(binary, &[]);
        let mut talker = Talker::to(&server);
        set_thresholds(&mut talker, is_low);
        encodings::fill(&mut talker);
        fill_more(&mut talker);
        seen.extend(check_snapshot(&server, &mut talker));
    }
    assert_eq!(seen, encodings_of(binary), "{binary:?}");
}
/// The snapshot against the server; gives the encodings that were seen.
fn check_snapshot(server: &Server, talker: &mut Talker<'_>) -> BTreeSet<(String, String)> {
    let rdb = server.snapshot();
    let printed = lines(&rdb, &[""; 0]);
    let text = String::from_utf8(super::run(&rdb, &[""; 0]).stdout).unwrap();
    let (mut keys, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for (line, raw) in printed.iter().zip(text.lines()) {
        let Some(db) = line.get("db") else { continue };
        let key = bytes_of(&line["key"]);
        talker.say(&format!("SELECT {db}"));
        let mut asked = Asked {
            talker,
            key: &key,
            line,
            raw,
        };
        asked.check();
        let word = |name: &str| line[name].as_str().unwrap().to_owned();
        seen.insert((word("type"), word("encoding")));
        assert!(keys.insert((db.as_u64().unwrap(), key)), "twice: {raw}");
    }
    assert_eq!(keys, all_keys(server));
    check_beside(&printed, talker);
    seen
}

fn all_keys(server: &Server) -> BTreeSet<(u64, Vec<u8>)> {
    let (mut conn, mut found) = (server.conn(), BTreeSet::new());
    for db in server.keyspace().into_keys() {
        redis::cmd("SELECT").arg(db).exec(&mut conn).unwrap();
        let keys = redis::cmd("SCAN").cursor_arg(0).arg("COUNT").arg(1_000).clone();
        let keys = keys.iter::<Vec<u8>>(&mut conn).unwrap();
        found.extend(keys.map(|key| (u64::from(db), key.unwrap())));
    }
    found
}

/// What is not a key: the version, and the libraries.
fn check_beside(printed: &[Json], talker: &mut Talker<'_>) {
    let of = |name: &str| {
        printed
            .iter()
            .filter(|line| line["type"] == name && line.get("db").is_none())
            .collect::<Vec<_>>()
    };
    if talker.since((3, 2), (0, 0)) {
        let said: Vec<_> = of("aux")
            .iter()
            .map(|line| line["key"].as_str().unwrap())
            .collect();
        assert!(
            said.iter().any(|key| key.ends_with("-ver")) && said.contains(&"ctime"),
            "{said:?}"
        );
    }
    let mut code: Vec<_> = of("function")
        .iter()
        .map(|line| bytes_of(&line["code"]))
        .collect();
    code.sort();
    let mut expected: Vec<Vec<u8>> = Vec::new();
    if talker.since((7, 0), (0, 0)) {
        for library in array(&talker.say("FUNCTION LIST WITHCODE")) {
            expected.push(text(&record(library)["library_code"]));
        }
        assert_eq!(expected.len(), 2);
    }
    expected.sort();
    assert_eq!(code, expected);
    let beside = of("aux").len() + of("function").len() + of("module_aux").len();
    let keys = printed.iter().filter(|line| line.get("db").is_some()).count();
    assert_eq!(beside + keys, printed.len(), "nothing else is printed");
}

/// A line, and whom to ask about it.
struct Asked<'a, 'b> {
    talker: &'a mut Talker<'b>,
    key: &'a [u8],
    line: &'a Json,
    raw: &'a str,
}

impl Asked<'_, '_> {
    fn ask(&mut self, verb: &str, more: &[&[u8]]) -> Value {
        let words = [&[verb.as_bytes(), self.key], more].concat();
        self.talker
            .run(&words)
            .unwrap_or_else(|error| panic!("{verb}: {error}: {}", self.shown()))
    }

    fn shown(&self) -> String {
        self.raw.chars().take(500).collect()
    }

    fn flat(&mut self, verb: &str, more: &[&[u8]]) -> Vec<Vec<u8>> {
        from_redis_value_ref(&self.ask(verb, more)).unwrap()
    }

    fn value(&self) -> &Json {
        &self.line["value"]
    }

    fn items(&self) -> Vec<Vec<u8>> {
        self.value().as_array().unwrap().iter().map(bytes_of).collect()
    }

    fn check(&mut self) {
        self.check_expiry();
        let object: String = from_redis_value_ref(&self.ask("TYPE", &[])).unwrap();
        let said = self.line["type"].as_str().unwrap();
        if said == "module" {
            assert!(
                object == "vectorset" && self.line["module"].is_string(),
                "{}",
                self.shown()
            );
            assert!(self.value()["base64"].is_string());
            return;
        }
        assert_eq!(said, object);
        match said {
            "string" => assert_eq!(
                bytes_of(self.value()),
                text(&self.ask("GET", &[])),
                "{}",
                self.shown()
            ),
            "list" => assert_eq!(
                self.items(),
                self.flat("LRANGE", &[b"0", b"-1"]),
                "{}",
                self.shown()
            ),
            "set" => self.check_set(),
            "zset" => self.check_zset(),
            "hash" => self.check_hash(),
            "stream" => self.check_stream(),
            other => panic!("{other}"),
        }
    }

    fn check_expiry(&mut self) {
        let printed = self.line["ttl_ms"].as_i64();
        if self.talker.since((7, 0), (0, 0)) {
            let at: i64 = from_redis_value_ref(&self.ask("PEXPIRETIME", &[])).unwrap();
            assert_eq!(printed, (at >= 0).then_some(at), "{}", self.shown());
            return;
        }
        let before = self.now_ms();
        let left: i64 = from_redis_value_ref(&self.ask("PTTL", &[])).unwrap();
        let after = self.now_ms();
        match printed {
            None => assert_eq!(left, -1, "{}", self.shown()),
            // The server's clock stands still within a command, and may be a tick behind.
            Some(at) => assert!(
                (before + left - 100..=after + left + 100).contains(&at),
                "{}",
                self.shown()
            ),
        }
    }

    fn now_ms(&mut self) -> i64 {
        let (secs, micros): (i64, i64) = from_redis_value_ref(&self.talker.say("TIME")).unwrap();
        secs * 1000 + micros / 1000
    }

    fn check_set(&mut self) {
        let (mut printed, mut held) = (self.items(), self.flat("SMEMBERS", &[]));
        printed.sort();
        held.sort();
        assert_eq!(printed, held, "{}", self.shown());
    }

    /// Scores bit by bit: as they stand in the line, since a parser may round.
    fn check_zset(&mut self) {
        let members = self.value().as_array().unwrap().clone();
        let held = self.flat("ZRANGE", &[b"0", b"-1", b"WITHSCORES"]);
        assert_eq!(members.len(), held.len() / 2);
        let mut scores = BTreeMap::new();
        for pair in &members {
            let before = format!("[{},", pair[0]);
            let from = self
                .raw
                .find(&before)
                .unwrap_or_else(|| panic!("{before}: {}", self.shown()))
                + before.len();
            let text = self.raw[from..].split(']').next().unwrap().trim_matches('"');
            scores.insert(bytes_of(&pair[0]), text.parse::<f64>().unwrap());
        }
        for pair in held.chunks(2) {
            let score: f64 = std::str::from_utf8(&pair[1]).unwrap().parse().unwrap();
            // Some versions answer with 17 digits, which may be another double's by the last bit; none forgets the sign of 0.
            assert_eq!(scores[&pair[0]], score, "{}", self.shown());
        }
    }

    fn check_hash(&mut self) {
        let pairs = pairs(self.value());
        let held = self.flat("HGETALL", &[]);
        let held: BTreeMap<_, _> = held
            .chunks(2)
            .map(|pair| (pair[0].clone(), pair[1].clone()))
            .collect();
        let printed = pairs.iter().map(|(name, value)| (name.clone(), bytes_of(value)));
        assert_eq!(printed.collect::<BTreeMap<_, _>>(), held, "{}", self.shown());
        assert_eq!(pairs.len(), held.len(), "{}", self.shown());
        let mut expected = BTreeMap::new();
        if self.talker.since((7, 4), (9, 0)) {
            let count = held.len().to_string();
            let mut more: Vec<&[u8]> = vec![b"FIELDS", count.as_bytes()];
            more.extend(held.keys().map(|name| &name[..]));
            let times: Vec<i64> = from_redis_value_ref(&self.ask("HPEXPIRETIME", &more)).unwrap();
            expected.extend(held.keys().cloned().zip(times).filter(|(_, at)| *at >= 0));
        }
        let printed: BTreeMap<_, _> = match self.line.get("field_ttl_ms") {
            Some(times) => self::pairs(times)
                .into_iter()
                .map(|(name, at)| (name, at.as_i64().unwrap()))
                .collect(),
            None => BTreeMap::new(),
        };
        assert_eq!(printed, expected, "{}", self.shown());
        // Pairs only where an object cannot be.
        let is_text = held.keys().all(|name| std::str::from_utf8(name).is_ok());
        assert_eq!(self.value().is_object(), is_text, "{}", self.shown());
    }

    fn check_stream(&mut self) {
        let held = self.ask("XRANGE", &[b"-", b"+"]);
        let held: Vec<(String, Vec<Vec<u8>>)> = from_redis_value_ref(&held).unwrap();
        let printed = self.value()["entries"].as_array().unwrap().iter().map(|entry| {
            let fields = pairs(&entry["fields"])
                .into_iter()
                .flat_map(|(name, value)| [name, bytes_of(&value)]);
            (
                entry["id"].as_str().unwrap().to_owned(),
                fields.collect::<Vec<_>>(),
            )
        });
        let sorted = |(id, fields): (String, Vec<Vec<u8>>)| {
            let mut pairs: Vec<_> = fields.chunks(2).map(<[Vec<u8>]>::to_vec).collect();
            pairs.sort();
            (id, pairs)
        };
        let (printed, held): (Vec<_>, Vec<_>) = (
            printed.map(sorted).collect(),
            held.into_iter().map(sorted).collect(),
        );
        assert_eq!(printed, held, "{}", self.shown());
        match self.talker.since((6, 0), (0, 0)) {
            true => self.check_full(),
            false => self.check_groups(),
        }
    }

    /// `XINFO STREAM … FULL`: everything but the radix tree.
    fn check_full(&mut self) {
        let words: [&[u8]; 6] = [b"XINFO", b"STREAM", self.key, b"FULL", b"COUNT", b"0"];
        let full = record(&self.talker.run(&words).unwrap());
        let value = self.value().clone();
        same(&value["length"], &full["length"]);
        same(&value["last_id"], &full["last-generated-id"]);
        if self.talker.since((7, 0), (0, 0)) {
            same(&value["max_deleted_id"], &full["max-deleted-entry-id"]);
            same(&value["entries_added"], &full["entries-added"]);
            same(&value["first_id"], &full["recorded-first-entry-id"]);
        }
        assert_eq!(
            value.get("idempotence").is_some(),
            self.talker.since((8, 6), (u32::MAX, 0))
        );
        if value.get("idempotence").is_some() {
            let secs = &full["idmp-duration"];
            same(&value["idempotence"]["duration_secs"], secs);
            same(&value["idempotence"]["ids_max"], &full["idmp-maxsize"]);
            let producers: BTreeSet<_> = value["producers"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["producer"].to_string())
                .collect();
            same(&producers.len().into(), &full["pids-tracked"]);
            same(
                &value["producers"].as_array().unwrap().len().into(),
                &full["iids-tracked"],
            );
        }
        let groups = array(&full["groups"]);
        let printed = value["groups"].as_array().unwrap();
        assert_eq!(printed.len(), groups.len(), "{}", self.shown());
        for group in groups {
            let group = record(group);
            let name = text(&group["name"]);
            let printed = printed.iter().find(|one| bytes_of(&one["name"]) == name).unwrap();
            check_group(printed, &group);
        }
    }

    /// Redis 5: times are only told as idle times.
    fn check_groups(&mut self) {
        let groups = self.talker.run(&[b"XINFO", b"GROUPS", self.key]).unwrap();
        let value = self.value().clone();
        let printed = value["groups"].as_array().unwrap();
        assert_eq!(printed.len(), array(&groups).len());
        for group in array(&groups) {
            let group = record(group);
            let name = text(&group["name"]);
            let printed = printed.iter().find(|one| bytes_of(&one["name"]) == name).unwrap();
            same(&printed["last_id"], &group["last-delivered-id"]);
            let held = self.ask("XPENDING", &[&name, b"-", b"+", b"100000"]);
            let owners = owners(printed);
            let held = array(&held).iter().map(|one| {
                let (id, whose, _, count) = from_redis_value_ref::<(String, Vec<u8>, i64, i64)>(one).unwrap();
                assert_eq!(owners[&id], whose);
                (id, count)
            });
            let pending = printed["pending"].as_array().unwrap().iter();
            let pending = pending.map(|one| {
                (
                    one["id"].as_str().unwrap().to_owned(),
                    one["deliveries"].as_i64().unwrap(),
                )
            });
            assert_eq!(pending.collect::<Vec<_>>(), held.collect::<Vec<_>>());
            same(
                &printed["consumers"].as_array().unwrap().len().into(),
                &group["consumers"],
            );
        }
    }
}

/// A group as it is printed, and as `XINFO STREAM … FULL` has it.
#[track_caller]
fn check_group(printed: &Json, group: &BTreeMap<String, Value>) {
    same(&printed["last_id"], &group["last-delivered-id"]);
    if let Some(read) = group.get("entries-read") {
        same(&printed["entries_read"], read);
    }
    let held = group.get("pel").or_else(|| group.get("pending")).unwrap();
    let owners = owners(printed);
    let pending = printed["pending"].as_array().unwrap();
    assert_eq!(pending.len(), array(held).len());
    for (printed, held) in pending.iter().zip(array(held)) {
        let (id, whose, at, count) = from_redis_value_ref::<(String, Vec<u8>, i64, i64)>(held).unwrap();
        assert_eq!(
            (printed["id"].as_str().unwrap(), &owners[&id]),
            (id.as_str(), &whose)
        );
        let numbers = (printed["delivered_ms"].as_i64(), printed["deliveries"].as_i64());
        assert_eq!(numbers, (Some(at), Some(count)), "{printed}");
    }
    assert_eq!(owners.len(), pending.len(), "each is owned by one");
    let consumers = array(&group["consumers"]);
    assert_eq!(printed["consumers"].as_array().unwrap().len(), consumers.len());
    for held in consumers {
        let held = record(held);
        let name = text(&held["name"]);
        let printed = printed["consumers"].as_array().unwrap().iter();
        let printed = printed
            .clone()
            .find(|one| bytes_of(&one["name"]) == name)
            .unwrap();
        same(&printed["seen_ms"], &held["seen-time"]);
        match held.get("active-time") {
            Some(Value::Int(-1)) | None => assert_eq!(printed["active_ms"], Json::Null),
            Some(at) => same(&printed["active_ms"], at),
        }
    }
}

/// Who has which pending entry.
fn owners(group: &Json) -> BTreeMap<String, Vec<u8>> {
    let consumers = group["consumers"].as_array().unwrap().iter();
    let owned = consumers.flat_map(|consumer| {
        let name = bytes_of(&consumer["name"]);
        let ids = consumer["pending"].as_array().unwrap().iter();
        ids.map(move |id| (id.as_str().unwrap().to_owned(), name.clone()))
    });
    owned.collect()
}

/// A number, an id or nothing, as printed and as answered.
#[track_caller]
fn same(printed: &Json, answered: &Value) {
    let expected = match answered {
        Value::Int(number) => Json::from(*number),
        Value::Nil => Json::Null,
        other => Json::from(String::from_utf8(text(other)).unwrap()),
    };
    assert_eq!(*printed, expected);
}

/// An object, or an array of pairs.
fn pairs(json: &Json) -> Vec<(Vec<u8>, Json)> {
    match json {
        Json::Object(object) => {
            let pairs = object.iter();
            pairs
                .map(|(name, value)| (name.clone().into_bytes(), value.clone()))
                .collect()
        }
        Json::Array(pairs) => pairs
            .iter()
            .map(|pair| (bytes_of(&pair[0]), pair[1].clone()))
            .collect(),
        other => panic!("no pairs: {other}"),
    }
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
