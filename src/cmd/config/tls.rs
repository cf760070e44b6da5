//! The files of the `tls` sections, read once, at the start of a command that is going to connect.
//!
//! Not part of the check: `gunyu status` reads the same configuration, and need not be allowed to read a key.

use std::sync::Arc;

use super::Config;
use super::error::{Error, Origin, Problem};
use super::schema::join;
use super::sections::{Redis, Tls};
use crate::core::net::tls::{self, Given, Identity};

impl Config {
    /// Reads certificates and keys of both sides.
    ///
    /// # Errors
    /// One [`Problem`] for each side on which something is wrong.
    pub fn read_tls(&mut self) -> Result<(), Error> {
        let mut problems = Vec::new();
        problems.extend(read(&mut self.input.redis, "input.redis"));
        problems.extend(read(&mut self.output.redis, "output.redis"));
        ended(problems)
    }

    /// The same for a command that only reads the source.
    ///
    /// # Errors
    /// As [`Config::read_tls`].
    pub fn read_source_tls(&mut self) -> Result<(), Error> {
        ended(read(&mut self.input.redis, "input.redis").into_iter().collect())
    }

    /// The same for a command that only writes to the target.
    ///
    /// # Errors
    /// As [`Config::read_tls`].
    pub fn read_target_tls(&mut self) -> Result<(), Error> {
        ended(read(&mut self.output.redis, "output.redis").into_iter().collect())
    }
}

fn ended(problems: Vec<Problem>) -> Result<(), Error> {
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Error::Problems(problems)),
    }
}

fn read(redis: &mut Redis, side: &str) -> Option<Problem> {
    let section = redis.tls.as_mut()?;
    match tls::Tls::load(&given(section)) {
        Ok(client) => {
            section.client = Some(Arc::new(client));
            None
        }
        Err(error) => {
            let key = join(&join(side, "tls"), error.key);
            Some(Problem::new(Origin::Default, &key, error.reason).hint(&error.hint))
        }
    }
}

fn given(section: &Tls) -> Given {
    let identity = section.cert.clone().zip(section.key.clone());
    Given {
        ca: section.ca.clone(),
        identity: identity.map(|(cert, key)| Identity { cert, key }),
        server_name: section.server_name.clone(),
        trusts_anyone: section.insecure_skip_verify,
    }
}
