//! What a gunyu stands between, and how something happens to it.

use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::end::Writing;
use super::faults::{End, Kind};
use super::sample::Sampler;
use super::support::port::Port;
use super::support::proxy::{Fault, Proxy, Way};
use super::support::workload::Seed;
use super::support::{Cluster, Gunyu, SOON, Server};

/// The backlog is larger than what is written during any trouble here, and sources are heard of every second.
const SOURCE: &[&str] = &["--repl-backlog-size", "64mb", "--repl-ping-replica-period", "1"];

/// All logs together take no more.
pub const LOGS_MAX: u64 = 32 << 20;

/// Small segments, so that they roll and are released; large values in pieces.
const SMALL: &[&str] = &[
    "channel.storer.maxSize=32MiB",
    "channel.storer.logSize=1MiB",
    "output.replay.bigValueBytes=64KiB",
    "server.gracefullStopTimeout=3s",
];

/// Silence is noticed after so long, so that it can be followed by something else.
const SILENCE: (&str, &str) = ("GUNYU_SILENCE_MS", "4000");

/// A fault that is to come in the midst of what passes comes at once where nothing has passed for so long.
const FUSE: Duration = Duration::from_secs(3);

/// Servers, links and gunyu.
pub struct Bed {
    /// First of the processes, so that it has ended before what it speaks with.
    pub gunyu: Gunyu,
    to_source: Vec<Proxy>,
    to_target: Vec<Proxy>,
    pub sources: Vec<Server>,
    pub targets: Vec<Server>,
    /// By the names that gunyu has for them, in the order of the sources.
    inputs: Vec<String>,
    pub writing: Option<Writing>,
    /// Where nobody listens.
    nobody: Port,
    /// The server that is frozen, or sleeps.
    still: Option<(End, usize)>,
    sleeping: Option<JoinHandle<()>>,
    /// Full syncs that were begun because they were asked for.
    pub asked: u64,
}

impl Bed {
    /// One server onto another, over links that can break, with every kind of write.
    pub fn of_servers(seed: u64) -> Bed {
        let (source, target) = (Server::with(SOURCE), Server::start());
        let (to_source, to_target) = (Proxy::to(source.port()), Proxy::to(target.port()));
        let gunyu = begin(&to_source.url(), &to_target.url());
        let writing = Writing::on_server(&source, &Seed::of(seed));
        Bed {
            gunyu,
            inputs: vec![to_source.addr()],
            to_source: vec![to_source],
            to_target: vec![to_target],
            sources: vec![source],
            targets: vec![target],
            writing: Some(writing),
            nobody: Port::free(),
            still: None,
            sleeping: None,
            asked: 0,
        }
    }

    /// Three masters onto three others. Who speaks to a cluster is told its nodes' own addresses: no proxy stands before them.
    pub fn of_clusters(seed: u64) -> Bed {
        let (source, target) = (Cluster::start(3), Cluster::start(3));
        for master in &source.masters {
            for option in SOURCE.chunks(2) {
                let () = master.run(&["CONFIG", "SET", option[0].trim_start_matches("--"), option[1]]);
            }
        }
        let gunyu = begin(&source.url(), &target.url());
        let writing = Writing::on_cluster(&source, &Seed::of(seed));
        Bed {
            gunyu,
            inputs: source.masters.iter().map(Server::addr).collect(),
            to_source: Vec::new(),
            to_target: Vec::new(),
            sources: source.masters,
            targets: target.masters,
            writing: Some(writing),
            nobody: Port::free(),
            still: None,
            sleeping: None,
            asked: 0,
        }
    }

    pub fn is_cluster(&self) -> bool {
        self.sources.len() > 1
    }

    /// Where its reports' samples are measured.
    pub fn folder(&self) -> PathBuf {
        self.gunyu.state_dir()
    }

    /// What can happen here.
    pub fn kinds(&self) -> Vec<Kind> {
        let (mut kinds, ends) = (Vec::new(), [End::Source, End::Target]);
        for end in ends {
            if !self.is_cluster() {
                kinds.extend(Fault::ALL.iter().map(|fault| Kind::Link(end, *fault)));
            }
            kinds.extend([
                Kind::ServerFreezes(end),
                Kind::ServerSleeps(end),
                Kind::LinksKilled(end),
            ]);
        }
        kinds.extend([Kind::Kill, Kind::Kill, Kind::Kill, Kind::Stop, Kind::Stop]);
        kinds.extend([Kind::Freeze, Kind::Pause, Kind::Restart, Kind::FullSync]);
        kinds.push(Kind::OutOfMemory);
        if !self.is_cluster() {
            kinds.extend([Kind::Flush, Kind::ReadOnly]);
        }
        kinds
    }

    fn servers(&self, end: End) -> &[Server] {
        match end {
            End::Source => &self.sources,
            End::Target => &self.targets,
        }
    }

    /// It begins. False where it could not, because an earlier one is not over yet.
    pub fn strike(&mut self, kind: Kind, rng: &mut fastrand::Rng, sampler: &Sampler) -> bool {
        // Drawn in any case, so that what is drawn next does not depend on the kind.
        let (chance, number, bytes) = (rng.bool(), rng.usize(..), rng.u64(1..100_000));
        let on = |servers: &[Server]| number % servers.len();
        match kind {
            Kind::Link(end, fault) => self.strike_link(end, fault, chance, bytes),
            Kind::Kill => {
                sampler.dies();
                self.gunyu.kill9();
            }
            Kind::Stop => {
                sampler.dies();
                self.gunyu.signal(libc::SIGTERM);
                self.gunyu.wait_end(SOON);
            }
            Kind::Freeze => self.gunyu.signal(libc::SIGSTOP),
            Kind::ServerFreezes(end) => {
                let at = on(self.servers(end));
                let servers = match end {
                    End::Source => &mut self.sources,
                    End::Target => &mut self.targets,
                };
                servers[at].sigstop();
                self.still = Some((end, at));
            }
            Kind::ServerSleeps(end) => {
                let mut conn = self.servers(end)[on(self.servers(end))].conn();
                self.sleeping = Some(std::thread::spawn(move || {
                    redis::cmd("DEBUG").arg("SLEEP").arg(1).exec(&mut conn).unwrap();
                }));
            }
            Kind::LinksKilled(end) => {
                let class = if end == End::Source { "replica" } else { "normal" };
                let server = &self.servers(end)[on(self.servers(end))];
                let _: u64 = server.run(&["CLIENT", "KILL", "TYPE", class, "SKIPME", "yes"]);
            }
            Kind::Pause => return self.asks("/syncer/pause?inputs=all"),
            Kind::Restart => return self.asks("/syncer/restart"),
            Kind::FullSync => {
                let flush = if chance { "&flushdb=yes" } else { "" };
                let begun = self.asks(&format!("/syncer/fullsync?inputs=all{flush}"));
                self.asked += u64::from(begun) * self.sources.len() as u64;
                return begun;
            }
            Kind::Flush => {
                let mut conn = self.sources[0].conn();
                redis::cmd("SELECT").arg(9).exec(&mut conn).unwrap();
                redis::cmd("FLUSHDB").exec(&mut conn).unwrap();
            }
            Kind::ReadOnly => {
                let nobody = self.nobody.number().to_string();
                let () = self.targets[0].run(&["REPLICAOF", "127.0.0.1", &nobody]);
            }
            Kind::OutOfMemory => {
                let server = &self.targets[on(&self.targets)];
                let () = server.run(&["CONFIG", "SET", "maxmemory", "1"]);
            }
        }
        true
    }

    fn strike_link(&self, end: End, fault: Fault, in_the_midst: bool, bytes: u64) {
        let (proxy, way) = match end {
            End::Source => (&self.to_source[0], Way::Down),
            End::Target => (&self.to_target[0], Way::Up),
        };
        let before = proxy.strikes();
        if in_the_midst {
            proxy.arm(fault, way, bytes);
            let start = Instant::now();
            while proxy.strikes() == before && start.elapsed() < FUSE {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        if proxy.strikes() == before {
            proxy.strike(fault);
        }
    }

    /// Whether it was done; a process that has just begun, or does something else, may say no.
    fn asks(&self, path: &str) -> bool {
        let answer = super::support::http::send_within(self.gunyu.http(), "POST", path, &[], SOON);
        match answer {
            Ok(answer) if answer.status == 200 => true,
            Ok(answer) if [409, 503].contains(&answer.status) => false,
            Ok(answer) => panic!("{path}: {} {}", answer.status, answer.text()),
            Err(_) => false,
        }
    }

    /// It is over.
    pub fn mend(&mut self, kind: Kind, sampler: &Sampler) {
        match kind {
            Kind::Link(End::Source, _) => self.to_source[0].heal(),
            Kind::Link(End::Target, _) => self.to_target[0].heal(),
            Kind::Kill | Kind::Stop => {
                self.gunyu.restart();
                sampler.born(self.gunyu.stats().pid());
            }
            Kind::Freeze => self.gunyu.signal(libc::SIGCONT),
            Kind::ServerFreezes(_) => {
                let (end, at) = self.still.take().expect("one is frozen");
                match end {
                    End::Source => self.sources[at].sigcont(),
                    End::Target => self.targets[at].sigcont(),
                }
            }
            Kind::ServerSleeps(_) => {
                let sleeping = self.sleeping.take().expect("one sleeps");
                sleeping.join().unwrap();
            }
            Kind::Pause => {
                self.gunyu.must("POST", "/syncer/resume?inputs=all");
            }
            Kind::ReadOnly => {
                let () = self.targets[0].run(&["REPLICAOF", "NO", "ONE"]);
            }
            Kind::OutOfMemory => {
                for target in &self.targets {
                    let () = target.run(&["CONFIG", "SET", "maxmemory", "0"]);
                }
            }
            Kind::LinksKilled(_) | Kind::Restart | Kind::FullSync | Kind::Flush => {}
        }
    }

    /// How far each source has written.
    pub fn offsets(&self) -> Vec<u64> {
        self.sources.iter().map(Server::offset).collect()
    }

    /// Bytes and keys that the sources hold.
    pub fn held(&self) -> (u64, u64) {
        let bytes =
            |server: &Server| -> u64 { server.info("memory")["used_memory_dataset"].parse().unwrap() };
        (
            self.sources.iter().map(bytes).sum(),
            self.sources.iter().map(Server::keys).sum(),
        )
    }

    /// Whether every input is live and has applied what its source had written then; `Err` is what it says instead.
    pub fn has_applied(&self, offsets: &[u64]) -> Result<(), String> {
        let answer = self.gunyu.request("GET", "/syncer/status");
        let answer = answer.map_err(|error| error.to_string())?;
        let status: Value = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
        let inputs = status.as_array().ok_or("no inputs")?;
        for (name, offset) in self.inputs.iter().zip(offsets) {
            let input = inputs.iter().find(|input| input["Input"] == name.as_str());
            let input = input.ok_or_else(|| format!("no input {name}: {status}"))?;
            let applied = input["Offset"]["Applied"].as_u64();
            if input["Phase"] != "incremental" || applied.is_none_or(|at| at < *offset) {
                return Err(format!("{offset} of {name} is to be applied: {input}"));
            }
        }
        Ok(())
    }
}

fn begin(source: &str, target: &str) -> Gunyu {
    let mut args = vec![
        "sync".to_owned(),
        format!("--source={source}"),
        format!("--target={target}"),
    ];
    args.extend(SMALL.iter().map(|pair| format!("--set={pair}")));
    Gunyu::with_args(args, &[SILENCE])
}
