//! Every shape onto every other while both sides change, gunyu is killed, and clients write.

use std::time::Instant;

use super::is_whole;
use super::support::fleet::script::full_syncs;
use super::support::fleet::{Change, Changing, Event, Fleet, LONG, Load, Rate, Script, Watched};
use super::support::workload::Seed;
use super::support::{Gunyu, Server, soak};

/// How much happens.
#[derive(Clone, Copy)]
struct Extent {
    failovers: usize,
    slots: usize,
    kills: usize,
    /// Writes between two events.
    between: u64,
}

impl Extent {
    fn wanted() -> Extent {
        match is_whole() {
            true => Extent::WHOLE,
            false => Extent::SHORT,
        }
    }

    const SHORT: Extent = Extent {
        failovers: 1,
        slots: 60,
        kills: 2,
        between: 150,
    };

    const WHOLE: Extent = Extent {
        failovers: 5,
        slots: 2_000,
        kills: 20,
        between: 400,
    };

    /// What happens to either side of it, where it is a cluster.
    fn of_a_cluster(self, side: fn(Change) -> Event) -> Vec<(usize, Event)> {
        vec![
            (self.failovers, side(Change::FailOver)),
            // Away and back, and there and away again.
            (2, side(Change::Reshard(self.slots))),
            (2, side(Change::Shard(self.slots))),
            (1, side(Change::Replace)),
        ]
    }

    fn of_sentinels(self, side: fn(Change) -> Event) -> Vec<(usize, Event)> {
        vec![(self.failovers, side(Change::FailOver))]
    }

    /// gunyu between the two, begun while clients write, and then everything that happens, gunyu's own deaths too. Beside the first full sync of each
    /// shard there is none but for these reasons.
    fn run(
        self,
        source: &mut dyn Changing,
        target: &mut dyn Changing,
        events: &[Vec<(usize, Event)>],
        allowed: &[&str],
    ) {
        let seed = Seed::pick();
        let mut events = events.concat();
        events.push((self.kills, Event::Kill));
        // The first full sync is under way while clients write.
        let load = Load::start(&*source, &seed, Rate::default());
        load.wait_more(500);
        let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
        gunyu.wait_ready(LONG);
        let done = load.stop();
        assert!(done.refused.is_empty(), "{done:?}");
        let mut script = Script::of(&events);
        script.between = self.between;
        script.run(&seed, source, target, &mut gunyu);
        let found = full_syncs(&gunyu);
        let may_be = |reason: &String| reason == "first sync" || allowed.contains(&reason.as_str());
        assert!(found.keys().all(may_be), "{found:?}\n{}", gunyu.traces());
    }
}

/// A master that is killed may have said what its heir never hears of.
const AFTER_A_LOSS: [&str; 2] = ["history diverged", "source refused"];

/// And a shard that goes again before its first full sync is done, which the script lets happen where gunyu is killed in between, waits for others
/// that wait for it.
const OF_A_CLUSTER: [&str; 3] = ["history diverged", "source refused", "entangled"];

fn two<T: Send>(start: impl Fn() -> T + Sync) -> (T, T) {
    std::thread::scope(|scope| {
        let one = scope.spawn(&start);
        let other = start();
        (one.join().unwrap(), other)
    })
}

fn cluster_onto_cluster(extent: Extent) {
    let (mut source, mut target) = two(|| Fleet::start(3, 1));
    let events = [
        extent.of_a_cluster(Event::Source),
        extent.of_a_cluster(Event::Target),
    ];
    extent.run(&mut source, &mut target, &events, &OF_A_CLUSTER);
}

#[test]
fn a_cluster_onto_a_cluster() {
    cluster_onto_cluster(Extent::wanted());
}

#[test]
fn a_cluster_onto_one_server() {
    let (mut source, mut target) = (Fleet::start(3, 1), Server::start());
    let extent = Extent::wanted();
    let events = [extent.of_a_cluster(Event::Source)];
    extent.run(&mut source, &mut target, &events, &OF_A_CLUSTER);
}

#[test]
fn one_server_onto_a_cluster() {
    let (mut source, mut target) = (Server::start(), Fleet::start(3, 1));
    let extent = Extent::wanted();
    let events = [extent.of_a_cluster(Event::Target)];
    extent.run(&mut source, &mut target, &events, &[]);
}

/// `SENTINEL FAILOVER` throws away what the old master still takes after the switch.
#[test]
fn sentinels_onto_sentinels() {
    let (mut source, mut target) = two(|| Watched::start(1, 3));
    let extent = Extent::wanted();
    let events = [
        extent.of_sentinels(Event::Source),
        extent.of_sentinels(Event::Target),
    ];
    extent.run(&mut source, &mut target, &events, &AFTER_A_LOSS);
}

/// Whole runs, one after the other, each with a seed of its own.
#[test]
fn soak_of_clusters_onto_clusters() {
    let Some(length) = soak() else {
        crate::support::skipped("make soak runs it");
        return;
    };
    let start = Instant::now();
    while start.elapsed() < length {
        cluster_onto_cluster(Extent::WHOLE);
    }
}
