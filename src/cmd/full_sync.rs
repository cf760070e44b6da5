//! `gunyu fullsync`: a one-shot migration here, or a forced full sync by a running daemon.

mod local;
mod remote;

use super::calls::GivenArgs;
use super::client::ServerArgs;
use super::{Exit, Failure};
use crate::core::pipeline::orders::FlushCommand;

/// Copy everything anew: a one-shot migration, or a forced full sync by a running daemon
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
With --source and --target (or --local --config) it runs here: it copies the source, follows it until the target has caught up with \
what the source had written when the copy was complete, and ends. The log is kept in a temporary folder, unless \
channel.storer.dirPath says where. The checkpoint stays on the target, so that `gunyu sync` with the same addresses goes on from \
there; with --snapshot-only nothing of gunyu's stays.

Otherwise it asks the running daemon for a full sync of --inputs; the other inputs go on as they were.

Examples:
  gunyu fullsync --source redis://10.0.0.1:6379 \\
    --target redis://10.0.0.2:6379
  gunyu fullsync --local --config gunyu.yaml --flushdb --json
  gunyu fullsync --inputs all --wait
  gunyu fullsync --inputs 10.0.0.1:6379 --flushdb \\
    --server http://10.0.0.5:18001

Exit codes: 0 done (from a daemon without --wait: begun), 1 it failed, 2 usage or configuration, 3 no daemon answers, \
5 the daemon refuses, 130 interrupted.")]
pub struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// Run here, with --config, instead of asking a daemon
    #[arg(long)]
    local: bool,
    /// Source to copy here, as redis://[user[:password]@]host:port, rediss://… for TLS, redis+cluster://host:port,host:port or
    /// redis+sentinel://host:port,…/mastername; with /db only that database is copied
    #[arg(long, value_name = "URL", conflicts_with_all = ["server", "wait"])]
    source: Option<String>,
    /// Target to copy to here, in the same forms; with /db all databases go into that one
    #[arg(long, value_name = "URL", conflicts_with_all = ["server", "wait"])]
    target: Option<String>,
    /// Set any key of the configuration by its dotted path, for a copy made here; may be repeated
    #[arg(long, value_name = "KEY=VALUE", conflicts_with_all = ["server", "wait"])]
    set: Vec<String>,
    /// What the daemon is to copy: `all`, or source addresses (host:port) between commas
    #[arg(long, value_name = "all|ADDR,…")]
    inputs: Option<String>,
    /// Empty the target's databases that are fed, first
    #[arg(long)]
    flushdb: bool,
    /// What FLUSHDB is called on the target, where it was renamed
    #[arg(long, value_name = "NAME", requires = "flushdb")]
    flush_command: Option<String>,
    /// Follow the daemon's progress until the stream is live
    #[arg(long, conflicts_with = "local")]
    wait: bool,
    /// End after the snapshot, and leave nothing of gunyu's on the target
    #[arg(long, conflicts_with_all = ["server", "wait"])]
    snapshot_only: bool,
    /// Give up when nothing has moved for so long
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    patience: u64,
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

/// Runs the command.
///
/// # Errors
/// See the exit codes above.
pub fn run(args: &Args) -> Result<(), Failure> {
    let here = args.local || args.snapshot_only || args.source.is_some() || args.target.is_some();
    if here || !args.set.is_empty() {
        if args.inputs.is_some() {
            let message = "--inputs asks a running daemon, and --local, --source, --target, --set and --snapshot-only copy here";
            let hint = "leave --inputs away to copy all of it here; or leave the others away, and name the daemon by --server or --config";
            return Err(Failure::new(Exit::Usage, message).with_hint(Some(hint.to_owned())));
        }
        return local::run(args);
    }
    remote::run(args)
}

impl Args {
    fn given(&self) -> GivenArgs {
        GivenArgs {
            source: self.source.clone(),
            target: self.target.clone(),
            set: self.set.clone(),
        }
    }

    /// The command that empties a database, where that is asked for.
    fn flush(&self) -> Result<Option<FlushCommand>, Failure> {
        let named = self.flush_command.as_deref().map(FlushCommand::named);
        let named = named.transpose().map_err(|error| {
            Failure::new(Exit::Usage, format!("--flush-command: {error}"))
                .with_hint(Some("write the name that FLUSHDB has on the target".to_owned()))
        })?;
        Ok(self.flushdb.then(|| named.unwrap_or_default()))
    }
}
