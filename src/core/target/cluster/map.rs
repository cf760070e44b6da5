//! Who serves which slot of a cluster.
//!
//! Read from `CLUSTER SLOTS`, which every server that knows clusters answers:
//!
//! ```text
//! [first slot, last slot, [host, port, id, [name, value, …]], replicas…], …
//! ```
//!
//! Id and names came later (4.0 and 7.0). The host may be null or empty, which means the one by which the node was asked, or `?`, where the operator
//! wanted names and this node has none; then its IP address is among the names (`cluster_legacy.c`, `clusterCommandSlots`).

use crate::core::command::{self, SLOTS};
use crate::core::net::Address;
use crate::core::resp::Value;

/// Nobody serves the slot.
const NOBODY: u16 = u16::MAX;

/// Who serves which slot, as somebody has said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotMap {
    /// For each slot, the place of its master in `masters`.
    owners: Vec<u16>,
    masters: Vec<Address>,
}

impl SlotMap {
    /// Reads the answer of `asked`; nothing where it has another shape.
    #[must_use]
    pub fn parse(answer: &Value, asked: &Address) -> Option<SlotMap> {
        let mut map = SlotMap {
            owners: vec![NOBODY; usize::from(SLOTS)],
            masters: Vec::new(),
        };
        let told = answer.array()?;
        if told.len() > map.owners.len() {
            return None;
        }
        for range in told {
            let [Value::Int(first), Value::Int(last), Value::Array(node), ..] = range.array()? else {
                return None;
            };
            let range = command::range(*first, *last)?;
            map.give(range, &address(node, asked)?);
        }
        Some(map)
    }

    /// Who serves the slot, as far as is known.
    #[must_use]
    pub fn owner(&self, slot: u16) -> Option<&Address> {
        self.masters.get(usize::from(self.owners[usize::from(slot)]))
    }

    /// The masters that serve slots; the order is that of the answer.
    pub fn masters(&self) -> impl Iterator<Item = &Address> {
        let serves = self.serving();
        let masters = self.masters.iter().zip(serves);
        masters.filter_map(|(master, serves)| serves.then_some(master))
    }

    /// For each of `masters`, whether it serves a slot.
    fn serving(&self) -> Vec<bool> {
        let mut serving = vec![false; self.masters.len()];
        for owner in &self.owners {
            if let Some(serves) = serving.get_mut(usize::from(*owner)) {
                *serves = true;
            }
        }
        serving
    }

    /// The slots that this master serves, ascending.
    pub fn slots_of<'a>(&'a self, master: &Address) -> impl Iterator<Item = u16> + 'a {
        let place = self.masters.iter().position(|one| one == master);
        let place = place
            .and_then(|place| u16::try_from(place).ok())
            .unwrap_or(NOBODY - 1);
        (0..SLOTS).filter(move |slot| self.owners[usize::from(*slot)] == place)
    }

    /// How many slots somebody serves.
    #[must_use]
    pub fn served(&self) -> usize {
        self.owners.iter().filter(|owner| **owner != NOBODY).count()
    }

    /// From now on the slot is served by `master`: a node has said so.
    pub fn moved(&mut self, slot: u16, master: &Address) {
        self.give((slot, slot), master);
    }

    fn give(&mut self, (first, last): (u16, u16), master: &Address) {
        let slots = usize::from(first)..=usize::from(last);
        // Nobody's meanwhile: with as many masters as slots, one of them serves none now.
        self.owners[slots.clone()].fill(NOBODY);
        let place = self.place(master);
        self.owners[slots].fill(place);
    }

    /// Where a master stands; one that is new takes the place of one that serves nothing any more, where there are as many as slots. A slot at least is nobody's.
    fn place(&mut self, master: &Address) -> u16 {
        let known = self.masters.iter().position(|one| one == master);
        let place = known.unwrap_or_else(|| {
            if self.masters.len() < self.owners.len() {
                self.masters.push(master.clone());
                return self.masters.len() - 1;
            }
            let serving = self.serving();
            let free = serving.iter().position(|serves| !serves);
            let free = free.expect("a slot is nobody's, so fewer masters than slots serve some");
            self.masters[free] = master.clone();
            free
        });
        u16::try_from(place).expect("there are at most as many masters as slots")
    }
}

/// All nodes that the answer of `asked` names, the masters first; those of an unknown shape are left out.
#[must_use]
pub fn nodes_in(answer: &Value, asked: &Address) -> Vec<Address> {
    let (mut masters, mut replicas) = (Vec::new(), Vec::new());
    // No answer of a cluster has more.
    for range in answer.array().unwrap_or_default().iter().take(usize::from(SLOTS)) {
        let nodes = range.array().and_then(|range| range.get(2..)).unwrap_or_default();
        for (nth, node) in nodes.iter().enumerate() {
            let Some(node) = node.array().and_then(|node| address(node, asked)) else {
                continue;
            };
            let seen = if nth == 0 { &mut masters } else { &mut replicas };
            if !seen.contains(&node) {
                seen.push(node);
            }
        }
    }
    masters.extend(replicas);
    masters
}

fn address(node: &[Value], asked: &Address) -> Option<Address> {
    let [host, Value::Int(port), more @ ..] = node else {
        return None;
    };
    let host = match host {
        Value::Nil => String::new(),
        other => text(other)?,
    };
    let host = match host.as_str() {
        "" => asked.host.clone(),
        "?" => named(more, "ip")?,
        _ => host,
    };
    let port = u16::try_from(*port).ok().filter(|port| *port > 0)?;
    Some(Address { host, port })
}

/// A value of the names, which stand behind the id.
fn named(more: &[Value], name: &str) -> Option<String> {
    let [_, Value::Array(names), ..] = more else {
        return None;
    };
    let mut pairs = names.chunks_exact(2);
    let pair = pairs.find(|pair| text(&pair[0]).as_deref() == Some(name))?;
    text(&pair[1])
}

fn text(value: &Value) -> Option<String> {
    String::from_utf8(value.text()?.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Address {
        Address {
            host: host.into(),
            port,
        }
    }

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    fn range(first: i64, last: i64, node: Vec<Value>) -> Value {
        let replica = Value::Array(vec![bulk("10.0.0.9"), Value::Int(9)]);
        Value::Array(vec![
            Value::Int(first),
            Value::Int(last),
            Value::Array(node),
            replica,
        ])
    }

    fn parsed(ranges: Vec<Value>) -> Option<SlotMap> {
        SlotMap::parse(&Value::Array(ranges), &at("seed", 7))
    }

    #[test]
    fn every_form_of_a_host_is_understood() {
        let names = Value::Array(vec![bulk("ip"), bulk("10.0.0.3")]);
        let map = parsed(vec![
            range(0, 9, vec![bulk("10.0.0.1"), Value::Int(1)]),
            range(10, 10, vec![Value::Nil, Value::Int(2), bulk("id")]),
            range(11, 20, vec![bulk("?"), Value::Int(3), bulk("id"), names]),
            range(21, 21, vec![bulk("10.0.0.1"), Value::Int(1)]),
        ])
        .unwrap();
        assert_eq!(map.owner(0), Some(&at("10.0.0.1", 1)));
        assert_eq!(map.owner(10), Some(&at("seed", 2)));
        assert_eq!(map.owner(20), Some(&at("10.0.0.3", 3)));
        assert_eq!(
            (map.owner(22), map.served(), map.masters().count()),
            (None, 22, 3)
        );
        assert_eq!(map.slots_of(&at("10.0.0.1", 1)).count(), 11);
    }

    #[test]
    fn all_nodes_are_named_once_and_masters_first() {
        let answer = Value::Array(vec![
            range(0, 9, vec![bulk("10.0.0.1"), Value::Int(1)]),
            range(10, 10, vec![Value::Nil, Value::Int(2), bulk("id")]),
            range(11, 20, vec![bulk("10.0.0.1"), Value::Int(1)]),
        ]);
        let nodes = nodes_in(&answer, &at("seed", 7));
        assert_eq!(nodes, [at("10.0.0.1", 1), at("seed", 2), at("10.0.0.9", 9)]);
        assert_eq!(nodes_in(&bulk("x"), &at("seed", 7)), []);
    }

    #[test]
    fn what_has_another_shape_is_no_map() {
        assert_eq!(SlotMap::parse(&bulk("x"), &at("seed", 7)), None);
        for bad in [
            range(5, 4, vec![bulk("h"), Value::Int(1)]),
            range(0, 16_384, vec![bulk("h"), Value::Int(1)]),
            range(-1, 4, vec![bulk("h"), Value::Int(1)]),
            range(i64::MIN, i64::MAX, vec![bulk("h"), Value::Int(1)]),
            range(0, 1, vec![bulk("h"), Value::Int(0)]),
            range(0, 1, vec![bulk("h"), Value::Int(70_000)]),
            range(0, 1, vec![bulk("h")]),
            range(0, 1, vec![]),
            range(0, 1, vec![bulk("?"), Value::Int(1)]),
            Value::Int(1),
        ] {
            assert_eq!(parsed(vec![bad]), None);
        }
    }

    #[test]
    fn masters_without_number_are_not_hoarded() {
        // As many as slots, each with one: whoever comes takes the place of one that has lost its own.
        let mut map = SlotMap {
            owners: (0..SLOTS).collect(),
            masters: (0..SLOTS).map(|slot| at("h", slot)).collect(),
        };
        for (slot, port) in [
            (0, 20_000),
            (SLOTS - 1, 20_001),
            (7, 20_002),
            (7, 20_003),
            (8, 20_003),
        ] {
            let master = at("new", port);
            map.moved(slot, &master);
            assert_eq!(map.owner(slot), Some(&master));
            assert_eq!(map.masters.len(), usize::from(SLOTS));
        }
        assert_eq!(
            (map.owner(0), map.owner(9)),
            (Some(&at("new", 20_000)), Some(&at("h", 9)))
        );
        assert_eq!((map.served(), map.masters().count()), (16_384, 16_383));
        let one = range(0, 0, vec![bulk("h"), Value::Int(1)]);
        assert_eq!(parsed(vec![one.clone(); usize::from(SLOTS)]).unwrap().served(), 1);
        assert_eq!(parsed(vec![one; usize::from(SLOTS) + 1]), None);
    }

    #[test]
    fn a_slot_that_moved_has_another_owner_and_a_master_without_slots_is_none() {
        let mut map = parsed(vec![range(0, 0, vec![bulk("h"), Value::Int(1)])]).unwrap();
        map.moved(0, &at("h", 2));
        assert_eq!(map.owner(0), Some(&at("h", 2)));
        assert_eq!(map.masters().collect::<Vec<_>>(), [&at("h", 2)]);
    }
}
