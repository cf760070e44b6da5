//! The dead-letter file: every command that could not be applied, with the reason, so that a person can replay it.
//!
//! `{dir}/{name}.jsonl`, one JSON object a line:
//!
//! | field | meaning |
//! | --- | --- |
//! | `at` | Unix time in milliseconds |
//! | `offset` | of the source's history: the end of the batch it was in; 0 in a full sync |
//! | `db` | the target's database |
//! | `reason` | the target's words, or the rule |
//! | `command` | the arguments; text, or `{"base64": …}` where they are not UTF-8 |
//!
//! Owns the file. Promises that it is in that folder, whatever the name; that a link in its place is not followed; and that a letter is on the disk
//! before the caller goes on. Where the disk refuses, it is kept here, since the target's checkpoint may be past its command, and goes with the next
//! write. So it may stand there twice, where the command comes again. Leaves to the caller whether the pipeline goes on.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::core::catalog::NAME_BYTES_MAX;
use crate::core::crash::{self, Step};
use crate::core::log::{self, Disk};
use crate::core::position::Offset;
use crate::core::resp::{Framer, Limits};
use crate::core::target::session::now_ms;

/// One letter.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Where the stream stood.
    pub offset: Offset,
    /// The target's database.
    pub db: u32,
    /// Why.
    pub reason: String,
    /// The command.
    pub command: Bytes,
}

/// The file of one pipeline.
#[derive(Debug)]
pub struct DeadLetters {
    path: PathBuf,
    /// Why nothing may be written there.
    unfit: Option<(String, &'static str)>,
    disk: Disk,
    /// What could not be written. In memory only.
    kept: Vec<Letter>,
}

impl DeadLetters {
    /// The file in `dir`, which is made with the first letter.
    #[must_use]
    pub fn new(dir: &Path, name: &str) -> DeadLetters {
        DeadLetters {
            path: dir.join(format!("{name}.jsonl")),
            unfit: unfit(name),
            disk: Disk::new(),
            kept: Vec::new(),
        }
    }

    /// Where the letters are.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there are letters that could not be written yet.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Writes letters, those first that could not be written before, and persists them; returns which.
    ///
    /// # Errors
    /// The file cannot be written: the pipeline must not go on, or a command would be lost silently.
    pub fn write(&mut self, letters: &[Letter]) -> Result<Vec<Letter>, log::Error> {
        if let Some((name, why)) = &self.unfit {
            return Err(log::Error::BadName {
                name: name.clone(),
                why,
            });
        }
        self.kept.extend_from_slice(letters);
        let mut lines = String::new();
        for letter in &self.kept {
            lines.push_str(&letter.to_json().to_string());
            lines.push('\n');
        }
        crash::pass(Step::LetterDue);
        self.disk.append_lines_durably(&self.path, lines.as_bytes())?;
        crash::pass(Step::LetterWritten);
        Ok(std::mem::take(&mut self.kept))
    }
}

/// Why the name is none of a file in the folder.
fn unfit(name: &str) -> Option<(String, &'static str)> {
    let why = match name {
        "" => "it is empty",
        name if name.len() > NAME_BYTES_MAX => "it is longer than 200 bytes",
        name if name.contains(['/', '\0']) || name.starts_with('.') => {
            "it has a slash or a zero byte, or begins with a dot"
        }
        _ => return None,
    };
    Some((name.to_owned(), why))
}

impl Letter {
    fn to_json(&self) -> Value {
        json!({
            "at": now_ms(),
            "offset": self.offset.get(),
            "db": self.db,
            "reason": self.reason,
            "command": arguments(&self.command),
        })
    }
}

fn arguments(command: &Bytes) -> Vec<Value> {
    let mut framer = Framer::new(Limits::default());
    if framer.push(Offset::ZERO, command.clone()).is_err() {
        return vec![text(command)];
    }
    match framer.next() {
        Ok(Some(frame)) => frame.args().map(text).collect(),
        _ => vec![text(command)],
    }
}

fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ "base64": base64::engine::general_purpose::STANDARD.encode(bytes) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_a_line_of_json_that_holds_the_whole_command() {
        let dir = tempfile::tempdir().unwrap();
        let mut letters = DeadLetters::new(&dir.path().join("dead-letter"), "n");
        let command = Bytes::from_static(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\n\xff\r\n");
        let letter = Letter {
            offset: Offset::new(9),
            db: 2,
            reason: "WRONGTYPE x".into(),
            command,
        };
        letters.write(std::slice::from_ref(&letter)).unwrap();
        letters.write(&[letter]).unwrap();
        let text = std::fs::read_to_string(letters.path()).unwrap();
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1]["command"], json!(["SET", "k", { "base64": "/w==" }]));
        assert_eq!(
            (lines[1]["offset"].as_u64(), lines[1]["db"].as_u64()),
            (Some(9), Some(2))
        );
    }

    fn letter() -> Letter {
        Letter {
            offset: Offset::new(9),
            db: 0,
            reason: "x".into(),
            command: Bytes::from_static(b"*1\r\n$4\r\nPING\r\n"),
        }
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("dead-letter");
        for name in ["", "..", "../n", "a/b", "/n", ".n", "a\0", &"n".repeat(201)] {
            let written = DeadLetters::new(&folder, name).write(&[letter()]);
            assert!(
                matches!(written, Err(log::Error::BadName { .. })),
                "{name:?}: {written:?}"
            );
        }
        assert!(!folder.exists());
    }

    #[test]
    fn a_link_in_place_of_the_letters_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "of somebody else").unwrap();
        std::os::unix::fs::symlink(&victim, dir.path().join("n.jsonl")).unwrap();
        let error = DeadLetters::new(dir.path(), "n").write(&[letter()]).unwrap_err();
        assert!(error.hint().is_some_and(|hint| hint.contains("link")), "{error}");
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "of somebody else");
    }

    #[test]
    fn what_a_crash_left_of_a_letter_does_not_swallow_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let mut letters = DeadLetters::new(dir.path(), "n");
        letters.write(&[letter()]).unwrap();
        let whole = std::fs::read(letters.path()).unwrap();
        std::fs::write(letters.path(), &whole[..whole.len() / 2]).unwrap();
        letters.write(&[letter()]).unwrap();
        let text = std::fs::read_to_string(letters.path()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(serde_json::from_str::<Value>(lines[1]).is_ok(), "{text}");
    }
}
