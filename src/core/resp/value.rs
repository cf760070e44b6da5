//! Small replies as values: for the control of a connection, never for data.

use bytes::{Buf, BytesMut};

use super::{Error, Fault, number};

/// The deepest nesting that is read.
const DEPTH_MAX: usize = 32;

/// The longest line that is read.
const LINE_BYTES_MAX: usize = 64 << 10;

/// The first byte of what is said about the reply that follows.
const ATTRIBUTE: u8 = b'|';

/// A reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `+text`
    Simple(Vec<u8>),
    /// `-text`, or a RESP3 bulk error.
    Error(Vec<u8>),
    /// `:number`
    Int(i64),
    /// A string; a verbatim string with its three-letter format and colon.
    Bulk(Vec<u8>),
    /// Nil, of whichever kind.
    Nil,
    /// An array, or a RESP3 set.
    Array(Vec<Value>),
    /// A RESP3 map, in the order in which it came.
    Map(Vec<(Value, Value)>),
    /// A RESP3 push.
    Push(Vec<Value>),
    /// A RESP3 double.
    Double(f64),
    /// A RESP3 boolean.
    Bool(bool),
    /// A RESP3 big number, as it was written.
    BigNumber(Vec<u8>),
}

impl Value {
    /// The text of a simple or bulk string.
    #[must_use]
    pub fn text(&self) -> Option<&[u8]> {
        match self {
            Value::Simple(text) | Value::Bulk(text) => Some(text),
            _ => None,
        }
    }

    /// The elements of an array.
    #[must_use]
    pub fn array(&self) -> Option<&[Value]> {
        match self {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The text of an error.
    #[must_use]
    pub fn error(&self) -> Option<&[u8]> {
        match self {
            Value::Error(text) => Some(text),
            _ => None,
        }
    }
}

/// Reads the reply at the head of `bytes`, and how many bytes it took. `None`: more must come. Starts afresh at each
/// call: for what comes in pieces there is [`Values`]. RESP3 attributes are left out.
///
/// # Errors
/// The bytes are no reply.
pub fn parse_value(bytes: &[u8]) -> Result<Option<(Value, usize)>, Error> {
    let (mut values, mut at) = (Values::new(usize::MAX), 0);
    let value = values.read(bytes, &mut at).map_err(Error::Reply)?;
    Ok(value.map(|value| (value, at)))
}

/// Reads replies that come in whatever pieces, each byte once.
///
/// Promises that no reply takes more memory than its limit, whatever it declares, and no stack.
#[derive(Debug)]
pub struct Values {
    /// The aggregates in hand, the outermost first.
    levels: Vec<Level>,
    /// What the reply in hand has cost so far: its bytes, and the room of its values.
    cost: usize,
    cost_max: usize,
}

/// An aggregate in hand.
#[derive(Debug)]
struct Level {
    kind: u8,
    /// Elements that have not come yet.
    left: usize,
    items: Vec<Value>,
}

/// What stands at the head of the bytes.
enum Token {
    Whole(Value),
    /// An aggregate with so many elements begins.
    Opens(u8, usize),
    /// An attribute without any.
    Nothing,
}

impl Values {
    /// Of replies that cost at most so much each: bytes, and for each value its size in memory.
    #[must_use]
    pub const fn new(cost_max: usize) -> Values {
        Values {
            levels: Vec::new(),
            cost: 0,
            cost_max,
        }
    }

    /// The same with another limit from the next reply on.
    pub const fn limit(&mut self, cost_max: usize) {
        self.cost_max = cost_max;
    }

    /// The next reply, once it is whole. What has been read is taken off `input`.
    ///
    /// # Errors
    /// The bytes are no reply, or one beyond the limit: the connection is of no more use.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Value>, Error> {
        let mut at = 0;
        let value = self.read(input, &mut at).map_err(Error::Reply)?;
        input.advance(at);
        Ok(value)
    }

    fn read(&mut self, bytes: &[u8], at: &mut usize) -> Result<Option<Value>, Fault> {
        while let Some((token, used)) = token(&bytes[*at..], self.cost_max.saturating_sub(self.cost))? {
            *at += used;
            self.cost = self.cost.saturating_add(used + size_of::<Value>());
            if self.cost > self.cost_max {
                return Err(Fault::ReplyCost(self.cost_max));
            }
            if let Some(value) = self.take(token)? {
                self.cost = 0;
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// Puts a token where it belongs; the reply, where it is whole with it.
    fn take(&mut self, token: Token) -> Result<Option<Value>, Fault> {
        let mut done = match token {
            Token::Nothing => return Ok(None),
            Token::Whole(value) => value,
            Token::Opens(kind, 0) => closed(kind, Vec::new()),
            Token::Opens(kind, left) => {
                if self.levels.len() == DEPTH_MAX {
                    return Err(Fault::Depth(DEPTH_MAX));
                }
                // The declared count is believed element by element: nothing is reserved for it.
                let items = Vec::new();
                self.levels.push(Level { kind, left, items });
                return Ok(None);
            }
        };
        while let Some(level) = self.levels.last_mut() {
            if level.kind != ATTRIBUTE {
                level.items.push(done);
            }
            level.left -= 1;
            if level.left > 0 {
                return Ok(None);
            }
            let (kind, items) = (level.kind, std::mem::take(&mut level.items));
            self.levels.pop();
            if kind == ATTRIBUTE {
                // What it is about comes next, where it stood.
                return Ok(None);
            }
            done = closed(kind, items);
        }
        Ok(Some(done))
    }
}

fn closed(kind: u8, items: Vec<Value>) -> Value {
    match kind {
        b'%' => Value::Map(pairs(items)),
        b'>' => Value::Push(items),
        _ => Value::Array(items),
    }
}

/// The token at the head of `bytes`, and its length; nothing where it is not whole. A string may have so many bytes at most.
fn token(bytes: &[u8], string_max: usize) -> Result<Option<(Token, usize)>, Fault> {
    let window = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = memchr::memchr(b'\n', window) else {
        return match window.len() < LINE_BYTES_MAX {
            true => Ok(None),
            false => Err(Fault::LineLength(LINE_BYTES_MAX as u32)),
        };
    };
    let line = bytes[..=end].strip_suffix(b"\r\n").ok_or(Fault::NoCrlf)?;
    let (&kind, text) = line.split_first().ok_or(Fault::ReplyType(b'\r'))?;
    let value = match kind {
        b'+' => Value::Simple(text.to_vec()),
        b'-' => Value::Error(text.to_vec()),
        b'(' => Value::BigNumber(text.to_vec()),
        b'_' => Value::Nil,
        b'#' => Value::Bool(text == b"t"),
        b':' => Value::Int(integer(text)?),
        b',' => Value::Double(double(text)?),
        b'$' | b'=' | b'!' => match length(text)? {
            None => Value::Nil,
            Some(len) if len > string_max => return Err(Fault::ReplyCost(string_max)),
            Some(len) => {
                let string = string(kind, &bytes[end + 1..], len)?;
                return Ok(string.map(|value| (Token::Whole(value), end + 1 + len + 2)));
            }
        },
        b'*' | b'~' | b'>' | b'%' | ATTRIBUTE => {
            let each = if matches!(kind, b'%' | ATTRIBUTE) { 2 } else { 1 };
            let token = match length(text)? {
                None | Some(0) if kind == ATTRIBUTE => Token::Nothing,
                None => Token::Whole(Value::Nil),
                Some(count) => Token::Opens(kind, count.saturating_mul(each)),
            };
            return Ok(Some((token, end + 1)));
        }
        other => return Err(Fault::ReplyType(other)),
    };
    Ok(Some((Token::Whole(value), end + 1)))
}

/// The string behind its header, where it and what ends it are there.
fn string(kind: u8, bytes: &[u8], len: usize) -> Result<Option<Value>, Fault> {
    match bytes.get(len..).unwrap_or_default() {
        [b'\r', b'\n', ..] => {}
        [] | [b'\r'] => return Ok(None),
        _ => return Err(Fault::NoCrlf),
    }
    let string = bytes[..len].to_vec();
    Ok(Some(match kind {
        b'!' => Value::Error(string),
        _ => Value::Bulk(string),
    }))
}

fn pairs(items: Vec<Value>) -> Vec<(Value, Value)> {
    let mut pairs = Vec::with_capacity(items.len() / 2);
    let mut items = items.into_iter();
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        pairs.push((key, value));
    }
    pairs
}

fn length(text: &[u8]) -> Result<Option<usize>, Fault> {
    match number(text).ok_or(Fault::NotANumber)? {
        -1 => Ok(None),
        n => usize::try_from(n).map(Some).map_err(|_| Fault::ReplyLength(n)),
    }
}

fn integer(text: &[u8]) -> Result<i64, Fault> {
    let text = std::str::from_utf8(text).map_err(|_| Fault::NotANumber)?;
    text.parse().map_err(|_| Fault::NotANumber)
}

fn double(text: &[u8]) -> Result<f64, Fault> {
    let text = std::str::from_utf8(text).map_err(|_| Fault::NotANumber)?;
    text.parse().map_err(|_| Fault::NotANumber)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.into())
    }

    #[test]
    fn a_reply_becomes_a_value_and_says_how_long_it_was() {
        let nested = Value::Array(vec![bulk("a"), Value::Nil, Value::Array(vec![])]);
        let map = Value::Map(vec![(bulk("k"), Value::Bool(true))]);
        for (bytes, value) in [
            (&b"+OK\r\n"[..], Value::Simple(b"OK".to_vec())),
            (b"-ERR x\r\n", Value::Error(b"ERR x".to_vec())),
            (b"!5\r\nERR x\r\n", Value::Error(b"ERR x".to_vec())),
            (b":-9223372036854775808\r\n", Value::Int(i64::MIN)),
            (b",inf\r\n", Value::Double(f64::INFINITY)),
            (b"(12\r\n", Value::BigNumber(b"12".to_vec())),
            (b"*-1\r\n", Value::Nil),
            (b"*3\r\n$1\r\na\r\n$-1\r\n*0\r\n", nested),
            (b"|1\r\n+a\r\n+b\r\n%1\r\n$1\r\nk\r\n#t\r\n", map),
            (b">1\r\n:1\r\n", Value::Push(vec![Value::Int(1)])),
        ] {
            for cut in 0..bytes.len() {
                assert_eq!(parse_value(&bytes[..cut]), Ok(None));
            }
            let more = [bytes, b"+next\r\n"].concat();
            assert_eq!(parse_value(&more), Ok(Some((value, bytes.len()))));
        }
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        assert_eq!(
            parse_value(b"hello\r\n"),
            Err(Error::Reply(Fault::ReplyType(b'h')))
        );
        assert_eq!(parse_value(b"$1\r\nab\r\n"), Err(Error::Reply(Fault::NoCrlf)));
        assert_eq!(
            parse_value(&b"*1\r\n".repeat(40)),
            Err(Error::Reply(Fault::Depth(32)))
        );
        assert_eq!(parse_value(b"*999999999999\r\n+a\r\n"), Ok(None));
    }

    #[test]
    fn a_reply_that_comes_in_pieces_is_read_as_one_that_comes_whole() {
        let wire =
            b"|1\r\n+a\r\n*1\r\n:1\r\n*3\r\n$2\r\nab\r\n|0\r\n~1\r\n_\r\n%1\r\n+k\r\n!1\r\ne\r\n+next\r\n";
        let (whole, len) = parse_value(wire).unwrap().unwrap();
        for size in 1..wire.len() {
            let (mut values, mut input, mut read) = (Values::new(1 << 10), BytesMut::new(), Vec::new());
            for piece in wire.chunks(size) {
                input.extend_from_slice(piece);
                while let Some(value) = values.next(&mut input).unwrap() {
                    read.push(value);
                }
            }
            assert_eq!(read, [whole.clone(), Value::Simple(b"next".to_vec())], "{size}");
        }
        assert_eq!(&wire[len..], b"+next\r\n");
    }

    #[test]
    fn a_reply_beyond_its_limit_is_an_error_before_it_is_whole() {
        for (wire, times) in [
            (&b"*9999999\r\n"[..], 1),
            (b"+a\r\n", 200),
            (b"|1\r\n+a\r\n+b\r\n", 200),
            (b"|0\r\n", 200),
        ] {
            let bytes = [b"*999999999\r\n", &wire.repeat(times)[..], &b"_\r\n".repeat(100)].concat();
            let read = Values::new(2 << 10).next(&mut BytesMut::from(&bytes[..]));
            assert_eq!(read, Err(Error::Reply(Fault::ReplyCost(2 << 10))), "{wire:?}");
        }
        let declared = Values::new(100).next(&mut BytesMut::from(&b"$101\r\n"[..]));
        assert!(
            matches!(declared, Err(Error::Reply(Fault::ReplyCost(_)))),
            "{declared:?}"
        );
        let endless = Values::new(usize::MAX).next(&mut BytesMut::from(&[b'+'; LINE_BYTES_MAX][..]));
        assert!(
            matches!(endless, Err(Error::Reply(Fault::LineLength(_)))),
            "{endless:?}"
        );
        // The next one has a limit of its own.
        let (mut values, mut input) = (Values::new(1 << 10), BytesMut::from(&b"+a\r\n".repeat(500)[..]));
        for _ in 0..500 {
            assert!(values.next(&mut input).unwrap().is_some());
        }
    }

    #[test]
    fn attributes_one_after_the_other_need_no_stack() {
        let bytes = [&b"|1\r\n+a\r\n+b\r\n".repeat(100_000)[..], b"+OK\r\n"].concat();
        let reading = std::thread::Builder::new().stack_size(256 << 10);
        let read = reading.spawn(move || parse_value(&bytes).unwrap()).unwrap();
        assert_eq!(read.join().unwrap().unwrap().0, Value::Simple(b"OK".to_vec()));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(
            prop::sample::select(b"+-:$*%>|~_!=,#0129\r\n".to_vec()), 0..80)) {
            let _ = parse_value(&bytes);
        }
    }
}
