//! What must hold of a side as a whole: that its servers can be reached, its sentinels name one, its cluster is whole.

use super::words::typed;
use super::{Verdict, rights};
use crate::core::command::SLOTS;
use crate::core::doctor::facts::{Node, Origin, Seen, Trouble, View};
use crate::core::doctor::{Finding, Shape, Side, Subject};
use crate::core::net::Address;
use crate::core::topology::nodes;

pub(super) fn judge(side: &Side, seen: &Seen, subject: Subject) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(trouble) = &seen.lost {
        let (check, says) = match &side.shape {
            Shape::Named { .. } => (
                "sentinels",
                format!("it is not known where the master is: {}", trouble.message),
            ),
            Shape::Servers(_) | Shape::Cluster { .. } => ("reach", trouble.message.clone()),
        };
        findings.push(mended(Verdict::problem(says), trouble).found(check, subject, Vec::new()));
    }
    for node in &seen.sentinels {
        let address = vec![node.address().to_string()];
        if let Some(trouble) = &node.trouble {
            // One is enough: that none names a master is told already.
            let verdict = Verdict::warning(format!("a sentinel cannot be asked: {}", trouble.message));
            findings.push(mended(verdict, trouble).found("sentinels", subject, address));
        } else {
            findings.push(rights::of_sentinel(node, side).found("sentinels", subject, address));
        }
    }
    for node in &seen.nodes {
        if let Some(trouble) = &node.trouble {
            findings.push(unreachable(side, seen, node, trouble, subject));
        }
    }
    if let Some(view) = &seen.cluster {
        findings.push(slots(side, seen, view).found("cluster-slots", subject, vec![view.asked.clone()]));
        findings.extend(
            failed_or_moving(view)
                .map(|verdict| verdict.found("cluster-nodes", subject, vec![view.asked.clone()])),
        );
    }
    findings
}

/// | the server | |
/// | --- | --- |
/// | is named by the configuration | a problem; of a cluster of which other nodes answer, and in which it serves no slots, a warning |
/// | is named by its cluster or its sentinels | a problem: gunyu goes where these send it |
/// | the same, a replica | a warning: another node is followed |
fn unreachable(side: &Side, seen: &Seen, node: &Node, trouble: &Trouble, subject: Subject) -> Finding {
    let address = vec![node.address().to_string()];
    let serves = |view: &View| view.serving.contains(node.address());
    let is_spare = node.is_copy() || seen.cluster.as_ref().is_some_and(|view| !serves(view));
    let new = if is_spare {
        Verdict::warning
    } else {
        Verdict::problem
    };
    if node.origin == Origin::Configured {
        return mended(new(trouble.message.clone()), trouble).found("reach", subject, address);
    }
    let announced = match &side.shape {
        Shape::Named { .. } => {
            "on the server: CONFIG SET replica-announce-ip ADDRESS (and replica-announce-port), then SENTINEL RESET NAME"
        }
        _ => {
            "if it has another address from here: on the node, CONFIG SET cluster-announce-ip ADDRESS (and cluster-announce-port)"
        }
    };
    let says = format!(
        "the address by which the others know it does not do from here: {}",
        trouble.message
    );
    mended(new(says), trouble)
        .fix(announced)
        .found("announced-address", subject, address)
}

fn mended(verdict: Verdict, trouble: &Trouble) -> Verdict {
    match &trouble.hint {
        Some(hint) => verdict.fix(hint.clone()),
        None => verdict,
    }
}

fn slots(side: &Side, seen: &Seen, view: &View) -> Verdict {
    let missing = u64::from(SLOTS).saturating_sub(view.served);
    let says = match view.state.as_deref() {
        _ if missing > 0 => format!(
            "{missing} of the cluster's {SLOTS} slots are served by nobody: keys in these are refused (CLUSTERDOWN)"
        ),
        Some(state) if state != "ok" => {
            format!("cluster_state is {state}: it refuses keys (CLUSTERDOWN)")
        }
        _ => return Verdict::ok(format!("all {SLOTS} slots are served")),
    };
    let verdict = Verdict::problem(says);
    let seed = match &side.shape {
        Shape::Cluster { seeds, .. } => {
            let mut asked = seeds.iter().filter(|seed| seed.address.to_string() == view.asked);
            asked.next().or(seeds.first())
        }
        Shape::Servers(_) | Shape::Named { .. } => None,
    };
    let Some(seed) = seed else {
        return verdict;
    };
    let line = |address: &Address, words: &[&str]| typed(&seed.at(address.clone()), &side.cli, words);
    let failed: Vec<&nodes::Node> = view.nodes.iter().filter(|node| node.has_failed).collect();
    let is_down = !failed.is_empty() || seen.nodes.iter().any(|node| node.trouble.is_some());
    if !is_down {
        return verdict.fix(line(&seed.address, &["--cluster", "fix", &view.asked]));
    }
    // To give their slots to others would lose what they hold.
    let verdict =
        verdict.fix("start the nodes that are down again: they come back with their slots and keys");
    let heirs = view.nodes.iter().filter(|node| {
        let is_heir = |failed: &&nodes::Node| node.master.as_deref() == Some(failed.id.as_str());
        !node.has_failed && failed.iter().any(is_heir)
    });
    let takeovers: Vec<String> = heirs
        .filter_map(|node| Some(line(node.address.as_ref()?, &["CLUSTER", "FAILOVER", "TAKEOVER"])))
        .collect();
    match takeovers.is_empty() {
        true => verdict,
        false => takeovers.into_iter().fold(
            verdict.fix("or let the replicas of those that do not come back take their place:"),
            Verdict::fix,
        ),
    }
}

fn failed_or_moving(view: &View) -> Option<Verdict> {
    let failed = view.nodes.iter().filter(|node| node.has_failed);
    let failed: Vec<String> = failed
        .map(|node| {
            node.address
                .as_ref()
                .map_or_else(|| node.id.clone(), ToString::to_string)
        })
        .collect();
    let moving = view
        .nodes
        .iter()
        .filter_map(|node| node.moving.as_ref())
        .map(Vec::len)
        .sum::<usize>();
    let mut says = Vec::new();
    if !failed.is_empty() {
        says.push(format!("nodes have failed: {}", failed.join(", ")));
    }
    if moving > 0 {
        says.push(format!("{moving} slots are moving"));
    }
    if says.is_empty() {
        return None;
    }
    let verdict = Verdict::warning(says.join("; "));
    let verdict = match failed.is_empty() {
        true => verdict,
        false => verdict.fix("start them again, or take them out: redis-cli --cluster del-node HOST:PORT ID"),
    };
    Some(match moving {
        0 => verdict,
        _ => verdict.fix("let the reshard end before the first full sync; redis-cli --cluster fix HOST:PORT where it was interrupted"),
    })
}
