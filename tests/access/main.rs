//! Who may call the API, and what a client can do to it that means no good: on the real program, over real sockets.
//!
//! The whole tables are in `src/http/access.rs`; here is that the program asks them, whoever calls and however.

#![allow(clippy::unwrap_used, clippy::panic)] // a helper that fails fails its test

mod https;
mod limits;
#[path = "../support/mod.rs"]
mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use support::gunyu::PROGRAM;
use support::http::{self, Response};
use support::port::Port;
use support::{Gunyu, SOON, Server, gunyu, wait_for};

const TOKEN: &str = "t0ken-of-the-test";
/// The limit for the head of a request and for its handshake is 5 s; this leaves room for a busy machine.
const SENT_AWAY: Duration = Duration::from_secs(15);

/// A daemon whose API answers.
struct Daemon {
    gunyu: Gunyu,
    _source: Server,
    _target: Server,
}

impl Daemon {
    fn start(set: &[&str]) -> Daemon {
        let (source, target) = (Server::start(), Server::start());
        let daemon = Daemon {
            gunyu: Gunyu::start(&source.url(), &target.url(), set),
            _source: source,
            _target: target,
        };
        wait_for(SOON, "the port is open", || {
            TcpStream::connect(daemon.addr())
                .map(drop)
                .map_err(|e| format!("{e}\n{}", daemon.gunyu.traces()))
        });
        daemon
    }

    fn addr(&self) -> SocketAddr {
        self.gunyu.http()
    }

    fn send(&self, method: &str, path: &str, headers: &[&str]) -> Response {
        http::send(self.addr(), method, path, headers).unwrap()
    }

    fn raw(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr()).unwrap();
        stream.set_read_timeout(Some(SENT_AWAY)).unwrap();
        stream.set_write_timeout(Some(SENT_AWAY)).unwrap();
        stream
    }

    /// Sends bytes and reads to the end of the connection, which must come.
    fn talk(&self, bytes: &[u8]) -> String {
        let mut stream = self.raw();
        // It may be closed before everything is sent.
        let _ = stream.write_all(bytes);
        until_end(&mut stream)
    }

    #[track_caller]
    fn assert_well(&self) {
        assert_eq!(self.send("GET", "/debug/health", &[]).status, 200);
    }
}

/// What comes until the other side ends the connection, be it rudely. It must end it in time.
#[track_caller]
fn until_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "the connection is held");
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// `gunyu sync` on a configuration that it must refuse: the exit code and what it says.
fn refused(set: &[String]) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    let port = Port::free();
    let mut args = vec![
        "sync".to_owned(),
        "--source=redis://127.0.0.1:1".to_owned(),
        "--target=redis://127.0.0.1:2".to_owned(),
        format!("--set=channel.storer.dirPath={}", dir.path().display()),
        format!("--set=server.listen={}", port.addr()),
    ];
    args.extend(set.iter().map(|pair| format!("--set={pair}")));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let output = gunyu::run(&args);
    (output.status.code(), stderr(&output))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

// Who may call.

#[test]
fn every_call_but_probes_and_metrics_needs_the_token() {
    let daemon = Daemon::start(&[&format!("server.auth.token={TOKEN}")]);
    let right = format!("Authorization: Bearer {TOKEN}");
    let lower = format!("authorization: bearer {TOKEN}");
    let wrong = format!("Authorization: Bearer {TOKEN}x");
    let basic = format!("Authorization: Basic {TOKEN}");
    for (method, path, header, expected) in [
        ("GET", "/syncer/status", Some(&right), 200),
        ("GET", "/syncer/status", Some(&lower), 200),
        ("GET", "/syncer/status", Some(&wrong), 401),
        ("GET", "/syncer/status", Some(&basic), 401),
        ("GET", "/syncer/status", None, 401),
        ("GET", "/syncer/config", None, 401),
        ("GET", "/nowhere", None, 401),
        ("DELETE", "/", None, 401),
        ("DELETE", "/", Some(&wrong), 401),
        ("POST", "/debug/health", None, 401),
        ("GET", "/debug/health", None, 200),
        ("GET", "/debug/health", Some(&wrong), 200),
        ("GET", "/prometheus", None, 200),
    ] {
        let headers: Vec<&str> = header.into_iter().map(String::as_str).collect();
        let answer = daemon.send(method, path, &headers);
        assert_eq!(
            answer.status,
            expected,
            "{method} {path} {header:?}: {}",
            answer.text()
        );
    }
    assert!(matches!(
        daemon.send("GET", "/debug/ready", &[]).status,
        200 | 503
    ));
    let answer = daemon.send("GET", "/syncer/status", &[]);
    assert!(
        answer.headers.to_lowercase().contains("www-authenticate: bearer"),
        "{}",
        answer.headers
    );
    let body = answer.json();
    assert!(!body["error"].as_str().unwrap().is_empty(), "{body}");
    assert!(body["hint"].as_str().unwrap().contains("GUNYU_TOKEN"), "{body}");
    let config = daemon.send("GET", "/syncer/config", &[&right]).text();
    assert!(!config.contains(TOKEN) && !daemon.gunyu.traces().contains(TOKEN));
}

#[test]
fn the_client_bears_the_token_and_tells_when_it_lacks_one() {
    let daemon = Daemon::start(&[&format!("server.auth.token={TOKEN}")]);
    let server = format!("--server=http://{}", daemon.addr());
    let with = gunyu::run(&["status", "--json", &server, "--token", TOKEN]);
    assert_eq!(with.status.code(), Some(0), "{}", stderr(&with));
    let by_variable = Command::new(PROGRAM)
        .args(["status", &server])
        .env("GUNYU_TOKEN", TOKEN)
        .output()
        .unwrap();
    assert_eq!(by_variable.status.code(), Some(0), "{}", stderr(&by_variable));
    for token in [&[][..], &["--token", "wrong"]] {
        let without = gunyu::run(&[&["status", server.as_str()][..], token].concat());
        assert_eq!(without.status.code(), Some(5));
        assert!(stderr(&without).contains("GUNYU_TOKEN"), "{}", stderr(&without));
    }
}

#[test]
fn a_token_file_guards_the_api_and_serves_the_client_of_the_same_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, format!("  {TOKEN}\n")).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    let daemon = Daemon::start(&[&format!("server.auth.tokenFile={}", file.display())]);
    let right = format!("Authorization: Bearer {TOKEN}");
    assert_eq!(daemon.send("GET", "/syncer/status", &[&right]).status, 200);
    assert_eq!(daemon.send("GET", "/syncer/status", &[]).status, 401);
    let traces = daemon.gunyu.traces();
    assert!(
        traces.contains(&format!("others on this machine may use {}", file.display())),
        "{traces}"
    );
    let config = dir.path().join("gunyu.yaml");
    let text = format!(
        "input: {{redis: {{addresses: [a:1]}}}}\noutput: {{redis: {{addresses: [b:1]}}}}\nserver: {{listen: '{}', auth: {{tokenFile: {}}}}}\n",
        daemon.addr(),
        file.display()
    );
    std::fs::write(&config, text).unwrap();
    let status = gunyu::run(&["status", "--config", config.to_str().unwrap()]);
    assert_eq!(status.status.code(), Some(0), "{}", stderr(&status));
}

#[test]
fn a_token_file_without_a_token_ends_the_start_with_2_and_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty");
    std::fs::write(&empty, " \n").unwrap();
    for file in [empty, dir.path().join("missing")] {
        let (code, said) = refused(&[format!("server.auth.tokenFile={}", file.display())]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(file.to_str().unwrap()), "{said}");
    }
}

#[test]
fn an_open_api_beyond_loopback_is_refused_with_both_ways_out() {
    let port = Port::free().number();
    for listen in [format!("0.0.0.0:{port}"), format!("[::]:{port}")] {
        let (code, said) = refused(&[format!("server.listen={listen}")]);
        assert_eq!(code, Some(2), "{said}");
        for way in ["server.auth.token", "server.allowUnauthenticated: true"] {
            assert!(said.contains(way), "{way}: {said}");
        }
    }
}

#[test]
fn a_daemon_answers_to_its_own_names_only() {
    let daemon = Daemon::start(&["server.allowedHosts=[gunyu.example]"]);
    for (host, expected) in [
        ("127.0.0.1", 200),
        ("127.0.0.1:9", 200),
        ("[::1]:18001", 200),
        ("localhost:18001", 200),
        ("Gunyu.Example:18001", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example:18001", 421),
        ("a b", 400),
    ] {
        let header = format!("Host: {host}");
        let answer = daemon.send("GET", "/syncer/status", &[&header]);
        assert_eq!(answer.status, expected, "{host}: {}", answer.text());
        if expected == 421 {
            let body = answer.json();
            assert!(
                body["hint"].as_str().unwrap().contains("server.allowedHosts"),
                "{body}"
            );
        }
        for path in ["/debug/health", "/prometheus"] {
            assert_eq!(
                daemon.send("GET", path, &[&header]).status,
                200,
                "{path} by {host}"
            );
        }
    }
    for (request, expected) in [
        ("GET /syncer/status HTTP/1.1\r\nConnection: close\r\n\r\n", "400"),
        ("GET /syncer/status HTTP/1.0\r\n\r\n", "200"),
        (
            "GET /syncer/status HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
            "400",
        ),
        (
            "GET http://evil.example/syncer/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            "421",
        ),
    ] {
        let answer = daemon.talk(request.as_bytes());
        assert_eq!(answer.split(' ').nth(1), Some(expected), "{request}{answer}");
    }
}

#[test]
fn a_page_of_another_site_changes_nothing() {
    let mut daemon = Daemon::start(&[]);
    let own = format!("Origin: http://{}", daemon.addr());
    for headers in [
        &["Origin: http://evil.example"][..],
        &["Origin: null"],
        &["Origin: http://127.0.0.1:1"],
        &["Sec-Fetch-Site: cross-site"],
        &["Sec-Fetch-Site: same-site"],
        &[&own, "Sec-Fetch-Site: cross-site"],
    ] {
        for (method, path) in [
            ("DELETE", "/"),
            ("POST", "/syncer/pause?inputs=all"),
            ("GET", "/storage/gc"),
        ] {
            let answer = daemon.send(method, path, headers);
            assert_eq!(answer.status, 403, "{method} {path} {headers:?}");
            assert!(answer.json()["error"].is_string());
        }
        assert_eq!(
            daemon.send("GET", "/syncer/status", headers).status,
            200,
            "{headers:?}"
        );
    }
    let answer = daemon.send("DELETE", "/", &[&own, "Sec-Fetch-Site: same-origin"]);
    assert_eq!(
        (answer.status, answer.json()["ok"].clone()),
        (200, Value::Bool(true))
    );
    assert_eq!(daemon.gunyu.wait_end(SOON).code(), Some(0));
}
