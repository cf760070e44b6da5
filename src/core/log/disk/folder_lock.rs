//! The right to use a folder: one process at a time, and the second is told who the first is.

use std::fs;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use super::super::Error;
use super::{create_folder, private};

/// Held by the process that uses a folder; given back when dropped, or when the process dies.
///
/// The lock is the kernel's, on `{root}/lock`; what stands in that file only tells people who holds it. The file
/// stays when the lock is given back.
#[derive(Debug)]
pub struct FolderLock {
    _file: fs::File,
}

impl FolderLock {
    /// Takes the folder `root`, creating it where it is missing. `holder` is what a second process will read about
    /// this one beside its pid: a host name, the address it listens on.
    ///
    /// # Errors
    /// [`Error::Locked`] where another process has the folder; [`Error::Io`] (with a hint) where it cannot be
    /// created, read or written.
    pub fn take(root: &Path, holder: &str) -> Result<FolderLock, Error> {
        create_folder(root).map_err(|source| Error::io("create the folder", root, None, source))?;
        let path = root.join("lock");
        let failed = |attempted| {
            let path = path.clone();
            move |source| Error::io(attempted, &path, None, source)
        };
        let mut file = private()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(locked(root, &mut file)),
            Err(fs::TryLockError::Error(source)) => return Err(failed("lock")(source)),
        }
        file.set_len(0).map_err(failed("write"))?;
        write!(file, "pid {} {holder}", std::process::id()).map_err(failed("write"))?;
        Ok(FolderLock { _file: file })
    }
}

fn locked(root: &Path, file: &mut fs::File) -> Error {
    let mut holder = String::new();
    // Who it is only makes the message better; that it is locked is certain.
    let read = file
        .rewind()
        .and_then(|()| file.take(1024).read_to_string(&mut holder));
    if read.is_err() || holder.trim().is_empty() {
        holder = "it has not written who it is".to_string();
    }
    Error::Locked {
        folder: root.to_path_buf(),
        holder: holder.trim().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_and_told_who_the_first_is() {
        let root = tempfile::tempdir().unwrap();
        let first = FolderLock::take(root.path(), "on host-a, 127.0.0.1:18001").unwrap();
        let refused = FolderLock::take(root.path(), "on host-b").unwrap_err();
        let text = refused.to_string();
        assert!(
            text.contains(&format!("pid {} on host-a", std::process::id())),
            "{text}"
        );
        assert!(refused.hint().is_some());
        drop(first);
        FolderLock::take(root.path(), "on host-b").unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error_naming_it() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, b"x").unwrap();
        let error = FolderLock::take(&file.join("below"), "").unwrap_err();
        assert!(error.to_string().contains("below"), "{error}");
    }
}
