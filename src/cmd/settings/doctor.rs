//! What `gunyu doctor` examines, and `gunyu sync` when it begins.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{SILENCE_LIMIT, endpoint, node, places, rules, sentinels};
use crate::cmd::config::{self, Config, Meta, RedisKind, SyncFrom};
use crate::core::doctor::{Depth, Here, Plan, Shape, Side};
use crate::core::filter::{self, Filter};
use crate::core::net::{Credentials, Endpoint};

/// So long an outage may last, unless somebody says otherwise.
pub const OUTAGE: Duration = Duration::from_secs(60);

/// What is to be examined. Where sentinels are to be asked it begins here: call it within the runtime.
///
/// # Errors
/// The filter's rules contradict themselves.
pub fn plan(config: &Config, outage: Duration, depth: Depth) -> Result<Plan, filter::Error> {
    let replay = &config.output.replay;
    Ok(Plan {
        source: side(
            config,
            &config.input.redis,
            config.input.sync_from != SyncFrom::Master,
        ),
        target: side(config, &config.output.redis, false),
        psync_command: config.input.psync_command.clone(),
        filter: Arc::new(Filter::compile(&rules(config))?),
        outage,
        silence: SILENCE_LIMIT,
        connections: u64::from(replay.connections),
        here: here(config),
        store: store(config),
        notes: config.notes.iter().cloned().chain(config.exposed()).collect(),
        depth,
    })
}

fn side(config: &Config, redis: &config::Redis, with_replicas: bool) -> Side {
    let endpoints = || {
        let addresses = redis.addresses.iter();
        addresses.map(|address| endpoint(redis, address)).collect()
    };
    let shape = match (&redis.kind, places(config, redis)) {
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
    let certificates = [
        own("input.redis.tls.cert", config.input.redis.tls.as_ref()),
        own("output.redis.tls.cert", config.output.redis.tls.as_ref()),
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
