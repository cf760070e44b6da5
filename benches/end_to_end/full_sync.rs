//! Full syncs, from nothing until the target is live.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

use bytes::BytesMut;
use gunyu::core::resp;

use crate::load::Keys;
use crate::meter::Cost;
use crate::results::Results;
use crate::side::{Replicas, Shape, Side, ways};
use crate::support::gunyu::Gunyu;
use crate::support::server::Server;
use crate::table;
use crate::{LONG, number, rounds};

/// `GUNYU_BENCH_KEYS` strings; of the other types a tenth as many.
fn keys() -> u64 {
    number("GUNYU_BENCH_KEYS", 2_000_000) as u64
}

pub fn measure(results: &Results) {
    for data in [strings, mixed_types] {
        let mut filled: Option<(Shape, Side, String)> = None;
        for &(from, to, what) in ways() {
            // One source for both ways from it.
            filled = filled.filter(|(shape, ..)| *shape == from);
            let (_, source, figure) = filled.get_or_insert_with(|| {
                let source = Side::source(from);
                let figure = data(&source);
                (from, source, figure)
            });
            row(results, &format!("{figure}{what}"), source, to);
        }
    }
}

/// Fills a source; what the row is called.
fn strings(source: &Side) -> String {
    fill_side(source, keys(), string);
    let millions = keys() as f64 / 1e6;
    format!("full sync of {millions} M strings of 100 random bytes")
}

fn mixed_types(source: &Side) -> String {
    fill_side(source, keys() / 2, mixed);
    big(source);
    // To two digits: the servers of a cluster share all but a few of them.
    format!(
        "full sync of {} M keys of mixed types, {BIG} of them with {} elements",
        (source.keys() as f64 / 1e4).round() / 100.0,
        big_elements()
    )
}

/// Native replication is onto a replica of each of the source's servers, whatever the target's shape is.
fn row(results: &Results, figure: &str, source: &Side, shape: Shape) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds() {
        theirs.push(native(source));
        ours.push(gunyu(source, shape));
    }
    let keys = source.keys() as f64;
    results.put(table::times("full sync", figure, &ours, &theirs, keys));
}

fn native(source: &Side) -> f64 {
    let replicas = Replicas::idle(source);
    let began = Instant::now();
    replicas.follow(source);
    replicas.wait(source, LONG);
    began.elapsed().as_secs_f64()
}

fn gunyu(source: &Side, shape: Shape) -> (f64, Cost) {
    let target = Side::target(shape);
    let before = Cost::of_servers(&source.servers(), &target.servers());
    let began = Instant::now();
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    gunyu.wait_ready(LONG);
    let wall = began.elapsed().as_secs_f64();
    let cost = Cost::so_far(gunyu.stats(), &source.servers(), &target.servers()).since(before);
    assert!(target.keys() >= source.keys());
    gunyu.term();
    (wall, cost)
}

/// Shares so many keys among the servers of a side.
fn fill_side(side: &Side, keys: u64, write: impl Fn(&mut BytesMut, &Keys, u64, &mut fastrand::Rng)) {
    let servers = side.servers();
    for (number, server) in servers.iter().enumerate() {
        let own = Keys::of(number, servers.len());
        fill(server, keys / servers.len() as u64, |bytes, key, rng| {
            write(bytes, &own, key, rng);
        });
    }
}

fn fill(server: &Server, keys: u64, mut write: impl FnMut(&mut BytesMut, u64, &mut fastrand::Rng)) {
    let mut pipe = Command::new("redis-cli")
        .args(["-p", &server.port().to_string(), "--pipe"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = pipe.stdin.take().unwrap();
    let (mut bytes, mut rng) = (BytesMut::new(), fastrand::Rng::with_seed(5));
    for key in 0..keys {
        write(&mut bytes, key, &mut rng);
        if bytes.len() > 1 << 20 || key + 1 == keys {
            out.write_all(&bytes).unwrap();
            bytes.clear();
        }
    }
    drop(out);
    assert!(pipe.wait().unwrap().success());
}

fn string(bytes: &mut BytesMut, keys: &Keys, key: u64, rng: &mut fastrand::Rng) {
    let mut value = [0; 100];
    rng.fill(&mut value);
    let name = keys.name(key as u32, &format!("key:{key:012}"));
    resp::encode_command(bytes, &[b"SET", name.as_bytes(), &value]);
}

/// A string; with each tenth a list, hash, sorted set or set of 20 elements beside it.
fn mixed(bytes: &mut BytesMut, keys: &Keys, key: u64, rng: &mut fastrand::Rng) {
    string(bytes, keys, key, rng);
    if key.is_multiple_of(10) {
        let command = COLLECTIONS[(key / 10 % 4) as usize];
        let name = keys.name(key as u32, &format!("{command}:{key:012}"));
        collection(bytes, command, &name, 20, rng);
    }
}

const COLLECTIONS: [&str; 4] = ["RPUSH", "HSET", "ZADD", "SADD"];

const BIG: usize = 8;

/// A tenth of the strings at most: a trial with few keys has no room for large ones.
fn big_elements() -> usize {
    200_000.min(keys() as usize / 10)
}

/// Shared among the servers of a side.
fn big(side: &Side) {
    let servers = side.servers();
    for (number, server) in servers.iter().enumerate() {
        let own = Keys::of(number, servers.len());
        let keys = (0..BIG).filter(|key| key % servers.len() == number);
        let keys: Vec<usize> = keys.collect();
        fill(server, keys.len() as u64, |bytes, nth, rng| {
            let key = keys[nth as usize];
            let (command, name) = (COLLECTIONS[key % 4], own.name(0, &format!("big:{key}")));
            for _ in 0..big_elements() / 100 {
                collection(bytes, command, &name, 100, rng);
            }
        });
    }
}

fn collection(bytes: &mut BytesMut, command: &str, name: &str, elements: usize, rng: &mut fastrand::Rng) {
    let mut args = vec![command.to_owned(), name.to_owned()];
    for _ in 0..elements {
        match command {
            "HSET" => args.push(format!("{:x}", rng.u64(..))),
            "ZADD" => args.push(rng.u32(..).to_string()),
            _ => {}
        }
        args.push(format!("{:x}", rng.u64(..)));
    }
    let args: Vec<&[u8]> = args.iter().map(String::as_bytes).collect();
    resp::encode_command(bytes, &args);
}
