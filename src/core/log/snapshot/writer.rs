//! Receiving a snapshot.

use std::io::IoSlice;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::inner::{Inner, Store, blocking, lock};
use super::super::{Error, block};
use super::{Snapshot, Stage, TAIL_BYTES_MAX, now_ms, paths};
use crate::core::catalog::Durability;
use crate::core::crash::{self, Step};
use crate::core::position::{History, Offset, Position};

/// So many bytes are written before they are pushed to the device, in the background: or else the persist at the end
/// would hold up the stream for as long as it takes to write out all of the system's dirty pages.
const PERSIST_EVERY_BYTES: u64 = 64 << 20;

/// Appends to the snapshot. Dropped before [`SnapshotWriter::finish`] it abandons the snapshot, and its readers
/// learn so.
#[derive(Debug)]
pub struct SnapshotWriter {
    log: Arc<Inner>,
    generation: u64,
    news: watch::Receiver<u64>,
    finished: bool,
    unpersisted: u64,
    persisting: Option<JoinHandle<Result<(), Error>>>,
}

impl Inner {
    /// Drops everything and begins a snapshot. On a blocking thread.
    pub(in super::super) fn begin_snapshot(
        self: &Arc<Self>,
        history: History,
        offset: Offset,
        declared: Option<u64>,
    ) -> Result<SnapshotWriter, Error> {
        let _pen = lock(&self.pen);
        self.drop_everything()?;
        let file = match &self.store {
            Some(store) => Some(Arc::new(store.disk.create(&paths(&store.dir, offset)[0])?)),
            None => None,
        };
        crash::pass(Step::SnapshotCreated);
        let id = history.id;
        let generation = {
            let mut state = self.state();
            state.begin(history, offset);
            state.snapshot = Some(Snapshot::begin(Position { id, offset }, declared, file));
            state.generation
        };
        self.note_beginning()?;
        crash::pass(Step::SnapshotBegun);
        Ok(SnapshotWriter {
            log: self.clone(),
            generation,
            news: self.news.subscribe(),
            finished: false,
            unpersisted: 0,
            persisting: None,
        })
    }

    fn append_to_snapshot(&self, generation: u64, bytes: &Bytes) -> Result<(), Error> {
        let _pen = lock(&self.pen);
        let file = {
            let state = self.state();
            state.check_append(generation)?;
            state.snapshot.as_ref().and_then(|one| one.file.clone())
        };
        let file = file.ok_or(Error::Superseded)?;
        let taken = bytes.len() as u64;
        self.space.take(taken, Some(self))?;
        if let Err(error) = file.append_at(Step::SnapshotTorn, &mut [IoSlice::new(bytes)]) {
            self.space.give_back(taken);
            return Err(self.note_write_failure(error));
        }
        crash::pass(Step::SnapshotPiece);
        let mut state = self.state();
        state.bytes += taken;
        if let Some(snapshot) = &mut state.snapshot {
            block::split(bytes).for_each(|piece| snapshot.push(piece));
            snapshot.trim(TAIL_BYTES_MAX.min(self.tail_bytes));
        }
        Ok(())
    }

    /// Puts a piece into the queue of a snapshot in memory; `false` where there is no room for it.
    fn queue_piece(&self, generation: u64, piece: &Bytes) -> Result<bool, Error> {
        let mut state = self.state();
        state.check_append(generation)?;
        let snapshot = state.snapshot.as_mut().ok_or(Error::Superseded)?;
        let room = snapshot.has_room(piece.len(), TAIL_BYTES_MAX.min(self.tail_bytes));
        if room {
            snapshot.push(piece.clone());
        }
        Ok(room)
    }

    /// All bytes are here: whoever reads comes to the end, and what makes them durable holds up nobody. Without the pen: nobody appends to it any more.
    fn close_snapshot(self: &Arc<Self>, generation: u64) -> Result<Finishing, Error> {
        {
            let mut state = self.state();
            state.check_append(generation)?;
            let snapshot = state.snapshot.as_mut().ok_or(Error::Superseded)?;
            if let Some(declared) = snapshot.declared.filter(|len| *len != snapshot.received) {
                return Err(Error::SnapshotLength {
                    declared,
                    received: snapshot.received,
                });
            }
            snapshot.stage = Stage::Received;
            state.finishing += 1;
        }
        self.tell();
        Ok(Finishing(self.clone()))
    }

    /// Persisting takes as long as the disk does: the pen is free meanwhile, for the stream.
    fn finish_snapshot(&self, generation: u64) -> Result<(), Error> {
        let file = {
            let state = self.state();
            state.check_append(generation)?;
            state.snapshot.as_ref().and_then(|one| one.file.clone())
        };
        if let (Some(store), Some(file)) = (&self.store, file) {
            file.persist()?;
            crash::pass(Step::SnapshotPersisted);
            self.note_length(store, generation)?;
            self.name_snapshot(store, generation)?;
            crash::pass(Step::SnapshotRenamed);
            store.disk.persist_folder(&store.dir)?;
            crash::pass(Step::SnapshotNamed);
        }
        self.note_whole(generation)?;
        crash::pass(Step::SnapshotWhole);
        Ok(())
    }

    /// Tells the catalog that the snapshot has all its bytes. Before its file gets its name: what has that name and is not known to be
    /// whole is not it.
    fn note_length(&self, store: &Store, generation: u64) -> Result<(), Error> {
        // Whoever begins the log anew does so under this, too.
        let _noting = lock(&self.noting);
        let record = {
            let mut state = self.state();
            state.check_append(generation)?;
            let snapshot = state.snapshot.as_mut().ok_or(Error::Superseded)?;
            (snapshot.noted, snapshot.whole_ms) = (true, Some(now_ms()));
            state.record()
        };
        if let Some(record) = record {
            store.catalog.put_log(&self.name, &record, Durability::Durable)?;
        }
        Ok(())
    }

    /// Under the pen, so that nobody begins the log anew in between.
    fn name_snapshot(&self, store: &Store, generation: u64) -> Result<(), Error> {
        let _pen = lock(&self.pen);
        let offset = {
            let state = self.state();
            state.check_append(generation)?;
            let snapshot = state.snapshot.as_ref().ok_or(Error::Superseded)?;
            snapshot.position.offset
        };
        let [part, whole] = paths(&store.dir, offset);
        store.disk.rename(&part, &whole)
    }

    fn note_whole(&self, generation: u64) -> Result<(), Error> {
        {
            let mut state = self.state();
            state.check_generation(generation)?;
            let snapshot = state.snapshot.as_mut().ok_or(Error::Superseded)?;
            snapshot.stage = Stage::Whole;
            snapshot.whole_ms = Some(now_ms());
            if snapshot.file.is_some() {
                snapshot.trim(0);
            }
        }
        self.tell();
        // It may be released from now on.
        self.space.tell();
        self.note(Durability::Durable)
    }
}

/// Whoever opens the log again waits until this is over.
struct Finishing(Arc<Inner>);

impl Drop for Finishing {
    fn drop(&mut self) {
        self.0.state().finishing -= 1;
        self.0.tell();
    }
}

impl SnapshotWriter {
    /// Appends received bytes. On disk all or nothing, in one write to the page cache. In memory it waits until the
    /// reader has made room, for as long as that takes; a wait that is cancelled leaves the snapshot torn, so drop the
    /// writer then.
    ///
    /// # Errors
    /// [`Error::Full`] and [`Error::NoSpace`] with nothing appended, [`Error::Superseded`], [`Error::Broken`],
    /// [`Error::Io`].
    pub async fn append(&mut self, bytes: Bytes) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.log.store.is_none() {
            return self.queue(&bytes).await;
        }
        self.log.append_to_snapshot(self.generation, &bytes)?;
        self.log.tell();
        self.unpersisted += bytes.len() as u64;
        self.persist_in_background().await
    }

    async fn queue(&mut self, bytes: &Bytes) -> Result<(), Error> {
        for piece in block::split(bytes) {
            loop {
                self.news.borrow_and_update();
                if self.log.queue_piece(self.generation, &piece)? {
                    break;
                }
                if self.news.changed().await.is_err() {
                    return Err(Error::ShutDown);
                }
            }
            self.log.tell();
        }
        Ok(())
    }

    /// One at a time; does not wait for one that is still under way.
    async fn persist_in_background(&mut self) -> Result<(), Error> {
        if self.unpersisted < PERSIST_EVERY_BYTES {
            return Ok(());
        }
        if self.persisting.as_ref().is_some_and(|task| !task.is_finished()) {
            return Ok(());
        }
        self.persist_ended().await?;
        let file = {
            let state = self.log.state();
            state.snapshot.as_ref().and_then(|one| one.file.clone())
        };
        if let Some(file) = file {
            self.unpersisted = 0;
            self.persisting = Some(tokio::task::spawn_blocking(move || file.persist()));
        }
        Ok(())
    }

    /// Waits for the persist in the background and passes its failure on: the kernel reports it only once.
    async fn persist_ended(&mut self) -> Result<(), Error> {
        let Some(task) = &mut self.persisting else {
            return Ok(());
        };
        let outcome = task.await.unwrap_or(Err(Error::ShutDown));
        self.persisting = None;
        outcome
    }

    /// Bytes appended so far.
    #[must_use]
    pub fn received_bytes(&self) -> u64 {
        let state = self.log.state();
        state.snapshot.as_ref().map_or(0, |one| one.received)
    }

    /// Declares the snapshot whole. Readers come to its end at once; on disk it is durable when this returns, under its final name.
    ///
    /// # Errors
    /// [`Error::SnapshotLength`]: the snapshot is abandoned. [`Error::Superseded`]; [`Error::Io`] and [`Error::Catalog`]: it can be read, and does not survive a
    /// restart.
    pub async fn finish(mut self) -> Result<(), Error> {
        let generation = self.generation;
        let finishing = self.log.close_snapshot(generation)?;
        self.persist_ended().await?;
        blocking(move || finishing.0.finish_snapshot(generation)).await?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        {
            let mut state = self.log.state();
            if state.generation != self.generation {
                return;
            }
            match &mut state.snapshot {
                // Finished by a call whose caller did not wait for it: whole is whole.
                Some(snapshot) if snapshot.is_whole() => return,
                Some(snapshot) if snapshot.stage == Stage::Received => snapshot.stage = Stage::Unkept,
                Some(snapshot) => snapshot.stage = Stage::Abandoned,
                None => return,
            }
        }
        self.log.tell();
        self.log.space.tell();
    }
}
