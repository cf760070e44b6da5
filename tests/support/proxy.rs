//! A TCP proxy on loopback whose connections a test can break.
//!
//! Each connection has two threads, one a direction. *Up* is towards the server behind the proxy, *down* towards the
//! client in front of it. What can be done to it in a matrix of tests is a [`Fault`]: it strikes at once ([`Proxy::strike`]) or in the
//! middle of whatever passes ([`Proxy::arm`]), and lasts until [`Proxy::heal`].

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::port::Port;

/// Which way the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// What can befall a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Connections end, new ones are well.
    Cut,
    /// The same with a reset: what was on its way is lost on both sides, wherever it was.
    Reset,
    /// Connections end, and new ones are refused until it is healed.
    Refused,
    /// Nothing moves on any connection, and nobody is told, until it is healed.
    Stall,
    /// Nothing moves on the connections there are; new ones are well. What was on its way arrives when it is healed.
    Late,
    /// The server's side of each connection has ended, and the client does not hear of it.
    HalfOpen,
    /// The client's side of each connection has ended, and the server does not hear of it.
    Orphaned,
    /// Some thousand bytes come one by one.
    Bytewise,
    /// Whatever comes, comes later.
    Slow,
    /// So many bytes a second pass, and no more.
    Narrow,
}

impl Fault {
    /// All there are.
    pub const ALL: &'static [Fault] = &[
        Fault::Cut,
        Fault::Reset,
        Fault::Refused,
        Fault::Stall,
        Fault::Late,
        Fault::HalfOpen,
        Fault::Orphaned,
        Fault::Bytewise,
        Fault::Slow,
        Fault::Narrow,
    ];
}

/// What is read at once, and goes on at once unless it is told otherwise.
const BUFFER: usize = 64 << 10;

/// Of [`Fault::Bytewise`].
const SINGLE_BYTES: u64 = 8_000;

/// Of [`Fault::Slow`].
const DELAY: Duration = Duration::from_millis(30);

/// Of [`Fault::Narrow`].
const BYTES_PER_SECOND: u64 = 400 << 10;

/// A write that the other side does not take looks so often whether its connection has ended meanwhile.
const WRITE_LOOK: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct State {
    upstream: SocketAddr,
    stalled: bool,
    refusing: bool,
    closing: bool,
    /// It strikes when so many more bytes have gone this way.
    fuse: Option<(Way, u64, Fault)>,
    /// Called once, right before the fuse's fault strikes.
    before: Option<Before>,
    /// How many bytes go down unharmed before one is spoilt.
    spoil: Option<u64>,
    /// So many bytes go on at once, at most.
    piece: usize,
    /// So many bytes come one by one.
    singly: u64,
    delay: Option<Duration>,
    bytes_per_second: Option<u64>,
    open: Vec<Arc<Connection>>,
}

struct Before(Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for Before {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Before")
    }
}

#[derive(Debug)]
struct Connection {
    client: TcpStream,
    server: TcpStream,
    cut: AtomicBool,
    /// Closing it is a reset.
    reset: AtomicBool,
    frozen: AtomicBool,
    /// This way leads nowhere: what is sent on it is lost, and nothing comes back.
    lost: Mutex<Option<Way>>,
}

impl Connection {
    fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        if self.reset.load(Ordering::SeqCst) {
            return;
        }
        // Either may be closed already.
        drop(self.client.shutdown(Shutdown::Both));
        drop(self.server.shutdown(Shutdown::Both));
    }

    /// Ended by a reset when its threads have let go of it.
    fn reset(&self) {
        self.reset.store(true, Ordering::SeqCst);
        self.cut.store(true, Ordering::SeqCst);
        for stream in [&self.client, &self.server] {
            // Either may be closed already.
            drop(socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)));
            drop(stream.shutdown(Shutdown::Read)); // wakes the thread that reads; the other side is not told
        }
    }

    /// The end of this way is gone, and who sends on it is not told.
    fn lose(&self, way: Way) {
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(way);
        let gone = match way {
            Way::Up => &self.server,
            Way::Down => &self.client,
        };
        drop(gone.shutdown(Shutdown::Both));
    }

    fn lost(&self) -> Option<Way> {
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
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
    strikes: AtomicU64,
    /// So many threads have bytes in hand that may not go on.
    holding: AtomicU64,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    fn end_all(&self, end: impl Fn(&Connection)) -> usize {
        let open = std::mem::take(&mut self.state().open);
        open.iter().for_each(|connection| end(connection));
        self.cuts.fetch_add(open.len() as u64, Ordering::SeqCst);
        self.changed.notify_all();
        open.len()
    }

    fn cut(&self) -> usize {
        self.end_all(Connection::cut)
    }

    fn each(&self, act: impl Fn(&Connection)) {
        self.change(|state| state.open.iter().for_each(|connection| act(connection)));
    }

    /// How many connections it has ended, if that is what it does.
    fn strike(&self, fault: Fault) -> Option<usize> {
        match fault {
            Fault::Cut => return Some(self.cut()),
            Fault::Reset => return Some(self.end_all(Connection::reset)),
            Fault::Refused => {
                self.change(|state| state.refusing = true);
                self.cut();
            }
            Fault::Stall => self.change(|state| state.stalled = true),
            Fault::Late => self.each(|connection| connection.frozen.store(true, Ordering::SeqCst)),
            Fault::HalfOpen => self.each(|connection| connection.lose(Way::Up)),
            Fault::Orphaned => self.each(|connection| connection.lose(Way::Down)),
            Fault::Bytewise => self.change(|state| state.singly = SINGLE_BYTES),
            Fault::Slow => self.change(|state| state.delay = Some(DELAY)),
            Fault::Narrow => self.change(|state| state.bytes_per_second = Some(BYTES_PER_SECOND)),
        }
        None
    }

    /// A fuse has burnt through. Where the connection has ended by itself at this very moment there is nothing to end: it burns on, to the next one.
    fn burnt(&self, way: Way, fault: Fault) {
        match self.strike(fault) {
            Some(0) => self.change(|state| state.fuse = state.fuse.or(Some((way, 0, fault)))),
            _ => drop(self.strikes.fetch_add(1, Ordering::SeqCst)),
        }
    }
}

/// A proxy in front of one server. Dropping it cuts all connections.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
    /// Given up last; nothing where the address is another's.
    _port: Option<Port>,
}

impl Proxy {
    /// A proxy in front of `127.0.0.1:port`.
    pub fn to(port: u16) -> Proxy {
        let own = Port::free();
        let mut proxy = Proxy::at(own.addr(), port);
        proxy._port = Some(own);
        proxy
    }

    /// The same at this address.
    pub fn at(addr: SocketAddr, port: u16) -> Proxy {
        let listener = TcpListener::bind(addr).unwrap();
        let state = State {
            upstream: SocketAddr::from(([127, 0, 0, 1], port)),
            stalled: false,
            refusing: false,
            closing: false,
            fuse: None,
            before: None,
            spoil: None,
            piece: BUFFER,
            singly: 0,
            delay: None,
            bytes_per_second: None,
            open: Vec::new(),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
            strikes: AtomicU64::new(0),
            holding: AtomicU64::new(0),
        });
        let for_thread = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || accept(&listener, &for_thread));
        Proxy {
            addr,
            shared,
            accepting: Some(accepting),
            _port: None,
        }
    }

    /// `127.0.0.1:port` of the proxy.
    pub fn addr(&self) -> String {
        self.addr.to_string()
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
        self.arm(Fault::Cut, way, bytes);
    }

    /// Strikes now.
    pub fn strike(&self, fault: Fault) {
        self.shared.strike(fault);
        self.shared.strikes.fetch_add(1, Ordering::SeqCst);
    }

    /// Strikes as soon as exactly `bytes` more have gone that way, in the middle of whatever it is.
    pub fn arm(&self, fault: Fault, way: Way, bytes: u64) {
        self.shared.change(|state| {
            state.before = None;
            state.fuse = Some((way, bytes, fault));
        });
    }

    /// The same, and `before` is called right before it strikes: what it sees is how things were then.
    pub fn arm_before(&self, (fault, way, bytes): (Fault, Way, u64), before: impl FnOnce() + Send + 'static) {
        self.shared.change(|state| {
            state.before = Some(Before(Box::new(before)));
            state.fuse = Some((way, bytes, fault));
        });
    }

    /// How often a fault has struck so far.
    pub fn strikes(&self) -> u64 {
        self.shared.strikes.load(Ordering::SeqCst)
    }

    /// Whatever strikes, or is about to, is over; what was on its way arrives. What has ended has ended.
    pub fn heal(&self) {
        self.shared.change(|state| {
            (state.stalled, state.refusing, state.fuse) = (false, false, None);
            (state.singly, state.delay, state.bytes_per_second) = (0, None, None);
            for connection in &state.open {
                connection.frozen.store(false, Ordering::SeqCst);
            }
        });
    }

    /// Whether bytes have come that may not go on.
    pub fn is_holding(&self) -> bool {
        self.shared.holding.load(Ordering::SeqCst) > 0
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
        drop(TcpStream::connect(self.addr)); // wakes the accepting thread, which then ends
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
        stream.set_write_timeout(Some(WRITE_LOOK)).unwrap();
    }
    let connection = Arc::new(Connection {
        client,
        server,
        cut: AtomicBool::new(false),
        reset: AtomicBool::new(false),
        frozen: AtomicBool::new(false),
        lost: Mutex::new(None),
    });
    {
        // Refused meanwhile: who ends all there are has not seen this one.
        let mut state = shared.state();
        if state.refusing || state.closing {
            return;
        }
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        state.open.push(Arc::clone(&connection));
    }
    for way in [Way::Up, Way::Down] {
        let (connection, shared) = (Arc::clone(&connection), Arc::clone(shared));
        std::thread::spawn(move || {
            carry(way, &connection, &shared);
            // Where the end that it read from is the one that is gone, the other end is not told.
            if connection.lost().is_none_or(|lost| lost == way) {
                connection.cut();
                shared
                    .state()
                    .open
                    .retain(|other| !Arc::ptr_eq(other, &connection));
            }
        });
    }
}

/// Carries bytes one way until either side closes or the connection is cut.
fn carry(way: Way, connection: &Connection, shared: &Shared) {
    let (mut from, count) = match way {
        Way::Up => (&connection.client, &shared.up),
        Way::Down => (&connection.server, &shared.down),
    };
    let mut buffer = vec![0; BUFFER];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        let mut rest = &mut buffer[..len];
        while !rest.is_empty() {
            let Some(permit) = permit(way, rest.len(), connection, shared) else {
                return;
            };
            let (bytes, after) = rest.split_at_mut(permit.bytes);
            if way == Way::Down {
                spoil(bytes, shared);
            }
            // Counted first: whoever has received them finds them counted.
            count.fetch_add(permit.bytes as u64, Ordering::SeqCst);
            if !write(bytes, way, connection) {
                return;
            }
            if let Some(fault) = permit.strikes {
                let before = shared.state().before.take();
                if let Some(Before(call)) = before {
                    call();
                }
                shared.burnt(way, fault);
            }
            rest = after;
        }
    }
}

/// Puts all of it on its way; false where the connection ends instead.
fn write(mut bytes: &[u8], way: Way, connection: &Connection) -> bool {
    let mut to = match way {
        Way::Up => &connection.server,
        Way::Down => &connection.client,
    };
    while !bytes.is_empty() && connection.lost() != Some(way) {
        match to.write(bytes) {
            Ok(0) => return false,
            Ok(written) => bytes = &bytes[written..],
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if connection.is_cut() {
                    return false;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // It may have been lost at this moment.
            Err(_) if connection.lost() == Some(way) => {}
            Err(_) => return false,
        }
    }
    true
}

/// How many bytes may go, and what happens after them.
struct Permit {
    bytes: usize,
    strikes: Option<Fault>,
}

/// Waits while nothing may move, then says how many of `len` bytes may go: fewer where the fuse burns through.
fn permit(way: Way, len: usize, connection: &Connection, shared: &Shared) -> Option<Permit> {
    let is_held = |state: &State| state.stalled || connection.frozen.load(Ordering::SeqCst);
    let waiting = |state: &mut State| is_held(state) && !connection.is_cut();
    shared.holding.fetch_add(1, Ordering::SeqCst);
    let mut state = shared
        .changed
        .wait_while(shared.state(), waiting)
        .unwrap_or_else(PoisonError::into_inner);
    shared.holding.fetch_sub(1, Ordering::SeqCst);
    let mut bytes = len.min(state.piece);
    if state.singly > 0 {
        (bytes, state.singly) = (1, state.singly - 1);
    }
    let mut pause = state.delay;
    if let Some(rate) = state.bytes_per_second {
        bytes = bytes.min(4 << 10);
        pause = Some(Duration::from_secs_f64(bytes as f64 / rate as f64));
    }
    if let Some(pause) = pause {
        // The line's own time: nothing waits for this but what is on it.
        drop(state);
        std::thread::sleep(pause);
        state = shared.state();
    }
    if connection.is_cut() {
        return None;
    }
    let strikes = match state.fuse {
        Some((at, left, fault)) if at == way && left < bytes as u64 => {
            state.fuse = None;
            bytes = usize::try_from(left).expect("less than a buffer");
            Some(fault)
        }
        Some((at, left, fault)) if at == way => {
            state.fuse = Some((at, left - bytes as u64, fault));
            None
        }
        _ => None,
    };
    Some(Permit { bytes, strikes })
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
