//! The live stream at full speed: until the target, or the native replica, has caught up.

use std::time::Instant;

use crate::load::{self, Kind};
use crate::meter::Cost;
use crate::results::Results;
use crate::side::{Replicas, Shape, Side, wait_applied, ways};
use crate::support::gunyu::Gunyu;
use crate::table;
use crate::{LONG, number, rounds};

/// `GUNYU_BENCH_COMMANDS`.
pub fn commands() -> u64 {
    number("GUNYU_BENCH_COMMANDS", 2_000_000) as u64
}

/// How a source is written to.
#[derive(Debug, Clone, Copy)]
pub enum Writer {
    /// `redis-benchmark -P 64`.
    Benchmark,
    Own(Kind),
}

pub fn measure(results: &Results) {
    let count = commands();
    for &(from, to, way) in ways() {
        // `redis-benchmark` writes to one server.
        let sets = match from {
            Shape::One => Writer::Benchmark,
            Shape::Cluster => Writer::Own(Kind::Sets),
        };
        for (what, writer) in [
            ("64-byte SETs", sets),
            ("SET, INCR, LPUSH, HSET, ZADD", Writer::Own(Kind::Mixed)),
        ] {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for _ in 0..rounds() {
                theirs.push(native(from, writer, count));
                ours.push(gunyu(from, to, writer, count, &[]));
            }
            let figure = format!("live, {} M {what}{way}, until caught up", count as f64 / 1e6);
            results.put(table::times("live", &figure, &ours, &theirs, count as f64));
        }
    }
}

fn native(from: Shape, writer: Writer, count: u64) -> f64 {
    let source = Side::source(from);
    let replicas = Replicas::of(&source);
    let began = Instant::now();
    write(&source, writer, count);
    replicas.wait(&source, LONG);
    began.elapsed().as_secs_f64()
}

/// Asserts in the end that the target has all keys of the source.
pub fn gunyu(from: Shape, to: Shape, writer: Writer, count: u64, args: &[&str]) -> (f64, Cost) {
    let (source, target) = (Side::source(from), Side::target(to));
    let mut all = vec![
        "sync".to_owned(),
        format!("--source={}", source.url()),
        format!("--target={}", target.url()),
    ];
    all.extend(args.iter().map(ToString::to_string));
    let mut gunyu = Gunyu::with_args(all, &[]);
    gunyu.wait_ready(LONG);
    // Connections, tables and buffers are there when it counts.
    write(&source, writer, count / 50);
    wait_applied(&mut gunyu, &source);
    let so_far = |gunyu: &Gunyu| Cost::so_far(gunyu.stats(), &source.servers(), &target.servers());
    let (before, began) = (so_far(&gunyu), Instant::now());
    write(&source, writer, count);
    wait_applied(&mut gunyu, &source);
    let wall = began.elapsed().as_secs_f64();
    let cost = so_far(&gunyu).since(before);
    // And where it stands: on one server a key, on a cluster fences.
    assert!(target.keys() >= source.keys(), "everything arrives");
    gunyu.term();
    (wall, cost)
}

fn write(side: &Side, writer: Writer, count: u64) {
    match writer {
        Writer::Benchmark => load::benchmark(side.servers()[0], count),
        Writer::Own(kind) => load::write(side, kind, count),
    }
}
