//! A cluster with replicas: how it comes to be and how it is seen. What can happen to it is in the files beside this one.
//!
//! A node is named by its place in [`Fleet::nodes`]. Which of them are masters is asked whenever it matters, because it
//! changes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::client::{Client, Routed};
use super::reshard::Move;
use super::slot::SLOTS;
use super::view::{self, Seen};
use super::{LONG, Shape};
use crate::support::secured::Secured;
use crate::support::server::{Binary, Server};
use crate::support::wait_for;

/// A cluster that is not whole by itself after this time is mended.
const MEND_AFTER: Duration = Duration::from_secs(10);

/// What a cluster is to be.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The program.
    pub binary: Binary,
    /// How many masters.
    pub masters: usize,
    /// How many replicas each of them has.
    pub replicas: usize,
    /// More options of each server.
    pub options: Vec<String>,
    /// All speak TLS alone, to each other too.
    pub secured: Option<Secured>,
}

impl Layout {
    /// The installed version.
    pub fn of(masters: usize, replicas: usize) -> Layout {
        Layout {
            binary: Binary::installed(),
            masters,
            replicas,
            options: Vec::new(),
            secured: None,
        }
    }

    /// The same with further options.
    #[must_use]
    pub fn with(mut self, options: &[&str]) -> Layout {
        self.options.extend(options.iter().map(ToString::to_string));
        self
    }

    /// The same over TLS alone.
    #[must_use]
    pub fn over_tls(mut self, secured: Secured) -> Layout {
        self.secured = Some(secured);
        self
    }

    pub(super) fn node(&self) -> Server {
        let mut options = vec!["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
        // A replica stands for election however long its master was silent, and stays with its shard.
        options.extend(["--cluster-slave-validity-factor", "0"]);
        options.extend(["--cluster-migration-barrier", "100"]);
        options.extend(["--repl-backlog-size", "16mb"]);
        options.extend(self.options.iter().map(String::as_str));
        Server::reached(&self.binary, &options, self.secured.as_ref())
    }

    /// Several at once.
    pub(super) fn nodes(&self, count: usize) -> Vec<Server> {
        std::thread::scope(|scope| {
            let starting: Vec<_> = (0..count).map(|_| scope.spawn(|| self.node())).collect();
            starting.into_iter().map(|node| node.join().unwrap()).collect()
        })
    }
}

/// A cluster that belongs to one test, and changes.
#[derive(Debug)]
pub struct Fleet {
    /// Its servers: first the masters of the beginning, in the order of their slots, then their replicas, in turn, then
    /// those that came later.
    pub nodes: Vec<Server>,
    pub(super) layout: Layout,
    /// The ids of the nodes, in the same order.
    pub(super) ids: Vec<String>,
    /// The numbers of the shards that they were put into, in the same order: masters change, and nodes are replaced.
    pub(super) members: Vec<usize>,
    /// Places of nodes that were killed and not started again, or have left.
    pub(super) down: BTreeSet<usize>,
    /// Slots that were moved and not yet moved back.
    pub(super) moved: Vec<Move>,
    /// The number of the shard that a script has added and not yet removed.
    pub(super) guest: Option<usize>,
}

/// A master and those that replicate it, by their places in [`Fleet::nodes`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Who serves the slots.
    pub master: usize,
    /// Its living replicas.
    pub replicas: Vec<usize>,
    /// What it serves, in order.
    pub slots: Vec<u16>,
}

impl Fleet {
    /// So many masters of the installed version, and so many replicas of each.
    pub fn start(masters: usize, replicas: usize) -> Fleet {
        Fleet::with(Layout::of(masters, replicas))
    }

    /// As told, as soon as each node knows the others and all slots, and every replica has its master's data.
    pub fn with(layout: Layout) -> Fleet {
        let count = layout.masters * (1 + layout.replicas);
        let nodes = layout.nodes(count);
        let fleet = Fleet {
            ids: nodes.iter().map(id_of).collect(),
            members: (0..count).map(|place| place % layout.masters).collect(),
            nodes,
            layout,
            down: BTreeSet::new(),
            moved: Vec::new(),
            guest: None,
        };
        fleet.share_slots();
        fleet.introduce(0..count);
        for replica in fleet.layout.masters..count {
            fleet.replicate(replica, replica % fleet.layout.masters);
        }
        fleet.wait_whole();
        fleet
    }

    fn share_slots(&self) {
        let masters = self.layout.masters;
        for (number, master) in self.nodes[..masters].iter().enumerate() {
            let share = |number: usize| number * SLOTS / masters;
            let mut add = redis::cmd("CLUSTER");
            add.arg("ADDSLOTS");
            (share(number)..share(number + 1)).for_each(|slot| {
                add.arg(slot);
            });
            add.exec(&mut master.conn()).unwrap();
            // Epochs that differ from the start spare the masters an argument about them.
            let () = master.run(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
        }
    }

    /// Makes these nodes known to all others, and waits until everyone knows everyone.
    ///
    /// Each of them is told of each, which is faster than waiting for the gossip.
    pub(super) fn introduce(&self, new: std::ops::Range<usize>) {
        for (number, node) in self.live() {
            let mut conn = node.conn();
            for other in new.clone().filter(|other| *other != number) {
                let mut meet = redis::cmd("CLUSTER");
                meet.arg("MEET").arg("127.0.0.1").arg(self.nodes[other].port());
                meet.exec(&mut conn).unwrap();
            }
        }
        wait_for(LONG, "all nodes know each other", || {
            let views = self.live().map(|(_, node)| seen_by(node));
            let knows = |view: &BTreeMap<String, Seen>| {
                self.live()
                    .all(|(place, _)| view.get(&self.ids[place]).is_some_and(Seen::is_well))
            };
            match views.into_iter().find(|view| !knows(view)) {
                None => Ok(()),
                Some(view) => Err(brief(&view)),
            }
        });
    }

    /// Makes one node the replica of another, as soon as it takes it for a master.
    pub(super) fn replicate(&self, replica: usize, master: usize) {
        wait_for(LONG, "the node becomes a replica", || {
            let mut command = redis::cmd("CLUSTER");
            command.arg("REPLICATE").arg(&self.ids[master]);
            let answer = command.exec(&mut self.nodes[replica].conn());
            answer.map_err(|error| error.to_string())
        });
    }

    /// Starts nodes for the shard of that number and makes them known: their places.
    pub(super) fn join(&mut self, count: usize, shard: usize) -> std::ops::Range<usize> {
        let new = self.nodes.len()..self.nodes.len() + count;
        self.nodes.extend(self.layout.nodes(count));
        self.members.extend(new.clone().map(|_| shard));
        self.ids.extend(self.nodes[new.clone()].iter().map(id_of));
        self.introduce(new.clone());
        new
    }

    /// The nodes that run, with their places.
    pub fn live(&self) -> impl Iterator<Item = (usize, &Server)> {
        let nodes = self.nodes.iter().enumerate();
        nodes.filter(|(place, _)| !self.down.contains(place))
    }

    /// The id of a node.
    pub fn id(&self, node: usize) -> &str {
        &self.ids[node]
    }

    /// The shards that have slots, in the order of these, as a node that runs sees them.
    pub fn shards(&self) -> Vec<Shard> {
        let (_, first) = self.live().next().expect("a node runs");
        let view = seen_by(first);
        let place = |id: &String| {
            let place = self.ids.iter().position(|known| known == id)?;
            (!self.down.contains(&place)).then_some(place)
        };
        let replicas = |master: &String| -> Vec<usize> {
            let of_it = view
                .iter()
                .filter(|(_, seen)| seen.master.as_ref() == Some(master));
            of_it.filter_map(|(id, _)| place(id)).collect()
        };
        let serving = view
            .iter()
            .filter(|(_, seen)| seen.master.is_none() && !seen.slots.is_empty());
        let shard = |(id, seen): (&String, &Seen)| {
            Some(Shard {
                master: place(id)?,
                replicas: replicas(id),
                slots: seen.slots.clone(),
            })
        };
        let mut shards: Vec<Shard> = serving.filter_map(shard).collect();
        shards.sort_by_key(|shard| shard.slots[0]);
        shards
    }

    /// The places of the masters that have slots, in the order of these.
    pub fn masters_at(&self) -> Vec<usize> {
        self.shards().iter().map(|shard| shard.master).collect()
    }

    /// The shard of this master.
    #[track_caller]
    pub fn shard(&self, master: usize) -> Shard {
        let shards = self.shards();
        let found = shards.iter().find(|shard| shard.master == master).cloned();
        found.unwrap_or_else(|| panic!("node {master} is no master with slots"))
    }

    /// Who is now the master of the shard of that number.
    #[track_caller]
    pub(super) fn master_of(&self, number: usize) -> usize {
        let shards = self.shards();
        let found = shards.iter().find(|shard| self.members[shard.master] == number);
        let found = found.map(|shard| shard.master);
        found.unwrap_or_else(|| panic!("shard {number} has no slots: {shards:?}, {:?}", self.members))
    }

    /// Waits until every node that runs says that all slots are served, all say by whom, and every replica follows its
    /// master.
    #[track_caller]
    pub fn wait_whole(&self) {
        let start = Instant::now();
        wait_for(LONG, "the cluster is whole", || {
            let whole = self.whole();
            if whole.is_err() && start.elapsed() > MEND_AFTER {
                self.mend();
            }
            whole
        });
    }

    /// Gives slots that a master knows nobody for to the shard whose they are for others: a replica that is elected just after slots have come to its
    /// master may not have heard of the last of them. An operator does the same (`redis-cli --cluster fix`).
    fn mend(&self) {
        let views: Vec<(usize, BTreeMap<String, Seen>)> =
            self.live().map(|(place, node)| (place, seen_by(node))).collect();
        let leader = |view: &BTreeMap<String, Seen>, id: &String| {
            let seen = view.get(id)?;
            Some(seen.master.clone().unwrap_or_else(|| id.clone()))
        };
        for (place, view) in &views {
            let is_master = view
                .get(&self.ids[*place])
                .is_some_and(|seen| seen.master.is_none());
            let served: BTreeSet<u16> = view.values().flat_map(|seen| seen.slots.clone()).collect();
            let missing = (0..SLOTS as u16).filter(|slot| is_master && !served.contains(slot));
            for slot in missing {
                let named = views.iter().flat_map(|(_, other)| other.iter());
                let owner = named
                    .filter(|(_, seen)| seen.slots.contains(&slot))
                    .map(|(id, _)| id);
                let owner = owner.into_iter().find_map(|id| leader(view, id));
                let mut command = redis::cmd("CLUSTER");
                command.arg("SETSLOT").arg(slot).arg("NODE");
                command.arg(owner.unwrap_or_else(|| self.ids[*place].clone()));
                // Tried again as long as it is not whole.
                let _ = command.exec(&mut self.nodes[*place].conn());
            }
        }
    }

    fn whole(&self) -> Result<(), String> {
        let mut agreed: Option<BTreeMap<String, Seen>> = None;
        for (number, node) in self.live() {
            let info: String = node.run(&["CLUSTER", "INFO"]);
            let view = self.of_the_living(seen_by(node));
            let say = |what: &str| Err(format!("node {number}: {what}: {}", brief(&view)));
            if !info.contains("cluster_state:ok") || !info.contains("cluster_slots_ok:16384") {
                return say(&info);
            }
            if view.len() + self.down.len() != self.nodes.len() || !view.values().all(Seen::is_well) {
                return say("a node is missing or not well");
            }
            if *agreed.get_or_insert_with(|| view.clone()) != view {
                return say("it sees another cluster than the node before");
            }
            let replication = node.info("replication");
            if replication
                .get("master_link_status")
                .is_some_and(|link| link != "up")
            {
                return say("its link to its master is down");
            }
        }
        Ok(())
    }

    /// Nodes of this cluster that run, with the flags by which two nodes may differ taken out.
    fn of_the_living(&self, mut view: BTreeMap<String, Seen>) -> BTreeMap<String, Seen> {
        let living: BTreeSet<&String> = self.live().map(|(place, _)| &self.ids[place]).collect();
        view.retain(|id, _| living.contains(id));
        for seen in view.values_mut() {
            seen.flags
                .retain(|flag| !["myself", "nofailover"].contains(&flag.as_str()));
        }
        view
    }
}

impl Shape for Fleet {
    /// All running nodes are seeds.
    fn url(&self) -> String {
        let seeds: Vec<String> = self.live().map(|(_, node)| node.addr()).collect();
        let scheme = match self.layout.secured {
            None => "redis+cluster",
            Some(_) => "rediss+cluster",
        };
        format!("{scheme}://{}", seeds.join(","))
    }

    fn masters(&self) -> Vec<&Server> {
        let places = self.masters_at();
        places.into_iter().map(|place| &self.nodes[place]).collect()
    }

    fn client(&self) -> Box<dyn Client> {
        let seeds = self.live().map(|(_, node)| node.addr()).collect();
        Box::new(Routed::of(seeds, self.layout.secured.clone()))
    }
}

pub(super) fn id_of(node: &Server) -> String {
    node.run(&["CLUSTER", "MYID"])
}

/// What a node says of all.
pub fn seen_by(node: &Server) -> BTreeMap<String, Seen> {
    view::read(&node.run::<String>(&["CLUSTER", "NODES"]))
}

fn brief(view: &BTreeMap<String, Seen>) -> String {
    let line = |(id, seen): (&String, &Seen)| {
        let slots = super::slot::ranges(&seen.slots);
        format!("{id} {} {:?} {:?} {slots:?}", seen.port, seen.flags, seen.master)
    };
    view.iter().map(line).collect::<Vec<_>>().join("\n")
}
