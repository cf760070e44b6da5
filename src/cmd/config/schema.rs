//! What a key is: its names, what may be written there, its default, what it means.
//!
//! The table itself is [`super::keys`]. It is the only list of keys: what is accepted, which key is suggested for a
//! misspelled one, the defaults, and `config/gunyu.yaml` all come from it.

use std::time::Duration;

use super::units::{duration_text, size_text};

/// One key of a section, or one section.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    /// Other spellings, equally good.
    pub(super) spellings: &'static [&'static str],
    pub(super) shape: Shape,
    /// The meaning, as printed in `config/gunyu.yaml`.
    pub(super) doc: &'static str,
}

/// Section or key.
#[derive(Debug)]
pub(super) enum Shape {
    Section(&'static [Entry]),
    Key(Key),
}

/// A key that holds a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub(super) kind: Kind,
    /// As YAML; empty for a key that may stay unset.
    pub(super) default: &'static str,
    /// 0 stands for "not set", as in redis-GunYu.
    pub(super) zero_is_unset: bool,
    /// It has no default and must be written.
    pub(super) is_required: bool,
    pub(super) fate: Fate,
}

/// What becomes of a key that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It does what it says.
    Live,
    /// Another name for the key at this path, relative to the same section.
    Alias(&'static str),
    /// A key of redis-GunYu that has no effect here; the text says why, and is told to the operator.
    Ignored(&'static str),
    /// A key of redis-GunYu that the check looks at itself: it is refused, or stands for another key.
    Judged,
}

/// What may be written as a value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Flag,
    Integer { least: i64, most: i64 },
    Bytes { least: u64, most: u64, unlimited: bool },
    Duration { least: Duration, most: Duration },
    Text,
    Secret,
    Choice(&'static [&'static str]),
    Address,
    Addresses,
    Texts,
    Databases,
    DatabaseMap,
    Slots,
}

impl Kind {
    /// What is expected, for messages.
    pub(super) fn expected(&self) -> String {
        match self {
            Kind::Flag => "true or false".to_owned(),
            Kind::Integer { least, most } if *most >= i64::from(u32::MAX) => {
                format!("an integer, at least {least}")
            }
            Kind::Integer { least, most } => format!("an integer from {least} to {most}"),
            Kind::Bytes { unlimited: false, .. } => "a size (bytes, or as 64KiB, 512MiB, 10GB)".to_owned(),
            Kind::Bytes { .. } => "a size (bytes, or as 64KiB, 512MiB, 10GB; -1 for no limit)".to_owned(),
            Kind::Duration { .. } => "a duration (as 300ms, 10s, 1m30s, 12h)".to_owned(),
            Kind::Text | Kind::Secret => "a text".to_owned(),
            Kind::Choice(names) => format!("one of {}", names.join(", ")),
            Kind::Address => "an address (host:port)".to_owned(),
            Kind::Addresses => "a list of addresses (host:port)".to_owned(),
            Kind::Texts => "a list of texts".to_owned(),
            Kind::Databases => "a list of database numbers".to_owned(),
            Kind::DatabaseMap => "a map from database number to database number".to_owned(),
            Kind::Slots => "a list of slots ([slot]) and ranges of slots ([first, last])".to_owned(),
        }
    }

    /// The same in few words, with the limits, for `config/gunyu.yaml`.
    pub(super) fn brief(&self) -> String {
        match self {
            Kind::Bytes { least, unlimited, .. } => {
                let least = size_text(*least).map_or(String::new(), |least| format!(", at least {least}"));
                format!("size{least}{}", if *unlimited { ", or -1" } else { "" })
            }
            Kind::Duration {
                least,
                most: Duration::MAX,
            } if least.is_zero() => "duration".to_owned(),
            Kind::Duration {
                least,
                most: Duration::MAX,
            } => format!("duration, at least {}", duration_text(*least)),
            Kind::Duration { least, most } => {
                format!(
                    "duration from {} to {}",
                    duration_text(*least),
                    duration_text(*most)
                )
            }
            Kind::Text | Kind::Secret => "text".to_owned(),
            Kind::Address => "host:port".to_owned(),
            Kind::Addresses => "list of host:port".to_owned(),
            Kind::Slots => "list of [slot] and [first, last]".to_owned(),
            Kind::Flag | Kind::Integer { .. } | Kind::Choice(_) => self.expected(),
            Kind::Texts | Kind::Databases | Kind::DatabaseMap => self.expected(),
        }
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(
            self,
            Kind::Addresses | Kind::Texts | Kind::Databases | Kind::Slots
        )
    }
}

pub(super) const fn section(name: &'static str, entries: &'static [Entry], doc: &'static str) -> Entry {
    let shape = Shape::Section(entries);
    let spellings = &[];
    Entry {
        name,
        spellings,
        shape,
        doc,
    }
}

pub(super) const fn key(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Entry {
    let shape = Shape::Key(Key {
        kind,
        default,
        zero_is_unset: false,
        is_required: false,
        fate: Fate::Live,
    });
    let spellings = &[];
    Entry {
        name,
        spellings,
        shape,
        doc,
    }
}

/// A key of redis-GunYu that has no effect here. Its value is not looked at.
pub(super) const fn ignored(name: &'static str, why: &'static str) -> Entry {
    key(name, Kind::Text, "", "").with(Fate::Ignored(why))
}

impl Entry {
    pub(super) const fn or(mut self, spellings: &'static [&'static str]) -> Entry {
        self.spellings = spellings;
        self
    }

    pub(super) const fn with(mut self, fate: Fate) -> Entry {
        if let Shape::Key(ref mut key) = self.shape {
            key.fate = fate;
        }
        self
    }

    pub(super) const fn zero_is_unset(mut self) -> Entry {
        if let Shape::Key(ref mut key) = self.shape {
            key.zero_is_unset = true;
        }
        self
    }

    pub(super) const fn required(mut self) -> Entry {
        if let Shape::Key(ref mut key) = self.shape {
            key.is_required = true;
        }
        self
    }

    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name == name || self.spellings.contains(&name)
    }

    /// Whether it is a key that does what it says, or a section that holds one.
    pub(super) fn is_live(&self) -> bool {
        match &self.shape {
            Shape::Key(key) => key.fate == Fate::Live,
            Shape::Section(entries) => entries.iter().any(Entry::is_live),
        }
    }
}

/// Every key below `entries`, with its dotted path.
pub(super) fn keys(entries: &'static [Entry]) -> Vec<(String, &'static Entry, Key)> {
    let mut found = Vec::new();
    visit(entries, "", &mut |path, entry| {
        if let Shape::Key(key) = entry.shape {
            found.push((path.to_owned(), entry, key));
        }
    });
    found
}

/// The known path most like `path`, if one is like it at all.
///
/// What counts is the last name. A key of another section must be closer than one of the same, so that
/// `output.batchCmdCount` finds `output.replay.batchCmdCount`, and `log.levl` finds `log.level`.
pub(super) fn nearest(entries: &'static [Entry], path: &str) -> Option<String> {
    let (parent, name) = split(path);
    let allowed = 1 + name.chars().count() / 3;
    let mut best: Option<(usize, String)> = None;
    visit(entries, "", &mut |known, entry| {
        if !entry.is_live() {
            return;
        }
        let elsewhere = usize::from(split(known).0 != parent);
        let spellings = std::iter::once(&entry.name).chain(entry.spellings);
        let distance = spellings
            .map(|s| edit_distance(s, name))
            .min()
            .unwrap_or(usize::MAX);
        let cost = distance.saturating_mul(2) + elsewhere;
        if distance + elsewhere <= allowed && best.as_ref().is_none_or(|(least, _)| cost < *least) {
            best = Some((cost, known.to_owned()));
        }
    });
    best.map(|(_, known)| known)
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

/// `prefix.name`, or `name` at the root.
pub(super) fn join(prefix: &str, name: &str) -> String {
    match prefix {
        "" => name.to_owned(),
        _ => format!("{prefix}.{name}"),
    }
}

fn visit(entries: &'static [Entry], prefix: &str, each: &mut dyn FnMut(&str, &'static Entry)) {
    for entry in entries {
        let path = join(prefix, entry.name);
        each(&path, entry);
        if let Shape::Section(inner) = entry.shape {
            visit(inner, &path, each);
        }
    }
}

/// How many letters must be put in, taken out or replaced; the case of a letter does not matter.
fn edit_distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().flat_map(char::to_lowercase).collect();
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (row, left) in a.iter().enumerate() {
        let mut here = vec![row + 1];
        for (column, right) in b.iter().enumerate() {
            let replaced = above[column] + usize::from(left != right);
            here.push(replaced.min(above[column + 1] + 1).min(here[column] + 1));
        }
        above = here;
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::super::keys::ROOT;
    use super::*;

    #[test]
    fn edit_distance_counts_letters_put_in_taken_out_and_replaced() {
        for (a, b, distance) in [
            ("", "", 0),
            ("abc", "", 3),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("Level", "level", 0),
        ] {
            assert_eq!(edit_distance(a, b), distance, "{a} {b}");
        }
    }

    #[test]
    fn a_misspelled_key_finds_its_neighbour() {
        for (written, nearest_key) in [
            ("inptu", Some("input")),
            ("output.replay.batchCmdCont", Some("output.replay.batchCmdCount")),
            ("output.batchCmdCount", Some("output.replay.batchCmdCount")),
            ("log.levl", Some("log.level")),
            ("server.adress", None),
            (
                "channel.storer.flushPolicy.everywrit",
                Some("channel.storer.flush.everyWrite"),
            ),
            ("entirely.unlikeAnything", None),
        ] {
            assert_eq!(nearest(ROOT, written).as_deref(), nearest_key, "{written}");
        }
    }

    #[test]
    fn no_section_gives_one_name_to_two_keys() {
        fn check(entries: &'static [Entry], prefix: &str) {
            for (index, entry) in entries.iter().enumerate() {
                let rest = &entries[index + 1..];
                for name in std::iter::once(&entry.name).chain(entry.spellings) {
                    assert!(rest.iter().all(|other| !other.is_called(name)), "{prefix}.{name}");
                }
                if let Shape::Section(inner) = entry.shape {
                    check(inner, entry.name);
                }
            }
        }
        check(ROOT, "");
    }
}
