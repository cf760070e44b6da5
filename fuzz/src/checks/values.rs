//! Values: the same elements, or the same error, however they are cut; and as many as were counted.
//!
//! | input byte | what |
//! | --- | --- |
//! | 1st | which of the target's types |
//! | 2nd, lower 6 bits | the size of the pieces, less 1 |
//! | 2nd, bit 6 | what is assembled is packed with LZF |
//! | 2nd, bit 7 | what follows is to be assembled; else it is the value as it stands in an RDB |
//! | others | the value, or what it is assembled from |

use bytes::Bytes;
use gunyu::core::rdb::value::{self, Counter, Decoder, Element, Step};
use gunyu::core::rdb::{Error, Flavor};

use super::assembled::{self, Assembled};
use super::cut;

/// A type of value, and whose.
pub type Kind = (u8, Flavor);

const R: Flavor = Flavor::Redis;

/// Strings, and collections written out.
pub const PLAIN: &[Kind] = &[(0, R), (1, R), (2, R), (3, R), (4, R), (5, R)];
/// Collections in a listpack.
pub const LISTPACK: &[Kind] = &[(16, R), (17, R), (20, R), (23, R), (25, R)];
/// Collections in a ziplist.
pub const ZIPLIST: &[Kind] = &[(10, R), (12, R), (13, R)];
/// Hashes in a zipmap.
pub const ZIPMAP: &[Kind] = &[(9, R)];
/// Sets of integers.
pub const INTSET: &[Kind] = &[(11, R)];
/// Lists of packed strings.
pub const QUICKLIST: &[Kind] = &[(14, R), (18, R)];
/// Streams.
pub const STREAM: &[Kind] = &[(15, R), (19, R), (21, R), (26, R), (27, R)];
/// Hashes whose fields expire.
pub const HASH_TTL: &[Kind] = &[(22, R), (23, R), (24, R), (25, R), (22, Flavor::Valkey)];
/// Modules' values.
pub const MODULE: &[Kind] = &[(7, R)];

/// The bits of the second byte.
pub const ASSEMBLED: u8 = 0x80;
pub const LZF: u8 = 0x40;

/// Where in a file the value pretends to begin.
const START: u64 = 100;

/// See the table.
pub fn check(kinds: &[Kind], input: &[u8]) {
    let [which, how, rest @ ..] = input else { return };
    let kind = kinds[usize::from(*which) % kinds.len()];
    let size = usize::from(how & 0x3f) + 1;
    if how & ASSEMBLED == 0 {
        // Broken or not: that both say so is all there is to hold.
        let _ = agree(kind, &Bytes::copy_from_slice(rest), size);
        return;
    }
    let Some(Assembled { value, texts }) = assembled::value(kind, rest, how & LZF != 0) else {
        return;
    };
    let elements = agree(kind, &Bytes::from(value), size).expect("what is put together rightly can be read");
    assert_eq!(assembled::texts_of(kind, &elements), texts, "type {}", kind.0);
}

/// The elements that a value has, whole and in pieces; or the error that both give.
pub fn agree(kind: Kind, value: &Bytes, size: usize) -> Result<Vec<Element>, Error> {
    let (whole, end) = decode(kind, [value.clone()]);
    let (pieces, end_of_pieces) = decode(kind, cut(value, size));
    match (end, end_of_pieces) {
        (Ok(()), Ok(())) => {
            assert_eq!(whole, pieces, "type {} in pieces of {size}", kind.0);
            counts_agree(kind, value, size, &whole);
            Ok(whole)
        }
        (Err(error), Err(same)) => {
            assert_eq!(error.at, same.at, "{error}; in pieces of {size}: {same}");
            let cause = std::mem::discriminant(&error.cause);
            assert_eq!(cause, std::mem::discriminant(&same.cause), "{error}; {same}");
            assert!(
                (START..=START + value.len() as u64).contains(&error.at),
                "{error}"
            );
            assert_eq!(without_pieces(whole), without_pieces(pieces), "{error}");
            Err(error)
        }
        (end, other) => panic!("type {}: whole {end:?}, in pieces of {size} {other:?}", kind.0),
    }
}

/// The elements up to the end or the error, the pieces of one string put together.
fn decode(
    (value_type, flavor): Kind,
    pieces: impl IntoIterator<Item = Bytes>,
) -> (Vec<Element>, Result<(), Error>) {
    let mut elements = Vec::new();
    let outcome = Decoder::new(value_type, flavor, START).and_then(|mut decoder| {
        for piece in pieces {
            decoder.push(piece);
            while let Step::Element(element) = decoder.step()? {
                elements.push(element);
            }
        }
        while let Some(element) = decoder.element()? {
            elements.push(element);
        }
        Ok(())
    });
    (joined(elements), outcome)
}

fn joined(elements: Vec<Element>) -> Vec<Element> {
    let mut text = Vec::new();
    let mut is_module = false;
    let mut others = Vec::new();
    for element in elements {
        match element {
            Element::Text(piece) => text.extend_from_slice(&piece),
            Element::Module(piece) => {
                is_module = true;
                text.extend_from_slice(&piece);
            }
            other => others.push(other),
        }
    }
    if is_module {
        others.push(Element::Module(text.into()));
    } else if !text.is_empty() {
        others.push(Element::Text(text.into()));
    }
    others
}

/// How much of a string has been given before an error depends on how it was cut.
fn without_pieces(mut elements: Vec<Element>) -> Vec<Element> {
    elements.retain(|element| !matches!(element, Element::Text(_) | Element::Module(_)));
    elements
}

/// Whoever counts must count what the decoder gives.
fn counts_agree((value_type, flavor): Kind, value: &Bytes, size: usize, elements: &[Element]) {
    let count = value::count(value_type, flavor, value);
    let mut counter = Counter::new(value_type, flavor);
    for piece in cut(value, size) {
        counter.push(piece);
    }
    assert_eq!(
        counter.count(),
        count,
        "type {value_type} counted in pieces of {size}"
    );
    if let Some(count) = count {
        assert_eq!(count, size_of(elements), "type {value_type}");
    }
}

/// What a server would say how many there are.
fn size_of(elements: &[Element]) -> u64 {
    let lengths = elements.iter().find_map(|element| match element {
        Element::StreamMeta(meta) => Some(meta.length),
        Element::Text(text) => Some(text.len() as u64),
        _ => None,
    });
    lengths.unwrap_or(elements.len() as u64)
}
