//! How far a master's stream is, and which slots are its own. Without I/O.

use super::jobs::Export;
use crate::core::position::{Offset, Position, ReplId};

/// What a master says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// How far its stream is.
    pub at: Position,
    /// What it serves, first and last slot.
    pub slots: Vec<(u16, u16)>,
    /// Slots that it gives away or takes over just now.
    pub moving: Vec<u16>,
    /// Whether slots come or go as a whole just now; nothing where the server cannot do that.
    pub atomic: Option<bool>,
    /// Its exports of slots as a whole, where it deletes the keys one by one afterwards; nothing where it does not.
    pub exports: Option<Vec<Export>>,
}

/// Reads the text of `INFO replication`.
#[must_use]
pub fn position(text: &str) -> Option<Position> {
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
    };
    Some(Position {
        id: ReplId::parse(field("master_replid")?.as_bytes()).ok()?,
        offset: Offset::parse(field("master_repl_offset")?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_from_info() {
        let id = "07c37dfeb235213a872192d90877d0cd55635b91";
        let text = format!("role:master\r\nmaster_replid:{id}\r\nmaster_repl_offset:45\r\n");
        let at = position(&text).unwrap();
        assert_eq!((at.id.as_str(), at.offset), (id, Offset::new(45)));
        assert_eq!(position("role:master\r\nmaster_repl_offset:45\r\n"), None);
    }

    #[test]
    fn a_master_whose_offset_cannot_be_makes_no_sense() {
        let id = "07c37dfeb235213a872192d90877d0cd55635b91";
        let at = |offset| position(&format!("master_replid:{id}\r\nmaster_repl_offset:{offset}\r\n"));
        assert!(at("9223372036854775807").is_some());
        for beyond in ["9223372036854775808", "18446744073709551615", "-1"] {
            assert_eq!(at(beyond), None, "{beyond}");
        }
    }
}
