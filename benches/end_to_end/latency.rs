//! From a write on the source until it is visible, on the target and on a native replica of the same source at once.
//!
//! A probe is a `PUBLISH` between the writes: it travels the same way as they do, and a subscriber hears at once when it has
//! arrived, on either side.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::load::{Link, Steady};
use crate::rounds;
use crate::side::{Replicas, Shape, Side};
use crate::support::SOON;
use crate::support::gunyu::Gunyu;
use crate::support::server::Server;
use crate::table::{Row, Table, median};

const PROBES: u32 = 2_000;

/// A source begins its stream slowly, whoever follows.
const WARM_UP: u32 = 250;

const EVERY: Duration = Duration::from_millis(3);

const RATES: [u64; 3] = [0, 2_000, 20_000];

const SHARES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

/// In microseconds, ascending.
struct Latencies {
    gunyu: Vec<f64>,
    native: Vec<f64>,
}

pub fn measure(table: &mut Table) {
    let mut found: HashMap<u64, Vec<Latencies>> = HashMap::new();
    for _ in 0..rounds() {
        let (source, target) = (Side::source(Shape::One), Side::target(Shape::One));
        let mut replicas = Replicas::of(&source);
        let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
        gunyu.wait_ready(SOON);
        let (from, sides) = (source.servers()[0], [target.servers()[0], &replicas.servers()[0]]);
        for rate in RATES {
            let _load = (rate > 0).then(|| Steady::start(from, rate));
            probe(from, sides, WARM_UP);
            found.entry(rate).or_default().push(probe(from, sides, PROBES));
        }
        gunyu.term();
    }
    for rate in RATES {
        let what = match rate {
            0 => "writes one at a time".to_owned(),
            rate => format!("{rate} writes/s"),
        };
        for (name, share) in SHARES {
            let of = |side: fn(&Latencies) -> &Vec<f64>| {
                median(found[&rate].iter().map(|one| percentile(side(one), share)))
            };
            let (ours, theirs) = (of(|one| &one.gunyu), of(|one| &one.native));
            table.push(Row {
                figure: format!("latency {name}, {what}"),
                gunyu: format!("{ours:.0} µs"),
                native: Some(format!("{theirs:.0} µs")),
                ratio: Some(ours / theirs),
                ..Row::default()
            });
        }
    }
}

fn probe(source: &Server, sides: [&Server; 2], probes: u32) -> Latencies {
    let begin = Instant::now();
    let (heard, hearing) = mpsc::channel();
    let _lines = [0, 1].map(|side| subscribe(sides[side], side, heard.clone()));
    let mut link = Link::open(source);
    let (mut sent, mut next) = (HashMap::new(), Instant::now());
    for n in 0..probes {
        next += EVERY;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        sent.insert(n, begin.elapsed());
        link.line(&format!("*3\r\n$7\r\nPUBLISH\r\n$5\r\nprobe\r\n$8\r\n{n:08}\r\n"));
    }
    let mut found = [Vec::new(), Vec::new()];
    while found.iter().any(|side| side.len() < probes as usize) {
        let (side, n, at): (usize, u32, Instant) = hearing.recv_timeout(SOON).expect("every probe arrives");
        found[side].push((at.duration_since(begin) - sent[&n]).as_secs_f64() * 1e6);
    }
    let [mut gunyu, mut native] = found;
    gunyu.sort_by(f64::total_cmp);
    native.sort_by(f64::total_cmp);
    Latencies { gunyu, native }
}

/// Ends when it is dropped.
struct Line(TcpStream);

impl Drop for Line {
    fn drop(&mut self) {
        drop(self.0.shutdown(std::net::Shutdown::Both));
    }
}

fn subscribe(server: &Server, side: usize, heard: mpsc::Sender<(usize, u32, Instant)>) -> Line {
    let stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    (&stream).write_all(b"SUBSCRIBE probe\r\n").unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    // *3 subscribe probe :1
    for _ in 0..6 {
        lines.next().unwrap().unwrap();
    }
    std::thread::spawn(move || {
        while let Some(Ok(line)) = lines.next() {
            let at = Instant::now();
            if line.len() == 8
                && let Ok(n) = line.parse()
                && heard.send((side, n, at)).is_err()
            {
                return;
            }
        }
    });
    Line(stream)
}

fn percentile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}
