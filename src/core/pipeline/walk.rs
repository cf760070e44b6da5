//! A walk through all keys of the target: of the database that is selected, or of every master of a cluster.
//!
//! Promises that every key that is there from beginning to end is met: where slots of a cluster have changed hands meanwhile, it is walked again. A
//! key may be met more than once.

use super::End;
use crate::core::net::Address;
use crate::core::resp::Value;
use crate::core::target::cluster::map::SlotMap;
use crate::core::target::session::Session;

/// So many keys a step of `SCAN`.
const SCAN_COUNT: &[u8] = b"5000";

/// A walk.
#[derive(Debug)]
pub(super) struct Walk {
    pattern: Option<Vec<u8>>,
    /// Nodes that are still to be walked; the last is under way.
    nodes: Vec<Address>,
    cursor: Vec<u8>,
    /// Who served what when it began.
    map: Option<SlotMap>,
}

impl Walk {
    /// Begins one; of keys like `pattern` only, where there is one.
    ///
    /// # Errors
    /// The target fails.
    pub(super) async fn begin(session: &mut Session, pattern: Option<Vec<u8>>) -> Result<Walk, End> {
        Ok(Walk {
            pattern,
            map: look(session).await?,
            nodes: session.lane.masters(),
            cursor: b"0".to_vec(),
        })
    }

    /// Some more keys; nothing at the end.
    ///
    /// # Errors
    /// The target fails.
    pub(super) async fn step(&mut self, session: &mut Session) -> Result<Option<Vec<Vec<u8>>>, End> {
        let Some(node) = self.nodes.last() else {
            return Ok(None);
        };
        let mut args: Vec<&[u8]> = vec![b"SCAN", &self.cursor, b"COUNT", SCAN_COUNT];
        if let Some(pattern) = &self.pattern {
            args.extend([&b"MATCH"[..], pattern]);
        }
        let reply = session.lane.call_at(node, &args).await.map_err(End::Target)?;
        let parts = reply.array().unwrap_or_default();
        let next = parts.first().and_then(Value::text).unwrap_or(b"0").to_vec();
        let keys = parts.get(1).and_then(Value::array).unwrap_or_default();
        let keys = keys.iter().filter_map(|key| key.text().map(<[u8]>::to_vec));
        if next == b"0" {
            self.nodes.pop();
        }
        if self.nodes.is_empty() {
            self.begin_again_where_moved(session).await?;
        }
        self.cursor = next;
        Ok(Some(keys.collect()))
    }

    async fn begin_again_where_moved(&mut self, session: &mut Session) -> Result<(), End> {
        let map = look(session).await?;
        if map != self.map {
            tracing::debug!("slots of the target have changed hands: walking through it again");
            self.map = map;
            self.nodes = session.lane.masters();
        }
        Ok(())
    }
}

/// Who serves what now, of a cluster.
async fn look(session: &mut Session) -> Result<Option<SlotMap>, End> {
    let Some(router) = session.lane.router() else {
        return Ok(None);
    };
    router.refresh().await.map_err(End::Target)?;
    Ok(Some(router.map().clone()))
}
