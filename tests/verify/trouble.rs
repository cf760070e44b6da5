//! What stands in the way of a comparison, or of a repair, is told, and never taken for equality or for a difference.

use super::support::cluster::Cluster;
use super::support::gunyu::Gunyu;
use super::support::port::Port;
use super::support::server::Server;
use super::support::typed::since;
use super::support::versions;
use super::support::{SOON, wait_for};
use super::{PATIENCE, run, tell, verify};

#[test]
fn without_permission_to_watch_differences_are_found_in_one_round_large_values_among_them() {
    let (source, target) = (Server::start(), Server::start());
    for server in [&source, &target] {
        let big = "redis.call('SET', 'big', string.rep('x', 3000000))";
        tell(server, 0, &[&["SET", "a", "1"], &["EVAL", big, "0"]]);
    }
    tell(&source, 0, &[&["SET", "b", "1"]]);
    tell(&source, 0, &[&["ACL", "SETUSER", "default", "-watch"]]);
    let once = verify(&source.url(), &target.url(), &["--rounds", "1"]);
    once.found_only(&[(0, "b", "missing")]);
    assert!(once.json["notes"].to_string().contains("WATCH"), "{}", once.said);
    tell(&target, 0, &[&["SET", "b", "1"]]);
    verify(&source.url(), &target.url(), &["--compare", "value"]).found_only(&[]);
    tell(&target, 0, &[&["SETRANGE", "big", "2999999", "z"]]);
    verify(&source.url(), &target.url(), &["--compare", "value"]).found_only(&[(0, "big", "value")]);
}

/// Two masters and the slot of `{a}`: who has it, and who has not.
fn holder_of_a(cluster: &Cluster) -> (&Server, &Server) {
    let takes = |server: &Server| {
        redis::cmd("GET")
            .arg("{a}")
            .query::<redis::Value>(&mut server.conn())
    };
    match takes(&cluster.masters[0]) {
        Ok(_) => (&cluster.masters[0], &cluster.masters[1]),
        Err(_) => (&cluster.masters[1], &cluster.masters[0]),
    }
}

#[test]
fn nothing_is_said_to_be_equal_while_a_slot_is_on_its_way_and_it_is_when_the_slot_has_arrived() {
    let (source, target) = (Cluster::start(2), Server::start());
    let keys: Vec<String> = (0..20).map(|number| format!("{{a}}{number}")).collect();
    let (holder, other) = holder_of_a(&source);
    for key in &keys {
        tell(holder, 0, &[&["SET", key, "1"]]);
        tell(&target, 0, &[&["SET", key, "1"]]);
    }
    let slot: u64 = holder.run(&["CLUSTER", "KEYSLOT", "{a}"]);
    let slot = slot.to_string();
    let id = |server: &Server| server.run::<String>(&["CLUSTER", "MYID"]);
    let (holder_id, other_id) = (id(holder), id(other));
    let set = |server: &Server, what: &str, node: &str| {
        tell(server, 0, &[&["CLUSTER", "SETSLOT", &slot, what, node]]);
    };
    set(other, "IMPORTING", &holder_id);
    set(holder, "MIGRATING", &other_id);
    let port = other.port().to_string();
    let move_some = |some: &[String]| {
        let mut migrate = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        migrate.extend(some.iter().map(String::as_str));
        tell(holder, 0, &[&migrate]);
    };
    move_some(&keys[..10]);
    let (from, to) = (source.url(), target.url());
    let args = ["verify", "--source", &from, "--target", &to, "--patience", "1"];
    let output = run(&args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("slots"), "{said}");
    move_some(&keys[10..]);
    for server in [other, holder] {
        set(server, "NODE", &other_id);
    }
    let found = verify(&from, &to, &["--compare", "value"]);
    found.found_only(&[]);
    assert_eq!(found.json["equal"], true, "{}", found.said);
    assert_eq!(found.json["keys"]["source"], 20, "{}", found.said);
}

#[test]
fn a_source_that_is_behind_the_target_is_no_measure_of_it() {
    let (master, replica, target) = (Server::start(), Server::start(), Server::start());
    let port = master.port().to_string();
    tell(&master, 0, &[&["SET", "a", "old"]]);
    tell(&replica, 0, &[&["REPLICAOF", "127.0.0.1", &port]]);
    wait_for(SOON, "the replica has all", || {
        match replica.run::<Option<String>>(&["GET", "a"]) {
            Some(_) => Ok(()),
            None => Err("nothing yet".to_owned()),
        }
    });
    let name = "input.name=one";
    let mut gunyu = Gunyu::start(&master.url(), &target.url(), &[name]);
    gunyu.wait_ready(SOON);
    let nobody = Port::free();
    let nowhere = nobody.addr().port().to_string();
    tell(&replica, 0, &[&["REPLICAOF", "127.0.0.1", &nowhere]]);
    tell(&master, 0, &[&["SET", "a", "new"], &["SET", "b", "new"]]);
    gunyu.wait_applied(&master, PATIENCE);
    let (source, target_url) = (replica.url(), target.url());
    let args = [
        "verify",
        "--source",
        &source,
        "--target",
        &target_url,
        "--set",
        name,
    ];
    for more in [&["--compare", "value"][..], &["--compare", "value", "--repair"]] {
        let output = run(&[&args[..], more].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("is behind the target"), "{said}");
    }
    assert_eq!(target.run::<String>(&["GET", "a"]), "new");
    verify(&master.url(), &target_url, &["--set", name]).found_only(&[]);
}

#[test]
fn a_target_that_is_full_for_a_while_is_repaired_when_it_has_room() {
    let (source, target) = (Server::start(), Server::start());
    tell(&source, 0, &[&["SET", "a", "1"], &["SET", "b", "1"]]);
    tell(&target, 0, &[&["CONFIG", "SET", "maxmemory", "1"]]);
    let mut conn = target.conn();
    let relieve = std::thread::spawn(move || {
        wait_for(PATIENCE, "a write is refused", || {
            let stats: String = redis::cmd("INFO").arg("errorstats").query(&mut conn).unwrap();
            match stats.contains("errorstat_OOM") {
                true => Ok(()),
                false => Err(stats),
            }
        });
        let set = redis::cmd("CONFIG")
            .arg(&["SET", "maxmemory", "0"])
            .query::<()>(&mut conn);
        set.unwrap();
    });
    let done = verify(&source.url(), &target.url(), &["--repair"]);
    relieve.join().unwrap();
    done.found_only(&[]);
    assert_eq!(done.json["repair"]["copied"], 2, "{}", done.said);
    assert_eq!(done.json["repair"]["refused"], 0, "{}", done.said);
}

#[test]
fn a_repair_keeps_the_expiry_where_servers_do_not_tell_it_as_a_time() {
    for (_, binary) in versions() {
        if !since(&binary, (5, 0), (7, 0)) || since(&binary, (7, 0), (7, 0)) {
            continue;
        }
        let (source, target) = (Server::of(&binary, &[]), Server::of(&binary, &[]));
        tell(
            &source,
            0,
            &[
                &["SET", "expires", "1", "EX", "1000"],
                &["SET", "stays", "1"],
                &["HSET", "hash", "a", "1"],
            ],
        );
        let done = verify(&source.url(), &target.url(), &["--repair"]);
        done.found_only(&[]);
        let left: i64 = target.run(&["PTTL", "expires"]);
        let at_most: i64 = source.run(&["PTTL", "expires"]);
        assert!(left > 900_000 && left <= at_most + 500, "{left} of {at_most}");
        let stays: i64 = target.run(&["PTTL", "stays"]);
        assert_eq!(stays, -1);
    }
}

#[test]
fn a_replica_that_does_not_take_watches_is_asked_without() {
    for (_, binary) in versions() {
        // Later ones take a WATCH as replicas, too.
        if !since(&binary, (5, 0), (9, 0)) || since(&binary, (6, 2), (9, 0)) {
            continue;
        }
        let (cluster, target) = (Cluster::of(&binary, 1), Server::start());
        let replica = Server::of(&binary, &["--cluster-enabled", "yes"]);
        cluster.meet(&replica);
        let master: String = cluster.masters[0].run(&["CLUSTER", "MYID"]);
        wait_for(SOON, "the replica knows its master", || {
            let nodes: String = replica.run(&["CLUSTER", "NODES"]);
            match nodes.contains(&master) {
                true => Ok(()),
                false => Err(nodes),
            }
        });
        let () = replica.run(&["CLUSTER", "REPLICATE", &master]);
        cluster.set_keys(20);
        wait_for(SOON, "the replica has all", || {
            match (
                replica.keys(),
                cluster.masters[0].run::<String>(&["CLUSTER", "NODES"]),
            ) {
                (20, nodes) if nodes.contains("slave") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        for number in 1..20 {
            let key = format!("key{number}");
            tell(&target, 0, &[&["SET", &key, &number.to_string()]]);
        }
        let found = verify(&cluster.url(), &target.url(), &[]);
        found.found_only(&[(0, "key0", "missing")]);
        assert!(
            found.json["notes"].to_string().contains("WATCH"),
            "{}",
            found.said
        );
    }
}
