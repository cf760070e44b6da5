//! The newest bytes of the stream, as they were received: where a reader that keeps up finds them.
//!
//! Bounded in bytes. In a log on disk the oldest chunks fall out at the bound (the segments have them); in a log in
//! memory there is no bound here, and chunks leave only when they are released.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use crate::core::position::Offset;

/// A stretch of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The offset before its first byte.
    pub start: Offset,
    /// Its bytes; never empty.
    pub bytes: Bytes,
    /// When it was received. `None` where it was read back from a segment: a reader that far behind has no use for
    /// a latency, and segments keep no clock.
    pub received_at: Option<Instant>,
}

impl Chunk {
    /// The offset of its last byte.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.start.after(self.bytes.len())
    }

    /// What it takes in memory, bookkeeping included, so that many small chunks are not free.
    pub(super) fn cost(&self) -> u64 {
        (self.bytes.len() + size_of::<Chunk>()) as u64
    }

    /// What is left of it from `position` on.
    fn from(&self, position: Offset) -> Chunk {
        let skipped = position.since(self.start) as usize;
        Chunk {
            start: position,
            bytes: self.bytes.slice(skipped..),
            received_at: self.received_at,
        }
    }
}

/// Contiguous chunks, oldest first.
#[derive(Debug)]
pub(super) struct Tail {
    chunks: VecDeque<Chunk>,
    cost: u64,
    limit: u64,
}

impl Tail {
    /// An empty tail that keeps at most `limit` bytes, and always the newest chunk.
    pub(super) fn new(limit: u64) -> Tail {
        Tail {
            chunks: VecDeque::new(),
            cost: 0,
            limit,
        }
    }

    pub(super) fn push(&mut self, chunk: Chunk) {
        debug_assert!(!chunk.bytes.is_empty());
        debug_assert!(self.chunks.back().is_none_or(|last| last.end() == chunk.start));
        self.cost += chunk.cost();
        self.chunks.push_back(chunk);
        self.shrink(self.limit);
    }

    /// Lets the oldest chunks go that exceed `limit`; the newest stays.
    pub(super) fn shrink(&mut self, limit: u64) {
        while self.cost > limit && self.chunks.len() > 1 {
            self.pop();
        }
    }

    /// The chunk with the byte after `position`, from there on.
    pub(super) fn at(&self, position: Offset) -> Option<Chunk> {
        let after = self.chunks.partition_point(|chunk| chunk.start <= position);
        let chunk = &self.chunks[after.checked_sub(1)?];
        (position < chunk.end()).then(|| chunk.from(position))
    }

    /// What its chunks take of the memory.
    #[cfg(test)]
    pub(super) fn cost(&self) -> u64 {
        self.cost
    }

    /// The oldest chunk.
    pub(super) fn oldest(&self) -> Option<&Chunk> {
        self.chunks.front()
    }

    /// Takes the oldest chunk out.
    pub(super) fn pop(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.pop_front()?;
        self.cost -= chunk.cost();
        Some(chunk)
    }

    pub(super) fn clear(&mut self) {
        self.chunks.clear();
        self.cost = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(start: u64, text: &'static str) -> Chunk {
        Chunk {
            start: Offset::new(start),
            bytes: Bytes::from_static(text.as_bytes()),
            received_at: None,
        }
    }

    #[test]
    fn every_position_within_is_found_and_none_without() {
        let mut tail = Tail::new(u64::MAX);
        tail.push(chunk(10, "abc"));
        tail.push(chunk(13, "de"));
        let found = |at| tail.at(Offset::new(at)).map(|chunk| chunk.bytes);
        assert_eq!(found(9), None);
        assert_eq!(found(10).unwrap(), "abc");
        assert_eq!(found(12).unwrap(), "c");
        assert_eq!(found(13).unwrap(), "de");
        assert_eq!(found(14).unwrap(), "e");
        assert_eq!(found(15), None);
    }

    #[test]
    fn the_oldest_fall_out_at_the_limit_but_never_the_newest() {
        let mut tail = Tail::new(chunk(0, "abc").cost() * 2);
        for at in 0..5 {
            tail.push(chunk(at * 3, "abc"));
        }
        assert_eq!(tail.oldest().unwrap().start, Offset::new(9));
        let mut tiny = Tail::new(0);
        tiny.push(chunk(0, "abc"));
        tiny.push(chunk(3, "d"));
        assert_eq!(tiny.oldest().unwrap().bytes, "d");
        tiny.clear();
        assert_eq!(tiny.cost, 0);
        assert!(tiny.oldest().is_none());
    }
}
