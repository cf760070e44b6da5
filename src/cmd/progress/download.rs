//! One snapshot on its way into a file: a bar on a terminal, a line every few seconds otherwise.
//!
//! What is over within those few seconds says nothing where there is no terminal.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressStyle};

use super::{AboveBars, BARS, How, LINE_EVERY, REDRAW_EVERY};

/// Shows how far a download is. What was drawn goes away with it.
#[derive(Debug)]
pub struct Download {
    how: How,
    from: String,
    bar: ProgressBar,
    /// In bytes, where the sender knows it.
    total: Option<u64>,
    bytes: u64,
    /// When a line was last said, and how many bytes had come by then.
    said: (Instant, u64),
}

impl Download {
    /// One of which nothing has come yet.
    #[must_use]
    pub fn new(how: How, from: &str) -> Download {
        let bar = match how {
            How::Bars => BARS.add(ProgressBar::no_length()),
            How::Lines | How::Not => ProgressBar::hidden(),
        };
        bar.set_style(style("{spinner} {prefix} waiting for the snapshot"));
        bar.set_prefix(from.to_owned());
        if how == How::Bars {
            bar.enable_steady_tick(REDRAW_EVERY);
        }
        Download {
            how,
            from: from.to_owned(),
            bar,
            total: None,
            bytes: 0,
            said: (Instant::now(), 0),
        }
    }

    /// It begins, and is so long, where the sender knows it.
    pub fn begins(&mut self, total: Option<u64>) {
        self.total = total;
        self.bar.reset_eta();
        let Some(total) = total else {
            return self
                .bar
                .set_style(style("{spinner} {prefix} {bytes} received, {bytes_per_sec}"));
        };
        self.bar.set_length(total);
        let filling =
            "{spinner} {prefix} [{bar:24}] {percent:>3}% {bytes}/{total_bytes} {bytes_per_sec} eta {eta}";
        self.bar.set_style(style(filling).progress_chars("=> "));
    }

    /// So many more bytes have come.
    pub fn received(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.bar.inc(bytes);
        self.say_when_due();
    }

    /// To be called now and then while nothing comes.
    pub fn say_when_due(&mut self) {
        let (at, before) = self.said;
        let since = at.elapsed();
        if self.how != How::Lines || since < LINE_EVERY {
            return;
        }
        let rate = (self.bytes - before) as f64 / since.as_secs_f64();
        // Nobody reads a progress line that cannot be written.
        let _ = writeln!(AboveBars, "{}", line(&self.from, self.bytes, self.total, rate));
        self.said = (Instant::now(), self.bytes);
    }

    /// `out`, with what is written to it shown.
    pub fn of_written<'a>(&'a mut self, out: &'a mut dyn Write) -> impl Write + 'a {
        Written { download: self, out }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

struct Written<'a> {
    download: &'a mut Download,
    out: &'a mut dyn Write,
}

impl Write for Written<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        if self.download.bytes == 0 {
            self.download.begins(None);
        }
        self.download.received(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is a literal")
}

/// `rate` is in bytes a second.
fn line(from: &str, bytes: u64, total: Option<u64>, rate: f64) -> String {
    if bytes == 0 {
        return format!("{from}: waiting for the snapshot");
    }
    let speed = format!("{}/s", HumanBytes(rate as u64));
    let Some(total) = total.filter(|total| *total > 0) else {
        return format!("{from}: {} received, {speed}", HumanBytes(bytes));
    };
    let percent = bytes.saturating_mul(100) / total;
    let left = match rate >= 1.0 {
        true => {
            let seconds = total.saturating_sub(bytes) as f64 / rate;
            format!(", {} left", HumanDuration(Duration::from_secs_f64(seconds)))
        }
        false => String::new(),
    };
    format!("{from}: {percent}% of {}, {speed}{left}", HumanBytes(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_what_is_known() {
        let mib = 1 << 20;
        for (bytes, total, rate, expected) in [
            (0, Some(mib), 0.0, "a:1: waiting for the snapshot"),
            (
                3 * mib,
                None,
                2.0 * mib as f64,
                "a:1: 3.00 MiB received, 2.00 MiB/s",
            ),
            (
                mib,
                Some(4 * mib),
                mib as f64,
                "a:1: 25% of 4.00 MiB, 1.00 MiB/s, 3 seconds left",
            ),
            (mib, Some(4 * mib), 0.0, "a:1: 25% of 4.00 MiB, 0 B/s"),
        ] {
            assert_eq!(line("a:1", bytes, total, rate), expected);
        }
    }
}
