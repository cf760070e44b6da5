//! The table of every key of the configuration.
//!
//! The order is that of `config/gunyu.yaml`. Names, defaults and limits are those of redis-GunYu where it has the key;
//! what differs from it says so in its text. The keys of `output` and `cluster` have files of their own.

mod cluster;
mod output;

use std::time::Duration;

use super::choices::{Format, Level, OnFull, Storage, SyncFrom};
use super::schema::{Entry, Fate, Kind, ignored, key, section};
use output::OUTPUT;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

const TEXTS: Kind = Kind::Texts;

const fn integer(least: i64, most: i64) -> Kind {
    Kind::Integer { least, most }
}

const fn bytes(least: u64, most: u64) -> Kind {
    Kind::Bytes {
        least,
        most,
        unlimited: false,
    }
}

const fn unlimited_bytes(least: u64) -> Kind {
    Kind::Bytes {
        least,
        most: u64::MAX,
        unlimited: true,
    }
}

const fn duration(least: Duration, most: Duration) -> Kind {
    Kind::Duration { least, most }
}

const fn at_least(least: Duration) -> Kind {
    duration(least, Duration::MAX)
}

const ANY_DURATION: Kind = at_least(Duration::ZERO);

/// The whole configuration.
pub(super) static ROOT: &[Entry] = &[
    section("input", INPUT, "Where the data comes from."),
    section(
        "output",
        OUTPUT,
        "Where the data goes, and what becomes of it on the way.",
    ),
    section("channel", CHANNEL, "What is kept between the two: the log."),
    section("server", SERVER, "The HTTP API, and the limits of the process."),
    section(
        "cluster",
        cluster::CLUSTER,
        "Several gunyu that stand in for each other. Off without a groupName.",
    ),
    section("log", LOG, "What gunyu tells about itself."),
];

static INPUT: &[Entry] = &[
    section("redis", REDIS, "The source."),
    key(
        "name",
        Kind::Text,
        "",
        "A name for this deployment, in its checkpoints. Unset: made from source and target.",
    ),
    key(
        "rdbParallel",
        integer(1, 10_000),
        "100",
        "How many full syncs may run at the same time.",
    )
    .zero_is_unset(),
    key(
        "mode",
        Kind::Choice(&["dynamic", "static", "auto"]),
        "dynamic",
        "dynamic: every shard of a cluster, those that join it later too; static: only those of the addresses listed.",
    ),
    key(
        "syncFrom",
        Kind::Choice(SyncFrom::NAMES),
        "prefer_slave",
        "Which node of a cluster's shard to follow. One without a healthy replica is followed at its master, never skipped.",
    ),
    ignored(
        "syncDelayTestKey",
        "gunyu measures the delay without writing to the source: see LagMs in the status and gunyu_apply_latency_seconds",
    ),
    key(
        "psyncCommand",
        Kind::Text,
        "PSYNC",
        "The name of PSYNC on a source that renamed it.",
    ),
    ignored("syncCommand", "gunyu never sends SYNC"),
];

static REDIS: &[Entry] = &[
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
        "Several standalone addresses are several sources, each fed to the target of the same place in its list.",
    )
    .required(),
    key("userName", Kind::Text, "", "The ACL user. Unset: the default user.").or(&["username"]),
    key(
        "password",
        Kind::Secret,
        "",
        "Better written as ${NAME} or given as GUNYU_SOURCE_PASSWORD or GUNYU_TARGET_PASSWORD.",
    ),
    section("sentinel", SENTINEL, "How to ask the sentinels; only for type sentinel."),
    section("tls", TLS, "TLS to every node and sentinel. With nothing but enable: verified with the system's roots. Files are read at the start."),
    key("tlsEnable", Kind::Flag, "", "").with(Fate::Alias("tls.enable")),
    ignored("otype", "redis-GunYu exposed a copy of type by accident"),
    ignored("version", "gunyu asks the server for its version whenever it connects"),
    section("clusterOptions", CLUSTER_OPTIONS, ""),
    ignored("keepAlive", "gunyu keeps no pool of connections; see output.replay.connections"),
    ignored("aliveTime", "gunyu keeps no pool of connections"),
];

static SENTINEL: &[Entry] = &[
    key(
        "masterName",
        Kind::Text,
        "",
        "The name under which the sentinels know the master.",
    ),
    key("userName", Kind::Text, "", "The ACL user on the sentinels.").or(&["username"]),
    key("password", Kind::Secret, "", "The password of the sentinels."),
];

static TLS: &[Entry] = &[
    key(
        "enable",
        Kind::Flag,
        "false",
        "Also written as tlsEnable, one level up.",
    ),
    key(
        "ca",
        Kind::Text,
        "",
        "A file of CA certificates (PEM) that replace the system's roots.",
    ),
    key(
        "cert",
        Kind::Text,
        "",
        "gunyu's own certificate, for servers that ask for one (PEM file, with those that lead to its CA).",
    ),
    key(
        "key",
        Kind::Text,
        "",
        "The key of cert (PEM file, not encrypted).",
    ),
    key(
        "serverName",
        Kind::Text,
        "",
        "The name to ask for (SNI) and that every node's certificate must bear. Unset: the host of the address.",
    ),
    key(
        "insecureSkipVerify",
        Kind::Flag,
        "false",
        "Accept any certificate: then anyone can pose as the server.",
    ),
];

static CLUSTER_OPTIONS: &[Entry] = &[
    ignored("handleMoveErr", "gunyu always follows MOVED"),
    ignored("handleAskErr", "gunyu always follows ASK"),
];

static CHANNEL: &[Entry] = &[
    key(
        "type",
        Kind::Choice(Storage::NAMES),
        "storer",
        "storer: on disk, survives a restart; memory: does not.",
    ),
    section("storer", STORER, "The log on disk."),
    section("memory", MEMORY, "The log in memory."),
    key(
        "onFull",
        Kind::Choice(OnFull::NAMES),
        "disconnect",
        "When the log is full: leave the source and ask it to go on later, or keep the link and stop reading.",
    ),
    ignored(
        "verifyCrc",
        "every block of the log is checked whenever it is read",
    )
    .or(&["verifycrc"]),
    key(
        "staleCheckpointDuration",
        at_least(Duration::from_secs(300)),
        "12h",
        "After this long without a sign of life a checkpoint of this deployment may be collected.",
    )
    .zero_is_unset(),
];

static STORER: &[Entry] = &[
    key(
        "dirPath",
        Kind::Text,
        "",
        "The folder. Unset: gunyu in $XDG_STATE_HOME, or else /var/lib/gunyu.",
    ),
    key(
        "maxSize",
        unlimited_bytes(MIB),
        "50GiB",
        "The most the log may take, all inputs together. -1: no limit.",
    )
    .zero_is_unset(),
    key(
        "logSize",
        bytes(4 * KIB, u32::MAX as u64),
        "100MiB",
        "The size of one segment.",
    )
    .zero_is_unset(),
    section(
        "flush",
        FLUSH,
        "When the log is made to reach the disk; one of the four.",
    )
    .or(&["flushPolicy"]),
];

static FLUSH: &[Entry] = &[
    key(
        "duration",
        ANY_DURATION,
        "1s",
        "Every so often. redis-GunYu: every 100ms, whatever was written.",
    )
    .zero_is_unset(),
    key("everyWrite", Kind::Flag, "false", "After every write.").or(&["everywrite"]),
    key(
        "dirtySize",
        bytes(1, u64::MAX),
        "",
        "Whenever so many bytes have been written.",
    )
    .or(&["dirtysize"])
    .zero_is_unset(),
    key("auto", Kind::Flag, "false", "When the operating system sees fit."),
];

static MEMORY: &[Entry] = &[
    key(
        "maxSize",
        bytes(MIB, u64::MAX),
        "512MiB",
        "The most the log may take, all inputs together.",
    ),
    ignored("logSize", "the log in memory has no segments"),
];

static SERVER: &[Entry] = &[
    key(
        "listen",
        Kind::Address,
        "127.0.0.1:18001",
        "host:port; IPv6 as [::1]:18001. Beyond loopback only with a token, or allowUnauthenticated.",
    ),
    key(
        "listenPeer",
        Kind::Address,
        "",
        "Where other gunyu reach this one, and its name among them. Unset: as listen.",
    ),
    key(
        "metricRoutePath",
        Kind::Text,
        "/prometheus",
        "The path of the metrics.",
    ),
    key(
        "checkRedisTypologyTicker",
        at_least(Duration::from_secs(1)),
        "10s",
        "How often the topology is looked at, besides whenever something fails.",
    )
    .or(&["checkRedisTopologyTicker"])
    .zero_is_unset(),
    key(
        "gracefullStopTimeout",
        at_least(Duration::from_secs(1)),
        "5s",
        "The longest a graceful stop may take.",
    )
    .or(&["gracefulStopTimeout"])
    .zero_is_unset(),
    key(
        "doctorAtStart",
        Kind::Flag,
        "true",
        "Look at both sides once at the start, in the background, as gunyu doctor does, and trace what may go wrong.",
    ),
    section(
        "auth",
        AUTH,
        "Who may call the API: whoever bears the token. Health, readiness and metrics need none.",
    ),
    key(
        "allowUnauthenticated",
        Kind::Flag,
        "false",
        "Serve the API without a token beyond loopback: whoever reaches the port can flush the target.",
    ),
    key(
        "allowedHosts",
        TEXTS,
        "[]",
        "Names by which the API may be called, without port, besides IP addresses, localhost and the host of listen; '*' for any.",
    ),
    section(
        "tls",
        SERVER_TLS,
        "HTTPS. Unset: HTTP. The files are read again when they change.",
    ),
];

static AUTH: &[Entry] = &[
    key(
        "token",
        Kind::Secret,
        "",
        "The token that calls must bear: visible ASCII characters.",
    ),
    key(
        "tokenFile",
        Kind::Text,
        "",
        "A file that holds the token, in place of it; for nobody else to read.",
    ),
];

static SERVER_TLS: &[Entry] = &[
    key(
        "cert",
        Kind::Text,
        "",
        "The certificate, and after it those that lead to its CA (PEM file).",
    ),
    key("key", Kind::Text, "", "Its key (PEM file)."),
];

static LOG: &[Entry] = &[
    key(
        "level",
        Kind::Choice(Level::NAMES),
        "info",
        "The least that is told.",
    )
    .or(&["levelStr"]),
    ignored(
        "stacktraceLevel",
        "a backtrace belongs to a panic alone, where RUST_BACKTRACE asks for one",
    )
    .or(&["StacktraceLevel", "stacktracelevel", "stacktraceLevelStr"]),
    section("handler", HANDLER, "Where it is told."),
    key(
        "format",
        Kind::Choice(Format::NAMES),
        "text",
        "One line for people, or one JSON object for programs.",
    ),
    key("withCaller", Kind::Flag, "true", "With source file and line.").or(&["caller"]),
    ignored(
        "withFunc",
        "traces name module, file and line; see withCaller, withModuleName",
    )
    .or(&["func"]),
    key("withModuleName", Kind::Flag, "true", "With the module.").or(&["moduleName"]),
];

static HANDLER: &[Entry] = &[
    section("file", FILE, "A file that is rotated. Off without a fileName."),
    key(
        "stdout",
        Kind::Flag,
        "",
        "The terminal: standard error, since standard output is for results. Unset: true unless there is a file.",
    )
    .or(&["stdOut"]),
];

static FILE: &[Entry] = &[
    key("fileName", Kind::Text, "", "The file."),
    key(
        "maxSize",
        integer(0, 1 << 20),
        "100",
        "In MiB; then a new one is begun.",
    )
    .zero_is_unset(),
    key(
        "maxBackups",
        integer(0, 1 << 20),
        "0",
        "How many old ones are kept. 0: all.",
    ),
    key(
        "maxAge",
        integer(0, 1 << 20),
        "0",
        "How many days old ones are kept. 0: for ever.",
    ),
];
