//! Values at the edges: huge, empty, binary; larger than the target takes.

use super::support::wire::{Batch, put};
use super::support::workload::{Draw, Seed};
use super::support::{Gunyu, SOON, Server};
use super::{PATIENCE, end_equal, full_syncs, live, only_input};

const MIB: usize = 1 << 20;

/// Elements of a large collection.
const ELEMENTS: usize = 200_000;

fn set(server: &Server, key: &str, value: &[u8]) {
    let mut batch = Batch::default();
    put!(batch, "SET", key, value);
    batch.must(&mut server.conn());
}

fn large_string(server: &Server, seed: &Seed, key: &str) {
    let value = Draw(seed.rng(64)).bytes(64 * MIB);
    set(server, key, &value);
}

/// A hash, a zset, a list, a set and a stream, each in commands of a thousand elements.
fn large_collections(server: &Server, name: &str) {
    let mut conn = server.conn();
    for first in (0..ELEMENTS).step_by(1_000) {
        let numbers = first..first + 1_000;
        let mut batch = Batch::default();
        let mut many = |command: &str, element: &dyn Fn(usize) -> Vec<String>| {
            let args: Vec<String> = numbers.clone().flat_map(element).collect();
            batch.begin(2 + args.len());
            batch.arg(&command);
            batch.arg(&format!("{command}:{name}"));
            args.iter().for_each(|arg| batch.arg(arg));
        };
        many("HSET", &|n| vec![format!("field:{n}"), format!("value:{n}")]);
        many("ZADD", &|n| {
            vec![format!("{}", n as f64 / 7.0), format!("member:{n}")]
        });
        many("RPUSH", &|n| vec![format!("element:{n}")]);
        many("SADD", &|n| vec![format!("member:{n}")]);
        for number in numbers {
            put!(
                batch,
                "XADD",
                format!("XADD:{name}"),
                format!("{}-1", number + 1),
                "field",
                number
            );
        }
        batch.must(&mut conn);
    }
}

#[test]
fn a_string_of_64_mib_arrives_in_the_snapshot_and_live() {
    let seed = Seed::pick();
    let (source, target) = (Server::start(), Server::start());
    large_string(&source, &seed, "snapshot");
    let mut gunyu = live(&source, &target, &[]);
    large_string(&source, &seed, "live");
    let mut batch = Batch::default();
    put!(batch, "APPEND", "live", "end");
    put!(batch, "SETRANGE", "sparse", 64 * MIB, "end");
    batch.must(&mut source.conn());
    gunyu.wait_applied(&source, PATIENCE);
    assert_eq!(target.run::<usize>(&["STRLEN", "live"]), 64 * MIB + 3);
    assert_eq!(full_syncs(&gunyu), 1);
    end_equal(gunyu, &source, &target);
}

#[test]
fn collections_of_200_000_elements_arrive_in_the_snapshot_and_live() {
    let (source, target) = (Server::start(), Server::start());
    large_collections(&source, "snapshot");
    let gunyu = live(&source, &target, &[]);
    large_collections(&source, "live");
    assert_eq!(full_syncs(&gunyu), 1);
    end_equal(gunyu, &source, &target);
    assert_eq!(target.run::<usize>(&["XLEN", "XADD:live"]), ELEMENTS);
    assert_eq!(target.run::<usize>(&["ZCARD", "ZADD:snapshot"]), ELEMENTS);
}

/// Keys and values that a line-oriented or text-minded program would break on.
const ODD: &[&[u8]] = &[
    b"",
    b"\0",
    b"\r\n",
    b"\n",
    b" ",
    b"*1\r\n$4\r\nPING\r\n",
    b"$-1\r\n",
    b"+OK\r\n",
    b"\xff\xfe\xfd",
    b"{}",
    b"}{",
    b"REPLCONF GETACK *",
    b"*",
    b"?",
    b"[a-z]",
    b"\"quoted\"",
    b"\\",
    b"\xe2\x82\xac",
];

fn odd_values(server: &Server, name: &[u8]) {
    let mut batch = Batch::default();
    for key in ODD {
        let key_of = |kind: &[u8]| [name, kind, key].concat();
        put!(batch, "SET", key_of(b""), *key);
        put!(batch, "SET", key_of(b"empty"), "");
        for value in ODD {
            put!(batch, "HSET", key_of(b"hash"), *value, *value);
            put!(batch, "RPUSH", key_of(b"list"), *value);
            put!(batch, "SADD", key_of(b"set"), *value);
            put!(batch, "ZADD", key_of(b"zset"), 1.to_string(), *value);
            put!(batch, "XADD", key_of(b"stream"), "*", *value, *value);
        }
    }
    put!(batch, "DEL", [name, b"empty-stream"].concat());
    put!(
        batch,
        "XGROUP",
        "CREATE",
        [name, b"empty-stream"].concat(),
        "",
        "0",
        "MKSTREAM"
    );
    put!(batch, "PFADD", [name, b"empty-hll"].concat());
    put!(batch, "SET", vec![b'k'; 70_000], name);
    batch.must(&mut server.conn());
}

#[test]
fn empty_and_binary_keys_and_values_arrive_in_the_snapshot_and_live() {
    let (source, target) = (Server::start(), Server::start());
    odd_values(&source, b"");
    odd_values(&source, b"snapshot");
    let gunyu = live(&source, &target, &[]);
    odd_values(&source, b"live");
    odd_values(&source, b"");
    end_equal(gunyu, &source, &target);
    assert_eq!(target.run::<String>(&["GET", ""]), "");
}

/// Waits until status tells what is wrong and what to do, and gives both.
fn trouble(gunyu: &mut Gunyu, words: &[&str]) -> String {
    let said = |status: &serde_json::Value| status[0]["LastError"].to_string();
    let status = gunyu.wait_status(SOON * 2, &format!("{words:?} are told"), |status| {
        let said = said(status);
        words.iter().all(|word| said.contains(word))
    });
    said(&status)
}

/// The target closes the connection on such a value; without a word of gunyu's own nobody would know why.
#[test]
fn a_value_larger_than_the_target_takes_is_told_during_the_full_sync() {
    let (source, target) = (Server::start(), Server::with(&["--proto-max-bulk-len", "1mb"]));
    set(&source, "small", b"x");
    set(&source, "the-large-one", &vec![b'x'; 3 * MIB]);
    let value = Draw(Seed::of(1).rng(1)).bytes(3 * MIB);
    set(&source, "the-large-one", &value);
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    trouble(&mut gunyu, &["the-large-one", "proto-max-bulk-len"]);
    assert_eq!(target.run::<Option<String>>(&["GET", "the-large-one"]), None);
    // What the hint says helps.
    let () = target.run(&["CONFIG", "SET", "proto-max-bulk-len", "64mb"]);
    gunyu.restart();
    gunyu.wait_ready(PATIENCE);
    end_equal(gunyu, &source, &target);
}

#[test]
fn a_value_larger_than_the_target_takes_is_told_in_the_live_stream() {
    let (source, target) = (Server::start(), Server::with(&["--proto-max-bulk-len", "1mb"]));
    let mut gunyu = live(&source, &target, &[]);
    set(&source, "before", b"x");
    set(&source, "the-large-one", &vec![b'x'; 3 * MIB]);
    set(&source, "after", b"x");
    trouble(&mut gunyu, &["proto-max-bulk-len"]);
    assert_eq!(
        target.run::<Option<String>>(&["GET", "after"]),
        None,
        "nothing passes it"
    );
    assert_ne!(only_input(&gunyu)["Phase"], "incremental");
    let () = target.run(&["CONFIG", "SET", "proto-max-bulk-len", "64mb"]);
    gunyu.restart();
    gunyu.wait_applied(&source, PATIENCE);
    assert_eq!(full_syncs(&gunyu), 0);
    end_equal(gunyu, &source, &target);
}
