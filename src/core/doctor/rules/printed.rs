//! What is printed mends what was found, and whatever a server says of itself is survived.

use super::super::Severity;
use super::super::answer::May;
use super::super::facts::{Rate, View};
use super::super::info::Closed;
use super::tests::{MIB, World, bad, config, endpoint, filtered, info, may, source, target};
use crate::core::command::SLOTS;
use crate::core::doctor::{Depth, Finding, Shape};
use crate::core::topology::{Place, nodes};

fn of(world: &World, check: &str) -> Finding {
    let mut findings = world.findings().into_iter();
    let found = findings.find(|one| one.check == check && one.severity > Severity::Ok);
    found.unwrap_or_else(|| panic!("nothing of {check}: {:#?}", world.findings()))
}

/// Also where a snapshot takes longer than the soft limit's seconds.
#[test]
fn the_output_buffer_that_is_printed_is_large_enough() {
    for (bytes, rate) in [
        (5_000 * MIB, 3.0),
        (50_000 * MIB, 40.0),
        (9 * MIB, 0.5),
        (u64::MAX, 1e300),
    ] {
        let mut world = World::new();
        let node = source(&mut world);
        info(
            node,
            &format!("used_memory:{bytes}\nrepl_backlog_size:{}", u64::MAX),
        );
        node.rate = Some(Rate::Stream(rate * MIB as f64));
        config(node, "client-output-buffer-limit", "slave 1048576 524288 60");
        let fix = of(&world, "output-buffer").fix.remove(0);
        let (_, value) = fix.split_once("client-output-buffer-limit ").unwrap();
        config(
            source(&mut world),
            "client-output-buffer-limit",
            value.trim_matches('\''),
        );
        if bytes < u64::MAX {
            let findings = world.findings();
            let left = findings.iter().find(|one| one.check == "output-buffer").unwrap();
            assert_eq!(left.severity, Severity::Ok, "{left:?}");
        }
    }
}

#[test]
fn of_a_service_that_gives_no_config_its_parameters_are_named_instead() {
    let mut world = World::new();
    let node = target(&mut world);
    info(node, "maxmemory:9000000\nmaxmemory_policy:allkeys-lru");
    node.config.closed = Some(Closed::Refused);
    let printed = of(&world, "eviction").fix.concat();
    assert_eq!(
        printed,
        "in the service's parameter group, or in the server's configuration file: maxmemory-policy noeviction"
    );
    let unseen = of(&world, "config");
    assert!(!unseen.fix.concat().contains("ACL"), "{unseen:?}");
    target(&mut world).config.closed = Some(Closed::Lost);
    assert!(of(&world, "config").says.contains("was not answered"));
    target(&mut world).config.closed = Some(Closed::Forbidden);
    assert!(of(&world, "config").fix.concat().contains("+config|get"));
    info(target(&mut world), "redis_version:5.0.0");
    assert!(of(&world, "config").fix.is_empty(), "there were no users yet");
}

#[test]
fn memory_that_the_machine_has_not_is_not_to_be_configured() {
    let mut world = World::new();
    info(
        target(&mut world),
        "maxmemory:1000000\ntotal_system_memory:1500000",
    );
    assert_eq!(of(&world, "maxmemory").fix, ["--target redis://A-LARGER-SERVER"]);
}

#[test]
fn a_replica_is_made_a_master_only_where_nobody_else_manages_it() {
    let mut world = World::new();
    info(
        target(&mut world),
        "role:slave\nmaster_host:10.0.0.9\nmaster_port:7\nredis_version:4.0.0",
    );
    let printed = of(&world, "replica").fix.join("\n");
    assert!(printed.contains("SLAVEOF NO ONE"), "{printed}");
    let place = Place::fixed(endpoint(2));
    world.plan.target.shape = Shape::Named {
        sentinels: vec![endpoint(9)],
        place,
    };
    assert_eq!(of(&world, "replica").fix, ["--target redis://10.0.0.9:7"]);
}

#[test]
fn nodes_that_are_down_are_started_again_before_their_slots_are_given_away() {
    let mut world = World::new().clusters();
    let seen = |text: &str| View {
        served: u64::from(SLOTS) - 1,
        asked: endpoint(1).address.to_string(),
        nodes: nodes::parse(text, &endpoint(1).address).unwrap(),
        ..View::default()
    };
    world.source.cluster = Some(seen("a 10.0.0.1:1@11 myself,master - 0 0 1 connected 0-16382"));
    let printed = of(&world, "cluster-slots").fix.join("\n");
    assert!(printed.contains("--cluster fix"), "{printed}");
    world.source.cluster = Some(seen(
        "a 10.0.0.1:1@11 myself,master - 0 0 1 connected 0-16382\n\
         b 10.0.0.1:5@15 master,fail - 0 0 2 disconnected 16383\n\
         c 10.0.0.1:6@16 slave b 0 0 2 connected",
    ));
    let printed = of(&world, "cluster-slots").fix;
    assert!(!printed.concat().contains("--cluster fix"), "{printed:?}");
    assert!(printed[0].contains("start the nodes"), "{printed:?}");
    assert_eq!(
        printed.last().unwrap(),
        "redis-cli -h 10.0.0.1 -p 6 CLUSTER FAILOVER TAKEOVER"
    );
}

/// Sentinels publish on every server that they watch.
#[test]
fn what_sentinels_call_is_not_taken_for_what_clients_call() {
    let mut world = World::new();
    may(target(&mut world), "publish", May::No);
    assert_eq!(bad(&world), [("permission", Severity::Problem)]);
    world.plan.source.shape = Shape::Named {
        sentinels: vec![endpoint(9)],
        place: Place::fixed(endpoint(1)),
    };
    may(super::tests::source(&mut world), "role", May::Yes);
    assert_eq!(bad(&world), [("permission", Severity::Warning)]);
}

#[test]
fn functions_that_the_filter_leaves_out_need_no_place() {
    let mut world = World::new();
    info(target(&mut world), "redis_version:6.2.0");
    info(source(&mut world), "number_of_libraries:1");
    filtered(&mut world, |rules| rules.command_deny.push("function".to_owned()));
    assert_eq!(bad(&world), []);
}

#[test]
fn connections_are_counted_once_for_each_source_and_not_beside_those_of_the_daemon() {
    let mut world = World::new();
    let says = |world: &World| {
        let findings = world.findings();
        let of_target = findings.iter().filter(|one| one.check == "max-clients").nth(1);
        of_target.unwrap().says.clone()
    };
    assert!(says(&world).ends_with("up to 7 connections"), "{}", says(&world));
    world.plan.target.shape = Shape::Cluster {
        seeds: vec![endpoint(2)],
        with_replicas: false,
    };
    world.source.nodes.push(super::tests::node(3));
    let findings = world.findings();
    let told = findings.iter().rfind(|one| one.check == "max-clients");
    assert!(told.unwrap().says.ends_with("up to 14 connections"), "{told:?}");
    world.plan.depth = Depth::Brief;
    let findings = world.findings();
    let mut told = findings.iter().filter(|one| one.check == "max-clients");
    assert!(told.all(|one| one.says.ends_with("are connected")));
}

/// Each number that a server says of itself, at its largest; of every table, on either side.
#[test]
fn whatever_a_server_says_is_survived() {
    let numbers = [
        "maxclients",
        "connected_clients",
        "maxmemory",
        "used_memory",
        "used_memory_rss",
        "mem_clients_slaves",
        "mem_clients_normal",
        "mem_replication_backlog",
        "used_memory_startup",
        "total_system_memory",
        "repl_backlog_size",
        "number_of_libraries",
        "min_slaves_good_slaves",
    ];
    let most = u64::MAX;
    for value in [most, most - 1, 1 << 63, 0] {
        let mut world = World::new();
        let more = [
            format!("module:name=bf,ver={value}"),
            format!("db4294967295:keys={value},subexpiry={value}"),
            format!("db0:keys={value},subexpiry={value}"),
            format!("cmdstat_xadd:calls={value}"),
            format!("cmdstat_xgroup|create:calls={value}"),
            format!("cmdstat_xgroup|destroy:calls={value}"),
            format!("cmdstat_bf.add:calls={value}"),
            format!("cmdstat_bf.madd:calls={value}"),
        ];
        let lines = numbers.map(|name| format!("{name}:{value}")).join("\n") + "\n" + &more.join("\n");
        world.source.nodes.push(super::tests::node(3));
        world.target.nodes[0].clock_ms = Some(-f64::MAX);
        for node in world.source.nodes.iter_mut().chain(&mut world.target.nodes) {
            info(node, &lines);
            let names: Vec<String> = node.config.values.keys().cloned().collect();
            for name in names.iter().filter(|name| !name.contains("diskless-sync")) {
                config(node, name, &value.to_string());
            }
            config(node, "repl-diskless-sync-delay", &value.to_string());
            config(
                node,
                "client-output-buffer-limit",
                &format!("slave {value} {value} {value}"),
            );
            (node.rate, node.certificate_ends) = (Some(Rate::Clients(f64::MAX)), Some(i64::MIN));
        }
        info(
            target(&mut world),
            "redis_version:4294967295.4294967295.4294967295",
        );
        world.plan.connections = most;
        assert!(!world.findings().is_empty());
        info(target(&mut world), "redis_version:2.8.0");
        assert!(!world.findings().is_empty());
    }
}
