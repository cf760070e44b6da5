//! What one member asks of another, over its peers' port.
//!
//! | call | answer |
//! | --- | --- |
//! | `POST /peer/look` | the leases are looked at at once: they have changed |
//! | `GET /peer/status?input=` | how far the input is there, as `GET /syncer/status` tells it |
//! | `GET /peer/fit?input=` | whether source and target can be reached from there |
//! | `POST /peer/handover?input=&to=&hard=` | as the member that leads it; what `POST /syncer/handover` does, for one input by its name |
//! | `POST /peer/fullsync?input=` | as the member that leads it; a full sync, without a flush |
//! | `POST /peer/resume?input=` | as the member that leads it; it goes on where it stood still |
//! | `POST /peer/entangle?input=` | as the member that leads it; it begins anew |
//! | `GET /peer/log` | see [`crate::core::peer`] |
//!
//! Promises that no question takes longer than its limit; and, by [`Membership`], that only those are asked, and told the token, who have shown that they know it.
//! Answers are JSON; errors as everywhere in the API.

use std::sync::Arc;
use std::time::Duration;

use form_urlencoded::byte_serialize;
use serde_json::Value;

use crate::core::net::http::{self, Request};
use crate::core::net::{Address, Credentials, Endpoint, Tls};
use crate::core::peer::Leader;

use super::Membership;

/// No answer is longer.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// How the members speak with each other.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The whole value of the header.
    pub authorization: Option<String>,
    /// Where they serve TLS.
    pub tls: Option<Arc<Tls>>,
}

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

impl Access {
    fn endpoint(&self, member: &str) -> Option<Endpoint> {
        Some(Endpoint {
            address: address(member)?,
            credentials: Credentials::default(),
            tls: self.tls.clone(),
        })
    }

    /// How the log of that member is pulled.
    #[must_use]
    fn leader(&self, member: &str) -> Option<Leader> {
        Some(Leader {
            endpoint: self.endpoint(member)?,
            authorization: self.authorization.clone(),
        })
    }

    async fn ask(
        &self,
        member: &str,
        (method, path): (&str, &str),
        query: &[(&str, &str)],
        limit: Duration,
    ) -> Result<Value, NotDone> {
        let unreachable = |why: String| NotDone::Unreachable {
            member: member.to_owned(),
            why,
        };
        let endpoint = self
            .endpoint(member)
            .ok_or_else(|| unreachable("that is no address".to_owned()))?;
        let path = with_query(path, query);
        let request = Request {
            method,
            path: &path,
            authorization: self.authorization.as_deref(),
            ..Request::default()
        };
        let answer = http::ask(&endpoint, request, limit, ANSWER_BYTES_MAX)
            .await
            .map_err(|error| unreachable(error.to_string()))?;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        if answer.status == 200 {
            return Ok(body);
        }
        let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
        Err(NotDone::Refused {
            member: member.to_owned(),
            status: answer.status,
            error: text("error"),
            hint: text("hint"),
        })
    }
}

impl Membership {
    /// How the log of that member is pulled; nothing where it is not known to be one.
    #[must_use]
    pub fn leader(&self, member: &str) -> Option<Leader> {
        self.knows(member).then(|| self.access().leader(member)).flatten()
    }

    /// Asks a member; what it answers.
    ///
    /// # Errors
    /// It is not known to be one, cannot be asked, or refuses.
    pub async fn ask(
        &self,
        member: &str,
        call: (&str, &str),
        query: &[(&str, &str)],
        limit: Duration,
    ) -> Result<Value, NotDone> {
        if !self.knows(member) {
            return Err(NotDone::Stranger {
                member: member.to_owned(),
            });
        }
        self.access().ask(member, call, query, limit).await
    }

    /// Whether the token may be sent there. Without one there is nothing to be told.
    fn knows(&self, member: &str) -> bool {
        let is_member = || self.seen().is_some_and(|view| view.members.contains_key(member));
        self.access().authorization.is_none() || is_member()
    }
}

fn with_query(path: &str, query: &[(&str, &str)]) -> String {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pairs: Vec<String> = query
        .iter()
        .map(|(name, value)| format!("{name}={}", encoded(value)))
        .collect();
    match pairs.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", pairs.join("&")),
    }
}

/// A member goes by `host:port`, an IPv6 host in brackets.
fn address(member: &str) -> Option<Address> {
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

    #[test]
    fn a_query_is_written_so_that_it_is_read_back() {
        assert_eq!(with_query("/p", &[]), "/p");
        assert_eq!(with_query("/p", &[("a", "x y&z"), ("b", "")]), "/p?a=x+y%26z&b=");
    }
}
