//! Between two servers with a sync at work and writers that never rest.

use super::support::gunyu::Gunyu;
use super::support::server::Server;
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
];

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
