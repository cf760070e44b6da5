//! The subcommands: what stands between the operator and [`crate::core`].
//!
//! Each subcommand is a file of its own. [`config`] is what they share: the configuration, from what the operator
//! wrote to plain checked data. [`Failure`] is how each of them ends when it does not succeed: an exit code, a sentence and a hint.

pub mod calls;
pub mod client;
pub mod completions;
pub mod config;
pub mod doctor;
mod file;
pub mod full_sync;
mod interrupt;
pub mod man;
pub mod print;
pub mod progress;
pub mod rdb_dump;
pub mod rdb_file;
pub mod rdb_load;
pub mod rdb_print;
pub mod rdb_stats;
pub mod redact;
pub mod seams;
pub mod settings;
pub mod status;
mod survey;
pub mod sync;
pub mod title;
pub mod traces;
pub mod verify;

use std::fmt;

use clap::{Parser, Subcommand};

use crate::core::supervisor;

/// Keeps one Redis a live, crash-safe copy of another.
#[derive(Debug, Parser)]
#[command(
    name = "gunyu",
    version,
    about,
    max_term_width = 110,
    propagate_version = true,
    after_long_help = "\
Examples:
  gunyu sync --source redis://127.0.0.1:6379 --target redis://127.0.0.1:6380
  gunyu status --watch
  gunyu fullsync --source redis://127.0.0.1:6379 \\
    --target redis://127.0.0.1:6380

Commands that call a daemon find it by --server, GUNYU_SERVER, server.listen of --config, or at http://127.0.0.1:18001.

Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 no daemon answers, 4 source and target differ, \
5 refused by the daemon, 130 interrupted."
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
    /// Say what would go wrong between source and target, before it does.
    Doctor(doctor::Args),
    /// Copy everything anew: a one-shot migration, or a forced full sync by a running daemon.
    #[command(name = "fullsync")]
    FullSync(Box<full_sync::Args>),
    /// Write a snapshot to an RDB file: a running server's own, or a daemon's newest.
    RdbDump(rdb_dump::Args),
    /// Load an RDB file into a running server.
    RdbLoad(rdb_load::Args),
    /// Print what is in an RDB file, one JSON object a line.
    RdbPrint(rdb_print::Args),
    /// Show what takes the room in an RDB file.
    RdbStats(rdb_stats::Args),
    /// Compare source and target, while a daemon syncs them or not.
    Verify(Box<verify::Args>),
    /// Stop replaying some inputs; what their sources send is still received and kept.
    Pause(calls::Pause),
    /// Go on replaying paused inputs.
    Resume(calls::Resume),
    /// Let every input begin anew from its checkpoint.
    Restart(calls::Restart),
    /// Hand leadership of some inputs over to another node.
    Handover(calls::Handover),
    /// Remove logs and checkpoints of inputs that are not configured any more.
    Gc(calls::Gc),
    /// Show the effective configuration, without secrets.
    Config(calls::Config),
    /// Stop a running daemon.
    Stop(calls::Stop),
    /// Print the completions for a shell.
    Completions(completions::Args),
    /// Print the manual page, or write all of them into a folder.
    Man(man::Args),
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
            Command::Doctor(args) => doctor::run(&args),
            Command::FullSync(args) => full_sync::run(&args),
            Command::RdbDump(args) => rdb_dump::run(&args),
            Command::RdbLoad(args) => rdb_load::run(&args),
            Command::RdbPrint(args) => rdb_print::run(&args),
            Command::RdbStats(args) => rdb_stats::run(&args),
            Command::Verify(args) => verify::run(&args),
            Command::Pause(args) => args.run(),
            Command::Resume(args) => args.run(),
            Command::Restart(args) => args.run(),
            Command::Handover(args) => args.run(),
            Command::Gc(args) => args.run(),
            Command::Config(args) => args.run(),
            Command::Stop(args) => args.run(),
            Command::Completions(args) => completions::run(&args),
            Command::Man(args) => man::run(&args),
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
    /// Source and target differ.
    Differ = 4,
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

    /// The same with something that belongs to it.
    #[must_use]
    pub fn with_context(self, context: &str) -> Failure {
        let message = format!("{} ({context})", self.message);
        Failure { message, ..self }
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(self, hint: Option<String>) -> Failure {
        Failure { hint, ..self }
    }
}

impl From<config::Error> for Failure {
    fn from(error: config::Error) -> Failure {
        let message = match &error {
            // Each is one.
            config::Error::Problems(problems) => {
                let each: Vec<String> = problems.iter().map(ToString::to_string).collect();
                each.join("\nerror: ")
            }
            other => other.to_string(),
        };
        Failure::new(Exit::Usage, message).with_hint(error.hint().map(str::to_owned))
    }
}

impl From<supervisor::Error> for Failure {
    fn from(error: supervisor::Error) -> Failure {
        let exit = match &error {
            supervisor::Error::Fatal(_) | supervisor::Error::SameName(_) | supervisor::Error::Group(_) => {
                Exit::Usage
            }
            supervisor::Error::Topology(error) if error.needs_a_person() => Exit::Usage,
            supervisor::Error::Topology(_) => Exit::Failed,
            supervisor::Error::Log(_) | supervisor::Error::Catalog(_) | supervisor::Error::Bug(_) => {
                Exit::Failed
            }
        };
        Failure::new(exit, error.to_string()).with_hint(error.hint())
    }
}

impl From<supervisor::NotFound> for Failure {
    fn from(error: supervisor::NotFound) -> Failure {
        Failure::new(Exit::Failed, error.message).with_hint(error.hint)
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
    /// Source, as redis://[user[:password]@]host:port, rediss://… for TLS, redis+cluster://host:port,host:port or
    /// redis+sentinel://host:port,…/mastername; with /db only that database is copied
    #[arg(long, value_name = "URL")]
    pub source: Option<String>,
    /// Target, in the same forms; with /db all databases go into that one
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
        self.check_with(&|name| std::env::var(name).ok())
    }

    /// The same, with another environment than the process'.
    ///
    /// # Errors
    /// As [`ConfigArgs::check`].
    pub fn check_with(&self, environment: config::Environment<'_>) -> Result<config::Config, Failure> {
        self.read(environment, config::Config::check)
    }

    /// The same for a command that only reads the source.
    ///
    /// # Errors
    /// As [`ConfigArgs::check`].
    pub fn check_source(&self) -> Result<config::Config, Failure> {
        self.read(&|name| std::env::var(name).ok(), config::Config::check_source)
    }

    /// The same for a command that only writes to the target.
    ///
    /// # Errors
    /// As [`ConfigArgs::check`].
    pub fn check_target(&self) -> Result<config::Config, Failure> {
        self.read(&|name| std::env::var(name).ok(), config::Config::check_target)
    }

    fn read(
        &self,
        environment: config::Environment<'_>,
        check: impl FnOnce(&config::Sources<'_>) -> Result<config::Config, config::Error>,
    ) -> Result<config::Config, Failure> {
        let file = self.config.as_deref().map(config::File::read).transpose()?;
        if let Some(file) = &file {
            redact::register_file(&file.text);
        }
        let written = file.as_ref().map(|file| file.text.clone());
        let mut config = check(&config::Sources {
            file,
            source: self.source.as_deref(),
            target: self.target.as_deref(),
            set: &self.set,
            environment,
        })?;
        redact::register_config(&config);
        if let (Some(path), Some(text)) = (&self.config, written) {
            config.notes.extend(config.file_note(path, &text));
        }
        Ok(config)
    }
}
