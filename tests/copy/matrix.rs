//! The version matrix: a short copy from and to every server at hand (`GUNYU_TEST_SERVERS`, `make matrix`).
//!
//! A copy ends equal, or stops with a clear message where the target cannot take what the source sends. Without other
//! servers at hand nothing is done.

use super::support::workload::{Fill, Options, Seed, Writers};
use super::support::{Binary, Gunyu, Server, equal, matrix};
use super::{PATIENCE, alike};

const KEYS: usize = 1_500;

/// `HSET` takes several fields from here on; nothing older is a target.
const OLDEST_TARGET: (u32, u32, u32) = (4, 0, 0);

/// What came of a pair.
#[derive(Debug, PartialEq)]
enum Came {
    Equal,
    /// It stopped, with this message.
    Stopped(String),
}

/// Writers at work before, during and after the full sync.
///
/// Versions print a digest differently for the same value, so only servers of one version are compared by it.
fn copy(source: &Binary, target: &Binary) -> Came {
    let seed = Seed::pick();
    let (source, target) = (Server::of(source, &[]), Server::of(target, &[]));
    let _teller = Teller(&source);
    Fill::keys(KEYS).run(&source, &seed);
    let slow = Options {
        threads: 1,
        per_second: Some(2_000),
    };
    let writers = Writers::with(&source, &source.url(), &seed, &slow);
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    let mut reaches = |what: &str, holds: &dyn Fn(&serde_json::Value) -> bool| {
        let status = gunyu.wait_status(PATIENCE, what, |status| {
            status[0]["State"] == "stop" || holds(&status[0])
        });
        (status[0]["State"] == "stop").then(|| stopped(&status))
    };
    if let Some(came) = reaches("it is live or stops", &|input| input["Phase"] == "incremental") {
        return came;
    }
    writers.wait_more(3_000);
    writers.stop();
    let at = source.offset();
    if let Some(came) = reaches("all is applied", &|input| {
        input["Offset"]["Applied"].as_u64() >= Some(at)
    }) {
        return came;
    }
    assert!(gunyu.term().success());
    let found = if source.binary() == target.binary() {
        equal(&source, &target).err().map_or(Vec::new(), |found| found.0)
    } else {
        alike::differences(&source, &target)
    };
    let few = &found[..found.len().min(8)];
    assert!(
        found.is_empty(),
        "{:?} to {:?}: {few:#?}",
        source.binary(),
        target.binary()
    );
    Came::Equal
}

/// Shows the last words of a source where its test fails.
struct Teller<'a>(&'a Server);

impl Drop for Teller<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.0.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "the source:\n{}",
                lines[lines.len().saturating_sub(15)..].join("\n")
            );
        }
    }
}

fn stopped(status: &serde_json::Value) -> Came {
    let told = &status[0]["LastError"];
    let hint = told["Hint"].as_str().unwrap();
    assert!(!hint.is_empty(), "whoever stops says what to do: {told}");
    Came::Stopped(told["Message"].as_str().unwrap().to_owned())
}

/// Redis of these versions and later, up to the last release that forks share, read each other's payloads when they get newer.
fn must_be_equal(source: &Binary, target: &Binary) -> bool {
    let same_line = source.product == target.product;
    let common = source.version < (7, 3, 0); // valkey has forked from 7.2
    (same_line || common) && source.version <= target.version
}

fn try_pair(from: &str, source: &Binary, to: &str, target: &Binary) -> Result<(), String> {
    let came = std::panic::catch_unwind(|| copy(source, target));
    match came {
        Ok(Came::Equal) => println!("matrix: {from} -> {to}: equal"),
        Ok(Came::Stopped(message)) if must_be_equal(source, target) => {
            return Err(format!("{from} -> {to} must be equal, but: {message}"));
        }
        Ok(Came::Stopped(message)) => println!("matrix: {from} -> {to}: stops: {message}"),
        Err(_) => return Err(format!("{from} -> {to} failed (see above)")),
    }
    Ok(())
}

#[track_caller]
fn none_failed(results: Vec<Result<(), String>>) {
    let failed: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Every server as a source: to the installed one, and to the newest of its own kind.
#[test]
fn matrix_every_server_is_a_source() {
    let servers = matrix();
    if servers.is_empty() {
        crate::support::skipped("GUNYU_TEST_SERVERS names no folder with servers");
    }
    let installed = Binary::installed();
    let mut results = Vec::new();
    for (from, source) in &servers {
        results.push(try_pair(from, source, "installed", &installed));
        let newest = servers.iter().filter(|(_, one)| one.product == source.product);
        if let Some((to, target)) = newest.max_by_key(|(_, one)| one.version) {
            results.push(try_pair(from, source, to, target));
        }
    }
    none_failed(results);
}

/// The installed server as a source of every other.
#[test]
fn matrix_every_server_is_a_target() {
    let installed = Binary::installed();
    let mut results = Vec::new();
    for (to, target) in &crate::support::versions() {
        if target.version < OLDEST_TARGET {
            crate::support::skipped(&format!("installed -> {to} is older than {OLDEST_TARGET:?}"));
            continue;
        }
        results.push(try_pair("installed", &installed, to, target));
    }
    none_failed(results);
}

/// The smallest pair of the matrix, so that its own machinery is tried in every run.
#[test]
fn matrix_of_the_installed_server_alone() {
    let installed = Binary::installed();
    assert_eq!(copy(&installed, &installed), Came::Equal);
}
