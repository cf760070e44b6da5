//! Which CAs vouch for a daemon that is called over https.

use std::path::Path;

use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};

use crate::cmd::{Exit, Failure};

/// The sets to try, in this order. `chosen` is what the operator names, and then the only one; `own` is the certificate that the
/// daemon of `--config` shows, which vouches for itself where it is self-signed. Otherwise, and after it, the public CAs do.
///
/// # Errors
/// What the operator named holds no certificate (2).
pub(super) fn roots(chosen: Option<&Path>, own: Option<&Path>) -> Result<Vec<RootCerts>, Failure> {
    if let Some(path) = chosen {
        let unusable = |reason: String| {
            let message = format!("--ca-cert (GUNYU_CA_CERT): {}: {reason}", path.display());
            Failure::new(Exit::Usage, message)
        };
        return Ok(vec![certificates(path).map_err(unusable)?]);
    }
    // One that cannot be read (it may be another user's) leaves the public CAs; the failure then tells of --ca-cert.
    let own = own.and_then(|path| certificates(path).ok());
    Ok(own.into_iter().chain([RootCerts::WebPki]).collect())
}

fn certificates(path: &Path) -> Result<RootCerts, String> {
    let pem = std::fs::read(path).map_err(|error| error.to_string())?;
    let mut found: Vec<Certificate<'static>> = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| error.to_string())? {
            found.push(certificate);
        }
    }
    match found.is_empty() {
        true => Err("there is no certificate in PEM form in it".to_owned()),
        false => Ok(RootCerts::new_with_certs(&found)),
    }
}
