//! Of which type a key probably is, by how its name begins.
//!
//! `STRLEN` of a string says that it is one, and saves asking for its type. Names of one type mostly begin alike, up to a number or a separator, so the type last seen
//! under such a beginning is what is asked for first. A wrong guess costs another question and nothing else.

use super::seen::Kind;

/// So many beginnings are told apart; others share a place.
const PLACES: usize = 1024;

/// Of a beginning no more counts.
const BEGINNING_BYTES_MAX: usize = 32;

/// What was seen so far.
#[derive(Debug)]
pub(super) struct Guess {
    kinds: Vec<Kind>,
}

impl Guess {
    pub(super) fn new() -> Guess {
        Guess {
            kinds: vec![Kind::String; PLACES],
        }
    }

    /// The type that a key of this name probably has; always one that has a length.
    pub(super) fn kind(&self, key: &[u8]) -> &Kind {
        &self.kinds[place(key)]
    }

    /// It is of this type.
    pub(super) fn learn(&mut self, key: &[u8], kind: &Kind) {
        if kind.length_verb().is_some() {
            self.kinds[place(key)] = kind.clone();
        }
    }
}

/// FNV-1a over the beginning.
fn place(key: &[u8]) -> usize {
    let beginning = key.iter().take(BEGINNING_BYTES_MAX);
    let letters = beginning.take_while(|byte| !byte.is_ascii_digit() && !b":/.{-_|".contains(byte));
    let hash = letters.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash >> 32) as usize % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_begin_alike_are_taken_for_the_type_last_seen() {
        let mut guess = Guess::new();
        assert_eq!(guess.kind(b"user:1"), &Kind::String);
        guess.learn(b"user:1", &Kind::Hash);
        guess.learn(b"queue7", &Kind::List);
        guess.learn(b"doc", &Kind::Other("ReJSON-RL".into()));
        assert_eq!(guess.kind(b"user:22222"), &Kind::Hash);
        assert_eq!(guess.kind(b"queue8"), &Kind::List);
        assert_eq!(guess.kind(b"doc"), &Kind::String, "it has no length to ask for");
    }
}
