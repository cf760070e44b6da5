//! The rows of keys in the catalog's two sets. How they are written stands in the table of [`super`]. Without I/O.

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, checksum};

/// Longer keys are named by length and checksums: the database takes keys of 64 KiB at most, Redis of 512 MiB.
const SHORT_BYTES_MAX: usize = 1024;
const SHORT: u8 = 0;
const LONG: u8 = 1;

/// A key of the source in one of its databases.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceKey {
    /// The database.
    pub db: u32,
    /// The key.
    pub key: Bytes,
}

/// A key and the expiry that it is to get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedKey {
    /// The key.
    pub key: SourceKey,
    /// When it truly expires, Unix ms; where others took its name meanwhile, theirs too: the expiry that it has on the target says which it is.
    pub expires_ms: Vec<i64>,
}

fn is_long(key: &[u8]) -> bool {
    key.len() > SHORT_BYTES_MAX
}

/// The row of a key.
#[must_use]
pub fn row(db: u32, key: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(5 + key.len().min(24 + SHORT_BYTES_MAX));
    row.extend_from_slice(&db.to_be_bytes());
    if !is_long(key) {
        row.push(SHORT);
        row.extend_from_slice(key);
        return row;
    }
    row.push(LONG);
    row.extend_from_slice(&(key.len() as u64).to_be_bytes());
    row.extend_from_slice(&checksum(CrcAlgorithm::Crc64Nvme, key).to_be_bytes());
    row.extend_from_slice(&checksum(CrcAlgorithm::Crc64Redis, key).to_be_bytes());
    row
}

/// What the value must carry of a key that its row does not.
#[must_use]
pub fn rest(key: &[u8]) -> &[u8] {
    if is_long(key) { key } else { &[] }
}

/// The key of a row and of the rest in its value.
#[must_use]
pub fn key_of(row: &[u8], rest: &[u8]) -> Option<SourceKey> {
    let (db, tagged) = row.split_first_chunk::<4>()?;
    let key = match tagged.split_first()? {
        (&SHORT, key) => Bytes::copy_from_slice(key),
        (&LONG, _) => Bytes::copy_from_slice(rest),
        _ => return None,
    };
    Some(SourceKey {
        db: u32::from_be_bytes(*db),
        key,
    })
}

/// What is done with a key that is on the target and not in the snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It stays.
    Kept,
    /// It goes.
    Deleted,
}

impl Fate {
    const fn byte(self) -> u8 {
        match self {
            Fate::Kept => b'k',
            Fate::Deleted => b'd',
        }
    }

    /// The value of the row of a key with this fate.
    #[must_use]
    pub fn value(self, key: &[u8]) -> Vec<u8> {
        [rest(key), &[self.byte()]].concat()
    }
}

/// How many keys have which fate, each counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stale {
    /// [`Fate::Kept`].
    pub kept: u64,
    /// [`Fate::Deleted`].
    pub deleted: u64,
}

impl Stale {
    /// Those of this fate.
    pub fn of(&mut self, fate: Fate) -> &mut u64 {
        match fate {
            Fate::Kept => &mut self.kept,
            Fate::Deleted => &mut self.deleted,
        }
    }

    /// As they are written.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.deleted) << 64 | u128::from(self.kept)).to_le_bytes()
    }

    /// As they were written.
    #[must_use]
    pub fn of_bytes(bytes: [u8; 16]) -> Stale {
        let both = u128::from_le_bytes(bytes);
        Stale {
            kept: both as u64,
            deleted: (both >> 64) as u64,
        }
    }
}

/// What the set says of a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Unknown,
    /// It was put in.
    Seen,
    /// It is on the target alone.
    Stale(Fate),
}

impl Standing {
    /// Where two long keys have one row nobody knows which was seen: both pass for it, for what is seen is let alone.
    #[must_use]
    pub fn of(value: Option<&[u8]>, key: &[u8]) -> Standing {
        let Some(value) = value else {
            return Standing::Unknown;
        };
        match value.strip_prefix(rest(key)) {
            Some([byte]) if *byte == Fate::Kept.byte() => Standing::Stale(Fate::Kept),
            Some([byte]) if *byte == Fate::Deleted.byte() => Standing::Stale(Fate::Deleted),
            _ => Standing::Seen,
        }
    }
}

/// The value of the row of a parked key.
#[must_use]
pub fn parked_value(key: &[u8], expires_ms: &[i64]) -> Vec<u8> {
    let mut value: Vec<u8> = expires_ms.iter().flat_map(|at| at.to_le_bytes()).collect();
    value.extend_from_slice(rest(key));
    value
}

/// The parked key of a row and its value; nothing where they have another shape.
#[must_use]
pub fn parked(row: &[u8], value: &[u8]) -> Option<ParkedKey> {
    let rest_bytes = match row.get(4..)?.split_first()? {
        (&LONG, named) => usize::try_from(u64::from_be_bytes(*named.first_chunk()?)).ok()?,
        _ => 0,
    };
    let (expires, rest) = value.split_at_checked(value.len().checked_sub(rest_bytes)?)?;
    let (expires, []) = expires.as_chunks::<8>() else {
        return None;
    };
    let expires_ms: Vec<i64> = expires.iter().map(|at| i64::from_le_bytes(*at)).collect();
    (!expires_ms.is_empty()).then_some(ParkedKey {
        key: key_of(row, rest)?,
        expires_ms,
    })
}
