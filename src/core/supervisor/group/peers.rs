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

pub mod answer;

use std::sync::Arc;
use std::time::Duration;

use form_urlencoded::byte_serialize;
use serde_json::Value;

use crate::core::net::http::{self, Request};
use crate::core::net::{Credentials, Endpoint, Tls};
use crate::core::peer::Leader;

use super::Membership;
pub use answer::NotDone;
use answer::address;

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
        answer::read(member, answer.status, &answer.body)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_written_so_that_it_is_read_back() {
        assert_eq!(with_query("/p", &[]), "/p");
        assert_eq!(with_query("/p", &[("a", "x y&z"), ("b", "")]), "/p?a=x+y%26z&b=");
    }
}
