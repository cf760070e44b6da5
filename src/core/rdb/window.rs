//! The bytes between the start of the current item and what has arrived.
//!
//! Owns the chunks, and the checksum over them. Promises that an item which lies within one chunk is a slice of it;
//! that an item which spans chunks is assembled once, by copying only its own bytes; and that memory is what has
//! arrived of the current item plus the chunks not yet scanned.
//!
//! ```text
//!   file  ──────┬───────── spill ─────────┬─────────── chunk ───────────┬── queue ──
//!          start of the item        what of it came            may end before, in or
//!                                   in earlier chunks          after the item
//! ```
//!
//! `at` counts from the start of the item. While it is at or beyond the end of the spill, bytes are read in the chunk
//! where they came; only a part that straddles two chunks is completed in the spill, with exactly the bytes it lacks,
//! so the spill never runs past the item.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::checksum::Checksum;

#[derive(Debug)]
pub(super) struct Window {
    /// Where in the file the current item starts.
    start: u64,
    /// How far the current item has been read, from its start.
    at: usize,
    /// Where in the file the part begins that was looked at last.
    part: u64,
    spill: BytesMut,
    chunk: Bytes,
    queue: VecDeque<Bytes>,
    /// The chunk as it came: it is hashed whole, once it is used up.
    unhashed: Bytes,
    /// Of everything before `unhashed`; none if nobody wants it.
    checksum: Option<Checksum>,
}

impl Window {
    /// Bytes from `start` of the file on; `checksum` is of those before.
    pub(super) fn new(start: u64, checksum: Option<Checksum>) -> Window {
        Window {
            start,
            at: 0,
            part: start,
            spill: BytesMut::new(),
            chunk: Bytes::new(),
            queue: VecDeque::new(),
            unhashed: Bytes::new(),
            checksum,
        }
    }

    pub(super) fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.queue.push_back(chunk);
        }
    }

    /// Where in the file the current item starts.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// How far the current item has been read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The file's byte to be read next.
    pub(super) fn position(&self) -> u64 {
        self.start + self.at as u64
    }

    /// What is read next is a part of its own: should it turn out wrong, even after it was taken, this is where it began.
    pub(super) fn begin_part(&mut self) {
        self.part = self.position();
    }

    /// The file's byte at which the part begins that was looked at last.
    pub(super) fn part(&self) -> u64 {
        self.part
    }

    /// What can be read on in one piece.
    pub(super) fn unread(&self) -> &[u8] {
        match self.at.checked_sub(self.spill.len()) {
            Some(in_chunk) => self.chunk.get(in_chunk..).unwrap_or_default(),
            None => self.spill.get(self.at..).unwrap_or_default(),
        }
    }

    /// Counts bytes of [`Window::unread`] as read.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// Makes [`Window::unread`] longer, up to `needed` bytes where it must copy. False: nothing more has arrived.
    pub(super) fn extend(&mut self, needed: usize) -> bool {
        // The reader may just have reached the end of the spill, with the chunk still to come.
        if self.unread().len() >= needed {
            return true;
        }
        if self.at >= self.spill.len() {
            let Some(next) = self.queue.pop_front() else {
                return false;
            };
            self.spill.extend_from_slice(&self.chunk);
            self.replace_chunk(next);
        }
        // What was the chunk's end is in the spill now. If it ends within a part, that part is completed there.
        while self.at < self.spill.len() {
            let lacking = needed.saturating_sub(self.spill.len() - self.at);
            let taken = self.chunk.split_to(lacking.min(self.chunk.len()));
            self.spill.extend_from_slice(&taken);
            if taken.len() == lacking {
                return true;
            }
            let Some(next) = self.queue.pop_front() else {
                return false;
            };
            self.replace_chunk(next);
        }
        true
    }

    /// Takes what has been read as one item, and starts the next one after it.
    pub(super) fn take_item(&mut self) -> Bytes {
        let len = std::mem::take(&mut self.at);
        self.start += len as u64;
        // A part was completed in the spill and has not been read: what is taken ends before it.
        if len < self.spill.len() {
            return self.spill.split_to(len).freeze();
        }
        let from_chunk = self
            .chunk
            .split_to(len.saturating_sub(self.spill.len()).min(self.chunk.len()));
        if self.spill.is_empty() {
            return from_chunk;
        }
        self.spill.extend_from_slice(&from_chunk);
        self.spill.split().freeze()
    }

    /// The chunk, and the byte of the file with which it begins; none while an item is under way, or lies elsewhere in part. Whoever takes
    /// bytes from its front moves the place along.
    pub(super) fn chunk_mut(&mut self) -> Option<(&mut Bytes, &mut u64)> {
        let is_between_items = self.at == 0 && self.spill.is_empty();
        is_between_items.then_some((&mut self.chunk, &mut self.start))
    }

    /// How many bytes have arrived that are not part of an item taken.
    pub(super) fn remaining(&self) -> usize {
        self.spill.len() + self.chunk.len() + self.queue.iter().map(Bytes::len).sum::<usize>()
    }

    fn replace_chunk(&mut self, next: Bytes) {
        if let Some(checksum) = &mut self.checksum {
            checksum.update(&self.unhashed);
            self.unhashed = next.clone();
        }
        self.chunk = next;
    }

    /// The checksum of all bytes before the one to be read next. To be asked only between items.
    pub(super) fn checksum(&self) -> Option<u64> {
        let mut checksum = self.checksum?;
        let in_chunk = self.at.saturating_sub(self.spill.len());
        let ahead = self.chunk.len().saturating_sub(in_chunk);
        let before = self.unhashed.len().saturating_sub(ahead);
        checksum.update(self.unhashed.get(..before).unwrap_or_default());
        Some(checksum.value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(chunks: &[&'static [u8]]) -> Window {
        let mut window = Window::new(0, Some(Checksum::new()));
        for chunk in chunks {
            window.push(Bytes::from_static(chunk));
        }
        window
    }

    #[test]
    fn an_item_within_a_chunk_is_a_slice_of_it() {
        let chunk = Bytes::from_static(b"onetwo");
        let mut window = Window::new(0, None);
        window.push(chunk.clone());
        assert!(window.extend(1));
        window.advance(3);
        assert_eq!(window.take_item().as_ptr(), chunk.as_ptr());
        window.advance(3);
        assert_eq!(window.take_item().as_ptr(), chunk[3..].as_ptr());
        assert_eq!((window.start(), window.remaining()), (6, 0));
    }

    #[test]
    fn an_item_that_spans_chunks_copies_nothing_beyond_its_end() {
        let mut window = window(&[b"ab", b"c", b"defgh"]);
        assert!(window.extend(1));
        assert_eq!(window.unread(), b"ab");
        assert!(window.extend(4));
        assert_eq!(window.unread(), b"abcd");
        window.advance(4);
        assert_eq!(window.unread(), b"efgh");
        window.advance(1);
        assert_eq!(
            (&window.take_item()[..], window.unread()),
            (&b"abcde"[..], &b"fgh"[..])
        );
    }

    #[test]
    fn after_the_spill_comes_the_rest_of_the_chunk() {
        let mut window = window(&[b"a", b"bcd", b"e"]);
        assert!(window.extend(1) && window.extend(2));
        window.advance(2);
        assert!(window.extend(1));
        assert_eq!(window.unread(), b"cd");
    }

    #[test]
    fn what_lacks_bytes_waits_for_them() {
        let mut window = window(&[b"a"]);
        assert!(window.extend(3));
        assert!(!window.extend(3));
        window.push(Bytes::from_static(b"b"));
        assert!(!window.extend(3));
        window.push(Bytes::from_static(b"cd"));
        assert!(window.extend(3));
        assert_eq!(window.unread(), b"abc");
    }

    #[test]
    fn what_is_taken_ends_before_a_part_that_was_completed_and_not_read() {
        let mut window = window(&[b"abc", b"defg"]);
        assert!(window.extend(1));
        window.advance(2);
        assert!(window.extend(3));
        assert_eq!(
            (&window.take_item()[..], window.unread()),
            (&b"ab"[..], &b"cde"[..])
        );
        window.advance(3);
        assert_eq!(
            (&window.take_item()[..], window.unread()),
            (&b"cde"[..], &b"fg"[..])
        );
        assert_eq!((window.start(), window.remaining()), (5, 2));
    }

    #[test]
    fn the_checksum_is_of_what_has_been_read_however_it_was_cut() {
        let mut window = window(&[b"12", b"3456789", b"rest"]);
        while window.position() < 9 {
            window.extend(1);
            let bytes = window.unread().len().min(9 - window.at());
            window.advance(bytes);
        }
        assert_eq!(window.checksum(), Some(Checksum::of(b"123456789")));
        window.take_item();
        assert_eq!(window.checksum(), Some(Checksum::of(b"123456789")));
    }
}
