//! Who may take a session from whom.

use gunyu::core::position::Epoch;
use gunyu::core::target::Error;
use gunyu::core::target::checkpoint::{self, Record};
use gunyu::core::target::session::{Claim, Session};

use super::{Target, record, take, text};

/// The epoch that outranked it.
#[track_caller]
fn outranked_by(taken: Result<Session, Error>) -> u64 {
    match taken {
        Err(Error::Outranked { epoch, .. }) => epoch.get(),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was taken"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_epoch_takes_nothing_and_changes_nothing() {
    for target in Target::both() {
        let settings = target.settings();
        let mut new = take(&settings, "new", 6).await.unwrap();
        assert_eq!(outranked_by(take(&settings, "old", 5).await), 6);
        assert_eq!(target.session(), ["new", "6"]);
        // Nor were its connections ended, or its transactions disturbed.
        new.write_record(record(&new.record.clone())).await.unwrap();
        assert_eq!(target.recorded_epoch().as_deref(), Some("6"));
        assert_eq!(outranked_by(take(&settings, "old", 5).await), 6);
        let () = target.ask(&["DEL", &text(&checkpoint::session_key(super::NAME))]);
        assert_eq!(
            outranked_by(take(&settings, "old", 5).await),
            6,
            "the checkpoint says it too"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_equal_epoch_is_taken_by_the_same_tenure_alone() {
    for target in Target::both() {
        let settings = target.settings();
        drop(take(&settings, "first", 6).await.unwrap());
        assert_eq!(outranked_by(take(&settings, "other", 6).await), 6);
        let ours = ["zeroth".to_owned(), "first".to_owned()];
        let claim = Claim {
            epoch: Epoch::new(6),
            ours: &ours,
        };
        let second = Session::take(&settings, None, "second".to_owned(), claim)
            .await
            .unwrap();
        assert_eq!(second.previous.as_deref(), Some("first"));
        assert_eq!(target.session(), ["second", "6"]);
        // A leader of the same number raises its own.
        drop(take(&settings, "other", 7).await.unwrap());
        assert_eq!(target.session(), ["other", "7"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checkpoint_has_the_epoch_from_the_taking_on() {
    for target in Target::both() {
        let settings = target.settings();
        let mut old = take(&settings, "old", 5).await.unwrap();
        assert_eq!(target.recorded_epoch(), None, "there was no checkpoint");
        old.write_record(record(&old.record.clone())).await.unwrap();
        let new = take(&settings, "new", 8).await.unwrap();
        assert_eq!(target.recorded_epoch().as_deref(), Some("8"));
        assert_eq!(
            new.record,
            Record {
                epoch: Epoch::new(8),
                ..old.record.clone()
            }
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_epoch_outranks_nobody_and_is_outranked_by_nobody() {
    for target in Target::both() {
        let settings = target.settings();
        let mut leader = take(&settings, "leader", 6).await.unwrap();
        leader.write_record(record(&leader.record.clone())).await.unwrap();
        let mut alone = take(&settings, "alone", 0).await.unwrap();
        assert_eq!(target.session(), ["alone", "0"]);
        alone.write_record(alone.record.clone()).await.unwrap();
        assert_eq!(
            target.recorded_epoch().as_deref(),
            Some("6"),
            "it stays as it was"
        );
        drop(take(&settings, "alone too", 0).await.unwrap());
        assert_eq!(outranked_by(take(&settings, "older", 5).await), 6);
        // Somebody has been there since: only a higher epoch is certainly newer.
        assert_eq!(outranked_by(take(&settings, "leader again", 6).await), 6);
        drop(take(&settings, "leader again", 7).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_of_an_older_gunyu_has_no_epoch() {
    for target in Target::both() {
        let key = text(&checkpoint::session_key(super::NAME));
        let () = target.ask(&["HSET", &key, "0123456789abcdef", "1"]);
        let first = take(&target.settings(), "first", 1).await.unwrap();
        assert_eq!(first.previous.as_deref(), Some("0123456789abcdef"));
        assert_eq!(target.session(), ["first", "1"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_outranked_is_told_so_in_words_and_what_to_do() {
    for target in Target::both() {
        let settings = target.settings();
        drop(take(&settings, "new", 41).await.unwrap());
        let error = take(&settings, "old", 40).await.unwrap_err();
        let said = error.to_string();
        assert!(said.contains("lease epoch 41 has taken over"), "{said}");
        assert!(said.starts_with("target 127.0.0.1:"), "{said}");
        let hint = error.hint().unwrap();
        assert!(
            hint.contains("one store of leases") && hint.contains("above 41"),
            "{hint}"
        );
        assert!(!error.may_pass_soon() && !error.is_denied());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_is_written_all_the_time_does_not_hold_up_the_taking() {
    let [one, _] = Target::both();
    let settings = one.settings();
    let mut old = take(&settings, "old", 5).await.unwrap();
    let written = record(&old.record.clone());
    let writing = tokio::spawn(async move {
        let mut written_times = 0_u64;
        while old.write_record(written.clone()).await.is_ok() {
            written_times += 1;
        }
        written_times
    });
    super::soon(async {
        while one.recorded_epoch().is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(super::soon(take(&settings, "new", 6)).await.unwrap());
    assert!(super::soon(writing).await.unwrap() > 0);
    assert_eq!(one.recorded_epoch().as_deref(), Some("6"));
}
