//! The store is down: leaders stop by their own clock when it takes longer than a lease, nobody notices when it does not, and all comes back by
//! itself.

use std::time::{Duration, Instant};

use super::support::fleet::LONG;
use super::support::group::{Group, Kind, LASTING, LEASE, Plan, Store, Tally, assert_in_time};
use super::support::workload::Seed;
use super::support::{at_this_load, now_ms};

/// What a command may take on its way, from a leader until the target has carried it out, on a machine that has nothing else to do.
const ON_ITS_WAY: Duration = Duration::from_millis(500);

fn down_for_longer_than_a_lease(store: Kind, down: fn(&mut Store), up: fn(&mut Store)) {
    let seed = Seed::pick();
    let mut group = Group::start(&Plan::of(store));
    let tally = Tally::start(group.source.shape(), &seed, 600);
    tally.wait_more(500);
    group.watch.note("the store goes down");
    down(&mut group.store);
    let (begun, end_ms) = (Instant::now(), now_ms() + LEASE.as_millis() as u64);
    group.wait_for(LONG, "nobody believes that he leads", |group| {
        let leaders = group.leaders();
        leaders
            .is_empty()
            .then_some(())
            .ok_or_else(|| format!("{leaders:?}"))
    });
    assert_in_time(begun.elapsed());
    tally.wait_time(LEASE);
    group.ledger.catch_up(&group.target.servers());
    let (count, last) = group.ledger.writes();
    let last_ms = last.expect("something was written");
    let late = Duration::from_millis(last_ms.saturating_sub(end_ms));
    assert!(
        late < at_this_load(ON_ITS_WAY),
        "a write came {late:?} after every lease had ended"
    );
    tally.wait_time(LEASE);
    group.ledger.catch_up(&group.target.servers());
    assert_eq!(
        group.ledger.writes().0,
        count,
        "somebody has written without a lease"
    );
    group.watch.note("the store is back");
    up(&mut group.store);
    group.wait_settled(LONG);
    println!("{}", group.watch.gaps());
    group.finish(tally);
    assert_eq!(
        group.full_syncs(),
        3,
        "one for each shard: {}",
        group.last_words()
    );
}

/// An etcd keeps what it knows; a Redis has forgotten even the numbers of the leases.
fn leaders_stop_writing_by_their_own_clock_while_the_store_is_gone(store: Kind) {
    down_for_longer_than_a_lease(store, Store::kill9, Store::restart);
}

fn leaders_stop_writing_by_their_own_clock_while_the_store_is_frozen(store: Kind) {
    down_for_longer_than_a_lease(store, Store::freeze, Store::thaw);
}

fn nobody_notices_a_store_that_is_down_for_less_than_a_lease(store: Kind) {
    let seed = Seed::pick();
    // One input: of several, some would be handed to those that lead none.
    let mut group = Group::start(&Plan {
        lease: LASTING,
        ..Plan::of_one_input(store)
    });
    let tally = Tally::start(group.source.shape(), &seed, 600);
    tally.wait_more(500);
    let before = group.watch.takeovers();
    // Longer than a lease in all: who does not renew his between two of them loses it.
    for _ in 0..3 {
        group.watch.note("the store freezes");
        group.store.freeze();
        tally.wait_time(LASTING / 5);
        group.watch.note("the store goes on");
        group.store.thaw();
        tally.wait_time(LASTING / 5);
    }
    group.wait_settled(LONG);
    assert_eq!(group.watch.takeovers(), before);
    group.finish(tally);
    assert_eq!((group.full_syncs(), group.continued()), (1, 0));
}

over_both!(
    leaders_stop_writing_by_their_own_clock_while_the_store_is_gone,
    leaders_stop_writing_by_their_own_clock_while_the_store_is_frozen,
    nobody_notices_a_store_that_is_down_for_less_than_a_lease
);

/// The source holds the leases too, where neither etcd nor another Redis is named.
#[test]
fn the_source_is_the_store_where_no_other_is_named() {
    let seed = Seed::pick();
    let mut group = Group::start(&Plan::of(Kind::Source));
    let tally = Tally::start(group.source.shape(), &seed, 600);
    tally.wait_more(500);
    let lost = group.leader();
    group.members[lost].kill9();
    group.wait_successor(lost, LONG);
    group.members[lost].start();
    group.wait_settled(LONG);
    group.finish(tally);
    assert_eq!(group.full_syncs(), 3);
    // What the group keeps there is not copied.
    for server in group.target.servers() {
        let keys: Vec<String> = server.run(&["KEYS", "/redis-gunyu/*"]);
        assert_eq!(keys, Vec::<String>::new());
    }
}
