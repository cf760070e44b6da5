//! Control commands on a cluster: each goes to the node that serves its key.
//!
//! Owns one connection to each master it has had to speak to, and the map of slots. Promises that redirections are followed and that what
//! may be otherwise in a moment is asked again for [`PATIENCE`]. Commands without a key go *home*: to the node with the deployment's own keys. Not
//! for the stream's data, which has lanes of its own ([`super::fenced`]). Where it has a [`Guard`], no connection carries anything before the session's key
//! was asked after it was opened; only who serves which slot is asked without.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::time::timeout;

use super::map::{self, SlotMap};
use super::redirect::Redirect;
use crate::core::command::{self, SLOTS, slot};
use crate::core::net::{self, Address};
use crate::core::position::Offset;
use crate::core::resp::{self, Framer, Limits, Value};
use crate::core::target::guard::Guard;
use crate::core::target::lane::Lane;
use crate::core::target::{Error, Settings, Shape, refusal};

/// A slot that is on its way, or that nobody serves, is asked for again for so long.
const PATIENCE: Duration = Duration::from_secs(15);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// A node that does not say so soon who serves which slot is passed over, as long as there are others.
const MAP_SOON: Duration = Duration::from_secs(1);

/// So often a command is sent on without a pause: nodes that have not heard of each other's news yet may point at one another.
const HOPS_MAX: usize = 8;

type Command = Vec<Vec<u8>>;

impl Seat {
    /// The node.
    #[must_use]
    pub fn node(&self) -> &Address {
        &self.node
    }
}

/// The connections to the nodes of a cluster.
#[derive(Debug)]
pub struct Router {
    settings: Settings,
    client_name: String,
    map: SlotMap,
    lanes: HashMap<Address, Kept>,
    /// So many have been opened.
    opened: u64,
    guard: Option<Guard>,
    home_slot: u16,
    patience: Duration,
    reply_limit: Duration,
}

/// A connection.
#[derive(Debug)]
struct Kept {
    lane: Lane,
    number: u64,
    /// The session's key was asked since it was opened.
    is_ours: bool,
}

/// Where a key is watched: on the connection to this node, behind `ASKING` or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    node: Address,
    /// Which of the connections to it.
    number: u64,
    asking: bool,
}

impl Router {
    /// Finds the cluster through the nodes that are known, and connects to the one that serves `home`, a key.
    ///
    /// # Errors
    /// None of the nodes can be reached, refuses us, or knows who serves the slots.
    pub async fn open(settings: &Settings, client_name: &str, home: &[u8]) -> Result<Router, Error> {
        let mut router = Router {
            settings: settings.clone(),
            client_name: client_name.to_owned(),
            map: SlotMap::parse(&Value::Array(Vec::new()), &settings.endpoint.address)
                .expect("an empty map is a map"),
            lanes: HashMap::new(),
            opened: 0,
            guard: None,
            home_slot: slot(home),
            patience: PATIENCE,
            reply_limit: settings.reply_limit,
        };
        router.refresh().await?;
        let home = router.home()?;
        router.lane(&home).await?;
        Ok(router)
    }

    /// The same, but what may be otherwise in a moment is asked again for so long only.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Router {
        self.patience = patience;
        self
    }

    /// The same for a session: see the head of this file.
    #[must_use]
    pub fn with_guard(mut self, guard: Option<Guard>) -> Router {
        self.guard = guard;
        self
    }

    /// From now on it is that session's; the connections that there are ask as well.
    pub fn set_guard(&mut self, guard: Guard) {
        self.guard = Some(guard);
        for kept in self.lanes.values_mut() {
            kept.is_ours = false;
        }
    }

    /// Who serves which slot, as far as is known.
    #[must_use]
    pub fn map(&self) -> &SlotMap {
        &self.map
    }

    /// The node with the deployment's own keys.
    ///
    /// # Errors
    /// Nobody serves their slot.
    pub fn home(&self) -> Result<Address, Error> {
        self.owner(self.home_slot)
    }

    /// Who serves the slot.
    ///
    /// # Errors
    /// Nobody does, as far as is known.
    pub fn owner(&self, slot: u16) -> Result<Address, Error> {
        let owner = self.map.owner(slot).cloned();
        owner.ok_or_else(|| Error::SlotsMissing {
            address: self.settings.endpoint.address.clone(),
            slots: self.map.served(),
        })
    }

    /// The same for messages: where nobody serves the slot, the address that was configured.
    #[must_use]
    pub fn home_address(&self) -> &Address {
        self.map
            .owner(self.home_slot)
            .unwrap_or(&self.settings.endpoint.address)
    }

    /// The connection home.
    ///
    /// # Errors
    /// There is none, and none comes about.
    pub async fn home_lane(&mut self) -> Result<&mut Lane, Error> {
        let home = self.home()?;
        self.lane(&home).await
    }

    /// Asks the nodes that are known, those that we are connected to first, who serves which slot.
    ///
    /// # Errors
    /// None of them can be asked.
    pub async fn refresh(&mut self) -> Result<(), Error> {
        let mut nodes: Vec<Address> = self.lanes.keys().cloned().collect();
        nodes.extend(self.map.masters().cloned());
        nodes.extend(self.settings.nodes());
        let mut seen = HashSet::new();
        nodes.retain(|node| seen.insert(node.clone()));
        let mut failed: Option<Error> = None;
        // One may be frozen; where all are slow, as long as it takes.
        for limit in [MAP_SOON, self.reply_limit] {
            for node in &nodes {
                match timeout(limit, self.ask_map(node)).await {
                    Ok(Ok(map)) => {
                        self.map = map;
                        return Ok(());
                    }
                    // One address may be a mistake: what another node says, says more.
                    Ok(Err(error)) => match &failed {
                        Some(first) if !is_in_no_cluster(first) => {}
                        _ => failed = Some(error),
                    },
                    Err(_) => {
                        // What it still has to answer would be taken for the answer to something else.
                        self.lanes.remove(node);
                        let (address, doing) = (node.clone(), "who serves which slot was asked");
                        failed = Some(Error::Net(net::Error::Silent {
                            address,
                            doing,
                            limit,
                        }));
                    }
                }
            }
            if !matches!(failed, Some(Error::Net(net::Error::Silent { .. }))) {
                break;
            }
        }
        Err(failed.expect("a target has at least one address"))
    }

    async fn ask_map(&mut self, node: &Address) -> Result<SlotMap, Error> {
        let answer = self.unasked(node).await?.call(&[b"CLUSTER", b"SLOTS"]).await;
        let answer = self.kept(node, answer)?;
        let map = SlotMap::parse(&answer, node)
            .filter(|map| map.served() > 0)
            .ok_or_else(|| Error::SlotsMissing {
                address: node.clone(),
                slots: 0,
            })?;
        if let Shape::Cluster { known, .. } = &self.settings.shape {
            known.saw(map::nodes_in(&answer, node));
        }
        Ok(map)
    }

    /// Sends a command to the node that serves its first key, or home, and waits for the reply.
    ///
    /// # Errors
    /// The connection fails, or the reply is an error.
    pub async fn call(&mut self, args: &[&[u8]]) -> Result<Value, Error> {
        let slot = slot_of(args).unwrap_or(self.home_slot);
        let mut request = BytesMut::new();
        resp::encode_command(&mut request, args);
        let (node, mut replies) = self.deliver(slot, &request, 1).await?;
        let reply = replies.pop().unwrap_or(Value::Nil);
        match reply.error() {
            Some(text) => Err(Error::Refused {
                address: node,
                command: String::from_utf8_lossy(args.first().copied().unwrap_or_default()).into_owned(),
                reply: resp::said(text),
            }),
            None => Ok(reply),
        }
    }

    /// Sends a unit, one command or a transaction from `MULTI` to `EXEC`, to the node that serves the slot, and follows redirections of it as a whole.
    /// Gives who answered, and the replies to its `count` commands; a redirection is among them only where patience has run out.
    ///
    /// # Errors
    /// The connection fails, or nobody serves the slot.
    pub async fn deliver(
        &mut self,
        slot: u16,
        unit: &[u8],
        count: usize,
    ) -> Result<(Address, Vec<Value>), Error> {
        let (seat, replies) = self.deliver_as(slot, unit, count, Way::Guarded).await?;
        Ok((seat.node, replies))
    }

    async fn deliver_as(
        &mut self,
        slot: u16,
        unit: &[u8],
        count: usize,
        way: Way,
    ) -> Result<(Seat, Vec<Value>), Error> {
        let began = Instant::now();
        let (mut hops, mut node, mut asking) = (0, self.owner(slot)?, false);
        loop {
            let replies = self.exchange(&node, unit, count, asking, way).await?;
            let redirect = redirect_in(&replies, &node).filter(|_| began.elapsed() <= self.patience);
            let Some(redirect) = redirect else {
                let number = self.lanes.get(&node).map_or(0, |kept| kept.number);
                let seat = Seat { node, number, asking };
                return Ok((seat, replies));
            };
            hops += 1;
            match redirect {
                Redirect::Moved(slot, to) => {
                    self.map.moved(slot, &to);
                    (node, asking) = (to, false);
                }
                Redirect::Ask(to) => (node, asking) = (to, true),
                Redirect::Later => hops = HOPS_MAX,
            }
            if hops >= HOPS_MAX {
                tokio::time::sleep(PAUSE).await;
                self.refresh().await?;
                (hops, node, asking) = (0, self.owner(slot)?, false);
            }
        }
    }

    /// `ASKING` before a transaction holds until its `EXEC` (`networking.c`, `resetClient`).
    async fn exchange(
        &mut self,
        node: &Address,
        unit: &[u8],
        count: usize,
        asking: bool,
        way: Way,
    ) -> Result<Vec<Value>, Error> {
        const ASKING: &[u8] = b"*1\r\n$6\r\nASKING\r\n";
        let lane = match way {
            Way::Guarded => self.lane(node).await?,
            Way::Unasked => self.unasked(node).await?,
        };
        let answers = match asking {
            true => lane.exchange(&[ASKING, unit].concat(), count + 1).await,
            false => lane.exchange(unit, count).await,
        };
        let mut replies = self.kept(node, answers)?;
        if asking {
            replies.remove(0);
        }
        Ok(replies)
    }

    /// Sends commands, each to the node that serves its key, and gives the replies in the order of the commands; an error reply is a value among them.
    /// A transaction goes as a whole to the node of its first key, and is not sent on where that node does not serve the slot any more.
    ///
    /// # Errors
    /// A connection fails.
    pub async fn call_many(
        &mut self,
        commands: impl IntoIterator<Item = Command>,
    ) -> Result<Vec<Value>, Error> {
        let commands: Vec<Command> = commands.into_iter().collect();
        let slots: Vec<Option<u16>> = commands
            .iter()
            .map(|command| slot_of(&borrowed(command)))
            .collect();
        if commands
            .first()
            .is_some_and(|first| first[0].eq_ignore_ascii_case(b"MULTI"))
        {
            let slot = slots.iter().flatten().next().copied().unwrap_or(self.home_slot);
            let node = self.owner(slot)?;
            return self.lane(&node).await?.call_many(commands).await;
        }
        let mut by_node: HashMap<Address, Vec<usize>> = HashMap::new();
        for (at, slot) in slots.iter().enumerate() {
            let node = self.owner(slot.unwrap_or(self.home_slot))?;
            by_node.entry(node).or_default().push(at);
        }
        let mut replies = vec![Value::Nil; commands.len()];
        for (node, places) in by_node {
            let these: Vec<Command> = places.iter().map(|at| commands[*at].clone()).collect();
            let answers = self.lane(&node).await?.call_many(these).await;
            let answers = self.kept(&node, answers)?;
            for (at, answer) in places.into_iter().zip(answers) {
                replies[at] = match answer
                    .error()
                    .and_then(|text| Redirect::of(&resp::said(text), &node))
                {
                    Some(_) => self.again(&commands[at]).await?,
                    None => answer,
                };
            }
        }
        Ok(replies)
    }

    /// Watches a key, wherever it is.
    ///
    /// # Errors
    /// As [`Router::call`].
    pub async fn watch(&mut self, key: &[u8]) -> Result<Seat, Error> {
        let mut request = BytesMut::new();
        resp::encode_command(&mut request, &[b"WATCH", key]);
        let watched = self.deliver_as(slot(key), &request, 1, Way::Guarded).await?;
        let (seat, replies) = watched;
        match replies.first().and_then(Value::error) {
            Some(text) => Err(Error::Refused {
                address: seat.node,
                command: "WATCH".to_owned(),
                reply: resp::said(text),
            }),
            None => Ok(seat),
        }
    }

    /// Sends commands, or one transaction, on the connection on which a key is watched. All replies; nothing is sent on.
    ///
    /// # Errors
    /// The connection fails. Where it has failed since, the new one watches nothing, and this is an error too.
    pub async fn call_seated(&mut self, seat: &Seat, commands: Vec<Command>) -> Result<Vec<Value>, Error> {
        let kept = self.lanes.get_mut(&seat.node);
        let Some(kept) = kept.filter(|kept| kept.number == seat.number) else {
            return Err(Error::Unexpected {
                address: seat.node.clone(),
                command: "WATCH".to_owned(),
            });
        };
        // A transaction is asked for as a whole.
        let is_transaction = commands
            .first()
            .is_some_and(|first| first[0].eq_ignore_ascii_case(b"MULTI"));
        let mut all = Vec::with_capacity(commands.len());
        let mut ours = Vec::new();
        for (nth, command) in commands.into_iter().enumerate() {
            if seat.asking && (nth == 0 || !is_transaction) {
                ours.push(all.len());
                all.push(vec![b"ASKING".to_vec()]);
            }
            all.push(command);
        }
        let answers = kept.lane.call_many(all).await;
        let replies = self.kept(&seat.node, answers)?;
        let of_commands = replies
            .into_iter()
            .enumerate()
            .filter(|(nth, _)| !ours.contains(nth));
        Ok(of_commands.map(|(_, reply)| reply).collect())
    }

    /// A command that was redirected, on its own.
    async fn again(&mut self, command: &Command) -> Result<Value, Error> {
        match self.call(&borrowed(command)).await {
            Err(Error::Refused { reply, .. }) => Ok(Value::Error(reply.into_bytes())),
            other => other,
        }
    }

    /// Sends a command to every master that serves slots; the first refusal is the answer.
    ///
    /// # Errors
    /// As [`Router::call`]: some masters may have done it.
    pub async fn call_everywhere(&mut self, args: &[&[u8]]) -> Result<Vec<(Address, Value)>, Error> {
        self.refresh().await?;
        let masters: Vec<Address> = self.map.masters().cloned().collect();
        let mut answers = Vec::with_capacity(masters.len());
        for master in masters {
            let answer = self.call_at(&master, args).await?;
            answers.push((master, answer));
        }
        Ok(answers)
    }

    /// Sends a command to this node and waits for its reply.
    ///
    /// # Errors
    /// As [`Lane::call`].
    pub async fn call_at(&mut self, node: &Address, args: &[&[u8]]) -> Result<Value, Error> {
        let answer = self.lane(node).await?.call(args).await;
        self.kept(node, answer)
    }

    /// Sends one command that is encoded already to this node and waits for its reply, an error too.
    ///
    /// # Errors
    /// The connection fails.
    pub async fn call_encoded(&mut self, node: &Address, command: &[u8]) -> Result<Value, Error> {
        let mut replies = self.exchange(node, command, 1, false, Way::Guarded).await?;
        Ok(replies.pop().unwrap_or(Value::Nil))
    }

    /// A connection that has failed is not used again.
    fn kept<T>(&mut self, node: &Address, answer: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &answer
            && !matches!(error, Error::Refused { .. })
        {
            self.lanes.remove(node);
        }
        answer
    }

    /// The connection to a node, which may carry data.
    async fn lane(&mut self, node: &Address) -> Result<&mut Lane, Error> {
        self.unasked(node).await?;
        let is_ours = self.lanes.get(node).is_some_and(|kept| kept.is_ours);
        if let Some(guard) = self.guard.clone().filter(|_| !is_ours) {
            Box::pin(self.ask(&guard)).await?;
        }
        match self.lanes.get_mut(node) {
            Some(kept) => Ok(&mut kept.lane),
            None => Err(Error::Net(net::Error::Silent {
                address: node.clone(),
                doing: "it was asked who serves which slot",
                limit: MAP_SOON,
            })),
        }
    }

    /// Makes sure that the session is still ours, where there is one.
    ///
    /// # Errors
    /// As [`Router::ask`].
    pub async fn still_ours(&mut self) -> Result<(), Error> {
        match self.guard.clone() {
            Some(guard) => self.ask(&guard).await,
            None => Ok(()),
        }
    }

    /// Makes sure that the session is still ours, for all connections that there are: none was opened after the question that is answered here.
    ///
    /// # Errors
    /// The node with the session's key cannot be asked, or another session has taken over.
    pub async fn ask(&mut self, guard: &Guard) -> Result<(), Error> {
        let mut question = BytesMut::new();
        resp::encode_command(&mut question, &guard.question());
        let (seat, replies) = self
            .deliver_as(slot(guard.key()), &question, 1, Way::Unasked)
            .await?;
        let answer = replies.first().unwrap_or(&Value::Nil);
        if let Some(text) = answer.error() {
            return Err(Error::Refused {
                address: seat.node,
                command: "HGET".to_owned(),
                reply: resp::said(text),
            });
        }
        guard.judge(&seat.node, answer)?;
        for kept in self.lanes.values_mut() {
            kept.is_ours = true;
        }
        Ok(())
    }

    /// The connection to a node, for what is no data.
    async fn unasked(&mut self, node: &Address) -> Result<&mut Lane, Error> {
        if !self.lanes.contains_key(node) {
            let mut settings = self.settings.at(node);
            settings.reply_limit = self.reply_limit;
            let lane = Lane::open(&settings, &self.client_name).await?;
            self.opened += 1;
            let kept = Kept {
                lane,
                number: self.opened,
                is_ours: false,
            };
            self.lanes.insert(node.clone(), kept);
        }
        let kept = self.lanes.get_mut(node);
        Ok(&mut kept.expect("it is there or was put there").lane)
    }
}

/// Whether a connection must be the session's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Guarded,
    Unasked,
}

/// The redirection among the replies of a unit. Where its commands differ, the one that says least is believed: some keys are here and some are there.
fn redirect_in(replies: &[Value], asked: &Address) -> Option<Redirect> {
    let texts = replies.iter().filter_map(Value::error).map(resp::said);
    let mut redirects: Vec<Redirect> = texts.filter_map(|text| Redirect::of(&text, asked)).collect();
    redirects.dedup();
    match redirects.len() {
        0 | 1 => redirects.pop(),
        _ => Some(Redirect::Later),
    }
}

fn borrowed(command: &Command) -> Vec<&[u8]> {
    command.iter().map(Vec::as_slice).collect()
}

/// The slot of a command's first key.
fn slot_of(args: &[&[u8]]) -> Option<u16> {
    let mut bytes = BytesMut::new();
    resp::encode_command(&mut bytes, args);
    let mut framer = Framer::new(Limits::default());
    framer.push(Offset::ZERO, bytes.freeze()).ok()?;
    let frame = framer.next().ok()??;
    let key = command::of(&frame).keys(&frame).next()?;
    let slot = slot(key.bytes);
    debug_assert!(slot < SLOTS);
    Some(slot)
}

fn is_in_no_cluster(error: &Error) -> bool {
    matches!(error, Error::Refused { reply, .. } if refusal::Kind::of(reply) == refusal::Kind::NoCluster)
}
