//! No secret is ever visible: not in what the daemon says, not in its traces, not in the list of processes, not in a
//! complaint about a command line.
//!
//! Every secret here is planted once and then searched for everywhere, plain and percent-encoded.

#![allow(clippy::unwrap_used, clippy::panic)] // a helper that fails fails its test

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use support::gunyu::PROGRAM;
use support::http;
use support::port::Port;
use support::{Gunyu, SOON, Server, wait_until};

/// Fails if one of the secrets is in the text.
#[track_caller]
fn assert_hidden(where_: &str, text: &str, secrets: &[&str]) {
    for secret in secrets {
        let found = text.find(secret);
        assert!(found.is_none(), "{secret} is in {where_}:\n{text}");
    }
}

fn run_with(args: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(PROGRAM)
        .args(args)
        .envs(env.iter().copied())
        .output()
        .unwrap()
}

/// What it said on both streams, and its exit code.
fn said(args: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = run_with(args, env);
    let both = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&both).into_owned())
}

fn command_line(pid: i32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// Everything that a running daemon shows.
#[track_caller]
fn assert_daemon_hides(gunyu: &Gunyu, headers: &[&str], secrets: &[&str]) {
    for path in [
        "/syncer/config",
        "/syncer/config?format=json",
        "/syncer/status",
        "/prometheus",
    ] {
        let answer = http::send(gunyu.http(), "GET", path, headers).unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_hidden(path, &answer.text(), secrets);
    }
    assert!(!gunyu.traces().is_empty());
    assert_hidden("the traces", &gunyu.traces(), secrets);
    assert_hidden("stdout", &gunyu.stdout(), secrets);
}

/// A user who may do everything, beside the default one.
fn with_user(name: &str, password: &str) -> Server {
    let server = Server::start();
    let () = server.run(&[
        "ACL",
        "SETUSER",
        name,
        "on",
        &format!(">{password}"),
        "~*",
        "&*",
        "+@all",
    ]);
    server
}

#[test]
fn a_daemon_shows_no_password_anywhere() {
    let secrets = [
        "s0urce:p@ss/word",
        "s0urce%3Ap%40ss%2Fword",
        "t4rget-\"quoted\\secret",
        "t4rget-",
    ];
    let (source, target) = (with_user("alice", secrets[0]), with_user("bob", secrets[2]));
    for format in ["text", "json"] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gunyu.traces");
        let args = [
            "sync".to_owned(),
            format!("--source=redis://alice:{}@{}", secrets[1], source.addr()),
            format!("--target=redis://bob@{}", target.addr()),
            format!("--set=output.redis.password={}", secrets[2]),
            format!("--set=log.format={format}"),
            "--set=log.handler.stdout=true".to_owned(),
            "--set=log.level=debug".to_owned(),
            format!("--set=log.handler.file.fileName={}", file.display()),
        ];
        let mut gunyu = Gunyu::with_args(args.to_vec(), &[("GUNYU_TRACE", "debug")]);
        gunyu.wait_ready(SOON);
        let () = source.run(&["SET", "key", format]);
        gunyu.wait_applied(&source, SOON);
        assert_daemon_hides(&gunyu, &[], &secrets);
        let seen = command_line(gunyu.stats().pid());
        assert_hidden("the command line", &seen, &secrets);
        let stars = "*".repeat(secrets[1].len());
        assert!(
            seen.contains(&format!("--source=redis://alice:{stars}@{}", source.addr())),
            "{seen}"
        );
        assert!(
            seen.contains("--set=log.level=debug"),
            "only secrets are hidden: {seen}"
        );
        assert_eq!(gunyu.term().code(), Some(0));
        let traces = std::fs::read_to_string(&file).unwrap();
        assert!(!traces.is_empty());
        assert_hidden("the trace file", &traces, &secrets);
        let () = target.run(&["FLUSHALL"]);
    }
}

#[test]
fn passwords_of_the_environment_and_of_the_file_are_hidden_too() {
    let secrets = ["env-s3cret-1", "file-s3cret-2"];
    let source = Server::with(&["--requirepass", secrets[0]]);
    let target = Server::with(&["--requirepass", secrets[1]]);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("gunyu.yaml");
    let text = format!(
        "input:\n  redis:\n    addresses: [\"{}\"]\noutput:\n  redis:\n    addresses: [\"{}\"]\n    password: {}\n",
        source.addr(),
        target.addr(),
        secrets[1]
    );
    std::fs::write(&config, text).unwrap();
    let args = vec!["sync".to_owned(), format!("--config={}", config.display())];
    let mut gunyu = Gunyu::with_args(args, &[("GUNYU_SOURCE_PASSWORD", secrets[0])]);
    gunyu.wait_ready(SOON);
    assert_daemon_hides(&gunyu, &[], &secrets);
}

#[test]
fn a_wrong_password_is_not_repeated_in_the_complaint() {
    let (source, target) = (
        Server::with(&["--requirepass", "right-one"]),
        Server::with(&["--requirepass", "right-two"]),
    );
    let secrets = ["wrong-one", "wrong-two", "right-one", "right-two"];
    let url = |server: &Server, password: &str| format!("redis://:{password}@{}", server.addr());
    for (from, to) in [("wrong-one", "right-two"), ("right-one", "wrong-two")] {
        let (folder, port) = (tempfile::tempdir().unwrap(), Port::free());
        let (code, text) = said(
            &[
                "sync",
                &format!("--source={}", url(&source, from)),
                &format!("--target={}", url(&target, to)),
                &format!("--set=channel.storer.dirPath={}", folder.path().display()),
                &format!("--set=server.listen={}", port.addr()),
            ],
            &[],
        );
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("GUNYU_") && text.contains("hint"), "{text}");
        assert_hidden("the complaint", &text, &secrets);
    }
}

#[test]
fn a_password_that_changes_while_the_daemon_runs_shows_neither_the_old_nor_the_new() {
    let secrets = ["first-s3cret", "second-s3cret"];
    let source = Server::with(&["--requirepass", secrets[0]]);
    let mut target = Server::with(&["--requirepass", secrets[0]]);
    let mut gunyu = Gunyu::between(&source, &target);
    let () = target.run(&["CONFIG", "SET", "requirepass", secrets[1]]);
    target.kill9();
    target.restart(); // with the first again
    gunyu.wait_ready(SOON);
    let client = format!("redis://:{}@{}", secrets[0], target.addr());
    let mut conn = support::server::connect(&client).unwrap();
    let () = redis::cmd("CONFIG")
        .arg(&["SET", "requirepass", secrets[1]])
        .query(&mut conn)
        .unwrap();
    let () = redis::cmd("CLIENT")
        .arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"])
        .query(&mut conn)
        .unwrap();
    gunyu.wait_status(SOON, "the wrong password is told", |status| {
        status[0]["LastError"]["Message"]
            .as_str()
            .is_some_and(|text| text.contains("WRONGPASS"))
    });
    assert_daemon_hides(&gunyu, &[], &secrets);
}

/// Such a server repeats the arguments of `AUTH`: "unknown command 'AUTH', with args beginning with: 's3cret'".
/// A source like that ends gunyu at the first contact; a target like that is tried again and again.
#[test]
fn a_server_that_repeats_the_arguments_of_auth_is_not_quoted_with_them_in_the_traces() {
    let renamed = Server::with(&["--rename-command", "AUTH", "xyz"]);
    let other = Server::start();
    for (flag, rest) in [("--source", "--target"), ("--target", "--source")] {
        let args = [
            "sync".to_owned(),
            format!("{flag}=redis://alice:echoed-s3cret@{}", renamed.addr()),
            format!("{rest}={}", other.url()),
            "--set=log.level=debug".to_owned(),
        ];
        let gunyu = Gunyu::with_args(args.to_vec(), &[]);
        wait_until(SOON, "the refusal is told", || {
            gunyu.traces().contains("unknown command")
        });
        assert_hidden("the traces", &gunyu.traces(), &["echoed-s3cret"]);
    }
}

/// The same while the daemon runs: status and dead letters must not have them either.
#[test]
fn a_server_that_repeats_the_arguments_of_auth_later_is_not_quoted_in_status() {
    let secret = "echoed-s3cret";
    let mut source = with_user("alice", secret);
    let target = Server::start();
    let from = format!("redis://alice:{secret}@{}", source.addr());
    let mut gunyu = Gunyu::start(&from, &target.url(), &["log.level=debug"]);
    gunyu.wait_ready(SOON);
    // Another server takes the place of the first, on the same port, and does not know AUTH.
    let port = source.port().to_string();
    let folder = tempfile::tempdir().unwrap();
    source.kill9();
    let mut command = Command::new("redis-server");
    command.args([
        "--port",
        &port,
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--rename-command",
        "AUTH",
        "xyz",
    ]);
    command.arg("--dir").arg(folder.path());
    let log = folder.path().join("log");
    let _second = support::process::Process::start(command, &log, &log);
    gunyu.wait_status(SOON, "the refusal is told", |status| {
        status[0]["LastError"]["Message"]
            .as_str()
            .is_some_and(|text| text.contains("unknown command"))
    });
    assert_daemon_hides(&gunyu, &[], &[secret]);
}

#[test]
fn a_mistaken_command_line_is_not_repeated_with_its_secrets() {
    let secret = "hunter-2two";
    let with = |text: &str| text.replace("PW", secret);
    let table: &[&[&str]] = &[
        &["sync", "redis://:PW@host"],
        &["sync", "redis://user:PW@host:1", "redis://b"],
        &["sync", "--sourc=redis://user:PW@host"],
        &["redis://user:PW@host"],
        &["sync", "--source", "redis://user:PW"],
        &[
            "sync",
            "--source",
            "redis://user:PW@host:port",
            "--target=redis://h",
        ],
        &["sync", "--source", "http://user:PW@host", "--target=redis://h"],
        &["sync", "--set", "input.redis.passwort=PW"],
        &[
            "sync",
            "--set",
            "input.redis.pasword=x",
            "input.redis.password=PW",
        ],
        &["sync", "--set", "input.redis={password: PW"],
        &["sync", "--set", "input.redis={password: [PW]}"],
        &["sync", "--set", "server.auth={token: PW, tokn: x}"],
        &["status", "--token=PW", "--jso"],
        &["status", "--tokens", "PW"],
        &["status", "--token", "PW", "--config", "/no/such/file"],
        &["status", "--token", "PW", "--server", "http://127.0.0.1:1"],
        &["status", "--server", "http://user:PW@127.0.0.1:1"],
        &["status", "GUNYU_TOKEN=PW"],
    ];
    for line in table {
        let args: Vec<String> = line.iter().map(|arg| with(arg)).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let (code, text) = said(&args, &[]);
        assert!(matches!(code, Some(2 | 3)), "{line:?}: {code:?} {text}");
        assert!(text.starts_with("error: "), "{line:?}: {text}");
        assert_hidden(&format!("the complaint about {line:?}"), &text, &[secret]);
    }
}

#[test]
fn what_clap_says_is_left_as_it_is_where_nothing_is_secret() {
    let (code, text) = said(&["status", "--jso"], &[]);
    assert_eq!(code, Some(2));
    assert!(
        text.contains("unexpected argument '--jso'") && text.contains("'--json'"),
        "{text}"
    );
    let (code, text) = said(&["--version"], &[]);
    assert_eq!(
        (code, text.trim()),
        (Some(0), concat!("gunyu ", env!("CARGO_PKG_VERSION")))
    );
    assert_eq!(said(&[], &[]).0, Some(2));
}

#[test]
fn a_token_given_by_flag_or_environment_stays_out_of_what_a_client_says() {
    let secret = "t0ken-s3cret";
    let (source, target) = (Server::start(), Server::start());
    let gunyu = Gunyu::between(&source, &target);
    let server = format!("--server=http://{}", gunyu.http());
    for (args, env) in [
        (vec!["status", &server, "--token", secret], vec![]),
        (vec!["status", &server, "--token=t0ken-s3cret"], vec![]),
        (vec!["status", &server], vec![("GUNYU_TOKEN", secret)]),
    ] {
        let (code, text) = said(&args, &env);
        assert_eq!(code, Some(0), "{text}");
        assert_hidden("what it says", &text, &[secret]);
    }
    let mut watch = Command::new(PROGRAM);
    watch.args(["status", "--watch", &server, "--token", secret]);
    let out = gunyu.state_dir().join("watch-output");
    let process = support::process::Process::start(watch, &out, &out);
    wait_until(SOON, "it watches", || {
        std::fs::metadata(&out).is_ok_and(|meta| meta.len() > 0)
    });
    let seen = command_line(process.pid());
    assert_hidden("the command line", &seen, &[secret]);
    assert!(
        seen.contains(&format!("--token {}", "*".repeat(secret.len()))),
        "{seen}"
    );
}

// These need a daemon that asks for a token (server.auth).

#[test]
fn a_daemon_shows_no_token_wherever_it_has_it_from() {
    let secret = "d4emon-t0ken";
    let folder = tempfile::tempdir().unwrap();
    let (file, config) = (folder.path().join("token"), folder.path().join("gunyu.yaml"));
    std::fs::write(&file, format!("{secret}\n")).unwrap();
    std::fs::write(&config, "server: {auth: {token: \"${API_TOKEN}\"}}\n").unwrap();
    let ways = [
        (format!("--set=server.auth.token={secret}"), ("A", "b")),
        (
            format!("--set=server.auth.tokenFile={}", file.display()),
            ("A", "b"),
        ),
        (format!("--config={}", config.display()), ("API_TOKEN", secret)),
    ];
    for (flag, env) in ways {
        let (source, target) = (Server::start(), Server::start());
        let args = [
            "sync".to_owned(),
            format!("--source={}", source.url()),
            format!("--target={}", target.url()),
            "--set=log.level=debug".to_owned(),
            flag.clone(),
        ];
        let gunyu = Gunyu::with_args(args.to_vec(), &[env]);
        let bearer = format!("Authorization: Bearer {secret}");
        wait_until(SOON, "it is ready", || {
            http::get(gunyu.http(), "/debug/ready").is_ok_and(|answer| answer.status == 200)
        });
        assert_daemon_hides(&gunyu, &[&bearer], &[secret]);
        assert_hidden("the command line", &command_line(gunyu.stats().pid()), &[secret]);
        let wrong = http::send(
            gunyu.http(),
            "GET",
            "/syncer/status",
            &["Authorization: Bearer wrong-t0ken"],
        );
        assert_hidden("a refusal", &wrong.unwrap().text(), &[secret, "wrong-t0ken"]);
        assert_hidden("the traces", &gunyu.traces(), &[secret, "wrong-t0ken"]);
    }
}

/// What other users could open of what lies in a folder, whatever the folder itself permits. `catalog` is a database's: its files are as that makes
/// them, and its folder is closed.
fn open_to_others(folder: &Path, open: &mut Vec<String>, seen: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let (path, about) = (entry.path(), entry.metadata().unwrap());
        let mode = about.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            open.push(format!("{} {mode:03o}", path.display()));
        }
        seen.push(entry.file_name().into_string().unwrap());
        if about.is_dir() && entry.file_name() != "catalog" {
            open_to_others(&path, open, seen);
        }
    }
}

/// Of a folder that is there already and open to all, as an operator may have made it, that is told and not changed.
#[test]
fn nobody_but_the_owner_can_read_what_the_log_keeps() {
    let (source, target) = (Server::start(), Server::start());
    let () = source.run(&["SET", "key", "value"]);
    let set = [
        "output.replay.onError=dead_letter",
        "output.replay.delivery=at_least_once",
    ];
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &set);
    gunyu.wait_ready(SOON);
    let () = target.run(&["SET", "list", "no list"]);
    let () = source.run(&["RPUSH", "list", "value"]);
    gunyu.wait_applied(&source, SOON);
    let root = gunyu.state_dir();
    let mode = || std::fs::metadata(&root).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o700);
    let (mut open, mut seen) = (Vec::new(), Vec::new());
    open_to_others(&root, &mut open, &mut seen);
    assert_eq!(open, Vec::<String>::new());
    for kept in ["lock", "catalog", "dead-letter", ".rdb", ".jsonl"] {
        assert!(seen.iter().any(|name| name.ends_with(kept)), "{kept}: {seen:?}");
    }
    let warning = "channel.storer.dirPath: others on this machine may use";
    assert!(!gunyu.traces().contains(warning), "{}", gunyu.traces());
    assert_eq!(gunyu.term().code(), Some(0));
    std::fs::set_permissions(&root, PermissionsExt::from_mode(0o755)).unwrap();
    gunyu.restart();
    gunyu.wait_ready(SOON);
    assert!(gunyu.traces().contains(warning), "{}", gunyu.traces());
    assert_eq!(mode(), 0o755, "it is the operator's to say");
}
