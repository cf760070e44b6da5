//! `--repair`: what differs is as on the source afterwards, and every write counts once, whatever is written meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::support::cluster::Cluster;
use super::support::gunyu::Gunyu;
use super::support::server::{Server, connect};
use super::support::workload::{Pace, Seed};
use super::support::{SOON, wait_for};
use super::{PATIENCE, tell, verify};

/// So many counters there are, each with a list of all its numbers.
const COUNTERS: usize = 200;

/// Counts on and on, on whichever of some servers takes the key.
struct Counting {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<BTreeMap<usize, u64>>,
}

impl Counting {
    fn start(servers: &[Server], per_second: f64) -> Counting {
        let stop = Arc::new(AtomicBool::new(false));
        let (urls, stopped) = (servers.iter().map(Server::url).collect(), Arc::clone(&stop));
        let mut rng = Seed::pick().rng(0xC0);
        let count = move || {
            let urls: Vec<String> = urls;
            let mut conns: Vec<_> = urls.iter().map(|url| connect(url).unwrap()).collect();
            let mut sent: BTreeMap<usize, u64> = BTreeMap::new();
            let mut pace = Pace::new(Some(per_second));
            while !stopped.load(Ordering::SeqCst) {
                // Each once, and then at random.
                let number = match sent.len() {
                    COUNTERS => rng.usize(..COUNTERS),
                    next => next,
                };
                let next = sent.entry(number).or_insert(0);
                let mut incr = redis::cmd("INCR");
                incr.arg(format!("{{{number}}}:counter"));
                let taker = conns.iter_mut().find_map(|conn| {
                    let counted: redis::RedisResult<u64> = incr.query(conn);
                    counted.ok().map(|counted| (conn, counted))
                });
                let (conn, counted) = taker.expect("one of the servers takes the key");
                assert_eq!(counted, *next + 1);
                let mut push = redis::cmd("RPUSH");
                let _: u64 = push
                    .arg(format!("{{{number}}}:list"))
                    .arg(counted)
                    .query(conn)
                    .unwrap();
                *next += 1;
                if sent.len() == COUNTERS {
                    pace.spend(1);
                }
            }
            sent
        };
        Counting {
            stop,
            thread: std::thread::spawn(count),
        }
    }

    /// How often each was counted.
    fn stop(self) -> BTreeMap<usize, u64> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

/// Every counter, and every list, is as it was sent; on whichever of the servers has it.
#[track_caller]
fn assert_exact(servers: &[Server], sent: &BTreeMap<usize, u64>) {
    for (number, times) in sent {
        let ask = |command: &[String]| {
            servers.iter().find_map(|server| {
                let mut asked = redis::cmd(&command[0]);
                let answer: redis::RedisResult<redis::Value> =
                    asked.arg(&command[1..]).query(&mut server.conn());
                answer.ok()
            })
        };
        let counter = ask(&["GET".to_owned(), format!("{{{number}}}:counter")]);
        let counter: u64 = redis::from_redis_value(counter.unwrap()).unwrap();
        assert_eq!(counter, *times, "counter {number}");
        let list = ask(&["LRANGE", &format!("{{{number}}}:list"), "0", "-1"].map(str::to_owned));
        let list: Vec<u64> = redis::from_redis_value(list.unwrap()).unwrap();
        assert_eq!(list, (1..=*times).collect::<Vec<_>>(), "list {number}");
    }
}

/// Repairs until nothing is left, not even what changed too often to be judged.
#[track_caller]
fn repair(source: &str, target: &str, more: &[&str]) -> (u64, u64) {
    let (mut copied, mut removed) = (0, 0);
    wait_for(PATIENCE, "all is repaired", || {
        let done = verify(
            source,
            target,
            &[&["--compare", "value", "--repair"], more].concat(),
        );
        copied += done.json["repair"]["copied"].as_u64().unwrap_or(0);
        removed += done.json["repair"]["removed"].as_u64().unwrap_or(0);
        // A key that is written all the time may need another time, and is told so.
        match done.json["changing"] == 0 && done.code == Some(0) {
            true => {
                done.found_only(&[]);
                Ok(())
            }
            false => Err(done.said),
        }
    });
    (copied, removed)
}

#[test]
fn every_write_counts_once_while_what_differs_is_repaired() {
    let (source, target) = ([Server::start()], [Server::start()]);
    tell(
        &source[0],
        0,
        &[
            &[
                "EVAL",
                "for n = 1, 2000 do redis.call('SET', 'still:' .. n, n, 'EX', 10000) end",
                "0",
            ],
            &[
                "EVAL",
                "for n = 1, 20000 do redis.call('RPUSH', 'big', n .. string.rep('y', 100)) end",
                "0",
            ],
        ],
    );
    let counting = Counting::start(&source, 400.0);
    let _gunyu = Gunyu::between(&source[0], &target[0]);
    let spoil = [
        "for n = 0, 99 do redis.call('SET', '{' .. n .. '}:counter', 7) end",
        "for n = 50, 149 do redis.call('DEL', '{' .. n .. '}:list') end",
        "for n = 1, 500 do redis.call('DEL', 'still:' .. n) end",
        "for n = 501, 600 do redis.call('PEXPIRE', 'still:' .. n, 1000) end",
        "for n = 601, 700 do redis.call('PERSIST', 'still:' .. n) end",
        "for n = 1, 300 do redis.call('SET', 'extra:' .. n, n) end",
        "redis.call('LSET', 'big', -1, 'z')",
    ];
    for script in spoil {
        tell(&target[0], 0, &[&["EVAL", script, "0"]]);
    }
    let dry = verify(
        &source[0].url(),
        &target[0].url(),
        &["--repair", "--dry-run", "--match", "still:*"],
    );
    assert_eq!(
        (dry.code, &dry.json["repair"]["dry_run"]),
        (Some(4), &true.into()),
        "{}",
        dry.said
    );
    let missing = dry.found.values().filter(|kind| *kind == "missing").count();
    assert!(missing >= 500, "nothing was done: {}", dry.said);
    let (copied, removed) = repair(&source[0].url(), &target[0].url(), &[]);
    assert_eq!(removed, 300);
    assert!(copied > 500 + 100 + 100, "{copied}");
    let sent = counting.stop();
    wait_for(SOON, "everything is applied", || {
        match verify(&source[0].url(), &target[0].url(), &["--compare", "value"]).code {
            Some(0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    assert_exact(&target, &sent);
}

#[test]
fn on_clusters_too_every_write_counts_once_while_what_differs_is_repaired() {
    let (source, target) = (Cluster::start(2), Cluster::start(2));
    source.set_keys(200);
    let counting = Counting::start(&source.masters, 100.0);
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    gunyu.wait_ready(SOON * 2);
    for number in 0..40 {
        for master in &target.masters {
            // The other one answers MOVED.
            let spoilt: redis::RedisResult<()> = redis::cmd("SET")
                .arg(format!("{{{number}}}:counter"))
                .arg(7)
                .query(&mut master.conn());
            drop(spoilt);
            let gone: redis::RedisResult<()> = redis::cmd("DEL")
                .arg(format!("key{number}"))
                .query(&mut master.conn());
            drop(gone);
            let extra: redis::RedisResult<()> = redis::cmd("SET")
                .arg(format!("extra{number}"))
                .arg(7)
                .query(&mut master.conn());
            drop(extra);
        }
    }
    let (copied, removed) = repair(&source.url(), &target.url(), &[]);
    assert_eq!(removed, 40);
    assert!(copied >= 40, "{copied}");
    let sent = counting.stop();
    verify(&source.url(), &target.url(), &["--compare", "value"]).found_only(&[]);
    assert_exact(&target.masters, &sent);
}

#[test]
fn nothing_is_repaired_where_a_later_sync_would_apply_it_again() {
    let (source, target) = (Server::start(), Server::start());
    tell(&source, 0, &[&["SET", "counter", "1"]]);
    let mut gunyu = Gunyu::between(&source, &target);
    gunyu.wait_applied(&source, PATIENCE);
    assert!(gunyu.term().success());
    tell(&source, 0, &[&["INCR", "counter"], &["SET", "other", "1"]]);
    let args = [
        "verify",
        "--source",
        &source.url(),
        "--target",
        &target.url(),
        "--repair",
    ];
    let output = super::run(&args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("nothing is repaired") && said.contains("gunyu fullsync"),
        "{said}"
    );
    let there: bool = target.run(&["EXISTS", "other"]);
    assert!(!there);
    // Where no sync ever was there is none that could go on.
    let fresh = Server::start();
    let done = verify(&source.url(), &fresh.url(), &["--repair"]);
    done.found_only(&[]);
    assert_eq!(done.json["repair"]["copied"], 2);
    let counter: u64 = fresh.run(&["GET", "counter"]);
    assert_eq!(counter, 2);
}

#[test]
fn what_others_may_have_written_is_not_removed() {
    let (source, target) = (Server::start(), Server::start());
    tell(&source, 0, &[&["SET", "a", "1"]]);
    tell(&target, 0, &[&["SET", "extra", "1"]]);
    let keep = ["--repair", "--set", "output.replay.staleKeys=keep"];
    let kept = verify(&source.url(), &target.url(), &keep);
    kept.found_only(&[(0, "extra", "extra")]);
    assert_eq!(
        (&kept.json["repair"]["copied"], &kept.json["repair"]["kept"]),
        (&1.into(), &1.into())
    );
    let other = Server::start();
    let mut gunyu = Gunyu::between(&other, &target);
    gunyu.wait_applied(&other, PATIENCE);
    verify(&source.url(), &target.url(), &["--repair"]).found_only(&[(0, "extra", "extra")]);
    assert_eq!(target.run::<String>(&["GET", "extra"]), "1");
    let deleted = ["--repair", "--set", "output.replay.staleKeys=delete"];
    verify(&source.url(), &target.url(), &deleted).found_only(&[]);
}

#[test]
fn a_repair_keeps_what_a_full_sync_would_keep_and_removes_what_it_would_delete() {
    let (source, target) = (Server::start(), Server::start());
    for db in [0, 1, 2] {
        tell(&source, db, &[&["SET", "a", "1"]]);
    }
    // Database 1 was another's when the sync first came, and so what comes into it later may be.
    tell(&target, 1, &[&["SET", "foreign", "1"]]);
    let mut gunyu = Gunyu::between(&source, &target);
    gunyu.wait_applied(&source, PATIENCE);
    for db in [0, 1, 2] {
        tell(&target, db, &[&["SET", "extra", "1"], &["DEL", "a"]]);
    }
    let stays = [(1, "foreign", "extra"), (1, "extra", "extra")];
    let dry = verify(&source.url(), &target.url(), &["--repair", "--dry-run"]);
    let counts = |json: &serde_json::Value| {
        ["copied", "removed", "kept"].map(|name| json["repair"][name].as_u64().unwrap())
    };
    assert_eq!(counts(&dry.json), [3, 2, 2], "{}", dry.said);
    for policy in ["keep", "auto"] {
        tell(&target, 2, &[&["SET", "extra", "1"]]);
        let set = format!("output.replay.staleKeys={policy}");
        let done = verify(&source.url(), &target.url(), &["--repair", "--set", &set]);
        match policy {
            "keep" => assert_eq!(counts(&done.json), [3, 0, 4], "{}", done.said),
            _ => {
                done.found_only(&stays);
                assert_eq!(counts(&done.json), [0, 2, 2], "{}", done.said);
            }
        }
        let notes = done.json["notes"].to_string();
        assert!(notes.contains("staleKeys"), "{}", done.said);
    }
    let there: u64 = target.run(&["EXISTS", "extra"]);
    assert_eq!(there, 0, "database 0 was empty at the first sync");
    // Another sync comes: now nobody knows whose database 2 is.
    let other = Server::start();
    tell(&other, 7, &[&["SET", "b", "1"]]);
    let mut another = Gunyu::between(&other, &target);
    another.wait_applied(&other, PATIENCE);
    tell(&target, 2, &[&["SET", "extra", "1"]]);
    let shared = [
        (1, "foreign", "extra"),
        (1, "extra", "extra"),
        (2, "extra", "extra"),
        (7, "b", "extra"),
    ];
    verify(&source.url(), &target.url(), &["--repair"]).found_only(&shared);
    let set = [
        "--repair",
        "--set",
        "output.replay.staleKeys=delete",
        "--match",
        "extra",
    ];
    let deleted = verify(&source.url(), &target.url(), &set);
    deleted.found_only(&[]);
    assert_eq!(counts(&deleted.json), [0, 2, 0], "{}", deleted.said);
}
