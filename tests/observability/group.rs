//! What three gunyu that stand in for each other show of one input.

use super::support::fleet::LONG;
use super::support::group::{Group, Kind, Member, Plan, Tally};
use super::support::wait_for;
use super::support::workload::Seed;

fn metrics(member: &Member) -> String {
    member.must(200, "GET", "/prometheus").text()
}

/// What each of a group's members shows, while one of them leads.
pub(crate) fn scrapes() -> Vec<String> {
    let mut group = Group::start(&Plan::of_one_input(Kind::Redis));
    group.wait_settled(LONG);
    group.members.iter().map(metrics).collect()
}

/// The sample of that name with this label, where there is one.
fn sample(text: &str, name: &str, label: &str) -> Option<u64> {
    let mut samples = text.lines().filter_map(|line| line.rsplit_once(' '));
    let (_, value) = samples.find(|(sample, _)| {
        let labels = sample.strip_prefix(name);
        labels.is_some_and(|labels| labels.starts_with('{') && labels.contains(label))
    })?;
    Some(value.parse::<f64>().unwrap() as u64)
}

/// What the one that leads shows, and what the others do; or why that is not so yet.
fn judge(group: &Group, leader: usize) -> Result<(), String> {
    let texts: Vec<String> = group.members.iter().map(metrics).collect();
    let led = &texts[leader];
    let epoch = sample(led, "gunyu_lease_epoch", "input=");
    let received = sample(led, "gunyu_position", "kind=\"received\"");
    let mut faults = Vec::new();
    for (number, text) in texts.iter().enumerate() {
        let leads = number == leader;
        let (of_leader, of_follower) = match leads {
            true => (Some(2), None),
            false => (None, Some(2)),
        };
        let only = |leads: bool, value: Option<u64>| if leads { value } else { None };
        for (name, label, expected) in [
            ("redisGunYu_input_input_sync", "role=\"leader\"", of_leader),
            ("redisGunYu_input_input_sync", "role=\"follower\"", of_follower),
            ("gunyu_leader", "group=\"of-the-test\"", Some(u64::from(leads))),
            ("gunyu_lease_epoch", "input=", epoch),
            ("gunyu_replication_lag_bytes", "input=", only(leads, Some(0))),
            ("gunyu_replication_lag_seconds", "input=", only(leads, Some(0))),
            ("redisGunYu_output_sync_delay", "input=", only(leads, Some(0))),
            ("gunyu_follower_lag_bytes", "input=", only(!leads, Some(0))),
            ("gunyu_follower_lag_seconds", "input=", only(!leads, Some(0))),
            (
                "redisGunYu_replica_follower_recv_offset",
                "input=",
                only(!leads, received),
            ),
        ] {
            let found = sample(text, name, label);
            if found != expected {
                faults.push(format!(
                    "member {number}: {name}{{{label}}}: {found:?}, not {expected:?}"
                ));
            }
        }
    }
    let sum = |name: &str| {
        texts
            .iter()
            .filter_map(|text| sample(text, name, "input="))
            .sum::<u64>()
    };
    let (sent, copied) = (
        sum("redisGunYu_replica_leader_send"),
        sum("redisGunYu_replica_follower_recv"),
    );
    if sent == 0 || sent < copied {
        faults.push(format!("{sent} bytes sent, {copied} copied"));
    }
    match epoch.is_some_and(|epoch| epoch > 0) && faults.is_empty() {
        true => Ok(()),
        false => Err(faults.join("\n")),
    }
}

fn role_changes(group: &Group) -> Vec<u64> {
    let of = |member| sample(&metrics(member), "redisGunYu_syncer_role_change", "input=").unwrap();
    group.members.iter().map(of).collect()
}

fn copied(group: &Group, number: usize) -> u64 {
    sample(
        &metrics(&group.members[number]),
        "redisGunYu_replica_follower_recv",
        "input=",
    )
    .unwrap()
}

#[test]
fn each_member_shows_what_it_leads_and_what_it_follows() {
    let seed = Seed::pick();
    let mut group = Group::start(&Plan::of_one_input(Kind::Redis));
    let tally = Tally::start(group.source.shape(), &seed, 600);
    tally.wait_more(500);
    let leader = group.leader();
    let before = role_changes(&group);
    let follower = (leader + 1) % 3;
    let had = copied(&group, follower);
    tally.wait_more(500);
    group.members[leader].must(200, "POST", "/syncer/handover?inputs=all");
    let next = group.wait_successor(leader, LONG);
    group.wait_settled(LONG);
    group.finish(tally);
    // Quiet but for the source's pings: what differs now is on its way, or wrong.
    wait_for(LONG, "the members show who leads and who follows", || {
        judge(&group, next)
    });
    let expected: Vec<u64> = before
        .iter()
        .enumerate()
        .map(|(number, count)| count + u64::from(number == leader || number == next))
        .collect();
    assert_eq!(role_changes(&group), expected);
    assert!(before.iter().all(|count| *count >= 1), "{before:?}");
    assert!(
        copied(&group, follower) > had,
        "what was written went to the follower too"
    );
}
