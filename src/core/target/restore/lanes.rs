//! The lanes of a full sync, and which of them is a key's.
//!
//! | target | lanes | a key's is |
//! | --- | --- | --- |
//! | one node | `connections` | by the hash of the key |
//! | cluster | `connections` for each master, opened when the first key is for it | of the master of its slot, by the slot |
//!
//! So all keys of a slot, and the name under which their values are put together, share a lane. Leaves to [`super::Restorer`] what is sent.

use bytes::BytesMut;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::flight::{Answered, Portion, run_lane};
use super::{PORTION_BYTES, WAITING_PORTIONS, WINDOW_BYTES};
use crate::core::command::{SLOTS, slot};
use crate::core::net::Address;
use crate::core::target::cluster::router::Router;
use crate::core::target::guard::Guard;
use crate::core::target::lane::Lane;
use crate::core::target::{Error, Settings, Shape, checkpoint, staging};

/// What the next portion of a lane is made of.
#[derive(Debug)]
pub(super) struct Building {
    node: Address,
    pub(super) number: u64,
    pub(super) first_db: u32,
    pub(super) out: BytesMut,
    pub(super) count: usize,
    pub(super) keys: u64,
    pub(super) has_pieces: bool,
    pub(super) db: u32,
    pub(super) feed: mpsc::Sender<Portion>,
}

/// All lanes.
#[derive(Debug)]
pub(super) struct Lanes {
    pub(super) all: Vec<Building>,
    ways: Ways,
    settings: Settings,
    client_name: String,
    /// Where they are a session's.
    guard: Option<Guard>,
    /// How many to a node.
    count: usize,
    answer: mpsc::Sender<Result<Answered, Error>>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
enum Ways {
    One,
    Cluster {
        router: Box<Router>,
        /// The lane of each slot, as far as it has been looked for.
        of_slot: Vec<Option<usize>>,
    },
}

impl Lanes {
    /// Opens `count` lanes, of a cluster to each of its masters, and gives where their answers come.
    pub(super) async fn open(
        settings: &Settings,
        client_name: &str,
        guard: Option<Guard>,
        count: usize,
    ) -> Result<(Lanes, mpsc::Receiver<Result<Answered, Error>>), Error> {
        let count = count.max(1);
        let (ways, nodes) = match settings.shape {
            Shape::One => (Ways::One, vec![settings.endpoint.address.clone()]),
            Shape::Cluster { .. } => {
                let home = checkpoint::key(&settings.name);
                let router = Router::open(settings, client_name, &home).await?;
                let router = Box::new(router.with_guard(guard.clone()));
                let masters = router.map().masters().cloned().collect();
                let of_slot = vec![None; usize::from(SLOTS)];
                (Ways::Cluster { router, of_slot }, masters)
            }
        };
        let waiting = WAITING_PORTIONS + WINDOW_BYTES / PORTION_BYTES + 2;
        let (answer, answers) = mpsc::channel(nodes.len() * count * waiting);
        let mut lanes = Lanes {
            all: Vec::new(),
            ways,
            settings: settings.clone(),
            client_name: client_name.to_owned(),
            guard,
            count,
            answer,
            tasks: JoinSet::new(),
        };
        for node in nodes {
            lanes.open_to(&node).await?;
        }
        Ok((lanes, answers))
    }

    async fn open_to(&mut self, node: &Address) -> Result<(), Error> {
        let mut opened = Vec::with_capacity(self.count);
        for _ in 0..self.count {
            opened.push(Lane::open(&self.settings.at(node), &self.client_name).await?);
        }
        // Once all of them are named.
        match (&self.guard, &mut self.ways, opened.last_mut()) {
            (Some(guard), Ways::One, Some(lane)) => guard.ask_on(lane).await?,
            (Some(guard), Ways::Cluster { router, .. }, _) => router.ask(guard).await?,
            _ => {}
        }
        for lane in opened {
            let (feed, portions) = mpsc::channel(WAITING_PORTIONS);
            let is_cluster = self.settings.is_cluster();
            let run = run_lane(lane, portions, self.answer.clone(), is_cluster);
            self.tasks.spawn(run);
            self.all.push(Building {
                node: node.clone(),
                number: 0,
                first_db: 0,
                out: BytesMut::new(),
                count: 0,
                keys: 0,
                has_pieces: false,
                db: 0,
                feed,
            });
        }
        Ok(())
    }

    /// The lane of a key.
    pub(super) async fn of(&mut self, key: &[u8]) -> Result<usize, Error> {
        let Ways::Cluster { router, of_slot } = &self.ways else {
            return Ok((staging::number(key) % self.all.len() as u64) as usize);
        };
        let slot = slot(key);
        if let Some(lane) = of_slot[usize::from(slot)] {
            return Ok(lane);
        }
        let node = router.owner(slot)?;
        let lane = self.first_to(&node).await? + usize::from(slot) % self.count;
        if let Ways::Cluster { of_slot, .. } = &mut self.ways {
            of_slot[usize::from(slot)] = Some(lane);
        }
        Ok(lane)
    }

    /// The first lane to each node: for what concerns no key.
    pub(super) async fn firsts(&mut self) -> Result<Vec<usize>, Error> {
        let Ways::Cluster { router, .. } = &self.ways else {
            return Ok(vec![0]);
        };
        let masters: Vec<Address> = router.map().masters().cloned().collect();
        let mut firsts = Vec::with_capacity(masters.len());
        for node in masters {
            firsts.push(self.first_to(&node).await?);
        }
        Ok(firsts)
    }

    async fn first_to(&mut self, node: &Address) -> Result<usize, Error> {
        if let Some(first) = self.all.iter().position(|lane| lane.node == *node) {
            return Ok(first);
        }
        self.open_to(node).await?;
        Ok(self.all.len() - self.count)
    }

    /// The way around the lanes, where the target is a cluster.
    pub(super) fn router(&mut self) -> Option<&mut Router> {
        match &mut self.ways {
            Ways::One => None,
            Ways::Cluster { router, .. } => Some(router),
        }
    }

    /// The slots may be served by others from now on. Nothing may be under way: lanes to nodes that serve none are given up.
    pub(super) fn forget_owners(&mut self) {
        let Ways::Cluster { router, of_slot } = &mut self.ways else {
            return;
        };
        of_slot.fill(None);
        let masters: Vec<&Address> = router.map().masters().collect();
        self.all.retain(|lane| masters.contains(&&lane.node));
    }

    /// Ends them all.
    pub(super) fn abort(&mut self) {
        self.tasks.abort_all();
    }
}
