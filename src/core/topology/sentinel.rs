//! The master that sentinels have elected.
//!
//! ```text
//! ask every known sentinel: where is the master? --> the answer with the highest epoch whose server says it is a master --> Place
//!      ^                                                                                                          |
//!      +-- at intervals, at a doubt, and whenever one tells of +switch-master <-----------------------------------+
//! ```
//!
//! Promises that one sentinel that answers is enough, that those which were not configured are found by those that were, and that a sentinel which
//! has missed a failover sends nobody to the server that was demoted in it: the server itself is asked for its role.

pub mod answer;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;

use super::alert::Alert;
use super::ask::Asker;
use super::{Error, Place, Trouble, Watcher, most_telling};
use crate::core::net::{Address, Endpoint};
use crate::core::resp::Value;
use answer::{address, addresses, fact, is_master_by_info, is_master_by_role, is_switch, learn};

/// However seldom the topology is looked at: sentinels are asked at least this often, since what they tell may get lost.
const ASK_EVERY_MAX: Duration = Duration::from_secs(5);

/// A sentinel that cannot be listened to is followed by the next after this.
const LISTEN_PAUSE: Duration = Duration::from_millis(500);

/// Which master, and whom to ask.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Sentinels to begin with, and how to log in there.
    pub sentinels: Vec<Endpoint>,
    /// The name under which they know the master.
    pub master: String,
    /// How the master is reached, but for its address.
    pub login: Endpoint,
    /// How often they are asked when nothing seems wrong.
    pub every: Duration,
}

/// Watches for as long as somebody holds the place. Must be called within the runtime.
#[must_use]
pub fn watch(settings: Settings) -> Place {
    let (watcher, place) = Watcher::new();
    tokio::spawn(async move {
        let mut sentinels = Sentinels::new(settings);
        tokio::select! {
            biased;
            () = watcher.is_left() => {}
            () = sentinels.watch(&watcher) => {}
        }
    });
    place
}

struct Sentinels {
    settings: Settings,
    /// All that are known: those of the configuration first.
    known: Vec<Address>,
}

/// What one sentinel said.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    master: Address,
    epoch: u64,
    others: Vec<Address>,
}

impl Sentinels {
    fn new(settings: Settings) -> Sentinels {
        let known = settings
            .sentinels
            .iter()
            .map(|sentinel| sentinel.address.clone())
            .collect();
        Sentinels { settings, known }
    }

    /// For ever; the caller drops it.
    async fn watch(&mut self, watcher: &Watcher) {
        let mut alert = Alert::new(self.settings.every.min(ASK_EVERY_MAX));
        let mut listening = Listener::default();
        loop {
            match self.find().await {
                Ok(found) => {
                    let last = watcher.last().map(|last| last.address);
                    if last.as_ref() != Some(&found.address) {
                        tracing::info!(master = %found.address, name = self.settings.master, "the sentinels name the master");
                        alert.is_over();
                    }
                    watcher.saw(found);
                }
                Err(error) => {
                    // Once: it is looked often while a failover goes on.
                    if watcher.is_blind(Trouble::from(&error)) {
                        tracing::warn!(hint = error.hint(), "{error}");
                    }
                }
            }
            let sentinels = self.endpoints();
            tokio::select! {
                () = listening.switched(&sentinels, &self.settings.master) => {}
                () = alert.next(watcher.doubted()) => {}
            }
        }
    }

    /// Asks them all.
    async fn find(&mut self) -> Result<Endpoint, Error> {
        let name = &self.settings.master;
        let asked = self
            .endpoints()
            .into_iter()
            .map(|sentinel| async move { said(&sentinel, name).await });
        let (mut found, mut errors) = (BTreeMap::new(), Vec::new());
        for answer in join_all(asked).await {
            match answer {
                Ok(said) => {
                    let epoch = found.entry(said.master).or_insert(said.epoch);
                    *epoch = said.epoch.max(*epoch);
                    learn(&mut self.known, said.others);
                }
                Err(error) => errors.push(error),
            }
        }
        let mut candidates: Vec<(u64, Address)> =
            found.into_iter().map(|(master, epoch)| (epoch, master)).collect();
        candidates.sort_by(|a, b| b.cmp(a));
        for (_, address) in candidates {
            match self.confirmed(address).await {
                Ok(endpoint) => return Ok(endpoint),
                Err(error) => errors.push(error),
            }
        }
        Err(most_telling(errors).expect("a sentinel at least was asked"))
    }

    /// The server, if it says itself that it is a master.
    async fn confirmed(&self, address: Address) -> Result<Endpoint, Error> {
        let endpoint = self.settings.login.at(address);
        match is_master(&mut Asker::open(&endpoint).await?).await? {
            true => Ok(endpoint),
            false => Err(Error::NotAMaster {
                address: endpoint.address,
                name: self.settings.master.clone(),
            }),
        }
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        let first = self
            .settings
            .sentinels
            .first()
            .expect("the configuration names at least one address");
        self.known
            .iter()
            .cloned()
            .map(|address| first.at(address))
            .collect()
    }
}

async fn is_master(server: &mut Asker) -> Result<bool, Error> {
    match server.call(&[b"ROLE"]).await {
        Ok(role) => Ok(is_master_by_role(&role)),
        // Not permitted, or not known to a server before 2.8.12: INFO says the same, and is needed in any case.
        Err(Error::Refused { .. }) => Ok(is_master_by_info(&server.text(&[b"INFO", b"replication"]).await?)),
        Err(error) => Err(error),
    }
}

async fn said(sentinel: &Endpoint, name: &str) -> Result<Said, Error> {
    let question: [&[u8]; 3] = [b"SENTINEL", b"get-master-addr-by-name", name.as_bytes()];
    let mut asker = Asker::open(sentinel).await?;
    let answer = asker.call(&question).await?;
    if answer == Value::Nil {
        return Err(Error::UnknownMaster {
            address: sentinel.address.clone(),
            name: name.to_owned(),
        });
    }
    let place = answer.array().unwrap_or_default();
    let master = address(place.first(), place.get(1)).ok_or_else(|| asker.nonsense(&question))?;
    // The rest helps and is not needed: a user may be permitted less.
    let facts = asker.call(&[b"SENTINEL", b"master", name.as_bytes()]).await;
    let epoch = facts.ok().and_then(|facts| fact(&facts, b"config-epoch"));
    let others = asker.call(&[b"SENTINEL", b"sentinels", name.as_bytes()]).await;
    let others = others.map_or_else(|_| Vec::new(), |others| addresses(&others));
    Ok(Said {
        master,
        epoch: epoch.and_then(|text| text.parse().ok()).unwrap_or(0),
        others,
    })
}

/// The subscription at one sentinel; another one's when it breaks.
#[derive(Default)]
struct Listener {
    heard: Option<Asker>,
    /// Which of them is listened to.
    turn: usize,
}

impl Listener {
    /// Waits until a sentinel tells that the master has changed, or until one begins to be listened to: what it told before is lost. Cancel safe.
    async fn switched(&mut self, sentinels: &[Endpoint], name: &str) {
        loop {
            let Some(asker) = &mut self.heard else {
                let sentinel = &sentinels[self.turn % sentinels.len()];
                match subscribed(sentinel).await {
                    Ok(asker) => {
                        tracing::debug!(sentinel = %sentinel.address, "listening for +switch-master");
                        self.heard = Some(asker);
                        return;
                    }
                    Err(error) => tracing::debug!(%error, "a sentinel cannot be listened to"),
                }
                self.turn += 1;
                tokio::time::sleep(LISTEN_PAUSE).await;
                continue;
            };
            match asker.value().await {
                Ok(message) if is_switch(&message, name) => return,
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "a sentinel is not heard any more");
                    self.heard = None;
                    self.turn += 1;
                }
            }
        }
    }
}

async fn subscribed(sentinel: &Endpoint) -> Result<Asker, Error> {
    let mut asker = Asker::open(sentinel).await?;
    asker.call(&[b"SUBSCRIBE", b"+switch-master"]).await?;
    Ok(asker)
}
