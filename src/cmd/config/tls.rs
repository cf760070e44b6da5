//! The files of the `tls` sections, read once, at the start of a command that is going to connect.
//!
//! Not part of the check: `gunyu status` reads the same configuration, and need not be allowed to read a key.

use std::sync::Arc;

use super::Config;
use super::error::{Error, Origin, Problem};
use super::schema::join;
use super::sections::{Meta, Tls};
use crate::core::net::tls::{self, Given, Identity};

impl Config {
    /// Reads certificates and keys of both sides, and of the group.
    ///
    /// # Errors
    /// One [`Problem`] for each side on which something is wrong.
    pub fn read_tls(&mut self) -> Result<(), Error> {
        let mut problems = Vec::new();
        problems.extend(read(self.input.redis.tls.as_mut(), "input.redis.tls"));
        problems.extend(read(self.output.redis.tls.as_mut(), "output.redis.tls"));
        if let Some(cluster) = &mut self.cluster {
            problems.extend(read(cluster.tls.as_mut(), "cluster.tls"));
            problems.extend(match &mut cluster.meta {
                Meta::Etcd(etcd) => read(etcd.tls.as_mut(), "cluster.metaEtcd.tls"),
                Meta::Redis(redis) => read(redis.tls.as_mut(), "cluster.metaRedis.tls"),
                Meta::Source => None,
            });
        }
        ended(problems)
    }

    /// The same for a command that only reads the source.
    ///
    /// # Errors
    /// As [`Config::read_tls`].
    pub fn read_source_tls(&mut self) -> Result<(), Error> {
        ended(
            read(self.input.redis.tls.as_mut(), "input.redis.tls")
                .into_iter()
                .collect(),
        )
    }

    /// The same for a command that only writes to the target.
    ///
    /// # Errors
    /// As [`Config::read_tls`].
    pub fn read_target_tls(&mut self) -> Result<(), Error> {
        ended(
            read(self.output.redis.tls.as_mut(), "output.redis.tls")
                .into_iter()
                .collect(),
        )
    }
}

fn ended(problems: Vec<Problem>) -> Result<(), Error> {
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Error::Problems(problems)),
    }
}

fn read(section: Option<&mut Tls>, path: &str) -> Option<Problem> {
    let section = section?;
    match tls::Tls::load(&given(section)) {
        Ok(client) => {
            section.client = Some(Arc::new(client));
            None
        }
        Err(error) => {
            let key = join(path, error.key);
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
