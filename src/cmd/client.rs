//! Calls to a running daemon.
//!
//! Owns which daemon is meant (`--server`, `GUNYU_SERVER`, `server.listen` of `--config`, the default) and how a call fails: 3 where none answers, 5
//! where it refuses.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::config::{self, daemon_token, daemon_url};
use super::{ConfigArgs, Exit, Failure};

/// How long a call may take.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// Which daemon to call.
#[derive(Debug, Clone, clap::Args)]
pub struct ServerArgs {
    /// The daemon's address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// The token that the daemon asks for [default: GUNYU_TOKEN]
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// The daemon's configuration file, to find its address
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// A daemon to call.
#[derive(Debug)]
pub struct Daemon {
    url: String,
    token: Option<config::Secret>,
    agent: ureq::Agent,
}

impl Daemon {
    /// Finds out which one is meant.
    ///
    /// # Errors
    /// The configuration file cannot be read.
    pub fn find(args: &ServerArgs) -> Result<Daemon, Failure> {
        let config = match &args.config {
            Some(_) => {
                let args = ConfigArgs {
                    config: args.config.clone(),
                    source: None,
                    target: None,
                    set: Vec::new(),
                };
                Some(args.check()?)
            }
            None => None,
        };
        let environment = |name: &str| std::env::var(name).ok();
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(CALL_LIMIT))
            .http_status_as_error(false)
            .build()
            .new_agent();
        Ok(Daemon {
            url: daemon_url(args.server.as_deref(), &environment, config.as_ref()),
            token: daemon_token(args.token.as_deref(), &environment),
            agent,
        })
    }

    /// `GET path`, as JSON.
    ///
    /// # Errors
    /// No daemon answers (3), or it refuses (5).
    pub fn get(&self, path: &str) -> Result<Value, Failure> {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {}", token.expose()));
        }
        let mut response = request.call().map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let body = response
            .body_mut()
            .read_to_string()
            .map_err(|error| self.unreachable(&error))?;
        let value: Value = serde_json::from_str(&body).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(value);
        }
        let text = |field: &str| value[field].as_str().map(str::to_owned);
        let message = text("error").unwrap_or_else(|| format!("the daemon answered {status}"));
        Err(Failure::new(Exit::Refused, message).with_hint(text("hint")))
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        Failure::new(
            Exit::Unreachable,
            format!("no daemon answers at {}: {error}", self.url),
        )
        .with_hint(Some(
            "start one with `gunyu sync --source URL --target URL`, or name it with --server".to_owned(),
        ))
    }
}
