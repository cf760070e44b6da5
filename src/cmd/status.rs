//! `gunyu status`: how far a running daemon is, once or over and over.
//!
//! Owns what is fetched, how often, and how it ends. What it looks like is [`table`]'s, the terminal [`screen`]'s.

mod pace;
mod screen;
mod table;
mod wait;
mod watch;
mod words;

use anyhow::Context;
use serde_json::Value;

use super::calls::GivenArgs;
use super::client::{Daemon, ServerArgs};
use super::{Failure, print, survey};
use crate::http::model::InputStatus;
use pace::Pace;
use screen::Terminal;
use table::Page;

/// Show how far a running daemon is, or what stands on the servers
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
With --local no daemon is asked: the checkpoint is read on the target, the offset on the source.

Examples:
  gunyu status
  gunyu status --watch
  gunyu status --wait && gunyu verify --config gunyu.yaml
  gunyu status --local --config gunyu.yaml
  gunyu status --local --source redis://10.0.0.1:6379 \\
    --target redis://10.0.0.2:6379
  gunyu status --json | jq '.[].LagBytes'

On a terminal the inputs that need attention stand first. With --watch the view is redrawn every second and \
fits the window; Ctrl-C ends it. While the daemon is away, it says so and goes on watching.

Exit codes: 0 shown, 1 a server does not answer (--local), or an input has stopped (--wait), 2 the configuration is wrong, 3 no daemon answers (with --watch: none has ever answered), 5 the daemon refuses, \
130 interrupted.")]
pub struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// Print the daemon's JSON as it is
    #[arg(long)]
    json: bool,
    /// Redraw every second until interrupted
    #[arg(long, short, conflicts_with = "local")]
    watch: bool,
    /// Return when every input is live, or one has stopped (exit code 1); a daemon that does not answer is waited for half a minute
    #[arg(long, conflicts_with_all = ["local", "watch"])]
    wait: bool,
    /// Ask source and target of --config (or of --source and --target) instead of a daemon
    #[arg(long, conflicts_with = "server")]
    local: bool,
    #[command(flatten)]
    given: GivenArgs,
}

/// Shows the status once, or again and again.
///
/// # Errors
/// As [`Daemon::get`].
pub fn run(args: &Args) -> Result<(), Failure> {
    if args.local {
        let mut config = args.given.with_file(&args.server).check()?;
        config.refuse_unbuilt()?;
        config.read_tls()?;
        return survey::run(&config, args.json);
    }
    let daemon = Daemon::find(&args.server)?;
    if args.watch {
        return watch::run(daemon, args.json);
    }
    let value = match args.wait {
        true => wait::until_live(&daemon)?,
        false => daemon.get(PATH)?,
    };
    let text = if args.json {
        format!("{value}\n")
    } else {
        once(&inputs(value)?)
    };
    print::text(&text)
}

/// Whether stdout is a terminal that has colours, and they are wanted.
pub(super) fn has_colours() -> bool {
    Terminal::of_stdout().is_some_and(Terminal::has_colours)
}

const PATH: &str = "/syncer/status";

fn inputs(value: Value) -> anyhow::Result<Vec<InputStatus>> {
    serde_json::from_value(value).context("the daemon's status is not of a kind this gunyu knows")
}

/// The view of this moment: with a summary and colours on a terminal, plain elsewhere.
fn once(inputs: &[InputStatus]) -> String {
    let pace = Pace::default();
    let Some(terminal) = Terminal::of_stdout() else {
        return table::plain(inputs, &pace);
    };
    let page = Page {
        width: terminal.size().width,
        height: None,
        clock: words::clock(),
    };
    let lines = table::view(inputs, &pace, &page);
    let painted = lines
        .iter()
        .map(|line| line.painted(terminal.has_colours()) + "\n");
    painted.collect()
}
