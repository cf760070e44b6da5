//! What it costs a member of a group to keep a copy of the log that another one leads.

use std::time::{Duration, Instant};

use crate::live::commands;
use crate::load;
use crate::meter::Cost;
use crate::results::Results;
use crate::rounds;
use crate::support::group::{Group, Kind, Plan};
use crate::table;

const LONG: Duration = crate::LONG;

/// What the target receives comes of the leader.
pub fn measure(results: &Results) {
    let count = commands();
    let found: Vec<(f64, Cost)> = (0..rounds()).map(|_| round(count)).collect();
    let figure = format!(
        "a follower's cost, {} M 64-byte SETs; the leader sends",
        count as f64 / 1e6
    );
    results.put(table::times("follower", &figure, &found, &[], count as f64));
}

/// Until the follower has all, and the leader has applied all.
fn round(count: u64) -> (f64, Cost) {
    let plan = Plan {
        members: 2,
        begin: 2,
        ..Plan::of_one_input(Kind::Redis)
    };
    let mut group = Group::start(&plan);
    group.wait_settled(LONG);
    let follower = 1 - group.leader();
    let cost = |group: &Group| {
        let member = &group.members[follower];
        Cost::so_far(member.stats(), &group.source.servers(), &group.target.servers())
    };
    let (before, began) = (cost(&group), Instant::now());
    load::benchmark(group.source.servers()[0], count);
    let end = group.source.servers()[0].offset();
    group.members[follower].wait_status(LONG, "the follower has all", |status| {
        status[0]["Offset"]["Received"].as_u64() >= Some(end)
    });
    let wall = began.elapsed().as_secs_f64();
    group.members[1 - follower].wait_status(LONG, "the leader has applied all", |status| {
        status[0]["Offset"]["Applied"].as_u64() >= Some(end)
    });
    (wall, cost(&group).since(before))
}
