//! The figures for people: tables, the most important ones first.

use std::collections::BTreeMap;
use std::fmt::Write;

use indicatif::{HumanBytes, HumanCount};

use super::Stats;
use super::counted::Big;
use super::table::Table;
use super::tally::{Packing, Tally};
use crate::core::rdb::Flavor;

/// So many characters of a name are shown.
const NAME_CHARS_MAX: usize = 80;

/// All of them.
pub(super) fn of(stats: &Stats) -> String {
    let databases = databases(stats);
    let sum = stats.counted.databases.sum();
    let (all, flavor) = (sum.all(), stats.counted.flavor());
    let counted = &stats.counted;
    let parts = [
        ("", file(stats, all)),
        ("", others(stats)),
        ("", databases),
        ("", types(&sum.packings, all, flavor)),
        ("", lifetimes(stats, all, all.minus(sum.expiring))),
        ("Biggest keys by bytes", bigs(&counted.by_bytes.ranked(), flavor)),
        (
            "Biggest keys by elements",
            bigs(&counted.by_elements.ranked(), flavor),
        ),
        (&prefixes_title(stats), prefixes(stats, all)),
    ];
    let mut text = String::new();
    for (title, part) in parts.iter().filter(|(_, part)| !part.is_empty()) {
        if !text.is_empty() {
            text.push('\n');
        }
        if !title.is_empty() {
            text.extend([title, "\n"]);
        }
        text.push_str(part);
    }
    text
}

fn file(stats: &Stats, all: Tally) -> String {
    let version = stats
        .version
        .map_or_else(|| "no RDB".to_owned(), |version| version.to_string());
    let end = match &stats.end {
        Ok(end) if end.checked => "whole, checksum compared".to_owned(),
        Ok(_) => "whole, it has no checksum".to_owned(),
        Err(error) => format!("broken at byte {}: all before that is counted", error.at),
    };
    format!(
        "{}: {version}, {}, {end}\n{} keys take {} of it\n",
        shown(stats.name.as_bytes()),
        HumanBytes(stats.bytes),
        HumanCount(all.keys),
        HumanBytes(all.bytes),
    )
}

/// Fields about the file, functions, modules.
fn others(stats: &Stats) -> String {
    let others = &stats.counted.others;
    let mut table = Table::new(&["about the file", "value"]);
    for (name, value) in &others.aux {
        table.row([shown(name), shown(value)]);
    }
    for (name, bytes) in &others.libraries {
        let name = name.as_deref().map_or_else(|| "without a name".to_owned(), shown);
        table.row([
            "function library".to_owned(),
            format!("{name}, {}", HumanBytes(*bytes)),
        ]);
    }
    for (module, bytes) in &others.module_aux {
        table.row([
            "module's data".to_owned(),
            format!("{module}, {}", HumanBytes(*bytes)),
        ]);
    }
    let named = (others.aux.len() + others.libraries.len()) as u64;
    let more = others.aux_count + others.libraries_count - named;
    if more > 0 {
        table.row(["and".to_owned(), format!("{} more", HumanCount(more))]);
    }
    told(&table)
}

fn databases(stats: &Stats) -> String {
    let mut table = Table::new(&[">db", ">keys", ">expiring", ">bytes"]);
    for (db, database) in stats.counted.databases.all() {
        let (db, all) = (
            db.map_or_else(|| "all others".to_owned(), |db| db.to_string()),
            database.all(),
        );
        let expiring = HumanCount(database.expiring.keys).to_string();
        table.row([
            db,
            HumanCount(all.keys).to_string(),
            expiring,
            HumanBytes(all.bytes).to_string(),
        ]);
    }
    told(&table)
}

fn types(packings: &BTreeMap<Packing, Tally>, all: Tally, flavor: Flavor) -> String {
    let mut table = Table::new(&["type", "encoding", ">keys", ">bytes", ">share"]);
    let mut sorted: Vec<_> = packings.iter().collect();
    sorted.sort_by_key(|(packing, tally)| (std::cmp::Reverse(tally.bytes), **packing));
    for (packing, tally) in sorted {
        let (object, encoding) = packing.words(flavor);
        let [keys, bytes, share] = figures(*tally, all);
        table.row([object.to_owned(), encoding.to_owned(), keys, bytes, share]);
    }
    told(&table)
}

fn lifetimes(stats: &Stats, all: Tally, without: Tally) -> String {
    let mut table = Table::new(&["expires", ">keys", ">bytes", ">share"]);
    let classes = std::iter::once(("never", without)).chain(stats.counted.lifetimes.counted());
    for (left, tally) in classes.filter(|(_, tally)| tally.keys > 0) {
        let [keys, bytes, share] = figures(tally, all);
        table.row([left.to_owned(), keys, bytes, share]);
    }
    told(&table)
}

fn bigs(ranked: &[(u64, &Big)], flavor: Flavor) -> String {
    let mut table = Table::new(&[">bytes", ">elements", "type", "encoding", ">db", "key"]);
    for (_, one) in ranked {
        let (object, encoding) = one.packing.words(flavor);
        let elements = one
            .elements
            .map_or_else(|| "-".to_owned(), |count| HumanCount(count).to_string());
        table.row([
            HumanBytes(one.bytes).to_string(),
            elements,
            object.to_owned(),
            encoding.to_owned(),
            one.db.to_string(),
            shown(&one.key),
        ]);
    }
    told(&table)
}

fn prefixes_title(stats: &Stats) -> String {
    match stats.counted.prefixes.is_exact() {
        true => "Biggest prefixes".to_owned(),
        false => {
            "Biggest prefixes (too many different ones to be exact: + is what may be missing)".to_owned()
        }
    }
}

fn prefixes(stats: &Stats, all: Tally) -> String {
    let mut table = Table::new(&[">bytes", "", ">share", ">keys", "prefix"]);
    let prefixes = &stats.counted.prefixes;
    for one in prefixes.biggest(stats.top) {
        let [keys, bytes, share] = figures(one.tally, all);
        let missing = match one.missing_bytes_max {
            0 => String::new(),
            bytes => format!("+{}", HumanBytes(bytes)),
        };
        let ids = if one.has_ids { "  (ids below)" } else { "" };
        table.row([bytes, missing, share, keys, shown(&one.prefix) + ids]);
    }
    if prefixes.without().keys > 0 && !table.is_empty() {
        let [keys, bytes, share] = figures(prefixes.without(), all);
        table.row([
            bytes,
            String::new(),
            share,
            keys,
            "(keys without a prefix)".to_owned(),
        ]);
    }
    told(&table)
}

/// Keys, bytes, and the share of all bytes.
fn figures(tally: Tally, all: Tally) -> [String; 3] {
    let share = tally.bytes as f64 * 100.0 / all.bytes.max(1) as f64;
    [
        HumanCount(tally.keys).to_string(),
        HumanBytes(tally.bytes).to_string(),
        format!("{share:.1}%"),
    ]
}

fn told(table: &Table) -> String {
    match table.is_empty() {
        true => String::new(),
        false => table.to_string(),
    }
}

/// A name as it can be shown on a terminal: nothing in it commands that, and it is not endless.
fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c.is_control() {
                true => text.extend(c.escape_default()),
                false => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            // A string takes everything.
            let _ = write!(text, "\\x{byte:02x}");
        }
        if text.chars().nth(NAME_CHARS_MAX).is_some() {
            let cut: String = text.chars().take(NAME_CHARS_MAX - 3).collect();
            return format!("{cut}...");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shown_without_commanding_the_terminal() {
        assert_eq!(shown("user:é".as_bytes()), "user:é");
        assert_eq!(shown(b"a\x1b[2J\n\xffb"), "a\\u{1b}[2J\\n\\xffb");
        assert_eq!(shown(&[b'x'; 1000]).chars().count(), NAME_CHARS_MAX);
    }
}
