//! What the integration tests stand on: real servers, gunyu as a program, writers, and the comparison of two servers.
//!
//! A test says `mod support;` and uses what it needs. Everything here talks to real processes on loopback, puts their
//! files into a temporary folder, and ends them by pid when it is dropped, even where the test panics or is killed.
//!
//! - [`server`]: a Redis-compatible server as a child process; [`secured`]: one that speaks TLS alone. [`cluster`]: several that are one. [`fleet`]: several that
//!   change, with clients, writers and a comparison that follow them. [`gunyu`]: the program under test, likewise.
//! - [`etcd`]: etcd as a child process, alone or as several that are one.
//! - [`group`]: several gunyu that stand in for each other, links between them and everything else that can be cut, and observers that know
//!   who led what and who wrote what.
//! - [`workload`]: data of every type and encoding, writers that go on until told to stop, counters that know what they
//!   sent. All of it follows from one [`workload::Seed`], which a failing test prints.
//! - [`rdb`]: RDB files written by hand.
//! - [`redis_gunyu`]: what the Go program leaves on a target.
//! - [`compare`]: whether two servers hold the same, and which keys differ.
//! - [`encodings`]: every type in every encoding that a server has.
//! - [`proxy`]: a connection that can be cut, stalled, cut after so many bytes, or that spoils one of them.
//! - [`skipped`]: how a test says that it does not run here.
//! - [`typed`]: the same for servers of different versions.
//! - [`wait_until`] and [`wait_for`]: wait for a condition of *another process*, with an end and a last word. [`at_this_load`]: a bound that is
//!   a claim, on a machine that is busy.

// Each test binary compiles this folder and uses only a part of it. A helper that fails must fail the test, there and then.
#![allow(dead_code, unused_imports, unreachable_pub, missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout
)]

pub mod cluster;
pub mod compare;
pub mod encodings;
pub mod etcd;
pub mod fleet;
pub mod group;
pub mod gunyu;
pub mod http;
pub mod port;
pub mod process;
pub mod proxy;
pub mod rdb;
pub mod redis_gunyu;
pub mod secured;
pub mod server;
mod skipped;
pub mod typed;
pub mod wire;
pub mod workload;

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

pub use cluster::Cluster;
pub use compare::{assert_equal, equal, equal_key_by_key};
pub use etcd::Etcd;
pub use gunyu::Gunyu;
pub use proxy::Proxy;
pub use server::{Binary, Server};
pub use skipped::skipped;

/// The longest that a test waits for another process to start, to stop or to notice something small.
pub const SOON: Duration = Duration::from_secs(30);

/// Unix time in milliseconds, by this machine's clock, which is that of every server here.
pub fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

/// When keys or fields expire that are to have expired: far enough off that each is still ahead when a server hears of it, since what is past by
/// then is deleted at once, and near enough to wait for with [`wait_past`].
pub fn soon_ms() -> u64 {
    now_ms() + 2_000
}

/// Waits until that time has passed.
pub fn wait_past(at_ms: u64) {
    wait_until(SOON, "they are due", || now_ms() > at_ms);
}

/// How long may take here what takes `bound` at most where the machine has nothing else to do: the longer, the more waits for each processor, up to
/// four times as long.
pub fn at_this_load(bound: Duration) -> Duration {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap();
    // Over the last minute.
    let waiting: f64 = text.split(' ').next().unwrap().parse().unwrap();
    let processors = std::thread::available_parallelism().unwrap().get();
    bound.mul_f64((1.0 + waiting / processors as f64).min(4.0))
}

/// Waits until `holds` says true.
///
/// Only for conditions of other processes that cannot tell us themselves. Panics after `limit`, naming `what`.
#[track_caller]
pub fn wait_until(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    wait_for(limit, what, || holds().then_some(()).ok_or_else(String::new));
}

/// Waits until `probe` gives a value; its `Err` is the state last seen, which the failure prints.
#[track_caller]
pub fn wait_for<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    let mut pause = Duration::from_millis(2);
    loop {
        match probe() {
            Ok(value) => return value,
            Err(state) if start.elapsed() >= limit => {
                panic!("waited {limit:?} in vain until {what}; last seen: {state}")
            }
            Err(_) => std::thread::sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Asks, and asks again where it has not come about after a while: an attempt is given up by whoever makes it, on a machine that is busy.
#[track_caller]
pub fn ask_until(
    limit: Duration,
    what: &str,
    ask: impl Fn() -> redis::RedisResult<()>,
    holds: impl Fn() -> bool,
) {
    wait_for(limit, what, || {
        let (asked, start) = (ask(), Instant::now());
        loop {
            if holds() {
                return Ok(());
            }
            if asked.is_err() || start.elapsed() > Duration::from_secs(8) {
                return Err(format!("{asked:?}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    });
}

/// How long a soak may last (`make soak MINUTES=n` sets it); `None` where no soak was asked for.
#[must_use]
pub fn soak() -> Option<Duration> {
    let minutes: f64 = std::env::var("GUNYU_SOAK_MINUTES").ok()?.parse().ok()?;
    Some(Duration::from_secs_f64(minutes * 60.0))
}

/// The servers of the version matrix (`make matrix SERVERS=dir` names their folder): a label and a binary each.
///
/// A server is `dir/LABEL/bin/*-server`. Empty where no matrix was asked for.
#[must_use]
pub fn matrix() -> Vec<(String, Binary)> {
    let folders = matrix_folders().into_iter();
    folders
        .filter_map(|(label, folder)| Some((label, server_in(&folder)?)))
        .collect()
}

/// The same for a test that tries nothing without them: where there are none, it says so.
#[must_use]
pub fn versions() -> Vec<(String, Binary)> {
    let all = matrix();
    if all.is_empty() {
        skipped("GUNYU_TEST_SERVERS names no folder with servers");
    }
    all
}

/// The folders of the version matrix, by their labels, in order.
#[must_use]
pub fn matrix_folders() -> Vec<(String, PathBuf)> {
    let named = std::env::var_os("GUNYU_TEST_SERVERS").filter(|dir| !dir.is_empty());
    let Some(dir) = named.map(PathBuf::from) else {
        return Vec::new();
    };
    let listing =
        std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("GUNYU_TEST_SERVERS={}: {e}", dir.display()));
    let mut found: Vec<(String, PathBuf)> = listing
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .collect();
    found.sort();
    found
}

fn server_in(folder: &std::path::Path) -> Option<Binary> {
    let binary = std::fs::read_dir(folder.join("bin"))
        .ok()?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().ends_with("-server"))?;
    Some(Binary::at(&binary))
}
