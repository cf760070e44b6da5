//! What a node of a cluster says when a slot is not its own, or not wholly.
//!
//! | reply | means | what follows |
//! | --- | --- | --- |
//! | `MOVED slot host:port` | another node serves the slot | the map is corrected, and it is sent there |
//! | `ASK slot host:port` | the slot is being moved, and this key has gone already | sent there behind `ASKING`, this once |
//! | `TRYAGAIN` | the keys are in part here and in part there | again after a while |
//! | `CLUSTERDOWN` | nobody serves the slot, or too many slots | again after a while |
//!
//! The host may be empty, which means the one that was asked (`cluster.c`, `clusterRedirectClient`).

use crate::core::net::Address;
use crate::core::target::refusal::Kind;

/// A node's answer that it is not the one to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redirect {
    /// Another node serves the slot.
    Moved(u16, Address),
    /// Another node has the key, this once.
    Ask(Address),
    /// It may be otherwise in a moment.
    Later,
}

impl Redirect {
    /// Reads an error reply of `asked`, given without its leading `-`.
    #[must_use]
    pub fn of(reply: &str, asked: &Address) -> Option<Redirect> {
        let mut words = reply.split_ascii_whitespace();
        match words.next()? {
            "MOVED" => {
                let slot = words
                    .next()?
                    .parse()
                    .ok()
                    .filter(|slot| *slot < crate::core::command::SLOTS)?;
                Some(Redirect::Moved(slot, address(words.next()?, asked)?))
            }
            "ASK" => Some(Redirect::Ask(address(words.nth(1)?, asked)?)),
            "TRYAGAIN" | "CLUSTERDOWN" => Some(Redirect::Later),
            _ => None,
        }
    }
}

/// Whether an error reply of `asked` says nothing of the command itself: it may be sent again, there or elsewhere.
#[must_use]
pub fn is_passing(reply: &str, asked: &Address) -> bool {
    // CROSSSLOT and the like: no node will ever take it.
    let kind = Kind::of(reply);
    Redirect::of(reply, asked).is_some() || kind.may_be_repeated() && kind != Kind::Cluster
}

/// IPv6 hosts stand there without brackets: the port is behind the last colon.
fn address(text: &str, asked: &Address) -> Option<Address> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host {
        "" => asked.host.clone(),
        host => host.to_owned(),
    };
    let port = port.parse().ok().filter(|port| *port > 0)?;
    Some(Address { host, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_and_every_form_of_an_address() {
        let at = |host: &str, port| Address {
            host: host.into(),
            port,
        };
        let asked = at("10.0.0.1", 1);
        let rows = [
            (
                "MOVED 3999 10.0.0.2:7000",
                Some(Redirect::Moved(3999, at("10.0.0.2", 7000))),
            ),
            (
                "MOVED 3999 :7000",
                Some(Redirect::Moved(3999, at("10.0.0.1", 7000))),
            ),
            ("ASK 1 ::1:7000", Some(Redirect::Ask(at("::1", 7000)))),
            (
                "TRYAGAIN Multiple keys request during rehashing of slot",
                Some(Redirect::Later),
            ),
            ("CLUSTERDOWN Hash slot not served", Some(Redirect::Later)),
            ("MOVED 16384 10.0.0.2:7000", None),
            ("MOVED 1 10.0.0.2:0", None),
            ("ASK 1", None),
            ("WRONGTYPE x", None),
            ("", None),
        ];
        for (reply, expected) in rows {
            assert_eq!(Redirect::of(reply, &asked), expected, "{reply:?}");
        }
    }
}
