//! The task that applies: reads the log onto the target.
//!
//! Owns the loop from chunk to confirmed batch. Waits for an event (a reply, a chunk, a moment), then applies it without waiting. While a batch is under
//! way the next one fills; what is full is not filled further, and then the log simply is not read: the source's link does not notice.
//! Leaves decisions about troubles to [`super::Pipeline`].

mod begin;
mod ending;
mod evictions;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

pub use begin::From;

use super::crossing::waiting::{Crossing, Ruling, alone, fulfilled};
use super::dead_letter::{DeadLetters, Letter};
use super::full_sync::FullSync;
use super::judge::{Judged, Keeping};
use super::live_lane::LiveLane;
use super::parked::{Parked, swapped};
use super::refused::{letter, no_database, refuse, too_long};
use super::turn::Turn;
use super::{End, Goal, Settings, Wish};
use crate::core::catalog::Catalog;
use crate::core::crash::{self, Step};
use crate::core::log::{Chunk, Log, Reader};
use crate::core::position::{Offset, Position};
use crate::core::progress::{Applying, Counters, Phase, Progress};
use crate::core::resp::{Framer, Limits};
use crate::core::resume::Reason;
use crate::core::target::batch::Batch;
use crate::core::target::checkpoint::Checkpoint;
use crate::core::target::pace::Pace;
use crate::core::target::session::Session;
use crate::core::target::{self, Advance, Failed, Outcome};
use crate::core::{command, filter};

pub use evictions::Evictions;

/// What applying works with.
#[derive(Debug)]
pub struct Context {
    /// How.
    pub settings: Arc<Settings>,
    /// Given back when the stream is live.
    pub(super) turn: Arc<Turn>,
    /// From where.
    pub log: Log,
    /// Where cursors and key sets are.
    pub catalog: Catalog,
    /// Where positions go.
    pub progress: Arc<Progress>,
    /// What the target has evicted.
    pub evictions: Arc<Evictions>,
    /// What the operator wants.
    pub wish: watch::Receiver<Wish>,
    /// What he wanted when this began: while that is the same, it goes on.
    pub wished: Wish,
}

impl Context {
    /// Restores the log's snapshot, then applies the stream after it.
    pub async fn snapshot_then_stream(
        self,
        mut session: Session,
        generation: u64,
        reason: Reason,
        letters: &mut DeadLetters,
    ) -> End {
        let Some(snapshot) = self.log.snapshot() else {
            return End::LogChanged;
        };
        if self.progress.begin_applying(generation, Offset::ZERO).is_none() {
            return End::LogChanged;
        }
        self.progress.set_phase(Phase::FullSync);
        let record = &session.record;
        let had = record.checkpoint.map(|at| at.position);
        // One that was begun has been judged up to its own place.
        let had = had.or(record.full_sync).or(record.had);
        if let Err(end) = self.await_siblings(snapshot.position, had).await {
            return end;
        }
        let full_sync = FullSync::new(&self, snapshot, reason, letters);
        let db = match full_sync.run(&mut session).await {
            Ok(db) => db,
            Err(end) => return end,
        };
        if self.settings.goal == Goal::Snapshot {
            return match self.leave_copy(&mut session).await {
                Ok(()) => End::Done,
                Err(end) => end,
            };
        }
        let from = From {
            at: snapshot.position.offset,
            db,
            is_restored_here: true,
        };
        self.stream(session, generation, from, letters).await
    }

    /// Where slots of the source have moved, what the snapshot holds of them is newer than what other shards still have to say.
    async fn await_siblings(&self, at: Position, had: Option<Position>) -> Result<(), End> {
        let Some(shard) = &self.settings.shard else {
            return Ok(());
        };
        let mut wish = self.wish.clone();
        // A sibling that is waited for may need the turn itself.
        let gives_back = || self.turn.give_back();
        let changes = async {
            // An error: nobody can wish any more.
            let _ = wish.wait_for(|wish| *wish != self.wished).await;
        };
        tokio::select! {
            biased;
            () = changes => Err(End::Wished),
            ready = shard.crossings.may_restore(&self.settings.name, at, had, gives_back) => ready.map_err(|_| End::Entangled),
        }
    }

    /// Applies the stream.
    pub async fn stream(
        self,
        mut session: Session,
        generation: u64,
        from: From,
        letters: &mut DeadLetters,
    ) -> End {
        let From {
            at: from,
            db,
            is_restored_here,
        } = from;
        let reader = match self.log.reader(from) {
            Ok(reader) => reader,
            Err(error) => return End::Log(error),
        };
        let Some(applying) = self.progress.begin_applying(generation, from) else {
            return End::LogChanged;
        };
        let guarded = session.record.guarded.filter(|_| !is_restored_here);
        let parked = match self.parked(guarded, session.epoch).await {
            Ok(parked) => parked,
            Err(end) => return end,
        };
        if let Err(end) = self.look_for_evictions(&mut session).await {
            return end;
        }
        let seen = &session.record.seen;
        let state = self.settings.filter.state(db, (!seen.is_empty()).then_some(seen));
        let target_db = state.selected().unwrap_or(0);
        // Before the phase: whoever waits for the stream to be live must see what is still pending.
        self.show_parked(&parked);
        self.turn.give_back();
        self.progress.set_phase(Phase::Incremental);
        let (databases, bulk_bytes_max) = (session.facts.databases, session.facts.bulk_bytes_max);
        let history = match reader.history() {
            Ok(history) => history,
            Err(error) => return End::Log(error),
        };
        // After a failover of the target the mark goes back with the checkpoint.
        self.log.set_releasable(from);
        let at = Checkpoint {
            position: Position {
                id: history.id,
                offset: from,
            },
            db,
        };
        let lane = LiveLane::new(session, at, &self.settings);
        let shard = self.settings.shard.as_ref();
        let records_at_once = matches!(lane, LiveLane::Exact(_));
        let name = &self.settings.name;
        let crossing =
            shard.map(|shard| Crossing::new(&shard.crossings, name, history, from, records_at_once));
        let stream = Stream {
            state,
            batch: Batch::new(from, db, target_db),
            pace: Pace::new(self.settings.rate_limit, std::time::Instant::now()),
            framer: Framer::new(Limits::default()),
            chunk_received: None,
            databases,
            bulk_bytes_max,
            parked,
            reader,
            applying,
            lane,
            letters,
            checkpointed: from,
            checkpoint_due: Instant::now() + self.settings.idle_checkpoint_every,
            look_due: Stream::first_look(),
            framed_out: true,
            crossing,
            held: None,
            cuts: false,
            context: self,
        };
        stream.run().await
    }
}

/// The loop's state.
struct Stream<'a> {
    context: Context,
    reader: Reader,
    framer: Framer,
    /// When the chunk being framed was received.
    chunk_received: Option<std::time::Instant>,
    /// All frames of the chunk have been taken.
    framed_out: bool,
    state: filter::State,
    batch: Batch,
    lane: LiveLane,
    pace: Pace,
    applying: Applying,
    parked: Parked,
    letters: &'a mut DeadLetters,
    databases: u32,
    bulk_bytes_max: usize,
    checkpointed: Offset,
    checkpoint_due: Instant,
    look_due: Instant,
    /// Slots that move, where the source is a cluster.
    crossing: Option<Crossing>,
    /// The next command, where it must wait.
    held: Option<Framer>,
    /// It waits until what lies before it has been sent.
    cuts: bool,
}

/// What the loop waited for.
enum Event {
    Wish,
    Outcome(Result<Outcome, target::Error>),
    Chunk(Result<Chunk, crate::core::log::Error>),
    Moment,
}

impl Stream<'_> {
    async fn run(mut self) -> End {
        loop {
            if let Err(end) = self.turn().await {
                return end;
            }
        }
    }

    /// Sends what can be sent, then waits for one event and applies it.
    async fn turn(&mut self) -> Result<(), End> {
        if let Some(crossing) = &mut self.crossing {
            crossing.look(self.reader.history().map_err(End::Log)?);
            if crossing.is_entangled() {
                return Err(End::Entangled);
            }
        }
        self.fill()?;
        // Before sending: a busy lane is idle only between two batches.
        self.settle_parked().await?;
        self.look().await?;
        self.send().await?;
        match self.wait().await {
            Event::Wish => self.end_if_wished().await,
            Event::Outcome(outcome) => {
                let outcome = outcome.map_err(End::Target)?;
                self.conclude(outcome).await
            }
            Event::Chunk(chunk) => self.take_chunk(chunk.map_err(End::Log)?),
            Event::Moment => Ok(()),
        }
    }

    /// Wishes first, so that a stop is never put off; replies next, because they make room; chunks last.
    async fn wait(&mut self) -> Event {
        let moment = self.next_moment();
        let wants_chunk = self.framed_out && !self.is_full();
        let waits = self.waits();
        tokio::select! {
            biased;
            _ = self.context.wish.changed() => Event::Wish,
            outcome = self.lane.outcome() => Event::Outcome(outcome),
            chunk = self.reader.next(), if wants_chunk => Event::Chunk(chunk),
            () = fulfilled(&mut self.crossing), if waits => Event::Moment,
            () = sleep_until(moment.unwrap_or_else(Instant::now)), if moment.is_some() => Event::Moment,
        }
    }

    /// When to look again although nothing happens: the pace allows the next batch, or a checkpoint is due.
    fn next_moment(&self) -> Option<Instant> {
        let pace = self
            .pace
            .wait_until(std::time::Instant::now())
            .map(Instant::from_std);
        let pace = pace.filter(|_| !self.batch.is_empty() && self.lane.takes_batch());
        let checkpoint = self.wants_idle_checkpoint().then_some(self.checkpoint_due);
        let checkpoint = checkpoint.filter(|_| self.lane.takes_batch());
        let parked = self.lane.is_idle() && self.parked.is_due(self.context.progress.ladder().applied);
        pace.into_iter()
            .chain(checkpoint)
            .chain(parked.then(Instant::now))
            .chain(self.next_look())
            .min()
    }

    fn is_full(&self) -> bool {
        let settings = &self.context.settings;
        !self.batch.in_transaction()
            && (self.batch.commands() >= settings.batch_commands_max
                || self.batch.bytes() >= settings.batch_bytes_max
                || self.waits()
                || self.cuts && !self.batch.is_empty())
    }

    /// A command waits for what another shard's stream says.
    fn waits(&self) -> bool {
        self.crossing.as_ref().is_some_and(Crossing::is_waiting)
    }

    fn take_chunk(&mut self, chunk: Chunk) -> Result<(), End> {
        self.chunk_received = chunk.received_at;
        self.framed_out = false;
        self.framer.push(chunk.start, chunk.bytes).map_err(End::Stream)
    }

    /// Moves frames into the batch until it is full, or the chunks at hand are used up.
    fn fill(&mut self) -> Result<(), End> {
        loop {
            self.frame_chunk()?;
            if self.is_full() || !self.framed_out {
                return Ok(());
            }
            match self.reader.try_next().map_err(End::Log)? {
                Some(chunk) => self.take_chunk(chunk)?,
                None => return Ok(()),
            }
        }
    }

    fn frame_chunk(&mut self) -> Result<(), End> {
        let (mut received, mut filtered) = (0, 0);
        let filter = Arc::clone(&self.context.settings.filter);
        while !self.framed_out && !self.is_full() {
            let framer = self.held.as_mut().unwrap_or(&mut self.framer);
            let Some(frame) = framer.next().map_err(End::Stream)? else {
                // What was held has been taken; then the chunk's own.
                self.framed_out = self.held.take().is_none();
                continue;
            };
            let command = command::of(&frame);
            let ruling = self.crossing.as_mut().map_or(Ruling::Free, |crossing| {
                crossing.rule(&frame, command, self.batch.is_empty())
            });
            self.cuts = ruling == Ruling::Cut;
            if matches!(ruling, Ruling::Hold | Ruling::Cut) {
                self.held = Some(alone(&frame).map_err(End::Stream)?);
                break;
            }
            received += 1;
            let verdict = match ruling {
                Ruling::Drop => filter::Verdict::Drop(filter::DropReason::SlotsTrimmed),
                Ruling::GiveBack => {
                    let keys = self.crossing.as_mut().map(Crossing::take_given_back);
                    filter.deletions(&mut self.state, &keys.unwrap_or_default())
                }
                _ => filter.command(&mut self.state, command, &frame),
            };
            let empties = matches!(command.kind, command::Kind::Flushall | command::Kind::Flushdb);
            if empties
                && self.context.settings.shard.is_some()
                && !matches!(verdict, filter::Verdict::Drop(_))
            {
                return Err(End::Emptied);
            }
            let kept = Keeping {
                batch: &mut self.batch,
                databases: self.databases,
                bulk_bytes_max: self.bulk_bytes_max,
                exact: self.lane.is_exact(),
                notes_ends: self.lane.wants_ends(),
                state: &self.state,
                received_at: self.chunk_received,
                swaps: swapped(&frame, command.kind)
                    .and_then(|(one, other)| Some((filter.target_db(one)?, filter.target_db(other)?))),
            };
            match kept.judge(&frame, command.kind, verdict) {
                Judged::Kept => self.parked.follow(&frame, command.kind, self.state.db())?,
                Judged::Dropped => filtered += 1,
                Judged::Refused(letter) => self.refuse(&[letter])?,
                Judged::NoDatabase(db) => return Err(no_database(db, self.databases)),
                Judged::TooLong(bytes) => {
                    let key = command.keys(&frame).next().map_or(frame.name(), |key| key.bytes);
                    return Err(too_long(key, bytes, self.bulk_bytes_max));
                }
            }
        }
        let counters = &self.context.progress.counters;
        Counters::add(&counters.commands_received, received);
        Counters::add(&counters.commands_filtered, filtered);
        Ok(())
    }

    async fn send(&mut self) -> Result<(), End> {
        let now = std::time::Instant::now();
        let is_held = self.crossing.as_ref().is_some_and(Crossing::holds_batch);
        if is_held || self.batch.in_transaction() || !self.lane.takes_batch() {
            return Ok(());
        }
        if self.batch.is_empty() {
            return self.idle_checkpoint().await;
        }
        if self.pace.wait_until(now).is_some() {
            return Ok(());
        }
        let next = self.batch.successor();
        let batch = std::mem::replace(&mut self.batch, next);
        let (commands, bytes) = (batch.commands() as u64, batch.bytes() as u64);
        self.pace.spend(commands, bytes, now);
        let counters = &self.context.progress.counters;
        Counters::add(&counters.commands_sent, commands);
        Counters::add(&counters.bytes_sent, bytes);
        self.submit(batch).await
    }

    async fn submit(&mut self, batch: Batch) -> Result<(), End> {
        self.parked.persist_followed()?;
        self.checkpoint_due = Instant::now() + self.context.settings.idle_checkpoint_every;
        self.lane.note_seen(&self.state);
        // Where the log has begun anew meanwhile, what was read is of another history: it is neither sent nor recorded.
        let history = self.reader.history().map_err(End::Log)?;
        self.lane.submit(batch, history.id).await.map_err(End::Target)
    }

    /// The stream has moved without anything to apply: pings, filtered commands.
    fn wants_idle_checkpoint(&self) -> bool {
        self.lane.is_idle()
            && self.batch.is_empty()
            && !self.batch.in_transaction()
            && self.checkpointed < self.batch.end()
    }

    async fn idle_checkpoint(&mut self) -> Result<(), End> {
        if !self.wants_idle_checkpoint() {
            return Ok(());
        }
        // Nothing is under way and nothing waits: everything up to here is applied.
        self.applying.applied(self.batch.end(), self.checkpointed);
        if Instant::now() < self.checkpoint_due {
            return Ok(());
        }
        crash::pass(Step::CheckpointIdle);
        let next = self.batch.successor();
        let batch = std::mem::replace(&mut self.batch, next);
        self.submit(batch).await
    }

    async fn conclude(&mut self, outcome: Outcome) -> Result<(), End> {
        match outcome {
            Outcome::Applied {
                mut batch,
                failed,
                checkpointed,
            } => {
                self.count_applied(&batch, &failed);
                let letters: Vec<Letter> = failed.iter().map(|one| letter(&mut batch, one)).collect();
                if !letters.is_empty() {
                    self.refuse(&letters)?;
                }
                self.advance(batch.end(), checkpointed)
            }
            Outcome::Checkpointed(offset) => {
                let applied = self.context.progress.ladder().applied.max(offset);
                self.advance(applied, Some(offset))
            }
            Outcome::Advanced(advance) => self.take_advance(*advance),
            Outcome::Rejected { batch, failed } => self.without(batch, &failed).await,
            Outcome::Unavailable { reply } => {
                Counters::add(&self.context.progress.counters.batches_failed, 1);
                Err(End::Unavailable(reply))
            }
        }
    }

    /// News from a cluster.
    fn take_advance(&mut self, advance: Advance) -> Result<(), End> {
        let progress = &self.context.progress;
        let refused = advance.refused.len() as u64;
        Counters::add(&progress.counters.batches_applied, advance.batches);
        Counters::add(
            &progress.counters.commands_applied,
            advance.commands.saturating_sub(refused),
        );
        Counters::add(
            &progress.counters.commands_replayed,
            advance.replayed + advance.skipped,
        );
        Counters::add(&progress.counters.transactions_split, advance.split_transactions);
        if let Some(at) = advance.oldest {
            progress.apply_latency.observe(at.elapsed().as_secs_f64());
        }
        if let Some(trouble) = advance.trouble {
            progress.report(trouble.message, trouble.hint);
        }
        let applied = advance.applied.unwrap_or(progress.ladder().applied);
        let letters = advance.refused.into_iter().map(|(command, reason)| Letter {
            offset: applied,
            db: 0,
            reason,
            command,
        });
        let letters: Vec<Letter> = letters.collect();
        if !letters.is_empty() {
            self.refuse(&letters)?;
        }
        if advance.applied.is_some() || advance.checkpointed.is_some() {
            self.advance(applied, advance.checkpointed)?;
        }
        Ok(())
    }

    /// Nothing of the batch is applied: it goes out again without the commands that the target does not take.
    async fn without(&mut self, mut batch: Batch, failed: &[Failed]) -> Result<(), End> {
        Counters::add(&self.context.progress.counters.batches_failed, 1);
        let letters: Vec<Letter> = failed.iter().map(|one| letter(&mut batch, one)).collect();
        self.refuse(&letters)?;
        let mut indexes: Vec<usize> = failed.iter().filter_map(|one| one.index).collect();
        indexes.sort_unstable();
        indexes.iter().rev().for_each(|index| batch.remove(*index));
        self.submit(batch).await
    }

    fn count_applied(&self, batch: &Batch, failed: &[Failed]) {
        let progress = &self.context.progress;
        Counters::add(&progress.counters.batches_applied, 1);
        Counters::add(
            &progress.counters.commands_applied,
            (batch.commands() - failed.len().min(batch.commands())) as u64,
        );
        if let Some(at) = batch.oldest() {
            progress.apply_latency.observe(at.elapsed().as_secs_f64());
        }
    }

    fn advance(&mut self, end: Offset, checkpointed: Option<Offset>) -> Result<(), End> {
        if let Some(offset) = checkpointed {
            self.checkpointed = self.checkpointed.max(offset);
        }
        self.applying.applied(end, self.checkpointed);
        if checkpointed.is_some() {
            self.parked.forget_settled()?;
            crash::pass(Step::BatchAdvanced);
            if self.reader.history().is_ok() {
                self.context.log.set_releasable(self.checkpointed);
            }
            crash::pass(Step::BatchReleasable);
            self.applying
                .released(self.context.log.released().min(self.checkpointed));
        }
        Ok(())
    }

    /// Writes dead letters, and says whether the pipeline may go on.
    fn refuse(&mut self, letters: &[Letter]) -> Result<(), End> {
        let context = &self.context;
        refuse(
            &context.progress,
            context.settings.on_error,
            self.letters,
            letters,
        )
    }
}

/// Between two looks at what the target has confirmed during a full sync.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);
