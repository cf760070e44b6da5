//! Other stores through the whole program: a cluster, a Redis behind sentinels, one with TLS and a password.

use super::certs::Ca;
use super::support::fleet::LONG;
use super::support::group::{Group, Kind, Plan, Tally, assert_in_time};
use super::support::secured::Secured;
use super::support::workload::Seed;
use std::time::Instant;

fn a_leader_that_is_killed_is_replaced(group: &mut Group, tally: &Tally) {
    tally.wait_more(300);
    let leader = group.leader();
    group.watch.note("the leader is killed");
    let begun = Instant::now();
    group.members[leader].kill9();
    group.wait_successor(leader, LONG);
    let took = begun.elapsed();
    println!("{took:.2?} until another led");
    assert_in_time(took);
    group.members[leader].start();
    group.wait_settled(LONG);
}

fn begin(plan: &Plan) -> (Group, Tally) {
    let seed = Seed::pick();
    let group = Group::start(plan);
    let tally = Tally::start(group.source.shape(), &seed, 600);
    (group, tally)
}

fn end(mut group: Group, tally: Tally) {
    group.finish(tally);
    assert_eq!(group.full_syncs(), 1, "{}", group.last_words());
}

#[test]
fn over_a_cluster() {
    let (mut group, tally) = begin(&Plan::of_one_input(Kind::Cluster));
    a_leader_that_is_killed_is_replaced(&mut group, &tally);
    end(group, tally);
}

/// The store's master is replaced as well, and then the leader again.
#[test]
fn over_a_redis_behind_sentinels() {
    let (mut group, tally) = begin(&Plan::of_one_input(Kind::Sentinels));
    a_leader_that_is_killed_is_replaced(&mut group, &tally);
    let master = group.store.watched().fail_over();
    group
        .watch
        .note(&format!("server {master} is the store's master now"));
    group.wait_settled(LONG);
    a_leader_that_is_killed_is_replaced(&mut group, &tally);
    end(group, tally);
}

#[test]
fn over_a_redis_with_tls_and_a_password() {
    let ca = Ca::new();
    let pair = ca.sign(&["127.0.0.1"]);
    let (mut group, tally) = begin(&Plan {
        store_secured: Some(Secured::with(ca.path(), pair.cert.clone(), pair.key.clone())),
        ..Plan::of_one_input(Kind::Redis)
    });
    a_leader_that_is_killed_is_replaced(&mut group, &tally);
    for member in &group.members {
        assert!(!member.traces().contains("of-the-test@"), "no password in traces");
    }
    end(group, tally);
}
