//! Servers that are one cluster: masters with a share of the slots each, and no replicas unless a test adds some.

use std::net::SocketAddr;

use super::server::{Binary, Server};
use super::{SOON, wait_for};

const SLOTS: usize = 16_384;

/// A cluster that belongs to one test.
#[derive(Debug)]
pub struct Cluster {
    /// Its masters, in the order of their slots.
    pub masters: Vec<Server>,
}

impl Cluster {
    /// So many masters of the installed version.
    pub fn start(masters: usize) -> Cluster {
        Cluster::of(&Binary::installed(), masters)
    }

    /// The same with options as on each one's command line.
    pub fn with(masters: usize, options: &[&str]) -> Cluster {
        Cluster::of_with(&Binary::installed(), masters, options)
    }

    /// So many masters of a given program, as soon as each of them knows the others and all slots.
    pub fn of(binary: &Binary, masters: usize) -> Cluster {
        Cluster::of_with(binary, masters, &[])
    }

    fn of_with(binary: &Binary, masters: usize, more: &[&str]) -> Cluster {
        let own = ["--cluster-enabled", "yes", "--cluster-node-timeout", "5000"];
        let options = [&own, more].concat();
        let masters: Vec<Server> = (0..masters).map(|_| Server::of(binary, &options)).collect();
        for (number, master) in masters.iter().enumerate() {
            let share = |number: usize| number * SLOTS / masters.len();
            let slots: Vec<String> = (share(number)..share(number + 1))
                .map(|slot| slot.to_string())
                .collect();
            let command = ["CLUSTER", "ADDSLOTS"]
                .into_iter()
                .chain(slots.iter().map(String::as_str));
            let () = master.run(&command.collect::<Vec<_>>());
            // Epochs that differ from the start spare the masters an argument about them.
            let () = master.run(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
        }
        let cluster = Cluster { masters };
        for other in &cluster.masters[1..] {
            cluster.meet(other);
        }
        cluster.wait_whole();
        cluster
    }

    /// Makes a server that is started as a node known to the cluster.
    pub fn meet(&self, node: &Server) {
        let () = self.masters[0].run(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string()]);
    }

    /// Waits until every master knows all slots to be served, and by whom.
    #[track_caller]
    pub fn wait_whole(&self) {
        wait_for(SOON, "the cluster is whole", || {
            let whole = |master: &&Server| {
                let info: String = master.run(&["CLUSTER", "INFO"]);
                let nodes: String = master.run(&["CLUSTER", "NODES"]);
                info.contains("cluster_state:ok")
                    && info.contains(&format!("cluster_size:{}", self.masters.len()))
                    && !nodes.contains("handshake")
            };
            match self.masters.iter().find(|master| !whole(master)) {
                None => Ok(()),
                Some(master) => Err(master.run::<String>(&["CLUSTER", "NODES"])),
            }
        });
    }

    /// `redis+cluster://` with all masters as seeds.
    pub fn url(&self) -> String {
        let seeds: Vec<String> = self.masters.iter().map(Server::addr).collect();
        format!("redis+cluster://{}", seeds.join(","))
    }

    /// Nobody serves this slot any more, and every master knows that.
    #[track_caller]
    pub fn lose_slot(&self, slot: usize) {
        let (count, slot_text) = (self.masters.len(), slot.to_string());
        let owner = (0..count).rfind(|number| number * SLOTS / count <= slot).unwrap();
        wait_for(SOON, "no master believes that the slot is served", || {
            // The owner first: what it says of itself is believed. What was on its way by then is believed too, so all are told again.
            for number in (owner..count).chain(0..owner) {
                let mut conn = self.masters[number].conn();
                let told = redis::cmd("CLUSTER")
                    .arg(&["DELSLOTS", &slot_text])
                    .exec(&mut conn);
                // Refused by those that know it.
                drop(told);
            }
            let knows = |info: &String| {
                info.contains("cluster_state:fail") && info.contains("cluster_slots_assigned:16383")
            };
            let said = self.masters.iter().map(|master| master.run(&["CLUSTER", "INFO"]));
            let said: Vec<String> = said.collect();
            said.iter().all(knows).then_some(()).ok_or_else(|| said.concat())
        });
    }

    /// Sets `key0` to `key{count - 1}`, each at the master whose slot it is.
    pub fn set_keys(&self, count: usize) {
        let mut conns: Vec<_> = self.masters.iter().map(Server::conn).collect();
        for number in 0..count {
            let mut set = redis::cmd("SET");
            set.arg(format!("key{number}")).arg(number);
            // All others answer MOVED.
            let takers = conns
                .iter_mut()
                .filter_map(|conn| set.query::<()>(conn).ok())
                .count();
            assert_eq!(takers, 1, "key{number}");
        }
    }

    /// Keys of all masters.
    pub fn keys(&self) -> u64 {
        self.masters.iter().map(Server::keys).sum()
    }

    /// The address of a master.
    pub fn address(&self, number: usize) -> SocketAddr {
        self.masters[number].addr().parse().unwrap()
    }
}
