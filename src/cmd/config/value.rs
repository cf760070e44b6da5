//! From what YAML found to what a key holds, or why not.

use std::collections::BTreeMap;
use std::time::Duration;

use super::address::{Address, NotAnAddress};
use super::document::{At, Content, Node};
use super::schema::Kind;
use super::units;

/// Stands for a port that was not written: it depends on another key whether a Redis server or a sentinel is meant.
pub(super) const PORT_LATER: u16 = 0;

/// The last slot of a cluster.
const SLOT_LAST: u16 = 16_383;

/// What a key holds; which variant follows from its [`Kind`].
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Flag(bool),
    Integer(i64),
    /// `None`: no limit.
    Bytes(Option<u64>),
    Duration(Duration),
    Text(String),
    Address(Address),
    Addresses(Vec<Address>),
    Texts(Vec<String>),
    Databases(Vec<u32>),
    DatabaseMap(BTreeMap<u32, u32>),
    Slots(Vec<(u16, u16)>),
}

impl Value {
    /// Whether it is a 0 (or, as redis-GunYu has it, less).
    pub(super) fn is_zero(&self) -> bool {
        match self {
            Value::Integer(number) => *number <= 0,
            Value::Bytes(bytes) => *bytes == Some(0),
            Value::Duration(duration) => duration.is_zero(),
            _ => false,
        }
    }
}

/// Why a value does not do.
#[derive(Debug, PartialEq)]
pub(super) struct Mismatch {
    /// Where in the value, where that is not the value as a whole.
    pub(super) at: Option<At>,
    pub(super) message: String,
}

impl From<String> for Mismatch {
    fn from(message: String) -> Mismatch {
        Mismatch { at: None, message }
    }
}

impl From<NotAnAddress> for Mismatch {
    fn from(error: NotAnAddress) -> Mismatch {
        error.to_string().into()
    }
}

/// How a node is to be read.
pub(super) struct Reading<'a> {
    pub(super) kind: Kind,
    /// The value comes from where there is only text (a flag, the environment): `"5"` is as good as `5`.
    pub(super) from_text: bool,
    /// 0 (of an integer, less as well) stands for "not set" and lies within any limits.
    pub(super) zero_is_unset: bool,
    /// A scalar as it was written.
    pub(super) written: &'a dyn Fn(At) -> Option<String>,
}

impl Reading<'_> {
    /// Reads a node as the value of a key.
    pub(super) fn read(&self, node: &Node) -> Result<Value, Mismatch> {
        match self.kind {
            Kind::Flag => self.flag(node).map(Value::Flag),
            Kind::Integer { least, most } => {
                let number = self.integer(node)?;
                let number = i64::try_from(number)
                    .ok()
                    .filter(|n| (*n <= 0 && self.zero_is_unset) || (least..=most).contains(n));
                number.map(Value::Integer).ok_or_else(|| self.unexpected(node))
            }
            Kind::Bytes {
                least,
                most,
                unlimited,
            } => self.bytes(node, least, most, unlimited).map(Value::Bytes),
            Kind::Duration { .. } => self.duration(node).map(Value::Duration),
            Kind::Text | Kind::Secret => self.text(node).map(Value::Text),
            Kind::Choice(names) => {
                let name = self.text(node)?;
                match names.contains(&name.as_str()) {
                    true => Ok(Value::Text(name)),
                    false => Err(self.unexpected(node)),
                }
            }
            Kind::Address => Ok(Value::Address(listen_address(&self.text(node)?)?)),
            Kind::Addresses => self.elements(node, |e| self.address(e)).map(Value::Addresses),
            Kind::Texts => self.elements(node, |e| self.nonempty(e)).map(Value::Texts),
            Kind::Databases => self.elements(node, |e| self.database(e)).map(Value::Databases),
            Kind::DatabaseMap => self.database_map(node).map(Value::DatabaseMap),
            Kind::Slots => self.elements(node, |e| self.slots(e)).map(Value::Slots),
        }
    }

    fn unexpected(&self, node: &Node) -> Mismatch {
        let expected = self.kind.expected();
        let found = match self.kind {
            Kind::Secret => found_kind(&node.content).to_owned(),
            _ => found(&node.content),
        };
        Mismatch {
            at: Some(node.at),
            message: format!("expected {expected}, found {found}"),
        }
    }

    fn flag(&self, node: &Node) -> Result<bool, Mismatch> {
        match &node.content {
            Content::Flag(flag) => Ok(*flag),
            // YAML 1.1 had these, and Go's YAML still takes them where a bool is meant.
            Content::Text(text) => match text.to_ascii_lowercase().as_str() {
                "yes" | "on" => Ok(true),
                "no" | "off" => Ok(false),
                "true" if self.from_text => Ok(true),
                "false" if self.from_text => Ok(false),
                _ => Err(self.unexpected(node)),
            },
            _ => Err(self.unexpected(node)),
        }
    }

    fn integer(&self, node: &Node) -> Result<i128, Mismatch> {
        match &node.content {
            Content::Integer(number) => Ok(*number),
            Content::Text(text) if self.from_text => text.parse().map_err(|_| self.unexpected(node)),
            _ => Err(self.unexpected(node)),
        }
    }

    fn bytes(&self, node: &Node, least: u64, most: u64, unlimited: bool) -> Result<Option<u64>, Mismatch> {
        let bytes = match &node.content {
            Content::Integer(-1) if unlimited => return Ok(None),
            Content::Text(text) if unlimited && self.from_text && text == "-1" => return Ok(None),
            Content::Integer(number) => u64::try_from(*number).ok(),
            Content::Text(text) => units::size(text),
            _ => None,
        };
        let bytes = bytes.ok_or_else(|| self.unexpected(node))?;
        match (bytes == 0 && self.zero_is_unset) || (least..=most).contains(&bytes) {
            true => Ok(Some(bytes)),
            false => Err(format!("{bytes} bytes are not from {least} to {most}").into()),
        }
    }

    fn duration(&self, node: &Node) -> Result<Duration, Mismatch> {
        match &node.content {
            Content::Integer(0) => Ok(Duration::ZERO),
            Content::Text(text) => units::duration(text).ok_or_else(|| self.unexpected(node)),
            _ => Err(self.unexpected(node)),
        }
    }

    fn text(&self, node: &Node) -> Result<String, Mismatch> {
        match &node.content {
            Content::Text(text) => Ok(text.clone()),
            Content::Integer(_) | Content::Float(_) | Content::Flag(_) => {
                (self.written)(node.at).ok_or_else(|| self.unexpected(node))
            }
            Content::Null | Content::List(_) | Content::Map(_) => Err(self.unexpected(node)),
        }
    }

    /// The elements of a list. One text stands for a list of addresses, as in redis-GunYu's own examples, and from
    /// where there is only text for any list.
    fn elements<T>(
        &self,
        node: &Node,
        mut each: impl FnMut(&Node) -> Result<T, Mismatch>,
    ) -> Result<Vec<T>, Mismatch> {
        let located = |node: &Node, mismatch: Mismatch| Mismatch {
            at: mismatch.at.or(Some(node.at)),
            ..mismatch
        };
        match &node.content {
            Content::List(nodes) => nodes.iter().map(|n| each(n).map_err(|e| located(n, e))).collect(),
            Content::Text(text) if self.from_text || matches!(self.kind, Kind::Addresses) => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                let nodes = parts.map(|part| Node {
                    at: node.at,
                    content: Content::Text(part.to_owned()),
                });
                nodes.map(|n| each(&n)).collect()
            }
            _ => Err(self.unexpected(node)),
        }
    }

    fn address(&self, node: &Node) -> Result<Address, Mismatch> {
        Ok(Address::parse(self.text(node)?.trim(), Some(PORT_LATER))?)
    }

    fn nonempty(&self, node: &Node) -> Result<String, Mismatch> {
        match self.text(node)? {
            text if text.is_empty() => Err("an empty text in a list stands for everything; leave it out"
                .to_owned()
                .into()),
            text => Ok(text),
        }
    }

    fn database(&self, node: &Node) -> Result<u32, Mismatch> {
        let number = match &node.content {
            Content::Integer(number) => u32::try_from(*number).ok(),
            Content::Text(text) if self.from_text => text.parse().ok(),
            _ => None,
        };
        number.ok_or_else(|| self.unexpected(node))
    }

    fn database_map(&self, node: &Node) -> Result<BTreeMap<u32, u32>, Mismatch> {
        let Content::Map(entries) = &node.content else {
            return Err(self.unexpected(node));
        };
        let mut map = BTreeMap::new();
        for entry in entries {
            let wrong = |message: String| Mismatch {
                at: Some(entry.at),
                message,
            };
            let from = entry
                .key
                .parse()
                .map_err(|_| wrong(format!("{:?} is not a database number", entry.key)))?;
            if map.insert(from, self.database(&entry.value)?).is_some() {
                return Err(wrong(format!("database {from} is mapped twice")));
            }
        }
        Ok(map)
    }

    /// A slot, `[slot]`, or `[first, last]`.
    fn slots(&self, node: &Node) -> Result<(u16, u16), Mismatch> {
        let slot = |node: &Node| self.database(node).ok().and_then(|n| u16::try_from(n).ok());
        let range = match &node.content {
            Content::List(ends) if ends.len() == 2 => slot(&ends[0]).zip(slot(&ends[1])),
            Content::List(ends) if ends.len() == 1 => slot(&ends[0]).map(|only| (only, only)),
            Content::Integer(_) | Content::Text(_) => slot(node).map(|only| (only, only)),
            _ => None,
        };
        match range.filter(|(first, last)| first <= last && *last <= SLOT_LAST) {
            Some(range) => Ok(range),
            None => {
                Err(format!("not [slot] or [first, last] with slots from 0 to {SLOT_LAST} in order").into())
            }
        }
    }
}

/// An address to listen on: `:18001` is every address of the machine, as Go has it.
fn listen_address(text: &str) -> Result<Address, NotAnAddress> {
    match text.starts_with(':') && !text.starts_with("::") {
        true => Address::parse(&format!("0.0.0.0{text}"), None),
        false => Address::parse(text, None),
    }
}

fn found(content: &Content) -> String {
    match content {
        Content::Flag(flag) => flag.to_string(),
        Content::Integer(number) => format!("the integer {number}"),
        Content::Float(number) => format!("the number {number}"),
        Content::Text(text) => format!("the text {text:?}"),
        Content::Null | Content::List(_) | Content::Map(_) => found_kind(content).to_owned(),
    }
}

fn found_kind(content: &Content) -> &'static str {
    match content {
        Content::Null => "nothing",
        Content::Flag(_) | Content::Integer(_) | Content::Float(_) | Content::Text(_) => "something else",
        Content::List(_) => "a list",
        Content::Map(_) => "a section",
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::Document;
    use super::*;

    fn read(kind: Kind, text: &str) -> Result<Value, String> {
        let document = Document::parse(text).unwrap();
        let reading = Reading {
            kind,
            from_text: false,
            zero_is_unset: false,
            written: &|at| document.written(at),
        };
        reading.read(&document.root).map_err(|e| e.message)
    }

    #[test]
    fn a_number_where_a_text_is_meant_is_taken_as_written() {
        for text in ["1e5", "0123", "0x10", "true", "1.0", "-0"] {
            assert_eq!(
                read(Kind::Secret, text),
                Ok(Value::Text(text.to_owned())),
                "{text}"
            );
        }
    }

    #[test]
    fn flags_may_be_written_as_in_older_yaml() {
        for (text, flag) in [
            ("true", true),
            ("Yes", true),
            ("on", true),
            ("off", false),
            ("no", false),
        ] {
            assert_eq!(read(Kind::Flag, text), Ok(Value::Flag(flag)), "{text}");
        }
        assert!(read(Kind::Flag, "1").is_err());
        assert!(read(Kind::Flag, "'true'").is_err());
    }

    #[test]
    fn slots_are_single_or_ranges_in_order() {
        assert_eq!(
            read(Kind::Slots, "[[0, 1000], [1002], 7, [16383]]"),
            Ok(Value::Slots(vec![
                (0, 1000),
                (1002, 1002),
                (7, 7),
                (16383, 16383)
            ]))
        );
        for wrong in [
            "[[2, 1]]",
            "[[0, 16384]]",
            "[[]]",
            "[[1, 2, 3]]",
            "[[-1]]",
            "[a]",
            "5",
        ] {
            assert!(read(Kind::Slots, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_map_of_databases_names_each_source_once() {
        assert_eq!(
            read(Kind::DatabaseMap, "{0: 1, '2': 3}"),
            Ok(Value::DatabaseMap(BTreeMap::from([(0, 1), (2, 3)])))
        );
        for wrong in ["{0: 1, 00: 2}", "{a: 1}", "{0: -1}", "[1]"] {
            assert!(read(Kind::DatabaseMap, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_integer_is_no_duration_but_zero_is() {
        let kind = Kind::Duration {
            least: Duration::ZERO,
            most: Duration::MAX,
        };
        assert_eq!(read(kind, "0"), Ok(Value::Duration(Duration::ZERO)));
        let message = read(kind, "10").unwrap_err();
        assert_eq!(
            message,
            "expected a duration (as 300ms, 10s, 1m30s, 12h), found the integer 10"
        );
    }

    #[test]
    fn what_is_said_of_a_secret_does_not_hold_it() {
        let message = read(Kind::Secret, "[hunter2]").unwrap_err();
        assert!(!message.contains("hunter2"), "{message}");
    }

    #[test]
    fn to_listen_without_a_host_is_to_listen_everywhere() {
        let address = Address {
            host: "0.0.0.0".to_owned(),
            port: 18001,
        };
        assert_eq!(read(Kind::Address, "':18001'"), Ok(Value::Address(address)));
    }
}
