//! What is counted of a pipeline since the process started, for metrics.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::unpoisoned;

/// Counters of one pipeline since the process started. They only grow.
#[derive(Debug, Default)]
pub struct Counters {
    /// Commands read from the stream.
    pub commands_received: AtomicU64,
    /// Commands dropped by a filter.
    pub commands_filtered: AtomicU64,
    /// Commands sent to the target.
    pub commands_sent: AtomicU64,
    /// Commands the target confirmed.
    pub commands_applied: AtomicU64,
    /// Commands the target refused.
    pub commands_refused: AtomicU64,
    /// Bytes of commands sent to the target.
    pub bytes_sent: AtomicU64,
    /// Batches confirmed.
    pub batches_applied: AtomicU64,
    /// Batches that failed and were, or will be, sent again.
    pub batches_failed: AtomicU64,
    /// Keys sent in full syncs.
    pub snapshot_keys_sent: AtomicU64,
    /// Keys left out of full syncs by a filter.
    pub snapshot_keys_filtered: AtomicU64,
    /// Bytes of stream written to the log.
    pub log_bytes_written: AtomicU64,
    /// Bytes of snapshot written to the log.
    pub snapshot_bytes_written: AtomicU64,
    /// Full syncs begun, by reason.
    full_syncs: Mutex<Vec<(String, u64)>>,
    /// Partial resynchronisations that succeeded.
    pub continues: AtomicU64,
    /// Connections to the source opened again.
    pub source_reconnects: AtomicU64,
    /// Connections to the target opened again.
    pub target_reconnects: AtomicU64,
    /// Commands that a cluster target had already when they came again.
    pub commands_replayed: AtomicU64,
    /// Transactions of the source over several slots, which a cluster target got in parts.
    pub transactions_split: AtomicU64,
    /// Bytes of log, snapshot and stream, that followers have been sent.
    pub log_bytes_served: AtomicU64,
    /// Bytes of log, snapshot and stream, that have been copied from a leader.
    pub log_bytes_copied: AtomicU64,
    /// Commands in the dead-letter file.
    pub dead_letters: AtomicU64,
}

impl Counters {
    /// Adds to a counter. Relaxed: counters order nothing.
    pub fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    /// Reads a counter.
    #[must_use]
    pub fn read(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    /// Full syncs begun, by reason.
    #[must_use]
    pub fn full_syncs(&self) -> Vec<(String, u64)> {
        unpoisoned(&self.full_syncs).clone()
    }

    /// Counts a full sync under its reason.
    pub fn count_full_sync(&self, reason: &str) {
        let mut reasons = unpoisoned(&self.full_syncs);
        match reasons.iter_mut().find(|(known, _)| known == reason) {
            Some((_, n)) => *n += 1,
            None => reasons.push((reason.to_owned(), 1)),
        }
    }
}
