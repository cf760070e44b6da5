//! etcd's JSON gateway: keys and values in base64, 64-bit numbers as texts, errors with the codes of gRPC.
//!
//! Promises that a question takes no longer than its limit, however many endpoints there are; that one which does not answer is followed by the next within that
//! time, and the one that answered is asked first from then on; and that a token which is refused is replaced once, silently. A question may therefore
//! reach etcd more than once.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Settings;
use super::answer::{self, Kv, Wrong, encoded, read_all};
use crate::core::lease::Error;
use crate::core::net::{Credentials, Endpoint, http};

/// No answer is longer: a group's records are some kilobytes each.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// As of gRPC: cancelled, unknown, too late, internal, unavailable. This member cannot do it now, another may.
const ABOUT_MEMBER: [i64; 5] = [1, 2, 4, 13, 14];

/// As of gRPC: no such user, or a token that does not count.
const UNAUTHENTICATED: i64 = 16;

/// As of gRPC: authentication is not enabled.
const FAILED_PRECONDITION: i64 = 9;

#[derive(Debug)]
pub(super) struct Gateway {
    endpoints: Vec<Endpoint>,
    user: Option<Credentials>,
    limit: Duration,
    /// Who is asked first.
    first: usize,
    token: Token,
}

enum Token {
    /// We do not know yet whether one is needed.
    Unasked,
    /// There are no users, or we are none.
    Needless,
    Given(String),
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

impl Gateway {
    pub(super) fn new(settings: Settings, limit: Duration) -> Gateway {
        Gateway {
            token: match settings.user {
                Some(_) => Token::Unasked,
                None => Token::Needless,
            },
            endpoints: settings.endpoints,
            user: settings.user,
            limit,
            first: 0,
        }
    }

    /// The key, if it is there.
    pub(super) async fn range(&mut self, key: &str) -> Result<Option<Kv>, Error> {
        let answer = self.call("/v3/kv/range", &json!({"key": encoded(key)})).await?;
        Ok(read_all(&answer)?.pop())
    }

    /// All keys that begin so.
    pub(super) async fn range_below(&mut self, prefix: &str) -> Result<Vec<Kv>, Error> {
        let end = prefix.strip_suffix('/').map(|start| format!("{start}0"));
        let end = end.expect("a prefix ends with a slash, and the character after that is a 0");
        let body = json!({"key": encoded(prefix), "range_end": encoded(&end)});
        Ok(read_all(&self.call("/v3/kv/range", &body).await?)?)
    }

    /// These keys, as they are at one moment.
    pub(super) async fn ranges<const N: usize>(
        &mut self,
        keys: &[String; N],
    ) -> Result<[Option<Kv>; N], Error> {
        let range = |key: &String| json!({"request_range": {"key": encoded(key)}});
        let body = json!({"success": keys.iter().map(range).collect::<Vec<_>>()});
        let answer = self.call("/v3/kv/txn", &body).await?;
        let mut found = [const { None }; N];
        for (at, one) in found.iter_mut().enumerate() {
            *one = read_all(&answer["responses"][at]["response_range"])?.pop();
        }
        Ok(found)
    }

    /// Asks one endpoint after the other until one answers.
    pub(super) async fn call(&mut self, path: &str, body: &Value) -> Result<Value, Error> {
        let until = Instant::now() + self.limit;
        let mut failed: Option<Error> = None;
        let count = self.endpoints.len();
        for turn in 0..count {
            // Half of the time that is left, so that a silent one leaves some to the next; all of it to the last.
            let left = until.saturating_duration_since(Instant::now());
            let limit = if turn + 1 < count { left / 2 } else { left };
            let at = (self.first + turn) % count;
            let error = match self.call_at(at, path, body, limit).await {
                Ok(answer) => {
                    self.first = at;
                    return Ok(answer);
                }
                Err(error) => error,
            };
            if matches!(&error, Error::Etcd { code, .. } if !ABOUT_MEMBER.contains(code)) {
                self.first = at;
                return Err(error);
            }
            failed = Some(match failed {
                Some(before) if before.needs_a_person() || !error.needs_a_person() => before,
                _ => error,
            });
        }
        self.first = (self.first + 1) % count;
        Err(failed.expect("an etcd has at least one endpoint"))
    }

    async fn call_at(
        &mut self,
        at: usize,
        path: &str,
        body: &Value,
        limit: Duration,
    ) -> Result<Value, Error> {
        let until = Instant::now() + limit;
        let answer = self.call_as_user(at, path, body, until).await;
        match &answer {
            Err(Error::Etcd { code, message, .. }) if self.wants_token(*code, message) => {
                self.token = Token::Unasked;
                self.call_as_user(at, path, body, until).await
            }
            _ => answer,
        }
    }

    /// Whether another token, or one at all, may help.
    fn wants_token(&self, code: i64, message: &str) -> bool {
        let has = |words: &str| message.contains(words);
        match (&self.token, &self.user) {
            // It has run out, or was given before the users were changed.
            (Token::Given(_), _) => {
                code == UNAUTHENTICATED || has("invalid auth token") || has("revision of auth store is old")
            }
            // There are users since.
            (Token::Needless, Some(_)) => has("user name is empty"),
            (Token::Needless | Token::Unasked, _) => false,
        }
    }

    async fn call_as_user(
        &mut self,
        at: usize,
        path: &str,
        body: &Value,
        until: Instant,
    ) -> Result<Value, Error> {
        if let (Token::Unasked, Some(login)) = (&self.token, &self.user) {
            let login = json!({"name": login.user, "password": login.password});
            self.token = match self.send(at, "/v3/auth/authenticate", &login, until).await {
                Ok(answer) => Token::Given(answer["token"].as_str().unwrap_or_default().to_owned()),
                Err(Error::Etcd {
                    code: FAILED_PRECONDITION,
                    ..
                }) => Token::Needless,
                Err(error) => return Err(error),
            };
        }
        self.send(at, path, body, until).await
    }

    async fn send(&self, at: usize, path: &str, body: &Value, until: Instant) -> Result<Value, Error> {
        let endpoint = &self.endpoints[at];
        let token = match &self.token {
            Token::Given(token) => Some(token.as_str()),
            Token::Unasked | Token::Needless => None,
        };
        let request = http::Request {
            method: "POST",
            path,
            authorization: token,
            content_type: Some("application/json"),
            body: Bytes::from(body.to_string()),
        };
        let left = until.saturating_duration_since(Instant::now());
        let answer = http::ask(endpoint, request, left, ANSWER_BYTES_MAX).await?;
        read(endpoint, &answer)
    }
}

/// The answer as JSON, or what etcd says is wrong.
fn read(endpoint: &Endpoint, answer: &http::Answer) -> Result<Value, Error> {
    let address = endpoint.address.clone();
    answer::read(answer.status, &answer.body).map_err(|wrong| match wrong {
        Wrong::Etcd { code, message } => Error::Etcd {
            address,
            code,
            message,
        },
        Wrong::NoGateway { said } => Error::NoGateway {
            address,
            status: answer.status,
            said,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::net::{Address, Credentials};

    fn said(status: u16, body: &str) -> Result<Value, Error> {
        let endpoint = Endpoint {
            address: Address {
                host: "h".into(),
                port: 1,
            },
            credentials: Credentials::default(),
            tls: None,
        };
        let body = Bytes::copy_from_slice(body.as_bytes());
        read(&endpoint, &http::Answer { status, body })
    }

    /// What etcd 3.4 and 3.5 really say.
    #[test]
    fn errors_are_understood_in_each_of_their_forms() {
        for (status, body, expected) in [
            (
                412,
                r#"{"error":"etcdserver: x","message":"etcdserver: x","code":9}"#,
                9,
            ),
            (400, r#"{"code":9, "message":"etcdserver: x"}"#, 9),
            (
                200,
                r#"{"error":{"grpc_code":5,"http_code":404,"message":"etcdserver: x","http_status":"Not Found"}}"#,
                5,
            ),
            (200, r#"{"error":{"code":5, "message":"etcdserver: x"}}"#, 5),
        ] {
            match said(status, body) {
                Err(Error::Etcd { code, message, .. }) => {
                    assert_eq!((code, message.as_str()), (expected, "etcdserver: x"), "{body}");
                }
                other => panic!("{body}: {other:?}"),
            }
        }
        assert!(said(200, r#"{"header":{}}"#).is_ok());
        let tls = said(400, "Client sent an HTTP request to an HTTPS server.\n").unwrap_err();
        assert!(
            tls.needs_a_person() && tls.hint().unwrap().contains("tls.enable: true"),
            "{tls}"
        );
        let none = said(404, r"404 page not found").unwrap_err();
        assert!(
            none.needs_a_person() && none.hint().unwrap().contains("gateway"),
            "{none}"
        );
        assert!(!said(502, "Bad Gateway").unwrap_err().needs_a_person());
    }

    #[test]
    fn a_token_is_never_printed() {
        let token = Token::Given("s3cret".to_owned());
        assert!(!format!("{token:?}").contains("s3cret"));
    }
}
