//! Servers that belong together: a target, and all sources that feed it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::look::{self, Clock, Look, RELATIVE_SLACK_MS};
use super::pacing::Pacing;
use super::seen::Seen;
use super::side::{Lines, Node, Side};
use super::{Error, Settings};
use crate::core::filter::Filter;
use crate::core::net::Endpoint;
use crate::core::pipeline::{self, stale};
use crate::core::resp::Value;

/// So many databases of a source are considered.
const SOURCE_DATABASES: u32 = 1024;

/// A source: a server, or a cluster.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) side: Arc<Side>,
    /// Its databases that hold keys.
    pub(super) databases: BTreeMap<u32, Counts>,
}

/// How many keys there are in a database, as the server counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) keys: u64,
    /// Those that expire.
    pub(super) expiring: u64,
}

/// A target, and what feeds it.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) pipelines: Vec<pipeline::Settings>,
    pub(super) origins: Vec<Origin>,
    pub(super) target: Arc<Side>,
    /// The databases of the target that hold keys.
    pub(super) databases: BTreeMap<u32, Counts>,
    pub(super) filter: Arc<Filter>,
    pub(super) look: Look,
    pub(super) tolerance_ms: i64,
    pub(super) pacing: Pacing,
}

/// Where in a source something is that feeds a database of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Which source.
    pub(super) origin: usize,
    /// Which database of it.
    pub(super) db: u32,
}

/// The pipelines by their targets.
pub(super) async fn groups(settings: &Settings) -> Result<Vec<Group>, Error> {
    let mut by_target: BTreeMap<String, Vec<pipeline::Settings>> = BTreeMap::new();
    for one in &settings.pipelines {
        let target = one.target.endpoint.address.to_string();
        by_target.entry(target).or_default().push(one.clone());
    }
    let mut groups = Vec::new();
    for pipelines in by_target.into_values() {
        groups.push(Group::find(settings, pipelines).await?);
    }
    Ok(groups)
}

impl Group {
    async fn find(settings: &Settings, pipelines: Vec<pipeline::Settings>) -> Result<Group, Error> {
        let first = pipelines.first();
        let first = first.ok_or_else(|| Error::Bug("a target without a pipeline".to_owned()))?;
        let mut group = Group {
            filter: Arc::clone(&first.filter),
            origins: Vec::new(),
            target: Arc::new(Side::one(first.target.endpoint.clone())),
            databases: BTreeMap::new(),
            look: Look {
                compare: settings.compare,
                clock: Clock::Relative,
            },
            tolerance_ms: settings.ttl_tolerance_ms,
            pacing: Pacing::new(settings.keys_per_sec),
            pipelines,
        };
        group.refresh().await?;
        if group.know_absolute().await? {
            group.look.clock = Clock::Absolute;
        } else {
            group.tolerance_ms = group.tolerance_ms.max(RELATIVE_SLACK_MS);
        }
        Ok(group)
    }

    async fn know_absolute(&self) -> Result<bool, Error> {
        let sides = self.origins.iter().map(|origin| &origin.side);
        for side in sides.chain([&self.target]) {
            if !look::knows_absolute(&mut Lines::new(side)).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Finds out again where everything is, and which databases hold keys.
    pub(super) async fn refresh(&mut self) -> Result<(), Error> {
        let (shards, single): (Vec<usize>, Vec<usize>) =
            (0..self.pipelines.len()).partition(|place| self.pipelines[*place].shard.is_some());
        let mut origins = Vec::new();
        for place in single {
            let side = Side::one(self.pipelines[place].source.endpoint.clone());
            origins.push(side);
        }
        if !shards.is_empty() {
            let node = |place: &usize| {
                let one = &self.pipelines[*place];
                let shard = one.shard.as_ref().map(|shard| shard.known.borrow().nodes.clone());
                Node {
                    endpoint: one.source.endpoint.clone(),
                    shard: shard.unwrap_or_default(),
                }
            };
            let nodes = shards.iter().map(node).collect();
            origins.push(Side::followed(nodes).await?);
        }
        self.origins.clear();
        for side in origins {
            self.origins.push(Origin {
                databases: databases(&side).await?,
                side: Arc::new(side),
            });
        }
        self.target = Arc::new(self.find_target().await?);
        self.databases = databases(&self.target).await?;
        Ok(())
    }

    async fn find_target(&self) -> Result<Side, Error> {
        let target = &self.pipelines[0].target;
        if !target.is_cluster() {
            return Ok(Side::one(target.endpoint.clone()));
        }
        let seeds = target.nodes().into_iter().map(|node| target.endpoint.at(node));
        Side::cluster(&seeds.collect::<Vec<Endpoint>>()).await
    }

    /// The places that feed a database of the target and hold keys.
    pub(super) fn places(&self, target_db: u32) -> Vec<Place> {
        let mut places = Vec::new();
        for (number, origin) in self.origins.iter().enumerate() {
            let feed = |db: &&u32| self.filter.target_db(**db) == Some(target_db);
            places.extend(origin.databases.keys().filter(feed).map(|db| Place {
                origin: number,
                db: *db,
            }));
        }
        places
    }

    /// A database of a source that feeds this one of the target, whether it holds keys or not: the filter judges keys by it.
    pub(super) fn feeder(&self, target_db: u32) -> Option<u32> {
        if self.filter.target_db(target_db) == Some(target_db) {
            return Some(target_db);
        }
        (0..SOURCE_DATABASES).find(|db| self.filter.target_db(*db) == Some(target_db))
    }

    /// Whether a key of a source's database is compared. A source that is itself a target has keys of gunyu, those that are being built up among them: a sync
    /// lets these through, as they become others by `RENAME`.
    pub(super) fn compares(&self, source_db: u32, key: &[u8]) -> bool {
        !key.starts_with(stale::OWN_PREFIX) && self.filter.key(source_db, key).is_none()
    }

    /// How many keys there were on both sides when it was last refreshed, as the servers count them.
    pub(super) fn count_keys(&self) -> u64 {
        let sources = self.origins.iter().flat_map(|origin| &origin.databases);
        let sources = sources.filter(|(db, _)| self.filter.target_db(**db).is_some());
        let target = self
            .databases
            .iter()
            .filter(|(db, _)| self.feeder(**db).is_some());
        sources.chain(target).map(|(_, counts)| counts.keys).sum()
    }

    /// Whether there may be keys that expire in a database of a source, or in the one of the target that it feeds.
    pub(super) fn expires(&self, place: Place, target_db: u32) -> bool {
        let has = |all: &BTreeMap<u32, Counts>, db: u32| all.get(&db).is_some_and(|one| one.expiring > 0);
        has(&self.origins[place.origin].databases, place.db) || has(&self.databases, target_db)
    }

    /// What the source says of keys of a database of the target: of each, what is there in any of the places that feed it.
    pub(super) async fn look_at_source<K: AsRef<[u8]>>(
        &self,
        lines: &mut [Lines],
        target_db: u32,
        keys: &[K],
    ) -> Result<Vec<Vec<Seen>>, Error> {
        Ok(without_places(self.look_at_places(lines, target_db, keys).await?))
    }

    /// The same, with where each was seen.
    pub(super) async fn look_at_places<K: AsRef<[u8]>>(
        &self,
        lines: &mut [Lines],
        target_db: u32,
        keys: &[K],
    ) -> Result<Vec<Vec<(Place, Seen)>>, Error> {
        let mut all: Vec<Vec<(Place, Seen)>> = vec![Vec::new(); keys.len()];
        for place in self.places(target_db) {
            let seen = self.look.at(&mut lines[place.origin], place.db, keys).await?;
            for (all, seen) in all.iter_mut().zip(seen) {
                if seen.is_there() {
                    all.push((place, seen));
                }
            }
        }
        Ok(all)
    }

    /// Connections to all sources, to be opened.
    pub(super) fn source_lines(&self) -> Vec<Lines> {
        self.origins
            .iter()
            .map(|origin| Lines::new(&origin.side))
            .collect()
    }
}

/// The databases of a side that hold keys, with how many.
async fn databases(side: &Side) -> Result<BTreeMap<u32, Counts>, Error> {
    let mut all: BTreeMap<u32, Counts> = BTreeMap::new();
    for node in 0..side.nodes.len() {
        let mut talk = side.open(node).await?;
        let answer = talk.call(&[b"INFO", b"keyspace"]).await?;
        let text = answer.text().ok_or_else(|| talk.unexpected("INFO keyspace"))?;
        for (db, counts) in keyspace(&String::from_utf8_lossy(text)) {
            let sum = all.entry(db).or_default();
            sum.keys += counts.keys;
            sum.expiring += counts.expiring;
        }
    }
    Ok(all)
}

/// `db0:keys=12,expires=3,…` for each database that holds keys.
fn keyspace(text: &str) -> BTreeMap<u32, Counts> {
    let line = |line: &str| {
        let (db, facts) = line.trim().strip_prefix("db")?.split_once(':')?;
        let fact = |name: &str| {
            facts
                .split(',')
                .find_map(|fact| fact.strip_prefix(name)?.parse().ok())
        };
        let counts = Counts {
            keys: fact("keys=")?,
            // Where it is not said, some may.
            expiring: fact("expires=").unwrap_or(1),
        };
        Some((db.parse().ok()?, counts))
    };
    text.lines().filter_map(line).collect()
}

/// The number that an answer is.
pub(super) fn int(answer: &Value) -> Option<i64> {
    match answer {
        Value::Int(number) => Some(*number),
        _ => None,
    }
}

/// What was seen of each key, wherever it was.
pub(super) fn without_places(all: Vec<Vec<(Place, Seen)>>) -> Vec<Vec<Seen>> {
    let seen = |places: Vec<(Place, Seen)>| places.into_iter().map(|(_, seen)| seen).collect();
    all.into_iter().map(seen).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keyspace_is_read_as_servers_write_it() {
        let text = "# Keyspace\r\ndb0:keys=12,expires=3,avg_ttl=0\r\ndb10:keys=1,expires=0,avg_ttl=0,subexpiry=0\r\n";
        let counts = |keys, expiring| Counts { keys, expiring };
        let expected = BTreeMap::from([(0, counts(12, 3)), (10, counts(1, 0))]);
        assert_eq!(keyspace(text), expected);
        assert_eq!(keyspace("# Keyspace\r\n"), BTreeMap::new());
    }
}
