//! Every shape onto every other while both sides change, gunyu is killed, and clients write.

use super::is_whole;
use super::support::fleet::{Change, Changing, Event, Fleet, LONG, Load, Rate, Script, Watched};
use super::support::workload::Seed;
use super::support::{Gunyu, Server};

/// What happens to either side of it, where it is a cluster.
fn of_a_cluster(side: fn(Change) -> Event) -> Vec<(usize, Event)> {
    let (failovers, slots) = if is_whole() { (5, 2_000) } else { (1, 60) };
    vec![
        (failovers, side(Change::FailOver)),
        // Away and back, and there and away again.
        (2, side(Change::Reshard(slots))),
        (2, side(Change::Shard(slots))),
        (1, side(Change::Replace)),
    ]
}

fn of_sentinels(side: fn(Change) -> Event) -> Vec<(usize, Event)> {
    let failovers = if is_whole() { 5 } else { 1 };
    vec![(failovers, side(Change::FailOver))]
}

/// gunyu between the two, begun while clients write, and then everything that happens.
fn run(source: &mut dyn Changing, target: &mut dyn Changing, mut events: Vec<(usize, Event)>) -> Gunyu {
    let seed = Seed::pick();
    events.push((if is_whole() { 20 } else { 2 }, Event::Kill));
    // The first full sync is under way while clients write.
    let load = Load::start(&*source, &seed, Rate::default());
    load.wait_more(500);
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    gunyu.wait_ready(LONG);
    let done = load.stop();
    assert!(done.refused.is_empty(), "{done:?}");
    let mut script = Script::of(&events);
    if !is_whole() {
        script.between = 150;
    }
    script.run(&seed, source, target, &mut gunyu);
    gunyu
}

fn two<T: Send>(start: impl Fn() -> T + Sync) -> (T, T) {
    std::thread::scope(|scope| {
        let one = scope.spawn(&start);
        let other = start();
        (one.join().unwrap(), other)
    })
}

#[test]
fn a_cluster_onto_a_cluster() {
    let (mut source, mut target) = two(|| Fleet::start(3, 1));
    let events = [of_a_cluster(Event::Source), of_a_cluster(Event::Target)].concat();
    run(&mut source, &mut target, events);
}

#[test]
fn a_cluster_onto_one_server() {
    let (mut source, mut target) = (Fleet::start(3, 1), Server::start());
    run(&mut source, &mut target, of_a_cluster(Event::Source));
}

#[test]
fn one_server_onto_a_cluster() {
    let (mut source, mut target) = (Server::start(), Fleet::start(3, 1));
    run(&mut source, &mut target, of_a_cluster(Event::Target));
}

#[test]
fn sentinels_onto_sentinels() {
    let (mut source, mut target) = two(|| Watched::start(1, 3));
    let events = [of_sentinels(Event::Source), of_sentinels(Event::Target)].concat();
    run(&mut source, &mut target, events);
}
