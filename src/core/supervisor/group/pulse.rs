//! Whether source and target of what we lead can be reached, and whether another member can where we cannot.
//!
//! A leader that is cut off from one of them renews its lease as ever. So it looks itself, on connections of their own, which nothing else holds up; where one of the
//! two has been away for a part of a lease, the others are asked whether they reach both, and the best that does gets the input, without a drain.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::asks::Membership;
use crate::core::supervisor::handle::Handle;
use crate::core::supervisor::input::Input;

/// A server that does not answer within this time cannot be reached.
pub(in crate::core::supervisor) const ANSWER_LIMIT: Duration = Duration::from_millis(1_500);

/// Between two looks, at most and at least.
const EVERY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(3));

/// Looks for ever.
pub(super) async fn watch(membership: Membership, handle: Handle) {
    let lease = membership.lease_timeout();
    let mut away_since: BTreeMap<String, Instant> = BTreeMap::new();
    loop {
        sleep((lease / 6).clamp(EVERY.0, EVERY.1)).await;
        let led: Vec<Input> = handle.inputs().into_iter().filter(Input::is_led).collect();
        away_since.retain(|name, _| led.iter().any(|input| input.name() == name));
        if membership.others().is_empty() || handle.is_stopping() {
            continue;
        }
        let looks = led.iter().map(|input| async move {
            let began = Instant::now();
            (input, began, input.reaches_both().await)
        });
        for (input, began, reaches) in join_all(looks).await {
            if reaches.is_ok() {
                away_since.remove(input.name());
                continue;
            }
            let since = *away_since.entry(input.name().to_owned()).or_insert(began);
            if since.elapsed() >= lease / 3 {
                give_up(&membership, input, &reaches.err().unwrap_or_default()).await;
            }
        }
    }
}

/// Gives the input to a member that reaches both, if one does.
async fn give_up(membership: &Membership, input: &Input, why: &str) {
    let others = membership.others();
    let asked = others.iter().map(|member| async move {
        let fit = membership.is_fit(member, input.name()).await;
        fit.then_some(member)
    });
    let fit: Vec<&String> = join_all(asked).await.into_iter().flatten().collect();
    let Some(seen) = membership.seen() else { return };
    let reach = |member: &&&String| {
        let record = seen.members.get(**member);
        let end = record.and_then(|record| super::end_of(record.positions.get(input.name())?));
        end.filter(|end| input.is_of(end)).map(|end| end.offset)
    };
    let Some(heir) = fit.iter().max_by_key(reach) else {
        return;
    };
    tracing::warn!(input = %input.source, to = %heir, "another member reaches what this one does not ({why}): it gets the input");
    membership.shun(input.name());
    if let Err(error) = membership.hand_over(input.name(), Some(heir), true).await {
        tracing::warn!(%error, "the input could not be handed over");
    }
}

/// Whether a question is answered in time.
pub(in crate::core::supervisor) async fn answers<E: std::fmt::Display>(
    asked: impl Future<Output = Result<(), E>>,
    whom: &str,
) -> Result<(), String> {
    match timeout(ANSWER_LIMIT, asked).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("{whom}: {error}")),
        Err(_) => Err(format!("{whom} does not answer")),
    }
}
