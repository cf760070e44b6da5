//! What a master says of slots that come or go as a whole, and which masters can do that.
//!
//! | server | is asked | because |
//! | --- | --- | --- |
//! | Redis 8.4 and later | `CLUSTER INFO` | migrations under way are counted there |
//! | Valkey 9 and later | `CLUSTER GETSLOTMIGRATIONS` | it also says which slots a master has given away, whose keys it deletes one by one afterwards |
//! | any other | nothing | it cannot do that |

use super::Error;
use super::ask::Asker;
use super::jobs::{Export, Jobs, jobs};

/// How a server moves slots as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Can {
    Not,
    Redis,
    Valkey,
}

/// What a master says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Migrations {
    /// Whether some are under way; nothing where the server cannot do that.
    pub(super) under_way: Option<bool>,
    /// The exports, where keys are deleted one by one afterwards.
    pub(super) exports: Option<Vec<Export>>,
}

impl Can {
    /// Reads the text of `INFO server`.
    pub(super) fn of_info(text: &str) -> Can {
        let version = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name))?;
            let mut numbers = value.trim().split('.').map(|number| number.parse().unwrap_or(0));
            Some((numbers.next()?, numbers.next().unwrap_or(0)))
        };
        match (version("valkey_version:"), version("redis_version:")) {
            (Some(version), _) if version >= (9, 0) => Can::Valkey,
            (None, Some(version)) if version >= (8, 4) => Can::Redis,
            _ => Can::Not,
        }
    }

    /// Asks. A master that refuses is taken for one that moves nothing.
    pub(super) async fn migrations(&mut self, asker: &mut Asker) -> Result<Migrations, Error> {
        let answer = match self {
            Can::Not => return Ok(Migrations::default()),
            Can::Redis => asker.text(&[b"CLUSTER", b"INFO"]).await.map(|text| Migrations {
                under_way: active_tasks(&text).map(|tasks| tasks > 0),
                exports: None,
            }),
            Can::Valkey => {
                let question: [&[u8]; 2] = [b"CLUSTER", b"GETSLOTMIGRATIONS"];
                let answer = asker.call(&question).await;
                let jobs = answer.and_then(|answer| jobs(&answer).ok_or_else(|| asker.nonsense(&question)));
                jobs.map(|Jobs { under_way, exports }| Migrations {
                    under_way: Some(under_way),
                    exports: Some(exports),
                })
            }
        };
        match answer {
            Err(error @ Error::Refused { .. }) => {
                let hint = "allow the user +cluster|info (Redis) or +cluster|getslotmigrations (Valkey): without that, slots must not be moved as a whole";
                tracing::warn!(%error, hint, "which slots move cannot be seen");
                *self = Can::Not;
                Ok(Migrations::default())
            }
            answer => answer,
        }
    }
}

/// How many migrations are under way, by the text of `CLUSTER INFO`.
fn active_tasks(text: &str) -> Option<u64> {
    let field = |line: &str| {
        let value = line.strip_prefix("cluster_slot_migration_active_tasks:")?;
        value.trim().parse().ok()
    };
    text.lines().find_map(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_counted_where_redis_knows_them() {
        for (text, expected) in [
            (
                "cluster_state:ok\r\ncluster_slot_migration_active_tasks:1\r\n",
                Some(1),
            ),
            (
                "cluster_slot_migration_active_tasks:0\r\ncluster_size:3\r\n",
                Some(0),
            ),
            ("cluster_state:ok\r\n", None),
        ] {
            assert_eq!(active_tasks(text), expected, "{text}");
        }
    }

    #[test]
    fn who_can_move_slots_as_a_whole_is_known_by_version() {
        for (text, expected) in [
            ("redis_version:8.4.0\r\n", Can::Redis),
            ("redis_version:8.2.9\r\n", Can::Not),
            ("redis_version:7.2.4\r\nvalkey_version:9.0.1\r\n", Can::Valkey),
            ("redis_version:7.2.4\r\nvalkey_version:8.1.0\r\n", Can::Not),
            ("", Can::Not),
        ] {
            assert_eq!(Can::of_info(text), expected, "{text}");
        }
    }
}
