//! Snapshots taken here: of one server, or of every master of a cluster.
//!
//! Several are taken at the same time. They are then of nearly the same moment, which for a cluster is as near as one can come to a copy of
//! the whole; it takes as long as the largest, not as long as all; and each master has a machine of its own to make it on. No file gets its name
//! before all of them are whole: what stands there after the command is a dump of everything, or of nothing.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::node::{self, Snapshot};
use super::patience::{Patience, Trouble};
use super::{Args, until_interrupted};
use crate::cmd::config::{Config, Endpoint as Url, Level, RedisKind};
use crate::cmd::file::{self, Out, Unnamed};
use crate::cmd::progress::{Download, How};
use crate::cmd::{Exit, Failure, print, settings, traces};
use crate::core::net::Address;
use crate::core::source::Settings;
use crate::core::supervisor;
use crate::core::survey::Source;

/// Takes them.
///
/// # Errors
/// The configuration is wrong, or a source needs a person (2); anything else that keeps one of them from coming whole (1).
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    refuse_database(args)?;
    let mut config = args.given().check_source()?;
    config.read_source_tls()?;
    let mut log = config.log.clone();
    if !args.verbose {
        log.level = Level::Warn;
    }
    traces::init(&log)?;
    for note in &config.notes {
        tracing::warn!("{note}");
    }
    let began = Instant::now();
    let dumps = until_interrupted(args, take(args, &config))?;
    tell(args, &dumps, began.elapsed())
}

/// A snapshot has every database of its server.
fn refuse_database(args: &Args) -> Result<(), Failure> {
    // What is no URL is told by whoever reads the configuration.
    let url = args.source.as_deref().and_then(|url| Url::parse(url).ok());
    let Some(database) = url.and_then(|url| url.database) else {
        return Ok(());
    };
    let message = format!("--source names database {database}, and a dump holds all of them");
    let hint = format!("leave /{database} out of the URL");
    Err(Failure::new(Exit::Usage, message).with_hint(Some(hint)))
}

/// A dump that is whole.
struct Dump {
    source: Address,
    /// None for stdout.
    file: Option<PathBuf>,
    snapshot: Snapshot,
}

async fn take(args: &Args, config: &Config) -> Result<Vec<Dump>, Failure> {
    let patience = Duration::from_secs(args.patience);
    let sources = sources(config, patience).await?;
    let files = files(args, config, &sources)?;
    let how = How::on_stderr(args.quiet || args.json);
    let mut tasks: JoinSet<Result<(usize, Dump), Failure>> = JoinSet::new();
    let (mut unnamed, mut dumps) = (Vec::new(), Vec::new());
    for (number, (mut settings, (name, out))) in sources.into_iter().zip(files).enumerate() {
        settings.silence_limit = settings.silence_limit.max(patience);
        let shown = Download::new(how, &settings.endpoint.address.to_string());
        let file = name.as_ref().map(Unnamed::path);
        unnamed.extend(name);
        tasks.spawn(async move { Ok((number, dump(settings, patience, file, out, shown).await?)) });
    }
    // The first that fails ends the others: they go with the set.
    while let Some(ended) = tasks.join_next().await {
        let bug = |error| Failure::new(Exit::Failed, format!("a dump ended badly: {error}"));
        dumps.push(ended.map_err(bug)??);
    }
    file::name(unnamed)?;
    dumps.sort_by_key(|(number, _)| *number);
    Ok(dumps.into_iter().map(|(_, dump)| dump).collect())
}

async fn dump(
    settings: Settings,
    patience: Duration,
    file: Option<PathBuf>,
    mut out: Out,
    mut shown: Download,
) -> Result<Dump, Failure> {
    let snapshot = node::dump(&settings, patience, &mut out, &mut shown).await?;
    Ok(Dump {
        source: settings.endpoint.address,
        file,
        snapshot,
    })
}

/// Whom to dump: the addresses as they stand there, or the masters of their cluster.
async fn sources(config: &Config, patience: Duration) -> Result<Vec<Settings>, Failure> {
    let addresses = config.input.redis.addresses.iter();
    let mut named: Vec<Settings> = addresses.map(|one| settings::source(config, one)).collect();
    named.iter_mut().for_each(|one| one.snapshot_only = true);
    match config.input.redis.kind {
        RedisKind::Standalone => return Ok(named),
        RedisKind::Sentinel { .. } => return Ok(vec![master(config, named).await?]),
        RedisKind::Cluster => {}
    }
    let mut patience = Patience::new(patience);
    loop {
        match masters(&named).await {
            Ok(masters) => return Ok(masters),
            Err(trouble) => patience.after(trouble).await?,
        }
    }
}

/// The master that the sentinels name.
async fn master(config: &Config, named: Vec<Settings>) -> Result<Settings, Failure> {
    let place = settings::place(config, &config.input.redis);
    let mut named = named.into_iter().zip(place);
    let (node, mut place) = named
        .next()
        .expect("the check has seen to it that there is a source");
    let endpoint = supervisor::found(&mut place).await?;
    Ok(Settings { endpoint, ..node })
}

/// The masters, as the first of these nodes tells that answers.
async fn masters(nodes: &[Settings]) -> Result<Vec<Settings>, Trouble> {
    let mut troubles = Vec::new();
    for node in nodes {
        let asked = async { Source::connect(&node.endpoint).await?.masters().await };
        match asked.await {
            Ok(masters) => return Ok(masters.into_iter().map(|master| at(node, master)).collect()),
            Err(error) => troubles.push(Trouble::from(error)),
        }
    }
    // What a person must mend is told first.
    troubles.sort_by_key(|trouble| !trouble.needs_a_person());
    match troubles.into_iter().next() {
        Some(trouble) => Err(trouble),
        None => Ok(Vec::new()),
    }
}

/// The same login at another address.
fn at(node: &Settings, address: Address) -> Settings {
    Settings {
        endpoint: node.endpoint.at(address),
        ..node.clone()
    }
}

/// Where each of them goes. Made before any server is asked for a snapshot.
fn files(args: &Args, config: &Config, sources: &[Settings]) -> Result<Vec<(Option<Unnamed>, Out)>, Failure> {
    let is_one = sources.len() == 1;
    if args.is_to_stdout() {
        if !is_one {
            return Err(too_many_for_stdout(sources));
        }
        return Ok(vec![(None, file::stdout()?)]);
    }
    let by_node = config.input.redis.kind == RedisKind::Cluster || !is_one;
    if by_node && args.output.is_dir() {
        let message = format!("{} is a folder; the files need a name too", args.output.display());
        let hint = format!("as --output {}", args.output.join("dump.rdb").display());
        return Err(Failure::new(Exit::Usage, message).with_hint(Some(hint)));
    }
    let mut taken = HashSet::new();
    let files = sources.iter().map(|source| {
        let address = &source.endpoint.address;
        let path = match by_node {
            true => file_of(&args.output, address),
            false => args.output.clone(),
        };
        if !taken.insert(path.clone()) {
            let message = format!("{address} would be dumped to {} a second time", path.display());
            return Err(
                Failure::new(Exit::Usage, message).with_hint(Some("list each address once".to_owned()))
            );
        }
        let (unnamed, out) = file::create(&path, "--output")?;
        Ok((Some(unnamed), out))
    });
    files.collect()
}

fn too_many_for_stdout(sources: &[Settings]) -> Failure {
    let count = sources.len();
    let hint = match sources.first() {
        Some(first) => format!(
            "--output dump.rdb writes a file for each; or take one, with --source redis://{} --output -",
            first.endpoint.address
        ),
        None => "--output dump.rdb writes a file for each".to_owned(),
    };
    Failure::new(
        Exit::Usage,
        format!("stdout takes one dump, and there are {count} servers to take one of"),
    )
    .with_hint(Some(hint))
}

/// `NAME-HOST-PORT.EXT` for `NAME.EXT`. The host may be what a server said: in a file's name it means nothing.
fn file_of(output: &Path, node: &Address) -> PathBuf {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let host: String = node
        .host
        .chars()
        .map(|c| if plain(c) { c } else { '_' })
        .collect();
    let mut name = OsString::from(output.file_stem().unwrap_or_default());
    name.push(format!("-{host}-{}", node.port));
    if let Some(extension) = output.extension() {
        name.push(".");
        name.push(extension);
    }
    output.with_file_name(name)
}

fn tell(args: &Args, dumps: &[Dump], took: Duration) -> Result<(), Failure> {
    for Dump { source, snapshot, .. } in dumps {
        let (keys, position) = (snapshot.keys, snapshot.position);
        tracing::info!(%source, keys, bytes = snapshot.end.len_bytes, %position, "the dump is whole");
    }
    if args.is_to_stdout() {
        return Ok(());
    }
    if args.json {
        let seconds = (took.as_secs_f64() * 1000.0).round() / 1000.0;
        let files: Vec<Value> = dumps.iter().map(Dump::json).collect();
        return print::json(&json!({ "ok": true, "seconds": seconds, "files": files }));
    }
    print::text(&dumps.iter().map(Dump::line).collect::<String>())
}

impl Dump {
    fn json(&self) -> Value {
        json!({
            "file": self.file,
            "source": self.source.to_string(),
            "bytes": self.snapshot.end.len_bytes,
            "keys": self.snapshot.keys,
            "rdb_version": self.snapshot.version.number,
            "checked": self.snapshot.end.checked,
            "repl_id": self.snapshot.position.id.to_string(),
            "offset": self.snapshot.position.offset.get(),
        })
    }

    fn line(&self) -> String {
        let file = self.file.as_deref().unwrap_or(Path::new("-")).display();
        let checksum = match self.snapshot.end.checked {
            true => "",
            false => "; the source wrote no checksum",
        };
        format!(
            "{file}: {}, {} keys, RDB version {}, {} at offset {} of {}{checksum}\n",
            HumanBytes(self.snapshot.end.len_bytes),
            HumanCount(self.snapshot.keys),
            self.snapshot.version.number,
            self.source,
            self.snapshot.position.offset,
            self.snapshot.position.id,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_has_a_file_beside_the_one_that_was_named() {
        for (output, host, expected) in [
            ("dump.rdb", "10.0.0.1", "dump-10.0.0.1-7.rdb"),
            ("/a/b.c/dump", "redis-1.example", "/a/b.c/dump-redis-1.example-7"),
            ("dump.tar.rdb", "h", "dump.tar-h-7.rdb"),
            ("d.rdb", "::1", "d-__1-7.rdb"),
            ("x/d.rdb", "../../etc/passwd", "x/d-.._.._etc_passwd-7.rdb"),
        ] {
            let node = Address {
                host: host.to_owned(),
                port: 7,
            };
            assert_eq!(file_of(Path::new(output), &node), Path::new(expected));
        }
    }
}
