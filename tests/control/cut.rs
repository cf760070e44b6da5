//! A full sync with a flush whose connection to the target is cut at any byte: it was flushed as a whole and is copied anew, or nothing has changed.

use std::collections::BTreeMap;

use super::support::proxy::{Proxy, Way};
use super::support::workload::Seed;
use super::support::{Gunyu, Server};
use super::{BACKLOG, PATIENCE, counting, fill_strings, has, held, plant, wait_caught_up};

const CUTS: usize = 16;

/// `settings` say which databases are fed; `fed` is one of them.
#[track_caller]
fn assert_whole_or_nothing(settings: &[&str], fed: u32) {
    let seed = Seed::pick();
    let (source, target) = (Server::with(BACKLOG), Server::start());
    let proxy = Proxy::to(target.port());
    fill_strings(&source, 50, 20);
    let counters = counting(&source, &seed, 100);
    let mut gunyu = Gunyu::start(&source.url(), &proxy.url(), settings);
    gunyu.wait_ready(PATIENCE);
    let before = proxy.bytes().0;
    gunyu.must("POST", "/syncer/fullsync?inputs=all&flushdb=yes");
    gunyu.wait_ready(PATIENCE);
    let whole = proxy.bytes().0 - before;
    let mut draw = seed.rng(7);
    for nth in 0..CUTS {
        plant(&target, fed, "planted");
        let after = draw.u64(..whole);
        proxy.cut_after(Way::Up, after);
        let answer = gunyu.call("POST", "/syncer/fullsync?inputs=all&flushdb=yes");
        let (text, was) = (answer.text(), format!("cut {nth} after {after} bytes"));
        let in_doubt = text.contains("in part");
        let there = has(&target, fed, "planted");
        match answer.status {
            200 => assert!(!there, "{was}: {text}"),
            500 => assert!(there || in_doubt, "{was}: {text}\n{}", gunyu.traces()),
            other => panic!("{was}: {other} {text}"),
        }
        gunyu.wait_ready(PATIENCE);
        wait_caught_up(&mut gunyu, &source);
        // Where nothing was flushed it is not ours, and stays.
        remove(&target, fed, "planted");
    }
    let expected = counters.stop();
    wait_caught_up(&mut gunyu, &source);
    expected.assert_on(&source);
    assert_eq!(in_db(&source, 0), in_db(&target, fed), "{}", gunyu.traces());
}

fn remove(server: &Server, db: u32, key: &str) {
    let mut conn = server.conn();
    redis::cmd("SELECT").arg(db).exec(&mut conn).unwrap();
    redis::cmd("DEL").arg(key).exec(&mut conn).unwrap();
}

fn in_db(server: &Server, db: u32) -> BTreeMap<Vec<u8>, String> {
    let held = held(server).into_iter().filter(|((of, _), _)| *of == db);
    held.map(|((_, key), digest)| (key, digest)).collect()
}

#[test]
fn a_flush_that_is_cut_at_any_byte_is_whole_or_nothing() {
    assert_whole_or_nothing(&[], 0);
}

/// The checkpoint in database 0 is not among what is flushed: it must go all the same, or the stream goes on over an empty database.
#[test]
fn a_flush_of_another_database_than_the_checkpoints_that_is_cut_is_whole_or_nothing() {
    assert_whole_or_nothing(
        &[
            "output.replay.targetDbMap={0: 5}",
            "output.filter.dbWhitelist=[0]",
        ],
        5,
    );
}
