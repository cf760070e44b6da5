//! Every type in every encoding that a server has.
//!
//! Owns which those are. Whoever uses it says how to talk to a server: see [`Talk`].

use redis::{RedisResult, Value};

/// A connection to a server whose version is known.
pub trait Talk {
    /// Runs a command.
    fn run(&mut self, words: &[&[u8]]) -> RedisResult<Value>;

    /// Whether the server is at least this version of Redis, or of Valkey.
    fn since(&self, redis: (u32, u32), valkey: (u32, u32)) -> bool;

    /// Runs a command of words without blanks.
    fn say(&mut self, line: &str) -> Value {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        self.run(&words).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// Runs a command of some words and some more.
    fn send(&mut self, prefix: &[&str], more: impl IntoIterator<Item = String>) {
        let more: Vec<String> = more.into_iter().collect();
        let words = prefix.iter().copied().chain(more.iter().map(String::as_str));
        let words: Vec<&[u8]> = words.map(str::as_bytes).collect();
        self.run(&words)
            .unwrap_or_else(|error| panic!("{prefix:?}: {error}"));
    }
}

/// No version of Valkey has it.
const NEVER: (u32, u32) = (u32::MAX, 0);

/// Bytes that LZF cannot shorten.
pub fn noise(len: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| rng.u8(..)).take(len).collect()
}

/// Writes every type in every encoding that this server has, into several databases.
pub fn fill(server: &mut impl Talk) {
    fill_strings(server);
    fill_collections(server, "small", 5, "v");
    fill_collections(server, "large", 700, "v");
    fill_collections(server, "long", 5, &"long value ".repeat(20));
    fill_collections(server, "numbers", 20, "");
    server.say("SADD intset:16 1 2 3 -300");
    server.say("SADD intset:64 1 9223372036854775807");
    // Scores that every version prints alike: digests are made of what is printed.
    server.say("ZADD scores inf a -inf b 1.5 c -0 d 1e100 e 3 f");
    server.say("PFADD hyperloglog a b c");
    if server.since((5, 0), (0, 0)) {
        fill_streams(server);
    }
    if server.since((7, 0), (0, 0)) {
        fill_since_7(server);
    }
    if server.since((7, 4), (9, 0)) {
        server.say("HPEXPIRE hash:small 5000000 FIELDS 2 m1 m2");
        server.say("HPEXPIRE hash:large 5000000 FIELDS 2 m1 m600");
        server.say("HPEXPIRE hash:long 7000000 FIELDS 1 m3");
    }
    server.say("SELECT 3");
    server.say("SET other database");
    server.say("SELECT 9");
    fill_collections(server, "nine", 3, "x");
    server.say("SELECT 0");
    server.say("PEXPIRE hash:small 10000000");
    server.say("PEXPIREAT string:100 1999999999999");
}

fn fill_strings(server: &mut impl Talk) {
    for number in [
        "0",
        "100",
        "-129",
        "70000",
        "-2147483648",
        "2147483648",
        "9223372036854775807",
        "1.5",
    ] {
        server.say(&format!("SET string:{number} {number}"));
        server.say(&format!("SET {number} key"));
    }
    let values: [(&[u8], Vec<u8>); 6] = [
        (b"empty", Vec::new()),
        (b"lzf", b"abcabcabd".repeat(500)),
        (b"noise", noise(20)),
        (b"long noise", noise(300_000)),
        (b"\x00\xff\r\n", b"binary".to_vec()),
        (b"", b"of the empty name".to_vec()),
    ];
    for (key, value) in values {
        server.run(&[b"SET", key, &value]).unwrap();
    }
    server
        .run(&[b"SET", &b"a key so regular ".repeat(10), b"packed name"])
        .unwrap();
}

fn fill_collections(server: &mut impl Talk, name: &str, count: usize, value: &str) {
    let member = |n: usize| {
        if value.is_empty() {
            format!("{}", n * 1000)
        } else {
            format!("m{n}")
        }
    };
    let held = |n: usize| format!("{value}{n}");
    server.send(&["RPUSH", &format!("list:{name}")], (0..count).map(held));
    server.send(
        &["SADD", &format!("set:{name}")],
        (0..count).map(|n| member(n) + value),
    );
    let pairs = (0..count).flat_map(|n| [member(n), held(n)]);
    server.send(&["HMSET", &format!("hash:{name}")], pairs);
    let scored = (0..count).flat_map(|n| [format!("{}.25", n * 7), member(n) + value]);
    server.send(&["ZADD", &format!("zset:{name}")], scored);
}

fn fill_streams(server: &mut impl Talk) {
    for n in 1..=300 {
        let fields = if n % 3 == 0 { "a 1" } else { "f1 v1 f2 v2" };
        server.say(&format!("XADD stream {n}-{n} {fields}"));
    }
    server.say("XADD stream:bare 5-1 a b");
    server.say("XGROUP CREATE stream g1 0");
    server.say("XGROUP CREATE stream g2 150-0");
    server.say("XGROUP CREATE stream nobody $");
    server.say("XREADGROUP GROUP g1 alice COUNT 90 STREAMS stream >");
    server.say("XREADGROUP GROUP g1 bob COUNT 30 STREAMS stream >");
    server.say("XREADGROUP GROUP g2 carol COUNT 3 NOACK STREAMS stream >");
    server.say("XACK stream g1 5-5 91-91");
    server.say("XDEL stream 1-1 40-40 300-300");
    if server.since((8, 6), NEVER) {
        server.say("XADD stream:idmp IDMP producer one * a b");
        server.say("XADD stream:idmp IDMP producer two * a b");
        server.say("XADD stream:idmp IDMP another one * a b");
    }
}

fn fill_since_7(server: &mut impl Talk) {
    server.say("DEBUG QUICKLIST-PACKED-THRESHOLD 300b");
    server.send(
        &["RPUSH", "list:plain", "small"],
        ["p".repeat(1000), "end".into()],
    );
    for library in ["one", "two"] {
        let code = format!("redis.register_function('f_{library}', function() return 1 end)");
        server.send(&["FUNCTION", "LOAD"], [format!("#!lua name={library}\n{code}")]);
    }
    if server.since((7, 0), NEVER)
        && server.run(&[b"COMMAND", b"INFO", b"VADD"]).unwrap() != Value::Array(vec![Value::Nil])
    {
        server.say("VADD vectors VALUES 3 1 0.5 0 a");
        server.say("VADD vectors VALUES 3 0 1 0 b SETATTR {\"x\":1}");
    }
}
