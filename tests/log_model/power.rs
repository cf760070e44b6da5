//! A disk that can lose power: what was not persisted may be gone, and what was being written may be torn.
//!
//! It stands at the log's seam ([`Faults`]), sees every call before it reaches the filesystem, and knows so what is
//! durable: a file's bytes as they were when it was last persisted, a folder's names as they were when that was. A cut of
//! power rewrites the folder with what is left. Names survive in the order in which they changed, as a journal keeps
//! them; bytes survive as [`Tear`] says.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use gunyu::core::log::disk::{Faults, Op, Verdict};

/// What is left of bytes that were written and not persisted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tear {
    /// Nothing.
    Lost,
    /// The first so many percent.
    Prefix(u8),
    /// The same, and zeros in the place of the rest.
    Zeros(u8),
    /// The same, and what had been on the disk there in the place of the rest.
    Garbage(u8),
    /// Some sectors, and zeros in the place of the others.
    Holes,
    /// Everything.
    Kept,
}

/// A cut of power.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    /// So many percent of the names that were changed and not persisted are as they were changed.
    pub names: u8,
    /// What is left of the bytes.
    pub tear: Tear,
    /// Where garbage and holes come from.
    pub seed: u64,
}

/// Calls that a refusal can hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Append,
    Create,
    Persist,
    PersistFolder,
    Read,
    Remove,
    Cut,
    Rename,
    List,
    Open,
}

impl Call {
    fn is(self, op: Op) -> bool {
        match self {
            Call::Append => matches!(op, Op::Append(_)),
            Call::Create => op == Op::Create,
            Call::Persist => op == Op::Persist,
            Call::PersistFolder => op == Op::PersistFolder,
            Call::Read => op == Op::Read,
            Call::Remove => op == Op::Remove,
            Call::Cut => op == Op::Cut,
            Call::Rename => op == Op::Rename,
            Call::List => op == Op::List,
            Call::Open => op == Op::Open,
        }
    }
}

/// One call that fails, once; the disk goes on afterwards.
#[derive(Debug, Clone, Copy)]
pub struct Refusal {
    pub call: Call,
    /// Calls of that kind that go well before.
    pub after: u8,
    /// Where it is an append: bytes that are written all the same.
    pub written: usize,
    /// The filesystem is full; else the device is broken.
    pub full: bool,
}

impl Refusal {
    fn error(self) -> io::Error {
        if self.full {
            return io::ErrorKind::StorageFull.into();
        }
        io::Error::from_raw_os_error(libc::EIO)
    }
}

#[derive(Debug, Clone)]
enum Change {
    Created(String, u64),
    Renamed(String, String),
    Removed(String),
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Change::Created(name, file) => {
                names.insert(name.clone(), *file);
            }
            Change::Renamed(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            Change::Removed(name) => {
                names.remove(name);
            }
        }
    }
}

#[derive(Debug, Default)]
struct Content {
    durable: Vec<u8>,
    /// It has been cut to this length since.
    cut_to: Option<usize>,
    /// What it held when its name was removed.
    removed: Option<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Machine {
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    changes: Vec<Change>,
    files: HashMap<u64, Content>,
    last_file: u64,
    /// Calls that go well before everything ends; and bytes of the next append that are still written.
    dies_after: Option<(u8, usize)>,
    is_dead: bool,
    refusal: Option<Refusal>,
    /// Refusals so far.
    refused: u64,
}

/// The disk under one folder.
#[derive(Debug)]
pub struct Power {
    folder: PathBuf,
    machine: Mutex<Machine>,
}

impl Power {
    pub fn over(folder: &Path) -> Power {
        Power {
            folder: folder.to_owned(),
            machine: Mutex::default(),
        }
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After so many calls, each fails: the process or the machine is dying.
    pub fn die_after(&self, calls: u8, written: usize) {
        self.machine().dies_after = Some((calls, written));
    }

    pub fn is_dead(&self) -> bool {
        self.machine().is_dead
    }

    pub fn refuse(&self, refusal: Refusal) {
        self.machine().refusal = Some(refusal);
    }

    pub fn refused(&self) -> u64 {
        self.machine().refused
    }

    /// All calls go well again.
    pub fn revive(&self) {
        let mut machine = self.machine();
        machine.is_dead = false;
        machine.dies_after = None;
    }

    /// No refusal is to come.
    pub fn heal(&self) {
        self.machine().refusal = None;
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.join(name)).unwrap_or_default()
    }

    /// Somebody else has changed the folder while nobody was looking: as it is now it is durable.
    pub fn note_damage(&self) {
        let mut machine = self.machine();
        *machine = Machine {
            refusal: machine.refusal,
            refused: machine.refused,
            last_file: machine.last_file,
            ..Machine::default()
        };
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let durable = self.read(&name);
            machine.last_file += 1;
            let file = machine.last_file;
            machine.names.insert(name, file);
            machine.files.insert(
                file,
                Content {
                    durable,
                    ..Content::default()
                },
            );
        }
        machine.durable_names = machine.names.clone();
    }

    /// The power goes, and comes back: the folder is what had reached the disk.
    pub fn lose(&self, cut: &Cut) {
        let machine = self.machine();
        let mut names = machine.durable_names.clone();
        let kept = machine.changes.len() * usize::from(cut.names) / 100;
        machine.changes[..kept]
            .iter()
            .for_each(|change| change.apply(&mut names));
        let live: HashMap<u64, &String> = machine.names.iter().map(|(name, file)| (*file, name)).collect();
        let mut left = Vec::new();
        for (name, file) in names {
            let content = &machine.files[&file];
            let now = match live.get(&file) {
                Some(name) => self.read(name),
                None => content.removed.clone().unwrap_or_default(),
            };
            left.push((name, content.torn(&now, cut, file)));
        }
        for name in live.values() {
            fs::remove_file(self.folder.join(name)).unwrap();
        }
        for (name, bytes) in left {
            fs::write(self.folder.join(name), bytes).unwrap();
        }
        drop(machine);
        self.note_damage();
    }

    fn note(&self, machine: &mut Machine, op: Op, file: &Path) {
        if op == Op::PersistFolder && file == self.folder {
            machine.durable_names = machine.names.clone();
            machine.changes.clear();
            return;
        }
        if file.parent() != Some(&self.folder) {
            return;
        }
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let known = machine.names.get(&name).copied();
        let change = match (op, known) {
            (Op::Create, _) => {
                machine.last_file += 1;
                machine.files.insert(machine.last_file, Content::default());
                Change::Created(name, machine.last_file)
            }
            (Op::Rename, Some(_)) => {
                let to = name.trim_end_matches(".part").to_owned();
                Change::Renamed(name, to)
            }
            (Op::Remove, Some(file)) => {
                let bytes = self.read(&name);
                machine.files.entry(file).or_default().removed = Some(bytes);
                Change::Removed(name)
            }
            (Op::Persist, Some(file)) => {
                let durable = self.read(&name);
                let content = machine.files.entry(file).or_default();
                (content.durable, content.cut_to) = (durable, None);
                return;
            }
            (Op::Cut, Some(file)) => {
                let len = self.read(&name).len();
                let content = machine.files.entry(file).or_default();
                // How far is not told; what the file holds at the end shows it.
                content.cut_to = Some(content.cut_to.unwrap_or(len).min(len));
                return;
            }
            _ => return,
        };
        change.apply(&mut machine.names);
        machine.changes.push(change);
    }
}

impl Content {
    /// What is left of a file that held `now`.
    fn torn(&self, now: &[u8], cut: &Cut, file: u64) -> Vec<u8> {
        let common = now
            .iter()
            .zip(&self.durable)
            .take_while(|(now, durable)| now == durable)
            .count();
        if self.cut_to.is_some() && common < self.durable.len() && cut.tear == Tear::Lost {
            // Not even the cut has reached the disk.
            return self.durable.clone();
        }
        let (base, rest) = now.split_at(common);
        let mut random = fastrand::Rng::with_seed(cut.seed ^ file);
        let part = |percent: u8| rest.len() * usize::from(percent) / 100;
        let (mut bytes, whole) = (base.to_vec(), now.len());
        match cut.tear {
            Tear::Lost => {}
            Tear::Kept => bytes.extend_from_slice(rest),
            Tear::Prefix(percent) => bytes.extend_from_slice(&rest[..part(percent)]),
            Tear::Zeros(percent) => {
                bytes.extend_from_slice(&rest[..part(percent)]);
                bytes.resize(whole, 0);
            }
            Tear::Garbage(percent) => {
                bytes.extend_from_slice(&rest[..part(percent)]);
                bytes.resize_with(whole, || random.u8(..));
            }
            Tear::Holes => {
                for sector in rest.chunks(64) {
                    let here = random.bool();
                    bytes.extend(sector.iter().map(|byte| if here { *byte } else { 0 }));
                }
            }
        }
        bytes
    }
}

impl Faults for Power {
    fn before(&self, op: Op, file: &Path) -> Verdict {
        let mut machine = self.machine();
        if machine.is_dead {
            return Verdict::Fail(io::Error::other("nothing works any more"));
        }
        if let Some((calls, written)) = machine.dies_after {
            let Some(left) = calls.checked_sub(1) else {
                machine.is_dead = true;
                return Verdict::FailAfter(written, io::Error::other("it dies here"));
            };
            machine.dies_after = Some((left, written));
        }
        if let Some(refusal) = machine.refusal.filter(|one| one.call.is(op)) {
            let Some(left) = refusal.after.checked_sub(1) else {
                machine.refusal = None;
                machine.refused += 1;
                return Verdict::FailAfter(refusal.written, refusal.error());
            };
            machine.refusal = Some(Refusal {
                after: left,
                ..refusal
            });
        }
        self.note(&mut machine, op, file);
        Verdict::Proceed
    }
}
