//! `gunyu rdb-dump`: an RDB file, of a running server by the replication protocol, or of a running daemon's newest snapshot.

mod local;
mod node;
mod patience;
mod remote;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::client::ServerArgs;
use super::interrupt::interrupted;
use super::{ConfigArgs, Exit, Failure, sync};

/// Write a snapshot to an RDB file: a running server's own, or a daemon's newest
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
With --source (or --local --config) it takes the snapshot here, as a replica of the server would, and lets go of the server when it is whole. \
Every byte is checked on its way. A cluster is dumped by its masters, all at the same time, one file for each: with --output dump.rdb they are \
dump-HOST-PORT.rdb. A server that cannot be reached, or is loading, is tried again for --patience seconds.

Otherwise it downloads the newest whole snapshot that the daemon keeps of an input. That is as old as the last full sync: \
`gunyu fullsync --inputs ADDR --wait` makes a new one.

A file appears whole or not at all, only its owner may read it, and redis-check-rdb and redis-server read it.

Examples:
  gunyu rdb-dump --source redis://10.0.0.1:6379 --output dump.rdb
  gunyu rdb-dump --source redis+cluster://10.0.0.1:6379,10.0.0.2:6379 \\
    --output dump.rdb
  GUNYU_SOURCE_PASSWORD=... gunyu rdb-dump --source redis://10.0.0.1:6379 \\
    --output - | gzip > dump.rdb.gz
  gunyu rdb-dump --input 10.0.0.1:6379 --output dump.rdb

Exit codes: 0 written, 1 it failed, 2 usage or configuration (a wrong password of the server included), 3 no daemon answers, \
5 the daemon has no snapshot, or refuses, 130 interrupted.")]
pub struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// Take the snapshot here, of input.redis in --config, instead of asking a daemon
    #[arg(long, conflicts_with_all = OF_DAEMON)]
    local: bool,
    /// The server to take it of here, as redis://[user[:password]@]host:port, or redis+cluster://host:port,host:port
    #[arg(long, value_name = "URL", conflicts_with_all = OF_DAEMON)]
    source: Option<String>,
    /// Set any key of the configuration by its dotted path, for a snapshot taken here; may be repeated
    #[arg(long, value_name = "KEY=VALUE", conflicts_with_all = OF_DAEMON)]
    set: Vec<String>,
    /// The daemon's input, by its source address (host:port); may be left out where there is only one
    #[arg(long, value_name = "ADDR")]
    input: Option<String>,
    /// The file to write, or - for stdout
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Give up when nothing has come of the server for so long
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

/// What is about a daemon.
const OF_DAEMON: [&str; 4] = ["server", "token", "ca_cert", "input"];

/// Dumps.
///
/// # Errors
/// See the exit codes above.
pub fn run(args: &Args) -> Result<(), Failure> {
    if args.json && args.is_to_stdout() {
        return Err(Failure::new(
            Exit::Usage,
            "stdout takes the dump, or the outcome as JSON, not both",
        ));
    }
    if args.local || args.source.is_some() || !args.set.is_empty() {
        return local::run(args);
    }
    remote::run(args)
}

impl Args {
    fn is_to_stdout(&self) -> bool {
        self.output == Path::new("-")
    }

    fn given(&self) -> ConfigArgs {
        ConfigArgs {
            config: self.server.config.clone(),
            source: self.source.clone(),
            target: None,
            set: self.set.clone(),
        }
    }
}

/// Runs what is to be done, unless the process is asked to end: then it is dropped where it is, and with it every file that has no name yet.
fn until_interrupted<T>(args: &Args, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = sync::runtime()?;
    let hint = match args.is_to_stdout() {
        true => "what has gone to stdout is not whole; run the command again",
        false => "no file was written; run the command again",
    };
    let result = runtime.block_on(async {
        tokio::select! {
            biased;
            () = interrupted() => {
                Err(Failure::new(Exit::Interrupted, "interrupted").with_hint(Some(hint.to_owned())))
            }
            result = work => result,
        }
    });
    // Whatever still blocks (a disk, a reader of stdout, a name server) must not keep a process alive that is done.
    runtime.shutdown_timeout(Duration::from_millis(200));
    result
}
