//! How far a master's stream is, and which slots are its own: asked often, over connections that stay.
//!
//! Owns the asking. Promises that what a master says of its slots is older than what it says of its offset: what it wrote as their owner
//! is within that offset.

use std::collections::BTreeMap;

use super::Error;
use super::ask::Asker;
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
}

/// Asks masters.
#[derive(Debug, Default)]
pub struct Sampler {
    askers: BTreeMap<Address, Asker>,
}

impl Sampler {
    /// Asks one; nothing where it is no master.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub async fn sample(&mut self, endpoint: &Endpoint) -> Result<Option<Sample>, Error> {
        let kept = self.askers.remove(&endpoint.address);
        let mut asker = match kept {
            Some(asker) => asker,
            None => Asker::open(endpoint).await?,
        };
        let sample = ask(&mut asker, &endpoint.address).await?;
        self.askers.insert(endpoint.address.clone(), asker);
        Ok(sample)
    }
}

async fn ask(asker: &mut Asker, address: &Address) -> Result<Option<Sample>, Error> {
    let question: [&[u8]; 2] = [b"CLUSTER", b"NODES"];
    let text = asker.text(&question).await?;
    let nodes = nodes::parse(&text, address).ok_or_else(|| asker.nonsense(&question))?;
    let Some(own) = nodes.into_iter().find(|node| node.is_myself) else {
        return Err(asker.nonsense(&question));
    };
    let atomic = moves_atomically(asker).await?;
    let question: [&[u8]; 2] = [b"INFO", b"replication"];
    let text = asker.text(&question).await?;
    let at = position(&text).ok_or_else(|| asker.nonsense(&question))?;
    Ok(own.master.is_none().then_some(Sample {
        at,
        slots: own.slots,
        moving: own.moving.unwrap_or_default(),
        atomic,
    }))
}

/// Whether slots come or go as a whole; nothing where the server cannot do that, or does not tell us.
async fn moves_atomically(asker: &mut Asker) -> Result<Option<bool>, Error> {
    match asker.text(&[b"CLUSTER", b"INFO"]).await {
        Ok(text) => Ok(active_tasks(&text).map(|tasks| tasks > 0)),
        Err(Error::Refused { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// How many migrations are under way, by the text of `CLUSTER INFO`: Redis 8.4 and later tell it.
fn active_tasks(text: &str) -> Option<u64> {
    let field = |line: &str| {
        let value = line.strip_prefix("cluster_slot_migration_active_tasks:")?;
        value.trim().parse().ok()
    };
    text.lines().find_map(field)
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
    fn migrations_are_counted_where_the_server_knows_them() {
        for (text, expected) in [
            (
                "cluster_state:ok\r\ncluster_slot_migration_active_tasks:1\r\n",
                Some(1),
            ),
            (
                "cluster_slot_migration_active_tasks:0\r\ncluster_size:3\r\n",
                Some(0),
            ),
            ("cluster_state:ok\r\n", None),
        ] {
            assert_eq!(active_tasks(text), expected, "{text}");
        }
    }

    #[test]
    fn a_position_is_read_from_info() {
        let id = "07c37dfeb235213a872192d90877d0cd55635b91";
        let text = format!("role:master\r\nmaster_replid:{id}\r\nmaster_repl_offset:45\r\n");
        let at = position(&text).unwrap();
        assert_eq!((at.id.as_str(), at.offset), (id, Offset::new(45)));
        assert_eq!(position("role:master\r\nmaster_repl_offset:45\r\n"), None);
    }
}
