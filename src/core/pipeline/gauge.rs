//! The source's own offset and the nodes of its shard, asked for once a second on a connection of its own: a gauge, so that the lag is that behind
//! the source and not only behind what has been received.

use std::sync::Arc;
use std::time::Duration;

use crate::core::net::Endpoint;
use crate::core::progress::Progress;
use crate::core::survey::{self, Source};
use crate::core::topology::Place;

const ASK_EVERY: Duration = Duration::from_secs(1);

/// Asks for ever; the caller ends it. Where the source cannot be asked the gauge stands still, and the link says why.
pub async fn watch(mut place: Place, progress: Arc<Progress>) {
    loop {
        let endpoint = place.known().await;
        let asked = tokio::select! {
            biased;
            () = place.changed() => continue,
            asked = ask_while_it_answers(&endpoint, &progress) => asked,
        };
        if let Err(error) = asked {
            tracing::debug!(%error, "the source's offset could not be read");
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

async fn ask_while_it_answers(endpoint: &Endpoint, progress: &Progress) -> Result<(), survey::Error> {
    let mut source = Source::connect(endpoint).await?;
    loop {
        let info = source.info().await?;
        if let Some(offset) = info.offset {
            progress.set_source_offset(offset);
        }
        progress.set_source_is_replica(info.is_replica);
        progress.set_shard(info.shard);
        tokio::time::sleep(ASK_EVERY).await;
    }
}
