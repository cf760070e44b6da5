//! What a pipeline knows of the shard that it follows, where the source is a cluster: which slots are its own, and which pipelines are its siblings.
//!
//! Several shards feed one target. What one of them sweeps after a full sync must not be another's: a key is swept only where its slot
//! is certainly this shard's. Promises that a slot that is moving, or of which nobody has heard lately, is not taken for one.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::crossing::{Crossings, Joined};
use super::{Pipeline, Settings};
use crate::core::command::SLOTS;
use crate::core::log::Log;
use crate::core::net::Address;
use crate::core::position::History;
use crate::core::progress::Progress;
use crate::core::resume::Reason;
use crate::core::target::checkpoint::KEY_PREFIX;

/// The cluster can be looked at within this time, or it is tried again later.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);

/// What is known of a shard's slots.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// How often the cluster has been looked at.
    pub looks: u64,
    /// The slots that are this shard's, and not moving; nothing where that is not known.
    pub slots: Option<Slots>,
    /// How many are its own and moving.
    pub moving: usize,
    /// Its nodes.
    pub nodes: Vec<Address>,
}

/// A set of slots.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slots(Vec<u16>);

impl Slots {
    /// The slots of these ranges, first and last, without those of `but`.
    #[must_use]
    pub fn of(ranges: &[(u16, u16)], but: &[u16]) -> Slots {
        let all = ranges.iter().flat_map(|(first, last)| *first..=*last);
        let mut slots: Vec<u16> = all.filter(|slot| *slot < SLOTS && !but.contains(slot)).collect();
        slots.sort_unstable();
        slots.dedup();
        Slots(slots)
    }

    /// Whether the slot is among them.
    #[must_use]
    pub fn has(&self, slot: u16) -> bool {
        self.0.binary_search(&slot).is_ok()
    }

    /// Those that are in both.
    #[must_use]
    pub fn intersection(&self, other: &Slots) -> Slots {
        Slots(self.0.iter().copied().filter(|slot| other.has(*slot)).collect())
    }

    /// How many they are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// A shard as its pipeline sees it.
#[derive(Debug, Clone)]
pub struct Shard {
    /// How the names of all pipelines of this cluster begin, and how they end.
    pub family: (String, String),
    /// What is known of its slots.
    pub known: watch::Receiver<Known>,
    /// Makes whoever looks at the cluster look at once.
    pub doubt: Arc<Notify>,
    /// What its pipeline and its siblings know of each other.
    pub crossings: Crossings,
}

impl Shard {
    /// Whether the shard is none of the cluster's any more: nobody looks after its slots.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.known.has_changed().is_err()
    }

    /// The slots that have been this shard's in two looks from now on; nothing where the cluster cannot be looked at.
    pub async fn settled(&self) -> Option<Slots> {
        let mut known = self.known.clone();
        let looks = known.borrow().looks;
        // The look that is under way may have begun long ago: the next one counts.
        let first = self.look(&mut known, looks + 2).await?;
        let second = self.look(&mut known, looks + 3).await?;
        Some(first.intersection(&second))
    }

    async fn look(&self, known: &mut watch::Receiver<Known>, looks: u64) -> Option<Slots> {
        self.doubt.notify_one();
        let looked = timeout(SETTLE_LIMIT, known.wait_for(|known| known.looks >= looks)).await;
        looked.ok()?.ok()?.slots.clone()
    }

    /// Whether a key on the target is the checkpoint, or the session, of a pipeline of the same cluster.
    #[must_use]
    pub fn is_sibling(&self, key: &[u8]) -> bool {
        let (start, end) = &self.family;
        let name = String::from_utf8_lossy(key);
        let name = name
            .strip_prefix(KEY_PREFIX)
            .and_then(|rest| rest.strip_prefix(":{"))
            .and_then(|rest| rest.strip_suffix(":session").unwrap_or(rest).strip_suffix('}'));
        name.is_some_and(|name| name.starts_with(start.as_str()) && name.ends_with(end.as_str()))
    }
}

impl Settings {
    /// Takes the place of its pipeline among those of the cluster, until what is returned is dropped.
    #[must_use]
    pub fn join_siblings(&self, log: &Log, progress: &Arc<Progress>) -> Option<Joined> {
        let shard = self.shard.as_ref()?;
        Some(shard.crossings.join(&self.name, log, progress))
    }

    /// Whether a node with that history is of another shard of the same cluster.
    pub(super) fn is_anothers(&self, source: Option<History>) -> bool {
        let (Some(shard), Some(history)) = (&self.shard, source) else {
            return false;
        };
        shard.crossings.is_anothers(&self.name, &history)
    }
}

impl Pipeline {
    /// An earlier process died when the shards had to begin anew, and this one had not.
    pub(super) fn must_begin_anew(&self) -> Option<Reason> {
        let noted = self.catalog.entangled(&self.settings.name);
        let noted = noted.unwrap_or_else(|error| {
            tracing::error!(%error, hint = error.hint(), "whether the shard must begin anew cannot be read: it does");
            true
        });
        if let Some(shard) = self.settings.shard.as_ref().filter(|_| noted) {
            shard.crossings.begins_anew(&self.settings.name);
        }
        noted.then_some(Reason::Entangled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::target::checkpoint;

    fn shard() -> (watch::Sender<Known>, Shard) {
        let (tell, known) = watch::channel(Known::default());
        let shard = Shard {
            family: ("shard-".to_owned(), "-00ff".to_owned()),
            known,
            doubt: Arc::default(),
            crossings: Crossings::default(),
        };
        (tell, shard)
    }

    #[test]
    fn a_moving_slot_is_nobodys() {
        let slots = Slots::of(&[(0, 3), (7, 7)], &[2]);
        let all: Vec<u16> = (0..10).filter(|slot| slots.has(*slot)).collect();
        assert_eq!(all, [0, 1, 3, 7]);
    }

    #[test]
    fn siblings_are_known_by_their_names() {
        let (_tell, shard) = shard();
        for (name, expected) in [
            ("shard-aa-00ff", true),
            ("shard-aa-00fe", false),
            ("other-aa-00ff", false),
        ] {
            assert_eq!(shard.is_sibling(&checkpoint::key(name)), expected, "{name}");
            assert_eq!(
                shard.is_sibling(&checkpoint::session_key(name)),
                expected,
                "{name}"
            );
        }
        assert!(!shard.is_sibling(b"shard-aa-00ff"));
    }

    #[tokio::test]
    async fn only_what_two_later_looks_say_counts() {
        let (tell, shard) = shard();
        let looks = tokio::spawn(async move {
            for looks in 1.. {
                let slots = match looks {
                    1 => Slots::of(&[(0, 9)], &[]),
                    2 => Slots::of(&[(0, 5)], &[]),
                    _ => Slots::of(&[(3, 9)], &[]),
                };
                let slots = Some(slots);
                tell.send_replace(Known {
                    looks,
                    slots,
                    moving: 0,
                    nodes: Vec::new(),
                });
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        assert_eq!(shard.settled().await, Some(Slots::of(&[(3, 5)], &[])));
        looks.abort();
    }

    #[tokio::test]
    async fn where_nobody_looks_nothing_is_settled() {
        let (tell, shard) = shard();
        assert!(!shard.has_left());
        drop(tell);
        assert_eq!(shard.settled().await, None);
        assert!(shard.has_left());
    }
}
