//! A command that cannot be applied: it is told, it is kept, nothing else is lost, and nothing is applied twice.

use super::support::wire::{Batch, put};
use super::support::{Gunyu, Server};
use super::{PATIENCE, dead_letters, live, run, wait_stopped};

const DEAD_LETTER: &str = "output.replay.onError=dead_letter";
const ONLY_A: &str = "output.filter.keyFilter.prefixKeyWhitelist=[a]";

fn value(server: &Server, key: &str) -> Option<String> {
    server.run(&["GET", key])
}

/// Numbers and a list, so that whatever is applied twice shows.
fn count_up(source: &Server, rounds: usize) {
    let mut batch = Batch::default();
    for round in 0..rounds {
        put!(batch, "INCR", "a-counter");
        put!(batch, "RPUSH", "a-list", round);
    }
    batch.must(&mut source.conn());
}

#[track_caller]
fn assert_counted(source: &Server, target: &Server) {
    assert_eq!(value(source, "a-counter"), value(target, "a-counter"));
    let list = |server: &Server| server.run::<Vec<u64>>(&["LRANGE", "a-list", "0", "-1"]);
    assert_eq!(list(source), list(target));
}

#[test]
fn a_command_on_both_sides_of_the_filter_stops_it_and_nothing_after_it_is_applied() {
    let (source, target) = (Server::start(), Server::start());
    let mut gunyu = live(&source.url(), &target, &[ONLY_A]);
    count_up(&source, 50);
    gunyu.wait_applied(&source, PATIENCE);
    run(
        &source,
        &[
            &["RPUSH", "b-list", "x"],
            &["LMOVE", "b-list", "a-moved", "LEFT", "LEFT"],
            &["SET", "a-last", "1"],
        ],
    );
    let (message, hint) = wait_stopped(&mut gunyu);
    assert!(message.contains("undecided"), "{message}");
    assert!(hint.contains("dead-letter") && hint.contains("onError"), "{hint}");
    let letters = dead_letters(&gunyu);
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0].1, ["LMOVE", "b-list", "a-moved", "LEFT", "LEFT"]);
    assert_eq!(value(&target, "a-last"), None);
    assert_counted(&source, &target);
    assert_eq!(gunyu.status()[0]["DeadLetters"], 1);
    assert_eq!(gunyu.metric("gunyu_dead_letters_total"), Some(1.0));
    assert_eq!(gunyu.request("GET", "/debug/ready").unwrap().status, 503);
}

#[test]
fn a_command_on_both_sides_of_the_filter_is_kept_and_the_rest_goes_on() {
    let (source, target) = (Server::start(), Server::start());
    let mut gunyu = live(&source.url(), &target, &[ONLY_A, DEAD_LETTER]);
    count_up(&source, 20);
    run(
        &source,
        &[
            &["RPUSH", "b-list", "x"],
            &["MULTI"],
            &["SET", "a-in", "1"],
            &["LMOVE", "b-list", "a-moved", "LEFT", "LEFT"],
            &["INCR", "a-counter"],
            &["EXEC"],
            &[
                "EVAL",
                "return redis.call('SET', KEYS[1], redis.call('INCR', KEYS[2]))",
                "2",
                "b",
                "a-counter",
            ],
            &["FLUSHDB"],
            &["SET", "a-after", "1"],
        ],
    );
    gunyu.wait_applied(&source, PATIENCE);
    let names: Vec<String> = dead_letters(&gunyu)
        .into_iter()
        .map(|(_, command)| command[0].clone())
        .collect();
    assert_eq!(names, ["LMOVE", "FLUSHDB"]);
    assert_eq!(gunyu.status()[0]["DeadLetters"], 2);
    assert_eq!(gunyu.metric("gunyu_dead_letters_total"), Some(2.0));
    assert_eq!(
        (value(&target, "a-in"), value(&target, "a-after")),
        (Some("1".into()), Some("1".into()))
    );
    // The script's effects came one by one: its INCR is ours, its SET of b is not.
    assert_eq!(value(&target, "a-counter").as_deref(), Some("22"));
    assert_eq!(value(&target, "b"), None);
}

#[test]
fn too_many_dead_letters_stop_it() {
    let (source, target) = (Server::start(), Server::start());
    let set = [DEAD_LETTER, "output.replay.errorBudget=3"];
    let mut gunyu = live(&source.url(), &target, &set);
    let () = target.run(&["SET", "touched", "text"]);
    for round in 0..3 {
        run(
            &source,
            &[&["INCR", "touched"], &["SET", "round", &round.to_string()]],
        );
        gunyu.wait_applied(&source, PATIENCE);
    }
    assert_eq!(gunyu.status()[0]["State"], "run");
    assert_eq!(value(&target, "round").as_deref(), Some("2"));
    run(&source, &[&["INCR", "touched"]]);
    let (message, hint) = wait_stopped(&mut gunyu);
    assert!(message.contains("more than 3"), "{message}");
    assert!(hint.contains("errorBudget"), "{hint}");
    assert_eq!(dead_letters(&gunyu).len(), 4);
}

/// A person wrote to the target: the source's command fails there, the rest of its batch is applied once.
fn wrongtype(set: &[&str]) -> (Server, Server, Gunyu) {
    let (source, target) = (Server::start(), Server::start());
    let mut gunyu = live(&source.url(), &target, set);
    let () = target.run(&["SET", "touched", "by a person"]);
    let mut batch = Batch::default();
    put!(batch, "MULTI");
    for round in 0..300 {
        put!(batch, "INCR", "a-counter");
        put!(batch, "RPUSH", "a-list", round);
        if round == 150 {
            put!(batch, "RPUSH", "touched", "element");
        }
    }
    put!(batch, "EXEC");
    batch.must(&mut source.conn());
    gunyu.wait_status(PATIENCE, "it is told", |status| status[0]["DeadLetters"] == 1);
    let letters = dead_letters(&gunyu);
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(letters[0].0.starts_with("WRONGTYPE"), "{letters:?}");
    assert_eq!(letters[0].1, ["RPUSH", "touched", "element"]);
    (source, target, gunyu)
}

#[test]
fn wrongtype_is_kept_and_the_rest_of_the_batch_is_applied_once() {
    let (source, target, mut gunyu) = wrongtype(&[DEAD_LETTER]);
    count_up(&source, 10);
    gunyu.wait_applied(&source, PATIENCE);
    assert_counted(&source, &target);
    assert_eq!(value(&target, "touched").as_deref(), Some("by a person"));
    let told = gunyu.status()[0]["LastError"]["Message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(told.contains("WRONGTYPE"), "{told}");
}

#[test]
fn wrongtype_is_kept_and_the_rest_applied_with_delivery_at_least_once() {
    let (source, target, mut gunyu) = wrongtype(&[DEAD_LETTER, "output.replay.delivery=at_least_once"]);
    count_up(&source, 10);
    gunyu.wait_applied(&source, PATIENCE);
    assert_counted(&source, &target);
}

/// The transaction is applied, checkpoint included, as Redis does it; so a restart goes on behind it.
#[test]
fn wrongtype_stops_it_and_a_restart_goes_on_behind_it() {
    let (source, target, mut gunyu) = wrongtype(&[]);
    let (message, hint) = wait_stopped(&mut gunyu);
    assert!(message.contains("WRONGTYPE"), "{message}");
    assert!(hint.contains("dead-letter"), "{hint}");
    count_up(&source, 10);
    gunyu.restart();
    gunyu.wait_applied(&source, PATIENCE);
    assert_counted(&source, &target);
    assert_eq!(gunyu.status()[0]["DeadLetters"], 0);
}

/// Refused when queued: nothing of the batch is applied, so it goes out again without that command.
fn unknown_to_the_target(set: &[&str]) -> (Server, Server, Gunyu) {
    let (source, target) = (
        Server::start(),
        Server::with(&["--rename-command", "HINCRBY", ""]),
    );
    let gunyu = live(&source.url(), &target, set);
    let mut batch = Batch::default();
    put!(batch, "MULTI");
    for round in 0..200 {
        put!(batch, "INCR", "a-counter");
        put!(batch, "RPUSH", "a-list", round);
        put!(batch, "SELECT", round % 3);
        put!(batch, "SELECT", 0);
        if round % 100 == 50 {
            put!(batch, "HINCRBY", "hash", "field", round);
        }
    }
    put!(batch, "EXEC");
    put!(batch, "SET", "a-after", 1);
    batch.must(&mut source.conn());
    (source, target, gunyu)
}

#[test]
fn what_the_target_does_not_know_is_kept_and_the_rest_of_the_batch_is_applied_once() {
    let (source, target, mut gunyu) = unknown_to_the_target(&[DEAD_LETTER]);
    gunyu.wait_applied(&source, PATIENCE);
    assert_counted(&source, &target);
    assert_eq!(value(&target, "a-after").as_deref(), Some("1"));
    let letters = dead_letters(&gunyu);
    let fields: Vec<&str> = letters.iter().map(|(_, command)| command[3].as_str()).collect();
    assert_eq!(fields, ["50", "150"], "{letters:?}");
    assert!(
        letters
            .iter()
            .all(|(reason, _)| reason.contains("unknown command")),
        "{letters:?}"
    );
    assert_eq!(gunyu.metric("gunyu_dead_letters_total"), Some(2.0));
}

#[test]
fn what_is_refused_is_not_counted_as_confirmed_and_nothing_is_counted_twice() {
    for (refused, letters) in [
        (wrongtype as fn(&[&str]) -> (Server, Server, Gunyu), 1.0),
        (unknown_to_the_target, 2.0),
    ] {
        let (source, _target, mut gunyu) = refused(&[DEAD_LETTER]);
        count_up(&source, 10);
        gunyu.wait_applied(&source, PATIENCE);
        let count = |what: &str| gunyu.metric(&format!("redisGunYu_output_{what}_cmd")).unwrap();
        assert_eq!(count("fail"), letters);
        assert_eq!(count("success") + count("fail"), count("send"));
    }
}

#[test]
fn what_the_target_does_not_know_is_kept_with_delivery_at_least_once() {
    let set = [DEAD_LETTER, "output.replay.delivery=at_least_once"];
    let (source, target) = (
        Server::start(),
        Server::with(&["--rename-command", "HINCRBY", ""]),
    );
    let mut gunyu = live(&source.url(), &target, &set);
    count_up(&source, 30);
    run(&source, &[&["HINCRBY", "hash", "field", "1"]]);
    count_up(&source, 30);
    gunyu.wait_applied(&source, PATIENCE);
    assert_counted(&source, &target);
    assert_eq!(dead_letters(&gunyu).len(), 1);
}

#[test]
fn what_the_target_does_not_know_stops_it_before_any_of_the_batch_is_applied() {
    let (source, target, mut gunyu) = unknown_to_the_target(&[]);
    let (message, hint) = wait_stopped(&mut gunyu);
    assert!(message.contains("unknown command"), "{message}");
    assert!(hint.contains("onError"), "{hint}");
    assert_eq!(
        (value(&target, "a-counter"), value(&target, "a-after")),
        (None, None)
    );
    // Once the operator chooses to go on without it, everything else comes.
    let kept = gunyu.state_dir();
    let args = [
        "sync".to_owned(),
        format!("--source={}", source.url()),
        format!("--target={}", target.url()),
    ];
    assert!(gunyu.term().success());
    let mut args = args.to_vec();
    args.push(format!("--set={DEAD_LETTER}"));
    let mut again = Gunyu::with_args(args, &[]);
    again.wait_applied(&source, PATIENCE);
    assert_counted(&source, &target);
    drop(kept);
}

#[test]
fn a_target_with_fewer_databases_stops_it_in_the_full_sync() {
    let (source, target) = (Server::start(), Server::with(&["--databases", "2"]));
    run(
        &source,
        &[
            &["SET", "zero", "0"],
            &["SELECT", "1"],
            &["SET", "one", "1"],
            &["SELECT", "5"],
            &["SET", "five", "5"],
        ],
    );
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[]);
    let (message, hint) = wait_stopped(&mut gunyu);
    assert!(
        message.contains("database 5") && message.contains("only 2"),
        "{message}"
    );
    assert!(hint.contains("targetDbMap"), "{hint}");
    let all = |db: &str| run(&target, &[&["SELECT", db], &["EXISTS", "five"]])[1].clone();
    assert_eq!((all("0"), all("1")), (redis::Value::Int(0), redis::Value::Int(0)));
}

#[test]
fn a_target_with_fewer_databases_stops_it_in_the_live_stream() {
    for delivery in ["exactly_once", "at_least_once"] {
        let (source, target) = (Server::start(), Server::with(&["--databases", "2"]));
        let set = format!("output.replay.delivery={delivery}");
        let mut gunyu = live(&source.url(), &target, &[&set]);
        run(
            &source,
            &[&["SET", "zero", "0"], &["SELECT", "1"], &["SET", "one", "1"]],
        );
        gunyu.wait_applied(&source, PATIENCE);
        run(
            &source,
            &[
                &["SELECT", "1"],
                &["SET", "two", "2"],
                &["SELECT", "5"],
                &["SET", "five", "5"],
                &["SET", "six", "6"],
            ],
        );
        let (message, hint) = wait_stopped(&mut gunyu);
        assert!(
            message.contains("database 5") && message.contains("only 2"),
            "{message}"
        );
        assert!(hint.contains("targetDbMap"), "{hint}");
        for db in ["0", "1"] {
            let found = run(&target, &[&["SELECT", db], &["EXISTS", "five", "six"]]);
            assert_eq!(found[1], redis::Value::Int(0), "database {db}, {delivery}");
        }
    }
}

/// Mapped away, the same source fits.
#[test]
fn a_target_with_fewer_databases_takes_what_is_mapped_to_them() {
    let (source, target) = (Server::start(), Server::with(&["--databases", "2"]));
    run(&source, &[&["SELECT", "5"], &["SET", "five", "5"]]);
    let mut gunyu = live(&source.url(), &target, &["output.replay.targetDbMap={5: 1}"]);
    run(
        &source,
        &[
            &["SELECT", "5"],
            &["SET", "six", "6"],
            &["SELECT", "0"],
            &["SET", "zero", "0"],
        ],
    );
    gunyu.wait_applied(&source, PATIENCE);
    let found = run(
        &target,
        &[&["EXISTS", "zero"], &["SELECT", "1"], &["EXISTS", "five", "six"]],
    );
    assert_eq!(
        (&found[0], &found[2]),
        (&redis::Value::Int(1), &redis::Value::Int(2))
    );
}
