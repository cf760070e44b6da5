//! What listpacks, ziplists, zipmaps and intsets have in common: a string that holds entries.
//!
//! Owns reading within the string. Promises that nothing outside of it is read, and that an error names the byte of it.

use bytes::Bytes;

use crate::core::rdb::error::{Cause, Packed};

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Bytes: a slice of the string.
    Text(Bytes),
    /// An integer in disguise.
    Int(i64),
}

impl Entry {
    /// What a client would see.
    #[must_use]
    pub fn into_text(self) -> Bytes {
        match self {
            Entry::Text(text) => text,
            Entry::Int(number) => Bytes::copy_from_slice(itoa::Buffer::new().format(number).as_bytes()),
        }
    }

    /// The integer, also where it is written as text.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Entry::Int(number) => Some(*number),
            Entry::Text(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        }
    }

    /// The number, as scores are written.
    #[must_use]
    pub fn as_score(&self) -> Option<f64> {
        match self {
            Entry::Int(number) => Some(*number as f64),
            Entry::Text(text) => parse_score(text),
        }
    }
}

/// A score as text. Never NaN, which no server holds.
pub(super) fn parse_score(text: &[u8]) -> Option<f64> {
    let score: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (!score.is_nan()).then_some(score)
}

/// A string that holds entries, and a place in it.
#[derive(Debug)]
pub(super) struct Field {
    data: Bytes,
    at: usize,
    what: Packed,
}

impl Field {
    pub(super) fn new(data: Bytes, what: Packed) -> Field {
        Field { data, at: 0, what }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn len(&self) -> usize {
        self.data.len()
    }

    pub(super) fn rest(&self) -> &[u8] {
        self.data.get(self.at..).unwrap_or_default()
    }

    pub(super) fn bad(&self, why: &'static str) -> Cause {
        Cause::Packed {
            what: self.what,
            at: self.at,
            why,
        }
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Cause> {
        let found = self.data.get(self.at..).and_then(<[u8]>::first_chunk);
        let array = *found.ok_or_else(|| self.bad("it ends too early"))?;
        self.at += N;
        Ok(array)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Cause> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn take(&mut self, len: usize) -> Result<Bytes, Cause> {
        let end = self.at.saturating_add(len);
        if end > self.data.len() {
            return Err(self.bad("an entry is longer than the whole"));
        }
        let bytes = self.data.slice(self.at..end);
        self.at = end;
        Ok(bytes)
    }

    /// A signed integer of 1 to 8 bytes, little endian.
    pub(super) fn int(&mut self, bytes: u32) -> Result<i64, Cause> {
        let mut bits = 0;
        for nth in 0..bytes {
            bits |= u64::from(self.byte()?) << (8 * nth);
        }
        Ok(sign_extended(bits, 8 * bytes))
    }
}

/// The number whose two's complement of so many bits this is.
pub(super) fn sign_extended(bits: u64, width: u32) -> i64 {
    let unused = 64 - width;
    ((bits << unused) as i64) >> unused
}
