//! etcd as a child process: its own ports, its own temporary folder; alone or as one of several.
//!
//! As with [`super::server`], one counts as started when its own log says so. It keeps its data over a restart, as etcd does.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use super::port::Port;
use super::process::{Process, last_lines, text_from};
use super::{SOON, matrix_folders, wait_for};

/// The program, and `etcdctl` beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub label: String,
    etcd: PathBuf,
    etcdctl: PathBuf,
}

impl Program {
    /// Every etcd of the version matrix, else the one on the PATH.
    pub fn all() -> Vec<Program> {
        let at = |label: &str, folder: &Path| Program {
            label: label.to_owned(),
            etcd: folder.join("etcd"),
            etcdctl: folder.join("etcdctl"),
        };
        let folders = matrix_folders().into_iter();
        let mut found: Vec<Program> = folders
            .map(|(label, folder)| at(&label, &folder.join("bin")))
            .filter(|program| program.etcd.is_file())
            .collect();
        if found.is_empty() {
            found.push(at("etcd on the PATH", Path::new("")));
        }
        found
    }

    /// The newest of them.
    pub fn newest() -> Program {
        Program::all()
            .pop()
            .expect("there is at least the one on the PATH")
    }
}

/// How it speaks TLS.
#[derive(Debug, Clone)]
pub struct Tls {
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Who signed the certificate, for etcdctl; and the clients' certificates, where they must have one.
    pub ca: PathBuf,
    pub asks_for_certificates: bool,
}

/// A member of an etcd cluster, of one or of several, that belongs to one test.
#[derive(Debug)]
pub struct Etcd {
    /// First, so that it has ended when its ports and folder are given up.
    process: Option<Process>,
    program: Program,
    tls: Option<Tls>,
    client: Port,
    peer: Port,
    name: String,
    members: String,
    dir: TempDir,
    /// Its data have the generation's number: a new one begins empty.
    generation: u32,
}

impl Etcd {
    /// The newest one, alone.
    pub fn start() -> Etcd {
        Etcd::of(&Program::newest())
    }

    /// One of a given program, alone.
    pub fn of(program: &Program) -> Etcd {
        Etcd::cluster(program, 1, None).remove(0)
    }

    /// One that speaks TLS to its clients.
    pub fn secured(program: &Program, tls: &Tls) -> Etcd {
        Etcd::cluster(program, 1, Some(tls)).remove(0)
    }

    /// So many that are one.
    pub fn cluster(program: &Program, count: usize, tls: Option<&Tls>) -> Vec<Etcd> {
        for _ in 0..10 {
            let ports: Vec<(Port, Port)> = (0..count).map(|_| (Port::free(), Port::free())).collect();
            let members: Vec<String> = ports.iter().map(|(_, peer)| peer.number()).map(member).collect();
            let members = members.join(",");
            let mut all: Vec<Etcd> = ports
                .into_iter()
                .map(|(client, peer)| Etcd {
                    process: None,
                    program: program.clone(),
                    tls: tls.cloned(),
                    name: name(peer.number()),
                    client,
                    peer,
                    members: members.clone(),
                    dir: tempfile::tempdir().unwrap(),
                    generation: 0,
                })
                .collect();
            // None is ready before most of them run.
            all.iter_mut().for_each(Etcd::launch);
            let ready: Result<Vec<()>, String> = all.iter_mut().map(|etcd| etcd.wait_ready(0)).collect();
            match ready {
                Ok(_) => return all,
                Err(log) if log.contains("address already in use") => {}
                Err(log) => panic!("{} did not start:\n{log}", program.etcd.display()),
            }
        }
        panic!("ten ports in a row were taken between looking and binding");
    }

    fn launch(&mut self) {
        let log = self.log_path();
        self.process = Some(Process::start(self.command(), &log, &log));
    }

    fn wait_ready(&mut self, from: u64) -> Result<(), String> {
        let log = self.log_path();
        let ready = wait_for(SOON, "etcd is ready", || {
            let ended = self.process().ended();
            let said = text_from(&log, from);
            let is_ready = said.contains("ready to serve client requests")
                && (said.contains("serving insecure client requests on")
                    || said.contains("serving client requests on")
                    || said.contains("serving client traffic"));
            match (is_ready, ended) {
                (true, None) => Ok(true),
                (_, Some(_)) => Ok(false),
                (false, None) => Err(last_lines(&log, 20)),
            }
        });
        ready.then_some(()).ok_or_else(|| last_lines(&log, 30))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program.etcd);
        let peer = format!("http://{}", self.peer.addr());
        let data = self.dir.path().join(format!("data-{}", self.generation));
        // A leader is elected soon, and again soon when one is lost; patient enough for a busy machine.
        command
            .args(["--heartbeat-interval", "50", "--election-timeout", "500"])
            .args(["--name", &self.name, "--data-dir", data.to_str().unwrap()])
            .args(["--listen-client-urls", &self.url()])
            .args(["--advertise-client-urls", &self.url()])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &self.members])
            .env("ETCD_UNSUPPORTED_ARCH", std::env::consts::ARCH);
        if let Some(tls) = &self.tls {
            command.arg("--cert-file").arg(&tls.cert);
            command.arg("--key-file").arg(&tls.key);
            if tls.asks_for_certificates {
                command.arg("--client-cert-auth");
                command.arg("--trusted-ca-file").arg(&tls.ca);
            }
        }
        command
    }

    fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it was started")
    }

    /// `127.0.0.1:port`.
    pub fn addr(&self) -> String {
        self.client.addr().to_string()
    }

    /// The port for clients.
    pub fn port(&self) -> u16 {
        self.client.number()
    }

    /// `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.addr())
    }

    /// Runs `etcdctl` with these arguments; gives what it printed.
    #[track_caller]
    pub fn ctl(&self, args: &[&str]) -> String {
        let output = self.try_ctl(args);
        assert!(
            output.status.success(),
            "etcdctl {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The same, where it may fail.
    pub fn try_ctl(&self, args: &[&str]) -> Output {
        let mut command = Command::new(&self.program.etcdctl);
        command.env("ETCDCTL_API", "3").args(["--endpoints", &self.url()]);
        if let Some(tls) = &self.tls {
            command.arg("--cacert").arg(&tls.ca);
            if tls.asks_for_certificates {
                command.arg("--cert").arg(&tls.cert).arg("--key").arg(&tls.key);
            }
        }
        let output = command.args(args).output();
        output.unwrap_or_else(|e| panic!("{} does not run: {e}", self.program.etcdctl.display()))
    }

    /// What it has printed, over all its lives.
    pub fn log(&self) -> String {
        text_from(&self.log_path(), 0)
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("etcd.log")
    }

    /// Kills it as a crash would.
    pub fn kill9(&mut self) {
        self.process().kill9();
    }

    /// Freezes it: its sockets stay open and answer nothing.
    pub fn sigstop(&mut self) {
        self.process().signal(libc::SIGSTOP);
    }

    /// Lets it go on.
    pub fn sigcont(&mut self) {
        self.process().signal(libc::SIGCONT);
    }

    /// Starts it again (killing it first where it still runs), same ports, with its data.
    pub fn restart(&mut self) {
        self.process().kill9();
        let from = std::fs::metadata(self.log_path()).map_or(0, |meta| meta.len());
        self.launch();
        self.wait_ready(from)
            .unwrap_or_else(|log| panic!("{} did not start again:\n{log}", self.addr()));
    }

    /// The same with nothing in it. For one that is alone.
    pub fn restart_empty(&mut self) {
        self.process().kill9();
        self.generation += 1;
        self.restart();
    }
}

fn name(peer: u16) -> String {
    format!("member-{peer}")
}

fn member(peer: u16) -> String {
    format!("{}=http://127.0.0.1:{peer}", name(peer))
}
