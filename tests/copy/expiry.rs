//! Times of expiry, and how often and when a key was used.

use std::collections::BTreeMap;

use super::support::wire::{Batch, put};
use super::support::{Gunyu, Server, now_ms, wait_until};
use super::{PATIENCE, end_equal, live};

/// What makes a full sync slow enough for keys to expire while it runs: so many bytes, at this rate.
const BALLAST_BYTES: usize = 3_000_000;
const SLOWLY: &str = "output.replay.rateLimit.bytesPerSec=250000";

/// Times of expiry on both sides differ by less.
const TOLERANCE_MS: i64 = 50;

fn ballast(server: &Server, name: &str) {
    let mut batch = Batch::default();
    let value: Vec<u8> = (0..1_000).map(|_| fastrand::u8(..)).collect();
    for number in 0..BALLAST_BYTES / value.len() {
        put!(batch, "SET", format!("{name}:{number}"), value);
    }
    batch.must(&mut server.conn());
}

/// Keys of several types in two databases, all of which expire at `at_ms`, or not.
fn keys(server: &Server, name: &str, count: usize, at_ms: Option<u64>) {
    let mut batch = Batch::default();
    for number in 0..count {
        put!(batch, "SELECT", if number % 2 == 0 { 0 } else { 3 });
        let key = format!("{name}:{number}");
        match number % 3 {
            0 => put!(batch, "SET", key, number),
            1 => put!(batch, "RPUSH", key, number),
            _ => put!(batch, "HSET", key, "field", number),
        }
        if let Some(at) = at_ms {
            put!(batch, "PEXPIREAT", key, at);
        }
    }
    batch.must(&mut server.conn());
}

/// PEXPIRETIME of all keys, by database.
fn expire_times(server: &Server) -> BTreeMap<(u32, String), i64> {
    let mut conn = server.conn();
    let mut found = BTreeMap::new();
    for db in server.keyspace().into_keys() {
        redis::cmd("SELECT").arg(db).exec(&mut conn).unwrap();
        let names: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut conn).unwrap();
        for name in names.into_iter().filter(|name| !name.starts_with("redis-gunyu")) {
            let at: i64 = redis::cmd("PEXPIRETIME").arg(&name).query(&mut conn).unwrap();
            found.insert((db, name), at);
        }
    }
    found
}

#[track_caller]
fn assert_same_expiry(source: &Server, target: &Server) {
    let (here, there) = (expire_times(source), expire_times(target));
    assert_eq!(here.keys().collect::<Vec<_>>(), there.keys().collect::<Vec<_>>());
    for (key, at) in &here {
        let other = there[key];
        let same = (at - other).abs() <= TOLERANCE_MS && (*at < 0) == (other < 0);
        assert!(same, "{key:?}: source {at}, target {other}");
    }
}

/// A slow full sync that has begun to apply.
fn slow(source: &Server, target: &Server, rate: &str) -> Gunyu {
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[rate]);
    gunyu.wait_status(PATIENCE, "keys are being restored", |status| {
        status[0]["Phase"] == "full_sync" && status[0]["FullSync"]["Keys"].as_u64() > Some(0)
    });
    gunyu
}

fn wait_past(at_ms: u64) {
    wait_until(PATIENCE, "the keys have expired", || now_ms() > at_ms + 100);
}

#[test]
fn keys_that_expire_during_a_full_sync_and_were_renewed_end_up_as_on_the_source() {
    let (source, target) = (Server::start(), Server::start());
    ballast(&source, "ballast");
    // It runs for half a minute.
    let soon = now_ms() + 20_000;
    keys(&source, "lengthened", 30, Some(soon));
    keys(&source, "persisted", 30, Some(soon));
    keys(&source, "written-anew", 30, Some(soon));
    keys(&source, "given-up", 30, Some(soon));
    keys(&source, "shortened", 30, Some(now_ms() + 3_600_000));
    keys(&source, "lasting", 30, None);
    let mut gunyu = slow(&source, &target, "output.replay.rateLimit.bytesPerSec=100000");
    let mut batch = Batch::default();
    for number in 0..30 {
        put!(batch, "SELECT", if number % 2 == 0 { 0 } else { 3 });
        put!(
            batch,
            "PEXPIREAT",
            format!("lengthened:{number}"),
            now_ms() + 500_000 + number
        );
        put!(batch, "PERSIST", format!("persisted:{number}"));
        put!(batch, "DEL", format!("written-anew:{number}"));
        put!(batch, "RPUSH", format!("written-anew:{number}"), number);
        put!(batch, "PEXPIREAT", format!("shortened:{number}"), soon);
    }
    batch.must(&mut source.conn());
    assert!(now_ms() < soon, "the keys were renewed before they expired");
    wait_past(soon);
    assert_eq!(
        gunyu.status()[0]["Phase"],
        "full_sync",
        "the keys expired while it ran"
    );
    gunyu.wait_applied(&source, PATIENCE);
    wait_until(PATIENCE, "what was not renewed is gone", || {
        target.keys() == source.keys() + 2
    });
    assert_same_expiry(&source, &target);
    assert_eq!(
        target.run::<Vec<String>>(&["KEYS", "given-up:*"]),
        Vec::<String>::new()
    );
    assert_eq!(
        target.run::<Vec<String>>(&["KEYS", "shortened:*"]),
        Vec::<String>::new()
    );
    assert_eq!(target.run::<Vec<String>>(&["KEYS", "lengthened:*"]).len(), 15);
    end_equal(gunyu, &source, &target);
}

/// The target must expire them itself, too: once the source is gone nobody sends a DEL.
#[test]
fn times_of_expiry_are_the_same_on_both_sides() {
    let (source, target) = (Server::start(), Server::start());
    let now = now_ms();
    for (name, at) in [
        ("minutes", now + 300_000),
        ("hours", now + 7_200_000),
        ("years", now + 99_000_000_000),
    ] {
        keys(&source, name, 20, Some(at));
    }
    keys(&source, "lasting", 20, None);
    keys(&source, "past", 20, Some(1));
    let mut gunyu = live(&source, &target, &[]);
    keys(&source, "live-minutes", 20, Some(now_ms() + 200_000));
    let mut batch = Batch::default();
    put!(batch, "SET", "ex", "x", "EX", 1_000);
    put!(batch, "GETEX", "ex", "PX", 2_000_000);
    put!(batch, "PSETEX", "psetex", 3_000_000, "x");
    put!(batch, "SET", "keepttl", "x", "EX", 1_000);
    put!(batch, "SET", "keepttl", "y", "KEEPTTL");
    put!(batch, "EXPIRE", "keepttl", 5_000, "GT");
    batch.must(&mut source.conn());
    gunyu.wait_applied(&source, PATIENCE);
    // Parked times of expiry are settled right after the full sync is caught up with.
    let same = || expire_times(&source) == expire_times(&target);
    wait_until(PATIENCE, "every time of expiry is settled", same);
    assert_same_expiry(&source, &target);
    end_equal(gunyu, &source, &target);
}

/// A key whose time of expiry was put off must get it back after a crash, too.
#[test]
fn times_of_expiry_survive_a_crash_during_the_full_sync() {
    let (source, target) = (Server::start(), Server::start());
    keys(&source, "minutes", 60, Some(now_ms() + 600_000));
    ballast(&source, "a");
    let mut gunyu = slow(&source, &target, SLOWLY);
    gunyu.restart();
    gunyu.wait_applied(&source, PATIENCE);
    let same = || expire_times(&source) == expire_times(&target);
    wait_until(PATIENCE, "every time of expiry is settled", same);
    end_equal(gunyu, &source, &target);
}

/// What is put off of an expiry is where the key is, whatever the stream does with the key.
#[test]
fn an_expiry_that_is_put_off_goes_with_its_key_and_gives_way_to_another_that_had_a_condition() {
    let (source, target) = (Server::start(), Server::start());
    keys(&source, "minutes", 60, Some(now_ms() + 900_000));
    keys(&source, "others", 60, Some(now_ms() + 1_800_000));
    ballast(&source, "ballast");
    let mut gunyu = slow(&source, &target, SLOWLY);
    let mut batch = Batch::default();
    for number in (0..60).step_by(2) {
        let (key, other) = (format!("minutes:{number}"), format!("others:{number}"));
        put!(batch, "SELECT", 0);
        match number % 12 {
            0 => put!(batch, "EXPIRE", key, 86_400, "GT"),
            2 => put!(batch, "RENAME", key, other),
            4 => {
                put!(batch, "RENAME", key, "on its way");
                put!(batch, "RENAMENX", "on its way", format!("there:{number}"));
            }
            6 => put!(batch, "COPY", key, format!("copied:{number}")),
            8 => put!(batch, "COPY", key, format!("copied:{number}"), "DB", 7, "REPLACE"),
            _ => put!(batch, "MOVE", key, 5),
        }
    }
    put!(batch, "SWAPDB", 3, 9);
    put!(batch, "SWAPDB", 9, 2);
    put!(batch, "SELECT", 2);
    put!(batch, "RENAME", "minutes:1", "after the swap");
    batch.must(&mut source.conn());
    assert_eq!(gunyu.status()[0]["Phase"], "full_sync", "it is under way");
    gunyu.wait_applied(&source, PATIENCE);
    wait_until(PATIENCE, "every time of expiry is settled", || {
        gunyu
            .traces()
            .contains("was put off during the full sync have it now")
    });
    assert_same_expiry(&source, &target);
    end_equal(gunyu, &source, &target);
}

/// Who has the catalog no more cannot know which keys they are, and says what helps.
#[test]
fn expiries_that_were_put_off_are_told_of_where_the_catalog_is_gone() {
    let (source, target) = (Server::start(), Server::start());
    keys(&source, "minutes", 60, Some(now_ms() + 900_000));
    let args = vec![
        "sync".to_owned(),
        format!("--source={}", source.url()),
        format!("--target={}", target.url()),
    ];
    let mut gunyu = Gunyu::with_args(args, &[("GUNYU_CRASH_AT", "sync.done:1")]);
    wait_until(
        PATIENCE,
        "it has died between the full sync and the stream",
        || gunyu.ended().is_some(),
    );
    std::fs::remove_dir_all(gunyu.state_dir().join("catalog")).unwrap();
    gunyu.restart_with_env(&[]);
    let status = gunyu.wait_status(PATIENCE, "it tells", |status| {
        let told = status[0]["LastError"]["Message"].as_str();
        told.is_some_and(|told| told.contains("ten years"))
    });
    let hint = status[0]["LastError"]["Hint"].as_str().unwrap();
    assert_eq!(hint, format!("gunyu fullsync --inputs {}", source.addr()));
    gunyu.must("POST", "/syncer/fullsync?inputs=all");
    wait_until(PATIENCE, "every time of expiry is settled", || {
        gunyu
            .traces()
            .contains("was put off during the full sync have it now")
    });
    assert_same_expiry(&source, &target);
    end_equal(gunyu, &source, &target);
}

/// A key restored with this RESTORE option, and what OBJECT says of it on both sides.
fn carried(policy: &str, option: [&str; 2], ask: &str) -> (i64, i64) {
    let options = ["--maxmemory-policy", policy];
    let (source, target) = (Server::with(&options), Server::with(&options));
    let () = source.run(&["SET", "template", "value"]);
    let payload: Vec<u8> = source.run(&["DUMP", "template"]);
    let mut restore = redis::cmd("RESTORE");
    restore.arg("key").arg(0).arg(payload).arg(&option);
    restore.exec(&mut source.conn()).unwrap();
    let gunyu = live(&source, &target, &[]);
    let both = (
        source.run(&["OBJECT", ask, "key"]),
        target.run(&["OBJECT", ask, "key"]),
    );
    end_equal(gunyu, &source, &target);
    both
}

#[test]
fn how_long_a_key_was_idle_is_carried_over() {
    let (here, there) = carried("allkeys-lru", ["IDLETIME", "5000"], "IDLETIME");
    assert!(
        (here - there).abs() <= 15 && there >= 5_000,
        "source {here}, target {there}"
    );
}

#[test]
fn how_often_a_key_was_used_is_carried_over() {
    let (here, there) = carried("allkeys-lfu", ["FREQ", "77"], "FREQ");
    assert!(
        (here - there).abs() <= 2 && there >= 75,
        "source {here}, target {there}"
    );
}
