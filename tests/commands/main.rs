//! The commands against live daemons and live servers: what they print, in text and in JSON, and their exit codes, which are contracts.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper that fails fails its test"
)]

#[path = "../support/mod.rs"]
mod support;

mod daemon;
mod dump;
mod dump_cluster;
mod dump_trouble;
mod load;
mod migration;
mod said;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use support::gunyu::PROGRAM;

/// What came of a command.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn of(output: &Output) -> Ran {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Ran {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// It succeeded, and this is its JSON.
    #[track_caller]
    fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    #[track_caller]
    fn says(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        for part in parts {
            assert!(
                self.stdout.contains(part) || self.stderr.contains(part),
                "{part:?} is missing: {self:?}"
            );
        }
    }
}

/// `gunyu` with an environment that says nothing of gunyu, and its own folder for temporary files.
fn command(args: &[&str], tmp: Option<&Path>) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(args);
    for name in ["GUNYU_SERVER", "GUNYU_TOKEN", "GUNYU_CA_CERT"] {
        command.env_remove(name);
    }
    if let Some(tmp) = tmp {
        command.env("TMPDIR", tmp);
    }
    command
}

fn run(args: &[&str]) -> Ran {
    Ran::of(&command(args, None).output().unwrap())
}
