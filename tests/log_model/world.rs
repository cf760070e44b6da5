//! A log on a disk that can lose power, beside the model of what it must hold.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gunyu::core::catalog::{Catalog, Durability, LogRecord};
use gunyu::core::log::{
    Disk, Error, FlushPolicy, Log, OnDisk, Settings, SnapshotWriter, Space, Storage, TAIL_BYTES,
};
use gunyu::core::position::{Offset, Position};
use tokio::runtime::Runtime;

use super::model::{Checkpoint, Held, Snapshot, Source, Stage};
use super::power::{Cut, Power, Tear};
use super::steps::{Case, Ending, Harm, Step};

/// Small, so that it is often reached.
pub const CAP_BYTES: u64 = 4000;
const SEGMENT_BYTES: u64 = 1000;
/// What a snapshot's source says that it is going to send, where it does.
const DECLARED: u64 = 600;

/// A folder and a catalog for many runs: making a catalog takes longer than most runs do.
pub struct Ground {
    root: tempfile::TempDir,
    catalog: Catalog,
    runs: AtomicU64,
}

impl Ground {
    pub fn new() -> Ground {
        // What survives is decided here and not by the device, so memory will do.
        let memory = Path::new("/dev/shm");
        let root = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        let root = root.unwrap();
        Ground {
            catalog: Catalog::open(root.path()).unwrap(),
            root,
            runs: AtomicU64::new(0),
        }
    }
}

/// From one opening of the log to its end.
pub struct Life {
    // Dropped in this order: the runtime waits for what still works on blocking threads.
    snapshot: Option<SnapshotWriter>,
    pub log: Log,
    runtime: Runtime,
    pub space: Arc<Space>,
    refused: u64,
    pub bytes_found: u64,
}

pub struct World<'a> {
    ground: &'a Ground,
    name: String,
    folder: PathBuf,
    power: Arc<Power>,
    settings: Settings,
    life: Option<Life>,
    pub source: Source,
    pub held: Option<Held>,
    pub target: Option<Checkpoint>,
    /// What the catalog says for certain after a cut of power.
    durable: Option<LogRecord>,
    copies: Vec<(PathBuf, Vec<u8>)>,
    /// How the life ends when the disk dies.
    armed: Ending,
}

/// Ends a wait for something that never comes.
fn wait<T>(runtime: &Runtime, what: impl Future<Output = T>) -> T {
    runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(60), what).await })
        .expect("it should not have to wait")
}

impl<'a> World<'a> {
    pub fn new(ground: &'a Ground, case: &Case) -> World<'a> {
        let name = format!("run-{}", ground.runs.fetch_add(1, Ordering::Relaxed));
        let folder = ground.root.path().join(&name);
        let power = Arc::new(Power::over(&folder));
        let on_disk = OnDisk {
            root: ground.root.path().to_owned(),
            disk: Disk::with_faults(power.clone()),
            catalog: ground.catalog.clone(),
            segment_bytes: SEGMENT_BYTES,
            flush: match case.policy {
                0 => FlushPolicy::Os,
                1 => FlushPolicy::EveryWrite,
                _ => FlushPolicy::DirtyBytes(900),
            },
        };
        let settings = Settings {
            name: name.clone(),
            storage: Storage::Disk(on_disk),
            tail_bytes: if case.small_tail { 500 } else { TAIL_BYTES },
        };
        World {
            ground,
            name,
            folder,
            power,
            settings,
            life: None,
            source: Source::new(),
            held: None,
            target: None,
            durable: None,
            copies: Vec::new(),
            armed: Ending::Closed,
        }
    }

    pub fn run(&mut self, steps: &[Step]) {
        self.open(None);
        self.start_at(77);
        for step in steps {
            self.step(*step);
            if self.power.is_dead() {
                self.end(self.armed);
            }
            self.look_around();
        }
        self.end(Ending::Closed);
        self.life = None;
        // So that many runs take no more room than one.
        let _ = fs::remove_dir_all(&self.folder);
    }

    pub fn life(&self) -> &Life {
        self.life.as_ref().unwrap()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append(len) => self.append(len as u64),
            Step::Persist => self.persist(),
            Step::Read { percent } => self.read(percent),
            Step::Releasable { percent } => self.set_releasable(percent),
            Step::Checkpoint { percent } => self.checkpoint(percent),
            Step::StartAt(offset) => self.start_at(offset),
            Step::BeginSnapshot { offset, declared } => self.begin_snapshot(offset, declared),
            Step::AppendToSnapshot(len) => self.append_to_snapshot(len as u64),
            Step::FinishSnapshot => self.finish_snapshot(),
            Step::AbandonSnapshot => self.life.as_mut().unwrap().snapshot = None,
            Step::FailOver { percent } => self.fail_over(percent),
            Step::Diverge => self.source.diverge(),
            Step::Refuse(refusal) => self.power.refuse(refusal),
            Step::End { calls: 0, how, .. } => self.end(how),
            Step::End { calls, written, how } => {
                self.armed = how;
                self.power.die_after(calls, written);
            }
            Step::Harm { file, harm } => self.harm(file, harm),
            Step::Copy => self.copy(),
        }
    }

    /// Whether the disk has refused something in this life.
    pub fn was_refused(&self) -> bool {
        self.power.is_dead() || self.power.refused() > self.life().refused
    }

    /// Something has failed: that must have a reason. One that leaves the log broken ends this life of it.
    pub fn failed(&mut self, error: &Error) {
        let refused = self.was_refused();
        let damaged = self.held.as_ref().is_some_and(|held| held.damaged);
        assert!(refused || damaged, "for no reason: {error}");
        if self.power.is_dead() {
            return;
        }
        match error {
            Error::Broken(_) => self.end(Ending::Killed),
            Error::Rot { .. } | Error::Gap { .. } => {
                assert!(damaged, "the log itself wrote that: {error}");
                // As the pipeline does with a log that it cannot trust.
                self.start_at(0);
            }
            Error::Io { .. } | Error::NoSpace { .. } => {}
            other => panic!("it should have been a refusal of the disk: {other}"),
        }
    }

    /// Whether the log follows what the source says now; notes the source's new name where it has one.
    fn follows(&mut self) -> bool {
        let Some(held) = &self.held else { return false };
        if held.lineage != self.source.lineage {
            return false;
        }
        if held.history != self.source.history {
            let (life, renamed) = (self.life(), self.source.history);
            let outcome = wait(&life.runtime, life.log.rename_history(renamed));
            if let Err(error) = outcome {
                self.failed(&error);
                return false;
            }
            self.held.as_mut().unwrap().history = renamed;
            self.durable = self.ground.catalog.log(&self.name).unwrap();
        }
        true
    }

    fn append(&mut self, len: u64) {
        if !self.follows() {
            return;
        }
        let held = self.held.as_mut().unwrap();
        let end = held.end + len;
        let bytes: Bytes = held.lineage.bytes(held.end, end).into();
        held.tried = end;
        let Life {
            log, runtime, space, ..
        } = self.life.as_ref().unwrap();
        let append = || {
            wait(runtime, async {
                let mut writer = log.writer()?;
                writer.append(bytes.clone()).await
            })
        };
        let mut outcome = append();
        if let Err(Error::Full { used, .. }) = outcome {
            assert!(used + len + 96 > CAP_BYTES, "there was room: {used} used");
            let settled = held.snapshot.as_ref().is_none_or(|one| one.stage == Stage::Whole);
            if len.is_multiple_of(2) || !settled {
                held.tried = held.end;
                return;
            }
            // The target has caught up: there is room again, and the same append goes well.
            held.releasable = held.releasable.max(held.end);
            log.set_releasable(Offset::new(held.end));
            outcome = wait(runtime, space.wait_for_room(len + 96)).and_then(|()| append());
        }
        let appended = log.appended().get();
        match outcome {
            Ok(at) => {
                assert_eq!(at.get(), end);
                held.end = end;
                if matches!(&self.settings.storage, Storage::Disk(one) if one.flush == FlushPolicy::EveryWrite)
                {
                    assert_eq!(log.persisted(), Some(at));
                }
            }
            Err(Error::SnapshotUnfinished) => {
                assert!(
                    held.snapshot
                        .as_ref()
                        .is_some_and(|one| one.stage != Stage::Whole)
                );
                held.tried = held.end;
            }
            Err(error) => {
                assert!(appended == held.end || appended == end, "half of it: {error}");
                held.end = appended;
                self.failed(&error);
                if let Some(held) = self.held.as_mut().filter(|_| !self.power.is_dead()) {
                    held.tried = held.end;
                }
            }
        }
    }

    fn persist(&mut self) {
        let life = self.life();
        let outcome = wait(&life.runtime, life.log.persist());
        match outcome {
            Ok(()) => {
                let persisted = life.log.persisted().unwrap().get();
                assert_eq!(persisted, self.held.as_ref().map_or(0, |held| held.end));
            }
            Err(error) => self.failed(&error),
        }
    }

    fn read(&mut self, percent: u8) {
        let Some(held) = &self.held else { return };
        let start = self.life().log.released().get();
        let from = held.at(start, percent);
        if let Err(error) = self.read_from(from) {
            self.failed(&error);
        }
    }

    /// Reads to the end, and on to the snapshot; each byte is the right one.
    pub fn read_from(&self, from: u64) -> Result<(), Error> {
        let (life, held) = (self.life(), self.held.as_ref().unwrap());
        wait(&life.runtime, async {
            let mut reader = life.log.reader(Offset::new(from))?;
            while reader.position() < life.log.appended() {
                let chunk = reader.next().await?;
                let (start, end) = (chunk.start.get(), chunk.end().get());
                assert!(
                    chunk.bytes == held.lineage.bytes(start, end),
                    "wrong bytes after {start}, before {end}: {held:?}"
                );
            }
            Ok::<(), Error>(())
        })?;
        self.read_snapshot()
    }

    fn read_snapshot(&self) -> Result<(), Error> {
        let (life, held) = (self.life(), self.held.as_ref().unwrap());
        let Some(snapshot) = held.snapshot.as_ref().filter(|one| one.stage == Stage::Whole) else {
            return Ok(());
        };
        if life.log.snapshot().is_none() {
            return Ok(());
        }
        wait(&life.runtime, async {
            let mut reader = life.log.snapshot_reader(0)?;
            let mut at = 0;
            while let Some(bytes) = reader.next().await? {
                let end = at + bytes.len() as u64;
                let right = held.lineage.snapshot(snapshot.offset, at, end);
                // Its bytes have a checksum of their own, which the log knows nothing of.
                assert!(
                    held.damaged || bytes == right,
                    "wrong bytes in the snapshot, {at} to {end}"
                );
                at = end;
            }
            assert!(held.damaged || at == snapshot.received, "{at} of {snapshot:?}");
            Ok(())
        })
    }

    fn set_releasable(&mut self, percent: u8) {
        let start = self.life().log.released().get();
        let Some(held) = &mut self.held else { return };
        held.releasable = held.releasable.max(held.at(start, percent));
        let releasable = Offset::new(held.releasable);
        self.life().log.set_releasable(releasable);
    }

    /// The target has applied so much.
    fn checkpoint(&mut self, percent: u8) {
        let start = self.life().log.released().get();
        let Some(held) = &self.held else { return };
        if held
            .snapshot
            .as_ref()
            .is_some_and(|one| one.stage != Stage::Whole)
        {
            return;
        }
        self.target = Some(Checkpoint {
            position: Position {
                id: held.history.id,
                offset: Offset::new(held.at(start, percent)),
            },
            lineage: held.lineage.clone(),
        });
    }

    fn fail_over(&mut self, percent: u8) {
        let Some(held) = &self.held else { return };
        if held.lineage == self.source.lineage {
            let at = held.at(held.begin, percent);
            self.source.fail_over(at, at < held.tried);
        }
    }

    pub fn start_at(&mut self, offset: u64) {
        self.copy();
        self.held = None;
        let life = self.life.as_mut().unwrap();
        let begun = life.log.start_at(self.source.history, Offset::new(offset));
        let outcome = wait(&life.runtime, begun);
        life.snapshot = None;
        self.durable = self.ground.catalog.log(&self.name).unwrap();
        match outcome {
            Ok(()) => self.held = Some(Held::new(&self.source, offset)),
            Err(error) => self.beginning_failed(&error),
        }
    }

    fn begin_snapshot(&mut self, offset: u64, declared: bool) {
        self.copy();
        self.held = None;
        let life = self.life.as_mut().unwrap();
        let (history, declared) = (self.source.history, declared.then_some(DECLARED));
        let begun = life.log.begin_snapshot(history, Offset::new(offset), declared);
        let outcome = wait(&life.runtime, begun);
        life.snapshot = None;
        self.durable = self.ground.catalog.log(&self.name).unwrap();
        match outcome {
            Ok(writer) => {
                life.snapshot = Some(writer);
                let snapshot = Snapshot {
                    offset,
                    received: 0,
                    stage: Stage::Receiving,
                };
                self.held = Some(Held {
                    snapshot: Some(snapshot),
                    ..Held::new(&self.source, offset)
                });
            }
            Err(error) => self.beginning_failed(&error),
        }
    }

    /// Then the log is empty, now and after a crash.
    fn beginning_failed(&mut self, error: &Error) {
        assert!(self.life().log.look().is_none(), "{error}");
        assert_eq!(self.durable, None);
        self.failed(error);
    }

    fn append_to_snapshot(&mut self, len: u64) {
        let Life {
            snapshot, runtime, ..
        } = self.life.as_mut().unwrap();
        let (Some(writer), Some(held)) = (snapshot, &mut self.held) else {
            return;
        };
        let received = writer.received_bytes();
        let Some(one) = &mut held.snapshot else { return };
        let bytes = held.lineage.snapshot(one.offset, received, received + len);
        match wait(runtime, writer.append(bytes.into())) {
            Ok(()) => one.received += len,
            Err(Error::Full { .. }) => {}
            Err(error) => {
                assert_eq!(writer.received_bytes(), received, "half of it: {error}");
                self.failed(&error);
            }
        }
    }

    fn finish_snapshot(&mut self) {
        let Life {
            snapshot, runtime, ..
        } = self.life.as_mut().unwrap();
        let (Some(writer), Some(held)) = (snapshot.take(), &mut self.held) else {
            return;
        };
        let Some(one) = &mut held.snapshot else { return };
        one.stage = Stage::Perhaps;
        let outcome = wait(runtime, writer.finish());
        match outcome {
            Ok(()) => one.stage = Stage::Whole,
            Err(Error::SnapshotLength { received, .. }) => {
                assert!(received == one.received && received != DECLARED);
                one.stage = Stage::Receiving;
            }
            Err(error) => self.failed(&error),
        }
        self.durable = self.ground.catalog.log(&self.name).unwrap();
    }

    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut files: Vec<_> = entries
            .map(|entry| (entry.path(), fs::read(entry.path()).unwrap()))
            .collect();
        files.sort();
        files
    }

    fn copy(&mut self) {
        let files = self.files();
        self.copies.extend(files);
    }

    /// The life ends; somebody harms a file; the next life begins.
    fn harm(&mut self, file: u8, harm: Harm) {
        self.close();
        if let Some(held) = &mut self.held {
            held.damaged = true;
        }
        let from = match harm {
            Harm::PutBack => self.copies.clone(),
            _ => self.files(),
        };
        if !from.is_empty() {
            let (path, mut bytes) = from[usize::from(file) % from.len()].clone();
            let at = |permille: u16| bytes.len() * usize::from(permille) / 1000;
            match harm {
                Harm::Delete => fs::remove_file(&path).unwrap(),
                Harm::PutBack => fs::write(&path, bytes).unwrap(),
                Harm::CutShort { permille } => fs::write(&path, &bytes[..at(permille)]).unwrap(),
                Harm::FlipBit { permille, bit } => {
                    let at = at(permille);
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << bit;
                    }
                    fs::write(&path, bytes).unwrap();
                }
            }
        }
        self.power.note_damage();
        self.open(None);
    }

    fn end(&mut self, how: Ending) {
        self.close();
        match how {
            Ending::Closed | Ending::Killed => self.open(None),
            Ending::PowerLost(cut) => {
                self.lose_power(&cut);
                self.open(Some(cut));
            }
        }
    }

    fn close(&mut self) {
        if let (Some(life), Some(held)) = (&self.life, &mut self.held) {
            // What it says last counts.
            held.persisted = life.log.persisted().unwrap().get();
        }
        self.life = None;
        self.power.revive();
    }

    fn lose_power(&mut self, cut: &Cut) {
        self.power.lose(cut);
        let catalog = &self.ground.catalog;
        if cut.seed.is_multiple_of(2) {
            match &self.durable {
                Some(record) => catalog.put_log(&self.name, record, Durability::Durable).unwrap(),
                None => catalog.forget_log(&self.name).unwrap(),
            }
        }
    }

    /// Opens the log. After a cut of power the next one may come in the midst of that.
    fn open(&mut self, cut: Option<Cut>) {
        let mut again = cut.map(|cut| (cut.seed >> 8) % 32).filter(|calls| *calls < 16);
        let refused = self.power.refused();
        let before = self.ground.catalog.log(&self.name).unwrap();
        let space = Space::new(CAP_BYTES);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let log = loop {
            if let Some(calls) = again {
                self.power.die_after(calls as u8, 0);
            }
            let error = match wait(&runtime, Log::open(self.settings.clone(), &space)) {
                Ok((log, _)) => break log,
                Err(error) => error,
            };
            if self.power.is_dead() {
                again = None;
                self.power.revive();
                let cut = cut.unwrap();
                self.lose_power(&Cut {
                    seed: cut.seed.rotate_left(9),
                    ..cut
                });
                continue;
            }
            let holes = cut.is_some_and(|cut| cut.tear == Tear::Holes);
            let damaged = self.held.as_ref().is_some_and(|held| held.damaged);
            if let Error::Rot { .. } | Error::Gap { .. } = error {
                assert!(holes || damaged, "a crash leaves no such thing: {error}");
                self.power.heal();
                self.power.revive();
                self.held = None;
                break wait(&runtime, Log::open_empty(self.settings.clone(), &space)).unwrap();
            }
            assert!(self.power.refused() > refused, "it must open: {error}");
        };
        self.power.revive();
        let after = self.ground.catalog.log(&self.name).unwrap();
        if after != before {
            self.durable = after;
        }
        self.life = Some(Life {
            snapshot: None,
            bytes_found: log.log_bytes(),
            log,
            runtime,
            space,
            refused,
        });
        self.adopt(cut.is_some());
        self.resume();
    }
}
