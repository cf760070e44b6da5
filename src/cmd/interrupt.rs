//! Ctrl-C and SIGTERM, for commands that clean up and then end with 130.

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use super::{Exit, Failure};

/// Waits until the process is asked to end. Where signals cannot be heard it waits for ever, and they end the process as they always did.
pub(super) async fn interrupted() {
    let streams = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = streams else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Does blocking work, unless the process is asked to end first: then the work is left alone, and `so_far` says what became of it.
///
/// # Errors
/// That of the work; 130.
pub(super) fn unless_interrupted<T: Send + 'static>(
    so_far: &str,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start")?;
    let ended = runtime.block_on(async {
        let working = tokio::task::spawn_blocking(work);
        tokio::select! {
            biased;
            () = interrupted() => Err(Failure::new(Exit::Interrupted, "interrupted").with_hint(Some(so_far.to_owned()))),
            ended = working => ended.unwrap_or_else(|error| {
                Err(Failure::new(Exit::Failed, format!("the work ended badly: {error}")))
            }),
        }
    });
    // Work that waits for stdin would be waited for.
    runtime.shutdown_background();
    ended
}
