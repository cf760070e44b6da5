//! Where a pipeline's source and target are, before it connects to them.
//!
//! Promises that what the settings say is where the next connection goes: they are brought up to date here, and nowhere else. A place that nobody
//! knows yet is a trouble like any other: reported, and tried again.

use std::sync::Arc;

use super::{Pipeline, Round};
use crate::core::topology::{Place, Trouble};

impl Pipeline {
    /// Takes the source's place into the settings. None when it must be tried again.
    pub(super) async fn source_is_at(&mut self, round: &mut Round) -> Option<()> {
        match self.source_place.take() {
            Some(endpoint) => Arc::make_mut(&mut self.settings).source.endpoint = endpoint,
            None => return self.wait_for_place(round, Side::Source).await,
        }
        Some(())
    }

    /// Takes the target's place into the settings. None when it must be tried again.
    pub(super) async fn target_is_at(&mut self, round: &mut Round) -> Option<()> {
        match self.target_place.take() {
            Some(endpoint) => Arc::make_mut(&mut self.settings).target.endpoint = endpoint,
            None => {
                // The source must not wait for the target.
                self.receive_while_waiting(round);
                return self.wait_for_place(round, Side::Target).await;
            }
        }
        Some(())
    }

    async fn wait_for_place(&mut self, round: &mut Round, side: Side) -> Option<()> {
        let place = match side {
            Side::Source => &self.source_place,
            Side::Target => &self.target_place,
        };
        place.doubt();
        let Trouble { message, hint } = trouble(place, side);
        self.wait_after(round, &message, hint).await;
        None
    }
}

#[derive(Debug, Clone, Copy)]
enum Side {
    Source,
    Target,
}

fn trouble(place: &Place, side: Side) -> Trouble {
    let name = match side {
        Side::Source => "source",
        Side::Target => "target",
    };
    place.trouble().map_or_else(
        || Trouble {
            message: format!("where the {name} is, is being found out"),
            hint: None,
        },
        |trouble| Trouble {
            message: format!("{name}: {}", trouble.message),
            ..trouble
        },
    )
}
