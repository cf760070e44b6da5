//! TLS as a client: what is trusted, as whom we come, and by which name the server is called.
//!
//! Promises that a server's certificate is verified against the system's roots, or those of `ca` alone, and against the name that was dialled,
//! or `serverName`, unless `insecureSkipVerify` says otherwise; that files are read once, by [`Tls::load`]; and that a failed handshake says what to do
//! ([`trouble`]).

mod anyone;
mod trouble;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WantsClientCert;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, ClientConfig, ConfigBuilder, RootCertStore};

use super::{Address, pem};
pub use trouble::Trouble;

/// What the configuration gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// CA certificates that replace the system's (PEM).
    pub ca: Option<PathBuf>,
    /// Our certificate and its key (PEM).
    pub identity: Option<Identity>,
    /// The name to ask for (SNI) and to verify, instead of the one that is dialled.
    pub server_name: Option<String>,
    /// Accept any certificate.
    pub trusts_anyone: bool,
}

/// As whom we come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate and those that lead from it to its CA.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// What was given cannot be used. The operator must mend it.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Error {
    /// The key of the configuration: `ca`, `cert`, `key`, `serverName`, or `enable` where nothing was given.
    pub key: &'static str,
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub hint: String,
}

impl Error {
    fn new(key: &'static str, reason: &impl ToString, hint: impl Into<String>) -> Error {
        Error {
            key,
            reason: reason.to_string(),
            hint: hint.into(),
        }
    }
}

/// How to speak TLS with the servers of one side. Cheap to clone; equal to its clones only.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// One of them is not what it should be, or the name is none.
    pub fn load(given: &Given) -> Result<Tls, Error> {
        let provider = Arc::new(ring::default_provider());
        let trusting = trusting(given, &provider)?;
        let config = match &given.identity {
            None => trusting.with_no_client_auth(),
            Some(identity) => presenting(trusting, identity)?,
        };
        let server_name = match &given.server_name {
            None => None,
            Some(name) => Some(ServerName::try_from(name.clone()).map_err(|_| {
                Error::new(
                    "serverName",
                    &format!("{name:?} is neither a host name nor an IP address"),
                    "write it as the server's certificate does",
                )
            })?),
        };
        Ok(Tls {
            config: Arc::new(config),
            server_name,
        })
    }

    /// Shakes hands on `tcp`.
    pub(super) async fn shake_hands(
        &self,
        tcp: TcpStream,
        address: &Address,
        limit: Duration,
    ) -> Result<TlsStream<TcpStream>, Trouble> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(address.host.clone()).map_err(|_| Trouble::NoName)?,
        };
        let connector = TlsConnector::from(Arc::clone(&self.config));
        match timeout(limit, connector.connect(name, tcp)).await {
            Ok(shaken) => shaken.map_err(|error| Trouble::of_handshake(&error)),
            Err(_) => Err(Trouble::Silent(limit)),
        }
    }
}

/// Trusts nobody: no handshake succeeds.
impl Default for Tls {
    fn default() -> Tls {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has cipher suites for every version");
        let config = builder
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        Tls {
            config: Arc::new(config),
            server_name: None,
        }
    }
}

impl PartialEq for Tls {
    fn eq(&self, other: &Tls) -> bool {
        Arc::ptr_eq(&self.config, &other.config) && self.server_name == other.server_name
    }
}

impl Eq for Tls {}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

type Trusting = ConfigBuilder<ClientConfig, WantsClientCert>;

fn trusting(given: &Given, provider: &Arc<CryptoProvider>) -> Result<Trusting, Error> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| Error::new("enable", &error, "report this"))?;
    if given.trusts_anyone {
        let anyone = anyone::Anyone::new(provider);
        return Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(anyone)));
    }
    Ok(builder.with_root_certificates(roots(given)?))
}

fn roots(given: &Given) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let Some(path) = &given.ca else {
        let found = rustls_native_certs::load_native_certs();
        let (usable, _) = roots.add_parsable_certificates(found.certs);
        if usable > 0 {
            return Ok(roots);
        }
        let reason = match found.errors.first() {
            Some(error) => format!("the system's CA certificates cannot be read: {error}"),
            None => "the system has no CA certificates".to_owned(),
        };
        let hint = "install them (package ca-certificates), or name the server's CA as ca";
        return Err(Error::new("enable", &reason, hint));
    };
    let hint =
        "name a PEM file (-----BEGIN CERTIFICATE-----) with the CA that signed the server's certificate";
    for certificate in pem::certificates(path).map_err(|error| Error::new("ca", &error, hint))? {
        roots.add(certificate).map_err(|error| {
            let reason = format!(
                "{} holds a certificate that cannot be used: {error}",
                path.display()
            );
            Error::new("ca", &reason, hint)
        })?;
    }
    Ok(roots)
}

fn presenting(trusting: Trusting, identity: &Identity) -> Result<ClientConfig, Error> {
    let cert = pem::certificates(&identity.cert).map_err(|error| {
        let hint = "name a PEM file (-----BEGIN CERTIFICATE-----) with gunyu's own certificate";
        Error::new("cert", &error, hint)
    })?;
    let key = pem::private_key(&identity.key).map_err(|error| {
        let hint = "name a PEM file with the key of cert, not encrypted (openssl pkey -in KEY -out PLAIN)";
        Error::new("key", &error, hint)
    })?;
    trusting.with_client_auth_cert(cert, key).map_err(|error| {
        let reason = format!(
            "the key {} cannot be used with the certificate {}: {error}",
            identity.key.display(),
            identity.cert.display()
        );
        Error::new("key", &reason, "name the key that was made together with cert")
    })
}
