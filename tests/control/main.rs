//! The control surface of a running daemon, held to what happens on real servers: pause, resume, restart, full sync, stop, storage.
//!
//! Here is only what the claims share; they are in the files beside this one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod curl;
mod cut;
mod full_sync;
mod mended;
mod pause;
mod restart_stop;
mod sharing;
mod storage;
mod together;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use support::compare::OWN_PREFIX;
use support::workload::{Counters, Options, Seed};
use support::{Gunyu, SOON, Server, assert_equal};

/// The longest that a test waits for data; generous, because other work may share the machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The source's backlog is large enough for whatever happens here.
const BACKLOG: &[&str] = &["--repl-backlog-size", "64mb"];

const MIB: u64 = 1 << 20;

/// Counters at this pace.
fn counting(source: &Server, seed: &Seed, per_second: u64) -> Counters {
    let options = Options {
        per_second: Some(per_second),
        ..Options::default()
    };
    Counters::with(&source.url(), seed, &options)
}

/// A source, a target, and a gunyu between them that is live, with these settings.
fn live(set: &[&str]) -> (Server, Server, Gunyu) {
    let (source, target) = (Server::with(BACKLOG), Server::start());
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), set);
    gunyu.wait_ready(PATIENCE);
    (source, target, gunyu)
}

/// `gunyu sync` of these sources, each to the target address of the same place.
fn sync_args(sources: &[String], targets: &[String], set: &[&str]) -> Vec<String> {
    let mut args = vec![
        "sync".to_owned(),
        format!("--set=input.redis.addresses=[{}]", sources.join(", ")),
        format!("--set=output.redis.addresses=[{}]", targets.join(", ")),
    ];
    args.extend(set.iter().map(|pair| format!("--set={pair}")));
    args
}

/// The object of one input in the status.
#[track_caller]
fn input<'a>(status: &'a Value, addr: &str) -> &'a Value {
    let mut inputs = status.as_array().unwrap().iter();
    inputs
        .find(|one| one["Input"] == addr)
        .unwrap_or_else(|| panic!("no input {addr}: {status}"))
}

/// How many full syncs the source has been asked for.
fn full_syncs(source: &Server) -> u64 {
    source.info("stats")["sync_full"].parse().unwrap()
}

/// The full syncs of one input that this life of gunyu has counted, by reason.
fn counted(gunyu: &Gunyu, addr: &str) -> Vec<(String, u64)> {
    let text = gunyu.metrics();
    let of_input = format!("gunyu_full_sync_total{{input=\"{addr}\"");
    let samples = text.lines().filter(|line| line.starts_with(&of_input));
    let parsed = samples.map(|line| {
        let reason = line.split("reason=\"").nth(1).unwrap().split('"').next().unwrap();
        let count = line.rsplit(' ').next().unwrap().parse().unwrap();
        (reason.to_owned(), count)
    });
    parsed.collect()
}

/// Waits until the input is in this state.
#[track_caller]
fn wait_state(gunyu: &mut Gunyu, addr: &str, state: &str) -> Value {
    let status = gunyu.wait_status(SOON, &format!("{addr} is in state {state}"), |status| {
        input(status, addr)["State"] == state
    });
    input(&status, addr).clone()
}

/// Waits until this input is live and has applied what its source has written so far.
#[track_caller]
fn wait_caught_up(gunyu: &mut Gunyu, source: &Server) {
    let (at, addr) = (source.offset(), source.addr());
    gunyu.wait_status(PATIENCE, &format!("{addr} is caught up to {at}"), |status| {
        let one = input(status, &addr);
        one["Phase"] == "incremental" && one["Offset"]["Applied"].as_u64() >= Some(at)
    });
}

/// Once everything is applied gunyu ends in order, and both sides hold the same.
#[track_caller]
fn end_equal(gunyu: &mut Gunyu, source: &Server, target: &Server) {
    wait_caught_up(gunyu, source);
    assert_eq!(gunyu.term().code(), Some(0), "{}", gunyu.traces());
    assert_equal(source, target);
}

/// The counters stop, everything is applied, and the target holds exactly what was sent.
#[track_caller]
fn end_exact(counters: Counters, gunyu: &mut Gunyu, source: &Server, target: &Server) {
    counters.wait_more(200);
    let expected = counters.stop();
    wait_caught_up(gunyu, source);
    expected.assert_on(source);
    expected.assert_on(target);
}

/// Many small strings in database 0, at once.
fn fill_strings(server: &Server, keys: usize, bytes: usize) {
    let value = "v".repeat(bytes);
    let script = "for i = 1, tonumber(ARGV[1]) do redis.call('SET', 'plain:' .. i, ARGV[2] .. i) end";
    let () = server.run(&["EVAL", script, "0", &keys.to_string(), &value]);
}

/// What a server holds, by database and key: a digest of each value. Without gunyu's own keys.
fn held(server: &Server) -> BTreeMap<(u32, Vec<u8>), String> {
    let (mut conn, mut found) = (server.conn(), BTreeMap::new());
    for db in server.keyspace().into_keys() {
        redis::cmd("SELECT").arg(db).exec(&mut conn).unwrap();
        let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query(&mut conn).unwrap();
        let keys: Vec<Vec<u8>> = keys
            .into_iter()
            .filter(|key| !key.starts_with(OWN_PREFIX))
            .collect();
        for keys in keys.chunks(500) {
            let mut ask = redis::cmd("DEBUG");
            ask.arg("DIGEST-VALUE").arg(keys);
            let digests: Vec<String> = ask.query(&mut conn).unwrap();
            found.extend(keys.iter().map(|key| (db, key.clone())).zip(digests));
        }
    }
    found
}

/// Writes a key into a database.
fn plant(server: &Server, db: u32, key: &str) {
    let mut conn = server.conn();
    redis::cmd("SELECT").arg(db).exec(&mut conn).unwrap();
    redis::cmd("SET").arg(key).arg("planted").exec(&mut conn).unwrap();
}

/// Whether that key is there.
fn has(server: &Server, db: u32, key: &str) -> bool {
    let mut conn = server.conn();
    redis::cmd("SELECT").arg(db).exec(&mut conn).unwrap();
    redis::cmd("EXISTS").arg(key).query::<u64>(&mut conn).unwrap() == 1
}

/// Waits until a full sync is under way with so many keys restored.
#[track_caller]
fn wait_full_sync_at(gunyu: &mut Gunyu, addr: &str, keys: u64) -> Value {
    let status = gunyu.wait_status(PATIENCE, "a full sync is under way", |status| {
        let one = input(status, addr);
        one["Phase"] == "full_sync" && one["FullSync"]["Keys"].as_u64() >= Some(keys)
    });
    input(&status, addr).clone()
}

/// Whether the source has a link to gunyu.
fn is_linked(source: &Server) -> bool {
    source.info("replication")["connected_slaves"] != "0"
}
