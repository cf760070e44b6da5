//! One stream's side: which of its commands wait, and until when.
//!
//! Owns the ruling over each command of the stream, and the wait for its causes. Promises that a wait can be broken off and taken up at any moment, and
//! that it never reads further in another shard's log than that shard has received.

mod clears;
mod marks;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::clearing::{Runs, is_single, note_back, note_gone};
use super::named::{Counts, Named};
use super::slots::{Act, Slots, Standing};
use super::ticks::{Around, Tick};
use super::windows::Windows;
use super::{CIRCLE, Crossings, Member};
use crate::core::command::marker::Ranges;
use crate::core::command::{self, Command, Kind};
use crate::core::position::{History, Offset};
use crate::core::resp::{self, Frame, Framer, Limits};
use clears::Deletion;

/// So long the other shards may take to record everything up to a tick, before it is looked what of it is a cause.
const PATIENCE: Duration = Duration::from_millis(200);

/// So often it is looked whether they have.
const POLL: Duration = Duration::from_millis(10);

/// A wait is broken off so often, to see whether the stream that waits still goes on.
const MOMENT: Duration = Duration::from_secs(1);

/// So often ticks are looked at while nothing waits.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A wait of that length is told.
const LONG: Duration = Duration::from_secs(30);

/// What becomes of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// It goes on.
    Free,
    /// It is asked for again when [`Crossing::is_waiting`] is over.
    Hold,
    /// It is asked for again when what lies before it has been sent.
    Cut,
    /// It is left out.
    Drop,
    /// In its place come deletions of the keys of [`Crossing::take_given_back`].
    GiveBack,
}

#[derive(Debug)]
struct Waiting {
    end: Offset,
    keys: Vec<Bytes>,
    since: Instant,
    /// The commands are in the batch already: a transaction.
    in_batch: bool,
    told: bool,
    /// It is waited for whose this is, and for nothing else.
    deletion: Option<Deletion>,
}

/// What a stream knows of slots that move.
#[derive(Debug)]
pub struct Crossing {
    crossings: Crossings,
    name: String,
    history: History,
    slots: Slots,
    windows: Windows,
    /// Where the stream began.
    from: Offset,
    /// The last tick before that.
    last: Option<Arc<Tick>>,
    /// Ticks that the stream has not passed, with where it was.
    ahead: VecDeque<(Offset, Arc<Tick>)>,
    /// Where the stream was at the last tick that it has passed.
    last_tick: Offset,
    passed_tick: Option<Arc<Tick>>,
    /// Exports whose slots have gone, by a tick that the stream has passed.
    gone: BTreeSet<String>,
    /// Slots that have come since the last tick that the stream has passed.
    back: Vec<Ranges>,
    /// The shard deletes one by one what it has given away as a whole.
    clears: bool,
    /// What the stream holds up to the tick of that number.
    runs: Option<(u64, Runs)>,
    /// What a window's end gives back.
    given_back: Vec<Bytes>,
    looked: u64,
    looked_at: Option<Instant>,
    is_stirred: bool,
    /// The newest tick up to which the other shards have recorded everything.
    settled: u64,
    /// Commands that end here or before have all their causes on the target.
    covered: Offset,
    /// The same, for the command that ends here.
    passed: Offset,
    /// In a transaction of the source: the keys of its foreign commands.
    open: Option<Vec<Bytes>>,
    waiting: Option<Waiting>,
    /// The others are so far behind that their logs are looked at for causes.
    looks_closely: bool,
    is_entangled: bool,
    /// The ticks around what was last looked at closely.
    around: Option<Around>,
    logs: BTreeMap<String, (u64, Named)>,
}

impl Crossing {
    /// For the stream of the pipeline of that name, from `from` on. `is_exact`: what is confirmed is recorded at the same moment.
    #[must_use]
    pub fn new(
        crossings: &Crossings,
        name: &str,
        history: History,
        from: Offset,
        is_exact: bool,
    ) -> Crossing {
        if let Some(member) = crossings.inner().members.get_mut(name) {
            // What another process was waiting for is over.
            (member.is_exact, member.waits_for, member.of_leader) = (is_exact, None, None);
        }
        let mut crossing = Crossing {
            crossings: crossings.clone(),
            name: name.to_owned(),
            history,
            slots: Slots::default(),
            windows: Windows::default(),
            from,
            last: None,
            ahead: VecDeque::new(),
            last_tick: Offset::ZERO,
            passed_tick: None,
            gone: BTreeSet::new(),
            back: Vec::new(),
            clears: false,
            runs: None,
            given_back: Vec::new(),
            looked: 0,
            looked_at: None,
            is_stirred: false,
            settled: 0,
            covered: Offset::ZERO,
            passed: Offset::ZERO,
            open: None,
            waiting: None,
            looks_closely: false,
            is_entangled: false,
            around: None,
            logs: BTreeMap::new(),
        };
        crossing.pass_what_was();
        crossing.take_windows();
        crossing
    }

    /// Passes the ticks that lie before the stream's beginning.
    fn pass_what_was(&mut self) {
        let inner = self.crossings.inner();
        for tick in inner.ticks.all() {
            let Some(at) = tick.at(&self.name).filter(|at| self.history.contains(at)) else {
                continue;
            };
            if at.offset > self.from {
                break;
            }
            self.slots.pass(tick, &self.name, self.last_tick, at.offset);
            (self.last_tick, self.looked) = (at.offset, tick.number);
            let away = |slot| self.slots.is_away(slot);
            note_gone(&mut self.gone, tick, &self.name, self.last.is_none(), away);
            self.last = Some(Arc::clone(tick));
        }
        self.passed_tick.clone_from(&self.last);
        if self.last.is_some() {
            self.slots.close_eyes();
        }
    }

    /// Whether a command waits.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Whether shards wait for each other in a circle: only full syncs can end that.
    #[must_use]
    pub fn is_entangled(&self) -> bool {
        self.is_entangled
    }

    /// Whether the batch must not be sent yet.
    #[must_use]
    pub fn holds_batch(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.in_batch)
    }

    /// Takes news in, now and then. `history` is what the stream is of.
    pub fn look(&mut self, history: History) {
        self.history = history;
        if self.looked_at.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
            self.is_stirred = self.crossings.is_stirred() || self.slots.is_blind();
            self.is_entangled |= self.crossings.take_entangled(&self.name);
            self.refresh();
            self.forget_windows();
            self.learn_whether_it_clears();
        }
    }

    fn refresh(&mut self) {
        self.looked_at = Some(Instant::now());
        let inner = self.crossings.inner();
        for tick in inner.ticks.after(self.looked) {
            self.looked = tick.number;
            let Some(at) = tick.at(&self.name).filter(|at| self.history.contains(at)) else {
                continue;
            };
            if let (Some(last), true) = (&self.last, self.slots.is_blind()) {
                self.slots.doubt(last, tick, &self.name, self.from);
            }
            self.ahead.push_back((at.offset, Arc::clone(tick)));
        }
        let Some(tick) = inner.newest_reached(&self.name, self.settled) else {
            return;
        };
        self.settled = tick.number;
        let at = |tick: &Tick| tick.at(&self.name).filter(|at| self.history.contains(at));
        if let Some(before) = inner.ticks.before(tick.number).and_then(|tick| at(tick)) {
            self.covered = self.covered.max(before.offset);
        }
        if let Some(now) = at(tick) {
            self.slots.settle(tick, &self.name, now.offset);
        }
        if !self.slots.has_foreign() {
            self.logs.clear();
        }
    }

    /// What becomes of a command. One that is held comes again.
    pub fn rule(&mut self, frame: &Frame<'_>, command: &Command, batch_is_empty: bool) -> Ruling {
        self.pass(frame.end());
        match command.kind {
            // What lies before a transaction must not wait for the causes of what is in it.
            Kind::Multi if self.is_stirred && !batch_is_empty => Ruling::Cut,
            Kind::Multi => {
                self.open = Some(Vec::new());
                Ruling::Free
            }
            Kind::Exec | Kind::Discard => {
                let keys = self.open.take().unwrap_or_default();
                if !keys.is_empty() && frame.end() > self.covered {
                    self.wait(frame.end(), keys, true);
                }
                Ruling::Free
            }
            Kind::Cluster => self.mark(frame),
            Kind::Function if self.imports_functions(frame) => Ruling::Drop,
            _ => self.judge(frame, command),
        }
    }

    fn judge(&mut self, frame: &Frame<'_>, command: &Command) -> Ruling {
        let act = match command.kind {
            Kind::RestoreAsking => Act::Arrives,
            Kind::Del | Kind::Unlink => Act::Deletes,
            _ => Act::Other,
        };
        let Some(key) = command.keys(frame).next() else {
            return Ruling::Free;
        };
        // All keys of a command are of one slot, or a cluster would not have run it.
        let slot = command::slot(key.bytes);
        if self.imports(slot, frame.end()) {
            self.leave_out(slot, frame, command);
            return Ruling::Drop;
        }
        if is_single(frame, command)
            && let Some(ruling) = self.rule_deletion(slot, frame)
        {
            return ruling;
        }
        let standing = self.slots.judge(slot, act, frame.end());
        match standing {
            Standing::Free => Ruling::Free,
            Standing::Void => Ruling::Drop,
            Standing::Foreign => self.judge_foreign(frame, command),
        }
    }

    fn judge_foreign(&mut self, frame: &Frame<'_>, command: &Command) -> Ruling {
        let end = frame.end();
        if end <= self.covered || end == self.passed {
            return Ruling::Free;
        }
        let keys: Vec<Bytes> = command
            .keys(frame)
            .map(|key| Bytes::copy_from_slice(key.bytes))
            .collect();
        if let Some(open) = &mut self.open {
            open.extend(keys);
            return Ruling::Free;
        }
        if self.looks_closely && self.has_known_causes(end, &keys) {
            return Ruling::Free;
        }
        self.wait(end, keys, false);
        Ruling::Hold
    }

    fn wait(&mut self, end: Offset, keys: Vec<Bytes>, in_batch: bool) {
        self.crossings.stir();
        self.is_stirred = true;
        self.waiting = Some(Waiting {
            end,
            keys,
            since: Instant::now(),
            in_batch,
            told: false,
            deletion: None,
        });
    }

    /// What has been judged so far ends before `end`.
    fn pass(&mut self, end: Offset) {
        while let Some((at, tick)) = self.ahead.front()
            && *at < end
        {
            let (at, tick) = (*at, Arc::clone(tick));
            self.end_windows(&tick, at);
            self.slots.pass(&tick, &self.name, self.last_tick, at);
            self.last_tick = at;
            let away = |slot| self.slots.is_away(slot);
            note_gone(
                &mut self.gone,
                &tick,
                &self.name,
                self.passed_tick.is_none(),
                away,
            );
            for slots in self.back.drain(..) {
                note_back(&mut self.gone, &tick, &self.name, &slots);
            }
            self.passed_tick = Some(tick);
            self.ahead.pop_front();
        }
    }

    /// Waits until what waits may go on, or for a moment: the caller must see whether its stream still goes on. Cancel safe.
    pub async fn fulfilled(&mut self) {
        let began = Instant::now();
        while self.waiting.is_some() && began.elapsed() < MOMENT {
            self.step().await;
        }
    }

    async fn step(&mut self) {
        self.refresh();
        let Some(waiting) = &mut self.waiting else { return };
        let elapsed = waiting.since.elapsed();
        if let Some(deletion) = waiting.deletion {
            match self.has_learned_whose(deletion).await {
                true => self.waiting = None,
                false => tokio::time::sleep(POLL).await,
            }
            return;
        }
        if waiting.end <= self.covered {
            self.waiting = None;
            self.looks_closely = false;
            self.crossings.set_waits_for(&self.name, None, Instant::now());
            return;
        }
        if elapsed > LONG && !waiting.told {
            waiting.told = true;
            let hint = "the pipeline of another shard is behind: see gunyu status";
            tracing::warn!(
                name = self.name,
                hint,
                "keys that came from another shard wait for its pipeline"
            );
        }
        self.looks_closely |= elapsed > PATIENCE;
        if self.looks_closely && self.has_all_causes().await {
            let waiting = self.waiting.take();
            self.passed = waiting.map_or(self.passed, |waiting| waiting.end);
            self.crossings.set_waits_for(&self.name, None, Instant::now());
            return;
        }
        if elapsed > CIRCLE {
            self.crossings.break_circle(&self.name);
        }
        if self.crossings.take_entangled(&self.name) {
            (self.is_entangled, self.waiting) = (true, None);
            return;
        }
        tokio::time::sleep(POLL).await;
    }

    /// Whether the other shards have recorded the last command that names one of the keys; reads their logs for that.
    async fn has_all_causes(&mut self) -> bool {
        let Some(end) = self.waiting.as_ref().map(|waiting| waiting.end) else {
            return true;
        };
        let Some(around) = self.ticks_around(end) else {
            // The tick behind it is still to come.
            self.crossings.0.hurry.notify_one();
            return false;
        };
        for (name, member) in self.behind(&around) {
            let high = around.high(&self.name, &name);
            if self.read_log_of(&name, &member, high).await.is_none() {
                // One that restores a snapshot may wait for this one in turn.
                let restores = member.recorded().is_none();
                self.note_wait(restores.then_some(name));
                return false;
            }
        }
        let Some(waiting) = &self.waiting else { return true };
        let lacking = self.lacking(&waiting.keys, &around);
        let has_all = lacking.is_none();
        self.note_wait(lacking);
        has_all
    }

    /// The shard without which the command that waits cannot go on; nothing where that is not sure.
    fn note_wait(&self, other: Option<String>) {
        if let Some(waiting) = &self.waiting {
            self.crossings.set_waits_for(&self.name, other, waiting.since);
        }
    }

    /// The same, as far as that is known without reading.
    fn has_known_causes(&mut self, end: Offset, keys: &[Bytes]) -> bool {
        let around = self.ticks_around(end);
        around.is_some_and(|around| self.lacking(keys, &around).is_none())
    }

    fn ticks_around(&mut self, end: Offset) -> Option<Around> {
        let holds = |around: &Around| around.after < end && end <= around.until;
        if !self.around.as_ref().is_some_and(holds) {
            let inner = self.crossings.inner();
            self.around = inner.ticks.around(&self.name, &self.history, end);
        }
        self.around.clone()
    }

    /// The other shards that have not recorded everything up to the ticks.
    fn behind(&self, around: &Around) -> Vec<(String, Member)> {
        let inner = self.crossings.inner();
        let others = inner.members.iter().filter(|(name, _)| **name != self.name);
        others
            .filter(|(name, _)| !inner.has_reached(name, around.high(&self.name, name)))
            .map(|(name, member)| (name.clone(), member.clone()))
            .collect()
    }

    /// Reads another shard's log up to the tick; nothing where that is not possible (yet).
    async fn read_log_of(&mut self, name: &str, member: &Member, high: &Tick) -> Option<()> {
        let high = high.at(name)?;
        let (recorded, history) = (member.recorded()?, member.log.history()?);
        if !history.contains(&high) || member.log.appended() < high.offset {
            return None;
        }
        let turns = self.slots.turns();
        if self.logs.get(name).is_none_or(|(of, _)| *of != turns) {
            let reader = member.log.reader(recorded).ok()?;
            let windows = self.crossings.inner().windows.get(name).cloned();
            let windows = windows.unwrap_or_default().open_at(recorded, &history);
            self.logs
                .insert(name.to_owned(), (turns, Named::new(reader, &windows)));
        }
        let (_, named) = self.logs.get_mut(name)?;
        let slots = &self.slots;
        let read = named.read_to(high.offset, |slot| slots.is_foreign(slot)).await;
        if let Err(error) = &read {
            tracing::debug!(%error, name, "another shard's log could not be read for causes");
            self.logs.remove(name);
        }
        read.ok()
    }

    /// The shard whose causes are not all recorded, by what has been read of the logs; nothing where all are.
    fn lacking(&self, keys: &[Bytes], around: &Around) -> Option<String> {
        let lacks = |(name, member): &(String, Member)| {
            !self.has_causes_of(name, member, keys, around).unwrap_or(false)
        };
        self.behind(around).into_iter().find(lacks).map(|(name, _)| name)
    }

    /// Which commands of the other shard's log come before one of this stream on that key. More than needed is only slower, or ends in a circle.
    ///
    /// | at the tick surely before it, the slot is | it has come here since | what counts |
    /// | --- | --- | --- |
    /// | this shard's | no | what the other had done by then |
    /// | the other's | - | what it did until the slot came back to it |
    /// | this shard's | yes | all up to the tick surely behind it |
    /// | a third one's, or unclear | - | the same |
    fn counts(&self, name: &str, key: &Bytes, around: &Around, high: Offset, history: &History) -> Counts {
        let slot = command::slot(key);
        let tick = around.low(&self.name, name);
        let low = tick
            .and_then(|tick| tick.at(name))
            .filter(|low| history.contains(low));
        let (Some(tick), Some(low)) = (tick, low) else {
            return Counts::UpTo(high);
        };
        let here = tick.at(&self.name).filter(|at| self.history.contains(at));
        let has_come = here.is_none_or(|here| self.slots.has_come_since(slot, here.offset));
        match tick.owner(slot) {
            Some(owner) if owner == self.name && !has_come => Counts::UpTo(low.offset),
            Some(owner) if owner == name => Counts::UntilReturn {
                low: low.offset,
                high,
            },
            Some(_) | None => Counts::UpTo(high),
        }
    }

    fn has_causes_of(&self, name: &str, member: &Member, keys: &[Bytes], around: &Around) -> Option<bool> {
        let (high, history) = (around.high(&self.name, name).at(name)?, member.log.history()?);
        let (turns, named) = self.logs.get(name)?;
        if *turns != self.slots.turns() || named.position() < high.offset || !history.contains(&high) {
            return None;
        }
        let causes = keys.iter().filter_map(|key| {
            let counts = self.counts(name, key, around, high.offset, &history);
            named.index().last_cause(key, counts)
        });
        let last = causes.max();
        let recorded = member.recorded()?;
        Some(last.is_none_or(|last| last <= recorded))
    }
}

/// A framer that gives this command once more.
///
/// # Errors
/// It is none.
pub fn alone(frame: &Frame<'_>) -> Result<Framer, resp::Error> {
    let bytes = frame.to_bytes();
    let start = Offset::new(frame.end().since(Offset::new(bytes.len() as u64)));
    let mut framer = Framer::new(Limits::default());
    framer.push(start, bytes)?;
    Ok(framer)
}

/// Waits until what waits may go on, or for a moment. Cancel safe.
pub async fn fulfilled(crossing: &mut Option<Crossing>) {
    match crossing {
        Some(crossing) => crossing.fulfilled().await,
        None => std::future::pending().await,
    }
}

impl Drop for Crossing {
    fn drop(&mut self) {
        self.crossings.set_waits_for(&self.name, None, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::joined;
    use super::super::ticks::tests::{at, samples};
    use super::*;
    use bytes::BytesMut;

    #[tokio::test]
    async fn who_waits_for_one_that_restores_a_snapshot_is_in_a_circle_with_it() {
        let crossings = Crossings::default();
        let _joined = joined(&crossings, &["a", "b"]).await;
        let mut bytes = BytesMut::new();
        resp::encode_command(&mut bytes, &[b"RESTORE-ASKING", b"k", b"0", b"x"]);
        let mut crossing = Crossing::new(&crossings, "a", History::new(at(0).id), Offset::ZERO, true);
        let mut framer = Framer::default();
        framer.push(Offset::ZERO, bytes.freeze()).unwrap();
        let frame = framer.next().unwrap().unwrap();
        let ruling = crossing.rule(&frame, command::of(&frame), true);
        assert_eq!(ruling, Ruling::Hold);
        for offset in [100, 200] {
            crossings.take(samples(&[("a", offset, &[], &[]), ("b", offset, &[], &[])]));
        }

        assert!(!crossing.has_all_causes().await);

        let long_ago = Instant::now().checked_sub(CIRCLE * 2).unwrap();
        crossing.waiting.as_mut().unwrap().since = long_ago;
        crossing.has_all_causes().await;
        crossings.set_waits_for("b", Some("a".to_owned()), long_ago);
        crossings.break_circle("a");
        assert!(crossings.take_entangled("a"));
        assert!(crossings.take_entangled("b"));
    }
}
