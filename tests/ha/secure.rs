//! The group's token, and TLS between members and to the store.

use std::io::Read as _;
use std::net::TcpListener;
use std::process::Command;

use super::certs;
use super::support::etcd;
use super::support::fleet::LONG;
use super::support::group::{Group, Kind, Plan, Tally};
use super::support::gunyu::PROGRAM;
use super::support::workload::Seed;

#[test]
fn a_follower_with_another_token_says_so_and_what_to_do() {
    let mut group = Group::prepare(&Plan {
        members: 2,
        cluster: "  token: of-the-one-group\n".to_owned(),
        ..Plan::of_one_input(Kind::Etcd)
    });
    group.members[0].start();
    group.wait_settled(LONG);
    let yaml = group.members[1]
        .yaml()
        .replace("of-the-one-group", "of-another-group");
    group.members[1].configure(&yaml);
    group.members[1].start();
    let status = group.members[1].wait_status(LONG, "the follower tells of the token", |status| {
        let trouble = &status[0]["LastError"];
        trouble["Message"]
            .as_str()
            .is_some_and(|told| told.contains("token"))
            || trouble["Hint"]
                .as_str()
                .is_some_and(|hint| hint.contains("token"))
    });
    let trouble = &status[0]["LastError"];
    assert!(
        trouble["Hint"].as_str().is_some_and(|hint| !hint.is_empty()),
        "{trouble}"
    );
    for secret in ["of-the-one-group", "of-another-group"] {
        assert!(!status.to_string().contains(secret), "{status}");
        assert!(!group.members[1].traces().contains(secret));
    }
    assert_eq!(status[0]["Role"], "follower", "{status}");
    // With the right one it follows.
    let yaml = group.members[1]
        .yaml()
        .replace("of-another-group", "of-the-one-group");
    group.members[1].configure(&yaml);
    group.members[1].start();
    group.wait_settled(LONG);
}

/// Who may write to the store and has no token: a member of that name, which holds the lease of the only input, and whose API is where its name is.
fn forge(group: &Group, id: &str) {
    let (server, key) = (group.store.server(), "/redis-gunyu/of-the-test");
    let fields: Vec<String> = server.run(&["HKEYS", key]);
    let lease = fields.iter().find(|field| field.starts_with("leases/")).unwrap();
    let input = lease.strip_prefix("leases/").unwrap();
    let record = format!(
        r#"{{"id":"{id}","api":"http://{id}","positions":{{"{input}":""}},"proof":"{}"}}"#,
        "0".repeat(64)
    );
    let () = server.run(&[
        "HSET",
        key,
        &format!("registry/{id}"),
        &format!("99999999999999 forged {record}"),
        lease,
        &format!("900 forged {id}"),
    ]);
}

#[test]
fn a_member_that_does_not_know_the_token_is_never_told_it() {
    let mut group = Group::start(&Plan {
        members: 1,
        begin: 1,
        cluster: "  token: of-the-one-group\n".to_owned(),
        ..Plan::of_one_input(Kind::Redis)
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let id = listener.local_addr().unwrap().to_string();
    forge(&group, &id);
    let told = |status: &serde_json::Value| {
        let message = status[0]["LastError"]["Message"].as_str().unwrap_or_default();
        message.contains(&id) && message.contains("has not shown that it knows the group's token")
    };
    group.members[0].wait_status(LONG, "the member tells of the stranger", told);
    let status = group.members[0].must(200, "GET", "/syncer/status?from=leaders");
    assert!(status.text().contains("\"follower\""), "{}", status.text());
    group.members[0].term();
    let handover = Command::new(PROGRAM)
        .args(["handover", "--inputs", "all", "--config"])
        .arg(group.members[0].file())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&handover.stderr).into_owned();
    assert!(!handover.status.success());
    assert!(told.contains("have not shown that they know the token"), "{told}");
    listener.set_nonblocking(true).unwrap();
    while let Ok((mut called, _)) = listener.accept() {
        let mut text = Vec::new();
        // Whoever called has gone: there is an end.
        called.set_nonblocking(false).unwrap();
        called.read_to_end(&mut text).unwrap();
        let text = String::from_utf8_lossy(&text).to_lowercase();
        assert!(!text.contains("authorization"), "{text}");
    }
}

#[test]
fn members_reach_each_other_and_etcd_over_tls() {
    let (ca, seed) = (certs::Ca::new(), Seed::pick());
    let pair = ca.sign(&["127.0.0.1", "localhost"]);
    let text = |path: &std::path::Path| certs::text(path);
    let mut group = Group::start(&Plan {
        members: 2,
        begin: 2,
        sections: format!(
            "server:\n  tls: {{cert: {}, key: {}}}\n",
            text(&pair.cert),
            text(&pair.key)
        ),
        cluster: format!("  tls: {{enable: true, ca: {}}}\n", text(&ca.path())),
        ca: Some(ca.path()),
        etcd_tls: Some(etcd::Tls {
            cert: pair.cert.clone(),
            key: pair.key.clone(),
            ca: ca.path(),
            asks_for_certificates: false,
        }),
        ..Plan::of_one_input(Kind::Etcd)
    });
    let tally = Tally::start(group.source.shape(), &seed, 300);
    tally.wait_more(300);
    let leader = group.leader();
    group.hand_over(leader, None);
    group.wait_successor(leader, LONG);
    group.wait_settled(LONG);
    group.finish(tally);
    assert_eq!(group.full_syncs(), 1, "{}", group.last_words());
}

/// One that trusts another CA than the others' certificates have.
#[test]
fn a_follower_that_does_not_trust_the_leader_says_so() {
    let (ca, stranger) = (certs::Ca::new(), certs::Ca::new());
    let pair = ca.sign(&["127.0.0.1", "localhost"]);
    let mut group = Group::prepare(&Plan {
        members: 2,
        sections: format!(
            "server:\n  tls: {{cert: {}, key: {}}}\n",
            certs::text(&pair.cert),
            certs::text(&pair.key)
        ),
        cluster: format!("  tls: {{enable: true, ca: {}}}\n", certs::text(&ca.path())),
        ca: Some(ca.path()),
        ..Plan::of_one_input(Kind::Etcd)
    });
    group.members[0].start();
    group.wait_settled(LONG);
    let trusted = format!("{{enable: true, ca: {}}}", certs::text(&ca.path()));
    let other = format!("{{enable: true, ca: {}}}", certs::text(&stranger.path()));
    let yaml = group.members[1].yaml().replace(&trusted, &other);
    assert!(yaml.contains(&other), "{yaml}");
    group.members[1].configure(&yaml);
    group.members[1].start();
    let status = group.members[1].wait_status(LONG, "the follower tells of the certificate", |status| {
        let told = status[0]["LastError"]["Message"]
            .as_str()
            .unwrap_or_default()
            .to_lowercase();
        told.contains("certificate")
    });
    let hint = &status[0]["LastError"]["Hint"];
    assert!(hint.as_str().is_some_and(|hint| !hint.is_empty()), "{status}");
}
