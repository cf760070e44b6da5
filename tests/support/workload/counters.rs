//! Writers whose every write is known: the oracle of *exactly once*.
//!
//! A counter that is one too high was incremented twice; a list that misses a number, or has one twice or out of order,
//! lost, repeated or reordered a write. A connection that breaks leaves the last batch *in doubt*: it may have
//! been executed or not, and either is accepted. All else is exact.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use redis::Value;

use super::writers::{Options, Pace, reconnect};
use super::{Draw, Seed};
use crate::support::server::Server;
use crate::support::wire::{Batch, put};
use crate::support::{SOON, wait_until};

/// Pairs of a counter and a list that each thread writes; no two threads write the same.
const PAIRS: usize = 8;

/// The databases, one for each thread in turn.
const DATABASES: [u32; 3] = [0, 3, 7];

/// What was sent to one key.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The next number: for a list, all numbers below it were sent.
    next: u64,
    /// Numbers that certainly were not executed (the server refused them).
    refused: BTreeSet<u64>,
    /// Numbers of which it is not known.
    in_doubt: BTreeSet<u64>,
}

impl Sent {
    fn take(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    fn certain(&self) -> u64 {
        self.next - self.refused.len() as u64 - self.in_doubt.len() as u64
    }
}

/// A key, by database and name.
type Key = (u32, String);

/// What the servers must hold in the end.
#[derive(Debug, Default, Clone)]
pub struct Expected {
    counters: BTreeMap<Key, Sent>,
    lists: BTreeMap<Key, Sent>,
}

impl Expected {
    /// Writes that were certainly executed.
    pub fn certain(&self) -> u64 {
        self.counters
            .values()
            .chain(self.lists.values())
            .map(Sent::certain)
            .sum()
    }

    /// Writes of which it is not known.
    pub fn in_doubt(&self) -> usize {
        self.counters
            .values()
            .chain(self.lists.values())
            .map(|sent| sent.in_doubt.len())
            .sum()
    }

    /// Compares `server` with what was sent to it, or to the source it copies.
    ///
    /// # Errors
    /// What is wrong, a line for each key.
    pub fn check(&self, server: &Server) -> Result<(), String> {
        let mut conn = server.conn();
        let mut wrong = String::new();
        for ((db, name), sent) in &self.counters {
            let value = query(&mut conn, *db, &["GET", name]).map_or(0, |text| text[0]);
            let (least, most) = (sent.certain(), sent.certain() + sent.in_doubt.len() as u64);
            if !(least..=most).contains(&value) {
                writeln!(wrong, "db {db} {name}: is {value}, sent were {least} (to {most})").unwrap();
            }
        }
        for ((db, name), sent) in &self.lists {
            if let Err(fault) = sent.check(&list(&mut conn, *db, name)) {
                writeln!(wrong, "db {db} {name}: {fault}").unwrap();
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// Whether nothing that was sent is missing, where things may have come more than once.
    ///
    /// # Errors
    /// What is missing, a line for each key.
    pub fn check_at_least(&self, server: &Server) -> Result<(), String> {
        let mut conn = server.conn();
        let mut missing = String::new();
        for ((db, name), sent) in &self.counters {
            let value = query(&mut conn, *db, &["GET", name]).map_or(0, |text| text[0]);
            if value < sent.certain() {
                writeln!(
                    missing,
                    "db {db} {name}: is {value}, sent were {}",
                    sent.certain()
                )
                .unwrap();
            }
        }
        for ((db, name), sent) in &self.lists {
            let held = list(&mut conn, *db, name).into_iter().collect();
            if let Some(lost) = sent.lost(&held) {
                writeln!(missing, "db {db} {name}: {lost} of {} is lost", sent.next).unwrap();
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(missing) }
    }

    /// The same as [`Expected::check`], failing the test.
    #[track_caller]
    pub fn assert_on(&self, server: &Server) {
        if let Err(wrong) = self.check(server) {
            panic!("{} does not hold exactly what was sent:\n{wrong}", server.addr());
        }
    }
}

impl Sent {
    /// The first certain number that is not among them.
    fn lost(&self, held: &BTreeSet<u64>) -> Option<u64> {
        let certain = |number: &u64| !self.refused.contains(number) && !self.in_doubt.contains(number);
        let mut all = (0..self.next).filter(certain);
        all.find(|number| !held.contains(number))
    }

    /// A list must hold every certain number once, in order, and beside them only numbers in doubt.
    fn check(&self, list: &[u64]) -> Result<(), String> {
        if let Some(pair) = list.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(format!(
                "{} follows {}: repeated or out of order",
                pair[1], pair[0]
            ));
        }
        let held: BTreeSet<u64> = list.iter().copied().collect();
        if let Some(lost) = self.lost(&held) {
            return Err(format!("{lost} of {} is lost", self.next));
        }
        match held
            .iter()
            .find(|number| **number >= self.next || self.refused.contains(number))
        {
            Some(foreign) => Err(format!("{foreign} was never accepted")),
            None => Ok(()),
        }
    }
}

fn list(conn: &mut redis::Connection, db: u32, name: &str) -> Vec<u64> {
    const PAGE: usize = 100_000;
    let mut numbers = Vec::new();
    loop {
        let (from, to) = (numbers.len().to_string(), (numbers.len() + PAGE - 1).to_string());
        let page = query(conn, db, &["LRANGE", name, &from, &to]).unwrap_or_default();
        numbers.extend_from_slice(&page);
        if page.len() < PAGE {
            return numbers;
        }
    }
}

/// A reply of one number or many.
fn query(conn: &mut redis::Connection, db: u32, command: &[&str]) -> Option<Vec<u64>> {
    redis::cmd("SELECT").arg(db).exec(conn).unwrap();
    redis::cmd(command[0]).arg(&command[1..]).query(conn).unwrap()
}

/// Counting threads at work. Dropping them stops them too.
#[derive(Debug)]
pub struct Counters {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Expected>>,
}

#[derive(Debug)]
struct Shared {
    url: Mutex<String>,
    stop: AtomicBool,
    answered: AtomicU64,
}

impl Counters {
    /// Two connections as fast as `server` answers.
    pub fn start(server: &Server, seed: &Seed) -> Counters {
        Counters::with(&server.url(), seed, &Options::default())
    }

    /// As told; `url` may be a proxy.
    pub fn with(url: &str, seed: &Seed, options: &Options) -> Counters {
        let shared = Arc::new(Shared {
            url: Mutex::new(url.to_owned()),
            stop: AtomicBool::new(false),
            answered: AtomicU64::new(0),
        });
        let thread = |number: u64| {
            let mut counter = Counter::new(number, seed);
            let mut pace = Pace::new(options.per_second.map(|all| all as f64 / options.threads as f64));
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                while !shared.stop.load(Ordering::SeqCst) {
                    let url = shared.url.lock().unwrap().clone();
                    let answered = counter.round(&url);
                    shared.answered.fetch_add(answered as u64, Ordering::SeqCst);
                    pace.spend(answered);
                }
                counter.expected()
            })
        };
        let threads = (0..options.threads).map(thread).collect();
        Counters { shared, threads }
    }

    /// From now on they write there (after a failover).
    pub fn move_to(&self, url: &str) {
        url.clone_into(&mut self.shared.url.lock().unwrap());
    }

    /// Waits until so many more writes have been answered.
    #[track_caller]
    pub fn wait_more(&self, writes: u64) {
        let answered = || self.shared.answered.load(Ordering::SeqCst);
        let goal = answered() + writes;
        wait_until(SOON * 4, "the counters have moved on", || answered() >= goal);
    }

    /// Stops them, and says what they sent.
    pub fn stop(mut self) -> Expected {
        self.shared.stop.store(true, Ordering::SeqCst);
        let all = std::mem::take(&mut self.threads)
            .into_iter()
            .map(|thread| thread.join().unwrap());
        all.fold(Expected::default(), |mut sum, one| {
            sum.counters.extend(one.counters);
            sum.lists.extend(one.lists);
            sum
        })
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

/// One write of a round: to which key, and its number.
#[derive(Debug, Clone, Copy)]
struct Write {
    pair: usize,
    of: Kind,
    number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    List,
}

/// One thread's part.
struct Counter {
    number: u64,
    db: u32,
    draw: Draw,
    counters: [Sent; PAIRS],
    lists: [Sent; PAIRS],
    conn: Option<redis::Connection>,
}

impl Counter {
    fn new(number: u64, seed: &Seed) -> Counter {
        Counter {
            number,
            db: DATABASES[number as usize % DATABASES.len()],
            draw: Draw(seed.rng(0xC0 + number)),
            counters: Default::default(),
            lists: Default::default(),
            conn: None,
        }
    }

    fn name(&self, of: Kind, pair: usize) -> Key {
        let kind = if of == Kind::Counter { "counter" } else { "list" };
        (self.db, format!("{kind}:{}:{pair}", self.number))
    }

    fn sent(&mut self, of: Kind, pair: usize) -> &mut Sent {
        match of {
            Kind::Counter => &mut self.counters[pair],
            Kind::List => &mut self.lists[pair],
        }
    }

    /// Sends one batch; says how many writes were answered.
    fn round(&mut self, url: &str) -> usize {
        let Some(mut conn) = self.conn.take().or_else(|| reconnect(url)) else {
            return 0;
        };
        let (mut batch, answers) = self.draw_batch();
        match batch.send(&mut conn) {
            Ok(replies) => {
                self.conn = Some(conn);
                replies
                    .iter()
                    .zip(&answers)
                    .for_each(|(reply, writes)| self.settle(reply, writes));
                answers.iter().map(Vec::len).sum()
            }
            Err(_) => {
                for write in answers.concat() {
                    self.sent(write.of, write.pair).in_doubt.insert(write.number);
                }
                0
            }
        }
    }

    /// A batch, and for each of its replies the writes that it answers.
    fn draw_batch(&mut self) -> (Batch, Vec<Vec<Write>>) {
        let (mut batch, mut answers) = (Batch::default(), vec![Vec::new()]);
        put!(batch, "SELECT", self.db);
        for _ in 0..1 + self.draw.below(30) {
            let pair = self.draw.below(PAIRS);
            match self.draw.below(4) {
                0 => {
                    put!(batch, "MULTI");
                    let both = vec![
                        self.write(Kind::Counter, pair, &mut batch),
                        self.write(Kind::List, pair, &mut batch),
                    ];
                    put!(batch, "EXEC");
                    answers.extend([Vec::new(), Vec::new(), Vec::new(), both]);
                }
                1 => answers.push(vec![self.write(Kind::List, pair, &mut batch)]),
                _ => answers.push(vec![self.write(Kind::Counter, pair, &mut batch)]),
            }
        }
        (batch, answers)
    }

    fn write(&mut self, of: Kind, pair: usize, batch: &mut Batch) -> Write {
        let (number, (_, name)) = (self.sent(of, pair).take(), self.name(of, pair));
        match of {
            Kind::Counter => put!(batch, "INCR", name),
            Kind::List => put!(batch, "RPUSH", name, number),
        }
        Write { pair, of, number }
    }

    fn settle(&mut self, reply: &Value, writes: &[Write]) {
        if matches!(reply, Value::ServerError(_)) {
            for write in writes {
                self.sent(write.of, write.pair).refused.insert(write.number);
            }
        }
    }

    fn expected(self) -> Expected {
        let keyed = |of, sent: &[Sent; PAIRS]| {
            let of_pair = |pair: usize| (self.name(of, pair), sent[pair].clone());
            (0..PAIRS)
                .map(of_pair)
                .filter(|(_, sent)| sent.next > 0)
                .collect()
        };
        Expected {
            counters: keyed(Kind::Counter, &self.counters),
            lists: keyed(Kind::List, &self.lists),
        }
    }
}
