//! Questions over HTTP/1.1: one connection for each, with an answer that is read whole ([`ask`]) or piece by piece ([`open`]).
//!
//! Promises that nothing waits longer than its limit, that no answer takes more memory than its reader allows, and that the connection is closed when
//! the answer has been read or is dropped. Leaves to others what is asked and what the answer means, its status included.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::{Address, Connection, Endpoint, Trouble};

/// What is asked.
#[derive(Debug, Clone, Default)]
pub struct Request<'a> {
    /// `GET`, `POST`, ….
    pub method: &'a str,
    /// The path, with its query.
    pub path: &'a str,
    /// The whole value of the header, if any. Never printed.
    pub authorization: Option<&'a str>,
    /// What `body` is, if there is one.
    pub content_type: Option<&'a str>,
    /// What is sent along.
    pub body: Bytes,
}

/// An answer, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// As of HTTP: 200 is well.
    pub status: u16,
    /// What it says.
    pub body: Bytes,
}

/// An answer of which only the head has come.
#[derive(Debug)]
pub struct Opened {
    /// As of HTTP: 200 is well.
    pub status: u16,
    /// What it says.
    pub body: Body,
}

/// There is no answer, or no more of it. Whether the question was heard is unknown, unless no connection came about.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection failed.
    #[error(transparent)]
    Net(#[from] super::Error),
    /// Nothing came for too long.
    #[error("{address} did not answer within {limit:?} while {doing}")]
    Silent {
        /// The peer.
        address: Address,
        /// What we were doing.
        doing: &'static str,
        /// How long we waited.
        limit: Duration,
    },
    /// What came is not HTTP.
    #[error("{address} does not answer in HTTP: {reason}")]
    NotHttp {
        /// The peer.
        address: Address,
        /// What is wrong with it.
        reason: String,
    },
    /// The answer is longer than its reader allows.
    #[error("{address} answers with more than {bytes_max} bytes")]
    TooLong {
        /// The peer.
        address: Address,
        /// What is allowed.
        bytes_max: usize,
    },
    /// The question cannot be put: a header or the path holds what must not stand there.
    #[error("the question to {address} cannot be put: {reason}")]
    Unsendable {
        /// The peer.
        address: Address,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    /// What a person may do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Error::Net(super::Error::Tls { trouble, .. }) => return Some(hint_of_tls(trouble).to_owned()),
            Error::Net(super::Error::Mute { .. }) => {
                "if that port serves TLS, set tls.enable: true; else check address and port, and look into the server's log"
            }
            Error::Net(error) => return error.hint(),
            Error::NotHttp { .. } => {
                "check address and port; if TLS is served there, set tls.enable: true, and if it is not, set tls.enable: false"
            }
            Error::Unsendable { .. } => {
                "check token and password for line breaks and characters that a header cannot hold"
            }
            Error::Silent { .. } | Error::TooLong { .. } => return None,
        };
        Some(text.to_owned())
    }

    /// Whether only another configuration helps, here or there.
    #[must_use]
    pub fn needs_a_person(&self) -> bool {
        match self {
            Error::Net(error) => error.needs_a_person(),
            Error::NotHttp { .. } | Error::Unsendable { .. } => true,
            Error::Silent { .. } | Error::TooLong { .. } => false,
        }
    }
}

/// [`Trouble::hint`] speaks of Redis where it can.
fn hint_of_tls(trouble: &Trouble) -> &'static str {
    match trouble {
        Trouble::Silent(_) | Trouble::NotTls(_) | Trouble::Closed(_) => {
            "check that this port serves TLS; if it does not, set tls.enable: false"
        }
        Trouble::UnknownCa => "name the CA that signed it: tls.ca: FILE",
        Trouble::WantsCertificate => "give gunyu one: tls.cert: FILE and tls.key: FILE",
        Trouble::Refused(_) => {
            "check tls.cert and tls.key: the server must know the CA that signed the certificate"
        }
        Trouble::OnlyTls => "set tls.enable: true",
        Trouble::NoName | Trouble::OtherName(_) | Trouble::Untrusted(_) => trouble.hint(),
    }
}

/// Asks, and reads an answer of at most `bytes_max` bytes; all of it takes at most `limit`.
///
/// # Errors
/// No whole answer came, or none that is short enough. A refusal is an answer.
pub async fn ask(
    endpoint: &Endpoint,
    request: Request<'_>,
    limit: Duration,
    bytes_max: usize,
) -> Result<Answer, Error> {
    let until = Until::from_now(limit);
    let Opened { status, mut body } = opened(endpoint, request, until).await?;
    let mut whole = BytesMut::new();
    while let Some(piece) = body.next_until(until).await? {
        if whole.len() + piece.len() > bytes_max {
            let address = body.address;
            return Err(Error::TooLong { address, bytes_max });
        }
        whole.extend_from_slice(&piece);
    }
    Ok(Answer {
        status,
        body: whole.freeze(),
    })
}

/// Asks, and waits at most `limit` for the head of the answer.
///
/// # Errors
/// No head came. A refusal is an answer.
pub async fn open(endpoint: &Endpoint, request: Request<'_>, limit: Duration) -> Result<Opened, Error> {
    opened(endpoint, request, Until::from_now(limit)).await
}

async fn opened(endpoint: &Endpoint, request: Request<'_>, until: Until) -> Result<Opened, Error> {
    let address = &endpoint.address;
    let request = written(address, request)?;
    // The connection's own limit may be the shorter one.
    let open = Connection::open(endpoint);
    let connection = until.wait(address, "connecting", open).await??;
    let doing = "waiting for an answer";
    let broken = |error: &hyper::Error| mute(broken(address, doing, error));
    let shaken = http1::handshake(TokioIo::new(connection)).await;
    let (mut sender, connection) = shaken.map_err(|error| broken(&error))?;
    // It ends with the answer, at the latest when its guard does.
    let mut driver = Driver(tokio::spawn(connection));
    let answer = match until.wait(address, doing, sender.send_request(request)).await? {
        Ok(answer) => answer,
        // The connection was gone before it was asked: it knows why.
        Err(error) if error.is_canceled() => {
            let ended = until.wait(address, doing, &mut driver.0).await?;
            return Err(broken(&ended.ok().and_then(Result::err).unwrap_or(error)));
        }
        Err(error) => return Err(broken(&error)),
    };
    Ok(Opened {
        status: answer.status().as_u16(),
        body: Body {
            incoming: answer.into_body(),
            address: address.clone(),
            _driver: driver,
        },
    })
}

fn written(address: &Address, request: Request<'_>) -> Result<hyper::Request<Full<Bytes>>, Error> {
    let mut head = hyper::Request::builder()
        .method(request.method)
        .uri(request.path)
        .header(HOST, address.to_string());
    let named = [
        (AUTHORIZATION, request.authorization),
        (CONTENT_TYPE, request.content_type),
    ];
    for (name, value) in named {
        if let Some(value) = value {
            head = head.header(name, value);
        }
    }
    head.body(Full::new(request.body))
        .map_err(|cause| Error::Unsendable {
            address: address.clone(),
            reason: cause.to_string(),
        })
}

/// The body of an answer that is read piece by piece. Dropping it closes the connection.
#[derive(Debug)]
pub struct Body {
    incoming: Incoming,
    address: Address,
    _driver: Driver,
}

impl Body {
    /// The next piece, in the size in which it came; nothing at the end. Cancel safe.
    ///
    /// # Errors
    /// Nothing came within `limit`, after which it may be asked for again; or the connection broke before the end.
    pub async fn next(&mut self, limit: Duration) -> Result<Option<Bytes>, Error> {
        self.next_until(Until::from_now(limit)).await
    }

    async fn next_until(&mut self, until: Until) -> Result<Option<Bytes>, Error> {
        let doing = "reading its answer";
        loop {
            let frame = until.wait(&self.address, doing, self.incoming.frame()).await?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| broken(&self.address, doing, &error))?;
            // What is no data is a trailer.
            match frame.into_data() {
                Ok(data) if !data.is_empty() => return Ok(Some(data)),
                _ => {}
            }
        }
    }
}

/// The task that reads and writes.
#[derive(Debug)]
struct Driver(JoinHandle<Result<(), hyper::Error>>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// When to give up.
#[derive(Debug, Clone, Copy)]
struct Until {
    when: Instant,
    limit: Duration,
}

impl Until {
    fn from_now(limit: Duration) -> Until {
        Until {
            when: Instant::now() + limit,
            limit,
        }
    }

    async fn wait<T>(
        self,
        address: &Address,
        doing: &'static str,
        what: impl Future<Output = T>,
    ) -> Result<T, Error> {
        timeout_at(self.when, what).await.map_err(|_| Error::Silent {
            address: address.clone(),
            doing,
            limit: self.limit,
        })
    }
}

/// What hyper says, in the words of a connection where it was one.
fn broken(address: &Address, doing: &'static str, error: &hyper::Error) -> Error {
    if error.is_parse() {
        return Error::NotHttp {
            address: address.clone(),
            reason: error.to_string(),
        };
    }
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            return Error::Net(super::lost(address, doing, again(io)));
        }
        cause = inner.source();
    }
    // The peer closed in the middle, which is no error of the system's.
    let kind = std::io::ErrorKind::UnexpectedEof;
    Error::Net(super::lost(
        address,
        doing,
        std::io::Error::new(kind, error.to_string()),
    ))
}

/// A connection that ends before there is a head: whoever waits for TLS does not answer otherwise.
fn mute(error: Error) -> Error {
    match error {
        Error::Net(super::Error::Lost { address, cause, .. }) => {
            Error::Net(super::Error::Mute { address, cause })
        }
        other => other,
    }
}

/// The same error once more: it cannot be cloned, and what TLS said of itself must stay in it.
fn again(error: &std::io::Error) -> std::io::Error {
    use tokio_rustls::rustls;
    let of_tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match of_tls {
        Some(said) => std::io::Error::new(error.kind(), said.clone()),
        None => std::io::Error::new(error.kind(), error.to_string()),
    }
}

#[cfg(test)]
mod tests;
