//! `gunyu rdb-dump`: an RDB file of a running daemon's newest snapshot.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use indicatif::HumanBytes;
use serde_json::json;

use super::calls::query;
use super::client::{Daemon, ServerArgs};
use super::progress::{How, download_bar};
use super::{Exit, Failure, print};

/// Write an input's newest snapshot to an RDB file
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Downloads the newest whole snapshot that the daemon keeps of an input. It is as old as the last full sync: `gunyu fullsync --inputs ADDR --wait` \
makes a new one. The file appears whole or not at all, and redis-check-rdb and redis-server read it.

Examples:
  gunyu rdb-dump --input 10.0.0.1:6379 --output dump.rdb
  gunyu rdb-dump --output - > dump.rdb

Exit codes: 0 written, 1 it failed, 3 no daemon answers, 5 the daemon has no snapshot, or refuses.")]
pub struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// The input, by its source address (host:port); may be left out where there is only one
    #[arg(long, value_name = "ADDR")]
    input: Option<String>,
    /// The file to write, or - for stdout
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Print the outcome as JSON; draw no progress
    #[arg(long)]
    json: bool,
    /// Draw no progress
    #[arg(long, short)]
    quiet: bool,
}

/// Downloads.
///
/// # Errors
/// As [`Daemon::download`]; 1 where the file cannot be written.
pub fn run(args: &Args) -> Result<(), Failure> {
    let daemon = Daemon::find(&args.server)?;
    let path = match &args.input {
        Some(input) => query("/storage/rdb", &[("input", input)]),
        None => "/storage/rdb".to_owned(),
    };
    let bar = download_bar(How::on_stderr(args.quiet || args.json));
    if args.output == Path::new("-") {
        if args.json {
            return Err(Failure::new(
                Exit::Usage,
                "stdout takes the dump, or the outcome as JSON, not both",
            ));
        }
        let written = daemon.download(&path, &mut bar.wrap_write(io::stdout().lock()));
        bar.finish_and_clear();
        return written.map(|_| ());
    }
    let bytes = write_whole(&args.output, |file| {
        daemon.download(&path, &mut bar.wrap_write(file))
    });
    bar.finish_and_clear();
    let (bytes, file) = (bytes?, args.output.display());
    match args.json {
        true => print::json(&json!({ "ok": true, "file": args.output, "bytes": bytes })),
        false => print::text(&format!("{file}: {}\n", HumanBytes(bytes))),
    }
}

/// Writes beside the file, makes it durable, and gives it its name: it appears whole or not at all. Only its owner may read it: it holds
/// everybody's data.
fn write_whole(path: &Path, write: impl FnOnce(&mut File) -> Result<u64, Failure>) -> Result<u64, Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let cannot = |error: io::Error| {
        Failure::new(Exit::Failed, format!("cannot write {}: {error}", path.display())).with_hint(Some(
            "choose a folder that exists and may be written with --output".to_owned(),
        ))
    };
    let mut part = tempfile::Builder::new()
        .prefix(".gunyu-")
        .suffix(".rdb.part")
        .tempfile_in(folder)
        .map_err(cannot)?;
    let bytes = write(part.as_file_mut())?;
    part.as_file_mut()
        .flush()
        .and_then(|()| part.as_file().sync_all())
        .map_err(cannot)?;
    part.persist(path).map_err(|error| cannot(error.error))?;
    Ok(bytes)
}
