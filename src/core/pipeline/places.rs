//! Where a pipeline's source and target are, before it connects to them.
//!
//! Promises that what the settings say is where the next connection goes: they are brought up to date here, and nowhere else. A place that nobody
//! knows yet is a trouble like any other: reported, and tried again.

use std::sync::Arc;

use super::{Fatal, Pipeline, Round};
use crate::core::topology::{Place, Trouble};

impl Pipeline {
    /// Takes the source's place into the settings. False when it must be tried again.
    pub(super) async fn source_is_at(&mut self, round: &mut Round) -> Result<bool, Fatal> {
        match self.source_place.take() {
            Some(endpoint) => Arc::make_mut(&mut self.settings).source.endpoint = endpoint,
            None => return self.wait_for_place(round, Side::Source).await,
        }
        Ok(true)
    }

    /// Takes the target's place into the settings. False when it must be tried again.
    pub(super) async fn target_is_at(&mut self, round: &mut Round) -> Result<bool, Fatal> {
        match self.target_place.take() {
            Some(endpoint) => Arc::make_mut(&mut self.settings).target.endpoint = endpoint,
            None => {
                // The source must not wait for the target.
                self.receive_while_waiting(round);
                return self.wait_for_place(round, Side::Target).await;
            }
        }
        Ok(true)
    }

    async fn wait_for_place(&mut self, round: &mut Round, side: Side) -> Result<bool, Fatal> {
        let place = match side {
            Side::Source => &self.source_place,
            Side::Target => &self.target_place,
        };
        place.doubt();
        // Whoever watches may just have begun to look: that is no trouble.
        tokio::select! {
            biased;
            _ = self.wish.changed() => return Ok(false),
            () = place.changed() => return Ok(false),
            () = place.is_troubled() => {}
        }
        let Trouble {
            message,
            hint,
            needs_a_person,
        } = trouble(place, side);
        if needs_a_person && round.first_contact && round.untouched {
            return Err(Fatal { message, hint });
        }
        self.wait_after(round, &message, hint).await;
        Ok(false)
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
            needs_a_person: false,
        },
        |trouble| Trouble {
            message: format!("{name}: {}", trouble.message),
            ..trouble
        },
    )
}
