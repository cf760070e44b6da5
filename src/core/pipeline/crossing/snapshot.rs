//! Full syncs of shards between which slots move: when a snapshot is asked for, and when it may be restored.
//!
//! What a snapshot holds of a slot that has just come from another shard is newer than what that one's stream, or its own snapshot, still has to say of
//! it. So the restoring waits until the target is with the others as far as what lies before the snapshot, where a slot has moved on that stretch; where
//! they wait for it as well, all begin anew. Snapshots are asked for only while no slot moves, so that this is rare.
//!
//! | since what the target has of the other shard | and the target is with it up to the snapshot | the restoring |
//! | --- | --- | --- |
//! | no slot has moved | - | goes on |
//! | one has | yes | goes on |
//! | one has | no | waits |

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::ticks::{Claim, Tick};
use super::windows::Windows;
use super::{CIRCLE, Crossings, Inner};
use crate::core::catalog::Durability;
use crate::core::command::SLOTS;
use crate::core::pipeline::shard::Slots;
use crate::core::position::{History, Offset, Position};

/// The slots must have been at rest for so long where they were not.
const REST: Duration = Duration::from_secs(1);

/// Masters that cannot be asked for so long may have any slots: what cannot be known is not waited for.
const BLIND_MAX: Duration = Duration::from_secs(10);

/// Slots that are on their way key by key for longer may have been left so: then the order is found while they move.
const RESTLESS_MAX: Duration = Duration::from_secs(60);

/// So often it is looked.
const POLL: Duration = Duration::from_millis(20);

/// A wait of that length is told.
const LONG: Duration = Duration::from_secs(3);

/// All shards must begin anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entangled;

impl Crossings {
    /// Waits until no slot moves, as a whole; key by key, for a minute at most. Cancel safe.
    pub async fn at_rest(&self) {
        let (began, mut told) = (Instant::now(), false);
        let before = self.inner().ticks.newest().map_or(0, |tick| tick.number);
        while !self.is_at_rest(before) && !self.is_restless(began) {
            if began.elapsed() > LONG && !told {
                told = true;
                tracing::info!("the full sync waits until no slot of the cluster moves");
            }
            self.0.hurry.notify_one();
            sleep(POLL).await;
        }
    }

    /// Whether what moves has done so for long, as an interrupted reshard leaves it.
    fn is_restless(&self, since: Instant) -> bool {
        let inner = self.inner();
        let migrates = inner.ticks.newest().is_none_or(|tick| tick.migrates());
        since.elapsed() > RESTLESS_MAX && !migrates
    }

    fn is_at_rest(&self, before: u64) -> bool {
        let inner = self.inner();
        if inner.is_blind() {
            return true;
        }
        let Some(newest) = inner.ticks.newest().filter(|tick| tick.number > before) else {
            return false;
        };
        let mut lately = inner.ticks.all().rev();
        lately
            .find(|tick| !tick.agrees_with(newest))
            .is_none_or(|tick| tick.taken_at.elapsed() > REST)
            && !newest.moves()
    }

    /// Waits until that shard's snapshot, taken at `position`, may be restored; `waits` is called when it must wait. `had`: up to where the target had its
    /// stream before. Cancel safe.
    ///
    /// # Errors
    /// The others wait for it as well, or slots that have left it are in nobody's snapshot or stream.
    pub async fn may_restore(
        &self,
        name: &str,
        position: Position,
        had: Option<Position>,
        waits: impl FnOnce(),
    ) -> Result<(), Entangled> {
        let (began, mut waits) = (Instant::now(), Some(waits));
        let _forgets = Forgets {
            crossings: self,
            name,
        };
        self.begin_with(name, position);
        let mut is_sound = false;
        while let Some(obstacle) = self.obstacle(name, position) {
            if !is_sound && matches!(obstacle, Obstacle::Shard(_)) {
                is_sound = self.check_lost(name, position, had);
            }
            if let (Obstacle::Shard(_), Some(waits)) = (&obstacle, waits.take_if(|_| began.elapsed() > POLL))
            {
                tracing::info!(
                    name,
                    "slots have moved: the snapshot waits for another shard's pipeline"
                );
                waits();
            }
            if let Obstacle::Shard(other) = obstacle {
                self.set_waits_for(name, Some(other), began);
            }
            if began.elapsed() > CIRCLE {
                self.break_circle(name);
            }
            if self.take_entangled(name) {
                return Err(Entangled);
            }
            self.0.hurry.notify_one();
            sleep(POLL).await;
        }
        if is_sound || self.check_lost(name, position, had) {
            let forget = |windows: &mut Windows| *windows = Windows::default();
            self.change_windows(name, Durability::Durable, forget);
            return Ok(());
        }
        self.take_entangled(name);
        Err(Entangled)
    }

    /// The slots whose keys that shard's snapshot, taken at `position`, has all of: they were its own, and at rest, in every look at the cluster since the last before it.
    /// One that came later is in its stream; or in the other shard's, where it came as a whole. Nothing where no look is so old.
    #[must_use]
    pub fn held_since(&self, name: &str, position: Position) -> Option<Slots> {
        let inner = self.inner();
        let history = inner.history_around(name, position);
        let at = |tick: &Arc<Tick>| tick.at(name).filter(|at| history.contains(at));
        let is_before = |tick: &&Arc<Tick>| at(tick).is_some_and(|at| at.offset <= position.offset);
        // What was said in the history before, if there was one, was said before the snapshot too.
        let of_history = |tick: &&Arc<Tick>| at(tick).is_some();
        let first = inner.ticks.all().find(of_history);
        let former = first.and_then(|first| inner.ticks.before(first.number));
        let former = former.filter(|tick| tick.at(name).is_some());
        let base = inner.ticks.all().rev().find(is_before).or(former)?;
        let since = inner.ticks.after(base.number.saturating_sub(1));
        let mut since: Vec<Arc<Tick>> = since.map(Arc::clone).collect();
        drop(inner);
        since.dedup_by(|tick, last| tick.agrees_with(last));
        let mut held = [true; SLOTS as usize];
        for (slot, claim) in since.iter().flat_map(|tick| tick.claims(name)) {
            held[usize::from(slot)] &= claim == Claim::Mine;
        }
        let ranges: Vec<(u16, u16)> = (0..SLOTS).map(|slot| (slot, slot)).collect();
        let others: Vec<u16> = (0..SLOTS).filter(|slot| !held[usize::from(*slot)]).collect();
        Some(Slots::of(&ranges, &others))
    }

    /// Notes with which snapshot a shard begins.
    fn begin_with(&self, name: &str, position: Position) {
        let mut inner = self.inner();
        let base = inner.tick_before(name, position);
        if let Some(member) = inner.members.get_mut(name) {
            member.base = base;
        }
    }

    /// False: something is lost, and all shards begin anew.
    fn check_lost(&self, name: &str, position: Position, had: Option<Position>) -> bool {
        let mut inner = self.inner();
        let has_lost = inner.has_lost(name, position, had);
        if has_lost {
            tracing::warn!(
                name,
                "slots have left the shard as a whole, and the target had not all of them: all shards begin anew"
            );
            inner.entangle();
        }
        !has_lost
    }

    fn obstacle(&self, name: &str, position: Position) -> Option<Obstacle> {
        let inner = self.inner();
        if inner.is_blind() {
            return None;
        }
        let history = inner.history_around(name, position);
        let Some(around) = inner.ticks.around(name, &history, position.offset) else {
            return Some(Obstacle::Tick);
        };
        let masters = inner.masters.keys();
        let mut others = masters.chain(inner.members.keys()).filter(|other| *other != name);
        let late = others.find(|other| {
            let high = around.high(name, other);
            !inner.has_reached(other, high) && inner.has_moved(other, high)
        });
        late.map(|other| Obstacle::Shard(other.clone()))
    }
}

/// Why a snapshot is not restored yet.
enum Obstacle {
    /// The tick behind it is still to come.
    Tick,
    /// The target is not with this shard.
    Shard(String),
}

/// Who waited waits no more.
struct Forgets<'a> {
    crossings: &'a Crossings,
    name: &'a str,
}

impl Drop for Forgets<'_> {
    fn drop(&mut self) {
        self.crossings.set_waits_for(self.name, None, Instant::now());
    }
}

impl Inner {
    /// The history in which a snapshot of that shard was taken, with the id that a failover has given it since.
    pub(super) fn history_around(&self, name: &str, position: Position) -> History {
        let of_log = self.members.get(name).and_then(|member| member.log.history());
        of_log
            .filter(|history| history.contains(&position))
            .unwrap_or_else(|| History::new(position.id))
    }

    pub(super) fn is_blind(&self) -> bool {
        self.blind_since.is_some_and(|since| since.elapsed() > BLIND_MAX)
    }

    /// Whether a slot of the cluster has moved between what the target has of that shard and this tick.
    fn has_moved(&self, name: &str, until: &Tick) -> bool {
        let low = self.low(name);
        let is_later = |tick: &&Arc<Tick>| {
            let at = tick.at(name).filter(|_| tick.number < until.number);
            at.is_some_and(|at| low.is_none_or(|low| at.offset > low))
        };
        let first = self
            .ticks
            .all()
            .find(is_later)
            .map_or(until.number, |tick| tick.number);
        // The one before it too: between the two it may have moved.
        let from = self.ticks.before(first).map_or(first, |tick| tick.number);
        let mut stretch = self.ticks.after(from.saturating_sub(1));
        stretch.any(|tick| tick.number <= until.number && (tick.moves() || !tick.agrees_with(until)))
    }

    /// What the target has of that shard, or will have when its snapshot is restored; nothing where that is not known.
    fn low(&self, name: &str) -> Option<Offset> {
        let member = self.members.get(name)?;
        let of_snapshot = || member.snapshot().map(|at| at.offset);
        member.recorded().or_else(of_snapshot)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::joined;
    use super::super::ticks::tests::{Seen, at, samples};
    use super::*;

    /// Two shards; what is said of them, tick by tick.
    async fn crossings(ticks: &[[Seen<'_>; 2]]) -> (Crossings, Vec<super::super::Joined>) {
        let crossings = Crossings::default();
        let joined = joined(&crossings, &["a", "b"]).await;
        for tick in ticks {
            crossings.take(samples(tick));
        }
        (crossings, joined)
    }

    fn obstacle(crossings: &Crossings, offset: u64) -> Option<String> {
        match crossings.obstacle("b", at(offset))? {
            Obstacle::Tick => Some("a tick".to_owned()),
            Obstacle::Shard(name) => Some(name),
        }
    }

    #[tokio::test]
    async fn a_snapshot_waits_for_a_shard_from_which_a_slot_has_come() {
        type Ranges = &'static [(u16, u16)];
        let (all, low, high): (Ranges, Ranges, Ranges) = (&[(0, 9)], &[(0, 4)], &[(5, 9)]);
        let at_rest = |n: u64| [("a", n * 10, low, &[][..]), ("b", n * 10, high, &[][..])];
        let before = |n: u64| [("a", n * 10, all, &[][..]), ("b", n * 10, &[][..], &[][..])];
        for (ticks, expected) in [
            (vec![at_rest(1), at_rest(2), at_rest(3)], None),
            (vec![at_rest(1)], Some("a tick")),
            (vec![before(1), at_rest(2), at_rest(3)], Some("a")),
            (vec![before(1), before(2), before(3), at_rest(4)], None),
            (
                vec![
                    at_rest(1),
                    [("a", 20, low, &[3][..]), ("b", 20, high, &[])],
                    at_rest(3),
                ],
                Some("a"),
            ),
        ] {
            let (crossings, _joined) = crossings(&ticks).await;
            assert_eq!(obstacle(&crossings, 15).as_deref(), expected, "{ticks:?}");
        }
    }

    /// It waited for good for a tick under the old id, and the others for it.
    #[tokio::test]
    async fn a_snapshot_that_was_taken_before_a_failover_is_found_among_the_ticks_after_it() {
        let here: &[(u16, u16)] = &[(0, 9)];
        let tick = |n: u64| [("a", n * 10, here, &[][..]), ("b", n * 10, &[][..], &[])];
        let (crossings, _joined) = crossings(&[tick(2), tick(3), tick(4)]).await;
        let before = Position {
            id: crate::core::position::ReplId::parse(&[b'b'; 40]).unwrap(),
            offset: Offset::new(15),
        };
        let log = crossings.inner().members["b"].log.clone();
        log.start_at(History::new(before.id), before.offset)
            .await
            .unwrap();
        assert!(matches!(crossings.obstacle("b", before), Some(Obstacle::Tick)));
        let renamed = History::new(before.id).renamed(at(0).id, before.offset);
        log.rename_history(renamed).await.unwrap();
        assert!(crossings.obstacle("b", before).is_none());
    }

    #[tokio::test]
    async fn where_the_masters_cannot_be_asked_nothing_waits() {
        let (crossings, _joined) = crossings(&[]).await;
        assert_eq!(obstacle(&crossings, 15).as_deref(), Some("a tick"));
        crossings.inner().blind_since = Instant::now().checked_sub(BLIND_MAX * 2);
        assert_eq!(obstacle(&crossings, 15), None);
        crossings.at_rest().await;
    }

    #[tokio::test]
    async fn a_snapshot_has_all_of_the_slots_that_were_its_shards_from_before_it_on() {
        type Ranges = &'static [(u16, u16)];
        let (low, more): (Ranges, Ranges) = (&[(0, 6)], &[(0, 7)]);
        let (high, fewer): (Ranges, Ranges) = (&[(7, 9)], &[(8, 9)]);
        // Slot 7 goes from a to b between 20 and 30; slot 9 moves there for a while, and stays.
        let (crossings, _joined) = crossings(&[
            [("a", 10, more, &[]), ("b", 10, fewer, &[])],
            [("a", 20, more, &[]), ("b", 20, fewer, &[])],
            [("a", 30, low, &[]), ("b", 30, high, &[9])],
            [("a", 40, low, &[]), ("b", 40, high, &[])],
        ])
        .await;
        for (name, offset, expected) in [
            ("b", 25, vec![8]),
            ("b", 35, vec![7, 8]),
            ("b", 45, vec![7, 8, 9]),
            ("a", 25, vec![0, 1, 2, 3, 4, 5, 6]),
        ] {
            let held = crossings.held_since(name, at(offset)).unwrap();
            let all: Vec<u16> = (0..SLOTS).filter(|slot| held.has(*slot)).collect();
            assert_eq!(all, expected, "{name} {offset}");
        }
        assert_eq!(crossings.held_since("b", at(5)), None, "no look is so old");
        let id = crate::core::position::ReplId::parse(&[b'b'; 40]).unwrap();
        let mut of_heir = samples(&[("a", 5, low, &[]), ("b", 50, high, &[])]);
        of_heir.get_mut("a").unwrap().at.id = id;
        crossings.take(of_heir);
        let position = Position { id, ..at(2) };
        let held = crossings.held_since("a", position).unwrap();
        assert!(held.has(6) && !held.has(7), "by what the failed master had said");
    }

    #[tokio::test]
    async fn slots_are_at_rest_when_they_have_been_for_a_while() {
        let here: &[(u16, u16)] = &[(0, 9)];
        for (second, expected) in [
            ([("a", 20, here, &[][..]), ("b", 20, &[], &[])], true),
            ([("a", 20, here, &[3][..]), ("b", 20, &[], &[])], false),
            ([("a", 20, &[(0, 8)][..], &[][..]), ("b", 20, &[], &[])], false),
        ] {
            let first = [("a", 10, here, &[][..]), ("b", 10, &[], &[])];
            let (crossings, _joined) = crossings(&[first, second]).await;
            assert_eq!(crossings.is_at_rest(1), expected, "{second:?}");
            assert!(!crossings.is_at_rest(2), "the newest tick is not new enough");
        }
    }
}
