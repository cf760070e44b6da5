//! Servers that speak TLS: certificates that end, and those who come without.

// As in tests/support: what fails here fails the test.
#![allow(clippy::unwrap_used, clippy::panic)]

use chrono::{Datelike as _, Days, Utc};

use super::certs::{Ca, Pair, text};
use super::rig::Doctor;
use super::support::Server;
use super::support::secured::Secured;
use super::support::server::Binary;

fn ending_in(ca: &Ca, days: u64) -> Pair {
    let end = Utc::now().checked_add_days(Days::new(days)).unwrap();
    let day = (
        end.year(),
        end.month().try_into().unwrap(),
        end.day().try_into().unwrap(),
    );
    let pair = ca.sign_until(&["127.0.0.1"], day);
    // Keys that others may read are told of, too.
    std::fs::set_permissions(&pair.key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    pair
}

#[test]
fn a_certificate_that_ends_soon_is_a_warning_and_a_server_that_wants_tls_says_how() {
    let ca = Ca::new();
    let (soon, late) = (ending_in(&ca, 5), ending_in(&ca, 400));
    let secured = |pair: &Pair| Secured::with(ca.path(), pair.cert.clone(), pair.key.clone());
    let start = |pair: &Pair| Server::reached(&Binary::installed(), &[], Some(&secured(pair)));
    let (source, expiring, lasting) = (Server::start(), start(&soon), start(&late));
    let set = |pair: &Pair| {
        [
            format!("--set=output.redis.tls.ca={}", text(&ca.path())),
            format!("--set=output.redis.tls.cert={}", text(&pair.cert)),
            format!("--set=output.redis.tls.key={}", text(&pair.key)),
            "--set=output.redis.password=of-the-test".to_owned(),
        ]
    };
    let with = |target: &str, set: &[String]| {
        let set: Vec<&str> = set.iter().map(String::as_str).collect();
        Doctor::between(&source.url(), target).with(&set)
    };
    with(&lasting.url(), &set(&late)).finds(&[]);
    // What is printed reaches it by TLS, too.
    let () = lasting.run(&["CONFIG", "SET", "maxmemory", "100mb"]);
    let () = lasting.run(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]);
    let found = with(&lasting.url(), &set(&late)).finds(&["warning target eviction"]);
    found.type_fixes_with("of-the-test");
    with(&lasting.url(), &set(&late)).finds(&[]);
    let found =
        with(&expiring.url(), &set(&soon)).finds(&["warning target certificate", "warning here certificate"]);
    assert!(
        found.words("certificate").contains("in 4 days"),
        "{}",
        found.words("certificate")
    );
    let plain = lasting.url().replacen("rediss://", "redis://", 1);
    let found = with(&plain, &["--set=output.redis.password=of-the-test".to_owned()])
        .finds(&["problem target reach"]);
    assert!(
        found.words("reach").contains("rediss://"),
        "{}",
        found.words("reach")
    );
    let found = with(
        &lasting.url(),
        &["--set=output.redis.password=of-the-test".to_owned()],
    )
    .finds(&["problem target reach"]);
    assert!(
        found.words("reach").contains("tls.ca") || found.words("reach").contains("CA"),
        "{}",
        found.words("reach")
    );
}
