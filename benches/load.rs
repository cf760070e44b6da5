//! `gunyu rdb-load` beside `redis-cli --pipe`, which is fed with the `RESTORE` commands of the same file made beforehand.
//!
//! `scripts/bench.sh --bench load` prints a table in Markdown. The rounds alternate; what counts is the ratio of their medians, since
//! both share the machine with the server. `GUNYU_BENCH_KEYS` strings of 100 random bytes (2,000,000), and a tenth as many hashes, sorted sets
//! and lists of 20 elements.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use gunyu::core::rdb::payload::Modules;
use gunyu::core::rdb::{Item, Scanner, Step};
use gunyu::core::resp;
use support::gunyu::PROGRAM;
use support::server::Server;

const ROUNDS: usize = 5;

fn main() {
    let keys: u64 = std::env::var("GUNYU_BENCH_KEYS").map_or(2_000_000, |keys| keys.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    println!("| data | keys | file | redis-cli --pipe | gunyu rdb-load | ratio | CPU: redis-cli, gunyu |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for (name, mixed) in [
        ("strings of 100 B", false),
        ("strings, and a tenth hashes, zsets, lists of 20", true),
    ] {
        let rdb = folder.path().join("dump.rdb");
        let commands = folder.path().join("restore.resp");
        fill(keys, mixed, &rdb);
        write_commands(&rdb, &commands);
        measure(name, &rdb, &commands);
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

fn measure(name: &str, rdb: &Path, commands: &Path) {
    let target = Server::start();
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    let mut digests = Vec::new();
    for _ in 0..ROUNDS {
        let () = target.run(&["FLUSHALL"]);
        theirs.push(timed(|| {
            let mut pipe = pipe(&target);
            let mut input = File::open(commands).unwrap();
            std::io::copy(&mut input, &mut pipe.stdin.take().unwrap()).unwrap();
            assert!(pipe.wait().unwrap().success());
        }));
        digests.push(target.digest());
        let () = target.run(&["FLUSHALL"]);
        ours.push(timed(|| {
            let load = Command::new(PROGRAM)
                .args([
                    "rdb-load",
                    rdb.to_str().unwrap(),
                    "--quiet",
                    "--target",
                    &target.url(),
                ])
                .stdout(Stdio::null())
                .status();
            assert!(load.unwrap().success());
        }));
        digests.push(target.digest());
    }
    assert!(
        digests.windows(2).all(|pair| pair[0] == pair[1]),
        "both load the same"
    );
    let keys = target.keys();
    let size = std::fs::metadata(rdb).unwrap().len() >> 20;
    let (their_wall, their_cpu) = median(&mut theirs);
    let (our_wall, our_cpu) = median(&mut ours);
    println!(
        "| {name} | {keys} | {size} MiB | {their_wall:.2} s | {our_wall:.2} s | {:.2} | {their_cpu:.2} s, {our_cpu:.2} s |",
        our_wall / their_wall
    );
}

/// `redis-cli --pipe` into a server.
fn pipe(server: &Server) -> std::process::Child {
    Command::new("redis-cli")
        .args(["-p", &server.port().to_string(), "--pipe"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Wall time, and the processor time of the children that ended meanwhile, in seconds.
fn timed(work: impl FnOnce()) -> (f64, f64) {
    let (began, before) = (Instant::now(), children_cpu());
    work();
    (began.elapsed().as_secs_f64(), children_cpu() - before)
}

/// Fields 16 and 17 of `/proc/self/stat`: the processor time of children that have been waited for, in ticks of 10 ms.
fn children_cpu() -> f64 {
    let mut text = String::new();
    File::open("/proc/self/stat")
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    let fields = text.rsplit_once(')').unwrap().1;
    let ticks = fields.split_whitespace().skip(13).take(2);
    ticks.map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

fn median(times: &mut [(f64, f64)]) -> (f64, f64) {
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    times[times.len() / 2]
}
