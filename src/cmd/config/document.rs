//! A YAML text as a tree in which every key and value can tell its line.
//!
//! The parser (`serde_yaml`) gives values without lines, and errors with lines. So each key and value gets a number in
//! the order in which the parser comes by; to learn the line of one of them, the text is read again and an error
//! raised at that number. That costs a second pass, but only where there is something to complain about, and it needs no
//! second opinion on YAML's syntax. The same way the text of a scalar is found as it was written (`1e5`, where a
//! password is meant and not a number).

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny};
use serde::de::{Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, Visitor};

/// The number of a key or value, in the order of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At(usize);

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) at: At,
    pub(super) content: Content,
}

/// What a value is, as YAML sees it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    Null,
    Flag(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key with its value. A map holds its entries as written, doubles included.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) at: At,
    pub(super) key: String,
    pub(super) value: Node,
}

/// The text is not YAML (or uses a part of YAML that a configuration has no use for).
#[derive(Debug, PartialEq)]
pub(super) struct NotYaml {
    pub(super) line: Option<usize>,
    pub(super) message: String,
}

/// A parsed text.
#[derive(Debug)]
pub(super) struct Document {
    text: String,
    pub(super) root: Node,
}

impl Document {
    pub(super) fn parse(text: &str) -> Result<Document, NotYaml> {
        let walk = Walk::default();
        let root = walk.over(text).map_err(|e| NotYaml {
            line: e.location().map(|l| l.line()),
            message: e.to_string(),
        })?;
        Ok(Document {
            text: text.to_owned(),
            root,
        })
    }

    /// The line of a key or value, from 1.
    pub(super) fn line(&self, at: At) -> Option<usize> {
        let walk = Walk {
            stop: Some(at.0),
            ..Walk::default()
        };
        let raised = walk.over(&self.text).err()?;
        raised.location().map(|l| l.line())
    }

    /// A scalar exactly as it was written.
    pub(super) fn written(&self, at: At) -> Option<String> {
        let walk = Walk {
            read: Some(at.0),
            ..Walk::default()
        };
        walk.over(&self.text).ok()?;
        walk.found.into_inner()
    }
}

/// One pass over a text.
#[derive(Default)]
struct Walk {
    next: Cell<usize>,
    /// Raise an error at this number.
    stop: Option<usize>,
    /// Keep the text of the scalar of this number in `found`.
    read: Option<usize>,
    found: RefCell<Option<String>>,
}

impl Walk {
    fn over(&self, text: &str) -> Result<Node, serde_yaml::Error> {
        Value(self).deserialize(serde_yaml::Deserializer::from_str(text))
    }

    fn count(&self) -> usize {
        self.next.replace(self.next.get() + 1)
    }
}

/// Reads a value.
#[derive(Clone, Copy)]
struct Value<'w>(&'w Walk);

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        let number = self.0.count();
        let node = |content| Node {
            at: At(number),
            content,
        };
        if self.0.stop == Some(number) {
            return deserializer.deserialize_any(Here).map(|()| node(Content::Null));
        }
        if self.0.read == Some(number) {
            let text = deserializer.deserialize_str(Text)?;
            self.0.found.replace(Some(text));
            return Ok(node(Content::Null));
        }
        deserializer.deserialize_any(self).map(node)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_none<E>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Content, E> {
        Ok(Content::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Content, E> {
        Ok(Content::Integer(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Content, E> {
        Ok(Content::Integer(number.into()))
    }

    fn visit_i128<E>(self, number: i128) -> Result<Content, E> {
        Ok(Content::Integer(number))
    }

    fn visit_u128<E>(self, number: u128) -> Result<Content, E> {
        Ok(i128::try_from(number).map_or(Content::Float(f64::INFINITY), Content::Integer))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Content, E> {
        Ok(Content::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Content, E> {
        Ok(Content::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Content, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element_seed(self)? {
            nodes.push(node);
        }
        Ok(Content::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Content, A::Error> {
        let mut entries = Vec::new();
        while let Some((at, key)) = map.next_key_seed(Key(self.0))? {
            let value = map.next_value_seed(self)?;
            entries.push(Entry { at, key, value });
        }
        Ok(Content::Map(merged(entries)))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<Content, A::Error> {
        let (_tag, _value) = access.variant::<IgnoredAny>()?;
        Err(A::Error::custom(
            "tags (`!name`) have no meaning here; write the value alone",
        ))
    }
}

/// Resolves `<<: *anchor`: the anchor's entries stand where the map has none of its own.
fn merged(entries: Vec<Entry>) -> Vec<Entry> {
    let (merges, mut own): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(|e| e.key == "<<");
    let maps = merges.into_iter().flat_map(|merge| match merge.value.content {
        Content::List(nodes) => nodes,
        _ => vec![merge.value],
    });
    for map in maps {
        let Content::Map(inherited) = map.content else {
            continue;
        };
        for entry in inherited {
            if own.iter().all(|e| e.key != entry.key) {
                own.push(entry);
            }
        }
    }
    own
}

/// Reads a key, which is always taken as text.
struct Key<'w>(&'w Walk);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = (At, String);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(At, String), D::Error> {
        let number = self.0.count();
        if self.0.stop == Some(number) {
            return deserializer
                .deserialize_any(Here)
                .map(|()| (At(number), String::new()));
        }
        deserializer.deserialize_str(Text).map(|text| (At(number), text))
    }
}

/// Takes any scalar as text.
struct Text;

impl Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

/// Takes nothing: whatever comes raises an error, and the parser adds the line.
struct Here;

impl Visitor<'_> for Here {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this place")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# a comment
input:
  redis:
    addresses: [127.0.0.1:1,
      127.0.0.1:2]

    password: 1e5   # looks like a number
output: {redis: {type: cluster}}
empty:
last: |
  two
  lines
";

    fn entry<'n>(node: &'n Node, path: &str) -> &'n Entry {
        let (first, rest) = path.split_once('.').unwrap_or((path, ""));
        let Content::Map(entries) = &node.content else {
            panic!("{path}: not a map")
        };
        let found = entries.iter().find(|e| e.key == first).unwrap();
        if rest.is_empty() {
            found
        } else {
            entry(&found.value, rest)
        }
    }

    #[test]
    fn every_key_tells_its_line_however_deep_it_lies() {
        let document = Document::parse(TEXT).unwrap();
        for (path, line) in [
            ("input", 2),
            ("input.redis", 3),
            ("input.redis.addresses", 4),
            ("input.redis.password", 7),
            ("output", 8),
            ("output.redis.type", 8),
            ("empty", 9),
            ("last", 10),
        ] {
            assert_eq!(
                document.line(entry(&document.root, path).at),
                Some(line),
                "{path}"
            );
        }
    }

    #[test]
    fn an_element_of_a_list_tells_its_line() {
        let document = Document::parse(TEXT).unwrap();
        let Content::List(nodes) = &entry(&document.root, "input.redis.addresses").value.content else {
            panic!("not a list")
        };
        assert_eq!(document.line(nodes[0].at), Some(4));
        assert_eq!(document.line(nodes[1].at), Some(5));
    }

    #[test]
    fn a_scalar_can_be_had_as_it_was_written() {
        let document = Document::parse(TEXT).unwrap();
        let password = &entry(&document.root, "input.redis.password").value;
        assert_eq!(password.content, Content::Float(1e5));
        assert_eq!(document.written(password.at).as_deref(), Some("1e5"));
    }

    #[test]
    fn an_empty_text_is_null() {
        for text in ["", "# nothing\n", "---\n"] {
            assert_eq!(
                Document::parse(text).unwrap().root.content,
                Content::Null,
                "{text:?}"
            );
        }
    }

    #[test]
    fn merged_anchors_give_way_to_what_the_map_says_itself() {
        let document = Document::parse("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\n").unwrap();
        let value = |path| entry(&document.root, path).value.content.clone();
        assert_eq!(value("b.x"), Content::Integer(1));
        assert_eq!(value("b.y"), Content::Integer(3));
    }

    #[test]
    fn what_is_not_yaml_names_its_line() {
        for (text, line) in [
            ("a: 1\nb: [1, 2\nc: 3\n", 3),
            ("a: 1\nb: !tag x\n", 2),
            ("a: 1\n\tb: 2\n", 2),
        ] {
            let error = Document::parse(text).unwrap_err();
            assert_eq!(error.line, Some(line), "{text:?}: {}", error.message);
        }
    }

    #[test]
    fn entries_written_twice_are_both_kept() {
        let document = Document::parse("a: 1\na: 2\n").unwrap();
        let Content::Map(entries) = &document.root.content else {
            panic!("not a map")
        };
        assert_eq!(entries.len(), 2);
    }
}
