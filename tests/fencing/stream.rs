//! The live stream of an older session.

use std::time::Duration;

use gunyu::core::command::slot;
use gunyu::core::position::Offset;
use gunyu::core::target::batch::Batch;
use gunyu::core::target::cluster::fenced::Fenced;
use gunyu::core::target::cluster::route::CrossSlot;
use gunyu::core::target::cluster::stretch::Delivery;
use gunyu::core::target::exact::Exact;
use gunyu::core::target::loose::Loose;
use gunyu::core::target::session::Session;
use gunyu::core::target::{Error, Outcome, Settings, checkpoint};

use super::{
    KEYS, MAY_NOT_KILL, NAME, Target, assert_over, assert_superseded, batch, beginning, record, soon, take,
    text,
};
use crate::support::{Server, wait_until};

/// The session with a checkpoint from which a stream can go on.
async fn begun(settings: &Settings, token: &str, epoch: u64) -> Session {
    let mut session = take(settings, token, epoch).await.unwrap();
    if session.record.checkpoint.is_none() {
        session
            .write_record(record(&session.record.clone()))
            .await
            .unwrap();
    }
    session
}

fn fenced(session: Session, settings: &Settings) -> Fenced {
    let how = Delivery {
        exactly_once: true,
        cross_slot: CrossSlot::Split,
        // Only what is asked for: the test says when.
        record_every: Duration::from_secs(3600),
    };
    let map = session.lane.map().cloned().unwrap();
    Fenced::new(session, map, settings, beginning(), how)
}

/// Waits until it is applied.
async fn applied(fenced: &mut Fenced, batch: Batch) -> Result<(), Error> {
    let end = batch.end();
    fenced.submit(batch);
    loop {
        if let Outcome::Advanced(news) = soon(fenced.outcome()).await?
            && news.applied >= Some(end)
        {
            return Ok(());
        }
    }
}

/// Waits until the checkpoint of what is applied is there.
async fn recorded(fenced: &mut Fenced) -> Result<(), Error> {
    fenced.record_confirmed();
    loop {
        if let Outcome::Advanced(news) = soon(fenced.outcome()).await?
            && news.checkpointed.is_some()
        {
            return Ok(());
        }
    }
}

/// Writes of every kind to every master.
fn writes(word: &str, from: u64) -> Batch {
    let blind: Vec<String> = KEYS.iter().map(|key| format!("{key}blind-{word}")).collect();
    let counted: Vec<String> = KEYS.iter().map(|key| format!("{key}counted-{word}")).collect();
    let mut commands: Vec<Vec<&str>> = blind.iter().map(|key| vec!["SET", key, "value"]).collect();
    commands.extend(counted.iter().map(|key| vec!["INCR", key]));
    let commands: Vec<&[&str]> = commands.iter().map(Vec::as_slice).collect();
    batch(from, &commands)
}

/// How many of these are on the target.
fn there(target: &Target, word: &str) -> usize {
    let names = KEYS
        .iter()
        .flat_map(|key| ["blind", "counted"].map(|kind| format!("{key}{kind}-{word}")));
    names.filter(|name| target.has(name)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_lane_to_a_cluster_carries_nothing_more() {
    let [_, target] = Target::both();
    let settings = target.settings();
    let mut old = fenced(begun(&settings, "old", 5).await, &settings);
    applied(&mut old, writes("early", 100)).await.unwrap();
    assert_eq!(there(&target, "early"), 6);
    let mut new = fenced(begun(&settings, "new", 6).await, &settings);
    assert_over(applied(&mut old, writes("late", 106)).await);
    assert_eq!(there(&target, "late"), 0);
    applied(&mut new, writes("new", 106)).await.unwrap();
    assert_eq!((there(&target, "late"), there(&target, "new")), (0, 6));
}

/// The lanes of an older process that was stopped before it made them; ending connections has not met them.
#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_comes_about_after_a_newer_session_carries_nothing() {
    let [_, target] = Target::both();
    let settings = target.settings();
    let mut old = fenced(begun(&settings, "old", 5).await, &settings);
    let mut new = fenced(begun(&settings, "new", 6).await, &settings);
    assert_over(applied(&mut old, writes("late", 100)).await);
    assert_eq!(there(&target, "late"), 0);
    applied(&mut new, writes("new", 100)).await.unwrap();
    assert_eq!((there(&target, "late"), there(&target, "new")), (0, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_of_an_older_session_is_not_written() {
    let [_, target] = Target::both();
    let settings = target.settings();
    let key = text(&checkpoint::key(NAME));
    let mut old = fenced(begun(&settings, "old", 5).await, &settings);
    applied(&mut old, writes("early", 100)).await.unwrap();
    recorded(&mut old).await.unwrap();
    applied(&mut old, writes("more", 106)).await.unwrap();
    let _new = take(&settings, "new", 6).await.unwrap();
    let before: Vec<String> = target.ask(&["HGETALL", &key]);
    let digests = || target.nodes().iter().map(Server::digest).collect::<Vec<_>>();
    let all = digests();
    assert_over(recorded(&mut old).await);
    assert_eq!(target.ask::<Vec<String>>(&["HGETALL", &key]), before);
    assert_eq!(digests(), all, "no mark either");
    assert_eq!(target.recorded_epoch().as_deref(), Some("6"));
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_without_a_slot_of_an_older_session_do_nothing() {
    let [_, target] = Target::both();
    let settings = target.settings();
    for word in ["FLUSHALL", "MSET"] {
        let mut old = fenced(begun(&settings, "old", 5).await, &settings);
        applied(&mut old, writes("early", 100)).await.unwrap();
        let new = take(&settings, "new", 6).await.unwrap();
        let renamed = format!("{}blind-early", KEYS[0]);
        let to = format!("{}renamed", KEYS[1]);
        let late = match word {
            "FLUSHALL" => batch(106, &[&["FLUSHALL"]]),
            _ => batch(106, &[&["RENAME", &renamed, &to]]),
        };
        assert_over(applied(&mut old, late).await);
        assert_eq!(there(&target, "early"), 6);
        assert!(!target.has(&to));
        assert_eq!(target.session(), ["new", "6"]);
        drop(new);
        for node in target.nodes() {
            let () = node.run(&["FLUSHALL"]);
        }
    }
}

/// What has been sent lies in the socket of a frozen node, and the newer session's words behind it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_frozen_node_still_has_in_its_socket_is_known_to_the_newer_session_or_never_done() {
    for round in 0..4 {
        let Target::Cluster(cluster) = Target::both().into_iter().nth(1).unwrap() else {
            unreachable!("the second is a cluster");
        };
        let mut target = Target::Cluster(cluster);
        let settings = target.settings();
        let key = format!("{}late", KEYS[round % KEYS.len()]);
        let frozen = serving(&target, &key);
        let mut old = fenced(begun(&settings, "old", 5).await, &settings);
        applied(&mut old, writes("early", 100)).await.unwrap();
        freeze(&mut target, frozen, true);
        old.submit(batch(106, &[&["INCR", &key]]));
        // It goes out at once, and no answer comes.
        let answer = tokio::time::timeout(Duration::from_millis(200), old.outcome()).await;
        assert!(answer.is_err(), "a frozen node has answered");
        let taking = tokio::spawn({
            let settings = settings.clone();
            async move { take(&settings, "new", 6).await }
        });
        tokio::task::yield_now().await;
        freeze(&mut target, frozen, false);
        let new = match soon(taking).await.unwrap() {
            Ok(new) => new,
            Err(_) => take(&settings, "new again", 7).await.unwrap(),
        };
        let is_known = new.fences.covers(slot(key.as_bytes()), Offset::new(107));
        assert_over(
            async {
                loop {
                    soon(old.outcome()).await?;
                }
                #[allow(unreachable_code)]
                Ok::<(), Error>(())
            }
            .await,
        );
        assert_eq!(target.has(&key), is_known, "round {round}");
    }
}

fn serving(target: &Target, key: &str) -> usize {
    let asked = |node: &Server| redis::cmd("EXISTS").arg(key).query::<bool>(&mut node.conn());
    let mut nodes = target.nodes().iter();
    nodes.position(|node| asked(node).is_ok()).unwrap()
}

fn freeze(target: &mut Target, node: usize, frozen: bool) {
    let Target::Cluster(cluster) = target else {
        unreachable!("only nodes of clusters are frozen");
    };
    match frozen {
        true => cluster.masters[node].sigstop(),
        false => cluster.masters[node].sigcont(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_takes_connections_gets_nothing_while_the_sessions_key_cannot_be_asked() {
    let [_, mut target] = Target::both();
    let mut settings = target.settings();
    settings.reply_limit = Duration::from_millis(500);
    let home = serving(&target, &text(&checkpoint::session_key(NAME)));
    let session = begun(&target.settings(), "ours", 5).await;
    let mut lane = fenced(session, &settings);
    freeze(&mut target, home, true);
    let away = KEYS.into_iter().find(|key| {
        let mut others = target.nodes().iter().enumerate().filter(|(at, _)| *at != home);
        others.any(|(_, node)| {
            redis::cmd("EXISTS")
                .arg(key)
                .query::<bool>(&mut node.conn())
                .is_ok()
        })
    });
    let key = format!("{}late", away.unwrap());
    lane.submit(batch(100, &[&["SET", &key, "value"]]));
    // Until the lane has given up.
    loop {
        match soon(lane.outcome()).await {
            Ok(Outcome::Advanced(news)) if news.trouble.is_some() => break,
            Ok(Outcome::Advanced(news)) => assert_eq!(news.applied, None),
            Ok(other) => panic!("{other:?}"),
            Err(_) => break,
        }
    }
    let mut others = target.nodes().iter().enumerate().filter(|(at, _)| *at != home);
    let is_there = others.any(|(_, node)| {
        let found = redis::cmd("EXISTS").arg(&key).query::<bool>(&mut node.conn());
        found.unwrap_or(false)
    });
    assert!(!is_there);
    freeze(&mut target, home, false);
}

/// On one node, with and without the right to end connections.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_stream_onto_one_node_is_applied_no_further() {
    for may_kill in [true, false] {
        let target = Target::One(Server::with(MAY_NOT_KILL));
        let mut settings = target.settings();
        if !may_kill {
            settings.endpoint.credentials.user = "gunyu".to_owned();
            settings.endpoint.credentials.password = "pw".to_owned();
        }
        let mut old = Exact::new(begun(&settings, "old", 5).await, beginning().position.id);
        old.submit(writes("early", 100)).await.unwrap();
        assert!(matches!(soon(old.outcome()).await, Ok(Outcome::Applied { .. })));
        let _new = take(&settings, "new", 6).await.unwrap();
        let late = match old.submit(writes("late", 106)).await {
            Ok(()) => soon(old.outcome()).await.map(drop),
            Err(error) => Err(error),
        };
        match may_kill {
            true => assert_over(late),
            false => assert_superseded(late),
        }
        assert_eq!((there(&target, "early"), there(&target, "late")), (6, 0));
        assert_eq!(target.recorded_epoch().as_deref(), Some("6"));
    }
}

/// The session is found to be another's behind a batch that was applied: what failed in the batch is told before that. It would be in no dead letter, and the
/// checkpoint is past it.
#[tokio::test(flavor = "multi_thread")]
async fn what_failed_in_a_batch_is_told_although_the_session_ended_behind_it() {
    let target = Target::One(Server::start());
    let settings = target.settings();
    let () = target.ask(&["SET", "touched", "text"]);
    let mut exact = Exact::new(begun(&settings, "exact", 5).await, beginning().position.id);
    let session_key = text(&checkpoint::session_key(NAME));
    let commands: [&[&str]; 3] = [
        &["RPUSH", "touched", "element"],
        &["SET", "key", "value"],
        // As an eviction between the batch and the question after it.
        &["DEL", &session_key],
    ];
    exact.submit(batch(100, &commands)).await.unwrap();
    let Outcome::Applied {
        failed, checkpointed, ..
    } = soon(exact.outcome()).await.unwrap()
    else {
        panic!("it was applied");
    };
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(failed[0].index == Some(0) && failed[0].reply.starts_with("WRONGTYPE"));
    assert_eq!(checkpointed, Some(Offset::new(103)));
    // Nothing follows it: nothing is watched that would keep it out.
    assert!(exact.session().is_none());
    assert_superseded(soon(exact.outcome()).await);
    assert_superseded(exact.submit(writes("late", 103)).await);
    assert!(target.has("key") && there(&target, "late") == 0);
}

/// Where connections cannot be ended, an older stream onto a cluster hears of the newer session when it is to leave marks and a checkpoint, and leaves none.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_stream_whose_connections_cannot_be_ended_ends_with_its_next_checkpoint() {
    let [_, target] = Target::both();
    for node in target.nodes() {
        let mut user = vec!["ACL", "SETUSER"];
        user.extend(&MAY_NOT_KILL[1..]);
        let () = node.run(&user);
    }
    let mut settings = target.settings();
    settings.endpoint.credentials.user = "gunyu".to_owned();
    settings.endpoint.credentials.password = "pw".to_owned();
    let mut old = fenced(begun(&settings, "old", 5).await, &settings);
    applied(&mut old, writes("early", 100)).await.unwrap();
    recorded(&mut old).await.unwrap();
    applied(&mut old, writes("more", 106)).await.unwrap();
    let _new = take(&settings, "new", 6).await.unwrap();
    let digests = || target.nodes().iter().map(Server::digest).collect::<Vec<_>>();
    let before = digests();
    assert_superseded(recorded(&mut old).await);
    assert_eq!(digests(), before);
}

/// However the stream is delivered: a flush takes the session's key along, and the key is back with its epoch.
#[tokio::test(flavor = "multi_thread")]
async fn a_flush_in_the_stream_leaves_session_and_epoch() {
    for flush in [&["FLUSHALL"][..], &["SWAPDB", "0", "1"], &["FLUSHDB"]] {
        let target = Target::One(Server::start());
        let settings = target.settings();
        let mut exact = Exact::new(begun(&settings, "exact", 5).await, beginning().position.id);
        exact.submit(flushing(flush)).await.unwrap();
        let done = soon(exact.outcome()).await.unwrap();
        assert!(
            matches!(done, Outcome::Applied { ref failed, .. } if failed.is_empty()),
            "{done:?}"
        );
        assert_eq!(target.session(), ["exact", "5"]);
        assert_eq!(target.recorded_epoch().as_deref(), Some("5"));
        let session = begun(&settings, "loose", 6).await;
        let mut loose = Loose::new(session, beginning().position.id, Duration::from_secs(3600));
        loose.submit(flushing(flush)).await.unwrap();
        let done = soon(loose.outcome()).await.unwrap();
        assert!(
            matches!(done, Outcome::Applied { ref failed, .. } if failed.is_empty()),
            "{done:?}"
        );
        assert_eq!(target.session(), ["loose", "6"]);
        assert!(loose.record_confirmed().await.unwrap());
        soon(loose.outcome()).await.unwrap();
        assert_eq!(target.recorded_epoch().as_deref(), Some("6"));
    }
    let [_, target] = Target::both();
    let settings = target.settings();
    let mut lane = fenced(begun(&settings, "ours", 5).await, &settings);
    applied(&mut lane, writes("early", 100)).await.unwrap();
    applied(&mut lane, batch(106, &[&["FLUSHALL"]])).await.unwrap();
    assert_eq!(there(&target, "early"), 0);
    assert_eq!(target.session(), ["ours", "5"]);
    let outranked = take(&settings, "older", 4).await;
    assert!(matches!(outranked, Err(Error::Outranked { .. })));
    recorded(&mut lane).await.unwrap();
    wait_until(super::SOON, "the checkpoint is back", || {
        target.recorded_epoch().as_deref() == Some("5")
    });
}

/// As the pipeline makes it: with the marks around the command.
fn flushing(words: &[&str]) -> Batch {
    use gunyu::core::target::batch::Piece;
    let mut whole = Batch::new(Offset::new(100), 0, 0);
    whole.mark(Piece::Open);
    if words[0] == "SWAPDB" {
        whole.mark(Piece::RemoveCheckpoint { back_to: 0 });
    }
    let Some(Piece::Commands { bytes, count }) = batch(100, &[words]).pieces().first().cloned() else {
        unreachable!("it is a command");
    };
    whole.push(bytes, count);
    whole.mark(Piece::RestoreCheckpoint { back_to: 0 });
    whole.mark(Piece::Close);
    whole.advance(Offset::new(101));
    whole
}
