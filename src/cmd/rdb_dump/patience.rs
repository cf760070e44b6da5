//! How long a server that does not give a snapshot yet is tried again.

use std::time::{Duration, Instant};

use crate::cmd::{Exit, Failure};
use crate::core::pipeline::backoff::Backoff;
use crate::core::{source, survey};

/// Why a try came to nothing.
#[derive(Debug)]
pub(super) struct Trouble {
    message: String,
    hint: Option<String>,
    /// Trying again is of no use.
    needs_a_person: bool,
}

impl From<source::Error> for Trouble {
    fn from(error: source::Error) -> Trouble {
        Trouble {
            message: error.to_string(),
            hint: error.hint(),
            needs_a_person: error.needs_a_person(),
        }
    }
}

impl From<survey::Error> for Trouble {
    fn from(error: survey::Error) -> Trouble {
        Trouble {
            message: format!("source: {error}"),
            hint: Some(error.hint()),
            needs_a_person: error.needs_a_person(),
        }
    }
}

impl Trouble {
    /// Nothing was heard within the limit of a try.
    pub(super) fn silence(address: &str, limit: Duration) -> Trouble {
        Trouble {
            message: format!("source: {address} did not answer within {} s", limit.as_secs()),
            hint: Some(
                "see whether it is frozen or overloaded, or wait longer with --patience SECONDS".to_owned(),
            ),
            needs_a_person: false,
        }
    }

    /// Whether trying again is of no use.
    pub(super) fn needs_a_person(&self) -> bool {
        self.needs_a_person
    }

    fn failure(self, exit: Exit) -> Failure {
        Failure::new(exit, self.message).with_hint(self.hint)
    }
}

/// Tries, with growing pauses between them, until the time is up.
///
/// | trouble | time | |
/// | --- | --- | --- |
/// | needs a person (password, permission, renamed command, no cluster) | – | end with 2 |
/// | any other | is up | end with 1 |
/// | any other | is left | wait a little, and try again |
#[derive(Debug)]
pub(super) struct Patience {
    limit: Duration,
    began: Instant,
    backoff: Backoff,
    /// What was last warned of: once is enough.
    told: String,
}

impl Patience {
    /// From now on.
    pub(super) fn new(limit: Duration) -> Patience {
        Patience {
            limit,
            began: Instant::now(),
            backoff: Backoff::new(),
            told: String::new(),
        }
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// There is none; see the table.
    pub(super) async fn after(&mut self, trouble: Trouble) -> Result<(), Failure> {
        if trouble.needs_a_person {
            return Err(trouble.failure(Exit::Usage));
        }
        let left = self.limit.saturating_sub(self.began.elapsed());
        if left.is_zero() {
            let tried = format!("tried for {} s", self.limit.as_secs());
            return Err(trouble.failure(Exit::Failed).with_context(&tried));
        }
        if self.told != trouble.message {
            let hint = trouble.hint.as_deref();
            tracing::warn!(hint, "{}; trying again", trouble.message);
            self.told = trouble.message;
        }
        tokio::time::sleep(self.backoff.pause().min(left)).await;
        Ok(())
    }
}
