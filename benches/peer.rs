//! From one log to another over loopback: how fast a follower catches up, and how fast it follows.
//!
//! Both logs are on disk, leader and follower share the machine's processors. Beside it, in the same run, what one log takes when the same bytes are appended to
//! it without anything between: the ratio counts, since the machine may be shared.
//!
//! `scripts/bench.sh --bench peer`

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stderr)]
// The file that is shared with the tests has more than is used here.
#![allow(dead_code, unreachable_pub)]

#[path = "results/mod.rs"]
mod results;
#[path = "../tests/peer/rig.rs"]
mod rig;

use std::time::{Duration, Instant};

use gunyu::core::log::Log;
use results::{Results, Row};
use rig::{Following, Leading, Place, at, stream};

const MIB: usize = 1 << 20;
const LEN: usize = 1_024 * MIB;
const ROUNDS: usize = 3;
const CHUNKS: [usize; 3] = [100, 64 << 10, MIB];

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let results = Results::open();
    for chunk in CHUNKS {
        let mut best = [0.0_f64; 3];
        for _ in 0..ROUNDS {
            let round = runtime.block_on(round(chunk));
            best.iter_mut()
                .zip(round)
                .for_each(|(best, one)| *best = best.max(one));
        }
        for (what, speed) in [("catches up", best[1]), ("follows", best[2])] {
            let figure = format!("a log {what} over loopback, chunks of {chunk} B, beside appending alone");
            let row = Row::of("other", &figure)
                .number("mb_per_s", speed)
                .number("native_mb_per_s", best[0])
                .number("ratio", best[0] / speed);
            results.put(row);
        }
    }
}

fn speed(len: usize, took: Duration) -> f64 {
    len as f64 / 1e6 / took.as_secs_f64()
}

fn place() -> Place {
    let mut place = Place::new(false);
    (place.tail_bytes, place.segment_bytes) = (16 << 20, 64 << 20);
    place
}

/// Small chunks are many: fewer bytes tell as much.
fn len(chunk: usize) -> usize {
    match chunk {
        0..1_000 => LEN / 16,
        _ => LEN,
    }
}

async fn append(leading: &Leading, chunk: usize) {
    let piece = stream(0, chunk);
    let mut writer = leading.log.writer().unwrap();
    for _ in 0..len(chunk) / chunk {
        writer.append(piece.clone()).await.unwrap();
        tokio::task::yield_now().await;
    }
}

async fn reaches(log: &Log, end: u64) {
    let mut reader = loop {
        if let Ok(reader) = log.reader(at(0)) {
            break reader;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    while log.appended() < at(end) {
        // Only to be woken: what is behind is left.
        reader = log.reader(log.appended()).unwrap();
        reader.next().await.unwrap();
    }
    drop(reader);
}

async fn round(chunk: usize) -> [f64; 3] {
    let (here, there, beside) = (place(), place(), place());
    let leading = Leading::live_at(&here, 0).await;
    let began = Instant::now();
    append(&leading, chunk).await;
    let (whole, alone) = (leading.log.appended().get(), began.elapsed());
    let began = Instant::now();
    let following = Following::start(there.open().await, leading.addr);
    reaches(&following.log, whole).await;
    let caught_up = began.elapsed();
    drop(following.stop().await);

    let leading = Leading::live_at(&beside, 0).await;
    let last = place();
    let following = Following::start(last.open().await, leading.addr);
    following.hears(|heard| heard.is_linked).await;
    let began = Instant::now();
    append(&leading, chunk).await;
    reaches(&following.log, whole).await;
    let followed = began.elapsed();
    drop(following.stop().await);
    let len = whole as usize;
    [speed(len, alone), speed(len, caught_up), speed(len, followed)]
}
