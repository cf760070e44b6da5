//! A follower's copy of the leader's log, over real HTTP on loopback: what holds, whatever happens on the way.

#![allow(clippy::unwrap_used, clippy::panic)] // a helper that fails fails its test

mod support;

#[allow(unreachable_pub, dead_code)]
#[path = "peer/rig.rs"]
mod rig;

#[path = "peer/daemon.rs"]
mod daemon;

use std::time::{Duration, Instant};

use gunyu::core::log::{FlushPolicy, Stage};
use gunyu::core::peer::Heard;
use gunyu::core::peer::follower::SILENCE_MAX;
use gunyu::core::progress::{Counters, Phase};
use rig::{Following, Leading, Place, SOON, at, history, id, leader_at, stream};
use support::Proxy;
use support::proxy::Way;
use support::workload::Seed;
use tokio::time::timeout;

/// All ways to keep two logs: the leader's in memory, the follower's.
const KEPT: [(bool, bool); 4] = [(false, false), (false, true), (true, false), (true, true)];

fn addr(proxy: &Proxy) -> std::net::SocketAddr {
    proxy.addr().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_is_copied_byte_for_byte_while_it_is_appended() {
    for (leaders, followers) in KEPT {
        let (here, there) = (Place::new(leaders), Place::new(followers));
        let leading = Leading::live_at(&here, 1_000).await;
        let following = Following::start(there.open().await, leading.addr);
        // Small chunks, such as go together; and large ones, which do not.
        leading.append_stream(200_000, 300).await;
        leading.append_stream(8 << 20, 600_000).await;
        following.has(1_000, leading.log.appended().get()).await;
        assert_eq!(following.log.history(), Some(history()));
        assert_eq!(following.log.released(), at(1_000));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_cut_anywhere_resumes_without_gap_or_repetition() {
    const CUTS: u64 = 9;
    let seed = Seed::pick();
    let mut random = seed.rng(0);
    for (leaders, followers) in KEPT {
        let (here, there) = (Place::new(leaders), Place::new(followers));
        let leading = Leading::live_at(&here, 7).await;
        let proxy = Proxy::to(leading.addr.port());
        let following = Following::start(there.open().await, addr(&proxy));
        following.hears(|heard| heard.is_linked).await;
        let generation = following.log.generation();
        for n in 0..CUTS {
            // Now in the head of the answer, now in the first frames, now far into the stream.
            let most = [300, 3_000, 400_000][n as usize % 3];
            proxy.cut_after(Way::Down, random.u64(0..most));
            while proxy.cuts() <= n {
                leading.append_stream(5_000, 2_000).await;
                timeout(Duration::from_millis(5), following.hears(|_| false))
                    .await
                    .ok();
            }
        }
        leading.append_stream(100_000, 20_000).await;
        following.has(7, leading.log.appended().get()).await;
        assert_eq!(
            following.log.generation(),
            generation,
            "each time it went on where it was"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_byte_changed_on_the_way_is_noticed_and_asked_for_again() {
    let (here, there) = (Place::new(false), Place::new(false));
    let leading = Leading::live_at(&here, 0).await;
    let proxy = Proxy::to(leading.addr.port());
    let following = Following::start(there.open().await, addr(&proxy));
    for _ in 0..20 {
        let before = following.log.appended().get();
        // Beyond what heads and standings take, within one chunk of 1 MiB.
        proxy.spoil_after(100_000);
        leading
            .append(stream(leading.log.appended().get(), 1 << 20))
            .await;
        following.has(before, leading.log.appended().get()).await;
        let error = following.progress.status().last_error.unwrap();
        assert!(error.message.contains("damaged on its way"), "{error:?}");
    }
    following.has(0, 20 << 20).await;
}

/// A leader in a full sync: a snapshot for 1,000 of `len` bytes, half of it here.
async fn in_full_sync(place: &Place, len: usize) -> (Leading, gunyu::core::log::SnapshotWriter) {
    let leading = Leading::of(place.open().await).await;
    leading.progress.set_phase(Phase::FullSync);
    let begun = leading.log.begin_snapshot(history(), at(1_000), None).await;
    let mut writer = begun.unwrap();
    drop(leading.progress.begin_history(at(1_000)));
    writer.append(stream(0, len / 2)).await.unwrap();
    (leading, writer)
}

/// Waits until so much of a snapshot is there, or it is whole.
async fn snapshot_has(following: &Following, bytes: u64) {
    comes_about(|| {
        following
            .log
            .snapshot()
            .is_some_and(|one| one.received_bytes >= bytes)
    })
    .await;
}

async fn comes_about(holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(SOON, wait).await.expect("it comes about");
}

async fn snapshot_is(following: &Following, len: usize) {
    let wait = async {
        loop {
            let whole = following.log.snapshot().filter(|one| one.stage == Stage::Whole);
            if whole.is_some() {
                break;
            }
            following.hears(|_| true).await;
        }
    };
    timeout(SOON, wait).await.unwrap();
    let mut reader = following.log.snapshot_reader(0).unwrap();
    let mut all = Vec::new();
    while let Some(bytes) = reader.next().await.unwrap() {
        all.extend_from_slice(&bytes);
    }
    assert!(all == stream(0, len), "another snapshot");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_copied_while_it_comes_and_begun_anew_where_it_broke_off() {
    const LEN: usize = 6 << 20;
    let (here, there) = (Place::new(false), Place::new(false));
    let (leading, mut writer) = in_full_sync(&here, LEN).await;
    let proxy = Proxy::to(leading.addr.port());
    let following = Following::start(there.open().await, addr(&proxy));
    snapshot_has(&following, LEN as u64 / 2).await;
    let first = following.log.generation();
    proxy.cut();
    comes_about(|| following.log.generation() == first + 1).await;
    snapshot_has(&following, LEN as u64 / 2).await;
    writer.append(stream(LEN as u64 / 2, LEN / 2)).await.unwrap();
    leading.append_stream(50_000, 5_000).await;
    writer.finish().await.unwrap();
    leading.append_stream(50_000, 5_000).await;
    following.has(1_000, 101_000).await;
    snapshot_is(&following, LEN).await;
    // Who has all of it goes on with the stream, though the leader is in its full sync still.
    proxy.cut();
    leading.append_stream(50_000, 5_000).await;
    following.has(1_000, 151_000).await;
    assert_eq!(following.log.generation(), first + 1);
    assert_eq!(following.log.snapshot().unwrap().position.offset, at(1_000));
    let shown = || following.progress.status().full_sync.unwrap();
    assert_eq!((shown().percent(), shown().is_received()), (0.0, true));
    // What the leader has on the target is done for whoever follows it.
    leading.checkpointed(101_000);
    following
        .hears(|heard| heard.standing.as_ref().is_some_and(|standing| standing.is_exact))
        .await;
    assert_eq!((shown().percent(), shown().replayed_bytes), (100.0, LEN as u64));
    let copied = Counters::read(&following.progress.counters.log_bytes_copied);
    let (most, stream) = (
        Counters::read(&leading.progress.counters.log_bytes_served),
        150_000,
    );
    assert!(
        copied >= (LEN + LEN / 2) as u64 + stream && copied <= most,
        "{copied} of {most}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_does_not_fit_is_left_out_until_the_leader_is_live() {
    let (here, there) = (Place::new(false), Place::within(false, 1 << 20));
    let (leading, mut writer) = in_full_sync(&here, 8 << 20).await;
    let following = Following::start(there.open().await, leading.addr);
    comes_about(|| {
        let error = following.progress.status().last_error;
        error.is_some_and(|error| error.message.contains("no room"))
    })
    .await;
    writer.append(stream(4 << 20, 4 << 20)).await.unwrap();
    writer.finish().await.unwrap();
    leading.append_stream(10_000, 1_000).await;
    leading.checkpointed(5_000);
    following.has(5_000, 11_000).await;
    assert!(there.space.used_bytes() <= 1 << 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_memory_waits_for_a_leader_that_is_live() {
    let (here, there) = (Place::new(false), Place::new(true));
    let (leading, writer) = in_full_sync(&here, 1_000).await;
    let proxy = Proxy::to(leading.addr.port());
    let following = Following::start(there.open().await, addr(&proxy));
    comes_about(|| proxy.accepted() > 2).await;
    assert_eq!(following.log.history(), None);
    writer.finish().await.unwrap();
    leading.append_stream(1_000, 100).await;
    leading.checkpointed(1_500);
    following.has(1_500, 2_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leaders_log_that_begins_anew_is_followed_anew() {
    for (leaders, followers) in KEPT {
        let (here, there) = (Place::new(leaders), Place::new(followers));
        let leading = Leading::live_at(&here, 1_000).await;
        let following = Following::start(there.open().await, leading.addr);
        leading.append_stream(20_000, 1_000).await;
        following.has(1_000, 21_000).await;
        let other = gunyu::core::position::History::new(id(b'b'));
        leading.log.start_at(other, at(50)).await.unwrap();
        leading.checkpointed(50);
        leading.append_stream(20_000, 1_000).await;
        comes_about(|| following.log.history() == Some(other)).await;
        following.has(50, 20_050).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_name_of_the_history_is_taken_over_without_beginning_anew() {
    for (leaders, followers) in KEPT {
        let (here, there) = (Place::new(leaders), Place::new(followers));
        let leading = Leading::live_at(&here, 0).await;
        let proxy = Proxy::to(leading.addr.port());
        let following = Following::start(there.open().await, addr(&proxy));
        leading.append_stream(10_000, 1_000).await;
        following.has(0, 10_000).await;
        let generation = following.log.generation();
        let renamed = history().renamed(id(b'b'), at(10_000));
        leading.log.rename_history(renamed).await.unwrap();
        leading.append_stream(10_000, 1_000).await;
        following.has(0, 20_000).await;
        assert_eq!(following.log.history(), Some(renamed));
        // And while it is away.
        proxy.refuse(true);
        proxy.cut();
        let again = renamed.renamed(id(b'c'), at(20_000));
        leading.log.rename_history(again).await.unwrap();
        leading.append_stream(10_000, 1_000).await;
        proxy.refuse(false);
        following.has(0, 30_000).await;
        assert_eq!(following.log.history(), Some(again));
        assert_eq!(following.log.generation(), generation);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_log_waits_for_the_leaders_checkpoint_and_never_passes_its_cap() {
    const CAP: u64 = 256 << 10;
    for followers in [false, true] {
        let (here, mut there) = (Place::new(false), Place::within(followers, CAP));
        there.segment_bytes = 16 << 10;
        let leading = Leading::live_at(&here, 0).await;
        let following = Following::start(there.open().await, leading.addr);
        leading.append_stream(4 * CAP as usize, 8_000).await;
        comes_about(|| {
            let error = following.progress.status().last_error;
            error.is_some_and(|error| error.message.contains("nothing can be released"))
        })
        .await;
        assert_eq!(
            following.log.released(),
            at(0),
            "nothing is dropped that may be needed"
        );
        for n in 1..=4 {
            assert!(there.space.used_bytes() <= CAP);
            leading.checkpointed(n * CAP);
            let wanted = (n * CAP + CAP / 2).min(4 * CAP);
            comes_about(|| following.log.appended() >= at(wanted)).await;
        }
        following.has(following.log.released().get(), 4 * CAP).await;
        assert!(there.space.used_bytes() <= CAP);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_leader_says_of_itself_is_heard_and_mirrored() {
    let (here, there) = (Place::new(false), Place::new(false));
    let leading = Leading::live_at(&here, 1_000).await;
    leading.board.set_windows("[1]");
    let following = Following::start(there.open().await, leading.addr);
    leading.append_stream(500, 100).await;
    following.has(1_000, 1_500).await;
    leading.checkpointed(1_400);
    leading.board.set_waits_for(Some("other"));
    let is_all = |heard: &Heard| {
        let standing = heard.standing.clone().unwrap_or_default();
        standing.checkpointed == at(1_400) && standing.waits_for.is_some() && &*heard.windows == "[1]"
    };
    let heard = following.hears(is_all).await;
    assert!(heard.is_linked && heard.standing.unwrap().is_exact);
    let status = following.progress.status();
    assert_eq!(status.phase, Phase::Following);
    assert_eq!(
        (status.ladder.received, status.ladder.checkpointed),
        (at(1_500), at(1_400))
    );
    assert_eq!(status.lag_bytes, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_is_ahead_keeps_what_it_has_and_says_so() {
    let (here, there) = (Place::new(false), Place::new(false));
    let leading = Leading::live_at(&here, 100).await;
    let log = there.open().await;
    log.start_at(history(), at(0)).await.unwrap();
    log.writer().unwrap().append(stream(0, 150)).await.unwrap();
    let following = Following::start(log, leading.addr);
    let says_so = || {
        let trouble = following.progress.status().last_error;
        trouble.is_some_and(|trouble| trouble.message.contains("the follower is ahead"))
    };
    comes_about(says_so).await;
    following.has(0, 150).await;
    // Once the leader has got there it goes on.
    leading.append_stream(100, 100).await;
    following.hears(|heard| heard.is_linked).await;
    following.has(0, 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_leader_is_followed_at_once_and_none_is_waited_for() {
    let (one, two, there) = (Place::new(false), Place::new(false), Place::new(false));
    let (first, second) = (Leading::live_at(&one, 0).await, Leading::live_at(&two, 0).await);
    let following = Following::of(there.open().await, None, "in");
    assert_eq!(following.log.history(), None);
    following.leader.send_replace(Some(leader_at(first.addr)));
    first.append_stream(1_000, 100).await;
    following.has(0, 1_000).await;
    second.append_stream(2_000, 100).await;
    let began = Instant::now();
    following.leader.send_replace(Some(leader_at(second.addr)));
    following.has(0, 2_000).await;
    // Else it has waited until the first one was given up.
    assert!(began.elapsed() < SILENCE_MAX, "{:?}", began.elapsed());
    following.leader.send_replace(None);
    following.hears(|heard| !heard.is_linked).await;
    assert_eq!(following.progress.status().phase, Phase::Connecting);
    let (log, _) = following.stop().await;
    // Nobody else holds the pen.
    log.writer().unwrap().append(stream(2_000, 10)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_it_goes_on_where_it_was() {
    const LEN: usize = 4 << 20;
    let (here, there) = (Place::new(false), Place::new(false));
    let leading = Leading::live_at(&here, 0).await;
    let following = Following::start(there.open().await, leading.addr);
    leading.append_stream(LEN, 100_000).await;
    following.has(0, LEN as u64).await;
    let (log, _) = following.stop().await;
    drop(log);
    leading.append_stream(1_000, 100).await;
    let proxy = Proxy::to(leading.addr.port());
    let following = Following::start(there.open().await, addr(&proxy));
    following.has(0, LEN as u64 + 1_000).await;
    assert!(
        proxy.bytes().1 < 100_000,
        "{:?} bytes came over again",
        proxy.bytes()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_falls_silent_is_given_up_and_found_again() {
    let (here, mut there) = (Place::new(false), Place::new(false));
    there.flush = FlushPolicy::EveryWrite;
    let leading = Leading::live_at(&here, 0).await;
    let proxy = Proxy::to(leading.addr.port());
    let following = Following::start(there.open().await, addr(&proxy));
    leading.append_stream(1_000, 100).await;
    following.has(0, 1_000).await;
    proxy.stall();
    following.hears(|heard| !heard.is_linked).await;
    let error = following.progress.status().last_error.unwrap();
    assert!(error.message.contains("did not answer"), "{error:?}");
    leading.append_stream(1_000, 100).await;
    proxy.cut();
    proxy.resume();
    following.has(0, 2_000).await;
}
