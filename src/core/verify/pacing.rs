//! How fast servers are asked: at most so many keys a second, whoever asks for them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::core::target::pace::{Pace, RateLimit};

/// What all who ask share.
#[derive(Debug, Clone)]
pub(super) struct Pacing {
    pace: Arc<Mutex<Pace>>,
}

impl Pacing {
    pub(super) fn new(keys_per_sec: Option<u64>) -> Pacing {
        let limit = RateLimit {
            commands_per_sec: keys_per_sec,
            bytes_per_sec: None,
        };
        Pacing {
            pace: Arc::new(Mutex::new(Pace::new(limit, Instant::now()))),
        }
    }

    /// Waits until what was asked for before has had its time. So many keys more will be asked for now.
    pub(super) async fn spend(&self, keys: usize) {
        let until = {
            let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let until = pace.wait_until(now);
            pace.spend(keys as u64, 0, now);
            until
        };
        if let Some(until) = until {
            tokio::time::sleep_until(until.into()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn whoever_asks_waits_for_what_was_asked_for_before() {
        let (one, began) = (Pacing::new(Some(1_000)), Instant::now());
        let other = one.clone();
        one.spend(200).await;
        other.spend(1).await;
        assert!(
            began.elapsed() >= Duration::from_millis(200),
            "{:?}",
            began.elapsed()
        );
    }
}
