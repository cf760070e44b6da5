//! The configuration as checked: plain data, every default filled in.
//!
//! The words are those of the file. Sizes are bytes, limits that are off are `None`, and a combination that cannot be
//! has no representation where that is cheap to have.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::address::Address;
use super::choices::*;
use super::secret::Secret;
use crate::core::net;

/// The source.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// How to reach it.
    pub redis: Redis,
    /// A name for this deployment.
    pub name: Option<String>,
    /// Which node of a shard to follow.
    pub sync_from: SyncFrom,
    /// Which shards to follow.
    pub mode: Mode,
    /// `PSYNC`, or what the source calls it.
    pub psync_command: String,
    /// How many full syncs may run at the same time.
    pub rdb_parallel: u32,
}

/// A Redis, or a cluster of them, or several.
#[derive(Debug, Clone, PartialEq)]
pub struct Redis {
    /// What answers at the addresses.
    pub kind: RedisKind,
    /// At least one; none where the command does not need this side.
    pub addresses: Vec<Address>,
    /// The ACL user.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// TLS, where it is on.
    pub tls: Option<Tls>,
}

/// What answers at the addresses of a [`Redis`].
#[derive(Debug, Clone, PartialEq)]
pub enum RedisKind {
    /// Redis servers that know nothing of each other.
    Standalone,
    /// Nodes of one cluster.
    Cluster,
    /// Sentinels.
    Sentinel {
        /// The name under which they know the master.
        master: String,
        /// The ACL user on the sentinels.
        user: Option<String>,
        /// The password of the sentinels.
        password: Option<Secret>,
    },
}

impl RedisKind {
    /// The name in the file.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            RedisKind::Standalone => "standalone",
            RedisKind::Cluster => "cluster",
            RedisKind::Sentinel { .. } => "sentinel",
        }
    }
}

/// TLS as a client.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tls {
    /// CA certificates that replace the system's.
    pub ca: Option<PathBuf>,
    /// The client's certificate.
    pub cert: Option<PathBuf>,
    /// The client's key; there if and only if `cert` is.
    pub key: Option<PathBuf>,
    /// The name the server's certificate must bear.
    pub server_name: Option<String>,
    /// Accept any certificate.
    pub insecure_skip_verify: bool,
    /// What was read of these files; see [`super::Config::read_tls`].
    pub(super) client: Option<Arc<net::Tls>>,
}

impl Tls {
    /// How to speak TLS with the servers. Trusts nobody as long as the files are not read.
    #[must_use]
    pub fn client(&self) -> Arc<net::Tls> {
        self.client.clone().unwrap_or_default()
    }
}

/// The target.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// How to reach it.
    pub redis: Redis,
    /// How the data is applied.
    pub replay: Replay,
    /// What is left out.
    pub filter: Filter,
}

/// How the data is applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// Whether a restart goes on from the checkpoint.
    pub resume: bool,
    /// How often a command may be applied.
    pub delivery: Delivery,
    /// What follows a refusal.
    pub on_error: OnError,
    /// How many dead letters are too many to go on.
    pub error_budget: u64,
    /// What a full sync does with keys that exist.
    pub key_exists: KeyExists,
    /// What a repeated full sync does with keys that the source no longer has.
    pub stale_keys: StaleKeys,
    /// What becomes of functions that exist.
    pub function_exists: FunctionExists,
    /// What becomes of module auxiliary data.
    pub module_aux: ModuleAux,
    /// Whether the first `{` and `}` are taken out of keys.
    pub replace_hash_tag: bool,
    /// Which database goes where.
    pub databases: Databases,
    /// What databases from 1 up do on a cluster.
    pub db_on_cluster: DbOnCluster,
    /// What becomes of commands over several slots on a cluster.
    pub cross_slot: CrossSlot,
    /// The most commands in one batch.
    pub batch_commands_max: u32,
    /// The most bytes in one batch.
    pub batch_bytes_max: u64,
    /// How often a checkpoint is written, at least once.
    pub checkpoint_interval: Duration,
    /// Connections to each target node during a full sync.
    pub connections: u32,
    /// Whether `RESTORE` is used.
    pub restore: bool,
    /// The target's `proto-max-bulk-len`.
    pub proto_bulk_bytes_max: u64,
    /// Above it a value is sent in pieces.
    pub big_value_bytes: u64,
    /// Brakes.
    pub rate_limit: RateLimit,
}

/// Which database of the source goes to which of the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Databases {
    /// Each to the same one.
    Same,
    /// All to this one.
    All(u32),
    /// These, and each other one to the same.
    Mapped(BTreeMap<u32, u32>),
}

impl Databases {
    /// The database on the target for one of the source.
    #[must_use]
    pub fn target_of(&self, source: u32) -> u32 {
        match self {
            Databases::Same => source,
            Databases::All(target) => *target,
            Databases::Mapped(map) => map.get(&source).copied().unwrap_or(source),
        }
    }
}

/// Brakes for full sync and stream alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateLimit {
    /// Commands (in a full sync: keys) a second.
    pub ops_per_sec: Option<u64>,
    /// Bytes a second.
    pub bytes_per_sec: Option<u64>,
}

/// What is left out. A blacklist wins over a whitelist; an empty list says nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Filter {
    /// Databases of the source to replicate.
    pub db_whitelist: Vec<u32>,
    /// Databases of the source to leave out.
    pub db_blacklist: Vec<u32>,
    /// Commands to leave out, in upper case.
    pub command_blacklist: Vec<String>,
    /// Beginnings of keys.
    pub prefix: Lists<String>,
    /// Ends of keys.
    pub suffix: Lists<String>,
    /// Regular expressions over keys.
    pub regex: Lists<String>,
    /// Slots of keys, first and last included.
    pub slots: Lists<(u16, u16)>,
}

/// A whitelist and a blacklist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lists<T> {
    /// Only these, where there are any.
    pub whitelist: Vec<T>,
    /// None of these.
    pub blacklist: Vec<T>,
}

impl<T> Default for Lists<T> {
    fn default() -> Self {
        Lists {
            whitelist: Vec::new(),
            blacklist: Vec::new(),
        }
    }
}

/// The log between source and target.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    /// Where it is kept.
    pub kind: Storage,
    /// The folder.
    pub dir: PathBuf,
    /// The most it may take on disk, all inputs together.
    pub max_bytes: Option<u64>,
    /// The size of one segment.
    pub segment_bytes: u64,
    /// The most it may take in memory, all inputs together.
    pub memory_max_bytes: u64,
    /// When it is made to reach the disk.
    pub flush: Flush,
    /// What happens when it is full.
    pub on_full: OnFull,
    /// When a checkpoint without a sign of life may be collected.
    pub stale_checkpoint_duration: Duration,
}

/// When the log is made to reach the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// After every write.
    EveryWrite,
    /// Every so often.
    Duration(Duration),
    /// Whenever so many bytes have been written.
    DirtyBytes(u64),
    /// When the operating system sees fit.
    Auto,
}

/// The HTTP API and the limits of the process.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Where it listens.
    pub listen: Address,
    /// Where other gunyu reach it.
    pub listen_peer: Address,
    /// The path of the metrics; begins with `/`.
    pub metric_route_path: String,
    /// How often the topology is looked at.
    pub check_topology_ticker: Duration,
    /// The longest a graceful stop may take.
    pub graceful_stop_timeout: Duration,
    /// Whether both sides are looked at once, at the start.
    pub doctor_at_start: bool,
    /// Who may call.
    pub auth: Auth,
    /// Whether everyone may, beyond loopback.
    pub allow_unauthenticated: bool,
    /// Names by which the API may be called, in lower case; `*` stands for all.
    pub allowed_hosts: Vec<String>,
    /// HTTPS.
    pub tls: Option<ServerTls>,
}

/// Who may call the API.
#[derive(Debug, Clone, PartialEq)]
pub enum Auth {
    /// Everyone who reaches it.
    None,
    /// Who bears this token.
    Token(Secret),
    /// Who bears the token in this file.
    TokenFile(PathBuf),
}

/// TLS as a server.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerTls {
    /// The certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Several gunyu that stand in for each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// The name of the group.
    pub group_name: String,
    /// Where leases and registry are.
    pub meta: Meta,
    /// How long a lease lasts.
    pub lease_timeout: Duration,
    /// How often it is renewed.
    pub lease_renew_interval: Duration,
    /// What the members bear among themselves; none stands for that of the API.
    pub auth: Auth,
    /// How members are reached that serve TLS.
    pub tls: Option<Tls>,
}

/// Where leases and registry of a group are.
#[derive(Debug, Clone, PartialEq)]
pub enum Meta {
    /// In etcd.
    Etcd(Etcd),
    /// In this Redis.
    Redis(Redis),
    /// In the source.
    Source,
}

/// How to reach etcd.
#[derive(Debug, Clone, PartialEq)]
pub struct Etcd {
    /// At least one.
    pub endpoints: Vec<Address>,
    /// The user.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// TLS, where it is on.
    pub tls: Option<Tls>,
}

/// What gunyu tells about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// The least that is told.
    pub level: Level,
    /// A file that is rotated.
    pub file: Option<LogFile>,
    /// Whether the standard stream gets it.
    pub stdout: bool,
    /// With source file and line.
    pub with_caller: bool,
    /// With the module.
    pub with_module_name: bool,
    /// How it is written.
    pub format: Format,
}

/// A file of traces that is rotated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// The file.
    pub name: PathBuf,
    /// At this size a new one is begun.
    pub max_size_mb: u32,
    /// How many old ones are kept; 0: all.
    pub max_backups: u32,
    /// How many days old ones are kept; 0: for ever.
    pub max_age_days: u32,
}
