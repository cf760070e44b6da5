//! What is kept: the newest snapshot to be downloaded, and what garbage collection takes away and what it leaves.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::support::workload::{Fill, Seed};
use super::support::{Gunyu, SOON, Server, wait_for, wait_until};
use super::{
    BACKLOG, MIB, PATIENCE, counted, fill_strings, full_syncs, has, held, live, plant, sync_args,
    wait_caught_up,
};

/// redis-check-rdb takes the file for whole and right.
#[track_caller]
fn assert_sound(rdb: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dump.rdb");
    std::fs::write(&file, rdb).unwrap();
    let output = Command::new("redis-check-rdb").arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("RDB looks OK"), "{said}");
}

fn header<'a>(headers: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = headers.lines().filter_map(|line| line.split_once(": "));
    lines
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// Downloads the snapshot once it has been made durable, which is behind the first live moment.
#[track_caller]
fn download(gunyu: &Gunyu, query: &str) -> Vec<u8> {
    let path = format!("/storage/rdb{query}");
    let response = wait_for(SOON, "there is a snapshot", || {
        let response = gunyu.call("GET", &path);
        match response.status {
            404 => Err(response.text()),
            _ => Ok(response),
        }
    });
    assert_eq!(response.status, 200, "{}", response.text());
    let length = header(&response.headers, "content-length").and_then(|text| text.parse().ok());
    assert_eq!(length, Some(response.body.len()), "{}", response.headers);
    assert_eq!(
        header(&response.headers, "content-type"),
        Some("application/octet-stream")
    );
    response.body
}

#[test]
fn the_snapshot_is_an_rdb_file_that_a_server_starts_from() {
    let seed = Seed::pick();
    let (source, target) = (Server::with(BACKLOG), Server::start());
    Fill::lasting(1_000).run(&source, &seed);
    let gunyu = Gunyu::between(&source, &target);
    let rdb = download(&gunyu, "");
    assert_sound(&rdb);
    let mut copy = Server::start();
    copy.restart_from(&rdb);
    assert_eq!(held(&copy), held(&source));
    assert_eq!(copy.digest(), source.digest());
    for query in [format!("?input={}", source.addr()), "?input=all".to_owned()] {
        assert_eq!(download(&gunyu, &query), rdb, "{query}");
    }
    let head = gunyu.call("HEAD", "/storage/rdb");
    assert_eq!((head.status, head.body.len()), (200, 0));
    let (error, hint) = gunyu.refused(400, "GET", "/storage/rdb?input=10.9.8.7:6");
    assert!(
        error.contains("10.9.8.7:6") && hint.contains(&source.addr()),
        "{error} {hint}"
    );
}

#[test]
fn the_snapshot_is_the_newest() {
    let (source, _target, gunyu) = live(&[]);
    fill_strings(&source, 20, 10);
    let before = download(&gunyu, "");
    gunyu.must("POST", "/syncer/fullsync?inputs=all");
    let after = wait_for(SOON, "there is a newer one", || {
        let now = download(&gunyu, "");
        if now == before {
            Err(String::new())
        } else {
            Ok(now)
        }
    });
    let mut copy = Server::start();
    copy.restart_from(&after);
    assert_eq!(held(&copy), held(&source));
}

#[test]
fn without_a_snapshot_it_is_404_and_says_why() {
    let (mut source, target) = (Server::start(), Server::start());
    source.sigstop();
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    gunyu.wait_status(SOON, "it is up", |_| true);
    let (error, hint) = gunyu.refused(404, "GET", "/storage/rdb");
    assert!(
        error.contains(&source.addr()) && !hint.is_empty(),
        "{error} {hint}"
    );
    source.sigcont();
    gunyu.wait_ready(PATIENCE);
    assert_sound(&download(&gunyu, ""));
    // With a log in memory there is never one.
    let (_source, _target, gunyu) = live(&["channel.type=memory"]);
    gunyu.refused(404, "GET", "/storage/rdb");
}

#[test]
fn with_two_inputs_one_must_be_named() {
    let (one, other) = (Server::start(), Server::start());
    let (here, there) = (Server::start(), Server::start());
    plant(&one, 0, "one");
    plant(&other, 0, "other");
    let args = sync_args(&[one.addr(), other.addr()], &[here.addr(), there.addr()], &[]);
    let mut gunyu = Gunyu::with_args(args, &[]);
    gunyu.wait_ready(PATIENCE);
    for query in ["", "?input=all", "?input=127.0.0.1", "?input="] {
        let (_, hint) = gunyu.refused(400, "GET", &format!("/storage/rdb{query}"));
        assert!(
            hint.contains(&one.addr()) && hint.contains(&other.addr()),
            "{query}: {hint}"
        );
    }
    for (source, key) in [(&one, "one"), (&other, "other")] {
        let rdb = download(&gunyu, &format!("?input={}", source.addr()));
        let mut copy = Server::start();
        copy.restart_from(&rdb);
        assert_eq!((copy.keys(), has(&copy, 0, key)), (1, true), "{key}");
    }
}

#[test]
fn a_slow_download_is_whole_although_a_new_full_sync_takes_the_snapshots_place() {
    // More than the buffers of a socket hold.
    let bytes = 24 * MIB;
    let source = Server::with(&["--repl-backlog-size", "64mb", "--rdbcompression", "no"]);
    let target = Server::start();
    fill_strings(&source, 24, MIB as usize);
    let mut gunyu = Gunyu::between(&source, &target);
    let before = download(&gunyu, "");
    assert!(before.len() as u64 > bytes);
    let mut slow = TcpStream::connect(gunyu.http()).unwrap();
    slow.set_read_timeout(Some(SOON)).unwrap();
    let request = format!(
        "GET /storage/rdb HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        gunyu.http()
    );
    slow.write_all(request.as_bytes()).unwrap();
    let mut answer = vec![0; 1_000];
    slow.read_exact(&mut answer).unwrap();
    plant(&source, 0, "newer");
    gunyu.must("POST", "/syncer/fullsync?inputs=all");
    gunyu.wait_ready(PATIENCE);
    assert_eq!(full_syncs(&source), 2);
    wait_until(SOON, "the new one has its place", || {
        download(&gunyu, "") != before
    });
    slow.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let body = &answer[end + 4..];
    assert!(
        body == before,
        "{} bytes came, {} was announced",
        body.len(),
        before.len()
    );
}

// Garbage collection.

/// Bytes of all files in the folder of one deployment's log.
fn folder_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| entry.metadata().unwrap().len()).sum()
}

/// The names of the deployments that have a checkpoint on the target, with that source's address in them.
fn deployment(target: &Server, source: &Server) -> String {
    let keys: Vec<String> = target.run(&["KEYS", "redis-gunyu-checkpoint:{*}"]);
    let of_source = source.addr().replace(':', "_");
    let key = keys.into_iter().find(|key| key.contains(&of_source)).unwrap();
    let name = key.split(['{', '}']).nth(1).unwrap();
    name.to_owned()
}

fn checkpoint(name: &str) -> String {
    format!("redis-gunyu-checkpoint:{{{name}}}")
}

fn exists(target: &Server, name: &str) -> bool {
    target.run::<u64>(&["EXISTS", &checkpoint(name)]) == 1
}

/// As if nobody had written it for two days.
fn grow_old(target: &Server, name: &str) {
    let written: u64 = target.run(&["HGET", &checkpoint(name), "time_ms"]);
    let () = target.run(&[
        "HSET",
        &checkpoint(name),
        "time_ms",
        &(written - 172_800_000).to_string(),
    ]);
}

/// Two inputs on one target, of which the second is not configured any more; and a foreign deployment on the same target.
struct Left {
    one: Server,
    target: Server,
    gunyu: Gunyu,
    /// Names of the deployments: what stays, what is gone, what is foreign.
    ours: String,
    gone: String,
    foreign: String,
    gone_bytes: u64,
}

fn left() -> Left {
    let (one, other, third) = (Server::with(BACKLOG), Server::start(), Server::start());
    let target = Server::start();
    plant(&one, 0, "one");
    plant(&other, 0, "other");
    plant(&third, 0, "third");
    let mut stranger = Gunyu::between(&third, &target);
    wait_caught_up(&mut stranger, &third);
    assert!(stranger.term().success());
    let both = sync_args(&[one.addr(), other.addr()], &[target.addr(), target.addr()], &[]);
    let mut gunyu = Gunyu::with_args(both, &[]);
    gunyu.wait_ready(PATIENCE);
    fill_strings(&other, 100, 100);
    wait_caught_up(&mut gunyu, &other);
    let (ours, gone) = (deployment(&target, &one), deployment(&target, &other));
    let foreign = deployment(&target, &third);
    assert!(gunyu.term().success());
    let gone_bytes = folder_bytes(&gunyu.state_dir().join(&gone));
    assert!(gone_bytes > 10_000, "{gone_bytes}");
    let settings = ["channel.staleCheckpointDuration=5m"];
    gunyu.restart_with(sync_args(&[one.addr()], &[target.addr()], &settings));
    gunyu.wait_ready(PATIENCE);
    Left {
        one,
        target,
        gunyu,
        ours,
        gone,
        foreign,
        gone_bytes,
    }
}

fn keys_of(answer: &Value, field: &str) -> Vec<String> {
    let list = answer[field].as_array().unwrap().iter();
    list.map(|one| one["key"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn garbage_collection_takes_the_log_at_once_and_the_checkpoint_when_it_is_old_and_unused() {
    let mut left = left();
    grow_old(&left.target, &left.foreign);
    let folder = left.gunyu.state_dir().join(&left.gone);
    assert!(folder.is_dir());
    // The log at once; the checkpoint is too young.
    let answer = left.gunyu.must("GET", "/storage/gc");
    assert_eq!(answer["freed_bytes"], left.gone_bytes, "{answer}");
    assert_eq!(answer["logs"][0]["name"], left.gone, "{answer}");
    assert_eq!(answer["logs"][0]["bytes"], left.gone_bytes, "{answer}");
    assert!(!folder.exists());
    assert_eq!(keys_of(&answer, "kept"), [checkpoint(&left.gone)], "{answer}");
    assert!(keys_of(&answer, "checkpoints").is_empty());
    assert!(exists(&left.target, &left.gone));
    // Old, and still in use by another process; also after a restart, which must not forget that there was such an input.
    grow_old(&left.target, &left.gone);
    let mut user = left.target.conn();
    let name = format!("gunyu:{}:0:elsewhere", left.gone);
    redis::cmd("CLIENT")
        .arg("SETNAME")
        .arg(&name)
        .exec(&mut user)
        .unwrap();
    left.gunyu.restart();
    left.gunyu.wait_ready(PATIENCE);
    let answer = left.gunyu.must("POST", "/storage/gc");
    assert_eq!(answer["freed_bytes"], 0, "{answer}");
    assert_eq!(keys_of(&answer, "kept"), [checkpoint(&left.gone)], "{answer}");
    assert!(exists(&left.target, &left.gone));
    // Old and unused.
    drop(user);
    let gunyu = &left.gunyu;
    let answer = wait_for(SOON, "the checkpoint goes", || {
        let answer = gunyu.must("POST", "/storage/gc");
        match keys_of(&answer, "checkpoints").is_empty() {
            true => Err(answer.to_string()),
            false => Ok(answer),
        }
    });
    assert_eq!(
        keys_of(&answer, "checkpoints"),
        [checkpoint(&left.gone)],
        "{answer}"
    );
    assert!(!exists(&left.target, &left.gone));
    let session = format!("{}:session", checkpoint(&left.gone));
    assert_eq!(left.target.run::<u64>(&["EXISTS", &session]), 0);
    // And then there is nothing left to do.
    let answer = left.gunyu.must("GET", "/storage/gc");
    for field in ["logs", "checkpoints", "kept"] {
        assert_eq!(answer[field].as_array().map(Vec::len), Some(0), "{answer}");
    }
    // What was neither: data, the foreign deployment, our own.
    assert!(exists(&left.target, &left.foreign) && exists(&left.target, &left.ours));
    assert!(has(&left.target, 0, "other") && has(&left.target, 0, "plain:1"));
    plant(&left.one, 0, "later");
    wait_caught_up(&mut left.gunyu, &left.one);
    assert!(has(&left.target, 0, "later"));
    left.gunyu.restart();
    plant(&left.one, 0, "latest");
    wait_caught_up(&mut left.gunyu, &left.one);
    assert!(has(&left.target, 0, "latest"));
    assert_eq!(counted(&left.gunyu, &left.one.addr()), []);
    assert_eq!(full_syncs(&left.one), 1);
}

#[test]
fn garbage_collection_while_the_target_is_away_keeps_the_name_for_later() {
    let mut left = left();
    grow_old(&left.target, &left.gone);
    let snapshot = left.target.snapshot();
    left.target.kill9();
    let answer = left.gunyu.must("POST", "/storage/gc");
    assert_eq!(answer["freed_bytes"], left.gone_bytes, "{answer}");
    assert_eq!(keys_of(&answer, "kept"), [checkpoint(&left.gone)], "{answer}");
    left.target.restart_from(&snapshot);
    let answer = left.gunyu.must("POST", "/storage/gc");
    assert_eq!(
        keys_of(&answer, "checkpoints"),
        [checkpoint(&left.gone)],
        "{answer}"
    );
    assert!(exists(&left.target, &left.ours) && exists(&left.target, &left.foreign));
}

#[test]
fn garbage_collection_of_what_is_all_in_use_frees_nothing() {
    let (source, target, mut gunyu) = live(&[]);
    fill_strings(&source, 100, 100);
    wait_caught_up(&mut gunyu, &source);
    let before = gunyu.disk_bytes();
    for method in ["GET", "POST"] {
        let answer = gunyu.must(method, "/storage/gc");
        assert_eq!(answer["freed_bytes"], 0, "{answer}");
        assert_eq!(answer["ok"], true);
    }
    assert!(gunyu.disk_bytes() >= before);
    let () = source.run(&["SET", "later", "1"]);
    wait_caught_up(&mut gunyu, &source);
    assert!(has(&target, 0, "later"));
}
