//! Reading RDB files, beside a plain buffered read of the same file with CRC64 in the same run.
//!
//! Three ways through a file: a look at each key where it lies ([`Scanner::look`]), its items ([`Scanner::step`]), both read ahead on a thread as
//! the commands do, and `gunyu rdb-stats` as the program that a user runs, its start included. Then what decoding costs, by encoding, in memory.
//! Prints tables in Markdown. What counts are the ratios: each figure is the best of several rounds that take turns, since the machine may be
//! shared.
//!
//! `scripts/bench.sh --bench rdb`

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stdout)]
// The file that is shared with the tests has more than is used here.
#![allow(dead_code, unreachable_pub)]

#[path = "../tests/support/rdb.rs"]
mod rdb;

use std::fs::File;
use std::hint::black_box;
use std::io::{BufWriter, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use bytes::Bytes;
use gunyu::cmd::progress::How;
use gunyu::cmd::rdb_file::RdbFile;
use gunyu::core::rdb::value::Decoder;
use gunyu::core::rdb::{Checksum, Flavor, Item, Scanner, Step};
use rdb::{Rdb, intset, len, listpack, ziplist, zipmap};

const ROUNDS: usize = 7;
const STRINGS: u64 = 4_000_000;
const MIXED: u64 = 150_000;
const CHUNK_BYTES: usize = 1 << 20;

/// Bytes of values that are decoded of each encoding.
const DECODED_BYTES: usize = 64 << 20;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    println!("| file | way through it | GB/s | of a plain read |\n| --- | --- | --- | --- |");
    for (name, path) in [
        ("4 M strings of 100 B", strings(folder.path())),
        ("every type, mixed", mixed(folder.path())),
    ] {
        through(name, &path);
    }
    println!("\n| decoding | GB/s | million elements/s |\n| --- | --- | --- |");
    for (name, value_type, value) in values() {
        decode(name, value_type, &Bytes::from(value));
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
    let small: Vec<(u8, Vec<u8>)> = values()
        .into_iter()
        .filter(|(_, value_type, _)| *value_type != 0)
        .map(|(_, value_type, value)| (value_type, value))
        .collect();
    let write = |rdb: Out, n: u64| {
        let rdb = rdb.times(12, |rdb, part| {
            let rdb = match part % 3 {
                0 => rdb.expires_ms(1_900_000_000_000 + n as i64),
                _ => rdb,
            };
            let value = vec![b'v'; 20 + (n * 7 + part * 31) as usize % 300];
            rdb.key(
                0,
                format!("session:{:08x}:{part}", n * 2_654_435_761 % 1_000_000_007).as_bytes(),
            )
            .string(&value)
        });
        let (value_type, value) = &small[n as usize % small.len()];
        // The large ones are rare.
        match value.len() < 2000 || n.is_multiple_of(50) {
            true => rdb.key(*value_type, format!("thing:{n}").as_bytes()).raw(value),
            false => rdb.key(0, format!("counter:{n}").as_bytes()).raw(&[0xc1, 5, 5]),
        }
    };
    create(&path).times(MIXED, write).end().unwrap();
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

fn through(name: &str, path: &Path) {
    let bytes = std::fs::metadata(path).unwrap().len() as f64;
    let mut best = [f64::MAX; WAYS.len()];
    for _ in 0..ROUNDS {
        for ((_, way), best) in WAYS.iter().zip(&mut best) {
            let begin = Instant::now();
            way(path);
            *best = best.min(begin.elapsed().as_secs_f64());
        }
    }
    for ((way, _), seconds) in WAYS.iter().zip(best) {
        let (speed, ratio) = (bytes / seconds / 1e9, best[0] / seconds);
        println!(
            "| {name}, {:.0} MB | {way} | {speed:.2} | {ratio:.2} |",
            bytes / 1e6
        );
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

/// A value of each encoding.
fn values() -> Vec<(&'static str, u8, Vec<u8>)> {
    let texts = |count: usize| -> Vec<String> { (0..count).map(|n| format!("element {n:08}")).collect() };
    let strings = |count: usize| -> Vec<u8> {
        let all = texts(count)
            .into_iter()
            .flat_map(|text| joined(&len(text.len() as u64), text.as_bytes()));
        all.collect()
    };
    let string = |bytes: Vec<u8>| joined(&len(bytes.len() as u64), &bytes);
    let scored: Vec<u8> = texts(2000)
        .into_iter()
        .flat_map(|text| [&len(text.len() as u64), text.as_bytes(), &1.5_f64.to_le_bytes()].concat())
        .collect();
    let numbers: Vec<i64> = (0..64).map(|n| n * 1_000_000_007).collect();
    let small = texts(40);
    let pairs: Vec<(&[u8], &[u8])> = small
        .chunks(2)
        .map(|two| (two[0].as_bytes(), two[1].as_bytes()))
        .collect();
    let scores: Vec<String> = texts(20)
        .into_iter()
        .zip(1..)
        .flat_map(|(text, n)| [text, format!("{n}.5")])
        .collect();
    let node = joined(&len(2), &string(listpack(&texts(400))));
    vec![
        ("string, raw", 0, string(vec![b'x'; 1000])),
        ("list, linkedlist", 1, joined(&len(2000), &strings(2000))),
        (
            "list, quicklist of listpacks",
            18,
            joined(&len(4), &node.repeat(4)),
        ),
        ("list, ziplist", 10, string(ziplist(&small))),
        ("set, hashtable", 2, joined(&len(2000), &strings(2000))),
        ("set, intset", 11, string(intset(&numbers))),
        ("set, listpack", 20, string(listpack(&small))),
        ("zset, skiplist", 5, joined(&len(2000), &scored)),
        ("zset, listpack", 17, string(listpack(&scores))),
        ("hash, hashtable", 4, joined(&len(1000), &strings(2000))),
        ("hash, listpack", 16, string(listpack(&small))),
        ("hash, ziplist", 13, string(ziplist(&small))),
        ("hash, zipmap", 9, string(zipmap(&pairs))),
    ]
}

fn joined(first: &[u8], second: &[u8]) -> Vec<u8> {
    [first, second].concat()
}

fn decode(name: &str, value_type: u8, value: &Bytes) {
    let times = DECODED_BYTES / value.len();
    let (mut best, mut elements) = (f64::MAX, 0_u64);
    for _ in 0..3 {
        elements = 0;
        let begin = Instant::now();
        for _ in 0..times {
            let mut decoder = Decoder::new(value_type, Flavor::Redis, 0).unwrap();
            decoder.push(value.clone());
            while let Some(element) = decoder.element().unwrap() {
                drop(black_box(element));
                elements += 1;
            }
        }
        best = best.min(begin.elapsed().as_secs_f64());
    }
    let speed = (times * value.len()) as f64 / best / 1e9;
    println!("| {name} | {speed:.2} | {:.1} |", elements as f64 / best / 1e6);
}
