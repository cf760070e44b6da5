//! What a server says of itself, in `INFO` and `CONFIG GET`. Without I/O.

use std::collections::{BTreeMap, BTreeSet};

/// The text of `INFO`, by field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Info {
    fields: BTreeMap<String, String>,
    /// Modules stand as several lines of one name.
    modules: BTreeSet<String>,
}

impl Info {
    /// Reads it.
    #[must_use]
    pub fn parse(text: &str) -> Info {
        let mut info = Info::default();
        for (name, value) in text.lines().filter_map(|line| line.split_once(':')) {
            let value = value.trim_end();
            if name != "module" {
                // A module's commands stand there as it has named them: `cmdstat_BF.ADD`.
                let name = match name.starts_with("cmdstat_") {
                    true => name.to_ascii_lowercase(),
                    false => name.to_owned(),
                };
                info.fields.insert(name, value.to_owned());
                continue;
            }
            let named = value.split(',').find_map(|fact| fact.strip_prefix("name="));
            info.modules.extend(named.map(str::to_owned));
        }
        info
    }

    /// Takes over what another has.
    #[cfg(test)]
    pub fn merge(&mut self, other: Info) {
        self.fields.extend(other.fields);
        self.modules.extend(other.modules);
    }

    /// A field.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// The modules.
    #[must_use]
    pub fn modules(&self) -> &BTreeSet<String> {
        &self.modules
    }

    /// What the server is; nothing where it does not say.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        let valkey = self.text("valkey_version");
        let text = valkey.or_else(|| self.text("redis_version"))?;
        let mut numbers = text.split('.').map(|number| number.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Some(Version {
            is_valkey: valkey.is_some(),
            number: (next(), next(), next()),
        })
    }

    /// The databases that hold keys, each with its facts: `keys=1,expires=0,…`.
    pub fn databases(&self) -> impl Iterator<Item = (u32, &str)> {
        self.fields.iter().filter_map(|(name, value)| {
            let number = name.strip_prefix("db")?.parse().ok()?;
            value.starts_with("keys=").then_some((number, value.as_str()))
        })
    }

    /// The commands that clients have called, subcommands under the name of their command: name and number of calls.
    #[must_use]
    pub fn calls(&self) -> BTreeMap<&str, u64> {
        let mut calls = BTreeMap::new();
        for (name, value) in &self.fields {
            let Some(name) = name.strip_prefix("cmdstat_") else {
                continue;
            };
            let name = name.split('|').next().unwrap_or(name);
            let made = fact(value, "calls=").unwrap_or(0);
            let all: &mut u64 = calls.entry(name).or_insert(0);
            *all = all.saturating_add(made);
        }
        calls
    }
}

/// A number out of `name=1,other=2`.
#[must_use]
pub fn fact(facts: &str, name: &str) -> Option<u64> {
    let found = facts.split(',').find_map(|fact| fact.strip_prefix(name));
    found?.parse().ok()
}

/// Whose server, and how new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// It is Valkey.
    pub is_valkey: bool,
    /// Its version.
    pub number: (u32, u32, u32),
}

impl Version {
    /// Whether it is at least this version of Redis, or that of Valkey.
    #[must_use]
    pub fn since(self, redis: (u32, u32), valkey: (u32, u32)) -> bool {
        let number = (self.number.0, self.number.1);
        number >= if self.is_valkey { valkey } else { redis }
    }

    /// Whether it knows what Redis knows since then: Valkey knows all of 7.2.
    #[must_use]
    pub fn knows_since(self, redis: (u32, u32)) -> bool {
        match redis > (7, 2) {
            // What came to Valkey of these came with 9.0.
            true => self.since(redis, (9, 0)),
            false => self.since(redis, (0, 0)),
        }
    }

    /// The RDB version that it writes, and the newest that its `RESTORE` takes.
    #[must_use]
    pub fn rdb(self) -> u32 {
        const VALKEY: u32 = 80;
        let number = (self.number.0, self.number.1);
        if self.is_valkey {
            return if number >= (9, 0) { VALKEY } else { 11 };
        }
        match number {
            (8, 3..) | (9.., _) => 13,
            (7, 3..) | (8, _) => 12,
            (7, 1..=2) => 11,
            (7, 0) => 10,
            (5..=6, _) => 9,
            (4, _) => 8,
            (3, 2) => 7,
            _ => 6,
        }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (major, minor, patch) = self.number;
        let name = if self.is_valkey { "Valkey" } else { "Redis" };
        write!(f, "{name} {major}.{minor}.{patch}")
    }
}

/// Values of a server's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Them, by name.
    pub values: BTreeMap<String, String>,
    /// Why it could not be read.
    pub closed: Option<Closed>,
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// The user lacks the permission.
    Forbidden,
    /// The server has no such command, or gives it to nobody.
    Refused,
    /// Nothing came.
    Lost,
}

impl Config {
    /// One.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// One, as a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    /// Limits on what is kept for replicas: at once, and for some seconds.
    #[must_use]
    pub fn replica_buffer(&self) -> Option<(u64, u64, u64)> {
        let words: Vec<&str> = self.text("client-output-buffer-limit")?.split(' ').collect();
        let at = words
            .iter()
            .position(|word| ["slave", "replica"].contains(word))?;
        let number = |ahead: usize| words.get(at + ahead)?.parse().ok();
        Some((number(1)?, number(2)?, number(3)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_is_read_by_field() {
        let info = Info::parse(
            "# Server\r\nredis_version:7.2.4\r\nvalkey_version:9.1.2\r\nmodule:name=json,ver=1\r\nmodule:name=bf,ver=1\r\n\
             db0:keys=5,expires=1,avg_ttl=0,subexpiry=2\r\ndb11:keys=1,expires=0\r\ncmdstat_set:calls=7,usec=1\r\ncmdstat_BF.ADD:calls=1\r\n\
             cmdstat_xgroup|create:calls=2\r\ncmdstat_xgroup|destroy:calls=1\r\n",
        );
        assert_eq!(info.version().unwrap().to_string(), "Valkey 9.1.2");
        assert_eq!(
            info.modules().iter().map(String::as_str).collect::<Vec<_>>(),
            ["bf", "json"]
        );
        let databases: Vec<u32> = info.databases().map(|(number, _)| number).collect();
        assert_eq!(databases, [0, 11]);
        assert_eq!(
            info.calls(),
            BTreeMap::from([("bf.add", 1), ("set", 7), ("xgroup", 3)])
        );
    }

    #[test]
    fn versions_are_compared_within_their_fork() {
        let version = |is_valkey, major, minor| Version {
            is_valkey,
            number: (major, minor, 0),
        };
        for (version, rdb, fields_expire) in [
            (version(false, 2, 8), 6, false),
            (version(false, 6, 2), 9, false),
            (version(false, 7, 0), 10, false),
            (version(false, 7, 2), 11, false),
            (version(false, 7, 4), 12, true),
            (version(false, 8, 2), 12, true),
            (version(false, 8, 6), 13, true),
            (version(true, 8, 1), 11, false),
            (version(true, 9, 1), 80, true),
        ] {
            assert_eq!(version.rdb(), rdb, "{version}");
            assert_eq!(version.knows_since((7, 4)), fields_expire, "{version}");
            assert!(version.knows_since((2, 8)), "{version}");
        }
    }

    #[test]
    fn the_limits_for_replicas_are_found_under_either_name() {
        for (text, expected) in [
            (
                "normal 0 0 0 slave 268435456 67108864 60 pubsub 1 2 3",
                Some((268_435_456, 67_108_864, 60)),
            ),
            ("normal 0 0 0 replica 0 0 0", Some((0, 0, 0))),
            ("normal 0 0 0", None),
        ] {
            let values = BTreeMap::from([("client-output-buffer-limit".to_owned(), text.to_owned())]);
            let config = Config { values, closed: None };
            assert_eq!(config.replica_buffer(), expected, "{text}");
        }
    }
}
