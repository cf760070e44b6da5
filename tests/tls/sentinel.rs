//! A master behind a sentinel, all of them with TLS alone for gunyu, and a user with README's permissions alone on each.

// As in tests/support: what fails here fails the test.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::panic)]

use std::process::Command;

use tempfile::TempDir;

use crate::acl::{assert_nothing_denied, login, rights, source_user, target_user};
use crate::certs::{Ca, Pair, text};
use crate::server::{TlsServer, of_tls};
use crate::support::port::Port;
use crate::support::process::{Process, text_from};
use crate::support::{Gunyu, SOON, assert_equal, wait_for};

/// Dropped in this order.
struct Sentinel {
    _process: Process,
    port: Port,
    _dir: TempDir,
}

impl Sentinel {
    /// Watches the TLS port of `master` under the name `mine`, and lets a user do what README says.
    fn start(ca: &Ca, pair: &Pair, master: &TlsServer) -> Sentinel {
        let (port, dir) = (Port::free(), tempfile::tempdir().unwrap());
        let mut config = String::from("port 0\nbind 127.0.0.1\ntls-auth-clients no\ntls-replication yes\n");
        for option in of_tls(ca, pair, &port).chunks(2) {
            config += &format!("{} {}\n", option[0].trim_start_matches("--"), option[1]);
        }
        config += &format!("sentinel monitor mine 127.0.0.1 {} 1\n", master.port());
        config += "sentinel auth-pass mine of-the-test\n";
        config += &format!(
            "user default off\nuser gunyu on >of-sentinel {}\n",
            rights("sentinels").join(" ")
        );
        let (file, log) = (dir.path().join("sentinel.conf"), dir.path().join("log"));
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new("redis-server");
        command.arg(&file).arg("--sentinel");
        let mut process = Process::start(command, &log, &log);
        wait_for(SOON, "the sentinel is ready", || {
            let said = text_from(&log, 0);
            assert!(process.ended().is_none(), "{said}");
            said.contains("+monitor").then_some(()).ok_or(said)
        });
        Sentinel {
            _process: process,
            port,
            _dir: dir,
        }
    }

    fn url(&self, password: &str) -> String {
        format!(
            "rediss+sentinel://{}{}/mine",
            login("gunyu", password),
            self.port.addr()
        )
    }
}

#[test]
fn a_master_is_found_by_sentinels_over_tls_by_users_of_least_privilege() {
    let ca = Ca::new();
    let pair = ca.sign(&["127.0.0.1"]);
    let options = ["--tls-auth-clients", "no", "--requirepass", "of-the-test"];
    let start = || TlsServer::with(&ca, &pair, &options);
    let (source, target) = (start(), start());
    source_user(&source.server, "of source");
    target_user(&target.server, "of target");
    let sentinels = [&source, &target].map(|master| Sentinel::start(&ca, &pair, master));
    let () = source.server.run(&["SET", "before", "value"]);
    let path = text(&ca.path());
    let set: Vec<String> = ["input", "output"]
        .iter()
        .flat_map(|side| {
            [
                format!("{side}.redis.tls.ca={path}"),
                format!("{side}.redis.sentinel.userName=gunyu"),
                format!("{side}.redis.sentinel.password=of-sentinel"),
            ]
        })
        .collect();
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    let (from, to) = (sentinels[0].url("of source"), sentinels[1].url("of target"));
    let mut gunyu = Gunyu::start(&from, &to, &set);
    gunyu.wait_ready(SOON);
    let () = source.server.run(&["SET", "live", "value"]);
    gunyu.wait_applied(&source.server, SOON);
    let traces = gunyu.traces();
    assert!(!traces.contains("NOPERM"), "{traces}");
    gunyu.term();
    assert_equal(&source.server, &target.server);
    assert_nothing_denied(&source.server);
    assert_nothing_denied(&target.server);
}
