//! Appending to the stream.

use std::sync::Arc;

use bytes::Bytes;

use super::inner::Inner;
use super::{Error, FlushPolicy};
use crate::core::position::Offset;

/// Appends to the stream. A log has one at a time.
#[derive(Debug)]
pub struct Writer {
    log: Arc<Inner>,
    generation: u64,
}

impl Writer {
    pub(super) fn new(log: Arc<Inner>, generation: u64) -> Writer {
        Writer { log, generation }
    }

    /// Appends received bytes, all or nothing, and wakes the readers; returns the log's new end.
    ///
    /// Written to the page cache inline, in one call for each chunk. Waits for the disk only with
    /// [`FlushPolicy::EveryWrite`]; only that wait can be cancelled, and the bytes are appended then.
    ///
    /// # Errors
    /// [`Error::Full`] and [`Error::NoSpace`]: nothing was appended, it may be tried again. [`Error::Superseded`]: get
    /// a new writer. [`Error::Broken`], [`Error::Io`]: open the log again.
    pub async fn append(&mut self, bytes: Bytes) -> Result<Offset, Error> {
        let end = self.log.append(self.generation, &bytes)?;
        let policy = self.log.store.as_ref().map(|store| store.flush);
        if policy == Some(FlushPolicy::EveryWrite) {
            self.log.persisted_to(self.generation, end).await?;
        }
        Ok(end)
    }

    /// Where the log ends.
    #[must_use]
    pub fn position(&self) -> Offset {
        self.log.state().end
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut state = self.log.state();
        if state.generation == self.generation {
            state.writer_held = false;
        }
    }
}
