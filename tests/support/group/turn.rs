//! How many groups run at a time: two for a processor, as most of them wait most of the time, whatever the number of threads that run tests. A member that gets no processor for seconds loses its lease, as it
//! must, and a test that waits for something else sees that.

use std::sync::{Condvar, Mutex, PoisonError};

static RUNNING: Mutex<usize> = Mutex::new(0);
static CHANGED: Condvar = Condvar::new();

/// A group may run as long as this is there.
#[derive(Debug)]
pub struct Turn(());

impl Turn {
    /// Waits for it.
    pub fn take() -> Turn {
        let most = std::thread::available_parallelism().map_or(2, |cores| cores.get() * 2);
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let running = CHANGED.wait_while(running, |running| *running >= most);
        *running.unwrap_or_else(PoisonError::into_inner) += 1;
        Turn(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        CHANGED.notify_one();
    }
}
