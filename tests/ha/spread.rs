//! Leaders are spread over the members, and followers hold a warm copy.

use super::support::at_this_load;
use super::support::fleet::LONG;
use super::support::group::{Group, Kind, LEASE, Plan, Tally};
use super::support::workload::Seed;

/// Waits until so many members lead one input each.
fn wait_spread(group: &mut Group, members: usize) {
    group.wait_for(LONG, "the inputs are spread evenly", |group| {
        let shares = group.shares();
        let even = shares.len() == members && shares.values().all(|share| *share == 1);
        even.then_some(()).ok_or_else(|| format!("{shares:?}"))
    });
    group.wait_settled(LONG);
}

/// Nothing changes hands while the writers go on for some lease times.
fn assert_quiet(group: &Group, tally: &Tally) {
    let before = group.watch.takeovers();
    tally.wait_time(LEASE * 3);
    assert_eq!(group.watch.takeovers(), before, "the lead flaps");
}

#[test]
fn leaders_are_spread_evenly() {
    let seed = Seed::pick();
    let mut group = Group::start(&Plan::of(Kind::Redis));
    let tally = Tally::start(group.source.shape(), &seed, 600);
    wait_spread(&mut group, 3);
    assert_quiet(&group, &tally);
    group.finish(tally);
    assert_eq!(group.full_syncs(), 3, "one for each shard");
}

#[test]
fn a_member_that_joins_takes_its_share() {
    let seed = Seed::pick();
    let mut group = Group::start(&Plan {
        begin: 1,
        ..Plan::of(Kind::Etcd)
    });
    let tally = Tally::start(group.source.shape(), &seed, 600);
    tally.wait_more(300);
    for joining in [1, 2] {
        group.members[joining].start();
        group.wait_for(LONG, "the one that joins leads something", |group| {
            let shares = group.shares();
            shares
                .contains_key(&joining)
                .then_some(())
                .ok_or_else(|| format!("{shares:?}"))
        });
    }
    wait_spread(&mut group, 3);
    assert_quiet(&group, &tally);
    let gaps = group.watch.gaps();
    assert!(
        gaps.max() < at_this_load(LEASE / 3),
        "shares are handed over, not lost: {gaps}"
    );
    group.finish(tally);
    assert_eq!(
        group.full_syncs(),
        3,
        "one for each shard, by whom it was led first"
    );
}

#[test]
fn followers_are_warm() {
    let seed = Seed::pick();
    let mut group = Group::start(&Plan::of_one_input(Kind::Redis));
    let tally = Tally::start(group.source.shape(), &seed, 1_500);
    tally.wait_more(3_000);
    let leader = group.leader();
    let (id, offset) = (group.members[leader].id(), group.source.servers()[0].offset());
    for follower in (0..3).filter(|number| *number != leader) {
        let member = &group.members[follower];
        let took = member.time_until(LONG, "the follower has what the source had written", |status| {
            let input = &status[0];
            input["Offset"]["Received"]
                .as_u64()
                .is_some_and(|received| received >= offset)
        });
        assert!(took < at_this_load(LEASE / 3), "it took {took:?}");
        let status = member.wait_status(LONG, "the follower tells", |_| true);
        let input = &status[0];
        assert_eq!(input["Role"], "follower", "{input}");
        assert_eq!(input["Phase"], "following", "{input}");
        assert_eq!(input["Leader"], *id, "{input}");
    }
    group.finish(tally);
    // They have pulled it from the leader, not from the source.
    assert_eq!((group.full_syncs(), group.continued()), (1, 0));
}
