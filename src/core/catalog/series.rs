//! Numbered records, in the order of their numbers. How they are written stands in the table of [`super`].

use fjall::PersistMode;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::rows::Rows;
use super::{Error, failed};

/// Records with numbers. What is put survives the process; a power cut may lose the newest.
#[derive(Clone)]
pub struct Series {
    records: Rows,
    name: String,
}

impl std::fmt::Debug for Series {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Series")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Series {
    pub(super) fn new(records: Rows, name: String) -> Series {
        Series { records, name }
    }

    /// All of them.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Damaged`].
    pub fn all<T: DeserializeOwned>(&self) -> Result<Vec<(u64, T)>, Error> {
        let mut all = Vec::new();
        for row in self.records.keyspace().iter() {
            let (key, value) = row.into_inner().map_err(failed("read", &self.name))?;
            let number = <[u8; 8]>::try_from(&key[..])
                .map(u64::from_be_bytes)
                .map_err(|_| self.damaged("a key is no number"))?;
            let record = serde_json::from_slice(&value).map_err(|error| self.damaged(&error.to_string()))?;
            all.push((number, record));
        }
        Ok(all)
    }

    /// Writes one, in the place of one with that number.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn put<T: Serialize>(&self, number: u64, record: &T) -> Result<(), Error> {
        let bytes = serde_json::to_vec(record).map_err(|error| self.damaged(&error.to_string()))?;
        let written = self.records.write(PersistMode::Buffer, |batch, rows| {
            batch.insert(rows, number.to_be_bytes(), bytes);
        });
        written.map_err(failed("write", &self.name))
    }

    /// Forgets some.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn remove(&self, numbers: &[u64]) -> Result<(), Error> {
        let written = self.records.write(PersistMode::Buffer, |batch, rows| {
            for number in numbers {
                batch.remove(rows, number.to_be_bytes());
            }
        });
        written.map_err(failed("forget", &self.name))
    }

    fn damaged(&self, why: &str) -> Error {
        Error::Damaged {
            record: self.name.clone(),
            why: why.to_owned(),
        }
    }
}
