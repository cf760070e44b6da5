//! Each rule by a table: the facts, and what they come to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::answer::May;
use super::super::facts::{Node, Origin, Rate, Seen, Trouble, View};
use super::super::here::{Facts as HereFacts, Folder, Port};
use super::super::info::{Closed, Config, Info};
use super::super::rights::Rights;
use super::super::{Depth, Finding, Here, Plan, Severity, Shape, Side, needs};
use super::{Case, judge};
use crate::core::filter::{Filter, Rules};
use crate::core::net::{Address, Credentials, Endpoint};
use crate::core::topology::Place;

pub(super) const MIB: u64 = 1 << 20;

pub(super) fn endpoint(port: u16) -> Endpoint {
    Endpoint {
        address: Address {
            host: "10.0.0.1".to_owned(),
            port,
        },
        credentials: Credentials::default(),
        tls: None,
    }
}

/// A pair of servers that are well, to be spoiled.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) source: Seen,
    pub(super) target: Seen,
    here: Option<HereFacts>,
    store: Vec<Node>,
}

impl World {
    pub(super) fn new() -> World {
        let side = |port| Side {
            shape: Shape::Servers(vec![endpoint(port)]),
            cli: Vec::new(),
        };
        let seen = |port| Seen {
            nodes: vec![node(port)],
            ..Seen::default()
        };
        World {
            plan: Plan {
                source: side(1),
                target: side(2),
                psync_command: "PSYNC".to_owned(),
                filter: Arc::new(Filter::compile(&Rules::default()).unwrap()),
                outage: Duration::from_secs(60),
                silence: Duration::from_secs(60),
                connections: 4,
                has_dead_letters: false,
                skips_module_aux: false,
                probe: None,
                here: Here {
                    root: "logs".into(),
                    on_disk: true,
                    max_bytes: Some(10 * MIB),
                    listen: Vec::new(),
                    certificates: Vec::new(),
                },
                store: Vec::new(),
                leases_in_source: false,
                notes: Vec::new(),
                depth: Depth::Full,
            },
            source: seen(1),
            target: seen(2),
            here: None,
            store: Vec::new(),
        }
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        let case = Case {
            plan: &self.plan,
            source: &self.source,
            target: &self.target,
            store: &self.store,
        };
        judge(&case, self.here.as_ref())
    }

    pub(super) fn clusters(mut self) -> World {
        self.plan.source.shape = Shape::Cluster {
            seeds: vec![endpoint(1)],
            with_replicas: true,
        };
        self.plan.target.shape = Shape::Cluster {
            seeds: vec![endpoint(2)],
            with_replicas: false,
        };
        for seen in [&mut self.source, &mut self.target] {
            seen.cluster = Some(View {
                served: 16_384,
                asked: "10.0.0.1:1".to_owned(),
                ..View::default()
            });
            info(&mut seen.nodes[0], "cluster_enabled:1");
        }
        self
    }
}

pub(super) fn node(port: u16) -> Node {
    let mut node = Node::new(endpoint(port), Origin::Configured);
    node.info = Some(Info::default());
    info(
        &mut node,
        &format!(
            "redis_version:7.0.15\nrun_id:{port}\ncluster_enabled:0\nredis_mode:standalone\nloading:0\nrole:master\nmaxclients:1000\nconnected_clients:1\n\
             rdb_last_bgsave_status:ok\naof_enabled:0\nmaxmemory:0\nmaxmemory_policy:noeviction\nused_memory:2000000\nused_memory_rss:1\n\
             total_system_memory:1000000000\nrepl_backlog_size:{}\ndb0:keys=1",
            64 * MIB
        ),
    );
    for (name, value) in [
        (
            "client-output-buffer-limit",
            "normal 0 0 0 slave 268435456 67108864 60 pubsub 0 0 0",
        ),
        ("repl-diskless-sync", "yes"),
        ("repl-diskless-sync-delay", "5"),
        ("repl-timeout", "60"),
        ("repl-ping-period", "10"),
        ("repl-backlog-ttl", "3600"),
        ("databases", "16"),
        ("proto-max-bulk-len", "536870912"),
        ("min-replicas-to-write", "0"),
        ("stop-writes-on-bgsave-error", "yes"),
        ("save", "3600 1"),
    ] {
        config(&mut node, name, value);
    }
    node.rate = Some(Rate::Stream(0.0));
    node.clock_ms = Some(0.0);
    let all = needs::SOURCE.iter().chain(needs::TARGET);
    node.rights = Some(Rights {
        may: all.map(|need| (need.command, May::Yes)).collect(),
    });
    node
}

/// Adds lines to what it says of itself; a later one wins.
pub(super) fn info(node: &mut Node, lines: &str) {
    let more = Info::parse(lines);
    let there = node.info.get_or_insert_default();
    there.merge(more);
}

pub(super) fn config(node: &mut Node, name: &str, value: &str) {
    node.config.values.insert(name.to_owned(), value.to_owned());
}

pub(super) fn may(node: &mut Node, command: &'static str, may: May) {
    let rights = node.rights.get_or_insert_default();
    rights.may.insert(command, may);
}

/// What is worse than ok.
pub(super) fn bad(world: &World) -> Vec<(&'static str, Severity)> {
    let findings = world.findings();
    let bad = findings.iter().filter(|one| one.severity != Severity::Ok);
    bad.map(|one| (one.check, one.severity)).collect()
}

#[test]
fn of_a_pair_that_is_well_nothing_is_told_but_that() {
    assert_eq!(bad(&World::new()), []);
    assert_eq!(bad(&World::new().clusters()), []);
}

type Spoil = fn(&mut World);

pub(super) fn source(world: &mut World) -> &mut Node {
    &mut world.source.nodes[0]
}

pub(super) fn target(world: &mut World) -> &mut Node {
    &mut world.target.nodes[0]
}

pub(super) fn filtered(world: &mut World, change: fn(&mut Rules)) {
    let mut rules = Rules::default();
    change(&mut rules);
    world.plan.filter = Arc::new(Filter::compile(&rules).unwrap());
}

/// Whatever is worse than ok says what to do.
fn assert_mendable(world: &World) {
    let findings = world.findings();
    let bad = findings.iter().filter(|one| one.severity > Severity::Unknown);
    for finding in bad {
        assert!(!finding.fix.is_empty(), "{finding:?}");
    }
}

#[test]
fn what_is_wrong_is_found_and_nothing_else() {
    use Severity::{Problem, Unknown, Warning};

    let table: &[(&str, Severity, Spoil)] = &[
        // Either side.
        ("version", Unknown, |w| target(w).info = None),
        ("version", Problem, |w| info(source(w), "redis_version:2.6.1")),
        ("kind", Problem, |w| info(target(w), "cluster_enabled:1")),
        ("kind", Warning, |w| info(source(w), "cluster_enabled:1")),
        ("kind", Problem, |w| info(source(w), "redis_mode:sentinel")),
        ("permission", Problem, |w| may(source(w), "psync", May::No)),
        ("permission", Warning, |w| may(source(w), "info", May::No)),
        ("permission", Problem, |w| may(target(w), "exec", May::No)),
        ("permission", Problem, |w| may(target(w), "set", May::NotThere)),
        ("permission", Problem, |w| may(target(w), "multi", May::NoSuch)),
        ("permission", Problem, |w| may(target(w), "incr", May::No)),
        ("permission", Warning, |w| may(target(w), "client|kill", May::No)),
        ("permission", Unknown, |w| may(source(w), "psync", May::Untold)),
        ("permission", Unknown, |w| source(w).rights = None),
        ("permission", Problem, |w| {
            may(target(w), "publish", May::NotThere);
        }),
        ("kind", Problem, |w| {
            source(w).info = Some(Info::parse("redis_version:7.0.15\nredis_mode:sentinel"));
        }),
        ("config", Unknown, |w| {
            target(w).config = Config {
                values: BTreeMap::new(),
                closed: Some(Closed::Forbidden),
            }
        }),
        ("loading", Warning, |w| info(target(w), "loading:1")),
        ("max-clients", Problem, |w| {
            info(target(w), "connected_clients:999");
        }),
        ("max-clients", Warning, |w| {
            info(source(w), "connected_clients:950");
        }),
        ("certificate", Problem, |w| source(w).certificate_ends = Some(0)),
        // The source.
        ("psync", Problem, |w| may(source(w), "psync", May::NoSuch)),
        ("source-link", Problem, |w| {
            info(source(w), "role:slave\nmaster_link_status:down");
        }),
        ("databases", Warning, |w| {
            filtered(w, |rules| rules.db_allow = Some(vec![3]));
        }),
        ("leases", Warning, |w| {
            w.plan.leases_in_source = true;
            w.here = Some(well());
        }),
        ("backlog", Warning, |w| {
            source(w).rate = Some(Rate::Stream(2.0 * MIB as f64));
        }),
        ("backlog-ttl", Warning, |w| {
            config(source(w), "repl-backlog-ttl", "10");
        }),
        ("output-buffer", Warning, |w| {
            config(source(w), "client-output-buffer-limit", "replica 1048576 0 0");
        }),
        ("diskless", Warning, |w| {
            config(source(w), "repl-diskless-sync-delay", "120");
        }),
        ("repl-timeout", Warning, |w| {
            config(source(w), "repl-timeout", "3");
        }),
        ("repl-ping", Warning, |w| {
            config(source(w), "repl-ping-period", "45");
        }),
        ("repl-ping", Problem, |w| {
            config(source(w), "repl-ping-period", "60");
        }),
        ("snapshot", Warning, |w| {
            info(source(w), "rdb_last_bgsave_status:err");
        }),
        ("fork-memory", Warning, |w| {
            info(source(w), "used_memory_rss:900000000");
        }),
        // The target.
        ("replica", Problem, |w| info(target(w), "role:slave")),
        ("min-replicas", Problem, |w| {
            config(target(w), "min-replicas-to-write", "1");
            info(target(w), "min_slaves_good_slaves:0");
        }),
        ("persistence", Problem, |w| {
            info(target(w), "rdb_last_bgsave_status:err");
        }),
        ("persistence", Problem, |w| {
            info(target(w), "aof_enabled:1\naof_last_write_status:err");
        }),
        ("eviction", Warning, |w| {
            info(target(w), "maxmemory:9000000\nmaxmemory_policy:allkeys-lru");
        }),
        // The one against the other.
        ("same-server", Problem, |w| info(target(w), "run_id:1")),
        ("clock", Warning, |w| target(w).clock_ms = Some(-700.0)),
        ("maxmemory", Problem, |w| info(target(w), "maxmemory:1000000")),
        ("maxmemory", Warning, |w| info(target(w), "maxmemory:2100000")),
        ("maxmemory", Warning, |w| {
            info(target(w), "maxmemory:1000000");
            filtered(w, |rules| rules.key_prefix_allow.push("app:".to_owned()));
        }),
        ("loop", Problem, |w| {
            info(source(w), "role:slave\nmaster_link_status:up\nmaster_replid:abc");
            info(target(w), "master_replid:abc");
        }),
        ("maxmemory", Problem, |w| {
            info(target(w), "total_system_memory:1000000");
        }),
        ("databases", Problem, |w| info(source(w), "db16:keys=1")),
        ("streams", Problem, |w| {
            info(target(w), "redis_version:4.0.0");
            info(source(w), "cmdstat_xadd:calls=5");
        }),
        ("streams", Warning, |w| {
            info(target(w), "redis_version:4.0.0");
            info(source(w), "cmdstat_xadd:calls=5");
            w.plan.has_dead_letters = true;
        }),
        ("modules", Problem, |w| {
            info(source(w), "module:name=vectorset,ver=1\ncmdstat_VADD:calls=1");
        }),
        ("modules", Problem, |w| {
            info(source(w), "module:name=bf,ver=1\ncmdstat_BF.ADD:calls=1");
        }),
        ("modules", Warning, |w| {
            info(source(w), "module:name=bf,ver=1\ncmdstat_BF.ADD:calls=1");
            (w.plan.has_dead_letters, w.plan.skips_module_aux) = (true, true);
        }),
        ("functions", Problem, |w| {
            info(target(w), "redis_version:6.2.0");
            info(source(w), "number_of_libraries:1");
        }),
        ("field-expiry", Problem, |w| {
            info(source(w), "db0:keys=1,subexpiry=3");
        }),
        ("modules", Warning, |w| info(source(w), "module:name=graph,ver=1")),
        ("modules", Problem, |w| {
            info(source(w), "module:name=bf,ver=1\ncmdstat_cf.add:calls=1");
        }),
        ("commands", Problem, |w| {
            info(target(w), "redis_version:6.0.0");
            may(target(w), "copy", May::NoSuch);
        }),
        ("bulk-length", Warning, |w| {
            config(target(w), "proto-max-bulk-len", "1048576");
        }),
        // Sides.
        ("reach", Problem, |w| target(w).trouble = Some(trouble())),
        ("sentinels", Problem, |w| {
            w.target.nodes.clear();
            w.target.lost = Some(trouble());
            w.plan.target.shape = Shape::Named {
                sentinels: vec![endpoint(9)],
                place: Place::fixed(endpoint(2)),
            };
        }),
        ("reach", Problem, |w| {
            w.target.nodes.clear();
            w.target.lost = Some(trouble());
        }),
        ("sentinels", Warning, |w| {
            let mut sentinel = node(3);
            sentinel.trouble = Some(trouble());
            w.source.sentinels.push(sentinel);
        }),
        ("announced-address", Problem, |w| {
            target(w).trouble = Some(trouble());
            target(w).origin = Origin::Announced;
        }),
    ];
    for (number, (check, severity, spoil)) in table.iter().enumerate() {
        let mut world = World::new();
        spoil(&mut world);
        assert_eq!(bad(&world), [(*check, *severity)], "line {number}: {check}");
        assert_mendable(&world);
    }
}

fn trouble() -> Trouble {
    Trouble {
        message: "it is gone".to_owned(),
        hint: Some("look for it".to_owned()),
    }
}

#[test]
fn what_is_wrong_with_a_cluster_is_found() {
    use Severity::{Problem, Warning};

    let table: &[(&str, Severity, Spoil)] = &[
        ("kind", Problem, |w| info(source(w), "cluster_enabled:0")),
        ("permission", Problem, |w| may(target(w), "asking", May::No)),
        ("databases", Problem, |w| info(source(w), "db1:keys=1")),
        ("cluster-slots", Problem, |w| {
            w.source.cluster.as_mut().unwrap().served -= 1;
        }),
        ("cluster-slots", Problem, |w| {
            w.target.cluster.as_mut().unwrap().state = Some("fail".to_owned());
        }),
        ("reach", Warning, |w| {
            let mut gone = node(7);
            gone.trouble = Some(trouble());
            w.source.nodes.push(gone);
        }),
        ("reach", Problem, |w| {
            let mut gone = node(7);
            gone.trouble = Some(trouble());
            w.source
                .cluster
                .as_mut()
                .unwrap()
                .serving
                .push(endpoint(7).address);
            w.source.nodes.push(gone);
        }),
        ("announced-address", Warning, |w| {
            let mut gone = node(7);
            (gone.trouble, gone.origin) = (Some(trouble()), Origin::Replica);
            w.source.nodes.push(gone);
        }),
        ("source-link", Warning, |w| {
            let mut replica = node(7);
            info(
                &mut replica,
                "cluster_enabled:1\nrole:slave\nmaster_link_status:down",
            );
            replica.origin = Origin::Replica;
            w.source.nodes.push(replica);
        }),
    ];
    for (number, (check, severity, spoil)) in table.iter().enumerate() {
        let mut world = World::new().clusters();
        spoil(&mut world);
        assert_eq!(bad(&world), [(*check, *severity)], "line {number}: {check}");
        assert_mendable(&world);
    }
}

/// A machine on which nothing is wrong.
fn well() -> HereFacts {
    HereFacts {
        folder: Folder::Usable,
        free_bytes: Some(100 * MIB),
        logs_bytes: 0,
        ports: Vec::new(),
        open_files_max: Some(65_536),
        certificates: Vec::new(),
    }
}

#[test]
fn what_is_wrong_with_this_machine_is_found() {
    use Severity::{Problem, Unknown, Warning};

    type Spoil = fn(&mut HereFacts);
    let table: &[(&str, Severity, Spoil)] = &[
        ("folder", Warning, |here| {
            here.folder = Folder::Held {
                holder: "pid 7".to_owned(),
            }
        }),
        ("folder", Problem, |here| {
            here.folder = Folder::Wrong {
                message: "no".to_owned(),
                hint: None,
            };
        }),
        ("disk", Problem, |here| here.free_bytes = Some(1)),
        ("disk", Warning, |here| here.free_bytes = Some(MIB)),
        ("disk", Warning, |here| here.free_bytes = Some(3 * MIB)),
        ("disk", Unknown, |here| here.free_bytes = None),
        ("folder", Warning, |here| {
            here.folder = Folder::Others { uid: 999 };
        }),
        ("port", Problem, |here| {
            here.ports.push(Port {
                key: "server.listen",
                address: endpoint(1).address,
                trouble: Some("taken".to_owned()),
            });
        }),
        ("open-files", Warning, |here| here.open_files_max = Some(256)),
        ("certificate", Problem, |here| {
            here.certificates.push(("server.tls.cert", 0));
        }),
    ];
    for (check, severity, spoil) in table {
        let mut world = World::new();
        let mut here = well();
        spoil(&mut here);
        world.here = Some(here);
        assert_eq!(bad(&world), [(*check, *severity)]);
        assert_mendable(&world);
    }
    let mut world = World::new();
    world.here = Some(well());
    assert_eq!(bad(&world), []);
    let mut gone = node(9);
    gone.trouble = Some(trouble());
    world.store = vec![node(8), gone];
    assert_eq!(bad(&world), [("store", Warning)]);
    world.store.remove(0);
    assert_eq!(bad(&world), [("store", Problem)]);
    world.store.clear();
    world.plan.notes.push("a key without effect".to_owned());
    assert_eq!(bad(&world), [("configuration", Warning)]);
    assert_mendable(&world);
    world.plan.notes.clear();
    world.plan.here.max_bytes = Some(MIB);
    assert_eq!(bad(&world), [("log-size", Warning)]);
}

#[test]
fn every_warning_and_every_problem_says_what_to_type() {
    let mut world = World::new();
    may(source(&mut world), "psync", May::No);
    may(source(&mut world), "replconf", May::No);
    source(&mut world).rate = Some(Rate::Stream(3.0 * MIB as f64));
    info(
        target(&mut world),
        "maxmemory:9000000\nmaxmemory_policy:volatile-lru",
    );
    let findings = world.findings();
    let typed: Vec<&str> = findings
        .iter()
        .flat_map(|one| &one.fix)
        .map(String::as_str)
        .collect();
    assert_eq!(
        typed,
        [
            "redis-cli -h 10.0.0.1 -p 1 ACL SETUSER default +replconf +psync",
            "redis-cli -h 10.0.0.1 -p 1 CONFIG SET repl-backlog-size 536870912",
            "redis-cli -h 10.0.0.1 -p 2 CONFIG SET maxmemory-policy noeviction",
        ]
    );
}

#[test]
fn of_several_pairs_each_target_is_held_against_its_own_source() {
    let mut world = World::new();
    world.plan.source.shape = Shape::Servers(vec![endpoint(1), endpoint(3)]);
    world.plan.target.shape = Shape::Servers(vec![endpoint(2), endpoint(4)]);
    world.source.nodes.push(node(3));
    world.target.nodes.push(node(4));
    info(&mut world.source.nodes[1], "db20:keys=1");
    let findings = world.findings();
    let bad: Vec<_> = findings
        .iter()
        .filter(|one| one.severity != Severity::Ok)
        .collect();
    assert_eq!(bad.len(), 1);
    assert_eq!(
        (bad[0].check, bad[0].nodes.join(" ").as_str()),
        ("databases", "10.0.0.1:4")
    );
}
