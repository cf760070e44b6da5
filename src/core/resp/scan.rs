//! Finding the end of one command, however its bytes are cut.
//!
//! A [`Scan`] is the progress within one command. It is fed whatever bytes there are, looks at each of them once, and
//! keeps only counters, the places of the first arguments, and the few bytes of a header line cut in two.

use super::{Fault, Limits, number};

/// How many arguments' places are noted while framing. The rest are found by walking the frame.
pub(super) const SPANS: usize = 8;

/// A header line of up to six digits, and the byte after it: what the quick way looks at together.
const QUICK_LINE: usize = 10;

/// The longest header line, CRLF included: `*` or `$`, a sign, 18 digits.
const LINE_MAX: usize = 22;

/// An argument's place, counted from the first byte of its command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) len: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing of the command has been seen.
    Start,
    /// Within `*N\r\n`.
    Count,
    /// Within `$len\r\n`.
    Length,
    /// Within an argument: so many bytes are missing, its CRLF included.
    Body(u32),
    /// Within a line that is no array: it ends at the next newline.
    Inline,
}

/// The progress within one command.
#[derive(Debug)]
pub(super) struct Scan {
    state: State,
    /// Arguments declared and not yet complete.
    args_left: u32,
    /// Bytes of the command seen so far.
    len: u32,
    /// Bytes of the command before the line or the argument in hand.
    mark: u32,
    line: [u8; LINE_MAX],
    line_len: u8,
    /// Arguments begun so far.
    pub(super) count: u32,
    pub(super) spans: [Span; SPANS],
}

impl Scan {
    pub(super) fn new() -> Scan {
        Scan {
            state: State::Start,
            args_left: 0,
            len: 0,
            mark: 0,
            line: [0; LINE_MAX],
            line_len: 0,
            count: 0,
            spans: [Span::default(); SPANS],
        }
    }

    /// Makes ready for the next command. The old spans stay: `count` says how many of them hold.
    pub(super) fn restart(&mut self) {
        self.state = State::Start;
        self.args_left = 0;
        self.len = 0;
        self.mark = 0;
        self.line_len = 0;
        self.count = 0;
    }

    /// Bytes of the command seen so far.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// Bytes of the command before the line or the argument in hand: where a fault is said to be.
    pub(super) fn mark(&self) -> u32 {
        self.mark
    }

    /// The quick way over a command that lies whole in `data`, from its first byte on; says how many bytes it has. It takes nothing that the
    /// careful way, [`Scan::feed`], would take otherwise: `None` leaves to that whatever is cut, rare or wrong.
    #[inline]
    pub(super) fn whole(&mut self, data: &[u8], limits: &Limits) -> Option<usize> {
        if self.state != State::Start {
            return None;
        }
        let (count, mut at) = quick_header(data, 0, b'*')?;
        if count == 0 || count > limits.args_max {
            return None;
        }
        for index in 0..count as usize {
            let (len, start) = quick_header(data, at, b'$')?;
            let end = start + len as usize;
            at = end + 2;
            if len > limits.bulk_bytes_max || data.get(end..at)? != b"\r\n" {
                return None;
            }
            if let Some(span) = self.spans.get_mut(index) {
                // What does not fit is beyond any limit, and refused below.
                *span = Span {
                    start: start as u32,
                    len,
                };
            }
        }
        if at > limits.command_bytes_max as usize {
            return None;
        }
        self.count = count;
        Some(at)
    }

    /// Looks at `data`, which continues the command. `Some(n)`: the command ends with the n-th byte of `data`.
    /// `None`: all of `data` belongs to it and more must come.
    ///
    /// # Errors
    /// The bytes are no command; [`Scan::mark`] then counts the good bytes before the fault.
    #[inline]
    pub(super) fn feed(&mut self, data: &[u8], limits: &Limits) -> Result<Option<usize>, Fault> {
        let mut at = 0;
        loop {
            let rest = &data[at..];
            let Some(&first) = rest.first() else {
                return Ok(None);
            };
            let seen = match self.state {
                State::Start => {
                    self.state = if first == b'*' {
                        State::Count
                    } else {
                        State::Inline
                    };
                    continue;
                }
                State::Count => self.count_line(rest, limits)?,
                State::Length => self.length_line(rest, limits)?,
                State::Body(left) => self.body(left, rest)?,
                State::Inline => self.inline(rest, limits)?,
            };
            at += seen.bytes;
            self.advance(seen.bytes, limits)?;
            if seen.whole {
                return Ok(Some(at));
            }
        }
    }

    /// Counts bytes as seen. Any one step sees at most one chunk, so the sum fits once it is checked.
    fn advance(&mut self, bytes: usize, limits: &Limits) -> Result<(), Fault> {
        let len = u64::from(self.len) + bytes as u64;
        match u32::try_from(len) {
            Ok(len) if len <= limits.command_bytes_max => {
                self.len = len;
                Ok(())
            }
            _ => Err(Fault::CommandLength(limits.command_bytes_max)),
        }
    }

    fn count_line(&mut self, rest: &[u8], limits: &Limits) -> Result<Seen, Fault> {
        let Some((declared, bytes)) = self.header(rest)? else {
            return Ok(Seen::part(rest.len()));
        };
        if declared > i64::from(limits.args_max) {
            return Err(Fault::ArgCount(declared));
        }
        // Redis takes a count of zero or less for an empty command and goes on.
        self.args_left = u32::try_from(declared).unwrap_or(0);
        self.state = State::Length;
        Ok(Seen {
            bytes,
            whole: self.args_left == 0,
        })
    }

    #[inline]
    fn length_line(&mut self, rest: &[u8], limits: &Limits) -> Result<Seen, Fault> {
        if self.line_len == 0 {
            self.mark = self.len;
            if rest[0] != b'$' {
                return Err(Fault::NotABulk(rest[0]));
            }
        }
        let Some((declared, bytes)) = self.header(rest)? else {
            return Ok(Seen::part(rest.len()));
        };
        let len = match u32::try_from(declared) {
            Ok(len) if len <= limits.bulk_bytes_max => len,
            _ => return Err(Fault::BulkLength(declared)),
        };
        let start = self.len.saturating_add(bytes as u32);
        self.mark = start;
        if let Some(span) = self.spans.get_mut(self.count as usize) {
            *span = Span { start, len };
        }
        self.count += 1;
        self.state = State::Body(len.checked_add(2).ok_or(Fault::BulkLength(declared))?);
        Ok(Seen::part(bytes))
    }

    #[inline]
    fn body(&mut self, left: u32, rest: &[u8]) -> Result<Seen, Fault> {
        let bytes = rest.len().min(left as usize);
        let after = left - bytes as u32;
        // The last two of the `left` bytes must be CR and LF; check those of them that lie in `rest`.
        let crlf_in_rest = |byte: u8, from_end: u32| {
            let within = left >= from_end && after < from_end;
            !within || rest[(left - from_end) as usize] == byte
        };
        if !crlf_in_rest(b'\r', 2) || !crlf_in_rest(b'\n', 1) {
            return Err(Fault::NoCrlf);
        }
        if after > 0 {
            self.state = State::Body(after);
            return Ok(Seen::part(bytes));
        }
        self.args_left -= 1;
        self.state = State::Length;
        Ok(Seen {
            bytes,
            whole: self.args_left == 0,
        })
    }

    fn inline(&mut self, rest: &[u8], limits: &Limits) -> Result<Seen, Fault> {
        let end = memchr::memchr(b'\n', rest);
        let bytes = end.map_or(rest.len(), |at| at + 1);
        if self.len as usize + bytes > limits.inline_bytes_max as usize {
            return Err(Fault::LineLength(limits.inline_bytes_max));
        }
        Ok(Seen {
            bytes,
            whole: end.is_some(),
        })
    }

    /// Reads the number of a header line, and how many bytes of `rest` the line took. `None`: its end has not come;
    /// what there is of it has been kept.
    #[inline]
    fn header(&mut self, rest: &[u8]) -> Result<Option<(i64, usize)>, Fault> {
        if self.line_len == 0
            && let Some(found) = short_header(rest)
        {
            return Ok(Some(found));
        }
        self.slow_header(rest)
    }

    #[cold]
    fn slow_header(&mut self, rest: &[u8]) -> Result<Option<(i64, usize)>, Fault> {
        for (seen, &byte) in rest.iter().enumerate() {
            if usize::from(self.line_len) == LINE_MAX {
                return Err(Fault::NotANumber);
            }
            self.line[usize::from(self.line_len)] = byte;
            self.line_len += 1;
            if byte != b'\n' {
                continue;
            }
            let line = &self.line[..usize::from(self.line_len)];
            let digits = line[1..].strip_suffix(b"\r\n").ok_or(Fault::NotANumber)?;
            let number = number(digits).ok_or(Fault::NotANumber)?;
            self.line_len = 0;
            return Ok(Some((number, seen + 1)));
        }
        Ok(None)
    }

    /// Notes the words of a complete inline command.
    pub(super) fn note_words(&mut self, line: &[u8]) {
        self.count = 0;
        let mut at = 0;
        while let Some((span, next)) = word(line, at) {
            if let Some(place) = self.spans.get_mut(self.count as usize) {
                *place = span;
            }
            self.count += 1;
            at = next;
        }
    }
}

/// What one step took from the data, and whether the command is whole with it.
struct Seen {
    bytes: usize,
    whole: bool,
}

impl Seen {
    fn part(bytes: usize) -> Seen {
        Seen { bytes, whole: false }
    }
}

/// The number of the header line that begins at `at` with this type byte, and where the line ends. Only where it is short, and not the
/// last there is: then one look at the length of `data` is enough.
#[inline(always)]
fn quick_header(data: &[u8], at: usize, kind: u8) -> Option<(u32, usize)> {
    let line = data.get(at..)?.first_chunk::<QUICK_LINE>()?;
    let mut number = u32::from(line[1].wrapping_sub(b'0'));
    if line[0] != kind || number > 9 {
        return None;
    }
    for place in 2..QUICK_LINE - 1 {
        let digit = u32::from(line[place].wrapping_sub(b'0'));
        if digit > 9 {
            let ends = line[place] == b'\r' && line[place + 1] == b'\n';
            return ends.then_some((number, at + place + 2));
        }
        number = number * 10 + digit;
    }
    None
}

/// A header of one to three digits that lies wholly in `rest`: nearly all of them.
#[inline]
fn short_header(rest: &[u8]) -> Option<(i64, usize)> {
    let digit = |at: usize| rest.get(at).map(|b| b.wrapping_sub(b'0')).filter(|d| *d < 10);
    let crlf = |at: usize| rest.get(at) == Some(&b'\r') && rest.get(at + 1) == Some(&b'\n');
    let mut number = i64::from(digit(1)?);
    let mut at = 2;
    while at < 5 {
        if crlf(at) {
            return Some((number, at + 2));
        }
        number = number * 10 + i64::from(digit(at)?);
        at += 1;
    }
    None
}

/// The argument whose `$len\r\n` begins at `at` in a well-formed command, and where the next one begins.
pub(super) fn bulk(command: &[u8], at: usize) -> Option<(Span, usize)> {
    let rest = command.get(at..)?;
    let (len, header) = match short_header(rest) {
        Some(found) => found,
        None => {
            let end = memchr::memchr(b'\r', rest)?;
            (number(rest.get(1..end)?)?, end + 2)
        }
    };
    let start = at + header;
    let span = Span {
        start: u32::try_from(start).ok()?,
        len: u32::try_from(len).ok()?,
    };
    Some((span, start + span.len as usize + 2))
}

/// The word of an inline command that begins at or after `at`, and where it ends.
pub(super) fn word(line: &[u8], at: usize) -> Option<(Span, usize)> {
    let rest = line.get(at..)?;
    let start = at + rest.iter().position(|b| !b.is_ascii_whitespace())?;
    let len = line[start..]
        .iter()
        .position(u8::is_ascii_whitespace)
        .unwrap_or(line.len() - start);
    let span = Span {
        start: u32::try_from(start).ok()?,
        len: u32::try_from(len).ok()?,
    };
    Some((span, start + len))
}
