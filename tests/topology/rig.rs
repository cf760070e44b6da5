//! A cluster with replicas, and a master with replicas and sentinels.

// As in tests/support: what fails here fails the test, and not every test uses all of it.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::process::{Process, text_from};
use crate::support::server::connect;
use crate::support::{Binary, Gunyu, SOON, Server, ask_until, equal_key_by_key, wait_for, wait_until};

/// A failover takes the node timeout, an election, and whatever a busy machine adds.
pub const LONG: Duration = Duration::from_secs(90);

const SLOTS: usize = 16_384;

const NODE: [&str; 12] = [
    "--cluster-enabled",
    "yes",
    "--cluster-node-timeout",
    "2000",
    "--cluster-replica-validity-factor",
    "0",
    "--cluster-allow-replica-migration",
    "no",
    "--repl-backlog-size",
    "16mb",
    "--repl-ping-replica-period",
    "1",
];

/// A cluster; the masters first, then a replica of each, then a second one.
pub struct Rig {
    pub nodes: Vec<Server>,
}

impl Rig {
    /// So many masters, and so many replicas of each.
    pub fn start(masters: usize, replicas: usize) -> Rig {
        Rig::of(&Binary::installed(), masters, replicas)
    }

    /// The same of a given program.
    pub fn of(binary: &Binary, masters: usize, replicas: usize) -> Rig {
        let nodes: Vec<Server> = (0..masters * (1 + replicas))
            .map(|_| Server::of(binary, &NODE))
            .collect();
        let rig = Rig { nodes };
        for number in 0..masters {
            let share = |number: usize| number * SLOTS / masters;
            let slots: Vec<String> = (share(number)..share(number + 1))
                .map(|slot| slot.to_string())
                .collect();
            let command = ["CLUSTER", "ADDSLOTS"]
                .into_iter()
                .chain(slots.iter().map(String::as_str));
            let () = rig.nodes[number].run(&command.collect::<Vec<_>>());
        }
        for (number, node) in rig.nodes.iter().enumerate() {
            let () = node.run(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
        }
        for other in &rig.nodes[1..] {
            rig.meet(other);
        }
        for number in masters..rig.nodes.len() {
            rig.replicate(number, number % masters);
        }
        rig.wait_settled();
        rig
    }

    fn meet(&self, node: &Server) {
        let () = self.nodes[0].run(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string()]);
    }

    fn replicate(&self, replica: usize, master: usize) {
        let id = self.id(master);
        wait_for(LONG, "the replica knows its master", || {
            let mut conn = self.nodes[replica].conn();
            let asked = redis::cmd("CLUSTER")
                .arg("REPLICATE")
                .arg(&id)
                .query::<()>(&mut conn);
            asked.map_err(|error| error.to_string())
        });
    }

    /// A node more, empty.
    pub fn add(&mut self) -> usize {
        let node = Server::with(&NODE);
        self.meet(&node);
        self.nodes.push(node);
        self.wait_settled();
        self.nodes.len() - 1
    }

    pub fn id(&self, node: usize) -> String {
        self.nodes[node].run(&["CLUSTER", "MYID"])
    }

    /// Nodes that answer.
    fn alive(&self) -> Vec<&Server> {
        self.nodes
            .iter()
            .filter(|node| connect(&node.url()).is_ok())
            .collect()
    }

    /// Waits until all that are alive agree on who there is, and all replicas are linked.
    pub fn wait_settled(&self) {
        wait_for(LONG, "the cluster has settled", || {
            let mut views = Vec::new();
            for node in self.alive() {
                let text: String = node.run(&["CLUSTER", "NODES"]);
                let info = node.info("replication");
                let state: String = node.run(&["CLUSTER", "INFO"]);
                if text.contains("handshake")
                    || !state.contains("cluster_state:ok")
                    || info.get("master_link_status").is_some_and(|link| link != "up")
                {
                    return Err(text);
                }
                views.push(served(&text));
            }
            match views.windows(2).all(|two| two[0] == two[1]) {
                true => Ok(()),
                false => Err(format!("{views:?}")),
            }
        });
    }

    pub fn url(&self) -> String {
        let seeds: Vec<String> = self.nodes.iter().map(Server::addr).collect();
        format!("redis+cluster://{}", seeds.join(","))
    }

    /// Writes a few keys of each type whose names begin with `name`, some in every shard.
    pub fn write(&self, name: &str) {
        let mut conns: Vec<redis::Connection> = self.alive().iter().map(|node| node.conn()).collect();
        for number in 0..60 {
            let key = format!("{name}:{number}");
            for command in [
                vec!["SET".to_owned(), format!("{key}:s"), name.to_owned()],
                vec!["INCR".to_owned(), format!("counter:{number}")],
                vec!["RPUSH".to_owned(), format!("list:{number}"), key.clone()],
                vec![
                    "SET".to_owned(),
                    format!("{key}:t"),
                    "x".to_owned(),
                    "EX".to_owned(),
                    "5000".to_owned(),
                ],
            ] {
                let mut asked = redis::cmd(&command[0]);
                asked.arg(&command[1..]);
                let done = conns
                    .iter_mut()
                    .filter_map(|conn| asked.query::<redis::Value>(conn).ok())
                    .count();
                assert_eq!(done, 1, "{command:?}");
            }
        }
    }

    /// The masters that serve slots, as the nodes that are alive say.
    pub fn masters(&self) -> Vec<&Server> {
        let alive = self.alive();
        let is_master = |node: &&&Server| {
            let text: String = node.run(&["CLUSTER", "NODES"]);
            let own = text
                .lines()
                .find(|line| line.contains("myself"))
                .unwrap_or_default()
                .to_owned();
            own.contains("master") && own.split_ascii_whitespace().count() > 8
        };
        alive.iter().filter(is_master).copied().collect()
    }

    /// Whether that node is a master that serves slots.
    pub fn is_master(&self, node: usize) -> bool {
        let addr = self.nodes[node].addr();
        self.masters().iter().any(|master| master.addr() == addr)
    }

    /// All keys of the cluster on one server.
    pub fn together(&self) -> Server {
        let reference = Server::of(self.nodes[0].binary(), &[]);
        let mut to = reference.conn();
        for master in self.masters() {
            let mut from = master.conn();
            let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query(&mut from).unwrap();
            for key in keys {
                let at: i64 = redis::cmd("PEXPIRETIME").arg(&key).query(&mut from).unwrap();
                let Ok(payload) = redis::cmd("DUMP").arg(&key).query::<Vec<u8>>(&mut from) else {
                    continue;
                };
                let mut restore = redis::cmd("RESTORE");
                restore.arg(&key).arg(at.max(0)).arg(payload).arg("ABSTTL");
                restore.query::<()>(&mut to).unwrap();
            }
        }
        reference
    }

    /// Waits until the target holds what the cluster holds.
    #[track_caller]
    pub fn wait_copied(&self, target: &Server) {
        let reference = self.together();
        assert!(reference.keys() > 0);
        wait_for(LONG, "the target holds what the cluster holds", || {
            equal_key_by_key(&reference, target).map_err(|differences| differences.to_string())
        });
    }

    /// Makes a replica the master of its shard, in agreement with the master.
    pub fn fail_over_to(&self, replica: usize) {
        let node = &self.nodes[replica];
        let ask = || redis::cmd("CLUSTER").arg("FAILOVER").exec(&mut node.conn());
        ask_until(LONG, "the replica has taken over", ask, || {
            node.info("replication")["role"] == "master"
        });
        self.wait_master(replica);
    }

    /// Waits until that node serves slots, and everybody knows.
    pub fn wait_master(&self, node: usize) {
        let addr = self.nodes[node].addr();
        wait_until(LONG, "the node is a master", || {
            self.masters().iter().any(|master| master.addr() == addr)
        });
        self.wait_settled();
    }

    /// Waits until that replica has all that its master has.
    pub fn wait_replica(&self, replica: usize, master: usize) {
        self.nodes[replica].wait_caught_up(&self.nodes[master], LONG);
    }

    /// Moves all slots of one master to another, key by key, as `redis-cli --cluster reshard` does.
    pub fn move_slots(&self, from: usize, to: usize, slots: &[usize]) {
        let (from_id, to_id) = (self.id(from), self.id(to));
        let port = self.nodes[to].port().to_string();
        for slot in slots.iter().map(usize::to_string) {
            let () = self.nodes[to].run(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
            let () = self.nodes[from].run(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
            loop {
                let keys: Vec<String> = self.nodes[from].run(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
                if keys.is_empty() {
                    break;
                }
                let mut command = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
                command.extend(keys.iter().map(String::as_str));
                let () = self.nodes[from].run(&command);
            }
            for node in [to, from] {
                let () = self.nodes[node].run(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
            }
        }
        self.wait_settled();
    }

    /// Slots of a node that hold nothing.
    pub fn empty_slots(&self, node: usize, slots: std::ops::Range<usize>) -> Vec<usize> {
        let mut conn = self.nodes[node].conn();
        let mut count = |slot: &usize| -> u64 {
            redis::cmd("CLUSTER")
                .arg("COUNTKEYSINSLOT")
                .arg(*slot)
                .query(&mut conn)
                .unwrap()
        };
        slots.filter(|slot| count(slot) == 0).collect()
    }

    /// Whether a node serves a slot.
    pub fn serves(&self, node: usize, slot: usize) -> bool {
        let ranges: Vec<(usize, usize, redis::Value)> = self.ranges(node);
        let port = i64::from(self.nodes[node].port());
        ranges.iter().any(|(first, last, master)| {
            let redis::Value::Array(master) = master else {
                return false;
            };
            (*first..=*last).contains(&slot) && master[1] == redis::Value::Int(port)
        })
    }

    fn ranges(&self, node: usize) -> Vec<(usize, usize, redis::Value)> {
        let answer: Vec<Vec<redis::Value>> = self.nodes[node].run(&["CLUSTER", "SLOTS"]);
        let number = |value: &redis::Value| redis::from_redis_value::<usize>(value.clone()).unwrap();
        answer
            .iter()
            .map(|range| (number(&range[0]), number(&range[1]), range[2].clone()))
            .collect()
    }

    /// Deletes every key of a node.
    pub fn delete_all(&self, node: usize) {
        let keys: Vec<String> = self.nodes[node].run(&["KEYS", "*"]);
        for key in keys {
            let () = self.nodes[node].run(&["DEL", &key]);
        }
    }

    /// Takes nodes out, as `redis-cli --cluster del-node` does.
    pub fn forget(&self, gone: &[usize]) {
        let ids: Vec<String> = gone.iter().map(|node| self.id(*node)).collect();
        for (number, node) in self.nodes.iter().enumerate() {
            if !gone.contains(&number) && connect(&node.url()).is_ok() {
                for id in &ids {
                    let () = node.run(&["CLUSTER", "FORGET", id]);
                }
            }
        }
    }
}

/// Who is there and serves what, without what changes all the time.
fn served(nodes: &str) -> BTreeMap<String, (String, Vec<String>)> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let flags = words[2].replace("myself,", "");
        let slots = words[8..].iter().filter(|word| !word.starts_with('['));
        (
            words[0].to_owned(),
            (
                format!("{flags} {}", words[3]),
                slots.map(ToString::to_string).collect(),
            ),
        )
    };
    nodes.lines().map(line).collect()
}

/// The addresses that gunyu follows, in order.
pub fn inputs(status: &Value) -> Vec<String> {
    let inputs = status.as_array().map_or(&[][..], Vec::as_slice);
    let mut inputs: Vec<String> = inputs
        .iter()
        .map(|one| one["Input"].as_str().unwrap().to_owned())
        .collect();
    inputs.sort_unstable();
    inputs
}

/// Waits until gunyu follows just these nodes, and all are live.
#[track_caller]
pub fn wait_followed(gunyu: &mut Gunyu, nodes: &[&Server]) {
    let mut expected: Vec<String> = nodes.iter().map(|node| node.addr()).collect();
    expected.sort_unstable();
    gunyu.wait_status(LONG, &format!("{expected:?} are followed"), |status| {
        let all = status.as_array().map_or(&[][..], Vec::as_slice);
        inputs(status) == expected && all.iter().all(|one| one["Phase"] == "incremental")
    });
}

/// Full syncs of all inputs since the process began.
pub fn full_syncs(gunyu: &Gunyu) -> f64 {
    sum(gunyu, "gunyu_full_sync_total{")
}

/// All samples of a metric together.
pub fn sum(gunyu: &Gunyu, name: &str) -> f64 {
    let text = gunyu.metrics();
    let samples = text.lines().filter(|line| line.starts_with(name));
    samples
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// Names of the logs' folders.
pub fn folders(gunyu: &Gunyu) -> Vec<String> {
    let entries = std::fs::read_dir(gunyu.state_dir()).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("shard-"))
        .collect();
    names.sort_unstable();
    names
}

/// A sentinel that belongs to one test.
pub struct Sentinel {
    program: PathBuf,
    process: Process,
    port: crate::support::port::Port,
    dir: tempfile::TempDir,
}

impl Sentinel {
    /// Watches `master` under the name `mine`; `quorum` sentinels must agree that it is down.
    pub fn start(master: &Server, quorum: usize) -> Sentinel {
        Sentinel::of(&Binary::installed(), master, quorum)
    }

    /// The same of a given program.
    pub fn of(binary: &Binary, master: &Server, quorum: usize) -> Sentinel {
        Sentinel::configured(binary, master, quorum, "")
    }

    /// One that wants a password, of a master that wants another.
    pub fn guarded(master: &Server, its: &str, own: &str) -> Sentinel {
        let more = format!("sentinel auth-pass mine {its}\nrequirepass {own}\n");
        Sentinel::configured(&Binary::installed(), master, 1, &more)
    }

    /// One that may only PING `server` and read its INFO: it hears of no other sentinel, and of no failover.
    pub fn deaf(server: &Server) -> Sentinel {
        let () = server.run(&["ACL", "SETUSER", "deaf", "on", ">deaf", "+ping", "+info"]);
        let more = "sentinel auth-user mine deaf\nsentinel auth-pass mine deaf\n";
        Sentinel::configured(&Binary::installed(), server, 3, more)
    }

    fn configured(binary: &Binary, master: &Server, quorum: usize, more: &str) -> Sentinel {
        let (port, dir) = (crate::support::port::Port::free(), tempfile::tempdir().unwrap());
        let text = format!(
            "port {}\nbind 127.0.0.1\nsentinel monitor mine 127.0.0.1 {} {quorum}\nsentinel down-after-milliseconds mine 1000\n\
             sentinel failover-timeout mine 6000\n{more}",
            port.number(),
            master.port(),
        );
        let file = dir.path().join("sentinel.conf");
        std::fs::write(&file, text).unwrap();
        let process = launch(&binary.path, &file, &dir.path().join("log"));
        Sentinel {
            program: binary.path.clone(),
            process,
            port,
            dir,
        }
    }

    pub fn addr(&self) -> String {
        self.port.addr().to_string()
    }

    pub fn ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> redis::RedisResult<T> {
        let mut conn = connect(&format!("redis://{}", self.addr()))?;
        let mut asked = redis::cmd(command[0]);
        asked.arg(&command[1..]);
        asked.query(&mut conn)
    }

    /// `host:port` of the master.
    pub fn master(&self) -> String {
        let place: Vec<String> = self
            .ask(&["SENTINEL", "get-master-addr-by-name", "mine"])
            .unwrap();
        place.join(":")
    }

    /// Has it promote a replica, and waits until it names that; asked again while it takes none for good, as on a busy machine.
    #[track_caller]
    pub fn fail_over(&self) {
        let (old, ask) = (self.master(), || self.ask(&["SENTINEL", "FAILOVER", "mine"]));
        ask_until(LONG, "a replica is promoted", ask, || self.master() != old);
    }

    /// What it knows of the replicas, one map each.
    pub fn replicas(&self) -> Vec<BTreeMap<String, String>> {
        self.ask(&["SENTINEL", "slaves", "mine"]).unwrap()
    }

    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    pub fn signal(&mut self, signal: i32) {
        self.process.signal(signal);
    }

    /// Starts it again, with what it has written down.
    pub fn restart(&mut self) {
        self.process.kill9();
        self.process = launch(&self.program, &self.config(), &self.dir.path().join("log"));
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("sentinel.conf")
    }
}

fn launch(program: &Path, file: &Path, log: &Path) -> Process {
    let from = std::fs::metadata(log).map_or(0, |meta| meta.len());
    let mut command = Command::new(program);
    command.arg(file).arg("--sentinel");
    let mut process = Process::start(command, log, log);
    wait_for(SOON, "the sentinel is ready", || {
        let said = text_from(log, from);
        assert!(process.ended().is_none(), "{said}");
        match said.contains("+monitor") {
            true => Ok(()),
            false => Err(said),
        }
    });
    process
}

/// A master with replicas and sentinels, all of which know each other.
pub struct Watched {
    pub servers: Vec<Server>,
    pub sentinels: Vec<Sentinel>,
}

impl Watched {
    /// So many replicas and sentinels.
    pub fn start(replicas: usize, sentinels: usize) -> Watched {
        let servers: Vec<Server> = (0..=replicas)
            .map(|_| Server::with(&["--repl-backlog-size", "16mb"]))
            .collect();
        for replica in &servers[1..] {
            replica.follow(&servers[0]);
            replica.wait_caught_up(&servers[0], SOON);
        }
        let quorum = sentinels / 2 + 1;
        let sentinels: Vec<Sentinel> = (0..sentinels)
            .map(|_| Sentinel::start(&servers[0], quorum))
            .collect();
        let watched = Watched { servers, sentinels };
        watched.wait_known();
        watched
    }

    /// Waits until every sentinel knows the replicas and the other sentinels.
    fn wait_known(&self) {
        for sentinel in &self.sentinels {
            wait_for(LONG, "the sentinels know each other", || {
                let facts: BTreeMap<String, String> = sentinel.ask(&["SENTINEL", "master", "mine"]).unwrap();
                let well = |replica: &BTreeMap<String, String>| replica["flags"] == "slave";
                let all = facts["num-other-sentinels"] == (self.sentinels.len() - 1).to_string()
                    && facts["num-slaves"] == (self.servers.len() - 1).to_string()
                    && sentinel.replicas().iter().all(well);
                all.then_some(()).ok_or_else(|| format!("{facts:?}"))
            });
        }
    }

    pub fn url(&self) -> String {
        let sentinels: Vec<String> = self.sentinels.iter().map(Sentinel::addr).collect();
        format!("redis+sentinel://{}/mine", sentinels.join(","))
    }

    /// The master that the first sentinel names.
    pub fn master(&self) -> &Server {
        let addr = self.sentinels[0].master();
        self.servers.iter().find(|server| server.addr() == addr).unwrap()
    }

    /// Waits until every sentinel takes all the other servers for good replicas.
    pub fn wait_linked(&self) {
        for sentinel in &self.sentinels {
            wait_for(LONG, "the replicas may be promoted", || {
                let replicas = sentinel.replicas();
                let well = |one: &&BTreeMap<String, String>| {
                    one["flags"] == "slave" && one["master-link-status"] == "ok" && one["port"] != "0"
                };
                let enough = replicas.iter().filter(well).count() == self.servers.len() - 1;
                enough.then_some(()).ok_or_else(|| format!("{replicas:?}"))
            });
        }
    }

    /// Waits until all sentinels that answer name another master than `old`; which.
    pub fn wait_switched(&self, old: &str) -> &Server {
        let new = wait_for(LONG, "another master is elected", || {
            let named = |sentinel: &Sentinel| {
                sentinel
                    .ask::<Vec<String>>(&["SENTINEL", "get-master-addr-by-name", "mine"])
                    .ok()
            };
            let named: Vec<String> = self
                .sentinels
                .iter()
                .filter_map(named)
                .map(|place| place.join(":"))
                .collect();
            let first = named[0].clone();
            let agreed = named.iter().all(|one| *one == first) && first != old;
            agreed.then_some(first).ok_or_else(|| format!("{named:?}"))
        });
        self.servers.iter().find(|server| server.addr() == new).unwrap()
    }
}
