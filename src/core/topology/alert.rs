//! When to look again: at intervals, and often for a while after somebody has doubted what was seen.
//!
//! A failover takes as long as the cluster or the sentinels need to agree on it. Whoever noticed that a server is gone is long before that, so one
//! look at once would be too early.

use std::time::Duration;

use tokio::time::Instant;

/// So long after a doubt it is looked often.
const ALERT_FOR: Duration = Duration::from_secs(60);

/// That often.
const OFTEN: Duration = Duration::from_millis(500);

/// However many doubt: between two looks there is at least so much.
const PAUSE: Duration = Duration::from_millis(100);

/// Decides when the next look is due.
#[derive(Debug)]
pub struct Alert {
    every: Duration,
    until: Option<Instant>,
}

impl Alert {
    /// A look every so often.
    #[must_use]
    pub const fn new(every: Duration) -> Alert {
        Alert { every, until: None }
    }

    /// Waits until the next look is due. Cancel safe; a doubt that has been heard counts.
    pub async fn next(&mut self, doubted: impl Future<Output = ()>) {
        let is_alert = self.until.is_some_and(|until| Instant::now() < until);
        let wait = if is_alert {
            OFTEN.min(self.every)
        } else {
            self.every
        };
        tokio::select! {
            biased;
            () = doubted => {
                self.until = Some(Instant::now() + ALERT_FOR);
                tokio::time::sleep(PAUSE).await;
            }
            () = tokio::time::sleep(wait) => {}
        }
    }

    /// What was doubted has been cleared up.
    pub fn is_over(&mut self) {
        self.until = None;
    }
}
