//! What must hold of a target against the sources that feed it.

use std::collections::{BTreeMap, BTreeSet};

use super::both::{data_of, data_says, sum};
use super::target::some_of;
use super::words::{rounded_up, size};
use super::{Rule, Server, Verdict};
use crate::core::doctor::answer::May;
use crate::core::doctor::facts::Node;
use crate::core::doctor::info::fact;
use crate::core::doctor::needs;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("same-server", same_server),
    ("loop", circle),
    ("clock", clock),
    ("maxmemory", maxmemory),
    ("databases", databases),
    ("rdb-version", rdb_version),
    ("streams", streams),
    ("functions", functions),
    ("field-expiry", field_expiry),
    ("modules", modules),
    ("commands", commands),
    ("bulk-length", bulk_length),
];

/// Clocks that differ by more are told of.
const CLOCK_MS_MAX: f64 = 500.0;

/// What every server takes unless configured otherwise.
const BULK_BYTES: u64 = 512 << 20;

const STREAMS_SINCE: (u32, u32) = (5, 0);

/// What the target cannot hold ends the sync, unless it may be left out.
fn not_held(server: &Server<'_>, says: &str) -> Verdict {
    match server.case.plan.has_dead_letters {
        true => Verdict::warning(format!("{says}; it is left out, as output.replay.onError has it"))
            .fix("upgrade the target, if it is to have that too"),
        false => Verdict::problem(says).fix(
            "upgrade the target, or leave such values out and go on: --set output.replay.onError=dead_letter",
        ),
    }
}

fn same_server(server: &Server<'_>) -> Option<Verdict> {
    let id = server.node.info("run_id")?;
    let same = server
        .sources()
        .into_iter()
        .find(|source| source.info("run_id") == Some(id))?;
    let says = format!(
        "it is the source itself ({}): it would copy itself onto itself",
        same.address()
    );
    Some(Verdict::problem(says).fix("--target redis://ANOTHER-SERVER"))
}

/// A source that takes its data from the target would send back what is written there.
fn circle(server: &Server<'_>) -> Option<Verdict> {
    let is = |node: &Node, name: &str, value: &str| node.info(name) == Some(value);
    let history = server.node.info("master_replid")?;
    // One that has lost its master keeps the name of its history.
    let is_fed = |source: &&Node| {
        is(source, "role", "slave")
            && is(source, "master_link_status", "up")
            && is(source, "master_replid", history)
    };
    let source = server.sources().into_iter().find(is_fed)?;
    if !is(server.node, "role", "master") {
        return None;
    }
    let says = format!(
        "the source {} is a replica of it: what is written here would come back, again and again",
        source.address()
    );
    Some(Verdict::problem(says).fix("--source redis://THE-SERVER-THAT-IS-WRITTEN-TO"))
}

fn clock(server: &Server<'_>) -> Option<Verdict> {
    let here = server.node.clock_ms?;
    let sources = server.sources();
    let differences = sources
        .iter()
        .filter_map(|source| Some((here - source.clock_ms?, source)));
    let (most, source) = differences.max_by(|(one, _), (other, _)| one.abs().total_cmp(&other.abs()))?;
    if most.abs() <= CLOCK_MS_MAX {
        return Some(Verdict::ok(format!(
            "its clock and the source's differ by less than {CLOCK_MS_MAX} ms"
        )));
    }
    let (way, what) = match most > 0.0 {
        true => ("ahead of", "earlier"),
        false => ("behind", "later"),
    };
    let says = format!(
        "its clock is {:.1} s {way} that of {}: keys expire so much {what} than on the source",
        most.abs() / 1_000.0,
        source.address()
    );
    Some(Verdict::warning(says).fix("set the clocks by NTP on both machines: timedatectl set-ntp true"))
}

/// Of a cluster each node gets its share, as far as slots are even.
fn maxmemory(server: &Server<'_>) -> Option<Verdict> {
    let most = server.node.maxmemory()?;
    let data = data_of(server.sources());
    let nodes = match server.side.shape.is_cluster() {
        true => server.case.target.heard().count().max(1) as u64,
        false => 1,
    };
    let share = data / nodes;
    let of_it = if nodes > 1 {
        format!(
            "{}, about {} for each of {nodes} nodes",
            data_says(data),
            size(share)
        )
    } else {
        data_says(data)
    };
    let enough = share.saturating_mul(3) / 2;
    let machine = server.node.number("total_system_memory").unwrap_or(u64::MAX);
    if most == 0 {
        return Some(match share > machine {
            true => too_much(server, format!("{of_it}, and its machine has {}", size(machine))).fix(LARGER),
            false => Verdict::ok(format!("{of_it}; there is no maxmemory")),
        });
    }
    let says = format!("{of_it}, and maxmemory is {}", size(most));
    let verdict = match (share > most, share.saturating_mul(5) / 4 > most) {
        (true, _) => too_much(server, says),
        (false, true) => Verdict::warning(says),
        (false, false) => return Some(Verdict::ok(says)),
    };
    Some(match enough > machine {
        true => verdict.fix(LARGER),
        false => verdict.fix(server.set("maxmemory", &rounded_up(enough))),
    })
}

/// What to do where no setting helps.
const LARGER: &str = "--target redis://A-LARGER-SERVER";

/// How much of the data a filter lets through is not known.
fn too_much(server: &Server<'_>, says: String) -> Verdict {
    let filter = &server.case.plan.filter;
    let infos = server
        .sources()
        .into_iter()
        .filter_map(|source| source.info.as_ref());
    let mut used = infos.flat_map(|info| info.databases().map(|(number, _)| number));
    let leaves_out = filter.has_key_rules() || used.any(|number| filter.target_db(number).is_none());
    match leaves_out {
        true => Verdict::warning(format!("{says}; the filter leaves some of it out")),
        false => Verdict::problem(says),
    }
}

/// The databases of the sources that hold keys and that are replicated, and where they go.
fn used_databases(server: &Server<'_>) -> BTreeMap<u32, u32> {
    let filter = &server.case.plan.filter;
    let infos = server
        .sources()
        .into_iter()
        .filter_map(|source| source.info.as_ref());
    let used = infos.flat_map(|info| info.databases().map(|(number, _)| number));
    used.filter_map(|from| Some((from, filter.target_db(from)?)))
        .collect()
}

fn databases(server: &Server<'_>) -> Option<Verdict> {
    let used = used_databases(server);
    let most = match server.side.shape.is_cluster() {
        true => 1,
        false => u32::try_from(server.node.config.number("databases")?).ok()?,
    };
    let beyond: BTreeSet<u32> = used
        .iter()
        .filter(|(_, to)| **to >= most)
        .map(|(from, _)| *from)
        .collect();
    if beyond.is_empty() {
        return Some(Verdict::ok("it has every database that the source uses"));
    }
    let beyond: Vec<String> = beyond.iter().map(u32::to_string).collect();
    let beyond = some_of(&beyond, 8);
    if server.side.shape.is_cluster() {
        let says = format!("a cluster has database 0 alone, and the source has keys in {beyond}");
        return Some(
            Verdict::problem(says)
                .fix("--set output.replay.dbOnCluster=merge, which puts all into 0 (one key of several databases has the value that came last)")
                .fix("--set output.replay.dbOnCluster=drop, which leaves the others out"),
        );
    }
    let needed = used.values().max().map_or(16, |most| most.saturating_add(1));
    let says = format!("it has {most} databases, and the source has keys in {beyond}, which go beyond");
    Some(
        Verdict::problem(says)
            .fix(format!("databases {needed} in the target's configuration, and restart it"))
            .fix("--set output.replay.targetDb=0, which puts all into 0; or output.replay.targetDbMap, or output.filter.dbBlacklist"),
    )
}

fn rdb_version(server: &Server<'_>) -> Option<Verdict> {
    let target = server.node.version()?;
    let newest = server
        .sources()
        .into_iter()
        .filter_map(Node::version)
        .max_by_key(|version| version.rdb())?;
    let (from, to) = (newest.rdb(), target.rdb());
    // Both forks took 11, and went their own ways.
    let takes = from <= to && (from <= 11 || newest.is_valkey == target.is_valkey);
    Some(Verdict::ok(match takes {
        true => format!("it takes RDB {to}, the source writes RDB {from}: values go by RESTORE"),
        false => format!(
            "it takes RDB {to}, the source writes RDB {from}: what has a newer form is written with the commands of its type"
        ),
    }))
}

/// How often the sources' clients have called one of these.
fn called(server: &Server<'_>, is: impl Fn(&str) -> bool) -> u64 {
    let infos = server
        .sources()
        .into_iter()
        .filter_map(|source| source.info.as_ref());
    let calls = infos.flat_map(|info| {
        info.calls()
            .into_iter()
            .filter(|(name, _)| is(name))
            .map(|(_, made)| made)
            .collect::<Vec<_>>()
    });
    sum(calls)
}

fn streams(server: &Server<'_>) -> Option<Verdict> {
    let target = server.node.version()?;
    let made = called(server, |name| name == "xadd");
    if target.knows_since(STREAMS_SINCE) || made == 0 || server.case.plan.filter.denies(b"xadd") {
        return None;
    }
    let says = format!("{target} has no streams, and the source's clients have called XADD {made} times");
    Some(not_held(server, &says))
}

fn functions(server: &Server<'_>) -> Option<Verdict> {
    let target = server.node.version()?;
    let own = server.sources().into_iter().filter(|source| !source.is_copy());
    let there = sum(own.filter_map(|source| source.number("number_of_libraries")));
    let is_denied = server.case.plan.filter.denies(b"function");
    if target.knows_since((7, 0)) || there == 0 || is_denied {
        return None;
    }
    let says = format!("{target} has no functions, and the source has {there} libraries of them");
    Some(not_held(server, &says))
}

fn field_expiry(server: &Server<'_>) -> Option<Verdict> {
    let target = server.node.version()?;
    let infos = server
        .sources()
        .into_iter()
        .filter_map(|source| source.info.as_ref());
    let there = sum(infos.flat_map(|info| {
        let facts = info
            .databases()
            .map(|(_, facts)| fact(facts, "subexpiry=").or_else(|| fact(facts, "keys_with_volatile_items=")));
        facts.flatten().collect::<Vec<_>>()
    }));
    if target.knows_since((7, 4)) || there == 0 {
        return None;
    }
    let says = format!(
        "{target} has no fields that expire, and the source has {there} hashes with such fields: these would live on for ever"
    );
    Some(not_held(server, &says))
}

/// Modules that hold no data of their own.
const WITHOUT_DATA: [&str; 2] = ["lua", "rediscompat"];

/// What the commands of a module begin with, where it is not `name.`.
const VERBS: &[(&str, &[&str])] = &[
    ("ReJSON", &["json."]),
    ("search", &["ft."]),
    ("timeseries", &["ts."]),
    ("bf", &["bf.", "cf.", "cms.", "topk.", "tdigest."]),
    ("vectorset", &["vadd"]),
];

fn modules(server: &Server<'_>) -> Option<Verdict> {
    let there = server.node.info.as_ref()?.modules();
    let infos = server
        .sources()
        .into_iter()
        .filter_map(|source| source.info.as_ref());
    let theirs: BTreeSet<&str> = infos
        .flat_map(|info| info.modules().iter().map(String::as_str).collect::<Vec<_>>())
        .collect();
    let missing = theirs
        .into_iter()
        .filter(|name| !WITHOUT_DATA.contains(name) && !there.contains(*name));
    let (mut used, mut unused) = (Vec::new(), Vec::new());
    for name in missing {
        let verbs = VERBS
            .iter()
            .find(|(module, _)| *module == name)
            .map(|(_, verbs)| *verbs);
        let own = format!("{}.", name.to_ascii_lowercase());
        let is_own = |call: &str| match verbs {
            Some(verbs) => verbs.iter().any(|verb| call.starts_with(verb)),
            None => call.starts_with(&own),
        };
        let is_used = called(server, is_own) > 0;
        // Redis 8 brings it along.
        if !is_used && name == "vectorset" {
            continue;
        }
        if is_used { &mut used } else { &mut unused }.push(name.to_owned());
    }
    let fix = "load them on the target too (loadmodule), or --set output.replay.onError=dead_letter and --set output.replay.moduleAuxPolicy=skip";
    match (used.is_empty(), unused.is_empty()) {
        (true, true) => None,
        (true, false) => Some(
            Verdict::warning(format!(
                "it lacks modules that the source has and whose commands nobody has called: {}",
                some_of(&unused, 8)
            ))
            .fix(fix),
        ),
        (false, _) => {
            let plan = server.case.plan;
            let new = match plan.has_dead_letters && plan.skips_module_aux {
                true => Verdict::warning,
                false => Verdict::problem,
            };
            let says = format!(
                "it lacks modules whose commands the source's clients call: {}",
                some_of(&used, 8)
            );
            Some(new(says).fix(fix))
        }
    }
}

fn commands(server: &Server<'_>) -> Option<Verdict> {
    let rights = server.node.rights.as_ref()?;
    let version = server.node.version();
    let unknown = needs::REPLICATED.iter().filter(|need| {
        let is_newer = version.is_some_and(|version| !version.knows_since(need.since));
        // Streams have a rule of their own.
        is_newer && need.since != STREAMS_SINCE && rights.may(need.command) == May::NoSuch
    });
    let unknown: Vec<String> = unknown.map(|need| need.command.to_owned()).collect();
    if unknown.is_empty() {
        return None;
    }
    let says = format!(
        "the source's clients call what it does not know: {}",
        some_of(&unknown, 8)
    );
    Some(not_held(server, &says))
}

fn bulk_length(server: &Server<'_>) -> Option<Verdict> {
    let there = server.node.config.number("proto-max-bulk-len")?;
    let theirs = server
        .sources()
        .into_iter()
        .map(|source| source.config.number("proto-max-bulk-len").unwrap_or(BULK_BYTES));
    let wanted = theirs.max()?;
    if there >= wanted {
        return Some(Verdict::ok(format!("it takes values of up to {}", size(there))));
    }
    let says = format!(
        "proto-max-bulk-len is {}, the source's is {}: longer strings and elements become dead letters",
        size(there),
        size(wanted)
    );
    Some(Verdict::warning(says).fix(server.set("proto-max-bulk-len", &wanted.to_string())))
}
