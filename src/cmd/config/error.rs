//! What is wrong with a configuration, said so that its writer finds the place and the remedy.
//!
//! Promises: no message holds the value of a secret. All problems that one pass can see are reported together.

use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;

/// Where a value was written. The later ones win over the earlier ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nowhere: it is the default.
    Default,
    /// In a file.
    File {
        /// The file, as the operator named it.
        name: String,
        /// The line, from 1, where it is known.
        line: Option<usize>,
    },
    /// In the environment, by the variable of this name.
    Environment(String),
    /// On the command line, by this flag (`--source`, `--set output.replay.connections`).
    Flag(String),
}

impl Origin {
    /// How strong the origin is; a higher rank wins over a lower one.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Origin::Default => 0,
            Origin::File { .. } => 1,
            Origin::Environment(_) => 2,
            Origin::Flag(_) => 3,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("the default"),
            Origin::File { name, line: None } => f.write_str(name),
            Origin::File {
                name,
                line: Some(line),
            } => write!(f, "{name}, line {line}"),
            Origin::Environment(name) => write!(f, "environment variable {name}"),
            Origin::Flag(flag) => f.write_str(flag),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it was written; [`Origin::Default`] where nothing in particular was.
    pub origin: Origin,
    /// The dotted path of the key; empty where no key is concerned.
    pub key: String,
    /// What is wrong with it.
    pub message: String,
    /// The known key that looks most like it, for an unknown one.
    pub nearest: Option<String>,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Problem {
    pub(super) fn new(origin: Origin, key: &str, message: impl Into<String>) -> Problem {
        Problem {
            origin,
            key: key.to_owned(),
            message: message.into(),
            nearest: None,
            hint: None,
        }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }

    /// The line of the file, where it is known.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        match self.origin {
            Origin::File { line, .. } => line,
            _ => None,
        }
    }

    /// The file, where it was written in one.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        match &self.origin {
            Origin::File { name, .. } => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.origin != Origin::Default {
            write!(f, "{}: ", self.origin)?;
        }
        let is_told =
            matches!(&self.origin, Origin::Flag(flag) if flag.strip_prefix("--set ") == Some(&self.key));
        if !self.key.is_empty() && !is_told {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        if let Some(nearest) = &self.nearest {
            write!(f, "; did you mean {nearest}?")?;
        }
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// A configuration that cannot be used. The caller prints it and ends with exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not YAML.
    #[error("{origin}: not valid YAML: {message}")]
    Syntax {
        /// The file and line.
        origin: Origin,
        /// What the parser says.
        message: String,
    },
    /// What was written is not a configuration that gunyu can run.
    #[error("{}", lines(.0))]
    Problems(Vec<Problem>),
}

impl Error {
    /// The single things that are wrong; empty where the file could not be read at all.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        match self {
            Error::Problems(problems) => problems,
            Error::Read { .. } | Error::Syntax { .. } => &[],
        }
    }

    /// What to type, where the file could not be read at all.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        let Error::Read { source, .. } = self else {
            return None;
        };
        Some(match source.kind() {
            ErrorKind::NotFound => {
                "name a file that exists; to begin one: gunyu config --local --source redis://… --target redis://… > gunyu.yaml"
            }
            ErrorKind::PermissionDenied => "let the user read it that gunyu runs as (chown, chmod)",
            _ => "name a YAML file with --config",
        })
    }
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}
