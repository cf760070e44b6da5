//! Whether cost grows linearly: the same per command with more data, more pipelines, many prefixes to filter by and many databases.

use std::time::Instant;

use crate::live::{self, Writer, commands};
use crate::load::{self, Keys, Kind, Link};
use crate::meter::Cost;
use crate::results::Results;
use crate::side::{Shape, Side, wait_applied};
use crate::support::gunyu::Gunyu;
use crate::support::server::Server;
use crate::{LONG, rounds, table};

const PIPELINES: usize = 16;
const PREFIXES: usize = 10_000;
const DATABASES: u64 = 200;

pub fn measure(results: &Results) {
    // Of `GUNYU_BENCH_COMMANDS` half are the whole: with the default a tenth of a million, a million, five millions.
    let whole = commands() / 2;
    let sets = Writer::Own(Kind::Sets);
    let one = |count, args: &[&str]| live::gunyu(Shape::One, Shape::One, sets, count, args);
    let folder = tempfile::tempdir().unwrap();
    let filter = |list: &str, prefix: fn(usize) -> String| {
        let file = folder.path().join(format!("{list}.yaml"));
        std::fs::write(&file, many_prefixes(list, prefix)).unwrap();
        format!("--config={}", file.display())
    };
    let deny = filter("prefixKeyBlacklist", |n| format!("k{n:05}:"));
    let allow = filter("prefixKeyWhitelist", |n| format!("k0{n:04}"));
    let row = |what: &str, count: u64, round: &dyn Fn() -> (f64, Cost)| {
        let ours: Vec<_> = (0..rounds()).map(|_| round()).collect();
        let figure = format!("scaling: {} M 64-byte SETs{what}", count as f64 / 1e6);
        results.put(table::times("scaling", &figure, &ours, &[], count as f64));
    };
    for count in [whole / 10, whole, whole * 5] {
        row("", count, &|| one(count, &[]));
    }
    let denied = format!(", {PREFIXES} prefixes left out that none of the keys has to its end");
    row(&denied, whole, &|| one(whole, &[&deny]));
    let allowed = format!(", {PREFIXES} prefixes let through, one of them each key's");
    row(&allowed, whole, &|| one(whole, &[&allow]));
    let turns = format!(", {DATABASES} databases in turn");
    row(&turns, whole, &|| databases(whole));
    row(&format!(", {PIPELINES} pipelines"), whole, &|| pipelines(whole));
}

/// A configuration with a list of prefixes; no command line is that long. The keys are `k0000000` to `k0999999`, and whatever of a prefix is a letter or a digit begins some
/// of them, so that none is told apart by its first byte.
fn many_prefixes(list: &str, prefix: fn(usize) -> String) -> String {
    let prefixes = (0..PREFIXES).map(|n| format!("        - \"{}\"\n", prefix(n)));
    let prefixes: String = prefixes.collect();
    format!("output:\n  filter:\n    keyFilter:\n      {list}:\n{prefixes}")
}

/// Each block of commands goes to the next database.
fn databases(count: u64) -> (f64, Cost) {
    let options = ["--databases", "256"];
    let (source, target) = (
        Side::One(Box::new(Server::with(&options))),
        Side::One(Box::new(Server::with(&options))),
    );
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    gunyu.wait_ready(LONG);
    let before = Cost::so_far(gunyu.stats(), &source.servers(), &target.servers());
    let began = Instant::now();
    let (mut link, keys) = (Link::open(source.servers()[0]), Keys::of(0, 1));
    for block in 0..count / 64 {
        let db = (block % DATABASES).to_string();
        link.line(&format!("*2\r\n$6\r\nSELECT\r\n${}\r\n{db}\r\n", db.len()));
        link.commands(Kind::Sets, &keys, 64);
        link.wait_room(1_024);
    }
    link.wait_room(0);
    wait_applied(&mut gunyu, &source);
    let wall = began.elapsed().as_secs_f64();
    let cost = Cost::so_far(gunyu.stats(), &source.servers(), &target.servers()).since(before);
    gunyu.term();
    (wall, cost)
}

/// As many sources and targets, one gunyu.
fn pipelines(count: u64) -> (f64, Cost) {
    let side = |_: usize| Side::source(Shape::One);
    let (sources, targets): (Vec<Side>, Vec<Side>) = (
        (0..PIPELINES).map(side).collect(),
        (0..PIPELINES).map(side).collect(),
    );
    let addresses = |sides: &[Side]| -> String {
        let all = sides.iter().map(|side| side.servers()[0].addr());
        all.collect::<Vec<_>>().join(",")
    };
    let set = [
        format!("input.redis.addresses=[{}]", addresses(&sources)),
        format!("output.redis.addresses=[{}]", addresses(&targets)),
    ];
    let mut args = vec!["sync".to_owned()];
    args.extend(set.iter().map(|pair| format!("--set={pair}")));
    let mut gunyu = Gunyu::with_args(args, &[]);
    gunyu.wait_ready(LONG);
    let so_far = |gunyu: &Gunyu| Cost::so_far(gunyu.stats(), &servers(&sources), &servers(&targets));
    let (before, began) = (so_far(&gunyu), Instant::now());
    std::thread::scope(|scope| {
        for source in &sources {
            scope.spawn(|| load::write(source, Kind::Sets, count / PIPELINES as u64));
        }
    });
    for source in &sources {
        wait_applied(&mut gunyu, source);
    }
    let wall = began.elapsed().as_secs_f64();
    let cost = so_far(&gunyu).since(before);
    gunyu.term();
    (wall, cost)
}

fn servers(sides: &[Side]) -> Vec<&Server> {
    sides.iter().flat_map(Side::servers).collect()
}
