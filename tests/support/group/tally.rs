//! Writers whose every write is known, to a source of any shape: INCR of a counter and RPUSH of the next number to a list, in one transaction or singly.
//!
//! The source loses nothing while such a test runs, so every write is answered. In the end each counter is the number of its writes and each
//! list holds their numbers, each once and in order, on both sides.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redis::Value;

use crate::support::fleet::client::Client;
use crate::support::fleet::slot::slot;
use crate::support::fleet::{LONG, Shape};
use crate::support::wait_for;
use crate::support::wire::{Batch, put};
use crate::support::workload::{Draw, Pace, Seed};

/// Threads, and pairs of a counter and a list that each of them has for itself.
const THREADS: u64 = 3;
const PAIRS: usize = 40;

/// A list longer than this is begun anew, under another name.
pub const LENGTH: u64 = 2_000;

/// Writers at work. Dropping them stops them too.
#[derive(Debug)]
pub struct Tally {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    written: AtomicU64,
    /// How many writes each pair has had.
    sent: Mutex<BTreeMap<String, u64>>,
    trouble: Mutex<Vec<String>>,
}

impl Tally {
    /// So many writes a second, of all threads together.
    pub fn start(source: &dyn Shape, seed: &Seed, per_second: u64) -> Tally {
        let shared = Arc::new(Shared::default());
        let threads = (0..THREADS).map(|number| {
            let mut writer = Writer {
                number,
                client: source.client(),
                draw: Draw(seed.rng(0x7A11 + number)),
                sent: vec![0; PAIRS],
            };
            let (shared, pace) = (
                Arc::clone(&shared),
                Pace::new(Some(per_second as f64 / THREADS as f64)),
            );
            std::thread::spawn(move || writer.write_on(pace, &shared))
        });
        Tally {
            threads: threads.collect(),
            shared: Arc::clone(&shared),
        }
    }

    /// The slots of a cluster that are written first, each once.
    pub fn slots() -> Vec<u16> {
        let tags =
            (0..THREADS).flat_map(|thread| (0..PAIRS).map(move |pair| format!("{{{thread}-{pair}-0}}")));
        let mut slots: Vec<u16> = tags.map(|tag| slot(tag.as_bytes())).collect();
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    /// Writes so far.
    pub fn written(&self) -> u64 {
        self.shared.written.load(Ordering::SeqCst)
    }

    /// Waits for so many more.
    #[track_caller]
    pub fn wait_more(&self, writes: u64) {
        let goal = self.written() + writes;
        wait_for(LONG, "the writers have written", || {
            let trouble = self.shared.trouble.lock().unwrap().clone();
            match self.written() >= goal {
                true => Ok(()),
                false => Err(format!("{} of {goal}, {trouble:?}", self.written())),
            }
        });
    }

    /// Goes on for so long.
    pub fn wait_time(&self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.wait_more(1);
        }
    }

    /// Stops the writers: what was sent.
    #[track_caller]
    pub fn stop(mut self) -> Sent {
        self.shared.stop.store(true, Ordering::SeqCst);
        for thread in std::mem::take(&mut self.threads) {
            thread.join().unwrap();
        }
        let trouble = self.shared.trouble.lock().unwrap().clone();
        assert!(trouble.is_empty(), "the source has refused writes: {trouble:?}");
        Sent(self.shared.sent.lock().unwrap().clone())
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

struct Writer {
    number: u64,
    client: Box<dyn Client>,
    draw: Draw,
    sent: Vec<u64>,
}

impl Writer {
    fn write_on(&mut self, mut pace: Pace, shared: &Shared) {
        while !shared.stop.load(Ordering::SeqCst) {
            let pair = self.draw.below(PAIRS);
            let number = self.sent[pair];
            let tag = format!("{{{}-{pair}-{}}}", self.number, number / LENGTH);
            let (mut count, mut push) = (Batch::default(), Batch::default());
            put!(count, "INCR", format!("{tag}counter"));
            put!(push, "RPUSH", format!("{tag}list"), number);
            // Singly: of a slot that moves key by key, one of the two may be here and the other there.
            let mut batches = vec![count, push];
            if self.draw.one_in(3) {
                let mut whole = Batch::default();
                put!(whole, "MULTI");
                put!(whole, "INCR", format!("{tag}counter"));
                put!(whole, "RPUSH", format!("{tag}list"), number);
                put!(whole, "EXEC");
                batches = vec![whole];
            }
            if let Some(fault) = self.faults_of(&tag, &batches) {
                shared.trouble.lock().unwrap().push(format!("{tag}: {fault:?}"));
                return;
            }
            self.sent[pair] += 1;
            *shared.sent.lock().unwrap().entry(tag).or_default() += 1;
            shared.written.fetch_add(1, Ordering::SeqCst);
            pace.spend(1);
        }
    }
}

impl Writer {
    /// What a server, or nobody, has said against these, if anything.
    fn faults_of(&mut self, tag: &str, batches: &[Batch]) -> Option<Value> {
        batches
            .iter()
            .find_map(|batch| match self.client.send(tag.as_bytes(), batch) {
                Ok(replies) => replies
                    .into_iter()
                    .find(|reply| matches!(reply, Value::ServerError(_))),
                Err(why) => Some(Value::SimpleString(why)),
            })
    }
}

/// What was sent: how many writes to each pair.
#[derive(Debug, Clone)]
pub struct Sent(BTreeMap<String, u64>);

impl Sent {
    /// All writes.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Waits until this side holds just that.
    #[track_caller]
    pub fn wait_on(&self, side: &dyn Shape, limit: Duration) {
        wait_for(limit, "counters and lists are exact", || self.check(side));
    }

    /// # Errors
    /// What differs, a line for each key, the first twenty.
    pub fn check(&self, side: &dyn Shape) -> Result<(), String> {
        let mut client = side.client();
        let mut wrong = Vec::new();
        for (tag, sent) in &self.0 {
            let mut batch = Batch::default();
            put!(batch, "GET", format!("{tag}counter"));
            put!(batch, "LRANGE", format!("{tag}list"), 0, -1);
            let replies = client.send(tag.as_bytes(), &batch)?;
            if let Err(fault) = judge(&replies, *sent) {
                wrong.push(format!("{tag}: {fault}"));
            }
        }
        let count = wrong.len();
        wrong.truncate(20);
        match count {
            0 => Ok(()),
            _ => Err(format!(
                "{count} of {} pairs are wrong:\n{}",
                self.0.len(),
                wrong.join("\n")
            )),
        }
    }
}

/// What is wrong with a pair, if anything: the replies to GET of its counter and LRANGE of its list, which begins with a multiple of [`LENGTH`].
///
/// # Errors
/// That.
pub fn judge(replies: &[Value], sent: u64) -> Result<(), String> {
    let [counter, list] = replies else {
        return Err(format!("{replies:?}"));
    };
    let counter: Option<u64> =
        redis::from_redis_value(counter.clone()).map_err(|error| format!("counter: {error}"))?;
    let list: Vec<u64> = redis::from_redis_value(list.clone()).map_err(|error| format!("list: {error}"))?;
    let counter = counter.unwrap_or(0);
    if counter != sent {
        return Err(format!("the counter is {counter}, {sent} were sent"));
    }
    if let Some(pair) = list.windows(2).find(|pair| pair[1] != pair[0] + 1) {
        return Err(format!("{} follows {} in the list of {sent}", pair[1], pair[0]));
    }
    let begins_right = list.first().is_none_or(|first| first % LENGTH == 0);
    match list.len() as u64 == sent && begins_right {
        true => Ok(()),
        false => Err(format!(
            "the list has {} of {sent}, from {:?} on",
            list.len(),
            list.first()
        )),
    }
}
