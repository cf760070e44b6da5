//! Whether what we look at of a source is as far as the target. A replica that lags, or that has lost its master, may be behind it, if the pipeline follows another
//! node: then every difference would be one of time, and a repair would write what is old over what is new.

use std::time::{Duration, Instant};

use super::Error;
use super::group::Group;
use crate::core::net::{Address, Endpoint};
use crate::core::survey;

/// It may be behind for so long.
const LAG_LIMIT: Duration = Duration::from_secs(5);

/// So long until it is asked again.
const PAUSE: Duration = Duration::from_millis(50);

/// One source, and what is recorded of it on the target.
struct Way {
    name: String,
    address: Address,
    source: survey::Source,
    target: survey::Target,
}

/// All sources of a group.
pub(super) struct Ahead(Vec<Way>);

impl Ahead {
    pub(super) async fn of(group: &Group) -> Result<Ahead, Error> {
        let mut ways = Vec::new();
        for one in &group.pipelines {
            let endpoint: &Endpoint = &one.source.endpoint;
            ways.push(Way {
                name: one.name.clone(),
                address: endpoint.address.clone(),
                source: survey::Source::connect(endpoint).await?,
                target: survey::Target::connect(&one.target.endpoint).await?,
            });
        }
        Ok(Ahead(ways))
    }

    /// Waits until every source is as far as what its target has of it by now.
    pub(super) async fn check(&mut self) -> Result<(), Error> {
        for way in &mut self.0 {
            let began = Instant::now();
            let recorded = way.target.recorded(&way.name).await?;
            let record = recorded.map(|recorded| recorded.record);
            let checkpoint = record
                .filter(|record| record.full_sync.is_none())
                .and_then(|record| record.checkpoint);
            let Some(checkpoint) = checkpoint else { continue };
            loop {
                let info = way.source.info().await?;
                // Of another history: a full sync comes, and nothing can be said.
                let is_ours = info.history.is_some_and(|one| one.contains(&checkpoint.position));
                let is_behind = info.offset.is_some_and(|at| at < checkpoint.position.offset);
                if !is_ours || !is_behind {
                    break;
                }
                if began.elapsed() > LAG_LIMIT {
                    return Err(Error::Behind {
                        source_address: way.address.clone(),
                    });
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(())
    }
}
