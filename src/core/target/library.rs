//! Libraries of functions: their names in the answer to `FUNCTION LIST`, and commands that come to the same however often they are carried out.
//!
//! A stream holds what succeeded at the source. It comes again after a crash, and from each shard of a cluster, where an operator loads and deletes a
//! library on every master:
//!
//! | at the source | there succeeded because | goes to the target as |
//! | --- | --- | --- |
//! | `FUNCTION LOAD code` | there was no such library | `FUNCTION LOAD REPLACE code` |
//! | `FUNCTION RESTORE dump`, with or without `APPEND` | there was none of them | `FUNCTION RESTORE dump REPLACE` |
//! | anything else | | it is |

use bytes::{Bytes, BytesMut};

use crate::core::resp::{Frame, Value, encode_command};

/// The command as it goes to the target: the table above.
#[must_use]
pub fn repeatable(frame: &Frame<'_>) -> Bytes {
    let is = |index: usize, word: &[u8]| frame.arg(index).is_some_and(|arg| arg.eq_ignore_ascii_case(word));
    let encoded = |words: &[&[u8]]| {
        let mut out = BytesMut::new();
        encode_command(&mut out, words);
        out.freeze()
    };
    match (frame.arg_count(), frame.arg(2)) {
        (3, Some(code)) if is(1, b"load") => encoded(&[b"FUNCTION", b"LOAD", b"REPLACE", code]),
        (3, Some(dump)) if is(1, b"restore") => encoded(&[b"FUNCTION", b"RESTORE", dump, b"REPLACE"]),
        (4, Some(dump)) if is(1, b"restore") && is(3, b"append") => {
            encoded(&[b"FUNCTION", b"RESTORE", dump, b"REPLACE"])
        }
        _ => frame.to_bytes(),
    }
}

/// The library that a `FUNCTION DELETE` names.
#[must_use]
pub fn deleted<'a>(frame: &Frame<'a>) -> Option<&'a [u8]> {
    let is_deletion = frame.name().eq_ignore_ascii_case(b"function")
        && frame
            .arg(1)
            .is_some_and(|word| word.eq_ignore_ascii_case(b"delete"));
    frame.arg(2).filter(|_| is_deletion)
}

/// The names in the answer to `FUNCTION LIST`; nothing where it has another shape.
#[must_use]
pub fn names(list: &Value) -> Option<Vec<&[u8]>> {
    let libraries = list.array()?.iter();
    Some(
        libraries
            .filter_map(|library| name_in(library.array()?))
            .collect(),
    )
}

/// A library is a list of names and values; the first name is `library_name`.
fn name_in(library: &[Value]) -> Option<&[u8]> {
    let mut pairs = library.chunks_exact(2);
    let pair = pairs.find(|pair| pair[0].text() == Some(b"library_name"))?;
    pair[1].text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::position::Offset;
    use crate::core::resp::Framer;

    fn with_frame<T>(text: &str, ask: impl FnOnce(&Frame<'_>) -> T) -> T {
        let words: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
        let mut out = BytesMut::new();
        encode_command(&mut out, &words);
        let mut framer = Framer::default();
        framer.push(Offset::ZERO, out.freeze()).unwrap();
        ask(&framer.next().unwrap().unwrap())
    }

    #[test]
    fn every_row_of_the_table() {
        for (at_source, to_target) in [
            ("FUNCTION LOAD code", "FUNCTION LOAD REPLACE code"),
            ("function load replace", "FUNCTION LOAD REPLACE replace"),
            ("FUNCTION LOAD REPLACE code", "FUNCTION LOAD REPLACE code"),
            ("FUNCTION RESTORE dump", "FUNCTION RESTORE dump REPLACE"),
            ("FUNCTION RESTORE dump append", "FUNCTION RESTORE dump REPLACE"),
            ("FUNCTION RESTORE dump FLUSH", "FUNCTION RESTORE dump FLUSH"),
            ("FUNCTION DELETE lib", "FUNCTION DELETE lib"),
            ("FUNCTION FLUSH ASYNC", "FUNCTION FLUSH ASYNC"),
        ] {
            let expected = with_frame(to_target, |frame| frame.to_bytes());
            assert_eq!(with_frame(at_source, repeatable), expected, "{at_source}");
        }
    }

    #[test]
    fn only_a_deletion_names_a_library_that_may_be_gone() {
        let named = |text| with_frame(text, |frame| deleted(frame).map(<[u8]>::to_vec));
        assert_eq!(named("function delete lib"), Some(b"lib".to_vec()));
        for other in ["FUNCTION LOAD lib", "FUNCTION DELETE", "DELETE delete lib"] {
            assert_eq!(named(other), None, "{other}");
        }
    }
}
