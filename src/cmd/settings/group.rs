//! How this process takes part in its group, from the configuration.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{base, credentials, deployment, node, place, rules, shape, wrong_filter};
use crate::cmd::config::{self, Auth, Cluster, Config, Etcd, Meta, RedisKind, Secret};
use crate::cmd::{Exit, Failure};
use crate::core::filter::Filter;
use crate::core::lease::{self, Backend, Record, Seal, Store, View};
use crate::core::net::Endpoint;
use crate::core::supervisor::group::{Access, Settings};

/// One question to the store takes at most so long, or a third of the time between two renewals.
const REQUEST_LIMIT: Duration = Duration::from_secs(1);

/// How the process takes part in its group; nothing where it stands alone. Where sentinels are to be asked for the leases' Redis it begins here: call it
/// within the runtime.
///
/// # Errors
/// The token cannot be read.
pub fn group(config: &Config) -> Result<Option<Settings>, Failure> {
    let Some(cluster) = &config.cluster else {
        return Ok(None);
    };
    let peer = &config.server.listen_peer;
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Some(Settings {
        store: store(config, cluster)?,
        renew_every: cluster.lease_renew_interval,
        record: Record {
            id: peer.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            machine: machine(),
            api: api(config),
            started_ms: u64::try_from(started.as_millis()).unwrap_or(u64::MAX),
            config: copies(config)?,
            positions: BTreeMap::new(),
            ..Record::default()
        },
        is_loopback: peer.is_loopback(),
        access: Access {
            authorization: token(config)?.map(|token| format!("Bearer {token}")),
            tls: cluster.tls.as_ref().map(config::Tls::client),
        },
    }))
}

/// The store of the group's leases.
fn store(config: &Config, cluster: &Cluster) -> Result<lease::Settings, Failure> {
    let token = token(config)?;
    Ok(lease::Settings {
        group: cluster.group_name.clone(),
        seal: token.map(|token| Seal::new(&token, &cluster.group_name)),
        lease_timeout: cluster.lease_timeout,
        backend: backend(config, cluster),
        request_limit: REQUEST_LIMIT.min(cluster.lease_renew_interval / 2),
    })
}

/// What the members must have in common: by what names the inputs go, and where their data goes.
fn copies(config: &Config) -> Result<String, Failure> {
    let filter = Filter::compile(&rules(config)).map_err(|error| wrong_filter(&error))?;
    let (input, output) = (&config.input.redis, &config.output.redis);
    let mut inputs: Vec<String> = match &input.kind {
        RedisKind::Cluster => {
            let name = base(config.input.name.as_deref().unwrap_or("shard"));
            vec![format!("{name}-{:016x}", filter.fingerprint())]
        }
        RedisKind::Standalone => input
            .addresses
            .iter()
            .map(|one| deployment(config, &filter, one))
            .collect(),
        RedisKind::Sentinel { .. } => input
            .addresses
            .first()
            .map(|one| deployment(config, &filter, one))
            .into_iter()
            .collect(),
    };
    inputs.sort_unstable();
    let targets: Vec<String> = match &output.kind {
        RedisKind::Standalone => output.addresses.iter().map(ToString::to_string).collect(),
        RedisKind::Sentinel { master, .. } => vec![master.clone()],
        // Any of its nodes is as good a seed.
        RedisKind::Cluster => Vec::new(),
    };
    let (kind, to) = (input.kind.as_str(), output.kind.as_str());
    Ok(format!(
        "{kind} {} -> {to} {}",
        inputs.join(","),
        targets.join(",")
    ))
}

/// Where the others reach the API: one that listens everywhere is reached where the peers are.
fn api(config: &Config) -> String {
    let server = &config.server;
    let scheme = if server.tls.is_some() { "https" } else { "http" };
    let mut address = server.listen.clone();
    if address.is_unspecified() {
        address.host.clone_from(&server.listen_peer.host);
    }
    format!("{scheme}://{address}")
}

/// The addresses of the API of all members that are there now, as the store of leases has them. Where there is no group, none. `api_token` is what they are
/// going to be sent: where the configuration has no token, they must know that one.
///
/// # Errors
/// The store cannot be asked, or none of those that are there is known to have the token.
pub fn members(config: &Config, api_token: Option<&Secret>) -> Result<Vec<String>, Failure> {
    let Some(cluster) = &config.cluster else {
        return Ok(Vec::new());
    };
    let mut settings = store(config, cluster)?;
    settings.request_limit = REQUEST_LIMIT * 2;
    let of_api = || api_token.map(|token| Seal::new(token.expose(), &cluster.group_name));
    settings.seal = settings.seal.or_else(of_api);
    let asked = async {
        let mut store = Store::new(settings);
        let until = Instant::now() + REQUEST_LIMIT * 5;
        loop {
            match store.view().await {
                Ok(view) => return Ok(view),
                Err(error) if error.needs_a_person() || Instant::now() > until => return Err(error),
                // Where sentinels are to be asked first, the answer takes a moment.
                Err(_) => tokio::time::sleep(REQUEST_LIMIT / 4).await,
            }
        }
    };
    let view = crate::cmd::sync::runtime()?.block_on(asked).map_err(|error| {
        Failure::new(Exit::Failed, format!("the members cannot be asked for: {error}"))
            .with_hint(error.hint())
    })?;
    known(view)
}

/// Those of which it is known that they have the token.
fn known(view: View) -> Result<Vec<String>, Failure> {
    if view.members.is_empty() && !view.strangers.is_empty() {
        let strangers: Vec<String> = view.strangers.into_iter().collect();
        let message = format!("{} have not shown that they know the token", strangers.join(", "));
        return Err(Failure::new(Exit::Failed, message).with_hint(Some(
            "give the token of the group, or name a member yourself with --server".to_owned(),
        )));
    }
    Ok(view.members.into_values().map(|member| member.api).collect())
}

/// What the members bear among themselves: the group's token, or else that of the API.
///
/// # Errors
/// It is in a file that does not give one.
pub fn token(config: &Config) -> Result<Option<String>, Failure> {
    let own = config
        .cluster
        .as_ref()
        .map_or(&Auth::None, |cluster| &cluster.auth);
    let auth = match own {
        Auth::None => &config.server.auth,
        own => own,
    };
    let token = auth
        .token()
        .map_err(|error| Failure::new(Exit::Usage, format!("cluster: {error}")))?;
    Ok(token.map(|token| token.expose().to_owned()))
}

fn backend(config: &Config, cluster: &Cluster) -> Backend {
    match &cluster.meta {
        Meta::Etcd(etcd) => Backend::Etcd(self::etcd(etcd)),
        Meta::Redis(redis) => Backend::Redis(lock(config, redis)),
        Meta::Source => Backend::Redis(lock(config, &config.input.redis)),
    }
}

fn etcd(etcd: &Etcd) -> lease::etcd::Settings {
    let tls = etcd.tls.as_ref().map(config::Tls::client);
    let endpoints = etcd.endpoints.iter().map(|address| Endpoint {
        address: node(address),
        credentials: credentials(None, None),
        tls: tls.clone(),
    });
    lease::etcd::Settings {
        endpoints: endpoints.collect(),
        user: etcd
            .user
            .as_deref()
            .map(|user| credentials(Some(user), etcd.password.as_ref())),
    }
}

fn lock(config: &Config, redis: &config::Redis) -> lease::redis::Settings {
    lease::redis::Settings {
        place: place(config, redis).expect("the check has seen to it that there is an address"),
        shape: shape(redis),
    }
}

/// What tells this machine from others, and one network on it from another: a loopback address means something else in each.
fn machine() -> String {
    let read = |path: &str| {
        std::fs::read_to_string(path)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let boot = read("/proc/sys/kernel/random/boot_id");
    let network = std::fs::read_link("/proc/self/ns/net");
    let network = network.map_or_else(|_| String::new(), |link| link.display().to_string());
    format!("{boot}/{network}")
}
