//! Servers that speak TLS alone, to those who have a certificate alone, and whose default user has a password.
//!
//! The test itself speaks to them over a socket in the file system, which needs no certificate: every connection by a port is TLS.

use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;

/// What such servers have in common.
#[derive(Debug, Clone)]
pub struct Secured {
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
    password: String,
    /// Where their sockets are.
    sockets: Arc<TempDir>,
}

impl Secured {
    /// With this CA, this certificate and its key.
    pub fn with(ca: PathBuf, cert: PathBuf, key: PathBuf) -> Secured {
        Secured {
            ca,
            cert,
            key,
            password: "of-the-test".to_owned(),
            sockets: Arc::new(tempfile::tempdir().unwrap()),
        }
    }

    /// The default user's password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The options of the server that has this port, for TLS.
    pub fn options(&self, port: u16) -> Vec<String> {
        let path = |path: &PathBuf| path.to_str().unwrap().to_owned();
        let pairs = [
            ("--port", "0".to_owned()),
            ("--tls-port", port.to_string()),
            ("--tls-cert-file", path(&self.cert)),
            ("--tls-key-file", path(&self.key)),
            ("--tls-ca-cert-file", path(&self.ca)),
            ("--tls-auth-clients", "yes".to_owned()),
            ("--tls-replication", "yes".to_owned()),
            ("--tls-cluster", "yes".to_owned()),
            ("--unixsocket", path(&self.socket(port))),
            ("--requirepass", self.password.clone()),
            ("--masterauth", self.password.clone()),
        ];
        let words = pairs
            .into_iter()
            .flat_map(|(name, value)| [name.to_owned(), value]);
        words.collect()
    }

    /// Of a section `redis` of the configuration, what is to be in it.
    pub fn yaml(&self) -> String {
        format!(
            "password: {}, tls: {{enable: true, ca: {}, cert: {}, key: {}}}",
            self.password,
            self.ca.display(),
            self.cert.display(),
            self.key.display()
        )
    }

    fn socket(&self, port: u16) -> PathBuf {
        self.sockets.path().join(port.to_string())
    }

    /// The URL by which the test speaks to the server that others call `host:port`.
    pub fn way(&self, address: &str) -> String {
        let port = address.rsplit(':').next().and_then(|port| port.parse().ok());
        let socket = self.socket(port.unwrap_or(0));
        format!("redis+unix://{}?pass={}", socket.display(), self.password)
    }
}
