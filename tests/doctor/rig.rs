//! Runs `gunyu doctor`, and what it says to type.

// As in tests/support: what fails here fails the test.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use super::support::gunyu::PROGRAM;
use super::support::port::Port;

/// Between which servers, and with what else. Its folder and its port are its own.
pub struct Doctor {
    source: String,
    target: String,
    more: Vec<String>,
    port: Port,
    dir: TempDir,
    open_files: u32,
}

/// What it found.
#[derive(Debug)]
pub struct Found {
    /// Its exit code.
    pub code: i32,
    /// Its findings, as it printed them.
    pub findings: Vec<Value>,
}

impl Doctor {
    /// Between these two URLs.
    pub fn between(source: &str, target: &str) -> Doctor {
        Doctor {
            source: source.to_owned(),
            target: target.to_owned(),
            more: Vec::new(),
            port: Port::free(),
            dir: tempfile::tempdir().unwrap(),
            // Whatever the shell has that the tests run in.
            open_files: 4096,
        }
    }

    /// With further arguments.
    pub fn with(mut self, more: &[&str]) -> Doctor {
        self.more.extend(more.iter().map(ToString::to_string));
        self
    }

    /// So many files may be open.
    pub fn open_files(mut self, most: u32) -> Doctor {
        self.open_files = most;
        self
    }

    /// Its folder for logs.
    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn command(&self, json: bool) -> Command {
        let limit = format!("ulimit -n {}; ", self.open_files);
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{limit}exec \"$0\" \"$@\""), PROGRAM, "doctor"]);
        command.args(["--source", &self.source, "--target", &self.target]);
        command.arg(format!("--set=server.listen=127.0.0.1:{}", self.port.number()));
        command.arg(format!("--set=channel.storer.dirPath={}", self.state().display()));
        // Whatever disk the tests run on has it.
        command.args([
            "--set=channel.storer.maxSize=64MiB",
            "--set=channel.storer.logSize=64KiB",
        ]);
        command.args(&self.more);
        command.args(json.then_some("--json"));
        command
    }

    /// As people see it.
    pub fn text(&self) -> Output {
        self.command(false).output().unwrap()
    }

    /// What it finds.
    #[track_caller]
    pub fn look(&self) -> Found {
        let output = self.command(true).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        let json: Value =
            serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}\n{complaint}"));
        assert_eq!(complaint, "", "what is found stands on stdout");
        Found {
            code: output.status.code().unwrap(),
            findings: json["findings"].as_array().unwrap().clone(),
        }
    }

    /// Finds this, and nothing else that is worse than ok: `severity side check`. The exit code is that of the worst.
    #[track_caller]
    pub fn finds(&self, expected: &[&str]) -> Found {
        let found = self.look();
        let expected: BTreeSet<String> = expected.iter().map(ToString::to_string).collect();
        let bad: Vec<&Value> = found
            .findings
            .iter()
            .filter(|one| one["severity"] != "ok")
            .collect();
        assert_eq!(found.bad(), expected, "{bad:#?}");
        let is = |word: &str| expected.iter().any(|line| line.starts_with(word));
        let code = match (is("problem"), is("warning")) {
            (true, _) => 2,
            (false, true) => 1,
            (false, false) => 0,
        };
        assert_eq!(found.code, code);
        found
    }
}

impl Found {
    /// What is worse than ok.
    pub fn bad(&self) -> BTreeSet<String> {
        let lines = self.findings.iter().map(line);
        lines.filter(|line| !line.starts_with("ok ")).collect()
    }

    /// The finding of that check that is not ok.
    #[track_caller]
    pub fn of(&self, check: &str) -> &Value {
        let mut bad = self.findings.iter().filter(|one| one["severity"] != "ok");
        let found = bad.find(|one| one["check"] == check);
        found.unwrap_or_else(|| panic!("nothing of {check}: {:#?}", self.findings))
    }

    /// What it says of that check, and what is to be typed.
    #[track_caller]
    pub fn words(&self, check: &str) -> String {
        let one = self.of(check);
        format!("{} {}", one["says"], one["fix"])
    }

    /// Types all lines that begin with `redis-cli`, as they were printed.
    #[track_caller]
    pub fn type_fixes(&self) {
        self.type_fixes_with("");
    }

    /// The same with a password.
    #[track_caller]
    pub fn type_fixes_with(&self, password: &str) {
        let fixes = self
            .findings
            .iter()
            .flat_map(|one| one["fix"].as_array().unwrap());
        let lines = fixes.filter_map(Value::as_str);
        let typed: Vec<&str> = lines.filter(|line| line.starts_with("redis-cli ")).collect();
        assert!(!typed.is_empty(), "nothing to type: {:#?}", self.findings);
        for line in typed {
            let mut shell = Command::new("sh");
            shell.args(["-c", line]);
            // An empty one is taken for one.
            shell.envs((!password.is_empty()).then_some(("REDISCLI_AUTH", password)));
            let output = shell.output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!((output.status.code(), said.trim()), (Some(0), "OK"), "{line}");
        }
    }
}

fn line(finding: &Value) -> String {
    let word = |name: &str| finding[name].as_str().unwrap();
    format!("{} {} {}", word("severity"), word("side"), word("check"))
}
