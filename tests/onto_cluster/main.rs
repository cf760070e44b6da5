//! Snapshots onto clusters: files by `rdb-load`, full syncs by `sync` and `fullsync`, on real servers.
//!
//! Here is only what the claims share; they are in the files beside this one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper that fails fails its test"
)]

#[path = "../support/mod.rs"]
mod support;

mod databases;
mod load;
mod moving;
mod sync;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use redis::{Connection, RedisResult, Value};

use support::encodings::Talk;
use support::gunyu::PROGRAM;
use support::{Cluster, Server, typed};

/// Never `RESTORE`.
const COMMANDS_ALONE: &str = "output.replay.replayRdbEnableRestore=false";
/// Larger values are written in pieces.
const FROM_64_KIB: &str = "output.replay.bigValueBytes=64KiB";
/// Keys of databases that a cluster has not are left out.
const DROP: &str = "output.replay.dbOnCluster=drop";

/// What came of a command.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn of(output: &Output) -> Ran {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    #[track_caller]
    fn says(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        for part in parts {
            assert!(
                self.stdout.contains(part) || self.stderr.contains(part),
                "{part:?} is missing: {self:?}"
            );
        }
    }
}

fn gunyu(args: &[&str], set: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(args);
    command.args(set.iter().map(|pair| format!("--set={pair}")));
    command
}

fn run(args: &[&str], set: &[&str]) -> Ran {
    Ran::of(&gunyu(args, set).output().unwrap())
}

/// Loads a file.
fn load(file: &Path, target: &str, set: &[&str]) -> Ran {
    run(&["rdb-load", file.to_str().unwrap(), "--target", target], set)
}

/// The server's dump.
fn dumped(source: &Server, folder: &Path) -> PathBuf {
    let file = folder.join("dump.rdb");
    std::fs::write(&file, source.snapshot()).unwrap();
    file
}

/// What each key is: its `DUMP`, and when it expires. In a hash table elements have another order on every server: there a digest.
type Dumps = BTreeMap<Vec<u8>, (Vec<u8>, i64)>;

fn dumps(servers: &[&Server]) -> Dumps {
    let mut dumps = Dumps::new();
    for server in servers {
        let mut conn = server.conn();
        for key in keys(&mut conn) {
            let asked = |words: &[&str], conn: &mut Connection| {
                let mut ask = redis::cmd(words[0]);
                ask.arg(&words[1..]).arg(&key);
                ask.query::<Vec<u8>>(conn).unwrap()
            };
            let dump = match &asked(&["OBJECT", "ENCODING"], &mut conn)[..] {
                b"hashtable" => digest(&key, &mut conn),
                _ => asked(&["DUMP"], &mut conn),
            };
            let expires: i64 = redis::cmd("PEXPIRETIME").arg(&key).query(&mut conn).unwrap();
            if !key.starts_with(b"redis-gunyu-checkpoint") {
                let before = dumps.insert(key, (dump, expires));
                assert_eq!(before, None, "two servers have the same key");
            }
        }
    }
    dumps
}

fn digest(key: &[u8], conn: &mut Connection) -> Vec<u8> {
    let mut ask = redis::cmd("DEBUG");
    let digests: Vec<String> = ask.arg("DIGEST-VALUE").arg(key).query(conn).unwrap();
    digests.concat().into_bytes()
}

fn of_cluster(cluster: &Cluster) -> Dumps {
    dumps(&cluster.masters.iter().collect::<Vec<_>>())
}

fn keys(conn: &mut Connection) -> Vec<Vec<u8>> {
    redis::cmd("KEYS").arg("*").query(conn).unwrap()
}

#[track_caller]
fn assert_same(expected: &Dumps, found: &Dumps) {
    let name = |key: &Vec<u8>| String::from_utf8_lossy(key).into_owned();
    let wrong: Vec<String> = expected
        .iter()
        .filter(|(key, dump)| found.get(*key) != Some(*dump))
        .map(|(key, _)| name(key))
        .collect();
    assert!(wrong.is_empty(), "missing or different: {wrong:?}");
    let more: Vec<String> = found
        .keys()
        .filter(|key| !expected.contains_key(*key))
        .map(name)
        .collect();
    assert!(more.is_empty(), "nobody has written: {more:?}");
}

/// A server to fill.
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

/// A server with this many strings `{prefix}N`, each with N as its value.
fn numbered(prefix: &str, count: usize) -> Server {
    let server = Server::start();
    let mut conn = server.conn();
    let mut pipe = redis::pipe();
    for number in 0..count {
        pipe.set(format!("{prefix}{number}"), number).ignore();
    }
    let () = pipe.query(&mut conn).unwrap();
    server
}
