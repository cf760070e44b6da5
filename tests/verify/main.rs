//! `gunyu verify`: what differs is found, and nothing is invented, while a sync is at work and writers write.
//!
//! Here is only what the claims share; they are in the files beside this one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod clusters;
mod command;
mod live;
mod many;
mod repairing;
mod trouble;
mod values;

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use support::gunyu::PROGRAM;
use support::server::Server;

/// The longest that a test waits; generous, because other work may share the machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a comparison came to.
struct Verified {
    code: Option<i32>,
    json: Value,
    /// Database and key of what differs, with its kind.
    found: BTreeMap<(u64, String), String>,
    said: String,
}

impl Verified {
    /// The keys that differ are these, no more and no less.
    #[track_caller]
    fn found_only(&self, expected: &[(u64, &str, &str)]) {
        let expected: BTreeMap<(u64, String), String> = expected
            .iter()
            .map(|(db, key, kind)| ((*db, (*key).to_owned()), (*kind).to_owned()))
            .collect();
        assert_eq!(self.found, expected, "{}", self.said);
        let open = ["changing", "uncompared", "unknown"].map(|name| self.json[name].as_u64().unwrap());
        let (code, equal) = match (expected.is_empty(), open) {
            (true, [0, 0, 0]) => (0, Value::Bool(true)),
            // No key is known to differ.
            (true, _) => (0, Value::Null),
            (false, _) => (4, Value::Bool(false)),
        };
        assert_eq!(self.code, Some(code), "{}", self.said);
        assert_eq!(self.json["equal"], equal, "{}", self.said);
        assert_eq!(self.json["different"], expected.len(), "{}", self.said);
    }
}

/// Compares, with the outcome in JSON and what differs in a file.
#[track_caller]
fn verify(source: &str, target: &str, more: &[&str]) -> Verified {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("differing.jsonl");
    let path = file.to_str().unwrap();
    let given = [
        "--source",
        source,
        "--target",
        target,
        "--json",
        "--differences",
        path,
    ];
    let output = run(&[&["verify"], &given[..], more].concat());
    let said = format!("{output:?}");
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {said}"));
    let mut found = BTreeMap::new();
    for line in std::fs::read_to_string(&file).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let key = line["key"]
            .as_str()
            .map_or_else(|| line["key"].to_string(), str::to_owned);
        let kind = line["kind"].as_str().unwrap().to_owned();
        let before = found.insert((line["db"].as_u64().unwrap(), key), kind);
        assert_eq!(before, None, "told twice: {line}");
    }
    Verified {
        code: output.status.code(),
        json,
        found,
        said,
    }
}

fn run(args: &[&str]) -> Output {
    Command::new(PROGRAM).args(args).output().unwrap()
}

/// Runs commands on a server.
#[track_caller]
fn tell(server: &Server, db: u32, commands: &[&[&str]]) {
    let mut conn = server.conn();
    let () = redis::cmd("SELECT").arg(db).query(&mut conn).unwrap();
    for command in commands {
        let (verb, args) = command.split_first().unwrap();
        let told: redis::RedisResult<redis::Value> = redis::cmd(verb).arg(args).query(&mut conn);
        told.unwrap_or_else(|e| panic!("{command:?}: {e}"));
    }
}

/// Changes keys of a server to and fro until it is dropped: whoever looks at two moments may see them as they were and not as they were in between.
struct Toggling {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Toggling {
    fn start(server: &Server) -> Toggling {
        let stop = Arc::new(AtomicBool::new(false));
        let (url, stopped) = (server.url(), Arc::clone(&stop));
        let toggle = move || {
            let mut conn = support::server::connect(&url).unwrap();
            let mut pace = support::workload::Pace::new(Some(5_000.0));
            while !stopped.load(Ordering::SeqCst) {
                let mut pipe = redis::pipe();
                for number in 0..20 {
                    let key = |kind: &str| format!("toggle:{kind}:{number}");
                    pipe.cmd("SET").arg(key("there")).arg("x").ignore();
                    pipe.cmd("RPUSH").arg(key("list")).arg("x").ignore();
                    pipe.cmd("PEXPIRE").arg(key("list")).arg(1_000_000).ignore();
                    pipe.cmd("DEL").arg(key("there")).ignore();
                    pipe.cmd("RPOP").arg(key("list")).ignore();
                    pipe.cmd("DEL").arg(key("type")).ignore();
                    pipe.cmd("SADD").arg(key("type")).arg("x").ignore();
                    pipe.cmd("DEL").arg(key("type")).ignore();
                    pipe.cmd("LPUSH").arg(key("type")).arg("x").ignore();
                }
                let () = pipe.query(&mut conn).unwrap();
                pace.spend(180);
            }
        };
        Toggling {
            stop,
            thread: Some(std::thread::spawn(toggle)),
        }
    }
}

impl Drop for Toggling {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let ended = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}
