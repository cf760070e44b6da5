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
    /// The option that names it.
    option: &'static str,
}

/// A file that has not got its name yet. It is removed when this is dropped, though somebody may still write to it.
#[derive(Debug)]
pub(super) struct Unnamed {
    /// None where a device, a pipe or the like has that name: it is written to, and stays what it is.
    part: Option<TempPath>,
    path: PathBuf,
    /// The option that names it.
    option: &'static str,
}

impl Unnamed {
    /// The name that it is to have.
    pub(super) fn path(&self) -> PathBuf {
        self.path.clone()
    }
}

/// A file that is to have this name, which was given by this option. Only its owner may read it: it holds everybody's data.
///
/// # Errors
/// It cannot be written there.
pub(super) fn create(path: &Path, option: &'static str) -> Result<(Unnamed, Out), Failure> {
    let cannot = |error: &io::Error| cannot_write(Some((path, option)), error);
    if path.is_dir() {
        return Err(cannot(&io::Error::from(io::ErrorKind::IsADirectory)));
    }
    if path.metadata().is_ok_and(|about| !about.is_file()) {
        let file = File::options()
            .write(true)
            .open(path)
            .map_err(|error| cannot(&error))?;
        return Ok(unnamed(file, None, path, option));
    }
    let part = tempfile::Builder::new()
        .prefix(".gunyu-")
        .suffix(".part")
        .tempfile_in(folder(path))
        .map_err(|error| cannot(&without_path(&error)))?;
    let (file, part) = part.into_parts();
    Ok(unnamed(file, Some(part), path, option))
}

/// The same without the name that the file has until it is whole, which is none of the operator's.
fn without_path(error: &io::Error) -> io::Error {
    let said = error.to_string();
    let (said, _) = said.split_once(" at path ").unwrap_or((&said, ""));
    io::Error::new(error.kind(), said)
}

fn unnamed(file: File, part: Option<TempPath>, path: &Path, option: &'static str) -> (Unnamed, Out) {
    let path = path.to_owned();
    let out = Out {
        file,
        path: Some(path.clone()),
        option,
    };
    (Unnamed { part, path, option }, out)
}

/// Stdout.
///
/// # Errors
/// It is closed.
pub(super) fn stdout() -> Result<Out, Failure> {
    // Past Rust's own buffer, which looks for the ends of lines.
    let own = io::stdout().as_fd().try_clone_to_owned();
    let file = own.map_err(|error| cannot_write(None, &error))?.into();
    Ok(Out {
        file,
        path: None,
        option: "",
    })
}

impl Out {
    /// Writes all of it.
    ///
    /// # Errors
    /// The disk is full, or whatever else.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| cannot_write(self.named(), &error))
    }

    fn named(&self) -> Option<(&Path, &'static str)> {
        Some((self.path.as_deref()?, self.option))
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
        synced.map_err(|error| cannot_write(Some((path, self.option)), &error))
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
    for Unnamed { part, path, option } in files {
        let Some(part) = part else { continue };
        part.persist(&path)
            .map_err(|error| cannot_write(Some((&path, option)), &error.error))?;
        folders.push((folder(&path).to_owned(), option));
    }
    for (folder, option) in folders {
        File::open(&folder)
            .and_then(|opened| opened.sync_all())
            .map_err(|error| cannot_write(Some((&folder, option)), &error))?;
    }
    Ok(())
}

fn folder(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// `named` is the file with the option that names it; none is stdout.
fn cannot_write(named: Option<(&Path, &str)>, error: &io::Error) -> Failure {
    let Some((path, option)) = named else {
        return Failure::new(Exit::Failed, format!("cannot write to stdout: {error}"));
    };
    let hint = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            "make room there, or choose another folder"
        }
        _ => "choose a folder that exists and may be written",
    };
    Failure::new(Exit::Failed, format!("cannot write {}: {error}", path.display()))
        .with_hint(Some(format!("{hint} with {option}")))
}
