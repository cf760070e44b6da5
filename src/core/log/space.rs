//! The room that all logs share: a cap on the bytes of their files that holds at every moment.
//!
//! Owns the count and decides what goes: retention is lazy, nothing is released before its room is needed, since after
//! a failover of the target the log replays the difference. Then the oldest goes first, whichever log it is in, out of
//! what the logs' owners have called releasable. Leaves to [`super::inner`] how a thing is released.
//!
//! Counted are the segments, headers and seals included, and the snapshots of the logs that are open (in memory: the
//! chunks). Not counted: the catalog, files of pipelines that are not open ([`super::list_pipelines`] finds those),
//! and, for as long as a reader has it open, a file that has just been removed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::watch;

use super::Error;
use super::inner::{Inner, lock};

/// So many bytes of the newest stream are kept in memory beside the disk, by all logs together; each has at least [`TAIL_BYTES_MIN`].
const TAILS_BYTES: u64 = 32 << 20;

/// What a reader that keeps up needs at least.
const TAIL_BYTES_MIN: u64 = 1 << 20;

/// The room shared by all logs.
#[derive(Debug)]
pub struct Space {
    max: u64,
    used: AtomicU64,
    /// How many logs are open.
    open: AtomicU64,
    logs: Mutex<Vec<Weak<Inner>>>,
    /// Held while something is being released, so that nothing is counted twice.
    sweeping: Mutex<()>,
    /// Goes up when bytes are given back or become releasable.
    news: watch::Sender<u64>,
}

impl Space {
    /// Room for `max_bytes`; `u64::MAX` for no cap.
    #[must_use]
    pub fn new(max_bytes: u64) -> Arc<Space> {
        Arc::new(Space {
            max: max_bytes,
            used: AtomicU64::new(0),
            open: AtomicU64::new(0),
            logs: Mutex::new(Vec::new()),
            sweeping: Mutex::new(()),
            news: watch::Sender::new(0),
        })
    }

    /// The cap.
    #[must_use]
    pub fn max_bytes(&self) -> u64 {
        self.max
    }

    /// Bytes in use. More than the cap only where files of an earlier, larger cap were found at opening.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.used.load(Ordering::Acquire)
    }

    /// Waits until there is room for `bytes` more, releasing what may be released. An append needs a little more than
    /// its bytes: 16 for each MiB begun, and 80 for a new segment. The room is not set aside: an
    /// append may still find it taken, and then waits again.
    ///
    /// Without an end of its own: it lasts as long as the target makes no progress. Safe to cancel.
    ///
    /// # Errors
    /// [`Error::Full`] where `bytes` exceed the cap itself; an error of the filesystem where releasing failed.
    pub async fn wait_for_room(&self, bytes: u64) -> Result<(), Error> {
        let mut news = self.news.subscribe();
        loop {
            // Marked as seen before looking: what changes after the look wakes us.
            news.borrow_and_update();
            if bytes > self.max {
                return Err(self.full(bytes));
            }
            match self.make_room(bytes, None) {
                Ok(()) => return Ok(()),
                Err(Error::Full { .. }) => {}
                Err(error) => return Err(error),
            }
            if news.changed().await.is_err() {
                return Err(Error::ShutDown);
            }
        }
    }

    /// The open log of that name, if there is one.
    pub(super) fn open_log(&self, name: &str) -> Option<Arc<Inner>> {
        lock(&self.logs)
            .iter()
            .filter_map(Weak::upgrade)
            .find(|log| log.name == name && !log.state().retired)
    }

    pub(super) fn join(&self, log: &Arc<Inner>, bytes: u64) {
        let mut logs = lock(&self.logs);
        logs.retain(|known| known.strong_count() > 0);
        logs.push(Arc::downgrade(log));
        self.used.fetch_add(bytes, Ordering::AcqRel);
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// A log that has joined is closed.
    pub(super) fn leave(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// How much of its newest stream one log may keep in memory beside the disk.
    pub(super) fn tail_share(&self) -> u64 {
        let open = self.open.load(Ordering::Relaxed).max(1);
        (TAILS_BYTES / open).max(TAIL_BYTES_MIN)
    }

    /// Takes `bytes`, releasing what may be released where there is no room. `holder` is the log whose pen the
    /// caller holds.
    pub(super) fn take(&self, bytes: u64, holder: Option<&Inner>) -> Result<(), Error> {
        while !self.try_take(bytes) {
            self.make_room(bytes, holder)?;
        }
        Ok(())
    }

    fn try_take(&self, bytes: u64) -> bool {
        let grown = |used: u64| used.checked_add(bytes).filter(|grown| *grown <= self.max);
        self.used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, grown)
            .is_ok()
    }

    /// Gives `bytes` back.
    pub(super) fn give_back(&self, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let before = self.used.fetch_sub(bytes, Ordering::AcqRel);
        debug_assert!(before >= bytes, "gave back {bytes} of {before}");
        self.tell();
    }

    /// Wakes those who wait for room.
    pub(super) fn tell(&self) {
        if self.news.receiver_count() > 0 {
            self.news.send_modify(|count| *count += 1);
        }
    }

    fn full(&self, needed: u64) -> Error {
        Error::Full {
            needed,
            used: self.used_bytes(),
            max: self.max,
        }
    }

    fn make_room(&self, bytes: u64, holder: Option<&Inner>) -> Result<(), Error> {
        // Read once for both: others give back meanwhile.
        let missing = || {
            let wanted = self.used_bytes().saturating_add(bytes);
            wanted.checked_sub(self.max).filter(|missing| *missing > 0)
        };
        if missing().is_none() {
            return Ok(());
        }
        let _sweeping = lock(&self.sweeping);
        while let Some(missing) = missing() {
            if bytes > self.max || !self.release_one(missing, holder)? {
                return Err(self.full(bytes));
            }
        }
        Ok(())
    }

    /// Releases the oldest thing that may go; `false` where there is none.
    fn release_one(&self, missing: u64, holder: Option<&Inner>) -> Result<bool, Error> {
        let logs: Vec<Arc<Inner>> = lock(&self.logs).iter().filter_map(Weak::upgrade).collect();
        let mut fronts: Vec<_> = logs
            .iter()
            .filter_map(|log| log.front().map(|(_, born)| (born, log)))
            .collect();
        fronts.sort_by_key(|(born, _)| *born);
        let mut first_error = None;
        for (_, log) in fronts {
            let holds_pen = holder.is_some_and(|holder| std::ptr::eq(holder, &raw const **log));
            match log.release_front(missing, holds_pen) {
                Ok(0) => {}
                Ok(freed) => {
                    self.give_back(freed);
                    return Ok(true);
                }
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        first_error.map_or(Ok(false), Err)
    }
}
