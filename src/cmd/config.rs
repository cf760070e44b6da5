//! The configuration: from what the operator wrote to plain checked data.
//!
//! Owns the keys of the YAML file (those of redis-GunYu, and gunyu's own), their defaults and limits, and which of
//! several layers wins: flags, then environment, then file, then default. Promises that a [`Config`] is whole and
//! consistent, that whatever is wrong is told with file, line and key, and that no secret is ever printed.
//!
//! The way of a value: [`document`] parses the text and knows lines; [`layers`] walks over it along the table of
//! [`keys`] and lays the layers over each other; [`check`] puts the [`Config`] together. Nothing here reads the
//! process' environment or command line: both are handed in.

mod address;
mod check;
mod choices;
mod daemon;
mod document;
mod environment;
mod error;
mod example;
mod exposed;
mod keys;
mod layers;
mod schema;
mod secret;
mod sections;
mod tls;
mod token;
mod unbuilt;
mod units;
mod url;
mod value;
mod values;
mod write;

use std::path::Path;

pub use address::{Address, NotAnAddress};
pub use choices::{
    CrossSlot, DbOnCluster, Delivery, Format, FunctionExists, KeyExists, Level, Mode, ModuleAux, OnError,
    OnFull, StaleKeys, Storage, SyncFrom,
};
pub use daemon::{DEFAULT_URL, daemon_token, daemon_url};
pub use environment::Environment;
pub use error::{Error, Origin, Problem};
pub use example::full_file;
pub use secret::Secret;
pub use sections::{
    Auth, Channel, Cluster, Databases, Etcd, Filter, Flush, Input, Lists, Log, LogFile, Meta, Output,
    RateLimit, Redis, RedisKind, Replay, Server, ServerTls, Tls,
};
pub use token::NoToken;
pub use units::duration;
pub use url::{Endpoint, NotAUrl};

/// A checked configuration: plain data, every default filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where the data comes from.
    pub input: Input,
    /// Where it goes.
    pub output: Output,
    /// What is kept between the two.
    pub channel: Channel,
    /// The HTTP API.
    pub server: Server,
    /// Several gunyu that stand in for each other.
    pub cluster: Option<Cluster>,
    /// What gunyu tells about itself.
    pub log: Log,
    /// What the operator should know: keys without effect, values that were limited. To be traced as warnings, once.
    pub notes: Vec<String>,
}

/// A configuration file as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// What it is called in messages.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn read(path: &Path) -> Result<File, Error> {
        let failed = |source| Error::Read {
            path: path.to_owned(),
            source,
        };
        let text = std::fs::read_to_string(path).map_err(failed)?;
        Ok(File {
            name: path.display().to_string(),
            text,
        })
    }
}

/// Everything a configuration is made of.
pub struct Sources<'a> {
    /// `--config`
    pub file: Option<File>,
    /// `--source`
    pub source: Option<&'a str>,
    /// `--target`
    pub target: Option<&'a str>,
    /// Each `--set`, as `key=value`; a later one wins over an earlier one.
    pub set: &'a [String],
    /// The variables of the environment.
    pub environment: Environment<'a>,
}

impl Config {
    /// Lays the sources over each other and checks what comes out.
    ///
    /// # Errors
    /// [`Error::Syntax`] or [`Error::Problems`]; the caller prints it and ends with exit code 2.
    pub fn check(sources: &Sources<'_>) -> Result<Config, Error> {
        Config::check_sides(sources, check::Sides::Both)
    }

    /// The same for a command that only reads the source: a target need not be named, and then has no address.
    ///
    /// # Errors
    /// As [`Config::check`].
    pub fn check_source(sources: &Sources<'_>) -> Result<Config, Error> {
        Config::check_sides(sources, check::Sides::Source)
    }

    /// The same for a command that only writes to the target: a source need not be named, and then has no address.
    ///
    /// # Errors
    /// As [`Config::check`].
    pub fn check_target(sources: &Sources<'_>) -> Result<Config, Error> {
        Config::check_sides(sources, check::Sides::Target)
    }

    fn check_sides(sources: &Sources<'_>, sides: check::Sides) -> Result<Config, Error> {
        let values = layers::collect(sources)?;
        check::check(values, sides, sources.environment)
    }
}

/// A key of the file, as the table has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownKey {
    /// The dotted path.
    pub path: String,
    /// Whether it must be written.
    pub is_required: bool,
    /// Whether it does something; otherwise it is a key of redis-GunYu that is merely accepted.
    pub is_live: bool,
}

/// Every key that may be written, in the order of the file.
#[must_use]
pub fn known_keys() -> Vec<KnownKey> {
    let keys = schema::keys(keys::ROOT).into_iter();
    let known = keys.map(|(path, entry, key)| KnownKey {
        path,
        is_required: key.is_required,
        is_live: entry.is_live(),
    });
    known.collect()
}
