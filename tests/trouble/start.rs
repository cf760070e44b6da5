//! A start that finds nobody at home waits; one that meets what only a person can mend ends, with one message and its exit code.

use std::process::Output;

use super::support::port::Port;
use super::support::{Gunyu, SOON, Server, gunyu, wait_for};
use super::{LONG, SLOW_LOADING, load_fast, put_keys, wait_trouble};

#[test]
fn a_source_that_is_down_and_then_loads_its_data_is_waited_for() {
    let (mut source, target) = (Server::with(SLOW_LOADING), Server::start());
    put_keys(&source, 2_000);
    let dump = source.snapshot();
    source.kill9();
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    wait_trouble(&mut gunyu, "cannot connect", "");
    assert_eq!(gunyu.request("GET", "/debug/ready").unwrap().status, 503);
    let url = source.url();
    std::thread::scope(|scope| {
        // Returns when it has loaded.
        scope.spawn(|| source.restart_from(&dump));
        wait_for(SOON, "gunyu has been told that it loads", || {
            let traces = gunyu.traces();
            traces.contains("LOADING").then_some(()).ok_or(traces)
        });
        load_fast(&url);
    });
    gunyu.wait_ready(LONG);
    gunyu.wait_applied(&source, SOON);
    assert_eq!(target.run::<String>(&["GET", "ballast:2000"]).len(), 100);
}

#[test]
fn a_source_without_a_master_link_is_waited_for() {
    let (source, target) = (
        Server::with(&["--replica-serve-stale-data", "no"]),
        Server::start(),
    );
    put_keys(&source, 10);
    let nobody = Port::free();
    let () = source.run(&["REPLICAOF", "127.0.0.1", &nobody.number().to_string()]);
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
fn a_target_that_is_in_no_cluster_and_is_given_as_one_ends_the_start() {
    let (source, target) = (Server::start(), Server::start());
    let (from, to) = (
        format!("--source={}", source.url()),
        format!("--target=redis+cluster://{}", target.addr()),
    );
    let words = ["cluster support disabled", "hint: ", "--target redis://"];
    assert_refused(&[&from, &to], 2, &words);
}

#[test]
fn a_folder_that_cannot_be_made_ends_the_start() {
    let (source, target) = (Server::start(), Server::start());
    let (from, to) = (
        format!("--source={}", source.url()),
        format!("--target={}", target.url()),
    );
    let set = "--set=channel.storer.dirPath=/proc/gunyu";
    assert_refused(
        &[&from, &to, set],
        1,
        &["/proc/gunyu", "hint: ", "channel.storer.dirPath"],
    );
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
