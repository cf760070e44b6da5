//! The shards of a cluster, and which node of a shard is followed. Without I/O.
//!
//! Owns three decisions: which of several views of a cluster is believed, which nodes are one shard, and the node to follow.

use std::collections::{BTreeMap, BTreeSet};

use super::nodes::Node;
use crate::core::net::Address;

/// A replica that is so many bytes behind its master is not begun to be followed.
const BEHIND_BYTES_MAX: u64 = 16 << 20;

/// One that is followed is left when it is so many bytes behind.
const LEFT_BEHIND_BYTES: u64 = 4 * BEHIND_BYTES_MAX;

/// A shard: a master, and its replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its master.
    pub master: Node,
    /// Its replicas.
    pub replicas: Vec<Node>,
}

impl Shard {
    /// All its nodes, the master first.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        std::iter::once(&self.master).chain(&self.replicas)
    }

    /// Whether a node of that id is in it.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.nodes().any(|node| node.id == id)
    }

    /// The node at that address.
    #[must_use]
    pub fn at(&self, address: &Address) -> Option<&Node> {
        self.nodes().find(|node| node.address.as_ref() == Some(address))
    }
}

/// The shards that nodes form, in the order of their slots; those without slots last. A node that is no member (any more) is in none, and a
/// master that failed and serves nothing is none: its replica has taken its place.
#[must_use]
pub fn shards(nodes: &[Node]) -> Vec<Shard> {
    let members: Vec<&Node> = nodes.iter().filter(|node| !node.is_stranger).collect();
    let leads = |node: &&&Node| node.master.is_none() && !(node.has_failed && node.slots.is_empty());
    let mut shards: Vec<Shard> = members
        .iter()
        .filter(leads)
        .map(|master| Shard {
            master: (**master).clone(),
            replicas: members
                .iter()
                .filter(|node| node.master.as_ref() == Some(&master.id))
                .map(|node| (*node).clone())
                .collect(),
        })
        .collect();
    shards.sort_by_key(|shard| {
        let first = shard.master.slots.iter().map(|(first, _)| *first).min();
        (first.is_none(), first, shard.master.id.clone())
    });
    shards
}

/// The view that is believed, out of those that several nodes gave.
///
/// A node that was cut off or taken out still has a view of its own. The first row that tells two apart decides:
///
/// | row | believed | because |
/// | --- | --- | --- |
/// | 1 | that of a cluster that serves more slots | a node that was reset sees itself alone |
/// | 2 | that with the highest epoch | a node that was cut off has not heard of the newest |
/// | 3 | that whose members more of the others see too | a node that was forgotten is the only one that still sees itself |
#[must_use]
pub fn believed(views: Vec<Vec<Node>>) -> Option<Vec<Node>> {
    let members = |nodes: &[Node]| -> BTreeSet<String> {
        let members = nodes.iter().filter(|node| !node.is_stranger);
        members.map(|node| node.id.clone()).collect()
    };
    let seen: Vec<BTreeSet<String>> = views.iter().map(|nodes| members(nodes)).collect();
    let worth = |(place, nodes): &(usize, Vec<Node>)| {
        let slots: u64 = nodes.iter().map(Node::slot_count).sum();
        let epoch = nodes.iter().map(|node| node.epoch).max();
        let agree = seen.iter().filter(|one| **one == seen[*place]).count();
        (slots, epoch, agree)
    };
    let best = views.into_iter().enumerate().max_by_key(worth)?;
    Some(best.1)
}

/// Which node of a shard is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The master.
    Master,
    /// A replica; without a healthy one the master.
    PreferReplica,
    /// The same, but the operator counts on a replica.
    Replica,
}

/// What a node says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// It is a replica.
    pub is_replica: bool,
    /// It is connected to its master, and neither of them is loading.
    pub is_linked: bool,
    /// How far it is, in bytes of its history.
    pub offset: u64,
}

/// The node to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Its address.
    pub address: Address,
    /// The master is followed although a replica is wanted.
    pub lacks_replica: bool,
}

/// The node to follow; nothing where none can be named now, and whoever follows one goes on as before. `health` is what those said that answered.
///
/// | wanted | a replica is healthy | the followed one is | the master answers | followed |
/// | --- | --- | --- | --- | --- |
/// | master | – | – | – | the master |
/// | a replica | yes | a healthy one | – | the same |
/// | a replica | yes | another | – | the farthest of the healthy |
/// | a replica | no | – | yes | the master |
/// | a replica | no | – | no | nothing new |
///
/// Healthy: it answers as a replica, is linked to its master, and not far behind it.
#[must_use]
pub fn choose(
    shard: &Shard,
    wanted: Wanted,
    health: &BTreeMap<String, Health>,
    followed: Option<&Address>,
) -> Option<Choice> {
    let master = shard.master.address.clone().map(|address| Choice {
        address,
        lacks_replica: wanted != Wanted::Master,
    });
    if wanted == Wanted::Master {
        return master;
    }
    let farthest = health.values().map(|one| one.offset).max().unwrap_or(0);
    let healthy = |node: &&Node| {
        let is_followed = node.address.as_ref() == followed;
        let behind_max = if is_followed {
            LEFT_BEHIND_BYTES
        } else {
            BEHIND_BYTES_MAX
        };
        let fits = |one: &Health| {
            one.is_replica && one.is_linked && farthest.saturating_sub(one.offset) <= behind_max
        };
        node.address.is_some() && health.get(&node.id).is_some_and(fits)
    };
    let replicas: Vec<&Node> = shard.replicas.iter().filter(healthy).collect();
    let same = replicas
        .iter()
        .copied()
        .find(|node| node.address.as_ref() == followed);
    let best = same.or_else(|| {
        let offset = |node: &&Node| (health.get(&node.id).map(|one| one.offset), node.id.clone());
        replicas.into_iter().max_by_key(offset)
    });
    if let Some(address) = best.and_then(|node| node.address.clone()) {
        return Some(Choice {
            address,
            lacks_replica: false,
        });
    }
    master.filter(|_| health.contains_key(&shard.master.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Address {
        Address {
            host: "h".into(),
            port,
        }
    }

    fn node(id: &str, port: u16, master: Option<&str>, slots: &[(u16, u16)]) -> Node {
        Node {
            id: id.into(),
            address: Some(at(port)),
            master: master.map(str::to_owned),
            is_myself: false,
            has_failed: false,
            is_stranger: false,
            epoch: 1,
            slots: slots.to_vec(),
            moving: None,
        }
    }

    fn ids(shard: &Shard) -> String {
        shard.nodes().map(|node| node.id.as_str()).collect()
    }

    #[test]
    fn masters_lead_their_replicas_in_the_order_of_their_slots() {
        let nodes = [
            node("n", 5, None, &[]),
            node("b", 2, None, &[(100, 200)]),
            node("a", 1, None, &[(300, 400), (0, 9)]),
            node("x", 3, Some("b"), &[]),
            node("y", 4, Some("b"), &[]),
            node("orphan", 6, Some("gone"), &[]),
        ];
        let found: Vec<String> = shards(&nodes).iter().map(ids).collect();
        assert_eq!(found, ["a", "bxy", "n"]);
    }

    #[test]
    fn a_failed_master_leads_only_what_it_serves() {
        let failed = |slots| Node {
            has_failed: true,
            ..node("a", 1, None, slots)
        };
        assert_eq!(shards(&[failed(&[])]), []);
        assert_eq!(shards(&[failed(&[(0, 1)])]).len(), 1);
        let stranger = Node {
            is_stranger: true,
            ..node("b", 2, None, &[])
        };
        assert_eq!(shards(&[stranger]), []);
    }

    #[test]
    fn every_row_of_the_table_of_views() {
        let whole = |epoch| {
            vec![
                Node {
                    epoch,
                    ..node("a", 1, None, &[(0, 8000)])
                },
                node("b", 2, None, &[(8001, 16_383)]),
            ]
        };
        let forgotten = [whole(1), vec![node("c", 3, None, &[])]].concat();
        let reset = vec![Node {
            epoch: 9,
            ..node("c", 3, None, &[])
        }];
        let row = |views: &[&Vec<Node>]| believed(views.iter().map(|view| (*view).clone()).collect());
        assert_eq!(row(&[&reset, &whole(1)]), Some(whole(1)));
        assert_eq!(row(&[&whole(2), &whole(1), &whole(1)]), Some(whole(2)));
        assert_eq!(row(&[&whole(1), &whole(1), &forgotten]), Some(whole(1)));
        assert_eq!(row(&[]), None);
    }

    #[test]
    fn every_row_of_the_table_of_nodes_to_follow() {
        let shard = Shard {
            master: node("m", 1, None, &[(0, 1)]),
            replicas: vec![node("x", 2, Some("m"), &[]), node("y", 3, Some("m"), &[])],
        };
        let (well, unlinked, far) = ((true, 100), (false, 100), (true, 0));
        let behind = BEHIND_BYTES_MAX + 101;
        let master = Some((behind - 1, true));
        type Told = Option<(u64, bool)>;
        let tell = |(is_linked, offset): (bool, u64), is_replica| Health {
            is_replica,
            is_linked,
            offset,
        };
        let health = |m: Told, x: Option<(bool, u64)>, y: Option<(bool, u64)>| {
            let mut health = BTreeMap::new();
            if let Some((offset, is_linked)) = m {
                health.insert("m".to_owned(), tell((is_linked, offset), false));
            }
            for (id, one) in [("x", x), ("y", y)] {
                if let Some(one) = one {
                    health.insert(id.to_owned(), tell(one, true));
                }
            }
            health
        };
        let replica = |port| Some((port, false));
        let rows = [
            (
                Wanted::Master,
                health(None, Some(well), None),
                None,
                Some((1, false)),
            ),
            (
                Wanted::Replica,
                health(master, Some(well), Some(well)),
                Some(2),
                replica(2),
            ),
            (
                Wanted::Replica,
                health(master, Some(well), Some((true, 101))),
                Some(1),
                replica(3),
            ),
            (
                Wanted::PreferReplica,
                health(master, None, Some(well)),
                Some(2),
                replica(3),
            ),
            (
                Wanted::PreferReplica,
                health(master, Some(unlinked), Some(well)),
                Some(2),
                replica(3),
            ),
            (
                Wanted::PreferReplica,
                health(master, Some(far), Some(well)),
                None,
                replica(3),
            ),
            (
                Wanted::PreferReplica,
                health(master, Some(far), None),
                Some(2),
                replica(2),
            ),
            (
                Wanted::PreferReplica,
                health(master, Some(far), None),
                None,
                Some((1, true)),
            ),
            (
                Wanted::Replica,
                health(master, None, Some(unlinked)),
                Some(2),
                Some((1, true)),
            ),
            (Wanted::Replica, health(None, None, Some(unlinked)), Some(2), None),
        ];
        for (number, (wanted, health, followed, expected)) in rows.into_iter().enumerate() {
            let chosen = choose(&shard, wanted, &health, followed.map(at).as_ref());
            let chosen = chosen.map(|one| (one.address.port, one.lacks_replica));
            assert_eq!(chosen, expected, "row {number}");
        }
    }

    #[test]
    fn a_replica_that_says_it_is_a_master_is_not_followed_as_one() {
        let shard = Shard {
            master: node("m", 1, None, &[(0, 1)]),
            replicas: vec![node("x", 2, Some("m"), &[])],
        };
        let told = |is_replica| Health {
            is_replica,
            is_linked: true,
            offset: 5,
        };
        let health = BTreeMap::from([("m".to_owned(), told(false)), ("x".to_owned(), told(false))]);
        let chosen = choose(&shard, Wanted::PreferReplica, &health, Some(&at(2))).unwrap();
        assert_eq!((chosen.address.port, chosen.lacks_replica), (1, true));
    }
}
