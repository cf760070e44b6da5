//! Single answers of servers.
//!
//! | byte 0, modulo 5 | the rest |
//! | --- | --- |
//! | 0 | a checkpoint of redis-GunYu as it stands |
//! | 1 | the same put together: lines, each the end of a field's name, a space, its value |
//! | 2 | what sentinels say |
//! | 3 | the libraries of functions |
//! | 4 | what the doctor asks |

use gunyu::core::doctor::answer::{self, Answer, May};
use gunyu::core::net::Address;
use gunyu::core::position::ReplId;
use gunyu::core::resp::{Value, parse_value};
use gunyu::core::target::inherited::found;
use gunyu::core::target::library;
use gunyu::core::topology::sentinel::answer as sentinel;

/// No number beyond what a server counts to, and never more than was said.
pub fn check(input: &[u8]) {
    let Some((which, rest)) = input.split_first() else {
        return;
    };
    if which % 5 == 1 {
        return inherited_of(rest);
    }
    if which % 5 == 4 {
        return doctor(rest);
    }
    let Ok(Some((value, _))) = parse_value(rest) else {
        return;
    };
    match which % 5 {
        0 => drop(inherited(&value)),
        2 => sentinels(&value),
        _ => libraries(&value),
    }
}

fn id() -> ReplId {
    ReplId::parse(&[b'a'; 40]).expect("so an id is written")
}

fn inherited(value: &Value) -> Option<found::Found> {
    let found = found::parse(value, id(), 3).ok()??;
    assert!(i64::try_from(found.offset.get()).is_ok() && found.db == 3);
    Some(found)
}

/// A whole one is found, with what stands in it.
fn inherited_of(lines: &[u8]) {
    let lines = lines.split(|byte| *byte == b'\n').map(|line| {
        let at = line.iter().position(|byte| *byte == b' ');
        at.map_or((line, &[][..]), |at| (&line[..at], &line[at + 1..]))
    });
    let named = |suffix: &[u8]| [id().as_str().as_bytes(), b"_", suffix].concat();
    let pairs: Vec<(Vec<u8>, &[u8])> = lines.map(|(suffix, value)| (named(suffix), value)).collect();
    let bulk = |text: &[u8]| Value::Bulk(text.to_vec());
    let flat = pairs.iter().flat_map(|(name, value)| [bulk(name), bulk(value)]);
    let found = inherited(&Value::Array(flat.collect()));
    let field = |suffix: &[u8]| {
        pairs
            .iter()
            .find(|(name, _)| *name == named(suffix))
            .map(|(_, value)| *value)
    };
    let offset = field(b"offset").and_then(|text| std::str::from_utf8(text).ok()?.parse::<u64>().ok());
    let offset = offset.filter(|offset| i64::try_from(*offset).is_ok());
    let is_whole = field(b"runid") == Some(&[b'a'; 40])
        && field(b"version").is_none_or(|version| version == b"1")
        && offset.is_some();
    assert_eq!(found.map(|found| found.offset.get()), offset.filter(|_| is_whole));
}

fn sentinels(value: &Value) {
    let is_place = |address: &Address| !address.host.is_empty() && address.port > 0;
    let parts = value.array().unwrap_or_default();
    assert!(
        sentinel::address(parts.first(), parts.get(1))
            .as_ref()
            .is_none_or(is_place)
    );
    let _ = (
        sentinel::fact(value, b"config-epoch"),
        sentinel::is_master_by_role(value),
    );
    let others = sentinel::addresses(value);
    assert!(others.iter().all(is_place) && others.len() <= parts.len());
    let mut known = Vec::new();
    for _ in 0..2 {
        sentinel::learn(&mut known, others.clone());
    }
    let mut once = known.clone();
    once.sort();
    once.dedup();
    assert!(once.len() == known.len() && known.len() <= 32);
    assert!(!(sentinel::is_switch(value, "mine") && sentinel::is_switch(value, "other")));
}

fn libraries(value: &Value) {
    if let Some(names) = library::names(value) {
        assert!(names.len() <= value.array().map_or(0, <[Value]>::len));
    }
}

fn doctor(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let lost = Answer::Lost(text.clone());
    let refused = Answer::Refused(text);
    assert_eq!(
        [answer::judged(&lost), answer::judged_dry(&lost)],
        [May::Untold; 2]
    );
    // What is refused by dry judging is no permission.
    assert_ne!(answer::judged_dry(&refused), May::Yes);
    if refused.is_forbidden() {
        assert!(!matches!(
            answer::judged_dry(&refused),
            May::Yes | May::No | May::NotThere
        ));
    }
    let _ = answer::judged(&refused);
    for other in [&lost, &refused] {
        assert!(other.text().is_none() && answer::known(other).is_none() && !answer::has_no_limits(other));
    }
    let Ok(value) = redis::parse_redis_value(bytes) else {
        return;
    };
    let said = Answer::Said(value.clone());
    assert_eq!(answer::judged(&said), May::Yes);
    let _ = (answer::judged_dry(&said), answer::has_no_limits(&said));
    if let (Some(known), redis::Value::Array(all)) = (answer::known(&said), &value) {
        assert_eq!(known.len(), all.len());
    }
}
