//! Users with no more permissions than README's table grants, and passwords of every kind.

// As in tests/support: what fails here fails the test.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::panic)]

use std::process::Command;

use crate::certs::{Ca, text};
use crate::server::TlsServer;
use crate::stderr;
use crate::support::gunyu::PROGRAM;
use crate::support::{Gunyu, SOON, Server, assert_equal};

/// What README's table says that a user needs on this side: the words that begin with `+` or `&`.
pub fn rights(side: &str) -> Vec<String> {
    let readme = include_str!("../../README.md");
    let row = readme
        .lines()
        .find(|line| line.starts_with(&format!("| {side} |")))
        .unwrap();
    let words = row.split([' ', '`', ',', ';']);
    words
        .filter(|word| word.starts_with('+') || word.starts_with('&'))
        .map(|word| word.replace("\\|", "|"))
        .collect()
}

/// The commands that these tests replicate, which a target's user needs too.
pub const REPLICATED: [&str; 9] = [
    "+set", "+incr", "+rpush", "+sadd", "+zadd", "+hset", "+xadd", "+pexpire", "+publish",
];

/// Those of the rights that concern what this server knows: some are of newer servers, and sentinels have their own.
pub fn known_to(server: &Server, rights: &[String]) -> Vec<String> {
    let known = server.commands();
    let known = |right: &&String| {
        let name = right[1..].split('|').next().unwrap();
        right.starts_with('&') || known.contains(&name.to_uppercase())
    };
    rights.iter().filter(known).cloned().collect()
}

/// Makes a user who may do this and nothing else.
pub fn user(server: &Server, password: &str, keys: &str, rights: &[String]) {
    let rights = known_to(server, rights);
    let word = format!(">{password}");
    let mut command = vec!["ACL", "SETUSER", "gunyu", "reset", "on", &word];
    command.extend((!keys.is_empty()).then_some(keys));
    command.extend(rights.iter().map(String::as_str));
    let () = server.run(&command);
}

/// The user for gunyu on a source: no key at all.
pub fn source_user(server: &Server, password: &str) {
    user(server, password, "", &rights("source"));
}

/// The user for gunyu on a target.
pub fn target_user(server: &Server, password: &str) {
    let mut all = rights("target");
    all.extend(REPLICATED.map(String::from));
    user(server, password, "~*", &all);
}

/// Nothing was refused.
#[track_caller]
pub fn assert_nothing_denied(server: &Server) {
    let log: redis::Value = server.run(&["ACL", "LOG"]);
    let is_empty = matches!(&log, redis::Value::Array(entries) if entries.is_empty());
    assert!(is_empty, "{log:?}");
}

/// A user:password@ part.
pub fn login(user: &str, password: &str) -> String {
    let encoded: String = password.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!("{user}:{encoded}@")
}

/// The URL with a user and a password.
pub fn with_login(url: &str, login: &str) -> String {
    url.replacen("://", &format!("://{login}"), 1)
}

/// One of everything that a replicated command of these tests makes.
fn write(server: &Server, name: &str) {
    let mut conn = server.conn();
    let commands: [&[&str]; 7] = [
        &["SET", "string", "value"],
        &["INCR", "counter"],
        &["RPUSH", "list", "a", "b"],
        &["SADD", "set", "a", "b"],
        &["ZADD", "zset", "1", "a"],
        &["HSET", "hash", "field", "value"],
        &["XADD", "stream", "*", "field", "value"],
    ];
    for command in commands {
        let key = format!("{name}:{}", command[1]);
        redis::cmd(command[0])
            .arg(&key)
            .arg(&command[2..])
            .exec(&mut conn)
            .unwrap();
    }
    redis::cmd("PEXPIRE")
        .arg(format!("{name}:string"))
        .arg(1_000_000_000)
        .exec(&mut conn)
        .unwrap();
    redis::cmd("PUBLISH")
        .arg("channel")
        .arg("message")
        .exec(&mut conn)
        .unwrap();
}

#[test]
fn users_with_no_more_than_readme_grants_copy_live_and_again() {
    let ca = Ca::new();
    let pair = ca.sign(&["127.0.0.1"]);
    let options = ["--tls-auth-clients", "no", "--requirepass", "of-the-test"];
    let start = || TlsServer::with(&ca, &pair, &options);
    let (source, target) = (start(), start());
    source_user(&source.server, "of source");
    target_user(&target.server, "of target");
    write(&source.server, "before");
    // More than the source has: some of it is stale.
    let () = target.server.run(&["SET", "stale", "value"]);
    let path = text(&ca.path());
    let set = [
        format!("input.redis.tls.ca={path}"),
        format!("output.redis.tls.ca={path}"),
    ];
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    let (from, to) = (
        with_login(&source.url(), &login("gunyu", "of source")),
        with_login(&target.url(), &login("gunyu", "of target")),
    );
    let mut gunyu = Gunyu::start(&from, &to, &set);
    gunyu.wait_ready(SOON);
    write(&source.server, "live");
    gunyu.wait_applied(&source.server, SOON);
    gunyu.restart();
    write(&source.server, "restarted");
    gunyu.wait_applied(&source.server, SOON);
    // A second full sync, which empties the target first.
    gunyu.must("POST", "/syncer/fullsync?inputs=all&flushdb=yes");
    gunyu.wait_ready(SOON);
    write(&source.server, "again");
    gunyu.wait_applied(&source.server, SOON);
    let status = Command::new(PROGRAM)
        .args(["status", "--local", "--source", &from, "--target", &to])
        .args(set.iter().map(|pair| format!("--set={pair}")))
        .output()
        .unwrap();
    assert_eq!(status.status.code(), Some(0), "{}", stderr(&status));
    gunyu.term();
    assert_equal(&source.server, &target.server);
    assert_nothing_denied(&source.server);
    assert_nothing_denied(&target.server);
}

#[test]
fn a_password_may_hold_any_character() {
    let printable: String = (' '..='~').collect();
    let passwords = [
        printable.as_str(),
        " begins and ends with a space ",
        "#hash: 'single' \"double\" \\ back",
        "$HOME $${HOME} %41 %zz @host/0?x=1#y",
        "ÄÖÜß € ø ñ",
        "漢字 пароль 🔑 \u{1F469}\u{200D}\u{1F680}",
        "tab\tand\nnewline",
        "-",
        "~",
    ];
    let server = Server::start();
    let dump = |more: &[&str], environment: Option<&str>| {
        let mut command = Command::new(PROGRAM);
        command.args(["rdb-dump", "--output", "-"]).args(more);
        command.envs(environment.map(|password| ("GUNYU_SOURCE_PASSWORD", password)));
        command.output().unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gunyu.yaml");
    for password in passwords {
        source_user(&server, password);
        let assert_dumps = |way: &str, done: &std::process::Output| {
            assert_eq!(
                done.status.code(),
                Some(0),
                "{password:?} by {way}: {}",
                stderr(done)
            );
            assert!(done.stdout.starts_with(b"REDIS"), "{password:?} by {way}");
        };
        let url = with_login(&server.url(), &login("gunyu", password));
        assert_dumps("URL", &dump(&["--source", &url], None));
        let url = with_login(&server.url(), "gunyu@");
        assert_dumps("environment", &dump(&["--source", &url], Some(password)));
        // JSON is YAML. `$${` stands for `${`, which would name a variable.
        let text = serde_json::json!({"input": {"redis": {
            "type": "standalone", "addresses": [server.addr()], "userName": "gunyu", "password": password.replace("${", "$${"),
        }}});
        std::fs::write(&file, text.to_string()).unwrap();
        assert_dumps(
            "file",
            &dump(&["--local", "--config", file.to_str().unwrap()], None),
        );
        // And on a control connection.
        let target = Server::start();
        let from = with_login(&server.url(), &login("gunyu", password));
        let status = Command::new(PROGRAM)
            .args(["status", "--local", "--source", &from, "--target", &target.url()])
            .output()
            .unwrap();
        assert_eq!(status.status.code(), Some(0), "{password:?}: {}", stderr(&status));
    }
    // None of it works because anything does.
    let url = with_login(&server.url(), &login("gunyu", "wrong"));
    assert_eq!(dump(&["--source", &url], None).status.code(), Some(2));
}
