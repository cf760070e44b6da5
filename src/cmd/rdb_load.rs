//! `gunyu rdb-load`: an RDB file into a running server, by the engine of full syncs.

use std::fs::File;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use indicatif::{HumanBytes, HumanCount};
use serde_json::json;
use tokio::sync::mpsc;

use super::config::{Config, Level, RedisKind};
use super::interrupt::interrupted;
use super::progress::{Download, How, REDRAW_EVERY};
use super::{ConfigArgs, Exit, Failure, print, settings, sync, traces};
use crate::core::pipeline::load::{self, Loaded, Shown};
use crate::core::supervisor;

/// Load an RDB file into a running server
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Files of every server from Redis 1 on are read, and written to every server from Redis 2.8 on: values go by RESTORE where the target takes them, and \
with the commands of their type where it does not. What it cannot hold (hash fields that expire, functions, modules) goes the way of \
output.replay.onError: the command with its reason to the dead-letter file, and then the loading stops, or goes on.

A key that is there is replaced, unless output.replay.keyExists says otherwise; keys that have expired are left out. Filters, databases and everything \
else under output in the configuration hold as for `gunyu sync`. Loading a file again comes to the same.

Examples:
  gunyu rdb-load dump.rdb --target redis://127.0.0.1:6380
  gunyu rdb-load dump.rdb --target redis://127.0.0.1:6380 --jobs 8 \\
    --set output.replay.keyExists=ignore
  gunyu rdb-load dump.rdb --target redis://127.0.0.1:6380/3 \\
    --set 'output.filter.keyFilter.prefixKeyWhitelist=[\"user:\"]'
  gunyu rdb-load dump.rdb --target redis+cluster://10.0.0.1:6379 \\
    --set output.replay.dbOnCluster=merge
  zcat dump.rdb.gz | gunyu rdb-load - --target redis://127.0.0.1:6380

Exit codes: 0 loaded, 1 it failed (the file is broken, the target refused something), 2 usage or configuration, 130 interrupted.")]
pub struct Args {
    /// The file, or - for stdin
    file: PathBuf,
    /// Target, as redis://[user[:password]@]host:port[/db], or redis+cluster://host:port,host:port; with /db all keys go into that database
    #[arg(long, value_name = "URL")]
    target: Option<String>,
    /// Configuration file (YAML), of which output counts
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set any key of the configuration by its dotted path; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Connections to the target; output.replay.connections otherwise
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    jobs: Option<u32>,
    /// Print the outcome as JSON; draw no progress
    #[arg(long)]
    json: bool,
    /// Draw no progress
    #[arg(long, short)]
    quiet: bool,
    /// Trace on stderr what is going on, as log.level says
    #[arg(long, short)]
    verbose: bool,
}

/// A file is read in pieces of this size.
const CHUNK_BYTES: usize = 1 << 20;

/// So many of them are read ahead.
const CHUNKS_AHEAD: usize = 4;

/// Loads.
///
/// # Errors
/// See the exit codes above.
pub fn run(args: &Args) -> Result<(), Failure> {
    let config = configuration(args)?;
    let mut log = config.log.clone();
    if !args.verbose {
        log.level = Level::Warn;
    }
    traces::init(&log)?;
    for note in &config.notes {
        tracing::warn!("{note}");
    }
    let runtime = sync::runtime()?;
    let mut settings = runtime.block_on(settings(args, &config))?;
    if let Some(jobs) = args.jobs {
        settings.connections = jobs as usize;
    }
    let (input, total) = open(&args.file)?;
    let began = Instant::now();
    let loaded = runtime.block_on(load(args, settings, input, total));
    // A read from a pipe may block for ever: it must not keep a process alive that is done.
    runtime.shutdown_timeout(Duration::from_millis(200));
    tell(args, &loaded?, began.elapsed())
}

fn configuration(args: &Args) -> Result<Config, Failure> {
    let given = ConfigArgs {
        config: args.config.clone(),
        source: None,
        target: args.target.clone(),
        set: args.set.clone(),
    };
    let mut config = given.check_target()?;
    config.refuse_unbuilt_target()?;
    config.read_target_tls()?;
    Ok(config)
}

async fn settings(args: &Args, config: &Config) -> Result<load::Settings, Failure> {
    let redis = &config.output.redis;
    let is_one = redis.addresses.len() == 1 || redis.kind != RedisKind::Standalone;
    let Some(mut place) = settings::place(config, redis).filter(|_| is_one) else {
        let message = "a file is loaded into one server, and output.redis.addresses has several";
        let hint = "name the one with --target URL".to_owned();
        return Err(Failure::new(Exit::Usage, message).with_hint(Some(hint)));
    };
    // The same for the same file: what an interrupted loading left under staged names goes when it is done again.
    let number = match std::fs::canonicalize(&args.file) {
        Ok(path) => BuildHasherDefault::<DefaultHasher>::default().hash_one(path),
        // Of stdin nobody knows whether it is the same again.
        Err(_) => fastrand::u64(..),
    };
    let name = format!("rdb-load-{number:016x}");
    let target = supervisor::found(&mut place).await?;
    settings::load(config, target, &name).map_err(|error| settings::wrong_filter(&error))
}

/// Opens the file; says how long it is, where that is known.
fn open(path: &Path) -> Result<(Box<dyn Read + Send>, Option<u64>), Failure> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin()), None));
    }
    let cannot = |error: io::Error| {
        Failure::new(Exit::Failed, format!("cannot read {}: {error}", path.display()))
            .with_hint(Some("name an RDB file, or - for stdin".to_owned()))
    };
    let file = File::open(path).map_err(cannot)?;
    let about = file.metadata().map_err(cannot)?;
    if about.is_dir() {
        return Err(cannot(io::ErrorKind::IsADirectory.into()));
    }
    Ok((Box::new(file), about.is_file().then_some(about.len())))
}

async fn load(
    args: &Args,
    settings: load::Settings,
    input: Box<dyn Read + Send>,
    total: Option<u64>,
) -> Result<Loaded, Failure> {
    let (give, chunks) = mpsc::channel(CHUNKS_AHEAD);
    tokio::task::spawn_blocking(move || read(input, &give));
    let shown = Arc::new(Shown::default());
    let mut bar = Download::new(
        How::on_stderr(args.quiet || args.json),
        &args.file.display().to_string(),
    );
    bar.begins(total);
    let mut ticks = tokio::time::interval(REDRAW_EVERY);
    let mut before = 0;
    let mut loading = std::pin::pin!(load::load(settings, chunks, Arc::clone(&shown)));
    loop {
        tokio::select! {
            biased;
            () = interrupted() => return Err(Failure::new(Exit::Interrupted, "interrupted").with_hint(Some(
                "a part of the file is loaded; run the command again to load it whole".to_owned(),
            ))),
            ended = &mut loading => return ended.map_err(|error| failure(&error)),
            _ = ticks.tick() => {
                let bytes = shown.bytes.load(Ordering::Relaxed);
                bar.received(bytes - before);
                before = bytes;
            }
        }
    }
}

/// Reads ahead, until nobody wants more.
fn read(mut input: Box<dyn Read + Send>, give: &mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let mut chunk = BytesMut::zeroed(CHUNK_BYTES);
        let read = match input.read(&mut chunk) {
            Ok(0) => return,
            Ok(read) => {
                chunk.truncate(read);
                Ok(chunk.freeze())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let failed = read.is_err();
        if give.blocking_send(read).is_err() || failed {
            return;
        }
    }
}

fn failure(error: &load::Error) -> Failure {
    // A wrong password or a missing permission is the command line's fault.
    let exit = match error {
        load::Error::Target(error) if error.is_denied() => Exit::Usage,
        _ => Exit::Failed,
    };
    Failure::new(exit, error.to_string()).with_hint(error.hint())
}

fn tell(args: &Args, loaded: &Loaded, took: Duration) -> Result<(), Failure> {
    let seconds = (took.as_secs_f64() * 1000.0).round() / 1000.0;
    if args.json {
        return print::json(&json!({
            "ok": true,
            "file": args.file,
            "rdb_version": loaded.version.to_string(),
            "bytes": loaded.bytes,
            "checked": loaded.checked,
            "keys": loaded.keys,
            "filtered": loaded.filtered,
            "expired": loaded.expired,
            "dead_letters": loaded.dead_letters,
            "seconds": seconds,
        }));
    }
    let mut text = format!(
        "{}: {} keys loaded of {} ({}), in {seconds:.1} s\n",
        args.file.display(),
        HumanCount(loaded.keys),
        HumanBytes(loaded.bytes),
        loaded.version,
    );
    for (count, what) in [
        (loaded.filtered, "left out by the filter"),
        (loaded.expired, "had expired"),
        (
            loaded.dead_letters,
            "commands were refused: see the dead-letter file",
        ),
    ] {
        if count > 0 {
            text.push_str(&format!("  {} {what}\n", HumanCount(count)));
        }
    }
    print::text(&text)
}
