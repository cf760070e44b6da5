//! Whether cost grows linearly: the same per command with more data, more pipelines, many prefixes to filter by and many databases.

use std::time::Instant;

use crate::live::{self, Writer, commands};
use crate::load::{self, Keys, Kind, Link};
use crate::meter::Cost;
use crate::side::{Shape, Side, wait_applied};
use crate::support::gunyu::Gunyu;
use crate::support::server::Server;
use crate::table::Table;
use crate::{LONG, rounds};

const PIPELINES: usize = 16;
const PREFIXES: usize = 10_000;
const DATABASES: u64 = 200;

pub fn measure(table: &mut Table) {
    let count = commands();
    let sets = Writer::Own(Kind::Sets);
    let one = |count, args: &[&str]| live::gunyu(Shape::One, Shape::One, sets, count, args);
    let folder = tempfile::tempdir().unwrap();
    let filtered = folder.path().join("filtered.yaml");
    std::fs::write(&filtered, many_prefixes()).unwrap();
    let filtered = format!("--config={}", filtered.display());
    let mut row = |what: &str, count: u64, round: &dyn Fn() -> (f64, Cost)| {
        let ours: Vec<_> = (0..rounds()).map(|_| round()).collect();
        table.push_times(&format!("scaling: {what}"), &ours, &[], count as f64);
    };
    row("a tenth of it", count / 10, &|| one(count / 10, &[]));
    row("all of it", count, &|| one(count, &[]));
    row("five times of it", count * 5, &|| one(count * 5, &[]));
    row(&format!("{PREFIXES} prefixes that are left out"), count, &|| {
        one(count, &[&filtered])
    });
    row(&format!("{DATABASES} databases in turn"), count, &|| {
        databases(count)
    });
    row(&format!("{PIPELINES} pipelines"), count, &|| pipelines(count));
}

/// No command line is that long.
fn many_prefixes() -> String {
    let prefixes = (0..PREFIXES).map(|n| format!("        - \"other:{n:05}:\"\n"));
    let prefixes: String = prefixes.collect();
    format!("output:\n  filter:\n    keyFilter:\n      prefixKeyBlacklist:\n{prefixes}")
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
    let before = Cost::so_far(gunyu.stats(), Some((&source, &target)));
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
    let cost = Cost::so_far(gunyu.stats(), Some((&source, &target))).since(before);
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
    let (before, began) = (Cost::so_far(gunyu.stats(), None), Instant::now());
    std::thread::scope(|scope| {
        for source in &sources {
            scope.spawn(|| load::write(source, Kind::Sets, count / PIPELINES as u64));
        }
    });
    for source in &sources {
        wait_applied(&mut gunyu, source);
    }
    let wall = began.elapsed().as_secs_f64();
    let cost = Cost::so_far(gunyu.stats(), None).since(before);
    gunyu.term();
    (wall, cost)
}
