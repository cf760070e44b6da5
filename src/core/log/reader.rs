//! Reading the stream from any position in the log, and following it.
//!
//! A reader that keeps up gets the very `Bytes` that were received and never touches the disk. One that is behind the
//! tail reads its segment in windows of 1 MiB, checks every block's checksum, and changes over to the tail as soon as
//! that has its position. Windows are read on a thread that may block: from the page cache such a read takes a
//! tenth of a millisecond, against which the hop is nothing, but from a cold disk it may take many, and the tasks that
//! share this thread (another source's socket) must not wait for that.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Error;
use super::block::{self, BLOCK_HEADER_LEN, BLOCK_MAX, Parsed};
use super::disk::{Disk, File};
use super::inner::Inner;
use super::state::{Look, Place};
use super::tail::Chunk;
use crate::core::position::{History, Offset};

/// How much is read at once: a whole block fits, wherever it begins.
const WINDOW: usize = BLOCK_MAX + BLOCK_HEADER_LEN;

/// Where in which segment reading goes on.
#[derive(Debug)]
struct Cursor {
    file: File,
    /// The block that follows this offset ...
    offset: Offset,
    /// ... begins at this byte.
    at: u64,
}

/// Reads the stream, chunk after chunk, and waits at its end for more.
#[derive(Debug)]
pub struct Reader {
    log: Arc<Inner>,
    generation: u64,
    position: Offset,
    news: watch::Receiver<u64>,
    cursor: Option<Cursor>,
    /// A read of a segment that was begun; survives the cancelling of [`Reader::next`].
    reading: Option<JoinHandle<Result<(Cursor, Chunk), Error>>>,
}

impl Reader {
    pub(super) fn new(log: Arc<Inner>, generation: u64, position: Offset) -> Reader {
        let news = log.news.subscribe();
        Reader {
            log,
            generation,
            position,
            news,
            cursor: None,
            reading: None,
        }
    }

    /// The offset of the last byte that was handed out.
    #[must_use]
    pub fn position(&self) -> Offset {
        self.position
    }

    /// The history that is read.
    ///
    /// # Errors
    /// [`Error::Superseded`]: what was read is of a history that the log has left.
    pub fn history(&self) -> Result<History, Error> {
        let state = self.log.state();
        state.check_generation(self.generation)?;
        state.history.ok_or(Error::NoHistory)
    }

    /// The next bytes. Waits for them for as long as the log is not begun anew: whoever reads waits for its other
    /// events beside. Safe to cancel: nothing is lost.
    ///
    /// # Errors
    /// [`Error::Superseded`], [`Error::Released`], [`Error::Rot`], [`Error::Gap`] for a segment that has vanished,
    /// [`Error::Io`].
    pub async fn next(&mut self) -> Result<Chunk, Error> {
        loop {
            // Marked as seen before looking: what is appended after the look wakes us.
            self.news.borrow_and_update();
            if self.reading.is_some() {
                return self.read().await;
            }
            match self.look()? {
                Look::Here(chunk) => return Ok(self.hand_out(chunk)),
                Look::OnDisk(place) => self.begin_read(place),
                Look::AtEnd => {
                    if self.news.changed().await.is_err() {
                        return Err(Error::ShutDown);
                    }
                }
            }
        }
    }

    /// The next bytes if they are in memory. `None` says that [`Reader::next`] would have to wait, for the source or
    /// for the disk.
    ///
    /// # Errors
    /// [`Error::Superseded`], [`Error::Released`].
    pub fn try_next(&mut self) -> Result<Option<Chunk>, Error> {
        match self.look()? {
            Look::Here(chunk) => Ok(Some(self.hand_out(chunk))),
            Look::OnDisk(_) | Look::AtEnd => Ok(None),
        }
    }

    fn look(&self) -> Result<Look, Error> {
        self.log.state().look(self.generation, self.position)
    }

    fn hand_out(&mut self, chunk: Chunk) -> Chunk {
        // What was read ahead is of no use any more.
        self.cursor = None;
        self.reading = None;
        self.position = chunk.end();
        chunk
    }

    fn begin_read(&mut self, place: Place) {
        let Some(store) = &self.log.store else {
            // In memory everything is in the tail, so the state does not send us here.
            return;
        };
        let disk = store.disk.clone();
        let cursor = self.cursor.take();
        let position = self.position;
        let read = move || read_window(&disk, cursor, &place, position);
        self.reading = Some(tokio::task::spawn_blocking(read));
    }

    async fn read(&mut self) -> Result<Chunk, Error> {
        let Some(task) = &mut self.reading else {
            return Err(Error::ShutDown);
        };
        let outcome = task.await.unwrap_or(Err(Error::ShutDown));
        self.reading = None;
        // A file that was removed under us was released, or else it is missing.
        self.look()?;
        let (cursor, chunk) = outcome?;
        self.cursor = Some(cursor);
        self.position = chunk.end();
        Ok(chunk)
    }
}

/// Reads what follows `position`, as many whole blocks as a window holds.
fn read_window(
    disk: &Disk,
    cursor: Option<Cursor>,
    place: &Place,
    position: Offset,
) -> Result<(Cursor, Chunk), Error> {
    let mut cursor = match cursor.filter(|one| one.file.path() == place.path && one.offset == position) {
        Some(cursor) => cursor,
        None => Cursor {
            file: open(disk, place)?,
            offset: place.offset,
            at: place.at,
        },
    };
    loop {
        let bytes = next_window(&mut cursor, place.until, position)?;
        if !bytes.is_empty() {
            let chunk = Chunk {
                start: position,
                bytes,
                received_at: None,
            };
            return Ok((cursor, chunk));
        }
    }
}

fn open(disk: &Disk, place: &Place) -> Result<File, Error> {
    disk.open(&place.path).map_err(|error| {
        if !error.is_not_found() {
            return error;
        }
        Error::Gap {
            file: place.path.clone(),
            expected: place.offset,
            found: "nothing: it has vanished".to_string(),
        }
    })
}

/// Reads a window and takes the block headers out, so that the payloads stand together. Bytes up to `position` are
/// left out, so the result is empty where the window ends before it.
fn next_window(cursor: &mut Cursor, until: u64, position: Offset) -> Result<Bytes, Error> {
    let len = until.saturating_sub(cursor.at).min(WINDOW as u64) as usize;
    let mut buffer = vec![0; len];
    cursor.file.read(&mut buffer, cursor.at)?;
    let mut read = 0;
    let mut kept = 0;
    loop {
        let payload = match block::parse(&buffer[read..], cursor.offset) {
            Parsed::Block(len) => read + BLOCK_HEADER_LEN..read + BLOCK_HEADER_LEN + len,
            // What is whole is handed out first; the next window then begins with what is not.
            _ if read > 0 => break,
            Parsed::Short => return Err(rot(cursor, "the block does not end within the file")),
            Parsed::Seal => return Err(rot(cursor, "it ends before the log does")),
            Parsed::Bad(why) => return Err(rot(cursor, why)),
        };
        read = payload.end;
        let skipped = (position.since(cursor.offset) as usize).min(payload.len());
        cursor.offset = cursor.offset.after(payload.len());
        let wanted = payload.start + skipped..payload.end;
        kept += wanted.len();
        buffer.copy_within(wanted.clone(), kept - wanted.len());
    }
    cursor.at += read as u64;
    buffer.truncate(kept);
    Ok(Bytes::from(buffer))
}

fn rot(cursor: &Cursor, why: &'static str) -> Error {
    Error::rot(cursor.file.path(), cursor.at, why)
}
