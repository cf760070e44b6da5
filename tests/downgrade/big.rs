//! Values of any size: written in pieces while they arrive, in little memory.

use std::collections::BTreeSet;
use std::time::Instant;

use super::support::encodings::noise;
use super::support::wire::{Batch, put};
use super::support::{Gunyu, Server, assert_equal, typed};
use super::{
    COMMANDS_ALONE, FROM_64_KIB, GO_ON, MIB, PATIENCE, copy, copy_with, found, is_full, staged, words,
};

const TYPES: [&str; 6] = ["string", "list", "set", "hash", "zset", "stream"];

/// Bytes of an element.
const ELEMENT: usize = 500;

/// A value of this type of about so many bytes, which nothing can shorten, under the type's name.
fn fill(conn: &mut redis::Connection, kind: &str, bytes: usize) {
    let noise = noise(2 * MIB);
    let mut sent = 0;
    while sent < bytes {
        let mut batch = Batch::default();
        if kind == "string" {
            put!(
                batch,
                "APPEND",
                kind,
                &noise[sent / MIB % MIB..][..MIB.min(bytes - sent)]
            );
        } else {
            let numbers = sent / ELEMENT..(sent + MIB.min(bytes - sent)) / ELEMENT;
            for number in numbers {
                add(
                    &mut batch,
                    kind,
                    number,
                    &noise[number * ELEMENT % MIB..][..ELEMENT],
                );
            }
        }
        batch.must(conn);
        sent += MIB;
    }
}

fn add(batch: &mut Batch, kind: &str, number: usize, noise: &[u8]) {
    let element = [number.to_string().as_bytes(), noise].concat();
    match kind {
        "list" => put!(batch, "RPUSH", kind, element),
        "set" => put!(batch, "SADD", kind, element),
        "hash" => put!(batch, "HSET", kind, number, element),
        "zset" => put!(batch, "ZADD", kind, number, element),
        _ => put!(batch, "XADD", kind, format!("{}-1", number + 1), "field", element),
    }
}

/// gunyu until everything is applied; the most memory that it had.
#[track_caller]
fn copied(source: &Server, target: &Server, set: &[&str]) -> u64 {
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), set);
    gunyu.wait_applied(source, PATIENCE);
    let bytes = gunyu.stats().rss_bytes_max();
    assert_eq!(gunyu.term().code(), Some(0), "{}", gunyu.traces());
    bytes
}

/// How often a command ran.
fn calls(server: &Server, command: &str) -> u64 {
    let stats = server.info("commandstats");
    let calls = stats.get(&format!("cmdstat_{command}"));
    let calls = calls.and_then(|text| text.strip_prefix("calls=")?.split(',').next()?.parse().ok());
    calls.unwrap_or(0)
}

/// `renamed`: so many values were written in pieces.
fn in_pieces(source: &[&str], set: &[&str], renamed: u64) {
    let (source, target) = (Server::with(source), Server::start());
    let mut conn = source.conn();
    for db in [0, 3, 9] {
        redis::cmd("SELECT").arg(db).exec(&mut conn).unwrap();
        for kind in TYPES {
            fill(&mut conn, kind, 3 * MIB / 2 + db * 1000);
        }
        redis::cmd("SET").arg("small").arg(db).exec(&mut conn).unwrap();
        redis::cmd("PEXPIREAT")
            .arg("hash")
            .arg(1_999_999_999_999_i64)
            .exec(&mut conn)
            .unwrap();
        redis::cmd("XGROUP")
            .arg(&["CREATE", "stream", "group", "7-1"])
            .exec(&mut conn)
            .unwrap();
        redis::cmd("XREADGROUP")
            .arg(&[
                "GROUP", "group", "reader", "COUNT", "100", "STREAMS", "stream", ">",
            ])
            .exec(&mut conn)
            .unwrap();
    }
    copied(&source, &target, set);
    assert_eq!(calls(&target, "rename"), renamed);
    assert_eq!(calls(&target, "restore"), 0);
    assert_eq!(staged(&target), [""; 0]);
    assert_equal(&source, &target);
}

#[test]
fn large_values_arrive_in_pieces_from_a_snapshot_on_disk() {
    in_pieces(&["--repl-diskless-sync", "no"], &[FROM_64_KIB], 18);
}

#[test]
fn large_values_arrive_in_pieces_from_a_snapshot_without_disk() {
    in_pieces(&["--repl-diskless-sync", "yes"], &[FROM_64_KIB], 18);
}

#[test]
fn values_that_are_there_whole_arrive_in_pieces_with_commands_alone() {
    // A string that is there whole is set.
    in_pieces(&["--repl-diskless-sync", "yes"], &[COMMANDS_ALONE], 15);
}

/// What large values of newer servers are made of, and hashes whose fields expire.
fn in_pieces_on_another(from: &str, to: &str) {
    let (Some(from), Some(to)) = (found(from), found(to)) else {
        return;
    };
    let (source, target) = (Server::of(&from, &[]), Server::of(&to, &[]));
    let mut conn = source.conn();
    for kind in TYPES {
        fill(&mut conn, kind, 3 * MIB / 2);
    }
    let () = source.run(&["XGROUP", "CREATE", "stream", "group", "7-1"]);
    let () = source.run(&[
        "XREADGROUP",
        "GROUP",
        "group",
        "reader",
        "COUNT",
        "100",
        "STREAMS",
        "stream",
        ">",
    ]);
    let () = source.run(&["COPY", "hash", "expiring"]);
    let fields = [
        "HPEXPIREAT",
        "expiring",
        "1999999999999",
        "FIELDS",
        "3",
        "1",
        "100",
        "2000",
    ];
    let () = source.run(&fields);
    let letters = copy(&source, &target, &[FROM_64_KIB, GO_ON]).done();
    let found = typed::differences(&source, &target, |_| false);
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert_eq!(calls(&target, "rename"), 7);
    assert_eq!(staged(&target), [""; 0]);
    let told: Vec<String> = letters
        .iter()
        .flat_map(|letter| words(letter)[5..].to_vec())
        .collect();
    match typed::since(&to, (7, 4), (9, 0)) {
        true => assert_eq!(told, [""; 0]),
        false => assert_eq!(
            BTreeSet::from_iter(told),
            ["1", "100", "2000"].map(String::from).into()
        ),
    }
}

#[test]
fn large_values_of_redis_8_6_arrive_on_redis_6_2() {
    in_pieces_on_another("redis-8.6", "redis-6.2");
}

#[test]
fn large_values_of_redis_8_6_arrive_on_valkey_9_1() {
    in_pieces_on_another("redis-8.6", "valkey-9.1");
}

#[test]
fn large_values_of_valkey_9_1_arrive_on_redis_8_6() {
    in_pieces_on_another("valkey-9.1", "redis-8.6");
}

#[test]
fn large_values_of_valkey_9_1_arrive_on_redis_7_0() {
    in_pieces_on_another("valkey-9.1", "redis-7.0");
}

#[test]
fn a_large_key_goes_where_its_database_is_mapped_and_not_where_it_is_filtered() {
    let (source, target) = (Server::start(), Server::start());
    let mut conn = source.conn();
    for kind in ["hash", "list"] {
        fill(&mut conn, kind, 3 * MIB / 2);
    }
    let set = [
        FROM_64_KIB,
        "output.replay.targetDbMap={0: 5}",
        "output.filter.keyFilter.prefixKeyBlacklist=[li]",
    ];
    copied(&source, &target, &set);
    let mut there = target.conn();
    redis::cmd("SELECT").arg(5).exec(&mut there).unwrap();
    let digest = |conn: &mut redis::Connection| -> Vec<String> {
        redis::cmd("DEBUG")
            .arg("DIGEST-VALUE")
            .arg("hash")
            .query(conn)
            .unwrap()
    };
    assert_eq!(digest(&mut conn), digest(&mut there));
    assert_eq!(
        redis::cmd("KEYS")
            .arg("*")
            .query::<Vec<String>>(&mut there)
            .unwrap(),
        ["hash"]
    );
}

/// A copy is given up when nothing has moved for a while: a large value moves.
#[test]
fn a_value_that_takes_longer_than_the_patience_is_not_given_up() {
    let (source, target) = (Server::start(), Server::start());
    fill(&mut source.conn(), "hash", 7 * MIB);
    let slow = ["output.replay.rateLimit.bytesPerSec=1MiB", FROM_64_KIB];
    copy_with(&source, &target, &["--patience", "3"], &slow).done();
    assert_equal(&source, &target);
}

/// One value of each type in turn; memory does not depend on its size.
#[test]
fn one_value_larger_than_memory_may_be_takes_little_of_it() {
    let bytes = if is_full() { 2048 * MIB } else { 64 * MIB };
    for kind in TYPES {
        // A string ends at proto-max-bulk-len, 512 MiB.
        let bytes = if kind == "string" {
            bytes.min(512 * MIB - 1)
        } else {
            bytes
        };
        let (source, target) = (Server::with(&["--rdbcompression", "no"]), Server::start());
        fill(&mut source.conn(), kind, bytes);
        let began = Instant::now();
        let peak = copied(&source, &target, &[]);
        println!(
            "{kind} of {} MiB: {:.1} s, at most {} MiB resident",
            bytes / MIB,
            began.elapsed().as_secs_f64(),
            peak as usize / MIB
        );
        assert!(peak < 128 * MIB as u64, "{kind}: {peak} bytes");
        assert_equal(&source, &target);
    }
}

#[test]
fn many_values_just_below_the_size_for_pieces_take_little_memory() {
    let (source, target) = (Server::with(&["--rdbcompression", "no"]), Server::start());
    let (mut conn, noise) = (source.conn(), noise(16 * MIB));
    for number in 0..40 {
        redis::cmd("SET")
            .arg(number)
            .arg(&noise[number * 1000..][..15 * MIB])
            .exec(&mut conn)
            .unwrap();
    }
    let began = Instant::now();
    let peak = copied(&source, &target, &[]);
    println!(
        "40 of 15 MiB: {:.1} s, at most {} MiB resident",
        began.elapsed().as_secs_f64(),
        peak as usize / MIB
    );
    assert!(peak < 160 * MIB as u64, "{peak} bytes");
    assert_eq!((calls(&target, "set"), calls(&target, "rename")), (40, 0));
    assert_equal(&source, &target);
}

/// LZF makes 1 MiB of 90: what is short in the snapshot may be long in commands.
#[test]
fn what_is_short_only_because_it_is_packed_takes_little_memory() {
    let (source, target) = (Server::start(), Server::start());
    let () = source.run(&["SETRANGE", "string", &(80 * MIB).to_string(), "end"]);
    let peak = copied(&source, &target, &[COMMANDS_ALONE]);
    assert!(peak < 96 * MIB as u64, "{peak} bytes");
    assert_equal(&source, &target);
}
