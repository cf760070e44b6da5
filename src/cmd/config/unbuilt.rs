//! What the file format has and this release does not.
//!
//! Such keys are read and checked like all others, so that building one of them is to take its line out here.

use super::Config;
use super::error::{Error, Origin, Problem};

impl Config {
    /// Refuses what is not built yet. A caller that is about to run the daemon asks this after the check, and ends
    /// with exit code 2.
    ///
    /// # Errors
    /// One [`Problem`] for each, saying what to do instead.
    pub fn refuse_unbuilt(&self) -> Result<(), Error> {
        let mut unbuilt = Vec::new();
        self.refuse_unbuilt_replay(&mut unbuilt);
        refused(unbuilt)
    }

    /// The same for a command that only writes to the target.
    ///
    /// # Errors
    /// As [`Config::refuse_unbuilt`].
    pub fn refuse_unbuilt_target(&self) -> Result<(), Error> {
        let mut unbuilt = Vec::new();
        self.refuse_unbuilt_replay(&mut unbuilt);
        refused(unbuilt)
    }

    fn refuse_unbuilt_replay(&self, unbuilt: &mut Vec<Problem>) {
        if self.output.replay.replace_hash_tag {
            unbuilt.push(problem(
                "output.replay.replaceHashTag",
                "taking braces out of keys",
                "take the key out: keys keep their braces",
            ));
        }
    }
}

fn refused(unbuilt: Vec<Problem>) -> Result<(), Error> {
    match unbuilt.is_empty() {
        true => Ok(()),
        false => Err(Error::Problems(unbuilt)),
    }
}

fn problem(key: &str, what: &str, hint: &str) -> Problem {
    Problem::new(Origin::Default, key, format!("{what} is not in this release yet")).hint(hint)
}
