//! The task that receives: follows the source into the log, for as long as it is not stopped.
//!
//! Owns the link to the source, its reconnects, and the acknowledgements. Promises that the socket is always drained: the only thing it ever waits for
//! is the log's room, and then only with `onFull: block`; otherwise it closes the link before the source's buffer grows. After a loss of the link it asks from
//! the log's end. What the source answers it carries out on the log: a new snapshot begins the log anew, which ends those that
//! read the old one.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::gauge;
use super::link::{ACK_EVERY, Ends, Into, Link};
use super::shard::Shard;
use super::turn::Turn;
use super::{ANOTHERS, Settings, Wish};
use crate::core::crash::{self, Step};
use crate::core::log::{self, Log};
use crate::core::position::{History, Position};
use crate::core::progress::{Counters, Phase, Progress, Receiving};
use crate::core::resume::{Ask, Reason};
use crate::core::source::handshake::Answer;
use crate::core::source::info::SourceInfo;
use crate::core::source::{self, Follower};
use crate::core::topology::Place;

/// A full log is tried again when so many bytes are free, or a quarter of a cap that is small: all of it may never be free.
const ROOM_BYTES: u64 = 4 << 20;

/// A node that is behind what the log holds is waited for so long: a replica catches up, and to ask it too early would cost a snapshot.
const BEHIND_LIMIT: Duration = Duration::from_secs(60);

/// So often it is looked at meanwhile.
const BEHIND_PAUSE: Duration = Duration::from_millis(100);

/// What helps where a snapshot does not come, or breaks off, again and again.
pub(super) const NO_SNAPSHOT_HINT: &str = "another one is asked for; where none comes whole, see in the source's log why: BGSAVE fails (memory, disk), \
     client-output-buffer-limit of replicas (CONFIG SET client-output-buffer-limit 'replica 0 0 0' there), repl-timeout";

/// What the task tells the pipeline.
#[derive(Debug, Clone, Default)]
pub(super) struct News {
    pub(super) history: Option<History>,
    /// The source refuses to be followed, and a person must mend it: what it said, and what to do.
    refusal: Option<(String, Option<String>)>,
    /// A snapshot is asked for and has not begun yet.
    pub(super) asks_for_snapshot: bool,
}

/// What came of waiting for a snapshot.
#[derive(Debug)]
pub enum Begins {
    /// It has begun in the log.
    Snapshot,
    /// The wish has changed before.
    Wished,
    /// The source refuses, and a person must mend it: what it said, and what to do.
    Refused(String, Option<String>),
}

/// The running task.
#[derive(Debug)]
pub struct Task {
    stop: watch::Sender<bool>,
    news: watch::Receiver<News>,
    handle: JoinHandle<()>,
}

impl Task {
    /// Starts to follow; the first question is `ask`, later ones go from the log's end.
    #[must_use]
    pub(super) fn start(
        settings: Arc<Settings>,
        turn: Arc<Turn>,
        log: Log,
        progress: Arc<Progress>,
        ask: Ask,
    ) -> Task {
        let (stop, stopping) = watch::channel(false);
        // Not live before the source has answered, however well what the log holds is being applied.
        progress.set_link(false);
        let asks_for_snapshot = matches!(ask, Ask::FullSync(_));
        let (tell, news) = watch::channel(News {
            asks_for_snapshot,
            ..News::default()
        });
        let receiver = Receiver {
            source: settings.source.clone(),
            place: settings.source_place.clone(),
            settings,
            turn,
            log,
            progress,
            tell,
            stopping,
            ask,
            moved: false,
            announced: false,
            behind_since: None,
        };
        Task {
            stop,
            news,
            handle: tokio::spawn(receiver.run()),
        }
    }

    /// The source's lineage as the link last heard it.
    #[must_use]
    pub fn history(&self) -> Option<History> {
        self.news.borrow().history
    }

    /// Whether the source has been, or is going to be, asked for a snapshot that has not begun yet.
    #[must_use]
    pub fn asks_for_snapshot(&self) -> bool {
        self.news.borrow().asks_for_snapshot
    }

    /// What the source said where it refuses to be followed and a person must mend it, and what to do.
    #[must_use]
    pub fn refusal(&self) -> Option<(String, Option<String>)> {
        self.news.borrow().refusal.clone()
    }

    /// Whether the task has ended, which only a bug of ours brings about.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.handle.is_finished()
    }

    /// Waits until the task has ended.
    pub async fn ended(&mut self) {
        // The sender lives as long as the task.
        while self.news.changed().await.is_ok() {}
    }

    /// Waits until the task has something to tell, or has ended.
    pub async fn has_news(&mut self) {
        // An error means that it has ended.
        let _ = self.news.changed().await;
    }

    /// Waits until a snapshot has begun in the log.
    pub async fn snapshot_begins(&mut self, log: &Log, wish: &mut watch::Receiver<Wish>) -> Begins {
        loop {
            // While one is asked for, what the log holds is the one before it.
            let waits = self.news.borrow_and_update().asks_for_snapshot;
            let usable = |one: log::SnapshotInfo| one.stage != log::Stage::Abandoned;
            if !waits && log.snapshot().is_some_and(usable) {
                return Begins::Snapshot;
            }
            if let Some((message, hint)) = self.refusal() {
                return Begins::Refused(message, hint);
            }
            tokio::select! {
                biased;
                _ = wish.changed() => return Begins::Wished,
                changed = self.news.changed() => if changed.is_err() {
                    return Begins::Wished;
                },
            }
        }
    }

    /// Stops following and waits until the link is closed.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.handle.await {
            tracing::error!(%error, "the receiving task ended badly");
        }
    }
}

struct Receiver {
    settings: Arc<Settings>,
    /// The source as it was last connected to.
    source: source::Settings,
    place: Place,
    turn: Arc<Turn>,
    log: Log,
    progress: Arc<Progress>,
    tell: watch::Sender<News>,
    stopping: watch::Receiver<bool>,
    ask: Ask,
    /// The last link continued the stream, and brought some of it.
    moved: bool,
    /// The last link was answered with a snapshot.
    announced: bool,
    /// Since when the source has been behind what the log holds.
    behind_since: Option<Instant>,
}

/// Why a link ended.
pub(super) enum LinkEnd {
    Stopped,
    /// The source is another node now.
    Moved,
    /// The source is a replica that has not got yet what the log holds.
    Behind,
    /// The node is of another shard now: what it would send is not this one's.
    Anothers,
    /// The source would send a snapshot, and as many full syncs run as may.
    NotOurTurn(Reason),
    Source(source::Error),
    Log(log::Error),
}

impl Receiver {
    async fn run(mut self) {
        let gauge = tokio::spawn(gauge::watch(
            self.settings.source_place.clone(),
            Arc::clone(&self.progress),
        ));
        let mut backoff = Backoff::new();
        loop {
            let began = Instant::now();
            (self.moved, self.announced) = (false, false);
            let end = self.link().await;
            // A link that moved on by the stream costs the source nothing: on a network that flaps, the next try must not wait.
            if self.moved || began.elapsed() > Duration::from_secs(10) {
                backoff.reset();
            }
            if self.judge(end, &mut backoff).await.is_break() {
                break;
            }
            Counters::add(&self.progress.counters.source_reconnects, 1);
        }
        gauge.abort();
    }

    /// What to do after a link: wait a little or for room, or end.
    async fn judge(&mut self, end: LinkEnd, backoff: &mut Backoff) -> ControlFlow<()> {
        let (message, hint) = match &end {
            LinkEnd::Stopped => return ControlFlow::Break(()),
            LinkEnd::Moved => {
                self.progress.set_link(false);
                backoff.reset();
                self.set_ask(self.next_ask());
                return ControlFlow::Continue(());
            }
            LinkEnd::NotOurTurn(reason) => {
                self.set_ask(Ask::FullSync(*reason));
                return ControlFlow::Continue(());
            }
            LinkEnd::Behind => return self.pause(BEHIND_PAUSE).await,
            LinkEnd::Anothers => {
                self.place.doubt();
                (ANOTHERS.to_owned(), None)
            }
            LinkEnd::Source(error) => {
                self.place.doubt();
                if error.needs_a_person() {
                    self.tell
                        .send_modify(|news| news.refusal = Some((error.to_string(), error.hint())));
                }
                let hint = error.hint().or_else(|| self.hint_of_snapshot());
                (error.to_string(), hint)
            }
            LinkEnd::Log(error @ log::Error::Full { .. }) if self.broke_off() => {
                let hint = "raise channel.storer.maxSize above the size of the source's snapshot";
                (
                    format!("the snapshot does not fit: {error}"),
                    Some(hint.to_owned()),
                )
            }
            LinkEnd::Log(log::Error::Full { .. }) => return self.wait_for_room(&end).await,
            LinkEnd::Log(error @ log::Error::Broken(_)) => {
                if let Err(refused) = self.begin_log_anew().await {
                    return self.give_up(error, &refused);
                }
                (format!("log: {error}"), error.hint().map(str::to_owned))
            }
            LinkEnd::Log(error) => (format!("log: {error}"), error.hint().map(str::to_owned)),
        };
        self.progress.set_link(false);
        let pause = backoff.pause();
        tracing::warn!(pause_ms = pause.as_millis(), hint = hint.as_deref(), "{message}");
        self.progress.report(message, hint);
        self.set_ask(self.next_ask());
        tokio::select! {
            () = tokio::time::sleep(pause) => ControlFlow::Continue(()),
            () = self.place.changed() => ControlFlow::Continue(()),
            _ = self.stopping.changed() => ControlFlow::Break(()),
        }
    }

    /// A log whose disk has failed takes nothing any more. It begins anew where it ended; whoever still read it finds its checkpoint outside of
    /// it, and the source is asked from there.
    async fn begin_log_anew(&self) -> Result<(), log::Error> {
        let Some(history) = self.log.history() else {
            return Ok(());
        };
        self.log.start_at(history, self.log.appended()).await
    }

    /// There is no log any more, so nothing to go on from but the checkpoint: whoever planned this plans anew. The source has refused nothing.
    fn give_up(&self, error: &log::Error, refused: &log::Error) -> ControlFlow<()> {
        self.progress.set_link(false);
        let hint = refused.hint().map(str::to_owned);
        let message = format!("log: {error}; it cannot begin anew: {refused}");
        tracing::error!(hint = hint.as_deref(), "{message}");
        self.progress.report(message, hint);
        ControlFlow::Break(())
    }

    async fn wait_for_room(&mut self, end: &LinkEnd) -> ControlFlow<()> {
        let LinkEnd::Log(error) = end else {
            return ControlFlow::Continue(());
        };
        let hint = "the target is behind, or the input is paused: bring it back (gunyu resume), or raise channel.storer.maxSize; the source is asked to continue once there is room";
        self.progress.set_link(false);
        tracing::warn!(hint, "link to the source closed: {error}");
        self.progress.report(error.to_string(), Some(hint.to_owned()));
        self.set_ask(self.next_ask());
        let space = Arc::clone(self.log.space());
        tokio::select! {
            room = space.wait_for_room(ROOM_BYTES.min(space.max_bytes() / 4)) => match room {
                Ok(()) => ControlFlow::Continue(()),
                // The cap itself is smaller than that: any room will do.
                Err(_) => self.pause(ACK_EVERY).await,
            },
            _ = self.stopping.changed() => ControlFlow::Break(()),
        }
    }

    async fn pause(&mut self, pause: Duration) -> ControlFlow<()> {
        tokio::select! {
            () = tokio::time::sleep(pause) => ControlFlow::Continue(()),
            _ = self.stopping.changed() => ControlFlow::Break(()),
        }
    }

    /// From the log's end, unless the log waits for a snapshot, or holds one that broke off.
    fn next_ask(&self) -> Ask {
        let broke_off = self.broke_off();
        let waits = self.tell.borrow().asks_for_snapshot;
        match (self.log.history(), self.log.extent(), self.ask) {
            (Some(history), Some(extent), _) if !broke_off && !waits => Ask::Continue(Position {
                id: history.id,
                offset: extent.end,
            }),
            (_, _, Ask::FullSync(reason)) => Ask::FullSync(reason),
            (_, _, Ask::Continue(_)) => Ask::FullSync(Reason::SourceRefused),
        }
    }

    /// What helps where the link ended before its snapshot was whole.
    fn hint_of_snapshot(&self) -> Option<String> {
        let has_begun = !self.tell.borrow().asks_for_snapshot;
        let is_whole = has_begun && !self.broke_off();
        (self.announced && !is_whole).then(|| NO_SNAPSHOT_HINT.to_owned())
    }

    /// The log holds a snapshot that broke off.
    fn broke_off(&self) -> bool {
        self.log
            .snapshot()
            .is_some_and(|one| one.stage == log::Stage::Abandoned)
    }

    fn set_ask(&mut self, ask: Ask) {
        self.ask = ask;
        let asks_for_snapshot = matches!(ask, Ask::FullSync(_));
        self.tell
            .send_modify(|news| news.asks_for_snapshot = asks_for_snapshot);
    }

    /// One link, from greeting to its end.
    async fn link(&mut self) -> LinkEnd {
        let (mut stopping, mut place) = (self.stopping.clone(), self.place.clone());
        let endpoint = tokio::select! {
            biased;
            _ = stopping.wait_for(|stop| *stop) => return LinkEnd::Stopped,
            endpoint = place.known() => endpoint,
        };
        if self.source.endpoint.address != endpoint.address {
            tracing::info!(from = %self.source.endpoint.address, to = %endpoint.address, "the source is another node now");
        }
        (self.source.endpoint, self.place) = (endpoint, place.clone());
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stop| *stop) => LinkEnd::Stopped,
            () = place.changed() => LinkEnd::Moved,
            end = self.follow() => end,
        }
    }

    async fn follow(&mut self) -> LinkEnd {
        if matches!(self.ask, Ask::FullSync(_)) {
            self.turn.take().await;
            if let Some(shard) = &self.settings.shard {
                shard.crossings.at_rest().await;
            }
        }
        let mut follower = match Follower::connect(&self.source).await {
            Ok(follower) => follower,
            Err(error) => return LinkEnd::Source(error),
        };
        let source = follower.info().history;
        if self.settings.is_anothers(source) {
            return LinkEnd::Anothers;
        }
        self.tell
            .send_modify(|news| news.history = source.or(news.history));
        if self.is_behind(follower.info()) {
            return LinkEnd::Behind;
        }
        let from = match self.ask {
            Ask::Continue(position) => Some(position),
            Ask::FullSync(_) => None,
        };
        let answer = match follower.follow(from).await {
            Ok(answer) => answer,
            Err(error) => return LinkEnd::Source(error),
        };
        crash::pass(Step::SourceAnswered);
        if matches!(answer, Answer::FullResync(_)) && self.has_left() {
            return LinkEnd::Anothers;
        }
        if let (Answer::FullResync(_), false) = (answer, self.turn.try_take()) {
            return LinkEnd::NotOurTurn(self.full_sync_reason(source));
        }
        let mut link = match self.begin(follower, answer, source).await {
            Ok(link) => link,
            Err(error) => return LinkEnd::Log(error),
        };
        let continued = matches!(link.into, Into::Stream(_));
        self.announced = !continued;
        let end = link.run().await;
        self.moved = continued && link.moved;
        end
    }

    fn has_left(&self) -> bool {
        let shard = self.settings.shard.as_ref();
        shard.is_some_and(Shard::has_left)
    }

    /// Whether the source will have what comes after the log's end, and has not got there yet: a replica that we came to from another node of its
    /// shard. It would answer with a snapshot. Not for longer than [`BEHIND_LIMIT`]: then it decides.
    fn is_behind(&mut self, source: &SourceInfo) -> bool {
        let (Ask::Continue(at), Some(history), Some(offset)) = (self.ask, source.history, source.offset)
        else {
            return false;
        };
        if history.id != at.id || offset >= at.offset {
            self.behind_since = None;
            return false;
        }
        let since = *self.behind_since.get_or_insert_with(|| {
            tracing::info!(source = %offset, log = %at.offset, "the source has not got yet what the log holds; waiting for it");
            Instant::now()
        });
        since.elapsed() < BEHIND_LIMIT
    }

    /// Brings the log to where the answer wants it.
    async fn begin(
        &self,
        follower: Follower,
        answer: Answer,
        source: Option<History>,
    ) -> Result<Link, log::Error> {
        let (into, receiving) = match answer {
            Answer::Continue(id) => self.continues(id).await?,
            Answer::FullResync(position) => (self.full_resync(position, source), None),
        };
        let ends = Ends {
            log: self.log.clone(),
            progress: Arc::clone(&self.progress),
            on_full: self.settings.on_full,
            tell: self.tell.clone(),
        };
        Ok(Link::new(follower, into, receiving, ends))
    }

    async fn continues(
        &self,
        id: Option<crate::core::position::ReplId>,
    ) -> Result<(Into, Option<Receiving>), log::Error> {
        let history = self.log.history().ok_or(log::Error::NoHistory)?;
        let end = self.log.appended();
        // What the source continues is what it was asked for. Where the log has moved meanwhile, its bytes would land in the wrong place.
        if !matches!(self.ask, Ask::Continue(at) if at.offset == end && history.contains(&at)) {
            return Err(log::Error::Superseded);
        }
        self.progress.set_link(true);
        self.tell.send_modify(|news| news.refusal = None);
        if let Some(id) = id.filter(|id| *id != history.id) {
            tracing::info!(old = %history.id, new = %id, at = %end, "the history goes on under a new id");
            self.log.rename_history(history.renamed(id, end)).await?;
            self.tell
                .send_modify(|news| news.history = Some(history.renamed(id, end)));
        }
        tracing::info!(offset = %end, "the source continues the stream");
        Counters::add(&self.progress.counters.continues, 1);
        Ok((
            Into::Stream(self.log.writer()?),
            Some(self.progress.receiving(end)),
        ))
    }

    fn full_sync_reason(&self, source: Option<History>) -> Reason {
        match self.ask {
            Ask::FullSync(reason) => reason,
            Ask::Continue(at) if source.is_some_and(|history| !history.contains(&at)) => {
                Reason::HistoryDiverged
            }
            Ask::Continue(_) => Reason::SourceRefused,
        }
    }

    /// From the answer on a snapshot is on its way, whatever was asked.
    fn full_resync(&self, position: Position, source: Option<History>) -> Into {
        let reason = self.full_sync_reason(source);
        tracing::info!(%position, reason = reason.as_str(), "the source sends a snapshot");
        self.progress.set_link(true);
        self.tell.send_modify(|news| {
            news.asks_for_snapshot = true;
            news.refusal = None;
        });
        self.progress.counters.count_full_sync(reason.as_str());
        self.progress.begin_full_sync(reason.as_str(), None);
        self.progress.set_phase(Phase::FullSync);
        Into::Coming(position)
    }
}
