//! Data and writers, all of it drawn from one seed.
//!
//! - [`Fill`]: every type and encoding, times of expiry, several databases, functions: what a snapshot must carry.
//! - [`Writers`]: a random mix of write commands until told to stop: what the live stream must carry.
//! - [`Counters`]: INCR and RPUSH whose sum is known exactly: the oracle of *exactly once*.

mod counters;
mod fill;
mod mix;
mod writers;

pub use counters::{Counters, Expected};
pub use fill::Fill;
pub use writers::{Options, Pace, Writers, Written};

/// Where a test's randomness comes from. A failing test prints it; `GUNYU_TEST_SEED` sets it.
#[derive(Debug)]
pub struct Seed(u64);

impl Seed {
    /// The seed of the environment, else a new one.
    pub fn pick() -> Seed {
        let given = std::env::var("GUNYU_TEST_SEED").ok();
        Seed(given.map_or_else(
            || fastrand::u64(..),
            |text| text.parse().expect("GUNYU_TEST_SEED is a number"),
        ))
    }

    /// This one.
    pub fn of(number: u64) -> Seed {
        Seed(number)
    }

    /// An own sequence for each part of a test, so that threads do not depend on each other's pace.
    pub fn rng(&self, part: u64) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.0 ^ part.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the test failed with GUNYU_TEST_SEED={}", self.0);
        }
    }
}

/// Draws values of many kinds.
#[derive(Debug)]
pub struct Draw(pub fastrand::Rng);

impl Draw {
    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0.usize(..end)
    }

    /// True one time in `n`.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of these.
    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Random bytes, all values, line ends and zeros included.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.fill(&mut bytes);
        bytes
    }

    /// Short text.
    pub fn word(&mut self) -> String {
        let len = 1 + self.below(12);
        (0..len).map(|_| self.0.lowercase()).collect()
    }

    /// A value: mostly short text or a number, at times binary, long, compressible, or empty.
    pub fn value(&mut self) -> Vec<u8> {
        match self.below(16) {
            0 => Vec::new(),
            1..4 => self.integer().to_string().into_bytes(),
            4 => {
                let len = self.below(90);
                self.bytes(len)
            }
            5 => self.compressible(400),
            _ => self.word().into_bytes(),
        }
    }

    /// Repeats itself, so that a snapshot holds it compressed.
    pub fn compressible(&mut self, len_max: usize) -> Vec<u8> {
        let (len, pattern) = (self.below(len_max), self.value_pattern());
        pattern.into_iter().cycle().take(len).collect()
    }

    fn value_pattern(&mut self) -> Vec<u8> {
        let len = 1 + self.below(9);
        self.bytes(len)
    }

    /// An integer: small, large, or at an edge of an encoding.
    pub fn integer(&mut self) -> i64 {
        const EDGES: [i64; 12] = [
            0,
            -1,
            i8::MAX as i64,
            i16::MIN as i64,
            (1 << 23) - 1,
            1 << 23,
            i32::MAX as i64,
            i32::MIN as i64,
            1 << 53,
            i64::MAX,
            i64::MIN,
            9_999,
        ];
        match self.below(4) {
            0 => self.of(&EDGES),
            1 => self.0.i64(..),
            _ => self.0.i64(-200..10_000),
        }
    }

    /// A score, infinite and extreme ones included, as a server reads it.
    pub fn score(&mut self) -> String {
        const EDGES: [&str; 10] = [
            "inf",
            "-inf",
            "0",
            "-0",
            "1.7976931348623157e308",
            "-1.7976931348623157e308",
            "4.9406564584124654e-324",
            "0.1",
            "9007199254740993",
            "3.0000000000000004",
        ];
        match self.below(4) {
            0 => self.of(&EDGES).to_owned(),
            1 => format!("{:e}", (self.0.f64() - 0.5) * 1e9),
            _ => self.0.i32(-1_000..1_000).to_string(),
        }
    }
}
