//! The group's token, and TLS between members and to the store.

use super::certs;
use super::support::etcd;
use super::support::fleet::LONG;
use super::support::group::{Group, Kind, Plan, Tally};
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
