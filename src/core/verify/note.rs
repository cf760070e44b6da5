//! What is noted of keys in the tables of a verification: plain structs as JSON. Without I/O.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::seen::{Difference, Seen};

/// What both sides say of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// How they differ; nothing as long as that is not known.
    pub difference: Option<Difference>,
    /// The source, of each of its places that feed the key and have it.
    pub source: Vec<Seen>,
    /// The target.
    pub target: Seen,
}

impl Told {
    /// Reads a note of a table; nothing where it is none.
    #[must_use]
    pub fn of(note: &[u8]) -> Option<Told> {
        read(note)
    }

    /// As a note.
    #[must_use]
    pub fn note(&self) -> Vec<u8> {
        written(self)
    }
}

/// A note.
#[must_use]
pub fn written(note: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(note).expect("plain structs serialise")
}

/// What a note says; nothing where it is none.
#[must_use]
pub fn read<T: DeserializeOwned>(note: &[u8]) -> Option<T> {
    serde_json::from_slice(note).ok()
}
