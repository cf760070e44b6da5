//! The wall clock of the Redis that holds the leases jumps forward: leases are free too early. That costs changes of leader, never data.

use std::time::Instant;

use super::support::fleet::LONG;
use super::support::group::{Break, Group, Kind, LASTING, LEASE, Link, Plan, Tally};
use super::support::workload::Seed;

/// The leader hears nothing of it, and writes on until another has written his number.
#[test]
fn a_lease_that_is_free_while_its_holder_believes_in_it_costs_no_data() {
    let seed = Seed::pick();
    let mut group = Group::start(&Plan {
        lease: LASTING,
        ..Plan::of_one_input(Kind::Redis)
    });
    let tally = Tally::start(group.source.shape(), &seed, 900);
    tally.wait_more(600);
    for round in 0..3 {
        let (leader, before) = group.lead();
        group.sever(leader, Link::Store, Break::Stall);
        let begun = Instant::now();
        group.store.expire_sessions(&group.members[leader].id());
        group
            .watch
            .note("the leader's session has ended by the store's clock");
        let heir = group.wait_successor(leader, LONG);
        let took = begun.elapsed();
        println!("round {round}: another leads after {took:.2?}");
        // Else the old one's own clock has run out first, and nothing was shown.
        assert!(
            took < LASTING,
            "the old leader did not believe any more: {took:.2?}"
        );
        group.wait_for(LONG, "the heir writes", |group| {
            let writes = group.ledger.writes_of(heir).0;
            (writes > 200)
                .then_some(())
                .ok_or_else(|| format!("{writes} writes"))
        });
        group.heal(leader, Link::Store);
        group.wait_settled(LONG);
        assert!(group.lead().1 > before);
    }
    group.finish(tally);
    println!("{}", group.watch.gaps());
    assert_eq!(group.full_syncs(), 1, "{}", group.last_words());
}

/// As a clock does that is set forward by more than a lease: nobody has a session, and all begin anew at once.
#[test]
fn all_leases_freed_at_once_again_and_again_cost_no_data() {
    let seed = Seed::pick();
    let mut group = Group::start(&Plan::of(Kind::Redis));
    let tally = Tally::start(group.source.shape(), &seed, 900);
    tally.wait_more(600);
    for _ in 0..4 {
        let count = group.store.expire_sessions("");
        assert_eq!(count, 3, "each member has a session");
        group.watch.note("all sessions have ended by the store's clock");
        tally.wait_time(LEASE / 2);
    }
    group.wait_settled(LONG);
    group.finish(tally);
    println!("{}", group.watch.gaps());
    assert!(group.watch.takeovers() > 0);
    assert_eq!(
        group.full_syncs(),
        3,
        "one for each shard: {}",
        group.last_words()
    );
}
