//! A source or a target behind gates: one server, or a cluster whose nodes announce their gates, so that whoever follows
//! the cluster goes through these.

use super::gate::{Gate, Roster};
use super::world::World;
use crate::support::fleet::{Fleet, LONG, Shape};
use crate::support::server::Server;
use crate::support::wait_for;

/// The servers themselves.
#[derive(Debug)]
pub enum Nodes {
    /// One.
    One(Server),
    /// A cluster.
    Many(Fleet),
    /// A master, of whom nobody is told, and its replica, which all are told of.
    Behind {
        /// Writers write here.
        master: Server,
        /// It has a gate.
        replica: Box<Server>,
    },
}

impl Nodes {
    /// Those that have gates.
    fn servers(&self) -> Vec<&Server> {
        match self {
            Nodes::One(server) => vec![server],
            Nodes::Behind { replica, .. } => vec![replica],
            Nodes::Many(fleet) => fleet.nodes.iter().collect(),
        }
    }
}

/// Servers, and a gate before each.
#[derive(Debug)]
pub struct Side {
    /// First, so that connections end before servers do.
    gates: Vec<Gate>,
    /// What is behind.
    pub nodes: Nodes,
    shards: usize,
    /// How many of them have left.
    left: usize,
}

impl Side {
    /// Puts gates before these.
    pub fn behind_gates(nodes: Nodes, members: usize, world: &World, roster: &Roster) -> Side {
        let servers = nodes.servers();
        let gates: Vec<Gate> = servers
            .iter()
            .map(|server| Gate::to(server.port(), members, world, roster))
            .collect();
        let shards = match &nodes {
            Nodes::Many(fleet) => {
                announce(&servers, &gates);
                fleet.masters_at().len()
            }
            _ => 1,
        };
        Side {
            gates,
            nodes,
            shards,
            left: 0,
        }
    }

    /// For what compares and writes.
    pub fn shape(&self) -> &dyn Shape {
        match &self.nodes {
            Nodes::One(server) | Nodes::Behind { master: server, .. } => server,
            Nodes::Many(fleet) => fleet,
        }
    }

    /// How many shards it had at the beginning.
    pub fn shards(&self) -> usize {
        self.shards
    }

    /// How many have not left.
    pub fn shards_left(&self) -> usize {
        self.shards - self.left
    }

    /// Takes the shard of this master out of the cluster, as [`Fleet::remove_shard`] does.
    #[track_caller]
    pub fn remove_shard(&mut self, master: usize, drained: &mut dyn FnMut(&[String])) {
        self.fleet().remove_shard(master, drained);
        self.left += 1;
    }

    /// The cluster that it is.
    #[track_caller]
    pub fn fleet(&mut self) -> &mut Fleet {
        match &mut self.nodes {
            Nodes::Many(fleet) => fleet,
            other => panic!("no cluster: {other:?}"),
        }
    }

    /// The servers, in the order of the gates.
    pub fn servers(&self) -> Vec<&Server> {
        self.nodes.servers()
    }

    /// The gates.
    pub fn gates(&self) -> &[Gate] {
        &self.gates
    }

    /// Whether it is a cluster.
    pub fn is_cluster(&self) -> bool {
        matches!(self.nodes, Nodes::Many(_))
    }

    /// `host:port` of every gate.
    pub fn addresses(&self) -> Vec<String> {
        self.gates.iter().map(|gate| gate.addr().to_string()).collect()
    }

    /// As `input.redis` or `output.redis` has it.
    pub fn yaml(&self) -> String {
        let kind = if self.is_cluster() {
            "cluster"
        } else {
            "standalone"
        };
        format!("{{type: {kind}, addresses: [{}]}}", self.addresses().join(", "))
    }

    /// The sum over all servers that have not left of a field of `INFO stats`.
    pub fn stat(&self, field: &str) -> u64 {
        let servers: Vec<&Server> = match &self.nodes {
            Nodes::Many(fleet) => fleet.live().map(|(_, server)| server).collect(),
            one => one.servers(),
        };
        let stats = servers.iter().map(|server| server.info("stats"));
        stats.map(|stats| stats[field].parse::<u64>().unwrap()).sum()
    }
}

/// Makes the nodes of a cluster call each other by their gates, and waits until all do.
fn announce(servers: &[&Server], gates: &[Gate]) {
    for (server, gate) in servers.iter().zip(gates) {
        let (ip, port) = (gate.addr().ip().to_string(), gate.addr().port().to_string());
        let () = server.run(&["CONFIG", "SET", "cluster-announce-ip", &ip]);
        let () = server.run(&["CONFIG", "SET", "cluster-announce-port", &port]);
    }
    wait_for(LONG, "all nodes call each other by their gates", || {
        for server in servers {
            let told: String = server.run(&["CLUSTER", "NODES"]);
            let knows = |gate: &Gate| told.contains(&format!(" {}@", gate.addr()));
            if !gates.iter().all(knows) {
                return Err(told);
            }
        }
        Ok(())
    });
}
