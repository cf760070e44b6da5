//! From values to a [`Config`]: what only shows when several keys are seen together.
//!
//! Promises: every problem names the key that should change, and where it was written.

mod cluster;
mod output;
mod server;

use std::path::PathBuf;

use super::Config;
use super::address::{REDIS_PORT, SENTINEL_PORT};
use super::choices::*;
use super::environment::Environment;
use super::error::{Error, Origin, Problem};
use super::schema::join;
use super::sections::*;
use super::value::PORT_LATER;
use super::values::Values;

/// The sides that a command works with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sides {
    /// It copies.
    Both,
    /// It reads the source: no target need be named, and one that is need not fit.
    Source,
    /// It writes to the target: the same of the source.
    Target,
}

/// Builds the checked form.
///
/// # Errors
/// Everything that does not fit together.
pub(super) fn check(values: Values, sides: Sides, environment: Environment<'_>) -> Result<Config, Error> {
    let mut check = Check {
        values,
        sides,
        problems: Vec::new(),
        notes: Vec::new(),
    };
    let config = Config {
        input: check.input(),
        output: check.output(),
        channel: check.channel(environment),
        server: check.server(),
        cluster: check.cluster(),
        log: check.log(),
        notes: Vec::new(),
    };
    if sides == Sides::Both {
        check.pairs(&config);
    }
    check.databases_on_cluster(&config);
    check.peers(&config);
    if !check.problems.is_empty() {
        return Err(Error::Problems(check.problems));
    }
    let mut notes = check.values.notes;
    notes.append(&mut check.notes);
    Ok(Config { notes, ..config })
}

struct Check {
    values: Values,
    sides: Sides,
    problems: Vec<Problem>,
    notes: Vec<String>,
}

impl Check {
    fn problem(&mut self, path: &str, message: impl Into<String>, hint: &str) {
        let problem = Problem::new(self.values.origin(path), path, message);
        self.problems.push(problem.hint(hint));
    }

    fn note(&mut self, path: &str, message: &str) {
        let note = match self.values.origin(path) {
            Origin::Default => format!("{path}: {message}"),
            origin => format!("{origin}: {path}: {message}"),
        };
        self.notes.push(note);
    }

    /// How strong the layer is in which a key was written; 0 where it was not.
    fn rank(&self, path: &str) -> u8 {
        self.values.origin(path).rank()
    }

    fn path(&self, path: &str) -> Option<PathBuf> {
        self.values.text(path).map(PathBuf::from)
    }

    fn input(&mut self) -> Input {
        let mode = match self.values.text("input.mode") {
            Some("auto") => {
                self.note("input.mode", "auto is the same as dynamic");
                Mode::Dynamic
            }
            _ => self.values.choice("input.mode", Mode::named),
        };
        let redis = self.redis("input.redis", "--source");
        let values = &self.values;
        Input {
            redis,
            name: values.owned("input.name"),
            sync_from: values.choice("input.syncFrom", SyncFrom::named),
            mode,
            psync_command: values
                .owned("input.psyncCommand")
                .unwrap_or_else(|| "PSYNC".to_owned()),
            rdb_parallel: values.count("input.rdbParallel"),
        }
    }

    fn redis(&mut self, side: &str, flag: &str) -> Redis {
        let of = |key: &str| join(side, key);
        let kind = self.redis_kind(side);
        let port = match kind {
            RedisKind::Sentinel { .. } => SENTINEL_PORT,
            RedisKind::Standalone | RedisKind::Cluster => REDIS_PORT,
        };
        let mut addresses = self.values.addresses(&of("addresses"));
        for address in addresses.iter_mut().filter(|address| address.port == PORT_LATER) {
            address.port = port;
        }
        let is_needed = match self.sides {
            Sides::Both => true,
            Sides::Source => side == "input.redis",
            Sides::Target => side == "output.redis",
        } && side != "cluster.metaRedis";
        if addresses.is_empty() && is_needed {
            self.problem(
                &of("addresses"),
                "at least one address is needed",
                &format!("write it in the file, or give {flag} URL"),
            );
        }
        Redis {
            kind,
            addresses,
            user: self.values.owned(&of("userName")),
            password: self.values.secret(&of("password")),
            tls: self.tls(&of("tls")),
        }
    }

    fn redis_kind(&mut self, side: &str) -> RedisKind {
        let of = |key: &str| join(side, key);
        match self.values.text(&of("type")) {
            Some("cluster") => RedisKind::Cluster,
            Some("sentinel") => {
                let master = self.values.owned(&of("sentinel.masterName")).unwrap_or_default();
                if master.is_empty() {
                    let hint = "write the name that `SENTINEL masters` shows";
                    self.problem(
                        &of("sentinel.masterName"),
                        "type sentinel needs the name of the master",
                        hint,
                    );
                }
                RedisKind::Sentinel {
                    master,
                    user: self.values.owned(&of("sentinel.userName")),
                    password: self.values.secret(&of("sentinel.password")),
                }
            }
            _ => RedisKind::Standalone,
        }
    }

    fn tls(&mut self, section: &str) -> Option<Tls> {
        let is_on = self.values.flag(&join(section, "enable"));
        is_on.then(|| self.tls_that_is_on(section))
    }

    fn tls_that_is_on(&mut self, section: &str) -> Tls {
        let of = |key: &str| join(section, key);
        let tls = Tls {
            ca: self.path(&of("ca")),
            cert: self.path(&of("cert")),
            key: self.path(&of("key")),
            server_name: self.values.owned(&of("serverName")),
            insecure_skip_verify: self.values.flag(&of("insecureSkipVerify")),
            client: None,
        };
        if tls.cert.is_some() != tls.key.is_some() {
            let there = if tls.cert.is_some() { "cert" } else { "key" };
            self.problem(&of(there), "cert and key go together", "write both or neither");
        }
        tls
    }

    fn channel(&mut self, environment: Environment<'_>) -> Channel {
        let flush = self.flush();
        let values = &self.values;
        let dir = values.text("channel.storer.dirPath").map(PathBuf::from);
        let channel = Channel {
            kind: values.choice("channel.type", Storage::named),
            dir: dir.unwrap_or_else(|| default_dir(environment)),
            max_bytes: values.bytes("channel.storer.maxSize"),
            segment_bytes: values.size("channel.storer.logSize"),
            memory_max_bytes: values.size("channel.memory.maxSize"),
            flush,
            on_full: values.choice("channel.onFull", OnFull::named),
            stale_checkpoint_duration: values.duration("channel.staleCheckpointDuration"),
        };
        if channel.memory_max_bytes == 0 {
            self.problem(
                "channel.memory.maxSize",
                "a log in memory needs room",
                "write a size, as 512MiB",
            );
        }
        if channel.max_bytes.is_some_and(|max| max < channel.segment_bytes) {
            let path = if self.values.is_written("channel.storer.maxSize") {
                "maxSize"
            } else {
                "logSize"
            };
            let message = "one segment (logSize) is larger than the log may become (maxSize)";
            self.problem(
                &format!("channel.storer.{path}"),
                message,
                "make logSize a tenth of maxSize or less",
            );
        }
        channel
    }

    /// The one way that was chosen in the strongest layer in which one was.
    fn flush(&mut self) -> Flush {
        let of = |key: &str| format!("channel.storer.flush.{key}");
        let every_write = self.values.flag(&of("everyWrite")).then_some(Flush::EveryWrite);
        let chosen = [
            ("everyWrite", every_write),
            (
                "dirtySize",
                self.values.bytes(&of("dirtySize")).map(Flush::DirtyBytes),
            ),
            ("auto", self.values.flag(&of("auto")).then_some(Flush::Auto)),
            (
                "duration",
                self.values.duration_if_set(&of("duration")).map(Flush::Duration),
            ),
        ];
        let chosen = chosen.map(|(key, flush)| flush.map(|flush| (self.rank(&of(key)), key, flush)));
        let strongest = chosen.iter().flatten().map(|(rank, ..)| *rank).max();
        let mut ways = chosen
            .iter()
            .flatten()
            .filter(|(rank, ..)| Some(*rank) == strongest);
        let (_, key, flush) = ways.next().copied().expect("the duration has a default");
        if let Some((_, other, _)) = ways.next() {
            let message = format!("only one way to flush at a time, and {key} is written as well");
            self.problem(
                &of(other),
                message,
                "write one of duration, everyWrite, dirtySize, auto",
            );
        }
        flush
    }

    fn log(&mut self) -> Log {
        let values = &self.values;
        let file = values.text("log.handler.file.fileName").map(|name| LogFile {
            name: PathBuf::from(name),
            max_size_mb: values.count("log.handler.file.maxSize"),
            max_backups: values.count("log.handler.file.maxBackups"),
            max_age_days: values.count("log.handler.file.maxAge"),
        });
        Log {
            level: values.choice("log.level", Level::named),
            stdout: values.flag_if_set("log.handler.stdout").unwrap_or(file.is_none()),
            file,
            with_caller: values.flag("log.withCaller"),
            with_module_name: values.flag("log.withModuleName"),
            format: values.choice("log.format", Format::named),
        }
    }

    /// Whether the two sides fit: standalone sources and targets are paired by their place in the lists.
    ///
    /// | source | target | possible |
    /// | --- | --- | --- |
    /// | n standalone | n standalone | yes, one to one |
    /// | n standalone | m standalone | no |
    /// | cluster or sentinel | one standalone | yes |
    /// | cluster or sentinel | m standalone | no |
    /// | any | cluster or sentinel | yes |
    fn pairs(&mut self, config: &Config) {
        let (source, target) = (&config.input.redis, &config.output.redis);
        if source.addresses.is_empty() || target.addresses.is_empty() {
            return;
        }
        let standalone = |redis: &Redis| redis.kind == RedisKind::Standalone;
        let sources = if standalone(source) {
            source.addresses.len()
        } else {
            1
        };
        let targets = target.addresses.len();
        if standalone(target) && sources != targets {
            let message =
                format!("{sources} standalone source(s) and {targets} standalone target(s) cannot be paired");
            self.problem(
                "output.redis.addresses",
                message,
                "write one target address for each source address, in the same order; nodes of one cluster are redis+cluster://host:port,host:port, or type: cluster",
            );
            return;
        }
        let same = match standalone(source) && standalone(target) {
            true => source
                .addresses
                .iter()
                .zip(&target.addresses)
                .find(|(a, b)| a == b)
                .map(|(a, _)| a),
            false if source.kind == target.kind || standalone(source) || standalone(target) => source
                .addresses
                .iter()
                .find(|address| target.addresses.contains(address)),
            false => None,
        };
        if let Some(address) = same.cloned() {
            let message = format!("{address} is the source as well: it would be fed what it has just sent");
            self.problem("output.redis.addresses", message, "write the address of the copy");
        }
    }

    fn databases_on_cluster(&mut self, config: &Config) {
        if config.output.redis.kind != RedisKind::Cluster {
            return;
        }
        let hint = "leave it out, or see output.replay.dbOnCluster";
        match &config.output.replay.databases {
            Databases::All(db) if *db > 0 => {
                self.problem("output.replay.targetDb", "a cluster has no databases but 0", hint);
            }
            Databases::Mapped(map) if map.values().any(|db| *db > 0) => {
                self.problem(
                    "output.replay.targetDbMap",
                    "a cluster has no databases but 0",
                    hint,
                );
            }
            Databases::Same | Databases::All(_) | Databases::Mapped(_) => {}
        }
    }
}

/// `gunyu` in `$XDG_STATE_HOME`, which counts only when it is absolute, or else in `/var/lib`.
fn default_dir(environment: Environment<'_>) -> PathBuf {
    let state = environment("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    state.unwrap_or_else(|| PathBuf::from("/var/lib")).join("gunyu")
}
