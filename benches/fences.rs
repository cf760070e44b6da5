//! The least that exactly once by fences costs a cluster: one master, one plain connection, `INCR`s of random slots, alone and as `MULTI`, the slot's
//! fence, so many `INCR`s, `EXEC`. No gunyu takes part: whatever gunyu does, it sends no less, and the server spends no less.
//!
//! `scripts/bench.sh --bench fences`

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stdout)]
// The files that are shared with the tests have more than is used here.
#![allow(dead_code, unreachable_pub)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use bytes::BytesMut;
use gunyu::core::command::{SLOTS, tag_of};
use gunyu::core::position::Offset;
use gunyu::core::resp::encode_command;
use gunyu::core::target::cluster::fences;
use support::Cluster;

const COMMANDS: usize = 600_000;
const UNDER_WAY: usize = 10_000;

fn main() {
    println!("| a fence for | bytes per byte of the stream | server, µs per INCR | wall, beside none |");
    println!("| --- | --- | --- | --- |");
    let (plain_bytes, _, plain_wall) = run(0);
    for per_fence in [0, 1, 2, 4, 16, 64] {
        let (bytes, cpu, wall) = run(per_fence);
        let what = if per_fence == 0 {
            "none".to_owned()
        } else {
            format!("{per_fence} INCR")
        };
        println!(
            "| {what} | {:.2} | {:.2} | {:.2} |",
            bytes as f64 / plain_bytes as f64,
            cpu * 1e6 / COMMANDS as f64,
            wall / plain_wall
        );
    }
}

/// Bytes sent, processor seconds of the server, seconds.
fn run(per_fence: usize) -> (usize, f64, f64) {
    let cluster = Cluster::start(1);
    let mut out = TcpStream::connect(("127.0.0.1", cluster.masters[0].port())).unwrap();
    let mut replies = out.try_clone().unwrap();
    let before = cluster.masters[0].stats().cpu();
    let begun = Instant::now();
    let (mut bytes, mut sent, mut end) = (0, 0, 0_u64);
    while sent < COMMANDS {
        let mut piece = BytesMut::new();
        let mut lines = 0;
        for _ in 0..UNDER_WAY / per_fence.max(1) {
            let slot = fastrand::u16(0..SLOTS);
            let key = format!("counter:{{{}}}", tag_of(slot));
            end += 40;
            if per_fence > 0 {
                let fence = fences::fence(1, Offset::new(end));
                encode_command(&mut piece, &[b"MULTI"]);
                encode_command(
                    &mut piece,
                    &[b"HSET", fences::key(slot), b"127.0.0.1:6379", fence.as_bytes()],
                );
            }
            for _ in 0..per_fence.max(1) {
                encode_command(&mut piece, &[b"INCR", key.as_bytes()]);
            }
            if per_fence > 0 {
                encode_command(&mut piece, &[b"EXEC"]);
            }
            // +OK, +QUEUED for each, then the array's head and its elements.
            lines += if per_fence == 0 { 1 } else { 2 * per_fence + 4 };
            sent += per_fence.max(1);
        }
        bytes += piece.len();
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
        out.write_all(&piece).unwrap();
        replies = reading.join().unwrap();
    }
    let cpu = (cluster.masters[0].stats().cpu() - before).as_secs_f64();
    (bytes, cpu, begun.elapsed().as_secs_f64())
}
