//! One pipeline: one source, its log, one target. The only room that knows all three.
//!
//! Two tasks: [`receive`] follows the source into the log and never waits for the target; [`apply`] reads the log onto the target, after
//! [`full_sync`] has restored the snapshot where there is one. They share the log and `Progress`. This file decides, whenever one of
//! them has ended, how it goes on: it reads the checkpoint anew, asks [`super::resume`] for a plan and carries it out.
//!
//! Promises: one pipeline's trouble is its own; what passes by itself is tried again, with growing pauses, for ever; what needs a person says so in
//! status, with a hint. Only at the very first contact does such a trouble end the pipeline, so that a command line with a typo ends with an
//! exit code instead of a daemon that waits.

pub mod apply;
pub mod backoff;
pub mod crossing;
pub mod dead_letter;
pub mod full_sync;
pub mod gate;
pub mod gauge;
pub mod header;
pub mod load;
pub mod noted;
pub mod orders;
pub mod parked;
pub mod receive;
pub mod replay;
pub mod shard;
pub mod stale;
pub mod tenure;
pub mod turn;
mod walk;

mod decide;
mod end;
mod inherit;
mod judge;
mod link;
mod live_lane;
mod paused;
mod places;
mod refused;
mod requested;
mod round;
mod settings;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::catalog::Catalog;
use super::log::{self, Log};
use super::position::{Epoch, History, Offset};
use super::progress::{Counters, Phase, Progress, State};
use super::resume::{self, Ask, Plan, Read, Reason};
use super::source::Follower;
use super::target;
use super::target::session::{Claim, Session, now_ms};
use super::topology::Place;

pub use end::End;
use orders::NotBegun;
pub use orders::{Mode, Orders, Wish};
pub use settings::{
    Delivery, FunctionExists, Goal, KeyExists, ModuleAux, OnError, OnFull, Settings, StaleKeys,
};
pub use tenure::Tenure;

use backoff::Backoff;
use dead_letter::DeadLetters;
use requested::Next;
use round::Round;
use turn::Turn;

/// A trouble that needs a person, met at the first contact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fatal {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// One pipeline.
#[derive(Debug)]
pub struct Pipeline {
    settings: Arc<Settings>,
    source_place: Place,
    target_place: Place,
    turn: Arc<Turn>,
    log: Log,
    catalog: Catalog,
    progress: Arc<Progress>,
    orders: Arc<Orders>,
    evictions: Arc<apply::Evictions>,
    wish: watch::Receiver<Wish>,
}

/// Why a pipeline has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was stopped, or everything is done that was wanted: it will not run again.
    Over,
    /// Another process is to run it.
    NotOurs,
}

/// A target that has not answered for so long may take longer: from then on the source is received without it.
const TARGET_PATIENCE: Duration = Duration::from_secs(2);

/// A master that has given its last slot away becomes a replica of the shard that has got it.
const ANOTHERS: &str = "the node that was followed is of another shard now";

/// So many sessions of ours are remembered.
const OWN_TOKENS_MAX: usize = 16;

impl Pipeline {
    /// A pipeline over an opened log.
    #[must_use]
    pub fn new(
        settings: Settings,
        log: Log,
        catalog: Catalog,
        progress: Arc<Progress>,
        orders: Arc<Orders>,
    ) -> Pipeline {
        let wish = orders.wishes();
        Pipeline {
            turn: Turn::new(&settings.turns),
            source_place: settings.source_place.clone(),
            target_place: settings.target_place.clone(),
            settings: Arc::new(settings),
            log,
            catalog,
            progress,
            orders,
            evictions: Arc::default(),
            wish,
        }
    }

    /// The deployment's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Runs until the wish is to stop, or another one is to run it.
    ///
    /// # Errors
    /// The first contact met a trouble that needs a person.
    pub async fn run(mut self) -> Result<Ended, Fatal> {
        let mut round = Round {
            wish: *self.wish.borrow(),
            dead_letters: DeadLetters::new(&self.settings.dead_letter_dir, &self.settings.name),
            backoff: Backoff::new(),
            receiver: None,
            history: None,
            source_run_id: None,
            first_contact: true,
            untouched: self.settings.begins_with_process,
            tokens: VecDeque::new(),
            standing: None,
            trust_checkpoint: self.settings.resume,
            began_ms: now_ms(),
            inherits: self.settings.inherits,
            force: self.must_begin_anew(),
            force_is_asked: false,
            asked_for: None,
            placed: false,
            requested: false,
            damaged: 0,
        };
        let result = Box::pin(self.rounds(&mut round)).await;
        round.stop_receiving().await;
        if let Err(error) = self.log.persist().await {
            tracing::warn!(%error, "the log could not be persisted at the end");
        }
        // By why it ended, not by what is wished by now: the lease may be ours again.
        match &result {
            Ok(Ended::NotOurs) => {
                let lost = NotBegun::Unknown("the lease went to another member meanwhile".to_owned());
                self.orders.answer(Err(lost));
            }
            Ok(Ended::Over) | Err(_) => {
                self.orders.close();
                self.progress.set_state(State::Stop);
            }
        }
        result
    }

    async fn rounds(&mut self, round: &mut Round) -> Result<Ended, Fatal> {
        loop {
            if let ControlFlow::Break(ended) = self.hear(round).await {
                return Ok(ended);
            }
            if round.receiver.as_ref().is_some_and(receive::Task::has_ended)
                && let Some(receiver) = round.receiver.take()
            {
                // A bug of ours, told by stop(): the stream goes on with a new task.
                receiver.stop().await;
                self.wait_after(round, "the receiving task ended", None).await;
                continue;
            }
            if !self.know_source(round).await? {
                continue;
            }
            if round.wish.mode == Mode::Pause && self.rest(round).await {
                continue;
            }
            let Some(mut session) = self.take_session(round).await? else {
                continue;
            };
            let before = self.progress.ladder().checkpointed;
            let mut wish = self.wish.clone();
            let lost = async {
                // An error: nobody can wish any more.
                let _ = wish.wait_for(|wish| wish.tenure == Tenure::Follows).await;
            };
            let work = Box::pin(async {
                match self.inherit(round, &mut session).await {
                    Ok(()) => Box::pin(self.carry_out(round, session))
                        .await
                        .unwrap_or_else(End::Log),
                    Err(end) => end,
                }
            });
            let end = tokio::select! {
                // First: nothing may be written under a lease that is lost, and what is under way may hang.
                biased;
                () = lost => End::Wished,
                end = work => end,
            };
            match end {
                End::Done => return Ok(Ended::Over),
                End::Unfit(fatal) if round.untouched => return Err(fatal),
                _ => {}
            }
            if self.progress.ladder().checkpointed > before {
                round.backoff.reset();
                round.damaged = 0;
                round.trust_checkpoint = true;
            }
            if let Some(fatal) = self.refused_at_first(round) {
                return Err(fatal);
            }
            self.decide(round, end).await;
        }
    }

    /// Takes note of the wish. Break: it is to stop.
    async fn hear(&mut self, round: &mut Round) -> ControlFlow<Ended> {
        let wish = *self.wish.borrow_and_update();
        let begins_anew = wish.turn != round.wish.turn;
        round.untouched &= wish == round.wish;
        round.wish = wish;
        if !wish.tenure.is_ours() && wish.mode != Mode::Stop {
            return ControlFlow::Break(Ended::NotOurs);
        }
        match wish.mode {
            Mode::Stop => return ControlFlow::Break(Ended::Over),
            Mode::Pause => {
                self.turn.give_back();
                self.progress.set_state(State::Pause);
            }
            Mode::Run => self.progress.set_state(State::Run),
        }
        if begins_anew {
            round.backoff.reset();
            round.damaged = 0;
            round.stop_receiving().await;
        }
        ControlFlow::Continue(())
    }

    /// A source that greets us and then refuses `PSYNC` needs a person; at the first contact that ends the pipeline.
    fn refused_at_first(&self, round: &Round) -> Option<Fatal> {
        let (message, hint) = round.receiver.as_ref()?.refusal()?;
        let nothing_yet = round.untouched
            && self.log.history().is_none()
            && self.progress.ladder().checkpointed == Offset::ZERO;
        nothing_yet.then_some(Fatal { message, hint })
    }

    /// Makes sure that the source's history is known: from the link, or by greeting the source. False when it must be tried again.
    async fn know_source(&mut self, round: &mut Round) -> Result<bool, Fatal> {
        if let Some(receiver) = &round.receiver {
            round.history = receiver.history().or(round.history);
            return Ok(true);
        }
        self.progress.set_phase(Phase::Connecting);
        if !self.source_is_at(round).await? {
            return Ok(false);
        }
        let greeted = tokio::select! {
            biased;
            _ = self.wish.changed() => return Ok(false),
            () = self.source_place.changed() => return Ok(false),
            greeted = Follower::connect(&self.settings.source) => greeted,
        };
        match greeted {
            Ok(follower) if self.settings.is_anothers(follower.info().history) => {
                self.source_place.doubt();
                self.wait_after(round, ANOTHERS, None).await;
                Ok(false)
            }
            Ok(follower) => {
                round.history = follower.info().history;
                round.source_run_id.clone_from(&follower.info().run_id);
                Ok(true)
            }
            Err(error) if round.first_contact && round.untouched && error.needs_a_person() => Err(Fatal {
                message: error.to_string(),
                hint: error.hint(),
            }),
            Err(error) => {
                self.source_place.doubt();
                self.wait_after(round, &error.to_string(), error.hint()).await;
                Ok(false)
            }
        }
    }

    /// Takes over the target. None when it must be tried again.
    async fn take_session(&mut self, round: &mut Round) -> Result<Option<Session>, Fatal> {
        if !self.target_is_at(round).await? {
            return Ok(None);
        }
        let (settings, run_id) = (Arc::clone(&self.settings), round.source_run_id.clone());
        let token = Session::new_token();
        // Noted before it is used: a session that was given up half-way is no rival.
        round.tokens.truncate(OWN_TOKENS_MAX - 1);
        round.tokens.push_front(token.clone());
        let ours: Vec<String> = round.tokens.iter().chain(&round.standing).cloned().collect();
        let claim = Claim {
            epoch: round.wish.tenure.epoch(),
            ours: &ours,
        };
        let mut taking = pin!(Session::take(&settings.target, run_id.as_deref(), token, claim));
        let mut has_waited = false;
        let taken = loop {
            tokio::select! {
                biased;
                _ = self.wish.changed() => return Ok(None),
                () = self.target_place.changed() => return Ok(None),
                taken = &mut taking => break taken,
                // A target that is frozen answers nothing for long, and the source must not wait for it.
                () = tokio::time::sleep(TARGET_PATIENCE), if !has_waited => {
                    has_waited = true;
                    self.receive_while_waiting(round);
                }
            }
        };
        match taken {
            Ok(session) => {
                round.first_contact = false;
                round.standing = Some(session.token.clone());
                self.progress.set_target_run_id(session.facts.run_id.clone());
                self.notice_rival(&round.tokens, &session);
                Ok(Some(session))
            }
            Err(error)
                if round.untouched
                    && (round.first_contact && error.is_denied() || error.is_same_server()) =>
            {
                Err(Fatal {
                    message: error.to_string(),
                    hint: error.hint(),
                })
            }
            Err(target::Error::Outranked { address, epoch }) => {
                // Whoever holds the lease finds out whether it still is ours; until then nothing is written.
                self.orders.set_outranked(epoch);
                let error = target::Error::Outranked { address, epoch };
                self.wait_for_target(round, &error).await;
                Ok(None)
            }
            Err(error) => {
                // The source must not wait for the target: what comes after the log's end can be received meanwhile.
                self.receive_while_waiting(round);
                self.target_place.doubt();
                Counters::add(&self.progress.counters.target_reconnects, 1);
                self.wait_for_target(round, &error).await;
                Ok(None)
            }
        }
    }

    /// A session that is neither ours of before nor gone says that another gunyu writes there: it ends our connections, we end its, and
    /// without this nobody would see why.
    fn notice_rival(&self, ours: &VecDeque<String>, session: &Session) {
        let is_first = ours.len() == 1;
        let is_ours = session
            .previous
            .as_ref()
            .is_none_or(|before| ours.contains(before));
        if is_first || is_ours {
            return;
        }
        let error = session.superseded();
        tracing::warn!(hint = error.hint(), "{error}");
        self.progress.report(error.to_string(), error.hint());
    }

    fn receiver(&self, ask: Ask) -> receive::Task {
        receive::Task::start(
            Arc::clone(&self.settings),
            Arc::clone(&self.turn),
            self.log.clone(),
            Arc::clone(&self.progress),
            ask,
        )
    }

    /// Plans, prepares the log and the receiver, and applies until something ends it.
    async fn carry_out(&mut self, round: &mut Round, mut session: Session) -> Result<End, log::Error> {
        if round.wish.mode == Mode::Run
            && let Some(wish) = self.orders.take_full_sync(round.wish.turn)
        {
            let next = self.begin_requested(wish, &mut session).await;
            if let Next::AsBefore(end) = next {
                return Ok(end);
            }
            round.force = Some(Reason::Requested);
            round.requested = true;
            if matches!(next, Next::FullSyncInNewSession) {
                return Ok(End::LogChanged);
            }
        }
        if self.settings.awaits_full_sync && !round.requested && round.wish.mode == Mode::Run {
            // Without the one that was asked for nothing is to happen here.
            return Ok(End::Done);
        }
        if round.dead_letters.is_behind() {
            let (progress, on_error) = (&self.progress, self.settings.on_error);
            if let Err(end) = refused::refuse(progress, on_error, &mut round.dead_letters, &[]) {
                return Ok(end);
            }
        }
        let recorded = session.record.checkpoint.filter(|_| round.trust_checkpoint);
        // The ladder's generation before the log: a snapshot that begins in between is then noticed by the former.
        let mut generation = self.progress.generation();
        let log = resume::Log::of(&self.log);
        let mut plan = resume::plan(
            round.history.as_ref(),
            log.as_ref(),
            recorded.map(|at| at.position),
        );
        let is_asking = round
            .receiver
            .as_ref()
            .is_some_and(receive::Task::asks_for_snapshot);
        let is_coming = round.force_is_asked && round.receiver.is_some();
        if is_coming && !is_asking {
            // Its snapshot has begun while nothing was applied: it is the log's, as any other.
            (round.force, round.force_is_asked) = (None, false);
        }
        let force = round.force.filter(|_| !is_coming);
        let forced = force.is_some();
        let whole = |case, reason| Plan {
            case,
            keep_log: false,
            ask: Ask::FullSync(reason),
            read: Read::Coming,
        };
        if let Some(reason) = force {
            plan = whole('F', reason);
        } else if is_asking && !plan.keep_log {
            // The source has refused to continue: what the log just then does not hold any more is not asked for again.
            plan = whole('G', round.asked_for.unwrap_or(Reason::SourceRefused));
        } else if let (Ask::FullSync(_), Some(reason)) = (plan.ask, round.asked_for) {
            plan.ask = Ask::FullSync(reason);
        } else if let (Read::Snapshot(_), Some(snapshot)) = (plan.read, self.log.snapshot())
            && requested::is_of_before(
                &snapshot,
                &session.record,
                session.epoch != Epoch::NONE,
                (!round.trust_checkpoint).then_some(round.began_ms),
            )
        {
            // The target has more than that snapshot and knows no position: the stream behind it would be applied a second time.
            plan = whole('F', Reason::Requested);
        }
        round.asked_for = match plan.ask {
            Ask::FullSync(reason) => Some(reason),
            Ask::Continue(_) => None,
        };
        tracing::info!(case = %plan.case, ask = ?plan.ask, read = ?plan.read, "planned");
        let keeps = plan.keep_log && round.receiver.is_some();
        let comes = is_asking && plan.read == Read::Coming && !forced;
        let paused = round.wish.mode == Mode::Pause;
        if paused && !matches!(plan.read, Read::Log(_)) && !self.log.resumable() {
            round.stop_receiving().await;
            let _ = self.wish.changed().await;
            return Ok(End::Wished);
        }
        if !(keeps || comes) {
            round.stop_receiving().await;
            self.prepare_log(&plan).await?;
            generation = self.progress.generation();
            round.receiver = Some(self.receiver(plan.ask));
            round.force_is_asked = forced;
        }
        let reason = match plan.ask {
            Ask::FullSync(reason) => reason,
            Ask::Continue(_) => Reason::Resumed,
        };
        round.placed = true;
        if paused {
            self.show_paused(plan.read, generation);
            return Ok(End::Wished);
        }
        let context = apply::Context {
            settings: Arc::clone(&self.settings),
            turn: Arc::clone(&self.turn),
            log: self.log.clone(),
            catalog: self.catalog.clone(),
            progress: Arc::clone(&self.progress),
            evictions: Arc::clone(&self.evictions),
            wish: self.wish.clone(),
            wished: round.wish,
        };
        let letters = &mut round.dead_letters;
        let Some(receiver) = round.receiver.as_mut() else {
            return Ok(End::LogChanged);
        };
        if plan.read == Read::Coming {
            match receiver.snapshot_begins(&self.log, &mut self.wish).await {
                receive::Begins::Snapshot => {
                    (round.asked_for, round.force, round.force_is_asked) = (None, None, false);
                }
                receive::Begins::Wished => return Ok(End::Wished),
                receive::Begins::Refused(message, hint) => return Ok(End::SourceRefuses { message, hint }),
            }
            generation = self.progress.generation();
        }
        let applying = async {
            match plan.read {
                Read::Log(_) if self.settings.goal == Goal::Snapshot => {
                    context.snapshot_is_there(session, round.requested).await
                }
                Read::Log(from) => {
                    let from = apply::From {
                        at: from,
                        db: recorded.map_or(0, |at| at.db),
                        is_restored_here: false,
                    };
                    context.stream(session, generation, from, letters).await
                }
                Read::Snapshot(_) | Read::Coming => {
                    context
                        .snapshot_then_stream(session, generation, reason, letters)
                        .await
                }
            }
        };
        tokio::select! {
            end = applying => Ok(end),
            () = self.target_place.changed() => Ok(End::TargetMoved),
            // It ends only when it is stopped, or by a bug of ours.
            () = receiver.ended() => Ok(End::LogChanged),
        }
    }

    /// Brings log and ladder to where the plan wants them before the source is asked.
    async fn prepare_log(&self, plan: &Plan) -> Result<(), log::Error> {
        match plan.ask {
            Ask::Continue(at) if plan.keep_log => {
                self.progress.begin_history(at.offset);
            }
            Ask::Continue(at) => {
                self.log.start_at(History::new(at.id), at.offset).await?;
                self.progress.begin_history(at.offset);
            }
            Ask::FullSync(_) => {
                // What the log holds is not wanted: a snapshot that is found in it from here on is the new one.
                if let Some(history) = self.log.history() {
                    self.log.start_at(history, Offset::ZERO).await?;
                }
                self.progress.begin_history(Offset::ZERO);
            }
        }
        Ok(())
    }
}
