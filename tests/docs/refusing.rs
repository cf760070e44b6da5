//! The ways to keep applications from writing that docs/migrating.md offers, each tried on a server of its own; and a cutover that does not succeed in it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use crate::documents::{Block, blocks, text};
use crate::stage::Stage;
use crate::support::{Cluster, SOON, Server, wait_until};

/// The commands of the table under that heading, in the first column.
fn ways() -> Vec<String> {
    let document = text("docs/migrating.md");
    let (_, section) = document.split_once("\n## Cutover\n").unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split_once('`').unwrap().0.to_owned())
        .collect()
}

/// A server with an application's user, and what is typed at it.
fn server_after(way: &str) -> Server {
    let server = Server::start();
    let () = server.run(&["ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all"]);
    let () = server.run(&["SET", "a", "1"]);
    let typed = Command::new("redis-cli")
        .args(["-u", &server.url()])
        .args(way.split_whitespace())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&typed.stdout).trim(), "OK", "{way}");
    server
}

fn application(server: &Server) -> redis::Connection {
    let url = format!("redis://app:secret@{}", server.addr());
    redis::Client::open(url).unwrap().get_connection().unwrap()
}

#[test]
fn each_way_of_refusing_writes_keeps_an_application_from_writing_and_lets_it_read() {
    let ways = ways();
    let [replicas, acl, pause] = ways.as_slice() else {
        panic!("{ways:?}")
    };
    for (way, code) in [(replicas, "NOREPLICAS"), (acl, "NOPERM")] {
        let server = server_after(way);
        let mut app = application(&server);
        let refused = redis::cmd("SET").arg("a").arg(2).exec(&mut app).unwrap_err();
        assert_eq!(refused.code(), Some(code), "{way}: {refused}");
        assert_eq!(
            redis::cmd("GET").arg("a").query::<u64>(&mut app).unwrap(),
            1,
            "{way}"
        );
    }
    let server = server_after(pause);
    let mut app = application(&server);
    let writer = std::thread::spawn(move || redis::cmd("SET").arg("a").arg(2).exec(&mut app));
    wait_until(SOON, "the write waits", || {
        server.info("clients")["blocked_clients"] == "1"
    });
    assert_eq!(server.run::<u64>(&["GET", "a"]), 1, "{pause}");
    assert!(!writer.is_finished());
    let () = server.run(&["CLIENT", "UNPAUSE"]);
    writer.join().unwrap().unwrap();
}

/// What is typed last under a heading.
fn last_block(document: &str, heading: &str) -> Block {
    let all = blocks("sh").into_iter();
    let mut under = all.filter(|one| one.document == document && one.heading == heading);
    under.next_back().unwrap()
}

#[test]
fn a_cutover_in_which_a_master_does_not_refuse_goes_no_further() {
    let cluster = Cluster::start(3);
    let names = ["10.0.0.1:6379", "10.0.0.2:6379", "10.0.0.3:6379"];
    let addresses = cluster.masters.iter().map(Server::addr);
    let stage = Stage::new(&names.into_iter().zip(addresses).collect::<Vec<_>>());
    // Whoever types it may not change how this one is configured. redis-cli ends with 0 all the same.
    let () = cluster.masters[1].run(&["ACL", "SETUSER", "default", "-config|set"]);
    for (document, heading) in [
        ("README.md", "Migrate a cluster this afternoon"),
        ("docs/migrating.md", "A cluster to a cluster of another size"),
    ] {
        let block = last_block(document, heading);
        assert!(block.text.contains("gunyu stop"), "{}", block.place());
        let played = catch_unwind(AssertUnwindSafe(|| stage.play("", std::slice::from_ref(&block))));
        assert!(played.is_err(), "{}: it has ended well", block.place());
        let traced = std::fs::read_to_string(stage.dir().join("err")).unwrap();
        let set = traced.contains("CONFIG SET min-replicas-to-write 100");
        assert!(
            set && !traced.contains("gunyu status"),
            "{}: {traced}",
            block.place()
        );
    }
}
