//! What a master says of slots that come or go as a whole, and which masters can do that.
//!
//! | server | is asked | because |
//! | --- | --- | --- |
//! | Redis 8.4 and later | `CLUSTER INFO` | migrations under way are counted there |
//! | Valkey 9 and later | `CLUSTER GETSLOTMIGRATIONS` | it also says which slots a master has given away, whose keys it deletes one by one afterwards |
//! | any other | nothing | it cannot do that |

pub mod told;

use super::Error;
use super::ask::Asker;
use super::jobs::{Export, Jobs, jobs};
pub(super) use told::Can;
use told::active_tasks;

/// What a master says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Migrations {
    /// Whether some are under way; nothing where the server cannot do that.
    pub(super) under_way: Option<bool>,
    /// The exports, where keys are deleted one by one afterwards.
    pub(super) exports: Option<Vec<Export>>,
}

impl Can {
    /// Asks. A master that refuses is taken for one that moves nothing.
    pub(super) async fn migrations(&mut self, asker: &mut Asker) -> Result<Migrations, Error> {
        let answer = match self {
            Can::Not => return Ok(Migrations::default()),
            Can::Redis => asker.text(&[b"CLUSTER", b"INFO"]).await.map(|text| Migrations {
                under_way: active_tasks(&text).map(|tasks| tasks > 0),
                exports: None,
            }),
            Can::Valkey => {
                let question: [&[u8]; 2] = [b"CLUSTER", b"GETSLOTMIGRATIONS"];
                let answer = asker.call(&question).await;
                let jobs = answer.and_then(|answer| jobs(&answer).ok_or_else(|| asker.nonsense(&question)));
                jobs.map(|Jobs { under_way, exports }| Migrations {
                    under_way: Some(under_way),
                    exports: Some(exports),
                })
            }
        };
        match answer {
            Err(error @ Error::Refused { .. }) => {
                let hint = "allow the user +cluster|info (Redis) or +cluster|getslotmigrations (Valkey): without that, slots must not be moved as a whole";
                tracing::warn!(%error, hint, "which slots move cannot be seen");
                *self = Can::Not;
                Ok(Migrations::default())
            }
            answer => answer,
        }
    }
}
