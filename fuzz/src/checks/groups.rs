//! A group's store.
//!
//! | byte 0, modulo 4 | the rest |
//! | --- | --- |
//! | 0 | a status, u16, and etcd's answer |
//! | 1 | lines: a key, a space, its value; as etcd's answer |
//! | 2 | lines: a field, a space, its value; as the hash of a Redis |
//! | 3 | a member's record |

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use gunyu::core::lease::etcd::answer::{self, Kv, Wrong};
use gunyu::core::lease::redis::fields;
use gunyu::core::lease::{Record, Seal, View};

use super::assembled::Source;

const PREFIX: &str = "/redis-gunyu/g/";

/// The time by the store's clock.
const NOW: u64 = 1000;

/// No lease without a member, no member without the seal.
pub fn check(input: &[u8]) {
    let Some((which, rest)) = input.split_first() else {
        return;
    };
    match which % 4 {
        0 => {
            let mut source = Source(rest);
            let status = u16::from_le_bytes(source.array());
            gateway(status, source.0);
        }
        1 => keys(rest),
        2 => hash(rest),
        _ => record(rest),
    }
}

fn gateway(status: u16, body: &[u8]) {
    match answer::read(status, body) {
        Ok(answer) => {
            assert!(status == 200 && answer.is_object());
            if let Ok(kvs) = answer::read_all(&answer) {
                group(&kvs);
            }
        }
        Err(Wrong::NoGateway { said }) => assert!(said.chars().count() <= 200),
        Err(Wrong::Etcd { message, .. }) => assert!(message.len() <= body.len()),
    }
}

/// What is sent in base64 is what is found.
fn keys(lines: &[u8]) {
    let lines = String::from_utf8_lossy(lines).into_owned();
    let pairs: Vec<(String, &str)> = lines
        .lines()
        .map(|line| line.split_once(' ').unwrap_or((line, "")))
        .map(|(key, value)| (format!("{PREFIX}{key}"), value))
        .collect();
    let kvs = pairs.iter().enumerate().map(|(nth, (key, value))| {
        let (key, value) = (answer::encoded(key), STANDARD.encode(value));
        json!({"key": key, "value": value, "mod_revision": nth.to_string(), "lease": "7"})
    });
    let body = json!({"kvs": kvs.collect::<Vec<_>>()}).to_string();
    let read = answer::read(200, body.as_bytes()).expect("it is an object without an error");
    let kvs = answer::read_all(&read).expect("keys are texts");
    assert_eq!(kvs.len(), pairs.len());
    for (kv, (key, value)) in kvs.iter().zip(&pairs) {
        assert_eq!((&kv.key, kv.text().as_str(), kv.session), (key, *value, 7));
    }
    group(&kvs);
}

fn group(kvs: &[Kv]) {
    assert!(kvs.iter().all(|kv| i64::try_from(kv.epoch().get()).is_ok()));
    if let Ok(view) = answer::view(kvs, PREFIX) {
        assert!(view.members.len() + view.leases.len() + view.notes.len() <= kvs.len());
        sorted(view);
    }
}

fn hash(lines: &[u8]) {
    let lines = String::from_utf8_lossy(lines).into_owned();
    let pairs = lines
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(field, value)| (field.to_owned(), value.to_owned()));
    let Ok(view) = fields::view(NOW, pairs) else {
        return;
    };
    for lease in view.leases.values() {
        assert!(view.members.contains_key(&lease.holder));
        assert!(i64::try_from(lease.epoch.get()).is_ok());
    }
    sorted(view);
}

/// Who has not the token is no member, and who is none and holds a lease is a stranger.
fn sorted(mut view: View) {
    let (seal, before) = (Seal::new("token", "g"), view.clone());
    view.sort_out(&seal);
    for (id, member) in &view.members {
        assert!(seal.is_on(member) && member.id == *id && !view.strangers.contains(id));
    }
    let holders = view.leases.values().map(|lease| &lease.holder);
    for name in before.members.keys().chain(holders) {
        assert_ne!(view.members.contains_key(name), view.strangers.contains(name));
    }
    assert_eq!((&view.leases, &view.notes), (&before.leases, &before.notes));
}

fn record(text: &[u8]) {
    let Ok(mut record) = serde_json::from_slice::<Record>(text) else {
        return;
    };
    let written = serde_json::to_vec(&record).expect("texts and numbers can be written as JSON");
    assert_eq!(
        serde_json::from_slice::<Record>(&written).ok().as_ref(),
        Some(&record)
    );
    let seal = Seal::new("token", "g");
    let _ = seal.is_on(&record);
    record.proof = seal.proof(&record);
    assert!(seal.is_on(&record));
    record.api.push('x');
    assert!(!seal.is_on(&record));
}
