//! Values that `RESTORE` cannot write, and values of any size: replayed with commands, on real servers.
//!
//! Here is only what the claims share; they are in the files beside this one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test fails by panicking and tells what it skips"
)]

#[path = "../support/mod.rs"]
mod support;

mod big;
mod keys;
mod matrix;
mod names;
mod resume;

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use redis::{Connection, RedisResult, Value};
use serde_json::Value as Json;

use support::encodings::Talk;
use support::{Binary, Server, gunyu, typed};

const MIB: usize = 1 << 20;

/// Never `RESTORE`.
const COMMANDS_ALONE: &str = "output.replay.replayRdbEnableRestore=false";
/// Larger values are given in pieces while they arrive.
const FROM_64_KIB: &str = "output.replay.bigValueBytes=64KiB";
/// What is refused goes to the dead letters.
const GO_ON: &str = "output.replay.onError=dead_letter";

/// The longest that a test waits for a large amount of data; generous, because other work may share the machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// Whether the full size was asked for.
fn is_full() -> bool {
    std::env::var_os("GUNYU_FULL").is_some_and(|value| value == "1")
}

/// A connection that knows the version.
struct Talker<'a> {
    conn: Connection,
    server: &'a Server,
}

impl Talk for Talker<'_> {
    fn run(&mut self, words: &[&[u8]]) -> RedisResult<Value> {
        let mut command = redis::cmd(std::str::from_utf8(words[0]).unwrap());
        command.arg(&words[1..]);
        command.query(&mut self.conn)
    }

    fn since(&self, redis: (u32, u32), valkey: (u32, u32)) -> bool {
        typed::since(self.server.binary(), redis, valkey)
    }
}

fn talk(server: &Server) -> Talker<'_> {
    Talker {
        conn: server.conn(),
        server,
    }
}

/// The server of this name, or none with a line that says so.
fn found(id: &str) -> Option<Binary> {
    if id == "installed" {
        return Some(Binary::installed());
    }
    let servers = support::matrix();
    let found = servers.into_iter().find(|(label, _)| label == id);
    if found.is_none() {
        crate::support::skipped(&format!("GUNYU_TEST_SERVERS names no folder with {id}"));
    }
    found.map(|(_, binary)| binary)
}

/// What became of `gunyu fullsync`.
struct Copied {
    output: Output,
    letters: Vec<Json>,
}

/// `gunyu fullsync` from one to the other, with these settings.
fn copy(source: &Server, target: &Server, set: &[&str]) -> Copied {
    copy_with(source, target, &[], set)
}

/// The same with more arguments.
fn copy_with(source: &Server, target: &Server, more: &[&str], set: &[&str]) -> Copied {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let mut args = vec![
        "fullsync".to_owned(),
        "--json".to_owned(),
        format!("--source={}", source.url()),
        format!("--target={}", target.url()),
        format!("--set=channel.storer.dirPath={}", state.display()),
    ];
    args.extend(set.iter().map(|pair| format!("--set={pair}")));
    let args: Vec<&str> = args
        .iter()
        .map(String::as_str)
        .chain(more.iter().copied())
        .collect();
    Copied {
        output: gunyu::run(&args),
        letters: letters(&state),
    }
}

impl Copied {
    /// It went well; the dead letters.
    #[track_caller]
    fn done(self) -> Vec<Json> {
        assert!(self.output.status.success(), "{}", self.told());
        self.letters
    }

    fn told(&self) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        format!(
            "{} {} {}\n{:#?}",
            self.output.status,
            text(&self.output.stdout),
            text(&self.output.stderr),
            brief(&self.letters)
        )
    }
}

/// The dead letters in a log's folder.
fn letters(state: &Path) -> Vec<Json> {
    let Ok(folder) = std::fs::read_dir(state.join("dead-letter")) else {
        return Vec::new();
    };
    let files = folder.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let lines: Vec<Json> = files
        .flat_map(|text| {
            text.lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect::<Vec<_>>()
        })
        .collect();
    lines
}

/// Letters so that a person can read them.
fn brief(letters: &[Json]) -> Vec<String> {
    let one = |letter: &Json| {
        let words: Vec<String> = words(letter).iter().map(|word| format!("{word:.40}")).collect();
        format!("{}: {:.200}", letter["reason"], words.join(" "))
    };
    letters.iter().map(one).collect()
}

/// The words of a letter's command; binary ones are left empty.
fn words(letter: &Json) -> Vec<String> {
    let words = letter["command"].as_array().unwrap().iter();
    words
        .map(|word| word.as_str().unwrap_or_default().to_owned())
        .collect()
}

/// Names of ours that are still on a server.
fn staged(server: &Server) -> Vec<String> {
    let (mut conn, mut found) = (server.conn(), Vec::new());
    for db in server.keyspace().into_keys() {
        redis::cmd("SELECT").arg(db).exec(&mut conn).unwrap();
        let keys: Vec<String> = redis::cmd("KEYS")
            .arg("redis-gunyu-staged*")
            .query(&mut conn)
            .unwrap();
        found.extend(keys);
    }
    found
}
