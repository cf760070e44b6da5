//! Every call is safe against the others: a storm of them, drawn from a seed, while writes go on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::restart_stop::STOP_LIMIT;
use super::support::workload::{Fill, Seed, Writers};
use super::support::{Gunyu, SOON, Server, at_this_load, http};
use super::{BACKLOG, PATIENCE, counting, end_equal};

const CALLS: &[(&str, &str, u32)] = &[
    ("POST", "/syncer/pause?inputs=all", 3),
    ("POST", "/syncer/resume?inputs=all", 6),
    ("POST", "/syncer/restart", 3),
    ("POST", "/syncer/fullsync?inputs=all", 3),
    ("POST", "/syncer/fullsync?inputs=all&flushdb=yes", 3),
    ("GET", "/storage/gc", 2),
    ("GET", "/storage/rdb", 2),
    ("GET", "/syncer/status", 4),
    ("GET", "/prometheus", 1),
    ("GET", "/syncer/config", 1),
    ("POST", "/syncer/handover?inputs=all", 1),
];

fn draw(rng: &mut fastrand::Rng) -> (&'static str, &'static str) {
    let total: u32 = CALLS.iter().map(|(_, _, weight)| weight).sum();
    let mut at = rng.u32(..total);
    for (method, path, weight) in CALLS {
        match at.checked_sub(*weight) {
            Some(rest) => at = rest,
            None => return (method, path),
        }
    }
    unreachable!("drawn below the sum of the weights")
}

/// Whether a call may be answered so, in a storm.
///
/// | call | codes |
/// | --- | --- |
/// | any | 200 |
/// | a full sync | 409 while paused; 500 where a pause came between asking and beginning |
/// | the snapshot | 404 while there is none |
/// | handover | 409 |
fn may_be_answered(path: &str, code: u16, text: &str) -> bool {
    match code {
        200 => true,
        409 => path.contains("fullsync") || path.contains("handover"),
        404 => path.contains("rdb"),
        500 => path.contains("fullsync") && text.contains("paused"),
        _ => false,
    }
}

struct Storm {
    source: Server,
    target: Server,
    gunyu: Gunyu,
}

impl Storm {
    fn start(seed: &Seed, settings: &[&str]) -> Storm {
        let (source, target) = (Server::with(BACKLOG), Server::start());
        Fill::lasting(300).run(&source, seed);
        let mut gunyu = Gunyu::start(&source.url(), &target.url(), settings);
        gunyu.wait_ready(PATIENCE);
        Storm {
            source,
            target,
            gunyu,
        }
    }

    #[track_caller]
    fn end(mut self) {
        self.gunyu.must("POST", "/syncer/resume?inputs=all");
        self.gunyu.wait_ready(PATIENCE);
        // A library that the source deleted in a part of the stream for which a full sync stood in stays on the target; by the stream it goes.
        let () = self.source.run(&["FUNCTION", "FLUSH"]);
        end_equal(&mut self.gunyu, &self.source, &self.target);
    }
}

#[track_caller]
fn assert_survives_a_storm(settings: &[&str], calls_each: u32) {
    let seed = Seed::pick();
    let storm = Storm::start(&seed, settings);
    let counters = counting(&storm.source, &seed, 500);
    let writers = Writers::with(
        &storm.source,
        &storm.source.url(),
        &seed,
        &super::Options {
            threads: 1,
            per_second: Some(1500),
        },
    );
    let gunyu = &storm.gunyu;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let mut rng = seed.rng(0x5702 + thread);
            scope.spawn(move || {
                for _ in 0..calls_each {
                    let (method, path) = draw(&mut rng);
                    let answer = gunyu.call(method, path);
                    let text = answer.text();
                    assert!(
                        may_be_answered(path, answer.status, &text),
                        "{method} {path}: {} {text}\n{}",
                        answer.status,
                        gunyu.traces()
                    );
                }
            });
        }
    });
    drop((counters.stop(), writers.stop()));
    storm.end();
}

#[test]
fn a_storm_of_calls_ends_in_an_equal_copy() {
    assert_survives_a_storm(&["output.replay.rateLimit.opsPerSec=4000"], 150);
}

#[test]
fn a_storm_of_calls_ends_in_an_equal_copy_with_a_log_in_memory() {
    assert_survives_a_storm(&["channel.type=memory"], 100);
}

/// Says that it is over when it is dropped, where the test panics too.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_stop_in_the_midst_of_a_storm_ends_with_0_and_the_next_life_is_equal() {
    let seed = Seed::pick();
    let mut storm = Storm::start(&seed, &[]);
    let counters = counting(&storm.source, &seed, 500);
    for round in 0..2 {
        let (over, calls) = (AtomicBool::new(false), AtomicU64::new(0));
        let addr = storm.gunyu.http();
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let mut rng = seed.rng(0xDE1E + 10 * round + thread);
                let (over, calls) = (&over, &calls);
                scope.spawn(move || {
                    while !over.load(Ordering::SeqCst) {
                        let (method, path) = draw(&mut rng);
                        // Once it is stopping, anything may be answered, or nothing.
                        drop(http::send(addr, method, path, &[]));
                        calls.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            // Else those that call would go on for ever where something fails here.
            let ending = Ending(&over);
            super::support::wait_until(SOON, "the storm rages", || calls.load(Ordering::SeqCst) > 40);
            let began = std::time::Instant::now();
            let answer = storm.gunyu.call("DELETE", "/");
            let code = storm.gunyu.wait_end(SOON).code();
            drop(ending);
            let took = began.elapsed();
            assert_eq!((answer.status, code), (200, Some(0)), "{}", storm.gunyu.traces());
            assert!(took < at_this_load(STOP_LIMIT), "{took:?}");
        });
        storm.gunyu.restart();
        storm.gunyu.wait_status(SOON, "it is up again", |_| true);
    }
    drop(counters.stop());
    storm.end();
}
