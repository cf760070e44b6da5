//! Reading a snapshot, while it is still received or afterwards.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::disk::File;
use super::super::inner::Inner;
use super::super::{Error, block};
use super::Piece;

/// Reads the snapshot from some byte on to its end, following whoever still receives it.
///
/// While it keeps up it gets the very bytes that were received; behind that it reads the file in pieces of 1 MiB, on
/// a thread that may block.
#[derive(Debug)]
pub struct SnapshotReader {
    log: Arc<Inner>,
    generation: u64,
    at: u64,
    news: watch::Receiver<u64>,
    /// A read of the file that was begun; survives the cancelling of [`SnapshotReader::next`].
    reading: Option<JoinHandle<Result<Bytes, Error>>>,
}

impl SnapshotReader {
    pub(in super::super) fn new(log: Arc<Inner>, generation: u64, at: u64) -> SnapshotReader {
        let news = log.news.subscribe();
        SnapshotReader {
            log,
            generation,
            at,
            news,
            reading: None,
        }
    }

    /// The byte that comes next.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.at
    }

    /// The next bytes, at most 1 MiB; `None` at the end of a whole snapshot. Waits for bytes that are not received
    /// yet, as long as there is a [`super::SnapshotWriter`]. Safe to cancel.
    ///
    /// # Errors
    /// [`Error::Abandoned`], [`Error::Superseded`], [`Error::NoSnapshot`] once it has been released, [`Error::Io`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            self.news.borrow_and_update();
            if self.reading.is_some() {
                return self.read().await.map(Some);
            }
            match self.piece()? {
                Piece::End => return Ok(None),
                Piece::Here(bytes) => {
                    self.at += bytes.len() as u64;
                    if self.log.store.is_none() {
                        // The queue has room again.
                        self.log.tell();
                    }
                    return Ok(Some(bytes));
                }
                Piece::OnDisk(file, until) => {
                    let at = self.at;
                    self.reading = Some(tokio::task::spawn_blocking(move || read(&file, at, until)));
                }
                Piece::NotYet => {
                    if self.news.changed().await.is_err() {
                        return Err(Error::ShutDown);
                    }
                }
            }
        }
    }

    fn piece(&self) -> Result<Piece, Error> {
        let mut state = self.log.state();
        state.check_generation(self.generation)?;
        match &mut state.snapshot {
            Some(snapshot) => snapshot.piece(self.at),
            None => Err(Error::NoSnapshot { wanted: self.at }),
        }
    }

    async fn read(&mut self) -> Result<Bytes, Error> {
        let Some(task) = &mut self.reading else {
            return Err(Error::ShutDown);
        };
        let outcome = task.await.unwrap_or(Err(Error::ShutDown));
        self.reading = None;
        let bytes = outcome?;
        self.log.state().check_generation(self.generation)?;
        self.at += bytes.len() as u64;
        Ok(bytes)
    }
}

fn read(file: &File, at: u64, until: u64) -> Result<Bytes, Error> {
    let len = (until - at).min(block::BLOCK_MAX as u64) as usize;
    let mut buffer = vec![0; len];
    file.read(&mut buffer, at)?;
    Ok(Bytes::from(buffer))
}
