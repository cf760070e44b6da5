//! Of those that could take an input over, the one with the latest data does.

use super::support::fleet::LONG;
use super::support::group::{Break, Group, Kind, Link, Plan, Tally, World};
use super::support::workload::Seed;

/// Two inputs, three members: one leads none, and would be asked first if its log were as long as the other's.
fn a_follower_that_lags_does_not_take_over_though_it_leads_fewer(world: World) {
    let seed = Seed::pick();
    let mut group = Group::start(&Plan {
        source: 2,
        ..Plan::of(Kind::Etcd).on(world)
    });
    if world.missing("a follower whose link to the others alone is stalled") {
        return;
    }
    let tally = Tally::start(group.source.shape(), &seed, 900);
    tally.wait_more(600);
    group.wait_for(LONG, "one leads none", |group| {
        let shares = group.shares();
        (shares.len() == 2).then_some(()).ok_or(format!("{shares:?}"))
    });
    let leaders = group.leaders();
    let idle = (0..3).find(|number| !leaders.values().any(|(leader, _)| leader == number));
    let idle = idle.expect("three members, two inputs");
    let (input, (lost, _)) = leaders.first_key_value().unwrap();
    let other = 3 - idle - lost;
    group.sever(idle, Link::Peers, Break::Stall);
    // Until the others know for certain that it is behind: a record is renewed every second.
    let received = |group: &Group, member: usize| {
        let said = group.members[member].said();
        let of_it = said.iter().find(|said| said.input == *input);
        of_it.map_or(0, |said| said.received)
    };
    let stuck = received(&group, idle);
    group.wait_for(LONG, "it lags", |group| {
        let (here, there) = (received(group, idle), received(group, other));
        match here == 0 || there < here.max(stuck) + 100_000 {
            true => Err(format!("{here} of {there}")),
            false => Ok(()),
        }
    });
    println!(
        "{input}: member {idle}, which leads none, has {} of {}",
        received(&group, idle),
        received(&group, other)
    );
    let lost = *lost;
    group.watch.note("the leader is killed");
    group.members[lost].kill9();
    let heir = group.wait_successor(lost, LONG);
    let leaders = group.leaders();
    assert_eq!(
        (heir, leaders[input].0),
        (other, other),
        "member {idle} lags, and leads nothing: {leaders:?}"
    );
    group.heal(idle, Link::Peers);
    group.members[lost].start();
    group.wait_settled(LONG);
    group.finish(tally);
    assert_eq!(group.full_syncs(), 2, "{}", group.last_words());
}

#[test]
fn a_follower_that_lags_does_not_take_over() {
    World::with_machines(
        3,
        a_follower_that_lags_does_not_take_over,
        a_follower_that_lags_does_not_take_over_though_it_leads_fewer,
    );
}
