//! The target stood still for a while, and the source did not.

use std::time::{Duration, Instant};

use crate::load::Steady;
use crate::meter::Cost;
use crate::side::{Replicas, Shape, Side, wait_applied};
use crate::support::gunyu::Gunyu;
use crate::table::Table;
use crate::{LONG, number, rounds};

const PER_SECOND: u64 = 20_000;

/// `GUNYU_BENCH_STILL_SECS`.
fn still() -> Duration {
    Duration::from_secs(number("GUNYU_BENCH_STILL_SECS", 30) as u64)
}

pub fn measure(table: &mut Table) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds() {
        theirs.push(native());
        ours.push(gunyu());
    }
    let seconds = still().as_secs();
    let figure = format!("catching up after the target stood still for {seconds} s at {PER_SECOND} writes/s");
    table.push_times(&figure, &ours, &theirs, (PER_SECOND * seconds) as f64);
}

/// Writes while the other side stands still.
fn write(source: &Side) {
    let load = Steady::start(source.servers()[0], PER_SECOND);
    std::thread::sleep(still());
    drop(load);
}

fn native() -> f64 {
    let source = Side::source(Shape::One);
    let mut replicas = Replicas::of(&source);
    replicas.servers()[0].sigstop();
    write(&source);
    replicas.servers()[0].sigcont();
    let began = Instant::now();
    replicas.wait(&source, LONG);
    began.elapsed().as_secs_f64()
}

fn gunyu() -> (f64, Cost) {
    let (source, mut target) = (Side::source(Shape::One), Side::target(Shape::One));
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    gunyu.wait_ready(LONG);
    let before = Cost::so_far(gunyu.stats(), Some((&source, &target)));
    target.signal(libc::SIGSTOP);
    write(&source);
    target.signal(libc::SIGCONT);
    let began = Instant::now();
    wait_applied(&mut gunyu, &source);
    let wall = began.elapsed().as_secs_f64();
    let cost = Cost::so_far(gunyu.stats(), Some((&source, &target))).since(before);
    gunyu.term();
    (wall, cost)
}
