//! What holds over every store.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use gunyu::core::lease::Error;
use gunyu::core::position::Epoch;

use crate::rig::{LIMIT, LONG, SHORT, epoch, everywhere, record, store_of};
use crate::support::SOON;

#[test]
fn of_many_that_campaign_at_once_one_wins_and_each_tenure_has_an_epoch_of_its_own() {
    everywhere(async |rig| {
        let mut members = Vec::new();
        for number in 0..6 {
            members.push(rig.member(&format!("m{number}")).await);
        }
        let mut last = Epoch::NONE;
        for _ in 0..20 {
            let asked = members.iter_mut().map(|member| member.store.campaign("in"));
            let answers: Vec<Option<Epoch>> = join_all(asked).await.into_iter().map(Result::unwrap).collect();
            let won: Vec<usize> = (0..answers.len()).filter(|at| answers[*at].is_some()).collect();
            assert_eq!(won.len(), 1, "{answers:?}");
            let epoch = answers[won[0]].unwrap();
            assert!(epoch > last, "{epoch} after {last}");
            last = epoch;
            // Once more: it is his.
            let winner = &mut members[won[0]].store;
            assert_eq!(winner.campaign("in").await.unwrap(), Some(epoch));
            winner.resign("in", epoch).await.unwrap();
        }
    });
}

#[test]
fn a_session_that_is_not_renewed_ends_after_its_time_and_never_before() {
    everywhere(async |rig| {
        let mut member = rig.member_for("a", SHORT).await;
        let first = member.store.campaign("in").await.unwrap().unwrap();
        // As long as it is renewed it lasts.
        let first_end = member.until;
        while Instant::now() <= first_end {
            tokio::time::sleep(Duration::from_secs(1)).await;
            member.renew().await.unwrap();
        }
        let mut other = rig.member("b").await;
        loop {
            let won = other.store.campaign("in").await.unwrap();
            let now = Instant::now();
            assert!(now < member.until + SOON, "{:?} late", now - member.until);
            if let Some(epoch) = won {
                assert!(now >= member.until, "{:?} too early", member.until - now);
                assert!(epoch > first, "{epoch}");
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let view = other.store.view().await.unwrap();
        assert_eq!(view.members.keys().collect::<Vec<_>>(), ["b"]);
        assert_eq!(view.leases["in"].holder, "b");
        // It learns of it, whatever it asks, and begins anew.
        assert!(matches!(member.renew().await, Err(Error::SessionLost)));
        let asked = member.store.campaign("in").await;
        assert!(matches!(asked, Err(Error::SessionLost)), "{asked:?}");
        assert_eq!(member.store.transfer("in", first, "b").await.unwrap(), None);
        assert_eq!(member.store.raise("in", first, epoch(50)).await.unwrap(), None);
        member.store.resign("in", first).await.unwrap();
        member.store.begin(&member.record).await.unwrap();
        assert_eq!(member.store.campaign("in").await.unwrap(), None);
    });
}

#[test]
fn who_has_lost_his_session_does_not_get_his_leases_back_with_a_new_one() {
    everywhere(async |rig| {
        let mut member = rig.member_for("a", SHORT).await;
        let first = member.store.campaign("in").await.unwrap().unwrap();
        let mut other = rig.store();
        while !other.view().await.unwrap().members.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // He begins without having noticed.
        member.store.begin(&member.record).await.unwrap();
        let view = other.view().await.unwrap();
        assert!(
            view.members.contains_key("a") && view.leases.is_empty(),
            "{view:?}"
        );
        let second = member.store.campaign("in").await.unwrap().unwrap();
        assert!(second > first, "{second}");
    });
}

#[test]
fn a_transfer_is_one_step_with_a_new_epoch_and_what_is_stale_changes_nothing() {
    everywhere(async |rig| {
        let (mut a, mut b) = (rig.member("a").await, rig.member("b").await);
        let _c = rig.member("c").await;
        let first = a.store.campaign("in").await.unwrap().unwrap();
        assert_eq!(a.store.transfer("in", first, "nobody").await.unwrap(), None);
        assert_eq!(
            b.store.transfer("in", first, "b").await.unwrap(),
            None,
            "it is not his"
        );
        let second = a.store.transfer("in", first, "b").await.unwrap().unwrap();
        assert_eq!(second, first.next());
        let held = async |store: &mut gunyu::core::lease::Store| {
            let lease = store.view().await.unwrap().leases["in"].clone();
            (lease.holder, lease.epoch)
        };
        assert_eq!(held(&mut a.store).await, ("b".to_owned(), second));
        assert_eq!(b.store.campaign("in").await.unwrap(), Some(second));
        // The same question again, as when its answer was lost.
        assert_eq!(a.store.transfer("in", first, "b").await.unwrap(), Some(second));
        // What the former holder still has in his queue.
        assert_eq!(a.store.transfer("in", first, "c").await.unwrap(), None);
        assert_eq!(a.store.raise("in", first, epoch(90)).await.unwrap(), None);
        a.store.resign("in", first).await.unwrap();
        a.store.resign("in", second).await.unwrap();
        // What the holder has from a tenure before.
        assert_eq!(b.store.transfer("in", first, "c").await.unwrap(), None);
        b.store.resign("in", first).await.unwrap();
        assert_eq!(held(&mut a.store).await, ("b".to_owned(), second));
        // It is bound to the new holder's session, not to the old one's.
        a.store.end().await.unwrap();
        assert_eq!(held(&mut b.store).await, ("b".to_owned(), second));
        b.store.end().await.unwrap();
        assert!(rig.store().view().await.unwrap().leases.is_empty());
    });
}

#[test]
fn a_raised_epoch_jumps_above_what_it_is_told_and_all_later_ones_are_above_it() {
    everywhere(async |rig| {
        let mut a = rig.member("a").await;
        let first = a.store.campaign("in").await.unwrap().unwrap();
        assert_eq!(
            a.store.raise("in", first, epoch(41)).await.unwrap(),
            Some(epoch(42))
        );
        // The same question again, as when its answer was lost.
        assert_eq!(
            a.store.raise("in", first, epoch(41)).await.unwrap(),
            Some(epoch(42))
        );
        // With an epoch that is not ours any more, and something to do.
        assert_eq!(a.store.raise("in", first, epoch(99)).await.unwrap(), None);
        // A store that forgot may have given the same number to somebody else.
        assert_eq!(
            a.store.raise("in", epoch(42), epoch(42)).await.unwrap(),
            Some(epoch(43))
        );
        assert_eq!(a.store.campaign("in").await.unwrap(), Some(epoch(43)));
        a.store.resign("in", epoch(43)).await.unwrap();
        assert_eq!(a.store.campaign("in").await.unwrap(), Some(epoch(44)));
        let absurd = a.store.raise("in", epoch(44), epoch(u64::MAX)).await.unwrap_err();
        assert!(absurd.needs_a_person() && absurd.hint().is_some(), "{absurd}");
        // Another input counts for itself.
        assert_eq!(a.store.campaign("other").await.unwrap(), Some(epoch(1)));
    });
}

#[test]
fn large_epochs_are_counted_exactly() {
    everywhere(async |rig| {
        let mut a = rig.member("a").await;
        let first = a.store.campaign("in").await.unwrap().unwrap();
        let most = epoch(1 << 52);
        assert_eq!(a.store.raise("in", first, most).await.unwrap(), Some(most.next()));
        assert_eq!(a.store.view().await.unwrap().leases["in"].epoch, most.next());
        a.store.resign("in", most.next()).await.unwrap();
        assert_eq!(a.store.campaign("in").await.unwrap(), Some(most.next().next()));
    });
}

#[test]
fn a_view_shows_all_of_the_group_and_nothing_of_another() {
    everywhere(async |rig| {
        let (mut a, b) = (
            rig.member("127.0.0.1:18001").await,
            rig.member("[::1]:2/x y").await,
        );
        let inputs = ["127.0.0.1_6379-00ff", "a/b c", "ü"];
        for input in inputs {
            a.store.campaign(input).await.unwrap().unwrap();
        }
        a.store.put_note("k/1", "one\ntwo").await.unwrap();
        let mut neighbours = Vec::new();
        for group in ["g2", "g/registry", "", "G"] {
            let mut store = store_of(group, rig.backend(), LONG, LIMIT);
            store.begin(&record("neighbour")).await.unwrap();
            store.put_note("n", "").await.unwrap();
            neighbours.push(store);
        }
        let view = a.store.view().await.unwrap();
        let members: BTreeSet<&str> = view.members.keys().map(String::as_str).collect();
        assert_eq!(members, BTreeSet::from(["127.0.0.1:18001", "[::1]:2/x y"]));
        let mut told = view.members["[::1]:2/x y"].clone();
        told.beat = 0;
        assert_eq!(told, b.record);
        let held: Vec<(&str, &str, u64)> = view
            .leases
            .iter()
            .map(|(input, lease)| (input.as_str(), lease.holder.as_str(), lease.epoch.get()))
            .collect();
        assert_eq!(held, inputs.map(|input| (input, "127.0.0.1:18001", 1)));
        let notes: Vec<(&str, &str)> = view.notes.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(notes, [("k/1", "one\ntwo")]);
    });
}

#[test]
fn notes_are_written_made_once_and_removed() {
    everywhere(async |rig| {
        let mut store = rig.store();
        assert!(store.create_note("k", "mine").await.unwrap());
        assert!(!store.create_note("k", "yours").await.unwrap());
        assert_eq!(store.view().await.unwrap().notes["k"], "mine");
        store.put_note("k", "ours").await.unwrap();
        assert_eq!(store.view().await.unwrap().notes["k"], "ours");
        store.remove_note("k").await.unwrap();
        store.remove_note("k").await.unwrap();
        assert!(store.view().await.unwrap().notes.is_empty());
        assert!(store.create_note("k", "again").await.unwrap());
    });
}

#[test]
fn a_name_is_one_sessions_until_that_has_ended_and_a_living_one_is_told_from_a_dead_one() {
    everywhere(async |rig| {
        let mut former = rig.member_for("a", SHORT).await;
        let mut store = rig.store();
        let taken = async |store: &mut gunyu::core::lease::Store| match store.begin(&record("a")).await {
            Err(Error::NameTaken { by, .. }) => by,
            other => panic!("{other:?}"),
        };
        let first = taken(&mut store).await;
        assert_eq!((first.version.as_str(), first.machine.as_str()), ("1.2.3", "m"));
        assert_eq!(taken(&mut store).await.beat, first.beat);
        former.renew().await.unwrap();
        assert!(taken(&mut store).await.beat > first.beat, "it lives");
        // It dies, and the name is free by itself.
        loop {
            match store.begin(&record("a")).await {
                Ok(_) => break,
                Err(Error::NameTaken { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(Instant::now() >= former.until);
        assert!(matches!(former.renew().await, Err(Error::SessionLost)));
        // One that ends in good order leaves it at once.
        store.end().await.unwrap();
        former.store.begin(&record("a")).await.unwrap();
    });
}

#[test]
fn who_ends_leaves_all_at_once_and_whoever_has_not_begun_gets_nothing() {
    everywhere(async |rig| {
        let (mut a, mut b) = (rig.member("a").await, rig.member("b").await);
        for input in ["x", "y"] {
            a.store.campaign(input).await.unwrap().unwrap();
        }
        a.store.end().await.unwrap();
        let view = b.store.view().await.unwrap();
        assert!(
            view.leases.is_empty() && !view.members.contains_key("a"),
            "{view:?}"
        );
        assert_eq!(b.store.campaign("x").await.unwrap(), Some(epoch(2)));
        a.store.end().await.unwrap();
        for asked in [
            a.store.campaign("y").await.map(drop),
            a.store.renew(&a.record).await.map(drop),
        ] {
            assert!(matches!(asked, Err(Error::SessionLost)), "{asked:?}");
        }
        assert_eq!(a.store.transfer("x", epoch(2), "b").await.unwrap(), None);
    });
}
