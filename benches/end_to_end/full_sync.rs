//! Full syncs, from nothing until the target is live.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

use bytes::BytesMut;
use gunyu::core::resp;

use crate::meter::Cost;
use crate::side::{Replicas, Shape, Side};
use crate::support::gunyu::Gunyu;
use crate::support::server::Server;
use crate::table::Table;
use crate::{LONG, number, rounds};

/// `GUNYU_BENCH_KEYS` strings; of the other types a tenth as many.
fn keys() -> u64 {
    number("GUNYU_BENCH_KEYS", 2_000_000) as u64
}

pub fn measure(table: &mut Table) {
    let millions = keys() as f64 / 1e6;
    let source = Side::source(Shape::One);
    fill(source.servers()[0], keys(), string);
    let strings = format!("full sync of {millions} M strings of 100 random bytes");
    row(table, &strings, &source, Shape::One);
    row(
        table,
        &format!("{strings}, onto a cluster"),
        &source,
        Shape::Cluster,
    );
    drop(source);
    let source = Side::source(Shape::One);
    fill(source.servers()[0], keys() / 2, mixed);
    big(source.servers()[0]);
    let figure = format!(
        "full sync of {:.1} M keys of mixed types, {BIG} of them with {BIG_ELEMENTS} elements",
        source.keys() as f64 / 1e6
    );
    row(table, &figure, &source, Shape::One);
}

/// Native replication is onto a replica of the source, whatever the target's shape is.
fn row(table: &mut Table, figure: &str, source: &Side, shape: Shape) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds() {
        theirs.push(native(source));
        ours.push(gunyu(source, shape));
    }
    table.push_times(figure, &ours, &theirs, source.keys() as f64);
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
    let began = Instant::now();
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    gunyu.wait_ready(LONG);
    let wall = began.elapsed().as_secs_f64();
    let cost = Cost::so_far(gunyu.stats(), None);
    assert!(target.keys() >= source.keys());
    gunyu.term();
    (wall, cost)
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

fn string(bytes: &mut BytesMut, key: u64, rng: &mut fastrand::Rng) {
    let mut value = [0; 100];
    rng.fill(&mut value);
    resp::encode_command(bytes, &[b"SET", format!("key:{key:012}").as_bytes(), &value]);
}

/// A string; with each tenth a list, hash, sorted set or set of 20 elements beside it.
fn mixed(bytes: &mut BytesMut, key: u64, rng: &mut fastrand::Rng) {
    string(bytes, key, rng);
    if key.is_multiple_of(10) {
        let command = COLLECTIONS[(key / 10 % 4) as usize];
        collection(bytes, command, &format!("{command}:{key:012}"), 20, rng);
    }
}

const COLLECTIONS: [&str; 4] = ["RPUSH", "HSET", "ZADD", "SADD"];

const BIG: usize = 8;
const BIG_ELEMENTS: usize = 200_000;

fn big(server: &Server) {
    fill(server, BIG as u64, |bytes, key, rng| {
        let command = COLLECTIONS[key as usize % 4];
        for _ in 0..BIG_ELEMENTS / 100 {
            collection(bytes, command, &format!("big:{key}"), 100, rng);
        }
    });
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
