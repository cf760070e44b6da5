//! Rows in a keyspace of their own, which is emptied now and then.

use fjall::{Database, Keyspace, OwnedWriteBatch, PersistMode};

use super::opened::{small_keyspace, spare_memory};

/// The rows. A clone that is kept while another is emptied may not write any more.
#[derive(Clone)]
pub(super) struct Rows {
    db: Database,
    name: String,
    keyspace: Keyspace,
}

impl Rows {
    /// Those of this name, made where there are none.
    pub(super) fn open(db: Database, name: String) -> fjall::Result<Rows> {
        let keyspace = db.keyspace(&name, small_keyspace)?;
        Ok(Rows { db, name, keyspace })
    }

    /// Where they are read.
    pub(super) fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    /// Writes what `fill` puts into a batch, all or nothing. It survives the process.
    pub(super) fn write(&self, fill: impl FnOnce(&mut OwnedWriteBatch, &Keyspace)) -> fjall::Result<()> {
        let mut batch = self.db.batch().durability(Some(PersistMode::Buffer));
        fill(&mut batch, &self.keyspace);
        batch.commit()?;
        spare_memory(&self.keyspace)
    }

    /// What was written so far survives a power cut.
    pub(super) fn persist(&self) -> fjall::Result<()> {
        self.db.persist(PersistMode::SyncData)
    }

    /// Takes all rows out.
    ///
    /// The keyspace is made anew for that: what a cleared one held in memory stays there until it is flushed the next time, and one of few rows never is.
    pub(super) fn clear(&mut self) -> fjall::Result<()> {
        // Rows that were taken out one by one count here, as they do in memory.
        if self.keyspace.approximate_len() == 0 {
            return Ok(());
        }
        self.db.delete_keyspace(self.keyspace.clone())?;
        self.keyspace = self.db.keyspace(&self.name, small_keyspace)?;
        Ok(())
    }
}
