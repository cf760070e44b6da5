//! A leader that is lost in whatever way is replaced within the lease time and a little, by one that goes on from its own copy of the log.

use std::time::Instant;

use super::support::fleet::LONG;
use super::support::group::{
    Break, Group, Kind, LEASE, Link, Plan, TAKEN_OVER, Tally, World, assert_in_time,
};
use super::support::workload::Seed;

/// A group with one input, under load, and its leader.
struct Scene {
    group: Group,
    tally: Tally,
    leader: usize,
    begun: Instant,
}

impl Scene {
    fn begin(plan: &Plan) -> Scene {
        let seed = Seed::pick();
        let group = Group::start(plan);
        let tally = Tally::start(group.source.shape(), &seed, 900);
        tally.wait_more(1_000);
        let leader = group.leader();
        Scene {
            leader,
            tally,
            begun: Instant::now(),
            group,
        }
    }

    /// Something happens to the leader now.
    fn lose(&mut self, what: &str, lose: impl FnOnce(&mut Group, usize)) {
        self.group
            .watch
            .note(&format!("member {}, which leads, {what}", self.leader));
        self.begun = Instant::now();
        lose(&mut self.group, self.leader);
    }

    /// Another leads in time, and writes.
    fn taken_over(&mut self) -> usize {
        let heir = self.group.wait_successor(self.leader, LONG);
        let took = self.begun.elapsed();
        assert_in_time(took);
        let before = self.group.ledger.writes_of(heir).0;
        self.group.wait_for(LONG, "the heir writes", |group| {
            let writes = group.ledger.writes_of(heir).0;
            (writes > before + 200)
                .then_some(())
                .ok_or_else(|| format!("{writes} writes"))
        });
        println!("{took:.2?} until another led; {}", self.group.watch.gaps());
        heir
    }

    /// All is well again: exact, and the source was asked to go on, never for a second snapshot.
    fn end(mut self) {
        self.group.wait_settled(LONG);
        self.group.finish(self.tally);
        assert_eq!(self.group.full_syncs(), 1, "{}", self.group.last_words());
        assert!(self.group.continued() >= 1);
    }
}

fn a_leader_that_is_killed(store: Kind) {
    let mut scene = Scene::begin(&Plan::of_one_input(store));
    scene.lose("is killed", |group, leader| group.members[leader].kill9());
    scene.taken_over();
    let leader = scene.leader;
    scene.group.members[leader].start();
    scene.end();
}

fn a_leader_that_is_frozen_writes_nothing_when_it_wakes(store: Kind) {
    frozen(&Plan::of_one_input(store));
}

#[test]
fn a_leader_onto_a_cluster_that_is_frozen_writes_nothing_when_it_wakes() {
    frozen(&Plan {
        target: 3,
        ..Plan::of_one_input(Kind::Redis)
    });
}

fn frozen(plan: &Plan) {
    let mut scene = Scene::begin(plan);
    scene.lose("is frozen", |group, leader| group.members[leader].freeze());
    scene.taken_over();
    let (leader, group) = (scene.leader, &mut scene.group);
    group.ledger.catch_up(&group.target.servers());
    let before = group.ledger.writes_of(leader).0;
    group.watch.note("it wakes");
    group.members[leader].thaw();
    group.members[leader].wait_status(LONG, "the one that woke follows", |status| {
        status[0]["Role"] == "follower" && status[0]["Phase"] == "following"
    });
    scene.tally.wait_more(500);
    group.ledger.catch_up(&group.target.servers());
    let after = group.ledger.writes_of(leader).0;
    assert_eq!(after, before, "the one that woke has written");
    scene.end();
}

fn a_leader_that_is_cut_off_from_the_store(store: Kind) {
    for how in [Break::Cut, Break::Stall] {
        cut_off(store, Link::Store, how);
    }
}

#[test]
fn a_leader_that_is_cut_off_from_the_source() {
    cut_off(Kind::Etcd, Link::Source, Break::Cut);
}

#[test]
fn a_leader_that_is_cut_off_from_the_target() {
    cut_off(Kind::Redis, Link::Target, Break::Cut);
}

fn cut_off(store: Kind, link: Link, how: Break) {
    let mut scene = Scene::begin(&Plan::of_one_input(store));
    scene.lose("is cut off", |group, leader| group.sever(leader, link, how));
    scene.taken_over();
    scene.group.heal(scene.leader, link);
    scene.end();
}

/// One member leads all three shards: each finds another leader in time.
#[test]
fn each_input_of_a_frozen_leader_is_taken_over_in_time() {
    let seed = Seed::pick();
    let mut group = Group::start(&Plan {
        begin: 1,
        ..Plan::of(Kind::Redis)
    });
    let tally = Tally::start(group.source.shape(), &seed, 600);
    tally.wait_more(300);
    // Those that join are given nothing before they have been there for two lease times.
    group.members[1].start();
    group.members[2].start();
    group.wait_settled(LONG);
    let of_first = |group: &Group| {
        let mut leaders = group.leaders();
        leaders.retain(|_, (leader, _)| *leader == 0);
        leaders
    };
    let mut waiting = group.wait_for(LONG, "the first says that it leads several", |group| {
        let leads = of_first(group);
        (leads.len() >= 2)
            .then_some(leads)
            .ok_or_else(|| format!("{:?}", group.leaders()))
    });
    group.watch.note("member 0, which leads them all, is frozen");
    let begun = Instant::now();
    group.members[0].freeze();
    let mut took = Vec::new();
    group.wait_for(LONG, "each input has another leader", |group| {
        let leaders = group.leaders();
        waiting.retain(|input, _| {
            let is_led = leaders.get(input).is_some_and(|(leader, _)| *leader != 0);
            if is_led {
                took.push(begun.elapsed());
            }
            !is_led
        });
        waiting
            .is_empty()
            .then_some(())
            .ok_or_else(|| format!("{waiting:?}"))
    });
    println!("another led after {took:.2?}");
    took.into_iter().for_each(assert_in_time);
    group.members[0].thaw();
    group.wait_settled(LONG);
    group.finish(tally);
    assert_eq!(group.full_syncs(), 3, "{}", group.last_words());
}

/// Nobody could do better, so the lead stays where it is.
fn leads_on_without_followers(world: World) {
    let mut scene = Scene::begin(&Plan::of_one_input(Kind::Redis).on(world));
    let before = scene.group.watch.takeovers();
    let missing = world.missing("a link between members that is cut; the followers are frozen instead");
    let (leader, group) = (scene.leader, &mut scene.group);
    let followers: Vec<usize> = (0..3).filter(|number| *number != leader).collect();
    match missing {
        true => followers
            .iter()
            .for_each(|number| group.members[*number].freeze()),
        false => group.sever(leader, Link::Peers, Break::Stall),
    }
    scene.tally.wait_time(TAKEN_OVER * 2);
    assert_eq!(group.watch.takeovers(), before, "the lead has moved");
    let applied = group.source.servers()[0].offset();
    group.members[leader].wait_status(LONG, "the leader goes on writing", |status| {
        status[0]["Offset"]["Applied"].as_u64() >= Some(applied)
    });
    match missing {
        true => followers.iter().for_each(|number| group.members[*number].thaw()),
        false => group.heal(leader, Link::Peers),
    }
    group.wait_settled(LONG);
    // The copies are warm again: the lead can be handed over without a full sync.
    group.hand_over(leader, Some(followers[0]));
    scene.taken_over_by(followers[0]);
    scene.end();
}

impl Scene {
    fn taken_over_by(&mut self, heir: usize) {
        let leader = self.group.wait_successor(self.leader, LONG);
        assert_eq!(leader, heir);
    }
}

/// Nobody could do better here either.
#[test]
fn a_source_that_is_gone_for_all_moves_no_lead_about() {
    let scene = Scene::begin(&Plan::of_one_input(Kind::Etcd));
    let before = scene.group.watch.takeovers();
    for number in 0..3 {
        scene.group.sever(number, Link::Source, Break::Cut);
    }
    scene.tally.wait_time(LEASE * 4);
    let moved = scene.group.watch.takeovers() - before;
    assert!(moved <= 2, "the lead has moved {moved} times");
    for number in 0..3 {
        scene.group.heal(number, Link::Source);
    }
    scene.end();
}

#[test]
fn a_leader_that_is_cut_off_from_its_followers_leads_on() {
    World::with_machines(
        3,
        a_leader_that_is_cut_off_from_its_followers_leads_on,
        leads_on_without_followers,
    );
}

over_both!(
    a_leader_that_is_killed,
    a_leader_that_is_frozen_writes_nothing_when_it_wakes,
    a_leader_that_is_cut_off_from_the_store
);
