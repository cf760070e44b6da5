//! What must hold of every server, on either side.

use super::words::size;
use super::{Rule, Server, Verdict, rights};
use crate::core::doctor::facts::Node;
use crate::core::doctor::{Depth, Severity, Shape};

pub(super) const RULES: &[(&str, Rule)] = &[
    ("reach", reach),
    ("version", version),
    ("kind", kind),
    ("permission", rights::permission),
    ("config", config),
    ("loading", loading),
    ("max-clients", max_clients),
    ("certificate", certificate),
];

/// A certificate that ends within this time is told of.
pub(super) const DAYS_MIN: i64 = 14;

fn reach(server: &Server<'_>) -> Option<Verdict> {
    let tls = if server.node.endpoint.tls.is_some() {
        ", by TLS"
    } else {
        ""
    };
    Some(Verdict::ok(format!(
        "answers as user {}{tls}",
        server.node.user()
    )))
}

fn version(server: &Server<'_>) -> Option<Verdict> {
    let Some(version) = server.node.version() else {
        let says = "INFO may not be asked: version, memory, replication and databases are not examined";
        return Some(Verdict::new(Severity::Unknown, says).fix(server.cli(&[
            "ACL",
            "SETUSER",
            server.node.user(),
            "+info",
        ])));
    };
    if server.is_source() && !version.since((2, 8), (0, 0)) {
        let says = format!("{version} does not know PSYNC, which came with 2.8");
        return Some(Verdict::problem(says).fix("upgrade the source to Redis 2.8 or later"));
    }
    Some(Verdict::ok(version.to_string()))
}

/// | the server is | given as | |
/// | --- | --- | --- |
/// | a sentinel | a server | a problem |
/// | of a cluster | a server | a problem: it knows its own slots alone; of a source only these are copied, which somebody may want |
/// | of none | a cluster | a problem |
fn kind(server: &Server<'_>) -> Option<Verdict> {
    let (address, flag) = (server.node.address(), server.flag());
    let is_cluster = match server.node.info("cluster_enabled")? {
        _ if server.node.info("redis_mode") == Some("sentinel") => {
            let says = "it is a sentinel, and holds no data";
            return Some(
                Verdict::problem(says).fix(format!("--{flag} redis+sentinel://{address}/NAME-OF-THE-MASTER")),
            );
        }
        enabled => enabled == "1",
    };
    match (is_cluster, &server.side.shape) {
        (true, Shape::Cluster { .. }) => Some(Verdict::ok("a node of a cluster")),
        (true, _) => {
            let says = "it is a node of a cluster, and is given as a server of its own: it has only a part of the keys";
            let new = match server.is_source() {
                true => Verdict::warning,
                false => Verdict::problem,
            };
            Some(new(says.to_owned()).fix(format!("--{flag} redis+cluster://{address}")))
        }
        (false, Shape::Cluster { .. }) => {
            let says = "it is in no cluster, and is given as a node of one";
            Some(Verdict::problem(says).fix(format!("--{flag} redis://{address}")))
        }
        (false, _) => Some(Verdict::ok("a server of its own")),
    }
}

/// What could not be examined.
fn config(server: &Server<'_>) -> Option<Verdict> {
    if server.case.plan.depth == Depth::Brief {
        return None;
    }
    if !server.node.config.is_refused {
        return Some(Verdict::ok("its configuration can be read"));
    }
    let unseen = match server.is_source() {
        true => {
            "client-output-buffer-limit, repl-timeout, repl-ping-replica-period, repl-backlog-ttl and the diskless settings"
        }
        false => "databases, min-replicas-to-write, proto-max-bulk-len and stop-writes-on-bgsave-error",
    };
    let says = format!("CONFIG GET may not be asked: {unseen} are not examined");
    let verdict = Verdict::new(Severity::Unknown, says);
    let has_acl = server
        .node
        .version()
        .is_none_or(|version| version.since((6, 0), (0, 0)));
    // Before there were users it can only have been renamed.
    let grant = ["ACL", "SETUSER", server.node.user(), "+config|get"];
    Some(match has_acl {
        true => verdict.fix(server.cli(&grant)),
        false => verdict,
    })
}

fn loading(server: &Server<'_>) -> Option<Verdict> {
    let is_loading = server.node.info("loading")? == "1" || server.node.info("async_loading") == Some("1");
    if !is_loading {
        return None;
    }
    Some(
        Verdict::warning("it is loading its data, and answers nothing else meanwhile")
            .fix("wait until it has, gunyu does too"),
    )
}

fn max_clients(server: &Server<'_>) -> Option<Verdict> {
    let node = server.node;
    let most = node
        .number("maxclients")
        .or_else(|| node.config.number("maxclients"))?;
    let there = node.number("connected_clients")?;
    let ours = match server.is_source() {
        true => 2,
        false => server.case.plan.connections + 3,
    };
    let says = format!("of {most} clients {there} are connected, and gunyu needs up to {ours} connections");
    let verdict = match (there + ours > most, (there + ours) * 10 > most * 9) {
        (true, _) => Verdict::problem(says),
        (false, true) => Verdict::warning(says),
        (false, false) => return Some(Verdict::ok(says)),
    };
    let enough = (most * 2).max((there + ours) * 2);
    Some(verdict.fix(server.set("maxclients", &enough.to_string())))
}

fn certificate(server: &Server<'_>) -> Option<Verdict> {
    let ends = server.node.certificate_ends?;
    Some(ends_in(
        ends,
        chrono::Utc::now().timestamp(),
        "its certificate",
        "renew it (files are named by CONFIG GET tls-cert-file), and CONFIG SET tls-cert-file to the same file",
    ))
}

/// How long a certificate lasts.
pub(super) fn ends_in(ends: i64, now: i64, what: &str, fix: &str) -> Verdict {
    let days = (ends - now).div_euclid(24 * 3600);
    match days {
        ..0 => Verdict::problem(format!("{what} has expired")).fix(fix),
        0..DAYS_MIN => Verdict::warning(format!("{what} expires in {days} days")).fix(fix),
        _ => Verdict::ok(format!("{what} lasts {days} more days")),
    }
}

/// What the data of a server takes: without its clients' buffers and the backlog.
pub(super) fn data_bytes(node: &Node) -> Option<u64> {
    let other = [
        "mem_clients_slaves",
        "mem_clients_normal",
        "mem_replication_backlog",
        "used_memory_startup",
    ];
    let other: u64 = other.iter().filter_map(|name| node.number(name)).sum();
    Some(node.number("used_memory")?.saturating_sub(other))
}

/// The same of several.
pub(super) fn data_of<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> u64 {
    let own = nodes.into_iter().filter(|node| !node.is_copy());
    own.filter_map(data_bytes).sum()
}

/// Data, in words.
pub(super) fn data_says(bytes: u64) -> String {
    format!("the source's data takes {}", size(bytes))
}
