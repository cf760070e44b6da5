//! A TCP proxy on loopback whose connections a test can break.
//!
//! Each connection has two threads, one a direction. *Up* is towards the server behind the proxy, *down* towards the
//! client in front of it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::port::Port;

/// Which way the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// What is read at once, and goes on at once unless it is told otherwise.
const BUFFER: usize = 64 << 10;

#[derive(Debug)]
struct State {
    upstream: SocketAddr,
    stalled: bool,
    refusing: bool,
    closing: bool,
    /// Cut when so many more bytes have gone this way.
    fuse: Option<(Way, u64)>,
    /// How many bytes go down unharmed before one is spoilt.
    spoil: Option<u64>,
    /// So many bytes go on at once, at most.
    piece: usize,
    open: Vec<Arc<Connection>>,
}

#[derive(Debug)]
struct Connection {
    client: TcpStream,
    server: TcpStream,
    cut: AtomicBool,
}

impl Connection {
    fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        // Either may be closed already.
        drop(self.client.shutdown(Shutdown::Both));
        drop(self.server.shutdown(Shutdown::Both));
    }
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    up: AtomicU64,
    down: AtomicU64,
    accepted: AtomicU64,
    cuts: AtomicU64,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    fn cut(&self) -> usize {
        let open = std::mem::take(&mut self.state().open);
        open.iter().for_each(|connection| connection.cut());
        self.cuts.fetch_add(open.len() as u64, Ordering::SeqCst);
        self.changed.notify_all();
        open.len()
    }
}

/// A proxy in front of one server. Dropping it cuts all connections.
#[derive(Debug)]
pub struct Proxy {
    port: Port,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Proxy {
    /// A proxy in front of `127.0.0.1:port`.
    pub fn to(port: u16) -> Proxy {
        let own = Port::free();
        let listener = TcpListener::bind(own.addr()).unwrap();
        let state = State {
            upstream: SocketAddr::from(([127, 0, 0, 1], port)),
            stalled: false,
            refusing: false,
            closing: false,
            fuse: None,
            spoil: None,
            piece: BUFFER,
            open: Vec::new(),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
        });
        let for_thread = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || accept(&listener, &for_thread));
        Proxy {
            port: own,
            shared,
            accepting: Some(accepting),
        }
    }

    /// `127.0.0.1:port` of the proxy.
    pub fn addr(&self) -> String {
        self.port.addr().to_string()
    }

    /// The proxy as a Redis URL, without a password.
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr())
    }

    /// Carries a connection that was accepted elsewhere; `known` is told, before the first byte moves, from which port it goes on to the server.
    pub fn take(&self, client: TcpStream, known: impl FnOnce(u16)) {
        let (refusing, upstream) = {
            let state = self.shared.state();
            (state.refusing, state.upstream)
        };
        // A server that is down looks to the client like a connection closed at once.
        if refusing {
            return;
        }
        let Ok(server) = TcpStream::connect(upstream) else {
            return;
        };
        known(server.local_addr().unwrap().port());
        open(client, server, &self.shared);
    }

    /// New connections go to this port from now on (a failover's new address).
    pub fn point_to(&self, port: u16) {
        self.shared.change(|state| state.upstream.set_port(port));
    }

    /// Cuts every open connection, whatever is on its way; says how many.
    pub fn cut(&self) -> usize {
        self.shared.cut()
    }

    /// Cuts every connection as soon as exactly `bytes` more have gone that way, in the middle of whatever it is.
    pub fn cut_after(&self, way: Way, bytes: u64) {
        self.shared.change(|state| state.fuse = Some((way, bytes)));
    }

    /// Lets so many more bytes go down, inverts the next one, and leaves the rest alone.
    pub fn spoil_after(&self, bytes: u64) {
        self.shared.change(|state| state.spoil = Some(bytes));
    }

    /// Connections stay open, and nothing moves on them.
    pub fn stall(&self) {
        self.shared.change(|state| state.stalled = true);
    }

    /// Bytes move again.
    pub fn resume(&self) {
        self.shared.change(|state| state.stalled = false);
    }

    /// Bytes go on in pieces of this size, each by itself, both ways: the other side sees everything cut everywhere.
    pub fn in_pieces(&self, bytes: usize) {
        self.shared.change(|state| state.piece = bytes);
    }

    /// Bytes go on as they come again.
    pub fn whole(&self) {
        self.in_pieces(BUFFER);
    }

    /// New connections are closed at once, or let in again.
    pub fn refuse(&self, refusing: bool) {
        self.shared.change(|state| state.refusing = refusing);
    }

    /// Bytes that have gone so far: up, down.
    pub fn bytes(&self) -> (u64, u64) {
        (
            self.shared.up.load(Ordering::SeqCst),
            self.shared.down.load(Ordering::SeqCst),
        )
    }

    /// Connections let in so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Connections cut so far, by [`Proxy::cut`] or by a fuse.
    pub fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::SeqCst)
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.shared.state().open.len()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.change(|state| state.closing = true);
        self.shared.cut();
        drop(TcpStream::connect(self.port.addr())); // wakes the accepting thread, which then ends
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        let (closing, refusing, upstream) = {
            let state = shared.state();
            (state.closing, state.refusing, state.upstream)
        };
        if closing {
            return;
        }
        // A server that is down looks to the client like a connection closed at once.
        if let (Ok(client), false, Ok(server)) = (client, refusing, TcpStream::connect(upstream)) {
            open(client, server, shared);
        }
    }
}

fn open(client: TcpStream, server: TcpStream, shared: &Arc<Shared>) {
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
    }
    let connection = Arc::new(Connection {
        client,
        server,
        cut: AtomicBool::new(false),
    });
    shared.accepted.fetch_add(1, Ordering::SeqCst);
    shared.state().open.push(Arc::clone(&connection));
    for way in [Way::Up, Way::Down] {
        let (connection, shared) = (Arc::clone(&connection), Arc::clone(shared));
        std::thread::spawn(move || {
            carry(way, &connection, &shared);
            connection.cut();
            shared
                .state()
                .open
                .retain(|other| !Arc::ptr_eq(other, &connection));
        });
    }
}

/// Carries bytes one way until either side closes or the connection is cut.
fn carry(way: Way, connection: &Connection, shared: &Shared) {
    let (mut from, mut to, count) = match way {
        Way::Up => (&connection.client, &connection.server, &shared.up),
        Way::Down => (&connection.server, &connection.client, &shared.down),
    };
    let mut buffer = vec![0; BUFFER];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        let piece = shared.state().piece;
        for bytes in buffer[..len].chunks_mut(piece) {
            let Some(allowed) = permit(way, bytes.len(), connection, shared) else {
                return;
            };
            if way == Way::Down {
                spoil(&mut bytes[..allowed], shared);
            }
            // Counted first: whoever has received them finds them counted.
            count.fetch_add(allowed as u64, Ordering::SeqCst);
            if to.write_all(&bytes[..allowed]).is_err() {
                return;
            }
            if allowed < bytes.len() {
                shared.cut();
                return;
            }
        }
    }
}

/// Waits while the proxy is stalled, then says how many of `len` bytes may go: fewer where the fuse burns through.
fn permit(way: Way, len: usize, connection: &Connection, shared: &Shared) -> Option<usize> {
    let waiting = |state: &mut State| state.stalled && !connection.cut.load(Ordering::SeqCst);
    let mut state = shared
        .changed
        .wait_while(shared.state(), waiting)
        .unwrap_or_else(PoisonError::into_inner);
    if connection.cut.load(Ordering::SeqCst) {
        return None;
    }
    match state.fuse {
        Some((at, left)) if at == way && left < len as u64 => {
            state.fuse = None;
            Some(usize::try_from(left).expect("less than a buffer"))
        }
        Some((at, left)) if at == way => {
            state.fuse = Some((at, left - len as u64));
            Some(len)
        }
        _ => Some(len),
    }
}

/// Inverts the byte whose turn it is, if it is among these.
fn spoil(bytes: &mut [u8], shared: &Shared) {
    let mut state = shared.state();
    let Some(left) = state.spoil else { return };
    match usize::try_from(left).ok().and_then(|at| bytes.get_mut(at)) {
        Some(byte) => {
            *byte = !*byte;
            state.spoil = None;
        }
        None => state.spoil = Some(left - bytes.len() as u64),
    }
}
