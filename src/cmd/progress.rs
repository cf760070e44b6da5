//! What a person sees while long work runs: a bar for each input on a terminal, a line now and then otherwise.
//!
//! Owns the terminal's last lines. Traces are written above them, through [`stderr`]. What is shown comes as status, of pipelines in this
//! process and of a daemon's alike.

mod checked;
mod download;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, HumanDuration, MultiProgress, ProgressBar, ProgressStyle};

use crate::core::supervisor::Handle;
use crate::http::model::{FullSync, InputStatus};

pub use checked::Checked;
pub use download::Download;

static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Bars are redrawn this often.
pub const REDRAW_EVERY: Duration = Duration::from_millis(250);

/// Between two lines where there is no terminal.
pub const LINE_EVERY: Duration = Duration::from_secs(5);

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

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// A bar for each input, redrawn.
    Bars,
    /// A line for each input every few seconds, and when one goes on to something else.
    Lines,
    /// Not at all.
    Not,
}

impl How {
    /// Bars on a terminal, lines elsewhere, nothing where it was asked for.
    #[must_use]
    pub fn on_stderr(quiet: bool) -> How {
        match (quiet, io::stderr().is_terminal()) {
            (true, _) => How::Not,
            (false, true) => How::Bars,
            (false, false) => How::Lines,
        }
    }
}

/// Shows how far some inputs are.
#[derive(Debug)]
pub struct Display {
    how: How,
    bars: BTreeMap<String, ProgressBar>,
    lines: BTreeMap<String, Line>,
}

/// What was last said of an input.
#[derive(Debug)]
struct Line {
    at: Instant,
    phase: String,
    bytes: u64,
}

impl Display {
    /// Shows nothing yet.
    #[must_use]
    pub fn new(how: How) -> Display {
        Display {
            how,
            bars: BTreeMap::new(),
            lines: BTreeMap::new(),
        }
    }

    /// Shows where these inputs are now.
    pub fn show(&mut self, inputs: &[InputStatus]) {
        for input in inputs {
            match self.how {
                How::Bars => fill(self.bars.entry(input.input.clone()).or_insert_with(bar), input),
                How::Lines => self.say(input),
                How::Not => {}
            }
        }
    }

    /// Clears what was drawn.
    pub fn finish(&self) {
        self.bars.values().for_each(ProgressBar::finish_and_clear);
    }

    fn say(&mut self, input: &InputStatus) {
        let now = Instant::now();
        let bytes = input.full_sync.as_ref().map_or(0, |one| one.bytes);
        let last = self.lines.get(&input.input);
        if last.is_some_and(|last| last.phase == input.phase && now - last.at < LINE_EVERY) {
            return;
        }
        let since = last.filter(|last| last.phase == input.phase);
        let rate = since.map(|last| bytes.saturating_sub(last.bytes) as f64 / (now - last.at).as_secs_f64());
        // Nobody reads a progress line that cannot be written.
        let _ = writeln!(AboveBars, "{}", line(input, rate));
        let said = Line {
            at: now,
            phase: input.phase.clone(),
            bytes,
        };
        self.lines.insert(input.input.clone(), said);
    }
}

/// Draws a bar for each input of the daemon until it is asked to stop. Does nothing where stderr is no terminal: there the
/// traces tell what changes.
pub async fn draw(handle: Handle, quiet: bool) {
    if How::on_stderr(quiet) != How::Bars {
        return;
    }
    let mut display = Display::new(How::Bars);
    let redraw = async {
        let mut ticks = tokio::time::interval(REDRAW_EVERY);
        loop {
            ticks.tick().await;
            display.show(&statuses(&handle));
        }
    };
    tokio::select! {
        () = redraw => {}
        () = handle.stopping() => {}
    }
    display.finish();
}

/// The status of every input in this process.
#[must_use]
pub fn statuses(handle: &Handle) -> Vec<InputStatus> {
    handle.inputs().iter().map(InputStatus::of).collect()
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

fn fill(bar: &ProgressBar, input: &InputStatus) {
    bar.set_prefix(format!("{} -> {}", input.input, input.target));
    match full_sync(input) {
        Some(one) if one.total_bytes > 0 => {
            bar.set_style(filling());
            bar.set_length(one.total_bytes);
            bar.set_position(one.bytes);
            bar.set_message(format!("{} keys", HumanCount(one.keys)));
        }
        Some(one) => {
            bar.set_style(spinner());
            bar.set_message(format!(
                "full sync, {} keys, {} received",
                HumanCount(one.keys),
                HumanBytes(one.received_bytes)
            ));
        }
        None => {
            bar.set_style(spinner());
            bar.set_message(live(input));
        }
    }
    bar.tick();
}

fn full_sync(input: &InputStatus) -> Option<&FullSync> {
    input.full_sync.as_ref().filter(|_| input.phase == "full_sync")
}

/// One line; `rate` is in bytes of the snapshot a second.
fn line(input: &InputStatus, rate: Option<f64>) -> String {
    let pair = format!("{} -> {}", input.input, input.target);
    let Some(one) = full_sync(input) else {
        return format!("{pair}: {}", live(input));
    };
    if one.received_bytes == 0 {
        return format!("{pair}: full sync, waiting for the source's snapshot");
    }
    let of = if one.total_bytes > 0 {
        format!("{}% of {}", one.percent, HumanBytes(one.total_bytes))
    } else {
        format!("{} received", HumanBytes(one.received_bytes))
    };
    let rate = rate.filter(|rate| *rate >= 1.0);
    let left = one.total_bytes.saturating_sub(one.bytes) as f64;
    let speed = rate.map_or(String::new(), |rate| {
        let eta = if one.total_bytes > 0 {
            format!(", {} left", HumanDuration(Duration::from_secs_f64(left / rate)))
        } else {
            String::new()
        };
        format!(", {}/s{eta}", HumanBytes(rate as u64))
    });
    format!("{pair}: full sync, {of}, {} keys{speed}", HumanCount(one.keys))
}

/// An input that is not in a full sync.
fn live(input: &InputStatus) -> String {
    if let Some(error) = input.last_error.as_ref().filter(|_| input.phase == "backoff") {
        return format!("{}: {}", input.phase, error.message);
    }
    let waiting = match input.lag_ms {
        0 => String::new(),
        ms => format!(" ({})", HumanDuration(Duration::from_millis(ms))),
    };
    format!(
        "{}, offset {}, {} behind{waiting}",
        input.phase,
        input.offset.applied,
        HumanBytes(input.lag_bytes)
    )
}

/// A bar among those that traces step around.
#[must_use]
pub fn add(bar: ProgressBar) -> ProgressBar {
    BARS.add(bar)
}
