//! A follower that cannot keep up costs no memory, neither at the leader nor at itself. In a process of its own: what is measured is the process.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // a helper that fails fails its test

mod support;

#[allow(unreachable_pub, dead_code)]
#[path = "peer/rig.rs"]
mod rig;

use std::time::Duration;

use gunyu::core::log::FlushPolicy;
use rig::{Following, Leading, Place, at, stream};
use support::Proxy;

const MIB: usize = 1 << 20;
const LEN: usize = 200 * MIB;
/// So many looks in turn at a follower that has got nothing: half a minute.
const IDLE_MAX: u32 = 1_500;
/// The tails of both logs, what is on its way between them, and some more.
const MOST: usize = 32 * MIB;

/// What the process holds in memory of its own (files that the page cache has do not count), in bytes.
fn held() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_flat_while_a_slow_follower_is_200_mib_behind() {
    let (mut here, mut there) = (Place::new(false), Place::new(false));
    // Every write of the follower waits for its disk; the proxy stands still now and then.
    there.flush = FlushPolicy::EveryWrite;
    (here.segment_bytes, there.segment_bytes) = (16 << 20, 16 << 20);
    let leading = Leading::live_at(&here, 0).await;
    let proxy = Proxy::to(leading.addr.port());
    let following = Following::start(there.open().await, proxy.addr().parse().unwrap());
    following.hears(|heard| heard.is_linked).await;
    // The same MiB over and over: what is copied is compared elsewhere.
    let piece = stream(0, MIB);
    let before = held();
    let mut peak = before;
    proxy.stall();
    while leading.log.appended() < at(LEN as u64) {
        leading.append(piece.clone()).await;
        peak = peak.max(held());
    }
    let behind = LEN as u64 - following.log.appended().get();
    assert!(behind > LEN as u64 * 9 / 10, "not so slow: {behind} bytes behind");
    proxy.resume();
    let (mut turns, mut idle, mut last) = (0, 0, following.log.appended());
    while following.log.appended() < at(LEN as u64) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        peak = peak.max(held());
        turns += 1;
        match turns % 10 {
            8 => proxy.stall(),
            9 => proxy.resume(),
            _ => {}
        }
        let now = following.log.appended();
        idle = if now == std::mem::replace(&mut last, now) {
            idle + 1
        } else {
            0
        };
        assert!(idle < IDLE_MAX, "it does not get there");
    }
    let grown = peak.saturating_sub(before);
    println!(
        "{} MiB through a slow follower: {} MiB more held at most",
        LEN / MIB,
        grown / MIB
    );
    assert!(grown < MOST, "{grown} bytes more held");
}
