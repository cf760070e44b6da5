//! One gunyu of a group: its process, its configuration file, its folder and its API, all of which it keeps when it is killed
//! and started again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::gate::Roster;
use super::watch::Said;
use super::world::World;
use crate::support::gunyu::PROGRAM;
use crate::support::http::{self, Response};
use crate::support::port::Port;
use crate::support::process::{Process, last_lines, text_from};
use crate::support::{SOON, wait_for};

/// What callers must bear; the group's token is the same unless a test says otherwise.
pub const TOKEN: &str = "of-the-group";

/// A status that takes longer is none.
pub(super) const STATUS_LIMIT: Duration = Duration::from_millis(400);

/// The longest call: a full sync with a flush, which the target may take a minute for.
const CALL_LIMIT: Duration = Duration::from_secs(100);

/// Where a member is asked, by whoever asks it.
#[derive(Debug, Clone)]
pub struct Api {
    addr: SocketAddr,
    /// Over HTTPS, with this CA.
    ca: Option<PathBuf>,
}

impl Api {
    /// `GET /syncer/status`
    ///
    /// # Errors
    /// It is silent, or refuses.
    pub fn status(&self) -> Result<Value, String> {
        let response = self.send("GET", "/syncer/status", STATUS_LIMIT)?;
        match response.status {
            200 => Ok(response.json()),
            code => Err(format!("{code}: {}", response.text())),
        }
    }

    /// Any call.
    ///
    /// # Errors
    /// It does not answer in time.
    pub fn send(&self, method: &str, path: &str, limit: Duration) -> Result<Response, String> {
        let bearer = format!("Bearer {TOKEN}");
        match &self.ca {
            None => {
                let header = format!("Authorization: {bearer}");
                http::send_within(self.addr, method, path, &[&header], limit)
                    .map_err(|error| error.to_string())
            }
            Some(ca) => self.send_secured(ca, method, path, &bearer, limit),
        }
    }

    fn send_secured(
        &self,
        ca: &Path,
        method: &str,
        path: &str,
        bearer: &str,
        limit: Duration,
    ) -> Result<Response, String> {
        let ca = ureq::tls::Certificate::from_pem(&std::fs::read(ca).unwrap()).unwrap();
        let roots = ureq::tls::RootCerts::new_with_certs(&[ca]);
        let config = ureq::Agent::config_builder()
            .tls_config(ureq::tls::TlsConfig::builder().root_certs(roots).build())
            .http_status_as_error(false)
            .timeout_global(Some(limit))
            .build();
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("https://{}{path}", self.addr))
            .header("Authorization", bearer)
            .body(())
            .unwrap();
        let answer = ureq::Agent::new_with_config(config).run(request);
        let mut answer = answer.map_err(|error| error.to_string())?;
        Ok(Response {
            status: answer.status().as_u16(),
            headers: format!("{:?}", answer.headers()),
            body: answer
                .body_mut()
                .read_to_vec()
                .map_err(|error| error.to_string())?,
        })
    }
}

/// A member. Dropping it kills it.
#[derive(Debug)]
pub struct Member {
    /// Its place in the group.
    pub number: usize,
    /// First of the rest, so that it has ended when its ports and folder are given up.
    process: Option<Process>,
    world: World,
    roster: Roster,
    api: Api,
    id: SocketAddr,
    dir: TempDir,
    yaml: String,
    env: Vec<(String, String)>,
    _ports: [Port; 2],
}

impl Member {
    /// Not started yet; `yaml` is everything but the section `server` and the log's folder.
    pub fn new(number: usize, yaml: &str, world: &World, roster: &Roster) -> Member {
        let ports = [Port::free(), Port::free()];
        let (host, peers) = world.hosts_of(number);
        let api = Api {
            addr: SocketAddr::from((host, ports[0].number())),
            ca: None,
        };
        let id = SocketAddr::from((peers, ports[1].number()));
        Member {
            number,
            process: None,
            world: *world,
            roster: roster.clone(),
            api,
            id,
            dir: tempfile::tempdir().unwrap(),
            yaml: yaml.to_owned(),
            env: Vec::new(),
            _ports: ports,
        }
    }

    /// Its name among the others: where they reach it.
    pub fn id(&self) -> String {
        self.id.to_string()
    }

    /// Its name from the next start on, and where it serves the others.
    pub fn rename(&mut self, id: SocketAddr) {
        self.id = id;
    }

    /// Its API is asked over HTTPS from now on.
    pub fn trust(&mut self, ca: &Path) {
        self.api.ca = Some(ca.to_owned());
    }

    /// Where it is asked.
    pub fn api(&self) -> Api {
        self.api.clone()
    }

    /// `http://host:port`, for `--server`.
    pub fn url(&self) -> String {
        format!("http://{}", self.api.addr)
    }

    /// Its configuration, without what is its own.
    pub fn yaml(&self) -> &str {
        &self.yaml
    }

    /// Another one from the next start on.
    pub fn configure(&mut self, yaml: &str) {
        yaml.clone_into(&mut self.yaml);
    }

    /// More of an environment from the next start on.
    pub fn set_env(&mut self, env: &[(&str, &str)]) {
        let own = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        self.env = env.iter().map(own).collect();
    }

    /// Its configuration file, written anew.
    pub fn file(&self) -> PathBuf {
        let file = self.dir.path().join("gunyu.yaml");
        // What stands in the section `server` already (TLS) goes on.
        let server = format!(
            "server:\n  listen: \"{}\"\n  listenPeer: \"{}\"\n  auth: {{token: {TOKEN}}}\n  doctorAtStart: false\n",
            self.api.addr, self.id
        );
        let text = match self.yaml.contains("server:\n") {
            true => self.yaml.replacen("server:\n", &server, 1),
            false => format!("{}{server}", self.yaml),
        };
        std::fs::write(&file, text).unwrap();
        file
    }

    /// Where its log is.
    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// Starts it, killing it first where it runs.
    pub fn start(&mut self) {
        self.process = None;
        let mut command = self.world.command(self.number, PROGRAM);
        command.arg("sync").arg("--config").arg(self.file());
        let folder = self.state_dir();
        command.arg(format!("--set=channel.storer.dirPath={}", folder.display()));
        command.current_dir(self.dir.path());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        let (stdout, stderr) = (self.path("stdout"), self.path("stderr"));
        let start = || Process::start(command, &stdout, &stderr);
        self.process = Some(self.roster.start(self.number, start));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Whether it was started and has not ended.
    pub fn runs(&mut self) -> bool {
        self.process
            .as_mut()
            .is_some_and(|process| process.ended().is_none())
    }

    /// How it has ended, if it was started and has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.as_mut()?.ended()
    }

    /// With which code it has ended by itself, if it has.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.process.as_mut()?.ended()?.code()
    }

    /// Kills it as a crash would.
    pub fn kill9(&mut self) {
        self.process().kill9();
    }

    /// Any signal.
    pub fn signal(&mut self, signal: i32) {
        self.process().signal(signal);
    }

    /// Freezes it.
    pub fn freeze(&mut self) {
        self.signal(libc::SIGSTOP);
    }

    /// Lets it go on.
    pub fn thaw(&mut self) {
        self.signal(libc::SIGCONT);
    }

    /// SIGTERM, and waits for its end.
    #[track_caller]
    pub fn term(&mut self) -> ExitStatus {
        self.signal(libc::SIGTERM);
        self.wait_end(SOON)
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub fn wait_end(&mut self, limit: Duration) -> ExitStatus {
        wait_for(limit, "the member ends", || {
            self.process().ended().ok_or_else(|| self.last_words())
        })
    }

    fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the member was started")
    }

    /// Memory and processor time.
    pub fn stats(&self) -> &Process {
        self.process.as_ref().expect("the member was started")
    }

    /// What it says of its inputs; nothing where it is silent.
    pub fn said(&self) -> Vec<Said> {
        self.api
            .status()
            .map_or_else(|_| Vec::new(), |status| Said::all(&status))
    }

    /// A call of its API; fails the test where nobody answers.
    #[track_caller]
    pub fn call(&self, method: &str, path: &str) -> Response {
        self.api
            .send(method, path, CALL_LIMIT)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}\n{}", self.last_words()))
    }

    /// The same within a limit.
    ///
    /// # Errors
    /// It does not answer.
    pub fn try_call(&self, method: &str, path: &str, limit: Duration) -> Result<Response, String> {
        self.api.send(method, path, limit)
    }

    /// A call that must be answered with this code.
    #[track_caller]
    pub fn must(&self, code: u16, method: &str, path: &str) -> Response {
        let response = self.call(method, path);
        let text = response.text();
        assert_eq!(
            response.status,
            code,
            "{method} {path}: {text}\n{}",
            self.last_words()
        );
        response
    }

    /// Waits until its status is as told.
    #[track_caller]
    pub fn wait_status(&self, limit: Duration, what: &str, mut holds: impl FnMut(&Value) -> bool) -> Value {
        wait_for(limit, what, || match self.api.status() {
            Ok(status) if holds(&status) => Ok(status),
            other => Err(format!("{other:?}\n{}", self.last_words())),
        })
    }

    /// How long it takes until the status is as told.
    #[track_caller]
    pub fn time_until(&self, limit: Duration, what: &str, holds: impl FnMut(&Value) -> bool) -> Duration {
        let start = Instant::now();
        self.wait_status(limit, what, holds);
        start.elapsed()
    }

    /// What it has told, over all its lives.
    pub fn traces(&self) -> String {
        text_from(&self.path("stderr"), 0)
    }

    /// The end of its traces, for the message of a failure.
    pub fn last_words(&self) -> String {
        format!(
            "member {} ({}), the end of its traces:\n{}",
            self.number,
            self.id,
            last_lines(Path::new(&self.path("stderr")), 60)
        )
    }
}
