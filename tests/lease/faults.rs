//! What holds where answers are lost, and where the server is frozen, killed, or has forgotten.

use std::time::{Duration, Instant};

use gunyu::core::lease::Error;
use gunyu::core::position::Epoch;

use crate::rig::{LIMIT, LONG, Member, Rig, epoch, everywhere, persist, record, store, store_of};
use crate::support::proxy::{Proxy, Way};
use crate::support::workload::Seed;

/// So often a lease goes round.
const ROUNDS: u64 = 40;

/// The bytes after which a connection is cut lie within a question and its answer, or a few of them.
const FUSE_BYTES: u64 = 3_000;

#[test]
fn questions_whose_answers_are_lost_are_asked_again_without_harm() {
    let seed = Seed::pick();
    everywhere(async |rig| {
        let mut rng = seed.rng(u64::from(matches!(rig, Rig::Redis(_))));
        let proxy = Proxy::to(rig.port());
        let port = proxy.addr().rsplit(':').next().unwrap().parse().unwrap();
        let mut a = Member::begin(store(rig.backend_at(port), LONG), "a").await;
        let mut b = Member::begin(store(rig.backend_at(port), LONG), "b").await;
        let mut looks = rig.store();
        let mut last = Epoch::NONE;
        let mut fuse = || {
            let way = if rng.bool() { Way::Up } else { Way::Down };
            proxy.cut_after(way, rng.u64(..FUSE_BYTES));
        };
        for round in 0..ROUNDS {
            fuse();
            let taken = persist(async || a.store.campaign("in").await).await;
            assert_eq!(taken, Some(last.next()), "round {round}: one tenure, one epoch");
            let above = epoch(taken.unwrap().get() + round % 3);
            fuse();
            let raised = persist(async || a.store.raise("in", last.next(), above).await).await;
            assert_eq!(raised, Some(above.next()), "round {round}");
            fuse();
            let given = persist(async || a.store.transfer("in", above.next(), "b").await).await;
            assert_eq!(given, Some(above.next().next()), "round {round}");
            last = given.unwrap();
            assert_eq!(
                looks.view().await.unwrap().leases["in"].epoch,
                last,
                "round {round}"
            );
            fuse();
            persist(async || b.store.resign("in", last).await).await;
            assert!(looks.view().await.unwrap().leases.is_empty(), "round {round}");
            fuse();
            persist(async || a.renew().await).await;
            persist(async || b.renew().await).await;
        }
        assert!(proxy.cuts() > ROUNDS, "{} cuts", proxy.cuts());
    });
}

#[test]
fn beginning_and_ending_survive_lost_answers_too() {
    let seed = Seed::pick();
    everywhere(async |rig| {
        let mut rng = seed.rng(u64::from(matches!(rig, Rig::Redis(_))));
        let proxy = Proxy::to(rig.port());
        let port = proxy.addr().rsplit(':').next().unwrap().parse().unwrap();
        let mut member = store(rig.backend_at(port), LONG);
        let mut looks = rig.store();
        for round in 0..ROUNDS {
            let way = if rng.bool() { Way::Up } else { Way::Down };
            proxy.cut_after(way, rng.u64(..FUSE_BYTES));
            // Never taken by itself.
            persist(async || match member.begin(&record("a")).await {
                Err(Error::NameTaken { .. }) => panic!("round {round}: it has taken its own name"),
                other => other,
            })
            .await;
            assert!(looks.view().await.unwrap().members.contains_key("a"));
            persist(async || member.end().await).await;
            assert!(looks.view().await.unwrap().members.is_empty(), "round {round}");
        }
        assert!(proxy.cuts() > ROUNDS / 4, "{} cuts", proxy.cuts());
    });
}

#[test]
fn a_frozen_store_is_an_error_in_time_and_afterwards_all_is_as_it_was() {
    const SHORT_LIMIT: Duration = Duration::from_millis(300);
    everywhere(async |mut rig| {
        let mut member = rig.member("a").await;
        let first = member.store.campaign("in").await.unwrap().unwrap();
        let mut hasty = store_of("g", rig.backend(), LONG, SHORT_LIMIT);
        persist(async || hasty.begin(&record("b")).await).await;
        rig.sigstop();
        // With a connection that is open, and with a new one.
        for _ in 0..2 {
            let start = Instant::now();
            let error = hasty.renew(&record("b")).await.unwrap_err();
            let waited = start.elapsed();
            assert!(
                waited >= SHORT_LIMIT - Duration::from_millis(50),
                "{waited:?}: {error}"
            );
            assert!(waited < LIMIT, "{waited:?}: {error}");
            assert!(!error.needs_a_person(), "{error}");
        }
        rig.sigcont();
        persist(async || hasty.renew(&record("b")).await).await;
        member.renew().await.unwrap();
        assert_eq!(member.store.campaign("in").await.unwrap(), Some(first));
    });
}

#[test]
fn a_store_that_is_down_is_an_error_that_passes() {
    everywhere(async |mut rig| {
        let mut member = rig.member("a").await;
        rig.kill9();
        for _ in 0..2 {
            let error = member.renew().await.unwrap_err();
            assert!(
                !error.needs_a_person() && !matches!(error, Error::SessionLost),
                "{error}"
            );
        }
        let port = rig.port();
        let error = member.store.view().await.unwrap_err();
        assert!(error.to_string().contains(&port.to_string()), "{error}");
        assert!(error.hint().is_some(), "{error}");
    });
}

#[test]
fn an_etcd_that_is_restarted_keeps_sessions_leases_and_epochs() {
    everywhere(async |mut rig| {
        let Rig::Etcd(_) = rig else { return };
        let mut member = rig.member("a").await;
        let first = member.store.campaign("in").await.unwrap().unwrap();
        if let Rig::Etcd(etcd) = &mut rig {
            etcd.restart();
        }
        persist(async || member.renew().await).await;
        assert_eq!(member.store.campaign("in").await.unwrap(), Some(first));
        member.store.end().await.unwrap();
        let mut member = rig.member("a").await;
        assert_eq!(member.store.campaign("in").await.unwrap(), Some(first.next()));
    });
}

/// A Redis that saves nothing, and an etcd whose data are lost.
#[test]
fn a_store_that_has_forgotten_all_says_so_and_begins_to_count_anew() {
    everywhere(async |mut rig| {
        let mut member = rig.member("a").await;
        let first = member.store.campaign("in").await.unwrap().unwrap();
        let bumped = member.store.raise("in", first, epoch(6)).await.unwrap().unwrap();
        match &mut rig {
            Rig::Etcd(etcd) => etcd.restart_empty(),
            Rig::Redis(server) => server.restart(),
        }
        let lost = persist(async || match member.renew().await {
            Err(Error::SessionLost) => Ok(true),
            other => other.map(|()| false),
        });
        assert!(lost.await, "nobody holds on to what the store does not know");
        member.store.begin(&member.record).await.unwrap();
        // The number was given before. Whoever writes to the target sees there that a higher one was, and goes above it.
        assert_eq!(member.store.campaign("in").await.unwrap(), Some(first));
        assert_eq!(
            member.store.raise("in", first, bumped).await.unwrap(),
            Some(bumped.next())
        );
    });
}

#[test]
fn questions_that_are_dropped_halfway_do_no_harm() {
    let seed = Seed::pick();
    everywhere(async |rig| {
        let mut rng = seed.rng(u64::from(matches!(rig, Rig::Redis(_))));
        let (mut a, mut b) = (rig.member("a").await, rig.member("b").await);
        let mut last = Epoch::NONE;
        for round in 0..ROUNDS {
            let patience = Duration::from_micros(rng.u64(..8_000));
            drop(tokio::time::timeout(patience, a.store.campaign("in")).await);
            let taken = a.store.campaign("in").await.unwrap();
            assert_eq!(taken, Some(last.next()), "round {round}");
            let patience = Duration::from_micros(rng.u64(..8_000));
            drop(tokio::time::timeout(patience, a.store.transfer("in", last.next(), "b")).await);
            let given = a.store.transfer("in", last.next(), "b").await.unwrap();
            last = last.next().next();
            assert_eq!(given, Some(last), "round {round}");
            b.store.resign("in", last).await.unwrap();
        }
    });
}

/// Limits hold for the whole of a question, not for each of its parts.
#[test]
fn a_store_that_answers_drop_by_drop_is_an_error_in_time() {
    everywhere(async |rig| {
        let proxy = Proxy::to(rig.port());
        let port = proxy.addr().rsplit(':').next().unwrap().parse().unwrap();
        let mut member = Member::begin(store(rig.backend_at(port), LONG), "a").await;
        drop(member.store.view().await.unwrap());
        proxy.stall();
        let mut hasty = store_of("g", rig.backend_at(port), LONG, Duration::from_millis(200));
        let start = Instant::now();
        let error = hasty.view().await.unwrap_err();
        assert!(
            start.elapsed() < Duration::from_secs(2),
            "{:?}: {error}",
            start.elapsed()
        );
        proxy.resume();
        let mut patient = store_of("g", rig.backend_at(port), LONG, LIMIT);
        assert!(patient.view().await.unwrap().members.contains_key("a"));
    });
}
