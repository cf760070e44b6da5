//! The keys of a snapshot that are written down in the catalog while it is restored: all of them, where what else is on the target is to be told afterwards
//! ([`super::stale`]), and those whose expiry waits ([`super::parked`]).
//!
//! They are written in batches; [`Noted::store`] with 0 writes what is left, before a mark says that what lies before it is not scanned again.

use bytes::Bytes;

use super::End;
use crate::core::catalog::{Catalog, Error, KeySet, ParkedKeys};

/// So many keys are written to the catalog at once.
pub const BATCH: usize = 500;

/// What has been written down, and what is about to be.
pub struct Noted {
    seen: KeySet,
    parked: ParkedKeys,
    seen_batch: Vec<(u32, Bytes)>,
    parked_batch: Vec<(u32, Bytes, i64)>,
    notes_all: bool,
}

impl Noted {
    /// Of the pipeline of that name; `notes_all` where all keys are to be written down.
    ///
    /// # Errors
    /// The catalog fails.
    pub fn new(catalog: &Catalog, name: &str, notes_all: bool) -> Result<Noted, Error> {
        Ok(Noted {
            seen: catalog.seen(name)?,
            parked: catalog.parked(name)?,
            seen_batch: Vec::new(),
            parked_batch: Vec::new(),
            notes_all,
        })
    }

    /// A key of the snapshot, with the target's database.
    pub fn see(&mut self, target_db: u32, key: &Bytes) {
        if self.notes_all {
            self.seen_batch.push((target_db, key.clone()));
        }
    }

    /// A key of the source that gets its expiry, Unix ms, later.
    pub fn park(&mut self, db: u32, key: &Bytes, expires_ms: i64) {
        self.parked_batch.push((db, key.clone(), expires_ms));
    }

    /// Writes what has grown beyond `limit` keys to the catalog.
    ///
    /// # Errors
    /// The catalog fails.
    pub fn store(&mut self, limit: usize) -> Result<(), End> {
        if self.seen_batch.len() > limit {
            let batch = std::mem::take(&mut self.seen_batch);
            self.seen
                .insert(batch.iter().map(|(db, key)| (*db, &key[..])))
                .map_err(End::Catalog)?;
        }
        if self.parked_batch.len() > limit {
            let batch = std::mem::take(&mut self.parked_batch);
            self.parked
                .insert(batch.iter().map(|(db, key, at)| (*db, &key[..], *at)))
                .map_err(End::Catalog)?;
        }
        Ok(())
    }

    /// What is in the catalog survives a power cut.
    ///
    /// # Errors
    /// The catalog fails.
    pub fn persist(&self) -> Result<(), End> {
        self.parked.persist().map_err(End::Catalog)
    }
}
