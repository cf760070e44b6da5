//! What a person sees while long work runs: a bar on a terminal, a line now and then otherwise.
//!
//! Owns the terminal's last line. Traces are written above it, through [`stderr`].

use std::io::{self, IsTerminal, Write};
use std::sync::LazyLock;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, HumanDuration, MultiProgress, ProgressBar, ProgressStyle};

use crate::core::progress::{Phase, Status};
use crate::core::supervisor::{Handle, Input};

static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// The bar is redrawn this often.
const REDRAW_EVERY: Duration = Duration::from_millis(250);

/// Stderr for traces: the bars step aside while a line is written.
#[must_use]
pub fn stderr() -> impl Write {
    AboveBars
}

struct AboveBars;

impl Write for AboveBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        BARS.suspend(|| io::stderr().lock().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Draws a line for each input until the handle is asked to stop. Does nothing where stderr is no terminal: there the
/// traces tell what changes.
pub async fn draw(handle: Handle, quiet: bool) {
    if quiet || !io::stderr().is_terminal() {
        return;
    }
    let bars: Vec<(Input, ProgressBar)> = handle.inputs().into_iter().map(|input| (input, bar())).collect();
    let redraw = async {
        let mut ticks = tokio::time::interval(REDRAW_EVERY);
        loop {
            ticks.tick().await;
            for (input, bar) in &bars {
                show(bar, input);
            }
        }
    };
    tokio::select! {
        () = redraw => {}
        () = handle.stopping() => {}
    }
    bars.iter().for_each(|(_, bar)| bar.finish_and_clear());
}

fn bar() -> ProgressBar {
    let bar = BARS.add(ProgressBar::no_length());
    bar.set_style(spinner());
    bar
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix} {msg}").expect("the template is a literal")
}

fn filling() -> ProgressStyle {
    ProgressStyle::with_template(
        "{spinner} {prefix} [{bar:24}] {percent:>3}% {bytes}/{total_bytes} {bytes_per_sec} eta {eta} {msg}",
    )
    .expect("the template is a literal")
    .progress_chars("=> ")
}

fn show(bar: &ProgressBar, input: &Input) {
    let status = input.progress.status();
    bar.set_prefix(format!("{} -> {}", input.source, input.target));
    match (status.phase, &status.full_sync) {
        (Phase::FullSync, Some(full_sync)) => {
            if let Some(total) = full_sync.total_bytes {
                bar.set_style(filling());
                bar.set_length(total);
                bar.set_position(full_sync.replayed_bytes);
            }
            bar.set_message(format!(
                "full sync, {} keys, {} received",
                HumanCount(full_sync.keys),
                HumanBytes(full_sync.received_bytes)
            ));
        }
        _ => {
            bar.set_style(spinner());
            bar.set_message(line(&status));
        }
    }
    bar.tick();
}

/// One line for an input that is not in a full sync.
fn line(status: &Status) -> String {
    let behind = format!("{} behind", HumanBytes(status.lag_bytes));
    let waiting = if status.lag.is_zero() {
        String::new()
    } else {
        format!(" ({})", HumanDuration(status.lag))
    };
    format!(
        "{}, offset {}, {behind}{waiting}",
        status.phase.as_str(),
        status.ladder.applied
    )
}
