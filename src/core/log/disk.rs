//! The only door to the filesystem: every file of a log is created, read, written, renamed and removed here.
//!
//! Promises that each error names the file, the offset where one is meant, and what was attempted; that an append is
//! all or nothing ([`File::append`] cuts off what a failed write left); and that a test can make any of these calls
//! fail ([`Disk::with_faults`]); and that nobody but the user who runs gunyu may use what is created here: it is the data of the source. What the bytes mean is left to [`super::segment`] and [`super::snapshot`].

mod folder_lock;

use std::fmt;
use std::fs;
use std::io::{self, IoSlice, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

pub use folder_lock::FolderLock;

use super::Error;
use crate::core::crash::{self, Step};

/// A call that is about to reach the filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// A folder is created.
    CreateFolder,
    /// A file is created; it must not exist.
    Create,
    /// An existing file is opened.
    Open,
    /// So many bytes are appended.
    Append(usize),
    /// Bytes are read.
    Read,
    /// A file's bytes are made durable.
    Persist,
    /// A file is cut to a length.
    Cut,
    /// A file gets its final name.
    Rename,
    /// A file is removed.
    Remove,
    /// A folder is listed.
    List,
    /// A folder's entries are made durable.
    PersistFolder,
}

/// What a scripted fault does to a call.
#[derive(Debug)]
pub enum Verdict {
    /// Nothing: the call goes on.
    Proceed,
    /// The call fails before it did anything.
    Fail(io::Error),
    /// An append fails after so many bytes have been written; any other call fails before it did anything.
    FailAfter(usize, io::Error),
}

/// Decides the fate of calls: how tests stand in for a failing disk.
pub trait Faults: Send + Sync + fmt::Debug {
    /// Asked before each call.
    fn before(&self, op: Op, file: &Path) -> Verdict;
}

/// The filesystem.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    faults: Option<Arc<dyn Faults>>,
}

/// One entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) is_folder: bool,
    pub(super) len: u64,
    /// When it was last written; the present where the filesystem does not say.
    pub(super) written: SystemTime,
}

impl Disk {
    /// The filesystem as it is.
    #[must_use]
    pub fn new() -> Disk {
        Disk::default()
    }

    /// The filesystem with calls that fail as `faults` decides.
    #[must_use]
    pub fn with_faults(faults: Arc<dyn Faults>) -> Disk {
        Disk { faults: Some(faults) }
    }

    fn judge(&self, op: Op, file: &Path) -> Result<Option<(usize, io::Error)>, io::Error> {
        let Some(faults) = &self.faults else {
            return Ok(None);
        };
        match (faults.before(op, file), op) {
            (Verdict::Proceed, _) => Ok(None),
            (Verdict::FailAfter(written, error), Op::Append(_)) => Ok(Some((written, error))),
            (Verdict::Fail(error) | Verdict::FailAfter(_, error), _) => Err(error),
        }
    }

    fn call<T>(
        &self,
        op: Op,
        attempted: &'static str,
        file: &Path,
        act: impl FnOnce() -> io::Result<T>,
    ) -> Result<T, Error> {
        self.judge(op, file)
            .and_then(|_| act())
            .map_err(|source| Error::io(attempted, file, None, source))
    }

    /// Creates a folder and those above it; one that exists is fine.
    pub(super) fn create_folder(&self, folder: &Path) -> Result<(), Error> {
        self.call(Op::CreateFolder, "create the folder", folder, || {
            create_folder(folder)
        })
    }

    /// Creates a file to append to and to read from. It must not exist.
    pub(super) fn create(&self, path: &Path) -> Result<File, Error> {
        let inner = self.call(Op::Create, "create", path, || {
            private().read(true).append(true).create_new(true).open(path)
        })?;
        Ok(self.file(inner, path, 0))
    }

    /// Appends lines to a file and makes them durable; the file and its folder are created where they are missing. What a crash
    /// has left of a line stays a line of its own.
    ///
    /// # Errors
    /// As the filesystem says.
    pub fn append_lines_durably(&self, path: &Path, lines: &[u8]) -> Result<(), Error> {
        if let Some(folder) = path.parent() {
            self.create_folder(folder)?;
        }
        let file = self.open_with(path, private().read(true).append(true).create(true))?;
        let mut last = *b"\n";
        if let Some(at) = file.len().checked_sub(1) {
            file.read(&mut last, at)?;
        }
        let end_of_torn: &[u8] = if last == *b"\n" { b"" } else { b"\n" };
        let mut parts = [IoSlice::new(end_of_torn), IoSlice::new(lines)];
        file.append_at(Step::LetterTorn, &mut parts)?;
        file.persist()?;
        // A file whose name is lost is lost; and so is a folder's.
        for folder in path.ancestors().skip(1).take(2) {
            self.persist_folder(folder)?;
        }
        Ok(())
    }

    /// Opens a file to read from.
    pub(super) fn open(&self, path: &Path) -> Result<File, Error> {
        self.open_with(path, fs::OpenOptions::new().read(true))
    }

    /// Opens a file to go on appending to it, and to read from it.
    pub(super) fn open_append(&self, path: &Path) -> Result<File, Error> {
        self.open_with(path, fs::OpenOptions::new().read(true).append(true))
    }

    fn open_with(&self, path: &Path, options: &fs::OpenOptions) -> Result<File, Error> {
        let (inner, len) = self.call(Op::Open, "open", path, || {
            let file = options.open(path)?;
            let len = file.metadata()?.len();
            Ok((file, len))
        })?;
        Ok(self.file(inner, path, len))
    }

    fn file(&self, inner: fs::File, path: &Path, len: u64) -> File {
        File {
            inner,
            path: path.to_path_buf(),
            len: AtomicU64::new(len),
            disk: self.clone(),
        }
    }

    /// Gives a file its final name. Durable once the folder is persisted.
    pub(super) fn rename(&self, from: &Path, to: &Path) -> Result<(), Error> {
        self.call(Op::Rename, "rename", from, || fs::rename(from, to))
    }

    /// Removes a file. One that is gone already is fine.
    pub(super) fn remove(&self, path: &Path) -> Result<(), Error> {
        match self.call(Op::Remove, "remove", path, || fs::remove_file(path)) {
            Err(error) if error.is_not_found() => Ok(()),
            other => other,
        }
    }

    /// Removes an empty folder.
    pub(super) fn remove_folder(&self, folder: &Path) -> Result<(), Error> {
        self.call(Op::Remove, "remove the folder", folder, || fs::remove_dir(folder))
    }

    /// What is in a folder, by name.
    pub(super) fn list(&self, folder: &Path) -> Result<Vec<Entry>, Error> {
        self.call(Op::List, "list the folder", folder, || {
            let mut entries = Vec::new();
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                let facts = entry.metadata()?;
                entries.push(Entry {
                    name: entry.file_name().to_string_lossy().into_owned(),
                    path: entry.path(),
                    is_folder: facts.is_dir(),
                    len: facts.len(),
                    written: facts.modified().unwrap_or_else(|_| SystemTime::now()),
                });
            }
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(entries)
        })
    }

    /// Makes a folder's entries durable: files that were created, renamed or removed in it.
    pub(super) fn persist_folder(&self, folder: &Path) -> Result<(), Error> {
        self.call(Op::PersistFolder, "persist the folder", folder, || {
            fs::File::open(folder)?.sync_all()
        })
    }
}

/// Creates a folder, and those above it that are missing, for its owner alone. One that exists stays as it is.
fn create_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// What is created with these is its owner's alone; and where a link to another file stands, nothing is opened.
fn private() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.mode(0o600).custom_flags(libc::O_NOFOLLOW);
    options
}

/// An open file: appended to at its end by one owner, read anywhere by many.
#[derive(Debug)]
pub(super) struct File {
    inner: fs::File,
    path: PathBuf,
    /// How much has been written whole. Only [`File::append`] and [`File::cut`] set it.
    len: AtomicU64,
    disk: Disk,
}

impl File {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    /// Appends all parts or nothing: what a failed write leaves is cut off again.
    ///
    /// # Errors
    /// As the filesystem says. [`Error::Broken`] where the remains could not be cut off, so that the file's end is
    /// unknown.
    pub(super) fn append(&self, parts: &mut [IoSlice<'_>]) -> Result<(), Error> {
        let at = self.len();
        let bytes = parts.iter().map(|part| part.len()).sum();
        let Err(source) = self.write_all(parts, bytes) else {
            self.len.store(at + bytes as u64, Ordering::Release);
            return Ok(());
        };
        let error = Error::io("append to", &self.path, Some(at), source);
        match self.cut(at) {
            Ok(()) => Err(error),
            Err(_) => Err(Error::Broken(Arc::new(error))),
        }
    }

    /// The same; a crash at that step leaves half of it.
    pub(super) fn append_at(&self, step: Step, parts: &mut [IoSlice<'_>]) -> Result<(), Error> {
        if crash::is_due(step) {
            let all: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
            // Whatever comes of it: the process ends here.
            let _ = (&self.inner).write_all(&all[..all.len() / 2]);
            crash::die(step);
        }
        self.append(parts)
    }

    fn write_all(&self, mut parts: &mut [IoSlice<'_>], bytes: usize) -> io::Result<()> {
        let fault = self.disk.judge(Op::Append(bytes), &self.path)?;
        if let Some((written, error)) = fault {
            let all: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
            (&self.inner).write_all(&all[..written.min(all.len())])?;
            return Err(error);
        }
        // `write_all_vectored` is not stable yet; this is its loop.
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            match (&self.inner).write_vectored(parts) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut parts, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Fills `buffer` with the bytes at `at`.
    pub(super) fn read(&self, buffer: &mut [u8], at: u64) -> Result<(), Error> {
        self.disk
            .judge(Op::Read, &self.path)
            .and_then(|_| self.inner.read_exact_at(buffer, at))
            .map_err(|source| Error::io("read", &self.path, Some(at), source))
    }

    /// Makes the file's bytes durable.
    pub(super) fn persist(&self) -> Result<(), Error> {
        self.disk
            .call(Op::Persist, "persist", &self.path, || self.inner.sync_data())
    }

    /// Cuts the file to a length.
    pub(super) fn cut(&self, len: u64) -> Result<(), Error> {
        self.disk
            .judge(Op::Cut, &self.path)
            .and_then(|_| self.inner.set_len(len))
            .map_err(|source| Error::io("cut", &self.path, Some(len), source))?;
        self.len.store(len, Ordering::Release);
        Ok(())
    }
}
