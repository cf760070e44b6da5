//! JSON in which no object has a name twice: programs take one of the two, and which is anybody's guess.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

struct Strict(Value);

/// Parses a line.
#[track_caller]
pub(crate) fn parse(line: &str) -> Value {
    let parsed: Result<Strict, _> = serde_json::from_str(line);
    let shown = || line.chars().take(300).collect::<String>();
    parsed.unwrap_or_else(|error| panic!("{error}: {}", shown())).0
}

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Strict, D::Error> {
        deserializer.deserialize_any(Visit).map(Strict)
    }
}

struct Visit;

macro_rules! plain {
    ($($visit:ident $kind:ty),+) => {$(
        fn $visit<E: Error>(self, value: $kind) -> Result<Value, E> {
            Ok(value.into())
        }
    )+};
}

impl<'de> Visitor<'de> for Visit {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    plain!(visit_bool bool, visit_u64 u64, visit_i64 i64, visit_f64 f64, visit_str &str);

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut found = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            found.push(item);
        }
        Ok(found.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Value, A::Error> {
        let mut found = Map::new();
        while let Some((name, Strict(value))) = pairs.next_entry::<String, Strict>()? {
            if found.insert(name.clone(), value).is_some() {
                return Err(A::Error::custom(format!("{name:?} comes twice")));
            }
        }
        Ok(found.into())
    }
}

#[test]
fn a_name_that_comes_twice_is_refused() {
    assert!(serde_json::from_str::<Strict>(r#"{"a":1,"b":[{"c":null}]}"#).is_ok());
    assert!(serde_json::from_str::<Strict>(r#"{"a":1,"b":[{"c":1,"c":2}]}"#).is_err());
}
