//! What is recorded in the slots of a cluster target: fences and marks. How they are written stands in the table of [`super::written`].
//!
//! The name is the deployment's. The lineage names the full sync on which it rests: after another full sync it counts for nothing. A fence is written in
//! the transaction whose commands it covers. A mark is written to every node before the checkpoint that is on one of them: a node that has failed over may have
//! lost its tail, and its mark with it, while the checkpoint stands elsewhere. So a restart begins at the least of checkpoint and marks.
//!
//! While a snapshot is replayed, marks say the same of the cursor: their offset is its place in the snapshot. Where one of them is gone, or behind it,
//! the replay begins anew.

use super::router::Router;
use super::written::parse;
pub use super::written::{KEY_PREFIX, fence, key, mark, mark_field};
use crate::core::command::SLOTS;
use crate::core::net::Address;
use crate::core::position::Offset;
use crate::core::resp::Value;
use crate::core::target::Error;
use crate::core::target::checkpoint::Record;

/// The fences of a deployment as they stood when its session began.
#[derive(Debug, Clone, Default)]
pub struct Fences {
    offsets: Vec<Offset>,
}

impl Fences {
    /// Whether the slot's share of what ends at `offset` is applied already.
    #[must_use]
    #[inline]
    pub fn covers(&self, slot: u16, offset: Offset) -> bool {
        self.offsets
            .get(usize::from(slot))
            .is_some_and(|fence| offset <= *fence)
    }
}

/// Leaves a mark in a slot of every node that serves some; gives which slots. Where `known` is given, nothing is marked unless just these serve slots: a
/// node that has taken another's place may lack what the other had, and a mark on it would vouch for that.
///
/// # Errors
/// The target fails, or a slot has changed hands.
pub async fn leave(
    router: &mut Router,
    name: &str,
    mark: &str,
    known: Option<&[Address]>,
) -> Result<Vec<u16>, Error> {
    router.refresh().await?;
    let masters: Vec<Address> = router.map().masters().cloned().collect();
    let changed = |address: &Address, slots| Error::SlotsMissing {
        address: address.clone(),
        slots,
    };
    let is_known = |one: &Address| known.is_none_or(|known| known.contains(one));
    let are_all = known.is_none_or(|known| known.len() == masters.len());
    if !are_all || !masters.iter().all(is_known) {
        return Err(changed(router.home_address(), router.map().served()));
    }
    let field = mark_field(name);
    let mut marks = Vec::with_capacity(masters.len());
    for master in &masters {
        // The last one: who moves slots begins with the first.
        let Some(slot) = router.map().slots_of(master).last() else {
            return Err(changed(master, router.map().served()));
        };
        // Not sent on: elsewhere it would vouch for another node than it was meant for.
        let marked = [b"HSET", &key(slot)[..], field.as_bytes(), mark.as_bytes()];
        router.call_at(master, &marked).await?;
        marks.push(slot);
    }
    Ok(marks)
}

/// Reads all fences, and sets the record's checkpoint back to the least of the marks. Where a mark is gone, so is what it vouched for: then there
/// is no checkpoint, and no cursor.
///
/// # Errors
/// The target fails.
pub async fn read(router: &mut Router, name: &str, record: &mut Record) -> Result<Fences, Error> {
    let mark_field = mark_field(name).into_bytes();
    let asks = (0..SLOTS).map(|slot| {
        vec![
            b"HMGET".to_vec(),
            key(slot).to_vec(),
            name.as_bytes().to_vec(),
            mark_field.clone(),
        ]
    });
    let replies = router.call_many(asks).await?;
    let fields = |slot: u16, nth: usize| replies[usize::from(slot)].array()?.get(nth)?.text();
    let offsets = (0..SLOTS).map(|slot| {
        let fence = fields(slot, 0).and_then(|text| parse(text, record.lineage));
        fence.map_or(Offset::ZERO, |(offset, _)| offset)
    });
    let fences = Fences {
        offsets: offsets.collect(),
    };
    none_refused(router, "HMGET", &replies)?;
    for slot in record.marks.clone() {
        let mark = fields(slot, 1).and_then(|text| parse(text, record.lineage));
        match (mark, &mut record.checkpoint) {
            (Some((offset, _)), None) if record.cursor.is_some_and(|low| offset.get() < low.at) => {
                tracing::warn!(
                    slot,
                    "a node of the target has lost a part of the full sync, which begins anew"
                );
                begin_anew(record);
            }
            (Some((offset, db)), Some(at)) if offset < at.position.offset => {
                tracing::info!(slot, %offset, "a node of the target is behind the checkpoint: going on from its mark");
                at.position.offset = offset;
                at.db = db;
            }
            (Some(_), _) => {}
            (None, _) => {
                tracing::warn!(
                    slot,
                    "a node of the target has lost what it had: the mark in this slot is gone"
                );
                record.checkpoint = None;
                begin_anew(record);
            }
        }
    }
    Ok(fences)
}

/// Takes a deployment's fences and marks away, in every slot and of every lineage.
///
/// # Errors
/// The target fails.
pub async fn take_away(router: &mut Router, name: &str) -> Result<(), Error> {
    let mark_field = mark_field(name).into_bytes();
    let removals = (0..SLOTS).map(|slot| {
        vec![
            b"HDEL".to_vec(),
            key(slot).to_vec(),
            name.as_bytes().to_vec(),
            mark_field.clone(),
        ]
    });
    let replies = router.call_many(removals).await?;
    none_refused(router, "HDEL", &replies)
}

fn none_refused(router: &Router, command: &str, replies: &[Value]) -> Result<(), Error> {
    match replies.iter().find_map(Value::error) {
        Some(refused) => Err(Error::Refused {
            address: router.home_address().clone(),
            command: command.to_owned(),
            reply: crate::core::resp::said(refused),
        }),
        None => Ok(()),
    }
}

/// What of the snapshot is on the target is not known any more. What is, is ours.
fn begin_anew(record: &mut Record) {
    record.cursor = None;
    record.resync = true;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_covers_its_own_slot_up_to_its_offset() {
        let mut offsets = vec![Offset::ZERO; usize::from(SLOTS)];
        offsets[7] = Offset::new(10);
        let fences = Fences { offsets };
        assert!(fences.covers(7, Offset::new(10)) && !fences.covers(7, Offset::new(11)));
        assert!(!fences.covers(8, Offset::new(1)) && !Fences::default().covers(7, Offset::new(1)));
    }
}
