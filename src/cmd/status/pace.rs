//! How long a full sync will still take, from what was seen of it so far.

use std::collections::HashMap;
use std::time::Duration;

use crate::http::model::{FullSync, InputStatus};

/// A guess from less than this is worth nothing.
const SEEN_MIN: Duration = Duration::from_secs(3);

/// What was seen of each full sync since it was first seen.
#[derive(Debug, Default)]
pub(super) struct Pace {
    seen: HashMap<String, Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    first: (Duration, u64),
    last: (Duration, u64),
}

impl Pace {
    /// Notes what the daemon says `now`, on any clock that only goes forward.
    pub(super) fn observe(&mut self, now: Duration, inputs: &[InputStatus]) {
        let running = inputs.iter().filter_map(|input| Some((input, running(input)?)));
        let seen = running.map(|(input, full_sync)| {
            let here = (now, full_sync.bytes);
            let before = self.seen.get(&input.input).filter(|seen| seen.last.1 <= here.1);
            let first = before.map_or(here, |seen| seen.first);
            (input.input.clone(), Seen { first, last: here })
        });
        self.seen = seen.collect();
    }

    /// The time left, where it can be guessed.
    pub(super) fn left(&self, input: &InputStatus) -> Option<Duration> {
        let full_sync = running(input)?;
        let Seen { first, last } = self.seen.get(&input.input)?;
        let time = last.0.checked_sub(first.0).filter(|time| *time >= SEEN_MIN)?;
        let done = last.1.checked_sub(first.1).filter(|done| *done > 0)?;
        let todo = full_sync
            .total_bytes
            .checked_sub(full_sync.bytes)
            .filter(|todo| *todo > 0)?;
        Duration::try_from_secs_f64(time.as_secs_f64() * todo as f64 / done as f64).ok()
    }
}

fn running(input: &InputStatus) -> Option<&FullSync> {
    input.full_sync.as_ref().filter(|_| input.phase == "full_sync")
}

#[cfg(test)]
mod tests {
    use super::super::table::example;
    use super::*;

    fn at(bytes: u64) -> Vec<InputStatus> {
        let input = example(&serde_json::json!({
            "Phase": "full_sync",
            "FullSync": {"Percent": 0.0, "Keys": 1, "Bytes": bytes, "TotalBytes": 1_000, "Reason": "first sync"},
        }));
        vec![input]
    }

    #[test]
    fn the_rest_takes_as_long_as_the_pace_says() {
        let mut pace = Pace::default();
        let second = Duration::from_secs;
        pace.observe(second(10), &at(100));
        assert_eq!(pace.left(&at(100)[0]), None, "one look shows no pace");
        pace.observe(second(14), &at(300));
        assert_eq!(pace.left(&at(300)[0]), Some(second(14)));
        pace.observe(second(15), &at(50)); // begun anew
        assert_eq!(pace.left(&at(50)[0]), None);
        pace.observe(second(16), &[example(&serde_json::json!({}))]);
        pace.observe(second(20), &at(300));
        assert_eq!(pace.left(&at(300)[0]), None, "what was before does not count");
    }
}
