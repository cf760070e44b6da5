//! Replies and commands.
//!
//! | input | meaning |
//! | --- | --- |
//! | byte 0 | the size of the pieces |
//! | the rest | a server's replies; and a stream of commands |

use bytes::{Bytes, BytesMut};

use gunyu::core::position::Offset;
use gunyu::core::resp::{Error, Framer, Limits, ReplyScanner, Value, Values, parse_value};

use super::cut;

/// So much a reply may cost.
const COST_MAX: usize = 64 << 10;

/// Understood alike however it is cut.
pub fn check(input: &[u8]) {
    let Some((size, rest)) = input.split_first() else {
        return;
    };
    let (whole, size) = (Bytes::copy_from_slice(rest), usize::from(*size) + 1);
    // As texts: a number that is none is not equal to itself.
    let read = |pieces: Vec<Bytes>| format!("{:?}", values(pieces));
    assert_eq!(read(vec![whole.clone()]), read(cut(&whole, size).collect()));
    one_by_one(&whole);
    assert_eq!(scanned([whole.clone()]), scanned(cut(&whole, size)));
    assert_eq!(framed([whole.clone()]), framed(cut(&whole, size)));
}

fn values(pieces: Vec<Bytes>) -> (Vec<Value>, Option<Error>) {
    let (mut reader, mut input, mut read) = (Values::new(COST_MAX), BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(&piece);
        loop {
            match reader.next(&mut input) {
                Ok(Some(value)) => read.push(value),
                Ok(None) => break,
                Err(error) => return (read, Some(error)),
            }
        }
    }
    (read, None)
}

/// Each has a length, and is there no sooner than whole.
fn one_by_one(mut bytes: &[u8]) {
    while let Ok(Some((_, len))) = parse_value(bytes) {
        assert!(0 < len && len <= bytes.len());
        assert!(matches!(parse_value(&bytes[..len - 1]), Ok(None)));
        bytes = &bytes[len..];
    }
}

/// How many replies, and whether it ends in an error.
fn scanned(pieces: impl IntoIterator<Item = Bytes>) -> (usize, bool) {
    let (mut scanner, mut replies) = (ReplyScanner::new(), 0);
    for piece in pieces {
        match scanner.scan(&piece, |_| {}) {
            Ok(more) => replies += more,
            // How many there were before it is not told.
            Err(_) => return (0, true),
        }
    }
    (replies, false)
}

fn framed(pieces: impl IntoIterator<Item = Bytes>) -> (Vec<(Vec<u8>, Offset)>, bool) {
    let mut framer = Framer::new(Limits::default());
    let (mut frames, mut at) = (Vec::new(), Offset::ZERO);
    for piece in pieces {
        let after = at.after(piece.len());
        if framer.push(at, piece).is_err() {
            return (frames, true);
        }
        at = after;
        loop {
            match framer.next() {
                Ok(Some(frame)) => {
                    assert!(frame.end() <= at);
                    let words: Vec<u8> = frame.args().flat_map(|arg| [arg, b" "].concat()).collect();
                    frames.push((words, frame.end()));
                }
                Ok(None) => break,
                Err(_) => return (frames, true),
            }
        }
    }
    (frames, false)
}
