//! A copy from TLS to TLS.

use std::time::Duration;

use crate::certs::{Ca, Pair, text};
use crate::server::TlsServer;
use crate::set;
use crate::support::workload::{Fill, Seed, Writers};
use crate::support::{Gunyu, Proxy, SOON, Server, assert_equal, gunyu, wait_for};

/// Sixty megabytes through TLS twice, in a build without optimisation.
const LONG: Duration = Duration::from_secs(180);

fn sync(source: &str, target: &str, ca: &Ca, more: &[(&str, &str)]) -> Gunyu {
    let ca = text(&ca.path());
    let mut args = vec![
        "sync".to_owned(),
        format!("--source={source}"),
        format!("--target={target}"),
    ];
    args.extend(set(&[("input.redis.tls.ca", &ca), ("output.redis.tls.ca", &ca)]));
    args.extend(set(more));
    Gunyu::with_args(args, &[])
}

fn full_syncs(source: &Server) -> u64 {
    source.info("stats")["sync_full"].parse().unwrap()
}

#[test]
fn a_copy_over_tls_is_whole_live_and_goes_on_where_it_was_cut() {
    let seed = Seed::pick();
    let ca = Ca::new();
    let pair = ca.sign(&["127.0.0.1"]);
    let options = ["--tls-auth-clients", "no", "--repl-backlog-size", "128mb"];
    let (source, target) = (TlsServer::with(&ca, &pair, &options), TlsServer::start(&ca));
    Fill::lasting(3_000).run(&source.server, &seed);
    // Larger than any buffer on the way, and than one TLS record by far.
    let large = "x".repeat(30 << 20);
    let () = source.server.run(&["SET", "large:before", &large]);
    let ways = (Proxy::to(source.port()), Proxy::to(target.port()));
    let url = |proxy: &Proxy| format!("rediss://{}", proxy.addr());
    let mut gunyu = sync(&url(&ways.0), &url(&ways.1), &ca, &[]);
    gunyu.wait_ready(LONG);

    let writers = Writers::start(&source.server, &seed);
    writers.wait_more(1_000);
    let () = source.server.run(&["SET", "large:after", &large]);
    ways.0.cut();
    writers.wait_more(1_000);
    ways.1.cut();
    writers.wait_more(1_000);
    gunyu.restart();
    writers.wait_more(1_000);
    writers.stop();

    gunyu.wait_applied(&source.server, LONG);
    assert_eq!(full_syncs(&source.server), 1, "{}", gunyu.traces());
    assert!(ways.0.cuts() >= 1 && ways.1.cuts() >= 1);
    gunyu.term();
    assert_equal(&source.server, &target.server);
}

#[test]
fn nothing_that_is_copied_can_be_read_on_the_way() {
    let ca = Ca::new();
    let (source, target) = (TlsServer::start(&ca), TlsServer::start(&ca));
    let () = source.server.run(&["SET", "key", "a-secret-value"]);
    let mut gunyu = sync(&source.url(), &target.url(), &ca, &[]);
    gunyu.wait_ready(SOON);
    let () = source.server.run(&["SET", "other", "another"]);
    gunyu.wait_applied(&source.server, SOON);
    // Every connection of gunyu's has come by the TLS port: its own address is there, and the plain port serves the test alone.
    for server in [&source, &target] {
        let list: String = server.server.run(&["CLIENT", "LIST"]);
        let to_tls = format!(":{} ", server.port());
        let here = list.lines().filter(|line| line.contains(&to_tls)).count();
        let mine = list.lines().filter(|line| line.contains("cmd=client")).count();
        assert!(here >= 1, "{list}");
        assert_eq!(here + mine, list.lines().count(), "{list}");
    }
}

#[test]
fn commands_that_only_ask_or_only_write_speak_tls_too() {
    let ca = Ca::new();
    let (source, target) = (TlsServer::start(&ca), TlsServer::start(&ca));
    Fill::lasting(300).run(&source.server, &Seed::pick());
    let path = text(&ca.path());
    let input = format!("--set=input.redis.tls.ca={path}");
    let output = format!("--set=output.redis.tls.ca={path}");
    let must = |args: &[&str]| {
        let done = gunyu::run(args);
        assert_eq!(done.status.code(), Some(0), "{args:?}: {}", crate::stderr(&done));
        String::from_utf8(done.stdout).unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let file = text(&folder.path().join("dump.rdb"));
    must(&["rdb-dump", "--source", &source.url(), "--output", &file, &input]);
    must(&["rdb-load", &file, "--target", &target.url(), &output]);
    assert_equal(&source.server, &target.server);
    let both = [
        "--source",
        &source.url(),
        "--target",
        &target.url(),
        &input,
        &output,
    ];
    let status = must(&[&["status", "--local", "--json"], &both[..]].concat());
    assert!(
        status.contains("full sync") || status.contains("fullSync") || status.contains("full_sync"),
        "{status}"
    );
    must(&[&["fullsync", "--snapshot-only", "--flushdb"], &both[..]].concat());
    assert_equal(&source.server, &target.server);
}

#[test]
fn a_certificate_is_demanded_and_given_to_source_and_target() {
    let ca = Ca::new();
    let pair = ca.sign(&["127.0.0.1"]);
    let demanding = || TlsServer::with(&ca, &pair, &["--tls-auth-clients", "yes"]);
    let (source, target) = (demanding(), demanding());
    let () = source.server.run(&["SET", "key", "value"]);
    let Pair { cert, key } = ca.sign(&["gunyu"]);
    let (cert, key) = (text(&cert), text(&key));
    let pairs = [
        ("input.redis.tls.cert", cert.as_str()),
        ("input.redis.tls.key", &key),
        ("output.redis.tls.cert", &cert),
        ("output.redis.tls.key", &key),
    ];
    let mut gunyu = sync(&source.url(), &target.url(), &ca, &pairs);
    gunyu.wait_ready(SOON);
    let () = source.server.run(&["SET", "other", "value"]);
    gunyu.wait_applied(&source.server, SOON);
    gunyu.term();
    assert_equal(&source.server, &target.server);
}

/// A server whose socket buffers are full takes nothing more; what TLS holds back then must leave when it takes again.
#[test]
fn what_a_stalled_target_did_not_take_arrives_when_it_goes_on() {
    let ca = Ca::new();
    let (source, mut target) = (TlsServer::start(&ca), TlsServer::start(&ca));
    let mut gunyu = sync(&source.url(), &target.url(), &ca, &[]);
    gunyu.wait_ready(SOON);
    target.server.sigstop();
    let value = "v".repeat(1 << 20);
    for number in 0..40 {
        let () = source.server.run(&["SET", &format!("key:{number}"), &value]);
    }
    // All of it has come here, and cannot go on.
    wait_for(SOON, "gunyu has received it", || {
        let lag = gunyu.status()[0]["Offset"]["Received"].as_u64();
        (lag >= Some(source.server.offset()))
            .then_some(())
            .ok_or_else(|| format!("{lag:?}"))
    });
    target.server.sigcont();
    gunyu.wait_applied(&source.server, SOON);
    gunyu.term();
    assert_equal(&source.server, &target.server);
}
