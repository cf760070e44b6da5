//! The log and `resume` against a plain model, through crashes: the process dies or the power goes in the midst of any call
//! to the disk, calls are refused, files are damaged, deleted, put back from older copies.
//!
//! After each opening, what is read is what the source once said at that offset, or an error; what had been appended is
//! there after the death of the process, what had been persisted after a cut of power; and `resume` plans what its table
//! says, on a way on which the target gets each byte once.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, unreachable_pub)] // a helper that fails fails its test

mod model;
mod opened;
mod plan;
mod power;
mod steps;
mod world;

use std::time::{Duration, Instant};

use proptest::test_runner::{Config, RngSeed, TestRunner};

use world::{Ground, World};

/// Runs some cases that follow from a seed.
fn run(ground: &Ground, seed: u64, cases: u32) {
    let config = Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: 4_000,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&steps::case(), |case| {
        World::new(ground, &case).run(&case.steps);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("GUNYU_TEST_SEED={seed}: {error}");
    }
}

/// The seed of the environment, else a new one.
fn seed() -> u64 {
    let given = std::env::var("GUNYU_TEST_SEED").ok();
    given.map_or_else(|| fastrand::u64(..), |text| text.parse().unwrap())
}

#[test]
fn a_log_that_crashes_holds_what_it_promised_and_never_a_wrong_byte() {
    run(&Ground::new(), seed(), 1_500);
}

/// Only where a soak was asked for.
#[test]
fn soak_of_the_log_model() {
    let Ok(minutes) = std::env::var("GUNYU_SOAK_MINUTES") else {
        return;
    };
    let limit = Duration::from_secs_f64(minutes.parse::<f64>().unwrap() * 60.0);
    let (ground, start, mut cases) = (Ground::new(), Instant::now(), 0);
    while start.elapsed() < limit {
        let seed = fastrand::u64(..);
        eprintln!("GUNYU_TEST_SEED={seed}, after {cases} cases");
        run(&ground, seed, 400);
        cases += 400;
    }
    eprintln!("{cases} cases held");
}
