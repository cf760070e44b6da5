//! The command table against the servers themselves: names, write flags and key positions as `COMMAND` and
//! `COMMAND GETKEYS` tell them.
//!
//! The installed `redis-server` is asked in every run; the other versions too where `GUNYU_TEST_SERVERS` names the
//! folder that holds them.

// A test's helpers fail by panicking, and say on stdout what they skip.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

#[path = "command_table/replay.rs"]
mod replay;
#[path = "support/skipped.rs"]
mod skipped;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::time::Duration;

use bytes::BytesMut;
use gunyu::core::command::{self, Kind};
use gunyu::core::position::Offset;
use gunyu::core::resp::{Framer, Value, encode_command, parse_value};

/// A server of its own, ended with the test.
struct Server {
    process: Child,
    link: TcpStream,
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// Starts the program; `None` where it cannot be run here.
    fn start(program: &Path, more: &[&str]) -> Option<Server> {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let port = port.to_string();
        let mut process = Process::new(program)
            .args([
                "--port",
                &port,
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .args(more)
            .args(modules_beside(program))
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        if !lines.any(|line| line.is_ok_and(|line| line.contains("eady to accept connections"))) {
            let _ = process.wait();
            return None;
        }
        std::thread::spawn(move || lines.for_each(drop));
        let link = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
        link.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Some(Server {
            process,
            link,
            _folder: folder,
        })
    }

    fn ask(&mut self, words: &[&str]) -> Value {
        let args: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.send(&args)
    }

    fn send(&mut self, args: &[&[u8]]) -> Value {
        let mut out = BytesMut::new();
        encode_command(&mut out, args);
        self.link.write_all(&out).unwrap();
        let mut reply = Vec::new();
        let mut chunk = vec![0; 1 << 16];
        loop {
            let read = self.link.read(&mut chunk).unwrap();
            assert!(read > 0, "the server hung up");
            reply.extend_from_slice(&chunk[..read]);
            if let Some((value, _)) = parse_value(&reply).unwrap() {
                return value;
            }
        }
    }
}

/// The arguments that load the modules which lie beside a server.
fn modules_beside(program: &Path) -> Vec<String> {
    let folder = program
        .parent()
        .and_then(Path::parent)
        .unwrap_or(program)
        .join("real");
    let files = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|file| file.path());
    let modules = files.filter(|file| file.extension().is_some_and(|extension| extension == "so"));
    modules
        .flat_map(|file| ["--loadmodule".into(), file.display().to_string()])
        .collect()
}

/// The servers to ask: the installed one, and those under `GUNYU_TEST_SERVERS`.
fn servers(more: &[&str]) -> Vec<(String, Server)> {
    let mut programs = vec![PathBuf::from("redis-server")];
    match std::env::var_os("GUNYU_TEST_SERVERS") {
        Some(folder) => programs.extend(found_under(Path::new(&folder))),
        None => {
            crate::skipped::skipped("other versions: GUNYU_TEST_SERVERS names no folder with servers");
        }
    }
    let mut running = Vec::new();
    for program in programs {
        match Server::start(&program, more) {
            Some(server) => running.push((program.display().to_string(), server)),
            None => crate::skipped::skipped(&format!("{} does not run here", program.display())),
        }
    }
    running
}

fn found_under(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    let programs = entries.flat_map(|entry| {
        let bin = entry.path().join("bin");
        ["redis-server", "valkey-server", "redict-server"].map(|name| bin.join(name))
    });
    programs.filter(|program| program.is_file()).collect()
}

/// The indexes of a command's keys according to the table.
fn keys(args: &[&str]) -> Vec<(usize, String)> {
    let args: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
    let mut bytes = BytesMut::new();
    encode_command(&mut bytes, &args);
    let mut framer = Framer::default();
    framer.push(Offset::ZERO, bytes.freeze()).unwrap();
    let frame = framer.next().unwrap().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    command::of(&frame)
        .keys(&frame)
        .map(|key| (key.index, text(key.bytes)))
        .collect()
}

fn text(value: &Value) -> String {
    String::from_utf8_lossy(value.text().unwrap_or_default()).into_owned()
}

fn int(value: &Value) -> i64 {
    match value {
        Value::Int(n) => *n,
        other => panic!("{other:?} is no number"),
    }
}

/// One entry of `COMMAND`.
struct Entry {
    name: String,
    flags: Vec<String>,
    first: i64,
    last: i64,
    step: i64,
    has_subcommands: bool,
}

fn entries(server: &mut Server) -> Vec<Entry> {
    let reply = server.ask(&["COMMAND"]);
    let entries = reply.array().unwrap().iter().map(|entry| {
        let fields = entry.array().unwrap();
        Entry {
            name: text(&fields[0]).to_lowercase(),
            flags: fields[2].array().unwrap().iter().map(text).collect(),
            first: int(&fields[3]),
            last: int(&fields[4]),
            step: int(&fields[5]),
            has_subcommands: fields
                .get(9)
                .and_then(Value::array)
                .is_some_and(|sub| !sub.is_empty()),
        }
    });
    entries.collect()
}

/// Channels, which servers route like keys but which are none.
const CHANNELS: [&str; 3] = ["spublish", "ssubscribe", "sunsubscribe"];

/// What servers before 6.2 tell wrongly of themselves: they take several keys, or keys at all, and do not say so.
const OLD_ERRORS: [&str; 7] = [
    "brpop", "exists", "memory", "migrate", "pfcount", "pfdebug", "touch",
];

/// Commands of which servers before 6.2 tell too few keys, or none.
const OLD_GETKEYS_ERRORS: [&str; 4] = ["georadius", "georadiusbymember", "migrate", "pfdebug"];

/// The argument indexes that first, last and step mean, for a command of `count` arguments.
fn positions(entry: &Entry, count: i64) -> Vec<usize> {
    if entry.first == 0 {
        return Vec::new();
    }
    let last = if entry.last < 0 {
        count + entry.last
    } else {
        entry.last
    };
    (entry.first..=last)
        .step_by(entry.step.max(1) as usize)
        .map(|n| n as usize)
        .collect()
}

#[test]
fn matrix_of_servers_the_table_agrees_on_names_writes_and_key_positions() {
    let mut differences = Vec::new();
    for (program, mut server) in servers(&[]) {
        let entries = entries(&mut server);
        assert!(entries.len() > 100, "{program} lists {} commands", entries.len());
        let is_old = !entries.iter().any(|entry| entry.name == "getex");
        for entry in &entries {
            if is_old && OLD_ERRORS.contains(&entry.name.as_str()) {
                continue;
            }
            let about = format!("{} of {program}", entry.name);
            let Some(found) = command::lookup(entry.name.as_bytes()) else {
                differences.push(format!("{about}: missing"));
                continue;
            };
            let has = |flag: &str| entry.flags.iter().any(|f| f == flag);
            if !entry.has_subcommands && found.name != "xgroup" && found.writes != has("write") {
                differences.push(format!("{about}: write"));
            }
            // Modules declare their keys loosely: an index as a key, or the first key of several.
            if entry.name.contains('.') {
                continue;
            }
            if has("movablekeys") || entry.has_subcommands || CHANNELS.contains(&found.name) {
                continue;
            }
            let sample: Vec<&str> = std::iter::once(entry.name.as_str()).chain(["1"; 9]).collect();
            let indexes: Vec<usize> = keys(&sample).into_iter().map(|(index, _)| index).collect();
            let theirs = positions(entry, 10);
            if indexes != theirs {
                differences.push(format!("{about}: keys {indexes:?}, the server says {theirs:?}"));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

const SAMPLES: &[&str] = &[
    "JSON.MSET a $ 1 b $ 2",
    "TS.MADD a 1 1 b 2 2",
    "EVAL s 2 a b c",
    "EVALSHA s 1 a c",
    "EVAL_RO s 1 a",
    "EVALSHA_RO s 1 a",
    "FCALL f 2 a b c",
    "FCALL_RO f 1 a",
    "ZUNIONSTORE d 2 a b WEIGHTS 1 2",
    "ZINTERSTORE d 1 a",
    "ZDIFFSTORE d 2 a b",
    "ZUNION 2 a b",
    "ZINTER 2 a b",
    "ZDIFF 2 a b",
    "ZINTERCARD 2 a b LIMIT 1",
    "SINTERCARD 2 a b",
    "LMPOP 2 a b LEFT",
    "ZMPOP 1 a MIN",
    "BLMPOP 0 2 a b LEFT",
    "BZMPOP 0 1 a MIN",
    "XREAD COUNT 2 BLOCK 0 STREAMS a b 0 0",
    "XREADGROUP GROUP g c NOACK STREAMS a b 0 0",
    "SORT a",
    "SORT a BY x* LIMIT 0 1 GET # STORE d",
    "SORT_RO a BY x*",
    "GEORADIUS a 1 2 3 m STORE d",
    "GEORADIUS a 1 2 3 m COUNT 1 STOREDIST d",
    "GEORADIUSBYMEMBER a m 3 m STORE d",
    "GEORADIUS_RO a 1 2 3 m",
    "GEORADIUSBYMEMBER_RO a m 3 m",
    "STRALGO LCS KEYS a b",
    "MIGRATE h 1 a 0 5 COPY",
    "MIGRATE h 1 '' 0 5 AUTH p KEYS a b",
    "MIGRATE h 1 '' 0 5 REPLACE AUTH2 u p KEYS a b c",
    "MSETEX 2 a 1 b 2 NX EX 10",
    "BITOP AND d a b",
    "COPY a b DB 1 REPLACE",
    "PFDEBUG getreg a",
    "OBJECT ENCODING a",
    "MEMORY USAGE a",
    "XGROUP CREATE a g 0",
    "XINFO STREAM a",
    "BLPOP a b 0",
    "LCS a b",
    "PFMERGE d a b",
    "SMOVE a b m",
    "MSET a 1 b 2",
    "GEOSEARCHSTORE d a FROMMEMBER m BYRADIUS 1 m",
    "XDELEX a KEEPREF IDS 1 1-1",
];

/// Whether a sample tries the command; modules declare their keys too loosely to be compared.
fn is_sampled(name: &str) -> bool {
    let mut names = SAMPLES.iter().filter_map(|sample| sample.split(' ').next());
    name.contains('.') || names.any(|sampled| sampled.eq_ignore_ascii_case(name))
}

#[test]
fn matrix_of_servers_the_table_finds_the_keys_that_they_find() {
    let mut differences = Vec::new();
    for (program, mut server) in servers(&[]) {
        if server.ask(&["COMMAND", "GETKEYS", "GET", "k"]).array().is_none() {
            crate::skipped::skipped(&format!("{program} has no COMMAND GETKEYS"));
            continue;
        }
        let known: Vec<String> = entries(&mut server).into_iter().map(|entry| entry.name).collect();
        let mut compared = 0;
        let is_old = !known.iter().any(|name| name == "getex");
        let movable = entries(&mut server)
            .into_iter()
            .filter(|entry| entry.flags.iter().any(|flag| flag == "movablekeys"))
            .map(|entry| entry.name);
        let untried: Vec<String> = movable.filter(|name| !is_sampled(name)).collect();
        differences.extend(
            untried
                .into_iter()
                .map(|name| format!("{name} of {program} is not sampled")),
        );
        for &sample in SAMPLES {
            let words: Vec<&str> = sample
                .split(' ')
                .map(|word| if word == "''" { "" } else { word })
                .collect();
            if !known.contains(&words[0].to_lowercase()) {
                continue;
            }
            let reply = server.ask(&[&["COMMAND", "GETKEYS"], &words[..]].concat());
            let Some(theirs) = reply.array() else {
                crate::skipped::skipped(&format!(
                    "{program} answers {reply:?} to COMMAND GETKEYS {sample}"
                ));
                continue;
            };
            let theirs: Vec<String> = theirs.iter().map(text).collect();
            let mut ours: Vec<String> = keys(&words).into_iter().map(|(_, key)| key).collect();
            // Some versions name the destination last; which argument is a key does not depend on it.
            let mut sorted = theirs.clone();
            sorted.sort_unstable();
            ours.sort_unstable();
            let is_known_error = is_old && OLD_GETKEYS_ERRORS.contains(&&*words[0].to_lowercase());
            if is_known_error && sorted.iter().all(|key| ours.contains(key)) {
                continue;
            }
            if ours != sorted {
                differences.push(format!(
                    "{sample} on {program}: {ours:?}, the server says {theirs:?}"
                ));
            }
            compared += 1;
        }
        assert!(compared > 10, "{program} compared {compared}");
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn matrix_of_servers_slots_are_those_that_they_compute() {
    for (program, mut server) in servers(&["--cluster-enabled", "yes"]) {
        for key in [
            "a",
            "foo",
            "{user}.x",
            "x{}y{z}",
            "{{a}}",
            "a{b",
            "123456789",
            "a-much-longer-key:{t}:0001",
        ] {
            match server.ask(&["CLUSTER", "KEYSLOT", key]) {
                Value::Int(slot) => assert_eq!(i64::from(command::slot(key.as_bytes())), slot, "{key}"),
                refused => {
                    crate::skipped::skipped(&format!("{program} answers {refused:?} to CLUSTER KEYSLOT"));
                    break;
                }
            }
        }
    }
}

#[test]
fn the_special_commands_are_told_apart() {
    let kind = |name: &str| command::lookup(name.as_bytes()).unwrap().kind;
    assert_eq!(kind("SELECT"), Kind::Select);
    assert_eq!(kind("restore-asking"), Kind::RestoreAsking);
    assert_eq!(kind("fcall"), Kind::Eval);
    assert_eq!(kind("get"), Kind::Other);
}
