//! Two deployments on one target do not disturb each other.

use super::support::workload::{Counters, Fill, Seed};
use super::support::{Gunyu, Server, wait_until};
use super::{Contents, PATIENCE, contents, live, run};

fn union(one: Contents, other: Contents) -> Contents {
    one.into_iter().chain(other).collect()
}

/// Keeps only some databases.
fn of_databases(server: &Server, keeps: impl Fn(u32) -> bool) -> Contents {
    contents(server)
        .into_iter()
        .filter(|((db, _), _)| keeps(*db))
        .collect()
}

fn full_syncs_begun(gunyu: &Gunyu) -> usize {
    let text = gunyu.metrics();
    text.lines()
        .filter(|line| line.starts_with("gunyu_full_sync_total{"))
        .count()
}

#[test]
fn two_sources_feed_two_sets_of_databases_of_one_target() {
    let seed = Seed::pick();
    // Room for what is written at full speed while gunyu is away.
    let backlog = ["--repl-backlog-size", "64mb"];
    let (one, other, target) = (Server::with(&backlog), Server::with(&backlog), Server::start());
    Fill {
        databases: vec![0, 1],
        ..Fill::lasting(2_000)
    }
    .run(&one, &seed);
    Fill {
        databases: vec![0, 2],
        ..Fill::lasting(2_000)
    }
    .run(&other, &Seed::of(3));
    let mut first = live(&one.url(), &target, &["output.filter.dbWhitelist=[0, 1]"]);
    let elsewhere = [
        "output.filter.dbWhitelist=[0, 2]",
        "output.replay.targetDbMap={0: 8, 2: 9}",
    ];
    let mut second = live(&other.url(), &target, &elsewhere);
    let counters = (Counters::start(&one, &seed), Counters::start(&other, &seed));
    for _ in 0..3 {
        counters.0.wait_more(500);
        first.restart();
        counters.1.wait_more(500);
        second.restart();
        first.wait_ready(PATIENCE);
        second.wait_ready(PATIENCE);
        assert_eq!(
            (full_syncs_begun(&first), full_syncs_begun(&second)),
            (0, 0),
            "{}\n\n{}",
            first.traces(),
            second.traces()
        );
    }
    drop((counters.0.stop(), counters.1.stop()));
    first.wait_applied(&one, PATIENCE);
    second.wait_applied(&other, PATIENCE);
    let moved = of_databases(&other, |db| db == 0 || db == 2).into_iter();
    let moved = moved
        .map(|((db, key), value)| ((if db == 0 { 8 } else { 9 }, key), value))
        .collect();
    let right = union(of_databases(&one, |db| db < 2), moved);
    assert!(
        contents(&target) == right,
        "the target holds both and nothing else"
    );
    let own: Vec<String> = target.run(&["KEYS", "redis-gunyu-checkpoint*"]);
    assert_eq!(own.len(), 4, "a checkpoint and a session each: {own:?}");
}

#[test]
fn one_source_with_two_selections_feeds_one_target() {
    let (source, target) = (Server::start(), Server::start());
    let write = |name: &str| {
        for number in 0..200 {
            let number = number.to_string();
            run(
                &source,
                &[
                    &["SET", &format!("a:{name}:{number}"), &number],
                    &["RPUSH", &format!("b:{name}"), &number],
                ],
            );
        }
    };
    write("snapshot");
    let select = |letter: &str| format!("output.filter.keyFilter.prefixKeyWhitelist=['{letter}:']");
    let mut a = live(&source.url(), &target, &[&select("a")]);
    let mut b = live(&source.url(), &target, &[&select("b")]);
    write("live");
    a.restart();
    write("later");
    b.restart();
    a.wait_applied(&source, PATIENCE);
    b.wait_applied(&source, PATIENCE);
    assert_eq!((full_syncs_begun(&a), full_syncs_begun(&b)), (0, 0));
    assert!(contents(&target) == contents(&source));
    assert_eq!(
        target.run::<usize>(&["LLEN", "b:later"]),
        200,
        "nothing was applied twice"
    );
}

/// A flush takes the other's checkpoint along where both use database 0. What it holds must come again by itself.
#[test]
fn a_flush_by_one_deployment_is_mended_by_the_other() {
    let (one, other, target) = (Server::start(), Server::start(), Server::start());
    run(&other, &[&["SELECT", "3"], &["SET", "snapshot", "1"]]);
    let mut first = live(&one.url(), &target, &[]);
    let mut second = live(&other.url(), &target, &["output.replay.targetDb=3"]);
    run(
        &one,
        &[&["SET", "gone", "1"], &["FLUSHALL"], &["SET", "after", "1"]],
    );
    first.wait_applied(&one, PATIENCE);
    run(&other, &[&["SET", "live", "1"]]);
    let exists = || run(&target, &[&["SELECT", "3"], &["EXISTS", "snapshot", "live"]])[1].clone();
    wait_until(PATIENCE, "the flushed keys come again", || {
        exists() == redis::Value::Int(2)
    });
    second.wait_applied(&other, PATIENCE);
    first.wait_applied(&one, PATIENCE);
    assert_eq!(
        target.run::<Option<String>>(&["GET", "after"]).as_deref(),
        Some("1")
    );
    assert_eq!(target.run::<Option<String>>(&["GET", "gone"]), None);
}
