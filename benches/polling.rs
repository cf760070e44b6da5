//! What two hundred clients that poll status and metrics cost the stream.
//!
//! The input is paused while the source is written to, so that a log of known length waits; then it is resumed, and the time to apply all of it is
//! taken: the most that gunyu and the target can do. Rounds with and without clients alternate, since the machine may be shared. Each client has a
//! connection of its own that it keeps, and asks once a second, for the status and for the metrics in turn; with `GREEDY=1` it asks again as soon as
//! it is answered.
//!
//! `scripts/bench.sh --bench polling`

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

#[path = "results/mod.rs"]
mod results;
#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use results::{Results, Row};
use support::gunyu::Gunyu;
use support::server::Server;
use support::wait_until;

const CLIENTS: usize = 200;
const ROUNDS: usize = 12;
const SETS: u64 = 1_500_000;
const LONG: Duration = Duration::from_secs(120);

fn main() {
    let source = Server::start();
    let target = Server::start();
    let mut gunyu = Gunyu::between(&source, &target);
    let greedy = std::env::var_os("GREEDY").is_some();
    let (mut without, mut with, mut answers, mut cpu) = (Vec::new(), Vec::new(), 0, (0.0, 0.0));
    round(&mut gunyu, &source, &target);
    for _ in 0..ROUNDS {
        let before = gunyu.stats().cpu();
        without.push(round(&mut gunyu, &source, &target));
        let between = gunyu.stats().cpu();
        let clients = Clients::start(gunyu.http(), greedy);
        with.push(round(&mut gunyu, &source, &target));
        answers += clients.stop();
        cpu.0 += (between - before).as_secs_f64();
        cpu.1 += (gunyu.stats().cpu() - between).as_secs_f64();
    }
    let (without, with) = (median(&mut without), median(&mut with));
    let commands = (ROUNDS as u64 * SETS) as f64;
    let figure = format!("commands applied while {CLIENTS} clients poll, beside none");
    let row = Row::of("other", &figure)
        .count("rounds", ROUNDS as u64)
        .number("per_s", with)
        .number("native_per_s", without)
        .number("ratio", without / with)
        .number("cpu_s", cpu.1)
        .number("native_cpu_s", cpu.0)
        .number("cpu_s_per_million", cpu.1 / commands * 1e6)
        .count("answers", answers);
    Results::open().put(row);
}

/// Writes while nothing is applied, then takes the time until all of it is. Commands per second.
fn round(gunyu: &mut Gunyu, source: &Server, target: &Server) -> f64 {
    assert_eq!(
        gunyu.request("POST", "/syncer/pause?inputs=all").unwrap().status,
        200
    );
    fill(source);
    let written = source.offset();
    wait_until(LONG, "all of it is received", || {
        gunyu.status()[0]["Offset"]["Received"].as_u64().unwrap() >= written
    });
    let begun = Instant::now();
    assert_eq!(
        gunyu.request("POST", "/syncer/resume?inputs=all").unwrap().status,
        200
    );
    wait_until(LONG, "all of it is applied", || {
        target.run::<Option<u64>>(&["GET", "mark"]) == source.run::<Option<u64>>(&["GET", "mark"])
    });
    SETS as f64 / begun.elapsed().as_secs_f64()
}

fn fill(source: &Server) {
    let mut cli = Command::new("redis-cli")
        .args(["-h", "127.0.0.1", "-p", &source.port().to_string(), "--pipe"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut pipe = std::io::BufWriter::new(cli.stdin.take().unwrap());
    for n in 0..SETS {
        let key = format!("k{:07}", n % 100_000);
        write!(
            pipe,
            "*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n$64\r\n{n:064}\r\n",
            key.len()
        )
        .unwrap();
    }
    drop(pipe);
    assert!(cli.wait().unwrap().success());
    source.run::<u64>(&["INCR", "mark"]);
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Clients that poll until they are stopped.
struct Clients {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    fn start(addr: SocketAddr, greedy: bool) -> Clients {
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = (0..CLIENTS)
            .map(|nth| {
                let (stop, answers) = (Arc::clone(&stop), Arc::clone(&answers));
                let body = move || poll(addr, nth, greedy, &stop, &answers);
                thread::Builder::new().stack_size(128 << 10).spawn(body).unwrap()
            })
            .collect();
        Clients {
            stop,
            answers,
            threads,
        }
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        self.answers.load(Ordering::Relaxed)
    }
}

fn poll(addr: SocketAddr, nth: usize, greedy: bool, stop: &AtomicBool, answers: &AtomicU64) {
    // Spread over the second, as clients are that know nothing of each other.
    thread::sleep(Duration::from_millis(1000 * nth as u64 / CLIENTS as u64));
    let mut stream = TcpStream::connect(addr).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let paths = ["/syncer/status", "/prometheus"];
    for path in paths.iter().cycle().skip(nth % 2) {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {addr}\r\n\r\n").unwrap();
        read_answer(&mut reader);
        answers.fetch_add(1, Ordering::Relaxed);
        if !greedy {
            thread::sleep(Duration::from_secs(1));
        }
    }
}

fn read_answer(reader: &mut impl BufRead) {
    let mut length = 0;
    let mut line = String::new();
    loop {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the daemon hung up");
        if line == "\r\n" {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
}
