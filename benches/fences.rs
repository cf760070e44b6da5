//! The least that exactly once by fences costs a cluster: one master, one plain connection, no gunyu. Whatever gunyu does, it sends no less, and the server spends no less.
//!
//! - `INCR`s of random slots, alone and as `MULTI`, the slot's fence, so many `INCR`s, `EXEC`.
//! - The mix that `end_to_end` writes ([`mix`]): so many commands of it are taken at once, grouped by slot, and sent as gunyu's `group.rs` says: blind writes as they are,
//!   a group that holds anything else as `MULTI`, fence, commands, `EXEC`. The more there are at once, the more share a fence, and the longer the first of them has waited.
//!
//! A part of `make bench`: `scripts/bench.sh --bench fences`

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stderr)]
// The files that are shared with the tests have more than is used here.
#![allow(dead_code, unreachable_pub)]

#[path = "mix/mod.rs"]
mod mix;
#[path = "results/mod.rs"]
mod results;
#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use gunyu::core::command::{self, Class, SLOTS, slot, tag_of};
use gunyu::core::position::Offset;
use gunyu::core::resp::{Framer, Limits, encode_command};
use gunyu::core::target::cluster::fences;
use results::{Results, Row};
use support::Cluster;

const UNDER_WAY: usize = 10_000;

/// As a deployment is called where it has no name of its own: by the source's address and what is selected.
const NAME: &[u8] = b"127.0.0.1_16379-9f3c71d20b44e65a";

/// `GUNYU_BENCH_COMMANDS`, of which a floor takes a third.
fn commands() -> usize {
    results::number("GUNYU_BENCH_COMMANDS", 2_000_000) / 3
}

fn main() {
    let results = Results::open();
    let plain = Measured::of(|sending| increments(sending, 0));
    for per_fence in [1, 2, 4, 16, 64] {
        let found = Measured::of(|sending| increments(sending, per_fence));
        let figure = format!("floor: {per_fence} INCR of a slot at once, beside none fenced");
        results.put(found.row(&figure, &plain));
    }
    let plain = Measured::of(|sending| mixed(sending, UNDER_WAY, false));
    for at_once in [1, 1_024, 10_000, 100_000] {
        let found = Measured::of(|sending| mixed(sending, at_once, true));
        let figure =
            format!("floor: SET, INCR, LPUSH, HSET, ZADD, {at_once} at once by slot, beside none fenced");
        results.put(found.row(&figure, &plain));
    }
}

/// What a floor took.
#[derive(Debug)]
struct Measured {
    bytes: usize,
    commands: usize,
    fences: usize,
    fence_bytes: usize,
    server_cpu_s: f64,
    wall_s: f64,
}

impl Measured {
    fn of(run: impl FnOnce(&mut Sending)) -> Measured {
        let cluster = Cluster::start(1);
        let server = &cluster.masters[0];
        let mut sending = Sending::to(server.port());
        let (before, began) = (server.stats().cpu(), Instant::now());
        run(&mut sending);
        Measured {
            bytes: sending.bytes,
            commands: sending.commands,
            fences: sending.fences,
            fence_bytes: sending.fence_bytes,
            server_cpu_s: (server.stats().cpu() - before).as_secs_f64(),
            wall_s: began.elapsed().as_secs_f64(),
        }
    }

    fn server_us(&self) -> f64 {
        self.server_cpu_s * 1e6 / self.commands as f64
    }

    fn row(&self, figure: &str, plain: &Measured) -> Row {
        let stream = plain.bytes as f64 / plain.commands as f64 * self.commands as f64;
        Row::of("floor", figure)
            .count("commands", self.commands as u64)
            .number("server_us_per_command", self.server_us())
            .number("native_server_us_per_command", plain.server_us())
            .number("ratio", self.server_us() / plain.server_us())
            .number("sending_s", self.wall_s)
            .count("target_bytes", self.bytes as u64)
            .count("stream_bytes", stream as u64)
            .number("target_bytes_per_stream_byte", self.bytes as f64 / stream)
            .number("fences_per_command", self.fences as f64 / self.commands as f64)
            .number(
                "bytes_per_fence",
                self.fence_bytes as f64 / self.fences.max(1) as f64,
            )
    }
}

/// One connection: a piece goes out, and all replies to it come in.
struct Sending {
    out: TcpStream,
    replies: Option<TcpStream>,
    bytes: usize,
    commands: usize,
    fences: usize,
    fence_bytes: usize,
    /// The stream's place, as fences name it.
    end: u64,
    piece: BytesMut,
    lines: usize,
}

impl Sending {
    fn to(port: u16) -> Sending {
        let out = TcpStream::connect(("127.0.0.1", port)).unwrap();
        Sending {
            replies: Some(out.try_clone().unwrap()),
            out,
            bytes: 0,
            commands: 0,
            fences: 0,
            fence_bytes: 0,
            end: 100_000_000,
            piece: BytesMut::new(),
            lines: 0,
        }
    }

    /// Puts a slot's group on the wire.
    fn group(&mut self, slot: u16, commands: &[Bytes], fenced: bool) {
        let before = self.piece.len();
        if fenced {
            let fence = fences::fence(0x9f3c_71d2_0b44_e65a, Offset::new(self.end));
            encode_command(&mut self.piece, &[b"MULTI"]);
            encode_command(
                &mut self.piece,
                &[b"HSET", fences::key(slot), NAME, fence.as_bytes()],
            );
        }
        let head = self.piece.len() - before;
        for command in commands {
            self.piece.extend_from_slice(command);
        }
        let before = self.piece.len();
        if fenced {
            encode_command(&mut self.piece, &[b"EXEC"]);
            self.fences += 1;
            self.fence_bytes += head + self.piece.len() - before;
        }
        // +OK, +QUEUED for each, then the array's head and its elements.
        self.lines += if fenced {
            2 * commands.len() + 4
        } else {
            commands.len()
        };
        self.commands += commands.len();
    }

    fn flush(&mut self) {
        self.bytes += self.piece.len();
        let (mut replies, mut lines) = (self.replies.take().unwrap(), std::mem::take(&mut self.lines));
        let reading = std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while lines > 0 {
                let len = replies.read(&mut buffer).unwrap();
                assert!(
                    len > 0 && buffer[0] != b'-',
                    "{}",
                    String::from_utf8_lossy(&buffer[..len])
                );
                lines -= memchr::memchr_iter(b'\n', &buffer[..len]).count();
            }
            replies
        });
        self.out.write_all(&self.piece).unwrap();
        self.piece.clear();
        self.replies = Some(reading.join().unwrap());
    }
}

/// So many `INCR`s of one slot after the other with a fence; 0: none.
fn increments(sending: &mut Sending, per_fence: usize) {
    while sending.commands < commands() {
        for _ in 0..UNDER_WAY / per_fence.max(1) {
            let slot = fastrand::u16(0..SLOTS);
            let mut command = BytesMut::new();
            let key = format!("counter:{{{}}}", tag_of(slot));
            encode_command(&mut command, &[b"INCR", key.as_bytes()]);
            sending.end += 40;
            let group = vec![command.freeze(); per_fence.max(1)];
            sending.group(slot, &group, per_fence > 0);
        }
        sending.flush();
    }
}

/// Commands of the mix, so many of them taken together and grouped by slot.
fn mixed(sending: &mut Sending, at_once: usize, fenced: bool) {
    let mut nth = 0;
    while sending.commands < commands() {
        // Small portions go out together: what is to be had is the bytes, not the way to and fro.
        for _ in 0..UNDER_WAY.div_ceil(at_once) {
            let mut stream = Vec::new();
            for _ in 0..at_once {
                let key = fastrand::u32(0..mix::KEYS);
                mix::command(&mut stream, mix::Kind::Mixed, nth, key, mix::plain_name);
                nth += 1;
            }
            let mut slots: BTreeMap<u16, (Vec<Bytes>, bool)> = BTreeMap::new();
            for (slot, command, blind) in framed(stream) {
                let group = slots.entry(slot).or_default();
                group.0.push(command);
                group.1 |= !blind;
            }
            for (slot, (commands, stateful)) in slots {
                sending.end += commands.iter().map(|command| command.len() as u64).sum::<u64>();
                sending.group(slot, &commands, stateful && fenced);
            }
        }
        sending.flush();
    }
}

/// Each command with its slot, and whether it is a blind write.
fn framed(stream: Vec<u8>) -> Vec<(u16, Bytes, bool)> {
    let mut framer = Framer::new(Limits::default());
    framer.push(Offset::ZERO, Bytes::from(stream)).unwrap();
    let mut found = Vec::new();
    while let Some(frame) = framer.next().unwrap() {
        let command = command::of(&frame);
        let key = command.keys(&frame).next().unwrap();
        let blind = command.class(&frame) == Class::Blind;
        found.push((slot(key.bytes), frame.to_bytes(), blind));
    }
    found
}
