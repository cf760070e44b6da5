//! gunyu itself, as the program that a user runs.
//!
//! `gunyu sync` with its own port for the HTTP API and its own folder for the log; the folder stays when gunyu is
//! killed and started again. Whatever a wait ends in, its failure shows the end of gunyu's traces.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::http::{self, Response};
use super::port::Port;
use super::process::{Process, last_lines, text_from};
use super::server::Server;
use super::{SOON, wait_for};

/// The program that cargo built for this test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_gunyu");

/// What runs as `gunyu sync`: another build of it where `GUNYU_PROGRAM` names one, as `scripts/profile.sh` does.
fn program() -> OsString {
    std::env::var_os("GUNYU_PROGRAM").unwrap_or_else(|| PROGRAM.into())
}

/// The longest call: a full sync with a flush, which the target may take a minute for.
const CALL_LIMIT: Duration = Duration::from_secs(100);

/// A running `gunyu sync`.
#[derive(Debug)]
pub struct Gunyu {
    /// First, so that it has ended when its port and folder are given up: fields are dropped in order.
    process: Process,
    args: Vec<String>,
    env: Vec<(String, String)>,
    port: Port,
    dir: TempDir,
}

impl Gunyu {
    /// `gunyu sync --source … --target …` with further `--set key=value`.
    pub fn start(source: &str, target: &str, set: &[&str]) -> Gunyu {
        let mut args = vec![
            "sync".to_owned(),
            format!("--source={source}"),
            format!("--target={target}"),
        ];
        args.extend(set.iter().map(|pair| format!("--set={pair}")));
        Gunyu::with_args(args, &[])
    }

    /// Any arguments and environment; `server.listen` and `channel.storer.dirPath` are added.
    pub fn with_args(args: Vec<String>, env: &[(&str, &str)]) -> Gunyu {
        let (port, dir) = (Port::free(), tempfile::tempdir().unwrap());
        let env: Vec<_> = env
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        let process = launch(&args, &env, &port, dir.path());
        Gunyu {
            args,
            env,
            port,
            dir,
            process,
        }
    }

    /// From one server to another, and waits until it is live.
    pub fn between(source: &Server, target: &Server) -> Gunyu {
        let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
        gunyu.wait_ready(SOON);
        gunyu
    }

    /// Where its HTTP API is.
    pub fn http(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Where its log is (`channel.storer.dirPath`).
    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// Bytes of all files below [`Gunyu::state_dir`].
    pub fn disk_bytes(&self) -> u64 {
        size_of(&self.state_dir())
    }

    /// Process id, memory and processor time.
    pub fn stats(&self) -> &Process {
        &self.process
    }

    /// What it wrote on stderr, over all its lives.
    pub fn traces(&self) -> String {
        text_from(&self.dir.path().join("stderr"), 0)
    }

    /// What it wrote on stdout, over all its lives.
    pub fn stdout(&self) -> String {
        text_from(&self.dir.path().join("stdout"), 0)
    }

    /// A request to its HTTP API.
    ///
    /// # Errors
    /// It does not answer.
    pub fn request(&self, method: &str, path: &str) -> std::io::Result<Response> {
        http::send(self.http(), method, path, &[])
    }

    /// A request that may take as long as a flush of the target may; fails the test where nobody answers.
    #[track_caller]
    pub fn call(&self, method: &str, path: &str) -> Response {
        http::send_within(self.http(), method, path, &[], CALL_LIMIT)
            .unwrap_or_else(|e| panic!("{method} {path}: {e}\n{}", self.last_words()))
    }

    /// A call that must succeed; its JSON.
    #[track_caller]
    pub fn must(&self, method: &str, path: &str) -> Value {
        let response = self.call(method, path);
        assert_eq!(
            response.status,
            200,
            "{method} {path}: {}\n{}",
            response.text(),
            self.last_words()
        );
        response.json()
    }

    /// A call that must be refused with this code; its error and hint.
    #[track_caller]
    pub fn refused(&self, code: u16, method: &str, path: &str) -> (String, String) {
        let response = self.call(method, path);
        let text = response.text();
        assert_eq!(
            response.status,
            code,
            "{method} {path}: {text}\n{}",
            self.last_words()
        );
        assert!(response.headers.contains("application/json"), "{response:?}");
        let body = response.json();
        let told = |field: &str| {
            body[field]
                .as_str()
                .unwrap_or_else(|| panic!("{text}"))
                .to_owned()
        };
        (told("error"), told("hint"))
    }

    /// `GET /syncer/status`: an array, an object for each input.
    #[track_caller]
    pub fn status(&self) -> Value {
        match self.request("GET", "/syncer/status") {
            Ok(response) if response.status == 200 => response.json(),
            other => panic!("no status: {other:?}\n{}", self.last_words()),
        }
    }

    /// The metrics, as text.
    #[track_caller]
    pub fn metrics(&self) -> String {
        match self.request("GET", "/prometheus") {
            Ok(response) if response.status == 200 => response.text(),
            other => panic!("no metrics: {other:?}\n{}", self.last_words()),
        }
    }

    /// The value of one sample of the metrics, by its name with or without labels: the first line that begins so.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let text = self.metrics();
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// Waits until every input is in the phase `incremental`.
    #[track_caller]
    pub fn wait_ready(&mut self, limit: Duration) {
        self.wait_status(limit, "every input is live", |status| {
            let inputs = status.as_array().map_or(&[][..], Vec::as_slice);
            !inputs.is_empty() && inputs.iter().all(|input| input["Phase"] == "incremental")
        });
    }

    /// Waits until everything that `source` has written so far has been applied.
    ///
    /// `at` is taken from the source, not from gunyu, which may not have heard of it yet.
    #[track_caller]
    pub fn wait_applied(&mut self, source: &Server, limit: Duration) {
        let (at, address) = (source.offset(), source.addr());
        self.wait_status(limit, &format!("offset {at} of {address} is applied"), |status| {
            let inputs = status.as_array().map_or(&[][..], Vec::as_slice);
            // Each shard counts its own stream: the offset of one says nothing of another.
            let is_asked = |input: &&Value| inputs.len() == 1 || input["Input"] == address.as_str();
            inputs.iter().find(is_asked).is_some_and(|input| {
                let applied = input["Offset"]["Applied"].as_u64();
                input["Phase"] == "incremental" && applied.is_some_and(|offset| offset >= at)
            })
        });
    }

    /// Waits until the status is as told; fails at once where gunyu ends instead.
    #[track_caller]
    pub fn wait_status(
        &mut self,
        limit: Duration,
        what: &str,
        mut holds: impl FnMut(&Value) -> bool,
    ) -> Value {
        wait_for(limit, what, || {
            if let Some(how) = self.process.ended() {
                panic!("gunyu ended ({how}) before {what}\n{}", self.last_words());
            }
            let status = self
                .request("GET", "/syncer/status")
                .map(|response| response.json());
            match status {
                Ok(status) if holds(&status) => Ok(status),
                other => Err(format!("{other:?}\n{}", self.last_words())),
            }
        })
    }

    fn last_words(&self) -> String {
        let end = |name: &str| last_lines(&self.dir.path().join(name), 60);
        format!(
            "gunyu {}\n  stdout:\n{}  stderr:\n{}",
            self.args.join(" "),
            end("stdout"),
            end("stderr")
        )
    }

    /// Kills it as a crash would.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// SIGTERM, and waits: gunyu drains, checkpoints and ends.
    #[track_caller]
    pub fn term(&mut self) -> ExitStatus {
        self.process.signal(libc::SIGTERM);
        self.wait_end(SOON)
    }

    /// Any signal.
    pub fn signal(&mut self, signal: i32) {
        self.process.signal(signal);
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.process.ended().is_some()
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub fn wait_end(&mut self, limit: Duration) -> ExitStatus {
        wait_for(limit, "gunyu ends", || {
            self.process.ended().ok_or_else(|| self.last_words())
        })
    }

    /// Starts it again (killing it first where it still runs): same arguments, port and folder.
    pub fn restart(&mut self) {
        self.kill9();
        self.process = launch(&self.args, &self.env, &self.port, self.dir.path());
    }

    /// The same with another environment.
    pub fn restart_with_env(&mut self, env: &[(&str, &str)]) {
        self.kill9();
        self.env = env
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        self.process = launch(&self.args, &self.env, &self.port, self.dir.path());
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.ended()
    }

    /// The same with other arguments.
    pub fn restart_with(&mut self, args: Vec<String>) {
        self.kill9();
        self.args = args;
        self.process = launch(&self.args, &self.env, &self.port, self.dir.path());
    }

    /// Removes its state; for a restart without a log.
    pub fn forget(&mut self) {
        self.kill9();
        std::fs::remove_dir_all(self.state_dir()).unwrap();
    }
}

fn launch(args: &[String], env: &[(String, String)], port: &Port, dir: &Path) -> Process {
    let mut command = Command::new(program());
    command.args(args);
    // It has connections of its own, and tests count those of the pipelines, or cut them. tests/doctor lets it.
    if !args.iter().any(|arg| arg.contains("doctorAtStart")) {
        command.arg("--set=server.doctorAtStart=false");
    }
    command.arg(format!("--set=server.listen={}", port.addr()));
    command.arg(format!(
        "--set=channel.storer.dirPath={}",
        dir.join("state").display()
    ));
    command
        .current_dir(dir)
        .envs(env.iter().map(|(name, value)| (name, value)));
    Process::start(command, &dir.join("stdout"), &dir.join("stderr"))
}

/// Runs a subcommand to its end.
pub fn run(args: &[&str]) -> Output {
    Command::new(PROGRAM).args(args).output().unwrap()
}

fn size_of(path: &Path) -> u64 {
    // Files come and go while gunyu works.
    let Ok(meta) = std::fs::symlink_metadata(path) else {
        return 0;
    };
    if !meta.is_dir() {
        return meta.len();
    }
    std::fs::read_dir(path).map_or(0, |entries| {
        entries.filter_map(Result::ok).map(|e| size_of(&e.path())).sum()
    })
}
