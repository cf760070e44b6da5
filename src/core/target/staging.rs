//! Where a value is put together before it takes its key's name.
//!
//! A value that is written in pieces is written under a name of ours, and renamed when it is whole: so nobody sees a part of it, an old value
//! stays until then, and nothing of the old and the new is ever merged. There are [`NAMES`] such names for each deployment and database; a key
//! always has the same one, and keys that share one are written one after the other, on the same connection.
//!
//! | target | the names | so many |
//! | --- | --- | --- |
//! | one node | `redis-gunyu-staged:{name}:N`, N from 0 | [`NAMES`] |
//! | cluster | `redis-gunyu-staged:{tag of the key's slot}:name` | one in each slot |
//!
//! They are keys like any other: where the target is itself followed, whoever follows it must see them,
//! or the renaming would find nothing. Whoever has used some lets all of them go at the end of the full sync.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use bytes::Bytes;

use crate::core::command::{SLOTS, slot, tag_of};

/// How many names there are on one node; at least as many as connections can be configured.
pub const NAMES: u64 = 1024;

/// All staged keys begin so.
pub const KEY_PREFIX: &str = "redis-gunyu-staged";

/// The names of a deployment.
#[derive(Debug, Clone)]
pub struct Names {
    deployment: String,
    is_cluster: bool,
}

/// Which of the names is a key's, on one node.
#[must_use]
pub fn number(key: &[u8]) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(key) % NAMES
}

impl Names {
    /// Those on one node, or on a cluster.
    #[must_use]
    pub fn of(deployment: &str, is_cluster: bool) -> Names {
        Names {
            deployment: deployment.to_owned(),
            is_cluster,
        }
    }

    /// The name under which a key's value is put together.
    #[must_use]
    pub fn name(&self, key: &[u8]) -> Bytes {
        match self.is_cluster {
            true => self.in_slot(slot(key)),
            false => self.nth(number(key)),
        }
    }

    /// The commands that let all of them go, in the database that is selected; `verb` is the target's for that.
    #[must_use]
    pub fn clearing(&self, verb: &[u8]) -> Vec<Vec<Vec<u8>>> {
        if self.is_cluster {
            let one = |slot| vec![verb.to_vec(), self.in_slot(slot).to_vec()];
            return (0..SLOTS).map(one).collect();
        }
        let names = (0..NAMES).map(|number| self.nth(number).to_vec());
        vec![[verb.to_vec()].into_iter().chain(names).collect()]
    }

    fn nth(&self, number: u64) -> Bytes {
        Bytes::from(format!("{KEY_PREFIX}:{{{}}}:{number}", self.deployment))
    }

    fn in_slot(&self, slot: u16) -> Bytes {
        Bytes::from(format!("{KEY_PREFIX}:{{{}}}:{}", tag_of(slot), self.deployment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_always_has_the_same_name_and_another_deployment_another() {
        for is_cluster in [false, true] {
            let name = |deployment| Names::of(deployment, is_cluster).name(b"key");
            assert_eq!(name("d"), name("d"));
            assert!(name("d").starts_with(KEY_PREFIX.as_bytes()));
            assert_ne!(name("d"), name("e"));
        }
    }

    #[test]
    fn on_a_cluster_the_name_is_in_the_slot_of_the_key_and_all_of_them_are_let_go_one_by_one() {
        let names = Names::of("d", true);
        let commands = names.clearing(b"DEL");
        for key in [&b"key"[..], b"{tag}key", b"", b"{}"] {
            assert_eq!(slot(&names.name(key)), slot(key));
            assert!(commands.contains(&vec![b"DEL".to_vec(), names.name(key).to_vec()]));
        }
    }
}
