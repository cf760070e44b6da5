//! Questions to source and target from outside a pipeline, by the `redis` crate: what a source says of itself, what gunyu has recorded on a
//! target.
//!
//! Promises that no question waits for ever and that no answer changes anything, but for [`Target::remove_checkpoint`]. Leaves the
//! replication link and the lanes, where the data goes, to their own rooms.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo, Value};
use tokio::time::timeout;

use super::command::SLOTS;
use super::net::{self, Address, Connection, Credentials, Endpoint};
use super::resp;
use super::source::handshake::Refusal;
use super::source::info::SourceInfo;
use super::target::checkpoint::{self, Malformed, Record};
use super::target::cluster::map::SlotMap;

/// Connecting, and every answer, takes at most so long.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// A server could not be asked. Trying again later is safe.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be reached.
    #[error(transparent)]
    Net(#[from] net::Error),
    /// It refuses, or the connection broke.
    #[error("cannot ask {address}: {cause}")]
    Redis {
        /// Whom.
        address: Address,
        /// What came instead of an answer.
        cause: redis::RedisError,
    },
    /// It does not know who serves all slots of its cluster: some are served by nobody, or it has joined a moment ago.
    #[error("{address} knows of {slots} of the cluster's {SLOTS} slots who serves them")]
    SlotsMissing {
        /// Whom.
        address: Address,
        /// Of how many it knows.
        slots: usize,
    },
    /// What it says of the slots cannot be understood.
    #[error("{address} does not say where the masters of its cluster are")]
    NoMasters {
        /// Whom.
        address: Address,
    },
    /// The checkpoint on it is none that this gunyu reads.
    #[error("the checkpoint {key} on {address} cannot be read: {cause}")]
    Checkpoint {
        /// Where.
        address: Address,
        /// The key.
        key: String,
        /// What does not fit.
        cause: Malformed,
    },
}

impl Error {
    /// What a person may do.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Error::Net(error) => error.hint().unwrap_or_else(|| "try again".to_owned()),
            // It was reached: this ended the connection.
            Error::Redis { cause, .. } if cause.is_io_error() => {
                "if that port serves TLS and gunyu speaks without, write rediss:// instead of redis://; else look into the server's log".to_owned()
            }
            Error::Redis { address, cause } if is_no_cluster(cause) => {
                format!("it is not a cluster's: use redis://{address}")
            }
            Error::SlotsMissing { .. } | Error::NoMasters { .. } => {
                "look at CLUSTER NODES there; each master can be reached by itself, as redis://host:port"
                    .to_owned()
            }
            Error::Redis { .. } => {
                "check user, password and permissions (README.md lists what gunyu needs)".to_owned()
            }
            Error::Checkpoint { .. } => {
                "a newer gunyu wrote it, or somebody changed it: use that version".to_owned()
            }
        }
    }

    /// Whether only a person can mend it.
    #[must_use]
    pub fn needs_a_person(&self) -> bool {
        match self {
            Error::Net(error) => error.needs_a_person(),
            Error::Redis { cause, .. } if cause.kind() == redis::ErrorKind::AuthenticationFailed => true,
            Error::Redis { cause, .. } => refusal(cause).needs_a_person() || is_no_cluster(cause),
            Error::SlotsMissing { .. } | Error::NoMasters { .. } => false,
            Error::Checkpoint { .. } => true,
        }
    }
}

/// What kind of refusal a server's error reply is.
fn refusal(cause: &redis::RedisError) -> Refusal {
    let code = cause.code().unwrap_or_default();
    Refusal::of(&format!("{code} {}", cause.detail().unwrap_or_default()))
}

fn is_no_cluster(cause: &redis::RedisError) -> bool {
    cause
        .detail()
        .is_some_and(|detail| detail.contains("cluster support disabled"))
}

/// Asks a source.
#[derive(Debug)]
pub struct Source {
    address: Address,
    connection: MultiplexedConnection,
}

impl Source {
    /// Connects.
    ///
    /// # Errors
    /// It cannot be reached, or refuses the credentials.
    pub async fn connect(endpoint: &Endpoint) -> Result<Source, Error> {
        Ok(Source {
            address: endpoint.address.clone(),
            connection: connect(endpoint).await?,
        })
    }

    /// What it says of its replication.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub async fn info(&mut self) -> Result<SourceInfo, Error> {
        let asked = redis::cmd("INFO")
            .arg("replication")
            .query_async::<String>(&mut self.connection)
            .await;
        let text = asked.map_err(|cause| failed(&self.address, cause))?;
        Ok(SourceInfo::parse(&text))
    }

    /// The masters of its cluster, in the order of their slots: all that hold keys. `CLUSTER SLOTS` is known to every server that knows clusters.
    ///
    /// # Errors
    /// It does not answer, refuses, is in no cluster, or does not know who serves all slots.
    pub async fn masters(&mut self) -> Result<Vec<Address>, Error> {
        let address = || self.address.clone();
        let asked = redis::cmd("CLUSTER")
            .arg("SLOTS")
            .query_async::<Value>(&mut self.connection)
            .await;
        let answer = asked.map_err(|cause| failed(&self.address, cause))?;
        let map = plain(answer).and_then(|answer| SlotMap::parse(&answer, &self.address));
        let map = map.ok_or_else(|| Error::NoMasters { address: address() })?;
        if map.served() != usize::from(SLOTS) {
            return Err(Error::SlotsMissing {
                address: address(),
                slots: map.served(),
            });
        }
        Ok(map.masters().cloned().collect())
    }
}

/// What a target holds of one deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The record.
    pub record: Record,
    /// When it was written.
    pub at: SystemTime,
}

/// So often a node of a cluster is believed that another one has a key.
const HOPS_MAX: usize = 5;

/// Asks a target: the node that is given, or that of its cluster which has the deployment's keys.
#[derive(Debug)]
pub struct Target {
    address: Address,
    endpoint: Endpoint,
    connection: MultiplexedConnection,
}

impl Target {
    /// Connects.
    ///
    /// # Errors
    /// It cannot be reached, or refuses the credentials.
    pub async fn connect(endpoint: &Endpoint) -> Result<Target, Error> {
        Ok(Target {
            address: endpoint.address.clone(),
            endpoint: endpoint.clone(),
            connection: connect(endpoint).await?,
        })
    }

    /// Goes to where the deployment's keys are, if that is another node of a cluster.
    async fn go_home(&mut self, name: &str) -> Result<(), Error> {
        let key = checkpoint::key(name);
        for _ in 0..HOPS_MAX {
            let asked = redis::cmd("EXISTS")
                .arg(&key[..])
                .query_async::<Value>(&mut self.connection)
                .await;
            let Err(error) = asked else { return Ok(()) };
            // What else is wrong the question itself will tell.
            let Some((host, port)) = moved_to(&error) else {
                return Ok(());
            };
            if !host.is_empty() {
                self.endpoint.address.host = host;
            }
            self.endpoint.address.port = port;
            self.address = self.endpoint.address.clone();
            self.connection = connect(&self.endpoint).await?;
        }
        Ok(())
    }

    /// What it holds of the deployment of that name.
    ///
    /// # Errors
    /// It does not answer, refuses, or holds something else.
    pub async fn recorded(&mut self, name: &str) -> Result<Option<Recorded>, Error> {
        self.go_home(name).await?;
        let key = checkpoint::key(name);
        let asked = redis::cmd("HGETALL")
            .arg(&key[..])
            .query_async::<Vec<(Vec<u8>, Vec<u8>)>>(&mut self.connection)
            .await;
        let pairs = asked.map_err(|cause| failed(&self.address, cause))?;
        if pairs.is_empty() {
            return Ok(None);
        }
        let time = pairs.iter().find(|(field, _)| field == b"time_ms");
        let time_ms = time.and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse().ok());
        let fields = pairs.iter().map(|(field, value)| (&field[..], &value[..]));
        let record = Record::parse(fields).map_err(|cause| Error::Checkpoint {
            address: self.address.clone(),
            key: String::from_utf8_lossy(&key).into_owned(),
            cause,
        })?;
        let at = UNIX_EPOCH + Duration::from_millis(time_ms.unwrap_or(0));
        Ok(Some(Recorded { record, at }))
    }

    /// Whether a connection of that deployment is open on it; nothing where it may not be asked.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn is_in_use(&mut self, name: &str) -> Result<Option<bool>, Error> {
        self.go_home(name).await?;
        let asked = redis::cmd("CLIENT")
            .arg("LIST")
            .query_async::<Value>(&mut self.connection)
            .await;
        match asked {
            Ok(list) => {
                let list: Option<String> = redis::from_redis_value(list).ok();
                Ok(list.map(|list| list.contains(&format!(" name=gunyu:{name}:"))))
            }
            Err(error) if error.is_io_error() => Err(failed(&self.address, error)),
            Err(_) => Ok(None),
        }
    }

    /// Removes what it holds of the deployment of that name, if it is still that of `at`. False where it is another.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub async fn remove_checkpoint(&mut self, name: &str, at: SystemTime) -> Result<bool, Error> {
        let (key, session) = (checkpoint::key(name), checkpoint::session_key(name));
        let watched = redis::cmd("WATCH")
            .arg(&key[..])
            .query_async::<()>(&mut self.connection)
            .await;
        watched.map_err(|cause| failed(&self.address, cause))?;
        let is_same = self
            .recorded(name)
            .await?
            .is_some_and(|recorded| recorded.at == at);
        if !is_same {
            let unwatched = redis::cmd("UNWATCH")
                .query_async::<()>(&mut self.connection)
                .await;
            return unwatched
                .map(|()| false)
                .map_err(|cause| failed(&self.address, cause));
        }
        let mut removal = redis::pipe();
        removal.atomic().del(&key[..]).ignore().del(&session[..]).ignore();
        // Nil where somebody has written it since.
        let removed = removal.query_async::<Option<()>>(&mut self.connection).await;
        removed
            .map(|done| done.is_some())
            .map_err(|cause| failed(&self.address, cause))
    }
}

/// The answer of a connection without RESP3 as our own rooms read it; nothing where it is of another kind.
fn plain(answer: Value) -> Option<resp::Value> {
    Some(match answer {
        Value::Nil => resp::Value::Nil,
        Value::Int(number) => resp::Value::Int(number),
        Value::BulkString(text) => resp::Value::Bulk(text),
        Value::SimpleString(text) => resp::Value::Simple(text.into_bytes()),
        Value::Array(items) => resp::Value::Array(items.into_iter().map(plain).collect::<Option<_>>()?),
        _ => return None,
    })
}

/// Where a node says that the key is: `MOVED slot host:port`.
fn moved_to(error: &redis::RedisError) -> Option<(String, u16)> {
    if error.code() != Some("MOVED") {
        return None;
    }
    let (_, node) = error.detail()?.split_once(' ')?;
    let (host, port) = node.rsplit_once(':')?;
    Some((host.to_owned(), port.parse().ok()?))
}

fn failed(address: &Address, cause: redis::RedisError) -> Error {
    match io_error(&cause).and_then(net::Trouble::of) {
        Some(trouble) => Error::Net(net::Error::Tls {
            address: address.clone(),
            trouble,
        }),
        None => Error::Redis {
            address: address.clone(),
            cause,
        },
    }
}

fn io_error(cause: &redis::RedisError) -> Option<&io::Error> {
    std::error::Error::source(cause)?.downcast_ref()
}

/// A connection that ended while we greeted; without TLS nobody has said anything on it yet.
fn not_greeted(endpoint: &Endpoint, cause: redis::RedisError) -> Error {
    match io_error(&cause) {
        Some(io) if endpoint.tls.is_none() => Error::Net(net::Error::Mute {
            address: endpoint.address.clone(),
            cause: io::Error::new(io.kind(), io.to_string()),
        }),
        _ => failed(&endpoint.address, cause),
    }
}

/// Over a [`Connection`] of ours, so that there is one way to trust a server.
async fn connect(endpoint: &Endpoint) -> Result<MultiplexedConnection, Error> {
    log_in(endpoint, Connection::open(endpoint).await?).await
}

/// Logs in on a connection that is open, for questions.
///
/// # Errors
/// The credentials are refused, or there is no answer in time.
pub async fn log_in(endpoint: &Endpoint, connection: Connection) -> Result<MultiplexedConnection, Error> {
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(ANSWER_LIMIT));
    let login = login(&endpoint.credentials);
    let greet = MultiplexedConnection::new_with_config(&login, connection, config);
    let greeted = timeout(ANSWER_LIMIT, greet)
        .await
        .map_err(|_| net::Error::Silent {
            address: endpoint.address.clone(),
            doing: "logging in",
            limit: ANSWER_LIMIT,
        })?;
    let (asking, driver) = greeted.map_err(|cause| not_greeted(endpoint, cause))?;
    // It ends when the last clone of `asking` is dropped.
    tokio::spawn(driver);
    Ok(asking)
}

fn login(credentials: &Credentials) -> RedisConnectionInfo {
    // It is not among the permissions that README asks for, and a refusal would stand in the ACL log.
    let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
    if !credentials.user.is_empty() {
        login = login.set_username(&credentials.user);
    }
    if !credentials.password.is_empty() {
        login = login.set_password(&credentials.password);
    }
    login
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn what_a_node_says_of_its_slots_is_read_as_a_map() {
        let asked = Address {
            host: "seed".into(),
            port: 7,
        };
        let node = Value::Array(vec![bulk(""), Value::Int(9), bulk("id"), Value::Array(vec![])]);
        let range = Value::Array(vec![Value::Int(0), Value::Int(9), node]);
        let map = SlotMap::parse(&plain(Value::Array(vec![range])).unwrap(), &asked).unwrap();
        assert_eq!(map.owner(9), Some(&Address { port: 9, ..asked }));
        assert_eq!(map.served(), 10);
        assert_eq!(plain(Value::Array(vec![Value::Boolean(true)])), None);
    }
}
