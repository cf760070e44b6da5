//! `gunyu rdb-load` beside `redis-cli --pipe`, which is fed with the `RESTORE` commands of the same file made beforehand.
//!
//! A part of `make bench`. The rounds alternate; what counts is the ratio of their medians, since both share the machine with the server. `GUNYU_BENCH_KEYS` strings of 100
//! random bytes (2,000,000), and a tenth as many hashes, sorted sets and lists of 20 elements.
//!
//! `scripts/bench.sh --bench load`

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

#[path = "results/mod.rs"]
mod results;
#[path = "../tests/support/mod.rs"]
mod support;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use gunyu::core::rdb::payload::Modules;
use gunyu::core::rdb::{Item, Scanner, Step};
use gunyu::core::resp;
use results::{Results, Row, median};
use support::gunyu::PROGRAM;
use support::server::Server;

fn main() {
    let keys = results::number("GUNYU_BENCH_KEYS", 2_000_000) as u64;
    let (results, folder) = (Results::open(), tempfile::tempdir().unwrap());
    for (name, mixed) in [
        ("strings of 100 random bytes", false),
        ("keys: strings, and a tenth hashes, zsets, lists of 20", true),
    ] {
        let rdb = folder.path().join("dump.rdb");
        let commands = folder.path().join("restore.resp");
        fill(keys, mixed, &rdb);
        write_commands(&rdb, &commands);
        measure(&results, name, &rdb, &commands);
    }
}

/// Writes an RDB file with what a server has been filled with.
fn fill(keys: u64, mixed: bool, rdb: &Path) {
    let server = Server::start();
    let mut pipe = pipe(&server);
    let mut out = BufWriter::new(pipe.stdin.take().unwrap());
    let mut rng = fastrand::Rng::with_seed(5);
    let mut bytes = BytesMut::new();
    for key in 0..keys {
        let value: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(100).collect();
        resp::encode_command(&mut bytes, &[b"SET", format!("key:{key:012}").as_bytes(), &value]);
        if mixed && key % 10 == 0 {
            collection(&mut bytes, key, &mut rng);
        }
        if bytes.len() > 1 << 20 {
            out.write_all(&bytes).unwrap();
            bytes.clear();
        }
    }
    out.write_all(&bytes).unwrap();
    drop(out);
    assert!(pipe.wait().unwrap().success());
    std::fs::write(rdb, server.snapshot()).unwrap();
}

fn collection(bytes: &mut BytesMut, key: u64, rng: &mut fastrand::Rng) {
    let parts: Vec<String> = (0..20).map(|_| format!("{:x}", rng.u64(..))).collect();
    let name = format!("collection:{key:012}");
    let mut args: Vec<Vec<u8>> = Vec::new();
    match key % 30 {
        0 => args.push(b"RPUSH".to_vec()),
        10 => args.push(b"HSET".to_vec()),
        _ => args.push(b"ZADD".to_vec()),
    }
    args.push(name.into_bytes());
    for part in parts {
        match key % 30 {
            0 => {}
            10 => args.push(part.clone().into_bytes()),
            _ => args.push(rng.u32(..).to_string().into_bytes()),
        }
        args.push(part.into_bytes());
    }
    let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    resp::encode_command(bytes, &args);
}

/// Writes the `RESTORE` commands of a file.
fn write_commands(rdb: &Path, commands: &Path) {
    let mut scanner = Scanner::new();
    scanner.push(Bytes::from(std::fs::read(rdb).unwrap()));
    let mut out = BufWriter::new(File::create(commands).unwrap());
    let (mut bytes, mut payload) = (BytesMut::new(), BytesMut::new());
    while let Step::Item(item) = scanner.step().unwrap() {
        let Item::Key(key) = item else { continue };
        let version = scanner.version().unwrap();
        payload.clear();
        bytes.clear();
        let footer = key.payload().footer(version, version, Modules::Unknown).unwrap();
        key.payload().write(&mut payload, footer);
        resp::encode_command(&mut bytes, &[b"RESTORE", &key.key, b"0", &payload, b"REPLACE"]);
        out.write_all(&bytes).unwrap();
    }
    out.flush().unwrap();
}

/// What a program has spent.
#[derive(Debug, Default, Clone, Copy)]
struct Spent {
    wall_s: f64,
    cpu_s: f64,
    rss_bytes: u64,
    disk_bytes: u64,
    target_bytes: u64,
}

fn measure(results: &Results, name: &str, rdb: &Path, commands: &Path) {
    let target = Server::start();
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    let mut digests = Vec::new();
    for _ in 0..results::rounds(5) {
        let () = target.run(&["FLUSHALL"]);
        theirs.push(spent(&target, || {
            let mut pipe = pipe(&target);
            let mut input = File::open(commands).unwrap();
            std::io::copy(&mut input, &mut pipe.stdin.take().unwrap()).unwrap();
            pipe
        }));
        digests.push(target.digest());
        let () = target.run(&["FLUSHALL"]);
        ours.push(spent(&target, || {
            let url = target.url();
            let args = ["rdb-load", rdb.to_str().unwrap(), "--quiet", "--target", &url];
            let mut load = Command::new(PROGRAM);
            load.args(args).stdout(Stdio::null()).spawn().unwrap()
        }));
        digests.push(target.digest());
    }
    assert!(
        digests.windows(2).all(|pair| pair[0] == pair[1]),
        "both load the same"
    );
    let keys = target.keys();
    let of = |all: &[Spent], figure: fn(&Spent) -> f64| median(all.iter().map(figure));
    let bytes =
        |all: &[Spent], figure: fn(&Spent) -> u64| median(all.iter().map(|one| figure(one) as f64)) as u64;
    let (our_wall, their_wall) = (of(&ours, |one| one.wall_s), of(&theirs, |one| one.wall_s));
    let cpu = of(&ours, |one| one.cpu_s);
    let mebibytes = bytes(&ours, |one| one.rss_bytes) as f64 / f64::from(1 << 20);
    let figure = format!(
        "rdb-load of {:.2} M {name}, beside redis-cli --pipe",
        keys as f64 / 1e6
    );
    let row = Row::of("rdb-load", &figure)
        .count("rounds", ours.len() as u64)
        .count("file_bytes", std::fs::metadata(rdb).unwrap().len())
        .number("wall_s", our_wall)
        .number("native_s", their_wall)
        .number("ratio", our_wall / their_wall)
        .number("cpu_s", cpu)
        .number("native_cpu_s", of(&theirs, |one| one.cpu_s))
        .count("commands", keys)
        .number("cpu_s_per_million", cpu / keys as f64 * 1e6)
        .number("rss_mib", mebibytes)
        .count("disk_bytes", bytes(&ours, |one| one.disk_bytes))
        .count("target_bytes", bytes(&ours, |one| one.target_bytes))
        .count("native_target_bytes", bytes(&theirs, |one| one.target_bytes));
    results.put(row);
}

/// `redis-cli --pipe` into a server.
fn pipe(server: &Server) -> Child {
    Command::new("redis-cli")
        .args(["-p", &server.port().to_string(), "--pipe"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// What the program that `start` starts spends until its end, and what the target hears of it.
#[allow(unsafe_code)] // a system call that nothing else makes: what one child has spent
fn spent(target: &Server, start: impl FnOnce() -> Child) -> Spent {
    let received = || -> u64 { target.info("stats")["total_net_input_bytes"].parse().unwrap() };
    let (before, began) = (received(), Instant::now());
    let child = i32::try_from(start().id()).unwrap();
    let mut status = 0;
    // SAFETY: it is plain numbers, for which zeroes are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to what is ours; nobody else waits for the child.
    let waited = unsafe { libc::wait4(child, &raw mut status, 0, &raw mut usage) };
    let wall_s = began.elapsed().as_secs_f64();
    assert!(waited == child && status == 0, "{status}");
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Spent {
        wall_s,
        cpu_s: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        // In kibibytes, and in blocks of 512 bytes.
        rss_bytes: usage.ru_maxrss as u64 * 1024,
        disk_bytes: usage.ru_oublock as u64 * 512,
        target_bytes: received() - before,
    }
}
