//! Samples, and the rows of them.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::results::{Results, Row};

pub const SAMPLES: usize = 21;

/// A sample takes at least so long, so that the clock and the loop around it do not count.
const SAMPLE: Duration = Duration::from_millis(8);

/// So long the caches and the processor's predictions get before the first sample.
const WARM_UP: Duration = Duration::from_millis(60);

/// What one round deals with.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// None where bytes say nothing.
    pub bytes: Option<usize>,
    pub items: usize,
    /// What an item is.
    pub item: &'static str,
}

/// Where figures go.
#[derive(Debug)]
pub struct Sheet {
    only: Option<String>,
    results: Results,
}

impl Sheet {
    /// Of all figures, or of those with `only` in their names.
    pub fn new(only: Option<String>) -> Sheet {
        Sheet {
            only,
            results: Results::open(),
        }
    }

    /// Whether the figure is asked for.
    pub fn wants(&self, figure: &str) -> bool {
        self.only
            .as_ref()
            .is_none_or(|only| figure.contains(only.as_str()))
    }

    /// Measures a round of work on this thread.
    pub fn measure<R>(&mut self, figure: &str, work: Work, mut round: impl FnMut() -> R) {
        if !self.wants(figure) {
            return;
        }
        let rounds = calibrate(&mut round);
        let samples = (0..SAMPLES).map(|_| {
            let begin = thread_time();
            for _ in 0..rounds {
                black_box(round());
            }
            (thread_time() - begin).as_secs_f64() / f64::from(rounds)
        });
        let samples = samples.collect();
        self.record(figure, work, samples);
    }

    /// Takes a figure whose rounds took so many seconds each.
    pub fn record(&mut self, figure: &str, work: Work, mut samples: Vec<f64>) {
        samples.sort_by(f64::total_cmp);
        let at = |share: usize| samples[(samples.len() - 1) * share / 4];
        let median = at(2);
        let row = Row::of("micro", figure)
            .maybe("gb_per_s", work.bytes.map(|bytes| bytes as f64 / median / 1e9))
            .number("ns_per_item", median * 1e9 / work.items as f64)
            .text("item", work.item)
            .number("spread_percent", (at(3) - at(1)) / median * 100.0);
        self.results.put(row);
    }
}

/// Warms up; how many rounds make a sample.
fn calibrate<R>(round: &mut impl FnMut() -> R) -> u32 {
    let begin = thread_time();
    let mut rounds = 0_u32;
    let spent = loop {
        black_box(round());
        rounds += 1;
        let spent = thread_time() - begin;
        if spent >= WARM_UP {
            break spent;
        }
    };
    let each = spent.as_secs_f64() / f64::from(rounds);
    (SAMPLE.as_secs_f64() / each).ceil() as u32
}

/// The processor's time for this thread so far.
#[allow(unsafe_code)] // a system call that nothing else makes
fn thread_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a timespec of ours.
    let outcome = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(outcome, 0, "this system tells no thread's time");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// How long `round` takes by the clock on the wall.
pub fn wall_time<R>(round: impl FnOnce() -> R) -> f64 {
    let begin = Instant::now();
    black_box(round());
    begin.elapsed().as_secs_f64()
}
