//! Where in which history: replication ids, offsets, positions, and what a history contains; and under which lease.
//!
//! Owns the arithmetic of Redis' replication offsets, off-by-one included, so that no other room does any. Leaves to
//! others where positions are kept ([`super::progress`], the log, the checkpoint on the target).
//!
//! An [`Offset`] counts the bytes of a history up to and including some byte: offset 100 means that bytes 1 to 100
//! have gone by. `PSYNC` names the *next* byte it wants, so a follower at offset 100 asks for 101
//! (`replication.c`, `slaveTryPartialResynchronization`); only [`Offset::psync_argument`] knows that.

use std::fmt;

/// A replication id: 40 hexadecimal characters that name one lineage of writes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplId([u8; 40]);

/// The text was not a replication id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a replication id (40 hexadecimal characters)")]
pub struct NotAReplId(String);

impl ReplId {
    /// Reads an id. Upper and lower case are kept as they came: Redis compares ids without regard to case
    /// and only ever writes lower case.
    ///
    /// # Errors
    /// The bytes are not 40 hexadecimal characters.
    pub fn parse(text: &[u8]) -> Result<ReplId, NotAReplId> {
        match <[u8; 40]>::try_from(text) {
            Ok(id) if id.iter().all(u8::is_ascii_hexdigit) => Ok(ReplId(id)),
            _ => Err(NotAReplId(String::from_utf8_lossy(text).into_owned())),
        }
    }

    /// The 40 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only ASCII hexadecimal digits were let in")
    }
}

impl fmt::Display for ReplId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ReplId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The greatest number that is believed.
const TOLD_MAX: u64 = i64::MAX.unsigned_abs();

/// Bytes into a history: how many have gone by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Offset(u64);

impl Offset {
    /// The start of every history.
    pub const ZERO: Offset = Offset(0);

    /// An offset of so many bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Offset {
        Offset(bytes)
    }

    /// The same of a number that somebody else has said; nothing where it is beyond what a server counts to (2^63 - 1): what is added to it would overflow.
    #[must_use]
    pub fn told(bytes: u64) -> Option<Offset> {
        (bytes <= TOLD_MAX).then_some(Offset(bytes))
    }

    /// The same, as a text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Offset> {
        Offset::told(text.parse().ok()?)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The offset after `bytes` more have gone by.
    #[must_use]
    pub const fn after(self, bytes: usize) -> Offset {
        Offset(self.0 + bytes as u64)
    }

    /// How many bytes lie between `earlier` and this offset; 0 where `earlier` is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Offset) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The number that `PSYNC` takes to continue from here: the first byte not yet seen.
    ///
    /// A follower that has bytes 1 to 100 is at offset 100 and asks for 101.
    #[must_use]
    pub const fn psync_argument(self) -> u64 {
        self.0 + 1
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a lease: who has a higher one has come later, and what stands under a lower one counts no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Epoch(u64);

impl Epoch {
    /// That of a process which stands alone: it takes part in no election.
    pub const NONE: Epoch = Epoch(0);

    /// The epoch of that number.
    #[must_use]
    pub const fn new(number: u64) -> Epoch {
        Epoch(number)
    }

    /// The same of a number that somebody else has said; nothing where it is beyond 2^63 - 1.
    #[must_use]
    pub fn told(number: u64) -> Option<Epoch> {
        (number <= TOLD_MAX).then_some(Epoch(number))
    }

    /// The same, as a text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Epoch> {
        Epoch::told(text.parse().ok()?)
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The one after it.
    #[must_use]
    pub const fn next(self) -> Epoch {
        Epoch(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A history's id and an offset into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// The history.
    pub id: ReplId,
    /// How far into it.
    pub offset: Offset,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.id, self.offset)
    }
}

/// A lineage: the current id, and the one before it with the last offset at which both are the same history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// The current id.
    pub id: ReplId,
    /// The previous id, and the last offset (inclusive) that belongs to it as well.
    pub previous: Option<(ReplId, Offset)>,
}

impl History {
    /// A history without a past.
    #[must_use]
    pub const fn new(id: ReplId) -> History {
        History { id, previous: None }
    }

    /// A history from the three fields that `INFO replication` prints.
    ///
    /// `second_repl_offset` is the first `PSYNC` argument that the previous id does *not* cover any more, or -1 for
    /// none. Worked: a replica promoted after bytes 1 to 100 prints 101, answers `PSYNC previous 101` with CONTINUE and
    /// refuses 102; so the last offset it shares with the previous id is 100.
    #[must_use]
    pub fn from_info(id: ReplId, previous: Option<ReplId>, second_repl_offset: i64) -> History {
        let shared = u64::try_from(second_repl_offset)
            .ok()
            .and_then(|n| n.checked_sub(1))
            .map(Offset::new);
        History {
            id,
            previous: previous.zip(shared),
        }
    }

    /// Whether `position` lies on this lineage, so that the stream can continue from it.
    #[must_use]
    pub fn contains(&self, position: &Position) -> bool {
        if position.id == self.id {
            return true;
        }
        self.previous
            .is_some_and(|(id, shared)| id == position.id && position.offset <= shared)
    }

    /// The same lineage under a new current id, from `at` on: what `+CONTINUE <id>` announces.
    #[must_use]
    pub fn renamed(&self, id: ReplId, at: Offset) -> History {
        if id == self.id {
            return *self;
        }
        History {
            id,
            previous: Some((self.id, at)),
        }
    }
}

/// A stretch of a history, from just after `start` up to and including `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The offset before the first byte held.
    pub start: Offset,
    /// The offset of the last byte held.
    pub end: Offset,
}

impl Extent {
    /// Whether reading can begin at `offset`: its next byte is held, or will be the next to come.
    #[must_use]
    pub fn can_read_from(&self, offset: Offset) -> bool {
        self.start <= offset && offset <= self.end
    }

    /// The number of bytes held.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.end.since(self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(c: u8) -> ReplId {
        ReplId::parse(&[c; 40]).unwrap()
    }

    #[test]
    fn an_id_is_forty_hexadecimal_characters() {
        assert_eq!(id(b'a').as_str(), "a".repeat(40));
        for wrong in [&b""[..], b"?", &[b'a'; 39], &[b'a'; 41], &[b'g'; 40]] {
            assert!(ReplId::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_number_near_2_to_the_64_is_not_believed() {
        for (text, expected) in [
            ("0", Some(0)),
            ("9223372036854775807", Some(i64::MAX.unsigned_abs())),
            ("9223372036854775808", None),
            ("18446744073709551615", None),
            ("18446744073709551616", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(Offset::parse(text).map(Offset::get), expected, "{text}");
            assert_eq!(Epoch::parse(text).map(Epoch::get), expected, "{text}");
        }
        assert_eq!(Epoch::new(u64::MAX).next(), Epoch::new(u64::MAX));
    }

    #[test]
    fn psync_asks_for_the_first_byte_not_seen() {
        assert_eq!(Offset::new(100).psync_argument(), 101);
    }

    #[test]
    fn the_previous_id_is_valid_up_to_and_including_the_offset_of_the_failover() {
        let history = History::from_info(id(b'a'), Some(id(b'b')), 101);
        let at = |who, offset| Position {
            id: id(who),
            offset: Offset::new(offset),
        };
        assert!(history.contains(&at(b'a', 5_000)));
        assert!(history.contains(&at(b'b', 100)));
        assert!(!history.contains(&at(b'b', 101)));
        assert!(!history.contains(&at(b'c', 1)));
    }

    #[test]
    fn without_a_failover_the_previous_id_covers_nothing() {
        let zeros = ReplId::parse(&[b'0'; 40]).unwrap();
        let history = History::from_info(id(b'a'), Some(zeros), -1);
        assert_eq!(history.previous, None);
    }

    #[test]
    fn a_renamed_history_still_contains_where_it_was() {
        let before = History::new(id(b'a'));
        let after = before.renamed(id(b'b'), Offset::new(70));
        assert!(after.contains(&Position {
            id: id(b'a'),
            offset: Offset::new(70)
        }));
        assert!(!after.contains(&Position {
            id: id(b'a'),
            offset: Offset::new(71)
        }));
        assert_eq!(after.renamed(id(b'b'), Offset::new(90)), after);
    }

    #[test]
    fn reading_can_begin_at_both_ends_of_an_extent() {
        let extent = Extent {
            start: Offset::new(10),
            end: Offset::new(20),
        };
        assert!(extent.can_read_from(Offset::new(10)) && extent.can_read_from(Offset::new(20)));
        assert!(!extent.can_read_from(Offset::new(9)) && !extent.can_read_from(Offset::new(21)));
        assert_eq!(extent.len_bytes(), 10);
    }
}
