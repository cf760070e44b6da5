//! Full syncs of `sync` and `fullsync` onto a cluster.

use super::support::{Cluster, Gunyu, SOON, Server, wait_until};
use super::{assert_same, dumps, numbered, of_cluster, run};

fn full_sync(source: &Server, cluster: &Cluster, more: &[&str]) -> super::Ran {
    let (source, target) = (source.url(), cluster.url());
    let args = ["fullsync", "--source", &source, "--target", &target];
    run(&[&args, more].concat(), &[])
}

#[test]
fn a_snapshot_is_copied_and_nothing_of_gunyus_stays() {
    let source = numbered("key", 2_000);
    let () = source.run(&["SET", "soon", "v", "EX", "60"]);
    let cluster = Cluster::start(3);
    full_sync(&source, &cluster, &["--snapshot-only"]).says(0, &["snapshot only"]);
    assert_eq!(cluster.keys(), 2_001);
    assert_same(&dumps(&[&source]), &of_cluster(&cluster));
}

/// A run before has left fences and marks; of a history that nobody goes on with, and where slots have moved since the record does not name them.
#[test]
fn a_copy_takes_the_fences_and_marks_of_every_run_before_along() {
    let source = numbered("key", 10);
    let cluster = Cluster::start(3);
    let mut gunyu = Gunyu::start(&source.url(), &cluster.url(), &[]);
    gunyu.wait_ready(SOON);
    for number in 0..50 {
        let () = source.run(&["INCR", &format!("counter{number}")]);
    }
    gunyu.wait_applied(&source, SOON);
    assert!(gunyu.term().success());
    assert!(own_keys(&cluster).len() > 50, "{:?}", own_keys(&cluster));
    full_sync(&source, &cluster, &["--snapshot-only"]).says(0, &["snapshot only"]);
    assert_eq!(own_keys(&cluster), [""; 0]);
    assert_same(&dumps(&[&source]), &of_cluster(&cluster));
}

fn own_keys(cluster: &Cluster) -> Vec<String> {
    let keys = |master: &Server| master.run::<Vec<String>>(&["KEYS", "redis-gunyu-*"]);
    cluster.masters.iter().flat_map(keys).collect()
}

/// As when a command comes again after a crash, or from another shard: some masters have it done, and others have not.
#[test]
fn a_library_is_loaded_and_deleted_whatever_some_masters_have_of_it() {
    let code =
        |number| format!("#!lua name=lib\nredis.register_function('f', function() return {number} end)");
    let source = numbered("key", 10);
    let cluster = Cluster::start(3);
    let mut gunyu = Gunyu::start(&source.url(), &cluster.url(), &[]);
    gunyu.wait_ready(SOON);
    let _: String = cluster.masters[1].run(&["FUNCTION", "LOAD", &code(1)]);
    let _: String = source.run(&["FUNCTION", "LOAD", &code(2)]);
    gunyu.wait_applied(&source, SOON);
    for master in &cluster.masters {
        assert_eq!(master.run::<i64>(&["FCALL", "f", "0"]), 2);
    }
    let dump: Vec<u8> = source.run(&["FUNCTION", "DUMP"]);
    let () = cluster.masters[0].run(&["FUNCTION", "DELETE", "lib"]);
    let () = source.run(&["FUNCTION", "DELETE", "lib"]);
    gunyu.wait_applied(&source, SOON);
    let libraries = |master: &Server| master.run::<Vec<redis::Value>>(&["FUNCTION", "LIST"]).len();
    assert_eq!(cluster.masters.iter().map(libraries).sum::<usize>(), 0);
    let _: String = cluster.masters[2].run(&["FUNCTION", "LOAD", &code(1)]);
    let mut restore = redis::cmd("FUNCTION");
    let () = restore
        .arg("RESTORE")
        .arg(&dump)
        .query(&mut source.conn())
        .unwrap();
    gunyu.wait_applied(&source, SOON);
    for master in &cluster.masters {
        assert_eq!(master.run::<i64>(&["FCALL", "f", "0"]), 2);
    }
    assert!(gunyu.term().success(), "{}", gunyu.traces());
}

#[test]
fn what_was_there_goes_from_every_master_where_that_is_asked() {
    let source = numbered("new", 500);
    let cluster = Cluster::start(3);
    cluster.set_keys(300);
    full_sync(&source, &cluster, &["--snapshot-only", "--flushdb"]).says(0, &["snapshot only"]);
    assert_same(&dumps(&[&source]), &of_cluster(&cluster));
    let missing = ["--snapshot-only", "--flushdb", "--flush-command", "NONSENSE"];
    full_sync(&source, &cluster, &missing).says(1, &["NONSENSE"]);
    assert_same(&dumps(&[&source]), &of_cluster(&cluster));
}

#[test]
fn a_full_sync_that_is_killed_goes_on_where_it_was() {
    let source = numbered("key", 6_000);
    let cluster = Cluster::start(3);
    let set = ["output.replay.rateLimit.opsPerSec=1000"];
    let mut gunyu = Gunyu::start(&source.url(), &cluster.url(), &set);
    wait_until(SOON, "a part is there", || cluster.keys() > 2_500);
    gunyu.kill9();
    assert!(cluster.keys() < 6_000);
    gunyu.restart();
    gunyu.wait_ready(SOON);
    assert!(
        gunyu.traces().contains("the full sync goes on where it was"),
        "{}",
        gunyu.traces()
    );
    assert_same(&dumps(&[&source]), &of_cluster(&cluster));
}

#[test]
fn keys_that_the_source_has_lost_go_from_every_master_unless_others_were_there_before() {
    for (before, expected) in [(0, 500), (10, 1_010)] {
        let mut source = numbered("new", 1_000);
        let cluster = Cluster::start(3);
        cluster.set_keys(before);
        let mut gunyu = Gunyu::start(&source.url(), &cluster.url(), &[]);
        gunyu.wait_ready(SOON);
        assert_eq!(of_cluster(&cluster).len(), 1_000 + before);
        assert!(gunyu.term().success());
        let mut conn = source.conn();
        let mut pipe = redis::pipe();
        for number in 500..1_000 {
            pipe.del(format!("new{number}")).ignore();
        }
        let () = pipe.query(&mut conn).unwrap();
        let rest = source.snapshot();
        // Of another history: the whole of it is copied anew.
        source.restart_from(&rest);
        gunyu.restart();
        gunyu.wait_ready(SOON);
        wait_until(SOON, "the full sync is done", || {
            gunyu.traces().matches("full sync done").count() == 2
        });
        assert_eq!(of_cluster(&cluster).len(), expected, "{}", gunyu.traces());
    }
}

/// The deployment's keys may be at any master, whichever is asked first.
#[test]
fn a_copy_beside_a_running_one_is_refused() {
    let source = numbered("key", 10);
    let cluster = Cluster::start(3);
    let mut gunyu = Gunyu::start(&source.url(), &cluster.url(), &[]);
    gunyu.wait_ready(SOON);
    full_sync(&source, &cluster, &[]).says(1, &["a gunyu copies"]);
}

/// The cursor is at one master and says what all of them have.
#[test]
fn a_full_sync_begins_anew_where_a_master_has_come_back_empty() {
    let source = numbered("key", 6_000);
    let mut cluster = Cluster::start(3);
    let set = ["output.replay.rateLimit.opsPerSec=1000"];
    let mut gunyu = Gunyu::start(&source.url(), &cluster.url(), &set);
    wait_until(SOON, "a part is there", || cluster.keys() > 2_500);
    let is_home = |server: &&mut Server| {
        let keys: Vec<String> = server.run(&["KEYS", "redis-gunyu-checkpoint:*"]);
        !keys.is_empty()
    };
    let other = cluster.masters.iter_mut().find(|server| !is_home(server));
    other.unwrap().restart();
    gunyu.wait_ready(SOON);
    assert!(
        gunyu.traces().contains("has lost what it had"),
        "{}",
        gunyu.traces()
    );
    assert_same(&dumps(&[&source]), &of_cluster(&cluster));
}
