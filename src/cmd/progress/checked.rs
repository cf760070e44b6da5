//! Keys that are compared: a bar on a terminal, a line every few seconds otherwise.

use std::io::Write as _;
use std::sync::atomic::Ordering;
use std::time::Instant;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use super::{AboveBars, BARS, How, LINE_EVERY};
use crate::core::verify::{Shown, Stage};

/// Shows how far a comparison is. What was drawn goes away with it.
#[derive(Debug)]
pub struct Checked {
    how: How,
    bar: ProgressBar,
    /// When a line was last said, and how many keys had been met by then.
    said: (Instant, u64),
}

impl Checked {
    /// One that has not begun.
    #[must_use]
    pub fn new(how: How) -> Checked {
        let bar = match how {
            How::Bars => BARS.add(ProgressBar::no_length()),
            How::Lines | How::Not => ProgressBar::hidden(),
        };
        let template =
            "{spinner} {prefix} [{bar:24}] {percent:>3}% {human_pos}/{human_len} keys {per_sec} {msg}";
        let style = ProgressStyle::with_template(template).expect("the template is a literal");
        bar.set_style(style.progress_chars("=> "));
        Checked {
            how,
            bar,
            said: (Instant::now(), 0),
        }
    }

    /// Shows how far it is now.
    pub fn show(&mut self, shown: &Shown) {
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let candidates = read(&shown.candidates);
        let (met, total) = match shown.stage() {
            Stage::Source | Stage::Target => (read(&shown.met), read(&shown.total)),
            Stage::Settling => (read(&shown.settled), candidates),
        };
        let stage = stage(shown.stage());
        match self.how {
            How::Not => {}
            How::Bars => {
                self.bar.set_prefix(stage);
                match total {
                    0 => self.bar.unset_length(),
                    total => self.bar.set_length(total.max(met)),
                }
                self.bar.set_position(met);
                self.bar
                    .set_message(format!("{} to be looked at again", HumanCount(candidates)));
            }
            How::Lines => {
                let (at, before) = self.said;
                let since = at.elapsed();
                if since < LINE_EVERY {
                    return;
                }
                let rate = met.saturating_sub(before) as f64 / since.as_secs_f64();
                // Nobody reads a progress line that cannot be written.
                let _ = writeln!(AboveBars, "{}", line(stage, met, total, rate as u64, candidates));
                self.said = (Instant::now(), met);
            }
        }
    }
}

impl Drop for Checked {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Source => "source",
        Stage::Target => "target",
        Stage::Settling => "settling",
    }
}

/// `rate` is in keys a second.
fn line(stage: &str, met: u64, total: u64, rate: u64, candidates: u64) -> String {
    let part = match total {
        // Nobody knows how many there are.
        0 => format!("{} keys", HumanCount(met)),
        total => {
            let percent = (met.saturating_mul(100) / total).min(100);
            format!("{percent}% of {} keys", HumanCount(total))
        }
    };
    format!(
        "{stage}: {part}, {} keys/s, {} to be looked at again",
        HumanCount(rate),
        HumanCount(candidates)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_how_far_it_is() {
        assert_eq!(
            line("source", 1_000, 4_000, 500, 3),
            "source: 25% of 4,000 keys, 500 keys/s, 3 to be looked at again"
        );
        assert_eq!(
            line("target", 1_000, 0, 500, 3),
            "target: 1,000 keys, 500 keys/s, 3 to be looked at again"
        );
    }
}
