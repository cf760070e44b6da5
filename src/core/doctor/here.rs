//! What gunyu uses of this machine: the folder of its logs, the disk below it, its ports, its limits, its own certificates.
//!
//! Promises to leave nothing behind: what it makes to see whether it may is gone when it returns, and a lock is given back.

use std::io;
use std::net::ToSocketAddrs as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use tokio::net::TcpSocket;

use super::certificate;
use crate::core::log::disk::FolderLock;
use crate::core::log::{self, Disk};
use crate::core::net::{Address, pem};

/// What the configuration says of it.
#[derive(Debug, Clone)]
pub struct Place {
    /// The folder for logs.
    pub root: PathBuf,
    /// Whether logs are on disk.
    pub on_disk: bool,
    /// The cap on all logs together.
    pub max_bytes: Option<u64>,
    /// Where it listens, by the key of the configuration.
    pub listen: Vec<(&'static str, Address)>,
    /// Its own certificates, by the key of the configuration.
    pub certificates: Vec<(&'static str, PathBuf)>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) folder: Folder,
    /// Free for us on the disk.
    pub(super) free_bytes: Option<u64>,
    /// What logs take already.
    pub(super) logs_bytes: u64,
    /// Where it cannot listen, and why.
    pub(super) ports: Vec<Port>,
    /// So many files may be open; nothing where there is no limit.
    pub(super) open_files_max: Option<u64>,
    /// When its own certificates end, as Unix time, by the key of the configuration.
    pub(super) certificates: Vec<(&'static str, i64)>,
}

/// The folder of the logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Folder {
    /// It is there, and can be used.
    Usable,
    /// It can be made.
    ToBeMade,
    /// Another gunyu has it.
    Held { holder: String },
    /// It belongs to another user, of that number: what a gunyu of his finds there is not seen from here.
    Others { uid: u32 },
    /// It cannot be used.
    Wrong { message: String, hint: Option<String> },
}

/// A place to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) key: &'static str,
    pub(super) address: Address,
    /// Why it cannot be had.
    pub(super) trouble: Option<String>,
}

/// Looks. May take as long as a disk takes: for a thread that may block.
pub(super) fn look(place: &Place) -> Facts {
    let logs = log::list_pipelines(&Disk::new(), &place.root).unwrap_or_default();
    Facts {
        folder: folder(&place.root),
        free_bytes: free_bytes(existing(&place.root)).ok(),
        logs_bytes: logs.iter().map(|log| log.bytes).sum(),
        ports: place.listen.iter().map(port).collect(),
        open_files_max: open_files_max(),
        certificates: place.certificates.iter().filter_map(own_certificate).collect(),
    }
}

fn folder(root: &Path) -> Folder {
    if !root.exists() {
        let parent = existing(root);
        return match tempfile::tempfile_in(parent) {
            Ok(_) => Folder::ToBeMade,
            Err(error) => Folder::Wrong {
                message: format!(
                    "{} does not exist, and in {} it cannot be made: {error}",
                    root.display(),
                    parent.display()
                ),
                hint: None,
            },
        };
    }
    let wrong = |error: &log::Error| Folder::Wrong {
        message: error.to_string(),
        hint: error.hint().map(str::to_owned),
    };
    let about = std::fs::metadata(root);
    let (owner, mode) = about.map_or((0, 0), |about| (about.uid(), about.mode()));
    let is_others = owner != rustix::process::geteuid().as_raw();
    match FolderLock::look(root) {
        Ok(()) => {}
        Err(log::Error::Locked { holder, .. }) => return Folder::Held { holder },
        // It is refused for its owner, not for its mode.
        Err(log::Error::Unsafe { .. }) if mode & 0o002 == 0 => return Folder::Others { uid: owner },
        Err(log::Error::Io { .. }) if is_others => return Folder::Others { uid: owner },
        Err(error) => return wrong(&error),
    }
    match tempfile::tempfile_in(root).and_then(|mut file| io::Write::write_all(&mut file, b"gunyu doctor")) {
        Ok(()) => Folder::Usable,
        Err(_) if is_others => Folder::Others { uid: owner },
        Err(error) => Folder::Wrong {
            message: format!("in {} no file can be written: {error}", root.display()),
            hint: None,
        },
    }
}

/// The folder itself, or the nearest above it that there is.
fn existing(root: &Path) -> &Path {
    let above = root.ancestors().find(|folder| folder.is_dir());
    above.unwrap_or(Path::new("."))
}

fn port((key, address): &(&'static str, Address)) -> Port {
    Port {
        key,
        address: address.clone(),
        trouble: bind(address).err().map(|error| error.to_string()),
    }
}

/// Bound, and not listened at: whoever listens there is in the way, and we are in nobody's way, a gunyu that starts meanwhile included.
fn bind(address: &Address) -> io::Result<()> {
    let mut result = Err(io::ErrorKind::AddrNotAvailable.into());
    for at in (address.host.as_str(), address.port).to_socket_addrs()? {
        let socket = match at.is_ipv4() {
            true => TcpSocket::new_v4()?,
            false => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        result = socket.bind(at);
        if result.is_ok() {
            break;
        }
    }
    result
}

fn own_certificate((key, file): &(&'static str, PathBuf)) -> Option<(&'static str, i64)> {
    let certificates = pem::certificates(file).ok()?;
    Some((key, certificate::not_after(certificates.first()?)?))
}

fn free_bytes(folder: &Path) -> io::Result<u64> {
    let about = rustix::fs::statvfs(folder)?;
    Ok(about.f_bavail.saturating_mul(about.f_frsize))
}

/// So many files may be open; nothing where there is no limit.
fn open_files_max() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_looked_at_without_a_trace() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(folder(&root.path().join("a/b")), Folder::ToBeMade);
        assert!(!root.path().join("a").exists());
        assert_eq!(folder(root.path()), Folder::Usable);
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
        let held = FolderLock::take(root.path(), "on host-a").unwrap();
        assert!(matches!(folder(root.path()), Folder::Held { holder } if holder.contains("host-a")));
        // Only root can give a folder away: a daemon of another user is not in its own way.
        if std::os::unix::fs::chown(root.path(), Some(65_534), None).is_ok() {
            assert!(matches!(folder(root.path()), Folder::Held { .. }));
            drop(held);
            assert_eq!(folder(root.path()), Folder::Others { uid: 65_534 });
            std::os::unix::fs::chown(root.path(), Some(0), None).unwrap();
        }
        std::fs::write(root.path().join("file"), "x").unwrap();
        assert!(matches!(folder(&root.path().join("file")), Folder::Wrong { .. }));
        assert!(free_bytes(root.path()).unwrap() > 0);
    }

    #[test]
    fn a_port_is_taken_where_somebody_listens_and_is_not_taken_from_anybody() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address {
            host: "127.0.0.1".to_owned(),
            port: free.local_addr().unwrap().port(),
        };
        assert!(bind(&address).is_err());
        drop(free);
        bind(&address).unwrap();
    }
}
