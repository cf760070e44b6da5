//! Where the stream begins, and what is still to be done for the keys of the snapshot before it.

use super::Context;
use crate::core::pipeline::End;
use crate::core::pipeline::parked::Parked;
use crate::core::position::{Epoch, Offset};

/// Where the stream goes on.
#[derive(Debug, Clone, Copy)]
pub struct From {
    /// After this.
    pub at: Offset,
    /// The database that is selected at the source there.
    pub db: u32,
    /// What lies before it this process has restored just now: it knows the keys whose expiry is put off.
    pub is_restored_here: bool,
}

impl Context {
    /// The keys whose expiry is put off. Where the catalog does not know them, for another process has restored them or it was removed, they are known from the
    /// snapshot in the log.
    pub(super) async fn parked(&self, guarded: Option<bool>, epoch: Epoch) -> Result<Parked, End> {
        let due = self.progress.ladder().received;
        let mut parked = Parked::open(&self.catalog, &self.settings.name, due).map_err(End::Catalog)?;
        // What a member of a group knows may be of an earlier full sync, before another led.
        let may_lack = parked.is_settled() || epoch != Epoch::NONE;
        if guarded != Some(true) || !may_lack || parked.recover(&self.log).await? || !parked.is_settled() {
            return Ok(parked);
        }
        let message = "keys of the last full sync have an expiry ten years ahead of their own, and what was known of them is gone";
        let hint = format!(
            "gunyu fullsync --inputs {}",
            self.settings.source.endpoint.address
        );
        tracing::error!(hint, "{message}");
        self.progress.report(message.to_owned(), Some(hint));
        Ok(parked)
    }

    pub(super) fn show_parked(&self, parked: &Parked) {
        let pending = !parked.is_settled();
        self.progress
            .update_full_sync(|one| one.expiries_pending = pending);
    }
}
