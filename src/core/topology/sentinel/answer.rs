//! What sentinels, and the server that they name, answer. Without I/O.

use crate::core::net::Address;
use crate::core::resp::Value;

/// So many sentinels are asked at most, those of the configuration first, and whatever they say: nobody has more.
const KNOWN_MAX: usize = 32;

/// Notes others, as long as there are not too many.
pub fn learn(known: &mut Vec<Address>, others: Vec<Address>) {
    for other in others {
        if known.len() < KNOWN_MAX && !known.contains(&other) {
            known.push(other);
        }
    }
}

/// Whether it is a master, by its answer to `ROLE`.
#[must_use]
pub fn is_master_by_role(role: &Value) -> bool {
    let role = role.array().and_then(|parts| parts.first()?.text());
    role == Some(b"master")
}

/// The same by the text of `INFO replication`.
#[must_use]
pub fn is_master_by_info(info: &str) -> bool {
    info.lines().any(|line| line.trim() == "role:master")
}

/// An address out of host and port.
#[must_use]
pub fn address(host: Option<&Value>, port: Option<&Value>) -> Option<Address> {
    let text = |value: Option<&Value>| Some(String::from_utf8_lossy(value?.text()?).into_owned());
    Some(Address {
        host: text(host).filter(|host| !host.is_empty())?,
        port: text(port)?.parse().ok().filter(|port| *port > 0)?,
    })
}

/// A value out of names and values in turn, or out of a map.
#[must_use]
pub fn fact(facts: &Value, name: &[u8]) -> Option<String> {
    let text = |value: &Value| Some(String::from_utf8_lossy(value.text()?).into_owned());
    match facts {
        Value::Map(pairs) => {
            let pair = pairs.iter().find(|(key, _)| key.text() == Some(name))?;
            text(&pair.1)
        }
        facts => {
            let mut pairs = facts.array()?.chunks_exact(2);
            text(&pairs.find(|pair| pair[0].text() == Some(name))?[1])
        }
    }
}

/// The addresses of the sentinels that one of them knows.
#[must_use]
pub fn addresses(sentinels: &Value) -> Vec<Address> {
    let one = |facts: &Value| {
        Some(Address {
            host: fact(facts, b"ip").filter(|ip| !ip.is_empty())?,
            port: fact(facts, b"port")?.parse().ok().filter(|port| *port > 0)?,
        })
    };
    sentinels
        .array()
        .unwrap_or_default()
        .iter()
        .filter_map(one)
        .collect()
}

/// `message +switch-master "name old-ip old-port new-ip new-port"`.
#[must_use]
pub fn is_switch(message: &Value, name: &str) -> bool {
    let (Value::Array(parts) | Value::Push(parts)) = message else {
        return false;
    };
    let [kind, _channel, text] = &parts[..] else {
        return false;
    };
    let text = text.text().unwrap_or_default();
    kind.text() == Some(b"message") && text.split(|byte| *byte == b' ').next() == Some(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    fn list(texts: &[&str]) -> Value {
        Value::Array(texts.iter().map(|text| bulk(text)).collect())
    }

    #[test]
    fn sentinels_without_number_are_not_hoarded_and_those_of_the_configuration_stay() {
        let at = |port: u16| Address {
            host: "h".to_owned(),
            port,
        };
        let mut known: Vec<Address> = (1..=3).map(at).collect();
        learn(&mut known, (1..1_000).map(at).collect());
        let expected: Vec<Address> = (1..=32).map(at).collect();
        assert_eq!(known, expected);
        let mut many: Vec<Address> = (1..=40).map(at).collect();
        learn(&mut many, vec![at(99)]);
        assert_eq!(many.len(), 40);
    }

    #[test]
    fn only_a_switch_of_our_master_is_heard() {
        let message = |text: &str| list(&["message", "+switch-master", text]);
        assert!(is_switch(&message("mine 10.0.0.1 1 10.0.0.2 2"), "mine"));
        assert!(!is_switch(&message("mine2 10.0.0.1 1 10.0.0.2 2"), "mine"));
        assert!(!is_switch(
            &list(&["subscribe", "+switch-master", "mine"]),
            "mine"
        ));
        assert!(!is_switch(&bulk("mine"), "mine"));
    }

    #[test]
    fn other_sentinels_are_read_from_lists_and_from_maps() {
        let flat = list(&["name", "x", "ip", "10.0.0.1", "port", "26379"]);
        let map = Value::Map(vec![
            (bulk("ip"), bulk("10.0.0.2")),
            (bulk("port"), bulk("26380")),
        ]);
        let lame = list(&["ip", "", "port", "26379"]);
        let found: Vec<String> = addresses(&Value::Array(vec![flat, map, lame]))
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, ["10.0.0.1:26379", "10.0.0.2:26380"]);
    }

    #[test]
    fn a_master_without_an_address_is_none() {
        assert_eq!(address(Some(&bulk("")), Some(&bulk("1"))), None);
        assert_eq!(address(Some(&bulk("h")), Some(&bulk("0"))), None);
        assert_eq!(address(Some(&bulk("h")), None), None);
    }
}
