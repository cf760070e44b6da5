//! Loopback ports that no other test uses.
//!
//! Ports are drawn below the range from which the system takes the local ports of outgoing connections, so that a
//! server that is killed and started again finds its port still free.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{LazyLock, Mutex};

/// Bus ports of a cluster are 10,000 higher and so stay below 32,768, where outgoing connections begin.
const RANGE: std::ops::Range<u16> = 10_000..20_000;

static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A port that is ours until it is dropped.
#[derive(Debug)]
pub struct Port(u16);

impl Port {
    /// A port on which nothing listens and which no other part of this process holds.
    pub fn free() -> Port {
        for _ in 0..1_000 {
            let number = fastrand::u16(RANGE);
            if TAKEN.lock().unwrap().insert(number) {
                let port = Port(number);
                // Not by binding it: a child that is just being forked would hold the bound socket until its exec.
                if TcpStream::connect(port.addr()).is_err() {
                    return port;
                }
            }
        }
        panic!("no free port in {RANGE:?}");
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.0
    }

    /// Its address on 127.0.0.1.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.0))
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // A test that panicked while it held the lock has left a set that is still right.
        TAKEN
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .remove(&self.0);
    }
}
