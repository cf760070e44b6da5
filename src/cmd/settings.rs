//! From the checked configuration to what the rooms of `core` take.
//!
//! Owns the translation, and the deployment's name: what makes a checkpoint and a log folder those of this source, this selection and this
//! target.

pub mod doctor;
pub mod group;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::config::{self, Config, Databases, RedisKind};
use super::{Exit, Failure, seams};
use crate::core::filter::{DbMap, Filter, Rules};
use crate::core::log::FlushPolicy;
use crate::core::net::{Address, Credentials, Endpoint};
use crate::core::pipeline::replay::Policy;
use crate::core::pipeline::turn::Turns;
use crate::core::pipeline::{
    self, Delivery, FunctionExists, KeyExists, ModuleAux, OnError, OnFull, StaleKeys, load,
};
use crate::core::supervisor::{Shards, Shared, Sources};
use crate::core::target::cluster::known::Known;
use crate::core::target::cluster::route::CrossSlot;
use crate::core::target::pace::RateLimit;
use crate::core::topology::shards::Wanted;
use crate::core::topology::{Place, cluster, sentinel};
use crate::core::{filter, source, target};

/// A source that is silent for so long is taken for dead: six of its pings.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// A Valkey source writes its snapshot for a replica of this version; for one that names none it writes RDB 11, and fails where a hash field has a
/// time of expiry. The newest whose format we read (`VALKEY080`). Redis refuses the announcement, and goes on.
const ANNOUNCED_VERSION: &str = "9.0.0";

/// A target that owes a reply for so long is taken for dead. Long: a `FLUSHALL` of a large database may take its time.
const REPLY_LIMIT: Duration = Duration::from_secs(60);

/// What to say where nothing was found to copy and a `/N` at the source leaves out all databases but that.
#[must_use]
pub fn one_database(config: &Config) -> Option<String> {
    let [only] = config.output.filter.db_whitelist.as_slice() else {
        return None;
    };
    let says = "of the source is copied, and no key was found there";
    Some(format!(
        "only database {only} {says}: leave /{only} away at the source (output.filter.dbWhitelist) to copy all"
    ))
}

/// What all pipelines share.
#[must_use]
pub fn shared(config: &Config) -> Shared {
    let channel = &config.channel;
    let on_disk = channel.kind == config::Storage::Storer;
    Shared {
        root: channel.dir.clone(),
        holder: format!("gunyu, API on {}", config.server.listen),
        on_disk,
        max_bytes: if on_disk {
            channel.max_bytes.unwrap_or(u64::MAX)
        } else {
            channel.memory_max_bytes
        },
        segment_bytes: channel.segment_bytes,
        flush: match channel.flush {
            config::Flush::EveryWrite => FlushPolicy::EveryWrite,
            config::Flush::Duration(every) => FlushPolicy::Every(every),
            config::Flush::DirtyBytes(bytes) => FlushPolicy::DirtyBytes(bytes),
            config::Flush::Auto => FlushPolicy::Os,
        },
        stale_checkpoint_after: channel.stale_checkpoint_duration,
        group: None,
    }
}

/// Rules of the filter that contradict themselves, or that cannot be read, are the configuration's fault.
#[must_use]
pub fn wrong_filter(error: &filter::Error) -> Failure {
    Failure::new(Exit::Usage, format!("output.filter: {error}"))
}

/// Whether the filter's rules can be kept.
///
/// # Errors
/// They contradict themselves.
pub fn check_filter(config: &Config) -> Result<(), filter::Error> {
    Filter::compile(&rules(config)).map(drop)
}

/// The sources, each with its target:
///
/// | source | target | pipelines |
/// | --- | --- | --- |
/// | n standalone | n standalone | n: each address with that of the same place |
/// | n standalone | sentinels | n, all to the one master |
/// | sentinels | either | one |
/// | cluster | either | one a shard, all to the one target |
///
/// Where sentinels are to be asked it begins here: call it within the runtime.
///
/// # Errors
/// The filter's rules contradict themselves.
pub fn sources(config: &Config) -> Result<Sources, filter::Error> {
    sources_at(config, &Places::of(config))
}

/// The same, where it is already looked for the masters.
///
/// # Errors
/// As of [`sources`].
pub fn sources_at(config: &Config, places: &Places) -> Result<Sources, filter::Error> {
    let filter = Arc::new(Filter::compile(&rules(config))?);
    let (input, output) = (&config.input.redis, &config.output.redis);
    let addresses = &output.addresses;
    let by_sentinels = places.target.clone();
    let turns = Turns::new(config.input.rdb_parallel as usize);
    let target_at = |number: usize| {
        let address = addresses.get(number).or(addresses.first());
        let endpoint = address.map(|address| endpoint(output, address));
        let endpoint = endpoint.expect("the check has seen to it that there is a target");
        let place = by_sentinels
            .clone()
            .unwrap_or_else(|| Place::fixed(endpoint.clone()));
        (endpoint, place)
    };
    let pipelines = || {
        let sources = input.addresses.iter().take(match input.kind {
            RedisKind::Standalone => usize::MAX,
            RedisKind::Cluster | RedisKind::Sentinel { .. } => 1,
        });
        let by_sentinels = places.source.clone();
        sources.enumerate().map(move |(number, source)| {
            let fixed = || Place::fixed(endpoint(input, source));
            let place = by_sentinels.clone().unwrap_or_else(fixed);
            let name = deployment(config, &filter, source);
            let mut one = pipeline(config, &filter, (source, place), target_at(number), name);
            one.turns = turns.clone();
            one
        })
    };
    Ok(match input.kind {
        RedisKind::Standalone | RedisKind::Sentinel { .. } => Sources::Each(pipelines().collect()),
        RedisKind::Cluster => {
            let template = pipelines().next();
            Sources::Shards(Box::new(Shards {
                cluster: cluster(config),
                base: base(config.input.name.as_deref().unwrap_or("shard")),
                template: template.expect("the check has seen to it that there is a source"),
            }))
        }
    })
}

/// The source as a cluster.
fn cluster(config: &Config) -> cluster::Settings {
    let redis = &config.input.redis;
    cluster::Settings {
        seeds: redis
            .addresses
            .iter()
            .map(|address| endpoint(redis, address))
            .collect(),
        only_seeds: config.input.mode == config::Mode::Static,
        wanted: match config.input.sync_from {
            config::SyncFrom::Master => Wanted::Master,
            config::SyncFrom::PreferSlave => Wanted::PreferReplica,
            config::SyncFrom::Slave => Wanted::Replica,
        },
        every: config.server.check_topology_ticker,
    }
}

/// Where the masters are that sentinels name, of either side.
#[derive(Debug, Clone)]
pub struct Places {
    source: Option<Place>,
    target: Option<Place>,
}

impl Places {
    /// Begins to ask the sentinels: call it within the runtime.
    #[must_use]
    pub fn of(config: &Config) -> Places {
        Places {
            source: by_sentinels(config, &config.input.redis),
            target: by_sentinels(config, &config.output.redis),
        }
    }
}

/// Where the master is whom the sentinels name; nothing where there are none.
fn by_sentinels(config: &Config, redis: &config::Redis) -> Option<Place> {
    let RedisKind::Sentinel { master, .. } = &redis.kind else {
        return None;
    };
    Some(sentinel::watch(sentinel::Settings {
        sentinels: sentinels(redis),
        master: master.clone(),
        login: endpoint(redis, redis.addresses.first()?),
        every: config.server.check_topology_ticker,
    }))
}

/// The sentinels, if there are any: they have users of their own; everything else is as with the master.
fn sentinels(redis: &config::Redis) -> Vec<Endpoint> {
    let RedisKind::Sentinel { user, password, .. } = &redis.kind else {
        return Vec::new();
    };
    let sentinel = |address: &config::Address| Endpoint {
        credentials: credentials(user.as_deref(), password.as_ref()),
        ..endpoint(redis, address)
    };
    redis.addresses.iter().map(sentinel).collect()
}

/// Where the one server of a side is: at its first address, or where the sentinels say. Call it within the runtime.
#[must_use]
pub fn place(config: &Config, redis: &config::Redis) -> Option<Place> {
    let fixed = || {
        redis
            .addresses
            .first()
            .map(|address| Place::fixed(endpoint(redis, address)))
    };
    by_sentinels(config, redis).or_else(fixed)
}

/// The link to a source.
#[must_use]
pub fn source(config: &Config, address: &config::Address) -> source::Settings {
    source::Settings {
        endpoint: endpoint(&config.input.redis, address),
        psync_command: config.input.psync_command.clone(),
        announce_version: Some(ANNOUNCED_VERSION.to_owned()),
        snapshot_only: false,
        silence_limit: seams::limit(SILENCE_LIMIT),
    }
}

fn pipeline(
    config: &Config,
    filter: &Arc<Filter>,
    (source, source_place): (&config::Address, Place),
    (target, target_place): (Endpoint, Place),
    name: String,
) -> pipeline::Settings {
    let replay = &config.output.replay;
    pipeline::Settings {
        goal: pipeline::Goal::Follow,
        begins_with_process: true,
        awaits_full_sync: false,
        inherits: false,
        source: self::source(config, source),
        source_place,
        shard: None,
        target_place,
        target: target::Settings {
            endpoint: target,
            shape: shape(&config.output.redis),
            name: name.clone(),
            reply_limit: seams::limit(REPLY_LIMIT),
        },
        filter: Arc::clone(filter),
        delivery: match replay.delivery {
            config::Delivery::ExactlyOnce => Delivery::ExactlyOnce,
            config::Delivery::AtLeastOnce => Delivery::AtLeastOnce {
                checkpoint_every: replay.checkpoint_interval,
            },
        },
        cross_slot: match replay.cross_slot {
            config::CrossSlot::Split => CrossSlot::Split,
            config::CrossSlot::Error => CrossSlot::Refuse,
        },
        on_error: on_error(replay),
        on_full: match config.channel.on_full {
            config::OnFull::Disconnect => OnFull::Disconnect,
            config::OnFull::Block => OnFull::Block,
        },
        replay: policy(replay, &name),
        name,
        stale_keys: match replay.stale_keys {
            config::StaleKeys::Auto => StaleKeys::Auto,
            config::StaleKeys::Delete => StaleKeys::Delete,
            config::StaleKeys::Keep => StaleKeys::Keep,
        },
        turns: Turns::new(1),
        connections: replay.connections as usize,
        batch_commands_max: replay.batch_commands_max as usize,
        batch_bytes_max: usize::try_from(replay.batch_bytes_max).unwrap_or(usize::MAX),
        rate_limit: rate_limit(replay),
        idle_checkpoint_every: replay.checkpoint_interval,
        resume: replay.resume,
        dead_letter_dir: config.channel.dir.join("dead-letter"),
    }
}

/// What `rdb-load` works with, apart from the file. `name` names the loading among others.
///
/// # Errors
/// The filter's rules contradict themselves.
pub fn load(config: &Config, target: Endpoint, name: &str) -> Result<load::Settings, filter::Error> {
    let replay = &config.output.replay;
    let filter = Arc::new(Filter::compile(&rules(config))?);
    Ok(load::Settings {
        target: target::Settings {
            endpoint: target,
            shape: shape(&config.output.redis),
            name: name.to_owned(),
            reply_limit: seams::limit(REPLY_LIMIT),
        },
        filter,
        replay: policy(replay, name),
        connections: replay.connections as usize,
        rate_limit: rate_limit(replay),
        on_error: on_error(replay),
        dead_letter_dir: config.channel.dir.join("dead-letter"),
    })
}

fn on_error(replay: &config::Replay) -> OnError {
    match replay.on_error {
        config::OnError::Stop => OnError::Stop,
        config::OnError::DeadLetter => OnError::DeadLetter {
            budget: replay.error_budget,
        },
    }
}

fn rate_limit(replay: &config::Replay) -> RateLimit {
    RateLimit {
        commands_per_sec: replay.rate_limit.ops_per_sec,
        bytes_per_sec: replay.rate_limit.bytes_per_sec,
    }
}

fn policy(replay: &config::Replay, deployment: &str) -> Policy {
    Policy {
        deployment: deployment.to_owned(),
        key_exists: match replay.key_exists {
            config::KeyExists::Replace => KeyExists::Replace,
            config::KeyExists::Ignore => KeyExists::Ignore,
            config::KeyExists::Error => KeyExists::Error,
        },
        function_exists: match replay.function_exists {
            config::FunctionExists::Replace => FunctionExists::Replace,
            config::FunctionExists::Flush => FunctionExists::Flush,
            config::FunctionExists::Append => FunctionExists::Append,
        },
        module_aux: match replay.module_aux {
            config::ModuleAux::Fail => ModuleAux::Fail,
            config::ModuleAux::Skip => ModuleAux::Skip,
        },
        restore: replay.restore,
        restore_bytes_max: usize::try_from(replay.proto_bulk_bytes_max).unwrap_or(usize::MAX),
        big_value_bytes: usize::try_from(replay.big_value_bytes).unwrap_or(usize::MAX),
    }
}

fn shape(redis: &config::Redis) -> target::Shape {
    match redis.kind {
        config::RedisKind::Cluster => target::Shape::Cluster {
            seeds: redis.addresses.iter().map(node).collect(),
            known: Known::default(),
        },
        config::RedisKind::Standalone | config::RedisKind::Sentinel { .. } => target::Shape::One,
    }
}

fn node(address: &config::Address) -> Address {
    Address {
        host: address.host.clone(),
        port: address.port,
    }
}

fn endpoint(redis: &config::Redis, address: &config::Address) -> Endpoint {
    Endpoint {
        address: node(address),
        credentials: credentials(redis.user.as_deref(), redis.password.as_ref()),
        tls: redis.tls.as_ref().map(config::Tls::client),
    }
}

fn credentials(user: Option<&str>, password: Option<&config::Secret>) -> Credentials {
    Credentials {
        user: user.unwrap_or_default().to_owned(),
        password: password
            .map(|secret| secret.expose().to_owned())
            .unwrap_or_default(),
    }
}

/// `{input.name, or the source's address}-{what is selected and where it goes}`, as a name that can be a folder, a key and a connection's name.
/// A master that sentinels name is called by that name, after the first of them.
fn deployment(config: &Config, filter: &Filter, source: &config::Address) -> String {
    let redis = &config.input.redis;
    let several = redis.kind == RedisKind::Standalone && redis.addresses.len() > 1;
    let base = match (&config.input.name, &redis.kind) {
        (Some(name), _) if several => format!("{name}-{source}"),
        (Some(name), _) => name.clone(),
        (None, RedisKind::Sentinel { master, .. }) => format!("{source}-{master}"),
        (None, _) => source.to_string(),
    };
    format!("{}-{:016x}", self::base(&base), filter.fingerprint())
}

/// A name that can be a part of a folder, a key and a connection's name.
fn base(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '_'
            }
        })
        .take(100)
        .collect()
}

fn rules(config: &Config) -> Rules {
    let given = &config.output.filter;
    let (db_allow, db_map) = databases(config);
    Rules {
        db_deny: given.db_blacklist.clone(),
        db_allow,
        command_deny: given.command_blacklist.clone(),
        key_prefix_allow: given.prefix.whitelist.clone(),
        key_prefix_deny: given.prefix.blacklist.clone(),
        key_suffix_allow: given.suffix.whitelist.clone(),
        key_suffix_deny: given.suffix.blacklist.clone(),
        key_regex_allow: given.regex.whitelist.clone(),
        key_regex_deny: given.regex.blacklist.clone(),
        slot_allow: given.slots.whitelist.clone(),
        slot_deny: given.slots.blacklist.clone(),
        db_map,
    }
}

/// Which databases are allowed, and where they go. A cluster has one only:
///
/// | `dbOnCluster` | databases that would go to another |
/// | --- | --- |
/// | error | go there, and it is an error |
/// | drop | are not among the allowed |
/// | merge | go to 0, as all do |
fn databases(config: &Config) -> (Option<Vec<u32>>, DbMap) {
    let allow = &config.output.filter.db_whitelist;
    let allow = (!allow.is_empty()).then(|| allow.clone());
    let map = match &config.output.replay.databases {
        Databases::Same => DbMap::Same,
        Databases::All(db) => DbMap::All(*db),
        Databases::Mapped(map) => DbMap::Each(map.clone()),
    };
    if config.output.redis.kind != RedisKind::Cluster {
        return (allow, map);
    }
    match config.output.replay.db_on_cluster {
        config::DbOnCluster::Error => (allow, map),
        config::DbOnCluster::Merge => (allow, DbMap::All(0)),
        config::DbOnCluster::Drop => {
            let Some(mut fitting) = fitting(&map) else {
                return (allow, map);
            };
            fitting.retain(|db| allow.as_ref().is_none_or(|allow| allow.contains(db)));
            (Some(fitting), map)
        }
    }
}

/// The databases that go to 0, where they are not all.
fn fitting(map: &DbMap) -> Option<Vec<u32>> {
    let to_zero = |map: &BTreeMap<u32, u32>| {
        let zero = (!map.contains_key(&0)).then_some(0);
        let mapped = map.iter().filter(|(_, to)| **to == 0).map(|(from, _)| *from);
        zero.into_iter().chain(mapped).collect()
    };
    match map {
        DbMap::All(_) => None,
        DbMap::Same => Some(vec![0]),
        DbMap::Each(map) => Some(to_zero(map)),
    }
}
