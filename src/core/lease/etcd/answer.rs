//! What etcd's JSON gateway answers, and what of the group is in it. Without I/O.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::core::lease::{Damaged, Lease, Record, View};
use crate::core::position::Epoch;

/// So much is shown of an answer that makes no sense.
const SHOWN_CHARS_MAX: usize = 200;

/// An answer that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// An error of etcd's.
    Etcd {
        /// As of gRPC.
        code: i64,
        /// Its words.
        message: String,
    },
    /// Whoever answers is no gateway of etcd's.
    NoGateway {
        /// The beginning of its words.
        said: String,
    },
}

/// A key with what etcd says of it.
#[derive(Debug, Clone)]
pub struct Kv {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
    /// When it was last written.
    pub revision: i64,
    /// The lease of etcd's that it is bound to; 0: none.
    pub session: i64,
}

impl Kv {
    fn read(kv: &Value) -> Option<Kv> {
        let bytes = |field: &str| STANDARD.decode(kv[field].as_str().unwrap_or_default()).ok();
        Some(Kv {
            key: String::from_utf8(bytes("key")?).ok()?,
            value: bytes("value")?,
            revision: number(&kv["mod_revision"])?,
            session: number(&kv["lease"]).unwrap_or(0),
        })
    }

    /// The value as a text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.value).into_owned()
    }

    /// The epoch of a lease, or of a counter; none where the value is neither.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        let value: Value = serde_json::from_slice(&self.value).unwrap_or_default();
        let number = value.as_u64().or_else(|| value["epoch"].as_u64());
        number.and_then(Epoch::told).unwrap_or(Epoch::NONE)
    }
}

/// A key or a value as it is sent.
#[must_use]
pub fn encoded(text: &str) -> String {
    STANDARD.encode(text)
}

/// A 64-bit number, which the gateway writes as a text.
#[must_use]
pub fn number(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_i64(),
    }
}

/// An answer, or what etcd says is wrong. A stream wraps either once more.
///
/// # Errors
/// It is wrong, or no answer of etcd's.
pub fn read(status: u16, body: &[u8]) -> Result<Value, Wrong> {
    let parsed: Option<Value> = serde_json::from_slice(body).ok().filter(Value::is_object);
    let Some(parsed) = parsed else {
        let said = String::from_utf8_lossy(body);
        return Err(Wrong::NoGateway {
            said: said.trim().chars().take(SHOWN_CHARS_MAX).collect(),
        });
    };
    let within = &parsed["error"];
    let error = if within.is_object() { within } else { &parsed };
    let code = number(&error["grpc_code"]).or_else(|| number(&error["code"]));
    match code {
        Some(code) => Err(Wrong::Etcd {
            code,
            message: error["message"].as_str().unwrap_or_default().to_owned(),
        }),
        None if status == 200 => Ok(parsed),
        None => Err(Wrong::NoGateway {
            said: parsed.to_string().chars().take(SHOWN_CHARS_MAX).collect(),
        }),
    }
}

/// All keys in an answer.
///
/// # Errors
/// One of them is none of ours.
pub fn read_all(answer: &Value) -> Result<Vec<Kv>, Damaged> {
    let kvs = answer["kvs"].as_array().map_or(&[][..], Vec::as_slice);
    let read = |kv| Kv::read(kv).ok_or_else(|| Damaged::new("a key of the group's", "it is no text"));
    kvs.iter().map(read).collect()
}

/// The group, as these keys have it.
///
/// # Errors
/// One of them is none of ours.
pub fn view(kvs: &[Kv], prefix: &str) -> Result<View, Damaged> {
    let mut view = View::default();
    for kv in kvs {
        match kv.key.strip_prefix(prefix).and_then(|key| key.split_once('/')) {
            Some(("registry", id)) => {
                view.members.insert(id.to_owned(), read_record(kv)?);
            }
            Some(("leases", input)) => {
                view.leases.insert(input.to_owned(), read_lease(kv)?);
            }
            Some(("notes", key)) => {
                view.notes.insert(key.to_owned(), kv.text());
            }
            // Epochs, and what a newer version may have there.
            _ => {}
        }
    }
    Ok(view)
}

/// A member's record.
///
/// # Errors
/// It is none.
pub fn read_record(kv: &Kv) -> Result<Record, Damaged> {
    serde_json::from_slice(&kv.value).map_err(|error| Damaged::new(&kv.key, error.to_string()))
}

fn read_lease(kv: &Kv) -> Result<Lease, Damaged> {
    let value: Value =
        serde_json::from_slice(&kv.value).map_err(|error| Damaged::new(&kv.key, error.to_string()))?;
    match (value["holder"].as_str(), kv.epoch()) {
        (None, _) | (_, Epoch::NONE) => Err(Damaged::new(&kv.key, "no holder, or no epoch")),
        (Some(holder), epoch) => Ok(Lease {
            holder: holder.to_owned(),
            epoch,
            session: kv.session.to_string(),
        }),
    }
}
