//! The API of a running daemon, and `gunyu status`, which shows it: names, codes and shapes are contracts.

#![allow(clippy::unwrap_used, clippy::panic)] // a helper that fails fails its test

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use serde_json::Value;
use support::gunyu::PROGRAM;
use support::port::Port;
use support::{Gunyu, SOON, Server, gunyu, wait_until};

const SECRETS: [&str; 2] = ["s0urce-secret", "t4rget-secret"];

/// A live daemon between two servers with passwords, after one write.
struct Daemon {
    source: Server,
    target: Server,
    gunyu: Gunyu,
}

impl Daemon {
    fn start() -> Daemon {
        let source = Server::with(&["--requirepass", SECRETS[0]]);
        let target = Server::with(&["--requirepass", SECRETS[1]]);
        let () = source.run(&["SET", "k", "v"]);
        let mut gunyu = Gunyu::between(&source, &target);
        let () = source.run(&["SET", "k", "w"]);
        gunyu.wait_applied(&source, SOON);
        Daemon {
            source,
            target,
            gunyu,
        }
    }

    fn get(&self, path: &str) -> support::http::Response {
        self.gunyu.request("GET", path).unwrap()
    }
}

#[test]
fn status_has_every_field_with_its_kind() {
    let daemon = Daemon::start();
    let status = daemon.gunyu.status();
    assert_eq!(status.as_array().unwrap().len(), 1);
    let input = &status[0];
    assert_eq!(input["Input"], daemon.source.addr());
    assert_eq!(input["Target"], daemon.target.addr());
    assert_eq!(input["Role"], "leader");
    assert_eq!(input["Transaction"], true);
    assert_eq!(input["State"], "run");
    assert_eq!(input["Phase"], "incremental");
    for offset in ["Source", "Received", "Applied", "Checkpoint"] {
        assert!(input["Offset"][offset].is_u64(), "{offset}: {status}");
    }
    for number in ["LagBytes", "LagMs", "DeadLetters"] {
        assert!(input[number].is_u64(), "{number}: {status}");
    }
    let full_sync = &input["FullSync"];
    assert_eq!(full_sync["Percent"], 100.0);
    assert_eq!(full_sync["Keys"], 1);
    assert!(full_sync["Bytes"].as_u64().unwrap() > 0, "{status}");
    assert_eq!(full_sync["Bytes"], full_sync["TotalBytes"], "{status}");
    assert_eq!(full_sync["Reason"], "first sync");
    assert!(
        input["LastError"].is_null(),
        "nothing has gone wrong yet: {status}"
    );
    assert!(!input["Leader"].as_str().unwrap().is_empty());
}

#[test]
fn a_trouble_stands_in_status_with_time_message_and_hint() {
    let mut daemon = Daemon::start();
    daemon.target.kill9();
    let status = daemon.gunyu.wait_status(SOON, "there is a trouble", |status| {
        status[0]["LastError"].is_object()
    });
    let trouble = &status[0]["LastError"];
    assert!(trouble["At"].as_u64().unwrap() > 1_600_000_000_000, "{status}");
    assert!(!trouble["Message"].as_str().unwrap().is_empty());
    assert!(trouble["Hint"].is_string());
}

#[test]
fn config_is_shown_as_yaml_and_as_json_without_secrets() {
    let daemon = Daemon::start();
    let (yaml, json) = (
        daemon.get("/syncer/config"),
        daemon.get("/syncer/config?format=json"),
    );
    assert_eq!((yaml.status, json.status), (200, 200));
    let parsed: Value = serde_yaml::from_slice(&yaml.body).unwrap();
    assert_eq!(parsed, json.json());
    assert_eq!(parsed["input"]["redis"]["addresses"][0], daemon.source.addr());
    assert_eq!(parsed["input"]["redis"]["password"], "***");
    assert_eq!(parsed["output"]["redis"]["password"], "***");
    for secret in SECRETS {
        assert!(!yaml.text().contains(secret) && !json.text().contains(secret));
        assert!(
            !daemon.gunyu.traces().contains(secret),
            "a secret is in the traces"
        );
    }
    let wrong = daemon.get("/syncer/config?format=toml");
    assert_eq!(wrong.status, 400);
    assert!(wrong.json()["error"].as_str().unwrap().contains("toml"));
}

#[test]
fn delete_answers_then_drains_and_ends_with_0() {
    let mut daemon = Daemon::start();
    let () = daemon.source.run(&["SET", "k", "last"]);
    daemon.gunyu.wait_applied(&daemon.source, SOON);
    let answer = daemon.gunyu.request("DELETE", "/").unwrap();
    assert_eq!(
        (answer.status, answer.json()["ok"].clone()),
        (200, Value::Bool(true))
    );
    let end = daemon.gunyu.wait_end(SOON);
    assert_eq!(end.code(), Some(0), "{}", daemon.gunyu.traces());
    assert_eq!(daemon.target.run::<String>(&["GET", "k"]), "last");
}

#[test]
fn health_is_always_well_and_ready_only_when_live() {
    let mut daemon = Daemon::start();
    for path in ["/debug/health", "/debug/ready"] {
        let answer = daemon.get(path);
        assert_eq!((answer.status, answer.json()["ok"].clone()), (200, true.into()));
    }
    daemon.target.kill9();
    let gunyu = &daemon.gunyu;
    wait_until(SOON, "it is not ready", || {
        gunyu.request("GET", "/debug/ready").unwrap().status == 503
    });
    assert_eq!(daemon.get("/debug/health").status, 200);
    let waiting = daemon.get("/debug/ready");
    if waiting.status == 503 {
        assert!(
            waiting.json()["error"]
                .as_str()
                .unwrap()
                .contains(&daemon.source.addr()),
            "{}",
            waiting.text()
        );
    }
    daemon.target.restart();
    let gunyu = &daemon.gunyu;
    wait_until(SOON, "it is ready again", || {
        gunyu.request("GET", "/debug/ready").unwrap().status == 200
    });
}

#[test]
fn metrics_have_every_name() {
    let daemon = Daemon::start();
    let response = daemon.get("/prometheus");
    assert_eq!(response.status, 200);
    assert!(response.headers.contains("text/plain"), "{}", response.headers);
    let text = response.text();
    let input = format!("input=\"{}\"", daemon.source.addr());
    let plain = [
        "redisGunYu_input_offset",
        "redisGunYu_output_received_cmd",
        "redisGunYu_output_filter_cmd",
        "redisGunYu_output_send_cmd",
        "redisGunYu_output_success_cmd",
        "redisGunYu_output_fail_cmd",
        "redisGunYu_output_send_size",
        "redisGunYu_output_send_offset",
        "redisGunYu_output_ack_offset",
        "redisGunYu_output_sync_delay",
        "redisGunYu_output_full_sync",
        "redisGunYu_output_rdb_key_send",
        "redisGunYu_output_rdb_key_filter",
        "gunyu_replication_lag_seconds",
        "gunyu_replication_lag_bytes",
        "gunyu_apply_latency_seconds_bucket",
        "gunyu_apply_latency_seconds_count",
        "gunyu_dead_letters_total",
        "gunyu_log_bytes",
    ];
    for name in plain {
        let has = text
            .lines()
            .any(|line| line.starts_with(&format!("{name}{{")) && line.contains(&input));
        assert!(has, "{name} is missing:\n{text}");
    }
    let labelled = |name: &str, label: &str| format!("{name}{{{input},{label}");
    let wanted = [
        "source",
        "received",
        "appended",
        "applied",
        "checkpointed",
        "released",
    ]
    .map(|kind| labelled("gunyu_position", &format!("kind=\"{kind}\"")));
    let more = [
        labelled("gunyu_full_sync_total", "reason=\"first sync\"} 1"),
        labelled("gunyu_reconnects_total", "side=\"source\"} 0"),
        labelled("gunyu_reconnects_total", "side=\"target\"} 0"),
        labelled("redisGunYu_input_sync_state", "state=\"run\"} 1"),
        labelled("redisGunYu_input_sync_type", "sync_type=\"full\"} 1"),
        labelled("redisGunYu_input_input_sync", "role=\"leader\"} 2"),
        format!("redisGunYu_output_sender{{{input},result=\"ok\",transaction=\"yes\"}}"),
        "gunyu_build_info{version=".to_owned(),
        "gunyu_tasks{runtime=\"pipelines\"}".to_owned(),
        "gunyu_tasks{runtime=\"api\"}".to_owned(),
        "redisGunYu_storage_size ".to_owned(),
        "redisGunYu_storage_ratio ".to_owned(),
        "process_resident_memory_bytes ".to_owned(),
        "process_cpu_seconds_total ".to_owned(),
    ];
    for start in wanted.iter().chain(&more) {
        assert!(
            text.lines().any(|line| line.starts_with(start.as_str())),
            "{start} is missing:\n{text}"
        );
    }
}

/// Sends these bytes as they are, and reads the status line and the body.
fn raw(addr: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A server that refuses a large body may close before it has read all of it.
    drop(stream.read_to_end(&mut answer));
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let code = answer
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .expect("an answer with a status code");
    let body = answer.split_once("\r\n\r\n").unwrap_or_default().1.to_owned();
    (code, body)
}

#[test]
fn what_is_not_there_or_too_large_is_refused_in_json() {
    let daemon = Daemon::start();
    let request = |method: &str, path: &str| {
        let answer = daemon.gunyu.request(method, path).unwrap();
        let body = answer.json();
        assert!(
            !body["error"].as_str().unwrap().is_empty() && body["hint"].is_string(),
            "{body}"
        );
        answer.status
    };
    assert_eq!(request("GET", "/nowhere"), 404);
    assert_eq!(request("GET", "/syncer/status/more"), 404);
    assert_eq!(request("POST", "/syncer/status"), 405);
    assert_eq!(request("DELETE", "/syncer/config"), 405);
    assert_eq!(request("GET", "/"), 405);
    let addr = daemon.gunyu.http();
    let body = "x".repeat(100_000);
    let large = format!(
        "DELETE / HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let (code, said) = raw(addr, &large);
    assert_eq!(code, 413, "{said}");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert!(said["error"].is_string(), "{said}");
    // And it still runs.
    assert_eq!(daemon.get("/debug/health").status, 200);
}

#[test]
fn a_get_without_any_header_of_a_body_is_answered() {
    let daemon = Daemon::start();
    let addr = daemon.gunyu.http();
    let plain = format!("GET /debug/health HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    assert_eq!(raw(addr, &plain).0, 200);
}

// gunyu status.

#[test]
fn status_prints_a_table_and_the_daemons_json() {
    let daemon = Daemon::start();
    let server = format!("--server=http://{}", daemon.gunyu.http());
    let table = gunyu::run(&["status", &server]);
    assert_eq!(table.status.code(), Some(0));
    let text = String::from_utf8(table.stdout).unwrap();
    assert!(
        text.contains(&daemon.source.addr()) && text.contains("incremental"),
        "{text}"
    );
    let json = gunyu::run(&["status", &server, "--json"]);
    let value: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(value[0]["Input"], daemon.source.addr());
    assert_eq!(value[0]["Phase"], "incremental");
}

#[test]
fn status_watch_goes_on_until_nobody_reads() {
    let daemon = Daemon::start();
    let mut watch = Command::new(PROGRAM)
        .args(["status", "--watch"])
        .env("GUNYU_SERVER", format!("http://{}", daemon.gunyu.http()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let heads = lines
        .by_ref()
        .map(Result::unwrap)
        .filter(|line| line.contains("INPUT"))
        .take(2);
    assert_eq!(heads.count(), 2, "it is drawn again");
    drop(lines);
    wait_until(SOON, "it ends when nobody reads", || {
        watch.try_wait().unwrap().is_some()
    });
    let output = watch.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn status_without_a_daemon_ends_with_3_and_a_hint() {
    let port = Port::free();
    let output = gunyu::run(&["status", &format!("--server=http://{}", port.addr())]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains(&port.addr().to_string()) && said.contains("hint: "),
        "{said}"
    );
}
