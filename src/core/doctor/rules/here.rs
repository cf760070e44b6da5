//! What must hold of this machine.

use super::both::{data_of, ends_in};
use super::words::size;
use super::{Case, Verdict};
use crate::core::doctor::here::{Facts, Folder, Port};
use crate::core::doctor::{Finding, Severity, Subject};

/// So many files may be open with any system's default.
const OPEN_FILES_MIN: u64 = 1024;

/// What to do about a note: it names the key.
const CONFIGURATION: &str = "change that in the configuration, or leave it as it is if it is meant";

pub(super) fn judge(case: &Case<'_>, facts: &Facts) -> Vec<Finding> {
    let place = &case.plan.here;
    let mut found = Vec::new();
    found.push(("folder", folder(facts, &place.root.display().to_string())));
    if place.on_disk {
        let data = data_of(case.source.heard());
        found.extend(disk(facts, data, place.max_bytes).map(|verdict| ("disk", verdict)));
        found.extend(log_size(data, place.max_bytes).map(|verdict| ("log-size", verdict)));
    }
    for one in &facts.ports {
        found.push(("port", port(one, facts)));
    }
    let nodes = case.target.nodes.len().max(1) as u64;
    let sources = case.source.nodes.iter().filter(|node| !node.is_copy());
    let each = case.plan.connections.saturating_mul(nodes).saturating_add(16);
    let needed = (sources.count() as u64).saturating_mul(each).saturating_add(128);
    found.extend(open_files(facts, needed).map(|verdict| ("open-files", verdict)));
    found.extend(
        case.plan
            .notes
            .iter()
            .map(|note| ("configuration", Verdict::warning(note.clone()).fix(CONFIGURATION))),
    );
    found.extend(leases(case).map(|verdict| ("leases", verdict)));
    let now = chrono::Utc::now().timestamp();
    for (key, ends) in &facts.certificates {
        found.push((
            "certificate",
            ends_in(*ends, now, &format!("the certificate of {key}"), "renew it"),
        ));
    }
    let found = found.into_iter();
    let found = found.map(|(check, verdict)| verdict.found(check, Subject::Here, Vec::new()));
    found.chain(store(case)).collect()
}

/// What refuses the applications' writes refuses those of whoever renews a lease there.
fn leases(case: &Case<'_>) -> Option<Verdict> {
    let says = "the group's leases are in the source's Redis: what keeps the source from being written to (min-replicas-to-write, \
                CLIENT PAUSE, a full memory) keeps them from being renewed, and then nobody leads and the copy stands still, in a cutover too";
    let verdict = case.plan.leases_in_source.then(|| Verdict::warning(says))?;
    Some(
        verdict
            .fix("--set 'cluster.metaRedis.addresses=[ANOTHER-REDIS:6379]', or cluster.metaEtcd")
            .fix("or, where they stay there, refuse the applications' writes by their users alone: ACL SETUSER THEIR-USER -@write"),
    )
}

/// One that answers is enough, if it has the others' consent: an etcd that has lost some goes on while most are there.
fn store(case: &Case<'_>) -> Vec<Finding> {
    let is_lost = case.store.iter().all(|node| node.trouble.is_some());
    let judged = case.store.iter().map(|node| {
        let verdict = match (&node.trouble, is_lost) {
            (None, _) => Verdict::ok("the store of the group's leases can be reached"),
            (Some(trouble), true) => Verdict::problem(format!("no lease can be had: {}", trouble.message)),
            (Some(trouble), false) => Verdict::warning(format!(
                "a node of the store of the group's leases is away: {}",
                trouble.message
            )),
        };
        let hint = node.trouble.as_ref().and_then(|trouble| trouble.hint.clone());
        let verdict = match hint {
            Some(hint) => verdict.fix(hint),
            None => verdict,
        };
        verdict.found("store", Subject::Here, vec![node.address().to_string()])
    });
    judged.collect()
}

fn folder(facts: &Facts, root: &str) -> Verdict {
    match &facts.folder {
        Folder::Usable => Verdict::ok(format!("{root} can be written")),
        Folder::ToBeMade => Verdict::ok(format!("{root} does not exist yet, and can be made")),
        Folder::Held { holder } => {
            Verdict::warning(format!("{root} is in use ({holder}): another gunyu sync would not start"))
                .fix("nothing, where that is the daemon that is meant; for another one: --set channel.storer.dirPath=A-FOLDER-OF-ITS-OWN")
        }
        Folder::Others { uid } => {
            let says = format!("{root} belongs to another user (number {uid}): a gunyu of this one could not use it");
            Verdict::warning(says).fix(format!("run gunyu doctor as the user as whom gunyu runs: sudo -u '#{uid}' gunyu doctor"))
        }
        Folder::Wrong { message, hint } => {
            let verdict = Verdict::problem(message.clone());
            match hint {
                Some(hint) => verdict.fix(hint.clone()),
                None => verdict.fix("give the folder to the user that gunyu runs as (chown), or --set channel.storer.dirPath=A-FOLDER-OF-ITS-OWN"),
            }
        }
    }
}

/// Against the snapshot, which must fit, and against the cap, up to which the log may grow. How much smaller than in memory the data is in a snapshot is not known:
/// a tenth is little even for text.
fn disk(facts: &Facts, data: u64, cap: Option<u64>) -> Option<Verdict> {
    let Some(free) = facts.free_bytes else {
        let says = "how much is free on the disk of the logs could not be found out";
        return Some(Verdict::new(Severity::Unknown, says).fix("df -h"));
    };
    // Logs that are there count to the cap, and make room for others.
    let ours = free.saturating_add(facts.logs_bytes);
    let has = format!("{} are free on the disk of the logs", size(free));
    if data > ours {
        let says = format!(
            "{has}, and the source's data takes {}: a snapshot may not fit",
            size(data)
        );
        let new = match ours < data / 10 {
            true => Verdict::problem,
            false => Verdict::warning,
        };
        return Some(new(says).fix("--set channel.storer.dirPath=A-FOLDER-ON-A-LARGER-DISK"));
    }
    match cap {
        Some(cap) if cap > ours => {
            let fits = (ours / 10 * 9) >> 20;
            let says = format!(
                "{has}, and channel.storer.maxSize lets the logs take {}: a long outage of the target would fill the disk",
                size(cap)
            );
            Some(Verdict::warning(says).fix(format!("--set channel.storer.maxSize={fits}MiB")))
        }
        Some(cap) => Some(Verdict::ok(format!("{has}, the logs take at most {}", size(cap)))),
        None => Some(Verdict::ok(format!("{has}, and the logs have no cap"))),
    }
}

fn log_size(data: u64, cap: Option<u64>) -> Option<Verdict> {
    let cap = cap.filter(|cap| data > *cap)?;
    let says = format!(
        "channel.storer.maxSize is {}, and the source's data takes {}: a snapshot may not fit",
        size(cap),
        size(data)
    );
    let enough = (data.saturating_mul(2) >> 20) + 1;
    Some(Verdict::warning(says).fix(format!("--set channel.storer.maxSize={enough}MiB")))
}

fn port(port: &Port, facts: &Facts) -> Verdict {
    let (key, address) = (port.key, &port.address);
    // Who holds the folder has written there where its API is: its other port is its own, too.
    let is_holders = match &facts.folder {
        Folder::Held { holder } => facts
            .ports
            .iter()
            .any(|one| holder.contains(&one.address.to_string())),
        _ => false,
    };
    match &port.trouble {
        None => Verdict::ok(format!("{address} is free for the API ({key})")),
        Some(_) if matches!(facts.folder, Folder::Others { .. }) => {
            let says = format!(
                "somebody listens on {address} ({key}): perhaps the gunyu of the user who owns the folder"
            );
            Verdict::new(Severity::Unknown, says).fix(format!("ss -ltnp 'sport = :{}'", address.port))
        }
        Some(_) if is_holders => Verdict::ok(format!("{address} is the API of the gunyu that runs ({key})")),
        Some(trouble) => {
            Verdict::problem(format!("gunyu cannot listen on {address}: {trouble}")).fix(format!(
                "--set {key}=127.0.0.1:ANOTHER-PORT; ss -ltnp 'sport = :{}' tells who listens there",
                address.port
            ))
        }
    }
}

fn open_files(facts: &Facts, needed: u64) -> Option<Verdict> {
    let most = facts.open_files_max?;
    let needed = needed.max(OPEN_FILES_MIN);
    if most >= needed {
        return Some(Verdict::ok(format!("{most} files may be open")));
    }
    let says = format!("{most} files may be open, and {needed} should be");
    Some(Verdict::warning(says).fix("ulimit -n 65536, or LimitNOFILE=65536 in the unit of systemd"))
}
