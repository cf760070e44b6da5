//! Writers that go on through every event: blind and stateful commands, transactions, times of expiry, deletes.
//!
//! A write whose outcome is not known is sent again or given up: the truth is what the source holds when the writers
//! have stopped.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use redis::Value;

use super::Shape;
use super::client::Client;
use crate::support::wire::{Batch, put};
use crate::support::workload::{Draw, Pace, Seed};
use crate::support::{now_ms, wait_for};

/// How to write.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// So many clients at once, which share the keys.
    pub clients: u64,
    /// Requests of all clients together, at most.
    pub per_second: u64,
    /// So many numbers of keys of each kind; there are eleven kinds.
    pub keys: usize,
}

impl Default for Rate {
    fn default() -> Rate {
        Rate {
            clients: 3,
            per_second: 900,
            keys: 400,
        }
    }
}

/// What came of it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Done {
    /// Requests that were answered.
    pub requests: u64,
    /// Refusals by their first word.
    pub refused: BTreeMap<String, u64>,
    /// Requests that nobody took, and the last reason.
    pub given_up: Vec<String>,
}

/// Writers at work. Dropping them stops them too.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Done>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    requests: AtomicU64,
    last_word: Mutex<String>,
}

impl Load {
    /// Writers to this source, whatever its shape, as the seed says.
    pub fn start(source: &dyn Shape, seed: &Seed, rate: Rate) -> Load {
        let shared = Arc::new(Shared::default());
        let knows_pxat = source.masters()[0].binary().version >= (6, 2, 0);
        let thread = |number: u64| {
            let mut writer = Writer {
                client: source.client(),
                draw: Draw(seed.rng(0xF1EE7 + number)),
                keys: rate.keys,
                knows_pxat,
                sent: 0,
                number,
            };
            let pace = Pace::new(Some(rate.per_second as f64 / rate.clients as f64));
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || writer.write_on(pace, &shared))
        };
        Load {
            threads: (0..rate.clients).map(thread).collect(),
            shared: Arc::clone(&shared),
        }
    }

    /// Requests that were answered so far.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Waits until so many more have been answered.
    #[track_caller]
    pub fn wait_more(&self, requests: u64) {
        let goal = self.requests() + requests;
        wait_for(super::LONG, "the writers have written", || {
            match self.requests() >= goal {
                true => Ok(()),
                false => Err(self.shared.last_word.lock().unwrap().clone()),
            }
        });
    }

    /// Stops them, and says what they did.
    pub fn stop(mut self) -> Done {
        self.shared.stop.store(true, Ordering::SeqCst);
        let all = std::mem::take(&mut self.threads)
            .into_iter()
            .map(|thread| thread.join().unwrap());
        all.fold(Done::default(), |mut sum, one| {
            sum.requests += one.requests;
            sum.given_up.extend(one.given_up);
            for (word, count) in one.refused {
                *sum.refused.entry(word).or_default() += count;
            }
            sum
        })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

struct Writer {
    client: Box<dyn Client>,
    draw: Draw,
    keys: usize,
    knows_pxat: bool,
    sent: u64,
    number: u64,
}

impl Writer {
    fn write_on(&mut self, mut pace: Pace, shared: &Shared) -> Done {
        let mut done = Done::default();
        while !shared.stop.load(Ordering::SeqCst) {
            let (key, commands) = self.next();
            match self.client.send(key.as_bytes(), &commands) {
                Ok(replies) => {
                    done.requests += 1;
                    shared.requests.fetch_add(1, Ordering::SeqCst);
                    count_refusals(&replies, &mut done.refused);
                }
                Err(why) => {
                    shared.last_word.lock().unwrap().clone_from(&why);
                    done.given_up.push(format!("{key}: {why}"));
                }
            }
            pace.spend(1);
        }
        done
    }

    /// A value that no other write has, so that a difference tells which write is missing.
    fn value(&mut self) -> String {
        self.sent += 1;
        let filling = self.draw.below(60);
        format!("{}-{}-{}", self.number, self.sent, "x".repeat(filling))
    }

    fn next(&mut self) -> (String, Batch) {
        let number = self.draw.below(self.keys);
        match self.draw.below(20) {
            0..9 => self.blind(number),
            9..15 => self.stateful(number),
            15..18 => self.transaction(number),
            _ => self.expiring(number),
        }
    }

    fn blind(&mut self, number: usize) -> (String, Batch) {
        let (value, field) = (self.value(), self.draw.below(20));
        let mut batch = Batch::default();
        let kind = self.draw.of(&["string", "string", "hash", "set", "zset", "gone"]);
        let kind_or_any = match kind {
            "gone" => self.draw.of(&["string", "hash", "set", "zset", "list", "number"]),
            kind => kind,
        };
        let key = format!("{kind_or_any}:{number}");
        match kind {
            "string" => put!(batch, "SET", key, value),
            "hash" => put!(batch, "HSET", key, format!("f{field}"), value),
            "set" => match self.draw.one_in(4) {
                true => put!(batch, "SREM", key, field),
                false => put!(batch, "SADD", key, field, value),
            },
            "zset" => put!(
                batch,
                "ZADD",
                key,
                field,
                format!("m{field}"),
                self.draw.below(1_000),
                "m"
            ),
            _ => put!(batch, "DEL", key),
        }
        (key, batch)
    }

    fn stateful(&mut self, number: usize) -> (String, Batch) {
        let (value, mut batch) = (self.value(), Batch::default());
        let kind = self
            .draw
            .of(&["number", "number", "list", "text", "sums", "pops"]);
        let key = match kind {
            "pops" => format!("list:{number}"),
            kind => format!("{kind}:{number}"),
        };
        match kind {
            "number" => put!(batch, "INCR", key),
            "list" => put!(batch, "RPUSH", key, value),
            "text" => put!(batch, "APPEND", key, value[..value.len().min(12)].to_owned()),
            "sums" => put!(batch, "HINCRBY", key, format!("f{}", self.draw.below(5)), 1),
            _ => put!(batch, "LPOP", key),
        }
        (key, batch)
    }

    /// Two counters and a list that are equal at all times, where transactions stay whole.
    fn transaction(&mut self, number: usize) -> (String, Batch) {
        let tag = format!("{{t{number}}}");
        let (value, mut batch) = (self.value(), Batch::default());
        put!(batch, "MULTI");
        put!(batch, "INCR", format!("{tag}a"));
        put!(batch, "INCR", format!("{tag}b"));
        if self.draw.one_in(3) {
            put!(batch, "RPUSH", format!("{tag}list"), value);
        }
        put!(batch, "EXEC");
        (tag, batch)
    }

    /// Times of expiry. Of `brief` keys some end while the test runs: these are only ever set anew, because a target that
    /// is further behind than a key's remaining time expires it before a renewal that carries no value has come.
    fn expiring(&mut self, number: usize) -> (String, Batch) {
        const FAR_MS: u64 = 3_600_000;
        let (value, mut batch) = (self.value(), Batch::default());
        let is_brief = self.draw.one_in(2);
        let left_ms = match is_brief && self.draw.one_in(2) {
            true => 200 + self.draw.below(4_000) as u64,
            false => FAR_MS + self.draw.below(FAR_MS as usize) as u64,
        };
        let key = format!("{}:{number}", if is_brief { "brief" } else { "expiring" });
        let due = now_ms() + left_ms;
        match self.draw.below(4) {
            0 if !is_brief => put!(batch, "PEXPIRE", key, left_ms),
            1 if !is_brief => put!(batch, "PERSIST", key),
            _ if self.knows_pxat => put!(batch, "SET", key, value, "PXAT", due),
            _ => put!(batch, "SET", key, value, "PX", left_ms),
        }
        (key, batch)
    }
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
