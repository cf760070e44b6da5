//! How the API is served: connections, their limits, and their end.
//!
//! The API has a thread and a runtime of its own, at a lower priority than the replication has: hundreds of clients that poll
//! cannot hold up the stream, and a handler that panics ends its connection and nothing else. Where the group's other members have an address of their
//! own (`server.listenPeer`), that has another thread, of the common priority: followers carry as much as the source sends.
//!
//! Promises that whoever connects cannot keep others out for ever:
//!
//! | a client that | meets |
//! | --- | --- |
//! | is one too many | 503 at once (over TLS: the end of the connection) |
//! | does not shake hands (TLS) | the end after [`HANDSHAKE_LIMIT`] |
//! | does not send a request, or stays idle after one | the end after [`HEAD_LIMIT`] |
//! | sends a head that is too large | 431, and the end |
//! | does not send the body it announced | its answer, and the end: no call reads a body |
//! | does not read its answer | the end after [`WRITE_LIMIT`] without progress |
//!
//! Leaves who may call to [`super::access`], what is called to [`super::routes`], the certificate to [`super::tls`].

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use warp::Reply;
use warp::reply::Response;

use super::Api;
use super::access::{Asked, Guard};
use super::calls::Face;
use super::error::Failure;
use super::routes::{self, BODY_BYTES_MAX, Serving};
use super::steady::Steady;
use super::tls::Certificates;

/// Connections at a time.
const CONNECTIONS_MAX: usize = 512;
/// How long a TLS handshake may take.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// How long a request's head may take to arrive, and how long a connection may wait for its next request.
pub const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// How long the client may take nothing of an answer.
pub const WRITE_LIMIT: Duration = Duration::from_secs(30);
/// Request line and headers together.
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;
/// What is read ahead and what is collected before it is written; at least a head.
const BUFFER_BYTES: usize = 64 << 10;
/// How long to wait where no connection can be accepted (no file descriptor left, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// An address to serve at.
#[derive(Debug)]
pub struct Listening {
    /// It.
    pub listener: std::net::TcpListener,
    /// For TLS.
    pub certificates: Option<Certificates>,
}

/// The API, being served.
#[derive(Debug)]
pub struct Server {
    end: watch::Sender<bool>,
    ended: Vec<oneshot::Receiver<TcpListener>>,
}

impl Server {
    /// Serves on threads of its own until [`Server::end`]: while the pipelines drain, whoever asks is told so. Where `peers` is an address of its own, the
    /// peers' calls are served there alone.
    ///
    /// # Errors
    /// A thread or its runtime cannot be had.
    pub fn start(api: &Api, guard: &Guard, at: Listening, peers: Option<Listening>) -> io::Result<Server> {
        let mut server = Server {
            end: watch::Sender::new(false),
            ended: Vec::new(),
        };
        let face = match peers {
            Some(_) => Face::Api,
            None => Face::All,
        };
        server.serve(api, guard, at, face)?;
        if let Some(peers) = peers {
            server.serve(api, guard, peers, Face::Peers)?;
        }
        Ok(server)
    }

    fn serve(&mut self, api: &Api, guard: &Guard, at: Listening, face: Face) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut ending = self.end.subscribe();
        let serving = Serving {
            face,
            stop: self.end.subscribe(),
        };
        let accepting = Accepting {
            router: Router::new(guard.clone(), to_routes(routes::all(api.clone(), serving))),
            certificates: at.certificates,
        };
        let (name, is_niced) = match face {
            Face::All | Face::Api => ("gunyu-http", true),
            Face::Peers => ("gunyu-peers", false),
        };
        let (tell, ended) = oneshot::channel();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            if is_niced {
                step_back();
            }
            // An error means that nobody can end it any more: then it ends.
            let stopping = async move { drop(ending.wait_for(|end| *end).await) };
            let listener = runtime.block_on(accepting.run(at.listener, stopping));
            // Whatever a handler left on a blocking thread is not waited for.
            runtime.shutdown_background();
            if let Some(listener) = listener {
                let _ = tell.send(listener);
            }
        })?;
        self.ended.push(ended);
        Ok(())
    }

    /// Takes no new connection, ends what has no end of its own, finishes the other answers under way, and waits for that; the caller sets a limit. The
    /// addresses stay taken until the listeners are dropped: whoever finds them free can be sure that everything else is.
    pub async fn end(self) -> Vec<TcpListener> {
        self.end.send_replace(true);
        let mut listeners = Vec::new();
        for ended in self.ended {
            // Nothing comes where the thread has panicked.
            listeners.extend(ended.await.ok());
        }
        listeners
    }
}

/// Lets the replication go first where processors are scarce, however nice it is itself. On Linux a thread has a niceness of its own.
#[cfg(target_os = "linux")]
fn step_back() {
    if let Err(error) = rustix::process::nice(5) {
        tracing::debug!(%error, "the API keeps its priority");
    }
}

#[cfg(not(target_os = "linux"))]
fn step_back() {}

type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;
type Routes = Arc<dyn Fn(Request<String>) -> Answering + Send + Sync>;

/// Warp's routes as a plain function. They get an empty body: see [`Router::answer`].
fn to_routes<F, R>(filter: F) -> Routes
where
    F: warp::Filter<Extract = (R,), Error = Infallible> + Clone + Send + Sync + 'static,
    R: Reply,
{
    let service = TowerToHyperService::new(warp::service(filter));
    Arc::new(move |request| {
        let answering = service.call(request);
        Box::pin(async move {
            match answering.await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        })
    })
}

/// Judges a request, then routes it.
#[derive(Clone)]
struct Router {
    guard: Arc<Guard>,
    routes: Routes,
}

impl Router {
    fn new(guard: Guard, routes: Routes) -> Router {
        Router {
            guard: Arc::new(guard),
            routes,
        }
    }

    /// No call of this API reads a body, so none is waited for whose length is announced: hyper ends the connection where it does not arrive. One that
    /// comes in chunks may be empty, and shows its length only when it is read.
    async fn answer(self, request: Request<Incoming>, from: IpAddr) -> Result<Response, Infallible> {
        if let Err(failure) = self.judge(&request, from) {
            return Ok(refuse(&failure));
        }
        let (mut head, body) = request.into_parts();
        if head.headers.remove(header::TRANSFER_ENCODING).is_some() {
            let read = timeout(HEAD_LIMIT, Limited::new(body, BODY_BYTES_MAX).collect()).await;
            if !matches!(read, Ok(Ok(_))) {
                return Ok(refuse(&routes::too_large()));
            }
        }
        Ok((self.routes)(Request::from_parts(head, String::new())).await)
    }

    fn judge(&self, request: &Request<Incoming>, from: IpAddr) -> Result<(), Failure> {
        let headers = request.headers();
        // A target that names its host wins over the header (RFC 9112, 3.2.2).
        let host = match request.uri().authority() {
            Some(authority) => Some(authority.as_str().to_owned()),
            None => joined(headers, &header::HOST),
        };
        let origin = joined(headers, &header::ORIGIN);
        let fetch_site = joined(headers, &HeaderName::from_static("sec-fetch-site"));
        let authorization = joined(headers, &header::AUTHORIZATION);
        self.guard.judge(&Asked {
            method: request.method().as_str(),
            path: request.uri().path(),
            is_http_10: request.version() < hyper::Version::HTTP_11,
            host: host.as_deref(),
            origin: origin.as_deref(),
            fetch_site: fetch_site.as_deref(),
            authorization: authorization.as_deref(),
            from: Some(from),
        })
    }
}

/// All values of a header, as text.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values: Vec<_> = headers
        .get_all(name)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    (!values.is_empty()).then(|| values.join(", "))
}

fn refuse(failure: &Failure) -> Response {
    let mut response = Response::new(failure.to_json().into());
    *response.status_mut() =
        hyper::StatusCode::from_u16(failure.code).unwrap_or(hyper::StatusCode::FORBIDDEN);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if failure.code == 401 {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// What is told to who is one too many, without a task of its own.
fn full() -> String {
    let failure = Failure::new(
        503,
        format!("the API has {CONNECTIONS_MAX} connections already"),
        "try again in some seconds, and close what is not in use",
    );
    let body = failure.to_json();
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 5\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Takes connections.
struct Accepting {
    router: Router,
    certificates: Option<Certificates>,
}

impl Accepting {
    /// Until `stopping`; gives the listener back.
    async fn run(
        mut self,
        listener: std::net::TcpListener,
        stopping: impl Future<Output = ()>,
    ) -> Option<TcpListener> {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "the API cannot be served");
                return None;
            }
        };
        let mut stopping = pin!(stopping);
        let (stop, stopped) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut is_told = false;
        loop {
            // The stop first: a flood of connections must not put it off. Then those that ended, which makes room.
            let accepted = tokio::select! {
                biased;
                () = &mut stopping => break,
                Some(ended) = connections.join_next() => {
                    tell_panic(ended);
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, from)) => {
                    is_told = false;
                    self.take((stream, from.ip()), &mut connections, &stopped);
                }
                Err(error) if is_of_the_client(&error) => {}
                Err(error) => {
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(%error, "the API cannot take connections for now; raise the limit of open files (ulimit -n)");
                    }
                    tokio::select! {
                        biased;
                        () = &mut stopping => break,
                        () = sleep(ACCEPT_PAUSE) => {}
                    }
                }
            }
        }
        stop.send_replace(true);
        while let Some(ended) = connections.join_next().await {
            tell_panic(ended);
        }
        Some(listener)
    }

    fn take(
        &mut self,
        (stream, from): (TcpStream, IpAddr),
        connections: &mut JoinSet<()>,
        stopped: &watch::Receiver<bool>,
    ) {
        if connections.len() >= CONNECTIONS_MAX {
            if self.certificates.is_none() {
                // It fits into an empty socket buffer; where it does not, the client sees the end all the same.
                let _ = stream.try_write(full().as_bytes());
            }
            return;
        }
        let _ = stream.set_nodelay(true);
        let (router, stopped) = (self.router.clone(), stopped.clone());
        let stream = Steady::new(stream, WRITE_LIMIT);
        match self.certificates.as_mut().map(Certificates::current) {
            None => connections.spawn(converse((stream, from), router, stopped)),
            Some(acceptor) => connections.spawn(async move {
                match timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => converse((stream, from), router, stopped).await,
                    Ok(Err(error)) => tracing::debug!(%error, "no TLS with a client of the API"),
                    Err(_) => tracing::debug!("a client of the API did not shake hands in time"),
                }
            }),
        };
    }
}

/// Serves one connection to its end.
async fn converse<S>((stream, from): (S, IpAddr), router: Router, mut stopped: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| router.clone().answer(request, from));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_header_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        // An error means that the accepting task is gone, and nobody serves any more.
        () = async { drop(stopped.wait_for(|stopped| *stopped).await) } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a client of the API went away, or was sent away");
    }
}

fn tell_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a call of the API ended badly; please report this with the traces above");
    }
}

/// Whether a connection broke before it was accepted, which says nothing of the next one.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests;
