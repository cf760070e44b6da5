//! A cluster, asked: its shards, and which node of each is to be followed.
//!
//! All nodes that are known are asked at once and the seeds with them, so that no single node decides what is believed (see [`shards::believed`]).
//! Owns the asking. Leaves to the supervisor what is done with the answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;

use super::ask::Asker;
use super::nodes::{self, Node};
use super::shards::{self, Choice, Health, Shard, Wanted};
use super::{Error, most_telling};
use crate::core::net::{Address, Endpoint};
use crate::core::position::Offset;

/// So many nodes of a shard are asked how they are.
const HEALTH_MAX: usize = 32;

/// In a large cluster so many nodes are asked: enough that one of them is right.
const ASKED_MAX: usize = 32;

/// Which cluster, and what is wanted of it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Nodes to begin with. Every node is reached as the first of them is, apart from its address.
    pub seeds: Vec<Endpoint>,
    /// Only the shards of the seeds.
    pub only_seeds: bool,
    /// Which node of a shard is followed.
    pub wanted: Wanted,
    /// How often it is looked at when nothing seems wrong.
    pub every: Duration,
}

/// Asks a cluster.
#[derive(Debug)]
pub struct Cluster {
    settings: Settings,
    /// Nodes as they were last seen.
    known: Vec<Address>,
    /// The ids of the seeds, as far as they have told them.
    seeds: BTreeMap<Address, String>,
    strays: Vec<String>,
}

impl Cluster {
    /// A cluster of which nothing but the seeds is known.
    #[must_use]
    pub const fn new(settings: Settings) -> Cluster {
        Cluster {
            settings,
            known: Vec::new(),
            seeds: BTreeMap::new(),
            strays: Vec::new(),
        }
    }

    /// What is wanted of it.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How a node of it is reached.
    ///
    /// # Panics
    /// There is no seed.
    #[must_use]
    pub fn endpoint(&self, address: Address) -> Endpoint {
        let seed = self
            .settings
            .seeds
            .first()
            .expect("the configuration names at least one address");
        seed.at(address)
    }

    /// The shards that there are now; with `only_seeds`, those of the seeds.
    ///
    /// # Errors
    /// Nobody answers, or everybody refuses.
    pub async fn look(&mut self) -> Result<Vec<Shard>, Error> {
        let asked = join_all(self.to_ask().into_iter().map(view)).await;
        let (mut views, mut errors) = (Vec::new(), Vec::new());
        for answer in asked {
            match answer {
                Ok((asked, nodes)) => {
                    self.learn_seed(&asked, &nodes);
                    views.push(nodes);
                }
                Err(error) => errors.push(error),
            }
        }
        let moving = moving(&views);
        let Some(mut nodes) = shards::believed(views) else {
            return Err(most_telling(errors).expect("a seed at least was asked"));
        };
        for node in &mut nodes {
            node.moving = moving.get(&node.id).cloned();
        }
        let shards = shards::shards(&nodes);
        let is_stray = |node: &&Node| !shards.iter().any(|shard| shard.has(&node.id));
        self.strays = nodes
            .iter()
            .filter(is_stray)
            .map(|node| node.id.clone())
            .collect();
        self.known = shards
            .iter()
            .flat_map(Shard::nodes)
            .filter_map(|node| node.address.clone())
            .collect();
        Ok(match self.settings.only_seeds {
            true => shards.into_iter().filter(|shard| self.has_seed(shard)).collect(),
            false => shards,
        })
    }

    /// The ids of nodes that were in no shard at the last look: masters that have failed and were replaced.
    #[must_use]
    pub fn strays(&self) -> &[String] {
        &self.strays
    }

    /// The node of a shard that is to be followed; nothing where that cannot be said now.
    pub async fn choose(&self, shard: &Shard, followed: Option<&Address>) -> Option<Choice> {
        let wanted = self.settings.wanted;
        let health = match wanted {
            Wanted::Master => BTreeMap::new(),
            Wanted::PreferReplica | Wanted::Replica => self.health(shard, followed).await,
        };
        shards::choose(shard, wanted, &health, followed)
    }

    /// What the nodes of a shard say of themselves; those that do not answer are left out.
    async fn health(&self, shard: &Shard, followed: Option<&Address>) -> BTreeMap<String, Health> {
        let mut asked = Vec::new();
        for (id, address) in self.to_examine(shard, followed) {
            asked.push(health(id, self.endpoint(address)));
        }
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// The one that is followed and the seeds first: where there are very many, they are not left out.
    fn to_examine(&self, shard: &Shard, followed: Option<&Address>) -> Vec<(String, Address)> {
        let seeds = &self.settings.seeds;
        let is_first = |address: &Address| {
            Some(address) == followed || seeds.iter().any(|seed| seed.address == *address)
        };
        let nodes = shard.nodes();
        let mut nodes: Vec<_> = nodes
            .filter_map(|node| Some((node.id.clone(), node.address.clone()?)))
            .collect();
        nodes.sort_by_key(|(_, address)| !is_first(address));
        nodes.truncate(HEALTH_MAX);
        nodes
    }

    /// The seeds first: in a large cluster they are not left out.
    fn to_ask(&self) -> Vec<Endpoint> {
        let seeds = self.settings.seeds.iter().map(|seed| seed.address.clone());
        let mut seen = BTreeSet::new();
        let mut all: Vec<Address> = seeds.chain(self.known.iter().cloned()).collect();
        all.retain(|address| seen.insert(address.clone()));
        all.truncate(ASKED_MAX.max(self.settings.seeds.len()));
        all.into_iter().map(|address| self.endpoint(address)).collect()
    }

    fn learn_seed(&mut self, asked: &Address, nodes: &[Node]) {
        let is_seed = self.settings.seeds.iter().any(|seed| seed.address == *asked);
        if let Some(node) = nodes.iter().find(|node| node.is_myself)
            && is_seed
        {
            self.seeds.insert(asked.clone(), node.id.clone());
        }
    }

    /// By its id, where it has told it: the cluster may call a node by another name than the operator does.
    fn has_seed(&self, shard: &Shard) -> bool {
        let seeds = self.settings.seeds.iter();
        seeds.map(|seed| &seed.address).any(|seed| {
            let known = self.seeds.get(seed);
            known.map_or_else(|| shard.at(seed).is_some(), |id| shard.has(id))
        })
    }
}

/// What each of those who were asked says of its own moving slots.
fn moving(views: &[Vec<Node>]) -> BTreeMap<String, Vec<u16>> {
    let own = views.iter().flatten().filter(|node| node.is_myself);
    own.filter_map(|node| Some((node.id.clone(), node.moving.clone()?)))
        .collect()
}

async fn view(endpoint: Endpoint) -> Result<(Address, Vec<Node>), Error> {
    let question: [&[u8]; 2] = [b"CLUSTER", b"NODES"];
    let mut asker = Asker::open(&endpoint).await?;
    let text = asker.text(&question).await?;
    let nodes = nodes::parse(&text, &endpoint.address).ok_or_else(|| asker.nonsense(&question))?;
    Ok((endpoint.address, nodes))
}

async fn health(id: String, endpoint: Endpoint) -> Option<(String, Health)> {
    let asked = async { Asker::open(&endpoint).await?.text(&[b"INFO"]).await };
    match asked.await {
        Ok(text) => Some((id, health_in(&text))),
        Err(error) => {
            tracing::debug!(%error, "a node does not say how it is");
            None
        }
    }
}

/// Reads the text of `INFO`.
fn health_in(text: &str) -> Health {
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
    };
    let is = |name: &str, value: &str| field(name) == Some(value);
    let is_replica = !is("role", "master");
    let is_loading = is("loading", "1") || is("async_loading", "1") || is("master_sync_in_progress", "1");
    let offset = match is_replica {
        true => field("slave_repl_offset").or_else(|| field("master_repl_offset")),
        false => field("master_repl_offset"),
    };
    Health {
        is_replica,
        is_linked: !is_loading && (!is_replica || is("master_link_status", "up")),
        offset: offset.and_then(Offset::parse).map_or(0, Offset::get),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_shard_with_very_many_nodes_the_followed_one_and_the_seeds_are_examined() {
        let at = |port: u16| Address {
            host: "10.0.0.1".to_owned(),
            port,
        };
        let seed = Endpoint {
            address: at(900),
            credentials: crate::core::net::Credentials::default(),
            tls: None,
        };
        let cluster = Cluster::new(Settings {
            seeds: vec![seed.clone()],
            only_seeds: false,
            wanted: Wanted::Replica,
            every: Duration::from_secs(1),
        });
        let mut text = "m 10.0.0.1:1@2 master - 0 0 1 connected 0-16383\n".to_owned();
        for port in 2..1_000 {
            text += &format!("r{port} 10.0.0.1:{port}@2 slave m 0 0 1 connected\n");
        }
        let shards = shards::shards(&nodes::parse(&text, &seed.address).unwrap());
        let asked = cluster.to_examine(&shards[0], Some(&at(800)));
        assert_eq!(asked.len(), HEALTH_MAX);
        for port in [800, 900] {
            assert!(asked.iter().any(|(_, address)| *address == at(port)), "{asked:?}");
        }
    }

    #[test]
    fn health_is_read_from_info() {
        let told = |text: &str| {
            let health = health_in(text);
            (health.is_replica, health.is_linked, health.offset)
        };
        let replica =
            "role:slave\r\nmaster_link_status:up\r\nslave_repl_offset:7\r\nmaster_repl_offset:9\r\n";
        for (text, expected) in [
            (
                "role:master\r\nmaster_repl_offset:5\r\n".to_owned(),
                (false, true, 5),
            ),
            (format!("loading:0\r\n{replica}"), (true, true, 7)),
            (format!("loading:1\r\n{replica}"), (true, false, 7)),
            (format!("async_loading:1\r\n{replica}"), (true, false, 7)),
            (
                format!("master_sync_in_progress:1\r\n{replica}"),
                (true, false, 7),
            ),
            (replica.replace("up", "down"), (true, false, 7)),
        ] {
            assert_eq!(told(&text), expected, "{text}");
        }
    }
}
