//! A client that writes to a source until all of it refuses.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::{SOON, Server, wait_until};

/// Keys that are written.
const KEYS: u64 = 100;

/// A writer at work.
pub struct Writer {
    shared: Arc<Shared>,
    masters: usize,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Masters that have refused.
    refused: AtomicU64,
    written: AtomicU64,
    /// What the last answer said of each key.
    acknowledged: Mutex<BTreeMap<String, u64>>,
}

impl Writer {
    /// Counts up keys on these masters, each where it is served, and has begun when this returns. A master that has refused is left alone; the others are not.
    pub fn on(masters: &[&Server]) -> Writer {
        let shared = Arc::new(Shared::default());
        let mut conns: Vec<_> = masters.iter().map(|master| master.conn()).collect();
        let theirs = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for number in (0..KEYS).cycle() {
                if theirs.stop.load(Ordering::Relaxed) || conns.is_empty() {
                    return;
                }
                let key = format!("counter:{number}");
                let mut incr = redis::cmd("INCR");
                incr.arg(&key);
                conns.retain_mut(|conn| match incr.query::<u64>(conn) {
                    Ok(count) => {
                        theirs.acknowledged.lock().unwrap().insert(key.clone(), count);
                        theirs.written.fetch_add(1, Ordering::Relaxed);
                        true
                    }
                    Err(error) if error.code() == Some("NOREPLICAS") => {
                        theirs.refused.fetch_add(1, Ordering::Relaxed);
                        false
                    }
                    // Another serves it.
                    Err(_) => true,
                });
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let writer = Writer {
            shared,
            masters: masters.len(),
            thread: Some(thread),
        };
        wait_until(SOON, "the writer has begun", || writer.written() > 0);
        writer
    }

    fn written(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }

    /// The script has kept it from writing to any of the masters, and the target has all that was acknowledged, no more and no less.
    #[track_caller]
    pub fn assert_refused(&mut self, targets: &[&Server]) {
        wait_until(SOON, "every master refuses its writes", || {
            self.shared.refused.load(Ordering::Relaxed) == self.masters as u64
        });
        let _ = self.thread.take().map(JoinHandle::join);
        let acknowledged = self.shared.acknowledged.lock().unwrap();
        assert!(!acknowledged.is_empty());
        for (key, count) in acknowledged.iter() {
            let on = |target: &&Server| {
                redis::cmd("GET")
                    .arg(key)
                    .query::<Option<u64>>(&mut target.conn())
            };
            let found = targets.iter().find_map(|target| on(target).ok().flatten());
            assert_eq!(found, Some(*count), "{key}");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
