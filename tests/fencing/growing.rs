//! The epoch on the target only grows, whatever real processes do there.

use gunyu::core::target::Error;
use gunyu::core::target::checkpoint::KEY_PREFIX;

use super::{Target, take};
use crate::support::{Gunyu, SOON, Server, wait_until};

/// The deployment that gunyu has made on the target.
fn deployment(target: &Target) -> String {
    let all = target.nodes().iter().flat_map(|node| {
        let keys: Vec<String> = node.run(&["KEYS", &format!("{KEY_PREFIX}:*")]);
        keys
    });
    let name = |key: String| {
        let inner = key.strip_prefix(KEY_PREFIX)?.strip_prefix(":{")?.to_owned();
        inner.strip_suffix('}').map(str::to_owned)
    };
    all.into_iter().find_map(name).unwrap()
}

/// So many full syncs are behind it.
fn full_syncs(source: &Server) -> u64 {
    source.info("stats")["sync_full"].parse().unwrap()
}

#[test]
fn it_is_kept_over_restarts_full_syncs_and_flushes() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (shape, delivery) in [(0, "exactly_once"), (0, "at_least_once"), (1, "exactly_once")] {
        let target = Target::both().into_iter().nth(shape).unwrap();
        let url = match &target {
            Target::One(server) => server.url(),
            Target::Cluster(cluster) => cluster.url(),
        };
        let source = Server::start();
        let () = source.run(&["SET", "before", "value"]);
        let set = format!("output.replay.delivery={delivery}");
        let mut gunyu = Gunyu::start(&source.url(), &url, &[&set]);
        gunyu.wait_ready(SOON);
        gunyu.term();
        let name = deployment(&target);
        let epoch =
            || -> Option<String> { target.ask(&["HGET", &format!("{KEY_PREFIX}:{{{name}}}"), "epoch"]) };
        assert_eq!(epoch().as_deref(), Some("0"));
        let settings = target.settings_of(&name);
        drop(runtime.block_on(take(&settings, "leader", 7)).unwrap());
        assert_eq!(epoch().as_deref(), Some("7"));
        gunyu.restart();
        gunyu.wait_ready(SOON);
        let kept = |what: &str| {
            wait_until(SOON, &format!("the epoch is there {what}"), || {
                epoch().as_deref() == Some("7")
            });
        };
        let () = source.run(&["SET", "live", "value"]);
        gunyu.wait_applied(&source, SOON);
        kept("with the stream");
        for flush in ["", "&flushdb=yes"] {
            let before = full_syncs(&source);
            gunyu.must("POST", &format!("/syncer/fullsync?inputs=all{flush}"));
            wait_until(SOON, "the full sync has begun", || full_syncs(&source) > before);
            gunyu.wait_ready(SOON);
            gunyu.wait_applied(&source, SOON);
            assert!(target.has("before"));
            kept("after the full sync");
        }
        let () = source.run(&["FLUSHALL"]);
        let () = source.run(&["SET", "after", "value"]);
        gunyu.wait_applied(&source, SOON);
        kept("after a flush in the stream");
        gunyu.term();
        kept("at the end");
        assert!(target.has("after") && !target.has("before"));
        let older = runtime.block_on(take(&settings, "older", 6));
        assert!(matches!(older, Err(Error::Outranked { epoch, .. }) if epoch.get() == 7));
    }
}
