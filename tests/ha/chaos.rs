//! The judged run: three members, a cluster of three shards, and every few seconds something that happens to a member or to one of its links,
//! while counters and lists are written. In the end all is exact, epochs only grew, and no shard was synced in full twice.
//!
//! One shape for a minute in every test run. `make soak MINUTES=n` runs all four, each for a fourth of that; `GUNYU_HA_SECONDS` runs each for so long.
//! `GUNYU_TEST_SEED` sets the seed that a run prints. What is random is what happens when; how the members take it is not.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::support::fleet::LONG;
use super::support::group::{Break, Group, Kind, Link, Plan, Tally, World};
use super::support::soak;
use super::support::workload::Seed;

/// Members of the group.
const MEMBERS: usize = 3;

/// So many of them are disturbed at once, at most.
const DISTURBED_MAX: usize = 2;

/// What a group may be of: shards of the target (0: one server), and the store.
const SHAPES: [(usize, Kind); 4] = [
    (0, Kind::Etcd),
    (0, Kind::Redis),
    (3, Kind::Etcd),
    (3, Kind::Redis),
];

/// Writes a second.
const RATE: u64 = 900;

/// How long a run takes, where it is told.
fn told() -> Option<Duration> {
    let seconds = std::env::var("GUNYU_HA_SECONDS").ok()?;
    let seconds = seconds.parse().expect("GUNYU_HA_SECONDS is a number");
    Some(Duration::from_secs_f64(seconds))
}

/// What happens to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// `kill -9`, and started again.
    Kill,
    /// SIGTERM, and started again.
    Stop,
    /// SIGSTOP, and SIGCONT.
    Freeze,
    /// A link breaks, and is mended.
    Sever(Link, Break),
    /// It is asked to hand over all it leads. Nothing to mend.
    HandOver,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Kill => write!(f, "killed"),
            Event::Stop => write!(f, "stopped"),
            Event::Freeze => write!(f, "frozen"),
            Event::Sever(link, how) => write!(f, "{link:?} {how:?}"),
            Event::HandOver => write!(f, "asked to hand over"),
        }
    }
}

/// A run in progress.
struct Run {
    group: Group,
    rng: fastrand::Rng,
    has_machines: bool,
    /// What is wrong with which member, and until when.
    disturbed: BTreeMap<usize, (Event, Instant)>,
    counts: BTreeMap<String, usize>,
}

impl Run {
    fn event(&mut self) -> Event {
        let how = if self.rng.bool() { Break::Cut } else { Break::Stall };
        let links = [Link::Store, Link::Source, Link::Target, Link::Peers];
        let reachable = if self.has_machines { 4 } else { 3 };
        match self.rng.u8(..12) {
            0..3 => Event::Kill,
            3 => Event::Stop,
            4..7 => Event::Freeze,
            7..11 => Event::Sever(links[self.rng.usize(..reachable)], how),
            _ => Event::HandOver,
        }
    }

    /// Something happens to a member that is well, unless too many are not.
    fn happen(&mut self) {
        // Drawn in any case, so that what is drawn next does not depend on how long things took.
        let (member, event) = (self.rng.usize(..MEMBERS), self.event());
        let span = Duration::from_millis(self.rng.u64(200..8_000));
        if self.disturbed.contains_key(&member) || self.disturbed.len() >= DISTURBED_MAX {
            return;
        }
        self.group
            .watch
            .note(&format!("member {member}: {event}, for {span:.1?}"));
        *self.counts.entry(event.to_string()).or_default() += 1;
        let one = &mut self.group.members[member];
        match event {
            Event::Kill => one.kill9(),
            Event::Stop => one.signal(libc::SIGTERM),
            Event::Freeze => one.freeze(),
            Event::Sever(link, how) => self.group.sever(member, link, how),
            Event::HandOver => {
                // 409 where nobody can take it just now is as good an answer; one that was just started has none yet.
                match one.try_call("POST", "/syncer/handover?inputs=all", Duration::from_secs(10)) {
                    Ok(answer) => {
                        let code = answer.status;
                        assert!(
                            [200, 409].contains(&code),
                            "{code} to a handover: {}",
                            answer.text()
                        );
                    }
                    Err(why) => self.group.watch.note(&format!("no answer: {why}")),
                }
                return;
            }
        }
        self.disturbed.insert(member, (event, Instant::now() + span));
    }

    fn mend(&mut self, member: usize, event: Event) {
        self.group
            .watch
            .note(&format!("member {member}: no more {event}"));
        let one = &mut self.group.members[member];
        match event {
            Event::Kill | Event::Stop => one.start(),
            Event::Freeze => one.thaw(),
            Event::Sever(link, _) => self.group.heal(member, link),
            Event::HandOver => {}
        }
    }

    /// Mends what is due by then.
    fn mend_until(&mut self, when: Option<Instant>) {
        let is_due = |until: &Instant| when.is_none_or(|when| *until <= when);
        let due: Vec<(usize, Event)> = self
            .disturbed
            .iter()
            .filter(|(_, (_, until))| is_due(until))
            .map(|(member, (event, _))| (*member, *event))
            .collect();
        for (member, event) in due {
            self.disturbed.remove(&member);
            self.mend(member, event);
        }
    }

    /// Nobody may end but whom the test has ended.
    fn assert_alive(&mut self) {
        for number in 0..MEMBERS {
            let ended = matches!(self.disturbed.get(&number), Some((Event::Kill | Event::Stop, _)));
            let member = &mut self.group.members[number];
            assert!(
                ended || member.runs(),
                "a member has ended by itself: {}",
                member.last_words()
            );
        }
    }

    /// Mended, settled, exact.
    fn end(mut self, tally: Tally) {
        self.mend_until(None);
        self.group.watch.note("all is mended");
        self.group.wait_settled(LONG);
        let sent = self.group.finish(tally);
        println!(
            "{} writes; {:?}\n{}\nfull syncs: {}, continued: {}; epochs: {:?}",
            sent.total(),
            self.counts,
            self.group.watch.gaps(),
            self.group.full_syncs(),
            self.group.continued(),
            self.group
                .ledger
                .epochs()
                .values()
                .map(|epochs| epochs.last().copied())
                .collect::<Vec<_>>(),
        );
        assert_eq!(
            self.group.full_syncs(),
            3,
            "only the first of each shard\n{}",
            self.group.last_words()
        );
    }
}

fn storm(seed: &Seed, target: usize, store: Kind, length: Duration, world: World) {
    println!("{seed:?}: onto {target} shards, over {store:?}, for {length:?}");
    if world.missing("links between members that are cut while everything else happens") {
        println!("all other links are cut");
    }
    let group = Group::start(&Plan {
        target,
        ..Plan::of(store).on(world)
    });
    let tally = Tally::start(group.source.shape(), seed, RATE);
    tally.wait_more(RATE);
    let mut run = Run {
        rng: seed.rng(0xC4A05),
        has_machines: world.has_machines(),
        disturbed: BTreeMap::new(),
        counts: BTreeMap::new(),
        group,
    };
    let start = Instant::now();
    let mut next = start;
    while start.elapsed() < length {
        let now = Instant::now();
        run.mend_until(Some(now));
        if now >= next {
            run.happen();
            next = now + Duration::from_millis(run.rng.u64(1_500..4_500));
        }
        tally.wait_time(Duration::from_millis(100));
        run.assert_alive();
    }
    run.end(tally);
}

/// A minute for every test run.
#[test]
fn onto_one_server_over_etcd() {
    let length = told().unwrap_or(Duration::from_secs(60));
    World::with_machines(MEMBERS, onto_one_server_over_etcd, |world| {
        storm(&Seed::pick(), 0, Kind::Etcd, length, world);
    });
}

fn only_where_told(test: impl Fn(), target: usize, store: Kind) {
    match told() {
        None => crate::support::skipped("GUNYU_HA_SECONDS=600 runs it for so long"),
        Some(length) => World::with_machines(MEMBERS, test, |world| {
            storm(&Seed::pick(), target, store, length, world);
        }),
    }
}

#[test]
fn onto_one_server_over_redis() {
    only_where_told(onto_one_server_over_redis, 0, Kind::Redis);
}

#[test]
fn onto_a_cluster_over_etcd() {
    only_where_told(onto_a_cluster_over_etcd, 3, Kind::Etcd);
}

#[test]
fn onto_a_cluster_over_redis() {
    only_where_told(onto_a_cluster_over_redis, 3, Kind::Redis);
}

/// All four shapes, each for a fourth of the time.
#[test]
fn soak_of_groups() {
    let Some(length) = soak() else {
        crate::support::skipped("make soak runs it");
        return;
    };
    World::with_machines(MEMBERS, soak_of_groups, |world| {
        let seed = Seed::pick();
        for (target, store) in SHAPES {
            storm(&seed, target, store, length / 4, world);
        }
    });
}
