//! The scanner: items of a snapshot, one after another, as its bytes arrive.
//!
//! Owns when an item is given, the checksum's comparison, and resuming. Promises that an item is given as soon as its
//! last byte is there, and nothing after the first error.

use bytes::Bytes;

use super::checksum::Checksum;
use super::error::{Cause, Error, Reading};
use super::glance::{Glance, Looker};
use super::item::{Item, Key};
use super::parse::{Parse, State, Whole};
use super::reader::{Reader, Stop};
use super::window::Window;
use super::{Flavor, Version};

/// What came of looking for the next item.
// Nearly every step is an item: a box would be an allocation for each.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It is here.
    Item(Item),
    /// A key whose value is so large that it is given in pieces: here is the first of them. See [`Scanner::in_pieces`].
    Large(Key),
    /// The next piece of that value.
    Piece(Bytes),
    /// That value is whole; the byte of the file after it.
    LargeEnd(u64),
    /// It has not arrived whole: push more.
    NeedMore,
    /// There is none: the file is whole.
    End(End),
}

/// The file is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// How many bytes it has.
    pub len_bytes: u64,
    /// Whether its checksum was compared with its bytes. Not where the source wrote none (`rdbchecksum no`, or before
    /// RDB 5), nor if the scan was resumed on a prefix that was trusted.
    pub checked: bool,
}

/// Where a scan can be resumed: between two items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The byte of the file to go on with.
    pub at: u64,
    /// The database selected there.
    pub db: u32,
    /// What the file's header says.
    pub version: Version,
}

/// What is known of the bytes before a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    /// Their checksum: the file's is compared at its end.
    Hashed(Checksum),
    /// The file has been checked as a whole before: its checksum is not looked at.
    Trusted,
}

/// Finds the items of a snapshot. See the module's head.
#[derive(Debug)]
pub struct Scanner {
    window: Window,
    parse: Parse,
    /// The checksum of everything up to the opcode for the end, once that has been read.
    computed: Option<u64>,
    /// Values beyond this many bytes are given in pieces.
    whole_bytes_max: usize,
    /// A value is being given in pieces.
    in_pieces: bool,
    looker: Looker,
    /// How the scan ended. Set once, kept to be answered again.
    outcome: Option<Result<End, Error>>,
}

impl Default for Scanner {
    fn default() -> Scanner {
        Scanner::new()
    }
}

impl Scanner {
    /// For a file from its first byte on.
    #[must_use]
    pub fn new() -> Scanner {
        // The header sets the version before anything depends on it.
        let version = Version {
            flavor: Flavor::Redis,
            number: 0,
        };
        let parse = Parse::new(State::Header, version, 0);
        Scanner {
            window: Window::new(0, Some(Checksum::new())),
            parse,
            computed: None,
            whole_bytes_max: usize::MAX,
            in_pieces: false,
            looker: Looker::default(),
            outcome: None,
        }
    }

    /// For a file whose items before `cursor` are dealt with: the bytes from there on are to be pushed.
    #[must_use]
    pub fn resume(cursor: Cursor, prefix: Prefix) -> Scanner {
        let checksum = match prefix {
            Prefix::Hashed(checksum) => Some(checksum),
            Prefix::Trusted => None,
        };
        let parse = Parse::new(State::Record, cursor.version, cursor.db);
        Scanner {
            window: Window::new(cursor.at, checksum),
            parse,
            computed: None,
            whole_bytes_max: usize::MAX,
            in_pieces: false,
            looker: Looker::default(),
            outcome: None,
        }
    }

    /// Gives values in pieces that are longer than this and have not arrived whole by then, so that memory stays flat: as
    /// [`Step::Large`], [`Step::Piece`]s, and [`Step::LargeEnd`].
    #[must_use]
    pub fn in_pieces(mut self, above_bytes: usize) -> Scanner {
        self.whole_bytes_max = above_bytes;
        self
    }

    /// Gives the bytes that follow those pushed before. Best after [`Step::NeedMore`]: what is pushed earlier is held
    /// until its turn comes.
    pub fn push(&mut self, chunk: Bytes) {
        self.window.push(chunk);
    }

    /// The next item. Once the end has been given it is given again, unless bytes follow it: a snapshot is exactly
    /// the RDB, so they are an error.
    ///
    /// # Errors
    /// The bytes are no RDB, or one that is not known to us. See [`Error`].
    pub fn step(&mut self) -> Result<Step, Error> {
        if self.outcome.is_none() {
            if let (Some(of), Some((chunk, start))) = (self.parse.between_items(), self.window.chunk_mut())
                && let Some(key) = self.looker.take(of, chunk, start)
            {
                return Ok(Step::Item(Item::Key(key)));
            }
            match self.advance() {
                Ok(Step::End(end)) => self.outcome = Some(Ok(end)),
                Err(error) => self.outcome = Some(Err(error)),
                Ok(step) => return Ok(step),
            }
        } else if let (Some(Ok(_)), 1..) = (&self.outcome, self.window.remaining()) {
            let cause = Cause::Trailing(self.window.remaining());
            self.outcome = Some(Err(self.error(Reading::End, cause)));
        }
        match &self.outcome {
            Some(Ok(end)) => Ok(Step::End(*end)),
            Some(Err(error)) => Err(error.clone()),
            None => Ok(Step::NeedMore),
        }
    }

    /// Shows keys at a glance, and gives what else there is as [`Scanner::step`] does. Keys that span chunks are among that.
    ///
    /// # Errors
    /// As [`Scanner::step`].
    #[inline]
    pub fn look(&mut self, see: impl FnMut(&Glance<'_>)) -> Result<Step, Error> {
        if let (Some(of), Some((chunk, start))) = (self.parse.between_items(), self.window.chunk_mut()) {
            self.looker.look(of, chunk, start, see);
        }
        self.step()
    }

    /// To be called when no more bytes will come.
    ///
    /// # Errors
    /// Items are left, the end has not come, or bytes follow it.
    pub fn finish(mut self) -> Result<End, Error> {
        // The first step may find the end, the second then sees what follows.
        for _ in 0..2 {
            if !matches!(self.step()?, Step::End(_)) {
                return Err(self.error(self.parse.reading(), Cause::Truncated));
            }
        }
        match self.outcome {
            Some(outcome) => outcome,
            None => Err(self.error(self.parse.reading(), Cause::Truncated)),
        }
    }

    /// Where to resume after the item given last. There is one after every item; none before the header is there,
    /// while an item is there in part, and after the end.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        let between = self.parse.state == State::Record && self.window.at() == 0;
        between.then(|| Cursor {
            at: self.window.start(),
            db: self.parse.db,
            version: self.parse.version,
        })
    }

    /// What the header says, once it is there.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        (self.parse.state != State::Header).then_some(self.parse.version)
    }

    fn advance(&mut self) -> Result<Step, Error> {
        loop {
            let mut reader = Reader::new(self.window.unread());
            let outcome = self.parse.read(&mut reader, self.window.at());
            let read = reader.at;
            self.window.advance(read);
            match outcome {
                Ok(Whole::Item) if self.in_pieces => return Ok(self.last_piece()),
                Ok(Whole::Item) => return self.item(),
                Ok(Whole::Header) => {
                    self.window.take_item();
                }
                Ok(Whole::Eof) => {
                    self.computed = self.window.checksum();
                    self.window.take_item();
                    if self.parse.state == State::Ended {
                        return Ok(Step::End(self.end(false)));
                    }
                }
                Ok(Whole::Trailer(stored)) => return self.compare(stored),
                Err(Stop::Short(needed)) => {
                    if let Some(piece) = self.piece()? {
                        return Ok(piece);
                    }
                    if !self.window.extend(needed.saturating_sub(read)) {
                        return Ok(Step::NeedMore);
                    }
                }
                Err(Stop::Bad(cause)) => return Err(self.error(self.parse.reading(), cause)),
            }
        }
    }

    /// What has been read of a value that is given in pieces, or is to be from now on.
    fn piece(&mut self) -> Result<Option<Step>, Error> {
        let Some(value_at) = self.parse.value_at() else {
            return Ok(None);
        };
        if self.in_pieces {
            let there = self.window.at() > 0;
            return Ok(there.then(|| Step::Piece(self.window.take_item())));
        }
        if self.window.at() - value_at <= self.whole_bytes_max {
            return Ok(None);
        }
        let at = self.window.start();
        let reading = self.parse.reading();
        let raw = self.window.take_item();
        self.in_pieces = true;
        let head = self
            .parse
            .head(raw, at)
            .map_err(|cause| Error { at, reading, cause })?;
        Ok(Some(Step::Large(head)))
    }

    /// The last piece, or the end where that has been given.
    fn last_piece(&mut self) -> Step {
        if self.window.at() > 0 {
            return Step::Piece(self.window.take_item());
        }
        self.in_pieces = false;
        self.parse.end_value();
        Step::LargeEnd(self.window.start())
    }

    fn item(&mut self) -> Result<Step, Error> {
        let at = self.window.start();
        let raw = self.window.take_item();
        let reading = self.parse.reading();
        match self.parse.item(raw, at) {
            Ok(item) => Ok(Step::Item(item)),
            Err(cause) => Err(Error { at, reading, cause }),
        }
    }

    /// Compares the checksum, where there is one: a source that computes none writes 0.
    fn compare(&mut self, stored: u64) -> Result<Step, Error> {
        let at = self.window.start();
        self.window.take_item();
        match self.computed {
            Some(computed) if stored != 0 && stored != computed => Err(Error {
                at,
                reading: Reading::Trailer,
                cause: Cause::Checksum { stored, computed },
            }),
            computed => Ok(Step::End(self.end(stored != 0 && computed.is_some()))),
        }
    }

    fn end(&self, checked: bool) -> End {
        End {
            len_bytes: self.window.start(),
            checked,
        }
    }

    fn error(&self, reading: Reading, cause: Cause) -> Error {
        Error {
            at: self.window.position(),
            reading,
            cause,
        }
    }
}
