//! Where the output of a command goes: into a file that appears whole or not at all, or to stdout.
//!
//! It is written beside its file under another name, made durable, and only then given the name. Until then it goes away with
//! [`Unnamed`], however the command ends; only `kill -9` leaves it behind.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use crate::cmd::{Exit, Failure};

/// What takes the bytes.
#[derive(Debug)]
pub(super) struct Out {
    file: File,
    /// The file's name to be, or the device's; none of stdout.
    path: Option<PathBuf>,
}

/// A file that has not got its name yet. It is removed when this is dropped, though somebody may still write to it.
#[derive(Debug)]
pub(super) struct Unnamed {
    /// None where a device, a pipe or the like has that name: it is written to, and stays what it is.
    part: Option<TempPath>,
    path: PathBuf,
}

impl Unnamed {
    /// The name that it is to have.
    pub(super) fn path(&self) -> PathBuf {
        self.path.clone()
    }
}

/// A file that is to have this name. Only its owner may read it: it holds everybody's data.
///
/// # Errors
/// It cannot be written there.
pub(super) fn create(path: &Path) -> Result<(Unnamed, Out), Failure> {
    let cannot = |error: &io::Error| cannot_write(Some(path), error);
    if path.is_dir() {
        return Err(cannot(&io::Error::from(io::ErrorKind::IsADirectory)));
    }
    if path.metadata().is_ok_and(|about| !about.is_file()) {
        let file = File::options()
            .write(true)
            .open(path)
            .map_err(|error| cannot(&error))?;
        return Ok(unnamed(file, None, path));
    }
    let part = tempfile::Builder::new()
        .prefix(".gunyu-")
        .suffix(".part")
        .tempfile_in(folder(path))
        .map_err(|error| cannot(&error))?;
    let (file, part) = part.into_parts();
    Ok(unnamed(file, Some(part), path))
}

fn unnamed(file: File, part: Option<TempPath>, path: &Path) -> (Unnamed, Out) {
    let path = path.to_owned();
    let out = Out {
        file,
        path: Some(path.clone()),
    };
    (Unnamed { part, path }, out)
}

/// Stdout.
///
/// # Errors
/// It is closed.
pub(super) fn stdout() -> Result<Out, Failure> {
    // Past Rust's own buffer, which looks for the ends of lines.
    let own = io::stdout().as_fd().try_clone_to_owned();
    let file = own.map_err(|error| cannot_write(None, &error))?.into();
    Ok(Out { file, path: None })
}

impl Out {
    /// Writes all of it.
    ///
    /// # Errors
    /// The disk is full, or whatever else.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| cannot_write(self.path.as_deref(), &error))
    }

    /// Makes a file durable.
    ///
    /// # Errors
    /// As [`Out::write`].
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        // A device has nothing to make durable, and says so.
        let synced = match self.file.metadata() {
            Ok(about) if !about.is_file() => Ok(()),
            _ => self.file.sync_all(),
        };
        synced.map_err(|error| cannot_write(Some(path), &error))
    }
}

/// For whoever writes to a `dyn Write`, and tells by itself what went wrong.
impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Gives files that are whole and durable their names, for good.
///
/// # Errors
/// One cannot be renamed. Those before it have their names then, the others are removed.
pub(super) fn name(files: Vec<Unnamed>) -> Result<(), Failure> {
    let mut folders = Vec::new();
    for Unnamed { part, path } in files {
        let Some(part) = part else { continue };
        part.persist(&path)
            .map_err(|error| cannot_write(Some(&path), &error.error))?;
        folders.push(folder(&path).to_owned());
    }
    for folder in folders {
        File::open(&folder)
            .and_then(|opened| opened.sync_all())
            .map_err(|error| cannot_write(Some(&folder), &error))?;
    }
    Ok(())
}

fn folder(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

fn cannot_write(path: Option<&Path>, error: &io::Error) -> Failure {
    let Some(path) = path else {
        return Failure::new(Exit::Failed, format!("cannot write to stdout: {error}"));
    };
    let hint = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            "make room there, or choose another folder with --output"
        }
        _ => "choose a folder that exists and may be written with --output",
    };
    Failure::new(Exit::Failed, format!("cannot write {}: {error}", path.display()))
        .with_hint(Some(hint.to_owned()))
}
