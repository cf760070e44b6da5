//! A rolling upgrade: members are restarted one after the other under load.

use super::support::at_this_load;
use super::support::fleet::LONG;
use super::support::group::{Group, Kind, LEASE, Plan, Tally};
use super::support::workload::Seed;

fn a_rolling_upgrade_takes_no_full_sync_and_no_lease_time(store: Kind) {
    let seed = Seed::pick();
    let mut group = Group::start(&Plan::of(store));
    let tally = Tally::start(group.source.shape(), &seed, 900);
    tally.wait_more(500);
    for number in 0..3 {
        group.watch.note(&format!("member {number} is upgraded"));
        let status = group.members[number].term();
        assert_eq!(status.code(), Some(0), "{}", group.members[number].last_words());
        group.members[number].start();
        group.wait_settled(LONG);
        tally.wait_more(500);
    }
    group.finish(tally);
    let (gaps, bound) = (group.watch.gaps(), at_this_load(LEASE));
    println!("{gaps}");
    assert!(gaps.max() <= bound, "{gaps}; at most {bound:?}");
    assert_eq!(group.full_syncs(), 3, "{}", group.last_words());
}

over_both!(a_rolling_upgrade_takes_no_full_sync_and_no_lease_time);
