//! Masters that sentinels elect, on either side.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::rig::{LONG, Sentinel, Watched, full_syncs, wait_followed};
use crate::support::server::connect;
use crate::support::workload::Seed;
use crate::support::{Gunyu, SOON, Server, equal_key_by_key, matrix, wait_for, wait_until};

fn set(server: &Server, name: &str) {
    for number in 0..50 {
        let () = server.run(&["SET", &format!("{name}:{number}"), name]);
        let () = server.run(&["INCR", "counter"]);
        let () = server.run(&["RPUSH", "list", &format!("{name}:{number}")]);
    }
}

#[track_caller]
fn wait_copied(source: &Server, target: &Server) {
    wait_for(LONG, "the target holds what the source holds", || {
        equal_key_by_key(source, target).map_err(|differences| differences.to_string())
    });
}

/// No full sync but the first, unless the old master went on for a moment (PUBLISH of the sentinels, PING): what it sent
/// then is nobody's history.
#[track_caller]
fn assert_goes_on(gunyu: &Gunyu) {
    let diverged = gunyu.metrics().contains("reason=\"history diverged\"");
    assert!(full_syncs(gunyu) == 1.0 || diverged, "{}", gunyu.traces());
}

#[test]
fn source_and_target_are_followed_through_failovers() {
    let (mut source, mut target) = (Watched::start(1, 3), Watched::start(1, 3));
    set(&source.servers[0], "before");
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    wait_followed(&mut gunyu, &[&source.servers[0]]);
    wait_copied(&source.servers[0], &target.servers[0]);

    // In agreement: both masters live on, as replicas.
    let old = source.servers[0].addr();
    source.sentinels[0].fail_over();
    let new_source = source.wait_switched(&old);
    wait_followed(&mut gunyu, &[new_source]);
    let old = target.servers[0].addr();
    target.sentinels[0].fail_over();
    let new_target = target.wait_switched(&old);
    gunyu.wait_status(LONG, "the new target is written to", |status| {
        status[0]["Target"] == new_target.addr().as_str() && status[0]["Phase"] == "incremental"
    });
    set(new_source, "switched");
    wait_copied(new_source, new_target);
    assert_goes_on(&gunyu);

    // By death; the one that was first is the only other.
    let (dying, heir) = (new_source.addr(), source.servers[0].addr());
    source.servers[0].wait_caught_up(new_source, LONG);
    wait_linked(&source, &heir);
    let number = source.servers.iter().position(|one| one.addr() == dying).unwrap();
    source.servers[number].kill9();
    let new_source = source.wait_switched(&dying);
    let dying = new_target.addr();
    wait_linked(&target, &target.servers[0].addr());
    let number = target.servers.iter().position(|one| one.addr() == dying).unwrap();
    target.servers[number].kill9();
    let new_target = target.wait_switched(&dying);
    set(new_source, "dead");
    wait_copied(new_source, new_target);
    wait_followed(&mut gunyu, &[new_source]);
}

#[test]
fn both_sides_fail_over_under_load() {
    let seed = Seed::pick();
    let mut random = seed.rng(0);
    let (mut source, mut target) = (Watched::start(2, 3), Watched::start(2, 3));
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    gunyu.wait_ready(LONG);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (stop, mut random) = (Arc::clone(&stop), seed.rng(1));
        let urls: Vec<String> = source.servers.iter().map(Server::url).collect();
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let key = random.u32(..100);
                // Replicas refuse; what happens at one that dies nobody knows, and need not.
                for url in &urls {
                    let Ok(mut conn) = connect(url) else { continue };
                    for _ in 0..50 {
                        let _ = redis::cmd("INCR")
                            .arg(format!("counter:{key}"))
                            .query::<()>(&mut conn);
                        let mut push = redis::cmd("RPUSH");
                        let _ = push
                            .arg(format!("list:{key}"))
                            .arg(random.u32(..))
                            .query::<()>(&mut conn);
                    }
                }
            }
        })
    };
    for _ in 0..4 {
        let side = if random.bool() { &mut source } else { &mut target };
        let old = side.sentinels[0].master();
        side.wait_linked();
        if random.bool() {
            side.sentinels[0].fail_over();
            side.wait_switched(&old);
        } else {
            let number = side.servers.iter().position(|one| one.addr() == old).unwrap();
            side.servers[number].kill9();
            side.wait_switched(&old);
            side.servers[number].restart();
        }
        if random.bool() {
            gunyu.restart();
        }
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    gunyu.wait_ready(LONG);
    source.wait_linked();
    target.wait_linked();
    wait_copied(source.master(), target.master());
}

/// Waits until the sentinels take that replica for a good one.
fn wait_linked(watched: &Watched, replica: &str) {
    for sentinel in &watched.sentinels {
        wait_for(LONG, "the replica may be promoted", || {
            let replicas = sentinel.replicas();
            let well = replicas.iter().any(|one| {
                one["name"] == replica && one["flags"] == "slave" && one["master-link-status"] == "ok"
            });
            well.then_some(()).ok_or_else(|| format!("{replicas:?}"))
        });
    }
}

#[test]
fn one_sentinel_is_enough_and_the_others_are_learned() {
    let (mut source, target) = (Watched::start(1, 3), Server::start());
    set(&source.servers[0], "before");
    // Only one of them is in the configuration, and it is the first to die.
    let url = format!("redis+sentinel://{}/mine", source.sentinels[0].addr());
    let mut gunyu = Gunyu::start(&url, &target.url(), &[]);
    wait_followed(&mut gunyu, &[&source.servers[0]]);
    source.sentinels[0].kill9();
    let old = source.servers[0].addr();
    source.sentinels[1].fail_over();
    let left = Watched {
        sentinels: source.sentinels.split_off(1),
        servers: source.servers,
    };
    let new_source = left.wait_switched(&old);
    wait_followed(&mut gunyu, &[new_source]);
    set(new_source, "after");
    wait_copied(new_source, &target);
    assert_goes_on(&gunyu);
}

#[test]
fn a_sentinel_that_missed_the_failover_sends_nobody_to_the_demoted_master() {
    let (mut source, target) = (Watched::start(1, 3), Server::start());
    set(&source.servers[0], "before");
    // Frozen, it will not hear of the failover.
    source.sentinels[0].signal(libc::SIGSTOP);
    let old = source.servers[0].addr();
    source.sentinels[1].fail_over();
    let stale = source.sentinels.remove(0);
    let new_source = source.wait_switched(&old);
    wait_until(LONG, "the old master is demoted", || {
        source.servers[0].info("replication")["role"] == "slave"
    });
    // Alone, and cut off from the others: a sentinel of its own that still believes the old.
    let lone = Sentinel::deaf(&source.servers[0]);
    wait_until(SOON, "it names the demoted one", || lone.master() == old);
    let url = format!(
        "redis+sentinel://{},{}/mine",
        lone.addr(),
        source.sentinels[0].addr()
    );
    let mut gunyu = Gunyu::start(&url, &target.url(), &[]);
    wait_followed(&mut gunyu, &[new_source]);
    set(new_source, "after");
    wait_copied(new_source, &target);
    drop(stale);
}

#[test]
fn sentinels_have_a_password_of_their_own() {
    let source = Server::with(&["--requirepass", "of:the@master"]);
    let sentinel = Sentinel::guarded(&source, "of:the@master", "of/the%sentinel");
    let target = Server::start();
    set(&source, "a");
    let url = format!("redis+sentinel://:of%3Athe%40master@{}/mine", sentinel.addr());
    let right = ["input.redis.sentinel.password=of/the%sentinel"];
    let mut gunyu = Gunyu::start(&url, &target.url(), &right);
    wait_followed(&mut gunyu, &[&source]);
    wait_copied(&source, &target);
    let mut without = Gunyu::start(&url, &target.url(), &[]);
    assert_eq!(without.wait_end(SOON).code(), Some(2));
    assert!(
        without.traces().contains("sentinel.password"),
        "{}",
        without.traces()
    );
}

#[test]
fn gunyu_is_never_promoted() {
    let source = Server::start();
    let sentinel = Sentinel::start(&source, 1);
    let target = Server::start();
    set(&source, "a");
    let url = format!("redis+sentinel://{}/mine", sentinel.addr());
    let mut gunyu = Gunyu::start(&url, &target.url(), &[]);
    wait_followed(&mut gunyu, &[&source]);
    // The sentinel reads INFO every ten seconds.
    let seen = wait_for(LONG, "the sentinel has seen gunyu", || {
        let replicas = sentinel.replicas();
        replicas
            .first()
            .cloned()
            .ok_or_else(|| source.info("replication").len().to_string())
    });
    assert_eq!(seen["port"], "0", "an address without a server");
    assert!(seen["flags"].contains("disconnected"), "{seen:?}");
    let refused = sentinel
        .ask::<String>(&["SENTINEL", "FAILOVER", "mine"])
        .unwrap_err();
    assert_eq!(refused.code(), Some("NOGOODSLAVE"), "{refused}");
    assert_eq!(sentinel.master(), source.addr());
}

/// The sentinels of every version that is at hand; the oldest do not even list it.
#[test]
fn no_version_of_a_sentinel_promotes_gunyu() {
    let (source, target) = (Server::start(), Server::start());
    let sentinels: Vec<(String, Sentinel)> = matrix()
        .into_iter()
        .map(|(name, binary)| (name, Sentinel::of(&binary, &source, 1)))
        .collect();
    if sentinels.is_empty() {
        crate::support::skipped("GUNYU_TEST_SERVERS names no folder with servers of other versions");
        return;
    }
    let mut gunyu = Gunyu::between(&source, &target);
    let since = std::time::Instant::now();
    for (name, sentinel) in &sentinels {
        wait_until(LONG, "the sentinel has read INFO since gunyu is there", || {
            let facts: std::collections::BTreeMap<String, String> =
                sentinel.ask(&["SENTINEL", "master", "mine"]).unwrap();
            let refreshed: u64 = facts["info-refresh"].parse().unwrap();
            u128::from(refreshed) < since.elapsed().as_millis()
        });
        assert!(sentinel.replicas().iter().all(|one| one["port"] == "0"), "{name}");
        let refused = sentinel
            .ask::<String>(&["SENTINEL", "FAILOVER", "mine"])
            .unwrap_err();
        assert_eq!(refused.code(), Some("NOGOODSLAVE"), "{name}: {refused}");
        assert_eq!(sentinel.master(), source.addr(), "{name}");
    }
    set(&source, "a");
    gunyu.wait_applied(&source, SOON);
}

#[test]
fn a_sentinel_with_gunyu_in_its_list_starts_again() {
    let source = Server::start();
    let mut sentinel = Sentinel::start(&source, 1);
    let target = Server::start();
    let url = format!("redis+sentinel://{}/mine", sentinel.addr());
    let mut gunyu = Gunyu::start(&url, &target.url(), &[]);
    wait_followed(&mut gunyu, &[&source]);
    wait_until(LONG, "the sentinel has seen gunyu", || {
        !sentinel.replicas().is_empty()
    });
    sentinel.restart();
    assert_eq!(sentinel.master(), source.addr());
    set(&source, "a");
    wait_copied(&source, &target);
}

#[test]
fn what_a_person_must_mend_ends_the_first_start() {
    let source = Server::start();
    let sentinel = Sentinel::start(&source, 1);
    let target = Server::start();
    for (url, part) in [
        (
            format!("redis+sentinel://{}/theirs", sentinel.addr()),
            "knows no master \"theirs\"",
        ),
        (
            format!("redis+sentinel://{}/mine", source.addr()),
            "is no sentinel",
        ),
        (format!("redis+cluster://{}", source.addr()), "is in no cluster"),
    ] {
        let mut gunyu = Gunyu::start(&url, &target.url(), &[]);
        let status = gunyu.wait_end(SOON);
        assert_eq!(status.code(), Some(2), "{url}");
        assert!(gunyu.traces().contains(part), "{url}: {}", gunyu.traces());
    }
}

#[test]
fn a_standalone_source_that_is_a_replica_is_followed_and_shown() {
    let (master, replica, target) = (Server::start(), Server::start(), Server::start());
    replica.follow(&master);
    set(&master, "a");
    let mut gunyu = Gunyu::between(&replica, &target);
    gunyu.wait_status(SOON, "the role is shown", |status| {
        status[0]["SourceRole"] == "replica"
    });
    set(&master, "b");
    wait_copied(&master, &target);
}
