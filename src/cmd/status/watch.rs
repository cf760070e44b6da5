//! `gunyu status --watch`: asks the daemon every second and shows what it says, until interrupted.
//!
//! A daemon that has answered once may go away: it is waited for. One that has never answered is a failure.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::super::client::Daemon;
use super::super::{Exit, Failure, print};
use super::pace::Pace;
use super::screen::{Screen, Terminal};
use super::table::{self, Line, Page, Tone};
use super::words::{self, harmless, wrapped};
use super::{PATH, inputs};
use crate::http::model::InputStatus;

const EVERY: Duration = Duration::from_secs(1);

/// Watches until interrupted, or until nobody reads.
///
/// # Errors
/// The daemon has never answered (3), refuses (5), or we were interrupted on a terminal (130).
pub(super) fn run(daemon: Daemon, json: bool) -> Result<(), Failure> {
    match Terminal::of_stdout().filter(|_| !json) {
        None => lines(&daemon, json),
        Some(terminal) => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("cannot start the runtime")?;
            let ended = runtime.block_on(on_screen(Arc::new(daemon), terminal));
            // A call that is still under way must not hold up whoever has pressed Ctrl-C.
            runtime.shutdown_background();
            ended
        }
    }
}

/// A table, or the JSON, every second.
fn lines(daemon: &Daemon, json: bool) -> Result<(), Failure> {
    let mut view = View::default();
    loop {
        let said = view.note(daemon.get(PATH))?;
        let text = match said {
            Said::Status(value) if json => format!("{value}\n"),
            Said::Status(value) => view.plain(value)?,
            // Programs read JSON or nothing.
            Said::Away(_) if json => String::new(),
            Said::Away(away) => format!("{away}\n"),
        };
        if !print::bytes(text.as_bytes())? {
            return Ok(());
        }
        std::thread::sleep(EVERY);
    }
}

/// Everything that interrupts the wait for the next look.
struct Signals {
    resized: Signal,
    ends: [Signal; 3],
}

impl Signals {
    fn listen() -> io::Result<Signals> {
        Ok(Signals {
            resized: signal(SignalKind::window_change())?,
            ends: [
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            ],
        })
    }
}

/// What happened first.
enum Event {
    Ended,
    Resized,
    Answered(Result<Value, Failure>),
}

async fn on_screen(daemon: Arc<Daemon>, terminal: Terminal) -> Result<(), Failure> {
    let mut signals = Signals::listen().context("cannot handle signals")?;
    let mut view = View::default();
    let mut screen = None;
    let mut asking = Box::pin(ask(daemon.clone(), Duration::ZERO));
    loop {
        let [interrupted, terminated, hung_up] = &mut signals.ends;
        // The wish to end goes first; a resize is rare and redraws what is known.
        let event = tokio::select! {
            biased;
            _ = interrupted.recv() => Event::Ended,
            _ = terminated.recv() => Event::Ended,
            _ = hung_up.recv() => Event::Ended,
            _ = signals.resized.recv() => Event::Resized,
            answer = &mut asking => Event::Answered(answer),
        };
        match event {
            Event::Ended => {
                drop(screen);
                // Whoever interrupts knows that they did: no word about it.
                return Err(Failure::new(Exit::Interrupted, ""));
            }
            Event::Resized => {}
            Event::Answered(answer) => {
                match view.note(answer)? {
                    Said::Status(value) => view.see(inputs(value)?),
                    Said::Away(_) => {}
                }
                asking = Box::pin(ask(daemon.clone(), EVERY));
                if screen.is_none() {
                    screen = Some(Screen::enter().context("cannot write to stdout")?);
                }
            }
        }
        if let Some(screen) = &screen {
            let drawn = screen.draw(&view.page(terminal), terminal.has_colours());
            drawn.context("cannot write to stdout")?;
        }
    }
}

/// Waits, then asks. The call blocks, so it has a thread of its own.
async fn ask(daemon: Arc<Daemon>, after: Duration) -> Result<Value, Failure> {
    tokio::time::sleep(after).await;
    tokio::task::spawn_blocking(move || daemon.get(PATH))
        .await
        .context("the call to the daemon was given up")?
}

/// What the daemon said.
enum Said {
    Status(Value),
    /// Nothing; in words.
    Away(String),
}

/// What is known of the daemon.
struct View {
    started: Instant,
    /// Whether it has ever answered.
    has_answered: bool,
    /// Why it does not answer, and since when; gone as soon as it does.
    away: Option<(String, String)>,
    inputs: Vec<InputStatus>,
    pace: Pace,
}

impl Default for View {
    fn default() -> View {
        View {
            started: Instant::now(),
            has_answered: false,
            away: None,
            inputs: Vec::new(),
            pace: Pace::default(),
        }
    }
}

impl View {
    /// Takes an answer in. Only a daemon that has answered before may be away.
    fn note(&mut self, answer: Result<Value, Failure>) -> Result<Said, Failure> {
        match answer {
            Ok(value) => {
                self.has_answered = true;
                self.away = None;
                Ok(Said::Status(value))
            }
            // A connection that broke in the middle of an answer (exit code 1) is a daemon that goes away as well.
            Err(failure) if self.has_answered && matches!(failure.exit, Exit::Unreachable | Exit::Failed) => {
                let since = self.away.take().map_or_else(words::clock, |(_, since)| since);
                self.away = Some((failure.message, since));
                Ok(Said::Away(self.away().unwrap_or_default()))
            }
            Err(failure) => Err(failure),
        }
    }

    fn away(&self) -> Option<String> {
        let (message, since) = self.away.as_ref()?;
        Some(format!("{}, since {since}", harmless(message)))
    }

    fn see(&mut self, inputs: Vec<InputStatus>) {
        self.pace.observe(self.started.elapsed(), &inputs);
        self.inputs = inputs;
    }

    fn plain(&mut self, value: Value) -> anyhow::Result<String> {
        self.see(inputs(value)?);
        Ok(table::plain(&self.inputs, &self.pace))
    }

    /// What is to be drawn now. Of a daemon that is away, nothing that was known before is shown: it may have changed.
    fn page(&self, terminal: Terminal) -> Vec<Line> {
        let size = terminal.size();
        if let Some(away) = self.away() {
            let lines = wrapped(&away, size.width, 2).into_iter().take(size.height);
            return lines
                .map(|text| Line {
                    text,
                    tone: Tone::Trouble,
                })
                .collect();
        }
        let page = Page {
            width: size.width,
            height: Some(size.height),
            clock: words::clock(),
        };
        table::view(&self.inputs, &self.pace, &page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreachable() -> Result<Value, Failure> {
        Err(Failure::new(Exit::Unreachable, "no daemon answers at http://h:1"))
    }

    #[test]
    fn only_a_daemon_that_has_answered_may_be_away() {
        let mut view = View::default();
        assert!(
            view.note(unreachable())
                .is_err_and(|failure| failure.exit == Exit::Unreachable)
        );
        assert!(view.note(Ok(Value::Null)).is_ok());
        let Ok(Said::Away(first)) = view.note(unreachable()) else {
            panic!("it is waited for");
        };
        assert!(
            first.starts_with("no daemon answers at http://h:1, since "),
            "{first}"
        );
        assert!(view.note(Ok(Value::Null)).is_ok() && view.away().is_none());
        let refused = Err(Failure::new(Exit::Refused, "wrong token"));
        assert!(
            view.note(refused)
                .is_err_and(|failure| failure.exit == Exit::Refused)
        );
    }

    #[test]
    fn a_daemon_stays_away_since_it_went() {
        let mut view = View {
            away: Some(("x".into(), "12:03:40".into())),
            has_answered: true,
            ..View::default()
        };
        assert!(view.note(unreachable()).is_ok());
        assert!(view.away().unwrap().ends_with("since 12:03:40"));
    }
}
