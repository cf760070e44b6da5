//! The figures for programs: one JSON object. Fields only get added.
//!
//! | field | what |
//! | --- | --- |
//! | `file` | `name`, `version`, `bytes`, `whole`, `checksum` (`compared`, `none`, or null where the file is not whole), `error`, `fields`, `functions`, `module_aux` |
//! | `keys`, `bytes`, `expiring` | all keys, the bytes of the file they take, how many of them expire |
//! | `databases` | `db` (null: all beyond the first 65536), `keys`, `bytes`, `expiring`, `types` as below |
//! | `types` | `type`, `encoding`, `keys`, `bytes` |
//! | `ttl` | `left`, `keys`, `bytes` |
//! | `biggest_by_bytes`, `biggest_by_elements` | `db`, `key`, `type`, `encoding`, `bytes`, `elements` or null |
//! | `prefixes` | `separators`, `exact`, `biggest`: `prefix`, `keys`, `bytes`, `missing_bytes_max`, `ids_below`; `without`: `keys`, `bytes` |

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Stats;
use super::counted::Big;
use super::tally::{Packing, Tally};
use crate::core::rdb::Flavor;

/// All of them.
pub(super) fn of(stats: &Stats) -> Value {
    let databases = databases(stats);
    let sum = stats.counted.databases.sum();
    let (all, flavor) = (sum.all(), stats.counted.flavor());
    let big =
        |ranked: Vec<(u64, &Big)>| -> Value { ranked.into_iter().map(|(_, one)| big(one, flavor)).collect() };
    json!({
        "file": file(stats),
        "keys": all.keys,
        "bytes": all.bytes,
        "expiring": sum.expiring.keys,
        "databases": databases,
        "types": types(&sum.packings, flavor),
        "ttl": lifetimes(stats, all.minus(sum.expiring)),
        "biggest_by_bytes": big(stats.counted.by_bytes.ranked()),
        "biggest_by_elements": big(stats.counted.by_elements.ranked()),
        "prefixes": prefixes(stats),
    })
}

fn file(stats: &Stats) -> Value {
    let others = &stats.counted.others;
    let fields = others.aux.iter();
    let functions = others.libraries.iter();
    let module_aux = others.module_aux.iter();
    json!({
        "name": stats.name,
        "version": stats.version.map(|version| version.to_string()),
        "bytes": stats.bytes,
        "whole": stats.end.is_ok(),
        "checksum": stats.end.as_ref().ok().map(|end| if end.checked { "compared" } else { "none" }),
        "error": stats.end.as_ref().err().map(ToString::to_string),
        "fields": fields
            .map(|(name, value)| json!({ "name": bytes(name), "value": bytes(value) }))
            .collect::<Value>(),
        "functions": functions
            .map(|(name, code_bytes)| json!({ "name": name.as_deref().map(bytes), "bytes": code_bytes }))
            .collect::<Value>(),
        "module_aux": module_aux
            .map(|(module, bytes)| json!({
                "module": module.name(),
                "encoding_version": module.encoding_version(),
                "bytes": bytes,
            }))
            .collect::<Value>(),
    })
}

fn databases(stats: &Stats) -> Value {
    let flavor = stats.counted.flavor();
    let all = stats.counted.databases.all().iter();
    let told = all.map(|(db, database)| {
        let all = database.all();
        json!({
            "db": db,
            "keys": all.keys,
            "bytes": all.bytes,
            "expiring": database.expiring.keys,
            "types": types(&database.packings, flavor),
        })
    });
    told.collect()
}

fn types(packings: &BTreeMap<Packing, Tally>, flavor: Flavor) -> Value {
    let told = packings.iter().map(|(packing, tally)| {
        let (object, encoding) = packing.words(flavor);
        json!({ "type": object, "encoding": encoding, "keys": tally.keys, "bytes": tally.bytes })
    });
    told.collect()
}

fn lifetimes(stats: &Stats, without: Tally) -> Value {
    let all = std::iter::once(("none", without)).chain(stats.counted.lifetimes.counted());
    all.map(|(left, tally)| json!({ "left": left, "keys": tally.keys, "bytes": tally.bytes }))
        .collect()
}

fn big(one: &Big, flavor: Flavor) -> Value {
    let (object, encoding) = one.packing.words(flavor);
    json!({
        "db": one.db,
        "key": bytes(&one.key),
        "type": object,
        "encoding": encoding,
        "bytes": one.bytes,
        "elements": one.elements,
    })
}

fn prefixes(stats: &Stats) -> Value {
    let prefixes = &stats.counted.prefixes;
    let biggest = prefixes.biggest(stats.top).into_iter().map(|one| {
        json!({
            "prefix": bytes(&one.prefix),
            "keys": one.tally.keys,
            "bytes": one.tally.bytes,
            "missing_bytes_max": one.missing_bytes_max,
            "ids_below": one.has_ids,
        })
    });
    json!({
        "separators": stats.separators,
        "exact": prefixes.is_exact(),
        "biggest": biggest.collect::<Value>(),
        "without": { "keys": prefixes.without().keys, "bytes": prefixes.without().bytes },
    })
}

/// A text, or `{"base64":…}` where the bytes are none, as `gunyu rdb-print` has it.
fn bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}
