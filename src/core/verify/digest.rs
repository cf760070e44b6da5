//! What a value comes to, from the answer to `DUMP`: the same for the same value, whatever its encoding and the version of the format.
//!
//! | type | order counts | what counts |
//! | --- | --- | --- |
//! | string, list | yes | the bytes, the items |
//! | set, sorted set, hash | no | members; with scores; fields with values, and apart from them when fields expire. A field that has expired is none |
//! | stream | yes | entries, last id, groups with their pending entries and whose those are; apart from them what servers keep since 7.0 of the stream. Not ids of producers, nor what native replication does not carry either: consumers to whom nothing is pending, when one was last seen, how far a group has read |
//! | module | – | the bytes, with the version of the format |
//!
//! Where order does not count, hashes of the elements are summed up: no two sets of elements that somebody has not searched for with great effort come to the same.

use bytes::Bytes;
use ring::digest::{Context, SHA256};

use super::seen::{Digest, Hash, Value};
use crate::core::rdb::value::{Decoder, Element, StreamId};
use crate::core::rdb::{Version, payload};

/// Types of values that only their module reads (RDB 5 to 7, and those that Redis itself made so).
const MODULES: [u8; 2] = [6, 7];

/// What the answer to `DUMP` comes to at this time; nothing where it is none.
pub(super) fn of_dump(dump: Vec<u8>, now_ms: i64) -> Option<Value> {
    let version = payload::version_of(&dump)?;
    let dump = Bytes::from(dump);
    let body = dump.slice(..dump.len() - payload::FOOTER_BYTES);
    let value_type = *body.first()?;
    let decoded = match MODULES.contains(&value_type) {
        true => None,
        false => decoded(value_type, version, body.slice(1..), now_ms),
    };
    Some(decoded.map_or_else(
        || Value::Raw {
            version: u16::try_from(version.number).unwrap_or(u16::MAX),
            hash: hash(&[&body]),
        },
        Value::Digest,
    ))
}

/// Whether two answers to `DUMP` hold the same bytes, whatever versions they are of.
pub(super) fn is_same_dump(one: &[u8], other: &[u8]) -> bool {
    let body = |dump: &[u8]| dump.len().checked_sub(payload::FOOTER_BYTES);
    match (body(one), body(other)) {
        (Some(end), Some(other_end)) => one[..end] == other[..other_end],
        _ => false,
    }
}

/// Nothing where it is of a type that this gunyu does not read.
fn decoded(value_type: u8, version: Version, body: Bytes, now_ms: i64) -> Option<Digest> {
    let mut decoder = Decoder::new(value_type, version.flavor, 0).ok()?;
    decoder.push(body);
    let mut sum = Sum::new();
    while let Some(element) = decoder.element().ok()? {
        sum.add(&element, now_ms);
    }
    Some(sum.finish())
}

/// A value that is being summed up.
struct Sum {
    /// What is in order.
    row: Context,
    /// What is not.
    heap: u128,
    expiries: u128,
    counts: Option<Context>,
    /// Nothing of what is pending to this consumer has come yet.
    consumer: Option<Bytes>,
}

impl Sum {
    fn new() -> Sum {
        Sum {
            row: Context::new(&SHA256),
            heap: 0,
            expiries: 0,
            counts: None,
            consumer: None,
        }
    }

    fn add(&mut self, element: &Element, now_ms: i64) {
        match element {
            // Pieces of one string are one.
            Element::Text(text) | Element::Module(text) => self.row.update(text),
            Element::Item(item) => self.in_row(&[item]),
            Element::Member(member) => self.heap = self.heap.wrapping_add(number(&[member])),
            Element::Scored { member, score } => {
                // There are two zeros.
                let score = (score + 0.0).to_bits().to_le_bytes();
                self.heap = self.heap.wrapping_add(number(&[member, &score]));
            }
            Element::Field {
                expire_at_ms: Some(at),
                ..
            } if *at <= now_ms => {}
            Element::Field {
                name,
                value,
                expire_at_ms,
            } => {
                self.heap = self.heap.wrapping_add(number(&[name, value]));
                if let Some(at) = expire_at_ms {
                    self.expiries = self.expiries.wrapping_add(number(&[name, &at.to_le_bytes()]));
                }
            }
            Element::Entry { id, fields } => {
                self.in_row(&[b"entry", &bytes_of(*id)]);
                for (name, value) in fields {
                    self.in_row(&[name, value]);
                }
            }
            Element::StreamMeta(meta) => {
                self.in_row(&[b"last", &bytes_of(meta.last_id)]);
                if let Some(counts) = meta.since_7 {
                    let deleted = bytes_of(counts.max_deleted_id);
                    self.in_counts(&[&deleted, &counts.entries_added.to_le_bytes()]);
                }
            }
            Element::Group(group) => {
                self.in_row(&[b"group", &group.name, &bytes_of(group.last_id)]);
                self.consumer = None;
            }
            Element::Pending(one) => {
                let (at, times) = (one.delivered_ms.to_le_bytes(), one.deliveries.to_le_bytes());
                self.in_row(&[b"pending", &bytes_of(one.id), &at, &times]);
            }
            Element::Consumer { name, .. } => self.consumer = Some(name.clone()),
            Element::Owned(id) => {
                if let Some(name) = self.consumer.take() {
                    self.in_row(&[b"consumer", &name]);
                }
                self.in_row(&[b"owned", &bytes_of(*id)]);
            }
            Element::GivenBack(id) => self.in_row(&[b"given back", &bytes_of(*id)]),
            Element::Idempotence { .. } | Element::Produced { .. } => {}
        }
    }

    fn in_row(&mut self, parts: &[&[u8]]) {
        update(&mut self.row, parts);
    }

    fn in_counts(&mut self, parts: &[&[u8]]) {
        let counts = self.counts.get_or_insert_with(|| Context::new(&SHA256));
        update(counts, parts);
    }

    fn finish(self) -> Digest {
        let row = halves(self.row.finish().as_ref());
        Digest {
            elements: split(row.wrapping_add(self.heap)),
            expiries: split(self.expiries),
            counts: self.counts.map(|counts| split(halves(counts.finish().as_ref()))),
        }
    }
}

/// Each part with its length before it: no two lists of parts are the same bytes.
fn update(context: &mut Context, parts: &[&[u8]]) {
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
}

fn number(parts: &[&[u8]]) -> u128 {
    let mut context = Context::new(&SHA256);
    update(&mut context, parts);
    halves(context.finish().as_ref())
}

fn hash(parts: &[&[u8]]) -> Hash {
    split(number(parts))
}

/// The first half of a hash.
fn halves(hash: &[u8]) -> u128 {
    u128::from_le_bytes(*hash.first_chunk().expect("a hash has 32 bytes"))
}

fn split(number: u128) -> Hash {
    Hash((number >> 64) as u64, number as u64)
}

fn bytes_of(id: StreamId) -> [u8; 16] {
    ((u128::from(id.ms) << 64) | u128::from(id.seq)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `DUMP` gives it, in its plainest encodings.
    fn dump(value_type: u8, strings: &[&[u8]], version: u16) -> Vec<u8> {
        let mut bytes = vec![value_type];
        if value_type != 0 {
            bytes.push(u8::try_from(strings.len()).unwrap());
        }
        for one in strings {
            bytes.push(u8::try_from(one.len()).unwrap());
            bytes.extend_from_slice(one);
        }
        bytes.extend_from_slice(&version.to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes
    }

    fn digest(value_type: u8, strings: &[&[u8]]) -> Digest {
        match of_dump(dump(value_type, strings, 10), 0) {
            Some(Value::Digest(digest)) => digest,
            other => panic!("{other:?}"),
        }
    }

    const LIST: u8 = 1;
    const SET: u8 = 2;

    #[test]
    fn order_counts_in_lists_and_not_in_sets() {
        assert_eq!(digest(SET, &[b"a", b"b"]), digest(SET, &[b"b", b"a"]));
        assert_ne!(digest(SET, &[b"a", b"b"]), digest(SET, &[b"a", b"c"]));
        assert_ne!(digest(LIST, &[b"a", b"b"]), digest(LIST, &[b"b", b"a"]));
        assert_ne!(digest(LIST, &[b"ab", b""]), digest(LIST, &[b"a", b"b"]));
    }

    #[test]
    fn the_encoding_does_not_count() {
        // The number 10, as a string and packed; a set of it, likewise and as an intset.
        let packed = [&b"\x00\xc0\x0a"[..], &10_u16.to_le_bytes(), &[0; 8]].concat();
        let Some(Value::Digest(packed)) = of_dump(packed, 0) else {
            panic!("it is not decoded");
        };
        assert_eq!(packed, digest(0, &[b"10"]));
        let intset = b"\x0b\x0a\x02\x00\x00\x00\x01\x00\x00\x00\x0a\x00";
        let intset = [&intset[..], &10_u16.to_le_bytes(), &[0; 8]].concat();
        let Some(Value::Digest(intset)) = of_dump(intset, 0) else {
            panic!("it is not decoded");
        };
        assert_eq!(intset, digest(SET, &[b"10"]));
    }

    #[test]
    fn what_only_a_module_reads_is_its_bytes_and_what_is_no_dump_is_nothing() {
        let module = dump(7, &[b"x"], 10);
        let same = dump(7, &[b"x"], 11);
        assert!(matches!(
            of_dump(module.clone(), 0),
            Some(Value::Raw { version: 10, .. })
        ));
        assert!(is_same_dump(&module, &same));
        assert!(!is_same_dump(&module, &dump(7, &[b"y"], 10)));
        assert!(!is_same_dump(b"", b""));
        assert_eq!(of_dump(b"short".to_vec(), 0), None);
    }
}
