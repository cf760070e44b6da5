//! What the world does to gunyu: a target that is stopped, full, read-only or busy, a source that is not there yet or ends the link, a disk
//! without room, wrong passwords. Nothing is lost or repeated, status says what is wrong and what helps, and what can heal by
//! itself does; what cannot ends with one message and its exit code.
//!
//! README's table *When something goes wrong* states what happens. Its rows are here, each under counting load: `target` and `source` make the cause, wait until
//! status, `gunyu status` and `/debug/ready` tell it, take the cause away, and compare. Rows that are proven elsewhere, and not again here:
//!
//! | row | proven by |
//! | --- | --- |
//! | a target that fails over, and loses its tail | `topology::sentinels`, `topology::once`, `onto_cluster::moving`, `exactly_once` |
//! | a command that fails on a touched key, by either `onError` | `selection::refusals` (`wrongtype_*`) |
//! | a command that the target does not know, by either `onError` | `selection::refusals` (`what_the_target_does_not_know_*`) |
//! | a snapshot with a module's value | `downgrade::keys` (`a_modules_value_is_told_where_the_target_has_no_such_module`) |
//! | a stopped input, and restart, full sync, pause after it | `control::restart_stop` |
//! | a session's key that is removed, another session | `exactly_once` (`two_gunyu_for_the_same_deployment_fence_each_other`), `fencing` |
//! | a frozen target or source while a full sync is asked for | `control::full_sync`, `control::together` |
//! | a source that restarts, from its own dump or an older one | `resume` (`a_source_that_restarts_from_*`) |
//! | a source that becomes a replica of its own replica | `resume` (`gunyu_keeps_following_a_source_that_becomes_a_replica`) |
//! | a new replication id after a failover, in the stream and in a full sync | `resume` (`a_restart_with_the_promoted_replica_*`, `a_failover_during_a_full_sync_*`) |
//! | a new replication id during a pause | `control::pause` (`a_new_history_of_the_source_waits_for_the_end_of_a_pause`) |
//! | a backlog that has moved on | `resume` (`case_g_*`) |
//! | a link that is cut, reset, stalled, at any byte, in any phase | `faults::links`, `link` here |
//! | the folder | `disk`, the binary of that name; a full one and one of somebody else here (`disk`, `rights`) |

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

#[path = "../support/mod.rs"]
mod support;

mod disk;
mod link;
mod new_history;
mod rights;
mod source;
mod start;
mod stopped;
mod stopping;
mod target;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use support::server::connect;
use support::workload::{Counters, Options, Seed};
use support::{Gunyu, SOON, Server, assert_equal, gunyu, wait_for};

/// How long a busy machine may take to catch up.
const LONG: Duration = Duration::from_secs(180);

/// The source's backlog is large enough for whatever happens here.
const BACKLOG: &[&str] = &["--repl-backlog-size", "256mb"];

const MIB: u64 = 1 << 20;

fn is_full_size() -> bool {
    std::env::var_os("GUNYU_FULL").is_some_and(|value| value == "1")
}

/// Counters at this pace.
fn paced(source: &Server, seed: &Seed, per_second: u64) -> Counters {
    let options = Options {
        per_second: Some(per_second),
        ..Options::default()
    };
    Counters::with(&source.url(), seed, &options)
}

/// Source, target, gunyu between them, counters at 2,000 a second.
struct Pair {
    seed: Seed,
    source: Server,
    target: Server,
    gunyu: Gunyu,
    counters: Counters,
}

impl Pair {
    fn start(target_options: &[&str], set: &[&str]) -> Pair {
        Pair::between(Server::with(BACKLOG), Server::with(target_options), set)
    }

    /// Live.
    fn between(source: Server, target: Server, set: &[&str]) -> Pair {
        let url = target.url();
        Pair::as_user(source, target, &url, set)
    }

    /// The same by this way to the target.
    fn as_user(source: Server, target: Server, url: &str, set: &[&str]) -> Pair {
        let seed = Seed::pick();
        let mut gunyu = Gunyu::start(&source.url(), url, set);
        gunyu.wait_ready(SOON);
        let counters = paced(&source, &seed, 2_000);
        counters.wait_more(1_000);
        Pair {
            seed,
            source,
            target,
            gunyu,
            counters,
        }
    }

    /// Not yet live: whatever is the matter is there from the beginning.
    fn beginning(source: Server, target: Server, set: &[&str], env: &[(&str, &str)]) -> Pair {
        let url = source.url();
        Pair::by_way(&url, source, target, set, env)
    }

    /// The same by this way to the source.
    fn by_way(url: &str, source: Server, target: Server, set: &[&str], env: &[(&str, &str)]) -> Pair {
        let seed = Seed::pick();
        let counters = paced(&source, &seed, 2_000);
        counters.wait_more(100);
        let mut args = vec![
            "sync".to_owned(),
            format!("--source={url}"),
            format!("--target={}", target.url()),
        ];
        args.extend(set.iter().map(|pair| format!("--set={pair}")));
        let gunyu = Gunyu::with_args(args, env);
        Pair {
            seed,
            source,
            target,
            gunyu,
            counters,
        }
    }

    /// Waits until status tells of a trouble with this in its message, and with this in its hint.
    #[track_caller]
    fn wait_trouble(&mut self, message: &str, hint: &str) {
        wait_trouble(&mut self.gunyu, message, hint);
    }

    /// Waits until everybody who asks is told of it.
    #[track_caller]
    fn wait_told(&mut self, goes: Goes, message: &str, hint: &str) {
        wait_told(&mut self.gunyu, goes, message, hint);
    }

    /// It has healed by itself: everything is there, exactly, and by the stream alone.
    #[track_caller]
    fn finish(self) {
        let (source, traces) = self.finish_however();
        assert_eq!(full_syncs(&source), 1, "{traces}");
    }

    /// It has healed: everything is there, exactly. The source, and what gunyu told.
    #[track_caller]
    fn finish_however(mut self) -> (Server, String) {
        self.counters.wait_more(1_000);
        let expected = self.counters.stop();
        self.gunyu.wait_applied(&self.source, LONG);
        expected.assert_on(&self.source);
        expected.assert_on(&self.target);
        let status = self.gunyu.status();
        assert_eq!(status[0]["State"], "run", "{status}");
        assert_eq!(self.gunyu.request("GET", "/debug/ready").unwrap().status, 200);
        assert_eq!(self.gunyu.term().code(), Some(0), "{}", self.gunyu.traces());
        assert_equal(&self.source, &self.target);
        (self.source, self.gunyu.traces())
    }
}

/// How it goes on while the cause is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goes {
    /// It tries again, for ever.
    Waits,
    /// It has stopped; a person must wish something.
    Stops,
    /// It goes on.
    On,
}

fn full_syncs(source: &Server) -> u64 {
    source.info("stats")["sync_full"].parse().unwrap()
}

fn text<'a>(status: &'a Value, field: &str) -> &'a str {
    status[0]["LastError"][field].as_str().unwrap_or_default()
}

#[track_caller]
fn wait_trouble(gunyu: &mut Gunyu, message: &str, hint: &str) {
    gunyu.wait_status(LONG, &format!("status tells: {message}"), |status| {
        text(status, "Message").contains(message) && text(status, "Hint").contains(hint)
    });
}

/// The output buffer that the source keeps for gunyu, in bytes; 0 without a link.
fn output_buffer(source: &Server) -> u64 {
    let list: String = source.run(&["CLIENT", "LIST", "TYPE", "replica"]);
    let sizes = list
        .split([' ', '\n'])
        .filter_map(|field| field.strip_prefix("omem=")?.parse::<u64>().ok());
    sizes.max().unwrap_or(0)
}

/// Bytes of all segments and snapshots: what `channel.storer.maxSize` caps.
fn log_bytes(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    let size = |path: PathBuf| {
        let counts = [".seg", ".rdb", ".part"]
            .iter()
            .any(|end| path.to_string_lossy().ends_with(end));
        match std::fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => log_bytes(&path),
            Ok(meta) if counts => meta.len(),
            _ => 0,
        }
    };
    entries
        .filter_map(Result::ok)
        .map(|entry| size(entry.path()))
        .sum()
}

/// Waits until status tells it, `gunyu status` shows it with code 0 (it shows what there is), and whoever asks whether gunyu is ready hears no unless it goes on.
#[track_caller]
fn wait_told(gunyu: &mut Gunyu, goes: Goes, message: &str, hint: &str) {
    let (state, phase, ready) = match goes {
        Goes::Waits => ("run", "backoff", 503),
        Goes::Stops => ("stop", "backoff", 503),
        Goes::On => ("run", "incremental", 200),
    };
    gunyu.wait_status(LONG, &format!("status tells: {message}; {hint}"), |status| {
        let told = text(status, "Message").contains(message) && text(status, "Hint").contains(hint);
        told && status[0]["State"] == state && status[0]["Phase"] == phase
    });
    let server = format!("--server=http://{}", gunyu.http());
    wait_for(SOON, "gunyu status shows it", || {
        let ran = gunyu::run(&["status", &server]);
        // Its lines are wrapped.
        let shown = String::from_utf8_lossy(&ran.stdout)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        let ready_now = gunyu.request("GET", "/debug/ready").unwrap().status;
        let is_so = ran.status.code() == Some(0)
            && shown.contains(message)
            && shown.contains(hint)
            && shown.contains(state)
            && ready_now == ready;
        is_so
            .then_some(())
            .ok_or_else(|| format!("{ran:?}, ready {ready_now}"))
    });
}

/// Some keys that have nothing to do with the counters.
fn put_keys(server: &Server, count: usize) {
    let script = "for i = 1, ARGV[1] do redis.call('SET', 'ballast:' .. i, string.rep('x', 100)) end";
    let () = server.run(&["EVAL", script, "0", &count.to_string()]);
}

/// Has a server that is loading slowly go on as fast as it can.
fn load_fast(url: &str) {
    wait_for(SOON, "it is told to load faster", || {
        let told = connect(url).and_then(|mut conn| {
            let mut faster = redis::cmd("CONFIG");
            faster.arg(&["SET", "key-load-delay", "0"]).exec(&mut conn)
        });
        told.map_err(|error| error.to_string())
    });
}

/// A server that loads its data so slowly, and answers `-LOADING` meanwhile, that it is told to hurry ([`load_fast`]) when that was seen.
const SLOW_LOADING: &[&str] = &[
    "--key-load-delay",
    "20000",
    "--loading-process-events-interval-bytes",
    "1024",
    "--repl-backlog-size",
    "256mb",
];

/// Runs a full sync through the API, as `gunyu fullsync --inputs all` does, and waits until it is live again.
#[track_caller]
fn sync_anew(pair: &mut Pair) {
    let before = full_syncs(&pair.source);
    pair.gunyu.must("POST", "/syncer/fullsync?inputs=all");
    let (source, gunyu) = (&pair.source, &mut pair.gunyu);
    gunyu.wait_status(LONG, "the full sync is over", |status| {
        full_syncs(source) > before && status[0]["Phase"] == "incremental"
    });
}
