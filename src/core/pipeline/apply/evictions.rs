//! Whether the target lets keys go that it was given: it evicts them where it is short of memory and its `maxmemory-policy` allows that.
//!
//! An evicted key is missing on the target until it is written again, and a command that counts on what was in it (`INCR`, `RPUSH`) begins anew, without
//! any error. No reply says so; only the server's own count does. Owns looking at that count, on the session's connections, and telling of it: when a
//! session begins to restore or to apply, and of a single server every few seconds besides. Of a cluster a node may be lost while the others are served,
//! and the stream must not wait for what it has to say. What was evicted before this process first looked is not told; what is gone comes back with a
//! full sync only.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{Context, Stream};
use crate::core::net::Address;
use crate::core::pipeline::End;
use crate::core::progress::Progress;
use crate::core::resp::Value;
use crate::core::target::session::Session;
use crate::core::target::{self, refusal};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A target that does not answer keeps a wish waiting for so long.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// What the nodes of a target have evicted so far, by their own counts.
#[derive(Debug, Default)]
pub struct Evictions {
    counts: Mutex<HashMap<Address, u64>>,
}

impl Context {
    /// Asks every node that takes writes, and tells of what has gone since the last look.
    pub(in crate::core::pipeline) async fn look_for_evictions(
        &self,
        session: &mut Session,
    ) -> Result<(), End> {
        let mut gone = 0;
        for node in session.lane.masters() {
            match session.lane.call_at(&node, &[b"INFO", b"stats"]).await {
                Ok(reply) => gone += self.evictions.grown(&node, evicted(&reply)),
                // Who may not ask hears nothing of it.
                Err(target::Error::Refused { reply, .. }) if !refusal::Kind::of(&reply).may_be_repeated() => {
                }
                Err(error) => return Err(End::Target(error)),
            }
        }
        if gone > 0 {
            tell(&self.progress, gone, &self.settings.source.endpoint.address);
        }
        Ok(())
    }
}

impl Stream<'_> {
    /// When to look next, where the target is looked at while it is live.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let is_single = !self.lane.may_wait_long();
        (is_single && self.lane.is_idle()).then_some(self.look_due)
    }

    /// Looks, where that is due. A wish need not wait for a target that does not answer.
    pub(super) async fn look(&mut self) -> Result<(), End> {
        if self.next_look().is_none_or(|due| due > Instant::now()) {
            return Ok(());
        }
        self.look_due = Instant::now() + LOOK_EVERY;
        let (context, mut wish) = (&self.context, self.context.wish.clone());
        let Some(session) = self.lane.session() else {
            return Ok(());
        };
        let looking = context.look_for_evictions(session);
        tokio::pin!(looking);
        tokio::select! {
            biased;
            looked = &mut looking => looked,
            // Half a conversation ends the session, which a wish does as well.
            _ = wish.changed() => timeout(ANSWER_LIMIT, looking).await.unwrap_or(Err(End::Wished)),
        }
    }

    /// The look after the one with which a session begins.
    pub(super) fn first_look() -> Instant {
        Instant::now() + LOOK_EVERY
    }
}

impl Evictions {
    /// By how much a node's count has grown. What it was at the first look is of before; a server that began anew counts from zero.
    fn grown(&self, node: &Address, now: u64) -> u64 {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.insert(node.clone(), now) {
            None => 0,
            Some(before) if before <= now => now - before,
            Some(_) => now,
        }
    }
}

fn tell(progress: &Progress, gone: u64, input: &Address) {
    let message = format!(
        "the target has evicted {gone} keys: they are missing there, and what counts on them begins anew"
    );
    let hint = format!(
        "give the target more memory and CONFIG SET maxmemory-policy noeviction there; then gunyu fullsync --inputs {input} brings back what is missing"
    );
    tracing::warn!(hint, "{message}");
    progress.report(message, Some(hint));
}

fn evicted(stats: &Value) -> u64 {
    let text = stats.text().map(String::from_utf8_lossy).unwrap_or_default();
    let count = text
        .lines()
        .find_map(|line| line.strip_prefix("evicted_keys:")?.trim().parse().ok());
    count.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(port: u16) -> Address {
        Address {
            host: "h".to_owned(),
            port,
        }
    }

    #[test]
    fn only_what_has_gone_since_the_first_look_counts() {
        let evictions = Evictions::default();
        let looks = [(1, 40), (1, 40), (2, 5), (1, 47), (2, 6), (1, 3), (1, 3)];
        let grown: Vec<u64> = looks
            .iter()
            .map(|(port, now)| evictions.grown(&node(*port), *now))
            .collect();
        // The sixth: the server began anew.
        assert_eq!(grown, [0, 0, 0, 7, 1, 3, 0]);
    }

    #[test]
    fn the_count_is_found_in_the_servers_statistics() {
        let stats = |text: &str| Value::Bulk(text.as_bytes().to_vec());
        assert_eq!(
            evicted(&stats("# Stats\r\nexpired_keys:9\r\nevicted_keys:12\r\n")),
            12
        );
        assert_eq!(evicted(&stats("# Stats\r\n")), 0);
        assert_eq!(evicted(&Value::Nil), 0);
    }
}
