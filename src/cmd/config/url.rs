//! Redis as a URL.
//!
//! ```text
//! redis://[user[:password]@]host[:port][/database]          rediss://... for TLS
//! redis+cluster://[user[:password]@]host:port,host:port     rediss+cluster://...
//! redis+sentinel://[user[:password]@]host:port,.../master   rediss+sentinel://...
//! ```
//!
//! User, password and master name are percent-decoded. IPv6 addresses stand in brackets. In messages of this room
//! there is nothing of what stands before the `@`.

use super::address::{Address, NotAnAddress, REDIS_PORT, SENTINEL_PORT};
use super::secret::Secret;
use super::sections::{Redis, RedisKind, Tls};

/// What a URL says.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// How to reach it.
    pub redis: Redis,
    /// The database, where the URL names one.
    pub database: Option<u32>,
}

/// Why a text is not such a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a Redis URL: {0}")]
pub struct NotAUrl(String);

/// The forms, for hints.
pub(super) const FORMS: &str = "redis://[user[:password]@]host:port[/db], rediss://… for TLS, \
     redis+cluster://host:port,host:port, redis+sentinel://host:port,…/mastername";

impl Endpoint {
    /// Reads a URL.
    ///
    /// # Errors
    /// The text is none; the message says why, and holds no password.
    pub fn parse(url: &str) -> Result<Endpoint, NotAUrl> {
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| NotAUrl("it lacks scheme and ://".to_owned()))?;
        let (scheme, tls) = scheme_and_tls(scheme)?;
        if rest.contains(['?', '#']) {
            let hint = "? and # have no meaning here (in a password write %3F and %23)";
            return Err(NotAUrl(hint.to_owned()));
        }
        let (authority, path) = split_path(rest);
        let (user, password, hosts) = split_credentials(authority)?;
        let port = if scheme == Scheme::Sentinel {
            SENTINEL_PORT
        } else {
            REDIS_PORT
        };
        let (kind, database) = kind_and_database(scheme, path)?;
        let redis = Redis {
            kind,
            addresses: addresses(hosts, port)?,
            user,
            password,
            tls: tls.then(Tls::default),
        };
        Ok(Endpoint { redis, database })
    }

    /// The endpoint with this password, unless the URL brought one. `environment` says what
    /// `GUNYU_SOURCE_PASSWORD` or `GUNYU_TARGET_PASSWORD` holds.
    #[must_use]
    pub fn or_password(mut self, environment: Option<String>) -> Endpoint {
        let password = environment.filter(|text| !text.is_empty()).map(Secret::new);
        self.redis.password = self.redis.password.or(password);
        self
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Standalone,
    Cluster,
    Sentinel,
}

fn scheme_and_tls(scheme: &str) -> Result<(Scheme, bool), NotAUrl> {
    let (protocol, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
    let tls = match protocol {
        "redis" => false,
        "rediss" => true,
        _ => return Err(NotAUrl(format!("the scheme {scheme:?} is not known"))),
    };
    match kind {
        "" if !scheme.contains('+') => Ok((Scheme::Standalone, tls)),
        "cluster" => Ok((Scheme::Cluster, tls)),
        "sentinel" => Ok((Scheme::Sentinel, tls)),
        _ => Err(NotAUrl(format!("the scheme {scheme:?} is not known"))),
    }
}

/// What stands before the path, and the path. A `/` in a password must be percent-encoded, and where it is not, the
/// `@` behind it tells.
fn split_path(rest: &str) -> (&str, &str) {
    let from = rest.rfind('@').map_or(0, |at| at + 1);
    match rest[from..].find('/') {
        Some(slash) => (&rest[..from + slash], &rest[from + slash + 1..]),
        None => (rest, ""),
    }
}

type Credentials<'a> = (Option<String>, Option<Secret>, &'a str);

fn split_credentials(authority: &str) -> Result<Credentials<'_>, NotAUrl> {
    let Some((credentials, hosts)) = authority.rsplit_once('@') else {
        return Ok((None, None, authority));
    };
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let user = Some(decoded(user, "the user")?).filter(|user| !user.is_empty());
    let password = Some(decoded(password, "the password")?).filter(|password| !password.is_empty());
    Ok((user, password.map(Secret::new), hosts))
}

fn addresses(hosts: &str, port: u16) -> Result<Vec<Address>, NotAUrl> {
    // Without the text: in a URL that lacks its @, it may be a password.
    let not = |e: NotAnAddress| NotAUrl(format!("an address {}", e.reason));
    hosts
        .split(',')
        .map(|host| Address::parse(host, Some(port)).map_err(not))
        .collect()
}

fn kind_and_database(scheme: Scheme, path: &str) -> Result<(RedisKind, Option<u32>), NotAUrl> {
    match scheme {
        Scheme::Standalone => Ok((RedisKind::Standalone, database(path)?)),
        Scheme::Cluster if path.is_empty() || path == "0" => Ok((RedisKind::Cluster, None)),
        Scheme::Cluster => Err(NotAUrl("a cluster has no databases but 0".to_owned())),
        Scheme::Sentinel => {
            let (master, path) = path.split_once('/').unwrap_or((path, ""));
            let master = decoded(master, "the master name")?;
            if master.is_empty() {
                return Err(NotAUrl(
                    "after the sentinels comes / and the name of the master".to_owned(),
                ));
            }
            let kind = RedisKind::Sentinel {
                master,
                user: None,
                password: None,
            };
            Ok((kind, database(path)?))
        }
    }
}

fn database(path: &str) -> Result<Option<u32>, NotAUrl> {
    match path.bytes().all(|b| b.is_ascii_digit()) {
        true if path.is_empty() => Ok(None),
        true => path
            .parse()
            .map(Some)
            .map_err(|_| NotAUrl(format!("{path} is too high for a database"))),
        false => Err(NotAUrl(format!(
            "after the address comes / and the number of a database, not {path:?}"
        ))),
    }
}

/// `%41` is `A`. What is decoded must be UTF-8, since the configuration is.
fn decoded(text: &str, what: &str) -> Result<String, NotAUrl> {
    let wrong = |why: &str| NotAUrl(format!("{what} {why} (a plain % is written %25)"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = after;
            continue;
        }
        let digits = after.get(..2).filter(|d| d.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|d| std::str::from_utf8(d).ok());
        let byte = digits.and_then(|d| u8::from_str_radix(d, 16).ok());
        bytes.push(byte.ok_or_else(|| wrong("has a % without two hexadecimal digits"))?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| wrong("is not UTF-8 when decoded"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(url: &str) -> Endpoint {
        Endpoint::parse(url).unwrap_or_else(|e| panic!("{url}: {e}"))
    }

    fn hosts(url: &str) -> String {
        let addresses: Vec<String> = parsed(url)
            .redis
            .addresses
            .iter()
            .map(Address::to_string)
            .collect();
        addresses.join(" ")
    }

    #[test]
    fn a_url_names_host_port_and_database() {
        for (url, host, database) in [
            ("redis://h", "h:6379", None),
            ("redis://h/", "h:6379", None),
            ("redis://h:1/3", "h:1", Some(3)),
            ("redis://[::1]:6380/0", "[::1]:6380", Some(0)),
            ("redis://[::1]", "[::1]:6379", None),
            ("redis+cluster://a:1,b", "a:1 b:6379", None),
            ("redis+sentinel://a,b:1/mymaster/2", "a:26379 b:1", Some(2)),
        ] {
            assert_eq!(
                (hosts(url).as_str(), parsed(url).database),
                (host, database),
                "{url}"
            );
        }
    }

    #[test]
    fn user_and_password_are_percent_decoded() {
        for (url, user, password) in [
            ("redis://h", None, None),
            ("redis://u@h", Some("u"), None),
            ("redis://u:p@h", Some("u"), Some("p")),
            ("redis://:p@h", None, Some("p")),
            ("redis://u%40x:p%3A%2F%25@h", Some("u@x"), Some("p:/%")),
            ("redis://u:a:b@c/d@h", Some("u"), Some("a:b@c/d")),
            ("redis://:%C3%A4@h", None, Some("ä")),
        ] {
            let redis = parsed(url).redis;
            assert_eq!(redis.user.as_deref(), user, "{url}");
            assert_eq!(redis.password.as_ref().map(Secret::expose), password, "{url}");
        }
    }

    #[test]
    fn the_scheme_tells_kind_and_tls() {
        for (url, kind, tls) in [
            ("redis://h", "standalone", false),
            ("rediss://h", "standalone", true),
            ("redis+cluster://h", "cluster", false),
            ("rediss+cluster://h/0", "cluster", true),
            ("redis+sentinel://h/m", "sentinel", false),
        ] {
            let redis = parsed(url).redis;
            assert_eq!((redis.kind.as_str(), redis.tls.is_some()), (kind, tls), "{url}");
        }
    }

    #[test]
    fn what_is_not_a_redis_url_is_refused_without_telling_the_password() {
        for url in [
            "h:6379",
            "http://u:hunter2@h",
            "redis+://u:hunter2@h",
            "redis://u:hunter2@",
            "redis://u:hunter2@h:0",
            "redis://u:hunter2@h:x",
            "redis://u:hunter2@h/x",
            "redis://u:hunter2@h/-1",
            "redis://u:hunter2@h/99999999999",
            "redis://u:hunter2@h?db=1",
            "redis://u:hunter2%@h",
            "redis://u:hunter2%zz@h",
            "redis://u:hunter2%ff@h",
            "redis://u:hunter2@::1",
            "redis://u:hunter2",
            "redis://hunter2:h:1",
            "redis+cluster://u:hunter2@h/1",
            "redis+cluster://u:hunter2@h,",
            "redis+sentinel://u:hunter2@h",
        ] {
            let error = Endpoint::parse(url).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn the_password_of_the_url_wins_over_that_of_the_environment() {
        let password = |url| parsed(url).or_password(Some("env".to_owned())).redis.password;
        assert_eq!(password("redis://:p@h").unwrap().expose(), "p");
        assert_eq!(password("redis://h").unwrap().expose(), "env");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(redis(s)?(\\+cluster|\\+sentinel)?://)?.*") {
            let _ = Endpoint::parse(&text);
        }

        #[test]
        fn any_password_can_be_written_percent_encoded(password in "\\PC{1,20}") {
            let encoded: String = password.bytes().map(|b| format!("%{b:02x}")).collect();
            let endpoint = Endpoint::parse(&format!("redis://u:{encoded}@h")).unwrap();
            let read = endpoint.redis.password.unwrap();
            prop_assert_eq!(read.expose(), password);
        }
    }
}
