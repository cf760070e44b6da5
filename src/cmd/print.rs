//! What a command prints on stdout.
//!
//! Promises that a reader who has had enough (`gunyu config | head -1`) is no error.

use std::io::{self, Write};

use anyhow::Context;
use serde_json::Value;

use super::Failure;

/// Prints bytes as they are; false where nobody reads any more.
///
/// # Errors
/// Stdout cannot be written.
pub fn bytes(bytes: &[u8]) -> anyhow::Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        other => other.map(|()| true).context("cannot write to stdout"),
    }
}

/// Prints a text as it is.
///
/// # Errors
/// As [`bytes`].
pub fn text(text: &str) -> Result<(), Failure> {
    bytes(text.as_bytes())?;
    Ok(())
}

/// `1 key`, `2,000 keys`.
#[must_use]
pub fn keys(count: u64) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} key{plural}", indicatif::HumanCount(count))
}

/// Prints a value on a line.
///
/// # Errors
/// As [`bytes`].
pub fn json(value: &Value) -> Result<(), Failure> {
    text(&format!("{value}\n"))
}
