//! A server or a cluster, which of its nodes has a key, and connections to all of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures_util::future::join_all;

use super::Error;
use super::talk::Talk;
use crate::core::command::{self, SLOTS};
use crate::core::net::{Address, Endpoint};
use crate::core::resp::{self, Value};
use crate::core::target::cluster::map::SlotMap;
use crate::core::target::refusal;

/// A refusal that passes by itself is waited out for so long.
pub(super) const TRANSIENT_LIMIT: Duration = Duration::from_secs(10);

/// So long until it is asked again.
pub(super) const TRANSIENT_PAUSE: Duration = Duration::from_millis(250);

/// A node, and the other nodes of its shard.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Whom we ask.
    pub(super) endpoint: Endpoint,
    /// Any of these may be said to serve its slots.
    pub(super) shard: Vec<Address>,
}

/// A server or a cluster.
#[derive(Debug, Clone)]
pub(super) struct Side {
    pub(super) nodes: Vec<Node>,
    /// For each slot the place of its node, where it is a cluster.
    owners: Option<Vec<u16>>,
    /// It may be a replica that we ask.
    reads_only: bool,
}

impl Side {
    /// One server.
    pub(super) fn one(endpoint: Endpoint) -> Side {
        Side {
            nodes: vec![Node {
                endpoint,
                shard: Vec::new(),
            }],
            owners: None,
            reads_only: false,
        }
    }

    /// A cluster of which these nodes are followed, each for its shard.
    pub(super) async fn followed(nodes: Vec<Node>) -> Result<Side, Error> {
        let seeds: Vec<Endpoint> = nodes.iter().map(|node| node.endpoint.clone()).collect();
        let (map, asked) = slots(&seeds).await?;
        let is_of = |node: &Node, address: &Address| {
            node.endpoint.address == *address || node.shard.contains(address)
        };
        let owner = |slot: u16| {
            let address = map.owner(slot)?;
            let place = nodes.iter().position(|node| is_of(node, address))?;
            u16::try_from(place).ok()
        };
        let owners = (0..SLOTS).map(owner).collect::<Option<Vec<u16>>>();
        Ok(Side {
            owners: Some(owners.ok_or(Error::Slots { address: asked })?),
            nodes,
            reads_only: true,
        })
    }

    /// The cluster that is found by one of these.
    pub(super) async fn cluster(seeds: &[Endpoint]) -> Result<Side, Error> {
        let (map, asked) = slots(seeds).await?;
        let login = seeds.first().ok_or_else(|| Error::Slots {
            address: asked.clone(),
        })?;
        let masters: Vec<Address> = map.masters().cloned().collect();
        let owner = |slot: u16| {
            let place = masters.iter().position(|one| Some(one) == map.owner(slot))?;
            u16::try_from(place).ok()
        };
        let owners = (0..SLOTS).map(owner).collect::<Option<Vec<u16>>>();
        let owners = owners.ok_or(Error::Slots { address: asked })?;
        let node = |address: Address| Node {
            endpoint: login.at(address),
            shard: Vec::new(),
        };
        Ok(Side {
            nodes: masters.into_iter().map(node).collect(),
            owners: Some(owners),
            reads_only: false,
        })
    }

    /// Whether its slots are served by the same nodes as `other`'s.
    pub(super) fn is_as(&self, other: &Side) -> bool {
        let addresses = |side: &Side| -> Vec<Address> {
            let nodes = side.nodes.iter();
            nodes.map(|node| node.endpoint.address.clone()).collect()
        };
        self.owners == other.owners && addresses(self) == addresses(other)
    }

    /// Whether it may be a replica that is asked.
    pub(super) fn reads_only(&self) -> bool {
        self.reads_only
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.owners.is_some()
    }

    /// The place of the node that has this key.
    pub(super) fn node_of(&self, key: &[u8]) -> usize {
        self.owners
            .as_ref()
            .map_or(0, |owners| usize::from(owners[usize::from(command::slot(key))]))
    }

    /// Whether a redirection for a key leads to another node of the very shard that was asked.
    pub(super) fn refers_home(&self, key: &[u8], text: &[u8]) -> bool {
        let shard = &self.nodes[self.node_of(key)].shard;
        to(text, "MOVED ").is_some_and(|address| shard.contains(&address))
    }

    /// The node that has this key has refused a command about it.
    pub(super) fn refused(&self, key: &[u8], command: &[u8], reply: &[u8]) -> Error {
        Error::Refused {
            address: self.nodes[self.node_of(key)].endpoint.address.clone(),
            command: String::from_utf8_lossy(command).into_owned(),
            reply: resp::said(reply),
        }
    }

    /// A connection to one of its nodes.
    pub(super) async fn open(&self, node: usize) -> Result<Talk, Error> {
        Talk::open(&self.nodes[node].endpoint, self.reads_only).await
    }
}

/// Who serves which slot, as the first of these says that answers, and which that is.
async fn slots(seeds: &[Endpoint]) -> Result<(SlotMap, Address), Error> {
    let mut failed = None;
    for seed in seeds {
        match slots_of(seed).await {
            Ok(map) => return Ok((map, seed.address.clone())),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or_else(|| Error::Bug("a cluster without any node".to_owned())))
}

async fn slots_of(seed: &Endpoint) -> Result<SlotMap, Error> {
    let mut talk = Talk::open(seed, false).await?;
    let answer = talk.call(&[b"CLUSTER", b"SLOTS"]).await?;
    let map = SlotMap::parse(&answer, &seed.address);
    let whole = map.filter(|map| map.served() == usize::from(SLOTS));
    whole.ok_or_else(|| Error::Slots {
        address: seed.address.clone(),
    })
}

/// Connections to the nodes of a side, opened when they are needed.
#[derive(Debug)]
pub(super) struct Lines {
    side: Arc<Side>,
    talks: Vec<Option<Talk>>,
    /// To nodes that slots are on their way to.
    importers: BTreeMap<Address, Talk>,
}

impl Lines {
    pub(super) fn new(side: &Arc<Side>) -> Lines {
        Lines {
            talks: side.nodes.iter().map(|_| None).collect(),
            importers: BTreeMap::new(),
            side: Arc::clone(side),
        }
    }

    pub(super) fn side(&self) -> &Side {
        &self.side
    }

    /// The connection to a node.
    pub(super) async fn talk(&mut self, node: usize) -> Result<&mut Talk, Error> {
        if self.talks[node].is_none() {
            self.talks[node] = Some(self.side.open(node).await?);
        }
        Ok(self.talks[node].as_mut().expect("it has just been opened"))
    }

    /// Asks `each` questions about each of the keys in a database, as `write` puts them, and gives the answers in the order of the keys. An error that says only
    /// something of the key ([`is_of_key`]) is an answer.
    pub(super) async fn ask<K: AsRef<[u8]>>(
        &mut self,
        db: u32,
        keys: &[K],
        each: usize,
        write: impl FnMut(&mut BytesMut, usize),
    ) -> Result<Vec<Value>, Error> {
        self.ask_and(db, keys, each, write, is_of_key).await
    }

    /// The same where `takes` says which errors are answers.
    pub(super) async fn ask_and<K: AsRef<[u8]>>(
        &mut self,
        db: u32,
        keys: &[K],
        each: usize,
        mut write: impl FnMut(&mut BytesMut, usize),
        takes: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<Value>, Error> {
        let began = Instant::now();
        let mut answers = loop {
            match self.ask_owners(db, keys, each, &mut write, &takes).await {
                Err(Error::Refused { reply, .. })
                    if passes(reply.as_bytes()) && began.elapsed() < TRANSIENT_LIMIT =>
                {
                    tokio::time::sleep(TRANSIENT_PAUSE).await;
                }
                other => break other?,
            }
        };
        for (number, answers) in answers.chunks_exact_mut(each).enumerate() {
            if let Some(address) = answers.iter().filter_map(Value::error).find_map(asks) {
                let mut request = BytesMut::new();
                write(&mut request, number);
                self.ask_importer(address, db, &request, &takes, answers).await?;
            }
        }
        Ok(answers)
    }

    /// Of a slot that is on its way, a key that has left: its new node is asked. Not for a watch, as the transaction that ends it is elsewhere.
    async fn ask_importer(
        &mut self,
        address: Address,
        db: u32,
        request: &[u8],
        takes: impl Fn(&[u8]) -> bool,
        answers: &mut [Value],
    ) -> Result<(), Error> {
        if verb(request) == b"WATCH" {
            return Ok(());
        }
        let mut asking = BytesMut::new();
        let mut rest = request;
        while let Some((_, end)) = resp::parse_value(rest).ok().flatten() {
            resp::encode_command(&mut asking, &[b"ASKING"]);
            asking.extend_from_slice(&rest[..end]);
            rest = &rest[end..];
        }
        if !self.importers.contains_key(&address) {
            let endpoint = self.side.nodes[0].endpoint.at(address.clone());
            self.importers
                .insert(address.clone(), Talk::open(&endpoint, false).await?);
        }
        let talk = self.importers.get_mut(&address).expect("it has just been opened");
        let told = talk.ask(db, &mut asking, answers.len() * 2).await?;
        for (place, answer) in answers.iter_mut().zip(told.into_iter().skip(1).step_by(2)) {
            if let Some(text) = answer.error().filter(|text| !takes(text)) {
                return Err(talk.refused(&verb(request), text));
            }
            *place = answer;
        }
        Ok(())
    }

    async fn ask_owners<K: AsRef<[u8]>>(
        &mut self,
        db: u32,
        keys: &[K],
        each: usize,
        write: &mut impl FnMut(&mut BytesMut, usize),
        takes: &impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<Value>, Error> {
        let mut requests = vec![(BytesMut::new(), Vec::new()); self.talks.len()];
        for (number, key) in keys.iter().enumerate() {
            let (request, of) = &mut requests[self.side.node_of(key.as_ref())];
            write(request, number);
            of.push(number);
        }
        for (node, (_, of)) in requests.iter().enumerate() {
            if !of.is_empty() {
                self.talk(node).await?;
            }
        }
        let asked = self.talks.iter_mut().zip(requests);
        let asked = asked.filter_map(|(talk, (request, of))| Some((talk.as_mut()?, request, of)));
        let asked = asked.filter(|(_, _, of)| !of.is_empty());
        // To the end, all of them: a connection with answers that nobody has read could not be asked again.
        let answers = join_all(asked.map(async |(talk, mut request, of)| {
            let answers = talk.ask(db, &mut request, of.len() * each).await?;
            let refusals = answers.iter().filter_map(Value::error);
            match refusals.into_iter().find(|text| !takes(text)) {
                Some(text) => Err(talk.refused(&verb(&request), text)),
                None => Ok((of, answers)),
            }
        }));
        let answers: Result<Vec<_>, Error> = answers.await.into_iter().collect();
        Ok(in_order(answers?, keys.len(), each))
    }
}

/// The name of the first command.
fn verb(request: &[u8]) -> Vec<u8> {
    let parsed = resp::parse_value(request).ok().flatten();
    let first = parsed.and_then(|(value, _)| value.array()?.first()?.text().map(<[u8]>::to_vec));
    first.unwrap_or_default()
}

fn in_order(mut answers: Vec<(Vec<usize>, Vec<Value>)>, keys: usize, each: usize) -> Vec<Value> {
    // All from one node, in the order in which they were asked.
    if answers.len() == 1 {
        return answers.pop().map(|(_, values)| values).unwrap_or_default();
    }
    let mut ordered = vec![Value::Nil; keys * each];
    for (of, values) in answers {
        let mut values = values.into_iter();
        for number in of {
            for place in &mut ordered[number * each..(number + 1) * each] {
                *place = values.next().unwrap_or(Value::Nil);
            }
        }
    }
    ordered
}

/// Whether an error is about this key alone: it is of another type, or another node has it now.
pub(super) fn is_of_key(text: &[u8]) -> bool {
    text.starts_with(b"WRONGTYPE") || is_elsewhere(text)
}

/// Whether another node has the key, or will have it in a moment.
pub(super) fn is_elsewhere(text: &[u8]) -> bool {
    let elsewhere: [&[u8]; 3] = [b"MOVED ", b"ASK ", b"TRYAGAIN"];
    elsewhere.iter().any(|code| text.starts_with(code))
}

/// Whether a refusal is about the state in which the server, or its cluster, is just now.
pub(super) fn passes(text: &[u8]) -> bool {
    let kind = refusal::Kind::of(&String::from_utf8_lossy(text));
    kind == refusal::Kind::Transient && !is_elsewhere(text)
}

/// The node to be asked, in `ASK 3999 10.0.0.1:6381`.
fn asks(text: &[u8]) -> Option<Address> {
    to(text, "ASK ")
}

/// Where a redirection leads.
fn to(text: &[u8], code: &str) -> Option<Address> {
    let text = std::str::from_utf8(text).ok()?.strip_prefix(code)?;
    let (host, port) = text.split_once(' ')?.1.rsplit_once(':')?;
    Some(Address {
        host: host.to_owned(),
        port: port.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_that_is_down_is_no_matter_of_single_keys() {
        for (text, of_key, passing) in [
            ("MOVED 1 10.0.0.1:1", true, false),
            ("ASK 1 10.0.0.1:1", true, false),
            ("TRYAGAIN Multiple keys", true, false),
            ("WRONGTYPE Operation", true, false),
            ("CLUSTERDOWN The cluster is down", false, true),
            ("LOADING Redis is loading", false, true),
            ("NOPERM no", false, false),
        ] {
            let told = (is_of_key(text.as_bytes()), passes(text.as_bytes()));
            assert_eq!(told, (of_key, passing), "{text}");
        }
    }

    #[test]
    fn a_redirection_names_a_node() {
        let named = |text: &str| asks(text.as_bytes()).map(|address| address.to_string());
        assert_eq!(named("ASK 3999 10.0.0.1:6381").as_deref(), Some("10.0.0.1:6381"));
        assert_eq!(named("ASK 3999 ::1:6381").as_deref(), Some("[::1]:6381"));
        assert_eq!(named("MOVED 3999 10.0.0.1:6381"), None);
    }
}
