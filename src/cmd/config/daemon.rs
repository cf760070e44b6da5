//! Where a client command finds the daemon, and what it shows there.
//!
//! `--server`, else `GUNYU_SERVER`, else `server.listen` of the configuration, else [`DEFAULT_URL`].

use super::Config;
use super::address::Address;
use super::environment::Environment;
use super::secret::Secret;
use super::token::{NoToken, is_token};

/// Where a daemon listens that was told nothing else.
pub const DEFAULT_URL: &str = "http://127.0.0.1:18001";

/// The base URL of the daemon, without a `/` at its end.
#[must_use]
pub fn daemon_url(flag: Option<&str>, environment: Environment<'_>, config: Option<&Config>) -> String {
    let named = flag.map(str::to_owned).or_else(|| environment("GUNYU_SERVER"));
    let url = match (named.filter(|url| !url.is_empty()), config) {
        (Some(url), _) if url.contains("://") => url,
        (Some(host), _) => format!("http://{host}"),
        (None, Some(config)) => listening(config),
        (None, None) => DEFAULT_URL.to_owned(),
    };
    url.trim_end_matches('/').to_owned()
}

/// The token that calls bear: the flag's, else `GUNYU_TOKEN`, else that of the configuration.
///
/// # Errors
/// It cannot be sent, or is in a file that does not give one.
pub fn daemon_token(
    flag: Option<&str>,
    environment: Environment<'_>,
    config: Option<&Config>,
) -> Result<Option<Secret>, NoToken> {
    let token = flag.map(str::to_owned).or_else(|| environment("GUNYU_TOKEN"));
    match (token.filter(|token| !token.is_empty()), config) {
        (Some(token), _) if !is_token(&token) => Err(NoToken::Given),
        (Some(token), _) => Ok(Some(Secret::new(token))),
        (None, Some(config)) => config.server.auth.token(),
        (None, None) => Ok(None),
    }
}

/// A daemon that listens everywhere is called on loopback.
fn listening(config: &Config) -> String {
    let listen = &config.server.listen;
    let scheme = if config.server.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let host = match (listen.is_unspecified(), listen.host.contains(':')) {
        (false, _) => listen.host.as_str(),
        (true, false) => "127.0.0.1",
        (true, true) => "::1",
    };
    let address = Address {
        host: host.to_owned(),
        port: listen.port,
    };
    format!("{scheme}://{address}")
}
