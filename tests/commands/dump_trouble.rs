//! `gunyu rdb-dump --source` when something goes wrong: the exit code, what is said, and that nothing is left behind.

#![allow(unsafe_code)] // system calls that nothing else makes

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::dump::{dump, dump_command, names_in};
use super::support::port::Port;
use super::support::process::{Process, text_from};
use super::support::workload::{Fill, Seed};
use super::support::{Gunyu, Proxy, SOON, Server, wait_until};
use super::{Ran, command, run};

#[test]
fn a_source_that_is_not_there_is_tried_until_the_patience_is_over() {
    let (away, dir) = (Port::free(), tempfile::tempdir().unwrap());
    let began = Instant::now();
    let ran = dump(
        &format!("redis://{}", away.addr()),
        &dir.path().join("dump.rdb"),
        &["--patience=1"],
    );
    ran.says(
        1,
        &[
            &away.addr().to_string(),
            "trying again",
            "tried for 1 s",
            "hint: ",
        ],
    );
    assert!(began.elapsed() >= Duration::from_secs(1), "{ran:?}");
    assert_eq!(names_in(dir.path()), [""; 0]);
}

#[test]
fn a_source_that_does_not_greet_is_given_up() {
    let (source, dir) = (Server::start(), tempfile::tempdir().unwrap());
    let proxy = Proxy::to(source.port());
    proxy.stall();
    let ran = dump(&proxy.url(), &dir.path().join("dump.rdb"), &["--patience=1"]);
    ran.says(1, &["did not answer within 1 s", "hint: "]);
    assert_eq!(names_in(dir.path()), [""; 0]);
}

#[test]
fn a_source_that_is_loading_is_waited_for() {
    // Two seconds of loading, in which it answers.
    let slow = [
        "--key-load-delay",
        "1000",
        "--loading-process-events-interval-bytes",
        "1024",
    ];
    let (mut source, dir) = (Server::with(&slow), tempfile::tempdir().unwrap());
    let () = source.run(&["DEBUG", "POPULATE", "2000", "key", "100"]);
    let (rdb, digest, url, file) = (
        source.snapshot(),
        source.digest(),
        source.url(),
        dir.path().join("dump.rdb"),
    );
    source.kill9();
    let ran = std::thread::scope(|scope| {
        let dumping = scope.spawn(|| dump(&url, &file, &[]));
        source.restart_from(&rdb);
        dumping.join().unwrap()
    });
    ran.says(0, &["LOADING", "2,000 keys"]);
    let mut copy = Server::start();
    copy.restart_from(&std::fs::read(&file).unwrap());
    assert_eq!(copy.digest(), digest);
}

#[test]
fn a_replica_without_its_master_is_told_so() {
    let (source, dir, away) = (Server::start(), tempfile::tempdir().unwrap(), Port::free());
    let () = source.run(&["SLAVEOF", "127.0.0.1", &away.number().to_string()]);
    let ran = dump(&source.url(), &dir.path().join("dump.rdb"), &["--patience=1"]);
    ran.says(1, &["NOMASTERLINK", "hint: bring the source's own master back"]);
    assert_eq!(names_in(dir.path()), [""; 0]);
}

#[test]
fn a_source_that_cannot_make_a_snapshot_is_told_so() {
    let (source, dir) = (
        Server::with(&["--repl-diskless-sync", "no"]),
        tempfile::tempdir().unwrap(),
    );
    let () = source.run(&["SET", "k", "v"]);
    // Its snapshot cannot have its name.
    std::fs::create_dir_all(source.dir().join("dump.rdb/full")).unwrap();
    let ran = dump(&source.url(), &dir.path().join("dump.rdb"), &[]);
    ran.says(
        1,
        &[&source.addr(), "before the snapshot came", "hint: see in its log"],
    );
    assert!(source.log().contains("BGSAVE"), "{}", source.log());
    assert_eq!(names_in(dir.path()), [""; 0]);
}

/// A dump in its middle, of a source that takes ten seconds for it.
struct Underway {
    source: Server,
    process: Process,
    dir: tempfile::TempDir,
}

impl Underway {
    fn start(more: &[&str]) -> Underway {
        let slow = ["--repl-diskless-sync", "yes", "--rdb-key-save-delay", "1000"];
        let source = Server::with(&slow);
        // Not compressible, so that bytes come all the time.
        Fill::lasting(10_000).run(&source, &Seed::of(7));
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("out")).unwrap();
        let command = dump_command(&source.url(), &dir.path().join("out/dump.rdb"), more);
        let process = Process::start(command, &dir.path().join("stdout"), &dir.path().join("stderr"));
        let underway = Underway { source, process, dir };
        wait_until(SOON, "a part of it is there", || underway.part_bytes() > 20_000);
        underway
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    /// What has been written so far, under a name that is not the final one.
    fn part_bytes(&self) -> u64 {
        let names = names_in(&self.out());
        assert!(!names.iter().any(|name| name == "dump.rdb"), "{names:?}");
        let sizes = names
            .iter()
            .filter_map(|name| std::fs::metadata(self.out().join(name)).ok());
        sizes.map(|meta| meta.len()).sum()
    }

    /// It ends by itself with this code, and leaves no file.
    #[track_caller]
    fn ends_with(&mut self, code: i32, limit: Duration) -> String {
        let end = self.process.wait_end(limit);
        let stderr = text_from(&self.dir.path().join("stderr"), 0);
        assert_eq!(end.code(), Some(code), "{stderr}");
        assert_eq!(names_in(&self.out()), [""; 0], "{stderr}");
        stderr
    }
}

#[test]
fn a_source_that_dies_in_the_middle_leaves_no_file() {
    let mut underway = Underway::start(&[]);
    underway.source.kill9();
    let said = underway.ends_with(1, SOON);
    assert!(
        said.contains(&underway.source.addr()) && said.contains("bytes of the snapshot"),
        "{said}"
    );
    assert!(said.contains("hint: run the command again"), "{said}");
}

#[test]
fn a_source_that_freezes_in_the_middle_leaves_no_file() {
    let mut underway = Underway::start(&["--patience=1"]);
    underway.source.sigstop();
    let said = underway.ends_with(1, SOON);
    assert!(
        said.contains("nothing has come from") && said.contains("for 1 s"),
        "{said}"
    );
    underway.source.sigcont();
}

#[test]
fn a_dump_that_is_interrupted_ends_with_130_leaves_no_file_and_frees_the_source() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let mut underway = Underway::start(&[]);
        underway.process.signal(signal);
        let said = underway.ends_with(130, SOON);
        assert!(said.contains("interrupted") && said.contains("hint: "), "{said}");
        wait_until(SOON, "the source has no replica", || {
            underway.source.info("replication")["connected_slaves"] == "0"
        });
    }
}

/// The daemon's download once left its part behind.
#[test]
fn a_download_that_is_interrupted_ends_with_130_and_leaves_no_file() {
    let (source, target, dir) = (Server::start(), Server::start(), tempfile::tempdir().unwrap());
    let gunyu = Gunyu::between(&source, &target);
    let proxy = Proxy::to(gunyu.http().port());
    proxy.stall();
    let out = dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let server = format!("--server=http://{}", proxy.addr());
    let output = format!("--output={}", out.join("dump.rdb").display());
    let command = command(&["rdb-dump", &server, &output], None);
    let mut process = Process::start(command, &dir.path().join("stdout"), &dir.path().join("stderr"));
    wait_until(SOON, "it waits for the daemon", || {
        proxy.open() == 1 && names_in(&out).len() == 1
    });
    process.signal(libc::SIGTERM);
    let end = process.wait_end(SOON);
    let said = text_from(&dir.path().join("stderr"), 0);
    assert_eq!(end.code(), Some(130), "{said}");
    assert!(said.contains("hint: no file was written"), "{said}");
    assert_eq!(names_in(&out), [""; 0]);
}

/// A value that no byte of can be missed: one that the structure does not show.
#[test]
fn a_spoilt_byte_is_an_error_that_names_it_and_no_file() {
    let (source, dir) = (
        Server::with(&["--repl-diskless-sync", "no"]),
        tempfile::tempdir().unwrap(),
    );
    let value: String = (0..500_000).map(|_| fastrand::alphanumeric()).collect();
    let () = source.run(&["SET", "k", &value]);
    let file = dir.path().join("dump.rdb");
    std::fs::write(&file, "old").unwrap();
    let proxy = Proxy::to(source.port());
    proxy.spoil_after(250_000);
    let ran = dump(&proxy.url(), &file, &[]);
    ran.says(1, &["byte 500", "of the RDB, reading the checksum", "hint: "]);
    assert_eq!(std::fs::read(&file).unwrap(), b"old", "what was there stays");
    assert_eq!(names_in(dir.path()), ["dump.rdb"]);
    dump(&proxy.url(), &file, &[]).says(0, &[]);
}

#[test]
fn a_full_disk_is_told_and_leaves_no_file() {
    let (source, dir) = (Server::start(), tempfile::tempdir().unwrap());
    Fill::lasting(2_000).run(&source, &Seed::of(3));
    let file = dir.path().join("dump.rdb");
    let mut command = dump_command(&source.url(), &file, &[]);
    // SAFETY: between fork and exec only system calls that are safe there.
    unsafe {
        command.pre_exec(|| {
            let limit = libc::rlimit {
                rlim_cur: 64 << 10,
                rlim_max: 64 << 10,
            };
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit);
            Ok(())
        });
    }
    let ran = Ran::of(&command.output().unwrap());
    ran.says(1, &["cannot write", "dump.rdb", "hint: make room"]);
    assert_eq!(names_in(dir.path()), [""; 0]);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = dump_command(&source.url(), Path::new("-"), &[]);
    let ran = Ran::of(&command.stdout(Stdio::from(full)).output().unwrap());
    ran.says(1, &["cannot write to stdout", "No space left"]);
}

#[test]
fn a_file_that_cannot_be_written_is_told_before_the_source_is_asked() {
    let (source, dir) = (Server::start(), tempfile::tempdir().unwrap());
    let nowhere = dir.path().join("nowhere/dump.rdb");
    dump(&source.url(), &nowhere, &[]).says(1, &["nowhere", "hint: "]);
    dump(&source.url(), dir.path(), &[]).says(1, &["directory", "hint: "]);
    assert_eq!(source.info("stats")["sync_full"], "0");
}

#[test]
fn what_cannot_be_dumped_is_a_usage_error() {
    let file = "--output=x.rdb";
    for (args, parts) in [
        (
            &["--source=redis://127.0.0.1:1/3"][..],
            &["database 3", "leave /3 out"][..],
        ),
        (&["--source=nonsense"], &["not a Redis URL"]),
        (&["--local"], &["at least one address is needed", "--source URL"]),
        (
            &["--source=redis://h", "--server=http://h"],
            &["cannot be used with"],
        ),
        (&["--source=redis://h", "--input=h:1"], &["cannot be used with"]),
        (
            &["--source=redis://h", "--set=input.nonsense=1"],
            &["this key is not known"],
        ),
        (&["--source=redis://h", "--patience=0"], &["patience"]),
    ] {
        let ran = run(&[&["rdb-dump", file], args].concat());
        ran.says(2, parts);
        assert_eq!(ran.stdout, "", "{args:?}");
    }
}
