//! Keys that the target has and the source has not: in which databases a repair removes them.
//!
//! By the very table by which a full sync sweeps ([`stale`]): what that would keep, a repair keeps. Of several pipelines onto one target each has to agree.

use super::Error;
use super::group::Group;
use crate::core::pipeline::StaleKeys;
use crate::core::pipeline::stale::{self, Case};
use crate::core::resp::Value;
use crate::core::survey;
use crate::core::target::checkpoint::KEY_PREFIX;

/// What is known of one pipeline.
#[derive(Debug)]
struct Known {
    policy: StaleKeys,
    /// Whether other deployments keep checkpoints on the target.
    shared: bool,
    /// The databases that were empty when it first synced; none where it never has.
    owned: Vec<u32>,
}

/// In which databases keys are removed.
#[derive(Debug)]
pub(super) struct Removal(Vec<Known>);

impl Removal {
    pub(super) async fn find(group: &Group) -> Result<Removal, Error> {
        let checkpoints = checkpoint_keys(group).await?;
        let mut all = Vec::new();
        for one in &group.pipelines {
            let mut target = survey::Target::connect(&one.target.endpoint).await?;
            let recorded = target.recorded(&one.name).await?;
            all.push(Known {
                policy: one.stale_keys,
                shared: stale::has_others(&checkpoints, &one.name, one.shard.as_ref()),
                owned: recorded.map(|recorded| recorded.record.owned).unwrap_or_default(),
            });
        }
        Ok(Removal(all))
    }

    /// Whether keys that the source does not have are removed from this database of the target.
    pub(super) fn removes(&self, db: u32) -> bool {
        self.0.iter().all(|known| {
            stale::deletes(Case {
                policy: known.policy,
                foreign: !known.owned.contains(&db),
                shared: known.shared,
            })
        })
    }
}

/// The keys of all deployments that keep a checkpoint on the target.
async fn checkpoint_keys(group: &Group) -> Result<Vec<Vec<u8>>, Error> {
    let pattern = format!("{KEY_PREFIX}:*");
    let mut found = Vec::new();
    for node in 0..group.target.nodes.len() {
        let mut talk = group.target.open(node).await?;
        let mut cursor = b"0".to_vec();
        loop {
            let args = [
                &b"SCAN"[..],
                &cursor,
                b"MATCH",
                pattern.as_bytes(),
                b"COUNT",
                b"5000",
            ];
            let answer = talk.call(&args).await?;
            let Some([Value::Bulk(next), Value::Array(keys)]) = answer.array() else {
                return Err(talk.unexpected("SCAN"));
            };
            found.extend(keys.iter().filter_map(Value::text).map(<[u8]>::to_vec));
            if next == b"0" {
                break;
            }
            cursor.clone_from(next);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_removed_where_every_pipelines_sweep_would_delete_it() {
        let known = |policy, shared, owned: &[u32]| Known {
            policy,
            shared,
            owned: owned.to_vec(),
        };
        let auto = |shared, owned: &[u32]| known(StaleKeys::Auto, shared, owned);
        #[rustfmt::skip]
        let rows = [
            (vec![auto(false, &[0, 3])],                                     [true, false, true]),
            (vec![auto(true, &[0, 3])],                                      [false, false, false]),
            (vec![auto(false, &[])],                                         [false, false, false]),
            (vec![auto(false, &[0, 3]), auto(false, &[3])],                  [false, false, true]),
            (vec![known(StaleKeys::Delete, true, &[])],                      [true, true, true]),
            (vec![known(StaleKeys::Keep, false, &[0, 1, 3])],                [false, false, false]),
            (vec![known(StaleKeys::Delete, true, &[]), auto(false, &[1])],   [false, true, false]),
        ];
        for (all, expected) in rows {
            let removal = Removal(all);
            assert_eq!([0, 1, 3].map(|db| removal.removes(db)), expected, "{removal:?}");
        }
    }
}
