//! Tells the snapshot from the stream in what follows `PSYNC`'s answer, without I/O.
//!
//! After `+FULLRESYNC` come newlines while the source works, then `$<length>\r\n` and that many bytes (a snapshot from its
//! disk), or `$EOF:<40 bytes>\r\n`, the snapshot, and the same 40 bytes again (diskless); then the stream
//! (`replication.c`, `readSyncBulkPayload`). After `+CONTINUE` the stream comes at once.
//!
//! Promises to hand on the bytes as they came: a chunk is cut, never copied.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem;

/// Length of the mark that ends a diskless snapshot.
const MARK_LEN: usize = 40;

/// The longest header line: `$EOF:`, the mark, `\r\n`.
const HEADER_MAX: usize = 64;

/// The longest refusal that may stand in its place.
const REFUSAL_MAX: usize = 64 << 10;

/// What a stretch of input is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The snapshot begins; its length in bytes where the source knows it.
    SnapshotBegins(Option<u64>),
    /// Bytes of the snapshot.
    Snapshot(Bytes),
    /// The snapshot was whole.
    SnapshotEnds,
    /// Bytes of the stream.
    Stream(Bytes),
}

/// What comes next.
#[derive(Debug)]
enum Expect {
    Header,
    Sized {
        left: u64,
    },
    /// Boxed: it is large, and there is one a snapshot.
    Marked(Box<memmem::Finder<'static>>),
    Stream,
}

/// Cuts the input in parts.
#[derive(Debug)]
pub struct Transfer {
    expect: Expect,
}

/// The header of the snapshot is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected the header of a snapshot, got {0:?}")]
pub struct BadHeader(pub String);

impl Transfer {
    /// What follows `+FULLRESYNC`.
    #[must_use]
    pub const fn of_snapshot() -> Transfer {
        Transfer {
            expect: Expect::Header,
        }
    }

    /// What follows `+CONTINUE`.
    #[must_use]
    pub const fn of_stream() -> Transfer {
        Transfer {
            expect: Expect::Stream,
        }
    }

    /// Whether a snapshot is being received.
    #[must_use]
    pub const fn is_in_snapshot(&self) -> bool {
        matches!(self.expect, Expect::Sized { .. } | Expect::Marked(_))
    }

    /// Takes the next part from the front of `input`, or nothing until more has arrived.
    ///
    /// # Errors
    /// The snapshot's header is malformed, or is an error reply (`BGSAVE` failed).
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Part>, BadHeader> {
        match &mut self.expect {
            Expect::Header => self.header(input),
            Expect::Sized { left: 0 } => {
                self.expect = Expect::Stream;
                Ok(Some(Part::SnapshotEnds))
            }
            Expect::Sized { left } if !input.is_empty() => {
                let take = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= take as u64;
                Ok(Some(Part::Snapshot(input.split_to(take).freeze())))
            }
            Expect::Marked(_) => Ok(self.marked(input)),
            Expect::Stream if !input.is_empty() => Ok(Some(Part::Stream(input.split().freeze()))),
            Expect::Sized { .. } | Expect::Stream => Ok(None),
        }
    }

    fn header(&mut self, input: &mut BytesMut) -> Result<Option<Part>, BadHeader> {
        while input.first().is_some_and(|b| *b == b'\n' || *b == b'\r') {
            input.advance(1);
        }
        let longest = match input.first() {
            Some(b'-') => REFUSAL_MAX,
            _ => HEADER_MAX,
        };
        let end = memchr::memchr(b'\n', input);
        if end.unwrap_or(input.len()) > longest {
            return Err(bad_header(input));
        }
        let Some(end) = end else { return Ok(None) };
        let line = input.split_to(end + 1);
        let text = line.trim_ascii_end();
        if let Some(mark) = text.strip_prefix(b"$EOF:") {
            let mark = <[u8; MARK_LEN]>::try_from(mark).map_err(|_| bad_header(text))?;
            self.expect = Expect::Marked(Box::new(memmem::Finder::new(&mark).into_owned()));
            return Ok(Some(Part::SnapshotBegins(None)));
        }
        let digits = text
            .strip_prefix(b"$")
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let left = digits
            .and_then(|digits| digits.parse().ok())
            .filter(|length| i64::try_from(*length).is_ok())
            .ok_or_else(|| bad_header(text))?;
        self.expect = Expect::Sized { left };
        Ok(Some(Part::SnapshotBegins(Some(left))))
    }

    /// Hands on everything that cannot be part of the mark; what might be its beginning stays in the input.
    fn marked(&mut self, input: &mut BytesMut) -> Option<Part> {
        let Expect::Marked(mark) = &self.expect else {
            return None;
        };
        if let Some(at) = mark.find(input) {
            let before = input.split_to(at).freeze();
            input.advance(MARK_LEN);
            return Some(self.end_marked(before));
        }
        let safe = input.len().saturating_sub(MARK_LEN - 1);
        (safe > 0).then(|| Part::Snapshot(input.split_to(safe).freeze()))
    }

    /// The mark was found behind `before`: what is left to tell is that, and then the end.
    fn end_marked(&mut self, before: Bytes) -> Part {
        if before.is_empty() {
            self.expect = Expect::Stream;
            return Part::SnapshotEnds;
        }
        self.expect = Expect::Sized { left: 0 };
        Part::Snapshot(before)
    }
}

fn bad_header(text: &[u8]) -> BadHeader {
    let shown = &text[..text.len().min(200)];
    BadHeader(String::from_utf8_lossy(shown).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MARK: &[u8; 40] = b"mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmMM";

    /// Feeds `wire` in pieces of the given sizes; answers (declared length, snapshot, stream).
    fn run(wire: &[u8], cuts: &[usize]) -> (Option<u64>, Vec<u8>, Vec<u8>, bool) {
        let mut transfer = Transfer::of_snapshot();
        let (mut input, mut rest) = (BytesMut::new(), wire);
        let (mut declared, mut snapshot, mut stream, mut ended) = (None, vec![], vec![], false);
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let take = (*cuts.next().unwrap_or(&1)).clamp(1, rest.len());
            input.extend_from_slice(&rest[..take]);
            rest = &rest[take..];
            while let Some(part) = transfer.next(&mut input).unwrap() {
                match part {
                    Part::SnapshotBegins(length) => declared = length,
                    Part::Snapshot(bytes) => snapshot.extend_from_slice(&bytes),
                    Part::SnapshotEnds => ended = true,
                    Part::Stream(bytes) => {
                        assert!(ended, "the stream comes after the snapshot");
                        stream.extend_from_slice(&bytes);
                    }
                }
            }
        }
        (declared, snapshot, stream, ended)
    }

    proptest! {
        #[test]
        fn a_sized_snapshot_is_cut_off_exactly(
            body in proptest::collection::vec(any::<u8>(), 0..300),
            stream in proptest::collection::vec(any::<u8>(), 0..100),
            cuts in proptest::collection::vec(1usize..120, 1..20),
        ) {
            let wire = [b"\n\n$", body.len().to_string().as_bytes(), b"\r\n", &body, &stream].concat();
            prop_assert_eq!(run(&wire, &cuts), (Some(body.len() as u64), body, stream, true));
        }

        #[test]
        fn a_marked_snapshot_is_cut_off_exactly_even_with_half_marks_inside(
            pieces in proptest::collection::vec((0usize..40, 0usize..90), 0..6),
            stream in proptest::collection::vec(any::<u8>(), 0..100),
            cuts in proptest::collection::vec(1usize..120, 1..20),
        ) {
            let mut body = vec![];
            for (half_mark, plain) in pieces {
                body.extend_from_slice(&MARK[..half_mark]);
                body.extend(std::iter::repeat_n(b'x', plain + 1));
            }
            let wire = [b"\n$EOF:", &MARK[..], b"\r\n", &body, &MARK[..], &stream].concat();
            prop_assert_eq!(run(&wire, &cuts), (None, body, stream, true));
        }
    }

    #[test]
    fn an_empty_marked_snapshot_ends_at_once() {
        let wire = [b"$EOF:", &MARK[..], b"\r\n", &MARK[..], b"tail"].concat();
        assert_eq!(run(&wire, &[1]), (None, vec![], b"tail".to_vec(), true));
        assert_eq!(run(&wire, &[500]), (None, vec![], b"tail".to_vec(), true));
    }

    #[test]
    fn an_error_instead_of_a_header_is_told() {
        let error = Transfer::of_snapshot()
            .next(&mut BytesMut::from("-ERR BGSAVE failed\r\n"))
            .unwrap_err();
        assert_eq!(error, BadHeader("-ERR BGSAVE failed".into()));
        let endless = Transfer::of_snapshot().next(&mut BytesMut::from(&[b'x'; 100][..]));
        assert!(endless.is_err());
        for number in ["9223372036854775808", "18446744073709551615", "-1", ""] {
            let header = format!("${number}\r\n");
            let read = Transfer::of_snapshot().next(&mut BytesMut::from(&header[..]));
            assert!(read.is_err(), "{header}: {read:?}");
        }
    }

    #[test]
    fn a_refusal_without_end_is_an_error_and_is_not_hoarded() {
        let (mut transfer, mut input) = (Transfer::of_snapshot(), BytesMut::from(&b"-"[..]));
        while let Ok(part) = transfer.next(&mut input) {
            assert_eq!(part, None);
            assert!(input.len() <= REFUSAL_MAX);
            input.extend_from_slice(&[b'x'; 4 << 10]);
        }
        assert!(input.len() > REFUSAL_MAX);
    }
}
