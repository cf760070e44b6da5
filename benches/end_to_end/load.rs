//! What is written to a source: as fast as it takes it, or so many commands a second.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use crate::mix::Kind;
use crate::mix::{self, KEYS};
use crate::side::Side;
use crate::support::fleet::slot;
use crate::support::server::Server;

/// So many commands go out together.
const PIPELINED: u64 = 64;

/// So many commands are under way at most.
const WINDOW: u64 = 16 * PIPELINED;

/// `redis-benchmark -P 64`, 64-byte SETs, until all are done.
pub fn benchmark(server: &Server, count: u64) {
    let status = Command::new("redis-benchmark")
        .args(["-p", &server.port().to_string(), "-P", "64", "-c", "20"])
        .args(["-n", &count.to_string(), "-r", &KEYS.to_string()])
        .args(["-d", "64", "-t", "set", "-q"])
        .stdout(Stdio::null())
        .status()
        .expect("redis-benchmark is installed with redis-server");
    assert!(status.success());
}

/// Writes so many commands to all servers of a side together, each with keys of its own slots, as fast as they take them.
pub fn write(side: &Side, kind: Kind, count: u64) {
    let servers = side.servers();
    let each = count / servers.len() as u64;
    std::thread::scope(|scope| {
        for (number, server) in servers.iter().enumerate() {
            let keys = Keys::of(number, servers.len());
            scope.spawn(move || {
                let mut link = Link::open(server);
                let mut left = each;
                while left > 0 {
                    let now = left.min(PIPELINED);
                    link.commands(kind, &keys, now);
                    link.wait_room(WINDOW);
                    left -= now;
                }
                link.wait_room(0);
            });
        }
    });
}

/// Keys that a server of a cluster serves: by hash tags whose slots are its own.
pub struct Keys {
    tags: Vec<&'static str>,
}

const SLOTS: usize = 16_384;

/// So many slots of each server are written to.
const TAGS: usize = 256;

impl Keys {
    /// Of the `number`th of so many servers that share the slots as [`crate::support::Cluster`] has it; of one server any.
    pub fn of(number: usize, servers: usize) -> Keys {
        if servers == 1 {
            return Keys { tags: Vec::new() };
        }
        let (begin, end) = (number * SLOTS / servers, (number + 1) * SLOTS / servers);
        let step = (end - begin) / TAGS;
        let slots = (0..TAGS).map(|nth| u16::try_from(begin + nth * step).unwrap());
        Keys {
            tags: slots.map(slot::tag).collect(),
        }
    }

    /// Where all keys are served by the one server, nothing comes before them.
    fn tag(&self, key: u32) -> Option<&'static str> {
        (!self.tags.is_empty()).then(|| self.tags[key as usize % self.tags.len()])
    }

    /// The name of a key, with its tag before it.
    pub fn name(&self, key: u32, rest: &str) -> String {
        match self.tag(key) {
            None => rest.to_owned(),
            Some(tag) => format!("{{{tag}}}{rest}"),
        }
    }

    fn write(&self, out: &mut Vec<u8>, letter: char, key: u32) {
        match self.tag(key) {
            None => mix::plain_name(out, letter, key),
            Some(tag) => {
                let len = 10 + tag.len();
                write!(out, "${len}\r\n{{{tag}}}{letter}{key:07}\r\n").unwrap();
            }
        }
    }
}

/// A plain connection: writes whole blocks, and reads replies away, so that the load generator costs little.
pub struct Link {
    write: TcpStream,
    sent: u64,
    out: Vec<u8>,
    answered: Arc<(Mutex<u64>, Condvar)>,
    reading: Option<JoinHandle<()>>,
}

impl Link {
    pub fn open(server: &Server) -> Link {
        let write = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        write.set_nodelay(true).unwrap();
        let mut read = write.try_clone().unwrap();
        let answered = Arc::new((Mutex::new(0), Condvar::new()));
        let shared = Arc::clone(&answered);
        let reading = std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(len @ 1..) = read.read(&mut buffer) {
                // None of the replies has more than one line, and none of the numbers a line's end.
                let lines = memchr::memchr_iter(b'\n', &buffer[..len]).count();
                assert!(buffer[0] != b'-', "{}", String::from_utf8_lossy(&buffer[..len]));
                *shared.0.lock().unwrap() += lines as u64;
                shared.1.notify_one();
            }
        });
        Link {
            write,
            sent: 0,
            out: Vec::new(),
            answered,
            reading: Some(reading),
        }
    }

    /// Writes so many commands at once.
    pub fn commands(&mut self, kind: Kind, keys: &Keys, count: u64) {
        for nth in 0..count {
            let key = fastrand::u32(0..KEYS);
            let name = |out: &mut Vec<u8>, letter, key| keys.write(out, letter, key);
            mix::command(&mut self.out, kind, self.sent + nth, key, name);
        }
        self.send(count);
    }

    /// Any one command that answers with one line.
    pub fn line(&mut self, command: &str) {
        self.out.extend_from_slice(command.as_bytes());
        self.send(1);
    }

    fn send(&mut self, count: u64) {
        self.sent += count;
        self.write.write_all(&self.out).unwrap();
        self.out.clear();
    }

    /// Waits until no more than so many commands are under way.
    pub fn wait_room(&self, under_way: u64) {
        let answered = self.answered.0.lock().unwrap();
        let waiting = |answered: &mut u64| self.sent - *answered > under_way;
        let (_guard, waited) = self
            .answered
            .1
            .wait_timeout_while(answered, crate::LONG, waiting)
            .unwrap();
        assert!(!waited.timed_out(), "the server answers");
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        drop(self.write.shutdown(std::net::Shutdown::Both));
        drop(self.reading.take().map(JoinHandle::join));
    }
}

/// Writes 64-byte SETs at a steady rate, shared among a side's servers, until it is dropped.
pub struct Steady {
    stop: Arc<AtomicU64>,
    writing: Vec<JoinHandle<u64>>,
}

/// The commands of such a time go out in one write.
const STEP: Duration = Duration::from_micros(500);

impl Steady {
    pub fn start(side: &Side, per_second: u64) -> Steady {
        let stop = Arc::new(AtomicU64::new(0));
        let servers = side.servers();
        let each = per_second as f64 / servers.len() as f64;
        let writing = servers.iter().enumerate().map(|(number, server)| {
            let (told, mut link) = (Arc::clone(&stop), Link::open(server));
            let keys = Keys::of(number, servers.len());
            std::thread::spawn(move || {
                let (began, mut sent) = (Instant::now(), 0);
                while told.load(Ordering::Relaxed) == 0 {
                    let due = (began.elapsed().as_secs_f64() * each) as u64;
                    if due > sent {
                        link.commands(Kind::Sets, &keys, due - sent);
                        sent = due;
                    }
                    std::thread::sleep(STEP);
                }
                link.wait_room(0);
                sent
            })
        });
        Steady {
            writing: writing.collect(),
            stop,
        }
    }

    /// Ends it, as soon as everything is answered; how many commands that were.
    pub fn stop(mut self) -> u64 {
        self.end()
    }

    fn end(&mut self) -> u64 {
        self.stop.store(1, Ordering::Relaxed);
        let ended = self.writing.drain(..).map(JoinHandle::join);
        ended.map(|sent| sent.unwrap_or(0)).sum()
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        self.end();
    }
}
