//! One command where it lies, its arguments, and runs of commands that lie side by side.

use std::ops::Range;

use bytes::Bytes;

use super::scan::{SPANS, Span, bulk, word};
use crate::core::position::Offset;

/// One command of the stream, in place.
///
/// It borrows from the [`super::Framer`] and so lives until the next one is asked for. Its bytes can be kept without a
/// copy: [`Frame::to_bytes`], or [`Run`] for many of them as one slice.
#[derive(Clone, Copy)]
pub struct Frame<'a> {
    pub(super) buffer: &'a Bytes,
    pub(super) start: usize,
    pub(super) len: usize,
    pub(super) end: Offset,
    pub(super) spans: &'a [Span; SPANS],
    pub(super) count: u32,
}

impl<'a> Frame<'a> {
    /// The whole command as it came.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        &self.buffer[self.start..self.start + self.len]
    }

    /// The whole command as it came, kept without a copy.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        self.buffer.slice(self.range())
    }

    /// What the command was found in: the chunk that holds all of it, or a buffer of its own where it spanned chunks.
    #[must_use]
    pub fn buffer(&self) -> &'a Bytes {
        self.buffer
    }

    /// Its place in [`Frame::buffer`].
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.start..self.start + self.len
    }

    /// The offset after the command's last byte.
    #[must_use]
    #[inline]
    pub fn end(&self) -> Offset {
        self.end
    }

    /// How many arguments there are, the name included. None for a keepalive newline and for an empty array.
    #[must_use]
    #[inline]
    pub fn arg_count(&self) -> usize {
        self.count as usize
    }

    /// The command's name as it was written; empty where there are no arguments.
    #[must_use]
    #[inline]
    pub fn name(&self) -> &'a [u8] {
        self.arg(0).unwrap_or_default()
    }

    /// The `index`-th argument, the name being 0. One of the first eight costs nothing; for later ones the frame is
    /// walked, so that going through many is for [`Frame::args`].
    #[must_use]
    #[inline]
    pub fn arg(&self, index: usize) -> Option<&'a [u8]> {
        if index >= self.count as usize {
            return None;
        }
        match self.spans.get(index) {
            Some(span) => Some(self.cut(*span)),
            None => self.args().nth(index),
        }
    }

    /// All arguments in order, the name first.
    #[must_use]
    pub fn args(&self) -> Args<'a> {
        Args {
            frame: *self,
            index: 0,
            at: 0,
        }
    }

    #[inline]
    fn cut(&self, span: Span) -> &'a [u8] {
        let start = self.start + span.start as usize;
        &self.buffer[start..start + span.len as usize]
    }

    fn is_inline(&self) -> bool {
        self.bytes().first() != Some(&b'*')
    }
}

impl std::fmt::Debug for Frame<'_> {
    /// Names the command and its size. Never its arguments: they are the user's data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame")
            .field("name", &String::from_utf8_lossy(self.name()))
            .field("arg_count", &self.count)
            .field("len_bytes", &self.len)
            .field("end", &self.end)
            .finish()
    }
}

/// The arguments of a [`Frame`] in order.
#[derive(Debug, Clone)]
pub struct Args<'a> {
    frame: Frame<'a>,
    /// The argument that comes next.
    index: usize,
    /// Where the argument after the last noted one begins, once one of those has been asked for.
    at: usize,
}

impl<'a> Args<'a> {
    /// Where to walk on from: behind the last noted argument, or behind the last one walked to.
    fn walk_from(&self) -> usize {
        if self.at > 0 {
            return self.at;
        }
        let last = self.frame.spans[SPANS - 1];
        let end = last.start as usize + last.len as usize;
        if self.frame.is_inline() { end } else { end + 2 }
    }
}

impl<'a> Iterator for Args<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.index >= self.frame.count as usize {
            return None;
        }
        if let Some(span) = self.frame.spans.get(self.index) {
            self.index += 1;
            return Some(self.frame.cut(*span));
        }
        let from = self.walk_from();
        let (span, next) = match self.frame.is_inline() {
            true => word(self.frame.bytes(), from)?,
            false => bulk(self.frame.bytes(), from)?,
        };
        self.at = next;
        self.index += 1;
        Some(self.frame.cut(span))
    }

    /// Skips noted arguments without walking over them.
    #[inline]
    fn nth(&mut self, n: usize) -> Option<&'a [u8]> {
        let noted = SPANS.saturating_sub(self.index).min(n);
        self.index += noted;
        for _ in noted..n {
            self.next()?;
        }
        self.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.frame.count as usize).saturating_sub(self.index);
        (left, Some(left))
    }
}

/// Commands that lie side by side in one buffer, kept as one slice: one reference count for all of them.
#[derive(Debug, Clone)]
pub struct Run {
    buffer: Bytes,
    range: Range<usize>,
}

impl Run {
    /// A run of one command.
    #[must_use]
    pub fn new(frame: &Frame<'_>) -> Run {
        Run {
            buffer: frame.buffer.clone(),
            range: frame.range(),
        }
    }

    /// Takes the command in where it follows directly on the run's last byte; says whether it did.
    #[must_use]
    #[inline]
    pub fn extend(&mut self, frame: &Frame<'_>) -> bool {
        // The run holds the buffer alive, so an equal address is the same buffer and not a new one in its place.
        let same = self.buffer.as_ptr() == frame.buffer.as_ptr() && self.buffer.len() == frame.buffer.len();
        let follows = same && self.range.end == frame.start;
        if follows {
            self.range.end += frame.len;
        }
        follows
    }

    /// The number of bytes.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.range.len()
    }

    /// All commands of the run as one slice.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.buffer.slice(self.range)
    }
}
