//! Users who may not do all that README's table grants.

// As in tests/support: what fails here fails the test.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeSet, HashMap};

use gunyu::core::doctor::needs;

use super::rig::Doctor;
use super::support::Server;

/// README's table: the words of a row that begin with `+` or `&`.
fn readme(side: &str) -> BTreeSet<String> {
    let readme = include_str!("../../README.md");
    let row = readme
        .lines()
        .find(|line| line.starts_with(&format!("| {side} |")));
    let words = row.unwrap().split([' ', '`', ',', ';']);
    let rights = words.filter(|word| word.starts_with('+') || word.starts_with('&'));
    rights.map(|word| word.replace("\\|", "|")).collect()
}

#[test]
fn doctor_asks_for_what_readme_lists_and_for_nothing_else() {
    for (side, table, more) in [
        ("source", needs::SOURCE, None),
        (
            "sentinels",
            needs::SENTINELS,
            Some(format!("&{}", needs::SENTINELS_CHANNEL)),
        ),
        ("target", needs::TARGET, Some("&*".to_owned())),
    ] {
        let commands = table.iter().map(|need| format!("+{}", need.command));
        let listed: BTreeSet<String> = commands.chain(more).collect();
        assert_eq!(readme(side), listed, "{side}");
    }
}

/// A user who may do what the table grants to those who have no sentinels and no cluster, but for some.
pub(crate) fn user(server: &Server, table: &[needs::Need], keys: &str, but: &[&str], more: &[&str]) {
    let known = server.commands();
    let is_known = |need: &&needs::Need| {
        let name = need.command.split('|').next().unwrap();
        known.contains(&name.to_uppercase())
    };
    let granted = table
        .iter()
        .filter(is_known)
        .filter(|need| !but.contains(&need.command));
    let granted: Vec<String> = granted.map(|need| format!("+{}", need.command)).collect();
    let mut command = vec!["ACL", "SETUSER", "gunyu", "reset", "on", ">word"];
    command.extend((!keys.is_empty()).then_some(keys));
    command.extend(granted.iter().map(String::as_str));
    command.extend(more);
    let () = server.run(&command);
}

pub(crate) fn url(server: &Server) -> String {
    format!("redis://gunyu:word@{}", server.addr())
}

pub(crate) fn denied(server: &Server) -> usize {
    let log: Vec<redis::Value> = server.run(&["ACL", "LOG"]);
    log.len()
}

/// The source's configuration may not be asked for: that is unknown, and no fault.
const UNSEEN: &str = "unknown source config";

#[test]
fn a_user_who_may_do_what_readme_lists_has_nothing_to_hear_of_but_what_may_not_be_asked() {
    let (source, target) = (Server::start(), Server::start());
    user(&source, needs::SOURCE, "", &[], &[]);
    user(&target, needs::TARGET, "~*", &[], &["&*"]);
    let found = Doctor::between(&url(&source), &url(&target)).look();
    assert_eq!(found.code, 0, "{:#?}", found.findings);
    assert_eq!(found.bad(), [UNSEEN.to_owned()].into(), "{:#?}", found.findings);
    let examined = found
        .findings
        .iter()
        .any(|one| one["check"] == "permission" && one["severity"] == "ok");
    assert!(examined, "{:#?}", found.findings);
    assert_eq!((source.keys(), target.keys()), (0, 0));
}

/// What is refused is what is told: the configuration, and to be asked about.
#[test]
fn a_user_made_by_readmes_example_is_asked_for_no_more_than_it_has() {
    let (source, target) = (Server::start(), Server::start());
    let readme = include_str!("../../README.md");
    let example = readme
        .lines()
        .find_map(|line| line.split_once(" ACL SETUSER gunyu "))
        .unwrap();
    let words = format!("ACL SETUSER gunyu {}", example.1.replace('\'', ""));
    let words: Vec<&str> = words.split(' ').collect();
    let () = source.run(&words);
    let url = format!("redis://gunyu:secret@{}", source.addr());
    let found = Doctor::between(&url, &target.url()).look();
    assert_eq!(found.code, 0, "{:#?}", found.findings);
    assert_eq!(found.bad(), [UNSEEN.to_owned()].into(), "{:#?}", found.findings);
    let log: Vec<HashMap<String, redis::Value>> = source.run(&["ACL", "LOG"]);
    let refused: BTreeSet<String> = log
        .iter()
        .map(|entry| redis::from_redis_value(entry["object"].clone()).unwrap())
        .collect();
    let told = ["acl|dryrun", "config|get"].map(str::to_owned);
    assert_eq!(refused, told.into());
}

/// Its own key is not the only one that it writes; what the filter leaves out is not asked for.
#[test]
fn a_user_who_may_use_our_own_keys_alone_is_a_problem_and_what_the_filter_denies_is_not() {
    for asks in [&[][..], &["+acl|dryrun"]] {
        let (source, target) = (Server::start(), Server::start());
        let () = source.run(&["PUBLISH", "channel", "message"]);
        let () = source.run(&["INCR", "counter"]);
        user(&target, needs::TARGET, "~redis-gunyu*", &[], asks);
        let with = |more: &[&str]| Doctor::between(&source.url(), &url(&target)).with(more);
        let found = with(&[]).finds(&["problem target permission"]);
        for word in ["incr", "publish", "~*"] {
            assert!(
                found.words("permission").contains(word),
                "{}",
                found.words("permission")
            );
        }
        let denied = "--set=output.filter.commandBlacklist=[\"publish\", \"incr\"]";
        let found = with(&[denied]).finds(&["problem target permission"]);
        assert!(
            !found.words("permission").contains("publish"),
            "{}",
            found.words("permission")
        );
        found.type_fixes();
        with(&[denied]).finds(&[]);
        let () = target.run(&["ACL", "SETUSER", "gunyu", "resetkeys", "~redis-gunyu*", "~app:*"]);
        with(&[
            denied,
            "--set=output.filter.keyFilter.prefixKeyWhitelist=[\"app:\"]",
        ])
        .finds(&[]);
    }
}

/// By trying, as the user may not ask; and by asking.
#[test]
fn permissions_that_are_lacking_are_found_and_what_is_printed_grants_them() {
    for asks in [&[][..], &["+acl|dryrun"]] {
        let (source, target) = (Server::start(), Server::start());
        let () = source.run(&["INCR", "counter"]);
        user(&source, needs::SOURCE, "", &["psync", "replconf"], asks);
        let more: Vec<&str> = asks.iter().copied().chain(["&*"]).collect();
        user(
            &target,
            needs::TARGET,
            "~app:*",
            &["exec", "client|kill", "restore"],
            &more,
        );
        let doctor = Doctor::between(&url(&source), &url(&target));
        let found = doctor.finds(&["problem source permission", UNSEEN, "problem target permission"]);
        let source_says = found.of("permission")["says"].as_str().unwrap();
        assert_eq!(source_says, "user gunyu may not replconf and psync");
        let said = format!("{:?}", found.findings);
        for word in ["exec", "restore", "incr", "client|kill", "~*"] {
            assert!(said.contains(word), "{word} of {said}");
        }
        // Who may ask has left nothing in the log but what was refused beforehand: the configuration.
        let tried = usize::from(asks.is_empty());
        assert_eq!(
            denied(&source) > 2,
            tried == 1,
            "{:?}",
            source.run::<redis::Value>(&["ACL", "LOG"])
        );
        found.type_fixes();
        let found = doctor.look();
        assert_eq!(found.code, 0, "{:#?}", found.findings);
    }
}

#[test]
fn what_is_only_wanted_sometimes_is_a_warning() {
    let (source, target) = (Server::start(), Server::start());
    user(
        &target,
        needs::TARGET,
        "~*",
        &["client|list", "xtrim"],
        &["&*", "+acl|dryrun"],
    );
    let doctor = Doctor::between(&source.url(), &url(&target));
    let found = doctor.finds(&["warning target permission"]);
    assert!(
        found.words("permission").contains("another has taken over from"),
        "{}",
        found.words("permission")
    );
    found.type_fixes();
    doctor.finds(&[]);
}
