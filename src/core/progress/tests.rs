//! The ladder's rules, and what is shown of it.

use super::*;

const fn at(n: u64) -> Offset {
    Offset::new(n)
}

#[test]
fn the_rungs_move_forward_in_their_order() {
    let progress = Progress::new();
    let receiving = progress.begin_history(at(10));
    let applying = progress.begin_applying(progress.generation(), at(0)).unwrap();
    receiving.received(at(30));
    receiving.appended(at(25));
    applying.applied(at(20), at(15));
    applying.released(at(15));
    let ladder = Ladder {
        received: at(30),
        appended: at(25),
        applied: at(20),
        checkpointed: at(15),
        released: at(15),
    };
    assert_eq!(progress.ladder(), ladder);
}

#[test]
#[should_panic(expected = "a checkpoint never passes the data")]
fn a_checkpoint_beyond_the_data_is_a_bug() {
    let progress = Progress::new();
    progress.begin_history(at(30));
    progress
        .begin_applying(progress.generation(), at(0))
        .unwrap()
        .applied(at(10), at(11));
}

#[test]
fn what_is_applied_before_its_append_is_told_counts_as_appended() {
    let progress = Progress::new();
    let receiving = progress.begin_history(at(10));
    let applying = progress.begin_applying(progress.generation(), at(10)).unwrap();
    receiving.received(at(30));
    applying.applied(at(25), at(25));
    assert_eq!(progress.ladder().appended, at(25));
    receiving.appended(at(30));
    assert_eq!(progress.ladder().appended, at(30));
}

#[test]
fn an_older_task_cannot_move_a_newer_ladder() {
    let progress = Progress::new();
    let receiving = progress.begin_history(at(500));
    let applying = progress.begin_applying(progress.generation(), at(100)).unwrap();
    progress.begin_history(at(7));
    receiving.received(at(900));
    applying.applied(at(500), at(500));
    assert_eq!(
        progress.ladder(),
        Ladder {
            received: at(7),
            appended: at(7),
            ..Ladder::default()
        }
    );
}

#[test]
fn applying_does_not_begin_on_a_history_that_is_gone() {
    let progress = Progress::new();
    progress.begin_history(at(1_000));
    let generation = progress.generation();
    progress.begin_history(at(5));
    assert!(progress.begin_applying(generation, at(900)).is_none());
}

#[test]
fn a_target_that_lost_its_tail_takes_applied_back() {
    let progress = Progress::new();
    progress.begin_history(at(100));
    progress
        .begin_applying(progress.generation(), at(50))
        .unwrap()
        .applied(at(90), at(90));
    progress.begin_applying(progress.generation(), at(60)).unwrap();
    assert_eq!(progress.ladder().applied, at(60));
    assert_eq!(progress.ladder().checkpointed, at(60));
}

#[test]
fn a_stream_whose_source_is_not_followed_is_not_live() {
    let progress = Progress::new();
    progress.set_phase(Phase::Incremental);
    progress.set_link(false);
    assert_eq!(progress.status().phase, Phase::Connecting);
    progress.report("the source is gone".into(), None);
    assert_eq!(progress.status().phase, Phase::Backoff);
    progress.set_link(true);
    assert_eq!(progress.status().phase, Phase::Incremental);
}

#[test]
fn the_lag_is_that_of_the_oldest_command_waiting() {
    let progress = Progress::new();
    let receiving = progress.begin_history(at(0));
    let applying = progress.begin_applying(progress.generation(), at(0)).unwrap();
    assert_eq!(progress.status().lag, Duration::ZERO);
    receiving.received(at(10));
    receiving.appended(at(10));
    progress.set_source_offset(at(14));
    assert!(progress.status().lag > Duration::ZERO);
    assert_eq!(progress.status().lag_bytes, 14);
    applying.applied(at(10), at(10));
    assert_eq!(progress.status().lag, Duration::ZERO);
    assert_eq!(progress.status().lag_bytes, 4);
}

#[test]
fn the_marks_for_the_lag_are_bounded() {
    let mut inner = Inner::default();
    let long_ago = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
    for n in 0..MARKS_MAX as u64 {
        inner.marks.push_back((at(n), long_ago));
    }
    inner.mark(at(9_999));
    assert_eq!(inner.marks.len(), MARKS_MAX / 2 + 1);
    assert_eq!(inner.marks.front(), Some(&(at(0), long_ago)));
}

fn told(received: u64, applied: u64, checkpointed: u64) -> Told {
    Told {
        received: at(received),
        source: at(received),
        applied: at(applied),
        checkpointed: at(checkpointed),
    }
}

#[test]
fn a_mirror_shows_of_the_leader_what_is_held_here_and_follows_it_back() {
    let progress = Progress::new();
    let receiving = progress.begin_history(at(10));
    let mirroring = progress.begin_mirroring();
    receiving.received(at(50));
    receiving.appended(at(40));
    for (leader, applied, checkpointed) in [
        (told(90, 80, 70), 40, 40),
        (told(90, 80, 30), 40, 30),
        (told(90, 20, 20), 20, 20),
    ] {
        mirroring.told(leader);
        let expected = Ladder {
            received: at(50),
            appended: at(40),
            applied: at(applied),
            checkpointed: at(checkpointed),
            released: at(0),
        };
        assert_eq!(progress.ladder(), expected);
        assert_eq!(*progress.watch_checkpointed().borrow(), at(checkpointed));
    }
}

#[test]
fn a_mirror_is_deaf_once_the_history_is_new_or_applied_here() {
    let progress = Progress::new();
    progress.begin_history(at(50));
    let of_before = progress.begin_mirroring();
    let applying = progress.begin_applying(progress.generation(), at(20)).unwrap();
    of_before.told(told(50, 50, 50));
    assert_eq!(progress.ladder().applied, at(20));
    let mirroring = progress.begin_mirroring();
    applying.applied(at(30), at(30));
    assert_eq!(progress.ladder().applied, at(20));
    progress.begin_history(at(70));
    mirroring.told(told(60, 60, 60));
    assert_eq!(progress.ladder().applied, at(0));
}

#[test]
fn the_lag_of_a_follower_is_that_of_its_log_behind_the_leaders() {
    let progress = Progress::new();
    progress.set_phase(Phase::Following);
    let receiving = progress.begin_history(at(10));
    let mirroring = progress.begin_mirroring();
    assert_eq!(progress.status().lag_bytes, 0);
    mirroring.told(told(25, 0, 0));
    let status = progress.status();
    assert_eq!(status.lag_bytes, 15);
    assert!(status.lag > Duration::ZERO);
    receiving.received(at(25));
    let status = progress.status();
    assert_eq!((status.lag_bytes, status.lag), (0, Duration::ZERO));
    progress.set_link(false);
    assert_eq!(progress.status().phase, Phase::Connecting);
}
