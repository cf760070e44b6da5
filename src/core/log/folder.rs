//! The pipelines' folders below the root: how they are named, which there are, how one is removed.

use std::path::{Path, PathBuf};

use super::Error;
use super::disk::Disk;
use super::inner::{is_ours, sweep_folder};
use crate::core::catalog::{Catalog, NAME_BYTES_MAX};
use crate::core::crash::{self, Step};

/// Names below the root that are not pipelines.
const RESERVED: [&str; 3] = ["catalog", "dead-letter", "lock"];

/// A pipeline's folder, whether a log is open there or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPipeline {
    /// The pipeline's name.
    pub name: String,
    /// Bytes of its segments and snapshots.
    pub bytes: u64,
}

/// The folder of a pipeline.
///
/// # Errors
/// [`Error::BadName`] for what cannot be one folder below the root.
pub(super) fn path(root: &Path, name: &str) -> Result<PathBuf, Error> {
    let why = if name.is_empty() {
        Some("it is empty")
    } else if name.len() > NAME_BYTES_MAX {
        Some("it is longer than 200 bytes")
    } else if name.contains(['/', '\0']) || name.starts_with('.') {
        Some("it has a slash or a zero byte, or begins with a dot")
    } else if RESERVED.contains(&name) {
        Some("gunyu uses that folder for something else")
    } else {
        None
    };
    match why {
        None => Ok(root.join(name)),
        Some(why) => Err(Error::BadName {
            name: name.to_string(),
            why,
        }),
    }
}

/// The pipelines' folders below `root`, by name; none where there is no root.
///
/// # Errors
/// [`Error::Io`].
pub fn list_pipelines(disk: &Disk, root: &Path) -> Result<Vec<StoredPipeline>, Error> {
    let entries = match disk.list(root) {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        if !entry.is_folder || path(root, &entry.name).is_err() {
            continue;
        }
        let files = disk.list(&entry.path)?;
        let bytes = files
            .iter()
            .filter(|file| is_ours(&file.name))
            .map(|file| file.len)
            .sum();
        found.push(StoredPipeline {
            name: entry.name,
            bytes,
        });
    }
    Ok(found)
}

/// Removes a pipeline whose log is not open: its files, its folder where nothing else is in it, and everything the
/// catalog knows about it, but for its name where that is retired. Returns how many bytes that freed. May take long: for a thread that may block.
///
/// # Errors
/// [`Error::BadName`], [`Error::Io`], [`Error::Catalog`].
pub fn remove_pipeline(disk: &Disk, root: &Path, name: &str, catalog: &Catalog) -> Result<u64, Error> {
    let folder = path(root, name)?;
    // First the catalog: files that it does not know are swept away at opening, should this be interrupted.
    catalog.remove_pipeline(name)?;
    crash::pass(Step::GarbageForgotten);
    let freed = match sweep_folder(disk, &folder) {
        Err(error) if error.is_not_found() => return Ok(0),
        freed => freed?,
    };
    crash::pass(Step::GarbageSwept);
    if disk.list(&folder)?.is_empty() {
        disk.remove_folder(&folder)?;
        disk.persist_folder(root)?;
        crash::pass(Step::GarbageRemoved);
    }
    Ok(freed)
}
