//! Who may call the API: a judgement on plain values, no type of the server here.
//!
//! Owns three questions, asked in this order; the first that is answered badly decides:
//!
//! | question | asked of | good | bad |
//! | --- | --- | --- | --- |
//! | is `Host` ours? (DNS rebinding) | every call but the three below | see the next table | 400, 421 |
//! | does it come from another site? (CSRF) | every method but GET, HEAD, OPTIONS; and all of `/storage/gc`, which deletes | no `Origin`, or our own; and `Sec-Fetch-Site` absent, `same-origin` or `none` | 403 |
//! | does it bear the token? | every call but the three below, where there is a token | `Authorization: Bearer <token>` | 401 |
//! | does it bear the group's token? | the peers' calls (`/peer/…`), instead of the API's; where there is none they must come from loopback | the same | 401 |
//!
//! The three are `GET /debug/health`, `GET /debug/ready` and `GET {metricRoutePath}`: what probes and Prometheus call, by
//! whatever name the machine has in their world (`gunyu:18001`), and often without a way to give them a token. They change
//! nothing and tell no data.
//!
//! | `Host` | verdict |
//! | --- | --- |
//! | any, of a peer's call, where the group has a token | good: a page that rebinds a name does not have it |
//! | missing, HTTP/1.0 | good: 1.0 has no such header, and no browser speaks it |
//! | missing, HTTP/1.1 | 400 |
//! | cannot be read, or given twice | 400 |
//! | an IP address | good: a page that rebinds a name makes the browser send that name |
//! | the host of `server.listen` | good |
//! | `localhost` | good, where the daemon listens on loopback or on every address |
//! | listed in `server.allowedHosts`, or `*` is | good |
//! | any other name | 421 |
//!
//! The port is not looked at: it may have been forwarded. Our own origin is the scheme we serve, and host and port of `Host`.
//! `same-site` counts as foreign: another port of this machine is the same site and not us.

use std::fmt;
use std::net::IpAddr;

use subtle::ConstantTimeEq;

use super::error::Failure;

/// What is known of a call before anything of it is done. A header that was sent several times is joined by `, `, which no
/// good value of it holds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// `GET`, …
    pub method: &'a str,
    /// The path, without the query.
    pub path: &'a str,
    /// Whether it is HTTP/1.0, which knows no `Host`.
    pub is_http_10: bool,
    /// `Host`, or the authority of the request's target where it has one.
    pub host: Option<&'a str>,
    /// `Origin`.
    pub origin: Option<&'a str>,
    /// `Sec-Fetch-Site`.
    pub fetch_site: Option<&'a str>,
    /// `Authorization`.
    pub authorization: Option<&'a str>,
    /// The caller's address, where it is known.
    pub from: Option<IpAddr>,
}

/// What the judgement goes by.
#[derive(Clone)]
pub struct Guard {
    /// The host of `server.listen`, without a port or brackets.
    pub listen_host: String,
    /// Whether that is loopback, or every address.
    pub is_on_loopback: bool,
    /// Further names, in any case; `*` stands for all.
    pub allowed_hosts: Vec<String>,
    /// Where the metrics are.
    pub metrics_path: String,
    /// The token that calls must bear.
    pub token: Option<String>,
    /// The token that the calls of the group's other members must bear.
    pub peer_token: Option<String>,
    /// Whether the API is served over TLS.
    pub is_https: bool,
}

/// The token is not for traces.
impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("listen_host", &self.listen_host)
            .field("allowed_hosts", &self.allowed_hosts)
            .field("has_token", &self.token.is_some())
            .field("has_peer_token", &self.peer_token.is_some())
            .finish_non_exhaustive()
    }
}

impl Guard {
    /// Whether the call may go on to its handler.
    ///
    /// # Errors
    /// 400, 421, 403, 401, as the tables of this room have it.
    pub fn judge(&self, asked: &Asked<'_>) -> Result<(), Failure> {
        let is_probe = self.is_probe(asked);
        let is_peer = asked.path.starts_with("/peer/");
        let may_have_any_name = is_probe || (is_peer && self.peer_token.is_some());
        if !may_have_any_name {
            self.judge_host(asked)?;
        }
        if changes_state(asked) {
            self.judge_site(asked)?;
        }
        match (is_probe, is_peer) {
            (true, _) => Ok(()),
            (false, true) => self.judge_peer(asked),
            (false, false) => {
                let hint = "give it with GUNYU_TOKEN or --token (Authorization: Bearer …); it is server.auth of the daemon's configuration";
                judge_token(self.token.as_deref(), asked.authorization, hint)
            }
        }
    }

    /// What a log holds is all of the source's data: without a token nobody beyond this machine gets it, whatever the API allows.
    fn judge_peer(&self, asked: &Asked<'_>) -> Result<(), Failure> {
        let hint = "only members of the group call this; they bear the cluster.token of its configuration";
        let is_local = asked.from.is_some_and(|ip| ip.to_canonical().is_loopback());
        if self.peer_token.is_none() && !is_local {
            return Err(Failure::new(
                401,
                "without a token of the group, its members are served on this machine only",
                "give all members the same cluster.token",
            ));
        }
        judge_token(self.peer_token.as_deref(), asked.authorization, hint)
    }

    fn is_probe(&self, asked: &Asked<'_>) -> bool {
        let paths = ["/debug/health", "/debug/ready", self.metrics_path.as_str()];
        asked.method == "GET" && paths.contains(&asked.path)
    }

    fn judge_host(&self, asked: &Asked<'_>) -> Result<(), Failure> {
        let Some(text) = asked.host else {
            return match asked.is_http_10 {
                true => Ok(()),
                false => Err(bad_host("the call has no Host header")),
            };
        };
        let host = HostPort::parse(text).ok_or_else(|| bad_host("the Host header cannot be read"))?;
        if self.answers_to(&host) {
            return Ok(());
        }
        Err(Failure::new(
            421,
            format!("this daemon does not answer to the name {:?}", host.host),
            "call it by IP address, or list the name in server.allowedHosts",
        ))
    }

    fn answers_to(&self, host: &HostPort) -> bool {
        let HostPort { host, .. } = host;
        let is_listed = |known: &str| known == "*" || same_name(known, host);
        is_ip(host)
            || same_name(&self.listen_host, host)
            || (self.is_on_loopback && host == "localhost")
            || self.allowed_hosts.iter().any(|known| is_listed(known))
    }

    fn judge_site(&self, asked: &Asked<'_>) -> Result<(), Failure> {
        let is_foreign = asked
            .origin
            .is_some_and(|origin| !self.is_own(origin, asked.host))
            || asked
                .fetch_site
                .is_some_and(|site| !matches!(site, "same-origin" | "none"));
        match is_foreign {
            true => Err(Failure::new(
                403,
                "a page of another site asks for this",
                "call the API from a program, or from a page of its own address",
            )),
            false => Ok(()),
        }
    }

    /// Whether an `Origin` is the address that was called. `null` is nobody's.
    fn is_own(&self, origin: &str, host: Option<&str>) -> bool {
        let (scheme, default_port) = match self.is_https {
            true => ("https", 443),
            false => ("http", 80),
        };
        let named = origin
            .split_once("://")
            .filter(|(named, _)| named.eq_ignore_ascii_case(scheme))
            .and_then(|(_, rest)| HostPort::parse(rest));
        let called = host.and_then(HostPort::parse);
        match (named, called) {
            (Some(named), Some(called)) => {
                named.host == called.host
                    && named.port.unwrap_or(default_port) == called.port.unwrap_or(default_port)
            }
            (None, _) | (_, None) => false,
        }
    }
}

/// The time it takes says nothing of the token but its length.
fn judge_token(token: Option<&str>, authorization: Option<&str>, hint: &str) -> Result<(), Failure> {
    let Some(token) = token else {
        return Ok(());
    };
    let borne = authorization
        .and_then(|value| value.trim().split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, borne)| borne.trim_start());
    let error = match borne {
        Some(borne) if bool::from(borne.as_bytes().ct_eq(token.as_bytes())) => return Ok(()),
        Some(_) => "the token is not the daemon's",
        None => "this daemon asks for a token",
    };
    Err(Failure::new(401, error, hint))
}

/// Warp takes a path with or without a `/` at its end, so whatever begins like the one GET that deletes counts as it.
fn changes_state(asked: &Asked<'_>) -> bool {
    !matches!(asked.method, "GET" | "HEAD" | "OPTIONS") || asked.path.starts_with("/storage/gc")
}

fn bad_host(error: &str) -> Failure {
    Failure::new(
        400,
        error,
        "send one Host header: the host, and the port if need be",
    )
}

fn is_ip(host: &str) -> bool {
    let plain = host.split_once('%').map_or(host, |(ip, _zone)| ip);
    plain.parse::<IpAddr>().is_ok()
}

/// Names are the same in any case, and with the dot of the root or without.
fn same_name(known: &str, host: &str) -> bool {
    known.trim_end_matches('.').eq_ignore_ascii_case(host)
}

/// A host, in lower case and without brackets or a dot at its end, and the port where there is one.
#[derive(Debug, PartialEq, Eq)]
struct HostPort {
    host: String,
    port: Option<u16>,
}

impl HostPort {
    fn parse(text: &str) -> Option<HostPort> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (ip, after) = rest.split_once(']')?;
                is_ip(ip).then_some(())?;
                (ip, after.strip_prefix(':').or(after.is_empty().then_some(""))?)
            }
            None => text.split_once(':').unwrap_or((text, "")),
        };
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
        if host.is_empty() || !host.chars().all(is_part) {
            return None;
        }
        // An empty port is the default one, as in a URL.
        let port = match port {
            "" => None,
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
            _ => return None,
        };
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        Some(HostPort { host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        Guard {
            listen_host: "127.0.0.1".into(),
            is_on_loopback: true,
            allowed_hosts: Vec::new(),
            metrics_path: "/prometheus".into(),
            token: None,
            peer_token: None,
            is_https: false,
        }
    }

    fn asked(method: &'static str, path: &'static str) -> Asked<'static> {
        Asked {
            method,
            path,
            host: Some("127.0.0.1:18001"),
            ..Asked::default()
        }
    }

    fn code(guard: &Guard, asked: &Asked<'_>) -> u16 {
        guard.judge(asked).err().map_or(200, |failure| failure.code)
    }

    #[test]
    fn a_host_is_ours_as_the_table_has_it() {
        let local = guard();
        let named = Guard {
            listen_host: "Gunyu.example".into(),
            is_on_loopback: false,
            allowed_hosts: vec!["Sync.Example.".into()],
            ..guard()
        };
        let open = Guard {
            allowed_hosts: vec!["*".into()],
            ..guard()
        };
        for (guard, host, expected) in [
            (&local, "127.0.0.1", 200),
            (&local, "127.0.0.1:18001", 200),
            (&local, "127.0.0.1:9", 200),
            (&local, "10.1.2.3:18001", 200),
            (&local, "[::1]:18001", 200),
            (&local, "[::1]", 200),
            (&local, "[fe80::1%25eth0]:1", 200),
            (&local, "localhost:18001", 200),
            (&local, "LOCALHOST.:18001", 200),
            (&local, "localhost:", 200),
            (&local, "localhost.evil.example", 421),
            (&local, "127.0.0.1.evil.example:18001", 421),
            (&local, "gunyu.example", 421),
            (&local, "*", 400),
            (&local, "", 400),
            (&local, "[::1", 400),
            (&local, "[name]:1", 400),
            (&local, "::1", 400),
            (&local, "localhost:x", 400),
            (&local, "localhost:99999", 400),
            (&local, "localhost, evil.example", 400),
            (&local, "user@localhost", 400),
            (&named, "gunyu.example:1", 200),
            (&named, "sync.example", 200),
            (&named, "localhost", 421),
            (&open, "anything.example", 200),
            (&open, "any thing", 400),
        ] {
            let asked = Asked {
                host: Some(host),
                ..asked("GET", "/syncer/status")
            };
            assert_eq!(code(guard, &asked), expected, "{host:?} to {guard:?}");
        }
    }

    #[test]
    fn only_http_1_0_may_lack_a_host() {
        let without = Asked {
            host: None,
            ..asked("GET", "/syncer/status")
        };
        assert_eq!(code(&guard(), &without), 400);
        let old = Asked {
            is_http_10: true,
            ..without
        };
        assert_eq!(code(&guard(), &old), 200);
    }

    #[test]
    fn a_foreign_name_is_told_which_key_lets_it_in() {
        let asked = Asked {
            host: Some("evil.example"),
            ..asked("GET", "/syncer/status")
        };
        let failure = guard().judge(&asked).unwrap_err();
        assert!(failure.error.contains("evil.example"), "{failure:?}");
        assert!(failure.hint.contains("server.allowedHosts"), "{failure:?}");
    }

    #[test]
    fn what_changes_state_is_not_for_other_sites() {
        let own = Some("http://127.0.0.1:18001");
        let foreign = Some("http://evil.example");
        for (method, path, origin, fetch_site, expected) in [
            ("DELETE", "/", None, None, 200),
            ("DELETE", "/", own, None, 200),
            ("DELETE", "/", own, Some("same-origin"), 200),
            ("DELETE", "/", None, Some("none"), 200),
            ("DELETE", "/", Some("HTTP://127.0.0.1:18001"), None, 200),
            ("DELETE", "/", foreign, None, 403),
            ("DELETE", "/", Some("null"), None, 403),
            ("DELETE", "/", Some("https://127.0.0.1:18001"), None, 403),
            ("DELETE", "/", Some("http://127.0.0.1:3000"), None, 403),
            ("DELETE", "/", Some("http://127.0.0.1"), None, 403),
            (
                "DELETE",
                "/",
                Some("http://127.0.0.1:18001, http://evil.example"),
                None,
                403,
            ),
            ("DELETE", "/", own, Some("cross-site"), 403),
            ("DELETE", "/", None, Some("cross-site"), 403),
            ("DELETE", "/", None, Some("same-site"), 403),
            ("POST", "/syncer/pause", foreign, None, 403),
            ("PATCH", "/whatever", foreign, None, 403),
            ("POST", "/debug/health", foreign, None, 403),
            ("GET", "/storage/gc", foreign, None, 403),
            ("GET", "/storage/gc/", None, Some("cross-site"), 403),
            ("HEAD", "/storage/gc", foreign, None, 403),
            ("GET", "/storage/gc", None, None, 200),
            ("GET", "/syncer/status", foreign, Some("cross-site"), 200),
            ("HEAD", "/syncer/status", foreign, None, 200),
            ("OPTIONS", "/syncer/status", foreign, None, 200),
        ] {
            let asked = Asked {
                origin,
                fetch_site,
                ..asked(method, path)
            };
            assert_eq!(code(&guard(), &asked), expected, "{asked:?}");
        }
    }

    #[test]
    fn our_own_origin_has_our_scheme_and_its_default_port() {
        let https = Guard {
            is_https: true,
            ..guard()
        };
        for (guard, host, origin, expected) in [
            (&https, "[::1]", "https://[::1]:443", 200),
            (&https, "[::1]:443", "https://[::1]", 200),
            (&https, "[::1]:443", "http://[::1]:443", 403),
            (&guard(), "localhost:80", "http://localhost", 200),
            (&guard(), "localhost", "http://localhost:443", 403),
        ] {
            let asked = Asked {
                host: Some(host),
                origin: Some(origin),
                ..asked("DELETE", "/")
            };
            assert_eq!(code(guard, &asked), expected, "{asked:?}");
        }
    }

    #[test]
    fn every_call_but_the_three_bears_the_token() {
        let guard = Guard {
            token: Some("s3cret".into()),
            ..guard()
        };
        for (method, path, authorization, expected) in [
            ("GET", "/syncer/status", Some("Bearer s3cret"), 200),
            ("GET", "/syncer/status", Some("bearer s3cret"), 200),
            ("GET", "/syncer/status", Some("BEARER  s3cret "), 200),
            ("GET", "/syncer/status", None, 401),
            ("GET", "/syncer/status", Some("s3cret"), 401),
            ("GET", "/syncer/status", Some("Bearer"), 401),
            ("GET", "/syncer/status", Some("Bearer "), 401),
            ("GET", "/syncer/status", Some("Bearer s3cre"), 401),
            ("GET", "/syncer/status", Some("Bearer s3crets"), 401),
            ("GET", "/syncer/status", Some("Bearer S3cret"), 401),
            ("GET", "/syncer/status", Some("Basic s3cret"), 401),
            ("GET", "/syncer/status", Some("Bearer s3cret, Bearer s3cret"), 401),
            ("DELETE", "/", None, 401),
            ("GET", "/nowhere", None, 401),
            ("GET", "/debug/health", None, 200),
            ("GET", "/debug/ready", None, 200),
            ("GET", "/prometheus", None, 200),
            ("POST", "/debug/health", None, 401),
            ("GET", "/debug/health/", None, 401),
            ("GET", "/prometheus/more", None, 401),
        ] {
            let asked = Asked {
                authorization,
                ..asked(method, path)
            };
            assert_eq!(code(&guard, &asked), expected, "{asked:?}");
        }
        let failure = guard.judge(&asked("DELETE", "/")).unwrap_err();
        assert!(
            failure.hint.contains("GUNYU_TOKEN") && failure.hint.contains("--token"),
            "{failure:?}"
        );
        assert!(!format!("{guard:?}").contains("s3cret"));
    }

    #[test]
    fn probes_may_call_by_any_name() {
        for path in ["/debug/health", "/debug/ready", "/prometheus"] {
            for host in [None, Some("gunyu:18001"), Some("any thing")] {
                let asked = Asked {
                    host,
                    ..asked("GET", path)
                };
                assert_eq!(code(&guard(), &asked), 200, "{asked:?}");
            }
        }
    }

    #[test]
    fn peers_bear_the_groups_token_or_come_from_this_machine() {
        let [open, grouped] = [None, Some("gr0up")].map(|token| Guard {
            token: Some("api".into()),
            peer_token: token.map(str::to_owned),
            ..guard()
        });
        let (near, far) = ("127.0.0.1".parse().ok(), "192.0.2.1".parse().ok());
        let mapped = "::ffff:127.0.0.1".parse().ok();
        for (guard, host, from, authorization, expected) in [
            (&open, "127.0.0.1", near, None, 200),
            (&open, "127.0.0.1", mapped, None, 200),
            (&open, "127.0.0.1", far, None, 401),
            (&open, "127.0.0.1", None, None, 401),
            (&open, "127.0.0.1", far, Some("Bearer api"), 401),
            (&open, "rebound.example", near, None, 421),
            (&grouped, "127.0.0.1", far, Some("Bearer gr0up"), 200),
            (&grouped, "peer.example", far, Some("Bearer gr0up"), 200),
            (&grouped, "127.0.0.1", near, None, 401),
            (&grouped, "127.0.0.1", near, Some("Bearer api"), 401),
        ] {
            let asked = Asked {
                host: Some(host),
                from,
                authorization,
                ..asked("GET", "/peer/log")
            };
            assert_eq!(code(guard, &asked), expected, "{asked:?} to {guard:?}");
        }
        let of_the_api = Asked {
            authorization: Some("Bearer gr0up"),
            ..asked("GET", "/syncer/status")
        };
        assert_eq!(code(&grouped, &of_the_api), 401);
    }
}
