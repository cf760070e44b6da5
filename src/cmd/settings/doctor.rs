//! What `gunyu doctor` examines, and `gunyu sync` when it begins.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Places, SILENCE_LIMIT, endpoint, node, rules, sentinels};
use crate::cmd::config::{self, Config, Meta, RedisKind, SyncFrom};
use crate::core::doctor::{Depth, Here, Plan, Shape, Side};
use crate::core::filter::{self, Filter, Rules};
use crate::core::net::{Credentials, Endpoint};
use crate::core::topology::Place;

/// So long an outage may last, unless somebody says otherwise.
pub const OUTAGE: Duration = Duration::from_secs(60);

/// What is to be examined; behind sentinels, where `places` has it.
///
/// # Errors
/// The filter's rules contradict themselves.
pub fn plan(config: &Config, places: &Places, outage: Duration, depth: Depth) -> Result<Plan, filter::Error> {
    let replay = &config.output.replay;
    let rules = rules(config);
    let filter = Arc::new(Filter::compile(&rules)?);
    let probe = probe(&rules, &filter);
    Ok(Plan {
        source: side(
            &config.input.redis,
            places.source.clone(),
            config.input.sync_from != SyncFrom::Master,
        ),
        target: side(&config.output.redis, places.target.clone(), false),
        psync_command: config.input.psync_command.clone(),
        filter,
        outage,
        silence: SILENCE_LIMIT,
        connections: u64::from(replay.connections),
        has_dead_letters: matches!(replay.on_error, config::OnError::DeadLetter),
        skips_module_aux: matches!(replay.module_aux, config::ModuleAux::Skip),
        probe,
        here: here(config),
        store: store(config),
        leases_in_source: config
            .cluster
            .as_ref()
            .is_some_and(|cluster| matches!(cluster.meta, Meta::Source)),
        notes: config.notes.iter().cloned().chain(config.exposed()).collect(),
        depth,
    })
}

/// A key that the filter lets through, where one is easily found.
fn probe(rules: &Rules, filter: &Filter) -> Option<String> {
    /// Of so many names one is in a slot that is replicated.
    const NAMES: u32 = 2000;
    let (db, _) = *filter.fed_databases(u32::MAX).first()?;
    let first = |words: &[String]| words.first().cloned().unwrap_or_default();
    let (prefix, suffix) = (first(&rules.key_prefix_allow), first(&rules.key_suffix_allow));
    let mut names = (0..NAMES).map(|number| format!("{prefix}doctor-of-gunyu-{number}{suffix}"));
    names.find(|name| filter.key(db, name.as_bytes()).is_none())
}

fn side(redis: &config::Redis, place: Option<Place>, with_replicas: bool) -> Side {
    let endpoints = || {
        let addresses = redis.addresses.iter();
        addresses.map(|address| endpoint(redis, address)).collect()
    };
    let shape = match (&redis.kind, place) {
        (RedisKind::Cluster, _) => Shape::Cluster {
            seeds: endpoints(),
            with_replicas,
        },
        (RedisKind::Sentinel { .. }, Some(place)) => Shape::Named {
            sentinels: sentinels(redis),
            place,
        },
        (RedisKind::Standalone | RedisKind::Sentinel { .. }, _) => Shape::Servers(endpoints()),
    };
    Side {
        shape,
        cli: redis.tls.as_ref().map(cli).unwrap_or_default(),
    }
}

/// TLS, for `redis-cli`.
fn cli(tls: &config::Tls) -> Vec<String> {
    let file = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let pairs = [
        ("--cacert", file(&tls.ca)),
        ("--cert", file(&tls.cert)),
        ("--key", file(&tls.key)),
        ("--sni", tls.server_name.clone()),
    ];
    let given = pairs
        .into_iter()
        .filter_map(|(name, value)| Some([name.to_owned(), value?]));
    let mut words = vec!["--tls".to_owned()];
    words.extend(given.flatten());
    words.extend(tls.insecure_skip_verify.then(|| "--insecure".to_owned()));
    words
}

/// Where the leases are, where they are not in the source.
fn store(config: &Config) -> Vec<Endpoint> {
    let of_etcd = |etcd: &config::Etcd| {
        let addresses = etcd.endpoints.iter().map(|address| Endpoint {
            address: node(address),
            credentials: Credentials::default(),
            tls: etcd.tls.as_ref().map(config::Tls::client),
        });
        addresses.collect()
    };
    match config.cluster.as_ref().map(|cluster| &cluster.meta) {
        Some(Meta::Etcd(etcd)) => of_etcd(etcd),
        Some(Meta::Redis(redis)) => {
            let addresses = redis.addresses.iter();
            addresses.map(|address| endpoint(redis, address)).collect()
        }
        Some(Meta::Source) | None => Vec::new(),
    }
}

fn here(config: &Config) -> Here {
    let (server, channel) = (&config.server, &config.channel);
    let mut listen = vec![("server.listen", node(&server.listen))];
    if config.cluster.is_some() && server.listen_peer != server.listen {
        listen.push(("server.listenPeer", node(&server.listen_peer)));
    }
    let own = |key, tls: Option<&config::Tls>| Some((key, tls?.cert.clone()?));
    let of_store = match config.cluster.as_ref().map(|cluster| &cluster.meta) {
        Some(Meta::Etcd(etcd)) => own("cluster.metaEtcd.tls.cert", etcd.tls.as_ref()),
        Some(Meta::Redis(redis)) => own("cluster.metaRedis.tls.cert", redis.tls.as_ref()),
        Some(Meta::Source) | None => None,
    };
    let certificates = [
        own("input.redis.tls.cert", config.input.redis.tls.as_ref()),
        own("output.redis.tls.cert", config.output.redis.tls.as_ref()),
        of_store,
        server
            .tls
            .as_ref()
            .map(|tls| ("server.tls.cert", tls.cert.clone())),
    ];
    Here {
        root: channel.dir.clone(),
        on_disk: channel.kind == config::Storage::Storer,
        max_bytes: channel.max_bytes,
        listen,
        certificates: certificates.into_iter().flatten().collect(),
    }
}
