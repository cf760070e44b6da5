//! The API over TLS: what is served, who trusts it, and what happens when the files change or are wrong.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Output;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::support::{SOON, gunyu, wait_until};
use super::{Daemon, refused, stderr, until_end};

/// A CA and what it signed for `localhost` and 127.0.0.1, as PEM.
struct Signed {
    ca: String,
    cert: String,
    key: String,
}

impl Signed {
    fn new() -> Signed {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&ca_key).unwrap().pem();
        let issuer = Issuer::new(params, ca_key);
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let cert = CertificateParams::new(names)
            .unwrap()
            .signed_by(&key, &issuer)
            .unwrap();
        Signed {
            ca,
            cert: cert.pem(),
            key: key.serialize_pem(),
        }
    }

    /// Writes the pair where the daemon reads it, and the CA beside it under `name`.
    fn write(&self, files: &Files, name: &str) -> PathBuf {
        std::fs::write(&files.cert, &self.cert).unwrap();
        std::fs::write(&files.key, &self.key).unwrap();
        let ca = files.dir.path().join(name);
        std::fs::write(&ca, &self.ca).unwrap();
        ca
    }
}

struct Files {
    cert: PathBuf,
    key: PathBuf,
    dir: TempDir,
}

impl Files {
    fn new() -> Files {
        let dir = tempfile::tempdir().unwrap();
        Files {
            cert: dir.path().join("cert.pem"),
            key: dir.path().join("key.pem"),
            dir,
        }
    }

    fn settings(&self) -> [String; 2] {
        [
            format!("server.tls.cert={}", self.cert.display()),
            format!("server.tls.key={}", self.key.display()),
        ]
    }
}

fn status_over_https(daemon: &Daemon, host: &str, ca: &Path) -> Output {
    let server = format!("https://{host}:{}", daemon.addr().port());
    gunyu::run(&["status", "--server", &server, "--ca-cert", ca.to_str().unwrap()])
}

#[test]
fn https_serves_who_trusts_the_ca_and_follows_the_certificate_on_disk() {
    let files = Files::new();
    let first = Signed::new().write(&files, "first.pem");
    let [cert, key] = files.settings();
    let daemon = Daemon::start(&[&cert, &key]);
    for host in ["localhost", "127.0.0.1"] {
        let status = status_over_https(&daemon, host, &first);
        assert_eq!(status.status.code(), Some(0), "{}", stderr(&status));
    }
    // Plain HTTP gets an end and no answer, and the client a hint.
    let answer = daemon.talk(b"GET /debug/health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(!answer.contains("HTTP/"), "{answer}");
    let plain = gunyu::run(&["status", "--server", &format!("http://{}", daemon.addr())]);
    assert!(matches!(plain.status.code(), Some(1 | 3)), "{}", stderr(&plain));
    assert!(stderr(&plain).contains("https://"), "{}", stderr(&plain));

    // Half a change: the old pair goes on.
    let second = Signed::new();
    std::fs::write(&files.cert, &second.cert).unwrap();
    wait_until(SOON, "the broken pair is told of", || {
        let status = status_over_https(&daemon, "localhost", &first);
        assert_eq!(status.status.code(), Some(0), "{}", stderr(&status));
        daemon.gunyu.traces().contains("the old one still is")
    });
    let second = second.write(&files, "second.pem");
    wait_until(SOON, "the new certificate is served", || {
        status_over_https(&daemon, "localhost", &second).status.code() == Some(0)
    });
    // And the old CA is now a wrong one.
    let wrong = status_over_https(&daemon, "localhost", &first);
    assert_eq!(wrong.status.code(), Some(3));
    let said = stderr(&wrong);
    assert!(
        said.contains("not trusted") && said.contains("--ca-cert"),
        "{said}"
    );
    assert_eq!(daemon.gunyu.traces().matches("the old one still is").count(), 1);
}

#[test]
fn the_client_of_a_configuration_trusts_its_self_signed_certificate() {
    let files = Files::new();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&files.cert, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let [cert, key] = files.settings();
    let daemon = Daemon::start(&[&cert, &key]);
    let config = files.dir.path().join("gunyu.yaml");
    let text = format!(
        "input: {{redis: {{addresses: [a:1]}}}}\noutput: {{redis: {{addresses: [b:1]}}}}\nserver: {{listen: '{}', tls: {{cert: {}, key: {}}}}}\n",
        daemon.addr(),
        files.cert.display(),
        files.key.display()
    );
    std::fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap();
    let status = gunyu::run(&["status", "--config", config]);
    assert_eq!(status.status.code(), Some(0), "{}", stderr(&status));
    // By another name than the certificate's it is another daemon.
    let server = format!("https://localhost:{}", daemon.addr().port());
    let status = gunyu::run(&["status", "--config", config, "--server", &server]);
    assert_eq!(status.status.code(), Some(3));
    assert!(
        stderr(&status).contains("name the daemon as its certificate does"),
        "{}",
        stderr(&status)
    );
}

#[test]
fn a_cas_own_certificate_that_is_shown_by_a_server_is_told_as_such() {
    let files = Files::new();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    std::fs::write(&files.cert, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&files.key, key.serialize_pem()).unwrap();
    let [cert, key] = files.settings();
    let daemon = Daemon::start(&[&cert, &key]);
    let status = status_over_https(&daemon, "localhost", &files.cert);
    assert_eq!(status.status.code(), Some(3));
    assert!(stderr(&status).contains("CA:FALSE"), "{}", stderr(&status));
}

#[test]
fn a_certificate_that_cannot_be_served_ends_the_start_with_2_and_its_name() {
    let files = Files::new();
    let (one, two) = (Signed::new(), Signed::new());
    for (cert, key, wrong) in [
        (None, Some(&one.key), &files.cert),
        (Some("nothing"), Some(&one.key), &files.cert),
        (Some(one.cert.as_str()), None, &files.key),
        (Some(&one.cert), Some(&one.cert), &files.key),
        (Some(&one.cert), Some(&two.key), &files.key),
    ] {
        for (path, text) in [(&files.cert, cert), (&files.key, key.map(String::as_str))] {
            let _ = std::fs::remove_file(path);
            if let Some(text) = text {
                std::fs::write(path, text).unwrap();
            }
        }
        let (code, said) = refused(&files.settings());
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(wrong.to_str().unwrap()), "{said}");
    }
}

#[test]
fn a_handshake_that_does_not_go_on_is_ended() {
    let files = Files::new();
    let ca = Signed::new().write(&files, "ca.pem");
    let [cert, key] = files.settings();
    let daemon = Daemon::start(&[&cert, &key]);
    let mut silent = daemon.raw();
    // The beginning of a TLS record, and no more.
    silent.write_all(b"\x16\x03\x01\x02\x00\x01").unwrap();
    until_end(&mut silent);
    assert_eq!(
        status_over_https(&daemon, "localhost", &ca).status.code(),
        Some(0)
    );
}
