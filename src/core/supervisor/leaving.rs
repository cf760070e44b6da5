//! Shards that leave a cluster: their pipelines end when the target has all that they ever said.
//!
//! What a shard said last may be lost, where it left while no gunyu ran, or where its nodes went before they were heard. Then deletions may be among it, and
//! only full syncs of the others take away what is nobody's. Owns the waiting, and the finding out.

use std::time::Duration;

use tokio::sync::mpsc;

use super::group::Membership;
use super::input::Input;
use super::shards::{Change, DRAINED};
use crate::core::catalog::{self, Catalog};
use crate::core::net::Endpoint;
use crate::core::pipeline::crossing::Crossings;
use crate::core::position::Position;
use crate::core::survey::Source;
use crate::core::topology::Watcher;

/// Pipelines of shards that are not there, and of which the target has not all: a log says that one has run.
pub(super) fn unheard(
    catalog: &Catalog,
    is_gone: impl Fn(&str) -> bool,
) -> Result<Vec<String>, catalog::Error> {
    let mut found = Vec::new();
    for name in catalog.pipelines()?.into_iter().filter(|name| is_gone(name)) {
        if !catalog.drained(&name)? && catalog.log(&name)?.is_some() {
            found.push(name);
        }
    }
    Ok(found)
}

/// A shard that leaves, and who is to know of it.
pub(super) struct Departure {
    /// Where its stream was when its master was last asked.
    pub(super) last: Option<Position>,
    pub(super) crossings: Crossings,
    pub(super) catalog: Option<Catalog>,
    pub(super) group: Option<Membership>,
}

impl Departure {
    /// Whether another member has drained it.
    fn is_seen_to(&self, input: &Input) -> bool {
        let seen = self.group.as_ref().and_then(Membership::seen);
        seen.is_some_and(|view| view.notes.contains_key(&format!("{DRAINED}{}", input.name())))
    }

    /// The target has all that could still be had.
    async fn is_over(&self, input: &Input) {
        let received = input.progress.ladder().received;
        let is_heard = |last: Position| input.is_of(&last) && received >= last.offset;
        if self.last.is_some_and(|last| !is_heard(last)) {
            tracing::warn!(
                name = input.name(),
                "a shard has left before all of it was heard: all begin anew"
            );
            self.crossings.begin_anew();
        }
        let name = [input.name().to_owned()];
        let noted = self
            .catalog
            .as_ref()
            .map(|catalog| catalog.set_drained(&name, true));
        if let Some(Err(error)) = noted {
            tracing::error!(%error, hint = error.hint(), "that a shard has left could not be written down");
        }
        if let Some(group) = &self.group
            && let Err(error) = group
                .put_note(&format!("{DRAINED}{}", input.name()), group.me())
                .await
        {
            tracing::warn!(%error, "the other members could not be told that a shard was drained");
        }
    }
}

/// A source that has left is listened to for so long without a word.
const LAST_WORD: Duration = Duration::from_secs(3);

/// So often it is looked whether everything is applied.
const DRAIN_LOOK: Duration = Duration::from_millis(100);

/// Waits until the target has everything that the source had when it left, as far as it can still be had.
pub(super) async fn drain(watcher: Watcher, input: Input, departure: Departure, tell: mpsc::Sender<Change>) {
    let last = match watcher.last() {
        Some(source) => last_position(&source).await,
        None => None,
    };
    // A node that follows another shard by now counts by that one's history.
    let goal = last.filter(|last| input.is_of(last)).map(|last| last.offset);
    let mut received = input.progress.ladder().received;
    let mut since = tokio::time::Instant::now();
    loop {
        if !input.is_led() {
            // Whoever leads it sees to it that all of it is heard. Where nobody does any more, somebody takes it over.
            if departure.is_seen_to(&input) {
                break;
            }
            since = tokio::time::Instant::now();
        }
        let ladder = input.progress.ladder();
        if ladder.received > received {
            (received, since) = (ladder.received, tokio::time::Instant::now());
        }
        let all_received = goal.is_some_and(|goal| ladder.received >= goal) || since.elapsed() > LAST_WORD;
        if input.is_led()
            && all_received
            && ladder.checkpointed >= ladder.appended.min(goal.unwrap_or(ladder.appended))
        {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(DRAIN_LOOK) => {}
            () = tell.closed() => return,
        }
    }
    if input.is_led() {
        departure.is_over(&input).await;
    }
    let _ = tell.send(Change::Ends(input.name().to_owned())).await;
    // Only now nobody looks after the place any more.
    drop(watcher);
}

async fn last_position(source: &Endpoint) -> Option<Position> {
    let asked = async { Source::connect(source).await?.info().await };
    let info = asked.await.ok()?;
    Some(Position {
        id: info.history?.id,
        offset: info.offset?,
    })
}
