//! What must hold of every server, on either side.

use super::words::size;
use super::{Rule, Server, Verdict, rights};
use crate::core::doctor::facts::Node;
use crate::core::doctor::info::Closed;
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

/// What is told of a sentinel that was given as a server.
pub(super) const OF_SENTINELS: [&str; 3] = ["reach", "version", "kind"];

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
        let grant = server.grant(server.node.info_closed.as_ref(), "+info");
        return Some(Verdict::new(Severity::Unknown, says).fix_if(grant));
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
    let (address, flag) = (server.node.address().to_string(), server.flag());
    let given_as = |kind: &str, address: &str| format!("--{flag} {}", server.url(kind, address));
    if server.node.is_sentinel() {
        let named = format!("{address}/NAME-OF-THE-MASTER");
        let verdict = Verdict::problem("it is a sentinel, and holds no data");
        return Some(verdict.fix(given_as("+sentinel", &named)));
    }
    let is_cluster = server.node.info("cluster_enabled")? == "1";
    match (is_cluster, &server.side.shape) {
        (true, Shape::Cluster { .. }) => Some(Verdict::ok("a node of a cluster")),
        (true, _) => {
            let says = "it is a node of a cluster, and is given as a server of its own: it has only a part of the keys";
            let new = match server.is_source() {
                true => Verdict::warning,
                false => Verdict::problem,
            };
            Some(new(says.to_owned()).fix(given_as("+cluster", &address)))
        }
        (false, Shape::Cluster { .. }) => {
            let says = "it is in no cluster, and is given as a node of one";
            Some(Verdict::problem(says).fix(given_as("", &address)))
        }
        (false, _) => Some(Verdict::ok("a server of its own")),
    }
}

/// What could not be examined.
fn config(server: &Server<'_>) -> Option<Verdict> {
    if server.case.plan.depth == Depth::Brief {
        return None;
    }
    let Some(closed) = &server.node.config.closed else {
        return Some(Verdict::ok("its configuration can be read"));
    };
    let unseen = match server.is_source() {
        true => {
            "client-output-buffer-limit, repl-timeout, repl-ping-replica-period, repl-backlog-ttl and the diskless settings"
        }
        false => "databases, min-replicas-to-write, proto-max-bulk-len and stop-writes-on-bgsave-error",
    };
    let why = match closed {
        Closed::Forbidden => "CONFIG GET may not be asked",
        Closed::Refused => "the server gives nobody CONFIG GET",
        Closed::Lost => "CONFIG GET was not answered",
    };
    let verdict = Verdict::new(Severity::Unknown, format!("{why}: {unseen} are not examined"));
    Some(match closed {
        Closed::Refused => verdict
            .fix("look at them in the service's parameter group, or in the server's configuration file"),
        _ => verdict.fix_if(server.grant(Some(closed), "+config|get")),
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
    let plan = server.case.plan;
    let feeding = server.sources().into_iter().filter(|source| !source.is_copy());
    let ours = match (plan.depth, server.is_source()) {
        // The daemon's own are among those that are connected.
        (Depth::Brief, _) => 0,
        (Depth::Full, true) => 2,
        (Depth::Full, false) => {
            (feeding.count().max(1) as u64).saturating_mul(plan.connections.saturating_add(3))
        }
    };
    let all = there.saturating_add(ours);
    let says = match ours {
        0 => format!("of {most} clients {there} are connected"),
        _ => format!("of {most} clients {there} are connected, and gunyu needs up to {ours} connections"),
    };
    let verdict = match (all > most, all > most / 10 * 9 + most % 10 * 9 / 10) {
        (true, _) => Verdict::problem(says),
        (false, true) => Verdict::warning(says),
        (false, false) => return Some(Verdict::ok(says)),
    };
    let enough = most.max(all).saturating_mul(2);
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
    let days = ends.saturating_sub(now).div_euclid(24 * 3600);
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
    let other = sum(other.iter().filter_map(|name| node.number(name)));
    Some(node.number("used_memory")?.saturating_sub(other))
}

/// The same of several.
pub(super) fn data_of<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> u64 {
    let own = nodes.into_iter().filter(|node| !node.is_copy());
    sum(own.filter_map(data_bytes))
}

/// A server may say anything: it must not be more than there is.
pub(super) fn sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

/// Data, in words.
pub(super) fn data_says(bytes: u64) -> String {
    format!("the source's data takes {}", size(bytes))
}
