//! The target stood still for a while, and the source did not.
//!
//! A native replica and gunyu's target stand still at the same time, behind the same source. Then one goes on until it has caught up, and after that the other; which
//! of them is the first changes from round to round.

use std::time::{Duration, Instant};

use crate::load::Steady;
use crate::meter::Cost;
use crate::results::Results;
use crate::side::{Replicas, Shape, Side, wait_applied, ways};
use crate::support::gunyu::Gunyu;
use crate::table;
use crate::{LONG, number, rounds};

const PER_SECOND: u64 = 20_000;

/// `GUNYU_BENCH_STILL_SECS`.
fn still() -> Duration {
    Duration::from_secs(number("GUNYU_BENCH_STILL_SECS", 30) as u64)
}

pub fn measure(results: &Results) {
    for &(from, to, what) in ways() {
        let (mut ours, mut theirs, mut written) = (Vec::new(), Vec::new(), 0);
        for nth in 0..rounds() {
            let round = round(from, to, nth % 2 == 0);
            ours.push(round.gunyu);
            theirs.push(round.native);
            written = round.commands;
        }
        let seconds = still().as_secs();
        let figure = format!(
            "catching up after the target stood still for {seconds} s at {PER_SECOND} writes/s{what}"
        );
        results.put(table::times("catch-up", &figure, &ours, &theirs, written as f64));
    }
}

struct Round {
    gunyu: (f64, Cost),
    native: f64,
    commands: u64,
}

fn round(from: Shape, to: Shape, native_first: bool) -> Round {
    let (source, mut target) = (Side::source(from), Side::target(to));
    let mut replicas = Replicas::of(&source);
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    gunyu.wait_ready(LONG);
    let before = Cost::so_far(gunyu.stats(), &source.servers(), &target.servers());
    target.signal(libc::SIGSTOP);
    replicas.signal(libc::SIGSTOP);
    let load = Steady::start(&source, PER_SECOND);
    std::thread::sleep(still());
    let commands = load.stop();
    let native = |replicas: &mut Replicas| {
        replicas.signal(libc::SIGCONT);
        let began = Instant::now();
        replicas.wait(&source, LONG);
        began.elapsed().as_secs_f64()
    };
    let first = native_first.then(|| native(&mut replicas));
    target.signal(libc::SIGCONT);
    let began = Instant::now();
    wait_applied(&mut gunyu, &source);
    let wall = began.elapsed().as_secs_f64();
    let cost = Cost::so_far(gunyu.stats(), &source.servers(), &target.servers()).since(before);
    let native = first.unwrap_or_else(|| native(&mut replicas));
    gunyu.term();
    Round {
        gunyu: (wall, cost),
        native,
        commands,
    }
}
