//! Memory does not grow with the file, and figures are right where values come in pieces and prefixes are many.

#![allow(unsafe_code)] // system calls that nothing else makes

use std::fs::File;
use std::io::BufWriter;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use serde_json::{Value, json};

use crate::path_of;
use crate::support::gunyu::PROGRAM;
use crate::support::rdb::{Rdb, listpack};

const MEMORY_BYTES_MAX: i64 = 128 << 20;

/// Runs on a large file; its figures, and the most memory it had.
#[allow(clippy::zombie_processes, reason = "wait4 waits for it")]
fn run(path: &Path) -> (Value, i64) {
    let out = tempfile::tempfile().unwrap();
    let child = Command::new(PROGRAM)
        .args(["rdb-stats", "--json", path_of(path)])
        .stdout(out.try_clone().unwrap())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let (mut status, pid) = (0, i32::try_from(child.id()).unwrap());
    // SAFETY: a plain structure of numbers, for which all zeros is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: plain system call; the child is ours and nobody else waits for it.
    let ended = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    assert_eq!((ended, ExitStatus::from_raw(status).code()), (pid, Some(0)));
    let mut out = out;
    std::io::Seek::rewind(&mut out).unwrap();
    (serde_json::from_reader(out).unwrap(), usage.ru_maxrss * 1024)
}

fn create(path: &Path) -> Rdb<BufWriter<File>> {
    Rdb::new(BufWriter::new(File::create(path).unwrap()), "REDIS0011").without_checksum()
}

#[test]
fn memory_stays_flat_for_a_single_large_value_of_any_type() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.rdb");
    let element = [b'e'; 1000];
    let node = listpack(&(0..60).map(|n| format!("{n:050}")).collect::<Vec<_>>());
    let rdb = create(&path)
        .select(0)
        .key(0, b"string")
        .length(200 << 20)
        .times(200, |rdb, _| rdb.raw(&vec![b's'; 1 << 20]))
        .key(4, b"hash")
        .length(150_000)
        .times(150_000, |rdb, n| rdb.string(&n.to_be_bytes()).string(&element))
        .key(18, b"list")
        .length(50_000)
        .times(50_000, |rdb, _| rdb.length(2).string(&node))
        .key(15, b"stream")
        .length(100_000)
        .times(100_000, |rdb, n| {
            rdb.string(&[&n.to_be_bytes()[..], &[0; 8]].concat())
                .string(&element)
        })
        .length(777)
        .raw(&[5, 0, 0]);
    let written = rdb.written();
    rdb.end().unwrap();
    let (found, memory) = run(&path);
    assert!(
        memory < MEMORY_BYTES_MAX,
        "{memory} bytes for a file of {written}"
    );
    let elements: Vec<Value> = found["biggest_by_elements"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| json!([one["key"], one["elements"]]))
        .collect();
    assert_eq!(
        elements,
        [
            json!(["list", 3_000_000]),
            json!(["hash", 150_000]),
            json!(["stream", 777])
        ]
    );
    // The header, and the selection.
    assert_eq!(
        (&found["keys"], &found["bytes"]),
        (&json!(4), &json!(written - 9 - 2))
    );
    assert_eq!(found["file"]["checksum"], "none");
}

#[test]
fn memory_stays_flat_for_any_number_of_prefixes_and_big_ones_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prefixes.rdb");
    let mut bytes = [0_u64; 2];
    create(&path)
        .select(0)
        .times(1_000_000, |rdb, n| {
            let before = rdb.written();
            let rdb = match n % 5 {
                0 => rdb
                    .key(0, format!("big:{}", n % 1000).as_bytes())
                    .string(b"value"),
                _ => rdb
                    .key(0, format!("{n:020}:and:more").as_bytes())
                    .string(b"value"),
            };
            bytes[usize::from(n % 5 == 0)] += rdb.written() - before;
            rdb
        })
        .end()
        .unwrap();
    let (found, memory) = run(&path);
    assert!(memory < MEMORY_BYTES_MAX, "{memory} bytes");
    let (prefixes, first) = (&found["prefixes"], &found["prefixes"]["biggest"][0]);
    assert_eq!(
        (&prefixes["exact"], &first["prefix"]),
        (&json!(false), &json!("big:"))
    );
    assert_eq!(
        (&first["keys"], &first["bytes"]),
        (&json!(200_000), &json!(bytes[1]))
    );
    assert_eq!(first["missing_bytes_max"], 0);
    let of_others = &prefixes["biggest"][1];
    assert!(
        of_others["missing_bytes_max"].as_u64().unwrap() > 0,
        "{of_others}"
    );
    assert_eq!(found["bytes"], bytes[0] + bytes[1]);
}
