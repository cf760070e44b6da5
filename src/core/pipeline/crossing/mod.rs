//! Slots that move between the shards of a source cluster: what one shard's stream says of a key is applied only after what it follows from in another's.
//!
//! Each shard has a pipeline and a stream of its own, and a key that moves is deleted in one stream and restored in the other. Nothing in the streams says
//! which came first; so all masters are asked often how far they are ([`ticks`]), and a command of a slot that is on its way ([`slots`]) waits
//! until the other pipelines have applied what surely lies before it.
//!
//! ```text
//! sampler --> ticks --+--> slots: is this command foreign? --no--> goes on
//!                     |                   | yes
//!                     +--> waiting: the other shards have recorded everything up to the tick surely behind it,
//!                          or, where that takes long, the last command in their logs that names one of its keys ([`named`])
//! ```
//!
//! The second kind of wait is for what has really happened before, and so cannot go round in a circle, as the first can where slots move both ways at once.
//!
//! Slots that go as a whole (`CLUSTER MIGRATION` of Redis, `CLUSTER MIGRATESLOTS` of Valkey) are imported by their new shard before they are its own, and its stream carries
//! that import. It is left out ([`windows`]), for the old shard's stream says all of it; and what follows it waits as above. So are the deletions with which the old shard
//! clears what it has given away, where nothing else says that they are no client's ([`clearing`]).
//!
//! [`Crossings`] is what the pipelines of a cluster share. Promises that nobody who receives waits for anybody, and that a pipeline that is not
//! of a cluster has none of this. What is in another shard's log counts as applied when the target's record of it says so too: a restart
//! must not apply it once more behind what followed from it.

mod kept;
mod lost;
pub mod mirrored;
pub mod clearing;
pub mod named;
pub mod sampler;
pub mod slots;
pub mod snapshot;
pub mod ticks;
pub mod waiting;
pub mod windows;
pub mod written;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use crate::core::catalog::{self, Catalog, Durability};
use crate::core::log::Log;
use crate::core::net::Endpoint;
use crate::core::position::{History, Offset, Position};
use crate::core::progress::Progress;
use crate::core::topology::sample::Sample;
use kept::Kept;
use ticks::{Tick, Ticks};
use windows::Windows;

/// Slots may still be moving for so long after something has moved.
const STIRRED_FOR: Duration = Duration::from_secs(5);

/// Shards that have waited for each other so long are in a circle: a key has gone to and fro between two ticks.
const CIRCLE: Duration = Duration::from_secs(10);

/// What the pipelines of a cluster know of each other. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Crossings(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    inner: Mutex<Inner>,
    hurry: Notify,
    /// Whoever follows a stream elsewhere is to know of what has changed here.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    masters: BTreeMap<String, Endpoint>,
    members: BTreeMap<String, Member>,
    ticks: Ticks,
    /// Of each stream, as far as it has been judged.
    windows: BTreeMap<String, Windows>,
    /// What survives the process; nothing where that is not wanted.
    kept: Option<Kept>,
    stirred_until: Option<Instant>,
    /// Since when the masters cannot all be asked.
    blind_since: Option<Instant>,
}

/// The pipeline of a shard, as its siblings see it.
#[derive(Debug, Clone)]
struct Member {
    log: Log,
    progress: Arc<Progress>,
    /// What is confirmed is recorded at the same moment.
    is_exact: bool,
    /// The shard for whose log it waits, and since when.
    waits_for: Option<(String, Instant)>,
    /// It must begin anew: some wait in a circle, or slots are lost between shards.
    is_entangled: bool,
    /// The last tick before the snapshot with which it began, in this process.
    base: Option<Arc<Tick>>,
    /// Where the snapshot stands that the process which leads it is still to restore, and may alone have.
    of_leader: Option<Position>,
}

/// How far the target is with a shard, by one or the other count.
type Rung = fn(&Member) -> Option<Offset>;

impl Member {
    /// How far the target is with it; nothing while a snapshot is being restored.
    fn recorded(&self) -> Option<Offset> {
        let ladder = self.progress.ladder();
        let recorded = if self.is_exact {
            ladder.applied
        } else {
            ladder.checkpointed
        };
        (recorded > Offset::ZERO).then_some(recorded)
    }

    /// How far the target says that it is; a restart begins there.
    fn checkpointed(&self) -> Option<Offset> {
        let checkpointed = self.progress.ladder().checkpointed;
        (checkpointed > Offset::ZERO).then_some(checkpointed)
    }

    /// Where the snapshot stands with which it begins, where that is not on the target yet.
    fn snapshot(&self) -> Option<Position> {
        let of_log = self.log.snapshot().map(|snapshot| snapshot.position);
        of_log.or(self.of_leader)
    }

    /// Whether its snapshot, which is still to be restored, was taken behind `goal`: what was said up to there is said by the snapshot alone, which waits for
    /// those that wait for it.
    fn begins_behind(&self, goal: Position) -> bool {
        self.snapshot()
            .is_some_and(|at| at.id == goal.id && goal.offset <= at.offset)
    }

    /// Whether the target, which is `recorded` so far with it, is as far as `goal`; `newest` is where the shard was when it was last asked.
    fn is_at(&self, recorded: Option<Offset>, goal: Position, newest: Position) -> bool {
        let Some((recorded, history)) = recorded.zip(self.log.history()) else {
            return self.begins_behind(goal);
        };
        if history.contains(&goal) {
            return recorded >= goal.offset;
        }
        match history.previous {
            // What the failed master had beyond this is lost to the shard itself.
            Some((id, shared)) if id == goal.id => recorded >= shared,
            // The log is of the newest history, and that of `goal` is over.
            _ => history.id == newest.id,
        }
    }
}

/// A pipeline's place among its siblings, until it ends.
#[derive(Debug)]
pub struct Joined {
    crossings: Crossings,
    name: String,
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.crossings.inner().members.remove(&self.name);
    }
}

impl Crossings {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// With what the catalog knows of earlier processes. `cluster` is what the names of its pipelines have in common.
    ///
    /// # Errors
    /// The catalog's.
    pub fn open(catalog: &Catalog, cluster: &str) -> Result<Crossings, catalog::Error> {
        let (kept, ticks) = Kept::open(catalog, cluster)?;
        let crossings = Crossings::default();
        let mut inner = crossings.inner();
        for (number, samples) in ticks {
            inner.ticks.take_back(number, samples);
        }
        inner.kept = Some(kept);
        drop(inner);
        Ok(crossings)
    }

    /// Takes a tick in. What it says is written down before anybody goes by it.
    fn take(&self, samples: BTreeMap<String, Sample>) {
        let mut inner = self.inner();
        inner.blind_since = None;
        let mut kept = inner.kept.take();
        let number = inner.ticks.next_number();
        let written = kept.as_mut().map_or(Ok(()), |kept| kept.put(number, &samples));
        inner.ticks.take(samples);
        let written = written.and_then(|()| {
            let Some(kept) = kept.as_mut() else { return Ok(()) };
            let passed = inner.newest_checkpointed(kept.oldest());
            passed.map_or(Ok(()), |tick| kept.forget_before(tick.number))
        });
        if let Err(error) = written {
            tracing::error!(%error, hint = error.hint(), "where the shards' streams are could not be written down");
        }
        inner.kept = kept;
    }

    /// The masters could not all be asked.
    fn note_blindness(&self) {
        self.inner().blind_since.get_or_insert_with(Instant::now);
    }

    /// The pipeline of that name works from here on.
    #[must_use]
    pub fn join(&self, name: &str, log: &Log, progress: &Arc<Progress>) -> Joined {
        let member = Member {
            log: log.clone(),
            progress: Arc::clone(progress),
            is_exact: false,
            waits_for: None,
            is_entangled: false,
            base: None,
            of_leader: None,
        };
        let mut inner = self.inner();
        inner.members.insert(name.to_owned(), member);
        let kept = inner.kept.as_ref().map(|kept| kept.windows(name));
        match kept {
            Some(Ok(windows)) => drop(inner.windows.insert(name.to_owned(), windows)),
            Some(Err(error)) => {
                tracing::error!(%error, hint = error.hint(), "what was being imported cannot be read: all shards begin anew");
                inner.entangle();
            }
            None => {}
        }
        drop(inner);
        Joined {
            crossings: self.clone(),
            name: name.to_owned(),
        }
    }

    /// Whether that is the history of another shard than that of `name`: a node that has it follows another master now. That a shard's
    /// history came out of another's long ago says nothing: its node may have been a replica there.
    #[must_use]
    pub fn is_anothers(&self, name: &str, history: &History) -> bool {
        let inner = self.inner();
        let has = |member: &Member| {
            let own = member.log.history();
            own.is_some_and(|own| {
                own.id == history.id || own.previous.is_some_and(|(id, _)| id == history.id)
            })
        };
        let is_own = inner.members.get(name).is_some_and(has);
        !is_own && inner.members.values().any(has)
    }

    /// Where the master of a shard is.
    pub fn set_master(&self, name: &str, endpoint: Endpoint) {
        self.inner().masters.insert(name.to_owned(), endpoint);
    }

    /// The shard has left the cluster: nothing is asked of it any more.
    pub fn remove_master(&self, name: &str) {
        self.inner().masters.remove(name);
    }

    /// Where the stream of that shard was when its master was last asked.
    #[must_use]
    pub fn last_of(&self, name: &str) -> Option<Position> {
        let inner = self.inner();
        let mut newest = inner.ticks.all().rev();
        newest.find_map(|tick| tick.at(name))
    }

    /// All begin anew: something of a stream is lost.
    pub fn begin_anew(&self) {
        self.inner().entangle();
    }

    /// This shard begins anew: a process that leads another one has found out that all must.
    pub fn entangle_one(&self, name: &str) {
        let mut inner = self.inner();
        inner.note_entangled(&[name.to_owned()]);
        if let Some(member) = inner.members.get_mut(name) {
            (member.is_entangled, member.waits_for) = (true, None);
        }
        drop(inner);
        self.tell_change();
    }

    /// It must begin anew, as was noted before it joined.
    pub fn recall_entangled(&self, name: &str) {
        if let Some(member) = self.inner().members.get_mut(name) {
            member.is_entangled = true;
        }
    }

    /// It begins anew, with a snapshot that it has not asked for yet: what is in memory is not to say so once more. The note stands until the target says it.
    pub fn begins_anew(&self, name: &str) {
        self.take_entangled(name);
    }

    /// Slots are moving: the masters are asked more often for a while.
    fn stir(&self) {
        self.inner().stirred_until = Some(Instant::now() + STIRRED_FOR);
        self.0.hurry.notify_one();
    }

    /// Changes what is known of a stream's windows. What is new is written down before anybody goes by it.
    fn change_windows<R>(
        &self,
        name: &str,
        durability: Durability,
        change: impl FnOnce(&mut Windows) -> R,
    ) -> (R, Windows) {
        let mut inner = self.inner();
        let mut windows = inner.windows.remove(name).unwrap_or_default();
        let before = windows.clone();
        let result = change(&mut windows);
        let kept = inner.kept.as_ref().filter(|_| windows != before);
        if let Some(Err(error)) = kept.map(|kept| kept.set_windows(name, &windows, durability)) {
            tracing::error!(%error, hint = error.hint(), "what a shard imports could not be written down: all shards begin anew");
            inner.entangle();
        }
        inner.windows.insert(name.to_owned(), windows.clone());
        drop(inner);
        if windows != before {
            self.tell_change();
        }
        (result, windows)
    }

    /// What it waits for, since `since`; nothing where it goes on.
    fn set_waits_for(&self, name: &str, other: Option<String>, since: Instant) {
        let mut inner = self.inner();
        let Some(member) = inner.members.get_mut(name) else {
            return;
        };
        let is_new = member.waits_for.as_ref().map(|(known, _)| known) != other.as_ref();
        member.waits_for = other.map(|other| (other, since));
        drop(inner);
        if is_new {
            self.tell_change();
        }
    }

    /// Where the waits form a circle, none of those in it can go on. All shards begin anew then, not these alone: what others still have to say of keys
    /// that came from them, or went to them, is older than the new snapshots. A wait that is not as old as the others is one of many on the way.
    fn break_circle(&self, name: &str) {
        let mut inner = self.inner();
        if !circle(&inner.members, name, Instant::now()).is_empty() {
            inner.entangle();
            drop(inner);
            self.tell_change();
        }
    }

    /// Whether the pipeline must begin anew. Told once.
    fn take_entangled(&self, name: &str) -> bool {
        let mut inner = self.inner();
        let member = inner.members.get_mut(name);
        member.is_some_and(|member| std::mem::take(&mut member.is_entangled))
    }

    fn is_stirred(&self) -> bool {
        let inner = self.inner();
        let newest = inner.ticks.newest();
        inner.stirred_until.is_some_and(|until| Instant::now() < until)
            || newest.is_some_and(|tick| tick.moves())
    }
}

impl Inner {
    /// The newest tick behind the one of that number up to which all shards but that of `name` have recorded everything. One that lacks a shard, which has
    /// come later, does not count.
    pub(super) fn newest_reached(&self, name: &str, after: u64) -> Option<&Arc<Tick>> {
        self.newest_by(Member::recorded, name, after)
    }

    /// The same of all shards, as a restart would find it.
    fn newest_checkpointed(&self, after: u64) -> Option<&Arc<Tick>> {
        self.newest_by(Member::checkpointed, "", after)
    }

    fn newest_by(&self, rung: Rung, name: &str, after: u64) -> Option<&Arc<Tick>> {
        let is_whole = |tick: &&Arc<Tick>| self.masters.keys().all(|one| tick.at(one).is_some());
        let ticks: Vec<&Arc<Tick>> = self.ticks.after(after).filter(is_whole).collect();
        let reached = ticks.partition_point(|tick| self.have_all_reached(rung, tick, name));
        reached.checked_sub(1).map(|last| ticks[last])
    }

    /// Whether all shards but that of `name` have recorded everything up to the tick.
    fn have_all_reached(&self, rung: Rung, tick: &Tick, name: &str) -> bool {
        let masters = self.masters.keys();
        let mut others = masters.chain(self.members.keys()).filter(|one| *one != name);
        others.all(|other| self.is_at(rung, other, tick))
    }

    pub(super) fn has_reached(&self, name: &str, tick: &Tick) -> bool {
        self.is_at(Member::recorded, name, tick)
    }

    fn is_at(&self, rung: Rung, name: &str, tick: &Tick) -> bool {
        let Some(member) = self.members.get(name) else {
            // A shard whose pipeline has not begun.
            return false;
        };
        match (tick.at(name), self.masters.contains_key(name)) {
            (Some(goal), _) => {
                let newest = self.ticks.newest().and_then(|tick| tick.at(name));
                member.is_at(rung(member), goal, newest.unwrap_or(goal))
            }
            // It came later than the tick.
            (None, true) => false,
            // It has left the cluster: what is in its log is all there will be.
            (None, false) => rung(member).is_some_and(|at| at >= member.log.appended()),
        }
    }

    fn note_entangled(&self, names: &[String]) {
        if let Some(Err(error)) = self.kept.as_ref().map(|kept| kept.set_entangled(names)) {
            tracing::error!(%error, hint = error.hint(), "that the shards begin anew could not be written down");
        }
    }

    fn forget_entangled(&self, name: &str) {
        let names = [name.to_owned()];
        if let Some(Err(error)) = self.kept.as_ref().map(|kept| kept.forget_entangled(&names)) {
            tracing::error!(%error, hint = error.hint(), "that a shard has begun anew could not be written down");
        }
    }

    /// All begin anew, also where the process dies before they have.
    fn entangle(&mut self) {
        let names: Vec<String> = self.members.keys().cloned().collect();
        self.note_entangled(&names);
        for member in self.members.values_mut() {
            (member.is_entangled, member.waits_for) = (true, None);
        }
    }
}

/// Those who have waited for each other for long, from `name` round to `name`; nobody where it is no circle.
fn circle(members: &BTreeMap<String, Member>, name: &str, now: Instant) -> Vec<String> {
    let next = |at: &str| {
        let (next, since) = members.get(at)?.waits_for.as_ref()?;
        (now.duration_since(*since) > CIRCLE).then_some(next.as_str())
    };
    let mut all = Vec::new();
    let mut at = name;
    while let Some(next) = next(at) {
        if all.iter().any(|one| one == next) {
            break;
        }
        all.push(next.to_owned());
        at = next;
    }
    if all.last().is_none_or(|last| last != name) {
        all.clear();
    }
    all
}

#[cfg(test)]
pub(in crate::core::pipeline::crossing) mod tests {
    use super::*;
    use crate::core::log::{Settings, Space, Storage};
    use crate::core::position::ReplId;

    pub(super) async fn joined(crossings: &Crossings, names: &[&str]) -> Vec<Joined> {
        let mut all = Vec::new();
        for name in names {
            let settings = Settings {
                name: (*name).to_owned(),
                storage: Storage::Memory,
                tail_bytes: 1 << 20,
            };
            let (log, _) = Log::open(settings, &Space::new(1 << 20)).await.unwrap();
            all.push(crossings.join(name, &log, &Progress::new()));
        }
        all
    }

    #[tokio::test]
    async fn a_circle_makes_all_begin_anew_and_a_queue_nobody() {
        for (waits, begin_anew) in [
            (&[("a", "b"), ("b", "a")][..], true),
            (&[("a", "b"), ("b", "c"), ("c", "a")][..], true),
            (&[("a", "b"), ("b", "c")][..], false),
            // It waits for a circle that it is not in: those in it break it.
            (&[("a", "b"), ("b", "c"), ("c", "b")][..], false),
        ] {
            let crossings = Crossings::default();
            let _joined = joined(&crossings, &["a", "b", "c"]).await;
            let long_ago = Instant::now().checked_sub(CIRCLE * 2).unwrap();
            for (one, other) in waits {
                crossings.set_waits_for(one, Some((*other).to_owned()), long_ago);
            }
            crossings.break_circle("a");
            for name in ["a", "b", "c"] {
                assert_eq!(crossings.take_entangled(name), begin_anew, "{waits:?} {name}");
                assert!(!crossings.take_entangled(name), "told once");
            }
        }
    }

    /// The one would else wait for what the other never says, and the other for the one.
    #[tokio::test]
    async fn nobody_waits_for_what_a_snapshot_that_is_still_to_be_restored_has_left_behind() {
        let crossings = Crossings::default();
        let _joined = joined(&crossings, &["a"]).await;
        let id = |letter: u8| ReplId::parse(&[letter; 40]).unwrap();
        let member = crossings.inner().members["a"].clone();
        let at = |letter, offset| Position {
            id: id(letter),
            offset: Offset::new(offset),
        };
        let has_reached = |goal| member.is_at(member.recorded(), goal, at(b'1', 90));
        assert!(!has_reached(at(b'1', 10)));
        let history = History::new(id(b'1'));
        let _writer = member
            .log
            .begin_snapshot(history, Offset::new(50), None)
            .await
            .unwrap();
        for (letter, offset, expected) in [
            (b'1', 10, true),
            (b'1', 50, true),
            (b'1', 51, false),
            (b'2', 10, false),
        ] {
            assert_eq!(has_reached(at(letter, offset)), expected, "{offset}");
        }
    }

    #[tokio::test]
    async fn a_node_that_follows_another_master_has_anothers_history() {
        let crossings = Crossings::default();
        let _joined = joined(&crossings, &["a", "b"]).await;
        let id = |letter: u8| ReplId::parse(&[letter; 40]).unwrap();
        let member = |name: &str| crossings.inner().members[name].log.clone();
        let of_a = History::new(id(b'1'));
        member("a").start_at(of_a, Offset::new(5)).await.unwrap();
        let renamed = History::new(id(b'2')).renamed(id(b'3'), Offset::new(7));
        member("b").start_at(renamed, Offset::new(7)).await.unwrap();
        for (letter, expected) in [(b'1', false), (b'2', true), (b'3', true), (b'4', false)] {
            assert_eq!(
                crossings.is_anothers("a", &History::new(id(letter))),
                expected,
                "{letter}"
            );
        }
        // It was a replica of the other shard, and is a master of its own now.
        let was = History::new(id(b'3')).renamed(id(b'5'), Offset::new(9));
        assert!(!crossings.is_anothers("a", &was));
        assert!(!crossings.is_anothers("b", &renamed));
    }

    #[tokio::test]
    async fn who_has_just_begun_to_wait_is_in_no_circle() {
        let crossings = Crossings::default();
        let _joined = joined(&crossings, &["a", "b"]).await;
        let now = Instant::now();
        let long_ago = now.checked_sub(CIRCLE * 2).unwrap();
        crossings.set_waits_for("a", Some("b".to_owned()), long_ago);
        crossings.set_waits_for("b", Some("a".to_owned()), now);
        crossings.break_circle("a");
        assert!(!crossings.take_entangled("a"));
    }

    #[tokio::test]
    async fn who_begins_anew_because_of_a_note_is_not_told_so_once_more() {
        let crossings = Crossings::default();
        let _joined = joined(&crossings, &["a"]).await;
        crossings.recall_entangled("a");
        crossings.begins_anew("a");
        assert!(!crossings.take_entangled("a"));
        crossings.begin_anew();
        assert!(crossings.take_entangled("a"), "of what comes later it is");
    }
}
