//! One node of a target cluster is lost for a while: the others get what is theirs as if nothing had happened.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::is_whole;
use super::support::fleet::slot::tag;
use super::support::fleet::{Fleet, LONG, Layout, Load, Rate, Shape, wait_equal};
use super::support::wire::{Batch, put};
use super::support::workload::Seed;
use super::support::{Gunyu, SOON, Server, at_this_load, wait_for, wait_until};

/// So much longer than before the loss a write to another node may take to get there, where the lost one comes back as it was: it takes
/// some milliseconds, and the rest is for a busy machine.
const DELAY_MAX: Duration = Duration::from_secs(3);

/// The same where a new session must begin. In an unoptimised build it takes a quarter of a second of processor time, of which a busy machine gives little.
const SESSION_DELAY_MAX: Duration = Duration::from_secs(8);

/// What was written since the last checkpoint comes once more when another has taken the lost one's place. On a busy machine that takes its time.
const RATE: Rate = Rate {
    clients: 3,
    per_second: 300,
    keys: 400,
};

/// So many writes tell how long they take before the loss.
const BEFORE: u64 = 100;

/// So long the node is lost.
fn span() -> Duration {
    Duration::from_secs(if is_whole() { 30 } else { 5 })
}

/// Writes to the source, one after the other, with a look at this node for each: how long the slowest took to get there.
struct Probe {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    done: AtomicU64,
    /// How long the slowest took, and when it had come, counted from the beginning.
    slowest: Mutex<(Duration, Duration)>,
}

impl Probe {
    /// For a slot that the node at `place` serves.
    fn start(source: &dyn Shape, target: &Fleet, place: usize) -> Probe {
        let key = format!("{{{}}}probe", tag(target.shard(place).slots[7]));
        let (mut client, mut node) = (source.client(), target.nodes[place].conn());
        let shared = Arc::new(Shared::default());
        let probe = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let begin = Instant::now();
            for number in 0u64.. {
                let mut batch = Batch::default();
                put!(batch, "SET", &key, number);
                client.send(key.as_bytes(), &batch).unwrap();
                let start = Instant::now();
                wait_for(LONG, "the probe is there", || {
                    // One that a busy machine left waiting for long believes the cluster down for a moment.
                    let asked = redis::cmd("GET").arg(&key).query::<Option<u64>>(&mut node);
                    let there = asked.map_err(|error| error.to_string())?;
                    let is_there = there == Some(number);
                    is_there.then_some(()).ok_or_else(|| format!("{key}: {there:?}"))
                });
                let mut slowest = probe.slowest.lock().unwrap();
                *slowest = (*slowest).max((start.elapsed(), begin.elapsed()));
                drop(slowest);
                probe.done.fetch_add(1, Ordering::SeqCst);
                if probe.stop.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
        Probe { shared, thread }
    }

    /// The slowest of those that come from now on until so many have come.
    fn slowest_of(&self, count: u64) -> Duration {
        self.take();
        let goal = self.shared.done.load(Ordering::SeqCst) + count;
        wait_for(LONG, "probes have come", || {
            let done = self.shared.done.load(Ordering::SeqCst);
            (done >= goal).then_some(()).ok_or_else(|| done.to_string())
        });
        self.take().0
    }

    fn take(&self) -> (Duration, Duration) {
        std::mem::take(&mut *self.shared.slowest.lock().unwrap())
    }

    /// The slowest since it was last asked, and how long after the beginning it had come.
    fn end(self) -> (Duration, Duration) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
        std::mem::take(&mut *self.shared.slowest.lock().unwrap())
    }
}

/// Three masters of which each serves what is its own, even where another is lost.
fn target(replicas: usize) -> Fleet {
    target_with(replicas, &[])
}

fn target_with(replicas: usize, options: &[&str]) -> Fleet {
    let layout = Layout::of(3, replicas).with(&["--cluster-require-full-coverage", "no"]);
    Fleet::with(layout.with(options))
}

/// Loses the node at `lost` as `lose` does, and brings it back as `find` does, while clients write.
fn lost_for_a_while(
    source: &dyn Shape,
    target: &mut Fleet,
    delay_max: Duration,
    lose: impl FnOnce(&mut Fleet, usize),
    find: impl FnOnce(&mut Fleet, usize),
) {
    let seed = Seed::pick();
    println!("{seed:?}");
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    gunyu.wait_ready(LONG);
    let load = Load::start(source, &seed, RATE);
    load.wait_more(500);
    let masters = target.masters_at();
    let lost = masters[seed.rng(0x105E).usize(..masters.len())];
    let others = masters.iter().filter(|place| **place != lost);
    let probes: Vec<Probe> = others.map(|place| Probe::start(source, target, *place)).collect();
    let before = probes.iter().map(|probe| probe.slowest_of(BEFORE)).max().unwrap();
    let start = Instant::now();
    lose(target, lost);
    // How long it lasts is what is claimed.
    std::thread::sleep(span().saturating_sub(start.elapsed()));
    let away = start.elapsed();
    find(target, lost);
    let back = start.elapsed();
    // gunyu has noticed, and goes on from there, when all is equal but for what is on its way.
    load.wait_more(1_000);
    let slowest: Vec<(Duration, Duration)> = probes.into_iter().map(Probe::end).collect();
    let done = load.stop();
    println!("lost for {away:?}, back after {back:?}; slowest before: {before:?}, since: {slowest:?}");
    assert!(done.refused.is_empty() && done.given_up.is_empty(), "{done:?}");
    wait_equal(source, target, SOON);
    let longest = slowest.iter().map(|(took, _)| *took).max().unwrap();
    let most = before + at_this_load(delay_max);
    assert!(longest < most, "{slowest:?}\n{}", gunyu.traces());
}

fn freeze(target: &mut Fleet, node: usize) {
    target.nodes[node].sigstop();
}

fn thaw(target: &mut Fleet, node: usize) {
    target.nodes[node].sigcont();
}

/// Nothing is recorded in a quiet stream, and nothing else would tell that the node is gone before its answer is given up after a minute.
#[test]
fn a_write_to_a_frozen_node_gets_to_its_heir_though_nothing_else_is_written() {
    let (source, mut target) = (Server::start(), target(1));
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    gunyu.wait_ready(LONG);
    let lost = target.masters_at()[0];
    let shard = target.shard(lost);
    let key = format!("{{{}}}quiet", tag(shard.slots[7]));
    let () = source.run(&["SET", &key, "before"]);
    gunyu.wait_applied(&source, SOON);
    gunyu.wait_status(SOON, "all is recorded", |status| {
        let offset = &status[0]["Offset"];
        offset["Checkpoint"] == offset["Source"]
    });
    freeze(&mut target, lost);
    let () = source.run(&["SET", &key, "after"]);
    let heir = shard.replicas[0];
    wait_until(LONG, "the replica has taken over", || {
        target.nodes[heir].info("replication")["role"] == "master"
    });
    wait_for(SOON, "the heir has what was written", || {
        let there: Option<String> = target.nodes[heir].run(&["GET", &key]);
        (there.as_deref() == Some("after"))
            .then_some(())
            .ok_or_else(|| format!("{there:?}\n{}", gunyu.traces()))
    });
    thaw(&mut target, lost);
}

/// A target whose nodes do not take one that is frozen for dead before it is back.
fn patient_target() -> Fleet {
    let timeout = (span() * 3).as_millis().to_string();
    target_with(0, &["--cluster-node-timeout", &timeout])
}

#[test]
fn a_node_that_is_frozen_delays_no_other() {
    let (source, mut target) = (Server::start(), patient_target());
    lost_for_a_while(&source, &mut target, DELAY_MAX, freeze, thaw);
}

#[test]
fn a_node_that_is_frozen_delays_no_other_of_a_cluster_source() {
    let (source, mut target) = (Fleet::start(3, 0), patient_target());
    lost_for_a_while(&source, &mut target, DELAY_MAX, freeze, thaw);
}

#[test]
fn a_node_that_is_frozen_until_it_is_taken_for_dead_delays_no_other() {
    let (source, mut target) = (Server::start(), target(0));
    lost_for_a_while(&source, &mut target, SESSION_DELAY_MAX, freeze, thaw);
}

#[test]
fn a_node_that_was_killed_and_comes_back_as_a_replica_delays_no_other() {
    let (source, mut target) = (Server::start(), target(1));
    lost_for_a_while(
        &source,
        &mut target,
        SESSION_DELAY_MAX,
        |target, node| {
            target.crash(node);
        },
        |target, node| target.revive(node),
    );
}

#[test]
fn a_node_that_is_frozen_while_its_replica_takes_over_delays_no_other() {
    let (source, mut target) = (Server::start(), target(1));
    lost_for_a_while(&source, &mut target, SESSION_DELAY_MAX, freeze, |target, node| {
        thaw(target, node);
        target.wait_whole();
    });
}

#[test]
fn a_node_that_was_killed_and_comes_back_with_its_data_delays_no_other() {
    let source = Server::start();
    let mut target = target_with(0, &["--appendonly", "yes", "--appendfsync", "everysec"]);
    lost_for_a_while(
        &source,
        &mut target,
        SESSION_DELAY_MAX,
        |target, node| target.nodes[node].kill9(),
        |target, node| {
            target.nodes[node].restart();
            target.wait_whole();
        },
    );
}
