//! How a call fails: a status code, a sentence, and what to do.

use serde::Serialize;

use crate::core::supervisor::Refusal;

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

/// | refusal | code |
/// | --- | --- |
/// | an input or a member that there is not, a flush that would delete another's keys or that the target refuses | 400 |
/// | paused, stopping, nobody to hand over to, refused by whoever leads | 409 |
/// | not begun, failed | 500 |
impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        let error = refusal.to_string();
        let (code, hint) = match refusal {
            Refusal::Unknown { known, .. } => (400, format!("the inputs are {}", known.join(", "))),
            Refusal::WouldDelete { .. } => (
                400,
                "name both inputs, or inputs=all, or leave flushdb out".to_owned(),
            ),
            Refusal::CannotBe(_) => (
                400,
                "nothing was changed; where FLUSHDB has another name on the target, add flushCommand=NAME (--flush-command NAME)"
                    .to_owned(),
            ),
            Refusal::Paused(inputs) => (
                409,
                format!("resume first: gunyu resume --inputs {}", inputs.join(",")),
            ),
            Refusal::UnknownMember { known, .. } => (400, format!("the members are {}", known.join(", "))),
            Refusal::Alone => (
                409,
                "stop this one (DELETE /) and start another with the same configuration: it goes on from the checkpoint"
                    .to_owned(),
            ),
            Refusal::ByLeader { hint, .. } => (409, hint),
            Refusal::NotHanded { done, .. } => (409, not_handed(&done)),
            Refusal::Stopping => (409, "start gunyu again, then repeat the call".to_owned()),
            Refusal::NotBegun { begun, in_part, .. } => (500, not_begun(&begun, in_part)),
            Refusal::Failed { hint, .. } => (500, hint.unwrap_or_default()),
        };
        Failure::new(code, error, hint)
    }
}

fn not_handed(done: &[(String, String)]) -> String {
    let gone: Vec<String> = done
        .iter()
        .map(|(input, leader)| format!("{input} to {leader}"))
        .collect();
    let others = match gone.is_empty() {
        true => String::new(),
        false => format!("handed over: {}; ", gone.join(", ")),
    };
    format!("{others}the rest stays where it was: gunyu status shows who leads and who follows")
}

fn not_begun(begun: &[String], in_part: bool) -> String {
    let others = match begun.is_empty() {
        true => String::new(),
        false => format!("begun for {}; ", begun.join(", ")),
    };
    match in_part {
        true => format!(
            "{others}it may have been carried out in part, and then a full sync follows by itself: look at gunyu status before you repeat the call"
        ),
        false => format!(
            "{others}nothing else was changed; mend what is named here (gunyu status shows more), then repeat the call"
        ),
    }
}
