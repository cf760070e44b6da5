//! `gunyu verify`: whether source and target hold the same.
//!
//! Owns the options, the progress and the exit code. What is compared and when a difference is sure is [`crate::core::verify`]'s; how it is told, [`told`]'s.

mod told;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tempfile::TempDir;

use super::config::{self, Config, Level};
use super::interrupt::interrupted;
use super::progress::{Checked, How, REDRAW_EVERY};
use super::{ConfigArgs, Exit, Failure, file, settings, sync, traces};
use crate::core::verify::{self, Compare, Outcome, Repair, Settings, Shown};

/// Sentinels, or a cluster, say within this time where the servers are.
const FIND_LIMIT: Duration = Duration::from_secs(10);

/// Compare source and target, while a daemon syncs them or not
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Every key of the source is looked for on the target, and every key of the target on the source, as the configuration maps databases and filters keys. Give the \
configuration that gunyu sync has: its checkpoint is found by it. Where a sync is running, whatever differs is looked at again after the target has what the \
source had said by then, so that writes in flight are no difference; a key that changes whenever it is looked at is told apart and counts as none.

What is compared: existence; or type, which adds types and times of expiry; or length, which adds the length of each value; or value, which adds the values \
themselves, fields that expire and streams with their groups among them.

--differences writes an object a line: db (of the target), key, kind (missing, extra, type, length, value, field_ttl, ttl), source and target.

Examples:
  gunyu verify --source redis://10.0.0.1:6379 --target redis://10.0.0.2:6379
  gunyu verify --config gunyu.yaml --compare value --rate 20000
  gunyu verify --config gunyu.yaml --sample 0.01 --compare value --json
  gunyu verify --config gunyu.yaml --match 'user:*' --differences diff.jsonl
  gunyu verify --config gunyu.yaml --compare value --repair --dry-run

Exit codes: 0 no key is known to differ (after --repair: any more), 1 it failed, or a server does not say what it has, 2 usage or configuration, 4 source and target differ, 130 interrupted.")]
pub struct Args {
    #[command(flatten)]
    given: ConfigArgs,
    /// How much is compared; each includes those before it
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = CompareArg::Length)]
    compare: CompareArg,
    /// Times of expiry that are no farther apart are the same
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    ttl_tolerance: Duration,
    /// Only this part of the keys, chosen by their names: the same on both sides
    #[arg(long, value_name = "FRACTION", value_parser = fraction)]
    sample: Option<f64>,
    /// Only keys like this, as SCAN MATCH has it
    #[arg(long = "match", value_name = "GLOB")]
    pattern: Option<String>,
    /// At most so many keys a second
    #[arg(long, value_name = "KEYS", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// Look at what differs so often again at most
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Take a checkpoint that does not move for so long for one that nobody writes
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    patience: u64,
    /// Write the keys that differ to this file, a JSON object a line
    #[arg(long, value_name = "FILE")]
    differences: Option<PathBuf>,
    /// Copy what differs anew from the source, while the stream goes on, and look at it again; keys that the source does not have are removed where
    /// output.replay.staleKeys has a full sync delete them: if it is auto, in databases that were empty at the first sync, and if no other sync uses the target
    #[arg(long)]
    repair: bool,
    /// With --repair: only say what would be done
    #[arg(long, requires = "repair")]
    dry_run: bool,
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

/// How much is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum CompareArg {
    /// Whether each key is there
    Existence,
    /// Its type and its expiry as well
    Type,
    /// The length of its value as well
    Length,
    /// The value itself as well
    Value,
}

impl CompareArg {
    fn name(self) -> &'static str {
        match self {
            CompareArg::Existence => "existence",
            CompareArg::Type => "type",
            CompareArg::Length => "length",
            CompareArg::Value => "value",
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    config::duration(text).ok_or_else(|| "write a number with a unit, as in 500ms or 2s".to_owned())
}

fn fraction(text: &str) -> Result<f64, String> {
    let part = text.parse().ok().filter(|part| *part > 0.0 && *part <= 1.0);
    part.ok_or_else(|| "write a number above 0 and up to 1, as in 0.01".to_owned())
}

/// Compares.
///
/// # Errors
/// See the exit codes above.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mut config = args.given.check()?;
    config.refuse_unbuilt()?;
    config.read_tls()?;
    let mut log = config.log.clone();
    if !args.verbose {
        log.level = Level::Warn;
    }
    traces::init(&log)?;
    for note in &config.notes {
        tracing::warn!("{note}");
    }
    // Before the work: a file that cannot be written is told at once.
    let differences = args
        .differences
        .as_deref()
        .map(|path| file::create(path, "--differences"))
        .transpose()?;
    let folder = own_folder().context("cannot make a temporary folder for what differs")?;
    let runtime = sync::runtime()?;
    let began = Instant::now();
    let compared = runtime.block_on(compare(args, &config, &folder));
    runtime.shutdown_timeout(Duration::from_millis(200));
    let (outcome, pairs) = compared?;
    if let Some((unnamed, mut out)) = differences {
        told::write_all(&outcome, &mut out)?;
        out.finish()?;
        file::name(vec![unnamed])?;
    }
    let only = settings::one_database(&config);
    told::tell(args, &outcome, &pairs, began.elapsed(), only.as_deref())?;
    match outcome.different() {
        0 if outcome.unknown > 0 => Err(Failure::new(
            Exit::Failed,
            format!(
                "{} keys are not known: look at CLUSTER NODES, and run it again",
                outcome.unknown
            ),
        )),
        0 => Ok(()),
        // What differs has been told on stdout.
        _ => Err(Failure::new(Exit::Differ, "")),
    }
}

/// For this user alone: names of keys will be in it.
fn own_folder() -> std::io::Result<TempDir> {
    tempfile::Builder::new()
        .prefix("gunyu-verify-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir()
}

/// Which source is compared with which target.
type Pairs = Vec<(String, String)>;

async fn compare(args: &Args, config: &Config, folder: &TempDir) -> Result<(Outcome, Pairs), Failure> {
    let sources = settings::sources(config).map_err(|error| settings::wrong_filter(&error))?;
    let pipelines = sources.find(FIND_LIMIT).await?;
    let pair = |one: &crate::core::pipeline::Settings| {
        let source = one.source.endpoint.address.to_string();
        (source, one.target.endpoint.address.to_string())
    };
    let pairs = pipelines.iter().map(pair).collect();
    let settings = Settings {
        pipelines,
        compare: match args.compare {
            CompareArg::Existence => Compare::Existence,
            CompareArg::Type => Compare::Type,
            CompareArg::Length => Compare::Length,
            CompareArg::Value => Compare::Value,
        },
        ttl_tolerance_ms: i64::try_from(args.ttl_tolerance.as_millis()).unwrap_or(i64::MAX),
        sample: args.sample,
        pattern: args.pattern.as_ref().map(|pattern| pattern.as_bytes().to_vec()),
        keys_per_sec: args.rate,
        rounds: args.rounds,
        patience: Duration::from_secs(args.patience),
        repair: match (args.repair, args.dry_run) {
            (false, _) => Repair::No,
            (true, true) => Repair::Dry,
            (true, false) => Repair::Do,
        },
        folder: folder.path().to_owned(),
    };
    let shown = Arc::new(Shown::default());
    let mut display = Checked::new(How::on_stderr(args.quiet || args.json));
    let mut ticks = tokio::time::interval(REDRAW_EVERY);
    let mut comparing = std::pin::pin!(verify::verify(settings, Arc::clone(&shown)));
    loop {
        tokio::select! {
            biased;
            () = interrupted() => {
                return Err(Failure::new(Exit::Interrupted, "interrupted"));
            }
            ended = &mut comparing => {
                return ended.map(|outcome| (outcome, pairs)).map_err(|error| failure(&error));
            }
            _ = ticks.tick() => display.show(&shown),
        }
    }
}

fn failure(error: &verify::Error) -> Failure {
    // A wrong password or a missing permission is the command line's fault.
    let exit = match error.is_denied() {
        true => Exit::Usage,
        false => Exit::Failed,
    };
    Failure::new(exit, error.to_string()).with_hint(error.hint())
}
