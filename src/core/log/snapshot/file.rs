//! A whole snapshot as a file to be handed out.

use std::sync::Arc;

use bytes::Bytes;

use super::super::disk::File;
use super::super::{Error, block};
use crate::core::position::Position;

/// A whole snapshot on disk, opened. Its bytes stay as they are even where the log begins anew meanwhile and removes the file.
#[derive(Debug, Clone)]
pub struct SnapshotFile {
    /// The position it brings an empty target to.
    pub position: Position,
    file: Arc<File>,
}

impl SnapshotFile {
    pub(in super::super) fn new(position: Position, file: Arc<File>) -> SnapshotFile {
        SnapshotFile { position, file }
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.file.len()
    }

    /// At most 1 MiB from byte `at` on; nothing at its end. Blocks: for a thread that may.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn read(&self, at: u64) -> Result<Bytes, Error> {
        let left = self.len_bytes().saturating_sub(at);
        let mut buffer = vec![0; left.min(block::BLOCK_MAX as u64) as usize];
        self.file.read(&mut buffer, at)?;
        Ok(Bytes::from(buffer))
    }
}
