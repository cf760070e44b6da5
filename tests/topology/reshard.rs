//! A cluster whose slots move from shard to shard while it is written: in the end every key is as on the source.
//!
//! Keys are moved by `MIGRATE`, as `redis-cli --cluster reshard` moves them. A copy that takes the streams of two shards as they come loses keys here: a
//! key's deletion at the one shard overtakes, or is overtaken by, its arrival at the other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use serde_json::Value;

use crate::rig::{LONG, Rig, full_syncs};
use crate::support::server::connect;
use crate::support::workload::Seed;
use crate::support::{Gunyu, SOON, Server, wait_for, wait_until};

/// Few slots, so that the keys in them are written all the time; each is the slot of a tag.
const TAGS: usize = 24;

/// Clients that write to whoever serves the slot, also while it moves.
pub(crate) struct Writers {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Writers {
    fn start(rig: &Rig, seed: &Seed) -> Writers {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let first = rig.nodes[0].addr();
        let threads = (0..3)
            .map(|number| {
                let (stop, written) = (Arc::clone(&stop), Arc::clone(&written));
                let (first, random) = (first.clone(), seed.rng(number + 1));
                thread::spawn(move || write(first, random, &stop, &written))
            })
            .collect();
        Writers {
            stop,
            written,
            threads,
        }
    }

    pub(crate) fn wait_for_more(&self, more: u64) {
        let goal = self.written.load(Ordering::Relaxed) + more;
        wait_until(LONG, "writers get on", || {
            self.written.load(Ordering::Relaxed) > goal
        });
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

fn write(first: String, mut random: fastrand::Rng, stop: &AtomicBool, written: &AtomicU64) {
    let mut client = Client {
        conns: BTreeMap::new(),
        owners: BTreeMap::new(),
        first,
    };
    while !stop.load(Ordering::Relaxed) {
        let tag = random.usize(..TAGS);
        let key = random.u32(..12);
        let more = random.u32(..1000).to_string();
        let (name, kind, args): (&str, &str, &[&str]) = match random.u32(..9) {
            0 => ("INCR", "counter", &[]),
            1 => ("RPUSH", "list", &[&more]),
            2 => ("LPOP", "list", &[]),
            3 => ("SET", "s", &[&more, "EX", "9000"]),
            4 => ("DEL", "s", &[]),
            5 => ("ZINCRBY", "z", &["1", &more[..1]]),
            6 => ("APPEND", "a", &["x"]),
            7 => ("UNLINK", "counter", &[]),
            _ => ("HINCRBY", "h", &[&more[..1], "1"]),
        };
        let key = format!("{kind}:{key}:{{{tag}}}");
        client.run(tag, redis::cmd(name).arg(key).arg(args));
        written.fetch_add(1, Ordering::Relaxed);
    }
}

/// Follows MOVED and ASK.
struct Client {
    conns: BTreeMap<String, redis::Connection>,
    /// Who is believed to serve the slot of a tag.
    owners: BTreeMap<usize, String>,
    first: String,
}

impl Client {
    fn run(&mut self, tag: usize, command: &redis::Cmd) {
        let mut at = self.owners.get(&tag).unwrap_or(&self.first).clone();
        let mut asks = false;
        loop {
            let conn = self
                .conns
                .entry(at.clone())
                .or_insert_with(|| connect(&format!("redis://{at}")).unwrap());
            if asks {
                let () = redis::cmd("ASKING").query(conn).unwrap();
            }
            let Err(error) = command.query::<redis::Value>(conn) else {
                return;
            };
            if [
                redis::ServerErrorKind::TryAgain.into(),
                redis::ServerErrorKind::ClusterDown.into(),
            ]
            .contains(&error.kind())
            {
                continue;
            }
            let to = error.redirect_node().map(|(to, _)| to.to_owned());
            assert!(to.is_some(), "{error}");
            let to = to.unwrap_or_default();
            asks = error.kind() == redis::ServerErrorKind::Ask.into();
            if !asks {
                self.owners.insert(tag, to.clone());
            }
            at = to;
        }
    }
}

/// The slots of the tags that a node serves.
pub(crate) fn slots_of(rig: &Rig, node: usize) -> Vec<usize> {
    let slot = |tag: usize| -> usize { rig.nodes[0].run(&["CLUSTER", "KEYSLOT", &format!("{{{tag}}}")]) };
    let all = (0..TAGS).map(slot);
    all.filter(|slot| rig.serves(node, *slot)).collect()
}

/// How often a node was asked for its view of the cluster; by gunyu, while the rig is at rest.
fn asked(node: &Server) -> u64 {
    let all = node.info("commandstats");
    let calls = all.get("cmdstat_cluster|nodes").and_then(|stats| {
        let calls = stats.split(',').next()?.strip_prefix("calls=")?;
        calls.parse().ok()
    });
    calls.unwrap_or(0)
}

/// What a test moves, and gunyu.
pub(crate) struct Storm {
    pub(crate) rig: Rig,
    pub(crate) target: Server,
    pub(crate) gunyu: Gunyu,
    pub(crate) writers: Writers,
    /// How slots are moved.
    carry: Carry,
}

/// Moves slots from a node to another.
type Carry = fn(&Rig, usize, usize, &[usize]);

impl Storm {
    fn start(set: &[&str]) -> Storm {
        Storm::of(Rig::start(2, 0), Server::start(), Rig::move_slots, set)
    }

    /// The same with a given cluster and target.
    pub(crate) fn of(rig: Rig, target: Server, carry: Carry, set: &[&str]) -> Storm {
        let seed = Seed::pick();
        let mut gunyu = Gunyu::start(&rig.url(), &target.url(), set);
        gunyu.wait_ready(LONG);
        let writers = Writers::start(&rig, &seed);
        writers.wait_for_more(2000);
        Storm {
            rig,
            target,
            gunyu,
            writers,
            carry,
        }
    }

    /// Moves all that a node has of the tags to another, and lets gunyu see it.
    pub(crate) fn moves(&self, from: usize, to: usize) {
        self.moves_unseen(from, to);
        self.wait_seen();
    }

    /// The same where gunyu does not run.
    pub(crate) fn moves_unseen(&self, from: usize, to: usize) {
        let slots = slots_of(&self.rig, from);
        assert!(!slots.is_empty());
        (self.carry)(&self.rig, from, to, &slots);
        self.writers.wait_for_more(500);
    }

    /// Waits until gunyu has asked both nodes where they are: what goes and comes between two such questions cannot be put in order.
    pub(crate) fn wait_seen(&self) {
        self.writers.wait_for_more(500);
        let asked = || -> Vec<u64> { self.rig.nodes.iter().map(asked).collect() };
        let before = asked();
        // One may have been under way, and one may be the supervisor's.
        wait_until(SOON, "gunyu has asked", || {
            asked().iter().zip(&before).all(|(now, before)| now - before >= 3)
        });
    }

    pub(crate) fn there_and_back(&self) {
        self.moves(0, 1);
        self.moves(1, 0);
    }

    pub(crate) fn set_paused(&mut self, node: usize, paused: bool) {
        let addr = self.rig.nodes[node].addr();
        let (verb, state) = if paused {
            ("pause", "pause")
        } else {
            ("resume", "run")
        };
        self.gunyu.must("POST", &format!("/syncer/{verb}?inputs={addr}"));
        self.gunyu.wait_status(SOON, "the wish is heard", |status| {
            let all = status.as_array().unwrap();
            all.iter()
                .any(|one| one["Input"] == addr.as_str() && one["State"] == state)
        });
    }

    pub(crate) fn end(self) {
        assert_goes_on(&self.end_anyhow());
    }

    /// The same where shards may have begun anew.
    pub(crate) fn end_anyhow(mut self) -> Gunyu {
        self.writers.end();
        self.gunyu.wait_ready(LONG);
        self.rig.wait_copied(&self.target);
        self.gunyu
    }
}

/// No shard had to begin anew: a full sync would hide what was lost before it.
fn assert_goes_on(gunyu: &Gunyu) {
    assert!(
        !gunyu.metrics().contains("reason=\"entangled\""),
        "{}",
        gunyu.traces()
    );
}

#[test]
fn slots_that_move_under_load_lose_and_resurrect_nothing() {
    let storm = Storm::start(&[]);
    for _ in 0..3 {
        storm.there_and_back();
    }
    storm.end();
}

#[test]
fn a_shard_that_gives_slots_away_may_lag() {
    let mut storm = Storm::start(&[]);
    for _ in 0..2 {
        storm.set_paused(0, true);
        storm.moves(0, 1);
        storm.set_paused(0, false);
        storm.moves(1, 0);
    }
    storm.end();
}

#[test]
fn a_shard_that_takes_slots_over_may_lag() {
    let mut storm = Storm::start(&[]);
    for _ in 0..2 {
        storm.set_paused(1, true);
        storm.moves(0, 1);
        // And back, before it has begun to apply what has come.
        storm.moves(1, 0);
        storm.set_paused(1, false);
    }
    storm.end();
}

#[test]
fn slots_may_move_both_ways_at_once() {
    let mut storm = Storm::start(&[]);
    for paused in [None, Some(0), Some(1)] {
        if let Some(node) = paused {
            storm.set_paused(node, true);
        }
        let (one, other) = (slots_of(&storm.rig, 0), slots_of(&storm.rig, 1));
        // By turns, so that neither stream has only arrivals.
        for number in 0..2 {
            for (from, slots) in [(0, &one), (1, &other)] {
                let half = slots.len() / 2;
                let some = if number == 0 {
                    &slots[..half]
                } else {
                    &slots[half..]
                };
                storm.rig.move_slots(from, 1 - from, some);
            }
        }
        storm.wait_seen();
        if let Some(node) = paused {
            storm.set_paused(node, false);
        }
    }
    storm.end();
}

#[test]
fn gunyu_may_die_while_slots_move() {
    // Exactly once: what is applied twice could not be told from what overtakes something.
    let mut storm = Storm::start(&[]);
    for round in 0..6 {
        let (from, to) = (round % 2, 1 - round % 2);
        let slots = slots_of(&storm.rig, from);
        let (some, rest) = slots.split_at(slots.len() / 2);
        storm.rig.move_slots(from, to, some);
        storm.gunyu.kill9();
        if round >= 3 {
            storm.rig.move_slots(from, to, rest);
            storm.gunyu.restart();
        } else {
            storm.gunyu.restart();
            storm.rig.move_slots(from, to, rest);
        }
        storm.gunyu.wait_ready(LONG);
        storm.writers.wait_for_more(500);
    }
    // What went there and came back while nobody looked may have needed a full sync.
    storm.end_anyhow();
}

#[test]
fn full_syncs_begun_while_slots_move_miss_nothing_and_keep_nothing() {
    let mut storm = Storm::start(&[]);
    // Of slots that stay: it takes a while to send and to restore.
    for tag in ["{filler}", "{more}"] {
        let slot: usize = storm.rig.nodes[0].run(&["CLUSTER", "KEYSLOT", tag]);
        let node = usize::from(storm.rig.serves(1, slot));
        let () = storm.rig.nodes[node].run(&["DEBUG", "POPULATE", "20000", tag, "50"]);
    }
    let wanted = [storm.rig.nodes[0].addr(), "all".to_owned()];
    for (round, inputs) in wanted.iter().enumerate() {
        // One that is asked for while another is under way is no other.
        storm.gunyu.wait_status(LONG, "all are live", all_live);
        let (from, to) = (round % 2, 1 - round % 2);
        let slots = slots_of(&storm.rig, from);
        let (some, rest) = slots.split_at(slots.len() / 2);
        storm.rig.move_slots(from, to, some);
        let before = full_syncs(&storm.gunyu);
        storm
            .gunyu
            .must("POST", &format!("/syncer/fullsync?inputs={inputs}"));
        storm.rig.move_slots(from, to, rest);
        wait_for(LONG, "the snapshot is asked for", || {
            match full_syncs(&storm.gunyu) > before {
                true => Ok(()),
                false => Err(format!("{}\n{}", storm.gunyu.status(), storm.gunyu.traces())),
            }
        });
        // While it is sent and restored, there and back.
        storm.rig.move_slots(to, from, some);
        storm.rig.move_slots(from, to, some);
        storm.writers.wait_for_more(500);
    }
    storm.end_anyhow();
}

fn all_live(status: &Value) -> bool {
    let mut all = status.as_array().unwrap().iter();
    all.all(|one| one["Phase"] == "incremental")
}
