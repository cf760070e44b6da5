//! Asks all masters how far they are, one after the other, for ever.
//!
//! Promises that a master that does not answer delays nothing but the ticks: without it there is none, because nothing would be known of what lies behind.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::sleep;

use super::Crossings;
use crate::core::topology;
use crate::core::topology::sample::Sample;
use crate::core::topology::sampler::Sampler;

/// Between two ticks when nothing moves.
const CALM: Duration = Duration::from_secs(1);

/// Between two ticks while slots move.
const STIRRED: Duration = Duration::from_millis(50);

/// Between two ticks when somebody waits for the next.
const HURRIED: Duration = Duration::from_millis(20);

/// Asks for ever; the caller ends it.
pub async fn run(crossings: Crossings) {
    let mut sampler = Sampler::default();
    loop {
        match sample(&crossings, &mut sampler).await {
            Ok(Some(samples)) => crossings.take(samples),
            Ok(None) => crossings.note_blindness(),
            Err(error) => {
                tracing::debug!(%error, "a master could not be asked how far it is");
                crossings.note_blindness();
            }
        }
        sleep(HURRIED).await;
        let pause = if crossings.is_stirred() { STIRRED } else { CALM };
        tokio::select! {
            () = sleep(pause - HURRIED) => {}
            () = crossings.0.hurry.notified() => {}
        }
    }
}

/// All masters; nothing where one of them is none just now.
async fn sample(
    crossings: &Crossings,
    sampler: &mut Sampler,
) -> Result<Option<BTreeMap<String, Sample>>, topology::Error> {
    let masters = crossings.inner().masters.clone();
    let mut samples = BTreeMap::new();
    for (name, endpoint) in masters {
        let Some(sample) = sampler.sample(&endpoint).await? else {
            return Ok(None);
        };
        samples.insert(name, sample);
    }
    Ok((!samples.is_empty()).then_some(samples))
}
