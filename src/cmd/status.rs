//! `gunyu status`: how far a running daemon is.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::Context;
use indicatif::{HumanBytes, HumanCount};

use super::Failure;
use super::client::{Daemon, ServerArgs};
use crate::http::model::InputStatus;

/// Show how far a running daemon is
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  gunyu status
  gunyu status --watch
  gunyu status --json | jq '.[].LagBytes'

Exit codes: 0 shown, 3 no daemon answers, 5 the daemon refuses.")]
pub struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// Print the daemon's JSON as it is
    #[arg(long)]
    json: bool,
    /// Redraw every second until interrupted
    #[arg(long, short)]
    watch: bool,
}

/// Shows the status once, or again and again.
///
/// # Errors
/// As [`Daemon::get`].
pub fn run(args: &Args) -> Result<(), Failure> {
    let daemon = Daemon::find(&args.server)?;
    loop {
        let value = daemon.get("/syncer/status")?;
        let text = if args.json {
            format!("{value}\n")
        } else {
            let inputs: Vec<InputStatus> = serde_json::from_value(value)
                .context("the daemon's status is not of a kind this gunyu knows")?;
            table(&inputs)
        };
        if !print(&text, args.watch)? {
            return Ok(());
        }
        if !args.watch {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Writes to stdout; false where nobody reads any more.
fn print(text: &str, redraw: bool) -> anyhow::Result<bool> {
    let mut out = io::stdout().lock();
    let clear = if redraw && out.is_terminal() {
        "\x1b[H\x1b[2J"
    } else {
        ""
    };
    match write!(out, "{clear}{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("cannot write to stdout"),
        Ok(()) => Ok(true),
    }
}

/// A table of at most 80 columns, with a line below an input that has something to tell.
fn table(inputs: &[InputStatus]) -> String {
    let mut text = format!(
        "{:<21} {:<21} {:<6} {:<11} {:>9} {:>7}\n",
        "INPUT", "TARGET", "STATE", "PHASE", "LAG", "LAG ms"
    );
    for input in inputs {
        text.push_str(&format!(
            "{:<21} {:<21} {:<6} {:<11} {:>9} {:>7}\n",
            shortened(&input.input, 21),
            shortened(&input.target, 21),
            shortened(&input.state, 6),
            input.phase,
            HumanBytes(input.lag_bytes).to_string().replace(' ', ""),
            input.lag_ms
        ));
        for line in remarks(input) {
            text.push_str(&format!("  {line}\n"));
        }
    }
    text
}

fn remarks(input: &InputStatus) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(full_sync) = input.full_sync.as_ref().filter(|_| input.phase == "full_sync") {
        lines.push(format!(
            "full sync ({}): {}%, {} keys, {} of {}",
            full_sync.reason,
            full_sync.percent,
            HumanCount(full_sync.keys),
            HumanBytes(full_sync.bytes),
            HumanBytes(full_sync.total_bytes)
        ));
    }
    if let Some(error) = input
        .last_error
        .as_ref()
        .filter(|_| input.phase != "incremental" && input.phase != "full_sync")
    {
        lines.push(format!("error: {}", error.message));
        if !error.hint.is_empty() {
            lines.push(format!("hint: {}", error.hint));
        }
    }
    if input.dead_letters > 0 {
        lines.push(format!(
            "{} commands in the dead-letter file",
            HumanCount(input.dead_letters)
        ));
    }
    lines
}

/// The end of a text that is too long: of `host:port` the port tells most.
fn shortened(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return text.to_owned();
    }
    let tail: String = text.chars().skip(count - width + 1).collect();
    format!("…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::model::{LastError, Offsets};

    fn input() -> InputStatus {
        InputStatus {
            input: "127.0.0.1:6379".into(),
            role: "leader".into(),
            transaction: true,
            state: "run".into(),
            phase: "backoff".into(),
            target: "a-host-with-a-long-name.example.org:6380".into(),
            offset: Offsets {
                source: 10,
                received: 10,
                applied: 5,
                checkpoint: 5,
            },
            lag_bytes: 12_345_678,
            lag_ms: 1_234,
            full_sync: None,
            last_error: Some(LastError {
                at: 0,
                message: "the target is away".into(),
                hint: "bring it back".into(),
            }),
            dead_letters: 2,
            leader: "me".into(),
        }
    }

    #[test]
    fn a_row_fits_eighty_columns_and_troubles_stand_below_it() {
        let text = table(&[input()]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].chars().count() <= 80 && lines[1].chars().count() <= 80,
            "{text}"
        );
        assert!(lines[1].contains("…") && lines[1].contains("org:6380"), "{text}");
        assert_eq!(
            &lines[2..],
            [
                "  error: the target is away",
                "  hint: bring it back",
                "  2 commands in the dead-letter file"
            ]
        );
    }
}
