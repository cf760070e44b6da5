//! A cluster whose nodes speak TLS with everybody, and a user with README's permissions alone on each.

// As in tests/support: what fails here fails the test.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::panic)]

use std::process::Command;

use crate::acl::{assert_nothing_denied, login, source_user, target_user};
use crate::certs::{Ca, Pair, text};
use crate::server::TlsServer;
use crate::stderr;
use crate::support::gunyu::PROGRAM;
use crate::support::{Gunyu, SOON, wait_for};

const SLOTS: usize = 16_384;
const MASTERS: usize = 3;

struct Cluster {
    masters: Vec<TlsServer>,
}

impl Cluster {
    fn start(ca: &Ca, pair: &Pair) -> Cluster {
        let options = [
            ("--tls-auth-clients", "no"),
            ("--tls-cluster", "yes"),
            ("--tls-replication", "yes"),
            ("--cluster-enabled", "yes"),
            ("--cluster-node-timeout", "5000"),
            ("--requirepass", "of-the-test"),
        ];
        let options: Vec<&str> = options.iter().flat_map(|(name, value)| [*name, *value]).collect();
        let masters: Vec<TlsServer> = (0..MASTERS)
            .map(|_| TlsServer::with(ca, pair, &options))
            .collect();
        for (number, master) in masters.iter().enumerate() {
            let share = |number: usize| (number * SLOTS / MASTERS).to_string();
            let last = (share(number + 1).parse::<usize>().unwrap() - 1).to_string();
            let () = master
                .server
                .run(&["CLUSTER", "ADDSLOTSRANGE", &share(number), &last]);
            let () = master
                .server
                .run(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
            let () = masters[0]
                .server
                .run(&["CLUSTER", "MEET", "127.0.0.1", &master.port().to_string()]);
        }
        let cluster = Cluster { masters };
        for master in &cluster.masters {
            wait_for(SOON, "the cluster is whole", || {
                let info: String = master.server.run(&["CLUSTER", "INFO"]);
                let nodes: String = master.server.run(&["CLUSTER", "NODES"]);
                let is_whole = info.contains("cluster_state:ok")
                    && info.contains(&format!("cluster_size:{MASTERS}"))
                    && !nodes.contains("handshake");
                is_whole.then_some(()).ok_or(nodes)
            });
        }
        cluster
    }

    fn url(&self, password: &str) -> String {
        // One is enough: it names the others, by their TLS ports.
        format!(
            "rediss+cluster://{}{}",
            login("gunyu", password),
            self.masters[0].addr()
        )
    }

    /// Sets so many keys, each where its slot is.
    fn write(&self, name: &str, count: usize) {
        let mut conns: Vec<_> = self.masters.iter().map(|master| master.server.conn()).collect();
        for number in 0..count {
            let mut set = redis::cmd("SET");
            set.arg(format!("{name}:{number}")).arg(number);
            let is_set = conns.iter_mut().any(|conn| set.query::<()>(conn).is_ok());
            assert!(is_set, "{name}:{number} has no master");
        }
    }

    /// The keys that begin with `name`, over all masters.
    fn keys(&self, name: &str) -> Vec<String> {
        let of = |master: &TlsServer| master.server.run::<Vec<String>>(&["KEYS", &format!("{name}:*")]);
        let mut keys: Vec<String> = self.masters.iter().flat_map(of).collect();
        keys.sort();
        keys
    }
}

#[test]
fn every_master_of_a_cluster_is_dumped_over_tls_by_a_user_of_least_privilege() {
    let ca = Ca::new();
    let cluster = Cluster::start(&ca, &ca.sign(&["127.0.0.1"]));
    for master in &cluster.masters {
        source_user(&master.server, "of source");
    }
    cluster.write("key", 100);
    let folder = tempfile::tempdir().unwrap();
    let done = Command::new(PROGRAM)
        .args(["rdb-dump", "--source", &cluster.url("of source")])
        .args(["--output", &text(&folder.path().join("dump.rdb"))])
        .arg(format!("--set=input.redis.tls.ca={}", text(&ca.path())))
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
    let said = stderr(&done);
    // Each file is named after the port on which it was taken.
    let files = std::fs::read_dir(folder.path()).unwrap();
    let names: Vec<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    for master in &cluster.masters {
        let port = master.port().to_string();
        assert!(
            names.iter().any(|name| name.contains(&port)),
            "{port}: {names:?} {said}"
        );
        assert_nothing_denied(&master.server);
    }
}

#[test]
fn a_cluster_follows_a_cluster_over_tls_by_users_of_least_privilege() {
    let ca = Ca::new();
    let pair = ca.sign(&["127.0.0.1"]);
    let (source, target) = (Cluster::start(&ca, &pair), Cluster::start(&ca, &pair));
    for (from, to) in source.masters.iter().zip(&target.masters) {
        source_user(&from.server, "of source");
        target_user(&to.server, "of target");
    }
    source.write("before", 200);
    let path = text(&ca.path());
    let set = [
        format!("input.redis.tls.ca={path}"),
        format!("output.redis.tls.ca={path}"),
    ];
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    let mut gunyu = Gunyu::start(&source.url("of source"), &target.url("of target"), &set);
    gunyu.wait_status(SOON, "all shards are live", |status| {
        let inputs = status.as_array().map_or(&[][..], Vec::as_slice);
        inputs.len() == MASTERS && inputs.iter().all(|input| input["Phase"] == "incremental")
    });
    let arrived = |gunyu: &Gunyu, name: &str| {
        wait_for(SOON, "all keys have arrived", || {
            let (here, there) = (source.keys(name), target.keys(name));
            let told = || format!("{} of {}\n{}", there.len(), here.len(), gunyu.traces());
            (here == there).then_some(()).ok_or_else(told)
        });
    };
    arrived(&gunyu, "before");
    source.write("live", 200);
    arrived(&gunyu, "live");
    gunyu.restart();
    source.write("restarted", 200);
    arrived(&gunyu, "restarted");
    for master in source.masters.iter().chain(&target.masters) {
        assert_nothing_denied(&master.server);
    }
}
