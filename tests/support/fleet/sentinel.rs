//! A master with replicas and sentinels that watch it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::client::{Client, Plain};
use super::{LONG, Shape};
use crate::support::port::Port;
use crate::support::process::{Process, text_from};
use crate::support::server::{Binary, Server, connect};
use crate::support::{SOON, wait_for};

/// The name under which all sentinels watch.
pub const NAME: &str = "mine";

/// A sentinel that belongs to one test.
#[derive(Debug)]
pub struct Sentinel {
    process: Process,
    binary: Binary,
    port: Port,
    dir: TempDir,
}

impl Sentinel {
    /// Watches `master`; `quorum` sentinels must agree that it is down.
    pub fn start(master: &Server, quorum: usize) -> Sentinel {
        let (port, dir) = (Port::free(), tempfile::tempdir().unwrap());
        let text = format!(
            "port {}\nbind 127.0.0.1\nsentinel monitor {NAME} 127.0.0.1 {} {quorum}\n\
             sentinel down-after-milliseconds {NAME} 1000\nsentinel failover-timeout {NAME} 6000\n",
            port.number(),
            master.port(),
        );
        std::fs::write(dir.path().join("sentinel.conf"), text).unwrap();
        let binary = master.binary().clone();
        let process = launch(&binary, dir.path());
        Sentinel {
            process,
            binary,
            port,
            dir,
        }
    }

    /// `127.0.0.1:port`.
    pub fn addr(&self) -> String {
        self.port.addr().to_string()
    }

    /// Asks it something.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub fn ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> redis::RedisResult<T> {
        let mut conn = connect(&format!("redis://{}", self.addr()))?;
        let mut asked = redis::cmd(command[0]);
        asked.arg(&command[1..]);
        asked.query(&mut conn)
    }

    /// `host:port` of the master that it names, if it answers.
    pub fn master(&self) -> Option<String> {
        let place: Vec<String> = self.ask(&["SENTINEL", "get-master-addr-by-name", NAME]).ok()?;
        Some(place.join(":"))
    }

    /// Kills it as a crash would.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Starts it again, with what it has written down.
    pub fn restart(&mut self) {
        self.process.kill9();
        self.process = launch(&self.binary, self.dir.path());
    }
}

fn launch(binary: &Binary, dir: &Path) -> Process {
    let log = dir.join("log");
    let from = std::fs::metadata(&log).map_or(0, |meta| meta.len());
    let mut command = Command::new(&binary.path);
    command.arg(dir.join("sentinel.conf")).arg("--sentinel");
    let mut process = Process::start(command, &log, &log);
    wait_for(SOON, "the sentinel is ready", || {
        let said = text_from(&log, from);
        assert!(process.ended().is_none(), "{said}");
        match said.contains("+monitor") {
            true => Ok(()),
            false => Err(said),
        }
    });
    process
}

/// A master with replicas and sentinels, all of which know each other.
#[derive(Debug)]
pub struct Watched {
    /// The master of the beginning, then its replicas.
    pub servers: Vec<Server>,
    /// Who watches them.
    pub sentinels: Vec<Sentinel>,
    down: BTreeSet<usize>,
}

impl Watched {
    /// So many replicas and sentinels of the installed version.
    pub fn start(replicas: usize, sentinels: usize) -> Watched {
        Watched::of(&Binary::installed(), replicas, sentinels)
    }

    /// The same of a given program.
    pub fn of(binary: &Binary, replicas: usize, sentinels: usize) -> Watched {
        let servers: Vec<Server> = (0..=replicas)
            .map(|_| Server::of(binary, &["--repl-backlog-size", "16mb"]))
            .collect();
        for replica in &servers[1..] {
            replica.follow(&servers[0]);
            replica.wait_caught_up(&servers[0], SOON);
        }
        let quorum = sentinels / 2 + 1;
        let sentinels = (0..sentinels)
            .map(|_| Sentinel::start(&servers[0], quorum))
            .collect();
        let watched = Watched {
            servers,
            sentinels,
            down: BTreeSet::new(),
        };
        watched.wait_settled();
        watched
    }

    /// The place of the master that the sentinels name.
    pub fn master_at(&self) -> usize {
        let named = self
            .sentinels
            .iter()
            .find_map(Sentinel::master)
            .expect("a sentinel answers");
        let place = self.servers.iter().position(|server| server.addr() == named);
        place.unwrap_or_else(|| panic!("{named} is none of ours"))
    }

    /// Waits until all sentinels name the same master and know its replicas and each other, and all replicas follow it.
    #[track_caller]
    pub fn wait_settled(&self) {
        wait_for(LONG, "master, replicas and sentinels know each other", || {
            let named: BTreeSet<Option<String>> = self.sentinels.iter().map(Sentinel::master).collect();
            if named.len() != 1 {
                return Err(format!("{named:?}"));
            }
            let master = self.master_at();
            self.is_followed(master)?;
            self.sentinels
                .iter()
                .try_for_each(|sentinel| self.knows_all(sentinel))
        });
    }

    fn is_followed(&self, master: usize) -> Result<(), String> {
        let port = self.servers[master].port().to_string();
        for (place, server) in self.servers.iter().enumerate() {
            if self.down.contains(&place) {
                continue;
            }
            let info = server
                .try_info("replication")
                .map_err(|error| error.to_string())?;
            let well = match place == master {
                true => info["role"] == "master",
                false => {
                    info.get("master_port") == Some(&port)
                        && info.get("master_link_status").is_some_and(|link| link == "up")
                }
            };
            if !well {
                return Err(format!("server {place}: {info:?}"));
            }
        }
        Ok(())
    }

    fn knows_all(&self, sentinel: &Sentinel) -> Result<(), String> {
        let facts: BTreeMap<String, String> = sentinel
            .ask(&["SENTINEL", "master", NAME])
            .map_err(|e| e.to_string())?;
        let replicas: Vec<BTreeMap<String, String>> = sentinel
            .ask(&["SENTINEL", "slaves", NAME])
            .map_err(|e| e.to_string())?;
        let others = self.sentinels.len() - 1;
        let well = |replica: &&BTreeMap<String, String>| replica["flags"] == "slave";
        let all = facts["flags"] == "master"
            && facts["num-other-sentinels"] == others.to_string()
            && replicas.iter().filter(well).count() >= self.servers.len() - self.down.len() - 1;
        all.then_some(()).ok_or_else(|| format!("{facts:?} {replicas:?}"))
    }

    /// Has the sentinels put a replica in the master's place (`SENTINEL FAILOVER`). The new master's place.
    #[track_caller]
    pub fn fail_over(&mut self) -> usize {
        let old = self.master_at();
        wait_for(LONG, "the sentinels begin a failover", || {
            // They refuse while the last one is not over, or where they know no good replica yet.
            let asked: redis::RedisResult<()> = self.sentinels[0].ask(&["SENTINEL", "failover", NAME]);
            asked.map_err(|error| error.to_string())
        });
        let new = self.wait_switched(old);
        self.wait_settled();
        new
    }

    /// Kills the master as a crash would, and waits until the sentinels have put a replica in its place; then it comes
    /// back, empty, as a replica. The new master's place.
    #[track_caller]
    pub fn crash_and_revive(&mut self) -> usize {
        let old = self.master_at();
        self.servers[old].kill9();
        self.down.insert(old);
        let new = self.wait_switched(old);
        self.servers[old].restart();
        self.servers[old].follow(&self.servers[new]);
        self.down.remove(&old);
        self.wait_settled();
        new
    }

    #[track_caller]
    fn wait_switched(&self, old: usize) -> usize {
        let old = self.servers[old].addr();
        wait_for(LONG, "another master is elected", || {
            let named: Vec<Option<String>> = self.sentinels.iter().map(Sentinel::master).collect();
            match named.iter().flatten().any(|place| *place == old) {
                true => Err(format!("{named:?}")),
                false => Ok(()),
            }
        });
        self.master_at()
    }
}

impl Shape for Watched {
    fn url(&self) -> String {
        let sentinels: Vec<String> = self.sentinels.iter().map(Sentinel::addr).collect();
        format!("redis+sentinel://{}/{NAME}", sentinels.join(","))
    }

    fn masters(&self) -> Vec<&Server> {
        vec![&self.servers[self.master_at()]]
    }

    fn client(&self) -> Box<dyn Client> {
        let sentinels = self.sentinels.iter().map(Sentinel::addr).collect();
        Box::new(Plain::named(sentinels, NAME))
    }
}
