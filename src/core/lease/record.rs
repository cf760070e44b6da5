//! What stands in the group's store, as its members see it. Without I/O.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Seal;
use crate::core::position::Epoch;

/// The store holds something else than we wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// Where.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Damaged {
    pub(super) fn new(key: impl Into<String>, reason: impl Into<String>) -> Damaged {
        Damaged {
            key: key.into(),
            reason: reason.into(),
        }
    }
}

/// What a member tells the others of itself. Fields are only ever added; one that is not known is passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Its name in the group.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The machine on which it runs.
    pub machine: String,
    /// Where its HTTP API is.
    pub api: String,
    /// When it started, in milliseconds since 1970 by its own clock.
    pub started_ms: u64,
    /// What it copies from where to where: members differ in nothing of it. Empty where nothing was said.
    pub config: String,
    /// It ends, and takes nothing any more.
    pub is_leaving: bool,
    /// How far it is, by input.
    pub positions: BTreeMap<String, String>,
    /// Written by the [`Store`]: it grows with each renewal, so that who looks twice sees whether the member lives.
    pub beat: u64,
    /// Written by the [`Store`]: that the member knows the group's token, where it has one.
    pub proof: String,
}

/// A lease that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Who has it.
    pub holder: String,
    /// Since when: the number of his tenure.
    pub epoch: Epoch,
    pub(super) session: String,
}

/// All of a group at one moment: what is live by the store's clock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The members, by their names.
    pub members: BTreeMap<String, Record>,
    /// The leases that are held, by input.
    pub leases: BTreeMap<String, Lease>,
    /// The notes.
    pub notes: BTreeMap<String, String>,
    /// Those that are registered, or hold a lease, and have not shown that they know the group's token: nothing is to be asked of them.
    pub strangers: BTreeSet<String>,
}

impl View {
    /// Lets only those be members whose record bears the seal.
    pub fn sort_out(&mut self, seal: &Seal) {
        let is_known = |(id, record): &(String, Record)| record.id == *id && seal.is_on(record);
        let (known, strangers): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.members).into_iter().partition(is_known);
        self.members = known.into_iter().collect();
        self.strangers = strangers.into_iter().map(|(id, _)| id).collect();
        let holders = self.leases.values().map(|lease| &lease.holder);
        let unknown = holders.filter(|holder| !self.members.contains_key(*holder));
        self.strangers.extend(unknown.cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_another_version_is_read_as_far_as_it_is_known() {
        let newer = r#"{"id":"a:1","beat":3,"colour":"red"}"#;
        let record: Record = serde_json::from_str(newer).unwrap();
        assert_eq!((record.id.as_str(), record.beat), ("a:1", 3));
        assert_eq!(record.positions, BTreeMap::new());
    }
}
