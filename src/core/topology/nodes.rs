//! The nodes of a cluster as one of them sees them: the answer to `CLUSTER NODES`, as every server since 3.0 gives it.
//!
//! ```text
//! id ip:port@bus[,host[,name=value…]] flags master ping pong epoch link slot slot-slot [slot->-id] [slot-<-id] …
//! ```
//!
//! `@bus` came with 4.0, the host with 7.0. The IP address of the node that answers may be missing: it is the one by which it was asked. Owns the reading.

use crate::core::command;
use crate::core::net::Address;

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id, 40 hexadecimal digits.
    pub id: String,
    /// Where it is; nothing where nobody knows.
    pub address: Option<Address>,
    /// The id of its master, where it is a replica.
    pub master: Option<String>,
    /// It is the one that answered.
    pub is_myself: bool,
    /// The cluster agrees that it is gone.
    pub has_failed: bool,
    /// It is not yet, or not any more, one of the cluster.
    pub is_stranger: bool,
    /// The epoch of what it serves: the higher is the newer.
    pub epoch: u64,
    /// What it serves, first and last slot.
    pub slots: Vec<(u16, u16)>,
    /// Slots that it gives away or takes over just now; nothing where it has not been asked itself.
    pub moving: Option<Vec<u16>>,
}

impl Node {
    /// How many slots it serves.
    #[must_use]
    pub fn slot_count(&self) -> u64 {
        let counts = self
            .slots
            .iter()
            .map(|(first, last)| u64::from(*last) - u64::from(*first) + 1);
        counts.sum()
    }
}

/// Reads the answer; nothing where it has another shape. `asked` is who answered.
#[must_use]
pub fn parse(text: &str, asked: &Address) -> Option<Vec<Node>> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let nodes: Option<Vec<Node>> = lines.map(|line| node(line, asked)).collect();
    nodes.filter(|nodes| !nodes.is_empty())
}

fn node(line: &str, asked: &Address) -> Option<Node> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [id, place, flags, master, _ping, _pong, epoch, _link, slots @ ..] = &words[..] else {
        return None;
    };
    let has = |flag: &str| flags.split(',').any(|one| one == flag);
    let is_myself = has("myself");
    Some(Node {
        id: (*id).to_owned(),
        address: address(place, asked, is_myself).filter(|_| !has("noaddr")),
        master: (*master != "-").then(|| (*master).to_owned()),
        is_myself,
        has_failed: has("fail"),
        is_stranger: has("handshake") || has("noaddr"),
        epoch: epoch.parse().ok()?,
        slots: command::ranges(
            slots
                .iter()
                .map(|slots| command::read_range(slots))
                .filter(Option::is_some),
        )?,
        moving: is_myself.then(|| {
            let moving = slots.iter().filter_map(|slots| moving(slots));
            moving.take(usize::from(command::SLOTS)).collect()
        }),
    })
}

fn address(place: &str, asked: &Address, is_myself: bool) -> Option<Address> {
    let place = place.split(',').next()?;
    let place = place.split('@').next()?;
    // An IPv6 address has colons too, and no brackets here.
    let (host, port) = place.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let host = match host {
        "" if is_myself => asked.host.clone(),
        "" => return None,
        host => host.to_owned(),
    };
    Some(Address { host, port })
}

/// `[7->-id]` or `[7-<-id]`; a node tells it of itself alone.
fn moving(slots: &str) -> Option<u16> {
    let slot = slots.strip_prefix('[')?.split('-').next()?.parse().ok()?;
    command::range(slot, slot).map(|(slot, _)| slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Address {
        Address {
            host: "seed".into(),
            port: 7000,
        }
    }

    fn one(line: &str) -> Node {
        parse(line, &asked()).unwrap().remove(0)
    }

    #[test]
    fn a_line_of_every_version_is_read() {
        let id = "07c37dfeb235213a872192d90877d0cd55635b91";
        for (place, expected) in [
            ("127.0.0.1:30004", "127.0.0.1:30004"),
            ("127.0.0.1:30004@31004", "127.0.0.1:30004"),
            ("127.0.0.1:30004@31004,host.example", "127.0.0.1:30004"),
            (
                "127.0.0.1:30004@31004,,shard-id=69bc,tls-port=1",
                "127.0.0.1:30004",
            ),
            ("::1:30004@31004", "[::1]:30004"),
        ] {
            let node = one(&format!(
                "{id} {place} slave e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca 0 1426238317239 4 connected"
            ));
            assert_eq!(
                node.address.map(|at| at.to_string()).as_deref(),
                Some(expected),
                "{place}"
            );
            assert_eq!(
                node.master.as_deref(),
                Some("e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca")
            );
            assert_eq!((node.id.as_str(), node.epoch), (id, 4));
        }
    }

    #[test]
    fn the_node_that_answers_may_not_know_its_own_address() {
        let node = one("aa :7001@17001 myself,master - 0 0 1 connected 0-5 7 [9->-bb] [3-<-cc]");
        assert_eq!(
            node.address,
            Some(Address {
                host: "seed".into(),
                port: 7001
            })
        );
        assert!(node.is_myself);
        assert_eq!(node.slots, [(0, 5), (7, 7)]);
        assert_eq!(node.slot_count(), 7);
        assert_eq!(node.moving, Some(vec![9, 3]));
        assert_eq!(one("aa :7001@17001 master - 0 0 1 connected").address, None);
    }

    #[test]
    fn slots_that_there_are_not_are_left_out_and_too_many_are_no_answer() {
        let served = |slots: &str| {
            let line = format!("aa 10.0.0.1:7001@17001 myself,master - 0 0 1 connected {slots}");
            let node = parse(&line, &asked())?.remove(0);
            Some((node.slot_count(), node.slots, node.moving.unwrap()))
        };
        for (slots, expected) in [
            ("5-3 7", (1, vec![(7, 7)], vec![])),
            ("16384 0-65535 -1 9-", (0, vec![], vec![])),
            ("[7->-bb] [16384->-bb] [x-<-cc]", (0, vec![], vec![7])),
        ] {
            assert_eq!(served(slots), Some(expected), "{slots}");
        }
        assert_eq!(served(&"0-16383 ".repeat(2)), None);
        let moving = served(&"[1->-bb] ".repeat(20_000)).unwrap().2;
        assert_eq!(moving.len(), 16_384);
    }

    #[test]
    fn flags_tell_who_is_gone_and_who_is_no_member() {
        let state = |flags: &str| {
            let node = one(&format!("aa 10.0.0.1:7001@17001 {flags} - 0 0 1 connected"));
            (node.has_failed, node.is_stranger)
        };
        assert_eq!(state("master"), (false, false));
        assert_eq!(state("master,fail?"), (false, false));
        assert_eq!(state("master,fail"), (true, false));
        assert_eq!(state("handshake"), (false, true));
        assert_eq!(state("master,noaddr,fail"), (true, true));
    }

    #[test]
    fn what_is_no_such_answer_is_none() {
        for text in ["", "\n", "aa bb", "aa 10.0.0.1:7001 master - 0 0 x connected"] {
            assert_eq!(parse(text, &asked()), None, "{text:?}");
        }
    }
}
