//! A member's name is where others reach it: a name that another has, or that others cannot mean it by, is refused, saying what to type.

use std::net::SocketAddr;
use std::process::Command;

use super::support::SOON;
use super::support::fleet::LONG;
use super::support::group::{Group, Kind, LEASE, Plan, Tally, World};
use super::support::port::Port;
use super::support::workload::Seed;

/// Starts a member that must end by itself with this code; what it says.
fn refused(group: &mut Group, number: usize, code: i32) -> String {
    let member = &mut group.members[number];
    member.start();
    // It may first wait to see whether the other one lives.
    let status = member.wait_end(SOON + LEASE * 2);
    let traces = member.traces();
    assert_eq!(status.code(), Some(code), "{traces}");
    traces
}

#[test]
fn a_wildcard_is_no_name() {
    for id in ["0.0.0.0", "[::]"] {
        let port = Port::free();
        let mut group = Group::prepare(&Plan::of_one_input(Kind::Etcd));
        group.members[0].rename(format!("{id}:{}", port.number()).parse().unwrap());
        let told = refused(&mut group, 0, 2);
        assert!(told.contains("listenPeer"), "{told}");
    }
}

/// Two that filter differently would each write what the other leaves out, under checkpoints of their own.
#[test]
fn a_member_with_another_filter_is_refused_and_told_what_to_do() {
    let seed = Seed::pick();
    let mut group = Group::prepare(&Plan::of_one_input(Kind::Etcd));
    group.members[0].start();
    group.wait_for(LONG, "the first leads", |group| {
        let leaders = group.leaders();
        (leaders.len() == 1).then_some(()).ok_or(format!("{leaders:?}"))
    });
    let tally = Tally::start(group.source.shape(), &seed, 300);
    let filter = "output:\n  filter: {keyFilter: {prefixKeyBlacklist: [nobody]}}\n";
    let yaml = group.members[1].yaml().replacen("output:\n", filter, 1);
    group.members[1].configure(&yaml);
    let told = refused(&mut group, 1, 2);
    assert!(told.contains(&group.members[0].id()), "which other one: {told}");
    assert!(told.contains("hint: "), "{told}");
    // With the same it is a member.
    let yaml = group.members[0].yaml().to_owned();
    group.members[1].configure(&yaml);
    group.members[1].start();
    group.wait_settled(LONG);
    assert_eq!((group.leader(), group.watch.takeovers()), (0, 0));
    group.finish(tally);
}

/// The first has the name, and goes on as if nothing had happened.
fn a_name_that_a_living_member_has_is_refused(store: Kind, world: World) {
    let seed = Seed::pick();
    let mut group = Group::prepare(&Plan::of_one_input(store).on(world));
    let is_one_machine =
        world.missing("two machines that claim one address; two processes on one machine do instead");
    let port = Port::free();
    let name: SocketAddr = match is_one_machine {
        true => port.addr(),
        false => {
            // As where an address was copied with a machine's image.
            for machine in ["m0", "m1"] {
                let mut ip = Command::new("ip");
                ip.args(["-n", machine, "addr", "add", "10.99.0.1/32", "dev", "lo"]);
                assert!(ip.status().unwrap().success());
            }
            SocketAddr::from(([10, 99, 0, 1], port.number()))
        }
    };
    for number in [0, 1] {
        group.members[number].rename(name);
    }
    group.members[0].start();
    group.wait_settled(LONG);
    let tally = Tally::start(group.source.shape(), &seed, 300);
    let member = &mut group.members[1];
    member.start();
    let status = member.wait_end(SOON + LEASE * 2);
    let told = member.traces();
    assert!(status.code().is_some_and(|code| code != 0), "{status}: {told}");
    assert!(told.contains(&name.to_string()), "{told}");
    if !is_one_machine {
        assert_eq!(status.code(), Some(2), "{told}");
        assert!(told.contains("listenPeer"), "{told}");
    }
    tally.wait_more(100);
    assert_eq!((group.leader(), group.watch.takeovers()), (0, 0));
    group.finish(tally);
}

#[test]
fn a_name_that_a_living_member_has_is_refused_over_etcd() {
    World::with_machines(2, a_name_that_a_living_member_has_is_refused_over_etcd, |world| {
        a_name_that_a_living_member_has_is_refused(Kind::Etcd, world);
    });
}

#[test]
fn a_name_that_a_living_member_has_is_refused_over_redis() {
    World::with_machines(
        2,
        a_name_that_a_living_member_has_is_refused_over_redis,
        |world| {
            a_name_that_a_living_member_has_is_refused(Kind::Redis, world);
        },
    );
}

/// On one machine loopback is as good a name as any.
#[test]
fn a_loopback_name_is_refused_where_another_member_is_on_another_machine() {
    World::with_machines(
        2,
        a_loopback_name_is_refused_where_another_member_is_on_another_machine,
        |world| {
            let mut group = Group::prepare(&Plan::of_one_input(Kind::Etcd).on(world));
            let port = Port::free();
            group.members[1].rename(port.addr());
            group.members[0].start();
            if world.missing("a member on another machine; that loopback is accepted on one is shown") {
                group.members[1].start();
                group.wait_settled(LONG);
                return;
            }
            group.wait_settled(LONG);
            let told = refused(&mut group, 1, 2);
            assert!(told.contains("listenPeer"), "{told}");
            assert_eq!(group.leader(), 0);
        },
    );
}
