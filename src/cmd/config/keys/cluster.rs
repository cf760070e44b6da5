//! The section `cluster`: several gunyu that stand in for each other.

use std::time::Duration;

use super::{SENTINEL, TEXTS, TLS, at_least, duration};
use crate::cmd::config::schema::{Entry, Kind, ignored, key, section};

pub(super) static CLUSTER: &[Entry] = &[
    key(
        "groupName",
        Kind::Text,
        "",
        "The name of the group, the same on all of them.",
    ),
    section(
        "metaEtcd",
        ETCD,
        "etcd v3 for leases and registry. Without endpoints: a Redis.",
    ),
    section(
        "metaRedis",
        LOCK,
        "A Redis for leases and registry. Without addresses: the source's.",
    ),
    key(
        "leaseTimeout",
        duration(Duration::from_secs(3), Duration::from_secs(600)),
        "10s",
        "After this long without a sign of life another one takes over.",
    )
    .zero_is_unset(),
    key(
        "leaseRenewInterval",
        at_least(Duration::from_secs(1)),
        "",
        "At most a third of leaseTimeout. Unset: that.",
    )
    .zero_is_unset(),
    key(
        "token",
        Kind::Secret,
        "",
        "The token that the members bear among themselves. Unset: that of server.auth.",
    ),
    key(
        "tokenFile",
        Kind::Text,
        "",
        "A file that holds the token, in place of it; for nobody else to read.",
    ),
    section(
        "tls",
        TLS,
        "How the members are reached where they serve TLS (server.tls), which all of them do or none.",
    ),
];

static ETCD: &[Entry] = &[
    key(
        "endpoints",
        TEXTS,
        "[]",
        "host:port of etcd nodes; https://host:port stands for TLS.",
    ),
    key("username", Kind::Text, "", "The user.").or(&["userName"]),
    key("password", Kind::Secret, "", "The password."),
    section("tls", TLS, "TLS to etcd."),
    ignored(
        "dialTimeout",
        "how long etcd may take to answer follows from cluster.leaseTimeout",
    )
    .or(&["dialtimeout"]),
    ignored(
        "dialKeepAliveTime",
        "whether etcd is there shows with each renewal of the lease",
    )
    .or(&["dialkeepalivetime"]),
    ignored(
        "dialKeepAliveTimeout",
        "whether etcd is there shows with each renewal of the lease",
    )
    .or(&["dialkeepalivetimeout"]),
    ignored("autoSyncInterval", "the endpoints are those listed").or(&["autosyncinterval"]),
    ignored("rejectOldCluster", "gunyu does not ask etcd for its version").or(&["rejectoldcluster"]),
    ignored("ttl", "see cluster.leaseTimeout"),
];

static LOCK: &[Entry] = &[
    key(
        "type",
        Kind::Choice(&["standalone", "cluster", "sentinel"]),
        "standalone",
        "With sentinel, addresses are those of the sentinels.",
    ),
    key(
        "addresses",
        Kind::Addresses,
        "",
        "One server, or nodes of one cluster, or sentinels.",
    ),
    key(
        "userName",
        Kind::Text,
        "",
        "The ACL user. Unset: the default user.",
    )
    .or(&["username"]),
    key("password", Kind::Secret, "", "The password."),
    section(
        "sentinel",
        SENTINEL,
        "How to ask the sentinels; only for type sentinel.",
    ),
    section("tls", TLS, "TLS to every node and sentinel."),
];
