//! Snapshots of real servers: every value's payload equals the server's own `DUMP`, a second server takes it, and both
//! then hold the same.
//!
//! The `redis-server` on the path is always used. Other versions are used where `GUNYU_TEST_SERVERS` names a folder
//! that holds them (`ID/bin/redis-server` or `ID/bin/valkey-server`); without it their tests say that they are skipped.

// The exemption for tests does not reach the functions that these tests share.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

#[path = "support/encodings.rs"]
#[allow(unreachable_pub)] // shared with other test binaries
mod encodings;
#[path = "support/skipped.rs"]
mod skipped;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use gunyu::core::rdb::payload::{self, Modules};
use gunyu::core::rdb::{self, Checksum, Item, Key, Prefix, Scanner, Step, Version};
use redis::{Connection, RedisResult, Value, cmd};

use encodings::{Talk, fill};

/// A server in a folder of its own, stopped when dropped.
struct Server {
    child: Child,
    folder: tempfile::TempDir,
    connection: Connection,
    version: (u32, u32),
    valkey: bool,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(binary: &Path) -> Server {
        Server::start_with(binary, &[])
    }

    fn start_with(binary: &Path, more: &[String]) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port()
            .to_string();
        let mut command = Command::new(binary);
        command.args([
            "--port",
            &port,
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        if has_debug_switch(binary) {
            command.args(["--enable-debug-command", "yes"]);
        }
        let mut child = command
            .args(more)
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
        wait_until_ready(&mut child);
        let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
        let mut connection = client.get_connection().unwrap();
        let (version, valkey) = version_of(&mut connection);
        Server {
            child,
            folder,
            connection,
            version,
            valkey,
        }
    }

    fn text(&mut self, line: &str) -> String {
        redis::from_redis_value(self.say(line)).unwrap()
    }

    fn dump(&mut self, key: &[u8]) -> Vec<u8> {
        redis::from_redis_value(self.run(&[b"DUMP", key]).unwrap()).unwrap()
    }

    /// The snapshot as it is on disk now.
    fn snapshot(&mut self) -> Bytes {
        self.say("SAVE");
        Bytes::from(std::fs::read(self.folder.path().join("dump.rdb")).unwrap())
    }
}

impl Talk for Server {
    fn run(&mut self, words: &[&[u8]]) -> RedisResult<Value> {
        let mut command = cmd(std::str::from_utf8(words[0]).unwrap());
        for word in &words[1..] {
            command.arg(*word);
        }
        command.query(&mut self.connection)
    }

    fn since(&self, redis: (u32, u32), valkey: (u32, u32)) -> bool {
        self.version >= if self.valkey { valkey } else { redis }
    }
}

fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
        .to_string()
}

/// `DEBUG` is refused unless allowed since 7.0; before, there is no such switch.
fn has_debug_switch(binary: &Path) -> bool {
    let output = Command::new(binary).arg("--version").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let major = text.split_once("v=").unwrap().1.split('.').next().unwrap();
    major.parse::<u32>().unwrap() >= 7
}

fn version_of(connection: &mut Connection) -> ((u32, u32), bool) {
    let info: String = cmd("INFO").arg("server").query(connection).unwrap();
    let field = |name: &str| {
        info.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    };
    let valkey = field("valkey_version");
    let version = valkey.or(field("redis_version")).unwrap();
    let numbers: Vec<u32> = version.split('.').flat_map(str::parse).collect();
    ((numbers[0], numbers[1]), valkey.is_some())
}

/// Waits for the line with which every version says so, and goes on emptying the pipe.
fn wait_until_ready(child: &mut Child) {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (ready, is_ready) = mpsc::channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if line.to_lowercase().contains("ready to accept connections") {
                let _ = ready.send(());
            }
        }
    });
    is_ready
        .recv_timeout(Duration::from_secs(30))
        .expect("the server does not come up");
}

/// Scans a snapshot whole, in pieces, and once more from a cursor in its middle.
fn scan(file: &Bytes) -> (Version, Vec<Item>) {
    let (version, items) = scan_in(file, file.len());
    for size in [1 << 16, 4096, 61] {
        assert_eq!(scan_in(file, size).1, items, "in chunks of {size}");
    }
    let middle = file.len() as u64 / 2;
    if let Some(key) = keys(&items).filter(|key| key.start < middle).last() {
        let cursor = rdb::Cursor {
            at: key.end,
            db: key.db,
            version,
        };
        let (before, after) = (&file[..key.end as usize], file.slice(key.end as usize..));
        let mut checksum = Checksum::new();
        checksum.update(before);
        let mut scanner = Scanner::resume(cursor, Prefix::Hashed(checksum));
        let rest = drain(&mut scanner, after);
        assert!(scanner.finish().unwrap().checked && !rest.is_empty() && items.ends_with(&rest));
    }
    (version, items)
}

fn scan_in(file: &Bytes, size: usize) -> (Version, Vec<Item>) {
    let mut scanner = Scanner::new();
    let pieces = (0..file.len())
        .step_by(size)
        .map(|at| file.slice(at..file.len().min(at + size)));
    let items = pieces.flat_map(|piece| drain(&mut scanner, piece)).collect();
    let version = scanner.version().unwrap();
    assert!(scanner.finish().unwrap().checked);
    (version, items)
}

fn drain(scanner: &mut Scanner, chunk: Bytes) -> Vec<Item> {
    scanner.push(chunk);
    let next = || match scanner.step().unwrap() {
        Step::Item(item) => Some(item),
        // Values are given whole unless asked for otherwise.
        Step::Large(_) | Step::Piece(_) | Step::LargeEnd(_) | Step::NeedMore | Step::End(_) => None,
    };
    std::iter::from_fn(next).collect()
}

fn keys(items: &[Item]) -> impl Iterator<Item = &Key> {
    items.iter().filter_map(|item| match item {
        Item::Key(key) => Some(key),
        _ => None,
    })
}

fn footer_of(version: Version) -> u16 {
    u16::try_from(version.number).unwrap()
}

fn write(key: &Key, footer: u16) -> Vec<u8> {
    let mut out = BytesMut::new();
    key.payload().write(&mut out, footer);
    assert_eq!(out.len(), key.payload().len_bytes());
    out.to_vec()
}

fn restore(server: &mut Server, key: &Key, footer: u16) -> RedisResult<Value> {
    server.say(&format!("SELECT {}", key.db));
    let absolute = server.since((5, 0), (0, 0));
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64;
    let ttl = key
        .expire_at_ms
        .map_or(0, |at| if absolute { at } else { at - now })
        .to_string();
    let payload = write(key, footer);
    let (idle, freq) = (
        key.idle_secs.map(|secs| secs.to_string()),
        key.freq.map(|freq| freq.to_string()),
    );
    let mut words: Vec<&[u8]> = vec![b"RESTORE", &key.key, ttl.as_bytes(), &payload];
    if absolute {
        words.extend([&b"REPLACE"[..], b"ABSTTL"]);
    }
    if let Some(secs) = &idle {
        words.extend([b"IDLETIME", secs.as_bytes()]);
    }
    if let Some(freq) = &freq {
        words.extend([b"FREQ", freq.as_bytes()]);
    }
    server.run(&words)
}

/// The claims of this file, for one server.
fn check(binary: &Path) {
    let (mut source, mut target) = (Server::start(binary), Server::start(binary));
    fill(&mut source);
    let file = source.snapshot();
    let (version, items) = scan(&file);
    let footer = footer_of(version);
    for key in keys(&items) {
        source.say(&format!("SELECT {}", key.db));
        let (ours, theirs) = (write(key, footer), source.dump(&key.key));
        assert_eq!(payload::version_of(&theirs), Some(version));
        assert!(
            ours == theirs,
            "type {} of key {:?}: not what DUMP gives",
            key.value_type,
            key.key
        );
        restore(&mut target, key, footer).unwrap_or_else(|error| panic!("{:?}: {error}", key.key));
    }
    let sizes: usize = [0, 3, 9].map(|db| keys_held(&mut source, db)).iter().sum();
    assert_eq!(keys(&items).count(), sizes);
    check_functions(&mut source, &mut target, &items, footer);
    check_digests(&mut source, &mut target, &items);
    check_uses(&mut source, &mut target);
    let mut types: BTreeMap<u8, usize> = BTreeMap::new();
    keys(&items).for_each(|key| *types.entry(key.value_type).or_default() += 1);
    eprintln!("{}: {version}, keys by type {types:?}", binary.display());
}

/// Both hold the same. `DEBUG DIGEST` of 2.8 fails an assertion of its own while a table is resized.
fn check_digests(source: &mut Server, target: &mut Server, items: &[Item]) {
    if source.since((3, 0), (0, 0)) {
        assert_eq!(source.text("DEBUG DIGEST"), target.text("DEBUG DIGEST"));
        return;
    }
    for key in keys(items) {
        let [here, there] = [&mut *source, &mut *target].map(|server| {
            server.say(&format!("SELECT {}", key.db));
            server.dump(&key.key).len()
        });
        assert_eq!(here, there, "{:?}", key.key);
    }
}

fn keys_held(server: &mut Server, db: u32) -> usize {
    server.say(&format!("SELECT {db}"));
    redis::from_redis_value(server.say("DBSIZE")).unwrap()
}

fn check_functions(source: &mut Server, target: &mut Server, items: &[Item], footer: u16) {
    let libraries: Vec<&[u8]> = items
        .iter()
        .filter_map(|item| match item {
            Item::Function(code) => Some(&code[..]),
            _ => None,
        })
        .collect();
    if !source.since((7, 0), (0, 0)) {
        assert!(libraries.is_empty());
        return;
    }
    assert_eq!(libraries.len(), 2);
    let mut ours = BytesMut::new();
    payload::write_functions(&mut ours, libraries, footer);
    let theirs: Vec<u8> = redis::from_redis_value(source.say("FUNCTION DUMP")).unwrap();
    assert_eq!(ours, theirs);
    target.run(&[b"FUNCTION", b"RESTORE", &ours]).unwrap();
    let again: Vec<u8> = redis::from_redis_value(target.say("FUNCTION DUMP")).unwrap();
    assert_eq!(again.len(), theirs.len());
}

/// Idle times and frequencies reach the target, where the server writes them.
fn check_uses(source: &mut Server, target: &mut Server) {
    if !source.since((5, 0), (0, 0)) {
        return;
    }
    source.say("SELECT 0");
    source.say("CONFIG SET maxmemory-policy allkeys-lru");
    let file = source.snapshot();
    assert!(keys(&scan(&file).1).all(|key| key.idle_secs.is_some() && key.freq.is_none()));
    for server in [&mut *source, &mut *target] {
        server.say("CONFIG SET maxmemory-policy allkeys-lfu");
    }
    let file = source.snapshot();
    let (version, items) = scan(&file);
    for key in keys(&items) {
        let freq = key.freq.expect("LFU is on");
        assert_eq!(key.idle_secs, None);
        restore(target, key, footer_of(version)).unwrap();
        let held = target.run(&[b"OBJECT", b"FREQ", &key.key]).unwrap();
        assert_eq!(redis::from_redis_value::<u8>(held).unwrap(), freq);
    }
}

/// The server of this name, or none with a line that says so.
fn found(id: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("GUNYU_TEST_SERVERS") else {
        crate::skipped::skipped(&format!("GUNYU_TEST_SERVERS names no folder with {id}"));
        return None;
    };
    let name = if id.starts_with("valkey") {
        "valkey-server"
    } else {
        "redis-server"
    };
    let binary = Path::new(&folder).join(id).join("bin").join(name);
    if !binary.exists() {
        crate::skipped::skipped(&format!("no {}", binary.display()));
        return None;
    }
    Some(binary)
}

mod every_value_is_what_dump_gives_and_restore_takes {
    use super::*;

    #[test]
    fn by_the_server_on_the_path() {
        check(Path::new("redis-server"));
    }

    macro_rules! versions {
        ($($test:ident $id:literal)*) => {
            $(#[test]
            fn $test() {
                if let Some(binary) = found($id) {
                    check(&binary);
                }
            })*
        };
    }

    versions! {
        by_redis_2_8 "redis-2.8"
        by_redis_3_2 "redis-3.2"
        by_redis_5_0 "redis-5.0"
        by_redis_6_2 "redis-6.2"
        by_redis_stack_7_4 "redis-stack-7.4"
        by_redis_8_0 "redis-8.0"
        by_redis_8_2 "redis-8.2"
        by_redis_8_6 "redis-8.6"
        by_valkey_8_1 "valkey-8.1"
        by_valkey_9_1 "valkey-9.1"
    }
}

/// What [`payload::Payload::footer`] allows, every version takes and holds as the source does; what it does not allow,
/// the target refuses even under its own version.
#[test]
fn a_footer_is_found_exactly_where_the_target_takes_the_value() {
    let ids = [
        "redis-2.8",
        "redis-5.0",
        "redis-6.2",
        "redis-8.2",
        "redis-8.6",
        "valkey-8.1",
        "valkey-9.1",
    ];
    let mut binaries: Vec<PathBuf> = ids.iter().filter_map(|id| found(id)).collect();
    binaries.push("redis-server".into());
    for from in &binaries {
        let mut source = Server::start(from);
        fill(&mut source);
        let file = source.snapshot();
        let (version, items) = scan(&file);
        for to in &binaries {
            let taken = check_footers(&mut source, version, &items, to);
            eprintln!(
                "{} to {}: {taken} of {}",
                from.display(),
                to.display(),
                keys(&items).count()
            );
        }
    }
}

fn check_footers(source: &mut Server, version: Version, items: &[Item], to: &Path) -> usize {
    let mut target = Server::start(to);
    target.say("SET probe 1");
    let theirs = payload::version_of(&target.dump(b"probe")).unwrap();
    target.say("DEL probe");
    let mut taken = 0;
    // Whether a module's value is taken depends on the target's modules.
    for key in keys(items).filter(|key| key.module().is_none()) {
        let Some(footer) = key.payload().footer(version, theirs, Modules::Unknown) else {
            let refused = restore(&mut target, key, footer_of(theirs));
            assert!(
                refused.is_err(),
                "type {} from {version}: {theirs} takes it",
                key.value_type
            );
            continue;
        };
        restore(&mut target, key, footer)
            .unwrap_or_else(|error| panic!("type {} from {version} to {theirs}: {error}", key.value_type));
        taken += 1;
        compare(source, &mut target, key);
    }
    taken
}

/// By digest, where both versions have digests of single keys.
fn compare(source: &mut Server, target: &mut Server, key: &Key) {
    if !source.since((5, 0), (0, 0)) || !target.since((5, 0), (0, 0)) {
        return;
    }
    source.say(&format!("SELECT {}", key.db));
    let [here, there] =
        [source, target].map(|server| server.run(&[b"DEBUG", b"DIGEST-VALUE", &key.key]).unwrap());
    assert_eq!(here, there, "type {} of {:?}", key.value_type, key.key);
}

#[test]
fn values_and_data_of_modules_are_walked() {
    let Some(binary) = found("redis-stack-7.4") else {
        return;
    };
    let real = binary.parent().unwrap().with_file_name("real");
    let modules: Vec<String> = [
        "rejson.so",
        "redisbloom.so",
        "redisearch.so",
        "redistimeseries.so",
    ]
    .iter()
    .flat_map(|name| ["--loadmodule".to_string(), real.join(name).display().to_string()])
    .collect();
    let mut source = Server::start_with(&binary, &modules);
    let mut target = Server::start_with(&binary, &modules);
    source
        .run(&[
            b"JSON.SET",
            b"json",
            b"$",
            br#"{"a":[1,2.5,"x",null,{"b":true}]}"#,
        ])
        .unwrap();
    source.say("BF.ADD bloom a");
    source.say("CF.ADD cuckoo a");
    source.say("TDIGEST.CREATE tdigest");
    source.say("TDIGEST.ADD tdigest 1 2 3.5");
    source.say("TS.ADD series 1000 1.5 LABELS a b");
    source.say("FT.CREATE index ON HASH SCHEMA text TEXT");
    source.say("SET plain after");
    let (version, items) = scan(&source.snapshot());
    let mut names: Vec<String> = keys(&items)
        .filter_map(|key| Some(key.module()?.name()))
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["MBbloom--", "MBbloomCF", "ReJSON-RL", "TDIS-TYPE", "TSDB-TYPE"]
    );
    assert!(
        items.iter().any(|item| matches!(item, Item::ModuleAux { .. })),
        "the index is a module's data"
    );
    for key in keys(&items) {
        assert_eq!(
            write(key, footer_of(version)),
            source.dump(&key.key),
            "{:?}",
            key.key
        );
        restore(&mut target, key, footer_of(version)).unwrap();
        assert_eq!(target.dump(&key.key), source.dump(&key.key), "{:?}", key.key);
    }
}

#[test]
fn sizes_of_slots_are_walked() {
    let servers = ["redis-stack-7.4", "redis-8.2", "redis-8.6"];
    for binary in servers.iter().filter_map(|id| found(id)) {
        let bus = free_port();
        let mut server = Server::start_with(
            &binary,
            &["--cluster-enabled", "yes", "--cluster-port", &bus].map(String::from),
        );
        server.say("CLUSTER ADDSLOTSRANGE 0 16383");
        // A node alone answers as soon as it has noticed that no slot is missing.
        let mut set = |n: u32| server.run(&[b"SET", format!("key:{n}").as_bytes(), b"v"]).is_ok();
        let deadline = Instant::now() + Duration::from_secs(30);
        while !set(0) {
            assert!(Instant::now() < deadline, "{}: not ready", binary.display());
        }
        assert!((1..100).all(set));
        let (_, items) = scan(&server.snapshot());
        let slots = items
            .iter()
            .filter(|item| matches!(item, Item::SlotInfo { .. }))
            .count();
        assert!(slots > 0, "{}", binary.display());
        assert_eq!(keys(&items).count(), 100);
    }
}
