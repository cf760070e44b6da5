//! What it costs a member of a group to keep a copy of the log that another one leads.

use std::time::{Duration, Instant};

use crate::live::commands;
use crate::load;
use crate::meter::Cost;
use crate::rounds;
use crate::support::group::{Group, Kind, Member, Plan};
use crate::table::{Row, Table, median};

const LONG: Duration = crate::LONG;

pub fn measure(table: &mut Table) {
    let count = commands();
    let mut found = Vec::new();
    for _ in 0..rounds() {
        found.push(round(count));
    }
    let costs: Vec<Cost> = found.iter().map(|(_, cost)| *cost).collect();
    let figure = format!("a follower's cost, {} M 64-byte SETs", count as f64 / 1e6);
    table.push(Row {
        figure,
        gunyu: format!("{:.2} s", median(found.iter().map(|(wall, _)| *wall))),
        cost: Some((Cost::median(&costs), count as f64)),
        ..Row::default()
    });
}

/// Until the follower has all.
fn round(count: u64) -> (f64, Cost) {
    let plan = Plan {
        members: 2,
        begin: 2,
        ..Plan::of_one_input(Kind::Redis)
    };
    let mut group = Group::start(&plan);
    group.wait_settled(LONG);
    let follower = 1 - group.leader();
    let cost = |member: &Member| Cost::so_far(member.stats(), None);
    let (before, began) = (cost(&group.members[follower]), Instant::now());
    load::benchmark(group.source.servers()[0], count);
    let end = group.source.servers()[0].offset();
    group.members[follower].wait_status(LONG, "the follower has all", |status| {
        status[0]["Offset"]["Received"].as_u64() >= Some(end)
    });
    let wall = began.elapsed().as_secs_f64();
    (wall, cost(&group.members[follower]).since(before))
}
