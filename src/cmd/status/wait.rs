//! `gunyu status --wait`: asks until every input is live, or one has stopped.
//!
//! | an input's state and phase | |
//! | --- | --- |
//! | `stop`, for longer than a daemon takes that is being stopped itself | it ends with 1, and says why: nothing moves there until a person has done something |
//! | `pause` | the same |
//! | `incremental`; `following` somebody who leads | live |
//! | anything else | asked again: what passes by itself is waited for, however long it takes |
//!
//! Each leader is asked, whichever member of a group is. A daemon that does not answer may be about to start, or to start again.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::client::Daemon;
use super::super::{Exit, Failure, calls};
use super::inputs;
use crate::http::model::InputStatus;

const EVERY: Duration = Duration::from_millis(200);

/// So long a daemon may be away.
const AWAY_MAX: Duration = Duration::from_secs(30);

/// An input of a daemon that ends has stopped for so long at most.
const ENDING_MAX: Duration = Duration::from_secs(3);

/// Returns what the daemon says when all is live.
///
/// # Errors
/// An input has stopped (1), the daemon is away for too long (3), or refuses (5).
pub(super) fn until_live(daemon: &Daemon) -> Result<Value, Failure> {
    let mut answered = Instant::now();
    let mut stands_since = None;
    loop {
        match daemon.get(calls::OF_LEADERS) {
            Ok(value) => {
                answered = Instant::now();
                match are_live(&inputs(value.clone())?) {
                    Ok(true) => return Ok(value),
                    Ok(false) => stands_since = None,
                    Err(stands) => {
                        let since = stands_since.get_or_insert(answered);
                        if since.elapsed() > ENDING_MAX {
                            return Err(stands);
                        }
                    }
                }
            }
            Err(failure) if is_passing(&failure) && answered.elapsed() < AWAY_MAX => {}
            Err(failure) => return Err(failure),
        }
        std::thread::sleep(EVERY);
    }
}

/// Nobody answers, or it went away in the midst.
fn is_passing(failure: &Failure) -> bool {
    matches!(failure.exit, Exit::Unreachable | Exit::Failed)
}

/// Whether all are live. Without any, what a cluster's shards are is still being found out.
fn are_live(inputs: &[InputStatus]) -> Result<bool, Failure> {
    let stands = |input: &&InputStatus| matches!(input.state.as_str(), "stop" | "pause");
    match inputs.iter().find(stands) {
        Some(stopped) => Err(stopping(stopped)),
        None => Ok(!inputs.is_empty() && inputs.iter().all(is_live)),
    }
}

fn is_live(input: &InputStatus) -> bool {
    match input.phase.as_str() {
        "incremental" => true,
        "following" => !input.leader.is_empty(),
        _ => false,
    }
}

fn stopping(input: &InputStatus) -> Failure {
    let name = &input.input;
    if input.state == "pause" {
        let hint = format!("gunyu resume --inputs {name}");
        return Failure::new(Exit::Failed, format!("{name} is paused")).with_hint(Some(hint));
    }
    let Some(error) = &input.last_error else {
        return Failure::new(Exit::Failed, format!("{name} has stopped"));
    };
    let message = format!("{name} has stopped: {}", error.message);
    Failure::new(Exit::Failed, message).with_hint((!error.hint.is_empty()).then(|| error.hint.clone()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::table::example;
    use super::*;

    #[test]
    fn all_must_be_live_and_what_has_stopped_ends_the_wait_with_its_reason() {
        let live = example(&json!({"Phase": "incremental"}));
        let followed = example(&json!({"Phase": "following", "Leader": "a:1"}));
        let unled = example(&json!({"Phase": "following", "Leader": ""}));
        let waiting = example(&json!({"Phase": "backoff"}));
        for (inputs, expected) in [
            (vec![], false),
            (vec![live.clone()], true),
            (vec![live.clone(), followed], true),
            (vec![live.clone(), unled], false),
            (vec![live.clone(), waiting], false),
        ] {
            assert_eq!(are_live(&inputs).unwrap(), expected, "{inputs:?}");
        }
        let stopped = example(&json!({
            "State": "stop", "Phase": "backoff", "Input": "h:1",
            "LastError": {"At": 1, "Message": "it refused", "Hint": "type this"},
        }));
        let failure = are_live(&[live, stopped]).unwrap_err();
        assert_eq!(failure.exit, Exit::Failed);
        assert_eq!(
            failure.to_string(),
            "error: h:1 has stopped: it refused\n  hint: type this"
        );
        let paused = example(&json!({"State": "pause", "Phase": "incremental", "Input": "h:1"}));
        assert_eq!(
            are_live(&[paused]).unwrap_err().to_string(),
            "error: h:1 is paused\n  hint: gunyu resume --inputs h:1"
        );
    }
}
