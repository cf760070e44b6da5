//! Running cells of a matrix: some at a time, each by its name and with its own seed.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::support::proxy::{Fault, Proxy, Way};
use super::support::workload::Seed;

/// So many cells run at once, of all matrices together.
const AT_ONCE: usize = 3;

/// After so long no new cell is begun, unless all are asked for.
const TIME: Duration = Duration::from_secs(60);

/// At least so many are run, however slow the machine is.
const LEAST: usize = 6;

/// A fault that strikes outside of its phase strikes again, in so many lives altogether.
const ATTEMPTS: u64 = 3;

/// One cell.
pub(super) struct Cell {
    name: String,
    run: Box<dyn Fn(&Seed) -> String + Send + Sync>,
}

impl Cell {
    /// By this name; `run` fails as a test does.
    pub(super) fn new(name: String, run: impl Fn(&Seed) + Send + Sync + 'static) -> Cell {
        let run = move |seed: &Seed| {
            run(seed);
            String::new()
        };
        Cell {
            name,
            run: Box::new(run),
        }
    }

    /// One whose fault is to strike in a phase: `run`, which is told the number of the attempt, says whether it has.
    pub(super) fn striking(name: String, run: impl Fn(&Seed, u64) -> Struck + Send + Sync + 'static) -> Cell {
        let run = move |seed: &Seed| {
            let mut missed = Vec::new();
            for attempt in 0..ATTEMPTS {
                match run(seed, attempt) {
                    Struck::Fired(phase) => return format!(", fired in {phase}{}", after(&missed)),
                    Struck::ByHand(phase) => return format!(", struck by hand in {phase}{}", after(&missed)),
                    Struck::Missed(how) => missed.push(how),
                }
            }
            panic!("the fault did not strike in its phase: {missed:?}")
        };
        Cell {
            name,
            run: Box::new(run),
        }
    }
}

fn after(missed: &[String]) -> String {
    match missed.len() {
        0 => String::new(),
        lives => format!(" ({lives} lives before: {})", missed.join("; ")),
    }
}

/// How a fault has struck.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Struck {
    /// By its fuse, in the midst of what passed in this phase.
    Fired(String),
    /// In this phase, between whatever passed.
    ByHand(String),
    /// After its phase, or before, or it had nothing to strike.
    Missed(String),
}

/// What was the case when a fuse burnt through; asked by the proxy, right before it strikes.
#[derive(Debug, Clone, Default)]
pub(super) struct Witness(Arc<Mutex<Option<Result<(), String>>>>);

impl Witness {
    /// Arms the proxy; `phase` says what speaks against the phase, if anything does.
    pub(super) fn arm(
        proxy: &Proxy,
        fuse: (Fault, Way, u64),
        phase: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) -> Witness {
        let witness = Witness::default();
        let tell = witness.clone();
        proxy.arm_before(fuse, move || *lock(&tell.0) = Some(phase()));
        witness
    }

    /// Whether it has burnt through, and how that was.
    pub(super) fn struck(&self, phase: &str) -> Option<Struck> {
        let told = lock(&self.0).clone();
        told.map(|told| match told {
            Ok(()) => Struck::Fired(phase.to_owned()),
            Err(how) => Struck::Missed(how),
        })
    }
}

static RUNNING: Mutex<usize> = Mutex::new(0);
static CHANGED: Condvar = Condvar::new();

struct Turn;

impl Turn {
    fn take() -> Turn {
        let running = CHANGED.wait_while(lock(&RUNNING), |running| *running >= AT_ONCE);
        *running.unwrap_or_else(PoisonError::into_inner) += 1;
        Turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *lock(&RUNNING) -= 1;
        CHANGED.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn is_full_size() -> bool {
    std::env::var_os("GUNYU_FULL").is_some_and(|value| value == "1")
}

/// Runs cells, and fails with the names of those that failed.
#[track_caller]
pub(super) fn run(matrix: &str, cells: Vec<Cell>) {
    let asked = std::env::var("GUNYU_CELL").ok();
    let mut cells: Vec<Cell> = cells
        .into_iter()
        .filter(|cell| asked.as_ref().is_none_or(|asked| cell.name.contains(asked)))
        .collect();
    let seed = Seed::pick();
    seed.rng(0xCE11).shuffle(&mut cells);
    let count = cells.len();
    let takes_all = is_full_size() || asked.is_some();
    let (begun, queue, failed) = (
        Instant::now(),
        Mutex::new(VecDeque::from(cells)),
        Mutex::new(Vec::new()),
    );
    std::thread::scope(|scope| {
        // Where they share their time, none is to starve another.
        for _ in 0..if takes_all { AT_ONCE } else { 1 } {
            scope.spawn(|| {
                loop {
                    let _turn = Turn::take();
                    let next = {
                        let mut queue = lock(&queue);
                        let has_time = takes_all || begun.elapsed() < TIME || count - queue.len() < LEAST;
                        if has_time { queue.pop_front() } else { None }
                    };
                    let Some(cell) = next else { return };
                    let since = Instant::now();
                    let ran = catch_unwind(AssertUnwindSafe(|| (cell.run)(&seed)));
                    let told = ran
                        .as_ref()
                        .map_or("FAILED".to_owned(), |told| format!("well{told}"));
                    println!("{matrix} {}: {told}, after {:.1?}", cell.name, since.elapsed());
                    if ran.is_err() {
                        lock(&failed).push(cell.name);
                    }
                }
            });
        }
    });
    let failed = lock(&failed);
    println!(
        "{matrix}: {} of {count} cells were run",
        count - lock(&queue).len()
    );
    assert!(
        failed.is_empty(),
        "{} cells of the {matrix} failed: {failed:?}; GUNYU_CELL=name runs one",
        failed.len()
    );
}
