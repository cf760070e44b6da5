//! Why TLS with a server does not come about, and what to type next.

use std::io;
use std::time::Duration;

use tokio_rustls::rustls::{self, AlertDescription, CertificateError};

/// What went wrong between us and a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// What is dialled is no name that TLS knows.
    #[error("the address is neither a host name nor an IP address that a certificate could bear")]
    NoName,
    /// Nothing came back.
    #[error("no answer to the TLS handshake within {} s", .0.as_secs())]
    Silent(Duration),
    /// It closed at once.
    #[error("it closed the connection during the TLS handshake: {0}")]
    Closed(String),
    /// It answered something else.
    #[error("it does not answer in TLS: {0}")]
    NotTls(String),
    /// Nobody whom we trust signed its certificate.
    #[error("its certificate is signed by a CA that gunyu does not know")]
    UnknownCa,
    /// The certificate is for somebody else.
    #[error("its certificate is for another name: {0}")]
    OtherName(String),
    /// Something else is the matter with the certificate.
    #[error("its certificate cannot be trusted: {0}")]
    Untrusted(String),
    /// It wants to see ours.
    #[error("it wants a client certificate, and none is given")]
    WantsCertificate,
    /// It does not like ours, or something else in what we say.
    #[error("it refuses the TLS handshake: {0}")]
    Refused(String),
    /// It speaks TLS, and we do not.
    #[error("it answers in TLS, and gunyu speaks without")]
    OnlyTls,
}

impl Trouble {
    /// Why a handshake failed.
    pub(super) fn of_handshake(error: &io::Error) -> Trouble {
        Trouble::of(error).unwrap_or_else(|| Trouble::Closed(error.to_string()))
    }

    /// What an error of a connection says of TLS. With TLS 1.3 a server judges our certificate after we think that all is well, so this may
    /// come from any read or write.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Trouble> {
        let rustls = error.get_ref()?.downcast_ref::<rustls::Error>()?;
        Some(match rustls {
            rustls::Error::InvalidCertificate(error) => Trouble::of_certificate(error),
            rustls::Error::InvalidMessage(error) => Trouble::NotTls(format!("{error:?}")),
            rustls::Error::AlertReceived(alert) => Trouble::of_alert(*alert),
            other => Trouble::Refused(other.to_string()),
        })
    }

    fn of_certificate(error: &CertificateError) -> Trouble {
        match error {
            CertificateError::UnknownIssuer => Trouble::UnknownCa,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Trouble::OtherName(error.to_string())
            }
            other => Trouble::Untrusted(other.to_string()),
        }
    }

    fn of_alert(alert: AlertDescription) -> Trouble {
        match alert {
            AlertDescription::CertificateRequired => Trouble::WantsCertificate,
            other => Trouble::Refused(format!("{other:?}")),
        }
    }

    /// What a person may do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Trouble::NoName => "set tls.serverName to a name that its certificate bears",
            Trouble::Silent(_) | Trouble::NotTls(_) => {
                "if that port is without TLS, write redis:// (tls.enable: false); else name the port of tls-port"
            }
            Trouble::Closed(_) => "check that this port serves TLS (tls-port) and look into the server's log",
            Trouble::UnknownCa => {
                "name the CA that signed it: tls.ca: FILE (tls-ca-cert-file of the server's configuration)"
            }
            Trouble::OtherName(_) => {
                "connect by a name that it bears (subjectAltName; the CN does not count), or set tls.serverName to one"
            }
            Trouble::Untrusted(_) => {
                "renew the server's certificate, or name the CA that signed it: tls.ca: FILE"
            }
            Trouble::WantsCertificate => {
                "give gunyu one: tls.cert: FILE and tls.key: FILE (or tls-auth-clients no on the server)"
            }
            Trouble::Refused(_) => {
                "check tls.cert and tls.key: its tls-ca-cert-file must know who signed them; then tls-protocols and tls-ciphers there"
            }
            Trouble::OnlyTls => "write rediss:// instead of redis:// (tls.enable: true)",
        }
    }

    /// Whether only another configuration helps, here or there.
    #[must_use]
    pub fn needs_a_person(&self) -> bool {
        !matches!(self, Trouble::Silent(_) | Trouble::Closed(_))
    }
}
