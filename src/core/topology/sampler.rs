//! Asking masters how far they are ([`super::sample`]): often, over connections that stay.
//!
//! Owns the asking. Promises that what a master says of its slots is older than what it says of its offset: what it wrote as their owner
//! is within that offset.

use std::collections::BTreeMap;

use super::Error;
use super::ask::Asker;
use super::migrations::Can;
use super::nodes;
use super::sample::{Sample, position};
use crate::core::net::{Address, Endpoint};

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
