//! Everything at once: every type, several databases, functions, writers; and every way in which a source may send it.

use std::time::Instant;

use super::support::workload::{Counters, Fill, Options, Seed, Writers};
use super::support::{Gunyu, Server};
use super::{PATIENCE, assert_no_dead_letters, end_equal, full_syncs, live, wait_applied};

/// Keys of the large copy, and of it with `GUNYU_FULL=1`, the size that the project promises.
const KEYS: usize = 60_000;
const KEYS_FULL: usize = 1_000_000;

/// Keys where only the way matters.
const KEYS_FEW: usize = 4_000;

fn keys() -> usize {
    match std::env::var_os("GUNYU_FULL") {
        Some(_) => KEYS_FULL,
        None => KEYS,
    }
}

/// At its full size the copy shares the machine with its writers: unbounded they would write more than a debug build can apply.
fn pace() -> Options {
    let per_second = std::env::var_os("GUNYU_FULL").map(|_| 10_000);
    Options {
        per_second,
        ..Options::default()
    }
}

#[test]
fn a_source_that_is_written_to_throughout_becomes_equal() {
    let seed = Seed::pick();
    let (source, target) = (Server::start(), Server::start());
    Fill::keys(keys()).run(&source, &seed);
    let pace = pace();
    let writers = Writers::with(&source, &source.url(), &seed, &pace);
    let counters = Counters::with(&source.url(), &seed, &pace);
    let began = Instant::now();
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    let before = writers.commands();
    gunyu.wait_ready(PATIENCE * 4);
    let during = writers.commands() - before;
    assert!(during > 1_000, "only {during} commands during the full sync");
    eprintln!(
        "{} keys, live after {:?}, {during} commands meanwhile",
        keys(),
        began.elapsed()
    );
    writers.wait_more(20_000);
    let (written, expected) = (writers.stop(), counters.stop());
    wait_applied(&mut gunyu, &source);
    assert_eq!(full_syncs(&gunyu), 1, "one full sync, and no second");
    assert_no_dead_letters(&gunyu);
    expected.assert_on(&target);
    end_equal(gunyu, &source, &target);
    eprintln!("equal after {:?}; {written:?}", began.elapsed());
}

#[test]
fn an_idle_source_becomes_equal_and_then_is_written_to() {
    let seed = Seed::pick();
    let (source, target) = (Server::start(), Server::start());
    Fill::keys(KEYS_FEW).run(&source, &seed);
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    gunyu.wait_ready(PATIENCE);
    let writers = Writers::start(&source, &seed);
    writers.wait_more(10_000);
    writers.stop();
    assert_eq!(full_syncs(&gunyu), 1);
    end_equal(gunyu, &source, &target);
}

#[test]
fn an_empty_source_becomes_equal_and_its_first_write_arrives() {
    let (source, target) = (Server::start(), Server::start());
    let gunyu = live(&source, &target, &[]);
    let () = source.run(&["SET", "first", "write"]);
    end_equal(gunyu, &source, &target);
    assert_eq!(target.run::<String>(&["GET", "first"]), "write");
}

/// A copy with these options of the source and these settings, writers at work from the start.
fn copies(source: &[&str], set: &[&str]) {
    let seed = Seed::pick();
    let (source, target) = (Server::with(source), Server::start());
    copies_between(&seed, &source, &source, &target, set);
}

/// `written` is written to, `source` is followed.
fn copies_between(seed: &Seed, written: &Server, source: &Server, target: &Server, set: &[&str]) {
    Fill::keys(KEYS_FEW).run(written, seed);
    let slow = Options {
        threads: 2,
        per_second: Some(4_000),
    };
    let writers = Writers::with(written, &written.url(), seed, &slow);
    let gunyu = live(source, target, set);
    writers.wait_more(6_000);
    writers.stop();
    if source.addr() != written.addr() {
        source.wait_caught_up(written, PATIENCE);
    }
    assert_eq!(full_syncs(&gunyu), 1);
    assert_no_dead_letters(&gunyu);
    end_equal(gunyu, source, target);
}

#[test]
fn a_log_in_memory_carries_it_too() {
    copies(&[], &["channel.type=memory"]);
}

#[test]
fn delivery_at_least_once_carries_it_too() {
    copies(&[], &["output.replay.delivery=at_least_once"]);
}

#[test]
fn one_connection_and_small_batches_carry_it_too() {
    copies(
        &[],
        &["output.replay.connections=1", "output.replay.batchCmdCount=3"],
    );
}

#[test]
fn a_snapshot_from_the_sources_disk_becomes_equal() {
    copies(&["--repl-diskless-sync", "no"], &[]);
}

#[test]
fn a_snapshot_without_a_length_becomes_equal() {
    copies(&["--repl-diskless-sync", "yes"], &[]);
}

#[test]
fn a_snapshot_without_a_checksum_becomes_equal() {
    copies(&["--rdbchecksum", "no"], &[]);
}

#[test]
fn a_snapshot_without_compression_becomes_equal() {
    copies(&["--rdbcompression", "no", "--repl-diskless-sync", "no"], &[]);
}

/// A replica passes its master's stream on as it is: no SELECT need come after its snapshot.
#[test]
fn a_source_that_is_a_replica_becomes_equal() {
    let seed = Seed::pick();
    let (master, source, target) = (Server::start(), Server::start(), Server::start());
    source.follow(&master);
    source.wait_caught_up(&master, PATIENCE);
    copies_between(&seed, &master, &source, &target, &[]);
}

#[test]
fn the_database_that_a_replicas_stream_has_selected_is_known_from_its_snapshot() {
    let (master, source, target) = (Server::start(), Server::start(), Server::start());
    source.follow(&master);
    source.wait_caught_up(&master, PATIENCE);
    let mut writer = master.conn();
    let write = |conn: &mut redis::Connection, key: &str| {
        redis::cmd("SET").arg(key).arg("x").exec(conn).unwrap();
    };
    redis::cmd("SELECT").arg(5).exec(&mut writer).unwrap();
    write(&mut writer, "before");
    source.wait_caught_up(&master, PATIENCE);
    let gunyu = live(&source, &target, &[]);
    write(&mut writer, "after"); // the stream has database 5 selected already
    source.wait_caught_up(&master, PATIENCE);
    end_equal(gunyu, &source, &target);
    assert_eq!(target.keyspace().into_keys().collect::<Vec<_>>(), [5]);
}
