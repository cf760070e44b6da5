//! Reading RDB files, beside a plain buffered read of the same file with CRC64 in the same run.
//!
//! Three ways through a file: a look at each key where it lies ([`Scanner::look`]), its items ([`Scanner::step`]), both read ahead on a thread as
//! the commands do, and `gunyu rdb-stats` as the program that a user runs, its start included. What counts are the
//! ratios: each figure is the best of several rounds that take turns, since the machine may be shared. What decoding costs, `micro` says.
//!
//! `scripts/bench.sh --bench rdb`

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stderr)]
// The file that is shared with the tests has more than is used here.
#![allow(dead_code, unreachable_pub)]

#[path = "../tests/support/rdb.rs"]
mod rdb;
#[path = "results/mod.rs"]
mod results;
#[path = "micro/values.rs"]
mod values;

use std::fs::File;
use std::hint::black_box;
use std::io::{BufWriter, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use gunyu::cmd::progress::How;
use gunyu::cmd::rdb_file::RdbFile;
use gunyu::core::rdb::{Checksum, Item, Scanner, Step};
use rdb::Rdb;
use results::{Results, Row};
use values::mixed_keys;

const ROUNDS: usize = 7;
const STRINGS: u64 = 4_000_000;
const MIXED: u64 = 150_000;
const CHUNK_BYTES: usize = 1 << 20;

fn main() {
    let (results, folder) = (Results::open(), tempfile::tempdir().unwrap());
    for (name, path) in [
        ("4 M strings of 100 B", strings(folder.path())),
        ("every type, mixed", mixed(folder.path())),
    ] {
        through(&results, name, &path);
    }
}

type Out = Rdb<BufWriter<File>>;

fn create(path: &Path) -> Out {
    Rdb::new(BufWriter::new(File::create(path).unwrap()), "REDIS0011").select(0)
}

fn strings(folder: &Path) -> PathBuf {
    let path = folder.join("strings.rdb");
    let value = [b'x'; 100];
    let write = |rdb: Out, n| rdb.key(0, format!("key:{n:012}").as_bytes()).string(&value);
    create(&path).times(STRINGS, write).end().unwrap();
    path
}

/// Mostly strings and small collections, some large ones.
fn mixed(folder: &Path) -> PathBuf {
    let path = folder.join("mixed.rdb");
    create(&path).times(MIXED, mixed_keys()).end().unwrap();
    path
}

/// A way through a file.
type Way = (&'static str, fn(&Path));

const WAYS: [Way; 4] = [
    ("plain read, CRC64", plain),
    ("a look at each key", look),
    ("items", items),
    ("`gunyu rdb-stats`", stats),
];

fn through(results: &Results, name: &str, path: &Path) {
    let bytes = std::fs::metadata(path).unwrap().len() as f64;
    let mut best = [f64::MAX; WAYS.len()];
    for _ in 0..ROUNDS {
        for ((_, way), best) in WAYS.iter().zip(&mut best) {
            let begin = Instant::now();
            way(path);
            *best = best.min(begin.elapsed().as_secs_f64());
        }
    }
    // The first is what the others are measured beside.
    for ((way, _), seconds) in WAYS.iter().zip(best).skip(1) {
        let row = Row::of("rdb", &format!("RDB file, {name}, {:.0} MB: {way}", bytes / 1e6))
            .number("gb_per_s", bytes / seconds / 1e9)
            .number("native_gb_per_s", bytes / best[0] / 1e9)
            .number("ratio", seconds / best[0]);
        results.put(row);
    }
}

fn plain(path: &Path) {
    let (mut file, mut buffer) = (File::open(path).unwrap(), vec![0; CHUNK_BYTES]);
    let mut checksum = Checksum::new();
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => break,
            read => checksum.update(&buffer[..read]),
        }
    }
    black_box(checksum.value());
}

/// Pushes the file's next bytes, if there are any.
fn push(file: &mut RdbFile, scanner: &mut Scanner) -> bool {
    match file.next_chunk().unwrap() {
        Some(chunk) => {
            scanner.push(chunk);
            true
        }
        None => false,
    }
}

fn look(path: &Path) {
    let (mut file, mut scanner, mut bytes) = (RdbFile::open(path, How::Not).unwrap(), Scanner::new(), 0);
    loop {
        let step = scanner.look(|key| bytes += key.value.len());
        match step.unwrap() {
            Step::Item(Item::Key(key)) => bytes += key.value.len(),
            Step::NeedMore | Step::End(_) if !push(&mut file, &mut scanner) => break,
            _ => {}
        }
    }
    assert!(scanner.finish().unwrap().checked);
    black_box(bytes);
}

fn items(path: &Path) {
    let (mut file, mut scanner) = (RdbFile::open(path, How::Not).unwrap(), Scanner::new());
    loop {
        match scanner.step().unwrap() {
            Step::Item(item) => drop(black_box(item)),
            Step::NeedMore | Step::End(_) if !push(&mut file, &mut scanner) => break,
            _ => {}
        }
    }
    assert!(scanner.finish().unwrap().checked);
}

fn stats(path: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gunyu"));
    command
        .args(["rdb-stats", "--json"])
        .arg(path)
        .stdout(Stdio::null());
    assert!(command.status().unwrap().success());
}
