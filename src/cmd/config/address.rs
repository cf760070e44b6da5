//! `host:port`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The port of a Redis server whose address names none.
pub(super) const REDIS_PORT: u16 = 6379;

/// The port of a sentinel whose address names none.
pub(super) const SENTINEL_PORT: u16 = 26379;

/// Where a server is, or listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// A name or an IP address; IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} {reason}")]
pub struct NotAnAddress {
    text: String,
    /// The end of a sentence; holds nothing of the text.
    pub(super) reason: &'static str,
}

impl Address {
    /// Reads `host:port`, `[ipv6]:port`, and, where there is a default port, either without a port.
    ///
    /// # Errors
    /// The text is neither.
    pub fn parse(text: &str, default_port: Option<u16>) -> Result<Address, NotAnAddress> {
        let not = |reason| NotAnAddress {
            text: text.to_owned(),
            reason,
        };
        let (host, port) = split(text).map_err(not)?;
        let port = match port {
            Some(port) => port_number(port),
            None => default_port,
        };
        Ok(Address {
            host: host.to_owned(),
            port: port.ok_or_else(|| not("lacks a port (1 to 65535)"))?,
        })
    }

    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(ip) => ip.to_canonical().is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }

    /// Whether it stands for every address of the machine.
    #[must_use]
    pub fn is_unspecified(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Host and port, apart. A bare IPv6 address would leave open where the port begins, so it needs its brackets.
fn split(text: &str) -> Result<(&str, Option<&str>), &'static str> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("lacks a ]")?;
        let plain = host.split_once('%').map_or(host, |(ip, _zone)| ip);
        if plain.parse::<Ipv6Addr>().is_err() {
            return Err("has no IPv6 address in its brackets");
        }
        return match (after, after.strip_prefix(':')) {
            ("", _) => Ok((host, None)),
            (_, Some(port)) => Ok((host, Some(port))),
            (_, None) => Err("must go on with :port after the ]"),
        };
    }
    let (host, port) = text
        .split_once(':')
        .map_or((text, None), |(host, port)| (host, Some(port)));
    if port.is_some_and(|port| port.contains(':')) {
        return Err("has too many colons (an IPv6 address is written in brackets, as [::1]:6379)");
    }
    match host.is_empty() || host.contains(|c: char| c.is_whitespace() || "/@,".contains(c)) {
        true => Err("has no proper host"),
        false => Ok((host, port)),
    }
}

fn port_number(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|port| *port > 0 && digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_prints_as_it_is_written() {
        for text in [
            "127.0.0.1:6379",
            "redis.example:1",
            "[::1]:18001",
            "[fe80::1%eth0]:6379",
        ] {
            assert_eq!(Address::parse(text, None).unwrap().to_string(), text);
        }
    }

    #[test]
    fn the_default_port_stands_in_for_a_missing_one() {
        for (text, host) in [("h", "h"), ("[::1]", "::1")] {
            let address = Address::parse(text, Some(6379)).unwrap();
            assert_eq!((address.host.as_str(), address.port), (host, 6379));
            assert!(Address::parse(text, None).is_err());
        }
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for text in [
            "",
            ":1",
            "h:",
            "h:0",
            "h:65536",
            "h:+1",
            "::1",
            "::1:6379",
            "[::1",
            "[h]:1",
            "[::1]6379",
            "a b:1",
            "h:1/0",
        ] {
            assert!(Address::parse(text, Some(6379)).is_err(), "{text:?}");
        }
    }

    #[test]
    fn loopback_is_told_from_the_rest() {
        for (text, loopback) in [
            ("127.0.0.1:1", true),
            ("127.9.9.9:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("localhost:1", true),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
            ("10.0.0.1:1", false),
            ("localhost.example:1", false),
        ] {
            assert_eq!(
                Address::parse(text, None).unwrap().is_loopback(),
                loopback,
                "{text}"
            );
        }
    }
}
