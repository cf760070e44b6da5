//! What can go wrong with a log, and what the caller may do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::core::catalog;
use crate::core::position::Offset;

/// A log could not do what was asked. Each kind says what the caller may do; [`Error::hint`] what a person may.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filesystem refused. Nothing was appended; after a failed persist the log is [`Error::Broken`].
    #[error("cannot {attempted} {}{}: {source}", file.display(), at_text(*at))]
    Io {
        /// The verb.
        attempted: &'static str,
        /// Which file or folder.
        file: PathBuf,
        /// At which byte of it, where that means something.
        at: Option<u64>,
        /// What the system said.
        source: io::Error,
    },
    /// The filesystem is full. Nothing was appended: release something elsewhere and append again.
    #[error("no space left on the device to {attempted} {}{}: {source}", file.display(), at_text(*at))]
    NoSpace {
        /// The verb.
        attempted: &'static str,
        /// Which file or folder.
        file: PathBuf,
        /// At which byte of it, where that means something.
        at: Option<u64>,
        /// What the system said.
        source: io::Error,
    },
    /// Bytes that were once written whole are not what they were. The log is of no use from there on: drop it
    /// ([`super::Log::start_at`], [`super::Log::open_empty`]) and ask the source again.
    #[error("{} is damaged at byte {at}: {why}", file.display())]
    Rot {
        /// The damaged file.
        file: PathBuf,
        /// Where the first bad block begins.
        at: u64,
        /// What does not fit.
        why: &'static str,
    },
    /// Segments do not follow each other without a gap or an overlap. To be dropped like rot.
    #[error("{} does not join the log: the history goes on at offset {expected}, the file has {found}", file.display())]
    Gap {
        /// The segment that does not join, or is missing.
        file: PathBuf,
        /// The offset at which the log before it ends.
        expected: Offset,
        /// The offset that the file has, `nothing` for a missing file.
        found: String,
    },
    /// A file was written by a newer gunyu.
    #[error("{} has format {version}, this gunyu reads format {known} only", file.display())]
    NewerFormat {
        /// The file.
        file: PathBuf,
        /// Its version.
        version: u32,
        /// The newest version that is known here.
        known: u32,
    },
    /// The cap on the size of all logs is reached and nothing can be released. Nothing was appended: wait with
    /// [`super::Space::wait_for_room`], then ask the source to continue from the log's end.
    #[error("the logs hold {used} of {max} bytes and nothing can be released: no room for {needed} more")]
    Full {
        /// Bytes asked for.
        needed: u64,
        /// Bytes in use.
        used: u64,
        /// The cap.
        max: u64,
    },
    /// The log has begun anew since this reader or writer was made: get a new one.
    #[error("the log has begun anew")]
    Superseded,
    /// The bytes wanted have been released.
    #[error("offset {wanted} has been released: the log begins at {start}")]
    Released {
        /// Where reading was to begin or to go on.
        wanted: Offset,
        /// Where the log begins now.
        start: Offset,
    },
    /// The position wanted is not reached yet.
    #[error("offset {wanted} lies beyond the log's end {end}")]
    Beyond {
        /// Where reading was to begin.
        wanted: Offset,
        /// Where the log ends.
        end: Offset,
    },
    /// The log holds no history yet: begin a snapshot or start it at an offset.
    #[error("the log is empty: it follows no history yet")]
    NoHistory,
    /// There is no such snapshot (any more), or its bytes at that place have been dropped.
    #[error("the log holds no snapshot that can be read from byte {wanted}")]
    NoSnapshot {
        /// Where reading was to begin or to go on.
        wanted: u64,
    },
    /// Whoever received the snapshot gave up before its end.
    #[error("the snapshot was abandoned after {received} bytes")]
    Abandoned {
        /// How far it came.
        received: u64,
    },
    /// A snapshot ended after another number of bytes than its source had declared.
    #[error("the snapshot has {received} bytes, {declared} were declared")]
    SnapshotLength {
        /// What the source had announced.
        declared: u64,
        /// What came.
        received: u64,
    },
    /// The stream cannot be appended to before the snapshot that it follows is whole.
    #[error("the snapshot before the stream is not whole yet")]
    SnapshotUnfinished,
    /// There is a writer already; a log has one.
    #[error("the log already has a writer")]
    WriterHeld,
    /// An earlier persist failed, so nothing says which bytes the disk holds: open the log again, or drop it.
    #[error("the log takes no more bytes: {0}")]
    Broken(#[source] Arc<Error>),
    /// The catalog could not be read or written.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    /// Another process has this folder.
    #[error("{} is in use by another gunyu: {holder}", folder.display())]
    Locked {
        /// The folder.
        folder: PathBuf,
        /// What the holder wrote about itself.
        holder: String,
    },
    /// Others may change what is in this folder.
    #[error("{} is no safe place for the log: {why}; type: {command}", folder.display())]
    Unsafe {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        why: String,
        /// What makes it one.
        command: String,
    },
    /// A pipeline's name cannot be a folder's name.
    #[error("{name:?} cannot name a log: {why}")]
    BadName {
        /// The name.
        name: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// The task that was to do blocking work was lost, which happens when the runtime is being shut down.
    #[error("interrupted by the shutdown of the runtime")]
    ShutDown,
}

fn at_text(at: Option<u64>) -> String {
    at.map(|at| format!(" at byte {at}")).unwrap_or_default()
}

impl Error {
    /// A refusal of the filesystem, sorted: a full disk is a kind of its own.
    pub(super) fn io(attempted: &'static str, file: &Path, at: Option<u64>, source: io::Error) -> Error {
        let file = file.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::NoSpace {
                attempted,
                file,
                at,
                source,
            },
            _ => Error::Io {
                attempted,
                file,
                at,
                source,
            },
        }
    }

    /// Bytes that are not what they were.
    pub(super) fn rot(file: &Path, at: u64, why: &'static str) -> Error {
        Error::Rot {
            file: file.to_path_buf(),
            at,
            why,
        }
    }

    /// Whether the file was not there.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Whether what the disk holds, or a part of it, is of no use any more: wrong, missing, or not to be read.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Error::Rot { .. } | Error::Gap { .. } => true,
            Error::Io {
                attempted, source, ..
            } => *attempted == "read" && source.raw_os_error() == Some(libc::EIO),
            _ => false,
        }
    }

    /// What a person may do, where a person is needed.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Error::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Some(
                "make the folder readable and writable for the user that gunyu runs as, or set channel.storer.dirPath to another one",
            ),
            Error::Io { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                Some("set channel.storer.dirPath to a folder on a filesystem that can be written")
            }
            Error::Io {
                attempted, source, ..
            } if *attempted == "create the folder" && source.kind() == io::ErrorKind::NotFound => {
                Some("no folder can be made there: set channel.storer.dirPath to another place")
            }
            Error::Io { source, .. } if source.kind() == io::ErrorKind::NotADirectory => {
                Some("a file stands where the folder should be: set channel.storer.dirPath to another place")
            }
            Error::Io { source, .. } if source.raw_os_error() == Some(libc::ELOOP) => {
                Some("a symbolic link stands where gunyu keeps a file: find out who made it, and remove it")
            }
            Error::Unsafe { .. } => {
                Some("see whose files are in it first; or set channel.storer.dirPath to another folder")
            }
            Error::NoSpace { .. } => Some(
                "free space on that filesystem, or lower channel.storer.maxSize so that gunyu releases sooner",
            ),
            Error::Full { .. } => {
                Some("raise channel.storer.maxSize, or see in `gunyu status` why the target lags")
            }
            Error::Locked { .. } => {
                Some("stop the other gunyu, or give this one a folder of its own (channel.storer.dirPath)")
            }
            Error::NewerFormat { .. } => {
                Some("run the newer gunyu, or empty the folder: a full sync follows")
            }
            Error::Rot { .. } | Error::Gap { .. } => {
                Some("check the disk; the log can be dropped, the source is then asked again")
            }
            Error::Catalog(error) => error.hint(),
            _ => None,
        }
    }
}
