//! Rate limits: a bucket of commands and one of bytes, for full sync and stream alike.

use std::time::{Duration, Instant};

/// At most so many commands and bytes a second; `None` means no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RateLimit {
    /// Commands a second.
    pub commands_per_sec: Option<u64>,
    /// Bytes a second.
    pub bytes_per_sec: Option<u64>,
}

/// How much may be sent ahead of the rate after an idle time.
const BURST: Duration = Duration::from_millis(100);

/// Keeps the pace. Spending is always allowed and pushes the next moment back, so that one batch larger than a second's
/// allowance delays what follows instead of waiting for ever.
#[derive(Debug)]
pub struct Pace {
    limit: RateLimit,
    free_at: Instant,
}

impl Pace {
    /// A pace that starts with a full burst.
    #[must_use]
    pub fn new(limit: RateLimit, now: Instant) -> Pace {
        Pace { limit, free_at: now }
    }

    /// Until when nothing may be sent; `None` when it may be now.
    #[must_use]
    pub fn wait_until(&self, now: Instant) -> Option<Instant> {
        (self.free_at > now).then_some(self.free_at)
    }

    /// Notes what is sent.
    pub fn spend(&mut self, commands: u64, bytes: u64, now: Instant) {
        let time = |amount: u64, rate: Option<u64>| {
            rate.map_or(Duration::ZERO, |rate| {
                Duration::from_secs_f64(amount as f64 / rate.max(1) as f64)
            })
        };
        let cost = time(commands, self.limit.commands_per_sec).max(time(bytes, self.limit.bytes_per_sec));
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        self.free_at = self.free_at.max(earliest) + cost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_seconds_worth_takes_ten_seconds() {
        let start = Instant::now();
        let limit = RateLimit {
            commands_per_sec: Some(1_000),
            bytes_per_sec: None,
        };
        let mut pace = Pace::new(limit, start);
        let mut now = start;
        for _ in 0..100 {
            now = pace.wait_until(now).unwrap_or(now);
            pace.spend(100, 1 << 30, now);
        }
        let took = now - start;
        assert!(
            took > Duration::from_millis(9_700) && took < Duration::from_millis(10_100),
            "{took:?}"
        );
    }

    #[test]
    fn no_limit_never_waits() {
        let now = Instant::now();
        let mut pace = Pace::new(RateLimit::default(), now);
        pace.spend(u64::MAX, u64::MAX, now);
        assert_eq!(pace.wait_until(now), None);
    }

    #[test]
    fn the_scarcer_of_both_allowances_rules() {
        let now = Instant::now();
        let limit = RateLimit {
            commands_per_sec: Some(1_000_000),
            bytes_per_sec: Some(1_000),
        };
        let mut pace = Pace::new(limit, now);
        pace.spend(1, 5_000, now);
        assert!(pace.wait_until(now).unwrap() >= now + Duration::from_millis(4_800));
    }
}
