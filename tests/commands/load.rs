//! `rdb-load`: files into running servers.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use redis::Commands;

use super::support::server::Server;
use super::{Ran, command, run};

/// A server with some of everything, and its dump.
fn dumped(folder: &Path) -> (Server, PathBuf) {
    let source = Server::start();
    let mut to = source.conn();
    let _: () = redis::cmd("SET").arg("text").arg("hello").query(&mut to).unwrap();
    let _: () = redis::cmd("SET")
        .arg(b"\xff\x00")
        .arg(b"\x00\xfe")
        .query(&mut to)
        .unwrap();
    let _: () = redis::cmd("SET")
        .arg("later")
        .arg("v")
        .arg("EX")
        .arg(10_000)
        .query(&mut to)
        .unwrap();
    let _: () = redis::cmd("RPUSH")
        .arg("list")
        .arg(&["a", "b", "c"])
        .query(&mut to)
        .unwrap();
    for n in 0..2000 {
        let _: () = to.hset("hash", n, n * n).unwrap();
        let _: () = to
            .zadd("user:scores", format!("m{n}"), f64::from(n) / 3.0)
            .unwrap();
    }
    let _: () = redis::cmd("XADD")
        .arg("stream")
        .arg("1-1")
        .arg("f")
        .arg("v")
        .query(&mut to)
        .unwrap();
    let _: () = redis::cmd("SELECT").arg(3).query(&mut to).unwrap();
    let _: () = to.set("other", "database").unwrap();
    let file = folder.join("dump.rdb");
    run(&[
        "rdb-dump",
        "--source",
        &source.url(),
        "--output",
        file.to_str().unwrap(),
    ])
    .says(0, &["8 keys"]);
    (source, file)
}

fn load(file: &Path, target: &Server, more: &[&str]) -> Ran {
    let url = target.url();
    let args = [&["rdb-load", file.to_str().unwrap(), "--target", &url], more].concat();
    run(&args)
}

#[test]
fn a_file_is_loaded_as_it_is_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let (source, file) = dumped(folder.path());
    let target = Server::start();
    for _ in 0..2 {
        let told = load(&file, &target, &["--json"]).json();
        assert_eq!(
            (told["keys"].as_u64(), told["dead_letters"].as_u64()),
            (Some(8), Some(0))
        );
        assert_eq!(told["checked"], true);
        assert_eq!(source.digest(), target.digest());
    }
}

#[test]
fn with_commands_only_and_in_pieces_it_comes_to_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (source, file) = dumped(folder.path());
    let target = Server::start();
    let mut to = target.conn();
    let _: () = redis::cmd("RPUSH")
        .arg("hash")
        .arg("of another type")
        .query(&mut to)
        .unwrap();
    let set = "output.replay.replayRdbEnableRestore=false";
    load(
        &file,
        &target,
        &["--set", set, "--set", "output.replay.bigValueBytes=65536"],
    )
    .says(0, &["8 keys loaded"]);
    assert_eq!(source.digest(), target.digest());
    let ours: Vec<String> = to.keys("redis-gunyu*").unwrap();
    assert_eq!(ours, [""; 0], "nothing of ours stays");
}

#[test]
fn filters_databases_and_the_database_of_the_url_hold() {
    let folder = tempfile::tempdir().unwrap();
    let (_source, file) = dumped(folder.path());
    let target = Server::start();
    let url = format!("{}/5", target.url());
    let set = "output.filter.keyFilter.prefixKeyWhitelist=[\"user:\"]";
    run(&["rdb-load", file.to_str().unwrap(), "--target", &url, "--set", set])
        .says(0, &["1 keys loaded", "7 left out by the filter"]);
    let mut to = target.conn();
    let empty: usize = redis::cmd("DBSIZE").query(&mut to).unwrap();
    let _: () = redis::cmd("SELECT").arg(5).query(&mut to).unwrap();
    let there: usize = to.zcard("user:scores").unwrap();
    assert_eq!((empty, there), (0, 2000));
}

#[test]
fn a_key_that_is_there_is_kept_or_told_as_key_exists_says() {
    let folder = tempfile::tempdir().unwrap();
    let (_source, file) = dumped(folder.path());
    for restore in ["true", "false"] {
        let target = Server::start();
        let mut to = target.conn();
        let _: () = to.set("list", "mine").unwrap();
        let restore = format!("output.replay.replayRdbEnableRestore={restore}");
        let state = format!(
            "channel.storer.dirPath={}",
            folder.path().join(&restore).display()
        );
        let ignore = [
            "--set",
            &restore,
            "--set",
            "output.replay.keyExists=ignore",
            "--set",
            &state,
        ];
        load(&file, &target, &ignore).says(0, &["loaded"]);
        let kept: String = to.get("list").unwrap();
        assert_eq!(kept, "mine");
        let error = [
            "--set",
            &restore,
            "--set",
            "output.replay.keyExists=error",
            "--set",
            &state,
        ];
        load(&file, &target, &error).says(1, &["BUSYKEY", "dead-letter", "keyExists"]);
        let kept: String = to.get("list").unwrap();
        assert_eq!(kept, "mine");
    }
}

#[test]
fn keys_that_have_expired_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let target = Server::start();
    // FC: an expiry in milliseconds; 1000 has long passed. No checksum: RDB 3.
    let mut file = b"REDIS0003\xfe\x00\xfc".to_vec();
    file.extend(1000_u64.to_le_bytes());
    file.extend(b"\x00\x04gone\x01v\x00\x04here\x01v\xff");
    let path = folder.path().join("old.rdb");
    std::fs::write(&path, file).unwrap();
    load(&path, &target, &[]).says(0, &["1 keys loaded", "1 had expired", "REDIS0003"]);
    let keys: Vec<String> = target.conn().keys("*").unwrap();
    assert_eq!(keys, ["here"]);
}

#[test]
fn stdin_is_loaded_too() {
    let folder = tempfile::tempdir().unwrap();
    let (source, file) = dumped(folder.path());
    let target = Server::start();
    let mut child = command(&["rdb-load", "-", "--target", &target.url(), "--jobs", "2"], None)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let bytes = std::fs::read(file).unwrap();
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    Ran::of(&child.wait_with_output().unwrap()).says(0, &["8 keys loaded"]);
    assert_eq!(source.digest(), target.digest());
}

#[test]
fn a_broken_file_is_told_by_its_byte_and_the_keys_before_it_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let (_source, file) = dumped(folder.path());
    let bytes = std::fs::read(&file).unwrap();
    let cut = folder.path().join("cut.rdb");
    std::fs::write(&cut, &bytes[..bytes.len() - 20]).unwrap();
    let target = Server::start();
    load(&cut, &target, &[]).says(1, &["byte", "ends here", "redis-check-rdb"]);
    let flipped = folder.path().join("flipped.rdb");
    let mut spoilt = bytes.clone();
    let at = bytes.windows(5).position(|window| window == b"hello").unwrap();
    spoilt[at] ^= 1;
    std::fs::write(&flipped, &spoilt).unwrap();
    load(&flipped, &target, &[]).says(1, &["the checksum is", "the bytes give"]);
    let more = folder.path().join("more.rdb");
    std::fs::write(&more, [&bytes[..], b"x"].concat()).unwrap();
    load(&more, &target, &[]).says(1, &["1 bytes follow the end"]);
    let garbage = folder.path().join("garbage.rdb");
    std::fs::write(&garbage, b"this is no RDB at all").unwrap();
    load(&garbage, &target, &[]).says(1, &["is not the magic of an RDB"]);
}

#[test]
fn what_the_command_line_has_wrong_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (_source, file) = dumped(folder.path());
    let file = file.to_str().unwrap();
    let target = Server::start();
    run(&["rdb-load", file]).says(2, &["output.redis.addresses", "--target"]);
    run(&["rdb-load", "/nowhere/at.rdb", "--target", &target.url()]).says(1, &["/nowhere/at.rdb"]);
    run(&["rdb-load", file, "--target", "redis://127.0.0.1:1"]).says(1, &["127.0.0.1:1"]);
    let locked = Server::with(&["--requirepass", "secret"]);
    let wrong = locked.url().replace("redis://", "redis://:wrong@");
    run(&["rdb-load", file, "--target", &wrong]).says(2, &["password"]);
}
