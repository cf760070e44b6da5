//! Rows in a keyspace of their own, which is emptied now and then.
//!
//! What stands here beside a plain use of the database keeps its memory and its files small. It uses what fjall has for its own tests, too; `Cargo.lock` holds the version.

use std::ops::Bound::{self, Unbounded};
use std::thread;
use std::time::Duration;

use fjall::{AbstractTree as _, Database, Keyspace, OwnedWriteBatch, PersistMode, SeqNo, Slice};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::opened::small_keyspace;

/// When rows go from memory to the disk: early enough that the database never sees its own limit, but for a batch of long keys.
const MEMORY_BYTES_MAX: u64 = 4 << 20;

/// So many portions that wait for the disk hold up the writer; with one more the database would, however long it takes.
const WAITING_MAX: usize = 3;

/// The same of runs of files that wait to be merged.
const RUNS_MAX: usize = 28;

/// The row of a set that was emptied: the newest of all, in a file. No other row is so short.
const EMPTIED_ROW: &[u8] = b"e";

/// How often it is looked at whether the disk has kept up.
const LOOK: Duration = Duration::from_millis(10);

/// Does what may take a while; where that is on a thread of a runtime with several, others take over what else it has to do.
fn letting_others_run<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// The rows.
#[derive(Clone)]
pub(super) struct Rows {
    db: Database,
    keyspace: Keyspace,
}

impl Rows {
    /// Those of this name, made where there are none.
    pub(super) fn open(db: Database, name: &str) -> fjall::Result<Rows> {
        let keyspace = db.keyspace(name, small_keyspace)?;
        Ok(Rows { db, keyspace })
    }

    /// Where they are read.
    pub(super) fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    /// Writes what `fill` puts into a batch, all or nothing, and as durable as told.
    pub(super) fn write(
        &self,
        mode: PersistMode,
        fill: impl FnOnce(&mut OwnedWriteBatch, &Keyspace),
    ) -> fjall::Result<()> {
        self.wait_for_disk()?;
        let mut batch = self.db.batch().durability(Some(mode));
        fill(&mut batch, &self.keyspace);
        batch.commit()?;
        self.spare_memory();
        Ok(())
    }

    /// What was written so far survives a power cut.
    pub(super) fn persist(&self) -> fjall::Result<()> {
        self.db.persist(PersistMode::SyncData)
    }

    /// Takes all rows out. Nobody may read them meanwhile.
    ///
    /// The database forgets them at once, and would keep what of them is in memory until it sends this keyspace to the disk the next time, which of few rows
    /// never happens; their files until it is opened again; and perhaps its journal from there on, for it takes a keyspace without a file for one whose rows are nowhere else.
    pub(super) fn clear(&self) -> fjall::Result<()> {
        // Rows that were taken out one by one count here, as they do in memory.
        let rows = self.keyspace.approximate_len();
        if rows == 0 || rows == 1 && self.keyspace.contains_key(EMPTIED_ROW)? {
            return Ok(());
        }
        if self.keyspace.table_count() > 0 {
            self.keyspace.tree.drop_range::<&[u8], _>(..)?;
        }
        self.keyspace.clear()?;
        let path = self.keyspace.path();
        let forgotten = self
            .keyspace
            .tree
            .get_version_history_lock()
            .maintenance(path, SeqNo::MAX);
        self.write(PersistMode::Buffer, |batch, rows| {
            batch.insert(rows, EMPTIED_ROW, []);
        })?;
        self.keyspace.rotate_memtable()?;
        Ok(forgotten?)
    }

    /// The rows that somebody has put in, from there on, in their order.
    pub(super) fn range(&self, from: Bound<Vec<u8>>) -> impl Iterator<Item = fjall::Result<(Slice, Slice)>> {
        let all = self.keyspace.range((from, Unbounded)).map(|one| one.into_inner());
        all.filter(|one| !one.as_ref().is_ok_and(|(row, _)| **row == *EMPTIED_ROW))
    }

    /// Waits while the disk is behind. The database does so, too, but for ever where its worker has ended, which a failed write makes it do.
    fn wait_for_disk(&self) -> fjall::Result<()> {
        let tree = &self.keyspace.tree;
        let is_behind = || tree.sealed_memtable_count() >= WAITING_MAX || tree.l0_run_count() >= RUNS_MAX;
        if !is_behind() {
            return Ok(());
        }
        letting_others_run(|| {
            while is_behind() {
                // Says whether a write has failed.
                self.db.persist(PersistMode::Buffer)?;
                thread::sleep(LOOK);
            }
            Ok(())
        })
    }

    /// Hands what has been written to the worker, for the disk, when it is enough.
    ///
    /// Left to itself the database asks its worker for that with each batch once the rows are too many. When the worker is slow, a thousand of these
    /// questions fill the queue that it alone empties; it then waits for ever for room in its own queue, and memory grows without end.
    fn spare_memory(&self) {
        if self.keyspace.tree.active_memtable().size() < MEMORY_BYTES_MAX {
            return;
        }
        // The rows are written; what is wrong with the disk shows with the next.
        if let Err(error) = self.keyspace.rotate_memtable() {
            tracing::warn!(%error, "the catalog's rows stay in memory for now");
        }
    }
}
