//! A CA and what it signs, as files.

// As in tests/support: what fails here fails the test.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// A CA of one test. Its files go with it.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    dir: TempDir,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct Pair {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Ca {
    pub fn new() -> Ca {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Two CAs of one name could not be told apart by those who look for an issuer.
        let name = format!("test CA {}", fastrand::u64(..));
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca {
            dir,
            issuer: Issuer::new(params.clone(), KeyPair::from_pem(&key.serialize_pem()).unwrap()),
        };
        std::fs::write(ca.path(), params.self_signed(&key).unwrap().pem()).unwrap();
        ca
    }

    /// Its own certificate.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// A place for a file of the test.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Signs a certificate for these host names and addresses.
    pub fn sign(&self, names: &[&str]) -> Pair {
        self.sign_params(&params(names))
    }

    /// The same; it ends at this day.
    pub fn sign_until(&self, names: &[&str], (year, month, day): (i32, u8, u8)) -> Pair {
        let mut params = params(names);
        params.not_after = rcgen::date_time_ymd(year, month, day);
        self.sign_params(&params)
    }

    /// Signs a certificate whose subject has no CN.
    pub fn sign_without_cn(&self, names: &[&str]) -> Pair {
        let mut params = params(names);
        params.distinguished_name = DistinguishedName::new();
        self.sign_params(&params)
    }

    fn sign_params(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        let label = format!("signed-{:016x}", fastrand::u64(..));
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Pair {
            cert: self.file(&format!("{label}.crt"), &cert.pem()),
            key: self.file(&format!("{label}.key"), &key.serialize_pem()),
        }
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    CertificateParams::new(names).unwrap()
}

/// A path as an argument.
pub fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
