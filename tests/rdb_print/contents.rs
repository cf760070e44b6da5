//! What a server is filled with, how its thresholds are forced, and which encodings there must be then.

use std::collections::BTreeSet;

use redis::{Connection, RedisResult, Value, from_redis_value_ref};

use super::support::encodings::Talk;
use super::support::{Binary, Server, typed};

/// A connection that knows the version.
pub(crate) struct Talker<'a> {
    conn: Connection,
    binary: &'a Binary,
}

impl Talker<'_> {
    pub(crate) fn to(server: &Server) -> Talker<'_> {
        Talker {
            conn: server.conn(),
            binary: server.binary(),
        }
    }
}

impl Talk for Talker<'_> {
    fn run(&mut self, words: &[&[u8]]) -> RedisResult<Value> {
        let mut command = redis::cmd(std::str::from_utf8(words[0]).unwrap());
        command.arg(&words[1..]);
        command.query(&mut self.conn)
    }

    fn since(&self, redis: (u32, u32), valkey: (u32, u32)) -> bool {
        typed::since(self.binary, redis, valkey)
    }
}

const NEVER: (u32, u32) = (u32::MAX, 0);

/// Every threshold that this version knows, as far down or up as it goes.
pub(crate) fn set_thresholds(talker: &mut Talker<'_>, is_low: bool) {
    let mut names = Vec::new();
    for pattern in [
        "*ziplist*",
        "*listpack*",
        "*intset*",
        "stream-node*",
        "list-compress*",
    ] {
        let found = talker.say(&format!("CONFIG GET {pattern}"));
        let flat: Vec<String> = match found {
            Value::Map(pairs) => pairs
                .iter()
                .map(|(name, _)| from_redis_value_ref(name).unwrap())
                .collect(),
            other => from_redis_value_ref::<Vec<String>>(&other)
                .unwrap()
                .into_iter()
                .step_by(2)
                .collect(),
        };
        names.extend(flat);
    }
    assert!(names.len() >= 7, "{names:?}");
    for name in names {
        let value = match (name.as_str(), is_low) {
            ("list-max-ziplist-size" | "list-max-listpack-size", true) => "2",
            ("list-max-ziplist-size" | "list-max-listpack-size", false) => "-5",
            ("list-compress-depth", true) => "1",
            ("list-compress-depth", false) => "0",
            ("stream-node-max-entries", true) => "3",
            ("stream-node-max-entries" | "stream-node-max-bytes", false) => "0",
            ("stream-node-max-bytes", true) => "4096",
            (_, true) => "1",
            (_, false) => "60000",
        };
        talker.say(&format!("CONFIG SET {name} {value}"));
    }
}

/// What tells a careless reader: scores, signs, bytes, times.
pub(crate) fn fill_more(talker: &mut Talker<'_>) {
    talker.say("ZADD odd:scores 1e300 a 0.1 b 5e-324 c 1.7976931348623157e308 d 12345678901234567 e -0 f -inf g inf h 0.30000000000000004 i");
    talker.say("RPUSH odd:numbers -8388608 -32769 8388607 -8388609 127 128 -128 -129 4095 4096 -4096 -4097 00 -0 +1 9223372036854775808");
    talker.say("HMSET odd:hash a -8388608 b -32769 c 2147483648 d -9223372036854775808");
    let odd: [&[u8]; 7] = [
        b"\xff\x00",
        b"",
        b"\"\\/\x08\x0c\n\r\t\x1f\x7f",
        "é\u{2028}\u{1F600}".as_bytes(),
        b"\xed\xa0\x80",
        b"\xc3",
        b"{\"base64\":\"eA==\"}",
    ];
    for (nth, bytes) in odd.into_iter().enumerate() {
        let number = nth.to_string();
        let key = [b"bytes:", bytes].concat();
        talker.run(&[b"SET", &key, bytes]).unwrap();
        talker.run(&[b"RPUSH", b"bytes:list", bytes]).unwrap();
        talker.run(&[b"SADD", b"bytes:set", bytes]).unwrap();
        talker.run(&[b"HSET", b"bytes:fields", bytes, b"v"]).unwrap();
        talker
            .run(&[b"HSET", b"bytes:values", number.as_bytes(), bytes])
            .unwrap();
        talker
            .run(&[b"ZADD", b"bytes:zset", number.as_bytes(), bytes])
            .unwrap();
    }
    if talker.since((7, 4), (9, 0)) {
        talker
            .run(&[
                b"HPEXPIREAT",
                b"bytes:fields",
                b"1999999999999",
                b"FIELDS",
                b"1",
                b"\xff\x00",
            ])
            .unwrap();
    }
    if talker.since((5, 0), (0, 0)) {
        for bytes in odd {
            talker
                .run(&[
                    b"XADD",
                    b"bytes:stream",
                    b"*",
                    bytes,
                    b"1",
                    b"twice",
                    bytes,
                    b"twice",
                    b"2",
                ])
                .unwrap();
        }
        fill_groups(talker);
    }
    talker.say("PEXPIRE list:small 100000000");
    talker.say("SELECT 9");
    talker.say("EXPIREAT hash:nine 1999999999");
    talker.say("SELECT 0");
}

/// Pending entries that are gone, consumers that have nothing, groups of which nobody knows how far they are.
fn fill_groups(talker: &mut Talker<'_>) {
    for n in 1..=40 {
        talker.say(&format!("XADD stream:groups {n}-1 a {n}"));
    }
    talker.say("XGROUP CREATE stream:groups one 0");
    talker.say("XGROUP CREATE stream:groups middle 20-5");
    talker.say("XREADGROUP GROUP one alice COUNT 10 STREAMS stream:groups >");
    talker.say("XREADGROUP GROUP one bob COUNT 10 STREAMS stream:groups >");
    talker.say("XREADGROUP GROUP one idle COUNT 1 STREAMS stream:groups 0");
    talker.say("XCLAIM stream:groups one alice 0 11-1 12-1 RETRYCOUNT 7 TIME 1700000000000");
    talker
        .run(&[b"XGROUP", b"CREATE", b"stream:groups", b"\xff", b"$"])
        .unwrap();
    if talker.since((6, 2), (0, 0)) {
        talker.say("XGROUP CREATECONSUMER stream:groups one never");
    }
    talker.say("XDEL stream:groups 3-1 11-1 15-1 40-1");
    talker.say("XGROUP CREATE stream:made group $ MKSTREAM");
}

/// Which encodings there must be, over both extremes.
pub(crate) fn encodings_of(binary: &Binary) -> BTreeSet<(String, String)> {
    let since = |redis, valkey| typed::since(binary, redis, valkey);
    let packed = if since((7, 0), (0, 0)) {
        "listpack"
    } else {
        "ziplist"
    };
    let mut expected = vec![
        ("string", "string"),
        ("set", "intset"),
        ("set", "hashtable"),
        ("zset", packed),
        ("zset", "skiplist"),
        ("hash", packed),
        ("hash", "hashtable"),
    ];
    match since((3, 2), (0, 0)) {
        true => expected.push(("list", "quicklist")),
        false => expected.extend([("list", "ziplist"), ("list", "linkedlist")]),
    }
    if since((5, 0), (0, 0)) {
        expected.push(("stream", "stream"));
    }
    if since((7, 2), (0, 0)) {
        expected.push(("set", "listpack"));
    }
    if since((7, 4), (9, 0)) {
        expected.push(("hash", "hashtable_ex"));
    }
    if since((7, 4), NEVER) && binary.product == "redis" {
        expected.push(("hash", "listpack_ex"));
    }
    if binary.product == "redis" && since((8, 0), NEVER) {
        expected.push(("module", "module"));
    }
    let owned = |(object, encoding): (&str, &str)| (object.to_owned(), encoding.to_owned());
    expected.into_iter().map(owned).collect()
}
