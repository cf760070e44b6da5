//! How a call fails: a status code, a sentence, and what to do.

use serde::Serialize;

/// A refused call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// HTTP status code.
    pub code: u16,
    /// What went wrong.
    pub error: String,
    /// What to do about it.
    pub hint: String,
}

/// The body of every error.
#[derive(Debug, Serialize)]
struct Body<'a> {
    error: &'a str,
    hint: &'a str,
}

impl Failure {
    /// A failure with this code.
    #[must_use]
    pub fn new(code: u16, error: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure {
            code,
            error: error.into(),
            hint: hint.into(),
        }
    }

    /// `{"error": …, "hint": …}`.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(&Body {
            error: &self.error,
            hint: &self.hint,
        })
        .expect("two strings serialise")
    }
}
