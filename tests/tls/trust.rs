//! Whom gunyu trusts, and what it says to those whom it does not: on data links (`rdb-dump`, `rdb-load`) and control connections (`status --local`).

use std::io::Read;
use std::net::TcpListener;
use std::process::{Command, Output};

use tokio_rustls::rustls::server::Acceptor;

use crate::certs::{Ca, text};
use crate::server::TlsServer;
use crate::support::gunyu::PROGRAM;
use crate::support::{Gunyu, SOON, Server, gunyu, wait_for};
use crate::{set, stderr};

/// `rdb-dump` of a server: a data link. Every trouble ends it, after a try or two at most.
fn dump(url: &str, pairs: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = text(&folder.path().join("dump.rdb"));
    let mut args = set(pairs);
    args.extend(["rdb-dump", "--source", url, "--output", &file, "--patience", "6"].map(String::from));
    args.rotate_left(pairs.len());
    Command::new(PROGRAM).args(args).output().unwrap()
}

#[track_caller]
fn assert_dumps(url: &str, pairs: &[(&str, &str)]) {
    let done = dump(url, pairs);
    assert_eq!(done.status.code(), Some(0), "{url} {pairs:?}: {}", stderr(&done));
}

/// Ends with this code, and says all of this.
#[track_caller]
fn assert_fails(done: &Output, code: i32, words: &[&str]) {
    let said = stderr(done);
    assert_eq!(done.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

#[test]
fn only_who_a_ca_of_ours_has_signed_is_trusted() {
    let (ca, other) = (Ca::new(), Ca::new());
    let server = TlsServer::start(&ca);
    let (right, wrong) = (text(&ca.path()), text(&other.path()));
    assert_dumps(&server.url(), &[("input.redis.tls.ca", &right)]);
    // Without `ca` the system's count, and this one is not among them; with it, it alone counts.
    for pairs in [&[][..], &[("input.redis.tls.ca", wrong.as_str())]] {
        let done = dump(&server.url(), pairs);
        assert_fails(&done, 2, &[&server.addr(), "does not know", "tls.ca: FILE"]);
    }
    let yes = ("input.redis.tls.insecureSkipVerify", "true");
    assert_dumps(&server.url(), &[yes]);
    assert_dumps(&server.url(), &[yes, ("input.redis.tls.ca", &wrong)]);
}

#[test]
fn the_roots_of_the_system_are_trusted_where_no_ca_is_given() {
    let ca = Ca::new();
    let server = TlsServer::start(&ca);
    let folder = tempfile::tempdir().unwrap();
    let file = text(&folder.path().join("dump.rdb"));
    let dump = |roots: &str| {
        let mut command = Command::new(PROGRAM);
        command.args(["rdb-dump", "--source", &server.url(), "--output", &file]);
        // Where a system has its roots elsewhere, this is how it says so.
        command.env("SSL_CERT_FILE", roots).env_remove("SSL_CERT_DIR");
        command.output().unwrap()
    };
    let done = dump(&text(&ca.path()));
    assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
    let none = text(&ca.file("empty.pem", ""));
    assert_fails(
        &dump(&none),
        2,
        &["input.redis.tls.enable", "CA certificates", "ca-certificates"],
    );
}

#[test]
fn a_certificate_must_bear_the_name_that_is_dialled_or_server_name() {
    let ca = Ca::new();
    let path = text(&ca.path());
    let trusted = ("input.redis.tls.ca", path.as_str());
    let pair = ca.sign(&["redis.example"]);
    let server = TlsServer::with(&ca, &pair, &["--tls-auth-clients", "no"]);
    let done = dump(&server.url(), &[trusted]);
    assert_fails(&done, 2, &["another name", "redis.example", "tls.serverName"]);
    assert_dumps(
        &server.url(),
        &[trusted, ("input.redis.tls.serverName", "redis.example")],
    );
    let wrong = [trusted, ("input.redis.tls.serverName", "other.example")];
    assert_fails(
        &dump(&server.url(), &wrong),
        2,
        &["other.example", "redis.example"],
    );
    assert_dumps(&server.url(), &[("input.redis.tls.insecureSkipVerify", "true")]);
    // By name and by address, where it bears both.
    let server = TlsServer::start(&ca);
    assert_dumps(&server.url(), &[trusted]);
    assert_dumps(&format!("rediss://localhost:{}", server.port()), &[trusted]);
}

/// The name in the greeting of whoever calls `url`.
fn name_sent(url: &str, listener: &TcpListener, pairs: &[(&str, &str)]) -> Option<String> {
    let mut args = set(pairs);
    args.insert(0, "rdb-dump".to_owned());
    args.extend(["--source", url, "--output", "-", "--patience", "6"].map(String::from));
    let mut calling = Command::new(PROGRAM)
        .args(args)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut stream = wait_for(SOON, "the call", || {
        let accepted = listener.accept().map_err(|error| error.to_string());
        accepted.map(|(stream, _)| stream)
    });
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut acceptor = Acceptor::default();
    let greeting = loop {
        assert_ne!(acceptor.read_tls(&mut stream).unwrap(), 0);
        if let Some(accepted) = acceptor.accept().unwrap() {
            break accepted;
        }
    };
    let name = greeting.client_hello().server_name().map(str::to_owned);
    calling.kill().unwrap();
    calling.wait().unwrap();
    // Only now: it would have called again.
    drop(stream);
    name
}

#[test]
fn the_server_is_asked_for_by_its_name() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (by_name, by_address) = (
        format!("rediss://localhost:{port}"),
        format!("rediss://127.0.0.1:{port}"),
    );
    let given = [("input.redis.tls.serverName", "redis.example")];
    assert_eq!(name_sent(&by_name, &listener, &[]).as_deref(), Some("localhost"));
    assert_eq!(
        name_sent(&by_name, &listener, &given).as_deref(),
        Some("redis.example")
    );
    assert_eq!(
        name_sent(&by_address, &listener, &given).as_deref(),
        Some("redis.example")
    );
    // TLS has names only for names.
    assert_eq!(name_sent(&by_address, &listener, &[]), None);
}

#[test]
fn a_server_that_wants_a_certificate_says_what_is_missing() {
    let ca = Ca::new();
    let path = text(&ca.path());
    let trusted = ("input.redis.tls.ca", path.as_str());
    let pair = ca.sign(&["127.0.0.1"]);
    for version in ["TLSv1.2", "TLSv1.3"] {
        let options = ["--tls-auth-clients", "yes", "--tls-protocols", version];
        let server = TlsServer::with(&ca, &pair, &options);
        // TLS 1.2 has no word of its own for it.
        let told = if version == "TLSv1.3" {
            "wants a client certificate"
        } else {
            "refuses the TLS handshake"
        };
        let done = dump(&server.url(), &[trusted]);
        assert_fails(&done, 2, &[told, "tls.cert"]);
        let stranger = Ca::new();
        let identity = |ca: &Ca| {
            let pair = ca.sign(&["gunyu"]);
            (text(&pair.cert), text(&pair.key))
        };
        let (cert, key) = identity(&ca);
        assert_dumps(
            &server.url(),
            &[
                trusted,
                ("input.redis.tls.cert", &cert),
                ("input.redis.tls.key", &key),
            ],
        );
        let (cert, key) = identity(&stranger);
        let stranger = [
            trusted,
            ("input.redis.tls.cert", &cert),
            ("input.redis.tls.key", &key),
        ];
        assert_fails(
            &dump(&server.url(), &stranger),
            2,
            &["refuses the TLS handshake", "tls-ca-cert-file"],
        );
    }
}

#[test]
fn tls_and_plain_that_meet_are_told_apart() {
    let ca = Ca::new();
    let server = TlsServer::start(&ca);
    let plain_to_tls = format!("redis://{}", server.addr());
    let tls_to_plain = format!("rediss://{}", server.server.addr());
    let yes = ("input.redis.tls.insecureSkipVerify", "true");
    // On a data link; what a server says to strangers differs, so some is not certain enough to give up for (1).
    let done = dump(&plain_to_tls, &[]);
    assert!(matches!(done.status.code(), Some(1 | 2)), "{}", stderr(&done));
    assert!(stderr(&done).contains("write rediss://"), "{}", stderr(&done));
    let done = dump(&tls_to_plain, &[yes]);
    assert!(matches!(done.status.code(), Some(1 | 2)), "{}", stderr(&done));
    assert!(stderr(&done).contains("write redis://"), "{}", stderr(&done));
    // On control connections, of both sides.
    let plain = Server::start();
    let local = |source: &str, target: &str| {
        let yes = "--set=input.redis.tls.insecureSkipVerify=true";
        let too = "--set=output.redis.tls.insecureSkipVerify=true";
        gunyu::run(&[
            "status", "--local", "--source", source, "--target", target, yes, too,
        ])
    };
    assert_fails(&local(&plain_to_tls, &plain.url()), 1, &["write rediss://"]);
    assert_fails(&local(&plain.url(), &plain_to_tls), 1, &["write rediss://"]);
    assert_fails(&local(&tls_to_plain, &plain.url()), 1, &["write redis://"]);
    assert_fails(&local(&plain.url(), &tls_to_plain), 1, &["write redis://"]);
}

#[test]
fn a_target_that_cannot_be_trusted_stops_a_first_start() {
    let (ca, other) = (Ca::new(), Ca::new());
    let (source, target) = (Server::start(), TlsServer::start(&ca));
    let wrong = format!("output.redis.tls.ca={}", text(&other.path()));
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[&wrong]);
    assert_eq!(gunyu.wait_end(SOON).code(), Some(2), "{}", gunyu.traces());
    let told = gunyu.traces();
    assert!(
        told.contains(&target.addr()) && told.contains("tls.ca: FILE"),
        "{told}"
    );
}

#[test]
fn a_file_that_is_wrong_is_named_with_its_key_at_the_start() {
    let ca = Ca::new();
    let pair = ca.sign(&["gunyu"]);
    let other = ca.sign(&["gunyu"]);
    let (cert, key) = (text(&pair.cert), text(&pair.key));
    let (other, missing) = (
        text(&other.key),
        text(&ca.file("gone", "").with_extension("missing")),
    );
    let prose = text(&ca.file("prose.txt", "not a certificate"));
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let broken = text(&ca.file("broken.pem", broken));
    let good = text(&ca.path());
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);
    let table: [Case; 9] = [
        (
            &[("ca", &missing)],
            &["input.redis.tls.ca", &missing, "No such file"],
        ),
        (
            &[("ca", &prose)],
            &["input.redis.tls.ca", &prose, "no certificate in PEM form"],
        ),
        (
            &[("ca", &key)],
            &["input.redis.tls.ca", &key, "no certificate in PEM form"],
        ),
        (
            &[("ca", &broken)],
            &["input.redis.tls.ca", &broken, "cannot be used"],
        ),
        (
            &[("cert", &missing), ("key", &key)],
            &["input.redis.tls.cert", &missing],
        ),
        (
            &[("cert", &key), ("key", &key)],
            &["input.redis.tls.cert", &key, "no certificate"],
        ),
        (
            &[("cert", &cert), ("key", &cert)],
            &["input.redis.tls.key", &cert, "no private key"],
        ),
        (
            &[("cert", &cert), ("key", &other)],
            &["input.redis.tls.key", &other, &cert],
        ),
        (
            &[("serverName", "not a name")],
            &["input.redis.tls.serverName", "not a name"],
        ),
    ];
    for (pairs, words) in table {
        let keys: Vec<String> = pairs
            .iter()
            .map(|(key, _)| format!("input.redis.tls.{key}"))
            .collect();
        let mut all: Vec<(&str, &str)> = keys
            .iter()
            .map(String::as_str)
            .zip(pairs.iter().map(|pair| pair.1))
            .collect();
        if !keys[0].ends_with(".ca") {
            all.push(("input.redis.tls.ca", &good));
        }
        // Nobody listens there, and nobody is asked.
        assert_fails(&dump("rediss://127.0.0.1:1", &all), 2, words);
    }
}

#[test]
fn whoever_says_nothing_to_a_handshake_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("rediss://{}", listener.local_addr().unwrap());
    let silent = std::thread::spawn(move || {
        // Reads what comes until the other side has had enough.
        let (mut stream, _) = listener.accept().unwrap();
        let mut greeting = Vec::new();
        let _ = stream.read_to_end(&mut greeting);
        greeting
    });
    let yes = [("input.redis.tls.insecureSkipVerify", "true")];
    let done = dump(&url, &yes);
    assert_fails(&done, 1, &["no answer to the TLS handshake"]);
    let greeting = silent.join().unwrap();
    assert_eq!(greeting[0], 0x16, "a handshake's record");
}
