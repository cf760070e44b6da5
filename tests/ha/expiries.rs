//! Keys whose expiry a full sync puts off get their own, whoever leads when that is due.

use redis::Commands;

use super::support::fleet::LONG;
use super::support::group::{Group, Kind, Plan, Tally};
use super::support::wait_for;
use super::support::workload::Seed;

/// Keys that expire within the hour.
const KEYS: usize = 1_000;

/// How long they have to live, in milliseconds.
const LIFE_MS: i64 = 1_800_000;

fn a_leader_that_dies_before_expiries_are_due_leaves_them_to_the_next(store: Kind) {
    let seed = Seed::pick();
    // Slower than the writers: what the source has written during the full sync is applied some seconds later.
    let mut group = Group::prepare(&Plan {
        sections: "  replay: {rateLimit: {opsPerSec: 300}}\n".to_owned(),
        ..Plan::of_one_input(store)
    });
    let mut source = group.source.servers()[0].conn();
    let mut pipe = redis::pipe();
    for number in 0..KEYS {
        pipe.cmd("SET")
            .arg(format!("expires:{number}"))
            .arg("v")
            .arg("PX")
            .arg(LIFE_MS)
            .ignore();
    }
    let () = pipe.query(&mut source).unwrap();
    let tally = Tally::start(group.source.shape(), &seed, 400);
    for member in &mut group.members {
        member.start();
    }
    let leader = group.wait_for(LONG, "the stream is live, and expiries are put off", |group| {
        let Some((leader, _)) = group.leaders().into_values().next() else {
            return Err("nobody leads".to_owned());
        };
        let status = group.members[leader].wait_status(LONG, "it tells", |_| true);
        let is_pending = status[0]["FullSync"]["ExpiriesPending"] == true;
        match status[0]["Phase"] == "incremental" && is_pending {
            true => Ok(leader),
            false => Err(status.to_string()),
        }
    });
    group.members[leader].kill9();
    group.watch.note("the leader was killed");
    group.wait_successor(leader, LONG);
    group.finish(tally);
    let mut target = group.target.servers()[0].conn();
    wait_for(LONG, "every key has its own expiry", || {
        let ttls = (0..KEYS).map(|number| target.pttl::<_, i64>(format!("expires:{number}")).unwrap());
        let wrong = ttls.filter(|ttl| !(1..=LIFE_MS).contains(ttl)).count();
        if wrong == 0 {
            Ok(())
        } else {
            Err(format!("{wrong} of {KEYS} have not"))
        }
    });
    assert_eq!(group.full_syncs(), 1, "out of the copy of the snapshot");
}

#[test]
fn a_leader_that_dies_before_expiries_are_due_leaves_them_to_the_next_over_redis() {
    a_leader_that_dies_before_expiries_are_due_leaves_them_to_the_next(Kind::Redis);
}
