//! The rules as they are given, and what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::core::command::{self, Command, Kind};

/// What to replicate. The default is everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Databases of the source that are not replicated.
    pub db_deny: Vec<u32>,
    /// The only databases of the source that are replicated.
    pub db_allow: Option<Vec<u32>>,
    /// Commands that are not replicated, in whatever case.
    pub command_deny: Vec<String>,
    /// Keys with one of these prefixes may be replicated.
    pub key_prefix_allow: Vec<String>,
    /// Keys with one of these prefixes are not.
    pub key_prefix_deny: Vec<String>,
    /// Keys with one of these suffixes may be replicated.
    pub key_suffix_allow: Vec<String>,
    /// Keys with one of these suffixes are not.
    pub key_suffix_deny: Vec<String>,
    /// Keys in which one of these expressions is found may be replicated.
    pub key_regex_allow: Vec<String>,
    /// Keys in which one of these expressions is found are not.
    pub key_regex_deny: Vec<String>,
    /// The only slots whose keys are replicated; first and last, both included.
    pub slot_allow: Vec<(u16, u16)>,
    /// Slots whose keys are not.
    pub slot_deny: Vec<(u16, u16)>,
    /// Where databases go.
    pub db_map: DbMap,
}

/// Where the source's databases go on the target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DbMap {
    /// Each to the one of its own number.
    #[default]
    Same,
    /// All to one.
    All(u32),
    /// Those named to where it says, the others to their own number.
    Each(BTreeMap<u32, u32>),
}

impl DbMap {
    /// The same map without what goes without saying.
    pub(super) fn simplified(&self) -> DbMap {
        match self {
            DbMap::Each(map) => {
                let map: BTreeMap<u32, u32> = map
                    .iter()
                    .filter(|(from, to)| from != to)
                    .map(|(f, t)| (*f, *t))
                    .collect();
                if map.is_empty() {
                    DbMap::Same
                } else {
                    DbMap::Each(map)
                }
            }
            other => other.clone(),
        }
    }
}

/// A rule that cannot be followed; whoever wrote it must mend it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A prefix, a suffix or an expression is empty: it would match every key.
    #[error("a key pattern in the {list} list is empty, which would match every key")]
    EmptyPattern {
        /// Which list: allow or deny.
        list: &'static str,
    },
    /// An expression cannot be compiled.
    #[error("a key expression in the {list} list cannot be compiled: {cause}")]
    Expression {
        /// Which list: allow or deny.
        list: &'static str,
        /// Why.
        cause: regex::Error,
    },
    /// A range of slots is upside down, or goes beyond the last slot.
    #[error("slots {first} to {last} are no range of slots; they go from 0 to 16383")]
    Slots {
        /// Its first slot.
        first: u16,
        /// Its last slot.
        last: u16,
    },
    /// A command without which the stream makes no sense.
    #[error("the command {0} cannot be denied: without it the other commands would mean something else")]
    Undeniable(String),
    /// No database is left.
    #[error("every allowed database is also denied, or none is allowed: nothing would be replicated")]
    NoDatabase,
}

/// The commands denied.
#[derive(Debug)]
pub(super) struct DeniedCommands {
    any: bool,
    /// For each command of the table.
    known: Vec<bool>,
    /// Those that the table does not know, in lower case.
    unknown: Vec<Vec<u8>>,
}

impl DeniedCommands {
    pub(super) fn compile(names: &[String]) -> Result<DeniedCommands, Error> {
        let mut denied = DeniedCommands {
            any: !names.is_empty(),
            known: vec![false; command::count()],
            unknown: Vec::new(),
        };
        for name in names {
            match command::lookup(name.as_bytes()) {
                Some(command) if is_undeniable(command.kind) => return Err(Error::Undeniable(name.clone())),
                Some(command) => denied.known[command.id()] = true,
                None => denied.unknown.push(name.to_ascii_lowercase().into_bytes()),
            }
        }
        Ok(denied)
    }

    #[inline]
    pub(super) fn has(&self, command: &Command, name: &[u8]) -> bool {
        if !self.any {
            return false;
        }
        match self.known.get(command.id()) {
            Some(denied) => *denied,
            None => self
                .unknown
                .iter()
                .any(|denied| denied.eq_ignore_ascii_case(name)),
        }
    }
}

fn is_undeniable(kind: Kind) -> bool {
    matches!(kind, Kind::Select | Kind::Multi | Kind::Exec | Kind::Discard)
}

/// The rules as text: one line for each rule, sorted, every text with its length before it, so that no two sets of
/// rules look alike.
pub(super) fn canonical(rules: &Rules) -> String {
    let mut lines = BTreeSet::new();
    for (list, texts) in [
        ("command-deny", &rules.command_deny),
        ("prefix-allow", &rules.key_prefix_allow),
        ("prefix-deny", &rules.key_prefix_deny),
        ("suffix-allow", &rules.key_suffix_allow),
        ("suffix-deny", &rules.key_suffix_deny),
        ("regex-allow", &rules.key_regex_allow),
        ("regex-deny", &rules.key_regex_deny),
    ] {
        for text in texts {
            let text = if list == "command-deny" {
                text.to_ascii_lowercase()
            } else {
                text.clone()
            };
            lines.insert(format!("{list} {}:{text}", text.len()));
        }
    }
    lines.extend(rules.db_deny.iter().map(|db| format!("db-deny {db}")));
    lines.extend(rules.db_allow.iter().flatten().map(|db| format!("db-allow {db}")));
    lines.extend(
        rules
            .slot_allow
            .iter()
            .map(|(first, last)| format!("slot-allow {first}-{last}")),
    );
    lines.extend(
        rules
            .slot_deny
            .iter()
            .map(|(first, last)| format!("slot-deny {first}-{last}")),
    );
    match rules.db_map.simplified() {
        DbMap::Same => {}
        DbMap::All(to) => lines.extend([format!("db-map *-{to}")]),
        DbMap::Each(map) => lines.extend(map.iter().map(|(from, to)| format!("db-map {from}-{to}"))),
    }
    lines.iter().fold(String::from("filter 1\n"), |mut text, line| {
        let _ = writeln!(text, "{line}");
        text
    })
}

/// FNV-1a, 64 bits: the same in every release, unlike the standard library's hashes.
pub(super) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::super::Filter;
    use super::*;

    #[test]
    fn the_fingerprint_never_changes_between_releases() {
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
        let rules = Rules {
            db_deny: vec![3, 1, 3],
            command_deny: vec!["FlushAll".into()],
            key_prefix_allow: vec!["b".into(), "a\nprefix-deny 1:x".into()],
            slot_allow: vec![(0, 100)],
            db_map: DbMap::Each(BTreeMap::from([(0, 5), (2, 2)])),
            ..Rules::default()
        };
        let filter = Filter::compile(&rules).unwrap();
        let expected = "filter 1\ncommand-deny 8:flushall\ndb-deny 1\ndb-deny 3\ndb-map 0-5\n\
            prefix-allow 17:a\nprefix-deny 1:x\nprefix-allow 1:b\nslot-allow 0-100\n";
        assert_eq!(filter.text(), expected);
        assert_eq!(filter.fingerprint(), fnv1a(expected.as_bytes()));
        assert_eq!(Filter::compile(&Rules::default()).unwrap().text(), "filter 1\n");
    }

    #[test]
    fn the_order_in_which_rules_are_written_does_not_matter() {
        let rules = |prefixes: [&str; 2], map: DbMap| Rules {
            key_prefix_allow: prefixes.map(String::from).to_vec(),
            db_map: map,
            ..Rules::default()
        };
        let one = rules(["a", "b"], DbMap::Same);
        let other = rules(["b", "a"], DbMap::Each(BTreeMap::from([(1, 1)])));
        assert_eq!(canonical(&one), canonical(&other));
        assert_ne!(canonical(&one), canonical(&rules(["a", "b"], DbMap::All(0))));
    }

    #[test]
    fn commands_without_which_nothing_makes_sense_cannot_be_denied() {
        for name in ["SELECT", "multi", "Exec", "discard"] {
            let rules = Rules {
                command_deny: vec![name.into()],
                ..Rules::default()
            };
            assert!(matches!(Filter::compile(&rules), Err(Error::Undeniable(n)) if n == name));
        }
    }

    #[test]
    fn rules_that_leave_no_database_are_refused() {
        for (allow, deny) in [(vec![], vec![]), (vec![1, 2], vec![1, 2, 3])] {
            let rules = Rules {
                db_allow: Some(allow),
                db_deny: deny,
                ..Rules::default()
            };
            assert!(matches!(Filter::compile(&rules), Err(Error::NoDatabase)));
        }
    }
}
