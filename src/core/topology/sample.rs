//! How far a master's stream is, and which slots are its own: asked often, over connections that stay.
//!
//! Owns the asking. Promises that what a master says of its slots is older than what it says of its offset: what it wrote as their owner
//! is within that offset.

use std::collections::BTreeMap;

use super::Error;
use super::ask::Asker;
use super::jobs::Export;
use super::migrations::Can;
use super::nodes;
use crate::core::net::{Address, Endpoint};
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

/// Asks masters.
#[derive(Debug, Default)]
pub struct Sampler {
    askers: BTreeMap<Address, Known>,
}

/// A connection, and what the server at its end can do.
#[derive(Debug)]
struct Known {
    asker: Asker,
    can: Can,
}

impl Sampler {
    /// Asks one; nothing where it is no master.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub async fn sample(&mut self, endpoint: &Endpoint) -> Result<Option<Sample>, Error> {
        let kept = self.askers.remove(&endpoint.address);
        let mut known = match kept {
            Some(known) => known,
            None => Known::open(endpoint).await?,
        };
        let sample = known.ask(&endpoint.address).await?;
        self.askers.insert(endpoint.address.clone(), known);
        Ok(sample)
    }
}

impl Known {
    async fn open(endpoint: &Endpoint) -> Result<Known, Error> {
        let mut asker = Asker::open(endpoint).await?;
        let can = Can::of_info(&asker.text(&[b"INFO", b"server"]).await?);
        Ok(Known { asker, can })
    }

    async fn ask(&mut self, address: &Address) -> Result<Option<Sample>, Error> {
        let asker = &mut self.asker;
        let question: [&[u8]; 2] = [b"CLUSTER", b"NODES"];
        let text = asker.text(&question).await?;
        let nodes = nodes::parse(&text, address).ok_or_else(|| asker.nonsense(&question))?;
        let Some(own) = nodes.into_iter().find(|node| node.is_myself) else {
            return Err(asker.nonsense(&question));
        };
        let migrations = self.can.migrations(asker).await?;
        let question: [&[u8]; 2] = [b"INFO", b"replication"];
        let text = asker.text(&question).await?;
        let at = position(&text).ok_or_else(|| asker.nonsense(&question))?;
        Ok(own.master.is_none().then_some(Sample {
            at,
            slots: own.slots,
            moving: own.moving.unwrap_or_default(),
            atomic: migrations.under_way,
            exports: migrations.exports,
        }))
    }
}

/// Reads the text of `INFO replication`.
fn position(text: &str) -> Option<Position> {
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
    };
    Some(Position {
        id: ReplId::parse(field("master_replid")?.as_bytes()).ok()?,
        offset: Offset::new(field("master_repl_offset")?.parse().ok()?),
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
}
