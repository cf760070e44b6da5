//! How far a file has been read: a bar on a terminal, a line every few seconds otherwise.
//!
//! What is over within those few seconds says nothing where there is no terminal.

use std::io::Write;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressStyle};

use crate::cmd::progress::{self, How, LINE_EVERY};

/// What is shown. What was drawn goes away with it.
#[derive(Debug)]
pub(super) struct Progress {
    how: How,
    name: String,
    bar: ProgressBar,
    total: Option<u64>,
    bytes: u64,
    keys: u64,
    /// When a line was last said, and how many bytes had been read by then.
    said: (Instant, u64),
}

impl Progress {
    pub(super) fn new(how: How, name: &str, total: Option<u64>) -> Progress {
        let bar = match how {
            How::Bars => progress::add(ProgressBar::no_length()),
            How::Lines | How::Not => ProgressBar::hidden(),
        };
        let template = match total {
            Some(total) => {
                bar.set_length(total);
                "{spinner} {prefix} [{bar:24}] {percent:>3}% {bytes}/{total_bytes} {bytes_per_sec} eta {eta} {msg}"
            }
            None => "{spinner} {prefix} {bytes} read, {bytes_per_sec} {msg}",
        };
        let style = ProgressStyle::with_template(template).expect("the template is a literal");
        bar.set_style(style.progress_chars("=> "));
        bar.set_prefix(name.to_owned());
        Progress {
            how,
            name: name.to_owned(),
            bar,
            total,
            bytes: 0,
            keys: 0,
            said: (Instant::now(), 0),
        }
    }

    /// So many more bytes have been read.
    pub(super) fn read(&mut self, bytes: u64) {
        self.bytes += bytes;
        match self.how {
            How::Bars => self.bar.inc(bytes),
            How::Lines => self.say_when_due(),
            How::Not => {}
        }
    }

    /// So many keys have been dealt with.
    pub(super) fn keys(&mut self, keys: u64) {
        self.keys = keys;
        if self.how == How::Bars {
            self.bar.set_message(format!("{} keys", HumanCount(keys)));
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn say_when_due(&mut self) {
        let (at, before) = self.said;
        let since = at.elapsed();
        if since < LINE_EVERY {
            return;
        }
        let rate = (self.bytes - before) as f64 / since.as_secs_f64();
        // Nobody reads a progress line that cannot be written.
        let _ = writeln!(progress::stderr(), "{}", self.line(rate));
        self.said = (Instant::now(), self.bytes);
    }

    /// `rate` is in bytes a second.
    fn line(&self, rate: f64) -> String {
        let (name, keys) = (&self.name, HumanCount(self.keys));
        let speed = format!("{}/s", HumanBytes(rate as u64));
        let Some(total) = self.total.filter(|total| *total > 0) else {
            return format!("{name}: {} read, {keys} keys, {speed}", HumanBytes(self.bytes));
        };
        let percent = self.bytes.saturating_mul(100) / total;
        let left = Duration::from_secs_f64(total.saturating_sub(self.bytes) as f64 / rate.max(1.0));
        format!(
            "{name}: {percent}% of {}, {keys} keys, {speed}, {} left",
            HumanBytes(total),
            HumanDuration(left)
        )
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_what_is_known() {
        let mib = 1 << 20;
        for (total, expected) in [
            (None, "a.rdb: 1.00 MiB read, 7 keys, 1.00 MiB/s"),
            (
                Some(4 * mib),
                "a.rdb: 25% of 4.00 MiB, 7 keys, 1.00 MiB/s, 3 seconds left",
            ),
        ] {
            let mut progress = Progress::new(How::Lines, "a.rdb", total);
            progress.read(mib);
            progress.keys(7);
            assert_eq!(progress.line(mib as f64), expected);
        }
    }
}
