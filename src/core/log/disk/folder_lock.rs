//! The right to use a folder: one process at a time, and the second is told who the first is.

use std::fs;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
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
    /// [`Error::Unsafe`] where others may change what is there; [`Error::Locked`] where another process has the folder; [`Error::Io`] (with a hint) where it cannot be
    /// created, read or written.
    pub fn take(root: &Path, holder: &str) -> Result<FolderLock, Error> {
        create_folder(root).map_err(|source| Error::io("create the folder", root, None, source))?;
        refuse_unsafe(root)?;
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

    /// Whether the folder could be taken, told without a trace: nothing is made or written, and whoever takes it meanwhile is in no more danger than of a lock that is
    /// shared for a moment.
    ///
    /// # Errors
    /// As of [`FolderLock::take`]; that another process has it is told first, whoever owns the folder.
    pub fn look(root: &Path) -> Result<(), Error> {
        let path = root.join("lock");
        match private().read(true).open(&path) {
            Ok(mut file) => match file.try_lock_shared() {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => return Err(locked(root, &mut file)),
                Err(fs::TryLockError::Error(source)) => return Err(Error::io("lock", &path, None, source)),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::io("open", &path, None, source)),
        }
        refuse_unsafe(root)
    }
}

/// Whoever may change the folder can put links into it, and other data in place of what is ours; who owns it can always let himself. The folder itself counts, not
/// those above it, and root is trusted in any case. A group that may write is the operator's choice, and told (`cmd::config::exposed`): volumes of a container are
/// made so.
fn refuse_unsafe(root: &Path) -> Result<(), Error> {
    let failed = |attempted| move |source| Error::io(attempted, root, None, source);
    let about = fs::metadata(root).map_err(failed("look at"))?;
    let refused = |why: &str, what: &str| Error::Unsafe {
        folder: root.to_path_buf(),
        why: why.to_owned(),
        command: format!("{what} {}", root.display()),
    };
    if about.mode() & 0o002 != 0 {
        return Err(refused("every user of this machine may write to it", "chmod o-w"));
    }
    if about.uid() == 0 {
        return Ok(());
    }
    // Who we are there: as the filesystem has it, which may have other numbers than the process.
    let made = tempfile::tempfile_in(root).and_then(|file| file.metadata());
    let uid = made.map_err(failed("create a file in"))?.uid();
    match about.uid() == uid {
        true => Ok(()),
        false => Err(refused("it belongs to another user", &format!("chown {uid}"))),
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
    fn a_folder_that_others_may_write_to_is_refused_with_what_to_type() {
        use std::os::unix::fs::{PermissionsExt as _, chown};

        let root = tempfile::tempdir().unwrap();
        let taken = |mode: u32| {
            fs::set_permissions(root.path(), fs::Permissions::from_mode(mode)).unwrap();
            FolderLock::take(root.path(), "")
        };
        for mode in [0o700, 0o755, 0o770] {
            taken(mode).unwrap();
        }
        for mode in [0o777, 0o1777, 0o702] {
            let refused = taken(mode).unwrap_err();
            assert!(matches!(refused, Error::Unsafe { .. }), "{mode:o}: {refused}");
            assert!(
                refused
                    .to_string()
                    .contains(&format!("chmod o-w {}", root.path().display()))
            );
        }
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o700)).unwrap();
        // Only root can give a folder away.
        if chown(root.path(), Some(65_534), None).is_ok() {
            let refused = FolderLock::take(root.path(), "").unwrap_err();
            assert!(refused.to_string().contains("chown 0 "), "{refused}");
        }
    }

    #[test]
    fn a_link_in_place_of_the_lock_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let (folder, victim) = (root.path().join("root"), root.path().join("victim"));
        fs::create_dir(&folder).unwrap();
        fs::write(&victim, "of somebody else").unwrap();
        std::os::unix::fs::symlink(&victim, folder.join("lock")).unwrap();
        let refused = FolderLock::take(&folder, "").unwrap_err();
        assert!(
            refused.hint().is_some_and(|hint| hint.contains("link")),
            "{refused}"
        );
        assert_eq!(fs::read_to_string(&victim).unwrap(), "of somebody else");
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
