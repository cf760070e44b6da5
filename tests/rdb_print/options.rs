//! What is printed of a file that is whole: which keys, which parts, and where to.

#![allow(unsafe_code)] // system calls that nothing else makes

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};

use super::file::{File, packed, string};
use super::support::gunyu::PROGRAM;
use super::support::{SOON, Server, wait_until};
use super::{bytes_of, failed, lines, parsed, run};

/// Names that a careless pattern takes for one another.
const NAMES: [&[u8]; 30] = [
    b"",
    b"a",
    b"b",
    b"z",
    b"ab",
    b"abc",
    b"aXbXc",
    b"a*b",
    b"a?b",
    b"[a]",
    b"a]",
    b"a-c",
    b"^a",
    b"\\",
    b"\\a",
    b"a\\b",
    b"user:1",
    b"user:12",
    b"user:",
    b"users",
    b"hello",
    b"hallo",
    b"hillo",
    b"h*llo",
    b"a\nb",
    b"\xff",
    b"\xff\x00",
    b"\x00",
    b"caf\xc3\xa9",
    b"\x80\x81",
];

const PATTERNS: [&[u8]; 46] = [
    b"*",
    b"?",
    b"??",
    b"a",
    b"",
    b"a*",
    b"*a",
    b"*b*",
    b"a*b*c",
    b"a**c",
    b"***b",
    b"user:*",
    b"user:?",
    b"user:[0-9]",
    b"h[ae]llo",
    b"h[^e]llo",
    b"h[^a-e]llo",
    b"h[e-a]llo",
    b"h\\*llo",
    b"h?llo",
    b"\\[a\\]",
    b"[[]a]",
    b"a]",
    b"[a",
    b"[a-",
    b"[^",
    b"[^a",
    b"[a-]",
    b"[]",
    b"[]a]",
    b"[\\]]",
    b"a[]]",
    b"a[\\]]",
    b"[\\",
    b"\\",
    b"\\\\",
    b"\\\\*",
    b"a\\",
    b"[\\^]a",
    b"[a^]",
    b"\xff*",
    b"[\x80-\xff]*",
    b"[^\x01-\x7f]*",
    b"*\xa9",
    b"a\nb",
    b"[a-c-z]",
];

#[test]
fn a_pattern_takes_the_keys_that_the_server_says_it_takes() {
    let server = Server::start();
    let mut conn = server.conn();
    for name in NAMES {
        redis::cmd("SET").arg(name).arg("v").exec(&mut conn).unwrap();
    }
    let rdb = server.snapshot();
    for pattern in PATTERNS {
        let expected: Vec<Vec<u8>> = redis::cmd("KEYS").arg(pattern).query(&mut conn).unwrap();
        let mut args: Vec<&OsStr> = ["--no-value", "--match"].map(OsStr::new).to_vec();
        args.push(OsStr::from_bytes(pattern));
        let found: BTreeSet<_> = lines(&rdb, &args)
            .iter()
            .map(|line| bytes_of(&line["key"]))
            .collect();
        let expected: BTreeSet<_> = expected.into_iter().collect();
        let shown = |keys: &BTreeSet<Vec<u8>>| {
            keys.iter()
                .map(|key| key.escape_ascii().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(shown(&found), shown(&expected), "{}", pattern.escape_ascii());
    }
}

/// One of everything, over three databases.
fn everything() -> Vec<u8> {
    File::new("REDIS0011")
        .raw(b"\xfa\x09redis-ver\x057.2.0")
        .raw([245])
        .raw(string("#!lua name=one\n"))
        .raw(b"\xfe\x00")
        .key("string", 0, string("v"))
        .key("list", 1, b"\x01\x01a")
        .raw(b"\xfe\x07")
        .key("set", 2, b"\x01\x01a")
        .key("zset", 3, b"\x01\x01a\x011")
        .raw(b"\xfe\x40\xc8")
        .key("hash", 4, b"\x01\x01f\x01v")
        .key("stream", 15, b"\x00\x00\x00\x00\x00")
        .key("module", 7, b"\x01\x00")
        .raw([247])
        .raw(b"\x01\x02\x02\x00")
        .end()
}

fn types(lines: &[Json]) -> Vec<&str> {
    lines.iter().map(|line| line["type"].as_str().unwrap()).collect()
}

#[test]
fn types_and_databases_are_chosen() {
    let file = everything();
    let all = [
        "aux",
        "function",
        "string",
        "list",
        "set",
        "zset",
        "hash",
        "stream",
        "module",
        "module_aux",
    ];
    assert_eq!(types(&lines(&file, &[""; 0])), all);
    for one in all {
        assert_eq!(types(&lines(&file, &["--type", one])), [one]);
    }
    assert_eq!(
        types(&lines(&file, &["--type", "hash", "--type=aux"])),
        ["aux", "hash"]
    );
    // Who asks for certain keys wants keys.
    assert_eq!(types(&lines(&file, &["--db", "7"])), ["set", "zset"]);
    assert_eq!(
        types(&lines(&file, &["--db", "0", "--db=200"])),
        ["string", "list", "hash", "stream", "module"]
    );
    assert_eq!(
        types(&lines(&file, &["--match", "*s*t*"])),
        ["string", "list", "set", "zset", "stream"]
    );
    assert_eq!(
        types(&lines(
            &file,
            &["--db=7", "--type=set", "--type=hash", "--match=*"]
        )),
        ["set"]
    );
    assert!(lines(&file, &["--db", "1"]).is_empty());
    let output = run(&file, &["--type", "sets"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn without_values_everything_else_stays() {
    let file = everything();
    let (with, without) = (lines(&file, &[""; 0]), lines(&file, &["--no-value"]));
    for (with, without) in with.into_iter().zip(without) {
        let mut expected = with;
        if expected["type"] != "aux" {
            let object = expected.as_object_mut().unwrap();
            assert!(object.remove("value").or_else(|| object.remove("code")).is_some());
        }
        assert_eq!(without, expected);
    }
}

/// Runs on a file by name.
fn on(file: &Path, args: &[&OsStr]) -> std::process::Output {
    Command::new(PROGRAM)
        .arg("rdb-print")
        .arg(file)
        .args(args)
        .output()
        .unwrap()
}

/// A folder with a file of these bytes, by the name `dump.rdb`.
fn folder_with(rdb: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("dump.rdb"), rdb).unwrap();
    folder
}

fn names_in(folder: &Path) -> BTreeSet<OsString> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect()
}

#[test]
fn a_file_of_output_is_whole_or_not_there() {
    let folder = folder_with(&everything());
    let (rdb, out) = (folder.path().join("dump.rdb"), folder.path().join("out.jsonl"));
    let args = [OsStr::new("--output"), out.as_os_str()];
    std::fs::write(&out, "old").unwrap();
    let output = on(&rdb, &args);
    assert!(
        output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(),
        "{output:?}"
    );
    assert_eq!(std::fs::read(&out).unwrap(), on(&rdb, &[]).stdout);
    let expected = BTreeSet::from(["dump.rdb", "out.jsonl"].map(OsString::from));
    assert_eq!(names_in(folder.path()), expected);
    let mut broken = everything();
    broken.truncate(broken.len() - 9);
    std::fs::write(&rdb, broken).unwrap();
    let before = std::fs::read(&out).unwrap();
    let output = on(&rdb, &args);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(std::fs::read(&out).unwrap(), before, "what was there stays");
    assert_eq!(names_in(folder.path()), expected);
    std::fs::remove_file(&out).unwrap();
    let said = String::from_utf8(on(&rdb, &args).stderr).unwrap();
    assert!(
        said.contains("dump.rdb: byte") && said.contains("hint: without --output"),
        "{said}"
    );
    assert_eq!(names_in(folder.path()), BTreeSet::from(["dump.rdb".into()]));
}

#[test]
fn a_dump_is_not_replaced_by_what_is_printed_of_it() {
    let folder = folder_with(&everything());
    let rdb = folder.path().join("dump.rdb");
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&rdb, &link).unwrap();
    for output in [&rdb, &link] {
        let output = on(&rdb, &[OsStr::new("--output"), output.as_os_str()]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
    assert_eq!(std::fs::read(&rdb).unwrap(), everything());
    assert!(link.is_symlink());
}

/// `--output /dev/null` made a file of the device.
#[test]
fn a_pipe_or_device_is_written_to_and_stays_what_it_is() {
    let folder = folder_with(&everything());
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reading = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::read(pipe).unwrap()
    });
    let rdb = folder.path().join("dump.rdb");
    let output = on(&rdb, &[OsStr::new("--output"), pipe.as_os_str()]);
    assert!(output.status.success(), "{output:?}");
    assert!(pipe.symlink_metadata().unwrap().file_type().is_fifo());
    assert_eq!(reading.join().unwrap(), on(&rdb, &[]).stdout);
    assert_eq!(
        names_in(folder.path()),
        BTreeSet::from(["dump.rdb".into(), "pipe".into()])
    );
}

/// The part that was written stayed for ever.
#[test]
fn an_interrupted_command_leaves_nothing() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(PROGRAM)
            .args(["rdb-print", "-", "--output"])
            .arg(folder.path().join("out.jsonl"))
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It goes on waiting for the rest.
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"REDIS0011").unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        wait_until(SOON, "it catches signals", || {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let caught = status
                .lines()
                .find_map(|line| line.strip_prefix("SigCgt:"))
                .unwrap();
            u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << (libc::SIGINT - 1)) != 0
        });
        // SAFETY: plain system call; the pid is ours because the child has not been waited for.
        unsafe { libc::kill(pid, signal) };
        let output = child.wait_with_output().unwrap();
        drop(stdin);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{said}");
        assert!(said.starts_with("error: interrupted"), "{said}");
        assert_eq!(names_in(folder.path()), BTreeSet::new());
    }
}

#[test]
fn whoever_has_read_enough_may_leave() {
    // Far more than a pipe holds.
    let mut file = File::new("REDIS0011");
    for n in 0..20_000 {
        file = file.key(format!("key:{n}"), 0, string("a value of some length"));
    }
    let folder = folder_with(&file.end());
    let mut child = Command::new(PROGRAM)
        .arg("rdb-print")
        .arg(folder.path().join("dump.rdb"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_full_disk_is_an_error() {
    let folder = folder_with(&everything());
    let rdb = folder.path().join("dump.rdb");
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = Command::new(PROGRAM)
        .arg("rdb-print")
        .arg(&rdb)
        .stdout(full())
        .output()
        .unwrap();
    // By a link: whoever may do that and gets it wrong would make a file of the device itself.
    let link = folder.path().join("full");
    std::os::unix::fs::symlink("/dev/full", &link).unwrap();
    let other = on(&rdb, &[OsStr::new("--output"), link.as_os_str()]);
    assert!(link.is_symlink());
    for output in [output, other] {
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.starts_with("error: cannot write what is printed: No space left"),
            "{said}"
        );
        assert!(said.contains("\n  hint: make room"), "{said}");
    }
}

#[test]
fn a_place_that_cannot_be_written_or_read_is_named() {
    let folder = folder_with(&everything());
    let rdb = folder.path().join("dump.rdb");
    let nowhere = folder.path().join("none").join("out");
    for output in [nowhere.as_os_str(), folder.path().as_os_str()] {
        let said = on(&rdb, &[OsStr::new("--output"), output]);
        assert_eq!(said.status.code(), Some(1));
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(
            said.contains("cannot write") && said.contains(output.to_str().unwrap()),
            "{said}"
        );
    }
    for input in [folder.path().to_owned(), folder.path().join("none.rdb")] {
        let said = String::from_utf8(on(&input, &[]).stderr).unwrap();
        assert!(
            said.contains(&format!("cannot read {}", input.display())),
            "{said}"
        );
    }
    assert_eq!(names_in(folder.path()), BTreeSet::from(["dump.rdb".into()]));
}

/// It was said that the output cannot be written, and a line was left without its end.
#[test]
fn a_value_that_finds_no_room_in_the_temporary_folder_says_so() {
    let (packed, _) = packed(8_000);
    let long = [&[0x80, 0, 0x60, 0, 0][..], &b"text".repeat(6 << 18)].concat();
    for (value, lines) in [(packed, 1), (long, 2)] {
        let file = File::new("REDIS0009")
            .key("small", 0, string("v"))
            .key("big", 0, value);
        let folder = folder_with(&file.end());
        let none = folder.path().join("none");
        let output = Command::new(PROGRAM)
            .arg("rdb-print")
            .arg(folder.path().join("dump.rdb"))
            .env("TMPDIR", &none)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("temporary file") && said.contains(none.to_str().unwrap()),
            "{said}"
        );
        assert!(said.contains("TMPDIR"), "{said}");
        let printed = parsed(&output);
        assert_eq!(printed.len(), lines);
        if let Some(line) = printed.get(1) {
            assert_eq!((&line["value"], &line["broken"]), (&Json::Null, &json!(true)));
        }
    }
}

#[test]
fn only_its_owner_may_read_the_output() {
    let folder = folder_with(&everything());
    let out = folder.path().join("out.jsonl");
    on(
        &folder.path().join("dump.rdb"),
        &[OsStr::new("-o"), out.as_os_str()],
    );
    assert_eq!(out.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn names_and_values_that_are_not_text_are_base64_everywhere() {
    let file = File::new("REDIS0011")
        .key(b"\xff", 0, string(b"\xfe"))
        .key("hash", 4, b"\x02\x01f\x01\xff\x01\xfd\x01v")
        .key("zset", 5, [&b"\x01\x01\xff"[..], &2.5_f64.to_le_bytes()].concat())
        .end();
    let found = lines(&file, &[""; 0]);
    let base64 = |text: &str| json!({ "base64": text });
    assert_eq!(
        (&found[0]["key"], &found[0]["value"]),
        (&base64("/w=="), &base64("/g=="))
    );
    assert_eq!(
        found[1]["value"],
        json!([["f", base64("/w==")], [base64("/Q=="), "v"]])
    );
    assert_eq!(found[2]["value"], json!([[base64("/w=="), 2.5]]));
    // Nothing of a file that is no RDB.
    let (printed, said) = failed(b"", &[]);
    assert!(
        printed.is_empty() && said.contains("byte 0 of the RDB, reading the header: the file ends here"),
        "{said}"
    );
}
