//! What is kept in memory about one file of the log.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::block::{BLOCK_HEADER_LEN, HEADER_LEN};
use super::disk::File;
use crate::core::position::{Offset, ReplId};

/// A place is remembered every so many bytes, so that seeking reads at most that much in vain.
const INDEX_EVERY: u64 = 1 << 20;

/// What is known about one file of the log.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    /// The id under which its bytes were received.
    pub(super) id: ReplId,
    /// The offset before its first byte.
    pub(super) start: Offset,
    /// The offset of its last byte.
    pub(super) end: Offset,
    /// Bytes of header and blocks: how far it may be read. A seal is not counted.
    pub(super) len: u64,
    /// Its age: what is oldest is released first.
    pub(super) born: SystemTime,
    /// Blocks are still being appended. Set by the writer, under its pen.
    pub(super) open: bool,
    /// There until the file has been sealed.
    pub(super) file: Option<Arc<File>>,
    /// Ascending places: a block that follows this offset begins at this byte.
    index: Vec<(Offset, u64)>,
}

impl Segment {
    /// A segment of which only the extent is known.
    pub(super) fn new(path: &Path, id: ReplId, start: Offset, born: SystemTime) -> Segment {
        Segment {
            path: path.to_path_buf(),
            id,
            start,
            end: start,
            len: HEADER_LEN as u64,
            born,
            open: false,
            file: None,
            index: Vec::new(),
        }
    }

    /// What the file counts for in the size of the log, its seal included whether written or not.
    pub(super) fn bytes(&self) -> u64 {
        self.len + BLOCK_HEADER_LEN as u64
    }

    /// Notes a block that was written at the end.
    pub(super) fn wrote(&mut self, payload: usize) {
        let last = self.index.last().map_or(0, |(_, at)| *at);
        if self.len >= last + INDEX_EVERY {
            self.index.push((self.end, self.len));
        }
        self.len += (BLOCK_HEADER_LEN + payload) as u64;
        self.end = self.end.after(payload);
    }

    /// The nearest known block at or before `position`: the offset it follows and the byte it begins at.
    pub(super) fn seek(&self, position: Offset) -> (Offset, u64) {
        let after = self.index.partition_point(|(offset, _)| *offset <= position);
        match after.checked_sub(1) {
            Some(found) => self.index[found],
            None => (self.start, HEADER_LEN as u64),
        }
    }
}

/// The segment that holds the byte after `position`.
pub(super) fn holding(segments: &VecDeque<Segment>, position: Offset) -> Option<&Segment> {
    let first = segments.partition_point(|segment| segment.end <= position);
    segments.get(first).filter(|segment| segment.start <= position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeking_lands_at_most_one_index_step_before() {
        let mut segment = Segment::new(
            Path::new("x"),
            ReplId::parse(&[b'a'; 40]).unwrap(),
            Offset::new(1000),
            SystemTime::now(),
        );
        for _ in 0..5000 {
            segment.wrote(1000);
        }
        for position in (1000..5_000_000).step_by(77_777) {
            let (offset, _) = segment.seek(Offset::new(position));
            assert!(offset.get() <= position && position - offset.get() < INDEX_EVERY + 1000);
        }
    }
}
