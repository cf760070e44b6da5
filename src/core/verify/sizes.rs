//! How large values are, before they are asked for: what is large is never asked for as a whole.

use super::Error;
use super::seen::Kind;
use super::side::Lines;
use crate::core::resp::{Value, encode_command};

/// A value above this is compared in pieces.
pub(super) const LARGE_BYTES: u64 = 1 << 20;

/// So many bytes of values are asked for together.
const TOGETHER_BYTES: u64 = 2 << 20;

/// An element takes about so much where the server does not say how much memory a value takes.
const ELEMENT_BYTES: u64 = 1 << 10;

/// So much is allowed for a value of which not even the type was asked for, where the server does not say either: a few go together.
const UNKNOWN_BYTES: u64 = 512 << 10;

/// A value that only its module reads, and that is larger, is not compared: it could only be asked for as a whole.
const MODULE_BYTES_MAX: u64 = 64 << 20;

/// A key of which type and length are known.
#[derive(Debug, Clone)]
pub(super) struct Sized<'a> {
    /// Its place among the keys that are looked at.
    pub(super) place: usize,
    pub(super) key: &'a [u8],
    pub(super) kind: Kind,
    pub(super) length: u64,
    /// About so much memory.
    pub(super) bytes: u64,
    /// The server has not said so.
    pub(super) is_guess: bool,
}

impl AsRef<[u8]> for Sized<'_> {
    fn as_ref(&self) -> &[u8] {
        self.key
    }
}

impl Sized<'_> {
    /// Whether it is compared in pieces. A module's value cannot be; what is not known to be small is.
    pub(super) fn is_large(&self) -> bool {
        (self.bytes > LARGE_BYTES || self.is_guess) && self.kind.length_verb().is_some()
    }

    /// Whether it can be compared neither as a whole nor in pieces.
    pub(super) fn is_too_large(&self) -> bool {
        self.bytes > MODULE_BYTES_MAX && self.kind.length_verb().is_none()
    }
}

/// Asks a side how large they are; a string's length says it.
pub(super) async fn measure(lines: &mut Lines, db: u32, keys: &mut [Sized<'_>]) -> Result<(), Error> {
    let (mut asked, mut places) = (Vec::new(), Vec::new());
    for (place, one) in keys.iter_mut().enumerate() {
        one.is_guess = false;
        one.bytes = match one.kind.length_verb() {
            Some(_) => one.length.saturating_mul(ELEMENT_BYTES),
            None if one.kind == Kind::Any => UNKNOWN_BYTES,
            // It goes alone.
            None => TOGETHER_BYTES + 1,
        };
        if one.kind == Kind::String {
            one.bytes = one.length;
            continue;
        }
        asked.push(one.key);
        places.push(place);
    }
    // Where the question is not permitted, or not known (before 4.0), the guess stands.
    let answers = lines.ask_and(
        db,
        &asked,
        1,
        |request, number| encode_command(request, &[b"MEMORY", b"USAGE", asked[number]]),
        |_| true,
    );
    for (place, answer) in places.into_iter().zip(answers.await?) {
        match answer {
            Value::Int(bytes) => keys[place].bytes = u64::try_from(bytes).unwrap_or(0),
            Value::Error(_) => keys[place].is_guess = true,
            // There is none any more.
            _ => keys[place].bytes = 0,
        }
    }
    Ok(())
}

/// Those that are asked for together: not too much at once.
pub(super) fn together<'a, 'b>(mut keys: &'b [Sized<'a>]) -> impl Iterator<Item = &'b [Sized<'a>]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = keys.iter().take_while(|one| {
            bytes += one.bytes;
            bytes <= TOGETHER_BYTES
        });
        // One that is larger goes alone.
        let count = fits.count().max(1).min(keys.len());
        let (first, rest) = keys.split_at(count);
        keys = rest;
        (!first.is_empty()).then_some(first)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_together_is_not_too_much() {
        let one = |bytes| Sized {
            place: 0,
            key: b"k",
            kind: Kind::Other("m".into()),
            length: 0,
            bytes,
            is_guess: false,
        };
        let keys = [1 << 20, 1 << 20, 1, 9 << 20, 5].map(one);
        let counts: Vec<usize> = together(&keys).map(<[Sized<'_>]>::len).collect();
        assert_eq!(counts, [2, 1, 1, 1]);
        assert_eq!(together(&[]).count(), 0);
    }

    #[test]
    fn what_is_not_known_to_be_small_is_compared_in_pieces_and_a_modules_value_as_a_whole_or_not_at_all() {
        #[rustfmt::skip]
        let rows = [
            (Kind::Hash, 5, false, (false, false)),
            (Kind::Hash, 5, true,  (true, false)),
            (Kind::Hash, 2 << 20, false, (true, false)),
            (Kind::Other("m".into()), 5, true, (false, false)),
            (Kind::Other("m".into()), 60 << 20, false, (false, false)),
            (Kind::Other("m".into()), 65 << 20, false, (false, true)),
        ];
        for (kind, bytes, is_guess, expected) in rows {
            let one = Sized {
                place: 0,
                key: b"k",
                kind,
                length: 1,
                bytes,
                is_guess,
            };
            assert_eq!((one.is_large(), one.is_too_large()), expected, "{one:?}");
        }
    }
}
