//! What is replicated and where it goes, and what becomes of a command that the target does not take.
//!
//! Here is only what the claims share; they are in the files beside this one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod refusals;
mod rules;
mod sharing;

use std::collections::BTreeMap;
use std::time::Duration;

use redis::Value;

use support::wire::{Batch, put};
use support::{Gunyu, Server};

const PATIENCE: Duration = Duration::from_secs(120);

/// What a server holds, by database and key: a digest of the value, and when it expires. Without gunyu's own keys.
type Contents = BTreeMap<(u32, Vec<u8>), (String, i64)>;

fn contents(server: &Server) -> Contents {
    let (mut conn, mut found) = (server.conn(), Contents::new());
    for db in server.keyspace().into_keys() {
        redis::cmd("SELECT").arg(db).exec(&mut conn).unwrap();
        let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query(&mut conn).unwrap();
        let keys: Vec<Vec<u8>> = keys.into_iter().filter(|key| !is_own(key)).collect();
        if keys.is_empty() {
            continue;
        }
        let mut batch = Batch::default();
        for key in &keys {
            put!(batch, "DEBUG", "DIGEST-VALUE", key);
            put!(batch, "PEXPIRETIME", key);
        }
        let answers = batch.must(&mut conn);
        for (key, answer) in keys.into_iter().zip(answers.chunks(2)) {
            let digest: Vec<String> = redis::from_redis_value_ref(&answer[0]).unwrap();
            let expires: i64 = redis::from_redis_value_ref(&answer[1]).unwrap();
            found.insert((db, key), (digest.concat(), expires));
        }
    }
    found
}

/// Keys that are gunyu's own, on whichever side.
fn is_own(key: &[u8]) -> bool {
    key.starts_with(b"redis-gunyu-checkpoint") || key.starts_with(b"/redis-gunyu/")
}

fn live(source: &str, target: &Server, set: &[&str]) -> Gunyu {
    let mut gunyu = Gunyu::start(source, &target.url(), set);
    gunyu.wait_ready(PATIENCE);
    gunyu
}

/// Runs commands on one connection, in order; none may be refused.
#[track_caller]
fn run(server: &Server, commands: &[&[&str]]) -> Vec<Value> {
    let mut batch = Batch::default();
    for command in commands {
        batch.begin(command.len());
        command.iter().for_each(|arg| batch.arg(arg));
    }
    batch.must(&mut server.conn())
}

/// The dead letters on disk: reason and command of each.
fn dead_letters(gunyu: &Gunyu) -> Vec<(String, Vec<String>)> {
    let folder = gunyu.state_dir().join("dead-letter");
    let Ok(files) = std::fs::read_dir(&folder) else {
        return Vec::new();
    };
    let mut letters = Vec::new();
    for file in files {
        let path = file.unwrap().path();
        assert_eq!(path.extension().unwrap(), "jsonl");
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            let letter: serde_json::Value = serde_json::from_str(line).unwrap();
            let command = letter["command"].as_array().unwrap().iter();
            let command = command.map(|arg| arg.as_str().unwrap_or("binary").to_owned());
            letters.push((letter["reason"].as_str().unwrap().to_owned(), command.collect()));
        }
    }
    letters
}

/// Waits until the only input has stopped, and gives its message and hint.
#[track_caller]
fn wait_stopped(gunyu: &mut Gunyu) -> (String, String) {
    let status = gunyu.wait_status(PATIENCE, "it stops", |status| status[0]["State"] == "stop");
    let told = |field: &str| status[0]["LastError"][field].as_str().unwrap().to_owned();
    (told("Message"), told("Hint"))
}
