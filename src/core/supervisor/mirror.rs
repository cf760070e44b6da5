//! Between the shards of one cluster that different processes lead: what is told of a stream, and what is heard of it.
//!
//! Owns the passing on, from [`Crossings`] to the [`Board`] that followers read, and back from what a leader says. Leaves what it means to
//! [`crate::core::pipeline::crossing`].

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::group::Membership;
use crate::core::log::Log;
use crate::core::peer::{Board, Heard, Standing};
use crate::core::pipeline::crossing::{Crossings, mirrored};
use crate::core::position::Position;

/// So often it is looked whether a leader is to be told that all begin anew.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A leader takes it in within this time, or is told again.
const TELL_LIMIT: Duration = Duration::from_secs(2);

/// Puts on the board what those that follow are to know, for ever.
pub(super) async fn tell(crossings: &Crossings, name: &str, board: &Board) {
    let mut changes = crossings.changes();
    loop {
        changes.borrow_and_update();
        let told = crossings.told_of(name);
        board.set_windows(&told.windows);
        board.set_waits_for(told.waits_for.as_deref());
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Takes in what the leader says, for ever. `is_exact`: what the target has confirmed is recorded there at the same moment.
pub(super) async fn hear(
    crossings: &Crossings,
    name: &str,
    (log, is_exact): (&Log, bool),
    mut heard: watch::Receiver<Heard>,
) {
    loop {
        {
            let now = heard.borrow_and_update();
            if let Some(standing) = &now.standing {
                // A leader that is not heard any more may wait for something else by now, or for nothing.
                let waits_for = standing.waits_for.as_ref().filter(|_| now.is_linked);
                let copied = log.snapshot().map(|snapshot| snapshot.position);
                crossings.hear(
                    name,
                    &mirrored::Heard {
                        is_exact,
                        waits_for: waits_for.map(|one| (one.input.as_str(), one.since)),
                        windows: &now.windows,
                        snapshot: copied.or_else(|| of_leader(log, standing)),
                    },
                );
            }
        }
        if heard.changed().await.is_err() {
            return;
        }
    }
}

/// Where the snapshot stands that a leader with its log in memory is restoring: what is copied of such a log begins there, or before it.
fn of_leader(log: &Log, standing: &Standing) -> Option<Position> {
    if !standing.is_copying || log.resumable() {
        return None;
    }
    let (history, extent, _) = log.look()?;
    Some(Position {
        id: history.id,
        offset: extent.start,
    })
}

/// Tells the leader of a shard that it must begin anew, where whoever leads another has found that out, for ever.
pub(super) async fn pass_entangled(
    crossings: &Crossings,
    name: &str,
    group: &Membership,
    leader: &watch::Receiver<Option<String>>,
) {
    loop {
        sleep(LOOK_EVERY).await;
        if !crossings.takes_entangled(name) {
            continue;
        }
        let now = leader.borrow().clone();
        let is_told = match now {
            Some(leader) => {
                let call = ("POST", "/peer/entangle");
                let began = Instant::now();
                let told = group.ask(&leader, call, &[("input", name)], TELL_LIMIT).await;
                if let Err(error) = &told {
                    tracing::debug!(%error, name, waited_ms = began.elapsed().as_millis(), "the leader could not be told to begin anew");
                }
                told.is_ok()
            }
            None => false,
        };
        crossings.has_told_entangled(name, is_told);
    }
}
