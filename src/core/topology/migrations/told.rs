//! What a server says of itself and of its cluster, as far as slots that move as a whole are concerned. Without I/O.

/// How a server moves slots as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Can {
    /// Not at all.
    Not,
    /// As Redis 8.4 does.
    Redis,
    /// As Valkey 9 does.
    Valkey,
}

impl Can {
    /// Reads the text of `INFO server`.
    #[must_use]
    pub fn of_info(text: &str) -> Can {
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
}

/// How many migrations are under way, by the text of `CLUSTER INFO`.
#[must_use]
pub fn active_tasks(text: &str) -> Option<u64> {
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
