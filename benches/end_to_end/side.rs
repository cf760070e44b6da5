//! A source or a target: one server, or a cluster of three masters.

use std::time::Duration;

use crate::support::gunyu::Gunyu;
use crate::support::server::Server;
use crate::support::{Cluster, wait_until};

/// How long the nodes of a target's cluster let each other be silent: what stands still for half a minute is not to be taken for lost when it goes on, or the
/// cluster's own way back would be measured.
const NODE_TIMEOUT_MS: &str = "120000";

/// A source keeps what its replicas have not read yet, and gives nobody up.
const PATIENT: [&str; 4] = [
    "--repl-backlog-size",
    "256mb",
    "--client-output-buffer-limit",
    "replica 0 0 0",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    One,
    Cluster,
}

/// From what to what, in the order of the table, and what is added to a row's name; only the first where the arguments say `one-to-one`.
pub fn ways() -> &'static [(Shape, Shape, &'static str)] {
    match std::env::args().any(|arg| arg == "one-to-one") {
        true => &WAYS[..1],
        false => &WAYS,
    }
}

const WAYS: [(Shape, Shape, &str); 3] = [
    (Shape::One, Shape::One, ""),
    (Shape::One, Shape::Cluster, ", one server to a cluster"),
    (Shape::Cluster, Shape::Cluster, ", cluster to cluster"),
];

#[derive(Debug)]
pub enum Side {
    One(Box<Server>),
    Cluster(Cluster),
}

impl Side {
    pub fn source(shape: Shape) -> Side {
        let side = match shape {
            Shape::One => Side::One(Box::new(Server::with(&PATIENT))),
            Shape::Cluster => Side::target(shape),
        };
        for server in side.servers() {
            let () = server.run(&["CONFIG", "SET", "repl-backlog-size", "256mb"]);
            let () = server.run(&["CONFIG", "SET", "client-output-buffer-limit", "replica 0 0 0"]);
        }
        side
    }

    pub fn target(shape: Shape) -> Side {
        match shape {
            Shape::One => Side::One(Box::new(Server::start())),
            Shape::Cluster => {
                let cluster = Cluster::start(3);
                for master in &cluster.masters {
                    let () = master.run(&["CONFIG", "SET", "cluster-node-timeout", NODE_TIMEOUT_MS]);
                }
                Side::Cluster(cluster)
            }
        }
    }

    pub fn url(&self) -> String {
        match self {
            Side::One(server) => server.url(),
            Side::Cluster(cluster) => cluster.url(),
        }
    }

    pub fn servers(&self) -> Vec<&Server> {
        match self {
            Side::One(server) => vec![server],
            Side::Cluster(cluster) => cluster.masters.iter().collect(),
        }
    }

    /// Sends all of its servers a signal.
    pub fn signal(&mut self, signal: i32) {
        match self {
            Side::One(server) => signal_all(std::slice::from_mut(server.as_mut()), signal),
            Side::Cluster(cluster) => signal_all(&mut cluster.masters, signal),
        }
    }

    pub fn keys(&self) -> u64 {
        self.servers().iter().map(|server| server.keys()).sum()
    }
}

/// What servers have read from clients.
pub fn received(servers: &[&Server]) -> u64 {
    let of = |server: &&Server| -> u64 { server.info("stats")["total_net_input_bytes"].parse().unwrap() };
    servers.iter().map(of).sum()
}

/// Sends them a signal.
fn signal_all(servers: &mut [Server], signal: i32) {
    for server in servers {
        match signal {
            libc::SIGSTOP => server.sigstop(),
            _ => server.sigcont(),
        }
    }
}

/// A native replica of each server of a source.
pub struct Replicas(Vec<Server>);

impl Replicas {
    /// As soon as they follow.
    pub fn of(source: &Side) -> Replicas {
        let replicas = Replicas(source.servers().iter().map(|_| Server::start()).collect());
        replicas.follow(source);
        replicas.wait(source, crate::LONG);
        replicas
    }

    /// Empty servers that follow nobody yet.
    pub fn idle(source: &Side) -> Replicas {
        Replicas(source.servers().iter().map(|_| Server::start()).collect())
    }

    pub fn follow(&self, source: &Side) {
        for (replica, server) in self.0.iter().zip(source.servers()) {
            replica.follow(server);
        }
    }

    pub fn servers(&self) -> Vec<&Server> {
        self.0.iter().collect()
    }

    /// Sends all of them a signal.
    pub fn signal(&mut self, signal: i32) {
        signal_all(&mut self.0, signal);
    }

    /// Until they have everything that the source has written so far.
    pub fn wait(&self, source: &Side, limit: Duration) {
        for (replica, server) in self.0.iter().zip(source.servers()) {
            let end = server.offset();
            wait_until(limit, "the replica has caught up", || {
                let info = replica.info("replication");
                let is_up = info
                    .get("master_link_status")
                    .is_some_and(|status| status == "up");
                let at = info.get("slave_repl_offset").and_then(|text| text.parse().ok());
                is_up && at.is_some_and(|at: u64| at >= end)
            });
        }
    }
}

/// Waits until gunyu has applied everything that each of the source's servers has written so far.
pub fn wait_applied(gunyu: &mut Gunyu, source: &Side) {
    let ends: Vec<(String, u64)> = source
        .servers()
        .iter()
        .map(|server| (server.addr(), server.offset()))
        .collect();
    gunyu.wait_status(crate::LONG, "everything is applied", |status| {
        let inputs = status.as_array().map_or(&[][..], Vec::as_slice);
        ends.iter().all(|(addr, end)| {
            let input = inputs.iter().find(|input| input["Input"] == addr.as_str());
            input.is_some_and(|input| input["Offset"]["Applied"].as_u64() >= Some(*end))
        })
    });
}
