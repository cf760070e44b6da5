//! The token of the API, from where the configuration has it.

use std::io;
use std::path::{Path, PathBuf};

use super::exposed;
use super::secret::Secret;
use super::sections::Auth;

/// Why there is no token where one should be. The caller prints it and ends with exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum NoToken {
    /// The file cannot be read.
    #[error("tokenFile: cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nothing but blanks.
    #[error("tokenFile: {} is empty", .0.display())]
    Empty(PathBuf),
    /// Something that a header cannot bear.
    #[error("tokenFile: {} must hold one token of visible ASCII characters, without spaces", .0.display())]
    Unfit(PathBuf),
    /// A client was given something that a header cannot bear.
    #[error("the token of --token or GUNYU_TOKEN must be of visible ASCII characters, without spaces")]
    Given,
}

impl Auth {
    /// The token that calls must bear; none where everyone may call.
    ///
    /// # Errors
    /// It is in a file that does not give one.
    pub fn token(&self) -> Result<Option<Secret>, NoToken> {
        match self {
            Auth::None => Ok(None),
            Auth::Token(token) => Ok(Some(token.clone())),
            Auth::TokenFile(path) => read(path).map(Some),
        }
    }

    /// What the operator should know: others on this machine can read the token's file.
    #[must_use]
    pub fn token_file_note(&self) -> Option<String> {
        let Auth::TokenFile(path) = self else {
            return None;
        };
        exposed::note("tokenFile", path)
    }
}

/// Whether a text can be sent as a token.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

fn read(path: &Path) -> Result<Secret, NoToken> {
    let text = std::fs::read_to_string(path).map_err(|source| NoToken::Read {
        path: path.to_owned(),
        source,
    })?;
    match text.trim() {
        "" => Err(NoToken::Empty(path.to_owned())),
        token if is_token(token) => Ok(Secret::new(token)),
        _ => Err(NoToken::Unfit(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn token_in(bytes: &[u8]) -> Result<Option<Secret>, NoToken> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        Auth::TokenFile(file.path().to_owned()).token()
    }

    #[test]
    fn a_file_gives_its_one_token_without_the_blanks_around_it() {
        assert_eq!(token_in(b"  s3cret\r\n").unwrap(), Some(Secret::new("s3cret")));
        assert!(matches!(token_in(b" \n\n"), Err(NoToken::Empty(_))));
        for unfit in [
            &b"two tokens"[..],
            b"one\ntwo",
            "schl\u{fc}ssel".as_bytes(),
            b"a\0b",
        ] {
            assert!(matches!(token_in(unfit), Err(NoToken::Unfit(_))), "{unfit:?}");
        }
        assert!(matches!(token_in(&[0xff]), Err(NoToken::Read { .. })));
    }

    #[test]
    fn a_file_that_others_may_read_is_told_and_one_that_is_ours_alone_is_not() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (mode, is_told) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true)] {
            std::fs::set_permissions(file.path(), PermissionsExt::from_mode(mode)).unwrap();
            let note = Auth::TokenFile(file.path().to_owned()).token_file_note();
            assert_eq!(note.is_some(), is_told, "{mode:o}: {note:?}");
        }
    }
}
