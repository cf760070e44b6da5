//! The table at the room's head, and what it leaves out.

use std::collections::BTreeMap;

use super::*;
use crate::core::command::tests::framed;
use crate::core::position::Offset;
use crate::core::resp::Framer;

fn filter(rules: &Rules) -> Filter {
    Filter::compile(rules).unwrap()
}

/// A verdict in the words of the table.
fn words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Keep => "keep".into(),
        Verdict::Drop(reason) => format!("drop: {reason}"),
        Verdict::Straddles(why) => format!("straddles: {why}"),
        Verdict::Rewrite(bytes) => decoded(bytes).join(", "),
    }
}

/// Encoded commands as words.
fn decoded(bytes: &Bytes) -> Vec<String> {
    let mut framer = Framer::default();
    framer.push(Offset::ZERO, bytes.clone()).unwrap();
    let mut commands = Vec::new();
    while let Some(frame) = framer.next().unwrap() {
        let args: Vec<_> = frame.args().map(String::from_utf8_lossy).collect();
        commands.push(args.join(" "));
    }
    assert_eq!(framer.framed(), Some(Offset::new(bytes.len() as u64)));
    commands
}

fn judge(filter: &Filter, state: &mut State, text: &str) -> String {
    framed(text, |frame| {
        words(&filter.command(state, command::of(frame), frame))
    })
}

fn denying_db_1() -> Rules {
    Rules {
        db_deny: vec![1],
        ..Rules::default()
    }
}

fn mapping(map: DbMap) -> Rules {
    Rules {
        db_map: map,
        ..Rules::default()
    }
}

fn each(pairs: &[(u32, u32)]) -> DbMap {
    DbMap::Each(pairs.iter().copied().collect::<BTreeMap<_, _>>())
}

fn allowing(prefix: &str) -> Rules {
    Rules {
        key_prefix_allow: vec![prefix.into()],
        ..Rules::default()
    }
}

/// The verdict of a column of the table on a command.
fn cell(column: &str, text: &str) -> String {
    let name = text.split(' ').next().unwrap_or_default();
    let rules = match column {
        "no rules" => Rules::default(),
        "deny" | "in denied" => denying_db_1(),
        "injective" => mapping(each(&[(0, 5), (1, 6)])),
        "many to one" => mapping(DbMap::All(7)),
        "keys" => allowing("a"),
        "command deny" => Rules {
            command_deny: vec![name.into()],
            ..Rules::default()
        },
        other => panic!("the table has no column {other}"),
    };
    let Ok(filter) = Filter::compile(&rules) else {
        return "refused".into();
    };
    let mut state = filter.state(0, Some(&[0, 1]));
    if column == "in denied" {
        judge(&filter, &mut state, "SELECT 1");
    }
    judge(&filter, &mut state, text)
}

#[test]
fn verdicts_are_those_of_the_table() {
    let rows: Vec<Vec<&str>> = include_str!("mod.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//! | "))
        .map(|line| line.trim_end_matches(" |").split(" | ").collect())
        .collect();
    let columns = &rows[0];
    assert_eq!(columns.len(), 8);
    let mut checked = 0;
    for row in rows.iter().skip(2) {
        for (column, expected) in columns.iter().zip(row).skip(1) {
            assert_eq!(cell(column, row[0]), *expected, "{} under {column}", row[0]);
            checked += 1;
        }
    }
    assert!(checked > 200, "only {checked} cells");
}

#[test]
fn a_command_without_keys_to_refuse_is_kept_and_keepalives_are_not() {
    let filter = filter(&Rules::default());
    let mut state = filter.state(0, None);
    for kept in [
        "SET k v",
        "INCR k",
        "NOSUCH k",
        "PFCOUNT k",
        "JSON.SET k $ 1",
        "FT.CREATE i SCHEMA t TEXT",
    ] {
        assert_eq!(judge(&filter, &mut state, kept), "keep", "{kept}");
    }
    for dropped in ["PING", "REPLCONF GETACK *", "GET k"] {
        assert_eq!(judge(&filter, &mut state, dropped), "drop: control", "{dropped}");
    }
    let mut framer = Framer::default();
    framer.push(Offset::ZERO, Bytes::from_static(b"\n")).unwrap();
    let frame = framer.next().unwrap().unwrap();
    let verdict = filter.command(&mut state, command::of(&frame), &frame);
    assert_eq!(verdict, Verdict::Drop(DropReason::Control));
}

#[test]
fn own_keys_are_never_replicated_whatever_the_rules() {
    let filter = filter(&Rules::default());
    let mut state = filter.state(0, None);
    for (text, expected) in [
        ("HSET redis-gunyu-checkpoint-1 f v", "drop: own key"),
        ("SET /redis-gunyu/g/election x", "drop: own key"),
        ("DEL redis-gunyu-checkpoint-1 k", "DEL k"),
        ("DEL redis-gunyu-checkpoint-1", "drop: own key"),
        ("RENAME redis-gunyu-checkpoint-1 k", "straddles: keys"),
    ] {
        assert_eq!(judge(&filter, &mut state, text), expected, "{text}");
    }
    assert_eq!(filter.key(3, b"redis-gunyu-checkpoint"), Some(DropReason::OwnKey));
    assert_eq!(filter.key(3, b"k"), None);
}

#[test]
fn the_state_follows_the_source_into_and_out_of_denied_databases() {
    let filter = filter(&Rules {
        db_deny: vec![1],
        db_map: each(&[(2, 9)]),
        ..Rules::default()
    });
    let mut state = filter.state(1, Some(&[]));
    assert_eq!((state.db(), state.selected()), (1, None));
    for (text, expected, db, selected) in [
        ("SET k v", "drop: database", 1, None),
        ("SELECT 2", "SELECT 9", 2, Some(9)),
        ("SET k v", "keep", 2, Some(9)),
        ("MULTI", "keep", 2, Some(9)),
        ("SELECT 1", "drop: database", 1, Some(9)),
        ("SET k v", "drop: database", 1, Some(9)),
        ("EXEC", "keep", 1, Some(9)),
        ("SELECT 2", "SELECT 9", 2, Some(9)),
        ("SELECT x", "straddles: malformed", 2, Some(9)),
    ] {
        assert_eq!(judge(&filter, &mut state, text), expected, "{text}");
        assert_eq!((state.db(), state.selected()), (db, selected), "{text}");
    }
    assert_eq!(state.seen().unwrap().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn flushall_flushes_the_databases_that_were_fed_and_no_others() {
    let deny = filter(&denying_db_1());
    let mut state = deny.state(1, Some(&[0, 1, 4]));
    assert_eq!(
        judge(&deny, &mut state, "FLUSHALL ASYNC"),
        "SELECT 0, FLUSHDB ASYNC, SELECT 4, FLUSHDB ASYNC"
    );
    assert_eq!(state.selected(), Some(4));
    let mut unknown = deny.state(0, None);
    assert_eq!(
        judge(&deny, &mut unknown, "FLUSHALL"),
        "straddles: databases unknown"
    );
    let mut only_denied = deny.state(1, Some(&[]));
    assert_eq!(judge(&deny, &mut only_denied, "FLUSHALL"), "drop: database");
    let allow = filter(&Rules {
        db_allow: Some(vec![0, 2]),
        ..Rules::default()
    });
    let mut unknown = allow.state(0, None);
    assert_eq!(
        judge(&allow, &mut unknown, "FLUSHALL"),
        "FLUSHDB, SELECT 2, FLUSHDB, SELECT 0"
    );
    let all = filter(&mapping(DbMap::All(0)));
    assert_eq!(judge(&all, &mut all.state(5, None), "FLUSHALL"), "FLUSHDB");
}

#[test]
fn a_database_is_shared_only_with_one_that_has_been_seen() {
    let all = filter(&mapping(DbMap::All(7)));
    assert_eq!(judge(&all, &mut all.state(0, Some(&[0])), "FLUSHDB"), "keep");
    assert_eq!(
        judge(&all, &mut all.state(0, None), "FLUSHDB"),
        "straddles: shared database"
    );
    let each = filter(&mapping(each(&[(0, 5)])));
    assert_eq!(judge(&each, &mut each.state(0, Some(&[0])), "FLUSHDB"), "keep");
    assert_eq!(
        judge(&each, &mut each.state(0, Some(&[5])), "FLUSHDB"),
        "straddles: shared database"
    );
    assert_eq!(
        judge(&each, &mut each.state(5, Some(&[0])), "FLUSHDB"),
        "straddles: shared database"
    );
    assert_eq!(judge(&each, &mut each.state(1, None), "FLUSHDB"), "keep");
    assert_eq!(
        judge(&each, &mut each.state(1, Some(&[5])), "SWAPDB 0 1"),
        "straddles: shared database"
    );
    assert_eq!(
        judge(&each, &mut each.state(1, Some(&[])), "SWAPDB 0 1"),
        "SWAPDB 5 1"
    );
}

#[test]
fn sentinels_of_the_source_are_not_introduced_to_the_target() {
    let filter = filter(&Rules::default());
    let mut state = filter.state(0, None);
    assert_eq!(
        judge(&filter, &mut state, "PUBLISH __sentinel__:hello x"),
        "drop: sentinel hello"
    );
    assert_eq!(judge(&filter, &mut state, "PUBLISH c x"), "keep");
}

#[test]
fn commands_that_the_table_does_not_know_can_be_denied_by_name() {
    let filter = filter(&Rules {
        command_deny: vec!["Their.Own".into(), "incr".into()],
        ..Rules::default()
    });
    let mut state = filter.state(0, None);
    assert_eq!(judge(&filter, &mut state, "their.OWN x"), "drop: command");
    assert_eq!(judge(&filter, &mut state, "their.other x"), "keep");
    assert_eq!(judge(&filter, &mut state, "INCR x"), "drop: command");
    assert!(filter.denies(b"INCR") && !filter.denies(b"FUNCTION"));
}

#[test]
fn restore_asking_keeps_its_options() {
    let filter = filter(&allowing("a"));
    let mut state = filter.state(0, None);
    for (text, expected) in [
        (
            "RESTORE-ASKING a 5 x ABSTTL replace",
            "RESTORE a 5 x ABSTTL replace",
        ),
        ("RESTORE-ASKING a 5 x ABSTTL", "RESTORE a 5 x ABSTTL REPLACE"),
        ("RESTORE-ASKING b 5 x", "drop: key"),
    ] {
        assert_eq!(judge(&filter, &mut state, text), expected, "{text}");
    }
}

#[test]
fn a_restore_asking_without_a_payload_makes_no_key_of_an_option() {
    let filter = filter(&allowing("a"));
    let mut state = filter.state(0, Some(&[0]));
    for text in ["RESTORE-ASKING", "RESTORE-ASKING a", "RESTORE-ASKING a 0"] {
        assert_eq!(judge(&filter, &mut state, text), "keep", "{text}");
    }
    assert_eq!(
        judge(&filter, &mut state, "RESTORE-ASKING a 0 x"),
        "RESTORE a 0 x REPLACE"
    );
}

#[test]
fn a_snapshot_follows_the_same_rules() {
    let filter = filter(&Rules {
        db_deny: vec![1],
        db_map: DbMap::All(3),
        key_prefix_deny: vec!["tmp:".into()],
        ..Rules::default()
    });
    assert_eq!(filter.key(0, b"k"), None);
    assert_eq!(filter.key(0, b"tmp:k"), Some(DropReason::Key));
    assert_eq!(filter.key(1, b"k"), Some(DropReason::Database));
    assert_eq!((filter.target_db(0), filter.target_db(1)), (Some(3), None));
}

#[test]
fn an_expiry_is_set_without_the_condition_that_held_on_the_source() {
    let filter = filter(&allowing("a"));
    let mut state = filter.state(0, None);
    for (words, expected) in [
        ("PEXPIREAT a 1700000000000 GT", "PEXPIREAT a 1700000000000"),
        ("expireat a 1700000000 xx lt", "expireat a 1700000000"),
        ("PEXPIREAT a 1700000000000", "keep"),
        ("PEXPIREAT b 1700000000000 NX", "drop: key"),
    ] {
        assert_eq!(judge(&filter, &mut state, words), expected, "{words}");
    }
}
