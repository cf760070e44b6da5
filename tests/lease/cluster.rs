//! A Redis cluster as the store: its slot moves, its master is lost, its seeds are.

use std::time::Duration;

use gunyu::core::lease::{Backend, redis::Settings};
use gunyu::core::net::Address;
use gunyu::core::target::Shape;
use gunyu::core::topology::Place;

use crate::rig::{LONG, Member, at, block_on, epoch, persist, record, store, store_of};
use crate::support::fleet::Fleet;
use crate::support::fleet::slot::slot;
use crate::support::{Cluster, Server};

const KEY: &str = "/redis-gunyu/g";

/// The cluster by these nodes, the first one first.
fn of_cluster(ports: &[u16]) -> Backend {
    let seed = |port: &u16| Address {
        host: "127.0.0.1".to_owned(),
        port: *port,
    };
    Backend::Redis(Settings {
        place: Place::fixed(at(ports[0])),
        shape: Shape::Cluster {
            seeds: ports[1..].iter().map(seed).collect(),
            known: gunyu::core::target::cluster::known::Known::default(),
        },
    })
}

fn owner(cluster: &Cluster) -> usize {
    let has = |master: &Server| master.keys() > 0;
    cluster
        .masters
        .iter()
        .position(has)
        .expect("somebody has the key")
}

#[test]
fn while_the_slot_is_moved_every_question_is_answered() {
    let cluster = Cluster::start(3);
    let ports: Vec<u16> = cluster.masters.iter().map(Server::port).collect();
    block_on(async {
        let mut member = Member::begin(store(of_cluster(&ports), LONG), "a").await;
        let mut last = member.store.campaign("in").await.unwrap().unwrap();
        let from = owner(&cluster);
        let to = (from + 1) % 3;
        let id = |node: usize| cluster.masters[node].run::<String>(&["CLUSTER", "MYID"]);
        let number = slot(KEY.as_bytes()).to_string();
        let set = |node: usize, args: [&str; 2]| {
            let () = cluster.masters[node].run(&["CLUSTER", "SETSLOT", &number, args[0], args[1]]);
        };
        for step in 0..5 {
            match step {
                0 => set(to, ["IMPORTING", &id(from)]),
                1 => set(from, ["MIGRATING", &id(to)]),
                2 => {
                    let port = ports[to].to_string();
                    let said: String =
                        cluster.masters[from].run(&["MIGRATE", "127.0.0.1", &port, KEY, "0", "5000"]);
                    assert_eq!(said, "OK");
                }
                3 => set(to, ["NODE", &id(to)]),
                _ => set(from, ["NODE", &id(to)]),
            }
            // One that knows the cluster as it was, and one that comes by each of its nodes.
            member.renew().await.unwrap();
            last = member.store.transfer("in", last, "a").await.unwrap().unwrap();
            for first in 0..3 {
                let mut seeds = ports.clone();
                seeds.rotate_left(first);
                let mut other = Member::begin(store(of_cluster(&seeds), LONG), "b").await;
                assert_eq!(other.store.campaign("in").await.unwrap(), None, "step {step}");
                assert_eq!(
                    other.store.view().await.unwrap().leases["in"].epoch,
                    last,
                    "step {step}"
                );
                other.store.end().await.unwrap();
            }
        }
        assert_eq!(owner(&cluster), to);
        assert_eq!(last, epoch(6));
    });
}

#[test]
fn a_master_that_is_lost_and_a_seed_that_is_frozen_are_got_over() {
    let mut fleet = Fleet::start(3, 1);
    block_on(async {
        let masters = fleet.masters_at();
        let ports: Vec<u16> = masters.iter().map(|node| fleet.nodes[*node].port()).collect();
        let limit = Duration::from_secs(1);
        let mut group = store_of("g", of_cluster(&ports), LONG, limit);
        persist(async || group.begin(&record("a")).await).await;
        let first = persist(async || group.campaign("in").await).await.unwrap();
        let has = |node: &usize| fleet.nodes[*node].keys() > 0;
        let home = masters.iter().copied().find(has).expect("somebody has the key");
        // Whoever comes anew by a frozen node finds the others.
        let bystander = masters.iter().copied().find(|node| *node != home).unwrap();
        fleet.nodes[bystander].sigstop();
        let frozen = fleet.nodes[bystander].port();
        let mut seeds = ports.clone();
        seeds.sort_by_key(|port| *port != frozen);
        let mut other = store_of("g", of_cluster(&seeds), LONG, limit);
        assert!(
            persist(async || other.view().await)
                .await
                .members
                .contains_key("a")
        );
        fleet.nodes[bystander].sigcont();
        fleet.wait_whole();
        let acknowledged: i64 = {
            let mut conn = fleet.nodes[home].conn();
            let () = redis::cmd("HSET")
                .arg(KEY)
                .arg("x")
                .arg("y")
                .query(&mut conn)
                .unwrap();
            redis::cmd("WAIT").arg(1).arg(10_000).query(&mut conn).unwrap()
        };
        assert_eq!(acknowledged, 1);
        fleet.crash(home);
        persist(async || group.renew(&record("a")).await).await;
        assert_eq!(persist(async || group.campaign("in").await).await, Some(first));
    });
}

#[test]
fn a_cluster_that_was_taken_for_one_server_and_the_reverse_are_told() {
    let cluster = Cluster::start(2);
    let single = Server::start();
    block_on(async {
        let mut told = Vec::new();
        for master in &cluster.masters {
            let backend = crate::rig::of_redis(&at(master.port()));
            told.extend(store(backend, LONG).begin(&record("a")).await.err());
        }
        assert_eq!(told.len(), 1, "the one that has not the slot: {told:?}");
        let reverse = store(of_cluster(&[single.port()]), LONG)
            .begin(&record("a"))
            .await;
        for (error, hint) in [
            (&told[0], "type: cluster"),
            (&reverse.unwrap_err(), "type: standalone"),
        ] {
            assert!(error.needs_a_person(), "{error}");
            assert!(
                error.hint().unwrap().contains(hint),
                "{error}: {:?}",
                error.hint()
            );
        }
    });
}
