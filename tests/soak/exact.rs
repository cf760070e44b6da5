//! Writes whose outcome is known to the last one, on keys that do not grow.
//!
//! Each round adds one to counters of every kind. They are on one connection to the source itself, which nothing breaks: none is ever in doubt.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use redis::Value;

use super::support::Server;
use super::support::wire::{Batch, put};
use super::support::workload::Pace;

/// A database that the mix does not use.
const DB: u32 = 5;

/// How many counters of each kind.
const WIDTH: u64 = 16;

/// The lists and streams hold so many of the last numbers.
const HELD: u64 = 50;

const SCRIPT: &str =
    "redis.call('INCRBY', KEYS[1], ARGV[1]) return redis.call('HINCRBY', KEYS[2], 'field', ARGV[1])";

/// Commands of a round.
const ROUND: usize = 10;

/// At work. Dropping it stops it.
#[derive(Debug)]
pub struct Exact {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Counted>>,
}

/// So many rounds were answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    pub rounds: u64,
}

impl Exact {
    /// So many commands a second.
    pub fn start(source: &Server, per_second: u64) -> Exact {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut conn, stopping) = (source.conn(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            redis::cmd("SELECT").arg(DB).exec(&mut conn).unwrap();
            let (mut pace, mut rounds) = (Pace::new(Some(per_second as f64)), 0);
            while !stopping.load(Ordering::SeqCst) {
                round(rounds).must(&mut conn);
                rounds += 1;
                pace.spend(ROUND);
            }
            Counted { rounds }
        });
        Exact {
            stop,
            thread: Some(thread),
        }
    }

    /// Stops it, and says what it wrote.
    pub fn stop(mut self) -> Counted {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().expect("it is taken once").join().unwrap()
    }
}

impl Drop for Exact {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// The round with this number, from 0.
fn round(number: u64) -> Batch {
    let (mut batch, at, value) = (Batch::default(), number % WIDTH, number / WIDTH + 1);
    put!(batch, "INCR", format!("exact:string:{at}"));
    put!(batch, "HINCRBY", "exact:hash", at, 1);
    put!(batch, "ZINCRBY", "exact:zset", 1, at);
    put!(
        batch,
        "XADD",
        format!("exact:stream:{at}"),
        "MAXLEN",
        HELD,
        "*",
        "n",
        value
    );
    put!(
        batch,
        "EVAL",
        SCRIPT,
        2,
        format!("exact:eval:{at}"),
        "exact:evaluated",
        3
    );
    put!(batch, "MULTI");
    put!(batch, "INCR", format!("exact:multi:{at}"));
    put!(batch, "RPUSH", format!("exact:list:{at}"), value);
    put!(
        batch,
        "LTRIM",
        format!("exact:list:{at}"),
        -i64::try_from(HELD).unwrap(),
        -1
    );
    put!(batch, "EXEC");
    batch
}

impl Counted {
    pub fn commands(self) -> u64 {
        self.rounds * ROUND as u64
    }

    /// How often it was the turn of counter `at`.
    fn turns(self, at: u64) -> u64 {
        (self.rounds + WIDTH - 1 - at) / WIDTH
    }

    /// What is wrong on this server, a line each.
    pub fn wrong_on(self, server: &Server) -> Vec<String> {
        let mut conn = server.conn();
        redis::cmd("SELECT").arg(DB).exec(&mut conn).unwrap();
        let mut asked = |words: &[&str]| -> Vec<u64> {
            let answer = redis::cmd(words[0]).arg(&words[1..]).query(&mut conn);
            numbers(&answer.unwrap_or_else(|error| panic!("{words:?}: {error}")))
        };
        let mut wrong = Vec::new();
        let mut compare = |what: &str, is: Vec<u64>, wanted: Vec<u64>| {
            if is != wanted {
                wrong.push(format!("{what} is {is:?}, sent were {wanted:?}"));
            }
        };
        for at in 0..WIDTH {
            let (turns, place) = (self.turns(at), at.to_string());
            for (kind, each) in [("string", 1), ("eval", 3), ("multi", 1)] {
                let name = format!("exact:{kind}:{at}");
                compare(&name, asked(&["GET", &name]), vec![turns * each]);
            }
            compare(
                &format!("exact:hash {at}"),
                asked(&["HGET", "exact:hash", &place]),
                vec![turns],
            );
            compare(
                &format!("exact:zset {at}"),
                asked(&["ZSCORE", "exact:zset", &place]),
                vec![turns],
            );
            let list = format!("exact:list:{at}");
            let last = turns.saturating_sub(HELD) + 1..=turns;
            compare(&list, asked(&["LRANGE", &list, "0", "-1"]), last.collect());
            let stream = format!("exact:stream:{at}");
            compare(&stream, asked(&["XLEN", &stream]), vec![turns.min(HELD)]);
        }
        let all = self.rounds * 3;
        compare(
            "exact:evaluated",
            asked(&["HGET", "exact:evaluated", "field"]),
            vec![all],
        );
        wrong
    }
}

/// None where there is nothing; what is no number is none that was sent.
fn numbers(reply: &Value) -> Vec<u64> {
    match reply {
        Value::Int(number) => vec![u64::try_from(*number).unwrap_or(u64::MAX)],
        Value::BulkString(text) => {
            let text = std::str::from_utf8(text).ok();
            vec![text.and_then(|text| text.parse().ok()).unwrap_or(u64::MAX)]
        }
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Counted, Server, WIDTH, round};

    #[test]
    fn rounds_are_shared_out_in_turn() {
        let counted = Counted { rounds: WIDTH + 2 };
        assert_eq!([0, 1, 2].map(|at| counted.turns(at)), [2, 2, 1]);
        let sum: u64 = (0..WIDTH).map(|at| counted.turns(at)).sum();
        assert_eq!(sum, counted.rounds);
    }

    #[test]
    fn one_write_too_many_or_too_few_is_found() {
        let server = Server::start();
        let mut conn = server.conn();
        redis::cmd("SELECT").arg(super::DB).exec(&mut conn).unwrap();
        let counted = Counted {
            rounds: 100 * WIDTH + 5,
        };
        for number in 0..counted.rounds {
            round(number).must(&mut conn);
        }
        assert_eq!(counted.wrong_on(&server), Vec::<String>::new());
        for (spoil, mend) in [
            (["INCR", "exact:multi:3"], ["DECR", "exact:multi:3"]),
            (["LPUSH", "exact:list:0"], ["LPOP", "exact:list:0"]),
        ] {
            let value = (spoil[0] == "LPUSH").then_some("1");
            redis::cmd(spoil[0])
                .arg(spoil[1])
                .arg(value)
                .exec(&mut conn)
                .unwrap();
            assert_eq!(counted.wrong_on(&server).len(), 1, "{spoil:?}");
            redis::cmd(mend[0]).arg(mend[1]).exec(&mut conn).unwrap();
        }
        assert_eq!(counted.wrong_on(&server), Vec::<String>::new());
    }
}
