//! An RDB file on its way to whoever scans it: read ahead on a thread of its own.
//!
//! Owns opening it (a path, or `-` for stdin), its chunks, what is shown of the progress, and what a person is told where it is broken. Promises
//! that no more than a few chunks are in memory beyond those that somebody still holds, and that their buffers are used again. Leaves what is
//! in the file to [`crate::core::rdb`].
//!
//! Everything here blocks: async code calls it on a thread for that.

mod progress;

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use bytes::Bytes;

use super::progress::How;
use super::{Exit, Failure};
use crate::core::rdb::{self, Cause};
use progress::Progress;

/// A chunk has at most so many bytes: what a processor's cache holds.
const CHUNK_BYTES: usize = 256 << 10;

/// So many chunks are read ahead.
const AHEAD: usize = 8;

/// So many buffers wait to be used again: those read ahead, the one being filled, and the one that is being looked at.
const SPARE: usize = AHEAD + 2;

/// A file under way.
#[derive(Debug)]
pub struct RdbFile {
    chunks: Receiver<io::Result<Bytes>>,
    name: String,
    total_bytes: Option<u64>,
    progress: Progress,
}

impl RdbFile {
    /// Opens the file and begins to read it. `-` is stdin.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(path: &Path, how: How) -> Result<RdbFile, Failure> {
        let (file, name) = match path == Path::new("-") {
            true => (stdin()?, "stdin".to_owned()),
            false => {
                let name = path.display().to_string();
                let opened = File::open(path).map_err(|error| cannot_read(&name, &error));
                (opened?, name)
            }
        };
        // Of a pipe nobody knows how much will come.
        let total_bytes = file.metadata().ok().filter(|meta| meta.is_file());
        let total_bytes = total_bytes.map(|meta| meta.len());
        let (sender, chunks) = sync_channel(AHEAD);
        thread::Builder::new()
            .name("read".to_owned())
            .spawn(move || read_ahead(file, &sender))
            .map_err(|error| Failure::new(Exit::Failed, format!("cannot start a thread: {error}")))?;
        Ok(RdbFile {
            chunks,
            progress: Progress::new(how, &name, total_bytes),
            name,
            total_bytes,
        })
    }

    /// The next bytes of the file; none at its end.
    ///
    /// # Errors
    /// It cannot be read on.
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        // The thread lets go of the channel at the file's end.
        let Ok(read) = self.chunks.recv() else {
            return Ok(None);
        };
        let chunk = read.map_err(|error| cannot_read(&self.name, &error))?;
        self.progress.read(chunk.len() as u64);
        Ok(Some(chunk))
    }

    /// How long the file is, where that is known.
    #[must_use]
    pub fn total_bytes(&self) -> Option<u64> {
        self.total_bytes
    }

    /// So many keys have been dealt with: shown with the progress.
    pub fn dealt_with(&mut self, keys: u64) {
        self.progress.keys(keys);
    }

    /// Its name, as messages have it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many bytes have been given.
    #[must_use]
    pub fn read_bytes(&self) -> u64 {
        self.progress.bytes()
    }
}

impl Iterator for RdbFile {
    type Item = Result<Bytes, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_chunk().transpose()
    }
}

/// The failure that comes of an error in the file of this name.
#[must_use]
pub fn broken(name: &str, error: &rdb::Error) -> Failure {
    let hint = match &error.cause {
        Cause::Magic([0x1f, 0x8b, ..]) => "it is compressed: gunzip -c FILE | gunyu ... -",
        Cause::Magic([0x28, 0xb5, 0x2f, 0xfd, ..]) => "it is compressed: zstd -dc FILE | gunyu ... -",
        _ if error.is_no_rdb() => "an RDB file begins with REDIS or VALKEY and a number: name another file",
        Cause::Truncated => "it is not whole: copy it again, or dump it anew with gunyu rdb-dump",
        Cause::Unknown { .. } => {
            "a server newer than Redis 8.6 or Valkey 9 wrote it, or it is damaged: redis-check-rdb of that server tells"
        }
        Cause::Checksum { .. } => {
            "all of it could be read, but is not what was written: copy it again, or dump it anew with gunyu rdb-dump"
        }
        Cause::Trailing(_) => {
            "the RDB ends there: what follows is something else, such as the commands of an append-only file"
        }
        _ => "it is damaged: copy it again, or dump it anew with gunyu rdb-dump",
    };
    Failure::new(Exit::Failed, format!("{name}: {error}")).with_hint(Some(hint.to_owned()))
}

fn stdin() -> Result<File, Failure> {
    if io::stdin().is_terminal() {
        return Err(Failure::new(Exit::Usage, "stdin is a terminal").with_hint(Some(
            "give a file, or send one: gunyu rdb-dump --output - | gunyu rdb-stats -".to_owned(),
        )));
    }
    // Past Rust's own buffer.
    let own = io::stdin().as_fd().try_clone_to_owned();
    own.map(File::from).map_err(|error| cannot_read("stdin", &error))
}

fn cannot_read(name: &str, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot read {name}: {error}")).with_hint(Some(
        "give an RDB file that may be read, or - for stdin".to_owned(),
    ))
}

/// Reads until the end, or until nobody wants any more.
fn read_ahead(mut file: impl Read, chunks: &SyncSender<io::Result<Bytes>>) {
    let (home, spare) = sync_channel(SPARE);
    loop {
        let mut bytes = spare.try_recv().unwrap_or_else(|_| vec![0; CHUNK_BYTES]);
        let read = match file.read(&mut bytes) {
            Ok(0) => return,
            Ok(len) => Ok(Bytes::from_owner(Buffer {
                bytes,
                len,
                home: home.clone(),
            })),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let is_end = read.is_err();
        if chunks.send(read).is_err() || is_end {
            return;
        }
    }
}

/// A chunk's bytes. They are used again when nobody holds a part of the chunk any more.
#[derive(Debug)]
struct Buffer {
    bytes: Vec<u8>,
    len: usize,
    home: SyncSender<Vec<u8>>,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // Where enough are spare already, or nobody reads any more, it is given up.
        drop(self.home.try_send(std::mem::take(&mut self.bytes)));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn chunks_are_the_file_in_order_and_their_buffers_are_used_again() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..20 * CHUNK_BYTES + 7).map(|n| (n / 1000) as u8).collect();
        file.write_all(&bytes).unwrap();
        let mut opened = RdbFile::open(file.path(), How::Not).unwrap();
        let (mut found, mut places) = (Vec::new(), std::collections::BTreeSet::new());
        while let Some(chunk) = opened.next_chunk().unwrap() {
            places.insert(chunk.as_ptr());
            found.extend_from_slice(&chunk);
        }
        assert_eq!(opened.total_bytes(), Some(bytes.len() as u64));
        assert!(
            found == bytes && places.len() <= SPARE,
            "{} buffers",
            places.len()
        );
    }

    #[test]
    fn a_chunk_that_is_held_keeps_its_bytes() {
        let bytes: Vec<u8> = (0..40 * CHUNK_BYTES).map(|n| (n / CHUNK_BYTES) as u8).collect();
        let (sender, chunks) = sync_channel(AHEAD);
        let reader = thread::spawn(move || read_ahead(&bytes[..], &sender));
        let held: Vec<Bytes> = chunks.iter().map(Result::unwrap).collect();
        reader.join().unwrap();
        assert!(
            held.iter()
                .enumerate()
                .all(|(n, chunk)| chunk.iter().all(|byte| *byte == n as u8))
        );
    }

    #[test]
    fn whoever_lets_go_ends_the_reading() {
        let (sender, chunks) = sync_channel(AHEAD);
        let reader = thread::spawn(move || read_ahead(io::repeat(1), &sender));
        assert!(chunks.recv().unwrap().is_ok());
        drop(chunks);
        reader.join().unwrap();
    }

    #[test]
    fn what_cannot_be_opened_is_told_with_its_name() {
        let failure = RdbFile::open(Path::new("no/such.rdb"), How::Not).unwrap_err();
        assert_eq!(failure.exit, Exit::Failed);
        assert!(failure.to_string().contains("no/such.rdb"), "{failure}");
    }
}
