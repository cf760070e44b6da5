//! The tours of which several take part: a target that is a cluster, a group.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use super::company::{Company, RATE};
use super::support::fleet::LONG;
use super::support::group::{Group, Kind, Plan, Tally};
use super::support::wait_for;
use super::support::workload::Seed;

/// What came of a tour.
pub(super) struct Toured {
    pub(super) has_died: bool,
    pub(super) traces: String,
}

fn has_died(status: Option<ExitStatus>) -> bool {
    status.and_then(|status| status.signal()) == Some(libc::SIGABRT)
}

/// Onto a cluster of three, alone: the stream, and a stop. What it holds in the end is judged where it has died.
pub(super) fn onto_cluster(seed: &Seed, part: u64, order: &str) -> Toured {
    let mut rng = seed.rng(part);
    let mut group = Group::prepare(&Plan {
        members: 1,
        begin: 1,
        target: 3,
        ..Plan::of_one_input(Kind::Redis)
    });
    let yaml = group.members[0]
        .yaml()
        .split("cluster:\n")
        .next()
        .unwrap()
        .to_owned();
    group.members[0].configure(&yaml);
    group.members[0].set_env(&[("GUNYU_CRASH_AT", order)]);
    group.members[0].start();
    let tally = Tally::start(group.source.shape(), &Seed::of(rng.u64(..)), RATE);
    wait_for(LONG, "the stream is live", || {
        let said = group.members[0].said();
        let is_live = said.iter().any(|said| said.phase == "incremental");
        match is_live || group.members[0].ended().is_some() {
            true => Ok(()),
            false => Err(group.last_words()),
        }
    });
    // Checkpoints are due every second.
    for _ in 0..4 {
        tally.wait_more(RATE);
        if group.members[0].ended().is_some() {
            break;
        }
    }
    if group.members[0].ended().is_none() {
        group.members[0].term();
    }
    let status = group.members[0].ended();
    let toured = Toured {
        has_died: has_died(status),
        traces: group.members[0].traces(),
    };
    group.members[0].set_env(&[]);
    group.members[0].start();
    tally.wait_more(RATE / 3);
    let sent = tally.stop();
    sent.wait_on(group.source.shape(), Duration::ZERO);
    sent.wait_on(group.target.shape(), LONG);
    assert_eq!(group.full_syncs(), 1, "{}", group.last_words());
    toured
}

/// A group of two: it begins, the other one joins, the lead goes there and back, the first one leaves, and the other one where the order is for it. The order is for that member.
pub(super) fn in_group(seed: &Seed, part: u64, victim: usize, order: &str) -> Toured {
    let mut rng = seed.rng(part);
    let mut company = Company::prepare(if rng.bool() { Kind::Etcd } else { Kind::Redis });
    company.order(victim, Some(order));
    let tally = company.count(&Seed::of(rng.u64(..)));
    let was_live = walk(&mut company, victim, &tally);
    let status = company.group.members[victim].ended();
    let toured = Toured {
        has_died: has_died(status),
        traces: company.group.members[victim].traces(),
    };
    company.order(victim, None);
    company.finish(tally, if was_live { 1 } else { 2 });
    toured
}

/// Until the victim dies, or the tour ends; whether the stream was live by then.
fn walk(company: &mut Company, victim: usize, tally: &Tally) -> bool {
    let leads = |group: &Group, member: usize| {
        let leaders = group.leaders();
        leaders.len() == 1 && leaders.values().all(|(leader, _)| *leader == member)
    };
    let is_live = |group: &Group, member: usize| {
        let said = group.members[member].said();
        said.iter().any(|said| said.leads && said.phase == "incremental")
    };
    let follows = |group: &Group, member: usize| {
        let said = group.members[member].said();
        said.iter()
            .any(|said| said.phase == "following" && said.received > 0)
    };
    company.group.members[0].start();
    if !company.lives_until(0, "the first one leads", |group| is_live(group, 0)) {
        return false;
    }
    company.group.members[1].start();
    if !company.lives_until(victim, "the other one follows", |group| follows(group, 1)) {
        return true;
    }
    tally.wait_more(RATE);
    for (from, to) in [(0, 1), (1, 0)] {
        if company.group.members[victim].ended().is_some() {
            return true;
        }
        // Again where it does not know yet that it is followed.
        let asked = |group: &mut Group| {
            let answer = group.members[from].try_call("POST", "/syncer/handover?inputs=all", LONG);
            answer.is_ok_and(|answer| answer.status == 200) || leads(group, to)
        };
        if !company.lives_until(victim, "the lead is handed over", asked) {
            return true;
        }
        let settled = |group: &mut Group| is_live(group, to) && follows(group, from);
        if !company.lives_until(victim, "the other one leads", settled) {
            return true;
        }
        tally.wait_more(RATE / 2);
    }
    if company.group.members[0].ended().is_none() {
        company.group.members[0].signal(libc::SIGTERM);
        company.group.members[0].wait_end(LONG);
    }
    // Alone, the other one has nobody to hand over to.
    if victim == 1 && company.lives_until(1, "the other one leads", |group| is_live(group, 1)) {
        company.group.members[1].signal(libc::SIGTERM);
        company.group.members[1].wait_end(LONG);
    }
    true
}
