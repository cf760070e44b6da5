//! Between two servers with a sync at work and writers that never rest.

use super::support::gunyu::Gunyu;
use super::support::server::Server;
use super::support::typed::since;
use super::support::versions;
use super::support::workload::{Fill, Options, Seed, Writers};
use super::{PATIENCE, Toggling, tell, verify};

/// A source with keys of every type and those in which differences are planted, and a target that follows it.
fn followed() -> (Server, Server, Gunyu, Seed) {
    let (source, target, seed) = (Server::start(), Server::start(), Seed::pick());
    Fill::keys(3_000).run(&source, &seed);
    for db in [0, 5] {
        tell(&source, db, PLANTED_IN);
    }
    let mut gunyu = Gunyu::between(&source, &target);
    gunyu.wait_applied(&source, PATIENCE);
    (source, target, gunyu, seed)
}

const PLANTED_IN: &[&[&str]] = &[
    &["SET", "planted:missing", "x"],
    &["SET", "planted:type", "x"],
    &["RPUSH", "planted:length", "a", "b", "c"],
    &["SET", "planted:later", "x", "EX", "10000"],
    &["SET", "planted:expires", "x", "EX", "10000"],
    &["SET", "planted:lasts", "x"],
    &["SET", "planted:within", "x", "EX", "10000"],
    &["SET", "planted:text", "abc"],
    &["RPUSH", "planted:list", "a", "b"],
    &["SADD", "planted:set", "a", "1"],
    &["ZADD", "planted:zset", "1", "a", "2", "b"],
    &["HSET", "planted:hash", "a", "1", "b", "2"],
    &["XADD", "planted:entry", "1-1", "a", "b"],
    &["XADD", "planted:group", "1-1", "a", "b"],
    &["XGROUP", "CREATE", "planted:group", "g", "0"],
    &[
        "EVAL",
        BIG,
        "6",
        "planted:bigtext",
        "planted:biglist",
        "planted:bigset",
        "planted:bigzset",
        "planted:bighash",
        "planted:bigstream",
    ],
];

/// Values of more than a mebibyte, and long ones that a server keeps otherwise than short ones.
const BIG: &str = "redis.call('SET', KEYS[1], string.rep('x', 3000000)) \
    local long = string.rep('y', 100) \
    for n = 1, 15000 do \
    redis.call('RPUSH', KEYS[2], n .. long) redis.call('SADD', KEYS[3], n .. long) \
    redis.call('ZADD', KEYS[4], n / 3, n .. long) redis.call('HSET', KEYS[5], n .. long, n) \
    redis.call('XADD', KEYS[6], n .. '-1', 'field', n .. long) end";

const PLANTED: &[&[&str]] = &[
    &["DEL", "planted:missing"],
    &["SET", "planted:extra", "x"],
    &["DEL", "planted:type"],
    &["SADD", "planted:type", "x"],
    &["RPUSH", "planted:length", "d"],
    &["EXPIRE", "planted:later", "10100"],
    &["PERSIST", "planted:expires"],
    &["EXPIRE", "planted:lasts", "10000"],
];

fn expected() -> Vec<(u64, &'static str, &'static str)> {
    let each = |db| {
        [
            (db, "planted:missing", "missing"),
            (db, "planted:extra", "extra"),
            (db, "planted:type", "type"),
            (db, "planted:length", "length"),
            (db, "planted:later", "ttl"),
            (db, "planted:expires", "ttl"),
            (db, "planted:lasts", "ttl"),
        ]
    };
    [each(0), each(5)].concat()
}

/// Of the same length as before, each of them.
const PLANTED_VALUES: &[&[&str]] = &[
    &["SET", "planted:text", "abd"],
    &["LSET", "planted:list", "0", "c"],
    &["SREM", "planted:set", "a"],
    &["SADD", "planted:set", "b"],
    &["ZADD", "planted:zset", "1.5", "a"],
    &["HSET", "planted:hash", "b", "3"],
    &["DEL", "planted:entry"],
    &["XADD", "planted:entry", "1-1", "a", "c"],
    &[
        "XREADGROUP",
        "GROUP",
        "g",
        "consumer",
        "STREAMS",
        "planted:group",
        ">",
    ],
    &["SETRANGE", "planted:bigtext", "2999999", "z"],
    &["LSET", "planted:biglist", "-1", "z"],
    &[
        "EVAL",
        "redis.call('SREM', KEYS[1], 9000 .. string.rep('y', 100)) redis.call('SADD', KEYS[1], 'z')",
        "1",
        "planted:bigset",
    ],
    &[
        "EVAL",
        "redis.call('ZADD', KEYS[1], 0.25, 9000 .. string.rep('y', 100))",
        "1",
        "planted:bigzset",
    ],
    &[
        "EVAL",
        "redis.call('HSET', KEYS[1], 9000 .. string.rep('y', 100), 'z')",
        "1",
        "planted:bighash",
    ],
    &["XGROUP", "CREATE", "planted:bigstream", "g", "0"],
];

const VALUES: [&str; 13] = [
    "planted:text",
    "planted:list",
    "planted:set",
    "planted:zset",
    "planted:hash",
    "planted:entry",
    "planted:group",
    "planted:bigtext",
    "planted:biglist",
    "planted:bigset",
    "planted:bigzset",
    "planted:bighash",
    "planted:bigstream",
];

fn write(source: &Server, seed: &Seed) -> Writers {
    let options = Options {
        threads: 2,
        per_second: Some(4_000),
    };
    Writers::with(source, &source.url(), seed, &options)
}

#[test]
fn planted_differences_are_found_and_none_is_invented_while_writers_write() {
    let (source, target, _gunyu, seed) = followed();
    let (writers, _toggling) = (write(&source, &seed), Toggling::start(&source));
    writers.wait_more(2_000);
    let before = verify(&source.url(), &target.url(), &[]);
    before.found_only(&[]);
    assert_eq!(before.json["followed"], true, "{}", before.said);
    for db in [0, 5] {
        tell(&target, db, PLANTED);
    }
    verify(&source.url(), &target.url(), &[]).found_only(&expected());
    let only_types: Vec<_> = expected()
        .into_iter()
        .filter(|(_, _, kind)| *kind != "length")
        .collect();
    verify(&source.url(), &target.url(), &["--compare", "type"]).found_only(&only_types);
    let only_there: Vec<_> = expected()
        .into_iter()
        .filter(|(_, _, kind)| ["missing", "extra"].contains(kind))
        .collect();
    verify(&source.url(), &target.url(), &["--compare", "existence"]).found_only(&only_there);
    writers.stop();
}

#[test]
fn one_element_of_a_value_is_found_large_or_small_and_none_is_invented_while_writers_write() {
    let (source, target, _gunyu, seed) = followed();
    let (writers, _toggling) = (write(&source, &seed), Toggling::start(&source));
    writers.wait_more(2_000);
    verify(&source.url(), &target.url(), &["--compare", "value"]).found_only(&[]);
    for db in [0, 5] {
        tell(&target, db, PLANTED_VALUES);
    }
    let values = [0, 5].map(|db| VALUES.map(|key| (db, key, "value"))).concat();
    verify(&source.url(), &target.url(), &["--compare", "value"]).found_only(&values);
    verify(&source.url(), &target.url(), &[]).found_only(&[]);
    writers.stop();
}

#[test]
fn a_field_that_expires_at_another_time_is_found_large_hash_or_small() {
    for (_, binary) in versions() {
        if !since(&binary, (7, 4), (9, 0)) {
            continue;
        }
        let (source, target) = (Server::of(&binary, &[]), Server::of(&binary, &[]));
        let big = "for n = 1, 15000 do redis.call('HSET', KEYS[1], n .. string.rep('y', 100), n) end \
            redis.call('HPEXPIRE', KEYS[1], 1000000, 'FIELDS', 1, 7 .. string.rep('y', 100))";
        let commands: [&[&str]; 6] = [
            &["HSET", "small", "a", "1", "b", "2"],
            &["HPEXPIRE", "small", "1000000", "FIELDS", "1", "a"],
            &["HSET", "same", "a", "1", "b", "2"],
            &["HPEXPIRE", "same", "1000000", "FIELDS", "1", "a"],
            &["EVAL", big, "1", "big"],
            &["EVAL", big, "1", "same big"],
        ];
        tell(&source, 0, &commands);
        let mut gunyu = Gunyu::between(&source, &target);
        gunyu.wait_applied(&source, PATIENCE);
        verify(&source.url(), &target.url(), &["--compare", "value"]).found_only(&[]);
        let other = "redis.call('HPEXPIRE', KEYS[1], 2000000, 'FIELDS', 1, 7 .. string.rep('y', 100))";
        tell(
            &target,
            0,
            &[
                &["HPERSIST", "small", "FIELDS", "1", "a"],
                &["EVAL", other, "1", "big"],
            ],
        );
        verify(&source.url(), &target.url(), &["--compare", "value"])
            .found_only(&[(0, "small", "field_ttl"), (0, "big", "field_ttl")]);
    }
}
