//! One input as commands and the API see it: what it is, where it is, who leads it.
//!
//! A view on what its pipeline shares; clones are cheap, and stay good when the pipeline has ended. Leaves what can be done to it to [`super::handle`].

use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::watch;

use super::group::pulse;
use super::post::Seat;
use crate::core::filter::Filter;
use crate::core::log::{self, Log, SnapshotFile};
use crate::core::net::{Address, Endpoint};
use crate::core::peer::{self, Ask, Board, Refused};
use crate::core::pipeline::shard::Shard;
use crate::core::pipeline::{Delivery, Orders, Settings};
use crate::core::position::{Epoch, History, Offset, Position};
use crate::core::progress::Progress;
use crate::core::topology::Place;
use crate::core::{survey, target};

/// One input as commands and the API see it.
#[derive(Debug, Clone)]
pub struct Input {
    /// The source node.
    pub source: Address,
    /// The target node.
    pub target: Address,
    /// Whether batches are transactions.
    pub transaction: bool,
    /// Where it is.
    pub progress: Arc<Progress>,
    name: String,
    source_place: Place,
    shard: Option<Shard>,
    target_place: Place,
    target_endpoint: Endpoint,
    filter: Arc<Filter>,
    orders: Arc<Orders>,
    log: Log,
    board: Arc<Board>,
    /// The settings of the target, without the address it has now.
    target_settings: target::Settings,
    /// Who we are, where there is no group.
    holder: String,
    /// Where several processes stand in for each other.
    seat: Option<Seat>,
}

impl Input {
    /// Whether a position is of the history that its log holds.
    pub(super) fn is_of(&self, position: &Position) -> bool {
        let history = self.log.history();
        history.is_some_and(|history| history.contains(position))
    }

    pub(super) fn new(
        settings: &Settings,
        (holder, seat): (&str, Option<&Seat>),
        progress: &Arc<Progress>,
        orders: &Arc<Orders>,
        log: &Log,
    ) -> Input {
        Input {
            name: settings.name.clone(),
            source: settings.source.endpoint.address.clone(),
            target: settings.target.endpoint.address.clone(),
            target_endpoint: settings.target.endpoint.clone(),
            source_place: settings.source_place.clone(),
            shard: settings.shard.clone(),
            target_place: settings.target_place.clone(),
            transaction: settings.delivery == Delivery::ExactlyOnce,
            progress: Arc::clone(progress),
            filter: Arc::clone(&settings.filter),
            orders: Arc::clone(orders),
            log: log.clone(),
            board: seat.map(|seat| Arc::clone(&seat.board)).unwrap_or_default(),
            target_settings: settings.target.clone(),
            holder: holder.to_owned(),
            seat: seat.cloned(),
        }
    }

    /// The same input, with the addresses that source and target have now.
    pub(super) fn as_of_now(&self) -> Input {
        let mut input = self.clone();
        if let Some(source) = self.source_place.now() {
            input.source = source.address;
        }
        if let Some(target) = self.target_place.now() {
            input.target = target.address.clone();
            input.target_endpoint = target;
        }
        input
    }

    /// The deployment's name: of its folder and its checkpoint.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes that its log takes.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        self.log.log_bytes()
    }

    /// The newest whole snapshot, where there is one on disk.
    #[must_use]
    pub fn snapshot_file(&self) -> Option<SnapshotFile> {
        self.log.snapshot_file()
    }

    /// Whether its log holds what comes after that position.
    pub(super) fn holds(&self, position: &Position) -> bool {
        let extent = self.log.extent();
        self.is_of(position) && extent.is_some_and(|extent| extent.can_read_from(position.offset))
    }

    /// What those who copy its log are told beside.
    #[must_use]
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Its log, for a follower, until `stop` is true.
    ///
    /// # Errors
    /// [`Refused`]: there is nothing to follow, or the follower is ahead.
    pub fn serve(
        &self,
        ask: &Ask,
        stop: watch::Receiver<bool>,
    ) -> Result<impl Stream<Item = Result<Bytes, log::Error>> + Send + use<>, Refused> {
        peer::serve(&self.log, &self.progress, &self.board, ask, stop)
    }

    /// The other nodes of its shard, as far as they are known.
    pub(super) fn nodes(&self) -> Vec<Address> {
        let mut nodes = self.progress.shard();
        if let Some(shard) = &self.shard {
            nodes.extend(shard.known.borrow().nodes.iter().cloned());
        }
        nodes
    }

    /// The source node, and how to log in there.
    #[must_use]
    pub fn source_endpoint(&self) -> Option<Endpoint> {
        self.source_place.now()
    }

    pub(super) fn target_endpoint(&self) -> &Endpoint {
        &self.target_endpoint
    }

    pub(super) fn orders(&self) -> &Orders {
        &self.orders
    }

    pub(super) fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Whether this process leads it; where there is no group, always.
    #[must_use]
    pub fn is_led(&self) -> bool {
        self.orders.tenure().is_ours()
    }

    /// The epoch of the lease under which it is led, here or elsewhere.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        match &self.seat {
            Some(seat) => seat.chair.epoch(),
            None => Epoch::NONE,
        }
    }

    /// Who leads it: a member of the group, or this process where there is none; empty where nobody does.
    #[must_use]
    pub fn leader(&self) -> String {
        match &self.seat {
            None => self.holder.clone(),
            Some(seat) => seat.chair.leader().unwrap_or_default(),
        }
    }

    /// The members that lead or follow it, in the order of their names; this process where there is no group.
    #[must_use]
    pub fn members(&self) -> Vec<String> {
        let Some(seat) = &self.seat else {
            return vec![self.holder.clone()];
        };
        let seen = seat.group.seen().unwrap_or_default();
        let has_it = seen
            .members
            .iter()
            .filter(|(_, record)| record.positions.contains_key(&self.name));
        has_it.map(|(id, _)| id.clone()).collect()
    }

    /// How often this process has become its leader or a follower, the first time included.
    #[must_use]
    pub fn role_changes(&self) -> u64 {
        self.orders.role_changes()
    }

    pub(super) fn set_leader(&self, leader: Option<(&str, Epoch)>) {
        if let Some(seat) = &self.seat {
            seat.chair.set_leader(leader);
        }
    }

    /// Waits until no pipeline of this process works on it.
    pub(super) async fn is_idle(&self) {
        match &self.seat {
            Some(seat) => seat.chair.idle().await,
            None => std::future::pending().await,
        }
    }

    /// Whether none works on it, nor will.
    pub(super) fn is_out_of_the_way(&self) -> bool {
        let is_idle = self.seat.as_ref().is_some_and(|seat| seat.chair.is_idle());
        is_idle && (!self.is_led() || self.has_ended())
    }

    /// The lineage of its log.
    #[must_use]
    pub fn history(&self) -> Option<History> {
        self.log.history()
    }

    /// Where its log ends; nothing where it could not go on from there.
    #[must_use]
    pub fn log_end(&self) -> Option<Position> {
        let (history, extent, snapshot) = self.log.look()?;
        if snapshot.is_some_and(|one| !one.stage.is_here()) {
            return None;
        }
        let end = Position {
            id: history.id,
            offset: extent.end,
        };
        (end.offset > Offset::ZERO).then_some(end)
    }

    /// Looks whether source and target can be reached from here, on connections of their own.
    ///
    /// # Errors
    /// What cannot be reached, in words.
    pub async fn reaches_both(&self) -> Result<(), String> {
        let source = async {
            let Some(endpoint) = self.source_endpoint() else {
                return Err("it is not known where the source is".to_owned());
            };
            let asked = async { survey::Source::connect(&endpoint).await?.info().await.map(drop) };
            pulse::answers(asked, &format!("source {}", endpoint.address)).await
        };
        let mut settings = self.target_settings.clone();
        settings.endpoint = self.as_of_now().target_endpoint;
        let whom = format!("target {}", settings.endpoint.address);
        let target = pulse::answers(target::reach(&settings), &whom);
        let (source, target) = tokio::join!(source, target);
        source.and(target)
    }

    /// It begins anew, with its siblings.
    pub(super) fn entangle(&self) {
        if let Some(shard) = &self.shard {
            shard.crossings.entangle_one(&self.name);
        }
    }

    /// Whether its pipeline has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.orders.is_closed()
    }
}
