//! What must hold of a source.

use std::time::Duration;

use super::both::data_bytes;
use super::words::{listed, rounded_up, size};
use super::{Rule, Server, Verdict};
use crate::core::doctor::answer::May;
use crate::core::doctor::facts::Rate;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("psync", psync),
    ("source-link", link),
    ("databases", databases),
    ("backlog", backlog),
    ("backlog-ttl", backlog_ttl),
    ("output-buffer", output_buffer),
    ("diskless", diskless),
    ("repl-timeout", repl_timeout),
    ("repl-ping", repl_ping),
    ("snapshot", snapshot),
    ("fork-memory", fork_memory),
];

const MIB: u64 = 1 << 20;

/// A snapshot leaves a source about so fast: what its clients write meanwhile is kept for gunyu.
const SNAPSHOT_BYTES_PER_SEC: u64 = 50 * MIB;

/// What doctor itself sends is below it.
const IDLE_BYTES_PER_SEC: f64 = 1024.0;

/// Below it the buffer for a replica is too small whatever is measured: a few large values fill it.
const BUFFER_BYTES_MIN: u64 = 16 * MIB;

/// gunyu tells each second how far it is; a source that cuts it off this soon cuts it off at every hiccup.
const TIMEOUT_SECS_MIN: u64 = 10;

/// A source that waits so long before it begins a snapshot is told of.
const DELAY_SECS_MAX: u64 = 30;

fn psync(server: &Server<'_>) -> Option<Verdict> {
    let name = &server.case.plan.psync_command;
    if server.node.rights.as_ref()?.may("psync") != May::NoSuch {
        return None;
    }
    let says =
        format!("the server has no command {name}: it was renamed or taken away, as managed services do");
    Some(
        Verdict::problem(says)
            .fix("--set input.psyncCommand=ITS-NAME, as rename-command in the server's configuration has it; a service that gives no PSYNC cannot be followed"),
    )
}

fn link(server: &Server<'_>) -> Option<Verdict> {
    let node = server.node;
    if node.info("role")? != "slave" {
        return None;
    }
    let master = format!(
        "{}:{}",
        node.info("master_host").unwrap_or("?"),
        node.info("master_port").unwrap_or("?")
    );
    if node.info("master_link_status") == Some("up") {
        return Some(Verdict::ok(format!(
            "it is a replica of {master}, and linked to it"
        )));
    }
    let says =
        format!("it is a replica of {master} and not linked to it: it refuses PSYNC, and what it has is old");
    // Of a cluster another node is followed.
    let verdict = match server.node.is_copy() {
        true => Verdict::warning(says),
        false => Verdict::problem(says).fix(format!("--source {}", server.url("", &master))),
    };
    Some(verdict.fix(server.cli(&["INFO", "replication"])))
}

/// `/3` at a source leaves out all the others: rarely meant where 3 is empty.
fn databases(server: &Server<'_>) -> Option<Verdict> {
    let filter = &server.case.plan.filter;
    let info = server.node.info.as_ref()?;
    let used: Vec<u32> = info.databases().map(|(number, _)| number).collect();
    if used.is_empty() || used.iter().any(|number| filter.target_db(*number).is_some()) {
        return None;
    }
    let used: Vec<String> = used.iter().map(u32::to_string).collect();
    let says = format!(
        "it has keys in database {}, and none of these is replicated",
        listed(&used)
    );
    let all = server.url("", &server.node.address().to_string());
    Some(
        Verdict::warning(says)
            .fix(format!("--source {all}, without /N: all databases"))
            .fix("or another number after the /, output.filter.dbWhitelist, output.filter.dbBlacklist"),
    )
}

fn backlog(server: &Server<'_>) -> Option<Verdict> {
    let (size_now, rate) = (server.node.number("repl_backlog_size")?, server.node.rate?);
    let outage = server.case.plan.outage;
    let needed = (rate.bytes() * outage.as_secs_f64()) as u64;
    if rate.bytes() < IDLE_BYTES_PER_SEC {
        let says = format!(
            "repl-backlog-size is {}; next to nothing was written while it was measured",
            size(size_now)
        );
        return Some(Verdict::ok(says));
    }
    let lasts = Duration::from_secs_f64((size_now as f64 / rate.bytes()).min(1e9)).as_secs();
    let written = match rate {
        Rate::Stream(bytes) => format!("{}/s are written", size(bytes as u64)),
        Rate::Clients(bytes) => format!("clients send {}/s, reads included", size(bytes as u64)),
    };
    let says = format!(
        "repl-backlog-size is {}, and {written}: it lasts {lasts} s, an outage may last {} s",
        size(size_now),
        outage.as_secs()
    );
    if needed <= size_now {
        return Some(Verdict::ok(says));
    }
    // Twice: it was measured for a moment.
    let fix = server.set("repl-backlog-size", &rounded_up(needed.saturating_mul(2)));
    Some(Verdict::warning(format!("{says}; a longer one ends in a full sync")).fix(fix))
}

fn backlog_ttl(server: &Server<'_>) -> Option<Verdict> {
    let ttl = server.node.config.number("repl-backlog-ttl")?;
    if ttl == 0 || ttl >= server.case.plan.outage.as_secs() {
        return None;
    }
    let says = format!(
        "repl-backlog-ttl is {ttl} s: a source without other replicas forgets its backlog before an outage of {} s is over",
        server.case.plan.outage.as_secs()
    );
    let enough = server.case.plan.outage.as_secs().max(3600);
    Some(Verdict::warning(says).fix(server.set("repl-backlog-ttl", &enough.to_string())))
}

fn output_buffer(server: &Server<'_>) -> Option<Verdict> {
    let (hard, soft, soft_secs) = server.node.config.replica_buffer()?;
    let data = data_bytes(server.node).unwrap_or(0);
    let secs = data / SNAPSHOT_BYTES_PER_SEC;
    let meanwhile = (server.node.rate.map_or(0.0, Rate::bytes) * secs as f64) as u64;
    let needed = meanwhile.max(BUFFER_BYTES_MIN);
    let is_short = |limit: u64| limit > 0 && limit < needed;
    // The soft limit is for what stays above it for longer than so many seconds.
    let is_cut = is_short(hard) || is_short(soft) && secs >= soft_secs;
    if !is_cut {
        return Some(Verdict::ok(format!(
            "client-output-buffer-limit for replicas: {} at once, {} for {soft_secs} s (0: no limit)",
            size(hard),
            size(soft)
        )));
    }
    let says = format!(
        "client-output-buffer-limit for replicas is {} at once and {} for {soft_secs} s; while a snapshot is sent about {} may be written, and the source ends the link beyond the limit",
        size(hard),
        size(soft),
        size(needed)
    );
    let twice = needed.saturating_mul(2).max(256 * MIB);
    let enough = twice.checked_next_power_of_two().unwrap_or(twice);
    let class = if server.says_slave() { "slave" } else { "replica" };
    // The soft limit must let as much pass: a snapshot takes longer than its seconds.
    let value = format!("{class} {enough} {} 60", enough / 2);
    Some(Verdict::warning(says).fix(server.set("client-output-buffer-limit", &value)))
}

fn diskless(server: &Server<'_>) -> Option<Verdict> {
    let config = &server.node.config;
    let is_diskless = config.text("repl-diskless-sync")? == "yes";
    if !is_diskless {
        let data = data_bytes(server.node).unwrap_or(0);
        return Some(Verdict::ok(format!(
            "snapshots go over its own disk (repl-diskless-sync no), which needs up to {} there",
            size(data)
        )));
    }
    let delay = config.number("repl-diskless-sync-delay")?;
    if delay < DELAY_SECS_MAX {
        return Some(Verdict::ok(format!(
            "snapshots do not touch its disk; each begins after {delay} s"
        )));
    }
    let says = format!("repl-diskless-sync-delay is {delay} s: every full sync begins so late");
    Some(Verdict::warning(says).fix(server.set("repl-diskless-sync-delay", "5")))
}

fn repl_timeout(server: &Server<'_>) -> Option<Verdict> {
    let secs = server.node.config.number("repl-timeout")?;
    if secs >= TIMEOUT_SECS_MIN {
        return Some(Verdict::ok(format!("repl-timeout is {secs} s")));
    }
    let says = format!("repl-timeout is {secs} s: the source ends the link at every short hiccup");
    Some(Verdict::warning(says).fix(server.set("repl-timeout", "60")))
}

fn repl_ping(server: &Server<'_>) -> Option<Verdict> {
    let secs = server.node.config.number("repl-ping-period")?;
    let limit = server.case.plan.silence.as_secs();
    let says = format!(
        "repl-ping-replica-period is {secs} s, and gunyu takes a source for dead that was silent for {limit} s"
    );
    let verdict = match secs {
        _ if secs >= limit => Verdict::problem(says),
        _ if secs.saturating_mul(2) > limit => Verdict::warning(says),
        _ => return Some(Verdict::ok(format!("repl-ping-replica-period is {secs} s"))),
    };
    let name = match server.says_slave() {
        true => "repl-ping-slave-period",
        false => "repl-ping-replica-period",
    };
    Some(verdict.fix(server.set(name, "10")))
}

fn snapshot(server: &Server<'_>) -> Option<Verdict> {
    if server.node.info("rdb_last_bgsave_status")? != "err" {
        return None;
    }
    let says =
        "its last background save failed: a full sync may fail of the same (no memory to fork, a full disk)";
    Some(
        Verdict::warning(says)
            .fix("look into the server's log, mend that, and try again:")
            .fix(server.cli(&["BGSAVE"])),
    )
}

fn fork_memory(server: &Server<'_>) -> Option<Verdict> {
    let (used, there) = (
        server.node.number("used_memory_rss")?,
        server.node.number("total_system_memory")?,
    );
    // More than four fifths.
    if there == 0 || used <= there / 5 * 4 {
        return None;
    }
    let says = format!(
        "it uses {} of the {} of its machine: what is written while a snapshot is made exists twice",
        size(used),
        size(there)
    );
    Some(
        Verdict::warning(says)
            .fix("follow a replica instead, or make the first full sync while little is written"),
    )
}
