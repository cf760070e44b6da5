//! A source or a target: one server, or a cluster of three masters.

use std::time::Duration;

use crate::support::gunyu::Gunyu;
use crate::support::server::Server;
use crate::support::{Cluster, wait_until};

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
            Shape::Cluster => Side::Cluster(Cluster::start(3)),
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
        let servers = match self {
            Side::One(server) => std::slice::from_mut(server.as_mut()),
            Side::Cluster(cluster) => &mut cluster.masters,
        };
        for server in servers {
            match signal {
                libc::SIGSTOP => server.sigstop(),
                _ => server.sigcont(),
            }
        }
    }

    /// Bytes of all streams together.
    pub fn offset(&self) -> u64 {
        self.servers().iter().map(|server| server.offset()).sum()
    }

    pub fn keys(&self) -> u64 {
        self.servers().iter().map(|server| server.keys()).sum()
    }

    /// What the servers have read from clients.
    pub fn received_bytes(&self) -> u64 {
        let of = |server: &&Server| -> u64 { server.info("stats")["total_net_input_bytes"].parse().unwrap() };
        self.servers().iter().map(of).sum()
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

    pub fn servers(&mut self) -> &mut [Server] {
        &mut self.0
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
