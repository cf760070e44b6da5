//! Threads that write a random mix until told to stop.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redis::Value;

use super::mix::{WRITES, Write};
use super::{Draw, Seed};
use crate::support::server::{Server, connect};
use crate::support::wire::{Batch, put};
use crate::support::{SOON, wait_until};

/// How to write.
#[derive(Debug, Clone)]
pub struct Options {
    /// So many connections at once.
    pub threads: u64,
    /// All threads together, at most; `None`: as fast as the server answers.
    pub per_second: Option<u64>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            threads: 2,
            per_second: None,
        }
    }
}

/// What came of it.
#[derive(Debug, Default, Clone)]
pub struct Written {
    /// Commands that were answered, refused ones included.
    pub commands: u64,
    /// Refusals by their first word: WRONGTYPE and the like are part of the mix.
    pub refused: BTreeMap<String, u64>,
    /// How often a connection broke.
    pub broken: u64,
}

/// Writers at work. Dropping them stops them too.
#[derive(Debug)]
pub struct Writers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Written>>,
}

#[derive(Debug)]
struct Shared {
    url: Mutex<String>,
    stop: AtomicBool,
    commands: AtomicU64,
}

impl Writers {
    /// Two connections as fast as `server` answers.
    pub fn start(server: &Server, seed: &Seed) -> Writers {
        Writers::with(server, &server.url(), seed, &Options::default())
    }

    /// As told; they write to `url`, which may be a proxy in front of `server`.
    pub fn with(server: &Server, url: &str, seed: &Seed, options: &Options) -> Writers {
        let known = server.commands();
        let mix: Arc<Vec<&Write>> = Arc::new(
            WRITES
                .iter()
                .filter(|write| known.contains(write.needs))
                .collect(),
        );
        let shared = Arc::new(Shared {
            url: Mutex::new(url.to_owned()),
            stop: AtomicBool::new(false),
            commands: AtomicU64::new(0),
        });
        let thread = |number: u64| {
            let draw = Draw(seed.rng(0x3A17 + number));
            let pace = Pace::new(options.per_second.map(|all| all as f64 / options.threads as f64));
            let (mix, shared) = (Arc::clone(&mix), Arc::clone(&shared));
            std::thread::spawn(move || write_on(&mix, draw, pace, &shared))
        };
        let threads = (0..options.threads).map(thread).collect();
        Writers { shared, threads }
    }

    /// From now on they write there (after a failover).
    pub fn move_to(&self, url: &str) {
        url.clone_into(&mut self.shared.url.lock().unwrap());
    }

    /// How many commands have been answered so far.
    pub fn commands(&self) -> u64 {
        self.shared.commands.load(Ordering::SeqCst)
    }

    /// Waits until so many more commands have been answered.
    #[track_caller]
    pub fn wait_more(&self, commands: u64) {
        let goal = self.commands() + commands;
        wait_until(SOON * 4, "the writers have written", || self.commands() >= goal);
    }

    /// Stops them, and says what they did.
    pub fn stop(mut self) -> Written {
        self.shared.stop.store(true, Ordering::SeqCst);
        let all = std::mem::take(&mut self.threads)
            .into_iter()
            .map(|thread| thread.join().unwrap());
        all.fold(Written::default(), |mut sum, one| {
            sum.commands += one.commands;
            sum.broken += one.broken;
            for (word, count) in one.refused {
                *sum.refused.entry(word).or_default() += count;
            }
            sum
        })
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

/// A sleep that took longer than it should is made up for, and no more than that.
const ARREARS_MAX: Duration = Duration::from_millis(100);

/// Holds a writer to a rate: not a wait for anything to happen.
///
/// One that has not come to write for a while, on a machine that is busy, does not make up for it: whoever counts writes counts time.
#[derive(Debug)]
pub struct Pace {
    per_second: Option<f64>,
    start: Instant,
    done: f64,
}

impl Pace {
    /// So many a second; `None`: no limit.
    pub fn new(per_second: Option<f64>) -> Pace {
        Pace {
            per_second,
            start: Instant::now(),
            done: 0.0,
        }
    }

    /// After `count` were done: waits until they are due.
    pub fn spend(&mut self, count: usize) {
        self.done += count as f64;
        if let Some(rate) = self.per_second {
            let (due, now) = (Duration::from_secs_f64(self.done / rate), self.start.elapsed());
            self.start += now.saturating_sub(due + ARREARS_MAX);
            std::thread::sleep(due.saturating_sub(now));
        }
    }
}

fn write_on(mix: &[&Write], mut draw: Draw, mut pace: Pace, shared: &Shared) -> Written {
    let mut written = Written::default();
    let mut conn = None;
    let total = mix.iter().map(|write| write.weight).sum();
    while !shared.stop.load(Ordering::SeqCst) {
        let Some(open) = conn.as_mut() else {
            conn = reconnect(&shared.url.lock().unwrap().clone());
            continue;
        };
        let mut batch = draw_batch(mix, total, &mut draw);
        let commands = batch.commands();
        match batch.send(open) {
            Ok(replies) => {
                written.commands += commands as u64;
                shared.commands.fetch_add(commands as u64, Ordering::SeqCst);
                count_refusals(&replies, &mut written.refused);
            }
            Err(_) => {
                written.broken += 1;
                conn = None;
            }
        }
        pace.spend(commands);
    }
    written
}

/// A new connection, or a short breath: the server may be restarting.
pub fn reconnect(url: &str) -> Option<redis::Connection> {
    let conn = connect(url).ok();
    if conn.is_none() {
        std::thread::sleep(Duration::from_millis(20));
    }
    conn
}

fn draw_batch(mix: &[&Write], total: usize, draw: &mut Draw) -> Batch {
    let mut batch = Batch::default();
    let (count, transaction) = (1 + draw.below(40), draw.one_in(4));
    if transaction {
        put!(batch, "MULTI");
    }
    for _ in 0..count {
        let mut at = draw.below(total);
        let write = mix
            .iter()
            .find(|write| at.checked_sub(write.weight).map(|rest| at = rest).is_none());
        (write.expect("drawn below the sum of the weights").make)(draw, &mut batch);
    }
    if transaction {
        put!(batch, "EXEC");
    }
    batch
}

fn count_refusals(replies: &[Value], refused: &mut BTreeMap<String, u64>) {
    for reply in replies {
        match reply {
            Value::ServerError(error) => *refused.entry(error.code().to_owned()).or_default() += 1,
            Value::Array(inner) => count_refusals(inner, refused),
            _ => {}
        }
    }
}
