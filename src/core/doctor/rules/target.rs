//! What must hold of a target, whatever the source is.

use super::words::{listed, size};
use super::{Rule, Server, Verdict};
use crate::core::doctor::Shape;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("replica", replica),
    ("min-replicas", min_replicas),
    ("persistence", persistence),
    ("eviction", eviction),
];

fn replica(server: &Server<'_>) -> Option<Verdict> {
    let node = server.node;
    if node.info("role")? != "slave" {
        return Some(Verdict::ok("it is a master"));
    }
    let master = format!(
        "{}:{}",
        node.info("master_host").unwrap_or("?"),
        node.info("master_port").unwrap_or("?")
    );
    let says = format!("it is a replica of {master}, and takes no writes but those of its master");
    let verdict = Verdict::problem(says).fix(format!("--target {}", server.url("", &master)));
    // Of a cluster, or behind sentinels, it would be torn out of what it belongs to.
    if !matches!(server.side.shape, Shape::Servers(_)) || node.info("cluster_enabled") == Some("1") {
        return Some(verdict);
    }
    let follow = if server.says_slave() {
        "SLAVEOF"
    } else {
        "REPLICAOF"
    };
    Some(
        verdict
            .fix("or make it a master, if nobody else manages it (no sentinel, no operator, no service):")
            .fix(server.cli(&[follow, "NO", "ONE"])),
    )
}

fn min_replicas(server: &Server<'_>) -> Option<Verdict> {
    let wanted = server.node.config.number("min-replicas-to-write")?;
    // It says so where the number is heeded: with a min-replicas-max-lag of 0 it is not.
    let good = server.node.number("min_slaves_good_slaves")?;
    if wanted <= good {
        return None;
    }
    let says = format!(
        "min-replicas-to-write is {wanted}, and {good} replicas are well: it refuses every write (NOREPLICAS)"
    );
    let name = match server.says_slave() {
        true => "min-slaves-to-write",
        false => "min-replicas-to-write",
    };
    Some(Verdict::problem(says).fix(server.set(name, &good.to_string())))
}

/// | last save of an RDB | `stop-writes-on-bgsave-error` | `save` | |
/// | --- | --- | --- | --- |
/// | failed | yes | some | a problem: MISCONF |
/// | failed | not known | | a warning |
/// | failed | no, or `save` is empty | | well: it writes on |
///
/// A failed write to the AOF stops writes whatever is configured.
fn persistence(server: &Server<'_>) -> Option<Verdict> {
    let (node, config) = (server.node, &server.node.config);
    if node.info("aof_enabled") == Some("1") && node.info("aof_last_write_status") == Some("err") {
        let says = "it cannot write its append-only file, and refuses every write (MISCONF)";
        return Some(Verdict::problem(says).fix("make room on its disk, or mend what its log tells of"));
    }
    if node.info("rdb_last_bgsave_status")? != "err" {
        return Some(Verdict::ok("it has no trouble with its disk"));
    }
    let says = "its last background save failed";
    let verdict = match (config.text("stop-writes-on-bgsave-error"), config.text("save")) {
        (Some("no"), _) | (_, Some("")) => {
            return Some(Verdict::ok(format!("{says}, and it takes writes all the same")));
        }
        (Some(_), _) => Verdict::problem(format!("{says}: it refuses every write (MISCONF)")),
        (None, _) => Verdict::warning(format!(
            "{says}: unless stop-writes-on-bgsave-error is no it refuses every write (MISCONF)"
        )),
    };
    Some(
        verdict
            .fix("make room on its disk, or mend what its log tells of; or else:")
            .fix(server.set("stop-writes-on-bgsave-error", "no")),
    )
}

fn eviction(server: &Server<'_>) -> Option<Verdict> {
    let policy = server.node.maxmemory_policy()?;
    let most = server.node.maxmemory()?;
    match (policy, most) {
        ("noeviction", _) => Some(Verdict::ok("it never evicts (maxmemory-policy noeviction)")),
        (_, 0) => Some(Verdict::ok(format!(
            "maxmemory-policy is {policy}, but there is no maxmemory"
        ))),
        _ => {
            let says = format!(
                "maxmemory-policy is {policy}: beyond {} it evicts keys that the source has, and nobody is told",
                size(most)
            );
            Some(Verdict::warning(says).fix(server.set("maxmemory-policy", "noeviction")))
        }
    }
}

/// `a, b and c`, at most so many.
pub(super) fn some_of(words: &[String], most: usize) -> String {
    match words.split_at_checked(most) {
        Some((first, rest)) if !rest.is_empty() => format!("{} and {} more", first.join(", "), rest.len()),
        _ => listed(words),
    }
}
