//! Certificates and keys in PEM files.
//!
//! Promises that what it returns is not empty, and that a message names the file. Leaves to others whether certificate and key fit together.

use std::io;
use std::path::{Path, PathBuf};

use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A file is not what it should be. The operator must mend it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{} holds no {wanted} in PEM form: {reason}", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// `certificate` or `private key`.
        wanted: &'static str,
        /// What is there instead.
        reason: String,
    },
}

/// All certificates of a file.
///
/// # Errors
/// It cannot be read, or holds none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let not = |error: &pem::Error| not_pem(path, "certificate", error);
    certificates_in(&read(path)?).map_err(|error| not(&error))
}

/// All certificates of a text.
///
/// # Errors
/// It holds none.
pub fn certificates_in(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>()?;
    match all.is_empty() {
        true => Err(pem::Error::NoItemsFound),
        false => Ok(all),
    }
}

/// The first private key of a file.
///
/// # Errors
/// It cannot be read, or holds none.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    private_key_in(&read(path)?).map_err(|error| not_pem(path, "private key", &error))
}

/// The first private key of a text.
///
/// # Errors
/// It holds none.
pub fn private_key_in(text: &[u8]) -> Result<PrivateKeyDer<'static>, pem::Error> {
    PrivateKeyDer::from_pem_slice(text)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}

fn not_pem(path: &Path, wanted: &'static str, error: &pem::Error) -> Error {
    let reason = match error {
        pem::Error::NoItemsFound => "there is none in it".to_owned(),
        other => other.to_string(),
    };
    Error::NotPem {
        path: path.to_owned(),
        wanted,
        reason,
    }
}
