//! `gunyu rdb-stats`: its figures against files of which everything is known, and against what real servers say of themselves.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper that fails fails its test"
)]

#[path = "../support/mod.rs"]
mod support;

mod large;
mod servers;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use support::gunyu::PROGRAM;
use support::rdb::{Rdb, intset, listpack, lzf_of_literals, opcode, ziplist, zipmap};

/// What came of the command.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn of(output: &Output) -> Ran {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Ran {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

fn run(args: &[&str]) -> Ran {
    Ran::of(
        &Command::new(PROGRAM)
            .arg("rdb-stats")
            .args(args)
            .output()
            .unwrap(),
    )
}

/// Of bytes that lie in a file.
fn run_on(bytes: &[u8], args: &[&str]) -> Ran {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let path = file.path().to_str().unwrap();
    run(&[&[path], args].concat())
}

/// Of bytes that come through a pipe.
fn run_piped(bytes: &[u8], args: &[&str]) -> Ran {
    let mut child = Command::new(PROGRAM)
        .args(["rdb-stats", "-"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(bytes));
        Ran::of(&child.wait_with_output().unwrap())
    })
}

/// A file that succeeds; its figures.
#[track_caller]
fn figures(bytes: &[u8], args: &[&str]) -> Value {
    let ran = run_on(bytes, &[&["--json"], args].concat());
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    ran.json()
}

const FAR_MS: i64 = 4_102_444_800_000;

/// Two databases, ten keys of nine encodings, of which everything is known.
fn known() -> Vec<u8> {
    Rdb::in_memory("REDIS0011")
        .aux("redis-ver", "7.2.0")
        .raw(&[opcode::FUNCTION])
        .string(b"#!lua name=mylib\nreturn 1")
        .select(0)
        .raw(&[opcode::RESIZEDB, 7, 2])
        .key(0, b"user:1:name")
        .string(b"ann")
        .key(0, b"user:2:name")
        .raw(&[0xc0, 7])
        .expires_ms(1000)
        .key(0, b"user:3")
        .raw(&lzf_of_literals(&[b'z'; 100]))
        .expires_ms(FAR_MS)
        .key(16, b"cart:1")
        .string(&listpack(&["a", "1", "b", "2"]))
        .key(20, b"tags")
        .string(&listpack(&["x", "y", "z"]))
        .key(11, b"ids")
        .string(&intset(&[1, 2, 3, 4, 5]))
        .raw(&[opcode::FREQ, 9])
        .key(1, b"queue/in")
        .length(2)
        .string(b"first")
        .string(&[b'q'; 300])
        .select(7)
        .key(4, b"user:9")
        .length(1)
        .string(b"f")
        .string(b"v")
        .key(12, b"rank")
        .string(&ziplist(&["m", "1"]))
        .key(0, &[0xff, b':', 0xfe])
        .string(b"")
        .bytes()
}

#[test]
fn every_figure_of_a_known_file_is_right() {
    let bytes = known();
    let found = figures(&bytes, &[]);
    assert_eq!(found["keys"], 10);
    let keys_bytes = found["bytes"].as_u64().unwrap();
    // All but the header, the fields, the hints, the ends.
    let rest = 9 + 1 + 10 + 6 + 1 + 26 + 2 + 3 + 2 + 1 + 8;
    assert_eq!(keys_bytes, bytes.len() as u64 - rest);
    let databases = &found["databases"];
    assert_eq!(databases.as_array().unwrap().len(), 2);
    let of = |nth: usize, field: &str| databases[nth][field].clone();
    assert_eq!(
        (of(0, "db"), of(0, "keys"), of(0, "expiring")),
        (0.into(), 7.into(), 2.into())
    );
    assert_eq!(
        (of(1, "db"), of(1, "keys"), of(1, "expiring")),
        (7.into(), 3.into(), 0.into())
    );
    let types: Vec<(String, u64, u64)> = found["types"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let name = format!(
                "{} {}",
                one["type"].as_str().unwrap(),
                one["encoding"].as_str().unwrap()
            );
            (
                name,
                one["keys"].as_u64().unwrap(),
                one["bytes"].as_u64().unwrap(),
            )
        })
        .collect();
    // A type byte, name and value with the lengths before them; expiry and frequency.
    let expected = [
        ("string raw", 2, 1 + 12 + 4 + 1 + 4 + 1),
        ("list linkedlist", 1, 2 + 1 + 9 + 1 + 6 + 302),
        ("hash hashtable", 1, 1 + 7 + 1 + 2 + 2),
        ("set intset", 1, 1 + 4 + 1 + 48),
        ("zset ziplist", 1, 1 + 5 + 1 + 10 + 1 + 3 + 3),
        ("hash listpack", 1, 9 + 1 + 7 + 1 + 6 + 4 * 3 + 1),
        ("set listpack", 1, 1 + 5 + 1 + 6 + 3 * 3 + 1),
        ("string int", 1, 1 + 12 + 2),
        ("string lzf", 1, 9 + 1 + 7 + 1 + 2 + 2 + 104),
    ];
    let expected = expected.map(|(name, keys, bytes)| (name.to_owned(), keys, bytes));
    assert_eq!(types, expected);
    assert_eq!(types.iter().map(|one| one.2).sum::<u64>(), keys_bytes);
}

#[test]
fn lifetimes_and_what_is_about_the_file_are_told() {
    let found = figures(&known(), &[]);
    let left: Vec<(&str, u64)> = found["ttl"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["left"].as_str().unwrap(), one["keys"].as_u64().unwrap()))
        .collect();
    let expected = [
        ("none", 8),
        ("expired", 1),
        ("under 1 hour", 0),
        ("under 1 day", 0),
        ("under 7 days", 0),
        ("under 30 days", 0),
        ("30 days and more", 1),
    ];
    assert_eq!(left, expected);
    let file = &found["file"];
    assert_eq!(file["fields"], json!([{ "name": "redis-ver", "value": "7.2.0" }]));
    assert_eq!(file["functions"], json!([{ "name": "mylib", "bytes": 25 }]));
    assert_eq!(file["version"], "REDIS0011");
    assert_eq!(
        (&file["whole"], &file["checksum"]),
        (&json!(true), &json!("compared"))
    );
    assert_eq!(file["bytes"], known().len());
}

#[test]
fn the_biggest_are_ranked_by_bytes_and_by_elements() {
    let found = figures(&known(), &["--top", "3"]);
    let keys = |list: &str| -> Vec<Value> {
        let all = found[list].as_array().unwrap().iter();
        all.map(|one| json!([one["key"], one["elements"]])).collect()
    };
    assert_eq!(
        keys("biggest_by_bytes"),
        [json!(["queue/in", 2]), json!(["user:3", null]), json!(["ids", 5])]
    );
    assert_eq!(
        keys("biggest_by_elements"),
        [json!(["ids", 5]), json!(["tags", 3]), json!(["cart:1", 2])]
    );
    let none = figures(&known(), &["--top", "0"]);
    assert_eq!(
        (&none["biggest_by_bytes"], &none["prefixes"]["biggest"]),
        (&json!([]), &json!([]))
    );
}

#[test]
fn prefixes_are_counted_up_to_their_first_and_second_separator() {
    let found = figures(&known(), &[]);
    let prefixes = |found: &Value| -> Vec<Value> {
        let all = found["prefixes"]["biggest"].as_array().unwrap().iter();
        all.map(|one| json!([one["prefix"], one["keys"], one["missing_bytes_max"]]))
            .collect()
    };
    let expected = [
        json!(["queue/", 1, 0]),
        json!(["user:", 4, 0]),
        json!(["cart:", 1, 0]),
        json!(["user:1:", 1, 0]),
        json!(["user:2:", 1, 0]),
        json!([{ "base64": "/zo=" }, 1, 0]),
    ];
    assert_eq!(prefixes(&found), expected);
    assert_eq!(found["prefixes"]["exact"], true);
    assert_eq!(found["prefixes"]["without"]["keys"], 3);
    let slashes = figures(&known(), &["--prefix-separator", "/"]);
    assert_eq!(prefixes(&slashes), [json!(["queue/", 1, 0])]);
}

#[test]
fn a_pipe_gives_the_same_figures_as_the_file() {
    let mut file = figures(&known(), &[]);
    let ran = run_piped(&known(), &["--json"]);
    let mut piped = ran.json();
    assert_eq!((ran.code, &piped["file"]["name"]), (Some(0), &json!("stdin")));
    for found in [&mut file, &mut piped] {
        found["file"]["name"] = Value::Null;
    }
    assert_eq!(file, piped);
}

#[test]
fn people_get_tables_in_which_nothing_commands_the_terminal() {
    let bytes = Rdb::in_memory("REDIS0009")
        .select(0)
        .key(0, b"\x1b[2Jred:x")
        .string(b"v")
        .bytes();
    let ran = run_on(&bytes, &[]);
    assert_eq!(ran.code, Some(0));
    for part in [
        "REDIS0009",
        "checksum compared",
        "db  keys  expiring  bytes\n 0     1         0",
        "string  raw          1",
        "100.0%",
        "Biggest prefixes",
        "\\u{1b}[2Jred:",
    ] {
        assert!(ran.stdout.contains(part), "{part:?} is missing:\n{}", ran.stdout);
    }
    assert!(!ran.stdout.contains('\x1b'), "{:?}", ran.stdout);
    assert!(
        ran.stdout.lines().all(|line| line == line.trim_end()),
        "{}",
        ran.stdout
    );
}

#[test]
fn files_of_the_first_versions_are_counted() {
    for magic in ["REDIS0001", "REDIS0002", "REDIS0003"] {
        let bytes = Rdb::in_memory(magic)
            .select(0)
            .raw(&[opcode::EXPIRE_SECS])
            .raw(&1_000_i32.to_le_bytes())
            .key(9, b"hash")
            .string(&zipmap(&[(b"f", b"v"), (b"g", b"w")]))
            .key(3, b"zset")
            .length(2)
            .string(b"m")
            .raw(b"\x031.5")
            .string(b"n")
            .raw(&[254])
            .end_bare()
            .unwrap();
        let found = figures(&bytes, &[]);
        assert_eq!(found["file"]["checksum"], "none");
        let of = |nth: usize| {
            let one = &found["biggest_by_elements"][nth];
            json!([one["key"], one["type"], one["encoding"], one["elements"]])
        };
        assert_eq!(
            [of(0), of(1)],
            [
                json!(["hash", "hash", "zipmap", 2]),
                json!(["zset", "zset", "skiplist", 2])
            ]
        );
        assert_eq!(
            found["ttl"][1],
            json!({ "left": "expired", "keys": 1, "bytes": found["biggest_by_bytes"][0]["bytes"] })
        );
    }
}

#[test]
fn a_file_that_stops_is_counted_up_to_there_and_the_byte_is_named() {
    let whole = known();
    let all = figures(&whole, &[]);
    let mut keys_before = 0;
    for cut in [
        0,
        5,
        9,
        40,
        60,
        80,
        100,
        200,
        300,
        500,
        whole.len() - 9,
        whole.len() - 1,
    ] {
        let ran = run_on(&whole[..cut], &["--json"]);
        let found = ran.json();
        assert_eq!(ran.code, Some(1), "cut at {cut}: {ran:?}");
        let keys = found["keys"].as_u64().unwrap();
        assert!(keys >= keys_before && keys <= 10, "cut at {cut}: {keys}");
        keys_before = keys;
        assert_eq!(
            (&found["file"]["whole"], &found["file"]["bytes"]),
            (&json!(false), &json!(cut))
        );
        assert_eq!(found["file"]["checksum"], Value::Null);
        assert!(
            ran.stderr.contains("byte ") && ran.stderr.contains("hint: "),
            "{ran:?}"
        );
        assert_eq!(all["types"].as_array().unwrap().len(), 9);
    }
    assert_eq!(keys_before, 10);
}

#[test]
fn damage_is_told_by_its_byte_and_a_wrong_checksum_at_the_end() {
    let good = known();
    let mut changed = good.clone();
    let at = good.windows(3).position(|bytes| bytes == b"ann").unwrap();
    changed[at] = b'A';
    let ran = run_on(&changed, &["--json"]);
    assert_eq!((ran.code, &ran.json()["keys"]), (Some(1), &json!(10)));
    let trailer = format!("byte {} of the RDB, reading the checksum", good.len() - 8);
    assert!(ran.stderr.contains(&trailer), "{ran:?}");

    let mut garbled = good.clone();
    // Where the type of the second key stands.
    garbled[at + 3] = 0xf0;
    let ran = run_on(&garbled, &["--json"]);
    assert_eq!((ran.code, &ran.json()["keys"]), (Some(1), &json!(1)));
    assert!(
        ran.stderr.contains(&format!("byte {} of the RDB", at + 3)),
        "{ran:?}"
    );

    let longer = [&good[..], b"*1\r\n"].concat();
    let ran = run_on(&longer, &[]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("follow the end") && ran.stdout.contains("10 keys"),
        "{ran:?}"
    );
}

#[test]
fn what_is_no_rdb_is_told_with_a_hint() {
    for (bytes, hint) in [
        (&b"\x1f\x8b\x08\0\0\0\0\0\0\0\0"[..], "gunzip"),
        (b"\x28\xb5\x2f\xfd\0\0\0\0\0\0", "zstd"),
        (b"*3\r\n$3\r\nSET\r\n", "REDIS or VALKEY"),
        (b"", "REDIS or VALKEY"),
        (b"REDIS0010\xfa", "not whole"),
    ] {
        let ran = run_on(bytes, &[]);
        assert_eq!(ran.code, Some(1));
        assert!(ran.stderr.contains(hint), "{hint}: {ran:?}");
    }
    let missing = run(&["no/such.rdb"]);
    assert_eq!(missing.code, Some(1));
    assert!(
        missing.stderr.contains("no/such.rdb") && missing.stderr.contains("hint: "),
        "{missing:?}"
    );
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(&[folder.path().to_str().unwrap()]).code, Some(1));
    assert_eq!(run(&[]).code, Some(2));
    assert_eq!(run(&["x", "--top", "-1"]).code, Some(2));
    assert_eq!(run(&["x", "--prefix-separator", "é"]).code, Some(2));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&known()).unwrap();
    let mut child = Command::new(PROGRAM)
        .arg("rdb-stats")
        .arg(file.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ran = Ran::of(&child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
}

/// Where it is, for the tests of other files.
fn path_of(path: &Path) -> &str {
    path.to_str().unwrap()
}
