//! Clients of the tests: they find the server of a key, follow it when it moves, and try again until their patience ends.
//!
//! What was sent to a server that is lost may have been executed or not, and is sent again: whoever counts must count on
//! the server.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use redis::{Connection, RedisResult, Value};

use super::slot::{SLOTS, slot};
use crate::support::secured::Secured;
use crate::support::wire::Batch;

/// How long a request is tried. A failover with an election takes some seconds, on a busy machine more.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Between two tries on a server that says *not now*, or is gone.
const PAUSE: Duration = Duration::from_millis(10);

/// So many redirections in a row are nothing strange; after them a client pauses.
const HOPS_MAX: u32 = 3;

/// Sends commands to whoever serves a key.
pub trait Client: Send {
    /// Sends the commands, all of which are about the slot of `key`, in one go to one server, and gives the replies.
    ///
    /// A command that is refused for a reason of its own (WRONGTYPE) is a reply like any other.
    ///
    /// # Errors
    /// Nobody has taken them before the patience ended; what was said last.
    fn send(&mut self, key: &[u8], commands: &Batch) -> Result<Vec<Value>, String>;
}

/// What stands between a request and its answer.
#[derive(Debug, PartialEq, Eq)]
enum Obstacle {
    /// Another server has the slot, from now on.
    Moved(String),
    /// Another server has the key, for now.
    Ask(String),
    /// Later, perhaps elsewhere.
    NotNow(String),
}

/// The first of the replies that says so; a transaction ends in EXECABORT, behind the reason.
fn obstacle(replies: &[Value]) -> Option<Obstacle> {
    replies.iter().find_map(|reply| {
        let Value::ServerError(error) = reply else {
            return None;
        };
        let details = error.details().unwrap_or_default();
        let place = || details.rsplit(' ').next().unwrap_or_default().to_owned();
        match error.code() {
            "MOVED" => Some(Obstacle::Moved(place())),
            "ASK" => Some(Obstacle::Ask(place())),
            "CLUSTERDOWN" | "TRYAGAIN" | "LOADING" | "MASTERDOWN" | "READONLY" | "UNBLOCKED" => {
                Some(Obstacle::NotNow(format!("{} {details}", error.code())))
            }
            _ => None,
        }
    })
}

/// Open connections, by address.
#[derive(Default)]
struct Lines {
    open: HashMap<String, Connection>,
    /// The servers speak TLS alone.
    secured: Option<Secured>,
}

impl Lines {
    /// One exchange; a connection that fails is closed.
    fn exchange(&mut self, address: &str, asking: bool, commands: &Batch) -> RedisResult<Vec<Value>> {
        if !self.open.contains_key(address) {
            let way = self.secured.as_ref().map(|secured| secured.way(address));
            let way = way.unwrap_or_else(|| format!("redis://{address}"));
            self.open.insert(address.to_owned(), open(&way)?);
        }
        let conn = self.open.get_mut(address).expect("it was put there");
        let mut commands = commands.clone();
        let replies = match asking {
            // ASKING holds for the next command, and for a whole transaction that it begins.
            true => redis::cmd("ASKING").exec(conn).and_then(|()| commands.send(conn)),
            false => commands.send(conn),
        };
        if replies.is_err() {
            self.open.remove(address);
        }
        replies
    }
}

fn open(url: &str) -> RedisResult<Connection> {
    let client = redis::Client::open(url)?;
    let conn = client.get_connection_with_timeout(Duration::from_secs(2))?;
    conn.set_read_timeout(Some(Duration::from_secs(5)))?;
    conn.set_write_timeout(Some(Duration::from_secs(5)))?;
    Ok(conn)
}

/// A client of a cluster: routes by slot.
pub struct Routed {
    seeds: Vec<String>,
    owners: Vec<Option<String>>,
    lines: Lines,
    patience: Duration,
}

impl Routed {
    /// Knows the cluster by these nodes, `host:port`.
    pub fn with_seeds(seeds: Vec<String>) -> Routed {
        Routed::of(seeds, None)
    }

    /// The same of a cluster that may speak TLS alone.
    pub fn of(seeds: Vec<String>, secured: Option<Secured>) -> Routed {
        Routed {
            seeds,
            owners: vec![None; SLOTS],
            lines: Lines {
                secured,
                ..Lines::default()
            },
            patience: PATIENCE,
        }
    }

    /// Asks the nodes that it knows, in turn, until one tells who has which slot.
    fn look_again(&mut self) {
        let known: Vec<String> = self.lines.open.keys().chain(&self.seeds).cloned().collect();
        let mut ask = Batch::default();
        crate::support::wire::put!(ask, "CLUSTER", "SLOTS");
        for address in known {
            let Ok(answer) = self.lines.exchange(&address, false, &ask) else {
                continue;
            };
            if let Some(Value::Array(ranges)) = answer.first()
                && !ranges.is_empty()
            {
                ranges.iter().for_each(|range| self.note(range));
                return;
            }
        }
    }

    /// `[first, last, [host, port, …], …]`
    fn note(&mut self, range: &Value) {
        let Value::Array(parts) = range else { return };
        let [Value::Int(first), Value::Int(last), Value::Array(node), ..] = parts.as_slice() else {
            return;
        };
        let (Some(Value::BulkString(host)), Some(Value::Int(port))) = (node.first(), node.get(1)) else {
            return;
        };
        let address = format!("{}:{port}", String::from_utf8_lossy(host));
        for slot in *first..=*last {
            self.owners[usize::try_from(slot).unwrap()] = Some(address.clone());
            if !self.seeds.contains(&address) {
                self.seeds.push(address.clone());
            }
        }
    }
}

impl Client for Routed {
    fn send(&mut self, key: &[u8], commands: &Batch) -> Result<Vec<Value>, String> {
        let slot = usize::from(slot(key));
        let (start, mut hops, mut ask) = (Instant::now(), 0, None::<String>);
        loop {
            if self.owners[slot].is_none() {
                self.look_again();
            }
            let owner = ask.clone().or_else(|| self.owners[slot].clone());
            let last_word = match owner {
                None => "nobody has the slot".to_owned(),
                Some(address) => match self.lines.exchange(&address, ask.take().is_some(), commands) {
                    Ok(replies) => match obstacle(&replies) {
                        None => return Ok(replies),
                        Some(Obstacle::Moved(to)) => {
                            self.owners[slot] = Some(to);
                            hops += 1;
                            "MOVED".to_owned()
                        }
                        Some(Obstacle::Ask(to)) => {
                            ask = Some(to);
                            hops += 1;
                            "ASK".to_owned()
                        }
                        Some(Obstacle::NotNow(why)) => {
                            hops = HOPS_MAX + 1;
                            why
                        }
                    },
                    Err(error) => {
                        self.owners[slot] = None;
                        hops = HOPS_MAX + 1;
                        format!("{address}: {error}")
                    }
                },
            };
            if start.elapsed() > self.patience {
                return Err(format!("slot {slot}: {last_word}"));
            }
            if hops > HOPS_MAX {
                std::thread::sleep(PAUSE);
                hops = 0;
            }
        }
    }
}

/// A client of one server, or of the master that sentinels name.
pub struct Plain {
    place: Place,
    at: Option<String>,
    lines: Lines,
}

enum Place {
    Fixed(String),
    /// Addresses of sentinels, and the master's name.
    Named(Vec<String>, String),
}

impl Plain {
    /// Of the server at `host:port`.
    pub fn at(address: &str) -> Plain {
        Plain::of(Place::Fixed(address.to_owned()))
    }

    /// Of whoever these sentinels (`host:port`) call the master of that name.
    pub fn named(sentinels: Vec<String>, name: &str) -> Plain {
        Plain::of(Place::Named(sentinels, name.to_owned()))
    }

    fn of(place: Place) -> Plain {
        Plain {
            place,
            at: None,
            lines: Lines::default(),
        }
    }

    fn find(&mut self) -> Option<String> {
        let (sentinels, name) = match &self.place {
            Place::Fixed(address) => return Some(address.clone()),
            Place::Named(sentinels, name) => (sentinels, name),
        };
        sentinels.iter().find_map(|sentinel| {
            let mut ask = redis::cmd("SENTINEL");
            ask.arg("get-master-addr-by-name").arg(name);
            let place: Vec<String> = ask.query(&mut open(&format!("redis://{sentinel}")).ok()?).ok()?;
            Some(place.join(":"))
        })
    }
}

impl Client for Plain {
    fn send(&mut self, _key: &[u8], commands: &Batch) -> Result<Vec<Value>, String> {
        let start = Instant::now();
        loop {
            if self.at.is_none() {
                self.at = self.find();
            }
            let last_word = match self.at.clone() {
                None => "no sentinel names a master".to_owned(),
                Some(address) => match self.lines.exchange(&address, false, commands) {
                    Ok(replies) => match obstacle(&replies) {
                        None => return Ok(replies),
                        Some(obstacle) => format!("{obstacle:?}"),
                    },
                    Err(error) => format!("{address}: {error}"),
                },
            };
            self.at = None;
            if start.elapsed() > PATIENCE {
                return Err(last_word);
            }
            std::thread::sleep(PAUSE);
        }
    }
}
