//! The look at both sides at the start of a `gunyu sync`.

// As in tests/support: what fails here fails the test.
#![allow(clippy::unwrap_used, clippy::panic)]

use gunyu::core::doctor::needs;

use super::rights::{denied, url, user};
use super::support::{Gunyu, SOON, Server, wait_until};

const ON: &str = "server.doctorAtStart=true";

fn warnings(gunyu: &Gunyu) -> Vec<String> {
    let traces = gunyu.traces();
    let lines = traces.lines().filter(|line| line.contains("WARN"));
    lines.map(str::to_owned).collect()
}

/// With users who may do no more than README lists: nothing is refused.
#[test]
fn what_may_go_wrong_is_traced_once_with_what_to_type_and_asks_for_no_permission_more() {
    let (source, target) = (Server::start(), Server::start());
    user(&source, needs::SOURCE, "", &[], &[]);
    user(&target, needs::TARGET, "~*", &[], &["&*"]);
    let () = target.run(&["CONFIG", "SET", "maxmemory", "100mb"]);
    let () = target.run(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let mut gunyu = Gunyu::start(&url(&source), &url(&target), &[ON]);
    gunyu.wait_ready(SOON);
    wait_until(SOON, "it is traced", || !warnings(&gunyu).is_empty());
    let told = warnings(&gunyu);
    assert_eq!(told.len(), 1, "{told:#?}");
    for word in [
        "allkeys-lru",
        &target.addr(),
        "CONFIG SET maxmemory-policy noeviction",
        "check=\"eviction\"",
    ] {
        assert!(told[0].contains(word), "{word} of {}", told[0]);
    }
    assert_eq!((denied(&source), denied(&target)), (0, 0));
    gunyu.term();
    assert_eq!(warnings(&gunyu).len(), 1);
}

/// A target that answers nothing delays neither the API nor the end.
#[test]
fn a_server_that_answers_nothing_delays_nothing() {
    let (source, mut target) = (Server::start(), Server::start());
    target.sigstop();
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &[ON]);
    wait_until(SOON, "the API answers", || {
        gunyu
            .request("GET", "/debug/health")
            .is_ok_and(|answer| answer.status == 200)
    });
    gunyu.must("DELETE", "/");
    assert!(gunyu.wait_end(SOON).success());
    target.sigcont();
}
