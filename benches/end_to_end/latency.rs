//! From a write on the source until it is visible, on the target and on a native replica of each of the source's servers at once.
//!
//! A probe is a write, not a `PUBLISH`, which a cluster tells to all of its nodes by another way than its data: `SADD` of a new key, whose number is in its name. Target and replicas
//! tell of it with a keyspace notification, on either side in the same way and in the same moment: when the command has been executed. Notifications are turned on for sets
//! alone, so that neither the other writes, `SET`s, nor what gunyu itself writes, hashes, cost a server any more. `SADD` may be replayed, as `SET`
//! may: onto a cluster a probe goes the way of the other writes, without a fence.
//!
//! Probes are among the writes that a rate counts. The percentiles are those of the probes of all rounds together: 21 of 21,000 are beyond p99.9.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::load::{Keys, Link, Steady};
use crate::meter::Cost;
use crate::results::{Results, Row};
use crate::side::{Replicas, Shape, Side, wait_applied, ways};
use crate::support::SOON;
use crate::support::gunyu::Gunyu;
use crate::support::server::Server;
use crate::{number, rounds, table};

/// A source begins its stream slowly, whoever follows.
const WARM_UP: u32 = 250;

const EVERY: Duration = Duration::from_millis(1);

/// Writes a second, with the probes; 0: probes alone, one after another.
const RATES: [u64; 3] = [0, 2_000, 20_000];

const SHARES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99_9", 0.999)];

/// `GUNYU_BENCH_PROBES`, in all rounds together.
fn probes() -> usize {
    number("GUNYU_BENCH_PROBES", 21_000)
}

/// In microseconds, of all rounds; and what each round cost.
#[derive(Default)]
struct Latencies {
    gunyu: Vec<f64>,
    native: Vec<f64>,
    costs: Vec<Cost>,
    /// Of all rounds.
    wall_s: f64,
    commands: u64,
}

pub fn measure(results: &Results) {
    for &(from, to, way) in ways() {
        let mut found: HashMap<u64, Latencies> = HashMap::new();
        for _ in 0..rounds() {
            round(from, to, &mut found);
        }
        for rate in RATES {
            let what = match rate {
                0 => "writes one at a time".to_owned(),
                rate => format!("{rate} writes/s"),
            };
            let figure = format!("latency p50 / p99 / p99.9, {what}{way}");
            results.put(row(&figure, found.remove(&rate).unwrap()));
        }
    }
}

fn row(figure: &str, mut found: Latencies) -> Row {
    let probes = found.gunyu.len();
    let mut row = Row::of("latency", figure)
        .count("rounds", found.costs.len() as u64)
        .count("probes", probes as u64)
        .number("wall_s", found.wall_s / found.costs.len() as f64);
    found.gunyu.sort_by(f64::total_cmp);
    found.native.sort_by(f64::total_cmp);
    for (name, share) in SHARES {
        let (ours, theirs) = (percentile(&found.gunyu, share), percentile(&found.native, share));
        row = row
            .number(&format!("{name}_us"), ours)
            .number(&format!("native_{name}_us"), theirs)
            .number(&format!("{name}_ratio"), ours / theirs);
    }
    let each = found.commands as f64 / found.costs.len() as f64;
    table::cost(row, &found.costs, each)
}

fn percentile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

/// All rates, one after another.
fn round(from: Shape, to: Shape, found: &mut HashMap<u64, Latencies>) {
    let (source, target) = (Side::source(from), Side::target(to));
    let replicas = Replicas::of(&source);
    for server in target.servers().into_iter().chain(replicas.servers()) {
        let () = server.run(&["CONFIG", "SET", "notify-keyspace-events", "Ks"]);
    }
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    gunyu.wait_ready(SOON);
    let mut probing = Probing::open(&source, &[target.servers(), replicas.servers()]);
    let mut warm_up = Latencies::default();
    for rate in RATES {
        let probes_a_second = EVERY.as_secs_f64().recip() as u64;
        let load = (rate > 0).then(|| Steady::start(&source, rate - probes_a_second));
        probing.run(WARM_UP, &mut warm_up);
        let so_far = |gunyu: &Gunyu| Cost::so_far(gunyu.stats(), &source.servers(), &target.servers());
        let (before, began) = (so_far(&gunyu), Instant::now());
        let found = found.entry(rate).or_default();
        let probes = probes().div_ceil(rounds());
        probing.run(u32::try_from(probes).unwrap(), found);
        let seconds = began.elapsed().as_secs_f64();
        found.costs.push(so_far(&gunyu).since(before));
        found.wall_s += seconds;
        found.commands += probes as u64 + (seconds * rate.saturating_sub(probes_a_second) as f64) as u64;
        drop(load);
        wait_applied(&mut gunyu, &source);
    }
    gunyu.term();
}

/// Which side, which probe, when it was heard of.
type Heard = (usize, u32, Instant);

/// A writer of probes, and ears at all servers of both sides: gunyu's target, and the native replicas.
struct Probing {
    /// To each of the source's servers, and keys of its own.
    links: Vec<(Link, Keys)>,
    hearing: mpsc::Receiver<Heard>,
    _lines: Vec<Line>,
    /// Each probe has a number of its own.
    next: u32,
}

impl Probing {
    fn open(source: &Side, sides: &[Vec<&Server>; 2]) -> Probing {
        let (heard, hearing) = mpsc::channel();
        let servers = source.servers();
        let open =
            |(number, server): (usize, &&Server)| (Link::open(server), Keys::of(number, servers.len()));
        let sides = sides.iter().enumerate();
        let lines = sides.flat_map(|(side, servers)| servers.iter().map(move |server| (side, *server)));
        Probing {
            links: servers.iter().enumerate().map(open).collect(),
            _lines: lines
                .map(|(side, server)| listen(server, side, heard.clone()))
                .collect(),
            hearing,
            next: 0,
        }
    }

    /// Writes so many probes, and adds how long each took to either side.
    fn run(&mut self, probes: u32, found: &mut Latencies) {
        let (first, mut sent, mut next) = (self.next, Vec::new(), Instant::now());
        for n in 0..probes {
            next += EVERY;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            let number = first + n;
            let at = number as usize % self.links.len();
            let (link, keys) = &mut self.links[at];
            let name = keys.name(number, &format!("probe:{number:08}"));
            sent.push(Instant::now());
            link.line(&format!(
                "*3\r\n$4\r\nSADD\r\n${}\r\n{name}\r\n$1\r\nx\r\n",
                name.len()
            ));
        }
        self.next += probes;
        for _ in 0..2 * probes {
            let (side, n, at) = self.hearing.recv_timeout(SOON).expect("every probe arrives");
            let took = at.duration_since(sent[(n - first) as usize]).as_secs_f64() * 1e6;
            [&mut found.gunyu, &mut found.native][side].push(took);
        }
    }
}

/// Ends when it is dropped.
struct Line(TcpStream);

impl Drop for Line {
    fn drop(&mut self) {
        drop(self.0.shutdown(std::net::Shutdown::Both));
    }
}

/// What notifications are told on, before the key's name.
const CHANNEL: &str = "__keyspace@0__:";

fn listen(server: &Server, side: usize, heard: mpsc::Sender<Heard>) -> Line {
    let stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    write!(&stream, "PSUBSCRIBE {CHANNEL}*probe:*\r\n").unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    // *3 psubscribe PATTERN :1
    for _ in 0..6 {
        lines.next().unwrap().unwrap();
    }
    std::thread::spawn(move || {
        // *4 pmessage PATTERN CHANNEL sadd: the channel alone ends in a number.
        while let Some(Ok(line)) = lines.next() {
            let at = Instant::now();
            if let Some(key) = line.strip_prefix(CHANNEL)
                && let Some((_, number)) = key.rsplit_once("probe:")
                && let Ok(n) = number.parse()
                && heard.send((side, n, at)).is_err()
            {
                return;
            }
        }
    });
    Line(stream)
}
