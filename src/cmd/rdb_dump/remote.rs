//! A download of a daemon's newest snapshot.

use std::path::Path;

use indicatif::HumanBytes;
use serde_json::json;

use super::{Args, until_interrupted};
use crate::cmd::calls::query;
use crate::cmd::client::Daemon;
use crate::cmd::file::{self, Out};
use crate::cmd::progress::{Download, How};
use crate::cmd::{Exit, Failure, print};

/// Downloads.
///
/// # Errors
/// As [`Daemon::download`]; 1 where the file cannot be written.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let daemon = Daemon::find(&args.server)?;
    let path = match &args.input {
        Some(input) => query("/storage/rdb", &[("input", input)]),
        None => "/storage/rdb".to_owned(),
    };
    let how = How::on_stderr(args.quiet || args.json);
    let shown = Download::new(how, args.input.as_deref().unwrap_or("the daemon"));
    if args.is_to_stdout() {
        return until_interrupted(args, download(daemon, path, file::stdout()?, shown)).map(|_| ());
    }
    let output = args.output.clone();
    let bytes = until_interrupted(args, async move {
        let (unnamed, out) = file::create(&output, "--output")?;
        let bytes = download(daemon, path, out, shown).await?;
        file::name(vec![unnamed])?;
        Ok(bytes)
    })?;
    tell(args.json, &args.output, bytes)
}

/// The client waits without a runtime, so it gets a thread.
async fn download(daemon: Daemon, path: String, mut out: Out, mut shown: Download) -> Result<u64, Failure> {
    let downloading = tokio::task::spawn_blocking(move || {
        let bytes = daemon.download(&path, &mut shown.of_written(&mut out))?;
        out.finish()?;
        Ok(bytes)
    });
    let ended = downloading.await;
    ended.map_err(|error| Failure::new(Exit::Failed, format!("the download ended badly: {error}")))?
}

fn tell(json: bool, file: &Path, bytes: u64) -> Result<(), Failure> {
    match json {
        true => print::json(&json!({ "ok": true, "file": file, "bytes": bytes })),
        false => print::text(&format!("{}: {}\n", file.display(), HumanBytes(bytes))),
    }
}
