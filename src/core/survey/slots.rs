//! What a node of a cluster says of who serves which slots: the answer to `CLUSTER SLOTS`.
//!
//! ```text
//! [first slot, last slot, [host, port, id, [name, value, …]], replicas…], …
//! ```
//!
//! Id and names came later (4.0 and 7.0). The host may be null or empty, which means the one by which the node was asked, or `?`, where the
//! operator wanted names and this node has none; then its IP address is among the names (`cluster_legacy.c`, `clusterCommandSlots`).

use redis::Value;

use crate::core::command::SLOTS;
use crate::core::net::Address;

/// Who serves the slots.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Served {
    /// The masters, each once, in the order of their slots.
    pub(super) masters: Vec<Address>,
    /// How many slots they serve together. All but a few moments of a cluster's life: every one.
    pub(super) slots: u64,
}

impl Served {
    /// Reads the answer; nothing where it has another shape. `asked` is who answered.
    pub(super) fn parse(answer: &Value, asked: &Address) -> Option<Served> {
        let Value::Array(ranges) = answer else {
            return None;
        };
        let (mut masters, mut slots) = (Vec::new(), 0);
        for range in ranges {
            let Value::Array(parts) = range else {
                return None;
            };
            let [Value::Int(first), Value::Int(last), Value::Array(node), ..] = &parts[..] else {
                return None;
            };
            if *first < 0 || last < first || *last >= i64::from(SLOTS) {
                return None;
            }
            slots += last.abs_diff(*first) + 1;
            let master = address(node, asked)?;
            if !masters.contains(&master) {
                masters.push(master);
            }
        }
        Some(Served { masters, slots })
    }
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
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
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

    fn served(ranges: Vec<Value>) -> Option<Served> {
        let asked = Address {
            host: "seed".into(),
            port: 7,
        };
        Served::parse(&Value::Array(ranges), &asked)
    }

    fn told(ranges: Vec<Value>) -> Option<String> {
        let masters = served(ranges)?.masters;
        let texts: Vec<String> = masters.iter().map(ToString::to_string).collect();
        Some(texts.join(" "))
    }

    #[test]
    fn a_master_is_told_once_however_many_ranges_it_serves() {
        let node = |port| vec![bulk("10.0.0.1"), Value::Int(port), bulk("id")];
        let ranges = vec![
            range(0, 5, node(1)),
            range(6, 9, node(2)),
            range(10, 16_383, node(1)),
        ];
        assert_eq!(served(ranges.clone()).unwrap().slots, 16_384);
        assert_eq!(served(ranges[1..].to_vec()).unwrap().slots, 16_378);
        assert_eq!(told(ranges).as_deref(), Some("10.0.0.1:1 10.0.0.1:2"));
        assert_eq!(told(vec![]).as_deref(), Some(""));
    }

    #[test]
    fn a_host_that_is_not_told_is_the_one_that_was_asked() {
        for host in [Value::Nil, bulk("")] {
            let ranges = vec![range(0, 1, vec![host, Value::Int(1)])];
            assert_eq!(told(ranges).as_deref(), Some("seed:1"));
        }
    }

    #[test]
    fn a_node_without_the_name_that_is_preferred_is_reached_by_its_ip() {
        let names = Value::Array(vec![bulk("ip"), bulk("10.0.0.3")]);
        let unnamed = |names| vec![bulk("?"), Value::Int(1), bulk("id"), names];
        assert_eq!(
            told(vec![range(0, 1, unnamed(names))]).as_deref(),
            Some("10.0.0.3:1")
        );
        assert_eq!(told(vec![range(0, 1, unnamed(Value::Array(vec![])))]), None);
    }

    #[test]
    fn an_answer_of_another_shape_is_none() {
        for node in [
            vec![],
            vec![bulk("h")],
            vec![bulk("h"), Value::Int(0)],
            vec![bulk("h"), Value::Int(70_000)],
        ] {
            assert_eq!(told(vec![range(0, 1, node)]), None);
        }
        let node = || vec![bulk("h"), Value::Int(1)];
        for (first, last) in [(5, 3), (i64::MIN, i64::MAX), (-1, 3), (0, 16_384)] {
            assert_eq!(told(vec![range(first, last, node())]), None);
        }
        assert_eq!(told(vec![Value::Int(1)]), None);
    }
}
