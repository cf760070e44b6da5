//! A proxy in front of one server that knows which member of a group a connection comes from: each member's link to the server can be broken alone,
//! though all call it by one address.
//!
//! A member on a machine of its own is told by its address, one on loopback by its process id: the system says whose
//! the socket at the other end is.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::owner;
use super::world::World;
use crate::support::port::Port;
use crate::support::process::Process;
use crate::support::proxy::Proxy;

/// The process ids of the members, by their numbers; kept up to date by whoever starts them.
#[derive(Debug, Clone, Default)]
pub struct Roster(Arc<Mutex<HashMap<usize, i32>>>);

impl Roster {
    /// That member is this process from now on.
    pub fn set(&self, member: usize, pid: i32) {
        self.pids().insert(member, pid);
    }

    /// Starts that member. Whose its first connection is can be told however soon it comes: whoever asks waits until this has ended.
    pub fn start(&self, member: usize, start: impl FnOnce() -> Process) -> Process {
        let mut pids = self.pids();
        let process = start();
        pids.insert(member, process.pid());
        process
    }

    fn pids(&self) -> MutexGuard<'_, HashMap<usize, i32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> HashMap<usize, i32> {
        self.pids().clone()
    }
}

/// At whose end a connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Member(usize),
    /// The test, or a server.
    Other,
    /// It has gone already.
    Nobody,
}

/// In front of one server. Dropping it cuts all connections.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
    /// Given up last.
    _port: Port,
}

#[derive(Debug)]
struct Shared {
    world: World,
    roster: Roster,
    ways: Vec<Proxy>,
    others: Proxy,
    /// From which ports connections go on to the server, and whose they are.
    ports: Mutex<HashMap<u16, usize>>,
    closing: AtomicBool,
}

impl Gate {
    /// In front of `127.0.0.1:port`, for members of the numbers below `members`.
    pub fn to(port: u16, members: usize, world: &World, roster: &Roster) -> Gate {
        let own = Port::free();
        let address = SocketAddr::from((world.host(), own.number()));
        let listener = TcpListener::bind(address).unwrap();
        let shared = Arc::new(Shared {
            world: *world,
            roster: roster.clone(),
            ways: (0..members).map(|_| Proxy::to(port)).collect(),
            others: Proxy::to(port),
            ports: Mutex::default(),
            closing: AtomicBool::new(false),
        });
        let for_thread = Arc::clone(&shared);
        Gate {
            address,
            accepting: Some(std::thread::spawn(move || accept(&listener, &for_thread))),
            shared,
            _port: own,
        }
    }

    /// By which everybody calls the server.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Ends this member's connections, and lets it open no new ones.
    pub fn cut(&self, member: usize) {
        self.shared.ways[member].refuse(true);
        self.shared.ways[member].cut();
    }

    /// This member's connections stay open, new ones are let in, and nothing moves on them.
    pub fn stall(&self, member: usize) {
        self.shared.ways[member].stall();
    }

    /// All is well again; what was on its way arrives.
    pub fn heal(&self, member: usize) {
        self.shared.ways[member].refuse(false);
        self.shared.ways[member].resume();
    }

    /// This member's way through it.
    pub fn way(&self, member: usize) -> &Proxy {
        &self.shared.ways[member]
    }

    /// How many connections this member has open.
    pub fn open(&self, member: usize) -> usize {
        self.shared.ways[member].open()
    }

    /// Tells whose connection comes to the server from a port.
    pub(super) fn known(&self) -> Box<dyn Fn(u16) -> Option<usize> + Send> {
        let shared = Arc::clone(&self.shared);
        Box::new(move |port| shared.ports().get(&port).copied())
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address)); // wakes the accepting thread, which then ends
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

impl Shared {
    fn ports(&self) -> MutexGuard<'_, HashMap<u16, usize>> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn who(&self, client: &TcpStream) -> Who {
        let (Ok(SocketAddr::V4(address)), Ok(SocketAddr::V4(own))) =
            (client.peer_addr(), client.local_addr())
        else {
            return Who::Nobody;
        };
        if let Some(member) = self.world.member_at(*address.ip()) {
            return Who::Member(member);
        }
        if !address.ip().is_loopback() {
            return Who::Other;
        }
        let Some(inode) = owner::inode(address, own) else {
            return Who::Nobody;
        };
        let pids = self.roster.all();
        let owner = pids.iter().find(|(_, pid)| owner::holds(**pid, inode));
        owner.map_or(Who::Other, |(member, _)| Who::Member(*member))
    }
}

fn accept(listener: &TcpListener, shared: &Shared) {
    for client in listener.incoming() {
        if shared.closing.load(Ordering::SeqCst) {
            return;
        }
        let Ok(client) = client else { continue };
        match shared.who(&client) {
            Who::Member(member) => shared.ways[member].take(client, |port| {
                shared.ports().insert(port, member);
            }),
            Who::Other => shared.others.take(client, |port| {
                shared.ports().remove(&port);
            }),
            Who::Nobody => {}
        }
    }
}
