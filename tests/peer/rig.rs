//! A leader and followers in one process: real logs, a real HTTP server on loopback between them.
//!
//! The server is the part of `gunyu::http` that needs no pipelines: it reads the query as that does, and serves what `core::peer` makes of it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use gunyu::core::catalog::Catalog;
use gunyu::core::log::{self, Disk, FlushPolicy, Log, OnDisk, Space, Storage};
use gunyu::core::net::{Address, Credentials, Endpoint};
use gunyu::core::peer::{self, Board, Follower, Heard, Leader};
use gunyu::core::position::{History, Offset, ReplId};
use gunyu::core::progress::{Phase, Progress};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Far longer than anything here takes.
pub const SOON: Duration = Duration::from_secs(60);

pub fn id(digit: u8) -> ReplId {
    ReplId::parse(&[digit; 40]).unwrap()
}

pub fn history() -> History {
    History::new(id(b'a'))
}

pub const fn at(offset: u64) -> Offset {
    Offset::new(offset)
}

/// The bytes from `from` on: each tells where it stands, as far as a byte can.
pub fn stream(from: u64, len: usize) -> Bytes {
    let byte = |n: u64| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
    (from..from + len as u64).map(byte).collect()
}

/// Where logs are kept.
pub struct Place {
    root: tempfile::TempDir,
    catalog: Catalog,
    pub space: Arc<Space>,
    pub in_memory: bool,
    pub tail_bytes: u64,
    pub segment_bytes: u64,
    pub flush: FlushPolicy,
}

impl Place {
    pub fn new(in_memory: bool) -> Place {
        Place::within(in_memory, u64::MAX)
    }

    pub fn within(in_memory: bool, max_bytes: u64) -> Place {
        let root = tempfile::tempdir().unwrap();
        Place {
            catalog: Catalog::open(root.path()).unwrap(),
            root,
            space: Space::new(max_bytes),
            in_memory,
            tail_bytes: 1 << 20,
            segment_bytes: 1 << 20,
            flush: FlushPolicy::Os,
        }
    }

    pub async fn open(&self) -> Log {
        let storage = match self.in_memory {
            true => Storage::Memory,
            false => Storage::Disk(OnDisk {
                root: self.root.path().to_path_buf(),
                disk: Disk::new(),
                catalog: self.catalog.clone(),
                segment_bytes: self.segment_bytes,
                flush: self.flush,
            }),
        };
        let settings = log::Settings {
            name: "in".to_owned(),
            storage,
            tail_bytes: self.tail_bytes,
        };
        Log::open(settings, &self.space).await.unwrap().0
    }
}

/// The leader of the input `in`.
pub struct Leading {
    pub log: Log,
    pub progress: Arc<Progress>,
    pub board: Arc<Board>,
    pub addr: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Drop for Leading {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Leading {
    /// Serves this log.
    pub async fn of(log: Log) -> Leading {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (progress, board) = (Progress::new(), Arc::new(Board::default()));
        let addr = listener.local_addr().unwrap();
        let accepting = tokio::spawn(accept(listener, (log.clone(), progress.clone(), board.clone())));
        Leading {
            log,
            progress,
            board,
            addr,
            accepting,
        }
    }

    /// One whose log begins at `offset`, where everything is checkpointed.
    pub async fn live_at(place: &Place, offset: u64) -> Leading {
        let leading = Leading::of(place.open().await).await;
        leading.log.start_at(history(), at(offset)).await.unwrap();
        leading.checkpointed(offset);
        leading
    }

    /// Everything up to here has been received, and is recorded on the target.
    pub fn checkpointed(&self, offset: u64) {
        drop(self.progress.begin_history(at(offset)));
        let generation = self.progress.generation();
        drop(self.progress.begin_applying(generation, at(offset)));
        self.progress.set_phase(Phase::Incremental);
    }

    pub async fn append(&self, bytes: Bytes) {
        self.log.writer().unwrap().append(bytes).await.unwrap();
    }

    /// Appends `len` bytes of [`stream`] where the log ends, in chunks of up to `most`.
    pub async fn append_stream(&self, len: usize, most: usize) {
        let end = self.log.appended().after(len);
        while self.log.appended() < end {
            let from = self.log.appended();
            let len = (end.since(from) as usize).min(fastrand::usize(1..=most));
            self.append(stream(from.get(), len)).await;
            tokio::task::yield_now().await;
        }
    }
}

type Served = (Log, Arc<Progress>, Arc<Board>);

async fn accept(listener: TcpListener, served: Served) {
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).unwrap();
        let served = served.clone();
        let service = service_fn(move |request| answer(request, served.clone()));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .max_buf_size(64 << 10)
            .serve_connection(TokioIo::new(stream), service);
        // A link that was cut is what the tests are about.
        tokio::spawn(async move { drop(connection.await) });
    }
}

async fn answer(
    request: Request<Incoming>,
    (log, progress, board): Served,
) -> Result<Response<UnsyncBoxBody<Bytes, log::Error>>, Infallible> {
    assert_eq!(request.uri().path(), "/peer/log");
    let query = form_urlencoded::parse(request.uri().query().unwrap().as_bytes());
    let query = query.into_owned().collect();
    let ask = gunyu::http::peer::ask(&query).unwrap();
    // Nobody stops it: it ends with its connection.
    let (sender, stop) = watch::channel(false);
    let (status, body) = match peer::serve(&log, &progress, &board, &ask, stop) {
        Ok(frames) => {
            let frames = frames.map(move |piece| {
                let _keeps_going = &sender;
                piece.map(Frame::data)
            });
            (200, StreamBody::new(frames).boxed_unsync())
        }
        Err(refused) => {
            let code = match refused {
                peer::Refused::Ahead { .. } => 409,
                peer::Refused::NotYet { .. } => 503,
            };
            let text = Full::new(Bytes::from(refused.to_string()));
            (code, text.map_err(|never| match never {}).boxed_unsync())
        }
    };
    Ok(Response::builder().status(status).body(body).unwrap())
}

/// A follower at work.
pub struct Following {
    pub log: Log,
    pub progress: Arc<Progress>,
    pub heard: watch::Receiver<Heard>,
    pub leader: watch::Sender<Option<Leader>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Follower>,
}

pub fn leader_at(addr: SocketAddr) -> Leader {
    Leader {
        endpoint: Endpoint {
            address: Address {
                host: addr.ip().to_string(),
                port: addr.port(),
            },
            credentials: Credentials::default(),
            tls: None,
        },
        authorization: None,
    }
}

impl Following {
    pub fn start(log: Log, addr: SocketAddr) -> Following {
        Following::of(log, Some(leader_at(addr)), "in")
    }

    pub fn of(log: Log, leader: Option<Leader>, input: &str) -> Following {
        let progress = Progress::new();
        let mut follower = Follower::new(input, &log, &progress);
        let heard = follower.heard();
        let (leader, leads) = watch::channel(leader);
        let (stop, stopping) = watch::channel(false);
        let task = tokio::spawn(async move {
            follower.run(leads, stopping).await;
            follower
        });
        Following {
            log,
            progress,
            heard,
            leader,
            stop,
            task,
        }
    }

    /// Reads its log from `from` to `to`, waiting for what is not there yet, and compares it with [`stream`].
    pub async fn has(&self, from: u64, to: u64) {
        let mut reader = loop {
            match self.log.reader(at(from)) {
                Ok(reader) => break reader,
                Err(_) => self.hears(|_| true).await,
            };
        };
        while reader.position() < at(to) {
            let next = timeout(SOON, reader.next()).await;
            let chunk = next.unwrap_or_else(|_| {
                panic!(
                    "nothing after {}: {:?}",
                    reader.position(),
                    self.progress.status()
                )
            });
            let chunk = chunk.unwrap();
            assert!(
                chunk.bytes == stream(chunk.start.get(), chunk.bytes.len()),
                "other bytes after {}",
                chunk.start
            );
        }
        assert_eq!(reader.position(), at(to), "more than the leader has");
    }

    /// Waits until what it has heard is so; at least for one more word of the leader.
    pub async fn hears(&self, wanted: impl Fn(&Heard) -> bool) -> Heard {
        let mut heard = self.heard.clone();
        let wait = async {
            loop {
                heard.changed().await.unwrap();
                let now = heard.borrow_and_update().clone();
                if wanted(&now) {
                    return now;
                }
            }
        };
        let waited = timeout(SOON, wait).await;
        waited.unwrap_or_else(|_| panic!("not heard; {:?}", self.progress.status()))
    }

    /// Stops it and waits for that.
    pub async fn stop(self) -> (Log, Arc<Progress>) {
        self.stop.send_replace(true);
        timeout(Duration::from_secs(5), self.task).await.unwrap().unwrap();
        (self.log, self.progress)
    }
}
