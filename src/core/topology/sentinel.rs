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

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;

use super::alert::Alert;
use super::ask::Asker;
use super::{Error, Place, Trouble, Watcher, most_telling};
use crate::core::net::{Address, Endpoint};
use crate::core::resp::Value;

/// However seldom the topology is looked at: sentinels are asked at least this often, since what they tell may get lost.
const ASK_EVERY_MAX: Duration = Duration::from_secs(5);

/// So many sentinels are asked at most, those of the configuration first, and whatever they say: nobody has more.
const KNOWN_MAX: usize = 32;

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

/// Notes others, as long as there are not too many.
fn learn(known: &mut Vec<Address>, others: Vec<Address>) {
    for other in others {
        if known.len() < KNOWN_MAX && !known.contains(&other) {
            known.push(other);
        }
    }
}

async fn is_master(server: &mut Asker) -> Result<bool, Error> {
    match server.call(&[b"ROLE"]).await {
        Ok(role) => {
            let role = role.array().and_then(|parts| parts.first()?.text());
            Ok(role == Some(b"master"))
        }
        // Not permitted, or not known to a server before 2.8.12: INFO says the same, and is needed in any case.
        Err(Error::Refused { .. }) => {
            let info = server.text(&[b"INFO", b"replication"]).await?;
            Ok(info.lines().any(|line| line.trim() == "role:master"))
        }
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

fn address(host: Option<&Value>, port: Option<&Value>) -> Option<Address> {
    let text = |value: Option<&Value>| Some(String::from_utf8_lossy(value?.text()?).into_owned());
    Some(Address {
        host: text(host).filter(|host| !host.is_empty())?,
        port: text(port)?.parse().ok().filter(|port| *port > 0)?,
    })
}

/// A value out of names and values in turn, or out of a map.
fn fact(facts: &Value, name: &[u8]) -> Option<String> {
    let text = |value: &Value| Some(String::from_utf8_lossy(value.text()?).into_owned());
    match facts {
        Value::Map(pairs) => {
            let pair = pairs.iter().find(|(key, _)| key.text() == Some(name))?;
            text(&pair.1)
        }
        facts => {
            let mut pairs = facts.array()?.chunks_exact(2);
            text(&pairs.find(|pair| pair[0].text() == Some(name))?[1])
        }
    }
}

fn addresses(sentinels: &Value) -> Vec<Address> {
    let one = |facts: &Value| {
        Some(Address {
            host: fact(facts, b"ip").filter(|ip| !ip.is_empty())?,
            port: fact(facts, b"port")?.parse().ok().filter(|port| *port > 0)?,
        })
    };
    sentinels
        .array()
        .unwrap_or_default()
        .iter()
        .filter_map(one)
        .collect()
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

/// `message +switch-master "name old-ip old-port new-ip new-port"`.
fn is_switch(message: &Value, name: &str) -> bool {
    let (Value::Array(parts) | Value::Push(parts)) = message else {
        return false;
    };
    let [kind, _channel, text] = &parts[..] else {
        return false;
    };
    let text = text.text().unwrap_or_default();
    kind.text() == Some(b"message") && text.split(|byte| *byte == b' ').next() == Some(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    fn list(texts: &[&str]) -> Value {
        Value::Array(texts.iter().map(|text| bulk(text)).collect())
    }

    #[test]
    fn sentinels_without_number_are_not_hoarded_and_those_of_the_configuration_stay() {
        let at = |port: u16| Address {
            host: "h".to_owned(),
            port,
        };
        let mut known: Vec<Address> = (1..=3).map(at).collect();
        learn(&mut known, (1..1_000).map(at).collect());
        let expected: Vec<Address> = (1..=32).map(at).collect();
        assert_eq!(known, expected);
        let mut many: Vec<Address> = (1..=40).map(at).collect();
        learn(&mut many, vec![at(99)]);
        assert_eq!(many.len(), 40);
    }

    #[test]
    fn only_a_switch_of_our_master_is_heard() {
        let message = |text: &str| list(&["message", "+switch-master", text]);
        assert!(is_switch(&message("mine 10.0.0.1 1 10.0.0.2 2"), "mine"));
        assert!(!is_switch(&message("mine2 10.0.0.1 1 10.0.0.2 2"), "mine"));
        assert!(!is_switch(
            &list(&["subscribe", "+switch-master", "mine"]),
            "mine"
        ));
        assert!(!is_switch(&bulk("mine"), "mine"));
    }

    #[test]
    fn other_sentinels_are_read_from_lists_and_from_maps() {
        let flat = list(&["name", "x", "ip", "10.0.0.1", "port", "26379"]);
        let map = Value::Map(vec![
            (bulk("ip"), bulk("10.0.0.2")),
            (bulk("port"), bulk("26380")),
        ]);
        let lame = list(&["ip", "", "port", "26379"]);
        let found: Vec<String> = addresses(&Value::Array(vec![flat, map, lame]))
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, ["10.0.0.1:26379", "10.0.0.2:26380"]);
    }

    #[test]
    fn a_master_without_an_address_is_none() {
        assert_eq!(address(Some(&bulk("")), Some(&bulk("1"))), None);
        assert_eq!(address(Some(&bulk("h")), Some(&bulk("0"))), None);
        assert_eq!(address(Some(&bulk("h")), None), None);
    }
}
