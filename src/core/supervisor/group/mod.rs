//! Several processes that stand in for each other: which of them leads which input.
//!
//! ```text
//! tick --> renew the session --> look at all leases --> per input: ours | another's | nobody's --> tenure of its orders
//!                                                            |           nobody's: ask for it, in our turn
//!                                                            +--> hand over: yields --idle--> the lease is rewritten to the heir
//! ```
//!
//! Owns the session in the store of leases, and who of this process leads. Promises that no pipeline of this process runs on when the lease has run out by our own
//! clock, whatever the store says or does not say; that a lease goes from hand to hand without a moment in which it is free; and that a
//! member that joins gets its share without anything going to and fro. Leaves to the target to refuse what an older epoch still sends.

mod asks;
mod calls;
mod decide;
mod handing;
pub mod peers;
pub(super) mod pulse;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::handle::Handle;
use super::input::Input;
use crate::core::crash::{self, Step};
use crate::core::lease::{self, Record, Store, View};
use crate::core::pipeline::{Mode, Tenure};
use crate::core::position::{Epoch, Position};

pub use asks::{Membership, NotHanded};
pub use peers::{Access, NotDone};
pub(super) use view::{NOTED, PAUSED};

use asks::Ask;
use handing::Handing;

/// The leases are looked at so often.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Those who ask for a lease that is free wait so long for each that goes before them.
const TURN: Duration = Duration::from_millis(300);

/// Who has given an input up lets so many others go first.
const SHUNNED_PLACES: u32 = 4;

/// After the leases have run out it is looked so often whether something is led all the same.
const CLOCK_AGAIN: Duration = Duration::from_millis(100);

/// What is still to be handed over when the process stops is tried for so long.
const FAREWELL_LIMIT: Duration = Duration::from_secs(4);

/// How a process takes part in a group.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the leases are.
    pub store: lease::Settings,
    /// How often the session is renewed.
    pub renew_every: Duration,
    /// What the others are told of us; our name among them is its id.
    pub record: Record,
    /// Whether that name is one that means another machine on each machine.
    pub is_loopback: bool,
    /// How the members speak with each other.
    pub access: Access,
}

/// This process cannot be a member. A person must act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unfit {
    /// Why.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// A member at work.
pub(super) struct Group {
    settings: Settings,
    membership: Membership,
    handle: Handle,
    store: Store,
    asks: mpsc::Receiver<Ask>,
    /// Until when our leases hold, by our own clock; nothing where we have no session.
    valid_until: watch::Sender<Option<Instant>>,
    renewed_at: Option<Instant>,
    /// The leases that we hold.
    held: BTreeMap<String, Epoch>,
    handing: BTreeMap<String, Handing>,
    /// Inputs that nobody leads, since when.
    vacant: BTreeMap<String, Instant>,
    /// Since when each member has been there.
    members_since: BTreeMap<String, Instant>,
    /// When an input last changed hands, by us.
    moved_at: Instant,
    began_at: Instant,
    /// Another process goes by our name: its sign of life as first seen.
    namesake: Option<(Instant, u64)>,
    has_had_session: bool,
    /// It has looked at the other members once, and fits to them.
    has_met: bool,
    /// Those who hold leases and have not shown that they know the token.
    strangers: BTreeSet<String>,
    /// The store cannot be asked, because of this.
    trouble: Option<String>,
    /// Leases of inputs that are gone here.
    given_up: Vec<(String, Epoch)>,
    /// How many inputs the others were told of.
    told_inputs: usize,
    /// Who waits for the look that is under way.
    looks: Vec<tokio::sync::oneshot::Sender<()>>,
}

/// What runs beside the group.
struct Beside(Vec<AbortHandle>);

impl Drop for Beside {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

impl Group {
    pub(super) fn new(
        settings: &Settings,
        handle: Handle,
        asks: mpsc::Receiver<Ask>,
        membership: Membership,
    ) -> Group {
        Group {
            store: Store::new(settings.store.clone()),
            settings: settings.clone(),
            membership,
            handle,
            asks,
            valid_until: watch::Sender::new(None),
            renewed_at: None,
            held: BTreeMap::new(),
            handing: BTreeMap::new(),
            vacant: BTreeMap::new(),
            members_since: BTreeMap::new(),
            moved_at: Instant::now(),
            began_at: Instant::now(),
            namesake: None,
            has_had_session: false,
            has_met: false,
            strangers: BTreeSet::new(),
            trouble: None,
            given_up: Vec::new(),
            told_inputs: 0,
            looks: Vec::new(),
        }
    }

    /// Until everything has stopped and our leases are others'.
    ///
    /// # Errors
    /// This process cannot be a member.
    pub(super) async fn run(mut self) -> Result<(), Unfit> {
        let _beside = Beside(vec![
            tokio::spawn(watch_clock(self.valid_until.subscribe(), self.handle.clone())).abort_handle(),
            tokio::spawn(pulse::watch(self.membership.clone(), self.handle.clone())).abort_handle(),
        ]);
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut farewell = None;
        loop {
            let idle = handing::one_is_idle(self.handed_inputs());
            tokio::select! {
                biased;
                () = idle => {}
                Some(ask) = self.asks.recv() => self.hear(ask).await,
                _ = ticks.tick() => {}
            }
            self.turn().await?;
            for tell in self.looks.drain(..) {
                // Whoever asked may have gone.
                let _ = tell.send(());
            }
            if self.handle.is_stopping() {
                let until = *farewell.get_or_insert_with(|| Instant::now() + FAREWELL_LIMIT);
                self.part();
                if self.held.is_empty() && self.handing.is_empty() || Instant::now() > until {
                    self.leave().await;
                    return Ok(());
                }
            }
        }
    }

    /// One look, and what follows from it.
    async fn turn(&mut self) -> Result<(), Unfit> {
        if self.is_due() {
            self.renew().await?;
        }
        if self.has_session() {
            match self.store.view().await {
                Ok(view) => {
                    self.trouble = None;
                    // Seen first: who is to be asked from now on must be known.
                    let view = self.membership.saw(view);
                    self.take(&view)?;
                    self.raise().await;
                    self.campaign().await;
                    self.resign_what_is_gone().await;
                }
                Err(error) => self.has_trouble(&error)?,
            }
            self.carry_handings_out().await;
            self.even_out();
        }
        Ok(())
    }

    fn has_session(&self) -> bool {
        self.valid_until.borrow().is_some()
    }

    /// Whether what we hold still is ours, by our own clock.
    fn is_valid(&self) -> bool {
        self.valid_until
            .borrow()
            .is_some_and(|until| Instant::now() < until)
    }

    fn is_due(&self) -> bool {
        let every = self.settings.renew_every;
        if self.handle.inputs().len() != self.told_inputs {
            // The others are to know at once what we follow.
            return true;
        }
        self.renewed_at.is_none_or(|at| at.elapsed() >= every) || !self.is_valid()
    }

    async fn renew(&mut self) -> Result<(), Unfit> {
        let record = self.record();
        self.told_inputs = self.handle.inputs().len();
        let renewed = match self.has_session() {
            true => self.store.renew(&record).await,
            false => self.store.begin(&record).await,
        };
        match renewed {
            Ok(until) => {
                crash::pass(match self.has_session() {
                    true => Step::SessionRenewed,
                    false => Step::MemberBegun,
                });
                self.renewed_at = Some(Instant::now());
                self.valid_until.send_replace(Some(Instant::from_std(until)));
                (self.has_had_session, self.namesake) = (true, None);
                Ok(())
            }
            Err(lease::Error::SessionLost) => {
                tracing::warn!("the session in the store of leases is gone: nothing is led any more");
                self.lose_all();
                Ok(())
            }
            Err(lease::Error::NameTaken { by, .. }) => self.meet_namesake(by.beat),
            Err(error) => self.has_trouble(&error),
        }
    }

    /// A process that was here before, and died, leaves its name behind for the time of a lease; one that lives does not.
    fn meet_namesake(&mut self, beat: u64) -> Result<(), Unfit> {
        let (since, first) = *self.namesake.get_or_insert((Instant::now(), beat));
        if first == beat {
            if since.elapsed() < LOOK_EVERY {
                tracing::info!(
                    id = self.me(),
                    "an earlier process of this name is still registered: waiting until its lease has run out"
                );
            }
            return Ok(());
        }
        Err(Unfit {
            message: format!("another gunyu of the group goes by the name {}", self.me()),
            hint: Some(
                "set server.listenPeer to the address by which the other members reach this machine, another one on each".to_owned(),
            ),
        })
    }

    /// The store cannot be asked. What we hold holds on until our own clock says otherwise.
    fn has_trouble(&mut self, error: &lease::Error) -> Result<(), Unfit> {
        let (message, hint) = (error.to_string(), error.hint());
        if error.needs_a_person() && !self.has_had_session {
            return Err(Unfit { message, hint });
        }
        if self.trouble.is_none() {
            tracing::warn!(
                hint = hint.as_deref(),
                "the store of leases cannot be asked: {message}"
            );
            for input in self.handle.inputs() {
                input.progress.report(format!("leases: {message}"), hint.clone());
            }
            self.trouble = Some(message);
        }
        if !self.is_valid() {
            self.lose_all();
        }
        Ok(())
    }

    async fn resign_what_is_gone(&mut self) {
        for (name, epoch) in std::mem::take(&mut self.given_up) {
            tracing::info!(name, "the input is gone here: its lease is given back");
            self.held.remove(&name);
            if let Err(error) = self.store.resign(&name, epoch).await {
                tracing::debug!(%error, name, "the lease could not be given back yet");
                return;
            }
            crash::pass(Step::LeaseGivenBack);
        }
    }

    fn lose_all(&mut self) {
        self.valid_until.send_replace(None);
        for name in std::mem::take(&mut self.held).into_keys() {
            self.set_tenure(&name, Tenure::Follows);
            if let Some(handing) = self.handing.remove(&name) {
                handing.failed("the lease was lost meanwhile");
            }
        }
        for input in self.handle.inputs() {
            input.set_leader(None);
        }
        self.vacant.clear();
    }

    async fn leave(&mut self) {
        if let Err(error) = self.store.end().await {
            tracing::warn!(%error, "could not leave the group in order: the others wait until the lease has run out");
        }
        crash::pass(Step::MemberLeft);
        self.valid_until.send_replace(None);
    }

    fn me(&self) -> &str {
        &self.settings.record.id
    }

    /// What the others are told of us now.
    fn record(&self) -> Record {
        let inputs = self
            .handle
            .inputs()
            .into_iter()
            .filter(|input| !input.has_ended());
        let ends = inputs.map(|input| {
            let end = input.log_end().map_or_else(String::new, |end| end.to_string());
            (input.name().to_owned(), end)
        });
        Record {
            is_leaving: self.handle.is_stopping(),
            positions: ends.collect(),
            ..self.settings.record.clone()
        }
    }

    fn input(&self, name: &str) -> Option<Input> {
        self.handle.input_named(name)
    }

    fn set_tenure(&self, name: &str, tenure: Tenure) {
        if let Some(input) = self.input(name)
            && input.orders().tenure() != tenure
        {
            tracing::info!(input = %input.source, name, ?tenure, "who leads has changed");
            input.orders().set_tenure(tenure);
        }
    }

    /// The target bears a newer mark than our lease's. Where the lease is ours all the same, it gets a number above that; the store knows.
    async fn raise(&mut self) {
        for (name, epoch) in self.held.clone() {
            let Some(above) = self.input(&name).and_then(|input| input.orders().outranked()) else {
                continue;
            };
            if above < epoch {
                continue;
            }
            match self.store.raise(&name, epoch, above).await {
                Ok(Some(raised)) => {
                    tracing::warn!(name, %epoch, %raised, "the target bears a mark of another store of leases, or of one that has lost some: going on above it");
                    self.held.insert(name.clone(), raised);
                    if self.is_valid() && !self.handing.contains_key(&name) {
                        self.set_tenure(&name, Tenure::Leads(raised));
                    }
                }
                Ok(None) => {
                    self.held.remove(&name);
                    self.set_tenure(&name, Tenure::Follows);
                }
                Err(error) => {
                    tracing::debug!(%error, "could not raise the epoch yet");
                    return;
                }
            }
        }
    }

    /// Asks for the leases that are free, in our turn.
    async fn campaign(&mut self) {
        if self.handle.is_stopping() || self.vacant.is_empty() {
            return;
        }
        let members = self.candidates();
        let vacant: Vec<(String, Option<_>)> = self
            .vacant
            .keys()
            .map(|name| (name.clone(), self.input(name).and_then(|input| input.history())))
            .collect();
        let vacant = vacant.iter().map(|(name, history)| (name.as_str(), *history));
        for (name, place) in decide::places(vacant, &members, self.me()) {
            let since = self.vacant.get(&name).copied().unwrap_or(self.began_at);
            let shunned = self.membership.shuns(&name);
            let place = u32::try_from(place).unwrap_or(u32::MAX).min(SHUNNED_PLACES)
                + if shunned { SHUNNED_PLACES } else { 0 };
            // Those who start together are to find each other first.
            let begins = since.max(self.began_at + self.settings.renew_every.min(Duration::from_secs(1)));
            if Instant::now() < begins + TURN * place {
                continue;
            }
            match self.store.campaign(&name).await {
                Ok(Some(epoch)) => {
                    crash::pass(Step::LeaseTaken);
                    self.won(&name, epoch);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%error, name, "the lease could not be asked for");
                    return;
                }
            }
            // However many there are, the session is renewed in time.
            if self.is_due() {
                return;
            }
        }
    }

    fn won(&mut self, name: &str, epoch: Epoch) {
        tracing::info!(name, %epoch, "the lease is ours");
        self.vacant.remove(name);
        self.held.insert(name.to_owned(), epoch);
        self.moved_at = Instant::now();
        if self.is_valid() {
            self.set_tenure(name, Tenure::Leads(epoch));
        }
        if let Some(input) = self.input(name) {
            input.set_leader(Some((self.me(), epoch)));
        }
    }
}

/// Where an input's log ends, as a record says it.
fn end_of(text: &str) -> Option<Position> {
    let (id, offset) = text.split_once(':')?;
    Some(Position {
        id: crate::core::position::ReplId::parse(id.as_bytes()).ok()?,
        offset: crate::core::position::Offset::parse(offset)?,
    })
}

/// Nothing is led under a lease that has run out.
fn end_what_is_led(handle: &Handle) {
    let inputs = handle.inputs();
    let led: Vec<&Input> = inputs
        .iter()
        .filter(|one| one.orders().tenure() != Tenure::Follows)
        .collect();
    if !led.is_empty() {
        tracing::warn!(
            inputs = led.len(),
            "the leases have run out and could not be renewed: nothing more is written"
        );
    }
    led.iter()
        .for_each(|input| input.orders().set_tenure(Tenure::Follows));
}

/// Ends what runs under a lease that has run out by our own clock, whatever the one who renews it is waiting for.
async fn watch_clock(mut valid_until: watch::Receiver<Option<Instant>>, handle: Handle) {
    loop {
        let until = *valid_until.borrow_and_update();
        let changed = match until {
            None => valid_until.changed().await,
            Some(until) => tokio::select! {
                biased;
                changed = valid_until.changed() => changed,
                () = sleep_until(until) => {
                    end_what_is_led(&handle);
                    // Whoever has just won a lease, and slept since, may set it yet.
                    tokio::select! {
                        biased;
                        changed = valid_until.changed() => changed,
                        () = sleep(CLOCK_AGAIN) => Ok(()),
                    }
                }
            },
        };
        if changed.is_err() {
            return;
        }
    }
}
