//! The rights of the user that gunyu runs as: a folder or file that it may not use is told with what helps, and what it makes is its own.
//!
//! Only root can run a program as somebody else; for others these tests say that they were skipped.

#![allow(clippy::print_stdout)] // what was skipped is shown

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::support::gunyu::PROGRAM;
use super::support::port::Port;
use super::support::process::{Process, text_from};
use super::support::workload::{Counters, Seed};
use super::support::{SOON, Server, http, wait_for};
use super::{LONG, paced, put_keys};

/// Who owns nothing.
const NOBODY: u32 = 65_534;

/// gunyu as a user with few rights, in a folder of his.
struct Nobodys {
    process: Option<Process>,
    port: Port,
    source: Server,
    target: Server,
    dir: tempfile::TempDir,
}

impl Nobodys {
    /// Nothing where the test may not run as somebody else.
    fn prepare() -> Option<Nobodys> {
        let dir = tempfile::tempdir().unwrap();
        if fs::metadata(dir.path()).unwrap().uid() != 0 {
            crate::support::skipped("only root can run gunyu as another user");
            return None;
        }
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        // Where cargo builds may be closed to him.
        let program = dir.path().join("gunyu");
        fs::hard_link(PROGRAM, &program)
            .or_else(|_| fs::copy(PROGRAM, &program).map(drop))
            .unwrap();
        let ran = Command::new(&program)
            .arg("--version")
            .uid(NOBODY)
            .gid(NOBODY)
            .output();
        if !ran.is_ok_and(|ran| ran.status.success()) {
            crate::support::skipped(&format!(
                "another user cannot run what is in {}",
                dir.path().display()
            ));
            return None;
        }
        let home = dir.path().join("home");
        fs::create_dir(&home).unwrap();
        chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
        Some(Nobodys {
            process: None,
            port: Port::free(),
            source: Server::start(),
            target: Server::start(),
            dir,
        })
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("home/state")
    }

    /// Whatever the user's mask lets through.
    fn command(&self) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "umask 0; exec \"$@\"", "sh"]);
        command.arg(self.dir.path().join("gunyu")).arg("sync");
        command.arg(format!("--source={}", self.source.url()));
        command.arg(format!("--target={}", self.target.url()));
        command.arg("--set=server.doctorAtStart=false");
        command.arg("--set=channel.storer.logSize=64KiB");
        command.arg("--set=output.replay.onError=dead_letter");
        command.arg(format!("--set=server.listen={}", self.port.addr()));
        command.arg(format!("--set=channel.storer.dirPath={}", self.state().display()));
        command.current_dir(self.dir.path().join("home"));
        command.uid(NOBODY).gid(NOBODY);
        command
    }

    fn start(&mut self) {
        let file = |name: &str| self.dir.path().join(name);
        self.process = Some(Process::start(self.command(), &file("stdout"), &file("stderr")));
    }

    fn traces(&self) -> String {
        text_from(&self.dir.path().join("stderr"), 0)
    }

    #[track_caller]
    fn wait_status(&self, what: &str, mut holds: impl FnMut(&Value) -> bool) {
        wait_for(LONG, what, || {
            let answer = http::get(self.port.addr(), "/syncer/status");
            match answer.map(|answer| answer.json()) {
                Ok(status) if holds(&status[0]) => Ok(()),
                other => Err(format!("{other:?}\n{}", self.traces())),
            }
        });
    }

    #[track_caller]
    fn wait_applied(&self) {
        let at = self.source.offset();
        self.wait_status("all is applied", |status| {
            status["Phase"] == "incremental" && status["Offset"]["Applied"].as_u64() >= Some(at)
        });
    }

    #[track_caller]
    fn stop(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.signal(libc::SIGTERM);
        assert_eq!(process.wait_end(SOON).code(), Some(0), "{}", self.traces());
    }

    /// It ends by itself with 1, and says this once, with this hint.
    #[track_caller]
    fn assert_refused(&self, words: &[&str]) {
        let output = self.command().output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        for word in words {
            assert!(said.contains(word), "{word:?} is missing:\n{said}");
        }
        assert_eq!(said.matches("error: ").count(), 1, "one message:\n{said}");
        assert!(said.contains("hint: ") && !said.contains("panicked"), "{said}");
    }

    /// All is there, exactly.
    #[track_caller]
    fn finish(mut self, counters: Counters) {
        counters.wait_more(500);
        let expected = counters.stop();
        self.wait_applied();
        expected.assert_on(&self.source);
        expected.assert_on(&self.target);
        assert_eq!(self.source.info("stats")["sync_full"], "1", "{}", self.traces());
        self.stop();
        assert!(!self.traces().contains("panicked"), "{}", self.traces());
    }
}

/// Below a folder, it included.
fn all_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(all_below(&path)),
            false => found.push(path),
        }
    }
    found
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn close(path: &Path) {
    chown(path, Some(0), Some(0)).unwrap();
    let mode = if path.is_dir() { 0o700 } else { 0o600 };
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn open(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
}

const HELPS: &str = "make the folder readable and writable for the user that gunyu runs as";

#[test]
fn what_gunyu_makes_is_its_users_alone_whatever_his_mask() {
    let Some(mut gunyu) = Nobodys::prepare() else {
        return;
    };
    put_keys(&gunyu.source, 100);
    let () = gunyu.target.run(&["SET", "clash", "a string"]);
    gunyu.start();
    gunyu.wait_applied();
    let () = gunyu.source.run(&["RPUSH", "clash", "element"]);
    gunyu.wait_status("a letter is told", |status| status["DeadLetters"] == 1);
    wait_for(LONG, "there is one of each kind", || {
        let all = all_below(&gunyu.state());
        let names: Vec<String> = all.iter().map(|path| path.display().to_string()).collect();
        let has = |end: &str| names.iter().any(|name| name.ends_with(end));
        match [".rdb", ".seg", ".jsonl", "lock"].into_iter().all(has) {
            true => Ok(()),
            false => Err(format!("{names:?}")),
        }
    });
    gunyu.stop();
    for path in all_below(&gunyu.state()) {
        let about = fs::metadata(&path).unwrap();
        let expected = if about.is_dir() { 0o700 } else { 0o600 };
        // The database makes its files as it likes, in a folder that nobody else can enter.
        let is_databases = path.to_string_lossy().contains("/state/catalog/");
        assert!(
            is_databases || mode(&path) == expected,
            "{}: {:o}",
            path.display(),
            mode(&path)
        );
        assert_eq!(about.uid(), NOBODY, "{}", path.display());
    }
    assert_eq!(mode(&gunyu.state().join("catalog")), 0o700);
}

#[test]
fn a_folder_of_somebody_else_ends_the_start_and_tells_what_helps() {
    let Some(gunyu) = Nobodys::prepare() else { return };
    let (home, state) = (gunyu.dir.path().join("home"), gunyu.state());
    // It cannot be made.
    close(&home);
    fs::set_permissions(&home, Permissions::from_mode(0o755)).unwrap();
    gunyu.assert_refused(&["create the folder", &state.display().to_string(), HELPS]);
    open(&home);
    // It cannot be entered.
    fs::create_dir(&state).unwrap();
    close(&state);
    gunyu.assert_refused(&[&state.display().to_string(), "Permission denied", HELPS]);
    // It can be read.
    fs::set_permissions(&state, Permissions::from_mode(0o755)).unwrap();
    gunyu.assert_refused(&[&state.display().to_string(), "Permission denied", HELPS]);
    assert_eq!(fs::read_dir(&state).unwrap().count(), 0);
}

/// As after a start as root, by mistake.
#[test]
fn files_of_somebody_else_are_told_and_nothing_is_lost_when_they_are_given_back() {
    let Some(mut gunyu) = Nobodys::prepare() else {
        return;
    };
    let seed = Seed::pick();
    let () = gunyu
        .source
        .run(&["CONFIG", "SET", "repl-backlog-size", "268435456"]);
    let counters = paced(&gunyu.source, &seed, 1_000);
    gunyu.start();
    gunyu.wait_status("it is live", |status| status["Phase"] == "incremental");
    counters.wait_more(2_000);
    gunyu.stop();
    let all = all_below(&gunyu.state());
    let of_log = |end: &str| {
        let mut found = all.iter().filter(|path| path.to_string_lossy().ends_with(end));
        found
            .next_back()
            .unwrap_or_else(|| panic!("{end}: {all:?}"))
            .clone()
    };
    let folder = of_log(".seg").parent().unwrap().to_owned();
    for path in [
        gunyu.state().join("lock"),
        gunyu.state().join("catalog"),
        of_log(".seg"),
        of_log(".rdb"),
        folder.clone(),
    ] {
        close(&path);
        gunyu.assert_refused(&[&path.display().to_string(), "ermission denied", "hint: "]);
        open(&path);
    }
    // While it runs, the next segment cannot be made.
    gunyu.start();
    gunyu.wait_applied();
    close(&folder);
    gunyu.wait_status("it is told", |status| {
        let text = |field: &str| status["LastError"][field].as_str().unwrap_or_default().to_owned();
        text("Message").contains("ermission denied") && text("Hint").contains(HELPS)
    });
    open(&folder);
    gunyu.finish(counters);
}
