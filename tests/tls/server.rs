//! A server with a TLS port, beside the plain one by which the test looks at it.

// As in tests/support: what fails here fails the test, and not every test uses all of it.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::panic)]

use super::certs::{Ca, Pair, text};
use super::support::Server;
use super::support::port::Port;

pub struct TlsServer {
    /// Reached over its plain port.
    pub server: Server,
    port: Port,
}

impl TlsServer {
    /// For 127.0.0.1 and localhost; asks nobody for a certificate.
    pub fn start(ca: &Ca) -> TlsServer {
        TlsServer::with(
            ca,
            &ca.sign(&["127.0.0.1", "localhost"]),
            &["--tls-auth-clients", "no"],
        )
    }

    /// With this certificate, and further options.
    pub fn with(ca: &Ca, pair: &Pair, options: &[&str]) -> TlsServer {
        let port = Port::free();
        let mut all = of_tls(ca, pair, &port);
        all.extend(options.iter().map(ToString::to_string));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        TlsServer {
            server: Server::with(&all),
            port,
        }
    }

    /// `127.0.0.1:port` of the TLS port.
    pub fn addr(&self) -> String {
        self.port.addr().to_string()
    }

    pub fn port(&self) -> u16 {
        self.port.number()
    }

    pub fn url(&self) -> String {
        format!("rediss://{}", self.addr())
    }
}

/// The options of a server for its TLS port.
pub fn of_tls(ca: &Ca, pair: &Pair, port: &Port) -> Vec<String> {
    [
        ("--tls-port", port.number().to_string()),
        ("--tls-cert-file", text(&pair.cert)),
        ("--tls-key-file", text(&pair.key)),
        ("--tls-ca-cert-file", text(&ca.path())),
    ]
    .into_iter()
    .flat_map(|(name, value)| [name.to_owned(), value])
    .collect()
}
