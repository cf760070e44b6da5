//! What a master says of slots that come or go as a whole, and which masters can do that.
//!
//! | server | is asked | because |
//! | --- | --- | --- |
//! | Redis 8.4 and later | `CLUSTER INFO` | migrations under way are counted there |
//! | Valkey 9 and later | `CLUSTER GETSLOTMIGRATIONS` | it also says which slots a master has given away, whose keys it deletes one by one afterwards |
//! | any other | nothing | it cannot do that |

use super::Error;
use super::ask::Asker;
use crate::core::command;
use crate::core::resp::Value;

/// So many exports that are over are remembered: the newest, which the server lists first.
const OVER_MAX: usize = 64;

/// An export of slots as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Its name.
    pub name: String,
    /// First and last slots.
    pub slots: Vec<(u16, u16)>,
    /// It is not under way any more.
    pub is_over: bool,
}

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
                answer.and_then(|answer| jobs(&answer).ok_or_else(|| asker.nonsense(&question)))
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

/// Reads the answer of Valkey: a list of maps, or of lists of names and values by turns.
fn jobs(answer: &Value) -> Option<Migrations> {
    let (mut under_way, mut over, mut exports) = (false, 0, Vec::new());
    for job in answer.array()? {
        let field = |name: &str| text_of(job, name);
        let is_over = ["success", "failed", "cancelled"].contains(&field("state")?.as_str());
        under_way |= !is_over;
        over += usize::from(is_over);
        if field("operation")?.eq_ignore_ascii_case("EXPORT") && !(is_over && over > OVER_MAX) {
            exports.push(Export {
                name: field("name")?,
                slots: ranges(&field("slot_ranges")?)?,
                is_over,
            });
        }
    }
    Some(Migrations {
        under_way: Some(under_way),
        exports: Some(exports),
    })
}

fn text_of(job: &Value, name: &str) -> Option<String> {
    let is_it = |key: &Value| key.text() == Some(name.as_bytes());
    let value = match job {
        Value::Map(fields) => fields.iter().find(|(key, _)| is_it(key)).map(|(_, value)| value),
        fields => {
            let mut pairs = fields.array()?.chunks_exact(2);
            pairs.find(|pair| is_it(&pair[0])).map(|pair| &pair[1])
        }
    };
    Some(String::from_utf8_lossy(value?.text()?).into_owned())
}

/// Reads `0-5 7-7`.
fn ranges(text: &str) -> Option<Vec<(u16, u16)>> {
    let words = text.split([' ', ',']).filter(|word| !word.is_empty());
    command::ranges(words.map(command::read_range))
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

    #[test]
    fn ranges_of_slots_that_there_are_not_are_refused() {
        for (text, expected) in [
            ("5-115 7", Some(vec![(5, 115), (7, 7)])),
            ("5-3", None),
            ("0-16384", None),
            ("70000", None),
            ("0-16383 1", None),
        ] {
            assert_eq!(ranges(text), expected, "{text}");
        }
        assert_eq!(ranges(&"1 ".repeat(16_385)), None);
    }

    fn job(operation: &str, state: &str) -> Value {
        let fields = [
            ("name", "one"),
            ("operation", operation),
            ("slot_ranges", "5-115 7"),
            ("state", state),
        ];
        let bulk = |text: &str| Value::Bulk(text.as_bytes().to_vec());
        let all = fields.iter().flat_map(|(name, value)| [bulk(name), bulk(value)]);
        Value::Array(all.collect())
    }

    #[test]
    fn the_jobs_of_valkey_are_read() {
        let read = |listed: &[(&str, &str)]| {
            let all = listed.iter().map(|(operation, state)| job(operation, state));
            let read = jobs(&Value::Array(all.collect())).unwrap();
            (read.under_way.unwrap(), read.exports.unwrap())
        };
        let export = |is_over| Export {
            name: "one".to_owned(),
            slots: vec![(5, 115), (7, 7)],
            is_over,
        };
        assert_eq!(read(&[]), (false, vec![]));
        assert_eq!(read(&[("EXPORT", "snapshotting")]), (true, vec![export(false)]));
        assert_eq!(read(&[("EXPORT", "success")]), (false, vec![export(true)]));
        assert_eq!(read(&[("IMPORT", "receiving-snapshot")]), (true, vec![]));
        let many = vec![("EXPORT", "failed"); OVER_MAX * 2];
        assert_eq!(read(&many).1.len(), OVER_MAX);
        assert_eq!(jobs(&Value::Nil), None);
    }
}
