//! A crash within a large value: gunyu goes on inside it, or begins it anew, and nobody ever sees a part of it under the key's name.

use std::path::Path;

use super::support::encodings::noise;
use super::support::wire::{Batch, put};
use super::support::{Gunyu, Server, assert_equal, wait_for};
use super::{MIB, PATIENCE, found, letters, staged};

/// Bytes of an element.
const ELEMENT: usize = 400;

/// Elements of a value; of the string, bytes by [`ELEMENT`].
const COUNT: usize = 12_000;

/// So slow that a value is still under way when it has been looked at several times.
const SLOW: [&str; 2] = [
    "output.replay.rateLimit.bytesPerSec=1MiB",
    "output.replay.bigValueBytes=64KiB",
];

/// As fast as it goes.
const FAST: [&str; 1] = ["output.replay.bigValueBytes=64KiB"];

/// A value that takes seconds at that pace, in database 2, under `key`; and some small keys in database 3, which come after it.
fn fill(source: &Server, kind: &str) {
    let mut conn = source.conn();
    redis::cmd("SELECT").arg(2).exec(&mut conn).unwrap();
    let noise = noise(2 * MIB);
    let mut batch = Batch::default();
    for number in 0..COUNT {
        let element = [
            number.to_string().as_bytes(),
            &noise[number * ELEMENT % MIB..][..ELEMENT],
        ]
        .concat();
        match kind {
            "string" => put!(batch, "APPEND", "key", element),
            // The same element again and again: what is doubled or left out is seen.
            "list" if number % 3 == 0 => put!(batch, "RPUSH", "key", &noise[..ELEMENT]),
            "list" => put!(batch, "RPUSH", "key", element),
            "set" => put!(batch, "SADD", "key", element),
            "hash" => put!(batch, "HSET", "key", number, element),
            "zset" => put!(batch, "ZADD", "key", number, element),
            _ => put!(
                batch,
                "XADD",
                "key",
                format!("{}-1", number + 1),
                "field",
                element
            ),
        }
    }
    if kind == "stream" {
        for (group, at) in [("one", "0"), ("two", "500-0"), ("last", "$")] {
            put!(batch, "XGROUP", "CREATE", "key", group, at);
        }
        for (group, consumer) in [("one", "alice"), ("one", "bob"), ("two", "carol")] {
            put!(
                batch,
                "XREADGROUP",
                "GROUP",
                group,
                consumer,
                "COUNT",
                700,
                "STREAMS",
                "key",
                ">"
            );
        }
        put!(batch, "XACK", "key", "one", "3-1", "701-1");
    }
    put!(batch, "PEXPIREAT", "key", 1_999_999_999_999_i64);
    put!(batch, "SELECT", 3);
    for number in 0..200 {
        put!(batch, "SET", format!("small:{number}"), number);
    }
    batch.must(&mut conn);
}

fn start(source: &Server, target: &Server, set: &[&str]) -> Gunyu {
    Gunyu::start(&source.url(), &target.url(), set)
}

/// The same gunyu, with other settings.
fn restart(gunyu: &mut Gunyu, source: &Server, target: &Server, set: &[&str]) {
    let mut args = vec![
        "sync".to_owned(),
        format!("--source={}", source.url()),
        format!("--target={}", target.url()),
    ];
    args.extend(set.iter().map(|pair| format!("--set={pair}")));
    gunyu.restart_with(args);
}

/// The staged name in database 2, and the elements that the checkpoint says are written of it.
fn progress(target: &Server) -> Result<(String, u64), String> {
    let mut conn = target.conn();
    let checkpoints: Vec<String> = redis::cmd("KEYS")
        .arg("redis-gunyu-checkpoint*}")
        .query(&mut conn)
        .unwrap();
    let checkpoint = checkpoints.first().ok_or("no checkpoint")?;
    let cursor: Option<String> = redis::cmd("HGET")
        .arg(checkpoint)
        .arg("cursor")
        .query(&mut conn)
        .unwrap();
    let cursor = cursor.ok_or("no cursor")?;
    let elements: u64 = cursor.rsplit(':').next().unwrap().parse().unwrap();
    redis::cmd("SELECT").arg(2).exec(&mut conn).unwrap();
    let names: Vec<String> = redis::cmd("KEYS")
        .arg("redis-gunyu-staged*")
        .query(&mut conn)
        .unwrap();
    match (names.into_iter().next(), elements) {
        (Some(name), 1..) => Ok((name, elements)),
        (name, elements) => Err(format!("{name:?}, {elements} elements, cursor {cursor}")),
    }
}

/// Waits until a part of the value is written and recorded, more than `at_least` of its elements, and the snapshot is here: one that is not whole is asked for
/// anew.
#[track_caller]
fn wait_within(gunyu: &Gunyu, target: &Server, at_least: u64) -> (String, u64) {
    wait_for(
        PATIENCE,
        "the snapshot is here and a part of the value is written",
        || {
            if !holds_a_snapshot(&gunyu.state_dir()) {
                return Err(gunyu.traces());
            }
            let (name, elements) = progress(target)?;
            (elements > at_least)
                .then_some((name, elements))
                .ok_or(format!("{elements} elements"))
        },
    )
}

/// Whether a file below this folder has the name of a snapshot that is whole.
fn holds_a_snapshot(folder: &Path) -> bool {
    let Ok(entries) = folder.read_dir() else {
        return false;
    };
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.any(|path| path.extension().is_some_and(|end| end == "rdb") || holds_a_snapshot(&path))
}

fn in_database_2(target: &Server) -> redis::Connection {
    let mut conn = target.conn();
    redis::cmd("SELECT").arg(2).exec(&mut conn).unwrap();
    conn
}

#[track_caller]
fn end_equal(mut gunyu: Gunyu, source: &Server, target: &Server) {
    gunyu.wait_applied(source, PATIENCE);
    assert_eq!(gunyu.term().code(), Some(0), "{}", gunyu.traces());
    assert_eq!(letters(&gunyu.state_dir()), [serde_json::Value::Null; 0]);
    assert_eq!(staged(target), [""; 0]);
    assert_equal(source, target);
}

fn full_syncs(source: &Server) -> u64 {
    source.info("stats")["sync_full"].parse().unwrap()
}

/// Killed twice within the value, it goes on where it was each time.
fn goes_on(kind: &str, source: &Server, target: &Server) {
    fill(source, kind);
    let mut gunyu = start(source, target, &SLOW);
    let (_, first) = wait_within(&gunyu, target, 0);
    gunyu.kill9();
    assert!(!exists(target, "key"), "nobody sees a part of it");
    gunyu.restart();
    wait_within(&gunyu, target, first);
    gunyu.kill9();
    restart(&mut gunyu, source, target, &FAST);
    gunyu.wait_applied(source, PATIENCE);
    let traces = gunyu.traces();
    assert_eq!(traces.matches("goes on within a key").count(), 2, "{traces}");
    assert_eq!(full_syncs(source), 1);
    end_equal(gunyu, source, target);
}

fn exists(target: &Server, key: &str) -> bool {
    redis::cmd("EXISTS")
        .arg(key)
        .query(&mut in_database_2(target))
        .unwrap()
}

macro_rules! of_each_type {
    ($claim:ident $check:ident) => {
        mod $claim {
            use super::{Server, $check};

            of_each_type! { $check
                a_string "string"
                a_list "list"
                a_set "set"
                a_hash "hash"
                a_sorted_set "zset"
                a_stream_with_groups "stream"
            }
        }
    };
    ($check:ident $($test:ident $kind:literal)*) => {
        $(#[test]
        fn $test() {
            $check($kind, &Server::start(), &Server::start());
        })*
    };
}

of_each_type! { a_crash_within_a_value_is_gone_on_from goes_on }
of_each_type! { a_target_that_loses_a_part_in_between_is_told_and_the_key_stays_as_it_was loses_a_part }

/// Its fields expire, so that they cannot be counted.
#[test]
fn a_crash_within_a_hash_whose_fields_expire_is_gone_on_from() {
    let Some(binary) = found("redis-8.6") else { return };
    let (source, target) = (Server::of(&binary, &[]), Server::of(&binary, &[]));
    fill(&source, "hash");
    let mut conn = in_database_2(&source);
    for first in (0..COUNT).step_by(1_000) {
        let mut command = redis::cmd("HPEXPIREAT");
        command
            .arg("key")
            .arg(1_999_999_999_000 + first as i64)
            .arg("FIELDS")
            .arg(500);
        command.arg((first..first + 500).collect::<Vec<_>>());
        command.exec(&mut conn).unwrap();
    }
    let mut gunyu = start(&source, &target, &SLOW);
    wait_within(&gunyu, &target, 0);
    gunyu.kill9();
    restart(&mut gunyu, &source, &target, &FAST);
    gunyu.wait_applied(&source, PATIENCE);
    assert!(
        gunyu.traces().contains("goes on within a key"),
        "{}",
        gunyu.traces()
    );
    end_equal(gunyu, &source, &target);
}

#[test]
fn a_stop_within_a_value_is_gone_on_from() {
    let (source, target) = (Server::start(), Server::start());
    fill(&source, "list");
    let mut gunyu = start(&source, &target, &SLOW);
    wait_within(&gunyu, &target, 0);
    assert_eq!(gunyu.term().code(), Some(0), "{}", gunyu.traces());
    restart(&mut gunyu, &source, &target, &FAST);
    gunyu.wait_applied(&source, PATIENCE);
    assert!(
        gunyu.traces().contains("goes on within a key"),
        "{}",
        gunyu.traces()
    );
    end_equal(gunyu, &source, &target);
}

#[test]
fn a_value_whose_part_has_gone_meanwhile_begins_anew() {
    for kind in ["list", "hash", "stream"] {
        let (source, target) = (Server::start(), Server::start());
        fill(&source, kind);
        let mut gunyu = start(&source, &target, &SLOW);
        let (name, _) = wait_within(&gunyu, &target, 0);
        gunyu.kill9();
        let () = redis::cmd("DEL")
            .arg(&name)
            .query(&mut in_database_2(&target))
            .unwrap();
        restart(&mut gunyu, &source, &target, &FAST);
        gunyu.wait_applied(&source, PATIENCE);
        assert!(
            !gunyu.traces().contains("goes on within a key"),
            "{}",
            gunyu.traces()
        );
        assert_eq!(full_syncs(&source), 1, "the snapshot is still there");
        end_equal(gunyu, &source, &target);
    }
}

/// As long as before, and yet not the same: it was gone once, and filled up again.
#[test]
fn a_list_that_was_gone_and_is_long_again_begins_anew() {
    let (source, target) = (Server::start(), Server::start());
    fill(&source, "list");
    let mut gunyu = start(&source, &target, &SLOW);
    let (name, _) = wait_within(&gunyu, &target, 0);
    gunyu.kill9();
    let mut conn = in_database_2(&target);
    let () = redis::cmd("LTRIM")
        .arg(&[&name, "10", "-1"])
        .query(&mut conn)
        .unwrap();
    let () = redis::cmd("RPUSH")
        .arg(&name)
        .arg(vec!["more"; 1000])
        .query(&mut conn)
        .unwrap();
    restart(&mut gunyu, &source, &target, &FAST);
    gunyu.wait_applied(&source, PATIENCE);
    assert!(
        !gunyu.traces().contains("goes on within a key"),
        "{}",
        gunyu.traces()
    );
    end_equal(gunyu, &source, &target);
}

#[test]
fn a_target_that_comes_back_without_data_gets_everything_anew() {
    let (source, mut target) = (Server::start(), Server::start());
    fill(&source, "list");
    let mut gunyu = start(&source, &target, &SLOW);
    wait_within(&gunyu, &target, 0);
    gunyu.kill9();
    target.restart();
    restart(&mut gunyu, &source, &target, &FAST);
    end_equal(gunyu, &source, &target);
}

#[test]
fn a_target_that_loses_fields_which_expire_is_told() {
    let Some(binary) = found("redis-8.6") else { return };
    let (source, target) = (Server::of(&binary, &[]), Server::of(&binary, &[]));
    fill(&source, "hash");
    let () = redis::cmd("HPEXPIREAT")
        .arg(&["key", "1999999999999", "FIELDS", "2", "1", "2"])
        .query(&mut in_database_2(&source))
        .unwrap();
    let mut gunyu = start(&source, &target, &SLOW);
    lose(&target, &mut gunyu);
    restart(&mut gunyu, &source, &target, &FAST);
    end_equal(gunyu, &source, &target);
}

/// While gunyu is at work: what the target kept of the value is not made to look whole.
fn loses_a_part(kind: &str, source: &Server, target: &Server) {
    fill(source, kind);
    let () = redis::cmd("SET")
        .arg("key")
        .arg("old")
        .query(&mut in_database_2(target))
        .unwrap();
    let mut gunyu = start(source, target, &SLOW);
    lose(target, &mut gunyu);
    let old: String = redis::cmd("GET")
        .arg("key")
        .query(&mut in_database_2(target))
        .unwrap();
    assert_eq!(old, "old", "{kind}");
    // What the hint says helps.
    restart(&mut gunyu, source, target, &FAST);
    end_equal(gunyu, source, target);
}

/// The staged name goes while the value is written; gunyu must notice.
#[track_caller]
fn lose(target: &Server, gunyu: &mut Gunyu) {
    let (name, _) = wait_within(gunyu, target, 0);
    let gone: u64 = redis::cmd("DEL")
        .arg(&name)
        .query(&mut in_database_2(target))
        .unwrap();
    assert_eq!(gone, 1);
    let status = gunyu.wait_status(PATIENCE, "it stops", |status| status[0]["State"] == "stop");
    let told = status[0]["LastError"].to_string();
    for word in ["key key", "evicts keys", "maxmemory-policy"] {
        assert!(told.contains(word), "{word} in {told}");
    }
    assert_eq!(staged(target), [""; 0]);
}

/// The snapshot is gone, and with it the key: nothing of it stays on the target, in no database.
#[test]
fn what_an_unfinished_full_sync_has_left_goes_with_the_next() {
    for owned in [true, false] {
        let (source, target) = (Server::start(), Server::start());
        fill(&source, "list");
        if !owned {
            let () = redis::cmd("SET")
                .arg("other")
                .arg("1")
                .query(&mut in_database_2(&target))
                .unwrap();
            let () = redis::cmd("SET")
                .arg("other")
                .arg("1")
                .query(&mut in_database_2(&source))
                .unwrap();
        }
        let mut gunyu = start(&source, &target, &SLOW);
        wait_within(&gunyu, &target, 0);
        gunyu.forget();
        let () = redis::cmd("DEL")
            .arg("key")
            .query(&mut in_database_2(&source))
            .unwrap();
        restart(&mut gunyu, &source, &target, &FAST);
        end_equal(gunyu, &source, &target);
    }
}

/// The head of the snapshot is read again, and ends before its first value.
#[test]
fn going_on_behind_a_large_value_takes_little_memory() {
    let (source, target) = (Server::with(&["--rdbcompression", "no"]), Server::start());
    let (mut conn, noise) = (source.conn(), noise(17 * MIB));
    for part in 0..5 {
        let value = &noise[part * 1000..][..16 * MIB];
        redis::cmd("APPEND")
            .arg("key")
            .arg(value)
            .exec(&mut conn)
            .unwrap();
    }
    redis::cmd("SELECT").arg(1).exec(&mut conn).unwrap();
    let mut batch = Batch::default();
    for number in 0..20_000 {
        put!(batch, "SET", format!("small:{number}"), number);
    }
    batch.must(&mut conn);
    let mut gunyu = start(&source, &target, &["output.replay.rateLimit.opsPerSec=3000"]);
    wait_for(PATIENCE, "keys behind it are recorded", || {
        let keys: Vec<String> = target.run(&["KEYS", "redis-gunyu-checkpoint*}"]);
        let checkpoint = keys.first().ok_or("no checkpoint")?;
        let cursor: Option<String> = target.run(&["HGET", checkpoint, "cursor"]);
        let keys = cursor
            .as_deref()
            .and_then(|cursor| cursor.split(':').nth(2)?.parse::<u64>().ok());
        keys.filter(|keys| *keys > 100)
            .map(|_| ())
            .ok_or(format!("{cursor:?}"))
    });
    gunyu.kill9();
    restart(&mut gunyu, &source, &target, &[]);
    gunyu.wait_applied(&source, PATIENCE);
    let peak = gunyu.stats().rss_bytes_max();
    assert!(
        gunyu.traces().contains("goes on where it was"),
        "{}",
        gunyu.traces()
    );
    assert!(peak < 96 * MIB as u64, "{peak} bytes");
    end_equal(gunyu, &source, &target);
}
