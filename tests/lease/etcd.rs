//! What is peculiar to etcd: several members, users, TLS.

use std::time::Duration;

use gunyu::core::lease::{Backend, Error, etcd::Settings};
use gunyu::core::net::tls::{Given, Identity};

use crate::certs::{Ca, Pair};
use crate::rig::{
    LONG, Member, at, block_on, epoch, login, of_etcd, over_tls, persist, record, store, store_of,
};
use crate::support::etcd::{Etcd, Program, Tls};

#[test]
fn of_several_endpoints_one_that_is_frozen_or_gone_is_passed_over() {
    block_on(async {
        for program in Program::all() {
            let mut members = Etcd::cluster(&program, 3, None);
            let ports: Vec<u16> = members.iter().map(Etcd::port).collect();
            let limit = Duration::from_secs(4);
            let mut group = store_of("g", of_etcd(&ports), LONG, limit);
            persist(async || group.begin(&record("a")).await).await;
            let first = persist(async || group.campaign("in").await).await.unwrap();
            for member in &mut members {
                member.sigstop();
                persist(async || group.renew(&record("a")).await).await;
                member.sigcont();
                persist(async || group.renew(&record("a")).await).await;
                member.kill9();
                persist(async || group.renew(&record("a")).await).await;
                assert_eq!(persist(async || group.campaign("in").await).await, Some(first));
                member.restart();
            }
            // Without a majority it is an error that passes, in time.
            members[0].kill9();
            members[1].sigstop();
            let error = group.renew(&record("a")).await.unwrap_err();
            assert!(
                !error.needs_a_person() && !matches!(error, Error::SessionLost),
                "{error}"
            );
            members[1].sigcont();
            persist(async || group.renew(&record("a")).await).await;
            assert_eq!(persist(async || group.campaign("in").await).await, Some(first));
        }
    });
}

/// A user who may do what the hint of a refusal says.
fn with_users(etcd: &Etcd) {
    for command in [
        "user add root:of-root",
        "role add gunyu",
        "role grant-permission gunyu --prefix=true readwrite /redis-gunyu/",
        "user add gunyu:s3cret",
        "user grant-role gunyu gunyu",
        "user add nobody:s3cret",
    ] {
        etcd.ctl(&command.split(' ').collect::<Vec<_>>());
    }
    etcd.ctl(&["auth", "enable"]);
}

fn as_user(etcd: &Etcd, user: &str, password: &str) -> Backend {
    Backend::Etcd(Settings {
        endpoints: vec![at(etcd.port())],
        user: Some(login(user, password)),
    })
}

#[test]
fn users_log_in_and_a_token_that_is_refused_is_replaced() {
    block_on(async {
        for program in Program::all() {
            let mut etcd = Etcd::of(&program);
            // Before there are users, who comes as one is served all the same, and goes on when there are.
            let mut member = Member::begin(store(as_user(&etcd, "gunyu", "s3cret"), LONG), "a").await;
            with_users(&etcd);
            assert_eq!(member.store.campaign("in").await.unwrap(), Some(epoch(1)));
            member.renew().await.unwrap();
            // It knows no tokens any more.
            etcd.restart();
            persist(async || member.renew().await).await;
            assert_eq!(member.store.view().await.unwrap().leases["in"].holder, "a");
            member.store.end().await.unwrap();
        }
    });
}

#[test]
fn who_is_refused_is_told_what_to_do() {
    block_on(async {
        for program in Program::all() {
            let etcd = Etcd::of(&program);
            with_users(&etcd);
            for (backend, hint) in [
                (of_etcd(&[etcd.port()]), "cluster.metaEtcd.username"),
                (as_user(&etcd, "gunyu", "wrong"), "cluster.metaEtcd.password"),
                (as_user(&etcd, "unknown", "s3cret"), "cluster.metaEtcd.password"),
                (as_user(&etcd, "nobody", "s3cret"), "grant-permission"),
            ] {
                let error = store(backend, LONG).begin(&record("a")).await.unwrap_err();
                assert!(error.needs_a_person(), "{error}");
                assert!(
                    error.hint().unwrap().contains(hint),
                    "{error}: {:?}",
                    error.hint()
                );
                assert!(!format!("{error}{error:?}").contains("s3cret"), "{error:?}");
            }
        }
        let settings = as_user(&Etcd::start(), "gunyu", "s3cret");
        assert!(!format!("{settings:?}").contains("s3cret"), "{settings:?}");
    });
}

#[test]
fn tls_with_and_without_certificates_of_our_own() {
    let (ca, other) = (Ca::new(), Ca::new());
    let server = ca.sign(&["127.0.0.1", "localhost"]);
    let given = |ca: &Ca, pair: Option<Pair>| Given {
        ca: Some(ca.path()),
        identity: pair.map(|Pair { cert, key }| Identity { cert, key }),
        ..Given::default()
    };
    let (named, nameless) = (ca.sign(&["gunyu"]), ca.sign_without_cn(&["gunyu"]));
    block_on(async {
        let kinds = [false, true].into_iter();
        for (asks_for_certificates, program) in
            kinds.flat_map(|asks| Program::all().into_iter().map(move |program| (asks, program)))
        {
            let tls = Tls {
                cert: server.cert.clone(),
                key: server.key.clone(),
                ca: ca.path(),
                asks_for_certificates,
            };
            let etcd = Etcd::secured(&program, &tls);
            let backend = |given: &Given| {
                Backend::Etcd(Settings {
                    endpoints: vec![over_tls(at(etcd.port()), given)],
                    user: Some(login("gunyu", "s3cret")),
                })
            };
            // Who presents a certificate where none is asked for does no harm.
            let mut member = Member::begin(store(backend(&given(&ca, Some(named.clone()))), LONG), "a").await;
            assert_eq!(member.store.campaign("in").await.unwrap(), Some(epoch(1)));
            with_users(&etcd);
            let mut member =
                Member::begin(store(backend(&given(&ca, Some(nameless.clone()))), LONG), "b").await;
            assert_eq!(member.store.campaign("in").await.unwrap(), None);
            let mut refused = vec![
                (backend(&given(&other, None)), "tls.ca", true),
                // It closes without a word, which a server that ends does too.
                (of_etcd(&[etcd.port()]), "tls.enable", false),
            ];
            match asks_for_certificates {
                true => refused.extend([
                    (backend(&given(&ca, None)), "tls.cert", true),
                    (backend(&given(&ca, Some(named.clone()))), "without", true),
                ]),
                false => drop(
                    store(backend(&given(&ca, None)), LONG)
                        .begin(&record("c"))
                        .await
                        .unwrap(),
                ),
            }
            for (backend, hint, needs_a_person) in refused {
                let error = store(backend, LONG).begin(&record("d")).await.unwrap_err();
                assert!(
                    error.hint().unwrap().contains(hint),
                    "{error}: {:?}",
                    error.hint()
                );
                assert_eq!(error.needs_a_person(), needs_a_person, "{error:?}");
            }
        }
    });
}

#[test]
fn what_is_no_etcd_says_so() {
    block_on(async {
        let redis = crate::support::Server::start();
        let error = store(of_etcd(&[redis.port()]), LONG)
            .begin(&record("a"))
            .await
            .unwrap_err();
        assert!(
            !matches!(error, Error::SessionLost) && error.hint().is_some(),
            "{error}"
        );
    });
}

#[test]
fn what_gunyu_did_not_write_is_named() {
    block_on(async {
        let etcd = Etcd::start();
        let mut member = Member::begin(store(of_etcd(&[etcd.port()]), LONG), "a").await;
        for (key, value) in [("leases/in", "rubbish"), ("registry/b", "{"), ("epochs/in", "x")] {
            let key = format!("/redis-gunyu/g/{key}");
            etcd.ctl(&["put", &key, value]);
            let error = match key.contains("epochs") {
                true => member.store.campaign("in").await.unwrap_err(),
                false => member.store.view().await.unwrap_err(),
            };
            assert!(
                error.needs_a_person() && error.hint().unwrap().contains(&key),
                "{error}"
            );
            etcd.ctl(&["del", &key]);
        }
        // A record that somebody removes is there again with the next renewal.
        etcd.ctl(&["del", "/redis-gunyu/g/registry/a"]);
        member.renew().await.unwrap();
        assert!(member.store.view().await.unwrap().members.contains_key("a"));
    });
}
