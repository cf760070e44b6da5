//! Traces: where diagnostics go, how they look, and how their files are rotated.
//!
//! Owns the set-up of `tracing` from `log.*` of the configuration. The standard stream is stderr: stdout belongs to what a command prints.
//! Promises that no trace holds a registered secret, whoever wrote it: see [`redact`].

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::{Arc, Mutex};

use file_rotate::compression::Compression;
use file_rotate::suffix::{AppendCount, AppendTimestamp, FileLimit};
use file_rotate::{ContentLimit, FileRotate};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use super::config::{Format, Level, Log, LogFile};
use super::{progress, redact};

type Boxed = Box<dyn Layer<Registry> + Send + Sync>;

/// Sets up tracing for the process. Later calls change nothing.
///
/// # Errors
/// The folder of the trace file cannot be made.
pub fn init(log: &Log) -> anyhow::Result<()> {
    let mut layers: Vec<Boxed> = Vec::new();
    if log.stdout {
        layers.push(layer(
            log,
            progress::stderr,
            std::io::IsTerminal::is_terminal(&io::stderr()),
        ));
    }
    if let Some(file) = &log.file {
        let writer = SharedFile::open(file)?;
        layers.push(layer(log, move || writer.clone(), false));
    }
    // A second set-up happens in tests only.
    let _ = tracing_subscriber::registry().with(layers).try_init();
    Ok(())
}

fn layer<W>(log: &Log, writer: W, ansi: bool) -> Boxed
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let is_json = log.format == Format::Json;
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(Scrubbing {
            inner: writer,
            is_json,
        })
        .with_ansi(ansi)
        .with_target(log.with_module_name)
        .with_file(log.with_caller)
        .with_line_number(log.with_caller);
    match log.format {
        Format::Json => layer.json().with_filter(filter(log.level)).boxed(),
        Format::Text => layer.with_filter(filter(log.level)).boxed(),
    }
}

/// `GUNYU_TRACE` (in the syntax of `tracing`'s `EnvFilter`) is for developers; otherwise the level holds for everything of ours.
fn filter(level: Level) -> EnvFilter {
    let level = match level {
        Level::Trace => LevelFilter::TRACE,
        Level::Debug => LevelFilter::DEBUG,
        Level::Info => LevelFilter::INFO,
        Level::Warn => LevelFilter::WARN,
        Level::Error | Level::Panic | Level::Fatal => LevelFilter::ERROR,
    };
    let own = EnvFilter::new(format!("warn,gunyu={level}"));
    EnvFilter::try_from_env("GUNYU_TRACE").unwrap_or(own)
}

/// Writers that mask what is secret. `tracing` hands over each trace whole, in one write.
struct Scrubbing<W> {
    inner: W,
    is_json: bool,
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Scrubbing<W> {
    type Writer = Scrubbing<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Scrubbing {
            inner: self.inner.make_writer(),
            is_json: self.is_json,
        }
    }
}

impl<W: Write> Write for Scrubbing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let clean = if self.is_json {
            redact::scrub_json(&text)
        } else {
            redact::scrub(&text)
        };
        self.inner.write_all(clean.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A file that rotates by size, shared by all who trace.
#[derive(Clone)]
struct SharedFile(Arc<Mutex<dyn Write + Send>>);

impl SharedFile {
    fn open(file: &LogFile) -> anyhow::Result<SharedFile> {
        use anyhow::Context;
        if let Some(folder) = file.name.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder {} for traces", folder.display()))?;
        }
        let size = ContentLimit::BytesSurpassed((file.max_size_mb.max(1) as usize) << 20);
        let backups = if file.max_backups == 0 {
            usize::MAX
        } else {
            file.max_backups as usize
        };
        // For the owner and his group, who collects them: they name hosts and keys' fates, never values.
        let mut options = OpenOptions::new();
        options.read(true).create(true).append(true).mode(0o640);
        let writer: Arc<Mutex<dyn Write + Send>> = if file.max_age_days > 0 {
            let age = FileLimit::Age(chrono_days(file.max_age_days));
            let suffix = AppendTimestamp::default(age);
            Arc::new(Mutex::new(FileRotate::new(
                &file.name,
                suffix,
                size,
                Compression::None,
                Some(options),
            )))
        } else {
            let suffix = AppendCount::new(backups);
            Arc::new(Mutex::new(FileRotate::new(
                &file.name,
                suffix,
                size,
                Compression::None,
                Some(options),
            )))
        };
        Ok(SharedFile(writer))
    }
}

fn chrono_days(days: u32) -> chrono::Duration {
    chrono::Duration::days(i64::from(days))
}

impl Write for SharedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .flush()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn nobody_but_the_owner_and_his_group_can_read_the_traces() {
        let folder = tempfile::tempdir().unwrap();
        for (name, max_age_days) in [("by-count", 0), ("by-age", 1)] {
            let file = LogFile {
                name: folder.path().join(name),
                max_size_mb: 1,
                max_backups: 1,
                max_age_days,
            };
            SharedFile::open(&file).unwrap().write_all(b"trace\n").unwrap();
            let mode = std::fs::metadata(&file.name).unwrap().permissions().mode();
            assert_eq!(mode & 0o137, 0, "{name}: {mode:o}");
        }
    }
}
