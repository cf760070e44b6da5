//! The certificate that the API shows, read again when its files change.
//!
//! Promises that what is served is always a whole pair: a new certificate whose key has not arrived yet, or that cannot be read,
//! leaves the old one in place and is told once. Leaves the handshake to [`super::serve`].

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{self, ServerConfig};

use crate::core::net::pem;

/// How often, at most, the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The certificate and those that lead from it to its CA (PEM).
    pub cert: PathBuf,
    /// Its key (PEM).
    pub key: PathBuf,
}

/// The pair cannot be served. The operator must mend a file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file is not what it should be.
    #[error(transparent)]
    File(#[from] pem::Error),
    /// Each can be read, and the two cannot be used together.
    #[error("the certificate {} and the key {} cannot be used: {source}", cert.display(), key.display())]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// The pair in use, and how its files looked when it was read.
pub struct Certificates {
    files: Files,
    acceptor: TlsAcceptor,
    looks: Looks,
    looked_at: Instant,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Certificates {
    /// Reads the pair.
    ///
    /// # Errors
    /// It cannot be served.
    pub fn load(files: Files) -> Result<Certificates, Error> {
        // Looked at before they are read: a change in between is then seen the next time.
        let looks = Looks::of(&files);
        Ok(Certificates {
            acceptor: acceptor(&files)?,
            files,
            looks,
            looked_at: Instant::now(),
        })
    }

    /// What the next connection is to be shaken hands with.
    pub fn current(&mut self) -> TlsAcceptor {
        if self.looked_at.elapsed() >= LOOK_INTERVAL {
            self.looked_at = Instant::now();
            self.renew();
        }
        self.acceptor.clone()
    }

    fn renew(&mut self) {
        let looks = Looks::of(&self.files);
        if looks == self.looks {
            return;
        }
        // Also where they cannot be used, so that this is told once for each change.
        self.looks = looks;
        match acceptor(&self.files) {
            Ok(acceptor) => {
                self.acceptor = acceptor;
                tracing::info!(cert = %self.files.cert.display(), "the certificate has changed");
            }
            Err(error) => tracing::warn!(%error, "the new certificate is not used; the old one still is"),
        }
    }
}

/// What tells one content of the two files from another. `None` for a file that is not there.
#[derive(Debug, PartialEq, Eq)]
struct Looks([Option<Look>; 2]);

/// Inode, length, and time of modification in seconds and nanoseconds.
type Look = (u64, u64, i64, i64);

impl Looks {
    fn of(files: &Files) -> Looks {
        let look = |path: &Path| {
            let meta = std::fs::metadata(path).ok()?;
            Some((meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
        };
        Looks([look(&files.cert), look(&files.key)])
    }
}

fn acceptor(files: &Files) -> Result<TlsAcceptor, Error> {
    let certs = pem::certificates(&files.cert)?;
    let key = pem::private_key(&files.key)?;
    let pair = |source| Error::Pair {
        cert: files.cert.clone(),
        key: files.key.clone(),
        source,
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(certs, key)
        .map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
