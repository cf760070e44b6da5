//! Ctrl-C and SIGTERM, for commands that clean up and then end with 130.

use tokio::signal::unix::{SignalKind, signal};

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
