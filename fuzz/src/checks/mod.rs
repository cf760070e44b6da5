//! What must hold for whatever bytes: one check for each fuzz target, given the target's input.
//!
//! Owns the form of the inputs, so that a corpus can be made of real files and read by the fuzzers and the tests alike. Promises to panic
//! exactly where the rooms under test break a promise. Knows nothing of libFuzzer.
//!
//! | file | what must hold |
//! | --- | --- |
//! | `items.rs` | files: the same items, or the same error, however they are cut and wherever the scan is resumed |
//! | `values.rs` | values: the same for their elements; and as many as were counted |
//! | `assembled.rs`, `streams.rs` | values put together from the input: exactly what was put into them comes out |
//! | `payloads.rs` | `RESTORE` payloads: what was put in comes out, version and checksum are right |
//! | `frames.rs` | what a leader sends: the same frames, or the same error, however the bytes are cut; and what was understood can be said again |
//! | `replies.rs` | replies and commands: the same, or the same error, however they are cut |
//! | `links.rs` | a source's handshake, snapshot and stream: the same however they are cut |
//! | `clusters.rs` | what servers tell of clusters: no slot that there is not, and no more of them than there are |
//! | `segments.rs` | files of the log: what was put in comes out up to a damage, never anything else, and again after it |
//! | `records.rs` | checkpoints: what was read can be written and read again |
//! | `commands.rs` | commands from a source: keys are arguments, parts hold all keys once, what the filter lets through bears no refused key |
//! | `keeps.rs` | rows and records of the catalog, notes: what was read can be written and read again |
//! | `groups.rs` | a group's store: no lease without a member, no member without the seal; what was read can be written and read again |
//! | `answers.rs` | single answers: no number beyond what a server counts to, and never more than was said |
//! | `texts.rs` | the same of texts |
//! | `certificates.rs` | the end of a certificate is the one that was put in; what PEM holds can be written and read again |
//! | `packed.rs` | LZF: the same bytes, whole or in pieces |

pub mod answers;
pub mod assembled;
pub mod certificates;
pub mod clusters;
pub mod commands;
pub mod frames;
pub mod groups;
pub mod items;
pub mod keeps;
pub mod links;
pub mod packed;
pub mod payloads;
pub mod records;
pub mod replies;
pub mod segments;
pub mod streams;
pub mod texts;
pub mod values;

use bytes::Bytes;

/// A check of whatever bytes.
pub type Check = fn(&[u8]);

/// The check of every target, by its name.
pub const TARGETS: &[(&str, Check)] = &[
    ("item_reader", items::check),
    ("plain", |input| values::check(values::PLAIN, input)),
    ("listpack", |input| values::check(values::LISTPACK, input)),
    ("ziplist", |input| values::check(values::ZIPLIST, input)),
    ("zipmap", |input| values::check(values::ZIPMAP, input)),
    ("intset", |input| values::check(values::INTSET, input)),
    ("quicklist", |input| values::check(values::QUICKLIST, input)),
    ("stream", |input| values::check(values::STREAM, input)),
    ("hash_ttl", |input| values::check(values::HASH_TTL, input)),
    ("module", |input| values::check(values::MODULE, input)),
    ("lzf", packed::check),
    ("restore_payload", payloads::check),
    ("peer_wire", frames::check),
    ("resp", replies::check),
    ("transfer", links::check),
    ("topology_text", clusters::check),
    ("checkpoint", records::check),
    ("segment", segments::check),
    ("command", commands::check),
    ("catalog", keeps::check),
    ("lease", groups::check),
    ("answers", answers::check),
    ("texts", texts::check),
    ("certificate", certificates::check),
];

/// Runs the check of the target named so.
pub fn run(target: &str, input: &[u8]) {
    let found = TARGETS.iter().find(|(name, _)| *name == target);
    let (_, check) = found.expect("every target has a check");
    check(input);
}

/// These bytes in pieces of `size`.
pub fn cut(bytes: &Bytes, size: usize) -> impl Iterator<Item = Bytes> {
    let starts = (0..bytes.len()).step_by(size.max(1));
    starts.map(move |at| bytes.slice(at..bytes.len().min(at + size)))
}
