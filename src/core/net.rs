//! Connections to a Redis server: addresses, credentials, time limits.
//!
//! Owns how a TCP connection is opened and what its limits are, for source and target alike. Promises that no connect,
//! read or write waits for ever. Leaves to others what is said on the connection.

use std::fmt;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long opening a connection may take.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How long one write may take to be accepted by the kernel, which is how long a peer may stop reading.
pub const WRITE_LIMIT: Duration = Duration::from_secs(60);

/// A server's host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// Host name or IP address, IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A user and a password. Never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// ACL user; empty for the default user.
    pub user: String,
    /// Password; empty for none.
    pub password: String,
}

impl Credentials {
    /// The arguments of `AUTH`, or nothing where no password is set.
    ///
    /// A password without a user goes as the one-argument form, which servers before 6.0 know.
    #[must_use]
    pub fn auth_command(&self) -> Option<Vec<&[u8]>> {
        match (self.user.is_empty(), self.password.is_empty()) {
            (true, true) => None,
            (true, false) => Some(vec![b"AUTH", self.password.as_bytes()]),
            (false, _) => Some(vec![b"AUTH", self.user.as_bytes(), self.password.as_bytes()]),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials {{ user: {:?}, password: *** }}", self.user)
    }
}

/// Where a server is and how to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host and port.
    pub address: Address,
    /// How to log in.
    pub credentials: Credentials,
}

/// What went wrong on a connection. The caller may open a new one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection came about.
    #[error("cannot connect to {address}: {cause}")]
    Connect {
        /// Whom we called.
        address: Address,
        /// Why it failed.
        cause: io::Error,
    },
    /// The connection broke.
    #[error("connection to {address} lost while {doing}: {cause}")]
    Lost {
        /// The peer.
        address: Address,
        /// What we were doing.
        doing: &'static str,
        /// Why it broke.
        cause: io::Error,
    },
    /// The peer said nothing for too long.
    #[error("{address} did not answer within {} s while {doing}", limit.as_secs())]
    Silent {
        /// The peer.
        address: Address,
        /// What we were doing.
        doing: &'static str,
        /// How long we waited.
        limit: Duration,
    },
}

impl Error {
    /// The same, where the limit was measured from an earlier moment than the call's.
    #[must_use]
    pub fn with_limit(self, whole: Duration) -> Error {
        match self {
            Error::Silent { address, doing, .. } => Error::Silent {
                address,
                doing,
                limit: whole,
            },
            other => other,
        }
    }
}

/// One TCP connection with time limits on everything.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    address: Address,
}

impl Connection {
    /// Opens a connection within [`CONNECT_LIMIT`], without Nagle's delay and with TCP keepalive.
    ///
    /// # Errors
    /// The host does not resolve, refuses, or does not answer in time.
    pub async fn open(address: &Address) -> Result<Connection, Error> {
        let failed = |cause| Error::Connect {
            address: address.clone(),
            cause,
        };
        let dial = TcpStream::connect((address.host.as_str(), address.port));
        let stream = match timeout(CONNECT_LIMIT, dial).await {
            Ok(result) => result.map_err(failed)?,
            Err(_) => {
                return Err(failed(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "no answer within 5 s",
                )));
            }
        };
        stream.set_nodelay(true).map_err(failed)?;
        let keepalive = socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(30))
            .with_interval(Duration::from_secs(10));
        socket2::SockRef::from(&stream)
            .set_tcp_keepalive(&keepalive)
            .map_err(failed)?;
        Ok(Connection {
            stream,
            address: address.clone(),
        })
    }

    /// The peer.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Our own IP address on this connection, as the peer's network sees it unless something translates.
    #[must_use]
    pub fn local_ip(&self) -> Option<std::net::IpAddr> {
        self.stream.local_addr().ok().map(|a| a.ip())
    }

    /// Cuts the connection in two halves, so that reading and writing can wait for each other.
    #[must_use]
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        let (read, write) = self.stream.into_split();
        (
            ReadHalf {
                inner: Box::new(read),
                address: self.address.clone(),
            },
            WriteHalf {
                inner: Box::new(write),
                address: self.address,
            },
        )
    }
}

/// The half that hears.
pub struct ReadHalf {
    inner: Box<dyn AsyncRead + Send + Unpin>,
    address: Address,
}

impl ReadHalf {
    /// Appends what has arrived to `buffer` and says how many bytes; waits at most `limit`. Cancel safe: a dropped call has read
    /// nothing.
    ///
    /// # Errors
    /// The peer closed, the connection broke, or nothing came within `limit`.
    pub async fn read(
        &mut self,
        buffer: &mut bytes::BytesMut,
        limit: Duration,
        doing: &'static str,
    ) -> Result<usize, Error> {
        match timeout(limit, self.inner.read_buf(buffer)).await {
            Ok(Ok(0)) => Err(self.lost(
                doing,
                io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the peer"),
            )),
            Ok(Ok(n)) => Ok(n),
            Ok(Err(cause)) => Err(self.lost(doing, cause)),
            Err(_) => Err(Error::Silent {
                address: self.address.clone(),
                doing,
                limit,
            }),
        }
    }

    fn lost(&self, doing: &'static str, cause: io::Error) -> Error {
        Error::Lost {
            address: self.address.clone(),
            doing,
            cause,
        }
    }
}

impl fmt::Debug for ReadHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadHalf({})", self.address)
    }
}

/// The half that speaks.
pub struct WriteHalf {
    inner: Box<dyn AsyncWrite + Send + Unpin>,
    address: Address,
}

impl WriteHalf {
    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// The connection broke, or the peer read nothing for [`WRITE_LIMIT`].
    pub async fn write_all(&mut self, bytes: &[u8], doing: &'static str) -> Result<(), Error> {
        let written = timeout(WRITE_LIMIT, self.inner.write_all(bytes)).await;
        self.judge(written, doing)
    }

    /// Writes what it can of `bytes` and says how much. Cancel safe.
    ///
    /// # Errors
    /// As [`WriteHalf::write_all`].
    pub async fn write_some(
        &mut self,
        pieces: &[io::IoSlice<'_>],
        doing: &'static str,
    ) -> Result<usize, Error> {
        let written = timeout(WRITE_LIMIT, self.inner.write_vectored(pieces)).await;
        self.judge(written, doing)
    }

    fn judge<T>(
        &self,
        written: Result<io::Result<T>, tokio::time::error::Elapsed>,
        doing: &'static str,
    ) -> Result<T, Error> {
        match written {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(cause)) => Err(Error::Lost {
                address: self.address.clone(),
                doing,
                cause,
            }),
            Err(_) => Err(Error::Silent {
                address: self.address.clone(),
                doing,
                limit: WRITE_LIMIT,
            }),
        }
    }
}

impl fmt::Debug for WriteHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriteHalf({})", self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_alone_goes_in_the_old_form() {
        let alone = Credentials {
            user: String::new(),
            password: "s".into(),
        };
        assert_eq!(alone.auth_command().unwrap(), [&b"AUTH"[..], b"s"]);
        let both = Credentials {
            user: "u".into(),
            password: "s".into(),
        };
        assert_eq!(both.auth_command().unwrap(), [&b"AUTH"[..], b"u", b"s"]);
        assert_eq!(Credentials::default().auth_command(), None);
    }

    #[test]
    fn credentials_never_print_the_password() {
        let secret = Credentials {
            user: "u".into(),
            password: "hunter2".into(),
        };
        assert!(!format!("{secret:?}").contains("hunter2"));
    }

    #[test]
    fn an_ipv6_address_prints_with_brackets() {
        assert_eq!(
            Address {
                host: "::1".into(),
                port: 6379
            }
            .to_string(),
            "[::1]:6379"
        );
    }

    #[tokio::test]
    async fn a_refused_connection_names_the_address() {
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let address = Address {
            host: "127.0.0.1".into(),
            port: free.port(),
        };
        let error = Connection::open(&address).await.unwrap_err();
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
}
