//! What the operator wants of a pipeline: to run, pause or stop, to begin anew, and a full sync.
//!
//! Owns the orders between those who give them (commands and the API, through the supervisor) and the pipeline that carries them out. A wish is a
//! state: the newest counts, and `Stop` is the last. A full sync is a question with an answer:
//!
//! ```text
//! asked --> waits --take--> carried out --answer--> (phase full_sync)
//!             |
//!             +--withdrawn, or too late--> told "not begun"
//! ```
//!
//! It is taken only with a session in hand, by a pipeline that has heard of it, and not after its time; so nobody is told "not begun" of one that has
//! begun, and nothing is flushed when nobody expects it any more. Leaves to [`super::requested`] how it is carried out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use super::gate::Gate;
use super::tenure::Tenure;
use crate::core::position::Epoch;

/// What a pipeline is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// To run.
    #[default]
    Run,
    /// To receive, and apply nothing.
    Pause,
    /// To drain the batch under way, and end.
    Stop,
}

/// The wish at a moment. Two that are equal mean that whatever was begun under the first may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wish {
    /// What to do.
    pub mode: Mode,
    /// Grows whenever everything is to begin anew from the checkpoint.
    pub turn: u64,
    /// Who is to do it.
    pub tenure: Tenure,
}

/// The command that empties a database: `FLUSHDB`, or what it was renamed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlushCommand(String);

/// A word that cannot be the command that empties a database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAFlush {
    /// It empties more than one database.
    #[error("FLUSHALL would empty databases that the input does not feed")]
    FlushAll,
    /// It is no command's name.
    #[error("{0:?} is not the name of a command")]
    NotAName(String),
}

impl Default for FlushCommand {
    fn default() -> FlushCommand {
        FlushCommand("FLUSHDB".to_owned())
    }
}

impl FlushCommand {
    /// Takes the name that the command has on the target. That it does empty a database shows only there.
    ///
    /// # Errors
    /// [`NotAFlush`].
    pub fn named(name: &str) -> Result<FlushCommand, NotAFlush> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte);
        if name.eq_ignore_ascii_case("flushall") {
            return Err(NotAFlush::FlushAll);
        }
        if name.is_empty() || name.len() > 64 || !name.bytes().all(is_name) {
            return Err(NotAFlush::NotAName(name.to_owned()));
        }
        Ok(FlushCommand(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A full sync as somebody wants it.
#[derive(Debug, Clone)]
pub struct FullSyncWish {
    /// How the target's databases are emptied first, if they are.
    pub flush: Option<FlushCommand>,
    /// Where several inputs feed one target, they empty it together.
    pub gate: Option<Arc<Gate>>,
    /// It begins before then, or not at all.
    pub until: Instant,
}

/// Why a full sync that was asked for has not begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotBegun {
    /// What was asked cannot be done on this target. Nothing has changed.
    Refused(String),
    /// It could not be carried out now. Nothing has changed.
    Failed(String),
    /// Part of it may be done; if so, the checkpoint has gone with it, and a full sync follows by itself.
    Unknown(String),
}

/// Whether a full sync that was asked for has begun, or why not.
pub type Begun = Result<(), NotBegun>;

/// Tells when a full sync that was asked for has begun.
pub type Answer = watch::Receiver<Option<Begun>>;

/// A full sync that was asked for, and those who wait for the answer.
#[derive(Debug)]
struct Order {
    wish: FullSyncWish,
    /// Not before the pipeline has heard of this turn.
    turn: u64,
    tell: watch::Sender<Option<Begun>>,
}

impl Order {
    fn refuse(self, why: &str) {
        if let Some(gate) = &self.wish.gate {
            gate.give_up();
        }
        self.tell
            .send_replace(Some(Err(NotBegun::Failed(why.to_owned()))));
    }
}

/// The orders of one pipeline.
#[derive(Debug)]
pub struct Orders {
    wish: watch::Sender<Wish>,
    /// The epoch of somebody else that stands on the target, newer than ours.
    outranked: watch::Sender<Option<Epoch>>,
    /// How often it has been another's turn to run the pipeline, or ours.
    role_changes: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// For its turn.
    waiting: Option<Order>,
    /// It is being carried out, and will be answered.
    taken: Option<Order>,
    /// The pipeline has ended: nothing is carried out any more.
    closed: bool,
}

/// Why a full sync that waits is refused at a stop.
const STOPPING: &str = "gunyu is stopping";

impl Orders {
    /// Orders that begin with `mode`.
    #[must_use]
    pub fn new(mode: Mode) -> Arc<Orders> {
        Arc::new(Orders {
            wish: watch::Sender::new(Wish {
                mode,
                ..Wish::default()
            }),
            outranked: watch::Sender::new(None),
            role_changes: AtomicU64::new(1),
            inner: Mutex::default(),
        })
    }

    /// Hears of new wishes.
    #[must_use]
    pub fn wishes(&self) -> watch::Receiver<Wish> {
        self.wish.subscribe()
    }

    /// What is wished now.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.wish.borrow().mode
    }

    /// Wishes `mode` from now on. After a stop nothing can be wished any more. A full sync that waits for its turn is withdrawn where the new mode
    /// would keep it waiting.
    pub fn set_mode(&self, mode: Mode) {
        self.wish.send_if_modified(|wish| {
            let changes = wish.mode != Mode::Stop && wish.mode != mode;
            if changes {
                wish.mode = mode;
            }
            changes
        });
        match self.mode() {
            Mode::Run => {}
            Mode::Pause => self.withdraw("the input was paused"),
            Mode::Stop => self.withdraw(STOPPING),
        }
    }

    /// Wishes that everything begins anew, from the checkpoint.
    pub fn begin_anew(&self) {
        self.wish.send_if_modified(|wish| {
            let changes = wish.mode != Mode::Stop;
            wish.turn += u64::from(changes);
            changes
        });
    }

    /// Says who is to run the pipeline. A full sync that waits is withdrawn where that is another one: it is asked for there.
    pub fn set_tenure(&self, tenure: Tenure) {
        self.wish.send_if_modified(|wish| {
            let changes = wish.tenure != tenure;
            // Alone is what all begin with: whoever belongs to a group has had no role yet.
            if wish.tenure != Tenure::Alone && wish.tenure.is_ours() != tenure.is_ours() {
                self.role_changes.fetch_add(1, Ordering::Relaxed);
            }
            wish.tenure = tenure;
            changes
        });
        if tenure.is_ours() {
            self.outranked.send_replace(None);
        } else {
            self.withdraw("the input is led by another gunyu now");
        }
    }

    /// Who is to run the pipeline.
    #[must_use]
    pub fn tenure(&self) -> Tenure {
        self.wish.borrow().tenure
    }

    /// How often this process has become the one that runs the pipeline, or one that does not, the first time included.
    #[must_use]
    pub fn role_changes(&self) -> u64 {
        self.role_changes.load(Ordering::Relaxed)
    }

    /// The target bears the mark of a newer lease than ours. Whoever holds the lease must find out which counts.
    pub(super) fn set_outranked(&self, by: Epoch) {
        self.outranked.send_replace(Some(by));
    }

    /// The newer epoch that stands on the target, where one does.
    #[must_use]
    pub fn outranked(&self) -> Option<Epoch> {
        *self.outranked.borrow()
    }

    /// Asks for a full sync. One that waits for its turn already is joined, and flushes where either was to; so is one that is being carried out and does
    /// what is asked.
    pub fn full_sync(&self, wish: FullSyncWish) -> Answer {
        let mut inner = self.inner();
        if inner.closed {
            let ended = NotBegun::Failed("the input has ended".to_owned());
            return watch::channel(Some(Err(ended))).1;
        }
        if let Some(order) = inner.waiting.as_mut() {
            // One that was to flush keeps its gate: the others of its group may stand there already.
            if wish.flush.is_some() && order.wish.flush.is_none() {
                (order.wish.flush, order.wish.gate) = (wish.flush, wish.gate);
            }
            order.wish.until = order.wish.until.max(wish.until);
            return order.tell.subscribe();
        }
        let does_as_much = |order: &&Order| order.wish.flush.is_some() || wish.flush.is_none();
        if let Some(order) = inner.taken.as_ref().filter(does_as_much) {
            return order.tell.subscribe();
        }
        let (tell, answer) = watch::channel(None);
        self.begin_anew();
        let turn = self.wish.borrow().turn;
        inner.waiting = Some(Order { wish, turn, tell });
        answer
    }

    /// Takes back a full sync that waits for its turn; those who asked for it are told `why`. One that was taken is not affected.
    pub fn withdraw(&self, why: &str) {
        self.take_back(why, |_| true);
    }

    /// Takes back a full sync that waits for its turn where its time is over: somebody may have joined it who gives it more.
    pub fn withdraw_late(&self, why: &str) {
        self.take_back(why, |wish| wish.until <= Instant::now());
    }

    fn take_back(&self, why: &str, which: impl Fn(&FullSyncWish) -> bool) {
        if let Some(order) = self.inner().waiting.take_if(|order| which(&order.wish)) {
            order.refuse(why);
        }
    }

    /// The full sync that waits for its turn: whoever takes it answers. Nothing where its time is over, or where it was asked for after `heard`, the
    /// turn under which the pipeline has made ready.
    #[must_use]
    pub fn take_full_sync(&self, heard: u64) -> Option<FullSyncWish> {
        if self.inner().waiting.as_ref()?.wish.until < Instant::now() {
            self.withdraw("its time was over before it could begin");
        }
        let mut inner = self.inner();
        let order = inner.waiting.take_if(|order| order.turn <= heard)?;
        let wish = order.wish.clone();
        inner.taken = Some(order);
        Some(wish)
    }

    /// Tells everybody who waits whether the full sync that was taken has begun.
    pub fn answer(&self, begun: Begun) {
        if let Some(order) = self.inner().taken.take() {
            order.tell.send_replace(Some(begun));
        }
    }

    /// The pipeline has ended: nobody waits for it any more.
    pub fn close(&self) {
        // Whoever stops it sets the mode first, and the pipeline may end before the waiting are told why.
        let why = match self.mode() {
            Mode::Stop => STOPPING,
            Mode::Run | Mode::Pause => "the input ended before it could begin",
        };
        let mut inner = self.inner();
        inner.closed = true;
        for order in [inner.waiting.take(), inner.taken.take()].into_iter().flatten() {
            order.refuse(why);
        }
    }

    /// Whether the pipeline has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner().closed
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing can panic while it is held.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn wish(flush: bool) -> FullSyncWish {
        FullSyncWish {
            flush: flush.then(FlushCommand::default),
            gate: None,
            until: Instant::now() + Duration::from_secs(60),
        }
    }

    fn told(answer: &Answer) -> Option<Begun> {
        answer.borrow().clone()
    }

    fn failed(why: &str) -> Option<Begun> {
        Some(Err(NotBegun::Failed(why.into())))
    }

    #[test]
    fn nothing_can_be_wished_after_a_stop() {
        let orders = Orders::new(Mode::Run);
        orders.set_mode(Mode::Stop);
        let stopped = *orders.wishes().borrow();
        orders.set_mode(Mode::Run);
        orders.begin_anew();
        assert_eq!(*orders.wishes().borrow(), stopped);
    }

    #[test]
    fn a_wish_that_changes_nothing_wakes_nobody() {
        let orders = Orders::new(Mode::Run);
        let wishes = orders.wishes();
        orders.set_mode(Mode::Run);
        assert!(!wishes.has_changed().unwrap());
        orders.begin_anew();
        assert!(wishes.has_changed().unwrap());
    }

    #[test]
    fn a_full_sync_is_answered_by_whoever_takes_it_and_withdrawn_only_before() {
        let orders = Orders::new(Mode::Run);
        let answer = orders.full_sync(wish(false));
        assert!(orders.take_full_sync(1).is_some());
        orders.withdraw("too late");
        assert_eq!(told(&answer), None);
        orders.answer(Ok(()));
        assert_eq!(told(&answer), Some(Ok(())));
        let second = orders.full_sync(wish(false));
        orders.withdraw("the target is away");
        assert_eq!(told(&second), failed("the target is away"));
        assert!(orders.take_full_sync(9).is_none());
    }

    #[test]
    fn a_pipeline_that_has_not_heard_of_it_does_not_take_it() {
        let orders = Orders::new(Mode::Run);
        let _answer = orders.full_sync(wish(true));
        assert!(orders.take_full_sync(0).is_none());
        assert!(orders.take_full_sync(1).is_some());
        assert!(orders.take_full_sync(1).is_none(), "it is taken once");
    }

    #[test]
    fn what_nobody_expects_any_more_is_not_carried_out() {
        let orders = Orders::new(Mode::Run);
        let late = FullSyncWish {
            until: Instant::now() - Duration::from_secs(1),
            ..wish(true)
        };
        let answer = orders.full_sync(late);
        assert!(orders.take_full_sync(1).is_none());
        assert!(told(&answer).unwrap().is_err());
    }

    #[test]
    fn two_who_ask_at_once_share_one_full_sync_that_flushes_where_either_wants_it() {
        let orders = Orders::new(Mode::Run);
        let asked = [wish(false), wish(true), wish(false)].map(|wish| orders.full_sync(wish));
        let taken = orders.take_full_sync(1).unwrap();
        assert!(taken.flush.is_some());
        let during = orders.full_sync(wish(true));
        orders.answer(Ok(()));
        for answer in asked.iter().chain([&during]) {
            assert_eq!(told(answer), Some(Ok(())));
        }
        assert_eq!(orders.wishes().borrow().turn, 1, "all of it is one turn");
    }

    #[test]
    fn one_that_flushes_does_not_join_one_under_way_that_does_not() {
        let orders = Orders::new(Mode::Run);
        let plain = orders.full_sync(wish(false));
        let _taken = orders.take_full_sync(1).unwrap();
        let flushing = orders.full_sync(wish(true));
        orders.answer(Ok(()));
        assert_eq!(told(&flushing), None, "it has an order of its own");
        assert_eq!(told(&plain), Some(Ok(())));
        assert!(orders.take_full_sync(2).unwrap().flush.is_some());
    }

    #[test]
    fn a_pause_a_stop_and_an_end_withdraw_what_has_not_begun() {
        for mode in [Mode::Pause, Mode::Stop] {
            let orders = Orders::new(Mode::Run);
            let answer = orders.full_sync(wish(false));
            orders.set_mode(mode);
            assert!(told(&answer).unwrap().is_err(), "{mode:?}");
        }
        let orders = Orders::new(Mode::Run);
        let before = orders.full_sync(wish(false));
        orders.close();
        let after = orders.full_sync(wish(false));
        assert!(told(&before).unwrap().is_err() && told(&after).unwrap().is_err());
    }

    #[test]
    fn only_a_name_can_be_the_command_that_empties_a_database() {
        assert_eq!(FlushCommand::named("my-flush_1").unwrap().as_str(), "my-flush_1");
        assert_eq!(FlushCommand::named("FlushAll"), Err(NotAFlush::FlushAll));
        for word in ["", "flushdb async", "a\r\nb", &"x".repeat(65)] {
            assert_eq!(FlushCommand::named(word), Err(NotAFlush::NotAName(word.into())));
        }
    }

    #[test]
    fn a_role_is_counted_when_it_is_had_and_a_number_is_no_role() {
        let orders = Orders::new(Mode::Run);
        let leads = |epoch| Tenure::Leads(Epoch::new(epoch));
        let yields = Tenure::Yields(Epoch::new(4));
        for (tenure, changes) in [
            (Tenure::Follows, 1),
            (Tenure::Follows, 1),
            (leads(3), 2),
            (leads(4), 2),
            (yields, 3),
            (Tenure::Follows, 3),
            (leads(6), 4),
        ] {
            orders.set_tenure(tenure);
            assert_eq!(orders.role_changes(), changes, "{tenure:?}");
        }
    }
}
