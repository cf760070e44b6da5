//! `gunyu rdb-print`: what it says of a file is what the server that wrote it would have answered.
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

mod broken;
mod contents;
mod file;
mod large;
mod old;
mod options;
mod strict;
mod truth;

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

use support::gunyu::PROGRAM;

/// Runs `gunyu rdb-print - …` on these bytes.
fn run(rdb: &[u8], args: &[impl AsRef<OsStr>]) -> Output {
    let mut child = Command::new(PROGRAM)
        .args(["rdb-print", "-"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, rdb) = (child.stdin.take().unwrap(), rdb.to_vec());
    // It may end before it has read everything.
    let writing = std::thread::spawn(move || drop(stdin.write_all(&rdb)));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap();
    output
}

/// The lines of a file that is whole.
#[track_caller]
fn lines(rdb: &[u8], args: &[impl AsRef<OsStr>]) -> Vec<Json> {
    let output = run(rdb, args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    parsed(&output)
}

/// What it printed, each line strictly JSON.
#[track_caller]
fn parsed(output: &Output) -> Vec<Json> {
    let text = std::str::from_utf8(&output.stdout).expect("JSON is UTF-8");
    assert!(
        text.is_empty() || text.ends_with('\n'),
        "the last line has no end"
    );
    text.lines().map(strict::parse).collect()
}

/// The lines about keys.
#[track_caller]
fn keys(rdb: &[u8]) -> Vec<Json> {
    let mut lines = lines(rdb, &[""; 0]);
    lines.retain(|line| line.get("db").is_some());
    lines
}

/// The message of a run that failed, with what it printed before.
#[track_caller]
fn failed(rdb: &[u8], args: &[&str]) -> (Vec<Json>, String) {
    let output = run(rdb, args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with("error: ") && said.contains("\n  hint: "),
        "{said}"
    );
    (parsed(&output), said)
}

/// What a string in JSON stands for.
#[track_caller]
fn bytes_of(json: &Json) -> Vec<u8> {
    match json {
        Json::String(text) => text.as_bytes().to_vec(),
        Json::Object(object) if object.len() == 1 => {
            let bytes = STANDARD.decode(object["base64"].as_str().unwrap()).unwrap();
            assert!(std::str::from_utf8(&bytes).is_err(), "UTF-8 is written as text");
            bytes
        }
        other => panic!("no string: {other}"),
    }
}
