//! LZF: how servers shorten strings.
//!
//! Owns unpacking, of a whole string and of one that arrives in pieces. Promises that memory grows with what has been
//! unpacked, never with what a length claims.
//!
//! The packed bytes are a sequence of runs. A run is one of three:
//!
//! | control byte | then | stands for |
//! | --- | --- | --- |
//! | `000nnnnn` | n + 1 bytes | these bytes |
//! | `lllooooo`, l from 1 to 6 | 1 byte: the offset's lower 8 bits | l + 2 bytes from offset + 1 bytes back |
//! | `111ooooo` | 1 byte m, 1 byte: the offset's lower 8 bits | m + 9 bytes from offset + 1 bytes back |
//!
//! Source: LibLZF's `lzf_d.c`, as it is in the servers.

/// How far back a run can reach.
const REACH_BYTES: usize = 1 << 13;

/// Three packed bytes can stand for so many at most.
const RUN_BYTES_MAX: u64 = 264;

/// The packed bytes are not LZF, or do not unpack to what was claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bad;

/// Unpacks a whole string into exactly `unpacked` bytes.
///
/// # Errors
/// [`Bad`].
pub fn unpack(packed: &[u8], unpacked: u64) -> Result<Vec<u8>, Bad> {
    let mut plain = Vec::new();
    unpack_into(packed, unpacked, &mut plain)?;
    Ok(plain)
}

/// The same into an empty buffer.
pub(super) fn unpack_into(packed: &[u8], unpacked: u64, plain: &mut Vec<u8>) -> Result<(), Bad> {
    // A greater claim is a lie: nothing is allocated for it.
    let plausible = (packed.len() as u64).saturating_mul(RUN_BYTES_MAX / 3);
    if unpacked > plausible {
        return Err(Bad);
    }
    let unpacked = usize::try_from(unpacked).map_err(|_| Bad)?;
    // Text shrinks to a third or so; what shrinks more grows as it is unpacked.
    plain.reserve(unpacked.min(packed.len().saturating_mul(4)));
    let read = runs(packed, plain, unpacked)?;
    match read == packed.len() && plain.len() == unpacked {
        true => Ok(()),
        false => Err(Bad),
    }
}

/// The first `N` bytes that `packed` stands for, or fewer where it has no more whole runs. Allocates nothing.
///
/// # Errors
/// [`Bad`].
pub(super) fn head<const N: usize>(packed: &[u8]) -> Result<([u8; N], usize), Bad> {
    let (mut plain, mut len) = ([0; N], 0);
    let mut rest = packed;
    while len < N {
        rest = match rest {
            [control @ 0..32, after @ ..] => {
                let run = usize::from(*control) + 1;
                for (place, byte) in plain[len..].iter_mut().zip(after.iter().take(run)) {
                    *place = *byte;
                    len += 1;
                }
                after.get(run..).unwrap_or_default()
            }
            [control, more, low, after @ ..] if *control >= 0xe0 => {
                len = repeat(&mut plain, len, *control, *low, 9 + usize::from(*more))?;
                after
            }
            [control, low, after @ ..] if *control < 0xe0 => {
                len = repeat(&mut plain, len, *control, *low, 2 + usize::from(control >> 5))?;
                after
            }
            _ => break,
        };
    }
    Ok((plain, len))
}

/// Repeats `run` bytes of the first `len`, as far as there is room; says how many there are then.
fn repeat(plain: &mut [u8], mut len: usize, control: u8, low: u8, run: usize) -> Result<usize, Bad> {
    let back = (usize::from(control & 31) << 8 | usize::from(low)) + 1;
    let end = plain.len().min(len + run);
    let mut from = len.checked_sub(back).ok_or(Bad)?;
    while len < end {
        plain[len] = plain[from];
        (from, len) = (from + 1, len + 1);
    }
    Ok(len)
}

/// Unpacks a string that arrives in pieces. Holds what a run can reach back to, and what has not been taken.
#[derive(Debug)]
pub struct Unpacker {
    plain: Vec<u8>,
    /// Where in `plain` what has not been taken begins.
    fresh: usize,
    /// Bytes still to come, of those claimed.
    left: u64,
}

impl Unpacker {
    /// For a string that claims to unpack to so many bytes.
    #[must_use]
    pub fn new(unpacked: u64) -> Unpacker {
        Unpacker {
            plain: Vec::new(),
            fresh: 0,
            left: unpacked,
        }
    }

    /// Unpacks the whole runs at the front of `packed`, until about `enough` bytes are there to be taken; says how
    /// many packed bytes these were. What is left is a part of a run, or waits for [`Unpacker::take`], or is bad: the
    /// next call then says so.
    ///
    /// # Errors
    /// [`Bad`]: `packed` begins with what is no run, or stands for more than was claimed.
    pub fn feed(&mut self, packed: &[u8], enough: usize) -> Result<usize, Bad> {
        let mut read = 0;
        while read < packed.len() && self.plain.len() - self.fresh < enough {
            match self.run(&packed[read..]) {
                Ok(0) => break,
                Ok(used) => read += used,
                // What is bad begins here, however many bytes came at once.
                Err(Bad) if read > 0 => break,
                Err(Bad) => return Err(Bad),
            }
        }
        Ok(read)
    }

    /// Unpacks one run, as [`run`]. Where it is bad, nothing has happened.
    fn run(&mut self, packed: &[u8]) -> Result<usize, Bad> {
        let before = self.plain.len();
        let used = run(packed, &mut self.plain)?;
        let gained = self.plain.len() - before;
        let Some(left) = self.left.checked_sub(gained as u64) else {
            self.plain.truncate(before);
            return Err(Bad);
        };
        self.left = left;
        Ok(used)
    }

    /// What has been unpacked since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        let taken = self.plain[self.fresh..].to_vec();
        let keep = self.plain.len().min(REACH_BYTES);
        self.plain.drain(..self.plain.len() - keep);
        self.fresh = self.plain.len();
        taken
    }

    /// How many bytes can be taken.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.plain.len() - self.fresh
    }

    /// Whether everything claimed has been unpacked.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.left == 0
    }
}

/// Unpacks whole runs, as long as there are no more than `limit` bytes.
fn runs(packed: &[u8], plain: &mut Vec<u8>, limit: usize) -> Result<usize, Bad> {
    let mut read = 0;
    while read < packed.len() {
        match run(&packed[read..], plain)? {
            0 => break,
            used => read += used,
        }
        if plain.len() > limit {
            return Err(Bad);
        }
    }
    Ok(read)
}

/// Unpacks one run; gives how many packed bytes it has, 0 where it is not there whole. Where it is bad, `plain` stays.
#[inline]
fn run(packed: &[u8], plain: &mut Vec<u8>) -> Result<usize, Bad> {
    let Some((&control, rest)) = packed.split_first() else {
        return Ok(0);
    };
    if control < 32 {
        let len = usize::from(control) + 1;
        let Some(literal) = rest.get(..len) else {
            return Ok(0);
        };
        plain.extend_from_slice(literal);
        return Ok(1 + len);
    }
    let high = usize::from(control & 31) << 8;
    let short = usize::from(control >> 5) + 2;
    let (len, low, used) = match (short, rest) {
        (9, [more, low, ..]) => (9 + usize::from(*more), *low, 3),
        (3..=8, [low, ..]) => (short, *low, 2),
        _ => return Ok(0),
    };
    copy_back(plain, (high | usize::from(low)) + 1, len)?;
    Ok(used)
}

/// Appends `len` bytes from `back` bytes before the end. Where they overlap with what is appended, they repeat.
fn copy_back(plain: &mut Vec<u8>, back: usize, len: usize) -> Result<(), Bad> {
    let from = plain.len().checked_sub(back).ok_or(Bad)?;
    if back >= len {
        plain.extend_from_within(from..from + len);
        return Ok(());
    }
    if back == 1 {
        let byte = plain[from];
        plain.resize(plain.len() + len, byte);
        return Ok(());
    }
    for at in from..from + len {
        plain.push(plain[at]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_repeats_what_it_overlaps() {
        // "a", then 40 more of it from one byte back: 40 = 7 + 2 + 31.
        assert_eq!(unpack(&[0, b'a', 0xe0, 31, 0], 41).unwrap(), b"a".repeat(41));
        // "abc", then 5 from three back.
        assert_eq!(unpack(&[2, b'a', b'b', b'c', 0x60, 2], 8).unwrap(), b"abcabcab");
    }

    #[test]
    fn a_head_is_what_unpacking_begins_with() {
        let packed = [2, b'a', b'b', b'c', 0x60, 2, 0xe0, 31, 0, 31, b'x'];
        let plain = [b"abcabcab".as_slice(), &b"b".repeat(40)].concat();
        for len in 1..48 {
            assert_eq!(&head::<8>(&packed).unwrap().0[..], &plain[..8]);
            let (head, found) = head::<47>(&packed[..len.min(9)]).unwrap();
            assert_eq!(head[..found], plain[..found], "{len}");
        }
        assert_eq!(
            head::<49>(&packed).unwrap(),
            (*[&plain[..], b"x"].concat().first_chunk().unwrap(), 49)
        );
        assert_eq!(head::<8>(&[0, b'a', 0x20, 1]), Err(Bad));
    }

    #[test]
    fn a_lie_is_an_error() {
        let lies: [(&[u8], u64); 6] = [
            (&[0, b'a'], 2),             // shorter than claimed
            (&[2, b'a', b'b', b'c'], 2), // longer
            (&[5, b'a'], 2),             // literal bytes missing
            (&[0, 0x20, 1, 0], 4),       // from before the beginning
            (&[0, b'a', 0xe0], 9),       // ends in a run
            (&[0, b'a'], 512 << 20),     // 512 MiB from two bytes
        ];
        for (packed, unpacked) in lies {
            assert_eq!(unpack(packed, unpacked), Err(Bad), "{packed:?}");
        }
    }

    #[test]
    fn in_pieces_it_is_the_same() {
        let mut packed = Vec::new();
        let mut plain = Vec::new();
        for round in 0..20_000_u32 {
            let literal = round.to_be_bytes();
            packed.push(3);
            packed.extend(literal);
            plain.extend(literal);
            let (back, len) = (4 + round as usize % 8000, 9 + round as usize % 200);
            if back <= plain.len() {
                packed.extend([0xe0 | ((back - 1) >> 8) as u8, (len - 9) as u8, (back - 1) as u8]);
                copy_back(&mut plain, back, len).unwrap();
            }
        }
        assert_eq!(unpack(&packed, plain.len() as u64).unwrap(), plain);
        for cut in [1, 7, 1000, packed.len()] {
            let mut unpacker = Unpacker::new(plain.len() as u64);
            let (mut out, mut held, mut given) = (Vec::new(), Vec::new(), 0);
            while given < packed.len() || !held.is_empty() {
                let next = packed.len().min(given + cut);
                held.extend_from_slice(&packed[given..next]);
                given = next;
                let used = unpacker.feed(&held, 1 << 16).unwrap();
                held.drain(..used);
                out.extend(unpacker.take());
            }
            assert!(unpacker.is_complete() && out == plain, "in pieces of {cut}");
        }
    }

    #[test]
    fn what_is_bad_is_an_error_where_it_begins_and_leaves_what_was_before() {
        let mut unpacker = Unpacker::new(3);
        // "ab", then five bytes where one is left of those claimed.
        let packed = [1, b'a', b'b', 0x60, 0];
        assert_eq!(unpacker.feed(&packed, 100), Ok(3));
        assert_eq!(unpacker.feed(&packed[3..], 100), Err(Bad));
        assert_eq!((unpacker.ready(), unpacker.take()), (2, b"ab".to_vec()));
    }

    proptest::proptest! {
        #[test]
        fn random_bytes_never_panic(packed: Vec<u8>, unpacked in 0_u64..5000) {
            let _ = unpack(&packed, unpacked);
            let _ = Unpacker::new(unpacked).feed(&packed, 100);
        }
    }
}
