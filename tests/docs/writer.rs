//! A client that writes to a source until it is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::{SOON, Server, wait_until};

/// Keys that are written.
const KEYS: u64 = 100;

/// A writer at work.
pub struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    refused: AtomicBool,
    written: AtomicU64,
}

impl Writer {
    /// Counts up keys on these masters, each where it is served, and has begun when this returns.
    pub fn on(masters: &[&Server]) -> Writer {
        let shared = Arc::new(Shared::default());
        let mut conns: Vec<_> = masters.iter().map(|master| master.conn()).collect();
        let theirs = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for number in (0..KEYS).cycle() {
                if theirs.stop.load(Ordering::Relaxed) {
                    return;
                }
                let mut incr = redis::cmd("INCR");
                incr.arg(format!("counter:{number}"));
                let answers = conns.iter_mut().map(|conn| incr.query::<u64>(conn));
                let mut taken = false;
                for answer in answers.collect::<Vec<_>>() {
                    match answer {
                        Ok(_) => taken = true,
                        Err(error) if error.code() == Some("NOREPLICAS") => {
                            theirs.refused.store(true, Ordering::Relaxed);
                            return;
                        }
                        // Another serves it.
                        Err(_) => {}
                    }
                }
                theirs.written.fetch_add(u64::from(taken), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let writer = Writer {
            shared,
            thread: Some(thread),
        };
        wait_until(SOON, "the writer has begun", || writer.written() > 0);
        writer
    }

    fn written(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }

    /// The script has kept it from writing.
    #[track_caller]
    pub fn assert_refused(&self) {
        assert!(
            self.shared.refused.load(Ordering::Relaxed),
            "nobody has refused its writes"
        );
        assert!(self.written() > 0);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
