//! What a target's error reply means for what was sent: one table, used everywhere.
//!
//! | first words of the reply | kind | what becomes of the command |
//! | --- | --- | --- |
//! | `OOM`, `READONLY`, `LOADING`, `MISCONF`, `BUSY`, `CLUSTERDOWN`, `TRYAGAIN`, `MASTERDOWN`, `NOREPLICAS`, `UNKILLABLE`, `ERR max number of clients` | Transient | nothing of it counted: back off and send it again |
//! | `NOAUTH`, `WRONGPASS`, `DENIED`, `ERR invalid password`, `ERR AUTH …`, `ERR operation not permitted` | Credentials | as Transient, and a person must help |
//! | `MOVED`, `ASK`, `CROSSSLOT` | Cluster | the target is a cluster and was configured as none |
//! | `ERR This instance has cluster support disabled` | NoCluster | the target is none and was configured as one |
//! | `BUSYKEY` | KeyExists | by `keyExists` |
//! | `ERR DUMP payload version …`, `ERR Bad data format` | Payload | the target cannot load the value |
//! | `NOPERM` | Permission | dead letter |
//! | anything else (`ERR unknown command`, `ERR wrong number of arguments`, `WRONGTYPE`, …) | Command | dead letter |
//!
//! `EXECABORT Transaction discarded because of: <reply>` is classed by the reply inside.

/// The kind of an error reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Passes by itself, or when a person changes the target's state. Nothing was applied.
    Transient,
    /// Wrong user or password.
    Credentials,
    /// The target is a cluster node.
    Cluster,
    /// The target is in no cluster.
    NoCluster,
    /// `RESTORE` without `REPLACE` met a key.
    KeyExists,
    /// `RESTORE` could not load the value.
    Payload,
    /// The user may not run the command.
    Permission,
    /// This command, and only it, cannot be applied.
    Command,
}

impl Kind {
    /// Classes an error reply, given without its leading `-`.
    #[must_use]
    pub fn of(reply: &str) -> Kind {
        let reply = inner(reply);
        let (word, rest) = reply.split_once(' ').unwrap_or((reply, ""));
        match word {
            "OOM" | "READONLY" | "LOADING" | "MISCONF" | "BUSY" | "CLUSTERDOWN" | "TRYAGAIN"
            | "MASTERDOWN" | "NOREPLICAS" | "UNKILLABLE" => Kind::Transient,
            "NOAUTH" | "WRONGPASS" | "DENIED" => Kind::Credentials,
            "MOVED" | "ASK" | "CROSSSLOT" => Kind::Cluster,
            "BUSYKEY" => Kind::KeyExists,
            "NOPERM" => Kind::Permission,
            "ERR" => Kind::of_generic(rest),
            _ => Kind::Command,
        }
    }

    fn of_generic(text: &str) -> Kind {
        const TABLE: &[(&str, Kind)] = &[
            ("max number of clients", Kind::Transient),
            ("This instance has cluster support disabled", Kind::NoCluster),
            ("invalid password", Kind::Credentials),
            ("AUTH", Kind::Credentials),
            ("Client sent AUTH", Kind::Credentials),
            ("unknown command 'AUTH'", Kind::Credentials),
            ("unknown command `AUTH`", Kind::Credentials),
            ("operation not permitted", Kind::Credentials),
            ("DUMP payload", Kind::Payload),
            ("Bad data format", Kind::Payload),
        ];
        TABLE
            .iter()
            .find(|(start, _)| text.starts_with(start))
            .map_or(Kind::Command, |(_, kind)| *kind)
    }

    /// Whether what was sent may be sent again, unchanged, after a while.
    #[must_use]
    pub const fn may_be_repeated(self) -> bool {
        matches!(
            self,
            Kind::Transient | Kind::Credentials | Kind::Cluster | Kind::NoCluster
        )
    }

    /// The sentence that tells a person what to do about `reply`, where there is one.
    #[must_use]
    pub fn hint(self, reply: &str) -> Option<String> {
        let reply = inner(reply);
        let word = reply.split(' ').next().unwrap_or_default();
        let text = match (self, word) {
            (Kind::Transient, "OOM") => {
                "the target is at its maxmemory and evicts nothing: CONFIG SET maxmemory <more> on the target, or free memory there"
            }
            (Kind::Transient, "READONLY") => {
                "the target is a read-only replica: point --target at its master, or REPLICAOF NO ONE on the target if it should be one"
            }
            (Kind::Transient, "MISCONF") => {
                "the target cannot save to disk and therefore refuses writes: free its disk, or CONFIG SET stop-writes-on-bgsave-error no there"
            }
            (Kind::Transient, "LOADING") => "wait: the target is loading its dataset",
            (Kind::Transient, "BUSY") => {
                "a script blocks the target: SCRIPT KILL there, or wait until it has ended"
            }
            (Kind::Transient, "NOREPLICAS") => {
                "the target wants more replicas before it takes writes: see its min-replicas-to-write"
            }
            (Kind::Transient, "MASTERDOWN") => {
                "the target is a replica whose master is away: point --target at the master, or REPLICAOF NO ONE on the target if it should be one"
            }
            (Kind::Transient, "CLUSTERDOWN") => {
                "look at CLUSTER NODES on the target: every slot needs a master that is up"
            }
            (Kind::Transient, "UNKILLABLE") => {
                "a script that has written blocks the target: wait until it has ended, or SHUTDOWN NOSAVE there"
            }
            (Kind::Transient, "TRYAGAIN") => "wait: a slot of the target is on its way",
            (Kind::Transient, "ERR") => {
                "the target has no connection left: CONFIG SET maxclients <more> there, or close some"
            }
            (Kind::Transient, _) => return None,
            (Kind::Credentials, "DENIED") => {
                "the target takes connections from its own machine only: set a password there, and output.redis.password"
            }
            (Kind::Credentials, _) => {
                "set output.redis.password (and output.redis.userName for an ACL user), or GUNYU_TARGET_PASSWORD"
            }
            (Kind::Cluster, _) => {
                "the target is a cluster: set output.redis.type: cluster, or --target redis+cluster://…"
            }
            (Kind::NoCluster, _) => {
                "the target is in no cluster: set output.redis.type: standalone, or --target redis://…"
            }
            (Kind::KeyExists, _) => {
                "the target holds keys of its own: empty it, or set output.replay.keyExists: replace or ignore"
            }
            (Kind::Payload, _) => {
                "the target is too old for values in the source's format: use a target of at least the source's version"
            }
            (Kind::Permission, _) => {
                "on the target: ACL SETUSER <user> +@all ~* allows everything; the reply names the command or key that is missing"
            }
            (Kind::Command, "WRONGTYPE") => {
                "something else has written to that key on the target: DEL it there, and gunyu fullsync brings the source's value"
            }
            (Kind::Command, "ERR") if is_unknown(reply) => {
                "the target does not know this: load the module there that does, or use a target of at least the source's version"
            }
            (Kind::Command, _) => return None,
        };
        Some(text.to_owned())
    }
}

/// Why a transaction was refused as a whole, where the reply says it.
fn inner(reply: &str) -> &str {
    reply
        .strip_prefix("EXECABORT Transaction discarded because of: ")
        .unwrap_or(reply)
}

/// A command, or one of its subcommands, that the target does not have.
fn is_unknown(reply: &str) -> bool {
    [
        "ERR unknown command",
        "ERR unknown subcommand",
        "ERR Unknown subcommand",
    ]
    .iter()
    .any(|start| reply.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_replies_are_classed_by_their_first_words() {
        let table = [
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                Kind::Transient,
            ),
            (
                "READONLY You can't write against a read only replica.",
                Kind::Transient,
            ),
            ("BUSY Redis is busy running a script.", Kind::Transient),
            ("BUSYKEY Target key name already exists.", Kind::KeyExists),
            ("ERR max number of clients reached", Kind::Transient),
            (
                "ERR max number of clients + cluster connections reached",
                Kind::Transient,
            ),
            ("DENIED Redis is running in protected mode", Kind::Credentials),
            (
                "EXECABORT Transaction discarded because of: READONLY You can't write",
                Kind::Transient,
            ),
            (
                "EXECABORT Transaction discarded because of previous errors.",
                Kind::Command,
            ),
            ("ERR DUMP payload version or checksum are wrong", Kind::Payload),
            ("ERR Bad data format", Kind::Payload),
            ("WRONGPASS invalid username-password pair", Kind::Credentials),
            ("MOVED 1 127.0.0.1:7000", Kind::Cluster),
            ("ERR This instance has cluster support disabled", Kind::NoCluster),
            ("NOPERM no", Kind::Permission),
            ("WRONGTYPE Operation against a key", Kind::Command),
            ("ERR unknown command 'X'", Kind::Command),
        ];
        for (reply, kind) in table {
            assert_eq!(Kind::of(reply), kind, "{reply}");
        }
    }

    #[test]
    fn what_a_person_must_mend_comes_with_a_hint() {
        assert!(
            Kind::of("READONLY x")
                .hint("READONLY x")
                .unwrap()
                .contains("master")
        );
        let rows = [
            ("OOM x", "maxmemory"),
            ("MISCONF x", "stop-writes-on-bgsave-error"),
            ("LOADING x", "wait"),
            ("BUSY x", "SCRIPT KILL"),
            ("MASTERDOWN x", "whose master is away"),
            ("CLUSTERDOWN x", "CLUSTER NODES"),
            ("NOREPLICAS x", "min-replicas-to-write"),
            ("ERR max number of clients reached", "maxclients"),
            ("NOPERM x", "ACL SETUSER"),
            ("DENIED x", "output.redis.password"),
            ("EXECABORT Transaction discarded because of: OOM x", "maxmemory"),
            (
                "ERR This instance has cluster support disabled",
                "--target redis://",
            ),
            ("WRONGTYPE x", "gunyu fullsync"),
            ("ERR unknown command 'X'", "module"),
        ];
        for (reply, word) in rows {
            let hint = Kind::of(reply).hint(reply).unwrap_or_default();
            assert!(hint.contains(word), "{reply}: {hint:?}");
        }
        assert_eq!(Kind::of("ERR syntax error").hint("ERR syntax error"), None);
    }
}
