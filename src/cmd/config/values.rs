//! Every key's value, and where it was written.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::address::Address;
use super::document::{At, Document};
use super::error::Origin;
use super::keys::ROOT;
use super::schema;
use super::secret::Secret;
use super::value::{Reading, Value};

/// Where a value was written. A line is only looked up when somebody asks.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Default,
    File(At),
    Environment(String),
    Flag(String),
}

/// The values of all layers; of each key the strongest.
pub(super) struct Values {
    values: HashMap<String, (Value, Place)>,
    file: Option<(String, Document)>,
    /// What the operator should know of.
    pub(super) notes: Vec<String>,
}

impl Values {
    /// The lowest layer: what the table says.
    pub(super) fn defaults() -> Values {
        let keys = schema::keys(ROOT).into_iter();
        let values = keys
            .filter(|(_, _, key)| !key.default.is_empty())
            .map(|(path, _, key)| {
                let document = Document::parse(key.default).expect("the defaults of the table are YAML");
                let reading = Reading {
                    kind: key.kind,
                    from_text: false,
                    zero_is_unset: key.zero_is_unset,
                    written: &|at| document.written(at),
                };
                let value = reading
                    .read(&document.root)
                    .expect("the defaults of the table have the types it says");
                (path, (value, Place::Default))
            });
        Values {
            values: values.collect(),
            file: None,
            notes: Vec::new(),
        }
    }

    pub(super) fn read_from(&mut self, name: &str, document: Document) {
        self.file = Some((name.to_owned(), document));
    }

    /// Layers are put from the lowest up, so the last one wins.
    pub(super) fn put(&mut self, path: &str, value: Value, place: Place) {
        self.values.insert(path.to_owned(), (value, place));
    }

    /// Goes back to the default: for a key, or for all keys of a section.
    pub(super) fn unset(&mut self, path: &str) {
        let inside = format!("{path}.");
        let mut defaults = Values::defaults().values;
        self.values
            .retain(|known, _| known != path && !known.starts_with(&inside));
        defaults.retain(|known, _| known == path || known.starts_with(&inside));
        self.values.extend(defaults);
    }

    pub(super) fn origin(&self, path: &str) -> Origin {
        match (self.values.get(path).map(|(_, place)| place), &self.file) {
            (Some(Place::File(at)), Some((name, document))) => Origin::File {
                name: name.clone(),
                line: document.line(*at),
            },
            (Some(Place::Environment(name)), _) => Origin::Environment(name.clone()),
            (Some(Place::Flag(flag)), _) => Origin::Flag(flag.clone()),
            (Some(Place::Default | Place::File(_)) | None, _) => Origin::Default,
        }
    }

    /// Whether the environment gave it.
    pub(super) fn is_from_environment(&self, path: &str) -> bool {
        matches!(self.values.get(path), Some((_, Place::Environment(_))))
    }

    /// Whether somebody wrote it.
    pub(super) fn is_written(&self, path: &str) -> bool {
        !matches!(self.values.get(path), None | Some((_, Place::Default)))
    }

    fn value(&self, path: &str) -> Option<&Value> {
        self.values.get(path).map(|(value, _)| value)
    }

    pub(super) fn flag(&self, path: &str) -> bool {
        self.flag_if_set(path).unwrap_or(false)
    }

    pub(super) fn flag_if_set(&self, path: &str) -> Option<bool> {
        match self.value(path)? {
            Value::Flag(flag) => Some(*flag),
            _ => typed_otherwise(path),
        }
    }

    pub(super) fn integer(&self, path: &str) -> Option<i64> {
        match self.value(path)? {
            Value::Integer(number) => Some(*number),
            _ => typed_otherwise(path),
        }
    }

    /// An integer that has a default and limits within `u32`.
    pub(super) fn count(&self, path: &str) -> u32 {
        let number = self.integer(path).and_then(|n| u32::try_from(n).ok());
        number.expect("the table gives the key a default and limits")
    }

    /// A size; `None` for one that is unlimited or not set.
    pub(super) fn bytes(&self, path: &str) -> Option<u64> {
        match self.value(path)? {
            Value::Bytes(bytes) => *bytes,
            _ => typed_otherwise(path),
        }
    }

    /// A size that has a default and is never unlimited.
    pub(super) fn size(&self, path: &str) -> u64 {
        self.bytes(path).expect("the table gives the key a default")
    }

    pub(super) fn duration_if_set(&self, path: &str) -> Option<Duration> {
        match self.value(path)? {
            Value::Duration(duration) => Some(*duration),
            _ => typed_otherwise(path),
        }
    }

    pub(super) fn duration(&self, path: &str) -> Duration {
        self.duration_if_set(path)
            .expect("the table gives the key a default")
    }

    /// A text; an empty one is none.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        match self.value(path)? {
            Value::Text(text) => Some(text.as_str()).filter(|text| !text.is_empty()),
            _ => typed_otherwise(path),
        }
    }

    pub(super) fn owned(&self, path: &str) -> Option<String> {
        self.text(path).map(str::to_owned)
    }

    pub(super) fn secret(&self, path: &str) -> Option<Secret> {
        self.text(path).map(Secret::new)
    }

    /// One of several names, as the enum that stands for them.
    pub(super) fn choice<T>(&self, path: &str, named: fn(&str) -> Option<T>) -> T {
        let value = self.text(path).and_then(named);
        value.expect("the table gives the key a default, and the names of the enum")
    }

    pub(super) fn address(&self, path: &str) -> Option<Address> {
        match self.value(path)? {
            Value::Address(address) => Some(address.clone()),
            _ => typed_otherwise(path),
        }
    }

    pub(super) fn addresses(&self, path: &str) -> Vec<Address> {
        match self.value(path) {
            None => Vec::new(),
            Some(Value::Addresses(addresses)) => addresses.clone(),
            Some(_) => typed_otherwise(path),
        }
    }

    pub(super) fn texts(&self, path: &str) -> Vec<String> {
        match self.value(path) {
            None => Vec::new(),
            Some(Value::Texts(texts)) => texts.clone(),
            Some(_) => typed_otherwise(path),
        }
    }

    pub(super) fn databases(&self, path: &str) -> Vec<u32> {
        match self.value(path) {
            None => Vec::new(),
            Some(Value::Databases(numbers)) => numbers.clone(),
            Some(_) => typed_otherwise(path),
        }
    }

    pub(super) fn database_map(&self, path: &str) -> &BTreeMap<u32, u32> {
        static EMPTY: BTreeMap<u32, u32> = BTreeMap::new();
        match self.value(path) {
            None => &EMPTY,
            Some(Value::DatabaseMap(map)) => map,
            Some(_) => typed_otherwise(path),
        }
    }

    pub(super) fn slots(&self, path: &str) -> Vec<(u16, u16)> {
        match self.value(path) {
            None => Vec::new(),
            Some(Value::Slots(slots)) => slots.clone(),
            Some(_) => typed_otherwise(path),
        }
    }
}

/// Every value was read by the kind that the table gives its path, so whoever asks for another has a bug.
fn typed_otherwise(path: &str) -> ! {
    unreachable!("the table of keys types {path} otherwise")
}
