//! Clusters with replicas that speak TLS alone, to those alone who have a certificate, and on each a user with README's permissions alone: both change
//! while writers run.

use crate::acl::{assert_nothing_denied, known_to, login, rights, with_login};
use crate::certs::{Ca, Pair, text};
use crate::set;
use crate::support::fleet::{Change, Event, Fleet, LONG, Layout, Load, Rate, Script, Shape};
use crate::support::secured::Secured;
use crate::support::workload::Seed;
use crate::support::{Gunyu, Server};

const MASTERS: usize = 3;

/// The commands that the writers send, as they are in the stream, beside those that gunyu needs for itself.
const REPLICATED: [&str; 12] = [
    "+set", "+sadd", "+srem", "+zadd", "+incr", "+rpush", "+lpop", "+append", "+hincrby", "+pexpire",
    "+persist", "+hset",
];

fn secured(ca: &Ca, pair: &Pair) -> Secured {
    Secured::with(ca.path(), pair.cert.clone(), pair.key.clone())
}

/// The rights of gunyu's user on this side.
fn granted(side: &str) -> Vec<String> {
    let mut all = rights(side);
    if side == "target" {
        all.push("~*".to_owned());
        all.extend(REPLICATED.map(String::from));
    }
    let keys = all.iter().filter(|right| right.starts_with('~')).cloned();
    let known = known_to(&Server::start(), &all);
    keys.chain(known).collect()
}

/// A cluster with replicas whose nodes know the user from their start on: one that comes back must know it too.
fn fleet(secured: &Secured, replicas: usize, password: &str, rights: &[String]) -> Fleet {
    let password = format!(">{password}");
    let mut user = vec!["--user", "gunyu", "on", &password];
    user.extend(rights.iter().map(String::as_str));
    Fleet::with(
        Layout::of(MASTERS, replicas)
            .over_tls(secured.clone())
            .with(&user),
    )
}

/// gunyu between the two, with a certificate of its own, as the users of either side.
fn sync(ca: &Ca, source: &Fleet, target: &Fleet) -> Gunyu {
    let Pair { cert, key } = ca.sign(&["gunyu"]);
    let (ca, cert, key) = (text(&ca.path()), text(&cert), text(&key));
    let mut args = vec![
        "sync".to_owned(),
        format!(
            "--source={}",
            with_login(&source.url(), &login("gunyu", "of source"))
        ),
        format!(
            "--target={}",
            with_login(&target.url(), &login("gunyu", "of target"))
        ),
    ];
    for side in ["input", "output"] {
        let key_of = |name: &str| format!("{side}.redis.tls.{name}");
        args.extend(set(&[
            (&key_of("ca"), &ca),
            (&key_of("cert"), &cert),
            (&key_of("key"), &key),
        ]));
    }
    Gunyu::with_args(args, &[])
}

fn wait_live(gunyu: &mut Gunyu) {
    gunyu.wait_status(LONG, "all shards are live", |status| {
        let inputs = status.as_array().map_or(&[][..], Vec::as_slice);
        inputs.len() == MASTERS && inputs.iter().all(|input| input["Phase"] == "incremental")
    });
}

/// Whoever is connected as gunyu's user came by the TLS port.
fn assert_gunyu_is_there(fleet: &Fleet) {
    for (place, node) in fleet.live() {
        let list: String = node.run(&["CLIENT", "LIST"]);
        let mine: Vec<&str> = list
            .lines()
            .filter(|line| line.contains(" user=gunyu "))
            .collect();
        let by_tls = format!(" laddr={} ", node.addr());
        assert!(
            mine.iter().all(|line| line.contains(&by_tls)),
            "node {place}: {list}"
        );
    }
    let is_there = |node: &Server| node.run::<String>(&["CLIENT", "LIST"]).contains(" user=gunyu ");
    assert!(fleet.live().any(|(_, node)| is_there(node)));
}

#[test]
fn clusters_with_replicas_stay_equal_over_tls_for_users_of_least_privilege_while_both_change() {
    let seed = Seed::pick();
    let ca = Ca::new();
    let secured = secured(&ca, &ca.sign(&["127.0.0.1"]));
    let (mut source, mut target) = std::thread::scope(|scope| {
        let source = scope.spawn(|| fleet(&secured, 1, "of source", &granted("source")));
        let target = fleet(&secured, 1, "of target", &granted("target"));
        (source.join().unwrap(), target)
    });
    // The first full sync is under way while clients write.
    let load = Load::start(&source, &seed, Rate::default());
    load.wait_more(500);
    let mut gunyu = sync(&ca, &source, &target);
    wait_live(&mut gunyu);
    assert!(load.stop().refused.is_empty());
    assert_gunyu_is_there(&source);
    assert_gunyu_is_there(&target);
    let script = Script::of(&[
        (1, Event::Source(Change::FailOver)),
        (1, Event::Source(Change::Crash)),
        (1, Event::Target(Change::FailOver)),
        (1, Event::Target(Change::Crash)),
        (1, Event::Kill),
    ]);
    script.run(&seed, &mut source, &mut target, &mut gunyu);
    for (_, node) in source.live().chain(target.live()) {
        assert_nothing_denied(node);
    }
    assert!(!gunyu.traces().contains("NOPERM"), "{}", gunyu.traces());
}
