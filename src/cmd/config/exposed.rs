//! What the operator should know of files that hold secrets or data: that others on this machine may use them.
//!
//! Nothing is narrowed here: who may use a file that the operator has made is the operator's to say.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Channel, Config, Storage};

impl Config {
    /// What others may use although it should be this user's alone, in sentences to be traced as warnings, once.
    #[must_use]
    pub fn exposed(&self) -> Vec<String> {
        self.channel.exposed().into_iter().collect()
    }
}

impl Channel {
    /// The folder is there already, and others may look into it. One that is not there is made for this user alone.
    fn exposed(&self) -> Option<String> {
        let is_used = self.kind == Storage::Storer;
        is_used
            .then(|| note("channel.storer.dirPath", &self.dir))
            .flatten()
    }
}

/// That others may use what `key` names, where they may.
pub(super) fn note(key: &str, path: &Path) -> Option<String> {
    let about = std::fs::metadata(path).ok()?;
    let mode = about.permissions().mode() & 0o7777;
    let wanted = if about.is_dir() { "700" } else { "600" };
    (mode & 0o077 != 0).then(|| {
        let path = path.display();
        format!("{key}: others on this machine may use {path} (mode {mode:03o}); chmod {wanted} it")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_others_may_look_into_is_told_with_what_to_type() {
        let folder = tempfile::tempdir().unwrap();
        for (mode, is_told) in [(0o700, false), (0o750, true), (0o701, true), (0o755, true)] {
            std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(mode)).unwrap();
            let note = note("dirPath", folder.path()).unwrap_or_default();
            assert_eq!(note.contains("chmod 700"), is_told, "{mode:o}: {note:?}");
        }
        assert_eq!(note("dirPath", &folder.path().join("none")), None);
    }
}
