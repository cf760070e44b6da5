//! A member that has lost a part only: a source or target that is half-open, and of several inputs the target alone.

use std::time::{Duration, Instant};

use super::support::fleet::LONG;
use super::support::group::{Break, Group, Kind, LEASE, Link, Plan, Tally, assert_in_time};
use super::support::workload::Seed;

/// Connections stay open and say nothing; what was on its way arrives when another leads long since.
fn half_open(store: Kind, link: Link) {
    let seed = Seed::pick();
    let mut group = Group::start(&Plan::of_one_input(store));
    let tally = Tally::start(group.source.shape(), &seed, 900);
    tally.wait_more(600);
    let leader = group.leader();
    let begun = Instant::now();
    group.sever(leader, link, Break::Stall);
    let heir = group.wait_successor(leader, LONG);
    let took = begun.elapsed();
    println!("{link:?}: {took:.2?} until another led");
    assert_in_time(took);
    group.wait_for(LONG, "the heir writes", |group| {
        let writes = group.ledger.writes_of(heir).0;
        (writes > 200)
            .then_some(())
            .ok_or_else(|| format!("{writes} writes"))
    });
    group.ledger.catch_up(&group.target.servers());
    let before = group.ledger.writes_of(leader).0;
    group.heal(leader, link);
    group.wait_settled(LONG);
    tally.wait_more(300);
    group.ledger.catch_up(&group.target.servers());
    let after = group.ledger.writes_of(leader).0;
    assert_eq!(after, before, "the one that was replaced has written");
    group.finish(tally);
    assert_eq!(group.full_syncs(), 1, "{}", group.last_words());
}

#[test]
fn a_leader_whose_source_is_half_open_is_replaced_in_time() {
    half_open(Kind::Redis, Link::Source);
}

#[test]
fn a_leader_whose_target_is_half_open_is_replaced_in_time() {
    half_open(Kind::Etcd, Link::Target);
}

/// Of three inputs each member leads one. What the one gives up does not come back for the sake of evenness.
#[test]
fn what_a_member_without_the_target_gives_up_does_not_come_back_until_it_is_healed() {
    let seed = Seed::pick();
    let mut group = Group::start(&Plan::of(Kind::Etcd));
    let tally = Tally::start(group.source.shape(), &seed, 600);
    group.wait_for(LONG, "each member leads one", |group| {
        let shares = group.shares();
        (shares.len() == 3)
            .then_some(())
            .ok_or_else(|| format!("{shares:?}"))
    });
    let (cut, before) = (group.leader(), group.watch.takeovers());
    let begun = Instant::now();
    group.sever(cut, Link::Target, Break::Cut);
    group.wait_successor(cut, LONG);
    let took = begun.elapsed();
    println!("{took:.2?} until another led");
    assert_in_time(took);
    while begun.elapsed() < LEASE * 6 {
        tally.wait_time(Duration::from_millis(100));
        let shares = group.shares();
        assert!(
            !shares.contains_key(&cut),
            "member {cut} cannot reach the target, and leads again: {shares:?}"
        );
    }
    let moved = group.watch.takeovers() - before;
    assert!(moved <= 2, "the lead has moved {moved} times");
    group.heal(cut, Link::Target);
    group.wait_for(LONG, "it gets its share again", |group| {
        let shares = group.shares();
        shares
            .contains_key(&cut)
            .then_some(())
            .ok_or_else(|| format!("{shares:?}"))
    });
    group.wait_settled(LONG);
    group.finish(tally);
    assert_eq!(group.full_syncs(), 3, "{}", group.last_words());
}
