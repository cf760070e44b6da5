//! `gunyu fullsync` from one server to another: a migration, by hand or in a script.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::support::gunyu::PROGRAM;
use super::support::port::Port;
use super::support::process::{Process, text_from};
use super::support::wire::{Batch, put};
use super::support::workload::{Counters, Fill, Options, Seed};
use super::support::{Gunyu, SOON, Server, assert_equal, at_this_load, equal_key_by_key, fleet, wait_until};
use super::{Ran, command, run};

const PATIENCE: Duration = Duration::from_secs(120);

/// A source that is filled, and an empty target.
fn pair(keys: usize, seed: &Seed) -> (Server, Server) {
    let (source, target) = (Server::with(&["--repl-backlog-size", "64mb"]), Server::start());
    Fill::lasting(keys).run(&source, seed);
    (source, target)
}

fn urls(source: &Server, target: &Server) -> [String; 3] {
    [
        "fullsync".to_owned(),
        format!("--source={}", source.url()),
        format!("--target={}", target.url()),
    ]
}

/// `gunyu fullsync` from one to the other, with further arguments.
fn migration(source: &Server, target: &Server, more: &[&str], tmp: &Path) -> Command {
    let urls = urls(source, target);
    let args: Vec<&str> = urls
        .iter()
        .map(String::as_str)
        .chain(more.iter().copied())
        .collect();
    command(&args, Some(tmp))
}

fn migrate(source: &Server, target: &Server, more: &[&str]) -> Ran {
    let tmp = tempfile::tempdir().unwrap();
    let ran = Ran::of(&migration(source, target, more, tmp.path()).output().unwrap());
    assert_eq!(
        tmp.path().read_dir().unwrap().count(),
        0,
        "a temporary folder stays: {ran:?}"
    );
    ran
}

fn own_keys(target: &Server) -> Vec<String> {
    target.run(&["KEYS", "redis-gunyu*"])
}

fn full_syncs(source: &Server) -> u64 {
    source.info("stats")["sync_full"].parse().unwrap()
}

#[test]
fn a_migration_ends_equal_is_readable_in_a_log_and_sync_goes_on_from_it() {
    let seed = Seed::pick();
    let (source, target) = pair(1_500, &seed);
    let ran = migrate(
        &source,
        &target,
        &["--set=output.replay.rateLimit.opsPerSec=1000"],
    );
    ran.says(
        0,
        &["copied", &source.addr(), &target.addr(), "caught up at offset"],
    );
    for text in [&ran.stdout, &ran.stderr] {
        assert!(!text.contains(['\u{1b}', '\r']), "{text:?}");
    }
    assert!(ran.stderr.lines().count() >= 2, "progress is told: {ran:?}");
    assert!(
        ran.stderr
            .lines()
            .all(|line| line.contains(" -> ") && line.len() < 160),
        "{}",
        ran.stderr
    );
    assert!(!own_keys(&target).is_empty(), "the checkpoint stays");
    equal_key_by_key(&source, &target).unwrap_or_else(|differences| panic!("{differences}"));
    let () = source.run(&["SET", "after", "1"]);
    let counters = Counters::start(&source, &seed);
    counters.wait_more(500);
    let mut gunyu = Gunyu::between(&source, &target);
    let expected = counters.stop();
    gunyu.wait_applied(&source, PATIENCE);
    expected.assert_on(&target);
    assert_eq!(
        full_syncs(&source),
        1,
        "sync goes on without another one: {}",
        gunyu.traces()
    );
    assert!(gunyu.term().success());
    assert_equal(&source, &target);
}

#[test]
fn a_migration_under_writes_catches_up_and_ends() {
    let seed = Seed::pick();
    let (source, target) = pair(500, &seed);
    let options = Options {
        per_second: Some(1_000),
        ..Options::default()
    };
    let counters = Counters::with(&source.url(), &seed, &options);
    let ran = migrate(&source, &target, &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    counters.wait_more(200);
    let mut gunyu = Gunyu::between(&source, &target);
    let expected = counters.stop();
    gunyu.wait_applied(&source, PATIENCE);
    expected.assert_on(&target);
    assert_eq!(full_syncs(&source), 1);
}

#[test]
fn a_migration_of_the_snapshot_only_leaves_nothing_of_gunyus_and_every_ttl_as_it_is() {
    let seed = Seed::pick();
    let (source, target) = pair(500, &seed);
    for (key, seconds) in [("soon", "30"), ("later", "4000"), ("late", "400000")] {
        let () = source.run(&["SET", key, "v", "EX", seconds]);
    }
    let ran = migrate(&source, &target, &["--snapshot-only"]);
    ran.says(0, &["snapshot only"]);
    assert_eq!(own_keys(&target), Vec::<String>::new());
    for key in ["soon", "later", "late"] {
        let expiry = |server: &Server| server.run::<i64>(&["PEXPIRETIME", key]);
        assert_eq!(expiry(&target), expiry(&source), "{key}");
    }
    assert_eq!(target.digest(), source.digest());
    assert_equal(&source, &target);
}

#[test]
fn a_migration_gives_every_key_its_own_expiry_before_it_ends() {
    let (source, target) = (Server::start(), Server::start());
    let () = source.run(&["SET", "soon", "v", "EX", "30"]);
    migrate(&source, &target, &[]).says(0, &[]);
    let expiry = |server: &Server| server.run::<i64>(&["PEXPIRETIME", "soon"]);
    assert_eq!(expiry(&target), expiry(&source));
}

#[test]
fn a_migration_flushes_what_it_is_told_to_and_nothing_else() {
    let seed = Seed::pick();
    let (source, target) = pair(100, &seed);
    let () = target.run(&["SET", "planted", "1"]);
    migrate(&source, &target, &["--quiet"]).says(0, &[]);
    assert_eq!(target.run::<u64>(&["EXISTS", "planted"]), 1);
    for more in [&["--flushdb", "--quiet"][..], &["--flushdb", "--snapshot-only"]] {
        let () = target.run(&["SET", "planted", "1"]);
        let ran = migrate(&source, &target, more);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(target.run::<u64>(&["EXISTS", "planted"]), 0, "{more:?}");
    }
    assert_equal(&source, &target);
}

#[test]
fn a_migration_tells_its_outcome_in_json_and_is_quiet_when_told_to() {
    let (source, target) = pair(50, &Seed::of(1));
    let json = migrate(&source, &target, &["--json"]);
    assert_eq!(json.stderr, "");
    let value = json.json();
    assert_eq!(value["ok"], true, "{value}");
    assert_eq!(value["inputs"][0]["Input"], source.addr());
    assert_eq!(value["inputs"][0]["FullSync"]["Percent"], 100.0);
    let quiet = migrate(&source, &target, &["--quiet"]);
    assert_eq!((quiet.code, quiet.stderr.as_str()), (Some(0), ""));
    assert_eq!(quiet.stdout.lines().count(), 1, "the outcome alone: {quiet:?}");
}

#[test]
fn a_migration_that_is_refused_at_the_door_ends_with_2() {
    let (source, target) = (Server::with(&["--requirepass", "right"]), Server::start());
    let wrong = format!("--source=redis://:wrong@{}", source.addr());
    let to = format!("--target={}", target.url());
    let (open, locked) = (Server::start(), Server::with(&["--requirepass", "right"]));
    let began = Instant::now();
    run(&["fullsync", &wrong, &to]).says(2, &["hint: "]);
    let from = format!("--source={}", open.url());
    let wrong = format!("--target=redis://:wrong@{}", locked.addr());
    let ran = run(&["fullsync", &from, &wrong]);
    ran.says(2, &["hint: "]);
    assert!(
        !ran.stderr.contains("wrong@") && !ran.stderr.contains("right"),
        "{ran:?}"
    );
    let took = began.elapsed();
    assert!(took < at_this_load(Duration::from_secs(15)), "{took:?}");
}

/// 2,000 keys in seven seconds.
const SLOW: &str = "--set=output.replay.rateLimit.opsPerSec=300";

/// A migration that is in its middle, as a process of its own.
struct Underway {
    source: Server,
    target: Server,
    process: Process,
    dir: tempfile::TempDir,
}

impl Underway {
    fn start(more: &[&str]) -> Underway {
        let (source, target) = pair(2_000, &Seed::pick());
        let dir = tempfile::tempdir().unwrap();
        let tmp = dir.path().join("tmp");
        std::fs::create_dir(&tmp).unwrap();
        let args: Vec<&str> = [SLOW].iter().chain(more).copied().collect();
        let command = migration(&source, &target, &args, &tmp);
        let process = Process::start(command, &dir.path().join("stdout"), &dir.path().join("stderr"));
        wait_until(SOON, "keys come", || target.keys() > 100);
        Underway {
            source,
            target,
            process,
            dir,
        }
    }

    /// It ends by itself with this code, and leaves no folder.
    #[track_caller]
    fn ends_with(&mut self, code: i32, limit: Duration) -> String {
        let end = self.process.wait_end(limit);
        let stderr = text_from(&self.dir.path().join("stderr"), 0);
        assert_eq!(end.code(), Some(code), "{stderr}");
        let left: Vec<_> = self.dir.path().join("tmp").read_dir().unwrap().collect();
        assert!(left.is_empty(), "{left:?}\n{stderr}");
        stderr
    }
}

#[test]
fn a_migration_whose_target_goes_away_ends_with_1() {
    let mut underway = Underway::start(&["--patience=2"]);
    underway.target.kill9();
    let said = underway.ends_with(1, PATIENCE);
    assert!(
        said.contains(&underway.target.addr()) && said.contains("nothing has moved for 2 s"),
        "{said}"
    );
}

#[test]
fn a_migration_whose_target_freezes_ends_with_1() {
    let mut underway = Underway::start(&["--patience=2"]);
    underway.target.sigstop();
    let said = underway.ends_with(1, PATIENCE);
    assert!(said.contains("nothing has moved for 2 s"), "{said}");
}

#[test]
fn a_migration_whose_source_goes_away_ends_with_1() {
    let mut underway = Underway::start(&["--patience=2"]);
    underway.source.kill9();
    let said = underway.ends_with(1, PATIENCE);
    assert!(said.contains("error: "), "{said}");
}

#[test]
fn a_migration_that_is_interrupted_ends_with_130_and_leaves_no_folder() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let mut underway = Underway::start(&[]);
        underway.process.signal(signal);
        let said = underway.ends_with(130, SOON);
        assert!(said.contains("interrupted") && said.contains("hint: "), "{said}");
        assert!(underway.target.keys() < 2_000, "it was in its middle");
    }
}

#[test]
fn a_migration_that_was_interrupted_and_is_run_again_ends_equal() {
    let mut underway = Underway::start(&[]);
    underway.process.signal(libc::SIGINT);
    underway.ends_with(130, SOON);
    migrate(&underway.source, &underway.target, &[]).says(0, &["copied"]);
    assert_equal(&underway.source, &underway.target);
}

#[test]
fn what_the_target_refuses_is_kept_and_told() {
    let (source, target) = (Server::start(), Server::start());
    for server in [&source, &target] {
        let () = server.run(&["SET", "both", &server.addr()]);
    }
    let tmp = tempfile::tempdir().unwrap();
    let more = ["--set=output.replay.keyExists=error"];
    let ran = Ran::of(&migration(&source, &target, &more, tmp.path()).output().unwrap());
    ran.says(1, &["BUSYKEY", "dead-letter"]);
    let path = ran.stderr.split("what the target refused is in ").nth(1).unwrap();
    let folder = path.split([')', '\n']).next().unwrap();
    let files: Vec<_> = Path::new(folder).read_dir().unwrap().collect();
    assert_eq!(files.len(), 1, "{ran:?}");
}

/// What stands in a CI job: copy, follow, look, and stop where anything fails.
const SCRIPT: &str = r#"set -eu
gunyu fullsync --source "$SOURCE" --target "$TARGET" --patience 2
gunyu sync --source "$SOURCE" --target "$TARGET" --set "server.listen=$LISTEN" --set "channel.storer.dirPath=$STATE" &
until gunyu status --server "http://$LISTEN" --json 2>/dev/null | grep -q '"Phase":"incremental"'; do sleep 0.1; done
gunyu status --server "http://$LISTEN"
gunyu stop --server "http://$LISTEN" --wait
wait
"#;

fn script(source: &Server, target: &Server) -> Ran {
    let (dir, port) = (tempfile::tempdir().unwrap(), Port::free());
    let path = std::env::var("PATH").unwrap();
    let folder = Path::new(PROGRAM).parent().unwrap().display();
    let output = Command::new("bash")
        .args(["-c", SCRIPT])
        .env("PATH", format!("{folder}:{path}"))
        .envs([("SOURCE", source.url()), ("TARGET", target.url())])
        .envs([
            ("LISTEN", port.addr().to_string()),
            ("STATE", dir.path().display().to_string()),
        ])
        .output();
    Ran::of(&output.unwrap())
}

#[test]
fn a_script_of_a_migration_works_and_fails_when_the_target_is_not_there() {
    let seed = Seed::pick();
    let (source, mut target) = pair(300, &seed);
    let ran = script(&source, &target);
    ran.says(0, &["copied", "incremental", "stopped"]);
    assert!(
        !ran.stdout.contains(['\u{1b}', '\r']) && !ran.stderr.contains(['\u{1b}', '\r']),
        "{ran:?}"
    );
    assert_equal(&source, &target);
    target.kill9();
    let ran = script(&source, &target);
    ran.says(1, &["error: ", &target.addr()]);
    assert!(!ran.stdout.contains("incremental"), "{ran:?}");
}

/// It once went on without the flush, and said that all was well.
#[test]
fn a_migration_that_may_not_flush_ends_with_1_and_copies_nothing() {
    let source = Server::start();
    let () = source.run(&["SET", "k", "v"]);
    for more in [&["--flushdb"][..], &["--flushdb", "--snapshot-only"]] {
        let target = Server::with(&["--rename-command", "FLUSHDB", "xflush"]);
        let () = target.run(&["SET", "planted", "1"]);
        let ran = migrate(&source, &target, more);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.to_lowercase().contains("unknown command"), "{ran:?}");
        let held: (bool, bool) = (target.run(&["EXISTS", "planted"]), target.run(&["EXISTS", "k"]));
        assert_eq!(held, (true, false), "{ran:?}");
        let named = [more, &["--flush-command", "xflush"]].concat();
        assert_eq!(migrate(&source, &target, &named).code, Some(0));
        let held: (bool, bool) = (target.run(&["EXISTS", "planted"]), target.run(&["EXISTS", "k"]));
        assert_eq!(held, (false, true));
    }
}

/// Of two inputs one was done at once, and the other was waited for without end.
#[test]
fn a_migration_of_two_inputs_of_which_one_is_not_there_ends_with_1() {
    let (one, other, target) = (Server::start(), Server::start(), Server::start());
    let () = one.run(&["SET", "k", "v"]);
    let away = Port::free();
    let tmp = tempfile::tempdir().unwrap();
    let file = tmp.path().join("two.yaml");
    let (sources, targets) = (
        [one.addr(), other.addr()],
        [target.addr(), away.addr().to_string()],
    );
    let text = format!(
        "input: {{redis: {{addresses: {sources:?}}}}}\noutput: {{redis: {{addresses: {targets:?}}}}}\n"
    );
    std::fs::write(&file, text).unwrap();
    let config = format!("--config={}", file.display());
    for more in [&[][..], &["--snapshot-only"]] {
        let args = [&["fullsync", "--local", &config, "--patience=2"][..], more].concat();
        let ran = Ran::of(&command(&args, None).output().unwrap());
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains(&other.addr()), "{ran:?}");
    }
}

/// Without a daemon: what stands on the two servers, and what a `gunyu sync` would do with it.
#[test]
fn status_local_tells_what_comes_next_at_every_stage_of_a_migration() {
    let (source, target) = (Server::start(), Server::start());
    let () = source.run(&["SET", "k", "v"]);
    let urls = [
        format!("--source={}", source.url()),
        format!("--target={}", target.url()),
    ];
    let status = |more: &[&str]| run(&[&["status", "--local", &urls[0], &urls[1]][..], more].concat());
    let json = || -> serde_json::Value { serde_json::from_str(&status(&["--json"]).stdout).unwrap() };
    assert_eq!(json()[0]["Next"], "full_sync");
    assert!(json()[0]["Checkpoint"].is_null());
    assert_eq!(migrate(&source, &target, &["--quiet"]).code, Some(0));
    let () = source.run(&["SET", "k", "w"]);
    let after = json();
    assert_eq!(after[0]["Next"], "go_on", "{after}");
    assert_eq!(after[0]["InUse"], false, "{after}");
    let (at, now) = (&after[0]["Checkpoint"]["Offset"], &after[0]["SourceOffset"]);
    let behind = now.as_u64().unwrap() - at.as_u64().unwrap();
    assert!(behind > 0 && after[0]["LagBytes"] == behind, "{after}");
    status(&[]).says(0, &["goes on from the checkpoint", "none is connected"]);
    let gunyu = Gunyu::between(&source, &target);
    assert_eq!(json()[0]["InUse"], true);
    drop(gunyu);
    let () = source.run(&["DEBUG", "CHANGE-REPL-ID"]);
    status(&[]).says(0, &["another history", "makes a full sync"]);
    drop(target);
    status(&[]).says(1, &["error: ", "hint: "]);
}

/// By default a replica is followed, which may not have yet what its master has taken.
#[test]
fn status_local_asks_the_master_of_each_shard_whichever_node_is_followed() {
    let (source, target) = (fleet::Fleet::start(2, 1), Server::start());
    let url = fleet::Shape::url(&source);
    let mut gunyu = Gunyu::start(&url, &target.url(), &[]);
    gunyu.wait_ready(SOON);
    assert_eq!(gunyu.term().code(), Some(0), "{}", gunyu.traces());
    for shard in source.shards() {
        for replica in shard.replicas {
            // Whoever asks it is answered, but what its master sends must wait.
            let () = source.nodes[replica].run(&["CLIENT", "PAUSE", "60000", "WRITE"]);
        }
    }
    let mut client = fleet::Shape::client(&source);
    for key in (0..50).map(|n| format!("key{n}")) {
        let mut set = Batch::default();
        put!(set, "SET", &key, "1");
        client.send(key.as_bytes(), &set).unwrap();
    }
    let from = format!("--source={url}");
    let to = format!("--target={}", target.url());
    let told = run(&["status", "--local", "--json", &from, &to]).json();
    let told = told.as_array().unwrap();
    assert_eq!(told.len(), 2, "{told:?}");
    for shard in source.shards() {
        let [master, replica] = [shard.master, shard.replicas[0]].map(|node| &source.nodes[node]);
        let one = told.iter().find(|one| one["Input"] == master.addr());
        let one = one.unwrap_or_else(|| panic!("{} is not asked: {told:?}", master.addr()));
        let offset = one["SourceOffset"].as_u64().unwrap();
        assert!(offset > replica.offset(), "{one}, {}", replica.offset());
        assert!(one["LagBytes"].as_u64().unwrap() > 50, "{one}");
    }
}
