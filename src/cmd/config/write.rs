//! A [`Config`] as text: the keys of the file, secrets as `***`, loadable again.

use std::path::PathBuf;
use std::time::Duration;

use serde_yaml::{Mapping, Value};

use super::Config;
use super::secret::Secret;
use super::sections::*;
use super::units;

impl Config {
    /// The effective configuration as YAML.
    ///
    /// Every key is there; one that is not set is `null`. Secrets are `***`.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        serde_yaml::to_string(&escaped(self.tree().into()))
            .expect("texts, numbers, lists and maps can be written as YAML")
    }

    /// The effective configuration as JSON, with the same keys.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self.tree()).expect("the keys are texts and numbers, which JSON takes")
    }

    fn tree(&self) -> Mapping {
        let mut tree = Tree(Mapping::new());
        tree.input(&self.input);
        tree.output(&self.output);
        tree.channel(&self.channel);
        tree.server(&self.server);
        tree.cluster(self.cluster.as_ref());
        tree.log(&self.log);
        tree.0
    }
}

struct Tree(Mapping);

impl Tree {
    fn put(&mut self, path: &str, value: impl Into<Value>) {
        let mut map = &mut self.0;
        let mut rest = path;
        while let Some((section, after)) = rest.split_once('.') {
            let inner = map.entry(section.into()).or_insert_with(|| Mapping::new().into());
            map = inner.as_mapping_mut().expect("no key has the name of a section");
            rest = after;
        }
        map.insert(rest.into(), value.into());
    }

    fn input(&mut self, input: &Input) {
        self.redis("input.redis", &input.redis);
        self.put("input.name", text(input.name.as_ref()));
        self.put("input.rdbParallel", input.rdb_parallel);
        self.put("input.mode", input.mode.as_str());
        self.put("input.syncFrom", input.sync_from.as_str());
        self.put("input.psyncCommand", input.psync_command.as_str());
    }

    fn redis(&mut self, side: &str, redis: &Redis) {
        let of = |key: &str| format!("{side}.{key}");
        let addresses: Vec<Value> = redis.addresses.iter().map(|a| a.to_string().into()).collect();
        self.put(&of("type"), redis.kind.as_str());
        self.put(&of("addresses"), addresses);
        self.put(&of("userName"), text(redis.user.as_ref()));
        self.put(&of("password"), secret(redis.password.as_ref()));
        let (master, user, password) = match &redis.kind {
            RedisKind::Sentinel {
                master,
                user,
                password,
            } => (Some(master), user.as_ref(), password.as_ref()),
            RedisKind::Standalone | RedisKind::Cluster => (None, None, None),
        };
        self.put(&of("sentinel.masterName"), text(master));
        self.put(&of("sentinel.userName"), text(user));
        self.put(&of("sentinel.password"), secret(password));
        self.tls(&of("tls"), redis.tls.as_ref());
    }

    fn tls(&mut self, section: &str, given: Option<&Tls>) {
        let of = |key: &str| format!("{section}.{key}");
        let off = Tls::default();
        let tls = given.unwrap_or(&off);
        self.put(&of("enable"), given.is_some());
        self.put(&of("ca"), path(tls.ca.as_ref()));
        self.put(&of("cert"), path(tls.cert.as_ref()));
        self.put(&of("key"), path(tls.key.as_ref()));
        self.put(&of("serverName"), text(tls.server_name.as_ref()));
        self.put(&of("insecureSkipVerify"), tls.insecure_skip_verify);
    }

    fn output(&mut self, output: &Output) {
        self.redis("output.redis", &output.redis);
        self.replay(&output.replay);
        let filter = &output.filter;
        self.put("output.filter.dbWhitelist", filter.db_whitelist.clone());
        self.put("output.filter.dbBlacklist", filter.db_blacklist.clone());
        self.put("output.filter.commandBlacklist", filter.command_blacklist.clone());
        for (name, lists) in [
            ("prefix", &filter.prefix),
            ("suffix", &filter.suffix),
            ("regex", &filter.regex),
        ] {
            self.put(
                &format!("output.filter.keyFilter.{name}KeyWhitelist"),
                lists.whitelist.clone(),
            );
            self.put(
                &format!("output.filter.keyFilter.{name}KeyBlacklist"),
                lists.blacklist.clone(),
            );
        }
        self.put(
            "output.filter.slotFilter.keySlotWhitelist",
            slots(&filter.slots.whitelist),
        );
        self.put(
            "output.filter.slotFilter.keySlotBlacklist",
            slots(&filter.slots.blacklist),
        );
    }

    fn replay(&mut self, replay: &Replay) {
        let mut put = |key: &str, value: Value| self.put(&format!("output.replay.{key}"), value);
        put("resumeFromBreakPoint", replay.resume.into());
        put("delivery", replay.delivery.as_str().into());
        put("onError", replay.on_error.as_str().into());
        put("errorBudget", replay.error_budget.into());
        put("keyExists", replay.key_exists.as_str().into());
        put("staleKeys", replay.stale_keys.as_str().into());
        put("functionExists", replay.function_exists.as_str().into());
        put("moduleAuxPolicy", replay.module_aux.as_str().into());
        put("replaceHashTag", replay.replace_hash_tag.into());
        let (target, map) = databases(&replay.databases);
        put("targetDb", target.into());
        put("targetDbMap", map.into());
        put("dbOnCluster", replay.db_on_cluster.as_str().into());
        put("crossSlot", replay.cross_slot.as_str().into());
        put("batchCmdCount", replay.batch_commands_max.into());
        put("batchBufferSize", size(replay.batch_bytes_max));
        put("updateCheckpointTicker", duration(replay.checkpoint_interval));
        put("connections", replay.connections.into());
        put("replayRdbEnableRestore", replay.restore.into());
        put("maxProtoBulkLen", size(replay.proto_bulk_bytes_max));
        put("bigValueBytes", size(replay.big_value_bytes));
        put(
            "rateLimit.opsPerSec",
            replay.rate_limit.ops_per_sec.map_or(Value::Null, Value::from),
        );
        put(
            "rateLimit.bytesPerSec",
            replay.rate_limit.bytes_per_sec.map_or(Value::Null, size),
        );
    }

    fn channel(&mut self, channel: &Channel) {
        self.put("channel.type", channel.kind.as_str());
        self.put("channel.storer.dirPath", path(Some(&channel.dir)));
        self.put(
            "channel.storer.maxSize",
            channel.max_bytes.map_or(Value::from(-1), size),
        );
        self.put("channel.storer.logSize", size(channel.segment_bytes));
        let flush = channel.flush;
        let every = match flush {
            Flush::Duration(every) => duration(every),
            Flush::EveryWrite | Flush::DirtyBytes(_) | Flush::Auto => Value::Null,
        };
        let dirty = match flush {
            Flush::DirtyBytes(bytes) => size(bytes),
            Flush::EveryWrite | Flush::Duration(_) | Flush::Auto => Value::Null,
        };
        self.put("channel.storer.flush.duration", every);
        self.put("channel.storer.flush.everyWrite", flush == Flush::EveryWrite);
        self.put("channel.storer.flush.dirtySize", dirty);
        self.put("channel.storer.flush.auto", flush == Flush::Auto);
        self.put("channel.memory.maxSize", size(channel.memory_max_bytes));
        self.put("channel.onFull", channel.on_full.as_str());
        self.put(
            "channel.staleCheckpointDuration",
            duration(channel.stale_checkpoint_duration),
        );
    }

    fn server(&mut self, server: &Server) {
        self.put("server.listen", server.listen.to_string());
        self.put("server.listenPeer", server.listen_peer.to_string());
        self.put("server.metricRoutePath", server.metric_route_path.as_str());
        self.put(
            "server.checkRedisTypologyTicker",
            duration(server.check_topology_ticker),
        );
        self.put(
            "server.gracefullStopTimeout",
            duration(server.graceful_stop_timeout),
        );
        self.put("server.doctorAtStart", server.doctor_at_start);
        self.auth("server.auth", &server.auth);
        self.put("server.allowUnauthenticated", server.allow_unauthenticated);
        self.put("server.allowedHosts", server.allowed_hosts.clone());
        self.put("server.tls.cert", path(server.tls.as_ref().map(|tls| &tls.cert)));
        self.put("server.tls.key", path(server.tls.as_ref().map(|tls| &tls.key)));
    }

    fn auth(&mut self, section: &str, auth: &Auth) {
        let (token, file) = match auth {
            Auth::None => (None, None),
            Auth::Token(token) => (Some(token), None),
            Auth::TokenFile(file) => (None, Some(file)),
        };
        self.put(&format!("{section}.token"), secret(token));
        self.put(&format!("{section}.tokenFile"), path(file));
    }

    fn cluster(&mut self, cluster: Option<&Cluster>) {
        let Some(cluster) = cluster else {
            return self.put("cluster", Mapping::new());
        };
        self.put("cluster.groupName", cluster.group_name.as_str());
        match &cluster.meta {
            Meta::Etcd(etcd) => self.etcd(etcd),
            Meta::Redis(redis) => self.redis("cluster.metaRedis", redis),
            Meta::Source => {}
        }
        self.tls("cluster.tls", cluster.tls.as_ref());
        self.auth("cluster", &cluster.auth);
        self.put("cluster.leaseTimeout", duration(cluster.lease_timeout));
        self.put(
            "cluster.leaseRenewInterval",
            duration(cluster.lease_renew_interval),
        );
    }

    fn etcd(&mut self, etcd: &Etcd) {
        let endpoints: Vec<Value> = etcd.endpoints.iter().map(|a| a.to_string().into()).collect();
        self.put("cluster.metaEtcd.endpoints", endpoints);
        self.put("cluster.metaEtcd.username", text(etcd.user.as_ref()));
        self.put("cluster.metaEtcd.password", secret(etcd.password.as_ref()));
        self.tls("cluster.metaEtcd.tls", etcd.tls.as_ref());
    }

    fn log(&mut self, log: &Log) {
        self.put("log.level", log.level.as_str());
        if let Some(file) = &log.file {
            self.put("log.handler.file.fileName", path(Some(&file.name)));
            self.put("log.handler.file.maxSize", file.max_size_mb);
            self.put("log.handler.file.maxBackups", file.max_backups);
            self.put("log.handler.file.maxAge", file.max_age_days);
        }
        self.put("log.handler.stdout", log.stdout);
        self.put("log.format", log.format.as_str());
        self.put("log.withCaller", log.with_caller);
        self.put("log.withModuleName", log.with_module_name);
    }
}

/// With every `${` written so that reading it back does not ask the environment.
fn escaped(value: Value) -> Value {
    match value {
        Value::String(text) => text.replace("${", "$${").into(),
        Value::Sequence(values) => values.into_iter().map(escaped).collect::<Vec<Value>>().into(),
        Value::Mapping(map) => map
            .into_iter()
            .map(|(key, value)| (key, escaped(value)))
            .collect::<Mapping>()
            .into(),
        other => other,
    }
}

fn text(text: Option<&String>) -> Value {
    text.map_or(Value::Null, |text| text.as_str().into())
}

fn path(path: Option<&PathBuf>) -> Value {
    path.map_or(Value::Null, |path| path.to_string_lossy().into_owned().into())
}

fn secret(secret: Option<&Secret>) -> Value {
    secret.map_or(Value::Null, |_| Secret::MASK.into())
}

fn duration(duration: Duration) -> Value {
    units::duration_text(duration).into()
}

fn size(bytes: u64) -> Value {
    units::size_text(bytes).map_or(Value::from(bytes), Value::from)
}

fn slots(slots: &[(u16, u16)]) -> Vec<Value> {
    let range = |(first, last): &(u16, u16)| match first == last {
        true => vec![*first],
        false => vec![*first, *last],
    };
    slots.iter().map(|slots| Value::from(range(slots))).collect()
}

fn databases(databases: &Databases) -> (i64, Mapping) {
    match databases {
        Databases::Same => (-1, Mapping::new()),
        Databases::All(target) => (i64::from(*target), Mapping::new()),
        Databases::Mapped(map) => (
            -1,
            map.iter()
                .map(|(from, to)| ((*from).into(), (*to).into()))
                .collect(),
        ),
    }
}
