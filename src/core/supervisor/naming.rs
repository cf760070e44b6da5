//! Under which name a shard is replicated. Without I/O.
//!
//! A name is made once, of the id of the shard's master at that moment, and then stays with the shard: every id that has ever been seen in it leads to
//! it. So the nodes may fail, be replaced and come back, one after the other.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::topology::shards::Shard;

/// So much of a node's id stands in a name.
pub(super) const ID_CHARS: usize = 12;

/// Which name each node's id leads to.
#[derive(Debug, Default)]
pub(super) struct Known(BTreeMap<String, String>);

impl Known {
    /// The newest counts.
    pub(super) fn insert(&mut self, id: String, name: String) {
        self.0.insert(id, name);
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }

    /// The names to which the ids lead.
    pub(super) fn names(&self) -> BTreeSet<&str> {
        self.0.values().map(String::as_str).collect()
    }
}

/// Whether a shard has a pipeline: one that serves nothing only where it had one before.
pub(super) fn is_one(shard: &Shard, known: &Known) -> bool {
    !shard.master.slots.is_empty() || known.contains(&shard.master.id)
}

/// The name of each shard; nothing for one that is none of its own.
///
/// | ids of the shard lead to | another shard claims that name | the shard serves slots | name |
/// | --- | --- | --- | --- |
/// | a name | no | – | that name |
/// | a name | yes, and serves slots where this one does not, or its name is of one of that one's ids | no | none: what is left of a master that was replaced |
/// | a name | likewise | yes | a new one |
/// | none | – | – | a new one |
///
/// What the master's id leads to counts before what those of replicas do.
pub(super) fn names(
    shards: &[Shard],
    known: &Known,
    new_name: impl Fn(&str) -> String,
) -> Vec<Option<String>> {
    let led_to = |shard: &Shard| shard.nodes().find_map(|node| known.0.get(&node.id)).cloned();
    let claims: Vec<Option<String>> = shards.iter().map(led_to).collect();
    let right = |place: usize, name: &str| {
        let shard = &shards[place];
        let serves = !shard.master.slots.is_empty();
        let is_named_after = shard.nodes().any(|node| new_name(&node.id) == name);
        let by_master = known.0.get(&shard.master.id).is_some_and(|led| led == name);
        (serves, by_master, is_named_after, std::cmp::Reverse(place))
    };
    let best = |name: &String| {
        let rivals = (0..shards.len()).filter(|place| claims[*place].as_ref() == Some(name));
        rivals.max_by_key(|place| right(*place, name))
    };
    let name_of = |place: usize, shard: &Shard| match &claims[place] {
        Some(name) if best(name) == Some(place) => Some(name.clone()),
        Some(_) if shard.master.slots.is_empty() => None,
        _ => Some(new_name(&shard.master.id)),
    };
    let named = shards.iter().enumerate();
    named.map(|(place, shard)| name_of(place, shard)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::topology::nodes::Node;

    fn shard(master: &str, replicas: &[&str], serves: bool) -> Shard {
        let node = |id: &str, slots: &[(u16, u16)]| Node {
            id: id.to_owned(),
            address: None,
            master: None,
            is_myself: false,
            has_failed: false,
            is_stranger: false,
            epoch: 1,
            slots: slots.to_vec(),
            moving: None,
        };
        let slots: &[(u16, u16)] = if serves { &[(0, 1)] } else { &[] };
        Shard {
            master: node(master, slots),
            replicas: replicas.iter().map(|id| node(id, &[])).collect(),
        }
    }

    fn named(shards: &[Shard], known: &[(&str, &str)]) -> Vec<Option<String>> {
        let mut all = Known::default();
        known
            .iter()
            .for_each(|(id, name)| all.insert((*id).to_owned(), (*name).to_owned()));
        names(shards, &all, |id| format!("of-{id}"))
    }

    #[test]
    fn a_master_that_serves_nothing_and_had_no_pipeline_is_no_shard_yet() {
        let mut known = Known::default();
        assert!(is_one(&shard("a", &[], true), &known));
        assert!(!is_one(&shard("a", &[], false), &known));
        known.insert("a".to_owned(), "of-a".to_owned());
        assert!(is_one(&shard("a", &[], false), &known));
    }

    #[test]
    fn every_row_of_the_table() {
        let (a, b) = ("a", "b");
        type Row<'a> = (
            &'a str,
            &'a [Shard],
            &'a [(&'a str, &'a str)],
            &'a [Option<&'a str>],
        );
        let rows: [Row<'_>; 8] = [
            ("nothing is known", &[shard(a, &[b], true)], &[], &[Some("of-a")]),
            (
                "it is known",
                &[shard(a, &[b], true)],
                &[(a, "of-a")],
                &[Some("of-a")],
            ),
            (
                "a replica was promoted",
                &[shard(b, &[a], true)],
                &[(a, "of-a"), (b, "of-a")],
                &[Some("of-a")],
            ),
            (
                "one that nobody knew was promoted",
                &[shard("n", &[a], true)],
                &[(a, "of-a")],
                &[Some("of-a")],
            ),
            (
                "the old master is back and serves nothing",
                &[shard(b, &[], true), shard(a, &[], false)],
                &[(a, "of-a"), (b, "of-a")],
                &[Some("of-a"), None],
            ),
            (
                "a replica became a shard of its own",
                &[shard(a, &[], true), shard(b, &[], true)],
                &[(a, "of-a"), (b, "of-a")],
                &[Some("of-a"), Some("of-b")],
            ),
            (
                "a replica went to another shard",
                &[shard(a, &[], true), shard("c", &[b], true)],
                &[(a, "of-a"), (b, "of-a"), ("c", "of-c")],
                &[Some("of-a"), Some("of-c")],
            ),
            (
                "an empty shard is one",
                &[shard(a, &[], false)],
                &[],
                &[Some("of-a")],
            ),
        ];
        for (what, shards, known, expected) in rows {
            let found = named(shards, known);
            let found: Vec<Option<&str>> = found.iter().map(Option::as_deref).collect();
            assert_eq!(found, expected, "{what}");
        }
    }
}
