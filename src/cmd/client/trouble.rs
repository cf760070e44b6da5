//! Why a call got no answer, told apart by what the operator can do about it.

use std::io;

use tokio_rustls::rustls::{self, CertificateError};
use ureq::http::Uri;

use crate::cmd::{Exit, Failure};

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Nobody answers there, or not in time.
    Silent(String),
    /// Its certificate is not trusted. Nothing but the handshake has been sent.
    Untrusted(CertificateError),
    /// It does not speak TLS with us.
    NoTls(String),
    /// It went away in the middle.
    Lost(String),
    /// What answers is not gunyu.
    Stranger(String),
}

impl Trouble {
    pub(super) fn of(error: &ureq::Error) -> Trouble {
        use ureq::Error as E;
        match error {
            E::Rustls(error) => Trouble::of_tls(error),
            E::Io(error) => Trouble::of_io(error),
            E::Protocol(_) | E::LargeResponseHeader(..) | E::BodyExceedsLimit(_) => {
                Trouble::Stranger(error.to_string())
            }
            E::BodyStalled => Trouble::Lost(error.to_string()),
            // Timeouts, names that are not found, proxies; and what a later ureq may add.
            _ => Trouble::Silent(error.to_string()),
        }
    }

    fn of_io(error: &io::Error) -> Trouble {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        if let Some(error) = inner {
            return Trouble::of_tls(error);
        }
        match error.kind() {
            UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe => {
                Trouble::Lost(error.to_string())
            }
            _ => Trouble::Silent(error.to_string()),
        }
    }

    fn of_tls(error: &rustls::Error) -> Trouble {
        match error {
            rustls::Error::InvalidCertificate(error) => Trouble::Untrusted(error.clone()),
            other => Trouble::NoTls(other.to_string()),
        }
    }

    /// Whether other CAs might vouch for the daemon.
    pub(super) fn is_unknown_issuer(&self) -> bool {
        matches!(self, Trouble::Untrusted(CertificateError::UnknownIssuer))
    }

    pub(super) fn failure(&self, url: &str) -> Failure {
        let (exit, message, hint) = match self {
            Trouble::Silent(reason) => (
                Exit::Unreachable,
                format!("no daemon answers at {url}: {reason}"),
                "start one with `gunyu sync --source URL --target URL`, name it with --server, or add --local where the command has it",
            ),
            Trouble::Untrusted(error) => (
                Exit::Unreachable,
                format!("the certificate of {url} is not trusted: {error}"),
                untrusted_hint(error),
            ),
            Trouble::NoTls(reason) => (
                Exit::Unreachable,
                format!("what answers at {url} speaks no TLS: {reason}"),
                "write http:// where the daemon has no server.tls",
            ),
            Trouble::Lost(reason) => (
                Exit::Failed,
                format!("the daemon went away before it answered ({url}: {reason})"),
                "see whether it still runs: gunyu status; where it has server.tls, write https://",
            ),
            Trouble::Stranger(reason) => (
                Exit::Failed,
                format!("what answers at {url} is no gunyu: {reason}"),
                "name the daemon with --server; where it has server.tls, write https://",
            ),
        };
        let hint = match (self, without_port(url)) {
            (Trouble::Silent(_), true) => format!("write it with its port: --server {url}:18001; or {hint}"),
            _ => hint.to_owned(),
        };
        Failure::new(exit, message).with_hint(Some(hint))
    }
}

/// Whether it is called at the port of web servers, which nobody has named.
fn without_port(url: &str) -> bool {
    let uri: Option<Uri> = url.parse().ok();
    uri.is_some_and(|uri| uri.scheme_str() == Some("http") && uri.port().is_none() && uri.path() == "/")
}

fn untrusted_hint(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "name the daemon as its certificate does: --server https://NAME:PORT"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "renew the daemon's certificate; the daemon reads it again by itself"
        }
        // `openssl req -x509` makes such by itself.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "a certificate that may sign others cannot be shown by a server: make one with -addext basicConstraints=critical,CA:FALSE"
        }
        _ => "name the CA that signed it with --ca-cert FILE (GUNYU_CA_CERT)",
    }
}
