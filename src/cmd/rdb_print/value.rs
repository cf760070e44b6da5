//! A value, written while its elements come.
//!
//! | type | JSON |
//! | --- | --- |
//! | string | a string |
//! | list, set | an array |
//! | zset | an array of `[member, score]` |
//! | hash | an object, or an array of pairs where a name is not UTF-8; then `field_ttl_ms` beside it |
//! | stream | an object: `entries`, what it knows of itself, `groups` with `pending` and `consumers`, and since Redis 8.6 what producers have added |
//! | module | `{"base64":…}` of what the module wrote |

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::json::{self, Fields, PutOff};
use super::stream::Stream;
use crate::core::rdb::value::Element;

/// The value in hand. What it writes stands for `VALUE` in `"value":VALUE`.
#[derive(Debug)]
pub(super) enum Value {
    Text(PutOff),
    /// An array whose brackets are open.
    Array {
        is_first: bool,
    },
    Hash(Fields),
    Stream(Box<Stream>),
    /// What is written is base64 of whole groups of three bytes; the rest is kept.
    Module {
        kept: Vec<u8>,
    },
}

impl Value {
    /// Begins a value of this type, as `TYPE` says it.
    pub(super) fn begin(object: &str, out: &mut dyn Write) -> io::Result<Value> {
        Ok(match object {
            "string" => Value::Text(PutOff::new()),
            "hash" => Value::Hash(Fields::new()),
            "stream" => Value::Stream(Box::new(Stream::begin(out)?)),
            "module" => {
                out.write_all(b"{\"base64\":\"")?;
                Value::Module { kept: Vec::new() }
            }
            _ => {
                out.write_all(b"[")?;
                Value::Array { is_first: true }
            }
        })
    }

    /// The next element.
    pub(super) fn element(&mut self, out: &mut dyn Write, element: Element) -> io::Result<()> {
        match (self, element) {
            (Value::Text(text), Element::Text(piece)) => text.text(&piece),
            (
                Value::Hash(fields),
                Element::Field {
                    name,
                    value,
                    expire_at_ms,
                },
            ) => fields.add(&name, &value, expire_at_ms),
            (Value::Stream(stream), element) => stream.element(out, element),
            (Value::Module { kept }, Element::Module(piece)) => {
                kept.extend_from_slice(&piece);
                let rest = kept.split_off(kept.len() / 3 * 3);
                let whole = std::mem::replace(kept, rest);
                out.write_all(STANDARD.encode(whole).as_bytes())
            }
            (Value::Array { is_first }, element) => {
                if !std::mem::take(is_first) {
                    out.write_all(b",")?;
                }
                item(out, &element)
            }
            // Every decoder gives what its type consists of.
            _ => Ok(()),
        }
    }

    /// The value is whole, or as whole as it can be.
    pub(super) fn end(self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Value::Text(text) => text.write_text(out),
            Value::Array { .. } => out.write_all(b"]"),
            Value::Hash(fields) => fields.write(out),
            Value::Stream(stream) => stream.end(out),
            Value::Module { kept } => write!(out, "{}\"}}", STANDARD.encode(kept)),
        }
    }
}

fn item(out: &mut dyn Write, element: &Element) -> io::Result<()> {
    match element {
        Element::Item(one) | Element::Member(one) => json::text(out, one),
        Element::Scored { member, score } => {
            out.write_all(b"[")?;
            json::text(out, member)?;
            out.write_all(b",")?;
            json::score(out, *score)?;
            out.write_all(b"]")
        }
        _ => Ok(()),
    }
}
