//! Filters and mapping: snapshot and stream alike.
//!
//! Each rule stands as a setting and as a function that says where a key goes; the target must hold exactly what that
//! function makes of the source.

use super::support::Server;
use super::support::wire::{Batch, put};
use super::support::workload::{Draw, Fill, Seed};
use super::{Contents, PATIENCE, contents, live, run};

/// Where a key of a source's database goes; `None`: nowhere.
type Rule = fn(u32, &[u8]) -> Option<u32>;

const KEYS: usize = 1_500;

/// Writes to single keys of all kinds of names, over the keys of the snapshot and beyond.
fn write(source: &Server, seed: &Seed) {
    let mut draw = Draw(seed.rng(77));
    let mut batch = Batch::default();
    for number in 0..4_000 {
        put!(batch, "SELECT", draw.of(&[0, 1, 2, 5, 15]));
        let number = number % 800;
        let key = match draw.below(4) {
            0 => format!("live:{number}"),
            1 => format!("{{tag{}}}:{number}", number % 100),
            2 => format!("other:{number}:end"),
            _ => format!("key:{number}"),
        };
        match draw.below(7) {
            0 => put!(batch, "DEL", key),
            1 => put!(batch, "PEXPIRE", key, 5_000_000 + draw.below(1_000)),
            2 => put!(batch, "PERSIST", key),
            3 => put!(batch, "UNLINK", key),
            _ => put!(batch, "SET", key, draw.value()),
        }
    }
    batch.must(&mut source.conn());
}

fn expected(source: &Server, rule: Rule) -> Contents {
    let all = contents(source).into_iter();
    let moved = all.filter_map(|((db, key), value)| Some(((rule(db, &key)?, key), value)));
    moved.collect()
}

/// Snapshot, then stream; each compared.
fn selects_from(url: impl Fn(&Server) -> String, set: &[&str], rule: Rule) {
    let seed = Seed::pick();
    let (source, target) = (Server::start(), Server::start());
    Fill::lasting(KEYS).run(&source, &seed);
    own_keys(&source);
    let mut gunyu = live(&url(&source), &target, set);
    gunyu.wait_applied(&source, PATIENCE);
    assert_holds(&target, &expected(&source, rule), "after the snapshot");
    write(&source, &seed);
    own_keys(&source);
    gunyu.wait_applied(&source, PATIENCE);
    let right = expected(&source, rule);
    assert!(
        right.len() > 20 && right.len() < contents(&source).len() * 2,
        "the rule selects something"
    );
    assert_holds(&target, &right, "after the stream");
    assert_eq!(gunyu.status()[0]["DeadLetters"], 0, "{}", gunyu.status());
    // The same database is selected again after a crash.
    gunyu.restart();
    write(&source, &Seed::of(5));
    gunyu.wait_applied(&source, PATIENCE);
    assert_holds(&target, &expected(&source, rule), "after a restart");
    let own: Vec<String> = target.run(&["KEYS", "*gunyu*"]);
    assert!(
        own.iter().all(|key| key.contains("127.0.0.1")),
        "only its own: {own:?}"
    );
}

fn selects(set: &[&str], rule: Rule) {
    selects_from(Server::url, set, rule);
}

/// What another gunyu keeps on the source, in two databases.
fn own_keys(source: &Server) {
    run(
        source,
        &[
            &["HSET", "redis-gunyu-checkpoint:{another}", "version", "1"],
            &["SET", "/redis-gunyu/group/leader", "x"],
            &["SELECT", "5"],
            &["HSET", "redis-gunyu-checkpoint", "offset", "7"],
            &["SET", "/redis-gunyu/x", "y"],
        ],
    );
}

#[track_caller]
fn assert_holds(target: &Server, right: &Contents, when: &str) {
    let found = contents(target);
    let show = |(db, key): &(u32, Vec<u8>)| format!("db {db} {}", key.escape_ascii());
    let lacks: Vec<String> = right
        .keys()
        .filter(|key| !found.contains_key(*key))
        .map(show)
        .collect();
    let surplus: Vec<String> = found
        .keys()
        .filter(|key| !right.contains_key(*key))
        .map(show)
        .collect();
    let differ = right
        .iter()
        .filter(|(key, value)| found.get(*key).is_some_and(|other| other != *value));
    let differ: Vec<String> = differ.map(|(key, _)| show(key)).collect();
    let few = |all: &[String]| all.iter().take(5).cloned().collect::<Vec<_>>();
    assert!(
        lacks.is_empty() && surplus.is_empty() && differ.is_empty(),
        "{when}: {} lack {:?}, {} too many {:?}, {} differ {:?}",
        lacks.len(),
        few(&lacks),
        surplus.len(),
        few(&surplus),
        differ.len(),
        few(&differ)
    );
}

#[test]
fn without_rules_all_but_own_keys_arrive() {
    selects(&[], |db, _| Some(db));
}

#[test]
fn databases_on_the_blacklist_stay_behind() {
    selects(&["output.filter.dbBlacklist=[1, 15]"], |db, _| {
        (db != 1 && db != 15).then_some(db)
    });
}

#[test]
fn only_databases_on_the_whitelist_arrive() {
    selects(&["output.filter.dbWhitelist=[5, 2]"], |db, _| {
        (db == 5 || db == 2).then_some(db)
    });
}

#[test]
fn only_the_database_that_the_sources_url_names_arrives() {
    selects_from(
        |source| format!("{}/5", source.url()),
        &[],
        |db, _| (db == 5).then_some(db),
    );
}

#[test]
fn prefixes_select_keys() {
    let set = [
        "output.filter.keyFilter.prefixKeyWhitelist=['key:', 'live:']",
        "output.filter.keyFilter.prefixKeyBlacklist=['key:1']",
    ];
    selects(&set, |db, key| {
        let allowed = key.starts_with(b"key:") || key.starts_with(b"live:");
        (allowed && !key.starts_with(b"key:1")).then_some(db)
    });
}

#[test]
fn suffixes_select_keys() {
    let set = [
        "output.filter.keyFilter.suffixKeyWhitelist=['7', ':end']",
        "output.filter.keyFilter.suffixKeyBlacklist=['77']",
    ];
    selects(&set, |db, key| {
        let allowed = key.ends_with(b"7") || key.ends_with(b":end");
        (allowed && !key.ends_with(b"77")).then_some(db)
    });
}

#[test]
fn expressions_select_keys() {
    let set = ["output.filter.keyFilter.regexKeyBlacklist=['^key:[0-9]*[02468]$']"];
    selects(&set, |db, key| {
        let digits = key.strip_prefix(b"key:");
        let even =
            digits.is_some_and(|d| d.iter().all(u8::is_ascii_digit) && d.last().is_some_and(|d| d % 2 == 0));
        (!even).then_some(db)
    });
}

#[test]
fn slots_select_keys() {
    let set = [
        "output.filter.slotFilter.keySlotWhitelist=[[0, 8191]]",
        "output.filter.slotFilter.keySlotBlacklist=[[100, 3000], [8000]]",
    ];
    selects(&set, |db, key| {
        let slot = gunyu::core::command::slot(key);
        let allowed = slot <= 8191 && !(100..=3000).contains(&slot) && slot != 8000;
        allowed.then_some(db)
    });
}

/// Distinct databases of the source stay distinct, or the test could not say who wins.
#[test]
fn databases_go_where_the_map_sends_them() {
    selects(
        &["output.replay.targetDbMap={0: 3, 1: 0, 5: 1, 3: 5}"],
        |db, _| {
            Some(match db {
                0 => 3,
                1 => 0,
                5 => 1,
                other => other,
            })
        },
    );
}

#[test]
fn one_database_goes_to_another() {
    let set = ["output.filter.dbWhitelist=[5]", "output.replay.targetDb=9"];
    selects(&set, |db, _| (db == 5).then_some(9));
}

#[test]
fn rules_of_every_kind_work_together() {
    let set = [
        "output.filter.dbBlacklist=[1]",
        "output.filter.keyFilter.prefixKeyBlacklist=['live:']",
        "output.filter.slotFilter.keySlotBlacklist=[[0, 999]]",
        "output.replay.targetDbMap={0: 7, 15: 0}",
        "output.replay.delivery=at_least_once",
    ];
    selects(&set, |db, key| {
        let denied = db == 1 || key.starts_with(b"live:") || gunyu::core::command::slot(key) < 1_000;
        let to = match db {
            0 => 7,
            15 => 0,
            other => other,
        };
        (!denied).then_some(to)
    });
}

#[test]
fn all_databases_go_into_one() {
    let (source, target) = (Server::start(), Server::start());
    let name = |part: &str, db: u32| format!("{part}:{db}");
    let write = |part: &str| {
        for db in 0..16 {
            run(
                &source,
                &[
                    &["SELECT", &db.to_string()],
                    &["SET", &name(part, db), "x"],
                    &["EXPIRE", &name(part, db), "9999"],
                ],
            );
        }
    };
    write("snapshot");
    let mut gunyu = live(&source.url(), &target, &["output.replay.targetDb=4"]);
    write("live");
    gunyu.wait_applied(&source, PATIENCE);
    let right: Contents = contents(&source)
        .into_iter()
        .map(|((_, key), value)| ((4, key), value))
        .collect();
    assert_eq!(right.len(), 32);
    assert_holds(&target, &right, "at the end");
}

#[test]
fn commands_on_the_blacklist_stay_behind() {
    let (source, target) = (Server::start(), Server::start());
    run(&source, &[&["SET", "kept", "1"], &["SADD", "set", "a"]]);
    let set = ["output.filter.commandBlacklist=[del, FLUSHALL, expire, pexpireat]"];
    let mut gunyu = live(&source.url(), &target, &set);
    run(
        &source,
        &[
            &["SET", "live", "1"],
            &["EXPIRE", "live", "1000"],
            &["DEL", "kept"],
            &["MULTI"],
            &["DEL", "set"],
            &["SET", "in-transaction", "1"],
            &["EXEC"],
            &["FLUSHALL"],
            &["SET", "after", "1"],
        ],
    );
    gunyu.wait_applied(&source, PATIENCE);
    let mut keys: Vec<String> = target.run(&["KEYS", "[^r]*"]);
    keys.sort();
    assert_eq!(keys, ["after", "in-transaction", "kept", "live", "set"]);
    assert_eq!(target.run::<i64>(&["TTL", "live"]), -1);
    assert_eq!(gunyu.metric("redisGunYu_output_filter_cmd"), Some(4.0));
    assert_eq!(gunyu.status()[0]["DeadLetters"], 0);
}

/// Commands over several keys or databases under a rule: what the table in `core::filter` says, on real servers.
#[test]
fn commands_over_several_keys_are_cut_to_what_is_replicated() {
    let (source, target) = (Server::start(), Server::start());
    run(&source, &[&["MSET", "a1", "1", "a2", "2", "b1", "3", "a3", "4"]]);
    let set = [
        "output.filter.keyFilter.prefixKeyWhitelist=[a]",
        "output.filter.dbBlacklist=[1]",
    ];
    let mut gunyu = live(&source.url(), &target, &set);
    run(
        &source,
        &[
            &["MSET", "a4", "x", "b4", "y", "a5", "z"],
            &["DEL", "b1", "a1", "b4"],
            &["RENAME", "a2", "b2"],
            &["MOVE", "a3", "1"],
            &["SADD", "aset", "1"],
            &["COPY", "aset", "acopy", "DB", "2"],
            &["PUBLISH", "news", "x"],
        ],
    );
    gunyu.wait_applied(&source, PATIENCE);
    let keys: Vec<(u32, String)> = contents(&target)
        .into_keys()
        .map(|(db, key)| (db, String::from_utf8(key).unwrap()))
        .collect();
    let right = [(0, "a4"), (0, "a5"), (0, "aset"), (2, "acopy")].map(|(db, key)| (db, key.to_owned()));
    assert_eq!(keys, right);
    assert_eq!(gunyu.status()[0]["DeadLetters"], 0, "{}", gunyu.status());
}
