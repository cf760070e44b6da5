//! What it costs to write down the keys of a full sync, and to look others up among them, as the sweep of stale keys does: a million keys, or as many as `GUNYU_BENCH_KEYS` says.
//!
//! Prints, for each tenth, how long it took and how much memory of its own (`RssAnon`) the process has. Names come in no order, as a server sends them. Every eleventh
//! key that is looked up is unknown, and noted as one that only the target has.
//!
//! `GUNYU_BENCH_KEYS=100000000 scripts/bench.sh --bench key_set`

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::time::Instant;

use gunyu::core::catalog::{Catalog, Fate};

// As in the program.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As many keys as a chunk of the snapshot brings, and as a step of the walk.
const AT_ONCE: u64 = 1_000;

/// The name of the key of that number: numbers that follow each other are far from each other.
fn name(number: u64) -> Vec<u8> {
    format!("key:{:016x}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15)).into_bytes()
}

fn own_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024
}

fn row(what: &str, done: u64, in_tenth: u64, began: Instant) {
    let rate = in_tenth as f64 / began.elapsed().as_secs_f64() / 1_000.0;
    println!("| {what} | {done} | {rate:.0} | {} |", own_mib());
}

fn main() {
    let keys: u64 = std::env::var("GUNYU_BENCH_KEYS").map_or(1_000_000, |keys| keys.parse().unwrap());
    let tenth: u64 = (keys / 10u64).next_multiple_of(AT_ONCE);
    let folder = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(folder.path()).unwrap();
    let set = catalog.seen("bench").unwrap();
    set.begin(1).unwrap();
    println!("| what | keys | thousand a second | MiB of its own |\n| --- | --- | --- | --- |");
    for part in 0..10 {
        let began = Instant::now();
        for first in (part * tenth..(part + 1) * tenth).step_by(AT_ONCE as usize) {
            let names: Vec<Vec<u8>> = (first..first + AT_ONCE).map(name).collect();
            set.insert(names.iter().map(|name| (0, &name[..]))).unwrap();
        }
        row("written down", (part + 1) * tenth, tenth, began);
    }
    // A tenth of them, from all over.
    let looked = tenth / 10;
    let mut unknown = 0;
    for part in 0..10 {
        let began = Instant::now();
        for first in (part * tenth..part * tenth + looked).step_by(AT_ONCE as usize) {
            let mut names: Vec<Vec<u8>> = (first..first + AT_ONCE).map(name).collect();
            names.extend((0..AT_ONCE / 10).map(|number| name(u64::MAX / 2 + first + number)));
            unknown += set.note_stale(0, names, Fate::Kept).unwrap().len() as u64;
        }
        row("looked up", (part + 1) * looked, looked, began);
    }
    assert_eq!(unknown, set.stale().unwrap().kept);
    assert_eq!(
        unknown,
        10 * looked.div_ceil(AT_ONCE) * (AT_ONCE / 10),
        "none is invented"
    );
}
