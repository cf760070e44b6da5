//! What a member answers. Without I/O.

use serde_json::Value;

use crate::core::net::Address;

/// A member did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// It cannot be asked.
    #[error("{member} cannot be asked: {why}")]
    Unreachable {
        /// Whom.
        member: String,
        /// Why not.
        why: String,
    },
    /// It has not shown that it knows the group's token.
    #[error("{member} is no member that is known to have the group's token")]
    Stranger {
        /// Whom.
        member: String,
    },
    /// It refused.
    #[error("{member}: {error}")]
    Refused {
        /// Whom.
        member: String,
        /// As of HTTP.
        status: u16,
        /// Its words.
        error: String,
        /// What to do.
        hint: String,
    },
}

/// The answer as JSON, `null` where it is none.
///
/// # Errors
/// It is a refusal.
pub fn read(member: &str, status: u16, body: &[u8]) -> Result<Value, NotDone> {
    let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    if status == 200 {
        return Ok(body);
    }
    let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
    Err(NotDone::Refused {
        member: member.to_owned(),
        status,
        error: text("error"),
        hint: text("hint"),
    })
}

/// A member goes by `host:port`, an IPv6 host in brackets.
#[must_use]
pub fn address(member: &str) -> Option<Address> {
    let (host, port) = member.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some(Address {
        host: host.to_owned(),
        port: port.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_found_by_what_it_goes_by() {
        for (member, host, port) in [
            ("10.0.0.1:5", "10.0.0.1", 5),
            ("[::1]:5", "::1", 5),
            ("h:5", "h", 5),
        ] {
            let found = address(member).unwrap();
            assert_eq!((found.host.as_str(), found.port), (host, port));
            assert_eq!(found.to_string(), member);
        }
        assert_eq!(address("h"), None);
    }
}
