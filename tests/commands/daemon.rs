//! The commands that call a running daemon.

use serde_json::Value;

use super::support::port::Port;
use super::support::{Gunyu, SOON, Server, assert_equal, wait_until};
use super::{Ran, command, run};

/// A live daemon, and its address as an option.
struct Daemon {
    source: Server,
    target: Server,
    gunyu: Gunyu,
    server: String,
}

impl Daemon {
    fn start() -> Daemon {
        let (source, target) = (Server::start(), Server::start());
        let () = source.run(&["SET", "k", "v"]);
        let gunyu = Gunyu::between(&source, &target);
        Daemon {
            server: format!("--server=http://{}", gunyu.http()),
            source,
            target,
            gunyu,
        }
    }

    fn run(&self, args: &[&str]) -> Ran {
        run(&[args, &[&self.server]].concat())
    }

    fn state(&self) -> String {
        self.gunyu.status()[0]["State"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn wait_state(&self, state: &str) {
        wait_until(SOON, state, || self.state() == state);
    }
}

#[test]
fn pause_resume_restart_and_gc_do_what_they_say_in_text_and_in_json() {
    let daemon = Daemon::start();
    let addr = daemon.source.addr();
    daemon.run(&["pause", "--inputs=all"]).says(0, &["paused", &addr]);
    daemon.wait_state("pause");
    let answer = daemon.run(&["pause", "--inputs", &addr, "--json"]).json();
    assert_eq!(answer["inputs"][0], addr, "{answer}");
    daemon
        .run(&["resume", "--inputs", &addr])
        .says(0, &["resumed", &addr]);
    daemon.wait_state("run");
    assert_eq!(
        daemon.run(&["resume", "--inputs=all", "--json"]).json()["ok"],
        true
    );
    daemon.run(&["restart"]).says(0, &["restarted"]);
    assert_eq!(daemon.run(&["restart", "--json"]).json()["ok"], true);
    daemon.run(&["gc"]).says(0, &["freed 0 B"]);
    assert_eq!(daemon.run(&["gc", "--json"]).json()["freed_bytes"], 0);
    assert_eq!(daemon.gunyu.metric("gunyu_full_sync_total{"), Some(1.0));
}

#[test]
fn status_and_config_are_shown_in_text_and_in_json() {
    let daemon = Daemon::start();
    let addr = daemon.source.addr();
    daemon.run(&["status"]).says(0, &[&addr, "incremental"]);
    assert_eq!(daemon.run(&["status", "--json"]).json()[0]["Input"], addr);
    let yaml: Value = serde_yaml::from_str(&daemon.run(&["config"]).stdout).unwrap();
    let json = daemon.run(&["config", "--json"]).json();
    assert_eq!(yaml, json);
    assert_eq!(json["input"]["redis"]["addresses"][0], addr);
    // The same without a daemon, of a file.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gunyu.yaml");
    let text = "input: {redis: {addresses: [a:1], password: hush}}\noutput: {redis: {addresses: [b:2]}}\n";
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let local = run(&["config", "--local", "--config", &file, "--json"]);
    assert_eq!(local.json()["output"]["redis"]["addresses"][0], "b:2");
    assert!(!local.stdout.contains("hush"), "{local:?}");
    let yaml = run(&["config", "--local", "--config", &file]);
    let parsed: Value = serde_yaml::from_str(&yaml.stdout).unwrap();
    assert_eq!(parsed, local.json());
}

#[test]
fn the_file_of_the_daemon_and_the_environment_name_it_too() {
    let daemon = Daemon::start();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gunyu.yaml");
    let text = format!(
        "input: {{redis: {{addresses: [a:1]}}}}\noutput: {{redis: {{addresses: [b:2]}}}}\nserver: {{listen: '{}'}}\n",
        daemon.gunyu.http()
    );
    std::fs::write(&file, text).unwrap();
    run(&["status", "--config", &file.display().to_string()]).says(0, &[&daemon.source.addr()]);
    let by_environment = command(&["status"], None)
        .env("GUNYU_SERVER", format!("http://{}", daemon.gunyu.http()))
        .output()
        .unwrap();
    Ran::of(&by_environment).says(0, &[&daemon.source.addr()]);
}

#[test]
fn a_full_sync_by_the_daemon_is_begun_or_waited_for() {
    let daemon = Daemon::start();
    let addr = daemon.source.addr();
    daemon
        .run(&["fullsync", "--inputs=all"])
        .says(0, &["begun", &addr]);
    let waited = daemon.run(&["fullsync", "--inputs=all", "--wait"]);
    assert_eq!(waited.code, Some(0), "{waited:?}");
    let () = daemon.target.run(&["SET", "planted", "1"]);
    let json = daemon.run(&["fullsync", "--inputs", &addr, "--flushdb", "--wait", "--json"]);
    assert_eq!(json.stderr, "", "{json:?}");
    let json = json.json();
    assert_eq!(json["started"][0], addr, "{json}");
    // Waited for: it is done now.
    assert_eq!(daemon.gunyu.status()[0]["Phase"], "incremental");
    assert_eq!(daemon.target.run::<u64>(&["EXISTS", "planted"]), 0);
    assert_eq!(daemon.target.run::<String>(&["GET", "k"]), "v");
}

#[test]
fn stop_returns_at_once_or_when_the_daemon_has_ended() {
    for wait in [true, false] {
        let mut daemon = Daemon::start();
        let said = match wait {
            true => daemon.run(&["stop", "--wait"]),
            false => daemon.run(&["stop", "--json"]),
        };
        assert_eq!(said.code, Some(0), "{said:?}");
        if wait {
            said.says(0, &["stopped"]);
            daemon.run(&["status"]).says(3, &["hint: "]);
        }
        assert_eq!(daemon.gunyu.wait_end(SOON).code(), Some(0));
        assert_eq!(daemon.target.run::<String>(&["GET", "k"]), "v");
    }
}

#[test]
fn without_a_daemon_every_command_ends_with_3_and_a_hint() {
    let port = Port::free();
    let server = format!("--server=http://{}", port.addr());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dump.rdb").display().to_string();
    let commands: [&[&str]; 10] = [
        &["status"],
        &["pause", "--inputs=all"],
        &["resume", "--inputs=all"],
        &["restart"],
        &["stop"],
        &["stop", "--wait"],
        &["gc"],
        &["config"],
        &["fullsync", "--inputs=all", "--wait"],
        &["rdb-dump", "--output", &file],
    ];
    for args in commands {
        let ran = run(&[args, &[&server]].concat());
        ran.says(3, &[&port.addr().to_string(), "hint: "]);
        assert_eq!(ran.stdout, "", "{args:?}");
    }
    assert_eq!(dir.path().read_dir().unwrap().count(), 0, "no part is left");
}

#[test]
fn what_the_daemon_refuses_ends_with_5_its_reason_and_its_hint() {
    let daemon = Daemon::start();
    let addr = daemon.source.addr();
    for name in ["pause", "resume", "fullsync", "handover"] {
        let ran = daemon.run(&[name, "--inputs=10.1.2.3:4"]);
        ran.says(5, &["10.1.2.3:4", "hint: ", &addr]);
        assert_eq!(ran.stdout, "", "{name}");
    }
    daemon
        .run(&["handover", "--inputs=all"])
        .says(5, &["no other node", "hint: "]);
    daemon
        .run(&[
            "fullsync",
            "--inputs=all",
            "--flushdb",
            "--flush-command=flushall",
        ])
        .says(5, &["FLUSHALL"]);
    daemon.run(&["pause", "--inputs=all"]).says(0, &[]);
    daemon
        .run(&["fullsync", "--inputs=all"])
        .says(5, &["paused", "gunyu resume"]);
    assert_eq!(daemon.gunyu.metric("gunyu_full_sync_total{"), Some(1.0));
}

#[test]
fn what_is_written_wrong_ends_with_2() {
    let rows: [&[&str]; 9] = [
        &["pause"],
        &["nonsense"],
        &["fullsync"],
        &["fullsync", "--source=redis://127.0.0.1:1"],
        &["fullsync", "--inputs=all", "--flush-command=x"],
        &["fullsync", "--inputs=all", "--local"],
        &[
            "fullsync",
            "--source=redis://127.0.0.1:1",
            "--target=redis://127.0.0.1:1",
        ],
        &["config", "--local", "--config=/nowhere/gunyu.yaml"],
        &["status", "--server=not a url"],
    ];
    for args in rows {
        let ran = run(args);
        assert_eq!(ran.code, Some(2), "{args:?}: {ran:?}");
        assert!(
            !ran.stderr.is_empty() && ran.stdout.is_empty(),
            "{args:?}: {ran:?}"
        );
    }
}

// rdb-dump.

#[test]
fn rdb_dump_writes_a_file_that_a_server_starts_from_whole_or_not_at_all() {
    let daemon = Daemon::start();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dump.rdb");
    let output = file.display().to_string();
    // Behind the first live moment the snapshot is made durable; until then there is none.
    wait_until(SOON, "there is a snapshot", || {
        daemon.run(&["rdb-dump", "--output", &output]).code == Some(0)
    });
    let bytes = std::fs::read(&file).unwrap();
    let mut copy = Server::start();
    copy.restart_from(&bytes);
    assert_equal(&daemon.source, &copy);
    let to_stdout = command(&["rdb-dump", "--output=-", &daemon.server], None)
        .output()
        .unwrap();
    assert_eq!((to_stdout.status.code(), &to_stdout.stdout), (Some(0), &bytes));
    assert_eq!(String::from_utf8_lossy(&to_stdout.stderr), "");
    // What is there already is replaced.
    std::fs::write(&file, "old").unwrap();
    let json = daemon
        .run(&[
            "rdb-dump",
            "--input",
            &daemon.source.addr(),
            "--output",
            &output,
            "--json",
        ])
        .json();
    assert_eq!(json["bytes"], bytes.len(), "{json}");
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    let unknown = daemon.run(&["rdb-dump", "--input=10.1.2.3:4", "--output", &output]);
    unknown.says(5, &["10.1.2.3:4"]);
    assert_eq!(std::fs::read(&file).unwrap(), bytes, "what was there stays");
    let nowhere = dir.path().join("nowhere").join("dump.rdb");
    daemon
        .run(&["rdb-dump", "--output", &nowhere.display().to_string()])
        .says(1, &["nowhere", "hint: "]);
    let a_folder = dir.path().join("folder");
    std::fs::create_dir(&a_folder).unwrap();
    daemon
        .run(&["rdb-dump", "--output", &a_folder.display().to_string()])
        .says(1, &["folder"]);
    let mut names: Vec<_> = dir
        .path()
        .read_dir()
        .unwrap()
        .map(|one| one.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["dump.rdb", "folder"], "no part is left");
}

#[test]
fn rdb_dump_without_a_snapshot_ends_with_5() {
    let (source, target) = (Server::start(), Server::start());
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &["channel.type=memory"]);
    gunyu.wait_ready(SOON);
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("dump.rdb").display().to_string();
    let server = format!("--server=http://{}", gunyu.http());
    run(&["rdb-dump", &server, "--output", &output]).says(5, &["no whole snapshot", "hint: "]);
    assert_eq!(dir.path().read_dir().unwrap().count(), 0);
}
