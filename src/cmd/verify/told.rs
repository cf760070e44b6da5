//! How a comparison is told: a few lines for people, an object for programs, a line for each key that differs.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use indicatif::HumanCount;
use serde_json::{Map, Value, json};

use super::{Args, Pairs};
use crate::cmd::file::Out;
use crate::cmd::{Failure, print};
use crate::core::catalog::{self, Mark, Noted};
use crate::core::resp::harmless;
use crate::core::verify::{Difference, Outcome, Repaired, Seen, Told};

/// So many lines are written at a time.
const CHUNK: usize = 1000;

/// So many keys are shown to people.
const SHOWN_MAX: usize = 10;

/// Prints what came of it.
///
/// # Errors
/// As [`print::text`]; what was put away cannot be read.
pub(super) fn tell(
    args: &Args,
    outcome: &Outcome,
    pairs: &Pairs,
    took: Duration,
    only: Option<&str>,
) -> Result<(), Failure> {
    let seconds = (took.as_secs_f64() * 1000.0).round() / 1000.0;
    let keys = outcome.source.max(outcome.target);
    let per_second = (keys as f64 / took.as_secs_f64().max(0.001)).round() as u64;
    if args.json {
        return print::json(&object(args, outcome, pairs, seconds, per_second));
    }
    let mut text = String::new();
    for (source, target) in pairs {
        text.push_str(&format!("{source} -> {target}\n"));
    }
    let sampled = args
        .sample
        .map_or(String::new(), |part| format!(", a sample of {part}"));
    text.push_str(&format!(
        "compared by {}{sampled}: {} of the source, {} of the target, in {seconds:.1} s ({}/s)\n",
        args.compare.name(),
        print::keys(outcome.source),
        HumanCount(outcome.target),
        HumanCount(per_second),
    ));
    match outcome.different() {
        0 if outcome.equal().is_none() => text.push_str("no key is known to differ\n"),
        0 => text.push_str("no key differs\n"),
        count => {
            let kinds = outcome.counts.iter();
            let kinds = kinds.map(|(kind, count)| format!("{} {}", HumanCount(*count), kind.name()));
            let kinds: Vec<String> = kinds.collect();
            let verb = if count == 1 { "differs" } else { "differ" };
            text.push_str(&format!("{} {verb}: {}\n", print::keys(count), kinds.join(", ")));
            text.push_str(&some(outcome)?);
        }
    }
    for (count, what) in [
        (
            outcome.changing,
            "changed whenever they were looked at, and are not judged: run it again, or with more --rounds",
        ),
        (
            outcome.uncompared,
            "hold values that cannot be compared: of modules, or newer than this gunyu, or see the notes",
        ),
        (
            outcome.unknown,
            "are not known: the servers do not say what they have, as their slots are on their way",
        ),
    ] {
        if count > 0 {
            text.push_str(&format!("{} keys {what}\n", HumanCount(count)));
        }
    }
    if let Some(repaired) = outcome.repaired {
        text.push_str(&repaired_line(repaired));
    }
    if !outcome.followed {
        text.push_str("no gunyu is at work between them: what differs was looked at again after a moment\n");
    }
    let empty = only.filter(|_| outcome.source == 0);
    for note in outcome.notes.iter().map(String::as_str).chain(empty) {
        text.push_str(&format!("note: {note}\n"));
    }
    print::text(&text)
}

fn repaired_line(repaired: Repaired) -> String {
    let would = if repaired.dry { "would be " } else { "" };
    let mut line = format!(
        "{} {would}copied from the source, {} {would}removed",
        print::keys(repaired.copied),
        HumanCount(repaired.removed)
    );
    for (count, what) in [
        (repaired.kept, "that the source does not have stay"),
        (
            repaired.refused,
            "cannot be copied one by one: gunyu fullsync copies everything anew",
        ),
    ] {
        if count > 0 {
            line.push_str(&format!("; {} {what}", HumanCount(count)));
        }
    }
    line + "\n"
}

/// The first keys that differ.
fn some(outcome: &Outcome) -> Result<String, Failure> {
    let (mut text, mut left) = (String::new(), SHOWN_MAX);
    for table in &outcome.differences {
        let rows = table.next(&mut Mark::default(), left).map_err(cannot_read)?;
        left -= rows.len();
        for (row, told) in rows.iter().filter_map(|row| Some((row, Told::of(&row.note)?))) {
            let kind = told.difference.map_or("", Difference::name);
            let name = String::from_utf8_lossy(&row.key);
            let source = told.source.first().map_or_else(|| "none".to_owned(), phrase);
            text.push_str(&format!(
                "  {kind:<9} db {} {}: {source} | {}\n",
                row.db,
                harmless(&shortened(&name)),
                phrase(&told.target)
            ));
        }
    }
    let different = outcome.different();
    if different > SHOWN_MAX as u64 {
        let more = HumanCount(different - SHOWN_MAX as u64);
        text.push_str(&format!(
            "  and {more} more: --differences FILE writes all of them\n"
        ));
    }
    Ok(text)
}

fn shortened(name: &str) -> String {
    const CHARS_MAX: usize = 80;
    match name.char_indices().nth(CHARS_MAX) {
        None => name.to_owned(),
        Some((end, _)) => format!("{}…", &name[..end]),
    }
}

/// `list of 3, expires at 1760000000000`.
fn phrase(seen: &Seen) -> String {
    if !seen.is_there() {
        return "none".to_owned();
    }
    let length = seen
        .length
        .map_or(String::new(), |length| format!(" of {length}"));
    let expiry = seen.expires_ms;
    let expiry = expiry.map_or(String::new(), |at| format!(", expires at {at}"));
    format!("{}{length}{expiry}", seen.kind.name())
}

fn object(args: &Args, outcome: &Outcome, pairs: &Pairs, seconds: f64, per_second: u64) -> Value {
    let counts = Difference::ALL.iter().map(|kind| {
        let count = outcome.counts.get(kind).copied().unwrap_or(0);
        (kind.name().to_owned(), count.into())
    });
    let pairs = pairs
        .iter()
        .map(|(source, target)| json!({ "source": source, "target": target }));
    json!({
        "equal": outcome.equal(),
        "pairs": pairs.collect::<Vec<_>>(),
        "compare": args.compare.name(),
        "sample": args.sample,
        "keys": { "source": outcome.source, "target": outcome.target },
        "different": outcome.different(),
        "differences": counts.collect::<Map<String, Value>>(),
        "changing": outcome.changing,
        "uncompared": outcome.uncompared,
        "unknown": outcome.unknown,
        "repair": outcome.repaired.map(|one| json!({
            "dry_run": one.dry,
            "copied": one.copied,
            "removed": one.removed,
            "kept": one.kept,
            "refused": one.refused,
        })),
        "rounds": outcome.rounds,
        "followed": outcome.followed,
        "notes": outcome.notes,
        "seconds": seconds,
        "keys_per_second": per_second,
    })
}

/// Writes a line for each key that differs.
///
/// # Errors
/// The file cannot be written, or what was put away cannot be read.
pub(super) fn write_all(outcome: &Outcome, out: &mut Out) -> Result<(), Failure> {
    for table in &outcome.differences {
        let mut mark = Mark::default();
        loop {
            let rows = table.next(&mut mark, CHUNK).map_err(cannot_read)?;
            if rows.is_empty() {
                break;
            }
            let lines = rows.iter().filter_map(|row| line(row, &Told::of(&row.note)?));
            out.write(
                lines
                    .map(|line| format!("{line}\n"))
                    .collect::<String>()
                    .as_bytes(),
            )?;
        }
    }
    Ok(())
}

fn line(row: &Noted, told: &Told) -> Option<Value> {
    let mut line = json!({
        "db": row.db,
        "key": text(&row.key),
        "kind": told.difference?.name(),
        "source": told.source.first().map(side),
        "target": told.target.is_there().then(|| side(&told.target)),
    });
    if told.source.len() > 1 {
        line["sources"] = told.source.iter().map(side).collect();
    }
    Some(line)
}

fn side(seen: &Seen) -> Value {
    let mut side = Map::new();
    side.insert("type".to_owned(), seen.kind.name().into());
    if let Some(length) = seen.length {
        side.insert("length".to_owned(), length.into());
    }
    if let Some(at) = seen.expires_ms {
        side.insert("expires_at_ms".to_owned(), at.into());
    }
    side.into()
}

/// As `rdb-print` writes it: a string, or `{"base64":…}` where it is not UTF-8.
fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

fn cannot_read(error: catalog::Error) -> Failure {
    super::failure(&error.into())
}
