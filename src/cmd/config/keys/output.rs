//! The keys of `output`.

use std::time::Duration;

use super::super::choices::{
    CrossSlot, DbOnCluster, Delivery, FunctionExists, KeyExists, ModuleAux, OnError, StaleKeys,
};
use super::super::schema::{Entry, Fate, Kind, ignored, key, section};
use super::{KIB, MIB, REDIS, TEXTS, bytes, duration, integer};

pub(super) static OUTPUT: &[Entry] = &[
    section("redis", REDIS, "The target."),
    section("replay", REPLAY, "How the data is applied."),
    section(
        "filter",
        FILTER,
        "What is left out. A blacklist wins over a whitelist; without either, everything passes.",
    ),
    ignored("resumeFromBreakPoint", MISPLACED),
    ignored("keyExists", MISPLACED),
    ignored("metric", "redis-GunYu never read it"),
    ignored("targetDb", MISPLACED),
    ignored("replayRdbParallel", MISPLACED),
    ignored("replayTransaction", MISPLACED),
    ignored("keepaliveTicker", MISPLACED),
];

const MISPLACED: &str =
    "redis-GunYu never read it in this place; the key of that name in output.replay is meant";

static REPLAY: &[Entry] = &[
    key(
        "resumeFromBreakPoint",
        Kind::Flag,
        "true",
        "Go on from the checkpoint after a restart; false: a full sync at every start.",
    ),
    key(
        "delivery",
        Kind::Choice(Delivery::NAMES),
        "exactly_once",
        "at_least_once applies without transactions; after a crash the last commands may be applied twice.",
    ),
    key(
        "onError",
        Kind::Choice(OnError::NAMES),
        "stop",
        "What follows when the target refuses a command: stop that input, or write the command to the dead-letter file and go on. It is written there in either case.",
    ),
    key(
        "errorBudget",
        integer(0, i64::MAX),
        "1000",
        "How many dead letters are too many to go on, with onError: dead_letter.",
    ),
    key(
        "keyExists",
        Kind::Choice(KeyExists::NAMES),
        "replace",
        "What a full sync does with a key that the target has already.",
    ),
    ignored(
        "keyExistsLog",
        "keyExists: error tells of each key that is there, and onError: dead_letter goes on",
    ),
    key(
        "staleKeys",
        Kind::Choice(StaleKeys::NAMES),
        "auto",
        "What a full sync does with keys on the target that the source does not have. auto: deletes them only in databases that were empty when this deployment first synced and that no other deployment uses, and tells how many others there are. delete: deletes them, whoever wrote them. keep: does not look for them.",
    ),
    key(
        "functionExists",
        Kind::Choice(FunctionExists::NAMES),
        "replace",
        "As the option of FUNCTION RESTORE.",
    ),
    key(
        "moduleAuxPolicy",
        Kind::Choice(ModuleAux::NAMES),
        "fail",
        "What to do with a module's auxiliary data in a snapshot, which no command can restore.",
    ),
    key(
        "replaceHashTag",
        Kind::Flag,
        "false",
        "Take the first { and the first } out of every key.",
    ),
    key(
        "targetDb",
        integer(-1, u32::MAX as i64),
        "-1",
        "The database on the target that everything goes to. -1: the same as on the source.",
    )
    .or(&["targetDbCfg"]),
    key(
        "targetDbMap",
        Kind::DatabaseMap,
        "{}",
        "From database of the source to database of the target, as {0: 1, 2: 3}; others stay.",
    ),
    key(
        "dbOnCluster",
        Kind::Choice(DbOnCluster::NAMES),
        "error",
        "What databases from 1 up do on a cluster target, which has none: stop, leave them out, merge them into 0.",
    ),
    key(
        "crossSlot",
        Kind::Choice(CrossSlot::NAMES),
        "split",
        "Commands over several slots on a cluster target: split or rewrite where possible, or treat as refused (onError).",
    ),
    key(
        "batchCmdCount",
        integer(1, 100_000),
        "1000",
        "The most commands applied as one batch. redis-GunYu: 100.",
    )
    .zero_is_unset(),
    key(
        "batchBufferSize",
        bytes(1, 100 * MIB - 1),
        "256KiB",
        "The most bytes in one batch. redis-GunYu: 65535.",
    )
    .zero_is_unset(),
    ignored("batchTicker", "no command waits for its batch to fill"),
    ignored(
        "keepaliveTicker",
        "idle connections are tried by TCP keepalive, every 30 s",
    ),
    key(
        "updateCheckpointTicker",
        duration(Duration::from_millis(1), Duration::from_secs(10)),
        "1s",
        "How often a checkpoint is written with delivery: at_least_once.",
    )
    .zero_is_unset(),
    key(
        "connections",
        integer(1, 1024),
        "4",
        "Connections to each target node during a full sync.",
    ),
    key(
        "replayRdbEnableRestore",
        Kind::Flag,
        "true",
        "Full sync with RESTORE; false: with the commands of each type.",
    ),
    key(
        "maxProtoBulkLen",
        bytes(1, u64::MAX),
        "512MiB",
        "The target's proto-max-bulk-len. Values above it never go by RESTORE.",
    )
    .zero_is_unset(),
    key(
        "bigValueBytes",
        bytes(64 * KIB, u64::MAX),
        "16MiB",
        "Values above it are sent in pieces, so that memory stays flat.",
    ),
    section(
        "rateLimit",
        RATE_LIMIT,
        "Brakes for full sync and stream alike. Unset: none.",
    ),
    key("replayTransaction", Kind::Flag, "", "").with(Fate::Judged),
    key("bisyncEnabled", Kind::Flag, "false", "").with(Fate::Judged),
    key(
        "mode",
        Kind::Choice(&["sync", "pipeline", "parallel"]),
        "sync",
        "",
    )
    .with(Fate::Judged),
    ignored("parallelism", "it belongs to redis-GunYu's two-way sync"),
    ignored("replayRdbParallel", "see output.replay.connections"),
    ignored(
        "enableAofPipeline",
        "gunyu always sends without waiting for each reply",
    )
    .or(&["legacyAofPipelineMode"]),
    ignored("metric", "redis-GunYu never read it"),
    section("stats", STATS, ""),
];

static RATE_LIMIT: &[Entry] = &[
    key(
        "opsPerSec",
        integer(1, i64::MAX),
        "",
        "Commands (in a full sync: keys) a second.",
    )
    .zero_is_unset(),
    key("bytesPerSec", bytes(1, u64::MAX), "", "Bytes a second.").zero_is_unset(),
];

static STATS: &[Entry] = &[
    ignored(
        "disableLog",
        "progress is in the status and the metrics, not in the traces",
    ),
    ignored(
        "logInterval",
        "progress is in the status and the metrics, not in the traces",
    ),
];

static FILTER: &[Entry] = &[
    key(
        "dbWhitelist",
        Kind::Databases,
        "[]",
        "Databases of the source to replicate; none listed: all.",
    ),
    key(
        "dbBlacklist",
        Kind::Databases,
        "[]",
        "Databases of the source to leave out.",
    ),
    key(
        "commandBlacklist",
        TEXTS,
        "[]",
        "Commands to leave out, in upper or lower case.",
    )
    .or(&["cmdBlacklist"]),
    section("keyFilter", KEY_FILTER, "By the key."),
    section(
        "slotFilter",
        SLOT_FILTER,
        "By the slot of the key, as [[0, 1000], [1002]].",
    ),
];

static KEY_FILTER: &[Entry] = &[
    key(
        "prefixKeyWhitelist",
        TEXTS,
        "[]",
        "Only keys that begin with one of these.",
    ),
    key(
        "prefixKeyBlacklist",
        TEXTS,
        "[]",
        "No keys that begin with one of these.",
    ),
    key(
        "suffixKeyWhitelist",
        TEXTS,
        "[]",
        "Only keys that end with one of these.",
    ),
    key(
        "suffixKeyBlacklist",
        TEXTS,
        "[]",
        "No keys that end with one of these.",
    ),
    key(
        "regexKeyWhitelist",
        TEXTS,
        "[]",
        "Only keys that match one of these regular expressions.",
    ),
    key(
        "regexKeyBlacklist",
        TEXTS,
        "[]",
        "No keys that match one of these regular expressions.",
    ),
];

static SLOT_FILTER: &[Entry] = &[
    key("keySlotWhitelist", Kind::Slots, "[]", "Only these slots."),
    key("keySlotBlacklist", Kind::Slots, "[]", "Not these slots."),
];
