//! Which inputs write to one target: what empties it for one of them would delete what another has written.
//!
//! Two addresses are one server where they are the same, where the servers have told the same run id, or where their names mean a common address.
//! Doubt counts against: what cannot be told apart is taken for the same only by these three.

use std::net::SocketAddr;
use std::time::Duration;

use super::input::Input;

/// Names that cannot be looked up within this time are only compared as they are written.
const LOOKUP_LIMIT: Duration = Duration::from_secs(2);

/// For each input, the group it is in: inputs of one group feed common databases of one target.
pub(super) async fn groups(inputs: &[Input]) -> Vec<usize> {
    let mut meant = Vec::new();
    for input in inputs {
        meant.push(addresses(input).await);
    }
    let shares = |a: usize, b: usize| {
        let same =
            is_same_server(&inputs[a], &inputs[b]) || meant[a].iter().any(|one| meant[b].contains(one));
        same && feed_in_common(&inputs[a], &inputs[b])
    };
    let mut groups: Vec<usize> = (0..inputs.len()).collect();
    for b in 0..inputs.len() {
        for a in 0..b {
            if groups[a] != groups[b] && shares(a, b) {
                let (from, to) = (groups[b].max(groups[a]), groups[b].min(groups[a]));
                groups
                    .iter_mut()
                    .filter(|group| **group == from)
                    .for_each(|group| *group = to);
            }
        }
    }
    groups
}

async fn addresses(input: &Input) -> Vec<SocketAddr> {
    let name = (input.target.host.as_str(), input.target.port);
    match tokio::time::timeout(LOOKUP_LIMIT, tokio::net::lookup_host(name)).await {
        Ok(Ok(found)) => found.collect(),
        _ => Vec::new(),
    }
}

fn is_same_server(a: &Input, b: &Input) -> bool {
    let ids = (a.progress.target_run_id(), b.progress.target_run_id());
    a.target == b.target || matches!(ids, (Some(ours), Some(theirs)) if ours == theirs)
}

fn feed_in_common(a: &Input, b: &Input) -> bool {
    let theirs = b.filter().fed_databases(u32::MAX);
    let ours = a.filter().fed_databases(u32::MAX);
    ours.iter()
        .any(|(_, db)| theirs.iter().any(|(_, other)| db == other))
}
