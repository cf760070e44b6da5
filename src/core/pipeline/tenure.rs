//! Who runs a pipeline: this process alone, or the one that holds the lease.
//!
//! | tenure | the pipeline | set when |
//! | --- | --- | --- |
//! | alone | runs | there is no group; never changes |
//! | leads | runs, and whatever it writes on the target bears the epoch | the lease has been won, or its epoch raised |
//! | yields | drains the batch under way, records its checkpoint, and ends | the lease is to be another's |
//! | follows | ends at once, without another write | the lease is lost, or was never held |
//!
//! Owns the words. Leaves to whoever holds the lease when they change.

use crate::core::position::Epoch;

/// Who runs a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tenure {
    /// This process, without a group.
    #[default]
    Alone,
    /// This process, under a lease of this epoch.
    Leads(Epoch),
    /// This process, for a last moment: it drains.
    Yields(Epoch),
    /// Another process, or nobody.
    Follows,
}

impl Tenure {
    /// Whether the pipeline may run.
    #[must_use]
    pub const fn is_ours(self) -> bool {
        matches!(self, Tenure::Alone | Tenure::Leads(_))
    }

    /// What is written on the target bears this.
    #[must_use]
    pub const fn epoch(self) -> Epoch {
        match self {
            Tenure::Leads(epoch) | Tenure::Yields(epoch) => epoch,
            Tenure::Alone | Tenure::Follows => Epoch::NONE,
        }
    }
}
