//! The one node that was configured is lost for good.

use super::support::fleet::{Fleet, LONG, Load, Rate, wait_equal};
use super::support::workload::Seed;
use super::support::{Gunyu, SOON, Server};

/// The cluster by its first node alone.
fn by_one_node(fleet: &Fleet) -> String {
    format!("redis+cluster://{}", fleet.nodes[0].addr())
}

/// The first node is killed and forgotten, and a fresh one that nobody was told of comes instead. Who has its slots.
fn lose_for_good(fleet: &mut Fleet) -> usize {
    let heir = fleet.crash(0);
    fleet.replace(0, heir);
    heir
}

#[test]
fn a_target_is_found_again_without_the_node_that_was_configured() {
    let seed = Seed::pick();
    let (source, mut target) = (Server::start(), Fleet::start(3, 1));
    let mut gunyu = Gunyu::start(&source.url(), &by_one_node(&target), &[]);
    gunyu.wait_ready(SOON);
    let load = Load::start(&source, &seed, Rate::default());
    load.wait_more(300);
    let heir = lose_for_good(&mut target);
    load.wait_more(300);
    // Every connection is made anew, and no session hands another what it knows.
    gunyu.must("POST", "/syncer/restart");
    load.wait_more(300);
    // Nor is any of the masters of then still one.
    target.fail_over(heir);
    load.wait_more(300);
    load.stop();
    wait_equal(&source, &target, LONG);
    gunyu.wait_ready(SOON);
}

#[test]
fn a_source_is_followed_on_without_the_node_that_was_configured() {
    let seed = Seed::pick();
    let (mut source, target) = (Fleet::start(3, 1), Server::start());
    let set = ["input.syncFrom=master"];
    let mut gunyu = Gunyu::start(&by_one_node(&source), &target.url(), &set);
    gunyu.wait_ready(SOON);
    let load = Load::start(&source, &seed, Rate::default());
    load.wait_more(300);
    let heir = lose_for_good(&mut source);
    load.wait_more(300);
    gunyu.must("POST", "/syncer/restart");
    load.wait_more(300);
    // Nobody but the cluster itself knows where its slots go now.
    source.fail_over(heir);
    load.wait_more(300);
    load.stop();
    wait_equal(&source, &target, LONG);
    gunyu.wait_ready(SOON);
}
