//! Reading a target's replies for one thing only: which of them are errors.
//!
//! The scanner is fed bytes as they come and keeps no reply. It allocates only to keep the text of an error that was
//! cut in two. Both RESP2 and RESP3 are understood; pushes and attributes are no replies and are passed over.

use super::{Error, Fault, number};

/// The deepest nesting of replies. Servers nest less than ten deep.
const DEPTH_MAX: usize = 32;

/// How much of an error's text is kept, and the longest line that is read at all.
const LINE_BYTES_MAX: usize = 64 << 10;

/// What the scanner saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// So many replies in a row that are no error, no nil and no aggregate: `+OK`, `+QUEUED`, a number, a string.
    Ok(usize),
    /// One reply that is an error. The text is what follows the `-`.
    Error(&'a [u8]),
    /// One reply that is nil: also an `EXEC` that a `WATCH` stopped.
    Nil,
    /// An element of the aggregate reply in hand is an error: a command that failed inside `EXEC`. Comes before
    /// its [`Event::Array`].
    ElementError {
        /// Which element, from 0.
        index: usize,
        /// What follows the `-`.
        text: &'a [u8],
    },
    /// One reply that is an array, a set or a map.
    Array {
        /// How many elements; keys and values of a map are counted each.
        elements: usize,
        /// How many of them were errors.
        errors: usize,
    },
}

/// An aggregate in hand.
#[derive(Debug, Clone, Copy, Default)]
struct Level {
    /// Elements that have not come yet.
    left: u64,
    /// A push or an attribute: no reply of its own, no element of the level above.
    aside: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the first byte of a reply or an element.
    Type,
    /// Within a line; its part so far is in `line`.
    Line,
    /// Within a string: so many bytes are missing, CRLF included.
    Skip(u64),
    /// Within a RESP3 bulk error: so many bytes are missing, CRLF included; its text is gathered in `line`.
    Gather(u64),
}

/// Counts replies and finds the errors among them.
#[derive(Debug)]
pub struct ReplyScanner {
    state: State,
    depth: usize,
    levels: [Level; DEPTH_MAX],
    /// Of the top-level aggregate: how many elements it has, and how many were errors.
    elements: u64,
    errors: usize,
    line: Vec<u8>,
    /// Good replies that have not been reported yet.
    good: usize,
    failed: Option<Fault>,
}

impl Default for ReplyScanner {
    fn default() -> Self {
        ReplyScanner::new()
    }
}

impl ReplyScanner {
    /// A scanner at the start of a connection.
    #[must_use]
    pub fn new() -> ReplyScanner {
        ReplyScanner {
            state: State::Type,
            depth: 0,
            levels: [Level::default(); DEPTH_MAX],
            elements: 0,
            errors: 0,
            line: Vec::new(),
            good: 0,
            failed: None,
        }
    }

    /// Whether the bytes so far end with a whole reply.
    #[must_use]
    pub fn is_between_replies(&self) -> bool {
        self.state == State::Type && self.depth == 0
    }

    /// Reads on, tells `on` what it saw, and returns how many replies have become complete.
    ///
    /// # Errors
    /// The bytes are no replies. The same error is given ever after: the connection is of no more use.
    pub fn scan(&mut self, bytes: &[u8], mut on: impl FnMut(Event<'_>)) -> Result<usize, Error> {
        if let Some(fault) = self.failed {
            return Err(Error::Reply(fault));
        }
        let result = self.run(bytes, &mut on);
        self.report_good(&mut on);
        result.map_err(|fault| {
            self.failed = Some(fault);
            Error::Reply(fault)
        })
    }

    fn run(&mut self, bytes: &[u8], on: &mut impl FnMut(Event<'_>)) -> Result<usize, Fault> {
        let mut at = 0;
        let mut replies = 0;
        while at < bytes.len() {
            if self.is_between_replies() {
                at += self.good_run(&bytes[at..], &mut replies);
            }
            let rest = &bytes[at..];
            if rest.is_empty() {
                break;
            }
            let (seen, done) = match self.state {
                State::Type => self.line(rest, on)?,
                State::Line => self.rest_of_line(rest, on)?,
                State::Skip(left) => self.skip(rest, left)?,
                State::Gather(left) => self.gather(rest, left, on)?,
            };
            at += seen;
            if done {
                replies += usize::from(self.complete(on));
            }
        }
        Ok(replies)
    }

    /// Takes runs of `+OK` and `+QUEUED` in one go: the replies to nearly everything that is replayed.
    #[inline]
    fn good_run(&mut self, bytes: &[u8], replies: &mut usize) -> usize {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            at += match rest {
                [b'+', b'Q', b'U', b'E', b'U', b'E', b'D', b'\r', b'\n', ..] => 9,
                [b'+', b'O', b'K', b'\r', b'\n', ..] => 5,
                [b':', _, b'\r', b'\n', ..] if rest[1].is_ascii_digit() => 4,
                _ => return at,
            };
            self.good += 1;
            *replies += 1;
        }
    }

    /// Handles the line at the head of `rest`, or keeps its beginning.
    fn line(&mut self, rest: &[u8], on: &mut impl FnMut(Event<'_>)) -> Result<(usize, bool), Fault> {
        let Some(end) = memchr::memchr(b'\n', rest) else {
            self.line.clear();
            self.state = State::Line;
            self.keep(rest)?;
            return Ok((rest.len(), false));
        };
        let done = self.whole_line(&rest[..=end], on)?;
        Ok((end + 1, done))
    }

    fn rest_of_line(&mut self, rest: &[u8], on: &mut impl FnMut(Event<'_>)) -> Result<(usize, bool), Fault> {
        let end = memchr::memchr(b'\n', rest);
        let seen = end.map_or(rest.len(), |at| at + 1);
        self.keep(&rest[..seen])?;
        if end.is_none() {
            return Ok((seen, false));
        }
        self.state = State::Type;
        let mut line = std::mem::take(&mut self.line);
        let done = self.whole_line(&line, on)?;
        line.clear();
        self.line = line;
        Ok((seen, done))
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if self.line.len() + bytes.len() > LINE_BYTES_MAX {
            return Err(Fault::LineLength(LINE_BYTES_MAX as u32));
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    /// Acts on a whole line; says whether a reply or an element is complete with it.
    fn whole_line(&mut self, line: &[u8], on: &mut impl FnMut(Event<'_>)) -> Result<bool, Fault> {
        let text = line.strip_suffix(b"\r\n").ok_or(Fault::NoCrlf)?;
        let (&kind, text) = text.split_first().ok_or(Fault::ReplyType(b'\r'))?;
        match kind {
            b'+' | b':' | b',' | b'#' | b'(' => {
                self.good += usize::from(self.depth == 0);
                Ok(true)
            }
            b'-' => {
                self.error(text, on);
                Ok(true)
            }
            b'_' => {
                self.nil(on);
                Ok(true)
            }
            b'$' | b'=' | b'!' => self.string(kind, length(text)?, on),
            b'*' | b'~' | b'%' | b'>' | b'|' => self.aggregate(kind, length(text)?, on),
            other => Err(Fault::ReplyType(other)),
        }
    }

    fn string(&mut self, kind: u8, len: Option<u64>, on: &mut impl FnMut(Event<'_>)) -> Result<bool, Fault> {
        let Some(len) = len else {
            self.nil(on);
            return Ok(true);
        };
        self.line.clear();
        if kind == b'!' {
            self.state = State::Gather(len + 2);
            return Ok(false);
        }
        self.good += usize::from(self.depth == 0);
        self.state = State::Skip(len + 2);
        Ok(false)
    }

    fn aggregate(
        &mut self,
        kind: u8,
        count: Option<u64>,
        on: &mut impl FnMut(Event<'_>),
    ) -> Result<bool, Fault> {
        let aside = matches!(kind, b'>' | b'|');
        let Some(count) = count else {
            self.nil(on);
            return Ok(true);
        };
        let left = if matches!(kind, b'%' | b'|') {
            count * 2
        } else {
            count
        };
        if self.depth == 0 && !aside {
            self.elements = left;
            self.errors = 0;
        }
        if left == 0 {
            return Ok(self.empty_aggregate(aside, on));
        }
        if self.depth == DEPTH_MAX {
            return Err(Fault::Depth(DEPTH_MAX));
        }
        self.levels[self.depth] = Level { left, aside };
        self.depth += 1;
        Ok(false)
    }

    /// An aggregate without elements is complete with its header, unless it is none at all.
    fn empty_aggregate(&mut self, aside: bool, on: &mut impl FnMut(Event<'_>)) -> bool {
        if self.depth == 0 && !aside {
            self.array(on);
        }
        !aside
    }

    fn skip(&mut self, rest: &[u8], left: u64) -> Result<(usize, bool), Fault> {
        let seen = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let after = left - seen as u64;
        check_crlf(&rest[..seen], after)?;
        self.state = if after == 0 {
            State::Type
        } else {
            State::Skip(after)
        };
        Ok((seen, after == 0))
    }

    fn gather(
        &mut self,
        rest: &[u8],
        left: u64,
        on: &mut impl FnMut(Event<'_>),
    ) -> Result<(usize, bool), Fault> {
        let (seen, done) = self.skip(rest, left)?;
        let text = seen.min(usize::try_from(left.saturating_sub(2)).unwrap_or(usize::MAX));
        let room = LINE_BYTES_MAX.saturating_sub(self.line.len());
        self.line.extend_from_slice(&rest[..text.min(room)]);
        if !done {
            self.state = State::Gather(left - seen as u64);
            return Ok((seen, false));
        }
        let line = std::mem::take(&mut self.line);
        self.error(&line, on);
        self.line = line;
        Ok((seen, true))
    }

    fn error(&mut self, text: &[u8], on: &mut impl FnMut(Event<'_>)) {
        match self.depth {
            0 => {
                self.report_good(on);
                on(Event::Error(text));
            }
            1 if !self.levels[0].aside => {
                self.errors += 1;
                self.report_good(on);
                let index = usize::try_from(self.elements - self.levels[0].left).unwrap_or(usize::MAX);
                on(Event::ElementError { index, text });
            }
            // Deeper down it is part of a value that a command returned, not the failure of a command.
            _ => {}
        }
    }

    fn nil(&mut self, on: &mut impl FnMut(Event<'_>)) {
        if self.depth == 0 {
            self.report_good(on);
            on(Event::Nil);
        }
    }

    fn array(&mut self, on: &mut impl FnMut(Event<'_>)) {
        self.report_good(on);
        on(Event::Array {
            elements: usize::try_from(self.elements).unwrap_or(usize::MAX),
            errors: self.errors,
        });
    }

    fn report_good(&mut self, on: &mut impl FnMut(Event<'_>)) {
        if self.good > 0 {
            on(Event::Ok(self.good));
            self.good = 0;
        }
    }

    /// An item is complete: count it where it belongs. Says whether a top-level reply is complete with it.
    fn complete(&mut self, on: &mut impl FnMut(Event<'_>)) -> bool {
        while self.depth > 0 {
            let level = &mut self.levels[self.depth - 1];
            level.left -= 1;
            if level.left > 0 {
                return false;
            }
            let aside = level.aside;
            self.depth -= 1;
            if aside {
                return false;
            }
            if self.depth == 0 {
                self.array(on);
            }
        }
        true
    }
}

/// A declared length or count; `None` for -1, the nil of RESP2.
fn length(text: &[u8]) -> Result<Option<u64>, Fault> {
    match number(text).ok_or(Fault::NotANumber)? {
        -1 => Ok(None),
        n => u64::try_from(n).map(Some).map_err(|_| Fault::ReplyLength(n)),
    }
}

/// Checks those of the two closing bytes that lie in `piece`, after which `after` bytes of the string are missing.
fn check_crlf(piece: &[u8], after: u64) -> Result<(), Fault> {
    let good = match (after, piece) {
        (0, [.., b'\r', b'\n'] | [b'\n']) | (1, [.., b'\r']) => true,
        (0 | 1, []) => true,
        (0 | 1, _) => false,
        _ => true,
    };
    if good { Ok(()) } else { Err(Fault::NoCrlf) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq)]
    enum Seen {
        Ok,
        Error(String),
        Nil,
        Element(usize, String),
        Array(usize, usize),
    }

    fn scan(bytes: &[u8], cuts: &[usize]) -> Result<(Vec<Seen>, usize), Error> {
        let mut scanner = ReplyScanner::new();
        let mut seen = Vec::new();
        let mut replies = 0;
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        ends.push(bytes.len());
        ends.sort_unstable();
        let text = |t: &[u8]| String::from_utf8_lossy(t).into_owned();
        let mut start = 0;
        for end in ends {
            replies += scanner.scan(&bytes[start..end], |event| match event {
                Event::Ok(n) => seen.extend(vec![Seen::Ok; n]),
                Event::Error(t) => seen.push(Seen::Error(text(t))),
                Event::Nil => seen.push(Seen::Nil),
                Event::ElementError { index, text: t } => seen.push(Seen::Element(index, text(t))),
                Event::Array { elements, errors } => seen.push(Seen::Array(elements, errors)),
            })?;
            start = end;
        }
        Ok((seen, replies))
    }

    #[test]
    fn a_transaction_reports_each_failed_element_by_its_index() {
        let bytes =
            b"+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n:1\r\n-WRONGTYPE no\r\n$2\r\nhi\r\n+OK\r\n";
        let (seen, replies) = scan(bytes, &[]).unwrap();
        let expected = [
            vec![Seen::Ok; 4],
            vec![
                Seen::Element(1, "WRONGTYPE no".into()),
                Seen::Array(3, 1),
                Seen::Ok,
            ],
        ];
        assert_eq!((seen, replies), (expected.concat(), 6));
    }

    #[test]
    fn every_type_is_one_reply() {
        let bytes = b":12\r\n$-1\r\n*-1\r\n_\r\n,1.5\r\n#t\r\n(123\r\n=7\r\ntxt:abc\r\n!5\r\nERR x\r\n~1\r\n+a\r\n%1\r\n+k\r\n*1\r\n-deep\r\n*0\r\n-ERR\r\n$0\r\n\r\n";
        let (seen, replies) = scan(bytes, &[]).unwrap();
        use Seen::{Array, Error, Nil, Ok};
        let expected = vec![
            Ok,
            Nil,
            Nil,
            Nil,
            Ok,
            Ok,
            Ok,
            Ok,
            Error("ERR x".into()),
            Array(1, 0),
            Array(2, 0),
            Array(0, 0),
            Error("ERR".into()),
            Ok,
        ];
        assert_eq!((seen, replies), (expected, 14));
    }

    #[test]
    fn pushes_and_attributes_are_no_replies() {
        let bytes = b">2\r\n+invalidate\r\n*1\r\n-x\r\n|1\r\n+ttl\r\n:1\r\n:5\r\n*2\r\n|1\r\n+a\r\n+b\r\n:1\r\n-no\r\n>0\r\n";
        let (seen, replies) = scan(bytes, &[]).unwrap();
        let expected = vec![Seen::Ok, Seen::Element(1, "no".into()), Seen::Array(2, 1)];
        assert_eq!((seen, replies), (expected, 2));
    }

    #[test]
    fn bytes_that_are_no_reply_are_an_error_that_stays() {
        for (bytes, fault) in [
            (&b"HTTP/1.1 400\r\n"[..], Fault::ReplyType(b'H')),
            (b"\r\n", Fault::ReplyType(b'\r')),
            (b"+OK\n", Fault::NoCrlf),
            (b"$2\r\nabc\r\n", Fault::NoCrlf),
            (b"$x\r\n", Fault::NotANumber),
            (b"*-2\r\n", Fault::ReplyLength(-2)),
        ] {
            let mut scanner = ReplyScanner::new();
            assert_eq!(scanner.scan(bytes, |_| {}), Err(Error::Reply(fault)));
            assert_eq!(scanner.scan(b"+OK\r\n", |_| {}), Err(Error::Reply(fault)));
        }
        assert_eq!(
            scan(&b"*1\r\n".repeat(33), &[]),
            Err(Error::Reply(Fault::Depth(32)))
        );
    }

    #[test]
    fn a_scanner_knows_whether_it_stands_between_replies() {
        let mut scanner = ReplyScanner::new();
        for (piece, between) in [
            (&b"*1\r\n"[..], false),
            (b"+O", false),
            (b"K\r\n", true),
            (b"$1", false),
        ] {
            scanner.scan(piece, |_| {}).unwrap();
            assert_eq!(scanner.is_between_replies(), between);
        }
    }

    fn reply() -> impl Strategy<Value = Vec<u8>> {
        let leaf = prop::sample::select(vec![
            &b"+OK\r\n"[..],
            b"+QUEUED\r\n",
            b":7\r\n",
            b":-1234\r\n",
            b"-ERR no\r\n",
            b"$-1\r\n",
            b"$5\r\n+OK\r\n\r\n",
            b"$0\r\n\r\n",
            b"_\r\n",
            b"!6\r\nERR ab\r\n",
        ])
        .prop_map(<[u8]>::to_vec);
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop::collection::vec(inner, 0..4).prop_map(|items| {
                let mut out = format!("*{}\r\n", items.len()).into_bytes();
                out.extend(items.concat());
                out
            })
        })
    }

    proptest! {
        #[test]
        fn replies_cut_anywhere_say_the_same(
            replies in prop::collection::vec(reply(), 0..12),
            cuts in prop::collection::vec(any::<usize>(), 0..20),
        ) {
            let bytes = replies.concat();
            let whole = scan(&bytes, &[]).unwrap();
            prop_assert_eq!(whole.1, replies.len());
            prop_assert_eq!(scan(&bytes, &cuts).unwrap(), whole);
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(
            prop::sample::select(b"+-:$*%>|~_!=0129\r\n".to_vec()), 0..80)) {
            let _ = scan(&bytes, &[7, 20, 33]);
        }
    }
}
