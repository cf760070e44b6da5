//! Which databases are replicated, and where to.

use std::collections::{BTreeMap, BTreeSet};

use bytes::BytesMut;

use super::rules::{DbMap, Error, Rules};

/// The rules about databases.
#[derive(Debug)]
pub(super) struct Databases {
    deny: BTreeSet<u32>,
    allow: Option<BTreeSet<u32>>,
    map: DbMap,
}

/// Where in the stream the filter stands. A restart makes a new one from the checkpoint's database.
#[derive(Debug)]
pub struct State {
    /// The database that the source has selected.
    pub(super) db: u32,
    /// Where that one goes; `None`: it is not replicated. Set with `db`.
    pub(super) target: Option<u32>,
    /// What the last SELECT that went to the target selected there. Outlives a stay in a database that is not replicated.
    pub(super) selected: Option<u32>,
    /// The source's databases seen so far; `None`: not known.
    pub(super) seen: Option<BTreeSet<u32>>,
    /// Where rewritten commands are written. Its memory is used again once they have gone.
    pub(super) scratch: BytesMut,
}

impl State {
    pub(super) fn new(databases: &Databases, db: u32, seen: Option<&[u32]>) -> State {
        let target = databases.target(db);
        let mut state = State {
            db,
            target,
            selected: target,
            seen: seen.map(|seen| seen.iter().copied().collect()),
            scratch: BytesMut::new(),
        };
        state.saw(db);
        state
    }

    /// The database that the source has selected: what a checkpoint records.
    #[must_use]
    pub fn db(&self) -> u32 {
        self.db
    }

    /// The database that the target's connection must have selected before what comes next; `None`: any.
    #[must_use]
    pub fn selected(&self) -> Option<u32> {
        self.selected
    }

    /// The source's databases seen so far; `None`: not known.
    pub fn seen(&self) -> Option<impl Iterator<Item = u32>> {
        self.seen.as_ref().map(|seen| seen.iter().copied())
    }

    /// Says that a database of the source holds keys: every database of a snapshot.
    pub fn saw(&mut self, db: u32) {
        if let Some(seen) = &mut self.seen {
            seen.insert(db);
        }
    }

    fn may_have_seen(&self, db: u32) -> bool {
        self.seen.as_ref().is_none_or(|seen| seen.contains(&db))
    }
}

impl Databases {
    pub(super) fn compile(rules: &Rules) -> Result<Databases, Error> {
        let deny: BTreeSet<u32> = rules.db_deny.iter().copied().collect();
        let allow: Option<BTreeSet<u32>> = rules.db_allow.as_ref().map(|dbs| dbs.iter().copied().collect());
        if allow.as_ref().is_some_and(|allow| allow.is_subset(&deny)) {
            return Err(Error::NoDatabase);
        }
        let map = rules.db_map.simplified();
        Ok(Databases { deny, allow, map })
    }

    /// Whether every database is replicated to itself.
    pub(super) fn is_plain(&self) -> bool {
        self.deny.is_empty() && self.allow.is_none() && self.map == DbMap::Same
    }

    /// Where a database goes; `None`: it is not replicated.
    #[inline]
    pub(super) fn target(&self, db: u32) -> Option<u32> {
        let allowed = self.allow.as_ref().is_none_or(|allow| allow.contains(&db));
        if !allowed || self.deny.contains(&db) {
            return None;
        }
        Some(match &self.map {
            DbMap::Same => db,
            DbMap::All(target) => *target,
            DbMap::Each(map) => map.get(&db).copied().unwrap_or(db),
        })
    }

    /// The target's databases that hold something of ours; `None`: not known.
    pub(super) fn fed(&self, state: &State) -> Option<BTreeSet<u32>> {
        let targets = |dbs: &BTreeSet<u32>| dbs.iter().filter_map(|db| self.target(*db)).collect();
        match (&state.seen, &self.allow, &self.map) {
            (Some(seen), _, _) => Some(targets(seen)),
            (None, Some(allow), _) => Some(targets(allow)),
            (None, None, DbMap::All(target)) => Some(BTreeSet::from([*target])),
            (None, None, _) => None,
        }
    }

    /// Whether a database's place on the target may hold keys of yet another one than `besides`.
    pub(super) fn is_shared(&self, state: &State, db: u32, besides: u32) -> bool {
        let Some(target) = self.target(db) else {
            return false;
        };
        let shares = |other: u32| {
            other != db
                && other != besides
                && self.target(other) == Some(target)
                && state.may_have_seen(other)
        };
        match (&self.map, &state.seen, &self.allow) {
            (DbMap::Same, _, _) => false,
            (DbMap::Each(map), _, _) => sources(map, target).any(shares),
            (DbMap::All(_), Some(seen), _) => seen.iter().copied().any(shares),
            (DbMap::All(_), None, Some(allow)) => allow.iter().copied().any(shares),
            (DbMap::All(_), None, None) => true,
        }
    }
}

/// What a map sends to a target: what it names, and the database of that number itself.
fn sources(map: &BTreeMap<u32, u32>, target: u32) -> impl Iterator<Item = u32> {
    let named = map
        .iter()
        .filter(move |(_, to)| **to == target)
        .map(|(from, _)| *from);
    named.chain([target])
}
