//! The subcommands: what stands between the operator and [`crate::core`].
//!
//! Each subcommand is a file of its own. [`config`] is what they share: the configuration, from what the operator
//! wrote to plain checked data. [`Failure`] is how each of them ends when it does not succeed: an exit code, a sentence and a hint.

pub mod client;
pub mod config;
pub mod progress;
pub mod settings;
pub mod status;
pub mod sync;
pub mod traces;

use std::fmt;

use clap::{Parser, Subcommand};

/// Keeps one Redis a live, crash-safe copy of another.
#[derive(Debug, Parser)]
#[command(
    name = "gunyu",
    version,
    about,
    max_term_width = 110,
    propagate_version = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon: follow the source, and keep the target its copy.
    Sync(sync::Args),
    /// Show how far a running daemon is.
    Status(status::Args),
}

impl Command {
    /// Runs the command.
    ///
    /// # Errors
    /// It did not succeed; the failure has the exit code.
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Command::Sync(args) => sync::run(&args),
            Command::Status(args) => status::run(&args),
        }
    }
}

/// How a command ends that did not succeed.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What went wrong.
    pub message: String,
    /// What to type next.
    pub hint: Option<String>,
}

/// Exit codes other than 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It failed.
    Failed = 1,
    /// Usage or configuration.
    Usage = 2,
    /// No daemon answers.
    Unreachable = 3,
    /// The daemon refused.
    Refused = 5,
    /// Interrupted.
    Interrupted = 130,
}

impl Failure {
    /// A failure with this code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure {
            exit,
            message: message.into(),
            hint: None,
        }
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(self, hint: Option<String>) -> Failure {
        Failure { hint, ..self }
    }
}

impl From<config::Error> for Failure {
    fn from(error: config::Error) -> Failure {
        Failure::new(Exit::Usage, error.to_string())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::new(Exit::Failed, format!("{error:#}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// Where a configuration comes from: shared by the commands that read one.
#[derive(Debug, Clone, clap::Args)]
pub struct ConfigArgs {
    /// Configuration file (YAML)
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<std::path::PathBuf>,
    /// Source, as redis://[user[:password]@]host:port[/db]
    #[arg(long, value_name = "URL")]
    pub source: Option<String>,
    /// Target, as redis://[user[:password]@]host:port[/db]
    #[arg(long, value_name = "URL")]
    pub target: Option<String>,
    /// Set any key of the configuration by its dotted path; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl ConfigArgs {
    /// Reads and checks it.
    ///
    /// # Errors
    /// Exit code 2, naming file, line and key.
    pub fn check(&self) -> Result<config::Config, Failure> {
        let file = self.config.as_deref().map(config::File::read).transpose()?;
        let environment = |name: &str| std::env::var(name).ok();
        Ok(config::Config::check(&config::Sources {
            file,
            source: self.source.as_deref(),
            target: self.target.as_deref(),
            set: &self.set,
            environment: &environment,
        })?)
    }
}
