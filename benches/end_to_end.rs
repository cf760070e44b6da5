//! End to end, beside native replication in the same run: latency at rest and under load, CPU, memory and disk of gunyu.
//!
//! `make bench` prints a table in Markdown and writes `target/bench/end_to_end.json`. Absolute times are those of the machine at that
//! moment; what counts are the ratios, since source, native replica, target and gunyu share it.
//!
//! A probe is a `PUBLISH` between the writes: it travels the same way as they do, and a subscriber hears at once when it has
//! arrived, on the native replica and on the target alike.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::json;
use support::gunyu::Gunyu;
use support::server::Server;
use support::{SOON, wait_until};

const IDLE_PROBES: u32 = 2_000;
const LOAD_SECS: u64 = 8;
const LIVE_SETS: u64 = 2_000_000;
const SNAPSHOT_KEYS: u64 = 1_000_000;
const LONG: Duration = Duration::from_secs(120);

/// One row of the table.
struct Row {
    figure: String,
    gunyu: String,
    native: String,
    ratio: Option<f64>,
}

fn main() {
    let mut rows = Vec::new();
    latency(&mut rows);
    live_cpu(&mut rows);
    full_sync(&mut rows);
    print_table(&rows);
}

/// Source, native replica, target and a gunyu that is live.
struct Bench {
    source: Server,
    replica: Server,
    target: Server,
    gunyu: Gunyu,
}

impl Bench {
    fn start() -> Bench {
        let options = &[
            "--repl-backlog-size",
            "256mb",
            "--client-output-buffer-limit",
            "replica 0 0 0",
        ];
        let source = Server::with(options);
        let (replica, target) = (Server::start(), Server::start());
        replica.follow(&source);
        replica.wait_caught_up(&source, SOON);
        let gunyu = Gunyu::between(&source, &target);
        Bench {
            source,
            replica,
            target,
            gunyu,
        }
    }
}

fn latency(rows: &mut Vec<Row>) {
    let mut bench = Bench::start();
    let idle = probe(&bench, IDLE_PROBES, Duration::from_millis(1), 0);
    push_latency(rows, "a single write on an idle link", &idle);
    for rate in [2_000, 20_000] {
        let probes = u32::try_from(LOAD_SECS * 250).unwrap();
        let loaded = probe(&bench, probes, Duration::from_millis(4), rate);
        push_latency(rows, &format!("at {rate} writes/s"), &loaded);
    }
    bench.gunyu.term();
}

/// Latencies in microseconds, ascending.
struct Latencies {
    gunyu: Vec<f64>,
    native: Vec<f64>,
}

/// Sends probes `every` so often, with `rate` plain writes a second around them.
fn probe(bench: &Bench, probes: u32, every: Duration, rate: u64) -> Latencies {
    let begin = Instant::now();
    let (heard, hearing) = mpsc::channel();
    for (side, server) in [(0usize, &bench.target), (1, &bench.replica)] {
        subscribe(server, side, heard.clone());
    }
    let mut link = Link::open(&bench.source);
    let mut sent = HashMap::new();
    let mut next = Instant::now();
    let per_step = rate * u64::try_from(every.as_micros()).unwrap() / 1_000_000;
    for n in 0..probes {
        // The writes of a step are spread over it, as clients would.
        let steps = per_step.clamp(1, 20);
        for step in 0..steps {
            let count = per_step * (step + 1) / steps - per_step * step / steps;
            link.sets(count);
            let due = next + every.mul_f64(step as f64 / steps as f64);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        sent.insert(n, begin.elapsed());
        link.publish(n);
        next += every;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let mut latencies = [Vec::new(), Vec::new()];
    while latencies.iter().any(|side| side.len() < probes as usize) {
        let (side, n, at): (usize, u32, Instant) = hearing.recv_timeout(SOON).expect("every probe arrives");
        latencies[side].push((at.duration_since(begin) - sent[&n]).as_secs_f64() * 1e6);
    }
    let [mut gunyu, mut native] = latencies;
    gunyu.sort_by(f64::total_cmp);
    native.sort_by(f64::total_cmp);
    Latencies { gunyu, native }
}

/// A plain connection: writes whole steps and reads replies away, so that the load generator costs little.
struct Link {
    write: TcpStream,
}

impl Link {
    fn open(server: &Server) -> Link {
        let write = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        write.set_nodelay(true).unwrap();
        let mut read = write.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 1 << 16];
            while read.read(&mut buffer).is_ok_and(|n| n > 0) {}
        });
        Link { write }
    }

    fn sets(&mut self, count: u64) {
        let mut out = Vec::new();
        for _ in 0..count {
            let key = fastrand::u32(0..100_000);
            write!(out, "*3\r\n$3\r\nSET\r\n$8\r\nk{key:07}\r\n$64\r\n{key:064}\r\n").unwrap();
        }
        self.write.write_all(&out).unwrap();
    }

    fn publish(&mut self, n: u32) {
        write!(
            self.write,
            "*3\r\n$7\r\nPUBLISH\r\n$5\r\nprobe\r\n$8\r\n{n:08}\r\n"
        )
        .unwrap();
    }
}

fn subscribe(server: &Server, side: usize, heard: mpsc::Sender<(usize, u32, Instant)>) {
    let stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    (&stream).write_all(b"SUBSCRIBE probe\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines();
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
}

fn percentile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

fn push_latency(rows: &mut Vec<Row>, what: &str, latencies: &Latencies) {
    for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        let (gunyu, native) = (
            percentile(&latencies.gunyu, share),
            percentile(&latencies.native, share),
        );
        rows.push(Row {
            figure: format!("latency {name}, {what}"),
            gunyu: format!("{gunyu:.0} µs"),
            native: format!("{native:.0} µs"),
            ratio: Some(gunyu / native),
        });
    }
}

/// `redis-benchmark -P 64` against the source; until both have caught up.
fn live_cpu(rows: &mut Vec<Row>) {
    let mut bench = Bench::start();
    let (cpu, began) = (bench.gunyu.stats().cpu(), Instant::now());
    let replica_cpu = bench.replica.stats().cpu();
    benchmark(&bench.source, LIVE_SETS);
    let source_done = began.elapsed();
    let mut native_done = None;
    let mut gunyu_done = None;
    wait_until(LONG, "both have caught up", || {
        let offset = bench.source.offset();
        if native_done.is_none() && offset_of(&bench.replica) >= offset {
            native_done = Some(began.elapsed());
        }
        if gunyu_done.is_none()
            && bench.gunyu.status()[0]["Offset"]["Applied"]
                .as_u64()
                .is_some_and(|at| at >= offset)
        {
            gunyu_done = Some(began.elapsed());
        }
        native_done.is_some() && gunyu_done.is_some()
    });
    let (native_done, gunyu_done) = (native_done.unwrap(), gunyu_done.unwrap());
    let millions = LIVE_SETS as f64 / 1e6;
    rows.push(Row {
        figure: format!(
            "live: {millions} M SETs of 64 B at full speed, until caught up (source itself {:.1} s)",
            source_done.as_secs_f64()
        ),
        gunyu: format!("{:.2} s", gunyu_done.as_secs_f64()),
        native: format!("{:.2} s", native_done.as_secs_f64()),
        ratio: Some(gunyu_done.as_secs_f64() / native_done.as_secs_f64()),
    });
    let (used, replica_used) = (
        bench.gunyu.stats().cpu() - cpu,
        bench.replica.stats().cpu() - replica_cpu,
    );
    rows.push(Row {
        figure: "live: CPU per million SETs (native: what the replica itself spends)".to_owned(),
        gunyu: format!("{:.2} s", used.as_secs_f64() / millions),
        native: format!("{:.2} s", replica_used.as_secs_f64() / millions),
        ratio: None,
    });
    rows.push(Row {
        figure: "live: memory and disk of gunyu afterwards".to_owned(),
        gunyu: format!(
            "{} MiB, {} MiB",
            bench.gunyu.stats().rss_bytes() >> 20,
            bench.gunyu.disk_bytes() >> 20
        ),
        native: "–".to_owned(),
        ratio: None,
    });
    bench.gunyu.term();
}

fn offset_of(replica: &Server) -> u64 {
    replica.info("replication")["slave_repl_offset"].parse().unwrap()
}

fn benchmark(server: &Server, count: u64) {
    let status = Command::new("redis-benchmark")
        .args([
            "-p",
            &server.port().to_string(),
            "-P",
            "64",
            "-c",
            "20",
            "-n",
            &count.to_string(),
        ])
        .args(["-r", "1000000", "-d", "64", "-t", "set", "-q"])
        .stdout(Stdio::null())
        .status()
        .expect("redis-benchmark is installed with redis-server");
    assert!(status.success());
}

/// A million small strings, restored from nothing.
fn full_sync(rows: &mut Vec<Row>) {
    let source = Server::start();
    let _: String = source.run(&["DEBUG", "POPULATE", &SNAPSHOT_KEYS.to_string(), "key", "100"]);
    let replica = Server::start();
    let began = Instant::now();
    replica.follow(&source);
    replica.wait_caught_up(&source, LONG);
    let native = began.elapsed();
    drop(replica);
    let target = Server::start();
    let began = Instant::now();
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    gunyu.wait_ready(LONG);
    let took = began.elapsed();
    let millions = SNAPSHOT_KEYS as f64 / 1e6;
    rows.push(Row {
        figure: format!("full sync of {millions} M strings of 100 B"),
        gunyu: format!("{:.2} s", took.as_secs_f64()),
        native: format!("{:.2} s", native.as_secs_f64()),
        ratio: Some(took.as_secs_f64() / native.as_secs_f64()),
    });
    rows.push(Row {
        figure: "full sync: CPU per million keys".to_owned(),
        gunyu: format!("{:.2} s", gunyu.stats().cpu().as_secs_f64() / millions),
        native: "–".to_owned(),
        ratio: None,
    });
    gunyu.term();
}

fn print_table(rows: &[Row]) {
    println!("| figure | gunyu | native replica | ratio |\n| --- | --- | --- | --- |");
    for row in rows {
        let ratio = row.ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}"));
        println!("| {} | {} | {} | {ratio} |", row.figure, row.gunyu, row.native);
    }
    let all: Vec<_> = rows
        .iter()
        .map(
            |row| json!({"figure": row.figure, "gunyu": row.gunyu, "native": row.native, "ratio": row.ratio}),
        )
        .collect();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(
        folder.join("end_to_end.json"),
        serde_json::to_string_pretty(&all).unwrap(),
    )
    .unwrap();
}
