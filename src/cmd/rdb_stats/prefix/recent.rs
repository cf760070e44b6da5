//! The quick way to count prefixes: those that came lately, as long as they lie within the first 16 bytes of a key.
//!
//! Owns keys' first bytes as two words, and where the separators are in them. Promises that what is taken in comes out again, sooner or later, as the same prefix
//! with the same sum: a new one gives back whom it displaces.

use super::Tally;

/// So many prefixes are held, each at the one place that its bytes tell.
const PLACES: usize = 256;

/// So many bytes of a key are looked at.
pub(super) const HEAD_BYTES: usize = 16;

/// The first bytes of a key, padded with 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Head {
    words: [u64; 2],
    /// How many bytes these are.
    len: usize,
}

impl Head {
    #[inline]
    pub(super) fn of(key: &[u8]) -> Head {
        let word = |eight: &[u8; 8]| u64::from_le_bytes(*eight);
        let len = key.len().min(HEAD_BYTES);
        let words = match (
            key.first_chunk(),
            key.get(8..).and_then(<[u8]>::first_chunk),
            key.last_chunk(),
        ) {
            (Some(first), Some(second), _) => [word(first), word(second)],
            // From 9 to 15 bytes: of the last eight those that are not among the first.
            (Some(first), None, Some(last)) if len > 8 => {
                [word(first), word(last) >> (8 * (HEAD_BYTES - len))]
            }
            (Some(first), ..) => [word(first), 0],
            (None, ..) => {
                let bytes = key.iter().rev();
                [bytes.fold(0, |word, byte| word << 8 | u64::from(*byte)), 0]
            }
        };
        Head { words, len }
    }

    /// Which of [`PLACES`] is its own.
    #[inline]
    fn place(self) -> usize {
        let [first, second] = self.words;
        let mixed = (first ^ second.rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 56) as usize
    }

    /// The first `len` bytes of it.
    #[inline]
    pub(super) fn cut(self, len: usize) -> Head {
        let keep = |word: u64, bytes: usize| match bytes {
            8.. => word,
            _ => word & ((1 << (8 * bytes)) - 1),
        };
        let [first, second] = self.words;
        Head {
            words: [keep(first, len), keep(second, len.saturating_sub(8))],
            len,
        }
    }

    /// Which bytes are separators: a bit for each, the lowest for the first.
    #[inline]
    fn separators(self, separators: &Separators) -> u32 {
        let [first, second] = self.words.map(|word| separators.among(word));
        let there = (1 << self.len) - 1;
        (u32::from(first) | u32::from(second) << 8) & there
    }

    /// Its bytes: so many of these.
    pub(super) fn bytes(self) -> ([u8; HEAD_BYTES], usize) {
        let [first, second] = self.words.map(u128::from);
        ((first | second << 64).to_le_bytes(), self.len)
    }
}

/// Bytes that end a prefix.
#[derive(Debug)]
pub(super) struct Separators {
    /// Each eight times, in a word.
    words: Vec<u64>,
}

const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const ALL_BUT_HIGH: u64 = 0x7f7f_7f7f_7f7f_7f7f;

impl Separators {
    pub(super) fn new(separators: &[u8]) -> Separators {
        let words = separators.iter().map(|byte| u64::from(*byte) * LOW_BITS);
        Separators {
            words: words.collect(),
        }
    }

    /// Which of eight bytes are separators: a bit for each, the lowest for the first.
    #[inline]
    fn among(&self, word: u64) -> u8 {
        // Of a byte that is one, the difference is 0: the only one whose highest bit is not set by adding 127, nor set before.
        let differ = self.words.iter().fold(u64::MAX, |differ, separator| {
            let difference = word ^ separator;
            differ & (((difference & ALL_BUT_HIGH) + ALL_BUT_HIGH) | difference)
        });
        let found = !differ >> 7 & LOW_BITS;
        // Gathers the lowest bits of all bytes in the highest byte.
        (found.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
    }

    /// Where the first one from `from` on ends. There are eight bytes or more.
    pub(super) fn find(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
            match self.among(u64::from_le_bytes(*eight)) {
                0 => at += 8,
                found => return Some(at + found.trailing_zeros() as usize + 1),
            }
        }
        // The last eight once more, without those that have been looked at.
        let begin = bytes.len().checked_sub(8).filter(|_| at < bytes.len())?;
        let found = self.among(u64::from_le_bytes(*bytes.last_chunk()?)) >> (at - begin);
        (found != 0).then(|| at + found.trailing_zeros() as usize + 1)
    }
}

/// The ends of a key's first and second prefix, as far as they lie in its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) first: Option<usize>,
    pub(super) second: Option<usize>,
}

impl Ends {
    #[inline]
    pub(super) fn of(head: Head, separators: &Separators) -> Ends {
        let found = head.separators(separators);
        let end = |found: u32| (found != 0).then_some(found.trailing_zeros() as usize + 1);
        Ends {
            first: end(found),
            second: end(found & found.wrapping_sub(1)),
        }
    }
}

/// Prefixes that came lately, with what was counted of them since they came.
#[derive(Debug)]
pub(super) struct Recent {
    held: Box<[(Head, Tally); PLACES]>,
}

/// What came of counting a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    /// It is held, and counted.
    Held,
    /// It is held from now on, and this one was not counted. Whom it displaced, if that one has a count.
    Entered(Option<(Head, Tally)>),
}

impl Recent {
    pub(super) fn new() -> Recent {
        Recent {
            held: Box::new([(Head::default(), Tally::default()); PLACES]),
        }
    }

    /// Counts a key of so many bytes for this prefix.
    #[inline]
    pub(super) fn add(&mut self, prefix: Head, bytes: u64) -> Counted {
        let place = &mut self.held[prefix.place()];
        if place.0 == prefix {
            place.1.add(bytes);
            return Counted::Held;
        }
        let displaced = std::mem::replace(place, (prefix, Tally::default()));
        Counted::Entered((displaced.1.keys > 0).then_some(displaced))
    }

    /// Gives what has been counted; everyone stays, with no count.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (Head, Tally)> + use<> {
        let held = self.held.clone();
        self.held
            .iter_mut()
            .for_each(|(_, tally)| *tally = Tally::default());
        held.into_iter().filter(|(_, tally)| tally.keys > 0)
    }
}

/// How many new prefixes came below those that came lately.
#[derive(Debug)]
pub(super) struct Below {
    held: Box<[(Head, u32); PLACES]>,
}

/// A prefix that has more below it is one of ids.
pub(super) const BELOW_MAX: u32 = 1000;

impl Below {
    pub(super) fn new() -> Below {
        Below {
            held: Box::new([(Head::default(), 0); PLACES]),
        }
    }

    /// Whether what comes below this prefix are ids.
    #[inline]
    pub(super) fn are_ids(&self, prefix: Head) -> bool {
        let (held, new) = &self.held[prefix.place()];
        *new > BELOW_MAX && *held == prefix
    }

    /// A new one has come below this prefix. True: now they are ids.
    pub(super) fn came(&mut self, prefix: Head) -> bool {
        let (held, new) = &mut self.held[prefix.place()];
        if *held != prefix {
            (*held, *new) = (prefix, 0);
        }
        *new += 1;
        *new > BELOW_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_the_first_bytes_and_no_others() {
        let key: Vec<u8> = (1..=40).collect();
        for len in 0..=40 {
            let head = Head::of(&key[..len]);
            for cut in 0..=len.min(16) {
                let (bytes, cut_len) = head.cut(cut).bytes();
                assert_eq!((&bytes[..cut_len], cut_len), (&key[..cut], cut));
                assert_eq!(head.cut(cut), Head::of(&key[..cut]));
            }
        }
    }

    #[test]
    fn every_separator_is_found_and_nothing_else() {
        for separators in [&b":"[..], b":/|.", b"\0", b"\xff:", b""] {
            let known = Separators::new(separators);
            let mut rng = fastrand::Rng::with_seed(3);
            for _ in 0..5000 {
                // Separators, and what differs from them in a bit.
                let len = rng.usize(..40);
                let byte = || separators.first().map_or(rng.u8(..), |one| one ^ rng.u8(..3));
                let key: Vec<u8> = std::iter::repeat_with(byte).take(len).collect();
                let ends: Vec<usize> = (0..key.len())
                    .filter(|at| separators.contains(&key[*at]))
                    .map(|at| at + 1)
                    .collect();
                let mut in_head = ends.iter().copied().filter(|end| *end <= 16);
                let expected = Ends {
                    first: in_head.next(),
                    second: in_head.next(),
                };
                assert_eq!(Ends::of(Head::of(&key), &known), expected, "{key:?}");
                for from in 0..=key.len() {
                    let expected = ends.iter().copied().find(|end| *end > from);
                    assert_eq!(
                        known.find(&key, from).filter(|_| key.len() >= 8),
                        expected.filter(|_| key.len() >= 8),
                        "{key:?} {from}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_goes_in_comes_out_again() {
        let (mut recent, mut out) = (Recent::new(), Tally::default());
        for n in 0..10_000_u32 {
            match recent.add(Head::of(format!("{}:", n % 1500).as_bytes()), 3) {
                Counted::Held => {}
                Counted::Entered(displaced) => {
                    out.add(3);
                    out = displaced.map_or(out, |(_, tally)| out.plus(tally));
                }
            }
        }
        out = recent.take().map(|(_, tally)| tally).fold(out, Tally::plus);
        assert_eq!(
            out,
            Tally {
                keys: 10_000,
                bytes: 30_000
            }
        );
        assert_eq!(recent.take().count(), 0);
    }

    #[test]
    fn many_new_ones_below_a_prefix_make_them_ids() {
        let (mut below, user) = (Below::new(), Head::of(b"user:"));
        assert!((0..BELOW_MAX).all(|_| !below.came(user)) && !below.are_ids(user));
        assert!(below.came(user) && below.are_ids(user));
        assert!(!below.are_ids(Head::of(b"cart:")) && !below.are_ids(Head::default()));
    }
}
