//! Small replies as values: for the control of a connection, never for data.

use super::{Error, Fault, number};

/// The deepest nesting that is read.
const DEPTH_MAX: usize = 32;

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
/// call, so it is for replies of a few kilobytes. RESP3 attributes are left out.
///
/// # Errors
/// The bytes are no reply.
pub fn parse_value(bytes: &[u8]) -> Result<Option<(Value, usize)>, Error> {
    let mut reader = Reader { bytes, at: 0 };
    match reader.value(0) {
        Ok(value) => Ok(Some((value, reader.at))),
        Err(Stop::Short) => Ok(None),
        Err(Stop::Fault(fault)) => Err(Error::Reply(fault)),
    }
}

enum Stop {
    /// The bytes end within the reply.
    Short,
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Fault(fault)
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, Stop> {
        if depth > DEPTH_MAX {
            return Err(Fault::Depth(DEPTH_MAX).into());
        }
        let line = self.line()?;
        let (&kind, text) = line.split_first().ok_or(Fault::ReplyType(b'\r'))?;
        match kind {
            b'+' => Ok(Value::Simple(text.to_vec())),
            b'-' => Ok(Value::Error(text.to_vec())),
            b'(' => Ok(Value::BigNumber(text.to_vec())),
            b'_' => Ok(Value::Nil),
            b'#' => Ok(Value::Bool(text == b"t")),
            b':' => Ok(Value::Int(integer(text)?)),
            b',' => Ok(Value::Double(double(text)?)),
            b'$' | b'=' | b'!' => self.string(kind, text),
            b'|' => {
                self.items(text, 2, depth)?;
                self.value(depth)
            }
            b'*' | b'~' | b'>' | b'%' => self.aggregate(kind, text, depth),
            other => Err(Fault::ReplyType(other).into()),
        }
    }

    fn line(&mut self) -> Result<&'a [u8], Stop> {
        let rest = &self.bytes[self.at..];
        let end = memchr::memchr(b'\n', rest).ok_or(Stop::Short)?;
        self.at += end + 1;
        Ok(rest[..=end].strip_suffix(b"\r\n").ok_or(Fault::NoCrlf)?)
    }

    fn string(&mut self, kind: u8, text: &[u8]) -> Result<Value, Stop> {
        let Some(len) = length(text)? else {
            return Ok(Value::Nil);
        };
        let rest = &self.bytes[self.at..];
        let string = rest.get(..len).ok_or(Stop::Short)?;
        match rest.get(len..).unwrap_or_default() {
            [b'\r', b'\n', ..] => {}
            [] | [b'\r'] => return Err(Stop::Short),
            _ => return Err(Fault::NoCrlf.into()),
        }
        self.at += len + 2;
        let string = string.to_vec();
        Ok(if kind == b'!' {
            Value::Error(string)
        } else {
            Value::Bulk(string)
        })
    }

    fn aggregate(&mut self, kind: u8, text: &[u8], depth: usize) -> Result<Value, Stop> {
        let each = if kind == b'%' { 2 } else { 1 };
        let Some(items) = self.items(text, each, depth)? else {
            return Ok(Value::Nil);
        };
        Ok(match kind {
            b'%' => Value::Map(pairs(items)),
            b'>' => Value::Push(items),
            _ => Value::Array(items),
        })
    }

    /// The declared count is believed element by element: nothing is reserved for it.
    fn items(&mut self, text: &[u8], each: usize, depth: usize) -> Result<Option<Vec<Value>>, Stop> {
        let Some(count) = length(text)? else {
            return Ok(None);
        };
        let mut items = Vec::new();
        for _ in 0..count.saturating_mul(each) {
            items.push(self.value(depth + 1)?);
        }
        Ok(Some(items))
    }
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

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(
            prop::sample::select(b"+-:$*%>|~_!=,#0129\r\n".to_vec()), 0..80)) {
            let _ = parse_value(&bytes);
        }
    }
}
