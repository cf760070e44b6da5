//! `gunyu rdb-dump --source`: what is in the file, however the source sends it and whoever the source is.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::workload::{Fill, Options, Seed, Writers};
use super::support::{Binary, SOON, Server, assert_equal, equal_key_by_key, matrix, wait_until};
use super::{Ran, command};

/// `gunyu rdb-dump --source` of this server into this file, with further arguments.
pub(super) fn dump_command(source: &str, file: &Path, more: &[&str]) -> Command {
    let (source, output) = (
        format!("--source={source}"),
        format!("--output={}", file.display()),
    );
    command(&[&["rdb-dump", &source, &output], more].concat(), None)
}

pub(super) fn dump(source: &str, file: &Path, more: &[&str]) -> Ran {
    Ran::of(&dump_command(source, file, more).output().unwrap())
}

pub(super) fn names_in(folder: &Path) -> Vec<String> {
    let entries = folder.read_dir().unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A server of its own that was started on the file.
pub(super) fn started_on(binary: &Binary, file: &Path) -> Server {
    let mut server = Server::of(binary, &[]);
    server.restart_from(&std::fs::read(file).unwrap());
    server
}

/// The checker that belongs to the installed server.
#[track_caller]
fn assert_checks(file: &Path) {
    let checked = Command::new("redis-check-rdb").arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(
        checked.status.success() && said.contains("RDB looks OK"),
        "{said}"
    );
}

fn file_in(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("dump.rdb")
}

const DISKLESS: [&str; 2] = ["--repl-diskless-sync", "yes"];
const FROM_DISK: [&str; 2] = ["--repl-diskless-sync", "no"];

#[test]
fn a_dump_holds_what_its_source_holds_however_it_is_sent() {
    for way in [DISKLESS, FROM_DISK] {
        let (seed, dir) = (Seed::pick(), tempfile::tempdir().unwrap());
        // A ping would move its offset past that of the dump.
        let quiet = [&way[..], &["--repl-ping-replica-period", "3600"]].concat();
        let (source, file) = (Server::with(&quiet), file_in(&dir));
        Fill::lasting(2_000).run(&source, &seed);
        let ran = dump(&source.url(), &file, &["--json"]);
        let told = &ran.json()["files"][0];
        assert_eq!(ran.stderr, "");
        let replication = source.info("replication");
        for (field, expected) in [
            ("file", file.display().to_string()),
            ("source", source.addr()),
            ("repl_id", replication["master_replid"].clone()),
        ] {
            assert_eq!(told[field], expected, "{told}");
        }
        let size = std::fs::metadata(&file).unwrap().len();
        for (field, expected) in [
            ("bytes", size),
            ("keys", source.keys()),
            ("offset", source.offset()),
        ] {
            assert_eq!(told[field], expected, "{field}: {told}");
        }
        assert_eq!(
            (&told["rdb_version"], &told["checked"]),
            (&10.into(), &true.into())
        );
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "only the owner may read it");
        assert_eq!(names_in(dir.path()), ["dump.rdb"]);
        assert_checks(&file);
        let copy = started_on(source.binary(), &file);
        assert_eq!(copy.digest(), source.digest());
        assert_equal(&source, &copy);
    }
}

#[test]
fn a_dump_asks_for_the_snapshot_alone_and_lets_go_of_the_source() {
    let (source, dir) = (Server::with(&FROM_DISK), tempfile::tempdir().unwrap());
    let () = source.run(&["SET", "k", "v"]);
    dump(&source.url(), &file_in(&dir), &[])
        .says(0, &["dump.rdb", "1 keys", "RDB version 10", &source.addr()]);
    wait_until(SOON, "the source has no replica", || {
        source.info("replication")["connected_slaves"] == "0"
    });
    assert!(source.log().contains("rdb only replica"), "{}", source.log());
    assert_eq!(source.info("stats")["sync_full"], "1");
}

#[test]
fn a_dump_under_writes_is_whole_and_of_one_moment() {
    let (source, dir) = (Server::start(), tempfile::tempdir().unwrap());
    let seed = Seed::pick();
    Fill::lasting(5_000).run(&source, &seed);
    let script = "for n = 1, 50 do redis.call('INCR', 'twin:' .. n) end";
    let writing = Writers::with(&source, &source.url(), &seed, &Options::default());
    let mut conn = source.conn();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                let () = redis::cmd("EVAL").arg(script).arg(0).query(&mut conn).unwrap();
            }
        });
        for number in 0..3 {
            let file = dir.path().join(format!("{number}.rdb"));
            dump(&source.url(), &file, &[]).says(0, &[]);
            assert_checks(&file);
            let copy = started_on(source.binary(), &file);
            let twin = |n: u64| copy.run::<Option<u64>>(&["GET", &format!("twin:{n}")]);
            let first = twin(1);
            assert!(
                (2..=50).all(|n| twin(n) == first),
                "half a script is in {}",
                file.display()
            );
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    writing.stop();
}

#[test]
fn a_dump_goes_to_stdout_and_nothing_else_does() {
    let source = Server::start();
    Fill::lasting(500).run(&source, &Seed::of(5));
    let output = dump_command(&source.url(), Path::new("-"), &[]).output().unwrap();
    assert_eq!((output.status.code(), &output.stderr[..]), (Some(0), &b""[..]));
    let dir = tempfile::tempdir().unwrap();
    let file = file_in(&dir);
    std::fs::write(&file, &output.stdout).unwrap();
    assert_checks(&file);
    assert_equal(&source, &started_on(source.binary(), &file));
    dump(&source.url(), Path::new("-"), &["--json"]).says(2, &["not both"]);
}

#[test]
fn a_dump_replaces_what_had_its_name() {
    let (source, dir) = (Server::start(), tempfile::tempdir().unwrap());
    let () = source.run(&["SET", "k", "v"]);
    let file = file_in(&dir);
    std::fs::write(&file, "old").unwrap();
    dump(&source.url(), &file, &["--quiet"]).says(0, &[]);
    assert_checks(&file);
    // A name alone means the folder in which one is.
    let mut here = dump_command(&source.url(), Path::new("here.rdb"), &[]);
    Ran::of(&here.current_dir(dir.path()).output().unwrap()).says(0, &["here.rdb"]);
    assert_eq!(names_in(dir.path()), ["dump.rdb", "here.rdb"]);
}

#[test]
fn the_password_comes_from_url_environment_or_file_and_is_never_told() {
    let (source, dir) = (
        Server::with(&["--requirepass", "open-sesame"]),
        tempfile::tempdir().unwrap(),
    );
    let () = source.run(&["SET", "k", "v"]);
    let plain = format!("redis://{}", source.addr());
    let file = file_in(&dir);
    let mut by_environment = dump_command(&plain, &file, &["--verbose"]);
    by_environment.env("GUNYU_SOURCE_PASSWORD", "open-sesame");
    let config = dir.path().join("gunyu.yaml");
    let text = format!(
        "input: {{redis: {{addresses: ['{}'], password: open-sesame}}}}\n",
        source.addr()
    );
    std::fs::write(&config, text).unwrap();
    let (config, output) = (config.display().to_string(), file.display().to_string());
    let by_file = [
        "rdb-dump",
        "--local",
        "--config",
        &config,
        "--output",
        &output,
        "--verbose",
    ];
    for mut way in [
        by_environment,
        dump_command(&source.url(), &file, &["--verbose"]),
        command(&by_file, None),
    ] {
        let ran = Ran::of(&way.output().unwrap());
        ran.says(0, &["1 keys", "the source sends a snapshot"]);
        assert!(!format!("{ran:?}").contains("sesame"), "{ran:?}");
        std::fs::remove_file(&file).unwrap();
    }
    let refused = dump(&plain, &file, &[]);
    refused.says(2, &["NOAUTH", "hint: ", "GUNYU_SOURCE_PASSWORD"]);
    let wrong = dump(&format!("redis://:sesam@{}", source.addr()), &file, &[]);
    wrong.says(2, &["WRONGPASS", "hint: "]);
    assert!(!wrong.stderr.contains("sesam"), "{wrong:?}");
    assert!(!file.exists());
}

/// Servers of each version, by both ways, and of what each of them can hold.
#[test]
fn the_matrix_of_servers_is_dumped_and_each_starts_from_its_own_dump() {
    let servers = matrix();
    if servers.is_empty() {
        return crate::support::skipped("GUNYU_TEST_SERVERS names no folder with servers");
    }
    for (label, binary) in servers {
        // Diskless came with 2.8.18.
        let ways: &[&[&str]] = match binary.version >= (2, 8, 18) {
            true => &[&DISKLESS, &FROM_DISK],
            false => &[&[]],
        };
        for way in ways {
            let (seed, dir) = (Seed::pick(), tempfile::tempdir().unwrap());
            let (source, file) = (Server::of(&binary, way), file_in(&dir));
            Fill::lasting(1_500).run(&source, &seed);
            let ran = dump(&source.url(), &file, &["--json"]);
            assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{label} {way:?}");
            let told = &ran.json()["files"][0];
            assert_eq!(told["keys"], source.keys(), "{label} {way:?}: {told}");
            assert_same(&label, &source, &started_on(&binary, &file));
            eprintln!("{label} {way:?}: {told}");
        }
    }
}

/// `DEBUG DIGEST` of servers before 4.0 fails an assertion of its own while a table is resized.
#[track_caller]
pub(super) fn assert_same(label: &str, source: &Server, copy: &Server) {
    if source.binary().version >= (4, 0, 0) {
        return assert_eq!(source.digest(), copy.digest(), "{label}");
    }
    equal_key_by_key(source, copy).unwrap_or_else(|differences| panic!("{label}: {differences}"));
}
