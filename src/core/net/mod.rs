//! Connections to a Redis server: addresses, credentials, TLS, time limits.
//!
//! Owns how a connection is opened, with TLS or without, and what its limits are, for source and target alike. Promises that no connect,
//! handshake, read or write waits for ever. Leaves to others what is said on the connection.

mod address;
pub mod http;
pub mod pem;
mod stream;
pub mod tls;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub use address::{Address, Credentials};
use stream::{Reading, Stream, Writing};
pub use tls::{Tls, Trouble};

/// How long opening a connection may take.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How long one write may take to be accepted by the kernel, which is how long a peer may stop reading.
pub const WRITE_LIMIT: Duration = Duration::from_secs(60);

/// How a TLS server's answer to something else begins: the record of an alert.
const TLS_ALERT: [u8; 2] = [0x15, 0x03];

/// Where a server is and how to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host and port.
    pub address: Address,
    /// How to log in.
    pub credentials: Credentials,
    /// How to speak TLS with it, where it is to be spoken.
    pub tls: Option<Arc<Tls>>,
}

impl Endpoint {
    /// The same login at another address.
    #[must_use]
    pub fn at(&self, address: Address) -> Endpoint {
        Endpoint {
            address,
            ..self.clone()
        }
    }
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
    /// TLS did not come about, or broke.
    #[error("no TLS with {address}: {trouble}")]
    Tls {
        /// The peer.
        address: Address,
        /// What went wrong.
        trouble: Trouble,
    },
    /// The connection ended before the peer said anything.
    #[error("{address} said nothing and ended the connection: {cause}")]
    Mute {
        /// The peer.
        address: Address,
        /// How it ended.
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
    #[error("{address} did not answer within {} while {doing}", span(*limit))]
    Silent {
        /// The peer.
        address: Address,
        /// What we were doing.
        doing: &'static str,
        /// How long we waited.
        limit: Duration,
    },
}

/// A limit in the unit that tells it.
fn span(limit: Duration) -> String {
    match limit.as_secs() {
        0 => format!("{} ms", limit.as_millis()),
        secs => format!("{secs} s"),
    }
}

impl Error {
    /// What a person may do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Connect { address, .. } => Some(format!(
                "check that a server listens on {address} and that no firewall is between"
            )),
            Error::Tls { trouble, .. } => Some(trouble.hint().to_owned()),
            Error::Mute { .. } => Some(
                "if that port serves TLS, write rediss:// instead of redis:// (tls.enable: true); else look into the server's log"
                    .to_owned(),
            ),
            Error::Silent { address, .. } => Some(format!(
                "see whether {address} is frozen or overloaded (its log, SLOWLOG GET), and whether the network still carries its answers"
            )),
            Error::Lost { .. } => None,
        }
    }

    /// Whether only another configuration helps, here or there.
    #[must_use]
    pub fn needs_a_person(&self) -> bool {
        matches!(self, Error::Tls { trouble, .. } if trouble.needs_a_person())
    }

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

/// One connection with time limits on everything. As [`AsyncRead`] and [`AsyncWrite`], for libraries, it leaves them to the caller.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    address: Address,
}

impl Connection {
    /// Opens a connection within [`CONNECT_LIMIT`], and TLS on it within that time again.
    ///
    /// # Errors
    /// The host does not resolve, refuses, or does not answer in time; the handshake fails.
    pub async fn open(endpoint: &Endpoint) -> Result<Connection, Error> {
        Connection::open_within(endpoint, CONNECT_LIMIT).await
    }

    /// The same with another limit for each of the two steps.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub async fn open_within(endpoint: &Endpoint, limit: Duration) -> Result<Connection, Error> {
        let address = &endpoint.address;
        let tcp = dial(address, limit).await.map_err(|cause| Error::Connect {
            address: address.clone(),
            cause,
        })?;
        let stream = match &endpoint.tls {
            None => Stream::Plain(tcp),
            Some(tls) => {
                let shaken = tls.shake_hands(tcp, address, limit).await;
                Stream::Tls(Box::new(shaken.map_err(|trouble| Error::Tls {
                    address: address.clone(),
                    trouble,
                })?))
            }
        };
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
        self.stream.tcp().local_addr().ok().map(|a| a.ip())
    }

    /// The certificate that the peer has shown (DER), on a connection by TLS.
    #[must_use]
    pub fn certificate(&self) -> Option<Vec<u8>> {
        self.stream.certificate()
    }

    /// Cuts the connection in two halves, so that reading and writing can wait for each other.
    #[must_use]
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        let is_tls = self.stream.is_tls();
        let (read, write) = self.stream.split();
        (
            ReadHalf {
                inner: read,
                address: self.address.clone(),
                is_first_of_plain: !is_tls,
            },
            WriteHalf {
                inner: write,
                address: self.address,
                taken: None,
            },
        )
    }
}

/// Without Nagle's delay and with TCP keepalive.
async fn dial(address: &Address, limit: Duration) -> io::Result<TcpStream> {
    let dial = TcpStream::connect((address.host.as_str(), address.port));
    let late = || {
        let text = format!("no answer within {} s", limit.as_secs());
        io::Error::new(io::ErrorKind::TimedOut, text)
    };
    let tcp = timeout(limit, dial).await.map_err(|_| late())??;
    tcp.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10));
    socket2::SockRef::from(&tcp).set_tcp_keepalive(&keepalive)?;
    Ok(tcp)
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The half that hears.
pub struct ReadHalf {
    inner: Reading,
    address: Address,
    /// Nothing has come yet, and what comes is not to be TLS.
    is_first_of_plain: bool,
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
        let before = buffer.len();
        let read = match timeout(limit, self.inner.read_buf(buffer)).await {
            Ok(read) => read,
            Err(_) => {
                return Err(Error::Silent {
                    address: self.address.clone(),
                    doing,
                    limit,
                });
            }
        };
        let read = read.and_then(|n| if n == 0 { Err(closed()) } else { Ok(n) });
        let is_first = std::mem::take(&mut self.is_first_of_plain);
        match read {
            Ok(_) if is_first && buffer[before..].starts_with(&TLS_ALERT) => Err(Error::Tls {
                address: self.address.clone(),
                trouble: Trouble::OnlyTls,
            }),
            Ok(n) => Ok(n),
            Err(cause) if is_first => Err(Error::Mute {
                address: self.address.clone(),
                cause,
            }),
            Err(cause) => Err(lost(&self.address, doing, cause)),
        }
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the peer")
}

/// What TLS says of itself in a broken connection's words.
fn lost(address: &Address, doing: &'static str, cause: io::Error) -> Error {
    let address = address.clone();
    if let Some(trouble) = Trouble::of(&cause) {
        return Error::Tls { address, trouble };
    }
    // Redis ends TLS without a word, which rustls explains at length.
    let is_end = cause.kind() == io::ErrorKind::UnexpectedEof;
    Error::Lost {
        address,
        doing,
        cause: if is_end { closed() } else { cause },
    }
}

impl fmt::Debug for ReadHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadHalf({})", self.address)
    }
}

/// The half that speaks.
pub struct WriteHalf {
    inner: Writing,
    address: Address,
    /// So many bytes of a [`WriteHalf::write_some`] that was dropped have been taken, and its caller does not know.
    taken: Option<usize>,
}

impl WriteHalf {
    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// The connection broke, or the peer read nothing for [`WRITE_LIMIT`].
    pub async fn write_all(&mut self, bytes: &[u8], doing: &'static str) -> Result<(), Error> {
        let write = async {
            self.inner.write_all(bytes).await?;
            self.inner.flush().await
        };
        let written = timeout(WRITE_LIMIT, write).await;
        self.judge(written, doing)
    }

    /// Writes what it can of `pieces` and says how much, which has then left us: TLS keeps nothing back. Cancel safe for a caller that goes on
    /// with the same bytes.
    ///
    /// # Errors
    /// As [`WriteHalf::write_all`].
    pub async fn write_some(
        &mut self,
        pieces: &[io::IoSlice<'_>],
        doing: &'static str,
    ) -> Result<usize, Error> {
        let written = timeout(WRITE_LIMIT, poll_fn(|cx| self.poll_some(pieces, cx))).await;
        self.judge(written, doing)
    }

    fn poll_some(&mut self, pieces: &[io::IoSlice<'_>], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let taken = match self.taken {
            Some(taken) => taken,
            None => ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, pieces))?,
        };
        self.taken = Some(taken);
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        self.taken = None;
        Poll::Ready(Ok(taken))
    }

    fn judge<T>(
        &self,
        written: Result<io::Result<T>, tokio::time::error::Elapsed>,
        doing: &'static str,
    ) -> Result<T, Error> {
        match written {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(cause)) => Err(lost(&self.address, doing, cause)),
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
        let endpoint = Endpoint {
            address: address.clone(),
            credentials: Credentials::default(),
            tls: None,
        };
        let error = Connection::open(&endpoint).await.unwrap_err();
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
}
