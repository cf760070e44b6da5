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
pub mod dead_letter;
pub mod full_sync;
pub mod gauge;
pub mod header;
pub mod parked;
pub mod receive;
pub mod stale;

mod judge;
mod link;
mod live_lane;
mod refused;
mod settings;

use std::sync::Arc;

use tokio::sync::watch;

use super::catalog::Catalog;
use super::log::{self, Log};
use super::position::{History, Offset};
use super::progress::{Counters, Phase, Progress, State};
use super::resume::{self, Ask, Plan, Read, Reason};
use super::source::Follower;
use super::target::session::Session;
use super::{rdb, resp, target};

pub use settings::{Delivery, FunctionExists, KeyExists, ModuleAux, OnError, OnFull, Settings, StaleKeys};

use backoff::Backoff;
use dead_letter::DeadLetters;

/// What the operator wants of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wish {
    /// To run.
    #[default]
    Run,
    /// To receive, and apply nothing.
    Pause,
    /// To drain the batch under way, and end.
    Stop,
}

/// A trouble that needs a person, met at the first contact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fatal {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Why applying ended.
#[derive(Debug)]
pub enum End {
    /// The wish is not to run any more.
    Wished,
    /// The log began anew: the source sent a snapshot, or the plan changed.
    LogChanged,
    /// The target failed; it is tried again in a new session.
    Target(target::Error),
    /// The target cannot take anything now.
    Unavailable(String),
    /// The log cannot be read. It is dropped, and the source asked from the checkpoint.
    Log(log::Error),
    /// The snapshot cannot be read: a new one is needed.
    Snapshot(rdb::Error),
    /// The stream cannot be read: a full sync is needed.
    Stream(resp::Error),
    /// The catalog failed.
    Catalog(super::catalog::Error),
    /// A person must decide.
    Stuck {
        /// What happened.
        message: String,
        /// What to do.
        hint: String,
    },
}

/// One pipeline.
#[derive(Debug)]
pub struct Pipeline {
    settings: Arc<Settings>,
    log: Log,
    catalog: Catalog,
    progress: Arc<Progress>,
    wish: watch::Receiver<Wish>,
}

/// What carries over from one round to the next.
struct Round {
    dead_letters: DeadLetters,
    backoff: Backoff,
    receiver: Option<receive::Task>,
    /// The source's lineage as last heard.
    history: Option<History>,
    source_run_id: Option<String>,
    first_contact: bool,
    /// The token of our last session on the target.
    session: Option<String>,
    /// Whether the target's checkpoint counts: not before this process has written one, where resuming is off.
    trust_checkpoint: bool,
    /// A full sync that must come about whatever the plan says.
    force: Option<Reason>,
    /// Snapshots in a row that could not be read.
    damaged: u32,
}

impl Pipeline {
    /// A pipeline over an opened log.
    #[must_use]
    pub fn new(
        settings: Settings,
        log: Log,
        catalog: Catalog,
        progress: Arc<Progress>,
        wish: watch::Receiver<Wish>,
    ) -> Pipeline {
        Pipeline {
            settings: Arc::new(settings),
            log,
            catalog,
            progress,
            wish,
        }
    }

    /// Runs until the wish is to stop.
    ///
    /// # Errors
    /// The first contact met a trouble that needs a person.
    pub async fn run(mut self) -> Result<(), Fatal> {
        let mut round = Round {
            dead_letters: DeadLetters::new(&self.settings.dead_letter_dir, &self.settings.name),
            backoff: Backoff::new(),
            receiver: None,
            history: None,
            source_run_id: None,
            first_contact: true,
            session: None,
            trust_checkpoint: self.settings.resume,
            force: None,
            damaged: 0,
        };
        let result = self.rounds(&mut round).await;
        if let Some(receiver) = round.receiver.take() {
            receiver.stop().await;
        }
        if let Err(error) = self.log.persist().await {
            tracing::warn!(%error, "the log could not be persisted at the end");
        }
        self.progress.set_state(State::Stop);
        result
    }

    async fn rounds(&mut self, round: &mut Round) -> Result<(), Fatal> {
        loop {
            match *self.wish.borrow_and_update() {
                Wish::Stop => return Ok(()),
                Wish::Pause => self.progress.set_state(State::Pause),
                Wish::Run => self.progress.set_state(State::Run),
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
            if *self.wish.borrow() == Wish::Pause {
                self.receive_while_waiting(round);
                let _ = self.wish.changed().await;
                continue;
            }
            let Some(session) = self.take_session(round).await? else {
                continue;
            };
            let before = self.progress.ladder().checkpointed;
            let end = match self.carry_out(round, session).await {
                Ok(end) => end,
                Err(error) => End::Log(error),
            };
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

    /// A source that greets us and then refuses `PSYNC` needs a person; at the first contact that ends the pipeline.
    fn refused_at_first(&self, round: &Round) -> Option<Fatal> {
        let (message, hint) = round.receiver.as_ref()?.refusal()?;
        let nothing_yet = self.log.history().is_none() && self.progress.ladder().checkpointed == Offset::ZERO;
        nothing_yet.then_some(Fatal { message, hint })
    }

    /// Makes sure that the source's history is known: from the link, or by greeting the source. False when it must be tried again.
    async fn know_source(&mut self, round: &mut Round) -> Result<bool, Fatal> {
        if let Some(receiver) = &round.receiver {
            round.history = receiver.history().or(round.history);
            return Ok(true);
        }
        self.progress.set_phase(Phase::Connecting);
        let greeted = tokio::select! {
            greeted = Follower::connect(&self.settings.source) => greeted,
            _ = self.wish.changed() => return Ok(false),
        };
        match greeted {
            Ok(follower) => {
                round.history = follower.info().history;
                round.source_run_id.clone_from(&follower.info().run_id);
                Ok(true)
            }
            Err(error) if round.first_contact && error.needs_a_person() => Err(Fatal {
                message: error.to_string(),
                hint: error.hint(),
            }),
            Err(error) => {
                self.wait_after(round, &error.to_string(), error.hint()).await;
                Ok(false)
            }
        }
    }

    /// Takes over the target. None when it must be tried again.
    async fn take_session(&mut self, round: &mut Round) -> Result<Option<Session>, Fatal> {
        let taken = tokio::select! {
            taken = Session::take(&self.settings.target, round.source_run_id.as_deref()) => taken,
            _ = self.wish.changed() => return Ok(None),
        };
        match taken {
            Ok(session) => {
                round.first_contact = false;
                let ours = round.session.replace(session.token.clone());
                self.notice_rival(ours.as_deref(), &session);
                Ok(Some(session))
            }
            Err(error) if round.first_contact && error.is_denied() || error.is_same_server() => Err(Fatal {
                message: error.to_string(),
                hint: error.hint(),
            }),
            Err(error) => {
                // The source must not wait for the target: what comes after the log's end can be received meanwhile.
                self.receive_while_waiting(round);
                Counters::add(&self.progress.counters.target_reconnects, 1);
                self.wait_after(round, &error.to_string(), error.hint()).await;
                Ok(None)
            }
        }
    }

    /// A session that is neither ours of before nor gone says that another gunyu writes there: it ends our connections, we end its, and
    /// without this nobody would see why.
    fn notice_rival(&self, ours: Option<&str>, session: &Session) {
        let before = session.previous.as_deref();
        if ours.is_none() || before.is_none() || before == ours {
            return;
        }
        let error = session.superseded();
        tracing::warn!(hint = error.hint(), "{error}");
        self.progress.report(error.to_string(), error.hint());
    }

    /// What the log holds, as far as it can be used.
    fn log_state(&self) -> Option<resume::Log> {
        let (history, extent, snapshot) = self.log.look()?;
        let whole = snapshot.filter(|one| one.stage != log::Stage::Abandoned);
        let usable = whole
            .map(|one| one.position.offset)
            .filter(|at| *at == extent.start);
        let broke_off = snapshot.is_some() && usable.is_none() && extent.len_bytes() == 0;
        (!broke_off).then_some(resume::Log {
            history,
            extent,
            snapshot: usable,
        })
    }

    /// Where the target is away and the log can go on, receives into it.
    fn receive_while_waiting(&self, round: &mut Round) {
        if round.receiver.is_some() {
            return;
        }
        // An empty log says nothing that the checkpoint does not say better.
        let Some(log) = self
            .log_state()
            .filter(|log| log.extent.len_bytes() > 0 || log.snapshot.is_some())
        else {
            return;
        };
        let end = super::position::Position {
            id: log.history.id,
            offset: log.extent.end,
        };
        if round.history.is_none_or(|history| history.contains(&end)) {
            tracing::info!(%end, "receiving from the log's end while nothing is applied");
            self.progress.begin_history(end.offset);
            round.receiver = Some(self.receiver(Ask::Continue(end)));
        }
    }

    fn receiver(&self, ask: Ask) -> receive::Task {
        receive::Task::start(
            Arc::clone(&self.settings),
            self.log.clone(),
            Arc::clone(&self.progress),
            ask,
        )
    }

    /// Plans, prepares the log and the receiver, and applies until something ends it.
    async fn carry_out(&mut self, round: &mut Round, session: Session) -> Result<End, log::Error> {
        let recorded = session.record.checkpoint.filter(|_| round.trust_checkpoint);
        // The ladder's generation before the log: a snapshot that begins in between is then noticed by the former.
        let mut generation = self.progress.generation();
        let log = self.log_state();
        let mut plan = resume::plan(
            round.history.as_ref(),
            log.as_ref(),
            recorded.map(|at| at.position),
        );
        let force = round.force.take();
        let forced = force.is_some();
        if let Some(reason) = force {
            plan = Plan {
                case: 'F',
                keep_log: false,
                ask: Ask::FullSync(reason),
                read: Read::Coming,
            };
        }
        tracing::info!(case = %plan.case, ask = ?plan.ask, read = ?plan.read, "planned");
        let is_asking = round
            .receiver
            .as_ref()
            .is_some_and(receive::Task::asks_for_snapshot);
        let keeps = plan.keep_log && round.receiver.is_some();
        let comes = is_asking && plan.read == Read::Coming && !forced;
        if !(keeps || comes) {
            if let Some(receiver) = round.receiver.take() {
                receiver.stop().await;
            }
            self.prepare_log(&plan).await?;
            generation = self.progress.generation();
            round.receiver = Some(self.receiver(plan.ask));
        }
        let reason = match plan.ask {
            Ask::FullSync(reason) => reason,
            Ask::Continue(_) => Reason::Resumed,
        };
        let context = apply::Context {
            settings: Arc::clone(&self.settings),
            log: self.log.clone(),
            catalog: self.catalog.clone(),
            progress: Arc::clone(&self.progress),
            wish: self.wish.clone(),
        };
        let letters = &mut round.dead_letters;
        let Some(receiver) = round.receiver.as_mut() else {
            return Ok(End::LogChanged);
        };
        if plan.read == Read::Coming {
            if receiver
                .snapshot_begins(&self.log, &mut self.wish)
                .await
                .is_none()
            {
                return Ok(End::Wished);
            }
            generation = self.progress.generation();
        }
        let applying = async {
            match plan.read {
                Read::Log(from) => {
                    let db = recorded.map_or(0, |at| at.db);
                    context.stream(session, generation, from, db, letters).await
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

    /// Retry, resync or stop: the one place where it is decided.
    async fn decide(&mut self, round: &mut Round, end: End) {
        match end {
            End::Wished | End::LogChanged => {}
            End::Target(error) => {
                Counters::add(&self.progress.counters.target_reconnects, 1);
                self.wait_after(round, &error.to_string(), error.hint()).await;
            }
            End::Unavailable(reply) => {
                let hint = target::refusal::Kind::of(&reply).hint(&reply);
                self.wait_after(round, &format!("the target takes nothing now: {reply}"), hint)
                    .await;
            }
            End::Log(log::Error::Superseded) => {}
            End::Log(log::Error::Abandoned { received }) => {
                self.wait_after(
                    round,
                    &format!("the snapshot broke off after {received} bytes"),
                    None,
                )
                .await;
            }
            End::Log(log::Error::Released { .. }) => {
                tracing::info!("the log was released past our position; planning anew");
            }
            End::Log(error) => self.drop_damaged_log(round, &error).await,
            End::Snapshot(error) if round.damaged > 0 => {
                let hint = "the source's format may be newer than this gunyu, or something changes bytes on the way: \
                            check the source with redis-check-rdb, then restart";
                self.stand_still(
                    &format!("two snapshots in a row cannot be read: {error}"),
                    hint.to_owned(),
                )
                .await;
            }
            End::Snapshot(error) => {
                round.damaged += 1;
                round.force = Some(Reason::Damaged);
                self.wait_after(round, &format!("the snapshot is damaged: {error}"), None)
                    .await;
            }
            End::Stream(error) => {
                round.force = Some(Reason::Damaged);
                self.wait_after(round, &format!("the stream cannot be read: {error}"), None)
                    .await;
            }
            End::Catalog(error) => {
                let hint = error.hint().map(str::to_owned);
                self.wait_after(round, &error.to_string(), hint).await;
            }
            End::Stuck { message, hint } => self.stand_still(&message, hint).await,
        }
    }

    /// The log cannot be trusted any more: what is on the target decides where to go on.
    async fn drop_damaged_log(&mut self, round: &mut Round, error: &log::Error) {
        if let Some(receiver) = round.receiver.take() {
            receiver.stop().await;
        }
        let history = self.log.history();
        if let Some(history) = history
            && let Err(error) = self.log.start_at(history, Offset::ZERO).await
        {
            tracing::error!(%error, "the damaged log could not be dropped");
        }
        self.wait_after(round, &error.to_string(), error.hint().map(str::to_owned))
            .await;
    }

    /// Reports a trouble and waits before the next try, unless the wish changes.
    async fn wait_after(&mut self, round: &mut Round, message: &str, hint: Option<String>) {
        let pause = round.backoff.pause();
        tracing::warn!(pause_ms = pause.as_millis(), hint = hint.as_deref(), "{message}");
        self.progress.report(message.to_owned(), hint);
        self.progress.set_phase(Phase::Backoff);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = self.wish.changed() => {}
        }
    }

    /// Stops applying until the operator wishes something; receiving goes on.
    async fn stand_still(&mut self, message: &str, hint: String) {
        tracing::error!(hint = hint.as_str(), "{message}");
        self.progress.report(message.to_owned(), Some(hint));
        self.progress.set_phase(Phase::Backoff);
        self.progress.set_state(State::Stop);
        // Ends with the operator's next wish; only a person can help here.
        let _ = self.wish.changed().await;
    }
}
