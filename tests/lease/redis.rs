//! What is peculiar to a Redis: versions, users, TLS, sentinels, a full memory, replicas.

use std::time::Duration;

use gunyu::core::lease::{Backend, Error, redis::Settings};
use gunyu::core::net::Endpoint;
use gunyu::core::net::tls::Given;
use gunyu::core::target::Shape;
use gunyu::core::topology::sentinel;

use crate::certs::{Ca, text};
use crate::rig::{
    LONG, Member, SHORT, at, block_on, epoch, login, of_redis, over_tls, persist, record, store,
};
use crate::support::fleet::Watched;
use crate::support::{SOON, Server, versions, wait_for};

/// The life of a group, in brief, on every server of the matrix; some must be told the time.
#[test]
fn matrix_of_servers_that_keep_leases() {
    block_on(async {
        for (label, binary) in versions() {
            println!("{label}");
            let server = Server::of(&binary, &[]);
            let replica = Server::of(&binary, &[]);
            replica.follow(&server);
            replica.wait_caught_up(&server, SOON);
            let backend = || of_redis(&at(server.port()));
            let mut a = Member::begin(store(backend(), SHORT), "a").await;
            let mut b = Member::begin(store(backend(), LONG), "b").await;
            assert_eq!(a.store.campaign("in").await.unwrap(), Some(epoch(1)), "{label}");
            assert_eq!(b.store.campaign("in").await.unwrap(), None, "{label}");
            assert_eq!(
                a.store.raise("in", epoch(1), epoch(4)).await.unwrap(),
                Some(epoch(5))
            );
            assert_eq!(
                a.store.transfer("in", epoch(5), "b").await.unwrap(),
                Some(epoch(6))
            );
            assert_eq!(
                b.store.transfer("in", epoch(6), "a").await.unwrap(),
                Some(epoch(7))
            );
            a.renew().await.unwrap();
            b.store.put_note("k", "v").await.unwrap();
            let view = b.store.view().await.unwrap();
            assert_eq!(
                (view.members.len(), view.leases.len(), view.notes.len()),
                (2, 1, 1),
                "{label}"
            );
            let won = wait_for_lease(&mut b).await;
            assert_eq!(won, epoch(8), "{label}");
            assert!(std::time::Instant::now() >= a.until, "{label}");
            // The replica has the same, and lets nobody believe it.
            replica.wait_caught_up(&server, SOON);
            let all = |server: &Server| {
                server.run::<std::collections::BTreeMap<String, String>>(&["HGETALL", "/redis-gunyu/g"])
            };
            assert_eq!(all(&server), all(&replica), "{label}");
            let error = store(of_redis(&at(replica.port())), LONG)
                .view()
                .await
                .unwrap_err();
            assert!(
                error.to_string().contains("READONLY") && !error.needs_a_person(),
                "{label}: {error}"
            );
        }
    });
}

async fn wait_for_lease(member: &mut Member) -> gunyu::core::position::Epoch {
    loop {
        if let Some(epoch) = member.store.campaign("in").await.unwrap() {
            return epoch;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_replica_gives_no_view() {
    block_on(async {
        let (master, replica) = (Server::start(), Server::start());
        let mut member = Member::begin(store(of_redis(&at(master.port())), LONG), "a").await;
        replica.follow(&master);
        replica.wait_caught_up(&master, SOON);
        let mut looks = store(of_redis(&at(replica.port())), LONG);
        let error = looks.view().await.unwrap_err();
        assert!(
            error.to_string().contains("READONLY") && !error.needs_a_person(),
            "{error}"
        );
        // As soon as it is a master it does.
        let () = replica.run(&["REPLICAOF", "NO", "ONE"]);
        assert!(looks.view().await.unwrap().members.contains_key("a"));
        member.renew().await.unwrap();
    });
}

/// A source whose memory is full goes on to be replicated: that needs the lease.
#[test]
fn a_full_memory_costs_no_session() {
    block_on(async {
        let server = Server::with(&["--maxmemory-policy", "noeviction"]);
        let mut member = Member::begin(store(of_redis(&at(server.port())), LONG), "a").await;
        let first = member.store.campaign("in").await.unwrap().unwrap();
        let () = server.run(&["CONFIG", "SET", "maxmemory", "1"]);
        let refused: redis::RedisResult<()> = redis::cmd("SET").arg("k").arg("v").query(&mut server.conn());
        assert!(refused.unwrap_err().to_string().contains("OOM"));
        member.renew().await.unwrap();
        assert_eq!(member.store.campaign("in").await.unwrap(), Some(first));
        assert_eq!(member.store.campaign("another").await.unwrap(), Some(epoch(1)));
    });
}

#[test]
fn a_connection_that_was_closed_meanwhile_is_made_anew_without_an_error() {
    block_on(async {
        let server = Server::start();
        let mut member = Member::begin(store(of_redis(&at(server.port())), LONG), "a").await;
        for _ in 0..5 {
            let killed: i64 = server.run(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
            assert!(killed > 0);
            member.renew().await.unwrap();
        }
    });
}

/// What the hint of a refusal says.
const RIGHTS: &str = "~/redis-gunyu/* +eval +time +hget +hset +hsetnx +hdel +hkeys +hgetall";

fn user(server: &Server, rights: &str) {
    let mut command = vec!["ACL", "SETUSER", "gunyu", "reset", "on", ">s3cret"];
    command.extend(rights.split(' ').filter(|right| !right.is_empty()));
    let () = server.run(&command);
}

fn as_user(server: &Server, user: &str, password: &str) -> Endpoint {
    Endpoint {
        credentials: login(user, password),
        ..at(server.port())
    }
}

#[test]
fn a_user_needs_no_more_than_the_hint_says_and_who_may_less_is_told() {
    block_on(async {
        let server = Server::start();
        user(&server, RIGHTS);
        let endpoint = as_user(&server, "gunyu", "s3cret");
        let mut member = Member::begin(store(of_redis(&endpoint), LONG), "a").await;
        assert_eq!(member.store.campaign("in").await.unwrap(), Some(epoch(1)));
        assert_eq!(
            member.store.transfer("in", epoch(1), "a").await.unwrap(),
            Some(epoch(2))
        );
        assert!(member.store.create_note("k", "v").await.unwrap());
        member.renew().await.unwrap();
        member.store.view().await.unwrap();
        member.store.remove_note("k").await.unwrap();
        member.store.end().await.unwrap();
        for missing in RIGHTS.split(' ') {
            let others: Vec<&str> = RIGHTS.split(' ').filter(|right| *right != missing).collect();
            user(&server, &others.join(" "));
            let mut store = store(of_redis(&endpoint), LONG);
            let asked = match missing {
                "+hgetall" => store.view().await.map(drop),
                "+hsetnx" => store.create_note("k", "v").await.map(drop),
                _ => store.begin(&record("a")).await.map(drop),
            };
            let error = asked.unwrap_err();
            assert!(error.needs_a_person(), "{missing}: {error}");
            assert!(error.hint().unwrap().contains(missing), "{missing}: {error}");
        }
        for (name, password) in [("gunyu", "wrong"), ("unknown", "s3cret")] {
            let mut store = store(of_redis(&as_user(&server, name, password)), LONG);
            let error = store.begin(&record("a")).await.unwrap_err();
            assert!(error.needs_a_person(), "{error}");
            assert!(error.hint().unwrap().contains("password"), "{error}");
        }
    });
}

#[test]
fn tls_and_a_password() {
    let ca = Ca::new();
    let pair = ca.sign(&["127.0.0.1"]);
    let port = crate::support::port::Port::free();
    let options = [
        ("--tls-port", port.number().to_string()),
        ("--tls-cert-file", text(&pair.cert)),
        ("--tls-key-file", text(&pair.key)),
        ("--tls-ca-cert-file", text(&ca.path())),
        ("--tls-auth-clients", "no".to_owned()),
        ("--requirepass", "s3cret".to_owned()),
    ];
    let options: Vec<&str> = options
        .iter()
        .flat_map(|(name, value)| [*name, value.as_str()])
        .collect();
    let _server = Server::with(&options);
    block_on(async {
        let endpoint = Endpoint {
            credentials: login("", "s3cret"),
            ..at(port.number())
        };
        let given = |ca: &Ca| Given {
            ca: Some(ca.path()),
            ..Given::default()
        };
        let trusting = over_tls(endpoint.clone(), &given(&ca));
        let mut member = Member::begin(store(of_redis(&trusting), LONG), "a").await;
        assert_eq!(member.store.campaign("in").await.unwrap(), Some(epoch(1)));
        let other = Ca::new();
        for (endpoint, hint) in [
            (over_tls(endpoint.clone(), &given(&other)), "tls.ca"),
            (
                Endpoint {
                    credentials: login("", ""),
                    ..trusting.clone()
                },
                "password",
            ),
        ] {
            let error = store(of_redis(&endpoint), LONG)
                .begin(&record("b"))
                .await
                .unwrap_err();
            assert!(error.needs_a_person(), "{error}");
            assert!(
                error.hint().unwrap().contains(hint),
                "{error}: {:?}",
                error.hint()
            );
        }
        // Without TLS the server closes without a word, or with an alert; either way the hint says what may be wrong.
        let error = store(of_redis(&endpoint), LONG)
            .begin(&record("b"))
            .await
            .unwrap_err();
        assert!(error.hint().unwrap().contains("tls.enable: true"), "{error}");
    });
}

#[test]
fn after_a_failover_by_sentinels_the_lease_is_found_at_the_new_master() {
    let mut watched = Watched::start(1, 1);
    block_on(async {
        let settings = sentinel::Settings {
            sentinels: vec![at(port_of(&watched.sentinels[0].addr()))],
            master: "mine".to_owned(),
            login: at(1),
            every: Duration::from_secs(1),
        };
        let mut place = sentinel::watch(settings);
        place.known().await;
        let backend = Backend::Redis(Settings {
            place,
            shape: Shape::One,
        });
        let mut member = Member::begin(store(backend, LONG), "a").await;
        let first = member.store.campaign("in").await.unwrap().unwrap();
        let old = watched.master_at();
        let acknowledged: i64 = {
            // By the connection that waits, so it must write something.
            let mut conn = watched.servers[old].conn();
            let () = redis::cmd("SET").arg("k").arg("v").query(&mut conn).unwrap();
            redis::cmd("WAIT").arg(1).arg(10_000).query(&mut conn).unwrap()
        };
        assert_eq!(acknowledged, 1);
        let new = watched.fail_over();
        assert_ne!(new, old);
        persist(async || member.renew().await).await;
        assert_eq!(
            persist(async || member.store.campaign("in").await).await,
            Some(first)
        );
        let written: bool = watched.servers[new].run(&["HEXISTS", "/redis-gunyu/g", "registry/a"]);
        assert!(written);
        // And back again.
        watched.fail_over();
        persist(async || member.renew().await).await;
        assert_eq!(
            persist(async || member.store.campaign("in").await).await,
            Some(first)
        );
    });
}

fn port_of(address: &str) -> u16 {
    address.rsplit(':').next().unwrap().parse().unwrap()
}

#[test]
fn what_gunyu_did_not_write_is_named() {
    block_on(async {
        let server = Server::start();
        let mut member = Member::begin(store(of_redis(&at(server.port())), LONG), "a").await;
        for (field, value) in [("leases/in", "rubbish"), ("registry/b", "9999999999999 s {")] {
            let () = server.run(&["HSET", "/redis-gunyu/g", field, value]);
            let error = member.store.view().await.unwrap_err();
            assert!(
                error.needs_a_person() && error.hint().unwrap().contains(field),
                "{error}"
            );
            let () = server.run(&["HDEL", "/redis-gunyu/g", field]);
        }
        let () = server.run(&["SET", "/redis-gunyu/g", "x"]);
        let error = member.renew().await.unwrap_err();
        assert!(
            error.needs_a_person() && error.hint().unwrap().contains("groupName"),
            "{error}"
        );
        let () = server.run(&["DEL", "/redis-gunyu/g"]);
        assert!(matches!(member.renew().await, Err(Error::SessionLost)));
    });
}

#[test]
fn what_is_dead_is_swept_away_and_epochs_stay() {
    block_on(async {
        let server = Server::start();
        let fields = || {
            let mut fields: Vec<String> = server.run(&["HKEYS", "/redis-gunyu/g"]);
            fields.sort();
            fields
        };
        let mut member = Member::begin(store(of_redis(&at(server.port())), SHORT), "a").await;
        member.store.campaign("in").await.unwrap().unwrap();
        assert_eq!(fields(), ["epochs/in", "leases/in", "registry/a"]);
        let mut looks = store(of_redis(&at(server.port())), LONG);
        while !looks.view().await.unwrap().members.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        looks.begin(&record("b")).await.unwrap();
        wait_for(SOON, "only what lives is left", || match fields() {
            left if left == ["epochs/in", "registry/b"] => Ok(()),
            left => Err(format!("{left:?}")),
        });
        looks.end().await.unwrap();
        assert_eq!(fields(), ["epochs/in"]);
    });
}
