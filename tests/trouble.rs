//! What the world does to gunyu: a target that is stopped, full, read-only or busy, a source that is not there yet, a disk
//! without room, wrong passwords. Nothing is lost or repeated, status says what is wrong and what helps, and what can heal by
//! itself does; what cannot ends with one message and its exit code.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::port::Port;
use support::proxy::Way;
use support::workload::{Counters, Options, Seed};
use support::{Gunyu, Proxy, SOON, Server, gunyu, wait_until};

/// How long a busy machine may take to catch up.
const LONG: Duration = Duration::from_secs(180);

/// The source's backlog is large enough for whatever happens here.
const BACKLOG: &[&str] = &["--repl-backlog-size", "256mb"];

const MIB: u64 = 1 << 20;

fn is_full_size() -> bool {
    std::env::var_os("GUNYU_FULL").is_some_and(|value| value == "1")
}

/// Counters at this pace.
fn paced(source: &Server, seed: &Seed, per_second: u64) -> Counters {
    let options = Options {
        per_second: Some(per_second),
        ..Options::default()
    };
    Counters::with(&source.url(), seed, &options)
}

/// Source, target, gunyu between them, counters at 2,000 a second.
struct Pair {
    _seed: Seed,
    source: Server,
    target: Server,
    gunyu: Gunyu,
    counters: Counters,
}

impl Pair {
    fn start(target_options: &[&str], set: &[&str]) -> Pair {
        let seed = Seed::pick();
        let (source, target) = (Server::with(BACKLOG), Server::with(target_options));
        let mut gunyu = Gunyu::start(&source.url(), &target.url(), set);
        gunyu.wait_ready(SOON);
        let counters = paced(&source, &seed, 2_000);
        counters.wait_more(1_000);
        Pair {
            _seed: seed,
            source,
            target,
            gunyu,
            counters,
        }
    }

    /// Waits until status tells of a trouble with this in its message, and with this in its hint.
    #[track_caller]
    fn wait_trouble(&mut self, message: &str, hint: &str) {
        wait_trouble(&mut self.gunyu, message, hint);
    }

    /// It has healed by itself: everything is there, exactly, and by the stream alone.
    #[track_caller]
    fn finish(mut self) {
        self.counters.wait_more(1_000);
        let expected = self.counters.stop();
        self.gunyu.wait_applied(&self.source, LONG);
        expected.assert_on(&self.source);
        expected.assert_on(&self.target);
        assert_eq!(full_syncs(&self.source), 1, "{}", self.gunyu.traces());
    }
}

fn full_syncs(source: &Server) -> u64 {
    source.info("stats")["sync_full"].parse().unwrap()
}

fn text<'a>(status: &'a Value, field: &str) -> &'a str {
    status[0]["LastError"][field].as_str().unwrap_or_default()
}

#[track_caller]
fn wait_trouble(gunyu: &mut Gunyu, message: &str, hint: &str) {
    gunyu.wait_status(LONG, &format!("status tells: {message}"), |status| {
        text(status, "Message").contains(message) && text(status, "Hint").contains(hint)
    });
}

/// The output buffer that the source keeps for gunyu, in bytes; 0 without a link.
fn output_buffer(source: &Server) -> u64 {
    let list: String = source.run(&["CLIENT", "LIST", "TYPE", "replica"]);
    let sizes = list
        .split([' ', '\n'])
        .filter_map(|field| field.strip_prefix("omem=")?.parse::<u64>().ok());
    sizes.max().unwrap_or(0)
}

/// Bytes of all segments and snapshots: what `channel.storer.maxSize` caps.
fn log_bytes(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    let size = |path: PathBuf| {
        let counts = [".seg", ".rdb", ".part"]
            .iter()
            .any(|end| path.to_string_lossy().ends_with(end));
        match std::fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => log_bytes(&path),
            Ok(meta) if counts => meta.len(),
            _ => 0,
        }
    };
    entries
        .filter_map(Result::ok)
        .map(|entry| size(entry.path()))
        .sum()
}

// A target that is stopped.

#[test]
fn a_stopped_target_does_not_reach_the_source_and_is_caught_up_with() {
    let seconds = if is_full_size() { 60 } else { 10 };
    let seed = Seed::pick();
    let (source, mut target) = (Server::with(BACKLOG), Server::start());
    let mut gunyu = Gunyu::between(&source, &target);
    let counters = paced(&source, &seed, 20_000);
    counters.wait_more(10_000);
    target.sigstop();
    let before = source.offset();
    for _ in 0..seconds {
        counters.wait_more(20_000);
        let omem = output_buffer(&source);
        assert!(omem < 4 * MIB, "the source holds {omem} bytes back for gunyu");
        let rss = gunyu.stats().rss_bytes();
        assert!(rss < 256 * MIB, "gunyu takes {rss} bytes of memory");
        // Segments hold the stream and little more.
        let (log, stream) = (log_bytes(&gunyu.state_dir()), source.offset());
        assert!(
            log < stream + stream / 10 + MIB,
            "{log} bytes of log for {stream}"
        );
    }
    let at = source.offset();
    assert!(at > before + MIB);
    gunyu.wait_status(SOON, "the link is drained", |status| {
        status[0]["Offset"]["Received"].as_u64().is_some_and(|n| n >= at)
    });
    target.sigcont();
    let expected = counters.stop();
    gunyu.wait_applied(&source, LONG);
    expected.assert_on(&target);
    assert_eq!(full_syncs(&source), 1, "{}", gunyu.traces());
}

const CAP: u64 = 16 * MIB;

/// A log of 16 MiB, a stopped target, and writes of twice that size: the cap holds, and status says why nothing moves.
fn full_log(on_full: &str) -> Pair {
    let on_full = format!("channel.onFull={on_full}");
    let cap = format!("channel.storer.maxSize={CAP}");
    let mut pair = Pair::start(&[], &[&on_full, &cap, "channel.storer.logSize=2MiB"]);
    pair.target.sigstop();
    let filler = "x".repeat(512 << 10);
    for _ in 0..(2 * CAP / (512 << 10)) {
        let () = pair.source.run(&["SET", "filler", &filler]);
        let held = log_bytes(&pair.gunyu.state_dir());
        assert!(held <= CAP, "the log takes {held} bytes, its cap is {CAP}");
    }
    pair.wait_trouble("nothing can be released", "channel.storer.maxSize");
    pair
}

#[test]
fn a_full_log_closes_the_link_and_goes_on_by_itself() {
    let mut pair = full_log("disconnect");
    let source = &pair.source;
    wait_until(SOON, "the link is closed", || {
        source.info("replication")["connected_slaves"] == "0"
    });
    assert_eq!(output_buffer(&pair.source), 0);
    assert!(log_bytes(&pair.gunyu.state_dir()) <= CAP);
    pair.target.sigcont();
    pair.gunyu.wait_applied(&pair.source, LONG);
    assert!(log_bytes(&pair.gunyu.state_dir()) <= CAP);
    pair.finish();
}

#[test]
fn a_full_log_that_blocks_stops_reading_keeps_the_link_and_goes_on_by_itself() {
    let mut pair = full_log("block");
    let replication = pair.source.info("replication");
    assert_eq!(replication["connected_slaves"], "1");
    assert!(log_bytes(&pair.gunyu.state_dir()) <= CAP);
    pair.target.sigcont();
    pair.gunyu.wait_applied(&pair.source, LONG);
    pair.finish();
}

// A target that takes nothing.

#[test]
fn a_target_out_of_memory_is_told_and_healed_by_more() {
    let mut pair = Pair::start(&[], &[]);
    let () = pair.target.run(&["CONFIG", "SET", "maxmemory", "1"]);
    pair.wait_trouble("OOM", "maxmemory");
    pair.counters.wait_more(1_000);
    let () = pair.target.run(&["CONFIG", "SET", "maxmemory", "0"]);
    pair.finish();
}

#[test]
fn a_target_that_is_a_replica_for_a_while_is_waited_for() {
    let mut pair = Pair::start(&[], &[]);
    let nobody = Port::free().number().to_string();
    let () = pair.target.run(&["REPLICAOF", "127.0.0.1", &nobody]);
    pair.wait_trouble("READONLY", "read-only replica");
    pair.counters.wait_more(1_000);
    let () = pair.target.run(&["REPLICAOF", "NO", "ONE"]);
    pair.finish();
}

#[test]
fn a_target_that_cannot_save_is_told_and_waited_for() {
    let mut pair = Pair::start(&["--enable-protected-configs", "yes"], &[]);
    // A dump cannot take the place of a folder.
    std::fs::create_dir(pair.target.dir().join("in-the-way")).unwrap();
    let () = pair.target.run(&["CONFIG", "SET", "dbfilename", "in-the-way"]);
    let () = pair.target.run(&["CONFIG", "SET", "save", "86400 1000000000"]);
    let () = pair.target.run(&["BGSAVE"]);
    pair.wait_trouble("MISCONF", "stop-writes-on-bgsave-error");
    pair.counters.wait_more(1_000);
    let () = pair
        .target
        .run(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
    pair.finish();
}

#[test]
fn a_target_that_is_busy_with_a_script_is_told_and_waited_for() {
    let mut pair = Pair::start(&["--busy-reply-threshold", "100"], &[]);
    let url = pair.target.url();
    let script = std::thread::spawn(move || {
        let mut conn = support::server::connect(&url).unwrap();
        let end: redis::RedisResult<()> = redis::cmd("EVAL")
            .arg("while true do end")
            .arg(0)
            .query(&mut conn);
        end.unwrap_err().to_string()
    });
    pair.wait_trouble("BUSY", "SCRIPT KILL");
    pair.counters.wait_more(1_000);
    let () = pair.target.run(&["SCRIPT", "KILL"]);
    let end = script.join().unwrap();
    assert!(end.contains("kill"), "{end}");
    pair.finish();
}

/// A server that takes a second or two to load its data, and answers `-LOADING` meanwhile.
const SLOW_LOADING: &[&str] = &[
    "--key-load-delay",
    "1000",
    "--loading-process-events-interval-bytes",
    "1024",
    "--repl-backlog-size",
    "256mb",
];

/// Some keys that have nothing to do with the counters.
fn put_keys(server: &Server, count: usize) {
    let script = "for i = 1, ARGV[1] do redis.call('SET', 'ballast:' .. i, string.rep('x', 100)) end";
    let () = server.run(&["EVAL", script, "0", &count.to_string()]);
}

#[test]
fn a_target_that_loads_its_data_is_waited_for() {
    let mut pair = Pair::start(SLOW_LOADING, &[]);
    put_keys(&pair.target, 2_000);
    let dump = pair.target.snapshot();
    pair.counters.wait_more(1_000);
    pair.target.restart_from(&dump);
    pair.gunyu.wait_applied(&pair.source, LONG);
    let traces = pair.gunyu.traces();
    assert!(traces.contains("LOADING"), "{traces}");
    pair.finish();
}

// A start that finds nobody at home.

#[test]
fn a_source_that_is_down_and_then_loads_its_data_is_waited_for() {
    let (mut source, target) = (Server::with(SLOW_LOADING), Server::start());
    put_keys(&source, 2_000);
    let dump = source.snapshot();
    source.kill9();
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    wait_trouble(&mut gunyu, "cannot connect", "");
    assert_eq!(gunyu.request("GET", "/debug/ready").unwrap().status, 503);
    source.restart_from(&dump);
    gunyu.wait_ready(LONG);
    gunyu.wait_applied(&source, SOON);
    assert_eq!(target.run::<String>(&["GET", "ballast:2000"]).len(), 100);
    let traces = gunyu.traces();
    assert!(traces.contains("LOADING"), "{traces}");
}

#[test]
fn a_source_without_a_master_link_is_waited_for() {
    let (source, target) = (
        Server::with(&["--replica-serve-stale-data", "no"]),
        Server::start(),
    );
    put_keys(&source, 10);
    let nobody = Port::free().number().to_string();
    let () = source.run(&["REPLICAOF", "127.0.0.1", &nobody]);
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    wait_trouble(&mut gunyu, "MASTER", "");
    let () = source.run(&["REPLICAOF", "NO", "ONE"]);
    gunyu.wait_ready(LONG);
    gunyu.wait_applied(&source, SOON);
    assert_eq!(target.run::<String>(&["GET", "ballast:10"]).len(), 100);
}

#[test]
fn a_target_that_is_down_at_the_start_is_waited_for() {
    let (source, mut target) = (Server::start(), Server::start());
    put_keys(&source, 10);
    target.kill9();
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    wait_trouble(&mut gunyu, "cannot connect", "check that a server listens");
    target.restart();
    gunyu.wait_ready(LONG);
    gunyu.wait_applied(&source, SOON);
    assert_eq!(target.run::<String>(&["GET", "ballast:10"]).len(), 100);
}

// What only a person can mend ends the start.

/// `gunyu sync` that is expected to end by itself: its exit code and what it said.
fn refused(args: &[&str]) -> (Option<i32>, String) {
    let (port, dir) = (Port::free(), tempfile::tempdir().unwrap());
    let listen = format!("--set=server.listen={}", port.addr());
    let folder = format!(
        "--set=channel.storer.dirPath={}",
        dir.path().join("state").display()
    );
    // What the test says comes last and wins.
    let all: Vec<&str> = ["sync", &listen, &folder].iter().chain(args).copied().collect();
    let output: Output = gunyu::run(&all);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

/// Ends with this code, after one message that has these words in it and one hint.
#[track_caller]
fn assert_refused(args: &[&str], code: i32, words: &[&str]) {
    let (got, said) = refused(args);
    assert_eq!(got, Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is missing:\n{said}");
    }
    assert_eq!(said.matches("error: ").count(), 1, "one message:\n{said}");
    assert!(!said.contains("panicked"), "{said}");
}

const ACL: &[&str] = &[
    "--requirepass",
    "other",
    "--user",
    "alice",
    "on",
    ">right",
    "~*",
    "&*",
    "+@all",
];

#[test]
fn a_wrong_password_of_the_source_ends_the_start() {
    let (source, target) = (Server::with(ACL), Server::start());
    let (from, to) = (
        format!("--source=redis://alice:wrong@{}", source.addr()),
        format!("--target={}", target.url()),
    );
    assert_refused(
        &[&from, &to],
        2,
        &["WRONGPASS", "hint: ", "GUNYU_SOURCE_PASSWORD"],
    );
    let bare = format!("--source=redis://{}", source.addr());
    assert_refused(&[&bare, &to], 2, &["NOAUTH", "hint: "]);
    let right = format!("redis://alice:right@{}", source.addr());
    Gunyu::start(&right, &target.url(), &[]).wait_ready(SOON);
}

#[test]
fn a_wrong_password_of_the_target_ends_the_start() {
    let (source, target) = (Server::start(), Server::with(ACL));
    let (from, to) = (
        format!("--source={}", source.url()),
        format!("--target=redis://alice:wrong@{}", target.addr()),
    );
    assert_refused(
        &[&from, &to],
        2,
        &["WRONGPASS", "hint: ", "GUNYU_TARGET_PASSWORD"],
    );
    let bare = format!("--target=redis://{}", target.addr());
    assert_refused(&[&from, &bare], 2, &["NOAUTH", "hint: "]);
    let right = format!("redis://alice:right@{}", target.addr());
    Gunyu::start(&source.url(), &right, &[]).wait_ready(SOON);
}

#[test]
fn the_same_server_on_both_sides_ends_the_start() {
    let server = Server::start();
    let (from, to) = (
        format!("--source={}", server.url()),
        format!("--target=redis://localhost:{}", server.port()),
    );
    assert_refused(&[&from, &to], 2, &["same server", "hint: "]);
}

#[test]
fn a_folder_that_cannot_be_used_ends_the_start() {
    let (source, target) = (Server::start(), Server::start());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let folder = file.join("state");
    let set = format!("--set=channel.storer.dirPath={}", folder.display());
    let (from, to) = (
        format!("--source={}", source.url()),
        format!("--target={}", target.url()),
    );
    let name = file.display().to_string();
    assert_refused(&[&from, &to, &set], 1, &[&name, "hint: "]);
}

#[test]
fn a_typo_in_the_configuration_ends_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gunyu.yaml");
    let yaml =
        "input:\n  redis:\n    adresses: [127.0.0.1:1]\noutput:\n  redis:\n    addresses: [127.0.0.1:2]\n";
    std::fs::write(&file, yaml).unwrap();
    let config = format!("--config={}", file.display());
    assert_refused(&[&config], 2, &["3", "adresses", "addresses", "gunyu.yaml"]);
}

// The disk.

/// A small filesystem in memory over a folder; needs the right to mount.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn over(dir: &Path, size: &str) -> Option<Tmpfs> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=700"), "tmpfs"])
            .arg(dir)
            .output();
        let done = mounted.is_ok_and(|output| output.status.success());
        done.then(|| Tmpfs(dir.to_owned()))
    }

    /// Fills what is left.
    fn fill(&self) -> PathBuf {
        let filler = self.0.join("filler");
        let mut file = std::fs::File::create(&filler).unwrap();
        let block = vec![0; 64 << 10];
        // Ends with an error: that is the point.
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
        filler
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).output());
    }
}

#[test]
fn a_full_disk_is_told_and_recovered_from_when_there_is_room_again() {
    let mut pair = Pair::start(&[], &["channel.storer.logSize=1MiB"]);
    pair.gunyu.kill9();
    let Some(disk) = Tmpfs::over(&pair.gunyu.state_dir(), "192m") else {
        println!("skipped: mounting a tmpfs is not permitted here");
        return;
    };
    pair.gunyu.restart();
    pair.gunyu.wait_ready(LONG);
    pair.counters.wait_more(1_000);
    let filler = disk.fill();
    pair.wait_trouble("No space left", "space");
    pair.counters.wait_more(2_000);
    std::fs::remove_file(filler).unwrap();
    pair.counters.wait_more(1_000);
    let expected = pair.counters.stop();
    pair.gunyu.wait_applied(&pair.source, LONG);
    expected.assert_on(&pair.target);
    assert_eq!(full_syncs(&pair.source), 1, "{}", pair.gunyu.traces());
    pair.gunyu.kill9();
}

// The link to the source.

#[test]
fn wait_on_the_source_returns_when_the_target_has_it_and_not_before() {
    let (source, mut target) = (Server::start(), Server::start());
    let _gunyu = Gunyu::between(&source, &target);
    let (mut here, mut there) = (source.conn(), target.conn());
    let mut write_and_wait = |number: u32, limit_ms: u32| -> i64 {
        redis::cmd("SET").arg("k").arg(number).exec(&mut here).unwrap();
        redis::cmd("WAIT").arg(1).arg(limit_ms).query(&mut here).unwrap()
    };
    for number in 0..200 {
        assert_eq!(write_and_wait(number, 20_000), 1);
        let got: u32 = redis::cmd("GET").arg("k").query(&mut there).unwrap();
        assert_eq!(got, number);
    }
    target.sigstop();
    assert_eq!(write_and_wait(1_000, 1_500), 0);
    target.sigcont();
    assert_eq!(write_and_wait(1_001, 20_000), 1);
    assert_eq!(target.run::<u32>(&["GET", "k"]), 1_001);
}

#[test]
fn wait_returns_at_once_and_not_at_the_next_tick() {
    let (source, target) = (Server::start(), Server::start());
    let _gunyu = Gunyu::between(&source, &target);
    let mut here = source.conn();
    let mut fastest = Duration::MAX;
    for number in 0..50 {
        redis::cmd("SET").arg("k").arg(number).exec(&mut here).unwrap();
        let start = Instant::now();
        let got: i64 = redis::cmd("WAIT").arg(1).arg(20_000).query(&mut here).unwrap();
        assert_eq!(got, 1);
        fastest = fastest.min(start.elapsed());
    }
    // Acknowledgements go out every second anyway; one of fifty that is much faster was not waiting for that.
    assert!(fastest < Duration::from_millis(100), "{fastest:?}");
}

#[test]
fn a_stream_that_is_cut_at_every_other_byte_is_exact() {
    let seed = Seed::pick();
    let mut rng = seed.rng(0xB17E);
    let (source, target) = (Server::with(BACKLOG), Server::start());
    let to_source = Proxy::to(source.port());
    let mut gunyu = Gunyu::start(&to_source.url(), &target.url(), &[]);
    gunyu.wait_ready(SOON);
    let counters = paced(&source, &seed, 500);
    for _ in 0..if is_full_size() { 200 } else { 40 } {
        let (cuts, at) = (to_source.cuts(), source.offset());
        to_source.cut_after(Way::Down, rng.u64(1..400));
        wait_until(LONG, "the link is cut", || to_source.cuts() > cuts);
        gunyu.wait_status(LONG, "the stream has moved on", |status| {
            status[0]["Offset"]["Received"].as_u64().is_some_and(|n| n > at)
        });
    }
    let expected = counters.stop();
    gunyu.wait_applied(&source, LONG);
    expected.assert_on(&target);
    assert_eq!(full_syncs(&source), 1, "{}", gunyu.traces());
}

// Stopping.

#[test]
fn a_term_with_a_stopped_target_ends_in_time_with_0() {
    let mut pair = Pair::start(&[], &["server.gracefullStopTimeout=2s"]);
    pair.target.sigstop();
    pair.counters.wait_more(1_000);
    let start = Instant::now();
    let status = pair.gunyu.term();
    assert_eq!(status.code(), Some(0), "{}", pair.gunyu.traces());
    let took = start.elapsed();
    assert!(took < Duration::from_secs(10), "took {took:?}");
    pair.target.sigcont();
    pair.gunyu.restart();
    pair.finish();
}

#[test]
fn a_term_under_load_drains_and_records_the_checkpoint() {
    let mut pair = Pair::start(&[], &[]);
    for _ in 0..5 {
        pair.counters.wait_more(500);
        assert_eq!(pair.gunyu.term().code(), Some(0), "{}", pair.gunyu.traces());
        pair.gunyu.restart();
        pair.gunyu.wait_ready(SOON);
    }
    pair.finish();
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut pair = Pair::start(&[], &["server.gracefullStopTimeout=60s"]);
    pair.target.sigstop();
    pair.counters.wait_more(1_000);
    pair.gunyu.signal(libc::SIGTERM);
    let gunyu = &pair.gunyu;
    wait_until(SOON, "the first signal is heard", || {
        gunyu.traces().contains("stopping at a signal")
    });
    pair.gunyu.signal(libc::SIGTERM);
    let status = pair.gunyu.wait_end(Duration::from_secs(10));
    assert_eq!(status.code(), Some(130), "{}", pair.gunyu.traces());
    pair.target.sigcont();
    pair.gunyu.restart();
    pair.finish();
}

#[test]
fn a_term_during_a_slow_full_sync_is_heard_and_it_goes_on_where_it_was() {
    let (source, target) = (Server::with(BACKLOG), Server::start());
    put_keys(&source, 3_000);
    let set = [
        "output.replay.rateLimit.opsPerSec=600",
        "server.gracefullStopTimeout=60s",
    ];
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &set);
    gunyu.wait_status(LONG, "some keys are there", |status| {
        status[0]["FullSync"]["Keys"]
            .as_u64()
            .is_some_and(|keys| keys > 1_000)
    });
    let start = Instant::now();
    assert_eq!(gunyu.term().code(), Some(0), "{}", gunyu.traces());
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "took {took:?}");
    gunyu.restart();
    gunyu.wait_ready(LONG);
    gunyu.wait_applied(&source, LONG);
    let sent = gunyu.metric("redisGunYu_output_rdb_key_send").unwrap();
    assert!(sent < 2_000.0, "sent {sent} of 3,000 keys again");
    assert_eq!(
        target.run::<u64>(&["DBSIZE"]),
        3_000 + 2,
        "the keys, checkpoint and session"
    );
    assert_eq!(full_syncs(&source), 1, "{}", gunyu.traces());
}
