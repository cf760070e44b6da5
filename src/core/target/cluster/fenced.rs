//! The live stream onto a cluster: exactly once for each key, in order within each slot.
//!
//! ```text
//! batch -> by slot -> groups -> the slot's queue -> a flight to the slot's node -> answered -> the low-water mark of the stream moves
//!                                   ^                                                |
//!                                   +-- redirected or put off: first in its queue ---+
//! ```
//!
//! A slot has at most one group under way, so that nothing of a slot overtakes anything; what comes meanwhile waits in its queue and goes out together. Nodes do
//! not wait for each other. Commands that belong to no single slot wait until all before them is confirmed, and all after them waits ([`super::act`]).
//!
//! A node that is lost takes with it what is known of the flight under way, and maybe its last writes: once it, or another in its place, answers, the
//! session ends, and a new one goes on from marks and fences. Until then the other nodes are served, as long as the window has room.
//!
//! Owns the order. Leaves the wire to [`super::node`] and [`super::clerk`], and filling batches to the caller.

mod hear;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::act::Act;
use super::clerk::{self, Done, Employer, Errand, Recording};
use super::group::{Group, Writer};
use super::map::SlotMap;
use super::node::{self, Flight, News};
use super::plan::Expiry;
use super::stretch::{self, Stretch};
use crate::core::net::Address;
use crate::core::position::{Offset, ReplId};
use crate::core::target::batch::Batch;
use crate::core::target::checkpoint::Checkpoint;
use crate::core::target::session::Session;
use crate::core::target::{Advance, Error, Outcome, Settings, Trouble};

/// So many bytes of commands may wait for answers, or for their turn. Each keeps the chunk in memory in which it came: in all that is no more than [`WINDOW_BYTES`].
const HELD_BYTES: usize = 12 << 20;

/// So many bytes of the stream may lie between the recorded checkpoint and what is sent: no more is replayed after a crash.
pub const WINDOW_BYTES: u64 = 32 << 20;

/// A flight has about so many bytes.
const FLIGHT_BYTES: usize = 512 << 10;

/// A node that cannot take anything now is left alone for so long.
const REST: Duration = Duration::from_millis(100);

/// While a slot has nobody, or a node is lost, the map is asked for so often.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// A node that has not answered for so long may be frozen: another may have its slots by now.
const SILENT: Duration = Duration::from_secs(1);

/// After a slot was served by another node than the map says.
const LOOK_SOON: Duration = Duration::from_millis(20);

/// Between two reports of the same trouble.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// The lanes of a pipeline onto a cluster.
#[derive(Debug)]
pub struct Fenced {
    session: Session,
    settings: Settings,
    client_name: String,
    writer: Option<Writer>,
    history: ReplId,
    route: stretch::Routing,
    places: stretch::Places,
    /// Refusals of blind writes up to here may come of replaying them.
    replayed_until: Offset,
    map: SlotMap,
    slots: HashMap<u16, Queue>,
    nodes: HashMap<Address, Node>,
    /// What waits behind a command without a slot.
    stretches: VecDeque<(u64, Stretch)>,
    acting: bool,
    window: VecDeque<Open>,
    next_batch: u64,
    held_bytes: usize,
    /// Where the stream stands after the last batch taken.
    taken: Offset,
    /// All before it is confirmed.
    confirmed: Checkpoint,
    recorded: Offset,
    recording: bool,
    record_every: Duration,
    record_at: Instant,
    lost: Option<Error>,
    looking: bool,
    look_at: Option<Instant>,
    told_at: Option<Instant>,
    report: Advance,
    news: mpsc::UnboundedReceiver<(Address, News)>,
    tell_news: mpsc::UnboundedSender<(Address, News)>,
    clerk: Desk,
    detour: Desk,
    tasks: JoinSet<()>,
}

/// A clerk: where errands go, and where one hears what has come of them.
#[derive(Debug)]
struct Desk {
    errands: mpsc::UnboundedSender<Errand>,
    done: mpsc::UnboundedReceiver<Done>,
}

/// What waits for one slot: mostly one group, which allocates nothing.
#[derive(Debug, Default)]
struct Queue {
    first: Option<Group>,
    /// What comes after the first.
    more: VecDeque<Group>,
    under_way: bool,
}

impl Queue {
    /// Says whether it is the only one.
    fn push_back(&mut self, group: Group) -> bool {
        if self.first.is_none() {
            self.first = Some(group);
            return true;
        }
        self.more.push_back(group);
        false
    }

    fn push_front(&mut self, group: Group) {
        if let Some(second) = self.first.replace(group) {
            self.more.push_front(second);
        }
    }

    fn pop_front(&mut self) -> Option<Group> {
        std::mem::replace(&mut self.first, self.more.pop_front())
    }

    fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}

#[derive(Debug)]
struct Node {
    flights: mpsc::Sender<Flight>,
    state: State,
    /// Slots with something to send.
    ready: VecDeque<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// Since when.
    Flying(Instant),
    Resting(Instant),
    Lost,
}

/// A batch of which something is not confirmed.
#[derive(Debug)]
struct Open {
    end: Offset,
    db: u32,
    left: usize,
    commands: u64,
    oldest: Option<Instant>,
}

/// What is waited for.
enum Event {
    News(Address, News),
    Done(Done),
    Moment,
}

impl Fenced {
    /// Delivers over `session` from `from` on; `map` says who serves which slot.
    #[must_use]
    pub fn new(
        session: Session,
        map: SlotMap,
        settings: &Settings,
        from: Checkpoint,
        how: stretch::Delivery,
    ) -> Fenced {
        let client_name = session.client_name(settings);
        let writer = how.exactly_once.then(|| Writer {
            name: settings.name.clone(),
            lineage: session.record.lineage,
        });
        let (tell_news, news) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let employer = Employer {
            settings: settings.clone(),
            token: session.token.clone(),
            epoch: session.epoch,
            writer: writer.clone(),
            fences: Arc::clone(&session.fences),
            expiry: match session.facts.since((7, 0, 0), (0, 0, 0)) {
                true => Expiry::Absolute,
                false => Expiry::Relative,
            },
        };
        let mut desk = |name: &str| {
            let (errands, to_do) = mpsc::unbounded_channel();
            let (tell, done) = mpsc::unbounded_channel();
            let name = format!("{client_name}:{name}");
            tasks.spawn(clerk::run(employer.clone(), name, to_do, tell));
            Desk { errands, done }
        };
        let (clerk, detour) = (desk("clerk"), desk("detour"));
        let offset = from.position.offset;
        Fenced {
            map,
            settings: settings.clone(),
            client_name,
            writer,
            history: from.position.id,
            route: stretch::Routing {
                fences: session.fences.clone(),
                cross_slot: how.cross_slot,
            },
            places: stretch::Places::new(),
            replayed_until: Offset::new(offset.get() + WINDOW_BYTES),
            slots: HashMap::new(),
            nodes: HashMap::new(),
            stretches: VecDeque::new(),
            acting: false,
            window: VecDeque::new(),
            next_batch: 0,
            held_bytes: 0,
            taken: offset,
            confirmed: from,
            recorded: offset,
            recording: false,
            record_every: how.record_every,
            record_at: Instant::now() + how.record_every,
            lost: None,
            looking: false,
            look_at: None,
            told_at: None,
            report: Advance::default(),
            news,
            tell_news,
            clerk,
            detour,
            tasks,
            session,
        }
    }

    /// Whether a batch may be submitted.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.held_bytes < HELD_BYTES
            && self.stretches.is_empty()
            && self.taken.get() - self.recorded.get() < WINDOW_BYTES
    }

    /// Whether all that was submitted is confirmed.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.window.is_empty()
    }

    /// From the next checkpoint on, positions are recorded under this id: the history was renamed.
    pub fn set_history(&mut self, history: ReplId) {
        self.history = history;
    }

    /// The source's databases seen so far, for the next checkpoint; ascending.
    pub fn seen(&mut self) -> &mut Vec<u32> {
        &mut self.session.record.seen
    }

    /// The session, while nothing is under way.
    pub fn session(&mut self) -> Option<&mut Session> {
        self.is_idle().then_some(&mut self.session)
    }

    /// Takes a batch; an empty one counts as confirmed and is recorded.
    pub fn submit(&mut self, mut batch: Batch) {
        let number = self.next_batch;
        self.next_batch += 1;
        self.taken = batch.end();
        let cut = stretch::cut(&mut batch, number, &self.route, &mut self.places);
        self.report.skipped += cut.skipped;
        self.report.split_transactions += cut.split_transactions;
        self.report.refused.extend(cut.refused);
        let left = cut.stretches.iter().map(Stretch::parts).sum();
        if batch.is_empty() {
            self.record_at = Instant::now();
        }
        self.window.push_back(Open {
            end: batch.end(),
            db: batch.source_db(),
            left,
            commands: batch.commands() as u64,
            oldest: batch.oldest(),
        });
        self.stretches
            .extend(cut.stretches.into_iter().map(|stretch| (number, stretch)));
        self.close();
        self.release();
    }

    /// Asks for the checkpoint of what is confirmed. Says whether an outcome will come.
    pub fn record_confirmed(&mut self) -> bool {
        self.record_at = Instant::now();
        self.recording || self.confirmed.position.offset > self.recorded
    }

    /// Waits for news of the stream. Cancel safe.
    ///
    /// # Errors
    /// A node was lost and is back, or another has its slots; or another session has taken over.
    pub async fn outcome(&mut self) -> Result<Outcome, Error> {
        loop {
            self.release();
            if self.report.says_something() {
                return Ok(Outcome::Advanced(Box::new(std::mem::take(&mut self.report))));
            }
            self.dispatch();
            if self.silent_at().is_some_and(|at| at <= Instant::now()) && !self.looking {
                self.look_soon();
            }
            self.see_to_the_clerk();
            match self.wait().await {
                Event::News(node, news) => self.hear(&node, news)?,
                Event::Done(done) => self.hear_clerk(done)?,
                Event::Moment => {}
            }
        }
    }

    /// What the clerks say is rare and opens ways; answers make room; moments last.
    async fn wait(&mut self) -> Event {
        let moment = tokio::time::Instant::from_std(self.next_moment());
        tokio::select! {
            biased;
            Some(done) = self.clerk.done.recv() => Event::Done(done),
            Some(done) = self.detour.done.recv() => Event::Done(done),
            Some((node, news)) = self.news.recv() => Event::News(node, news),
            () = tokio::time::sleep_until(moment) => Event::Moment,
        }
    }

    fn next_moment(&self) -> Instant {
        /// Nothing is due: somebody speaks first.
        const FAR: Duration = Duration::from_secs(3600);
        let rests = self.nodes.values().filter_map(|node| match node.state {
            State::Resting(until) if !node.ready.is_empty() => Some(until),
            _ => None,
        });
        let may_record = self.lost.is_none() && !self.acting && !self.recording;
        let record = (may_record && self.is_behind()).then_some(self.record_at);
        let silent = self
            .silent_at()
            .filter(|_| self.look_at.is_none() && !self.looking);
        rests
            .chain(record)
            .chain(silent)
            .chain(self.look_at.filter(|_| !self.looking))
            .min()
            .unwrap_or_else(|| Instant::now() + FAR)
    }

    /// When the node that has been asked longest is to be looked after.
    fn silent_at(&self) -> Option<Instant> {
        let flying = self.nodes.values().filter_map(|node| match node.state {
            State::Flying(since) => Some(since + SILENT),
            _ => None,
        });
        flying.min()
    }

    fn is_behind(&self) -> bool {
        self.confirmed.position.offset > self.recorded
    }

    /// Puts what may go into the queues: up to the next command without a slot, and that when all before it is confirmed.
    fn release(&mut self) {
        while !self.acting {
            match self.stretches.front() {
                Some((_, Stretch::Groups(_))) => {}
                // A flush would take the checkpoint away that is being recorded.
                Some((number, Stretch::Act(_))) if self.is_first(*number) && !self.recording => {}
                _ => return,
            }
            match self.stretches.pop_front() {
                Some((_, Stretch::Groups(groups))) => groups.into_iter().for_each(|group| self.queue(group)),
                Some((number, Stretch::Act(act))) => self.act(number, act),
                None => return,
            }
        }
    }

    /// Whether everything before this batch's act is confirmed: it is the oldest, and nothing of it is in a queue.
    fn is_first(&self, number: u64) -> bool {
        let oldest = self.next_batch - self.window.len() as u64;
        number == oldest && self.slots.is_empty()
    }

    fn act(&mut self, number: u64, act: Act) {
        self.acting = true;
        // The clerk is gone only with us.
        let _ = self.detour.errands.send(Errand::Act(number, Box::new(act)));
    }

    fn queue(&mut self, group: Group) {
        self.held_bytes += group.bytes();
        let slot = group.slot;
        let queue = self.slots.entry(slot).or_default();
        if queue.push_back(group) && !queue.under_way {
            self.make_ready(slot);
        }
    }

    /// The slot has something to send: its node is told; where it has none, the map is asked for.
    fn make_ready(&mut self, slot: u16) {
        let Some(owner) = self.map.owner(slot) else {
            return self.look_soon();
        };
        match self.nodes.get_mut(owner) {
            Some(node) => node.ready.push_back(slot),
            None => {
                let owner = owner.clone();
                self.open(&owner).ready.push_back(slot);
            }
        }
    }

    fn look_soon(&mut self) {
        self.look_at.get_or_insert_with(|| Instant::now() + LOOK_EVERY);
    }

    /// Opens a lane to a node that has none.
    fn open(&mut self, address: &Address) -> &mut Node {
        let (settings, writer) = (self.settings.at(address), self.writer.clone());
        let guard = self.session.guard();
        let name = format!("{}:live", self.client_name);
        // One without slots says so of any.
        let slot = self.map.slots_of(address).next().unwrap_or(0);
        let (flights, to_fly) = mpsc::channel(1);
        let news = self.tell_news.clone();
        self.tasks
            .spawn(node::run(settings, slot, name, guard, writer, to_fly, news));
        let node = Node {
            flights,
            state: State::Idle,
            ready: VecDeque::new(),
        };
        self.nodes.entry(address.clone()).insert(node).into_mut()
    }

    /// A node has spoken, or something is known of it: it has a lane.
    fn set_state(&mut self, address: &Address, state: State) {
        if let Some(node) = self.nodes.get_mut(address) {
            node.state = state;
        }
    }

    /// Sends what can be sent: one flight to each node that has none.
    fn dispatch(&mut self) {
        let now = Instant::now();
        for node in self.nodes.values_mut() {
            let rested = match node.state {
                State::Idle => true,
                State::Resting(until) => until <= now,
                State::Flying(_) | State::Lost => false,
            };
            if !rested || node.ready.is_empty() {
                continue;
            }
            let flight = load(&mut node.ready, &mut self.slots);
            node.state = match flight.groups.is_empty() {
                true => State::Idle,
                // Where the lane has ended, its news are on their way.
                false => match node.flights.try_send(flight) {
                    Ok(()) => State::Flying(now),
                    Err(_) => State::Lost,
                },
            };
        }
    }

    /// Gives the clerk what is due.
    fn see_to_the_clerk(&mut self) {
        let now = Instant::now();
        let used = self.confirmed.position.offset.get() - self.recorded.get();
        let due = self.record_at <= now || used > WINDOW_BYTES / 4;
        let may = self.lost.is_none() && !self.acting && !self.recording;
        if may && self.is_behind() && due {
            self.recording = true;
            let mut record = self.session.record.clone();
            record.full_sync = None;
            record.cursor = None;
            let recording = Recording {
                record,
                checkpoint: self.confirmed,
                masters: self.map.masters().cloned().collect(),
                verb: self.session.facts.hash_verb(),
            };
            let _ = self.clerk.errands.send(Errand::Record(Box::new(recording)));
        }
        if !self.looking && self.look_at.is_some_and(|at| at <= now) {
            (self.looking, self.look_at) = (true, None);
            let _ = self.clerk.errands.send(Errand::Look);
        }
    }

    fn tell(&mut self, trouble: Trouble) {
        if self.told_at.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            self.told_at = Some(Instant::now());
            self.report.trouble = Some(trouble);
        }
    }
}

/// A flight of what is ready, each slot with all that waits for it, up to a size.
fn load(ready: &mut VecDeque<u16>, slots: &mut HashMap<u16, Queue>) -> Flight {
    let (mut groups, mut bytes) = (Vec::new(), 0);
    while bytes < FLIGHT_BYTES
        && let Some(slot) = ready.pop_front()
    {
        let Some(queue) = slots.get_mut(&slot).filter(|queue| !queue.under_way) else {
            continue;
        };
        let Some(mut group) = queue.pop_front() else {
            continue;
        };
        while group.bytes() < FLIGHT_BYTES
            && let Some(next) = queue.pop_front()
        {
            group.absorb(next);
        }
        queue.under_way = true;
        bytes += group.bytes();
        groups.push(group);
    }
    Flight { groups }
}
