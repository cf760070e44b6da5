//! Calls to a running daemon.
//!
//! Owns which daemon is meant (`--server`, `GUNYU_SERVER`, `server.listen` of `--config`, the default), what it is told to be trusted by, and
//! how a call fails:
//!
//! | what happens | exit code |
//! | --- | --- |
//! | the address, the token or the CA file cannot be used | 2 |
//! | nobody answers there, or not in time, or its certificate is not trusted | 3 |
//! | the daemon refuses | 5, with its error and hint |
//! | the connection ends before the whole answer is here | 1 |
//!
//! The token goes to the address that was named and nowhere else: redirects are not followed. Over plain HTTP to another machine it
//! goes as well, since the operator may have a tunnel or a network of their own, and a warning says so.

mod trouble;
mod trust;

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use ureq::Body;
use ureq::http::{Request, Response, StatusCode, Uri};

use super::config::{Address, Secret, daemon_token, daemon_url};
use super::{ConfigArgs, Exit, Failure, settings};
use trouble::Trouble;

/// How long a call may take that names no limit.
pub const CALL_LIMIT: Duration = Duration::from_secs(10);
/// How long connecting may take, TLS included.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long a download may take to begin, and then to bring the next bytes.
const STALL_LIMIT: Duration = Duration::from_secs(60);
/// The largest answer that is taken into memory.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Which daemon to call.
#[derive(Debug, Clone, clap::Args)]
pub struct ServerArgs {
    /// The daemon's address [default: GUNYU_SERVER, then server.listen of --config, then http://127.0.0.1:18001]
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// The token that the daemon asks for [default: GUNYU_TOKEN, then server.auth of --config]
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Trust this CA (PEM) and no other, for https [default: GUNYU_CA_CERT, then the certificate of --config and the public CAs]
    #[arg(long, value_name = "FILE")]
    pub ca_cert: Option<PathBuf>,
    /// The daemon's configuration file, to find its address, token and certificate
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// A daemon to call.
#[derive(Debug)]
pub struct Daemon {
    url: String,
    token: Option<Secret>,
    /// One for each set of CAs, tried in this order; never empty.
    agents: Vec<ureq::Agent>,
}

impl Daemon {
    /// Finds out which one is meant.
    ///
    /// # Errors
    /// Address, token, CA or configuration cannot be used (2).
    pub fn find(args: &ServerArgs) -> Result<Daemon, Failure> {
        let config = match &args.config {
            Some(_) => Some(configuration(args).check()?),
            None => None,
        };
        let environment = |name: &str| std::env::var(name).ok();
        let url = daemon_url(args.server.as_deref(), &environment, config.as_ref());
        let is_near = is_loopback(&url)?;
        let token = daemon_token(args.token.as_deref(), &environment, config.as_ref())
            .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
        if token.is_some() && !is_near && url.starts_with("http://") {
            warn_of_plain_http(&url);
        }
        let ca_cert = args
            .ca_cert
            .clone()
            .or_else(|| environment("GUNYU_CA_CERT").map(PathBuf::from));
        let ca_cert = ca_cert.filter(|path| !path.as_os_str().is_empty());
        let own = config
            .as_ref()
            .and_then(|config| config.server.tls.as_ref())
            .map(|tls| tls.cert.as_path());
        let roots = trust::roots(ca_cert.as_deref(), own)?;
        Ok(Daemon {
            url,
            token,
            agents: roots.into_iter().map(|roots| agent(roots, is_near)).collect(),
        })
    }

    /// The same; where none is named but a configuration of a group is given, a member of it that answers: whichever is asked brings it about.
    ///
    /// # Errors
    /// As [`Daemon::find`]; the members cannot be found (1), or none of them answers (3).
    pub fn find_member(args: &ServerArgs) -> Result<Daemon, Failure> {
        let is_named =
            args.server.is_some() || std::env::var("GUNYU_SERVER").is_ok_and(|url| !url.is_empty());
        if is_named || args.config.is_none() {
            return Daemon::find(args);
        }
        let mut config = configuration(args).check()?;
        config.read_tls()?;
        let environment = |name: &str| std::env::var(name).ok();
        let token = daemon_token(args.token.as_deref(), &environment, Some(&config))
            .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
        let mut failed = None;
        for member in settings::group::members(&config, token.as_ref())? {
            let daemon = Daemon::find(&ServerArgs {
                server: Some(member),
                ..args.clone()
            })?;
            match daemon.get("/debug/health") {
                Ok(_) => return Ok(daemon),
                Err(failure) => failed = Some(failure),
            }
        }
        match failed {
            Some(failure) => Err(failure),
            None => Daemon::find(args),
        }
    }

    /// `GET`, as JSON.
    ///
    /// # Errors
    /// As [`Daemon::call`].
    pub fn get(&self, path_and_query: &str) -> Result<Value, Failure> {
        self.call("GET", path_and_query, CALL_LIMIT)
    }

    /// `POST`, as JSON.
    ///
    /// # Errors
    /// As [`Daemon::call`].
    pub fn post(&self, path_and_query: &str) -> Result<Value, Failure> {
        self.call("POST", path_and_query, CALL_LIMIT)
    }

    /// `DELETE`, as JSON.
    ///
    /// # Errors
    /// As [`Daemon::call`].
    pub fn delete(&self, path_and_query: &str) -> Result<Value, Failure> {
        self.call("DELETE", path_and_query, CALL_LIMIT)
    }

    /// Calls, and takes the answer as JSON. `path_and_query` is percent-encoded.
    ///
    /// # Errors
    /// See the table of this room.
    pub fn call(&self, method: &str, path_and_query: &str, limit: Duration) -> Result<Value, Failure> {
        let set = |agent: &ureq::Agent, request| {
            agent
                .configure_request(request)
                .timeout_global(Some(limit))
                .build()
        };
        let mut response = self.send(method, path_and_query, set)?;
        let body = response
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX)
            .read_to_string();
        let status = response.status();
        if !status.is_success() {
            return Err(refusal(status, &body.unwrap_or_default()));
        }
        let body = body.map_err(|error| self.failure(&Trouble::of(&error)))?;
        serde_json::from_str(&body).map_err(|error| self.failure(&Trouble::Stranger(error.to_string())))
    }

    /// Writes the body of `GET path_and_query` to `out` as it arrives, and says how long it was.
    ///
    /// # Errors
    /// See the table of this room; and 1 where `out` cannot be written to. What came before is in `out` then.
    pub fn download(&self, path_and_query: &str, out: &mut dyn Write) -> Result<u64, Failure> {
        let set = |agent: &ureq::Agent, request| {
            agent
                .configure_request(request)
                .timeout_recv_response(Some(STALL_LIMIT))
                .timeout_per_read(Some(STALL_LIMIT))
                .build()
        };
        let mut response = self.send("GET", path_and_query, set)?;
        let status = response.status();
        let body = response.body_mut();
        if !status.is_success() {
            return Err(refusal(status, &body.read_to_string().unwrap_or_default()));
        }
        let announced = body.content_length();
        let bytes = copy(&mut body.with_config().limit(u64::MAX).reader(), out)?;
        match announced {
            Some(announced) if announced != bytes => Err(cut_short(bytes, &format!("of {announced}"))),
            Some(_) | None => Ok(bytes),
        }
    }

    /// Sends a request. Where these CAs did not sign the daemon's certificate, nothing of it has been sent yet, and the next CAs are tried.
    fn send(
        &self,
        method: &str,
        path_and_query: &str,
        set: impl Fn(&ureq::Agent, Request<()>) -> Request<()>,
    ) -> Result<Response<Body>, Failure> {
        let mut last = Trouble::Silent("no CA to trust".to_owned());
        for agent in &self.agents {
            let request = self.request(method, path_and_query)?;
            match agent.run(set(agent, request)) {
                Ok(response) => return Ok(response),
                Err(error) => last = Trouble::of(&error),
            }
            if !last.is_unknown_issuer() {
                break;
            }
        }
        Err(self.failure(&last))
    }

    fn request(&self, method: &str, path_and_query: &str) -> Result<Request<()>, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path_and_query}", self.url));
        if method != "GET" {
            // Otherwise the empty body is sent in chunks.
            request = request.header("Content-Length", "0");
        }
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {}", token.expose()));
        }
        request
            .body(())
            .map_err(|error| Failure::new(Exit::Usage, format!("cannot call {}: {error}", self.url)))
    }

    fn failure(&self, trouble: &Trouble) -> Failure {
        trouble.failure(&self.url)
    }
}

fn configuration(args: &ServerArgs) -> ConfigArgs {
    ConfigArgs {
        config: args.config.clone(),
        source: None,
        target: None,
        set: Vec::new(),
    }
}

fn agent(roots: ureq::tls::RootCerts, is_near: bool) -> ureq::Agent {
    let tls = ureq::tls::TlsConfig::builder().root_certs(roots).build();
    let config = ureq::Agent::config_builder()
        .user_agent(concat!("gunyu/", env!("CARGO_PKG_VERSION")))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_connect(Some(CONNECT_LIMIT))
        .tls_config(tls);
    // A proxy would look for the daemon on its own loopback.
    let config = if is_near { config.proxy(None) } else { config };
    config.build().new_agent()
}

/// Whether a daemon's address is on this machine.
fn is_loopback(url: &str) -> Result<bool, Failure> {
    let unusable = || {
        Failure::new(Exit::Usage, format!("{url:?} is not the address of a daemon")).with_hint(Some(
            "write it as http://host:port or https://host:port".to_owned(),
        ))
    };
    let uri: Uri = url.parse().map_err(|_| unusable())?;
    let scheme = uri.scheme_str().unwrap_or_default();
    let host = uri.host().filter(|_| matches!(scheme, "http" | "https"));
    let host = host.ok_or_else(unusable)?.trim_matches(['[', ']']).to_owned();
    Ok(Address { host, port: 0 }.is_loopback())
}

fn warn_of_plain_http(url: &str) {
    // Where stderr is closed there is nobody to warn.
    let _ = writeln!(
        io::stderr(),
        "warning: the token goes to {url} unencrypted, and whoever is on the way can read it; see server.tls"
    );
}

/// What the daemon said when it refused.
fn refusal(status: StatusCode, body: &str) -> Failure {
    let said: Value = serde_json::from_str(body).unwrap_or(Value::Null);
    let text = |field: &str| {
        said[field]
            .as_str()
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let message = text("error").unwrap_or_else(|| format!("the daemon answered {status}"));
    let hint = text("hint").or_else(|| match status.as_u16() {
        401 => Some("give the daemon's token with GUNYU_TOKEN or --token".to_owned()),
        300..=399 => Some("redirects are not followed; name the daemon itself with --server".to_owned()),
        _ => None,
    });
    Failure::new(Exit::Refused, message).with_hint(hint)
}

fn copy(from: &mut dyn Read, out: &mut dyn Write) -> Result<u64, Failure> {
    let mut buffer = vec![0; 64 << 10];
    let mut bytes = 0;
    loop {
        let got = match from.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(cut_short(bytes, &format!("({error})"))),
        };
        out.write_all(&buffer[..got]).map_err(|error| {
            Failure::new(Exit::Failed, format!("cannot write what was downloaded: {error}"))
        })?;
        bytes += got as u64;
    }
}

fn cut_short(bytes: u64, what: &str) -> Failure {
    Failure::new(
        Exit::Failed,
        format!("the daemon went away before it had sent everything: {bytes} bytes {what}"),
    )
}

#[cfg(test)]
mod tests;
