//! The command's options and exit codes, between servers that rest.

use super::support::gunyu::Gunyu;
use super::support::server::Server;
use super::{PATIENCE, run, tell, verify};

#[test]
fn without_a_sync_it_says_so_and_differences_are_found_all_the_same() {
    let (source, target) = (Server::start(), Server::start());
    tell(&source, 0, &[&["SET", "a", "1"], &["SET", "b", "1"]]);
    tell(&target, 0, &[&["SET", "a", "1"], &["SET", "c", "1"]]);
    let found = verify(&source.url(), &target.url(), &[]);
    found.found_only(&[(0, "b", "missing"), (0, "c", "extra")]);
    assert_eq!(found.json["followed"], false);
    let output = run(&["verify", "--source", &source.url(), "--target", &target.url()]);
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "2 keys differ: 1 missing, 1 extra",
        "no gunyu is at work",
        "extra     db 0 c: none | string of 1",
    ] {
        assert!(text.contains(part), "{part:?} is missing: {text}");
    }
    assert_eq!(output.status.code(), Some(4));
}

#[test]
fn filters_and_the_mapping_of_databases_hold_as_for_a_sync() {
    let (source, target) = (Server::start(), Server::start());
    for db in [0, 1, 2] {
        tell(
            &source,
            db,
            &[
                &["SET", "user:1", "1"],
                &["SET", "user:2", "22"],
                &["SET", "other", "1"],
            ],
        );
    }
    let set = [
        "output.filter.keyFilter.prefixKeyWhitelist=[\"user:\"]",
        "output.filter.dbBlacklist=[2]",
        "output.replay.targetDbMap={\"0\":7,\"1\":8}",
    ];
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &set);
    gunyu.wait_ready(PATIENCE);
    gunyu.wait_applied(&source, PATIENCE);
    let set = set.map(|pair| ["--set", pair]).concat();
    let before = verify(&source.url(), &target.url(), &set);
    before.found_only(&[]);
    assert_eq!(before.json["keys"]["source"], 4, "{}", before.said);
    assert_eq!(
        before.json["followed"], true,
        "the checkpoint is found by the configuration"
    );
    tell(
        &target,
        7,
        &[&["DEL", "user:1"], &["SET", "left out by the filter", "1"]],
    );
    tell(&target, 8, &[&["SET", "user:3", "1"], &["APPEND", "user:2", "x"]]);
    tell(&target, 9, &[&["SET", "user:1", "1"]]);
    verify(&source.url(), &target.url(), &set).found_only(&[
        (7, "user:1", "missing"),
        (8, "user:3", "extra"),
        (8, "user:2", "length"),
        (9, "user:1", "extra"),
    ]);
}

#[test]
fn a_sample_and_a_pattern_choose_the_same_keys_on_both_sides() {
    let (source, target) = (Server::start(), Server::start());
    let fill = "for n = 1, 2000 do redis.call('SET', ARGV[1] .. n, n) end";
    for key in ["a:", "b:"] {
        tell(&source, 0, &[&["EVAL", fill, "0", key]]);
        tell(&target, 0, &[&["EVAL", fill, "0", key]]);
    }
    let half = verify(&source.url(), &target.url(), &["--sample", "0.5"]);
    half.found_only(&[]);
    let keys = half.json["keys"]["source"].as_u64().unwrap();
    assert!((1_800..2_200).contains(&keys), "{}", half.said);
    assert_eq!(half.json["keys"]["target"], keys);
    tell(&source, 0, &[&["DEL", "a:7"]]);
    tell(&target, 0, &[&["DEL", "b:7"]]);
    verify(&source.url(), &target.url(), &["--match", "a:*"]).found_only(&[(0, "a:7", "extra")]);
    verify(
        &source.url(),
        &target.url(),
        &["--match", "b:[6-8]", "--rate", "1000"],
    )
    .found_only(&[(0, "b:7", "missing")]);
}

#[test]
fn what_cannot_be_done_is_told_with_the_exit_codes_of_every_command() {
    let (source, target) = (Server::start(), Server::with(&["--requirepass", "secret"]));
    let denied = format!("redis://127.0.0.1:{}", target.port());
    let mut gone = Server::start();
    let url = gone.url();
    gone.kill9();
    #[rustfmt::skip]
    let rows: [(&str, &[&str], i32, &str); 5] = [
        (&denied, &[],                          2, "NOAUTH"),
        (&url,    &[],                          1, "cannot connect"),
        (&url,    &["--sample", "2"],           2, "up to 1"),
        (&url,    &["--ttl-tolerance", "soon"], 2, "500ms"),
        (&url,    &["--differences", "/nowhere/file"], 1, "/nowhere"),
    ];
    for (target, more, code, part) in rows {
        let output = run(&[&["verify", "--source", &source.url(), "--target", target], more].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{more:?}: {said}");
        assert!(said.contains(part), "{more:?}: {said}");
    }
}

#[test]
fn keys_that_gunyu_makes_for_itself_are_not_compared_on_either_side() {
    let (source, target) = (Server::start(), Server::start());
    tell(
        &source,
        0,
        &[&["RPUSH", "redis-gunyu-staged:one:0", "half"], &["SET", "a", "1"]],
    );
    tell(
        &target,
        0,
        &[&["RPUSH", "redis-gunyu-staged:two:0", "half"], &["SET", "a", "1"]],
    );
    let found = verify(&source.url(), &target.url(), &[]);
    found.found_only(&[]);
    assert_eq!(found.json["keys"]["source"], 1, "{}", found.said);
    assert_eq!(found.json["keys"]["target"], 1, "{}", found.said);
}

#[test]
fn a_checkpoint_that_stands_behind_its_source_is_told_of_where_no_gunyu_is_at_work() {
    let (source, target) = (Server::start(), Server::start());
    tell(&source, 0, &[&["SET", "a", "1"]]);
    let mut gunyu = Gunyu::between(&source, &target);
    gunyu.wait_applied(&source, PATIENCE);
    let before = verify(&source.url(), &target.url(), &[]);
    before.found_only(&[]);
    assert!(
        !before.json["notes"].to_string().contains("behind"),
        "{}",
        before.said
    );
    drop(gunyu);
    tell(&source, 0, &[&["SET", "b", "1"]]);
    let after = verify(&source.url(), &target.url(), &[]);
    after.found_only(&[(0, "b", "missing")]);
    let notes = after.json["notes"].to_string();
    assert!(notes.contains("bytes behind"), "{}", after.said);
}

#[test]
fn a_rate_holds_for_what_is_looked_at_again() {
    let (source, target) = (Server::start(), Server::start());
    let fill = "for n = 1, 600 do redis.call('SET', 'a:' .. n, n) end";
    tell(&source, 0, &[&["EVAL", fill, "0"]]);
    let began = std::time::Instant::now();
    let found = verify(&source.url(), &target.url(), &["--rate", "1000"]);
    assert_eq!(found.json["different"], 600, "{}", found.said);
    // Once in the walk, and at least twice afterwards.
    let took = began.elapsed();
    assert!(took > std::time::Duration::from_millis(1_000), "{took:?}");
}
