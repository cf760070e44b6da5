//! Source and target have replicas, which take their masters' places while leaders change; a source that is a replica itself; and a shard that leaves.

use super::support::fleet::LONG;
use super::support::group::{Group, Kind, Member, Plan, Tally};
use super::support::wait_for;
use super::support::workload::Seed;

/// What is followed of each shard is a replica (`input.syncFrom: prefer_slave`).
#[test]
fn masters_of_both_sides_fail_over_while_leaders_change() {
    let seed = Seed::pick();
    let mut group = Group::start(&Plan {
        source: 2,
        target: 2,
        replicas: 1,
        ..Plan::of(Kind::Etcd)
    });
    let tally = Tally::start(group.source.shape(), &seed, 600);
    tally.wait_more(300);
    let is_replica = |group: &mut Group, address: &str| {
        let at = group.source.addresses().iter().position(|one| one == address);
        let at = at.unwrap_or_else(|| panic!("{address} is none of the source's"));
        !group.source.fleet().masters_at().contains(&at)
    };
    for input in group.leaders().into_keys().collect::<Vec<_>>() {
        println!("input {input}, a replica: {}", is_replica(&mut group, &input));
    }
    let fail_over = |group: &mut Group, of_source: bool, shard: usize| {
        let side = if of_source {
            &mut group.source
        } else {
            &mut group.target
        };
        let master = side.fleet().masters_at()[shard];
        let heir = side.fleet().fail_over(master);
        let name = if of_source { "source" } else { "target" };
        group
            .watch
            .note(&format!("{name}: node {heir} is master after {master}"));
    };
    // The leader of an input is killed while its shard fails over, then one while the target does; both at once; a handover with both.
    for (of_source, shard) in [(true, 0), (false, 0), (true, 1), (false, 1)] {
        let leader = group.leader();
        group
            .watch
            .note(&format!("member {leader}, which leads, is killed"));
        group.members[leader].kill9();
        fail_over(&mut group, of_source, shard);
        group.wait_successor(leader, LONG);
        group.members[leader].start();
        group.wait_settled(LONG);
        tally.wait_more(200);
    }
    let leader = group.leader();
    group.members[leader].must(200, "POST", "/syncer/handover?inputs=all");
    fail_over(&mut group, true, 0);
    fail_over(&mut group, false, 0);
    group.wait_settled(LONG);
    let sent = group.finish(tally);
    println!("{} writes; {}", sent.total(), group.watch.gaps());
    assert_eq!(
        group.full_syncs(),
        2,
        "only the first of each shard: {}",
        group.last_words()
    );
}

/// gunyu is told of the replica alone.
#[test]
fn a_standalone_replica_as_the_source_is_led_on_by_others() {
    let seed = Seed::pick();
    let mut group = Group::start(&Plan {
        replicas: 1,
        ..Plan::of_one_input(Kind::Redis)
    });
    let tally = Tally::start(group.source.shape(), &seed, 600);
    tally.wait_more(300);
    let first = group.leader();
    group.members[first].kill9();
    let second = group.wait_successor(first, LONG);
    group.members[first].start();
    group.wait_settled(LONG);
    tally.wait_more(300);
    group.members[second].must(200, "POST", "/syncer/handover?inputs=all");
    group.wait_successor(second, LONG);
    group.wait_settled(LONG);
    tally.wait_more(300);
    let moved = group.watch.takeovers();
    group.finish(tally);
    assert_eq!(moved, 2, "{}", group.watch.story());
    assert_eq!(group.full_syncs(), 1, "{}", group.last_words());
}

/// Its slots have gone to the others, and its node is forgotten: at that moment whoever leads it is killed.
#[test]
fn what_a_shard_that_leaves_had_to_say_is_heard_though_its_leader_is_killed() {
    let seed = Seed::pick();
    let mut plan = Plan {
        source: 2,
        guest_slots: 600,
        ..Plan::of(Kind::Etcd)
    };
    // Else it becomes a replica of the shard that gets its last slot, and is followed as such: one address of two inputs.
    let stays = ["--cluster-allow-replica-migration", "no"];
    plan.source_options.extend(stays.map(str::to_owned));
    let mut group = Group::start(&plan);
    let tally = Tally::start(group.source.shape(), &seed, 600);
    tally.wait_more(1_000);
    let leaving = group.source.fleet().nodes.len() - 1;
    let address = group.source.addresses()[leaving].clone();
    let Group {
        source,
        members,
        watch,
        ..
    } = &mut group;
    let leader_of = |members: &[Member]| {
        let leads = |member: &Member| {
            member
                .said()
                .iter()
                .any(|said| said.leads && said.input == address)
        };
        wait_for(LONG, "somebody says that he leads it", || {
            members.iter().position(leads).ok_or_else(String::new)
        })
    };
    let mut killed = None;
    source.remove_shard(leaving, &mut |_| {
        let leader = leader_of(members);
        watch.note(&format!("member {leader}, which leads {address}, is killed"));
        members[leader].kill9();
        killed = Some(leader);
        for member in members.iter().filter(|member| member.number != leader) {
            member.wait_status(LONG, "its input is gone", |status| {
                status.as_array().is_some_and(|inputs| inputs.len() == 2)
            });
        }
        watch.note("its input is gone");
    });
    let killed = killed.expect("it was drained");
    group.members[killed].start();
    group.wait_settled(LONG);
    tally.wait_more(300);
    group.finish(tally);
    // Of the two that are left.
    assert_eq!(
        group.full_syncs(),
        2,
        "only the first of each shard: {}",
        group.last_words()
    );
}
