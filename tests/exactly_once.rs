//! Exactly once: whatever is killed, cut, frozen or set back while INCR and RPUSH run at full speed, counters and lists end as
//! they were sent.
//!
//! The oracle is `workload::Counters`, which knows every write. That no second full sync happened is asked of the source
//! itself (`sync_full` in INFO stats), whatever gunyu says, and of gunyu's metric.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde_json::Value;
use support::proxy::Way;
use support::workload::{Counters, Expected, Options, Seed};
use support::{Gunyu, Proxy, SOON, Server, wait_for, wait_until};

/// How long a busy machine may take to catch up.
const LONG: Duration = Duration::from_secs(180);

/// The source's backlog is large enough for whatever happens here.
const BACKLOG: &[&str] = &["--repl-backlog-size", "64mb"];

/// How often something is killed or cut: 50 times where `GUNYU_FULL=1` asks for the full size.
fn times(by_default: usize) -> usize {
    if std::env::var_os("GUNYU_FULL").is_some_and(|value| value == "1") {
        50
    } else {
        by_default
    }
}

/// Source and target with proxies in front of both, gunyu between, counters at work.
struct Rig {
    seed: Seed,
    rng: fastrand::Rng,
    source: Server,
    target: Server,
    to_source: Proxy,
    to_target: Proxy,
    gunyu: Gunyu,
    counters: Counters,
}

impl Rig {
    /// Waits until the first full sync is over: from then on there must not be another.
    fn start(set: &[&str]) -> Rig {
        let seed = Seed::pick();
        let (source, target) = (Server::with(BACKLOG), Server::start());
        let (to_source, to_target) = (Proxy::to(source.port()), Proxy::to(target.port()));
        let mut gunyu = Gunyu::start(&to_source.url(), &to_target.url(), set);
        gunyu.wait_ready(SOON);
        let counters = Counters::start(&source, &seed);
        Rig {
            rng: seed.rng(0xFA),
            seed,
            source,
            target,
            to_source,
            to_target,
            gunyu,
            counters,
        }
    }

    /// A random point: after so many more writes at the source.
    fn some_writes(&mut self) {
        let writes = match self.rng.u8(..3) {
            0 => self.rng.u64(1..300),
            1 => self.rng.u64(300..3_000),
            _ => self.rng.u64(3_000..15_000),
        };
        self.counters.wait_more(writes);
    }

    /// Kills gunyu and starts it again, at times in the middle of its start.
    fn kill(&mut self) {
        self.some_writes();
        self.gunyu.kill9();
        if self.rng.bool() {
            self.some_writes();
        }
        self.gunyu.restart();
        if self.rng.u8(..3) > 0 {
            self.gunyu.wait_ready(LONG);
        }
    }

    fn cut_source(&mut self) {
        let bytes = self.rng.u64(1..200_000);
        cut_down(&self.to_source, Way::Down, bytes);
        self.some_writes();
    }

    /// In the middle of a batch on its way up, or in the middle of its replies.
    fn cut_target(&mut self) {
        let (way, most) = if self.rng.bool() {
            (Way::Up, 200_000)
        } else {
            (Way::Down, 5_000)
        };
        let bytes = self.rng.u64(1..most);
        cut_down(&self.to_target, way, bytes);
        self.some_writes();
    }

    /// Stops the counters, waits until all is applied, and compares.
    fn finish(mut self) -> (Seed, Gunyu, Server, Server) {
        let expected = self.counters.stop();
        assert!(
            expected.certain() > 1_000,
            "too little was written to tell anything"
        );
        assert_eq!(expected.in_doubt(), 0);
        self.gunyu.wait_applied(&self.source, LONG);
        exact(&expected, &self.source, &self.target);
        (self.seed, self.gunyu, self.source, self.target)
    }

    /// The same, and the source was asked for one snapshot only.
    fn finish_without_a_second_full_sync(self) {
        let (_seed, gunyu, source, _target) = self.finish();
        assert_eq!(full_syncs(&source), 1, "{}", gunyu.traces());
    }
}

fn exact(expected: &Expected, source: &Server, target: &Server) {
    expected.assert_on(source);
    expected.assert_on(target);
}

/// Full syncs that the source has made, by its own count.
fn full_syncs(source: &Server) -> u64 {
    source.info("stats")["sync_full"].parse().unwrap()
}

/// Full syncs that this life of gunyu has counted.
fn full_syncs_counted(gunyu: &Gunyu) -> f64 {
    let samples = gunyu.metrics();
    let lines = samples
        .lines()
        .filter(|line| line.starts_with("gunyu_full_sync_total{"));
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// Lets so many more bytes through, then cuts, and waits until it is cut.
fn cut_down(proxy: &Proxy, way: Way, bytes: u64) {
    let before = proxy.cuts();
    proxy.cut_after(way, bytes);
    wait_until(LONG, "the connection is cut", || proxy.cuts() > before);
}

#[test]
fn counters_are_exact_whenever_gunyu_is_killed() {
    let mut rig = Rig::start(&[]);
    for _ in 0..times(12) {
        rig.kill();
    }
    rig.finish_without_a_second_full_sync();
}

#[test]
fn counters_are_exact_whenever_the_link_to_the_source_is_cut() {
    let mut rig = Rig::start(&[]);
    for _ in 0..times(12) {
        rig.cut_source();
    }
    assert_eq!(full_syncs_counted(&rig.gunyu), 1.0);
    rig.finish_without_a_second_full_sync();
}

#[test]
fn counters_are_exact_wherever_the_connection_to_the_target_is_cut() {
    let mut rig = Rig::start(&[]);
    for _ in 0..times(12) {
        rig.cut_target();
    }
    assert_eq!(full_syncs_counted(&rig.gunyu), 1.0);
    rig.finish_without_a_second_full_sync();
}

#[test]
fn counters_are_exact_when_everything_fails_at_random() {
    let mut rig = Rig::start(&[]);
    for _ in 0..times(15) {
        match rig.rng.u8(..3) {
            0 => rig.kill(),
            1 => rig.cut_source(),
            _ => rig.cut_target(),
        }
    }
    rig.finish_without_a_second_full_sync();
}

#[test]
fn a_target_that_comes_back_from_an_older_dump_gets_the_difference_from_the_log() {
    let mut rig = Rig::start(&[]);
    for round in 0..times(3) {
        rig.some_writes();
        let dump = rig.target.snapshot();
        rig.counters.wait_more(20_000);
        // At times gunyu has been started anew since the dump: the log must still reach back to it.
        if round % 3 == 1 {
            rig.kill();
        }
        rig.target.restart_from(&dump);
        rig.some_writes();
    }
    rig.finish_without_a_second_full_sync();
}

#[test]
fn what_a_frozen_target_still_has_in_its_socket_is_not_applied_twice() {
    let mut rig = Rig::start(&[]);
    for round in 0..times(8) {
        rig.some_writes();
        rig.target.sigstop();
        // The batch under way, and what filled up behind it, now lies in the target's socket buffer.
        rig.some_writes();
        let before = rig.to_target.accepted();
        if round % 2 == 0 {
            rig.gunyu.kill9();
            rig.gunyu.restart();
        } else {
            rig.to_target.cut();
        }
        // The new session's first words reach the frozen target's socket as well.
        wait_until(LONG, "gunyu has connected again", || {
            rig.to_target.accepted() > before
        });
        rig.target.sigcont();
        rig.gunyu.wait_ready(LONG);
    }
    rig.finish_without_a_second_full_sync();
}

/// A user who may do everything but end other connections: what is left then is that transactions are fenced.
const MAY_NOT_KILL: &[&str] = &[
    "--user",
    "gunyu",
    "on",
    ">pw",
    "~*",
    "&*",
    "+@all",
    "-client|kill",
];

#[test]
fn a_batch_that_arrives_after_another_gunyu_has_taken_over_is_not_applied() {
    let seed = Seed::pick();
    let (source, target) = (Server::with(BACKLOG), Server::with(MAY_NOT_KILL));
    let options = Options {
        per_second: Some(10_000),
        ..Options::default()
    };
    let counters = Counters::with(&source.url(), &seed, &options);
    let login = |addr: String| format!("redis://gunyu:pw@{addr}");
    let set = &["input.name=one"];
    for _ in 0..times(6) {
        let late = Proxy::to(target.port());
        let mut old = Gunyu::start(&source.url(), &login(late.addr()), set);
        old.wait_ready(LONG);
        counters.wait_more(2_000);
        // Whatever is on its way, a batch most of the time, arrives only when the proxy goes on.
        late.stall();
        counters.wait_more(2_000);
        old.kill9();
        let mut new = Gunyu::start(&source.url(), &login(target.addr()), set);
        new.wait_ready(LONG);
        new.wait_applied(&source, LONG);
        late.resume();
        wait_until(SOON, "the late batch has arrived", || late.open() == 0);
        new.kill9();
    }
    let mut last = Gunyu::start(&source.url(), &login(target.addr()), set);
    let expected = counters.stop();
    last.wait_applied(&source, LONG);
    exact(&expected, &source, &target);
    assert_eq!(full_syncs(&source), 1);
}

/// What the last error of the first input says; nothing of one that has just been started, and does not listen yet.
fn last_error(gunyu: &Gunyu) -> String {
    let Ok(answer) = gunyu.request("GET", "/syncer/status") else {
        return String::new();
    };
    let status: Value = answer.json();
    status[0]["LastError"]["Message"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn two_gunyu_for_the_same_deployment_fence_each_other() {
    let seed = Seed::pick();
    let (source, target) = (Server::with(BACKLOG), Server::start());
    let set = &["input.name=pair"];
    let mut one = Gunyu::start(&source.url(), &target.url(), set);
    one.wait_ready(SOON);
    let counters = Counters::start(&source, &seed);
    counters.wait_more(2_000);
    let mut other = Gunyu::start(&source.url(), &target.url(), set);
    counters.wait_more(20_000);
    wait_for(LONG, "one of the two says that there is another", || {
        let said = [last_error(&one), last_error(&other)];
        match said.iter().any(|text| text.contains("another session")) {
            true => Ok(()),
            false => Err(format!("{said:?}")),
        }
    });
    counters.wait_more(20_000);
    one.kill9();
    let expected = counters.stop();
    other.wait_applied(&source, LONG);
    exact(&expected, &source, &target);
}

#[test]
fn a_log_in_memory_is_exact_when_gunyu_is_killed() {
    let mut rig = Rig::start(&["channel.type=memory"]);
    for _ in 0..times(8) {
        rig.kill();
    }
    rig.finish_without_a_second_full_sync();
}

#[test]
fn a_log_in_memory_is_exact_when_connections_are_cut() {
    let mut rig = Rig::start(&["channel.type=memory"]);
    for round in 0..times(8) {
        if round % 4 == 0 {
            rig.cut_source();
        } else {
            rig.cut_target();
        }
    }
    rig.finish_without_a_second_full_sync();
}

/// All lists `list:…`, by database and name.
fn lists(server: &Server) -> BTreeMap<(u32, String), Vec<u64>> {
    let mut conn = server.conn();
    let mut found = BTreeMap::new();
    for db in server.keyspace().into_keys() {
        redis::cmd("SELECT").arg(db).exec(&mut conn).unwrap();
        let names: Vec<String> = redis::cmd("KEYS").arg("list:*").query(&mut conn).unwrap();
        for name in names {
            let mut range = redis::cmd("LRANGE");
            let list = range.arg(&name).arg(0).arg(-1).query(&mut conn).unwrap();
            found.insert((db, name), list);
        }
    }
    found
}

#[test]
fn at_least_once_loses_nothing_and_keeps_the_order_of_first_occurrence() {
    let mut rig = Rig::start(&["output.replay.delivery=at_least_once"]);
    for round in 0..times(9) {
        match round % 3 {
            0 => rig.kill(),
            1 => rig.cut_target(),
            _ => rig.cut_source(),
        }
    }
    let expected = rig.counters.stop();
    rig.gunyu.wait_applied(&rig.source, LONG);
    expected.assert_on(&rig.source);
    let (here, there) = (lists(&rig.source), lists(&rig.target));
    assert_eq!(
        here.keys().collect::<Vec<_>>(),
        there.keys().collect::<Vec<_>>(),
        "the same lists"
    );
    for (key, sent) in &here {
        let mut seen = HashSet::new();
        let firsts: Vec<u64> = there[key].iter().copied().filter(|n| seen.insert(*n)).collect();
        assert!(&firsts == sent, "{key:?}: lost or out of order");
    }
    assert_eq!(full_syncs(&rig.source), 1);
}
