//! What neither of two shards says any more: slots that have gone as a whole, and whose last writes were still to be applied when their old shard had to send a snapshot.
//!
//! That snapshot does not hold them, and the stream of the shard that took them over had them only as an import, which is left out ([`super::windows`]). Only a
//! snapshot of that shard has them. So all shards begin anew then. Where a slot went key by key (`MIGRATE`), the other stream has every key of it, and no value is lost; of
//! keys that were deleted before, and of which the target had not heard, nobody speaks any more: they stay until the shard that has the slot makes a full sync.
//!
//! | the slot was this shard's behind what the target had of it, and is another's before the snapshot | the other has begun with a snapshot | it |
//! | --- | --- | --- |
//! | no | - | is this shard's |
//! | yes | behind the slot's coming, or is still to ask for one | is in that one |
//! | yes | before it, or long ago | is lost |

use std::sync::Arc;

use super::Inner;
use super::ticks::Tick;
use crate::core::command::SLOTS;
use crate::core::position::{Offset, Position};

impl Inner {
    /// The newest tick by which that shard was not past the position.
    pub(super) fn tick_before(&self, name: &str, position: Position) -> Option<Arc<Tick>> {
        let is_before = |tick: &&Arc<Tick>| {
            tick.at(name)
                .is_some_and(|at| at.id == position.id && at.offset <= position.offset)
        };
        self.ticks.all().rev().find(is_before).cloned()
    }

    /// Whether the snapshot of that shard, taken at `position`, leaves something of its slots to nobody. `had`: up to where the target had its stream before.
    pub(super) fn has_lost(&self, name: &str, position: Position, had: Option<Position>) -> bool {
        let history = self.history_around(name, position);
        let is_behind = |tick: &&Arc<Tick>| {
            let at = tick.at(name).filter(|at| history.contains(at));
            at.is_some_and(|at| at.offset >= position.offset)
        };
        let Some(now) = self.ticks.all().find(is_behind) else {
            return false;
        };
        if !now.knows_migrations() {
            return false;
        }
        let from = had.and_then(|had| self.tick_before(name, had));
        let from = from.map_or(0, |tick| tick.number);
        let mut last: Option<&Arc<Tick>> = None;
        for tick in self.ticks.after(from.saturating_sub(1)) {
            let says_new = !tick.agrees_with(now) && last.is_none_or(|last| !tick.agrees_with(last));
            if tick.number < now.number && says_new && self.is_lost_since(name, tick, now) {
                return true;
            }
            last = Some(tick);
        }
        false
    }

    fn is_lost_since(&self, name: &str, then: &Tick, now: &Tick) -> bool {
        (0..SLOTS).any(|slot| {
            let taker = now.owner(slot).filter(|taker| *taker != name);
            then.owner(slot) == Some(name)
                && taker.is_some_and(|taker| !self.has_in_snapshot(taker, slot, then))
        })
    }

    /// Whether the snapshot with which that shard has begun, or will, holds the slot, which came to it behind that tick.
    fn has_in_snapshot(&self, taker: &str, slot: u16, then: &Tick) -> bool {
        let Some(member) = self.members.get(taker) else {
            return false;
        };
        let begins = member.log.history().is_none() || member.log.appended() == Offset::ZERO;
        let base = match (member.recorded(), member.snapshot()) {
            _ if member.is_entangled => return true,
            (None, Some(snapshot)) => self.tick_before(taker, snapshot),
            (None, None) if begins => return true,
            _ => member.base.clone(),
        };
        base.is_some_and(|base| base.number > then.number && base.owner(slot) == Some(taker))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Crossings;
    use super::super::tests::joined;
    use super::super::ticks::tests::{Seen, at, samples};
    use super::*;
    use crate::core::position::History;

    /// Two shards, whose servers can move slots as a whole or not; slot 7 goes from a to b between the ticks 2 and 3.
    async fn crossings(can: bool) -> (Crossings, Vec<super::super::Joined>) {
        type Ranges = &'static [(u16, u16)];
        let (low, with, high): (Ranges, Ranges, Ranges) = (&[(0, 6)], &[(0, 7)], &[(8, 9)]);
        let (all, none): (Ranges, &[u16]) = (&[(7, 9)], &[]);
        let crossings = Crossings::default();
        let joined = joined(&crossings, &["a", "b"]).await;
        for (n, at_a, at_b) in [(1, with, high), (2, with, high), (3, low, all), (4, low, all)] {
            let shards: [Seen<'_>; 2] = [("a", n * 10, at_a, none), ("b", n * 10, at_b, none)];
            let mut tick = samples(&shards);
            for sample in tick.values_mut() {
                sample.atomic = can.then_some(false);
            }
            crossings.take(tick);
        }
        (crossings, joined)
    }

    #[tokio::test]
    async fn what_the_target_had_not_when_it_left_is_lost() {
        for (can, had, expected) in [
            (true, Some(at(15)), true),
            (true, Some(at(30)), false),
            (true, None, true),
            (false, Some(at(15)), false),
        ] {
            let (crossings, _joined) = crossings(can).await;
            let log = crossings.inner().members["b"].log.clone();
            let history = History::new(at(0).id);
            log.start_at(history, Offset::new(15)).await.unwrap();
            let mut inner = crossings.inner();
            let base = inner.tick_before("b", at(15));
            inner.members.get_mut("b").unwrap().base = base;
            assert_eq!(inner.has_lost("a", at(35), had), expected, "{can} {had:?}");
        }
    }

    #[tokio::test]
    async fn nothing_is_lost_where_the_others_snapshot_has_it() {
        let (crossings, _joined) = crossings(true).await;
        assert!(
            !crossings.inner().has_lost("a", at(35), Some(at(15))),
            "it is still to come"
        );
        let log = crossings.inner().members["b"].log.clone();
        log.start_at(History::new(at(0).id), Offset::new(35))
            .await
            .unwrap();
        assert!(
            crossings.inner().has_lost("a", at(35), Some(at(15))),
            "nobody knows its beginning"
        );
        let mut inner = crossings.inner();
        let base = inner.tick_before("b", at(30));
        inner.members.get_mut("b").unwrap().base = base;
        assert!(!inner.has_lost("a", at(35), Some(at(15))));
    }
}
