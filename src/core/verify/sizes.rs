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
}

impl AsRef<[u8]> for Sized<'_> {
    fn as_ref(&self) -> &[u8] {
        self.key
    }
}

impl Sized<'_> {
    /// Whether it is compared in pieces. A module's value cannot be.
    pub(super) fn is_large(&self) -> bool {
        self.bytes > LARGE_BYTES && self.kind.length_verb().is_some()
    }
}

/// Asks a side how large they are; a string's length says it.
pub(super) async fn measure(lines: &mut Lines, db: u32, keys: &mut [Sized<'_>]) -> Result<(), Error> {
    let (mut asked, mut places) = (Vec::new(), Vec::new());
    for (place, one) in keys.iter_mut().enumerate() {
        one.bytes = one.length.saturating_mul(ELEMENT_BYTES);
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
        if let Value::Int(bytes) = answer {
            keys[place].bytes = u64::try_from(bytes).unwrap_or(0);
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
        };
        let keys = [1 << 20, 1 << 20, 1, 9 << 20, 5].map(one);
        let counts: Vec<usize> = together(&keys).map(<[Sized<'_>]>::len).collect();
        assert_eq!(counts, [2, 1, 1, 1]);
        assert_eq!(together(&[]).count(), 0);
    }
}
